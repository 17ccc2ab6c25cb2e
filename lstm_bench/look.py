"""Command: `python -m lstm_bench.look` says what a dataset holds, and what would make a score on it wrong."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lstm_bench.core import cli, home
from lstm_bench.core.errors import DataError

if TYPE_CHECKING:
    from omegaconf import DictConfig
    from rich.console import Console

    from lstm_bench.data.dataset import Dataset
    from lstm_bench.data.inspection import Column

HELP = """\
python -m lstm_bench.look dataset=file dataset.path=FILE [dataset.NAME=value ...] [png=FILE] [svg=FILE]

What a dataset holds, how it will be divided, what is asked of a network, what a guess scores, and a warning for each thing that
would make a score wrong, with the option that mends it. In seconds, without a framework. Writes nothing but the picture.

  dataset=file           .csv .tsv (.gz), .parquet, .ts, .npz, or ARCHIVE.zip!MEMBER; any other dataset as well
  dataset.path=FILE      and as for a sweep: dataset.id, time, features, target, group, window, split, missing, ...
  png=FILE svg=FILE      a few sequences of each class, their lengths, how many there are

example  python -m lstm_bench.look dataset=file dataset.path=my.csv dataset.id=recording dataset.target=activity
next     python -m lstm_bench.sweep +campaign=families dataset=file dataset.path=my.csv ...  (the same options)
exit     0 done, also with warnings; 2 bad option, 3 unreadable or unfit data, 4 the picture cannot be written
"""
_COLUMNS = 40  # that are listed; of more, those that something is said against and the first
_CLASSES = 30


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; returns its exit code."""
    from lstm_bench.core.schema import Look

    line = list(sys.argv[1:] if argv is None else argv)
    return cli.main(line, config_name="look", root=Look, help_text=lambda: HELP, run=run)


def run(composed: DictConfig, overrides: Sequence[str]) -> None:
    """Looks at a dataset and says what it saw.

    Raises:
      LstmBenchError: any expected fault.
    """
    from rich.console import Console

    from lstm_bench.core import configuration, schema
    from lstm_bench.data import inspection, warning

    asked = configuration.load(composed, schema.Look)
    console = Console(highlight=False)
    settings = asked["dataset"]
    try:
        found = inspection.load(settings)
    except DataError:
        for line in inspection.unfit(settings) if settings["name"] == "file" else ():
            console.print(line, markup=False)
        raise
    columns = inspection.columns(found, settings)
    _say_facts(console, found)
    _say_classes(console, found, inspection.class_counts(found))
    if columns:
        _say_columns(console, columns)
    warnings = warning.warnings(found, settings, columns)
    for sentence in warnings:
        _item(console, "!", sentence, "yellow")
    console.print(f"{len(warnings)} warning{'s' * (len(warnings) != 1)}" if warnings else "nothing speaks against it")
    for kind, file in (("png", asked["png"]), ("svg", asked["svg"])):
        if file:
            _draw(console, found, kind, file)


def _table(*headings: str, left: int = 1) -> Any:
    """A table without lines; the first `left` columns hold text."""
    from rich.table import Table

    made = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for index, heading in enumerate(headings):
        made.add_column(heading, justify="left" if index < left or heading == "" else "right", overflow="fold")
    return made


def _item(console: Console, mark: str, text: str, style: str = "") -> None:
    """A line that is indented where it goes on."""
    from rich.table import Table
    from rich.text import Text

    grid = Table.grid(padding=(0, 1))
    grid.add_row(Text(mark, style), Text(text, style))
    console.print(grid)


def _facts(found: Dataset) -> Iterator[tuple[str, str]]:
    """What is said of a dataset, by heading."""
    from lstm_bench.data.tokens import NAMES

    n = [len(getattr(found, f"y_{split}")) for split in ("train", "validation", "test")]
    _, features = found.input_shape
    kind, notes = found.kind, list(found.notes)
    task = next((note for note in notes if note.startswith(f"a {kind.name} task: ")), f"a {kind.name} task")
    divided = (found.about or {}).get("divided", "{:,} train, {:,} validation, {:,} test".format(*n))
    yield "source", found.source
    if found.notice:
        yield "notice", found.notice
    if found.vocabulary is not None:
        yield "texts", f"{sum(n):,} of {_timesteps(found)} {NAMES[found.vocabulary.kind]}, {features - 2:,} different"
    else:
        yield "sequences", f"{sum(n):,} of {_timesteps(found)} timesteps, {features:,} feature{'s' * (features != 1)}"
    yield "split", divided
    yield "task", task
    yield "metric", f"test {kind.measure.label}"
    aim, said = _objective(found)
    yield "objective", said
    yield from _trivial(found, aim.removeprefix("val_"))
    for note in notes:
        if note not in (task, f"divided {divided}"):
            yield "note", note


def _timesteps(found: Dataset) -> str:
    from lstm_bench.data.inspection import span

    known = found.length_facts()
    timesteps = found.input_shape[0]
    return span(known["min"], known["max"]) if known else span(timesteps, timesteps)


def _objective(found: Dataset) -> tuple[str, str]:
    """What a study aims at unless it says otherwise, and how to say it."""
    from lstm_bench.data.objective import AUTO, settle_objective

    why = f"{found.kind.objectives[0]}, the measure of a {found.kind.name} task"
    aim = found.kind.objectives[0]
    if found.about is not None:  # of a file, where a study aims at what suits the labels
        study: Any = {"objective": AUTO, "direction": None, "objectives": {}}
        why = settle_objective(study, found.kind, found.labels("train"), found.labels("validation"), found.n_classes)
        aim = study["objective"]
    others = [name for name in found.kind.objectives if name != aim]
    also = f"; or {', '.join(others)}" if others else ""
    return aim, f"study.objective={why}{also}"


def _trivial(found: Dataset, aim: str) -> Iterator[tuple[str, str]]:
    """Test scores of a predictor that looks at no input, what a study aims at among them."""
    from lstm_bench.data.task import metric_of

    scores = found.kind.trivial(found.labels("train"), found.labels("test"))
    if scores and f"test_{aim}" not in scores:
        scores |= {name: score for name, score in _of_control(found).items() if name == f"test_{aim}"}
    told = []
    for column, value in scores.items():
        metric = metric_of(column)
        if metric:
            told.append(f"test {metric.label} {metric.text(value)}{metric.sign}")
    if told:
        yield "trivial", f"{', '.join(told)}: {found.kind.predictor}"


def _of_control(found: Dataset) -> dict[str, float]:
    """All test scores of the trivial control, {} of a task that it cannot answer."""
    from lstm_bench.model.controls import CONTROLS
    from lstm_bench.model.question import Samples
    from lstm_bench.study.control_rows import asked_by

    control, asked = CONTROLS["trivial"], asked_by(found.kind, found.y_train, found.n_classes, bool(found.tokens))
    if asked.kind not in control.kinds:
        return {}
    train, test = (
        Samples(getattr(found, f"x_{split}"), getattr(found, f"y_{split}"), found.lengths(split))
        for split in ("train", "test")
    )
    outputs = control.fit(train, train, asked).outputs(test.x, test.lengths)
    return found.kind.score(outputs, test.y, "test", found.label_mask("test"))


def _say_facts(console: Console, found: Dataset) -> None:
    from rich.table import Table
    from rich.text import Text

    console.print(Text(found.name, "bold"))
    grid = Table.grid(padding=(0, 2))
    for heading, text in _facts(found):
        grid.add_row(Text(f"  {heading}", no_wrap=True), Text(text, overflow="fold"))
    console.print(grid)


def _say_classes(console: Console, found: Dataset, counts: Mapping[str, Mapping[str, int]]) -> None:
    if not counts:
        return
    from rich.text import Text

    splits = ("train", "validation", "test")
    several, labels = found.kind.labels.several, {split: found.labels(split) for split in splits}
    totals = {split: len(y) if several else y.size for split, y in labels.items()}
    console.print()
    table = _table("label" if several else "class", *(word for split in splits for word in (split, "%")))
    for name, of in list(counts.items())[:_CLASSES]:
        cells = [word for split in splits for word in (f"{of[split]:,}", f"{100 * of[split] / totals[split]:.1f}")]
        table.add_row(Text(name), *cells)
    console.print(table)
    if len(counts) > _CLASSES:
        console.print(f"... and {len(counts) - _CLASSES:,} more")


def _say_columns(console: Console, columns: Sequence[Column]) -> None:
    from rich.text import Text

    ordered = sorted(columns, key=lambda column: not (column.remark or column.missing))[:_COLUMNS]
    shown: Iterable[Column] = columns if len(columns) <= _COLUMNS else ordered
    console.print()
    table = _table("column", "missing", "mean", "deviation", "least", "most", "")
    for column in shown:
        numbers = (column.mean, column.deviation, column.low, column.high)
        table.add_row(
            Text(column.name),
            f"{column.missing:,}",
            *(f"{value:.4g}" for value in numbers),
            Text(column.remark, "yellow"),
        )
    console.print(table)
    if len(columns) > _COLUMNS:
        console.print(f"... and {len(columns) - _COLUMNS:,} more")
    console.print()


def _draw(console: Console, found: Dataset, kind: str, path: str) -> None:
    from lstm_bench.core import fileio
    from lstm_bench.report.figures import sequences, style

    out = home.expanded(path)
    fileio.write_bytes(out, style.render(sequences.overview(found), kind))
    console.print(f"{out}", markup=False)


if __name__ == "__main__":
    sys.exit(main())
