"""Atomic files: tables, JSON and YAML written whole, rows appended and synced, a torn tail cut before it is read."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from lstm_bench.core.errors import StorageError
from lstm_bench.core.formatting import format_exact, format_field

# Characters of one field. `values` of a long sequence outgrows csv's own limit, 131,072; the limit holds process-wide.
_FIELD_SIZE = 2**30


def _lines(columns: Sequence[str], rows: Iterable[Mapping[str, Any]], header: bool) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    if header:
        writer.writerow(columns)
    for row in rows:
        writer.writerow([(format_exact if c.startswith("config_") else format_field)(row.get(c)) for c in columns])
    return out.getvalue()


def write_text(path: Path, text: str) -> None:
    """As `write_bytes`, of a text."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, body: bytes) -> None:
    """Replaces `path` by `body` at once: a reader sees the old or the new file, a crash leaves one of them."""
    part = path.with_name(path.name + ".part")
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
        raise _unwritable(path, error) from error


def write_rows(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Writes a whole record file, replacing what was there."""
    write_text(path, _lines(columns, rows, header=True))


def holds(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> bool:
    """Whether a record file is what `write_rows` would make it."""
    return path.exists() and path.read_bytes() == _lines(columns, rows, header=True).encode()


def append_rows(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Appends rows and fsyncs. A torn last line left by a crash is first moved to `<name>.bad-tail`.

    A file whose header lacks one of the columns, as an older version's, is written anew with it.
    """
    try:
        if path.exists() and path.stat().st_size:
            _cut_torn_tail(path)
            with path.open(encoding="utf-8", newline="") as file:
                header = next(csv.reader(file), [])
            columns = tuple(dict.fromkeys((*header, *columns)))
            if header and len(columns) > len(header):
                write_rows(path, columns, [*read_rows(path), *rows])
                return
        new = not path.exists() or path.stat().st_size == 0  # or nothing but a torn header
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8", newline="") as file:
            file.write(_lines(columns, rows, header=new))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise _unwritable(path, error) from error


def remove(path: Path) -> None:
    """Deletes a file, if it is there."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise _unwritable(path, error) from error


def _cut_torn_tail(path: Path) -> None:
    with path.open("rb+") as file:
        file.seek(0, os.SEEK_END)
        size = file.tell()
        file.seek(size - 1)
        if file.read(1) == b"\n":
            return
        file.seek(0)
        body = file.read()
        keep = body.rfind(b"\n") + 1
        with path.with_name(path.name + ".bad-tail").open("ab") as tail:
            tail.write(body[keep:] + b"\n")
        file.truncate(keep)


def read_rows(path: Path) -> list[dict[str, str]]:
    """Rows of a record file as text, [] when it does not exist. A torn last line is left out."""
    if not path.exists():
        return []
    text = path.read_text(encoding="utf-8")
    return parsed(text[: text.rfind("\n") + 1])


def parsed(text: str) -> list[dict[str, str]]:
    """Rows of the text of a record file, as text."""
    csv.field_size_limit(_FIELD_SIZE)
    return list(csv.DictReader(io.StringIO(text)))


def write_json(path: Path, value: Any) -> None:
    """Writes JSON with sorted keys."""
    write_text(path, json.dumps(value, indent=2, sort_keys=True, default=str) + "\n")


def write_yaml(path: Path, value: Any) -> None:
    """Writes YAML in the order given."""
    write_text(path, yaml.safe_dump(value, sort_keys=False, width=120))


def _unwritable(path: Path, error: OSError) -> StorageError:
    return StorageError(
        f"{path}: cannot be written ({error.strerror or error})",
        remedy="Nothing that was finished is lost: free space or mend the permissions, "
        "then give the same command again.",
    )
