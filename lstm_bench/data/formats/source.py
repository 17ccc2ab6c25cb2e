"""A file with data, or a member of an archive: opened, unpacked within limits, and digested."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import importlib.util
import io
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from lstm_bench.core import progress
from lstm_bench.core.errors import DataError

MAX_BYTES = 16 * 2**30  # of a file, unpacked
# Text packs to a tenth or so. What unpacks to far more is no data: 1,032 is the most that deflate can do.
MAX_RATIO, FREE_BYTES = 200, 64 * 2**20
_ARCHIVES = (".zip", ".whl")
_PACKAGE = "package:"


def is_packaged(text: str) -> bool:
    """Whether a path is that of a file in an installed package."""
    return text.startswith(_PACKAGE)


@dataclass(frozen=True)
class Source:
    """A file, or a member of a zip archive or wheel.

    Attributes:
      path: Of the file.
      member: Name within the archive, None where the file itself is meant.
    """

    path: Path
    member: str | None = None

    @classmethod
    def parse(cls, text: str | Path) -> Source:
        """From `FILE`, `ARCHIVE.zip!MEMBER` (`.whl` likewise), or `package:NAME/FILE` of one that is installed.

        Raises:
          DataError: for a package that is not.
        """
        whole = str(text)
        if is_packaged(whole):
            name, _, file = whole.removeprefix(_PACKAGE).partition("/")
            known = importlib.util.find_spec(name) if name.isidentifier() else None
            if known is None or not known.submodule_search_locations:
                raise DataError(f"{whole}: no package {name[:80]} is installed")
            return cls(Path(next(iter(known.submodule_search_locations))) / file)
        head, mark, member = whole.partition("!")
        while mark:  # a folder may have a "!" in its name
            if head.lower().endswith(_ARCHIVES):
                return cls(Path(head), member.lstrip("/"))
            more, mark, member = member.partition("!")
            head = f"{head}!{more}"
        return cls(Path(whole))

    def __str__(self) -> str:
        return f"{self.path}!{self.member}" if self.member else str(self.path)

    @property
    def name(self) -> str:
        """The last part of its name."""
        return self.member.rpartition("/")[2] if self.member else self.path.name

    @property
    def packed(self) -> bool:
        """Whether it is packed by gzip."""
        return self.name.lower().endswith(".gz")

    @property
    def suffix(self) -> str:
        """In small letters, `.gz` left out: `.csv` of `a.CSV.gz`."""
        return Path(self.name[:-3] if self.packed else self.name).suffix.lower()

    @property
    def stem(self) -> str:
        """Its name without suffixes, and without the `_TRAIN` of an archive of time series."""
        stem = Path(self.name[:-3] if self.packed else self.name).stem
        return stem[:-6] if stem.upper().endswith("_TRAIN") and len(stem) > 6 else stem

    def sibling(self, name: str) -> Source | None:
        """A file of another name beside this one; None where there is none."""
        if self.member is None:
            other = self.path.with_name(name)
            return Source(other) if other.is_file() else None
        member = self.member[: len(self.member) - len(self.name)] + name
        with contextlib.suppress(OSError, zipfile.BadZipFile), zipfile.ZipFile(self.path) as archive:
            if member in archive.namelist():
                return Source(self.path, member)
        return None

    def require(self) -> None:
        """Raises DataError when there is no such file, or no such member."""
        try:
            known = self.path.is_file()
        except OSError:  # in a folder that may not be entered
            known = False
        if not known:
            what = "a folder, not a file" if self.path.is_dir() else "no such file"
            if self.path.exists() and not self.path.is_dir():
                raise DataError(
                    f"{self.path}: a pipe or a device", expected="a file", remedy="It is read more than once: save it."
                )
            raise DataError(f"{self.path}: {what}", remedy="Give an existing one: dataset.path=FILE")
        if self.member is not None:
            with self._archive() as archive:
                if self.member not in archive.namelist():
                    from lstm_bench.core.errors import nearest

                    raise DataError(
                        f"{self}: the archive has no such member", remedy=nearest(self.member, archive.namelist())
                    )

    @contextlib.contextmanager
    def _archive(self) -> Iterator[zipfile.ZipFile]:
        try:
            with zipfile.ZipFile(self.path) as archive:
                yield archive
        except zipfile.BadZipFile as error:
            raise DataError(f"{self.path}: no zip archive, or a damaged one ({error})") from error

    @contextlib.contextmanager
    def open(self) -> Iterator[IO[bytes]]:
        """The bytes of the file, unpacked, with a buffer; what unpacks to too much is refused while it is read.

        Raises:
          DataError: while it is read, when it is damaged, a bomb, or changed meanwhile.
        """
        self.require()
        before = self._stamp()
        try:
            with contextlib.ExitStack() as stack:
                raw: Any
                if self.member is None:
                    raw = stack.enter_context(self.path.open("rb"))
                    size = self.path.stat().st_size
                else:
                    archive = stack.enter_context(self._archive())
                    raw = stack.enter_context(self._opened(archive))
                    size = archive.getinfo(self.member).compress_size
                packed = self.packed or self.member is not None
                plain: Any = stack.enter_context(gzip.GzipFile(fileobj=raw)) if self.packed else raw
                limit = min(MAX_BYTES, max(FREE_BYTES, MAX_RATIO * size)) if packed else MAX_BYTES
                whole = size if self.member is None else archive.getinfo(self.member).file_size
                counted = _Limited(plain, limit, str(self), lambda: raw.tell() / max(whole, 1))
                yield io.BufferedReader(counted, 2**20)
        except (OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise DataError(f"{self}: cannot be read ({reason})", remedy="It may be cut off or damaged.") from error
        if self._stamp() != before:
            raise self.changed()

    def changed(self) -> DataError:
        """What is raised of a file that is written to while it is read."""
        return DataError(f"{self}: changed while it was read", remedy="Wait until it is written, then start again.")

    def _opened(self, archive: zipfile.ZipFile) -> IO[bytes]:
        try:
            return archive.open(str(self.member))
        except (
            RuntimeError,
            zipfile.BadZipFile,
            ValueError,
        ) as error:  # encrypted, packed otherwise, or overlapping another
            raise DataError(f"{self}: cannot be read ({error})", remedy="Unpack the archive.") from error

    def _stamp(self) -> tuple[int, int]:
        with contextlib.suppress(OSError):
            known = self.path.stat()
            return known.st_size, known.st_mtime_ns
        return 0, 0

    def sha256(self) -> str:
        """Digest of the file as it lies there; of a member, of its bytes."""
        total = hashlib.sha256()
        self.require()
        with contextlib.ExitStack() as stack:
            if self.member is None:
                file: Any = stack.enter_context(self.path.open("rb"))
            else:
                file = stack.enter_context(self._opened(stack.enter_context(self._archive())))
            while block := file.read(2**20):
                total.update(block)
        return total.hexdigest()


class _Limited(io.RawIOBase):
    """A stream that ends in a DataError where more comes than may."""

    def __init__(self, stream: IO[bytes], limit: int, where: str, share: Callable[[], float]):
        self._stream, self._left, self._limit, self._where = stream, limit, limit, where
        self._share = share  # of the file that is read

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        block = self._stream.read(len(buffer))
        self._left -= len(block)
        if self._left < 0:
            raise DataError(
                f"{self._where}: unpacks to more than it may", expected=f"at most {self._limit / 2**20:,.0f} MiB"
            )
        buffer[: len(block)] = block
        progress.tell(f"reading {Path(self._where).name}", self._share())
        return len(block)
