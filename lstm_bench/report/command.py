"""`python -m lstm_bench.report`: tables and figures in `reports/` from the records below `sweeps/`, nothing else.

Or, with `source=mlflow`, from the studies in an MLflow store alone: then as those of a working folder, into a folder of
their own, `reports/mlflow/`, unless `reports` is given.

Which study goes where. A study is known by its name and its source: published, in `sweeps/published/<device>/<study>/`,
or working, in `sweeps/<study>/`. The two never share a file:

| folder             | is made of                                                | in git  |
|--------------------|-----------------------------------------------------------|---------|
| `reports/`         | the published studies, pages in `reports/<device>/`       | yes     |
| `reports/working/` | the working studies, compared with the published ones     | ignored |

A kernel benchmark (`sweeps/kernels-<grid>/`, known by its `cells.csv`) goes the same way, on a page per grid with a
section per published device.

So the committed reports are the same bytes in a fresh clone and beside anyone's own sweeps. Where nothing is published
(a project of your own) the working studies go straight into `reports/`. `sweeps=sweeps/published` leaves
`reports/working/` alone: what a check of the committed reports wants.

Each of the two folders has a `MANIFEST.json` with the SHA-256 of all its files and the versions that drew the figures:
it says which files may be removed when they are no longer made (only those, and only unedited), and lets `check=true`
compare figures byte for byte where they would be drawn by the same versions, by checksum elsewhere. It also says what
each figure was drawn from: with the same rows, options and drawing code it is not drawn again.

What is asked for beside that is ignored by git, by that manifest and by `check=true`: `html=true` makes the pages one
`report.html` for a browser; `png=true`, `pdf=true` and `latex=true` make the figures and the tables of the pages once more,
`columns=` a table of chosen columns, each in a folder of its name with a manifest of its own.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lstm_bench.core import cli, fileio, formatting
from lstm_bench.core.configuration import NAME
from lstm_bench.core.errors import (
    CheckFailedError,
    ConfigError,
    nearest,
)
from lstm_bench.report.manifest import MANIFEST, Change, _write, update
from lstm_bench.report.options import Options, _conf, parse

if TYPE_CHECKING:  # pandas and matplotlib take a second: --help and the sweep's driver do without
    from lstm_bench.report.pages.study import Pages
    from lstm_bench.report.sources.records import Result
    from lstm_bench.study.reader import Place

HELP = """\
Tables and figures in reports/ from the records below sweeps/.

  python -m lstm_bench.report [key=value ...]

  sweeps=DIR     where the records lie                        (sweeps)
  reports=DIR    where the tables and figures go              (reports)
  check=true     write nothing; exit 6 when something is stale (false)
  studies=a,b    only the pages of these studies; comparison and index always cover all,
                 pages of kernel benchmarks stay as they are
  figures=all    all figures of each study on its page, not its learning curves and confusion alone (essential)

Beside the committed pages, on request:
  html=true      all pages as one, reports/report.html: figures inside, tables to sort, no network needed (false)
  png=true       the figures as PNG, in reports/png/ (false)
  pdf=true       the figures as PDF, in reports/pdf/, their text as text (false)
  latex=true     the tables of the pages as LaTeX, in reports/latex/ (false)
  columns=a,b    a table of these columns of a data file, in reports/csv/ and, with latex=true, in reports/latex/:
                 columns of comparison.csv, pairs.csv, budget.csv or kernels-<grid>.csv; of comparison.csv also
                 `score`, the mean with its interval as the pages print it; rows are those of studies=, if given
  names=A,B      how that table calls them, in the same order; with a comma inside: names="[Study,'Score, %']"

  source=mlflow  read an MLflow server or file instead of sweeps=: the same tables for the same study,
                 without the kernel benchmarks, in reports/mlflow/ unless reports= is given (records)
  uri=URI        of that store: sqlite:///FILE, http://HOST:5000, ... (MLFLOW_TRACKING_URI, else mlflow.db here)
  experiments=a,b  only these of its experiments
  --help         this text

Published studies (DIR/published/<device>/<study>/) are reported in reports/, your own (DIR/<study>/) in
reports/working/, or in reports/ where nothing is published. Starts no framework and needs no network."""
_LISTED = 200  # stale files named one by one
WORKING = "working"


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit code."""
    args = list(sys.argv[1:] if argv is None else argv)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a terminal without the letter ± is no reason to fail
    return cli.guarded(args, f"{HELP}\n", lambda given: report(parse(given)))


def report(options: Options) -> None:
    """Makes or checks the reports and prints what was done, and the comparison.

    Raises:
      ConfigError: for a folder or study that is not there.
      CheckFailedError: with `check=true`, when a file is missing, stale or left over.
      StorageError: when a file cannot be written.
    """
    results, benchmarks = _load(options)
    predicted = _predicted(options)
    if (
        not results
        and not benchmarks
        and not predicted
        and not (options.check and (options.reports / MANIFEST).exists())
    ):
        place = f"below {options.sweeps}" if options.source == "records" else f"of lstm_bench in {options.origin}"
        print(f"No studies {place}: run `python -m lstm_bench.sweep +study=stacked` first.")
        return
    changes = {}
    folders = _folders(results, benchmarks, options)
    _add_predicted(folders, predicted, options)
    _select(folders.values(), options)
    for folder, pages in folders.items():
        changes[folder] = update(folder, pages, options)
    for change in changes.values():
        for remark in change.remarks:
            print(remark)
    stale = [line for change in changes.values() for line in change.stale]
    made = sum(change.made for change in changes.values())
    if stale:
        more = [f"... and {len(stale) - _LISTED} more"] if len(stale) > _LISTED else []
        print("\n".join([*stale[:_LISTED], *more]), file=sys.stderr)
        raise CheckFailedError(
            f"{len(stale)} of {made} files of {options.reports} are not what {options.origin} gives",
            remedy="Run `python -m lstm_bench.report` with the same options and without check=true.",
        )
    if options.check:
        print(f"{made} files of {options.reports} are current.")
        return
    _print_summary(results, changes, options)


def comparison_row(folder: Path) -> dict[str, Any]:
    """One study's row of `comparison.csv`, as a mapping of numbers and text."""
    from lstm_bench.report.pages import comparison
    from lstm_bench.report.sources import records

    return comparison.comparison_row(records.load(Path(folder)))


def study_figures(folder: Path, out: Path) -> list[Path]:
    """Draws a study's figures as PNG files, for the driver to hand to MLflow. Those without rows are left out.

    Args:
      folder: The study's records.
      out: Folder for `history.png`, `slices.png`, `pairs.png`, `front.png`, `curves.png`,
        `confusion.png` and `worst.png`; made if need be.
    """
    from lstm_bench.report.figures import style
    from lstm_bench.report.pages import importance
    from lstm_bench.report.pages.study_figures import study_figure_makers
    from lstm_bench.report.sources import records

    study, paths = records.load(Path(folder)), []
    for name, made in study_figure_makers(study, importance.importance(study)).items():
        if not isinstance(made, str):
            path = Path(out) / f"{name}.png"
            _write(path, style.render(made[0](), "png"))
            paths.append(path)
    return paths


def _load(options: Options) -> tuple[list[Result], list[Result]]:
    """Studies and kernel benchmarks."""
    if options.source == "mlflow":
        return _harvested(options), []
    if not options.sweeps.is_dir():
        if options.sweeps_given or options.sweeps.exists():
            raise ConfigError("sweeps", expected="a folder of studies", received=str(options.sweeps))
        return [], []
    from lstm_bench.report.sources import benchmarks, records
    from lstm_bench.study import reader

    root = options.sweeps.resolve()  # `sweeps=.` has the name that tells a folder of published studies
    studies, kernels = (_named(reader.places(root, benchmarks=kind)) for kind in (False, True))
    _check_names(options, {place.folder.name for place in studies})
    return (
        [records.load(*place) for place in studies],
        [benchmarks.load(*place) for place in kernels],
    )


def _harvested(options: Options) -> list[Result]:
    """Studies of an MLflow store; what was left out is said."""
    from lstm_bench.report.sources import mlflow

    studies, remarks = mlflow.harvest(options.uri, options.experiments)
    odd = [study.name for study in studies if not NAME.fullmatch(study.name)]
    for remark in [*remarks, *(f"left out, {name!r} is not a study's name" for name in odd)]:
        print(f"note: {options.origin}: {remark}", file=sys.stderr)
    studies = [study for study in studies if study.name not in odd]
    _check_names(options, {study.name for study in studies})
    return studies


def _check_names(options: Options, names: set[str]) -> None:
    for wanted in options.studies or []:
        if wanted not in names:
            raise ConfigError("studies", expected="names of studies", received=wanted, remedy=nearest(wanted, names))


def _named(found: Iterable[Place]) -> list[Place]:
    """Those with names that pages can have; the others are warned about."""

    good = []
    for place in found:
        odd = [name for name in filter(None, (place.folder.name, place.device)) if not NAME.fullmatch(name)]
        for name in odd:
            print(f"warning: {place.folder}: left out, {name!r} is not a study's or device's name", file=sys.stderr)
        if not odd:
            good.append(place)
    return good


def _folders(results: Sequence[Result], benchmarks: Sequence[Result], options: Options) -> dict[Path, Pages]:
    """The folders of reports that are to be made, each with what belongs into it."""
    from lstm_bench.report.pages.study import Pages

    published, working = ([r for r in results if bool(r.published) == public] for public in (True, False))
    public, own = ([b for b in benchmarks if bool(b.published) == shown] for shown in (True, False))
    folder = options.reports / WORKING
    if not (published or public):
        title, remark = "Reports", "Studies of this working folder."
        some = working or own
        folders = {options.reports: _pages(working, [], own, [], options, title, remark) if some else Pages()}
        working, own = [], []
    else:
        title, remark = "Reports", "Published studies: the records are in `sweeps/published/<device>/<study>/`."
        folders = {options.reports: _pages(published, [], public, [], options, title, remark)}
    if working or own:
        title, remark = "Reports of working studies", "Studies of this working folder, beside the published ones."
        folders[folder] = _pages(working, published, own, public, options, title, remark)
    elif options.source == "records" and options.sweeps.resolve().name != "published" and (folder / MANIFEST).exists():
        folders[folder] = Pages()  # all that was made there is out of date
    return folders


def _without_a_gpu() -> tuple[Any, ...]:
    """The pages of what was found where there is no GPU."""
    from lstm_bench.report.pages import launches, predicted

    return predicted, launches


def _predicted(options: Options) -> dict[tuple[str, bool], list[dict[str, str]]]:
    """Rows of predicted and of forecast kernels: stem of their page, and whether they are published -> rows."""
    if options.source != "records":
        return {}
    root = options.sweeps.resolve()
    public = root if root.name == "published" else root / "published"
    places = {True: public} | ({False: root} if root != public else {})
    files = {
        (page.STEM, shown): place / page.STEM / page.FILE
        for page in _without_a_gpu()
        for shown, place in places.items()
    }
    return {key: fileio.read_rows(file) for key, file in files.items() if file.is_file()}


def _add_predicted(
    folders: dict[Path, Pages], found: Mapping[tuple[str, bool], Sequence[Mapping[str, str]]], options: Options
) -> None:
    """Adds their pages to the folders that are made: published ones to the first, others beside the working studies."""
    from lstm_bench.report.pages.study import Pages

    made = {page.STEM: page for page in _without_a_gpu()}
    for (stem, published), rows in found.items():
        folder = options.reports if published or (stem, True) not in found else options.reports / WORKING
        pages = folders.setdefault(folder, Pages())
        if options.studies is None:
            pages.texts |= made[stem].page(rows)
        if "README.md" in pages.texts:
            pages.texts["README.md"] += f"\nWithout a GPU: [{made[stem].LINK}]({stem}.md).\n"


def _pages(
    results: Sequence[Result],
    beside: Sequence[Result],
    benchmarks: Sequence[Result],
    benchmarks_beside: Sequence[Result],
    options: Options,
    title: str,
    remark: str,
) -> Pages:
    """Pages of `results`, compared with each other and with those `beside`, whose pages are one folder up.

    Likewise of `benchmarks`; those beside are linked, not compared. Without studies there is no comparison.
    """
    from lstm_bench.report.pages import campaign, comparison, index, kernels, literature
    from lstm_bench.report.pages import study as page
    from lstm_bench.report.pages.claims import claims_page

    claims, published = _conf("claims.yaml"), _conf("literature.yaml")
    links = {id(r): page.stem(r) + ".md" for r in results} | {id(r): f"../{page.stem(r)}.md" for r in beside}
    links |= {id(b): kernels.stem(b) + ".md" for b in benchmarks}
    everything = [*results, *beside]
    pages = comparison.comparison(everything, claims, links) if results else page.Pages()
    if results:
        pages.texts["claims.md"] = claims_page(everything, claims)
        pages.texts["literature.md"] = literature.literature_page(everything, published, links)
    campaigns = campaign.of(results)
    for stem, mine in campaigns.items():
        pages.texts[f"{stem}.md"] = campaign.page(str(mine[0].get("study.campaign")), mine, claims, links)
    pages.texts["README.md"] = index.index(results, links, title, remark, benchmarks, pages.answers, [*campaigns])
    shown = [r for r in results if options.studies is None or r.name in options.studies]
    made = [page.study_page(r, options.figures == "all") for r in shown]
    if options.studies is None and benchmarks:
        up = "../../" if beside or benchmarks_beside else "../"
        above = {kernels.stem(b) for b in benchmarks_beside}
        made.append(kernels.kernel_pages(benchmarks, published, up, above))
    for one in made:
        pages.texts |= one.texts
        pages.figures |= one.figures
        pages.estimated |= one.estimated
    return pages


def _select(folders: Iterable[Pages], options: Options) -> None:
    """Makes of the pages what is asked for beside them as text: LaTeX tables, and the table of chosen columns."""
    from lstm_bench.report import selection
    from lstm_bench.report.render import latex

    if options.check:
        return
    for pages in folders:
        if options.latex:
            pages.requested |= latex.tables(pages.texts)
    if options.columns:
        selection.select(folders, options.columns, options.names or options.columns, options.studies, options.latex)


def _print_summary(results: Sequence[Result], changes: dict[Path, Change], options: Options) -> None:
    from lstm_bench.report.pages import index

    for folder, change in changes.items():
        removed = f", {len(change.removed)} removed" if change.removed else ""
        first = next((name for name in ("comparison.md", "README.md") if (folder / name).is_file()), "")
        where = f": {folder / first}" if change.made else ""
        print(f"{change.made} files in {folder}, {len(change.written)} written{removed}{where}")
    if results:
        print()
        columns, rows, right = index.short_table(results)
        print(formatting.plain(columns, rows, right))
