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
compare figures byte for byte where they would be drawn by the same versions, by checksum elsewhere.

What is asked for beside that is ignored by git, by that manifest and by `check=true`: `html=true` makes the pages one
`report.html` for a browser; `png=true`, `pdf=true` and `latex=true` make the figures and the tables of the pages once more,
`columns=` a table of chosen columns, each in a folder of its name with a manifest of its own.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import multiprocessing
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lstm_bench.core import cli, formatting, home
from lstm_bench.core.errors import (
    CheckFailedError,
    ConfigError,
    StorageError,
    nearest,
    redact,
)

if TYPE_CHECKING:  # pandas and matplotlib take a second: --help and the sweep's driver do without
    from matplotlib.figure import Figure

    from lstm_bench.report.pages.study import Pages
    from lstm_bench.report.sources.records import Result

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
  uri=URI        of that store: sqlite:///FILE, http://HOST:5000, ... (mlflow.db here)
  experiments=a,b  only these of its experiments
  --help         this text

Published studies (DIR/published/<device>/<study>/) are reported in reports/, your own (DIR/<study>/) in
reports/working/, or in reports/ where nothing is published. Starts no framework and needs no network."""
MANIFEST = "MANIFEST.json"
PICTURES = ("png", "pdf")
FIGURES = ("essential", "all")
_SWITCHES = ("check", "html", "latex", *PICTURES)
_LISTED = 200  # stale files named one by one
_FIGURES_PER_CORE = 20  # that pay for the second in which a process imports matplotlib
WORKING = "working"
_PATHS = ("sweeps", "reports", "uri")  # options that are paths or addresses
SOURCES = ("records", "mlflow")


@dataclass
class Options:
    """The command line over `conf/report.yaml`."""

    sweeps: Path
    reports: Path
    check: bool
    studies: list[str] | None
    sweeps_given: bool = False
    html: bool = False
    source: str = "records"
    uri: str | None = None
    experiments: list[str] | None = None
    figures: str = "essential"
    png: bool = False
    pdf: bool = False
    latex: bool = False
    columns: list[str] | None = None
    names: list[str] | None = None

    @property
    def origin(self) -> str:
        """For people: what the reports are made from, without a password."""
        if self.source == "records":
            return str(self.sweeps)
        return "MLflow" if self.uri is None else redact(self.uri)

    @property
    def kinds(self) -> tuple[str, ...]:
        """What each figure is drawn as: the SVG of the pages, and what was asked for."""
        return ("svg", *(kind for kind in PICTURES if getattr(self, kind) and not self.check))


@dataclass
class Change:
    """What writing or checking one folder of reports came to.

    Attributes:
      made: Files that belong there.
      written: Files that were new or different; in a check, nothing.
      stale: Check only: `missing: path`, `stale: path` or `left over: path`.
      remarks: Sentences for the user.
    """

    made: int = 0
    written: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    stale: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit code."""
    args = list(sys.argv[1:] if argv is None else argv)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a terminal without the letter ± is no reason to fail
    return cli.guarded(args, f"{HELP}\n", lambda given: report(parse(given)))


def parse(args: Sequence[str]) -> Options:
    """Reads `key=value` options.

    Raises:
      ConfigError: for an unknown key or a value of the wrong type.
    """
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError

    defaults = _conf("report.yaml")
    for arg in args:
        key, equals, _ = arg.partition("=")
        if not equals or key not in defaults:
            expected = "a known option" if equals else "key=value"
            remedy = nearest(key.lstrip("-+"), defaults)
            raise ConfigError("report options", expected=expected, received=redact(arg), remedy=remedy)
    try:
        # Paths are taken as they stand: a `#` or `: ` in one is no YAML.
        texts = {key: value for key, _, value in (arg.partition("=") for arg in args) if key in _PATHS}
        texts = {key: value for key, value in texts.items() if value not in ("", "null") and "${" not in value}
        listed = [arg for arg in args if arg.partition("=")[0] not in texts]
        given: Any = OmegaConf.to_container(OmegaConf.from_dotlist(listed), resolve=True)
    except (OmegaConfBaseException, YAMLError) as error:
        raise ConfigError("report options", expected="key=value", received=redact(" ".join(args))) from error
    given |= texts
    values = {**defaults, **{str(k): v for k, v in given.items()}}
    for key in _SWITCHES:
        if not isinstance(values[key], bool):
            raise ConfigError(key, expected="true or false", received=str(values[key]))
    for key in ("sweeps", "reports"):
        if values[key] in (None, "") or isinstance(values[key], dict | list):
            raise ConfigError(key, expected="a folder", received=str(values[key]))
    source, uri = values["source"], values["uri"]
    if source not in SOURCES:
        expected = " or ".join(SOURCES)
        raise ConfigError("source", expected=expected, received=str(source), remedy=nearest(str(source), SOURCES))
    others = ("sweeps",) if source == "mlflow" else ("uri", "experiments")
    for key in others:
        if given.get(key) is not None:
            remedy = "source=mlflow reads no records." if source == "mlflow" else "It belongs to source=mlflow."
            raise ConfigError(
                key, expected=f"none with source={source}", received=redact(str(given[key])), remedy=remedy
            )
    _check_choices(values)
    if uri is not None and not isinstance(uri, str):
        raise ConfigError("uri", expected="a URI or null", received=str(uri))
    reports = home.expanded(str(values["reports"]))
    return Options(
        home.expanded(str(values["sweeps"])),
        reports / "mlflow" if source == "mlflow" and "reports" not in given else reports,
        values["check"],
        _names(values["studies"]),
        "sweeps" in given,
        values["html"],
        source,
        uri,
        _names(values["experiments"]),
        values["figures"],
        values["png"],
        values["pdf"],
        values["latex"],
        _names(values["columns"]),
        _names(values["names"]),
    )


def _check_choices(values: Mapping[str, Any]) -> None:
    """`figures`, and that `names` go with `columns`.

    Raises:
      ConfigError: where they do not.
    """
    figures, columns, names = values["figures"], _names(values["columns"]), _names(values["names"])
    if figures not in FIGURES:
        expected = " or ".join(FIGURES)
        raise ConfigError("figures", expected=expected, received=str(figures), remedy=nearest(str(figures), FIGURES))
    if columns is not None and not columns:
        raise ConfigError("columns", expected="names of columns", received="none")
    if names is not None and len(names) != len(columns or ()):
        raise ConfigError(
            "names",
            expected=f"one for each of the {len(columns)} columns" if columns else "none without columns=",
            received=", ".join(names) or "none",
        )


def _names(value: Any) -> list[str] | None:
    """`a,b` or a list of names."""
    if value is None:
        return None
    parts = value if isinstance(value, list) else str(value).split(",")
    return [name for part in parts if (name := str(part).strip())]


def report(options: Options) -> None:
    """Makes or checks the reports and prints what was done, and the comparison.

    Raises:
      ConfigError: for a folder or study that is not there.
      CheckFailedError: with `check=true`, when a file is missing, stale or left over.
      StorageError: when a file cannot be written.
    """
    results, benchmarks = _load(options)
    if not results and not benchmarks and not (options.check and (options.reports / MANIFEST).exists()):
        place = f"below {options.sweeps}" if options.source == "records" else f"of lstm_bench in {options.origin}"
        print(f"No studies {place}: run `python -m lstm_bench.sweep +study=stacked` first.")
        return
    changes = {}
    folders = _folders(results, benchmarks, options)
    _select(folders.values(), options)
    for folder, pages in folders.items():
        changes[folder] = _settle(folder, pages, options)
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
    from lstm_bench.report.figures import study as figure
    from lstm_bench.report.pages import importance
    from lstm_bench.report.pages import study_figures as gallery
    from lstm_bench.report.sources import records

    study, paths = records.load(Path(folder)), []
    for name, made in gallery.study_figure_makers(study, importance.importance(study)).items():
        if not isinstance(made, str):
            path = Path(out) / f"{name}.png"
            _write(path, figure.render(made[0](), "png"))
            paths.append(path)
    return paths


def _conf(name: str) -> dict[str, Any]:
    import yaml

    from lstm_bench.core.config import conf_dir  # lazily: OmegaConf is not for --help

    path = conf_dir() / name
    try:
        value = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        what = f"{path}: cannot be read ({type(error).__name__})"
        raise ConfigError(what, remedy="Install lstm_bench again.") from error
    if not isinstance(value, dict):
        raise ConfigError(str(path), expected="a mapping", received=type(value).__name__)
    return value


def _load(options: Options) -> tuple[list[Result], list[Result]]:
    """Studies and kernel benchmarks."""
    if options.source == "mlflow":
        return _harvested(options), []
    if not options.sweeps.is_dir():
        if options.sweeps_given or options.sweeps.exists():
            raise ConfigError("sweeps", expected="a folder of studies", received=str(options.sweeps))
        return [], []
    from lstm_bench.report.sources import records

    root = options.sweeps.resolve()  # `sweeps=.` has the name that tells a folder of published studies
    studies, benchmarks = (_named(found) for found in (records.find(root), records.find_benchmarks(root)))
    _check_names(options, {folder.name for folder, _ in studies})
    return [records.load(*place) for place in studies], [records.load_benchmark(*place) for place in benchmarks]


def _harvested(options: Options) -> list[Result]:
    """Studies of an MLflow store; what was left out is said."""
    from lstm_bench.report.sources import mlflow, records

    studies, remarks = mlflow.harvest(options.uri, options.experiments)
    odd = [study.name for study in studies if not records.NAME.fullmatch(study.name)]
    for remark in [*remarks, *(f"left out, {name!r} is not a study's name" for name in odd)]:
        print(f"note: {options.origin}: {remark}", file=sys.stderr)
    studies = [study for study in studies if study.name not in odd]
    _check_names(options, {study.name for study in studies})
    return studies


def _check_names(options: Options, names: set[str]) -> None:
    for wanted in options.studies or []:
        if wanted not in names:
            raise ConfigError("studies", expected="names of studies", received=wanted, remedy=nearest(wanted, names))


def _named(found: Iterable[tuple[Path, str | None]]) -> list[tuple[Path, str | None]]:
    """Those with names that pages can have; the others are warned about."""
    from lstm_bench.report.sources import records

    good = []
    for folder, device in found:
        odd = [name for name in filter(None, (folder.name, device)) if not records.NAME.fullmatch(name)]
        for name in odd:
            print(f"warning: {folder}: left out, {name!r} is not a study's or device's name", file=sys.stderr)
        if not odd:
            good.append((folder, device))
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
    from lstm_bench.report.pages import claims as tutorials
    from lstm_bench.report.pages import comparison, kernels, literature
    from lstm_bench.report.pages import study as page

    claims, published = _conf("claims.yaml"), _conf("literature.yaml")
    links = {id(r): page.stem(r) + ".md" for r in results} | {id(r): f"../{page.stem(r)}.md" for r in beside}
    links |= {id(b): kernels.stem(b) + ".md" for b in benchmarks}
    everything = [*results, *beside]
    pages = comparison.comparison(everything, claims, links) if results else page.Pages()
    if results:
        pages.texts["claims.md"] = tutorials.claims_page(everything, claims)
        pages.texts["literature.md"] = literature.literature_page(everything, published, links)
    pages.texts["README.md"] = comparison.index(results, links, title, remark, benchmarks, pages.answers)
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


def _settle(folder: Path, pages: Pages, options: Options) -> Change:
    """Makes `folder` hold `pages`, or says what a check finds."""
    from lstm_bench.report.figures import study as figure

    change = Change()
    before = _manifest(folder / MANIFEST)
    known: dict[str, str] = before["files"]
    files = {path: text.encode() for path, text in pages.texts.items()}
    sums = {path: _sha256(data) for path, data in files.items()}
    drawn = [f"{path}.svg" for path in pages.figures]
    requested = {path: text.encode() for path, text in pages.requested.items()}
    same = before["drawn_by"] in (None, figure.renderer())
    if options.check and not same:
        ours = ", ".join(f"{k} {v}" for k, v in figure.renderer().items())
        remark = (
            f"figures were drawn by other versions than {ours}: they and pages with estimates are compared by checksum."
        )
        change.remarks.append(f"{folder}: {remark}")
        sums |= {path: known.get(path, "") for path in [*drawn, *pages.estimated]}
    else:
        for path, data in _drawn(pages.figures, options.kinds).items():
            kind = path.rpartition(".")[2]
            if kind == "svg":
                files[path] = data
            else:
                requested[f"{kind}/{path.removeprefix('figures/')}"] = data
        sums |= {path: _sha256(files[path]) for path in drawn}
    if options.html and not options.check and files:
        from lstm_bench.report.render import html as webpage

        requested[webpage.PAGE] = webpage.page(files)
    other = {path: digest for path, digest in known.items() if path not in sums and (folder / path).is_file()}
    kept = {} if options.studies is None else other
    gone = [path for path in known if path not in sums and path not in kept]
    drawn_by = before["drawn_by"] if options.check and not same else figure.renderer()
    if sums:
        listed = dict(sorted((kept | sums).items()))
        manifest = {"made_by": "python -m lstm_bench.report", "drawn_by": drawn_by, "files": listed}
        files[MANIFEST] = (json.dumps(manifest, indent=1) + "\n").encode()
        sums[MANIFEST] = _sha256(files[MANIFEST])
    else:
        gone.append(MANIFEST)
    change.made = len(sums)
    for path, digest in sorted(sums.items()):
        have = _sha256_of(folder / path)
        if have == digest:
            continue
        if options.check:
            change.stale.append(f"{'missing' if have is None else 'stale'}: {folder / path}")
        else:
            _write(folder / path, files[path])
            change.written.append(path)
    for path in sorted(gone):
        if not (folder / path).is_file():
            continue
        if options.check:
            change.stale.append(f"left over: {folder / path}")
        elif path != MANIFEST and _sha256_of(folder / path) != known[path]:
            change.remarks.append(f"{folder / path} is no longer made, but was edited: left alone.")
        else:
            _remove(folder, path)
            change.removed.append(path)
    if not options.check:
        _write_requested(folder, requested, change, whole=options.studies is None)
    return change


def _drawn(makers: Mapping[str, Callable[[], Figure]], kinds: Sequence[str] = ("svg",)) -> dict[str, bytes]:
    """Pictures of all figures, drawn on all cores where there are many: path with suffix -> contents."""
    from lstm_bench.core import hardware as device
    from lstm_bench.report.figures import study as figure

    cores = min(len(device.cores()), len(makers) // _FIGURES_PER_CORE)
    draw = partial(figure.pictures, kinds=kinds)
    if cores < 2:
        pictures = list(map(draw, makers.values()))
    else:
        with ProcessPoolExecutor(cores, mp_context=multiprocessing.get_context("spawn")) as pool:
            pictures = list(pool.map(draw, makers.values(), chunksize=4))
    return {f"{path}.{kind}": data for path, some in zip(makers, pictures, strict=True) for kind, data in some.items()}


def _write_requested(folder: Path, files: Mapping[str, bytes], change: Change, whole: bool) -> None:
    """Writes what was asked for beside the pages; each kind has a folder with a manifest, by which what is gone is removed.

    Args:
      folder: Of reports.
      files: Path below it -> contents.
      change: Is told what was written and removed.
      whole: Whether all that belongs there was made; else what was made before stays.
    """
    from lstm_bench.report.figures import study as figure

    for kind in sorted({path.partition("/")[0] for path in files if "/" in path}):
        mine = {path.removeprefix(f"{kind}/"): data for path, data in files.items() if path.startswith(f"{kind}/")}
        known: dict[str, str] = _manifest(folder / kind / MANIFEST)["files"]
        gone = {path: digest for path, digest in known.items() if path not in mine}
        for path, digest in gone.items() if whole else ():
            if _sha256_of(folder / kind / path) == digest:
                _remove(folder / kind, path)
                change.removed.append(f"{kind}/{path}")
        sums = ({} if whole else gone) | {path: _sha256(data) for path, data in mine.items()}
        text = json.dumps({"drawn_by": figure.renderer(), "files": dict(sorted(sums.items()))}, indent=1) + "\n"
        files = {**files, f"{kind}/{MANIFEST}": text.encode()}
    for path, data in sorted(files.items()):
        if _sha256_of(folder / path) != _sha256(data):
            _write(folder / path, data)
            change.written.append(path)


def _manifest(path: Path) -> dict[str, Any]:
    """Files that an earlier run made, and what drew them. A damaged manifest owns nothing."""
    empty: dict[str, Any] = {"drawn_by": None, "files": {}}
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
        files = {str(name): str(digest) for name, digest in value["files"].items()}
        drawn_by = {str(k): str(v) for k, v in value["drawn_by"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return empty
    return {"drawn_by": drawn_by, "files": {name: s for name, s in files.items() if _inside(path.parent, name)}}


def _inside(folder: Path, name: str) -> bool:
    return (folder / name).resolve().is_relative_to(folder.resolve()) and ".." not in Path(name).parts


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _sha256_of(path: Path) -> str | None:
    try:
        return _sha256(path.read_bytes())
    except OSError:
        return None


def _write(path: Path, data: bytes) -> None:
    part = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(data)
        part.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        raise StorageError(f"{path}: cannot be written ({error.strerror or error})") from error


def _remove(folder: Path, name: str) -> None:
    """Removes a file, and the folders that are empty then."""
    path = folder / name
    with contextlib.suppress(OSError):
        path.unlink()
        for parent in path.parents:
            if parent == folder:
                break
            parent.rmdir()


def _print_summary(results: Sequence[Result], changes: dict[Path, Change], options: Options) -> None:
    from lstm_bench.report.pages import comparison

    for folder, change in changes.items():
        removed = f", {len(change.removed)} removed" if change.removed else ""
        first = next((name for name in ("comparison.md", "README.md") if (folder / name).is_file()), "")
        where = f": {folder / first}" if change.made else ""
        print(f"{change.made} files in {folder}, {len(change.written)} written{removed}{where}")
    if results:
        print()
        columns, rows, right = comparison.short_table(results)
        print(formatting.plain(columns, rows, right))
