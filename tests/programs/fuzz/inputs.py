"""Damaged and malicious inputs for every reader.

    python tests/programs/fuzz/inputs.py n=1000000 [seed=0] [reader=NAME] [processes=2]

An input is a good file, changed a few times: bits, numbers, pieces, lines; in the packed bytes or, packed and signed anew,
in what they hold. A reader may give a value or raise an error of ours. Anything else is a failure: another exception, more than
`SECONDS` or `MIB`, a file written, a process started, a pickle loaded. The input of an index is always the same:
`only=INDEX reader=NAME seed=SEED` runs it alone and shows the traceback.
"""

from __future__ import annotations

import contextlib
import csv
import functools
import gzip
import hashlib
import io
import json
import multiprocessing
import os
import random
import resource
import shutil
import signal
import struct
import sys
import tempfile
import time
import traceback
import warnings
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2] / "support"))
from translations import catalogue

from lstm_bench.core import safe_load
from lstm_bench.core.errors import LstmBenchError
from lstm_bench.data import arrays, formats, languages, npz, tokens, user_files
from lstm_bench.data import images as mnist
from lstm_bench.data.formats.source import Source
from lstm_bench.data.sequences import Columns
from lstm_bench.data.task import of_labels
from lstm_bench.model import controls
from lstm_bench.model.question import Asked, Samples
from lstm_bench.report.sources import benchmarks, records
from lstm_bench.study import archive, columns, later, validate
from lstm_bench.study import reader as recorded

PUBLISHED = Path(__file__).parents[3] / "sweeps" / "published" / "intel-xeon-2-cores"
SECONDS = 10  # of one input, of the processor: the machine may be busy
HANGS = 600  # seconds of a clock
MIB = 512  # that one input may add to the process
Change = tuple[int, int, int]  # which of `CHANGES`, where, what

_NUMBERS = (
    b"0",
    b"-1",
    b"1",
    b"2147483648",
    b"99999999999999999999",
    b"1e999",
    b"nan",
    b"-inf",
    b"0x10",
    b"1_0",
    b"",
    b"'",
)
_PIECES = (
    *(b"\0", b"\xff", b"\n", b"\r\n", b",", b'"', b"[", b"{", b"}", b":", b"- ", b"&a ", b"*a", b"!!python/name:os.system "),
    *(b"\xf0\x9f\x92\xa9", b"\xed\xa0\x80", b"${oc.env:HOME}", b"../", b"\x1b[31m", b"null", b"true", b"\\ud800", b"[" * 200),
    *(b"a: " * 50, b"PK\3\4", b"PK\5\6", b"\x1f\x8b", b"|O", b"<U99999999", b"\x93NUMPY", b"1" * 5000, b"?" * 100),
)  # fmt: skip
_VALUES = (b"null", b"3", b"'20'", b'"20"', b"[]", b"{}", b"1.0e-30", b"true", b"999999999999999999", b"a: b")
_INTEGERS = (0, 1, 127, 255, 256, 65535, 2**31 - 1, 2**31, 2**32 - 1)


def _spot(body: bytearray, where: int) -> int:
    return where % (len(body) + 1)


def _bit(body: bytearray, where: int, what: int) -> None:
    if body:
        body[where % len(body)] ^= 1 << what % 8


def _byte(body: bytearray, where: int, what: int) -> None:
    if body:
        body[where % len(body)] = what % 256


def _integer(body: bytearray, where: int, what: int) -> None:
    """A field of a header, of either order of bytes."""
    at, form = _spot(body, where), ("<H", "<I", ">I", ">H")[what % 4]
    value = _INTEGERS[what // 4 % len(_INTEGERS)]
    body[at : at + struct.calcsize(form)] = struct.pack(form, value & (2 ** (8 * struct.calcsize(form)) - 1))


def _cut(body: bytearray, where: int, what: int) -> None:
    at = _spot(body, where)
    del body[at : at + 1 + what % 64]


def _end(body: bytearray, where: int, what: int) -> None:
    del body[_spot(body, where) :]


def _insert(body: bytearray, where: int, what: int) -> None:
    at = _spot(body, where)
    body[at:at] = _PIECES[what % len(_PIECES)]


def _repeat(body: bytearray, where: int, what: int) -> None:
    at = _spot(body, where)
    piece = body[at : at + 1 + what % 200]
    body[at:at] = piece * (1 + what % 7)


def _number(body: bytearray, where: int, what: int) -> None:
    """The number at or after a place becomes another."""
    at = _spot(body, where)
    while at < len(body) and not 48 <= body[at] <= 57:
        at += 1
    end = at
    while end < len(body) and (48 <= body[end] <= 57 or body[end] in b".e+-"):
        end += 1
    body[at:end] = _NUMBERS[what % len(_NUMBERS)]


def _line(body: bytearray, where: int, what: int) -> None:
    """A line goes, comes twice, or changes places with another."""
    lines = bytes(body).split(b"\n")
    one, other = where % len(lines), (where // 7919) % len(lines)
    if what % 3 == 0:
        del lines[one]
    elif what % 3 == 1:
        lines.insert(other, lines[one])
    else:
        lines[one], lines[other] = lines[other], lines[one]
    body[:] = b"\n".join(lines)


def _field(body: bytearray, where: int, what: int) -> None:
    """A field of a table becomes another, or goes."""
    lines = bytes(body).split(b"\n")
    row = where % len(lines)
    fields = lines[row].split(b",")
    at = (where // 7919) % len(fields)
    pieces = (*_NUMBERS, *_PIECES)
    if what % 5 == 0:
        del fields[at]
    else:
        fields[at] = pieces[what // 5 % len(pieces)]
    lines[row] = b",".join(fields)
    body[:] = b"\n".join(lines)


def _value(body: bytearray, where: int, what: int) -> None:
    """The value of a key of YAML or JSON becomes one of another kind."""
    lines = bytes(body).split(b"\n")
    row = where % len(lines)
    key, colon, value = lines[row].partition(b": ")
    if colon:
        comma = b"," if value.endswith(b",") else b""
        lines[row] = key + colon + _VALUES[what % len(_VALUES)] + comma
        body[:] = b"\n".join(lines)


CHANGES = (_bit, _byte, _integer, _cut, _end, _insert, _repeat, _number, _number, _line, _field, _value)


def changed(body: bytes, changes: Sequence[Change]) -> bytes:
    """A good file with changes made to it, one after the other."""
    made = bytearray(body)
    for kind, where, what in changes:
        CHANGES[kind % len(CHANGES)](made, where, what)
    return bytes(made[: 2**20])


@dataclass(frozen=True)
class Reader:
    """Something that reads what others wrote.

    Attributes:
      share: Of a million inputs, in percent.
      good: Files that it reads.
      read: Reads an input; the folder is empty, its own, and emptied afterwards.
      repack: Makes changes inside a packed file: (good file, changes, choice) -> input.
    """

    share: int
    good: Callable[[], list[bytes]]
    read: Callable[[bytes, Path], Any]
    repack: Callable[[bytes, Sequence[Change], int], bytes] | None = None


class Pinned(str):
    """A digest that every file has: what is read after it was verified is reached as well."""

    def __ne__(self, other: object) -> bool:
        return False

    __hash__ = str.__hash__


def _idx_good() -> list[bytes]:
    images = b"\0\0\x08\3" + struct.pack(">III", 5, 4, 3) + bytes(range(60))
    labels = b"\0\0\x08\1" + struct.pack(">I", 5) + bytes(range(5))
    return [images, labels, gzip.compress(images, mtime=0), gzip.compress(labels, mtime=0)]


def _idx(body: bytes, _: Path) -> None:
    images = b"\0\0\x08\1" not in body[:4] and len(body) > 40  # labels of the good files are shorter
    name = "train-images-idx3-ubyte" if images else "train-labels-idx1-ubyte"
    with _Pinning(name):
        mnist.decode(io.BytesIO(body), "input", name)


class _Pinning:
    def __init__(self, name: str):
        self.name = name

    def __enter__(self) -> None:
        self.before = mnist.SHA256[self.name]
        mnist.SHA256[self.name] = Pinned(self.before)

    def __exit__(self, *_: object) -> None:
        mnist.SHA256[self.name] = self.before


def _idx_repacked(body: bytes, changes: Sequence[Change], choice: int) -> bytes:
    inner = gzip.decompress(body) if body[:2] == b"\x1f\x8b" else body
    return gzip.compress(changed(inner, changes), 1, mtime=choice % 2)


def _saved(**found: np.ndarray) -> bytes:
    out = io.BytesIO()
    np.savez(out, **found)
    return out.getvalue()


def _npz_good() -> list[bytes]:
    x = np.arange(48, dtype=np.float32).reshape(6, 4, 2)
    y = np.arange(6) % 3
    both = {"x_train": x, "y_train": y, "x_test": x[:3], "y_test": y[:3]}
    floats = {**both, "y_train": y.astype(float), "y_test": y[:3].astype(float)}
    objects = {**both, "y_test": np.array([1, "a", None], dtype=object)}
    whole = {**both, "x_train": (x * 5).astype(np.uint8), "x_test": x[:3].astype(">f8")}
    return [_saved(**found) for found in (both, floats, objects, whole, {**both, "x_validation": x, "y_validation": y})]


def _npz(body: bytes, folder: Path) -> None:
    path = folder / "input.npz"
    path.write_bytes(body)
    keys = [f"{a}_{split}" for split in arrays.SPLITS for a in "xy"]
    raw = npz.read_npz(path, keys)
    found, _ = arrays.checked(raw, of_labels(raw["y_train"]), None, path)
    arrays.digest(found)


def _zip_repacked(body: bytes, changes: Sequence[Change], choice: int) -> bytes:
    """Changes one member, and its CRC with it."""
    with zipfile.ZipFile(io.BytesIO(body)) as file:
        members = {name: file.read(name) for name in file.namelist()}
    name = sorted(members)[choice % len(members)]
    if choice // 1000 % 20 == 0:
        members[f"{name[:-4]}.npz"] = members.pop(name)
    elif choice // 1000 % 20 == 1:  # which NumPy's own reader would prefer
        members[name[:-4]] = changed(members[name], changes)
    else:
        members[name] = changed(members[name], changes)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)[choice // 100 % 2]) as file:
        for key, inner in members.items():
            file.writestr(zipfile.ZipInfo(key), inner, file.compression)
    return out.getvalue()


def _sequences_good() -> list[bytes]:
    x = np.arange(24, dtype=np.float32).reshape(3, 4, 2)
    bare = io.BytesIO()
    np.save(bare, x)
    text = "\n".join(",".join(map(str, row)) for row in x.reshape(3, 8).tolist())
    return [bare.getvalue(), b"\1" + _saved(x=x, y=np.arange(3)), b"\2" + text.encode(), b"\2a,b\n" + text.encode()]


def _sequences(body: bytes, folder: Path) -> None:
    suffix = {b"\1": ".npz", b"\2": ".csv"}.get(body[:1], ".npy")
    path = folder / f"input{suffix}"
    path.write_bytes(body if suffix == ".npy" else body[1:])
    x, _ = user_files.read(path, (4, 2))
    user_files.scaled(x, {"divisor": 1, "mean": None, "scale": None, "dataset": "npz"}, "input")


def _sequences_repacked(body: bytes, changes: Sequence[Change], choice: int) -> bytes:
    if body[:1] == b"\1":
        return b"\1" + _zip_repacked(body[1:], changes, choice)
    return body[:1] + changed(body[1:], changes)


_SUFFIXES = {
    b"\1": ".csv",
    b"\2": ".tsv.gz",
    b"\3": ".parquet",
    b"\4": ".ts",
    b"\5": ".npz",
    b"\6": ".zip",
    b"\7": ".tsf",
    b"\x08": ".npz",  # of series
}
_TABLE = Columns(id="id", time="t", target="y", group="g")


@functools.cache
def _files_good() -> list[bytes]:
    """A file of every format that `dataset=file` reads, its suffix as a first byte."""
    import pandas as pd

    rows = [(i, t, i + t / 2, "?" if t else "2.5", "ab"[i % 2], f"g{i // 2}") for i in range(6) for t in range(3)]
    table = pd.DataFrame(rows, columns=["id", "t", "a", "b", "y", "g"])
    text, tabs, packed = table.to_csv(index=False).encode(), table.to_csv(index=False, sep="\t").encode(), io.BytesIO()
    table.drop(columns="b").to_parquet(packed)
    series = "@problemName own\n@classLabel true a b\n@data\n1,2,3:4,5,?:a\n0,1,2:2,1,0:b\n"
    steps = "@attribute series_name string\n@frequency monthly\n@horizon 2\n@data\nT1:1,2.5,?,4\nT2:5,6,7\n"
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("own.csv", text)
    arrays = _saved(x=np.zeros((4, 3, 2)), y=np.arange(4) % 2, groups=np.arange(4) // 2)
    found = [
        b"\1" + text, b"\2" + gzip.compress(tabs, mtime=0), b"\3" + packed.getvalue(), b"\4" + series.encode(),
        b"\5" + arrays, b"\6" + archive.getvalue(), b"\7" + steps.encode(),
        b"\1" + table[(table["id"] != 2) | (table["t"] == 0)].to_csv(index=False).encode(),  # and of unequal length:
        b"\4" + series.replace("0,1,2:2,1,0", "0,1:2,1").encode(),
        b"\5" + _saved(x=np.zeros((4, 3, 2)), y=np.arange(4) % 2, lengths=np.array([1, 3, 2, 1])),
        b"\5" + _saved(x=np.zeros((7, 2)), y=np.arange(7) % 2, lengths=np.array([1, 3, 2, 1])),
        b"\x08" + _saved(prices=np.array([(0, 1.5), (1, 2.5), (3, 2.0)], [("t", "<i8"), ("v", "<f8")])),
    ]  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        for body in found:
            _file(body, Path(folder))  # once, before files are watched: what readers import is there
    return found


def _file(body: bytes, folder: Path) -> None:
    suffix = _SUFFIXES.get(body[:1], ".csv")
    path = folder / f"input{suffix}"
    path.write_bytes(body[1:])
    source = Source.parse(f"{path}!own.csv" if suffix == ".zip" else path)
    if body[:1] == b"\x08":
        formats.series(source, Columns(time="t", target="v", features=()))
        return
    formats.read(source, _TABLE if source.suffix in (".csv", ".tsv", ".parquet") else Columns())


def _file_repacked(body: bytes, changes: Sequence[Change], choice: int) -> bytes:
    mark, inner = body[:1], body[1:]
    if mark in (b"\5", b"\6", b"\x08"):
        return mark + _zip_repacked(inner, changes, choice)
    if mark == b"\2":
        return mark + gzip.compress(changed(gzip.decompress(inner), changes), 1, mtime=0)
    return mark + changed(inner, changes)


@functools.cache
def _study() -> bytes:
    """A small study with every table, as an archive."""
    whole = validate.from_folder(PUBLISHED / "families-mlp", validate.limits({}))
    texts = dict(whole.texts)
    for file, n in (("predictions.csv", 30), ("history.csv", 30)):
        texts[file] = "".join(texts[file].splitlines(keepends=True)[:n])
    texts["worst.csv"] = (
        "sample,label,prediction,probability,timesteps,features,values\n3,6,4,0.9,2,3,0 0 0.5 1 nan 2\n"
    )
    texts["kernels.csv"] = ",".join(columns.KERNEL_COLUMNS) + "\ntensorflow,xla,xla,,1,1,1,3,1,1,64,cpu,exclusive,op\n"
    return archive.packed(recorded.StudyRecord(whole.folder, whole.name, environment=whole.environment, texts=texts))


@functools.cache
def _benchmark(less: int = 0) -> bytes:
    """A small benchmark as an archive, its last runs left out."""
    whole = validate.from_folder(PUBLISHED / "kernels-tutorial", validate.limits({}))
    texts = dict(whole.texts)
    cell = next(csv.DictReader(io.StringIO(texts["runs.csv"])))
    about = [cell[name] for name in ("cell", "backend", "kernel", "operation")]
    for file in ("runs.csv", "samples.csv", "cells.csv"):
        lines = texts[file].splitlines(keepends=True)
        texts[file] = "".join(
            [lines[0], *(line for line in lines[1:] if all(word in line.split(",") for word in about))]
        )
    rows = texts["runs.csv"].splitlines(keepends=True)
    texts["runs.csv"] = "".join(rows[: len(rows) - less])
    return archive.packed(recorded.StudyRecord(whole.folder, whole.name, environment=whole.environment, texts=texts))


@functools.cache
def _parts(body: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(body)) as file:
        return {name: file.read(name) for name in file.namelist()}


@functools.cache
def _limits() -> validate.Limits:
    return validate.limits({})


@functools.cache
def _whole(body: bytes) -> recorded.StudyRecord:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.zip"
        path.write_bytes(body)
        return archive.read(path, _limits())


def _archive_good() -> list[bytes]:
    found = [_study(), _benchmark()]
    for body in (*found, _benchmark(less=1)):
        _whole(body)  # once, before files are watched
    return found


def _archive(body: bytes, folder: Path) -> None:
    path = folder / "input.zip"
    path.write_bytes(body)
    came = archive.read(path, _limits())
    for known in (_benchmark(), _benchmark(less=1)) if came.benchmark else (_study(),):
        with contextlib.suppress(LstmBenchError):  # refused by one, it may be more of the other
            later.later(_whole(known), came)
    archive.packed(came)


def _archive_repacked(body: bytes, changes: Sequence[Change], choice: int) -> bytes:
    """Changes one member and signs all anew."""
    members = dict(_parts(body))
    name = sorted(members)[choice % len(members)]
    members[name] = changed(members[name], changes)
    if name != archive.MANIFEST:
        manifest = json.loads(members.pop(archive.MANIFEST))
        manifest["files"] = {
            file: {"bytes": len(inner), "sha256": hashlib.sha256(inner).hexdigest()} for file, inner in members.items()
        }
        members = {archive.MANIFEST: json.dumps(manifest).encode(), **members}
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)[choice // 100 % 2]) as file:
        for key, inner in members.items():
            file.writestr(zipfile.ZipInfo(key), inner, file.compression)
    return out.getvalue()


def _files(of: Callable[[], bytes], *names: str) -> list[bytes]:
    """Files of a study, each with its name as a first line."""
    return [name.encode() + b"\n" + body for name, body in _parts(of()).items() if not names or name in names]


def _placed(body: bytes, folder: Path, good: bytes, name: str) -> tuple[Path, str]:
    """A study's folder with one of its files changed."""
    file, _, inner = body.partition(b"\n")
    place = folder / name
    place.mkdir()
    for key, whole in _parts(good).items():
        if key != archive.MANIFEST:
            (place / key).write_bytes(inner if key.encode() == file else whole)
    return place, file.decode(errors="replace")


def _named_change(body: bytes, changes: Sequence[Change], choice: int) -> bytes:
    file, _, inner = body.partition(b"\n")
    return file + b"\n" + changed(inner, changes)


def _documents(*names: str) -> list[bytes]:
    return [body for of in (_study, _benchmark) for name, body in _parts(of()).items() if name in names]


def _text(parse: Callable[[str], Any], body: bytes) -> None:
    with contextlib.suppress(
        UnicodeDecodeError, safe_load.UnreadableError
    ):  # `result` and `recorded` turn them into words
        parse(body.decode("utf-8"))


def _result(body: bytes, folder: Path) -> None:
    benchmark = body[:1] == b"!"
    place, _ = _placed(
        body[1:], folder, _benchmark() if benchmark else _study(), "kernels-tutorial" if benchmark else "s"
    )
    (benchmarks.load if benchmark else _loaded)(place)


def _loaded(place: Path) -> None:
    """A study's tables, and what pages ask of it first."""
    found = records.load(place)
    for name in (
        "best",
        "winner",
        "score",
        "counts",
        "n_weights",
        "samples_per_s",
        "where",
        "search_s",
        "family",
        "source",
    ):
        getattr(found, name)
    found.space()


def _result_good() -> list[bytes]:
    return [b" " + body for body in _files(_study)] + [b"!" + body for body in _files(_benchmark)]


def _recorded(body: bytes, folder: Path) -> None:
    _placed(body, folder, _study(), "families-mlp")
    study = recorded.find("families-mlp", folder)
    row = study.best_trial()
    study.config_of(row)
    study.rows("history.csv")


def _controls_good() -> list[bytes]:
    """The arrays of each control."""
    y = np.arange(30) % 3
    samples = Samples((np.random.RandomState(0).randn(30, 12, 2) + y[:, None, None]).astype(np.float32), y)
    made = []
    for control in controls.able(Asked("class", 3)):
        out = io.BytesIO()
        np.savez_compressed(out, **control.fit(samples, samples, Asked("class", 3)).arrays)
        made.append(out.getvalue())
    return made


def _control(body: bytes, folder: Path) -> None:
    """A control whose arrays are changed: read, it answers for any sequences of its shape."""
    name = "minirocket" if b"dilations" in body else "linear" if b"weights" in body else "trivial"
    facts = {"version": controls.VERSION, "name": name, "kind": "class", "outputs": 3, "seed": 0, "n_train": 30}
    facts |= {"chosen": "", "notes": [], "unequal": False, "about": {"timesteps": 12, "features": 2}}
    (folder / "control.json").write_text(json.dumps(facts))
    (folder / "control.npz").write_bytes(body)
    controls.load(folder)[0].outputs(np.ones((2, 12, 2), np.float32))


def _texts_good() -> list[bytes]:
    """Catalogues of translations, and a vocabulary."""
    strings = {"day": "Tag", "one\0many": "ein\0viele", "here\x04one": "eins"}
    return [catalogue(strings), catalogue({}), b"a\n\\n\n\xf0\x9f\x98\x80\n"]


def _texts(body: bytes, folder: Path) -> None:
    """A catalogue among those of Django, and a vocabulary beside a model, whose digest is that of the damaged one."""
    place = folder / "conf" / "locale" / "de" / "LC_MESSAGES"
    place.mkdir(parents=True)
    (place / "django.mo").write_bytes(body)
    (folder / tokens.FILE).write_bytes(body)
    size = 2 + body.count(b"\n")
    for read in (
        lambda: languages.read(folder),
        lambda: tokens.read(folder, {"kind": "char", "size": size, "sha256": hashlib.sha256(body).hexdigest()}),
    ):
        with contextlib.suppress(LstmBenchError):
            read()


READERS = {
    "texts": Reader(2, _texts_good, _texts),
    "idx": Reader(32, _idx_good, _idx, _idx_repacked),
    "npz": Reader(14, _npz_good, _npz, _zip_repacked),
    "sequences": Reader(12, _sequences_good, _sequences, _sequences_repacked),
    "file": Reader(8, _files_good, _file, _file_repacked),
    "yaml": Reader(3, lambda: _documents("config.yaml"), lambda body, _: _text(safe_load.from_yaml, body)),
    "json": Reader(
        22, lambda: _documents("environment.json", archive.MANIFEST), lambda body, _: _text(safe_load.from_json, body)
    ),
    "recorded": Reader(1, lambda: _files(_study, *columns.RECORDS), _recorded, _named_change),
    "result": Reader(1, _result_good, _result, _named_change),
    "control": Reader(1, _controls_good, _control, _zip_repacked),
    "archive": Reader(5, _archive_good, _archive, _archive_repacked),
}  # fmt: skip


def changes_of(rng: random.Random) -> list[Change]:
    return [
        (rng.randrange(len(CHANGES)), rng.randrange(2**31), rng.randrange(2**16))
        for _ in range(rng.choice((1, 1, 2, 3, 8)))
    ]


def made(reader: Reader, good: Sequence[bytes], changes: Sequence[Change], choice: int) -> bytes:
    """An input: of one of the good files, changed outside or, where it is packed, inside."""
    body = good[choice % len(good)]
    choice //= len(good)
    if reader.repack and choice % 4:
        return reader.repack(body, changes, choice // 4)
    return changed(body, changes)


@functools.cache
def good_of(name: str) -> list[bytes]:
    return READERS[name].good()


def input_of(name: str, seed: int, index: int) -> bytes:
    """The input of an index, the same on every machine."""
    rng = random.Random(f"{seed}/{name}/{index}")
    if rng.random() < 0.02:
        return rng.randbytes(rng.randrange(400))
    return made(READERS[name], good_of(name), changes_of(rng), rng.randrange(2**31))


class Broken(Exception):
    """What a reader must never do."""


class Guard:
    """Says what a reader does besides reading. One for a process: an audit hook stays."""

    def __init__(self) -> None:
        self.folder: Path | None = None
        self.seen: list[str] = []
        sys.addaudithook(self._hook)

    def _hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.folder is None:
            return
        if event == "open":
            path, mode, flags = arguments
            writes = bool(flags & (os.O_WRONLY | os.O_RDWR)) or any(c in (mode or "") for c in "wax+")
            if writes and not str(path).startswith((str(self.folder), "/dev/null")):
                self.seen.append(f"opened {path!r} to write")
        elif event in (
            "subprocess.Popen",
            "os.system",
            "os.exec",
            "os.posix_spawn",
            "pickle.find_class",
            "socket.connect",
        ):
            self.seen.append(f"{event} {arguments!r}")

    def run(self, name: str, body: bytes, folder: Path) -> str:
        """Reads one input: "value", or the name of our error.

        Raises:
          Broken: for anything else that came of it.
        """
        folder.mkdir(exist_ok=True)
        for path in folder.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        self.seen.clear()
        before, begun = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
        self.folder = folder
        try:
            READERS[name].read(body, folder)
            end = "value"
        except LstmBenchError as error:
            if "\n" in str(error):
                raise Broken("an error of more than one line") from error
            end = type(error).__name__
        finally:
            self.folder = None
        if self.seen:
            raise Broken(self.seen[0])
        if (took := time.process_time() - begun) > SECONDS:
            raise Broken(f"{took:.0f} s")
        if (grown := resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) > MIB * 1024:
            raise Broken(f"{grown // 1024} MiB")
        return end


def _stop(*_: object) -> None:
    raise Broken(f"more than {HANGS} s")


def work(job: tuple[str, int, int, int]) -> tuple[str, int, Counter[str], list[tuple[int, str]]]:
    """Reads the inputs of a range of indices; in a process of a pool."""
    name, seed, start, stop = job
    warnings.simplefilter("ignore")
    signal.signal(signal.SIGALRM, _stop)
    global _guard
    _guard = _guard or Guard()
    ends: Counter[str] = Counter()
    failures = []
    with tempfile.TemporaryDirectory() as scratch:
        for index in range(start, stop):
            body = input_of(name, seed, index)
            signal.alarm(HANGS)
            try:
                ends[_guard.run(name, body, Path(scratch) / "i")] += 1
            except Exception as error:
                frame = traceback.extract_tb(error.__traceback__)[-1]
                failures.append(
                    (index, f"{type(error).__name__}: {error!s:.100} ({Path(frame.filename).name}:{frame.lineno})")
                )
            finally:
                signal.alarm(0)
    return name, stop - start, ends, failures


_guard: Guard | None = None


def jobs(n: int, seed: int, reader: str | None) -> Iterator[tuple[str, int, int, int]]:
    """Ranges of indices, the readers mixed."""
    names = [reader] if reader else list(READERS)
    total = sum(READERS[name].share for name in names)
    left = {name: round(n * READERS[name].share / total) for name in names}
    done = dict.fromkeys(names, 0)
    while any(done[name] < left[name] for name in names):
        for name in names:
            size = min(max(1, READERS[name].share * 20), left[name] - done[name])
            if size > 0:
                yield name, seed, done[name], done[name] + size
                done[name] += size


def main(argv: Sequence[str]) -> int:
    """Runs the command; 0 when no reader failed."""
    given = dict(argument.split("=", 1) for argument in argv)
    seed, reader = int(given.get("seed", 0)), given.get("reader")
    if "only" in given:
        body = input_of(str(reader), seed, int(given["only"]))
        print(body[:2000])
        with tempfile.TemporaryDirectory() as scratch:
            print(Guard().run(str(reader), body, Path(scratch) / "i"))
        return 0
    n, processes = int(given.get("n", 10_000)), int(given.get("processes", os.cpu_count() or 1))
    ends: dict[str, Counter[str]] = {name: Counter() for name in READERS}
    failed: list[tuple[str, int, str]] = []
    begun, said, count = time.monotonic(), 0.0, 0
    with multiprocessing.get_context("spawn").Pool(processes, maxtasksperchild=200) as pool:
        for name, size, found, failures in pool.imap_unordered(work, jobs(n, seed, reader)):
            count += size
            ends[name] += found
            for index, what in failures:
                failed.append((name, index, what))
                if len(failed) <= 50:
                    print(f"FAILED  only={index} reader={name} seed={seed}: {what}", flush=True)
            if time.monotonic() - said > 30:
                said = time.monotonic()
                print(f"{count:,} of {n:,}, {count / (said - begun):,.0f}/s, {len(failed)} failed", flush=True)
    took = time.monotonic() - begun
    print(f"{'reader':10} {'inputs':>9} {'values':>9}  errors of ours")
    for name, found in ends.items():
        bad = sum(other == name for other, _, _ in failed)
        errors = ", ".join(f"{key} {value:,}" for key, value in found.most_common() if key != "value")
        if found or bad:
            print(
                f"{name:10} {sum(found.values()) + bad:9,} {found['value']:9,}  {errors}{f', FAILED {bad}' if bad else ''}"
            )
    print(f"{count:,} inputs, seed {seed}, {took:,.0f} s, {count / took:,.0f}/s, {len(failed)} failures")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
