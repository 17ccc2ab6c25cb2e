"""Which studies can be compared, and what keeps the others from it: a mark on a row, and the sentence it stands for."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from lstm_bench.report.render.markdown import slug
from lstm_bench.report.sources.records import Result

UNKNOWN = "not recorded"
_DRAWN = ("at random", "by group")  # how files are divided where that is drawn: others can be divided in one way
_DIVIDED = re.compile(r"divided (at random|by group|by time|as given)\b")  # the note of whoever read the file


class Ground(NamedTuple):
    """What studies have to share for a difference of their scores to be one of the families.

    Attributes:
      data: Data and sequence length, see `data_of`.
      measure: Column of the score.
      digest: SHA-256 of the data.
      n_train: Training samples.
      n_validation: Validation samples.
      validation: Where those are from, `split` or `test`.
      objective: What the search and the choice of the winner went by.
      split: How a file was divided, as `at random` or `by group`; "" of other data.
    """

    data: str
    measure: str
    digest: str
    n_train: str
    n_validation: str
    validation: str
    objective: str
    split: str = ""

    def text(self) -> str:
        """In words, for a heading where one set of data has several grounds."""
        where = "validated on the test set" if self.validation == "test" else f"{self.n_validation} held out"
        data = f"data {self.digest[:12]}..." if self.digest != UNKNOWN else f"data digest {UNKNOWN}"
        divided = f", divided {self.split}" if self.split else ""
        return f"{data}, {self.n_train} training samples, {where}{divided}, chosen by {self.objective}"

    def short(self) -> str:
        """What most often tells grounds apart: `55,000 training samples, 5,000 held out`."""
        held = "test set" if self.validation == "test" else f"{self.n_validation} held out"
        return f"{self.n_train} training samples, {'validated on the ' if held == 'test set' else ''}{held}"

    def slug(self) -> str:
        """As part of a file's name, which no study beside these changes: `mnist-35b4ae-train-55000-val-5000`."""

        def known(fact: str) -> str:
            return "unknown" if fact == UNKNOWN else fact.replace(",", "")

        held = {"split": known(self.n_validation), "test": f"test-{known(self.n_validation)}"}.get(
            self.validation, f"{known(self.n_validation)}-unknown"
        )
        usual = self.objective == self.measure.replace("test_", "val_")
        parts = [self.data.replace(", length ", "-"), known(self.digest)[: 7 if self.digest == UNKNOWN else 6]]
        parts += [self.split.partition(" ")[2]] if self.split.startswith(_DRAWN) else []
        parts += ["train", known(self.n_train), "val", held, *([] if usual else [self.objective.replace(", ", "-")])]
        return slug("-".join(parts))


def length_of(result: Result) -> int | None:
    """The sequence length that was asked of the data, None where the data has but one."""
    length = result.get("dataset.length")
    return length if isinstance(length, int) else None


def data_of(result: Result) -> str:
    """Name of the data, with the sequence length where that is a choice: `adding, length 50`."""
    length = length_of(result)
    return result.dataset if length is None else f"{result.dataset}, length {length}"


def ground(result: Result) -> Ground:
    """What a study's scores stand on; of older records some of it is not recorded, which is equal to itself alone."""
    facts = (result.env("dataset.sha256"), result.env("dataset.n_train"), result.env("dataset.n_validation"))
    digest, n_train, n_validation = (_text(fact) or UNKNOWN for fact in facts)
    validation = str(result.get("dataset.validation", UNKNOWN))
    several = result.get("study.objectives")
    objective = ", ".join(several) if isinstance(several, dict) and several else result.objective
    found = Ground(data_of(result), result.measure.column, digest, n_train, n_validation, validation, objective)
    return found._replace(split=_split(result))


def _split(result: Result) -> str:
    notes = result.env("dataset.notes")
    found = [match[1] for note in notes if (match := _DIVIDED.match(str(note)))] if isinstance(notes, list) else []
    seed = result.get("dataset.split_seed")
    return "".join(found[:1]) + (f", split_seed {seed}" if seed and found and found[0] in _DRAWN else "")


def grounds(results: Sequence[Result]) -> dict[Ground, list[Result]]:
    """Results by what they stand on, in the order given; the larger group first."""
    groups: dict[Ground, list[Result]] = {}
    for result in results:
        groups.setdefault(ground(result), []).append(result)
    return dict(sorted(groups.items(), key=lambda item: (-len(item[1]), item[0])))


def caveats(results: Sequence[Result]) -> list[list[str]]:
    """Sentences on what each row of a table does not share with most of the others, or what of it is not recorded.

    Args:
      results: The rows of the table, in their order: of equally frequent values the first is the rule.

    Returns:
      Per row, none where it is as most.
    """
    says: list[list[str]] = [[] for _ in results]
    for name, value, text in _SHARED:
        values = [value(r) for r in results]
        rule = Counter(values).most_common(1)[0][0]
        for row, mine in zip(says, values, strict=True):
            if not mine:
                row.append(f"{name} {UNKNOWN}.")
            elif mine != rule and rule:
                row.append(text.format(mine, rule))
    return says


def circumstances(results: Sequence[Result]) -> str:
    """How studies were trained, and where: `20,000 training samples; 3 epochs; AMD EPYC`."""
    epochs = sorted({epoch for r in results for epoch in r.one("epochs").split(", ") if epoch}, key=float)
    trained = " or ".join(sorted({r.trained_on.removesuffix(" training samples") for r in results} - {""}))
    devices = sorted({r.where for r in results})
    texts = (
        f"{trained} training samples" if trained else "",
        _listed(epochs),
        *devices,
    )
    return "; ".join(filter(None, texts))


def _listed(epochs: Sequence[str]) -> str:
    """`3 or 10 epochs`; of more than three numbers the range."""
    if len(epochs) > 3:
        return f"{epochs[0]} to {epochs[-1]} epochs"
    return f"{' or '.join(epochs)} epochs" if epochs else ""


def _text(fact: Any) -> str:
    return "" if fact is None else f"{fact:,}" if isinstance(fact, int) else str(fact)


def _search(result: Result) -> str:
    """Sampler and pruner: `random, hyperband`."""
    return ", ".join(str(result.get(f"{part}.name") or UNKNOWN) for part in ("sampler", "pruner"))


def _epochs(result: Result) -> str:
    """Epochs that were asked for, where each training ends by itself or by its folds; else those it had."""
    ends = result.get("train.patience") is not None or result.get("dataset.folds")
    return f"at most {result.get('train.epochs')}" if ends else result.one("epochs")


def _fact(path: str) -> Callable[[Result], str]:
    return lambda result: _text(result.env(path))


# What must be the same in all rows of a table, lest it is said: name, value, sentence with the value and the rule. The first
# two are part of a table's ground, where they can only be unknown.
_SHARED: tuple[tuple[str, Callable[[Result], str], str], ...] = (
    ("data digest", lambda r: _fact("dataset.sha256")(r)[:12], ""),
    ("training size", _fact("dataset.n_train"), ""),
    ("search budget", lambda r: _text(r.get("study.n_trials")), "{} trials of search, not {}."),
    ("search", lambda r: _search(r), "searched by {}, not {}."),
    ("epochs", lambda r: _epochs(r), "{} epochs, not {}."),
    ("backend", lambda r: r.one("backend") or str(r.get("backend.name", "")), "backend {}, not {}."),
    ("device", lambda r: "" if r.where == "unknown device" else r.where, "device {}, not {}; speeds do not compare."),
    ("version of lstm_bench", _fact("lstm_bench"), "version {} of lstm_bench, not {}."),
)  # fmt: skip
