"""The download of MNIST and its kind: from the first mirror with the right bytes, within limits of time, size and scheme."""

from __future__ import annotations

import contextlib
import io
import os
import queue
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from lstm_bench.core.errors import DataError, StorageError
from lstm_bench.data import images

MIRRORS: dict[str, tuple[str, ...]] = {
    "mnist": (
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
    ),
    "fashion_mnist": (
        "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",  # its publisher's
        "https://storage.googleapis.com/tensorflow/tf-keras-datasets/",  # where Keras takes it from
    ),
    "kmnist": ("https://codh.rois.ac.jp/kmnist/dataset/kmnist/",),  # its publisher's
}
SCHEME = "https"  # the only one that is followed, redirects included
ANSWER_S = 1.5  # seconds for a mirror to answer: two silent ones and the import of scikit-learn stay within 5 s
READ_S = 20.0  # seconds without a byte before a download is given up


class UnreachableError(Exception):
    """No mirror gave the file."""


def complete(folder: Path, of: str = "mnist") -> str:
    """Completes the files of a data set in `folder`, each verified before it gets its name.

    Args:
      folder: Where they go.
      of: See `images.files`.

    Returns:
      The mirror of the last one.

    Raises:
      UnreachableError: if no mirror gave one of them, with all reasons.
      StorageError: if one cannot be stored.
    """
    from http.client import HTTPException

    mirror = ""
    present = images.files(folder, of)
    for name in (name for name in images.SHA256 if name not in present):
        reasons = []
        for mirror in MIRRORS[of]:
            url = f"{mirror}{name}.gz"
            try:
                body = _fetch(url)
                images.decode(io.BytesIO(body), url, name, of)
                break
            except (OSError, HTTPException, DataError) as error:
                reason = getattr(error, "reason", None) or error
                reasons.append(str(error) if isinstance(error, DataError) else f"{url}: {reason}")
        else:
            raise UnreachableError("; ".join(reasons))
        _store(folder / f"{name}.gz", body)
    return mirror


def _store(path: Path, body: bytes) -> None:
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as file:
            file.write(body)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        remedy = "Free space, or let XDG_CACHE_HOME name a folder that can be written."
        raise StorageError(f"{path}: cannot be written ({error.strerror or error})", remedy=remedy) from error


def _fetch(url: str) -> bytes:
    body = bytearray()
    with _open(url) as response, _progress(url, response.headers.get("Content-Length")) as advance:
        while chunk := response.read(2**16):
            body += chunk
            if len(body) > images.MAX_BYTES:
                raise OSError(f"more than {images.MAX_BYTES} bytes")
            advance(len(chunk))
    return bytes(body)


def _open(url: str) -> Any:
    """The response of `url`, or `TimeoutError` after `ANSWER_S` seconds, name resolution included."""
    import urllib.request

    class OnlyScheme(urllib.request.HTTPRedirectHandler):
        def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
            if not newurl.startswith(f"{SCHEME}://"):
                fp.close()
                raise OSError(f"only {SCHEME} is followed, not {newurl}")
            return super().redirect_request(req, fp, code, msg, headers, newurl)

    if not url.startswith(f"{SCHEME}://"):
        raise OSError(f"only {SCHEME} is followed, not {url}")
    opener = urllib.request.build_opener(OnlyScheme)
    answers: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def ask() -> None:
        try:
            answers.put(opener.open(url, timeout=READ_S))
        except Exception as error:
            answers.put(error)

    # A thread, because no timeout of urllib's covers name resolution; a daemon, because it may hang for long.
    threading.Thread(target=ask, daemon=True).start()
    try:
        answer = answers.get(timeout=ANSWER_S)
    except queue.Empty:
        raise TimeoutError(f"no answer within {ANSWER_S:g} s") from None
    if isinstance(answer, Exception):
        if isinstance(answer, urllib.request.HTTPError):
            answer.close()
        raise answer
    return answer


@contextlib.contextmanager
def _progress(url: str, length: str | None) -> Iterator[Callable[[int], None]]:
    """Shows a bar on stderr where that is a terminal; yields the function to be told of bytes received."""
    if not sys.stderr.isatty():
        yield lambda n: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    columns = TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn()
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(url.rpartition("/")[2], total=int(length) if length and length.isdecimal() else None)
        yield lambda n: progress.advance(task, n)
