"""What a report has written: figures drawn, files compared and written, what is stale or gone, by a manifest."""

from __future__ import annotations

import contextlib
import hashlib
import json
import multiprocessing
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lstm_bench.core.errors import (
    StorageError,
)
from lstm_bench.report.options import Options

if TYPE_CHECKING:  # pandas and matplotlib take a second: --help and the sweep's driver do without
    from matplotlib.figure import Figure

    from lstm_bench.report.pages.study import Pages


MANIFEST = "MANIFEST.json"
_FIGURES_PER_CORE = 20  # that pay for the second in which a process imports matplotlib


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


def update(folder: Path, pages: Pages, options: Options) -> Change:
    """Makes `folder` hold `pages`, or says what a check finds."""
    from lstm_bench.report.figures import style

    change = Change()
    before = _manifest(folder / MANIFEST)
    known: dict[str, str] = before["files"]
    files = {path: text.encode() for path, text in pages.texts.items()}
    sums = {path: _sha256(data) for path, data in files.items()}
    drawn = [f"{path}.svg" for path in pages.figures]
    requested = {path: text.encode() for path, text in pages.requested.items()}
    same = before["drawn_by"] in (None, style.renderer())
    drawn_from: dict[str, str] = before["drawn_from"]
    if options.check and not same:
        ours = ", ".join(f"{k} {v}" for k, v in style.renderer().items())
        remark = (
            f"figures were drawn by other versions than {ours}: they and pages with estimates are compared by checksum."
        )
        change.remarks.append(f"{folder}: {remark}")
        sums |= {path: known.get(path, "") for path in [*drawn, *pages.estimated]}
    else:
        sources = {f"{path}.svg": style.drawn_from(make) for path, make in pages.figures.items()}
        current = _current(folder, before, sources) if same and options.kinds == ("svg",) else {}
        others = {path: make for path, make in pages.figures.items() if f"{path}.svg" not in current}
        for path, data in (current | _drawn(others, options.kinds)).items():
            kind = path.rpartition(".")[2]
            if kind == "svg":
                files[path] = data
            else:
                requested[f"{kind}/{path.removeprefix('figures/')}"] = data
        sums |= {path: _sha256(files[path]) for path in drawn}
        if not options.check:
            drawn_from = drawn_from | {path: _bound(source, sums[path]) for path, source in sources.items()}
    if options.html and not options.check and files:
        from lstm_bench.report.render import html

        requested[html.PAGE] = html.page(files)
    other = {path: digest for path, digest in known.items() if path not in sums and (folder / path).is_file()}
    kept = {} if options.studies is None else other
    gone = [path for path in known if path not in sums and path not in kept]
    drawn_by = before["drawn_by"] if options.check and not same else style.renderer()
    if sums:
        listed = dict(sorted((kept | sums).items()))
        figures = {path: digest for path, digest in sorted(drawn_from.items()) if path in listed}
        manifest: dict[str, Any] = {"made_by": "python -m lstm_bench.report", "drawn_by": drawn_by}
        manifest |= {"drawn_from": figures} if figures else {}  # an older manifest says nothing of it, and is current
        manifest |= {"files": listed}
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


def _current(folder: Path, before: Mapping[str, Any], sources: Mapping[str, str]) -> dict[str, bytes]:
    """The figures that lie there as an earlier run drew them from the same sources: path -> contents."""
    found = {path: _contents(folder / path) for path in sources}
    read = {path: data for path, data in found.items() if data is not None}
    drawn_from = before["drawn_from"]
    return {path: data for path, data in read.items() if drawn_from.get(path) == _bound(sources[path], _sha256(data))}


def _bound(source: str, contents: str) -> str:
    """What the manifest says a figure is drawn from: its sources bound to its bytes, which a merge might part."""
    return _sha256(f"{source} {contents}".encode())[:16]


def _drawn(makers: Mapping[str, Callable[[], Figure]], kinds: Sequence[str] = ("svg",)) -> dict[str, bytes]:
    """Pictures of all figures, drawn on all cores where there are many: path with suffix -> contents."""
    from lstm_bench.core import hardware
    from lstm_bench.report.figures import style

    cores = min(len(hardware.cores()), len(makers) // _FIGURES_PER_CORE)
    draw = partial(style.pictures, kinds=kinds)
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
    from lstm_bench.report.figures import style

    for kind in sorted({path.partition("/")[0] for path in files if "/" in path}):
        mine = {path.removeprefix(f"{kind}/"): data for path, data in files.items() if path.startswith(f"{kind}/")}
        known: dict[str, str] = _manifest(folder / kind / MANIFEST)["files"]
        gone = {path: digest for path, digest in known.items() if path not in mine}
        for path, digest in gone.items() if whole else ():
            if _sha256_of(folder / kind / path) == digest:
                _remove(folder / kind, path)
                change.removed.append(f"{kind}/{path}")
        sums = ({} if whole else gone) | {path: _sha256(data) for path, data in mine.items()}
        text = json.dumps({"drawn_by": style.renderer(), "files": dict(sorted(sums.items()))}, indent=1) + "\n"
        files = {**files, f"{kind}/{MANIFEST}": text.encode()}
    for path, data in sorted(files.items()):
        if _sha256_of(folder / path) != _sha256(data):
            _write(folder / path, data)
            change.written.append(path)


def _manifest(path: Path) -> dict[str, Any]:
    """Files that an earlier run made, and what drew them. A damaged manifest owns nothing."""
    empty: dict[str, Any] = {"drawn_by": None, "drawn_from": {}, "files": {}}
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
        files = {str(name): str(digest) for name, digest in value["files"].items()}
        drawn_by = {str(k): str(v) for k, v in value["drawn_by"].items()}
        drawn_from = {str(k): str(v) for k, v in value.get("drawn_from", {}).items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return empty
    inside = {name: digest for name, digest in files.items() if _inside(path.parent, name)}
    return {"drawn_by": drawn_by, "drawn_from": drawn_from, "files": inside}


def _inside(folder: Path, name: str) -> bool:
    return (folder / name).resolve().is_relative_to(folder.resolve()) and ".." not in Path(name).parts


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _sha256_of(path: Path) -> str | None:
    data = _contents(path)
    return None if data is None else _sha256(data)


def _contents(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
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
