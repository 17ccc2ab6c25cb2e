"""A study in one file: what comes back is what went in, and nothing else comes in."""

from __future__ import annotations

import hashlib
import io
import json
import stat
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from published import KERNELS, LIMITS, PUBLISHED

from lstm_bench.core.errors import DataError, StorageError
from lstm_bench.study import archive, validate

STUDY = PUBLISHED / "families-mlp"
Members = list[tuple[Any, bytes]]


def members(folder: Path = STUDY) -> dict[str, bytes]:
    """The members of a good archive."""
    with zipfile.ZipFile(io.BytesIO(archive.packed(validate.from_folder(folder, LIMITS)))) as file:
        return {name: file.read(name) for name in file.namelist()}


def signed(bodies: Mapping[str, bytes], **said: Any) -> dict[str, bytes]:
    """Members with a manifest that is true of them, `said` apart."""
    manifest = json.loads(bodies["manifest.json"])
    files = {name: body for name, body in bodies.items() if name != "manifest.json"}
    listed = {name: {"bytes": len(body), "sha256": hashlib.sha256(body).hexdigest()} for name, body in files.items()}
    return {"manifest.json": json.dumps({**manifest, "files": listed, **said}).encode(), **files}


def zipped(bodies: Mapping[str, bytes] | Members, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as file:
        for name, body in bodies.items() if isinstance(bodies, Mapping) else bodies:
            file.writestr(name, body, method if isinstance(name, str) else None)
    return out.getvalue()


def link() -> Members:
    info = zipfile.ZipInfo("worst.csv")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    return [*((k, v) for k, v in GOOD.items() if k != "worst.csv"), (info, b"/etc/passwd")]


def edited(file: str, before: str, after: str) -> bytes:
    text = GOOD[file].decode()
    assert before in text
    return zipped(signed({**GOOD, file: text.replace(before, after, 1).encode()}))


def encrypted() -> bytes:
    body = bytearray(zipped(GOOD))
    for mark, at in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        body[body.index(mark) + at] |= 1
    return bytes(body)


def lying_size() -> bytes:
    """A member that unpacks to more than its headers say."""
    body = bytearray(zipped(GOOD))
    at = body.index(b"PK\1\2") + 24
    body[at : at + 4] = (10).to_bytes(4, "little")
    return bytes(body)


def bomb(name: str, mib: int) -> bytes:
    return zipped({**GOOD, name: b"0" * (mib * 2**20)})


def renamed() -> bytes:
    """A name that ends, for some readers, at its NUL."""
    return zipped({**GOOD, "worst.csvXetc": b""}).replace(b"worst.csvXetc", b"worst.csv\0etc")


GOOD = members()
_ENV, _CONF = json.loads(GOOD["environment.json"]), GOOD["config.yaml"].decode()
MALICIOUS: dict[str, tuple[Callable[[], bytes], str]] = {
    "empty": (lambda: b"", "not an archive"),
    "no zip": (lambda: b"x" * 1000, "not an archive"),
    "cut off": (lambda: zipped(GOOD)[:-100], "not an archive"),
    "a program before it": (lambda: b"#!/bin/sh\n" + zipped(GOOD), "not an archive"),
    "a bit flipped": (lambda: bytes(b ^ (i == 2000) for i, b in enumerate(zipped(GOOD))), "unpacked|manifest says"),
    "a path": (lambda: zipped({**GOOD, "../../x.csv": b""}), "'../../x.csv': no such file belongs"),
    "an absolute path": (lambda: zipped({**GOOD, "/etc/cron.d/x": b""}), "no such file belongs"),
    "a folder": (lambda: zipped({**GOOD, "worst.csv/": b""}), "no such file belongs"),
    "a file that is run": (lambda: zipped({**GOOD, "model.keras": b""}), "no such file belongs"),
    "a pickle": (lambda: zipped({**GOOD, "study.pkl": b""}), "no such file belongs"),
    "a NUL in a name": (renamed, "no such file belongs"),
    "a link": (lambda: zipped(link()), "worst.csv: it is no plain file"),
    "a member twice": (lambda: zipped({**GOOD, "Worst.csv": b""}).replace(b"Worst", b"worst"), "worst.csv: it is there"),
    "encrypted": (encrypted, "it is encrypted"),
    "another packing": (lambda: zipped(GOOD, zipfile.ZIP_LZMA), "packed by method 14"),
    "a bomb": (lambda: bomb("history.csv", 100), "a bomb"),
    "a document too large": (lambda: bomb("config.yaml", 2), "config.yaml: too large"),
    "a size that lies": (lying_size, "unpacked|manifest says"),
    "many members": (lambda: zipped([(f"{i}.csv", b"") for i in range(2000)]), "not an archive"),
    "no manifest": (lambda: zipped({k: v for k, v in GOOD.items() if k != "manifest.json"}), "manifest.json is missing"),
    "no configuration": (
        lambda: zipped(signed({k: v for k, v in GOOD.items() if k != "config.yaml"})),
        "config.yaml is missing",
    ),
    "a table that the manifest has not": (
        lambda: zipped({**GOOD, "kernels.csv": b"backend\n"}),
        "manifest.json: files",
    ),
    "another table than the manifest's": (
        lambda: zipped({**GOOD, "trials.csv": GOOD["trials.csv"].replace(b"0.9596", b"0.9996")}),
        "trials.csv: not what the manifest says",
    ),
    "a later format": (lambda: zipped(signed(GOOD, format=2)), "manifest.json: format"),
    "a name that is a path": (lambda: zipped(signed(GOOD, study="../x")), "manifest.json: study"),
    "a name that is another's": (lambda: zipped(signed(GOOD, study="other")), "config.yaml: the name"),
    "a benchmark that is none": (lambda: zipped(signed(GOOD, study="kernels-x", kind="benchmark")), "no such file"),
    "another id than the records'": (lambda: zipped(signed(GOOD, study_id="x-1")), "manifest.json: study_id"),
    "an id that is a list": (
        lambda: zipped(signed({**GOOD, "environment.json": json.dumps({**_ENV, "study_id": []}).encode()})),
        "environment.json: study_id",
    ),
    "an environment of another kind": (
        lambda: zipped(signed({**GOOD, "environment.json": json.dumps({**_ENV, "dataset": 3}).encode()})),
        "environment.json: dataset",
    ),
    "a dataset that is null": (
        lambda: zipped(signed({**GOOD, "environment.json": json.dumps({**_ENV, "dataset": None, "study_id": []}).encode()})),
        "environment.json: study_id",
    ),
    "a number that is text": (lambda: edited("config.yaml", "  epochs: 3", "  epochs: '3'"), "train.epochs"),
    "a step of nothing": (
        lambda: edited("config.yaml", "high: 0.5\n      step: null", "high: 0.5\n      step: 1.0e-30"),
        "study.space.model.dropout.step: expected a larger step",
    ),
    "an alias": (lambda: edited("config.yaml", "dataset:", "x: &x [1]\ny: *x\ndataset:"), "config.yaml: it has an alias"),
    "an unknown option": (lambda: edited("config.yaml", "  epochs: 3", "  epochs: 3\n  shell: id"), "unknown option"),
    "a number out of range": (lambda: edited("config.yaml", "  epochs: 3", "  epochs: -3"), "train.epochs"),
    "a variable of the reader's": (
        lambda: edited("config.yaml", "  description: ", "  description: ${oc.env:HOME} "),
        "study.description",
    ),
    "a target that is an expression": (
        lambda: edited("config.yaml", "lstm_bench.model.mlp", "os.system('id')"),
        "model._target_",
    ),
    "bounds that are none": (lambda: edited("config.yaml", "high: 0.5", "high: -1"), "study.space"),
    "an unknown column": (lambda: edited("trials.csv", "retry_of", "retry"), "trials.csv: unknown column 'retry'"),
    "a column twice": (lambda: edited("trials.csv", "retry_of", "reason"), "a column is there twice"),
    "a column that is needed": (lambda: edited("history.csv", "kind,", "n,"), "unknown column|missing"),
    "a torn row": (lambda: edited("history.csv", "trial,0,1,", "trial,0,"), "row 2 has 10 fields"),
    "a quote that does not end": (lambda: edited("history.csv", "trial,0,1,", '"trial,0,1,'), "history.csv"),
    "a state that is none": (lambda: edited("trials.csv", "COMPLETE", "DONE"), "trials.csv: 0 state"),
    "a number that is none": (lambda: edited("trials.csv", "0.9596", "=1+1"), "trials.csv: 0 val_accuracy"),
    "a row twice": (lambda: edited("trials.csv", "\n1,", "\n0,"), "'0' is there twice"),
    "a class that is none": (lambda: edited("predictions.csv", "\n0,7,7", "\n0,99999999,7"), "predictions.csv: label"),
    "a picture of another size": (lambda: edited("worst.csv", ",28,28,", ",28,29,"), "worst.csv: values"),
    "not UTF-8": (lambda: zipped(signed({**GOOD, "trials.csv": GOOD["trials.csv"] + b"\xff"})), "trials.csv: it is not"),
    "a NUL": (lambda: zipped(signed({**GOOD, "trials.csv": GOOD["trials.csv"] + b"\0"})), "trials.csv: it holds a NUL"),
}  # fmt: skip


def test_the_archive_that_the_table_starts_from_is_good(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    for body in (zipped(GOOD), zipped(signed(GOOD)), zipped(GOOD, zipfile.ZIP_STORED)):
        path.write_bytes(body)
        assert archive.read(path, LIMITS).name == "families-mlp"


@pytest.mark.parametrize(("make", "said"), MALICIOUS.values(), ids=MALICIOUS)
def test_a_malicious_archive_is_refused_in_one_line(make: Callable[[], bytes], said: str, tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    path.write_bytes(make())
    with pytest.raises(DataError, match=said) as caught:
        archive.read(path, LIMITS)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value) and len(str(caught.value)) < 700
    assert [file.name for file in tmp_path.iterdir()] == ["a.zip"]


@pytest.mark.parametrize(
    ("features", "values", "said"),
    [
        (0, "", None),
        (0, "1 2", "worst.csv: values"),
        (-1, "", "features"),
        (2, "", None),
        (2, "1", "worst.csv: values"),
    ],
)
def test_a_worst_sample_has_all_of_its_values_or_none(
    tmp_path: Path, features: int, values: str, said: str | None
) -> None:
    text = f"sample,label,prediction,probability,timesteps,features,values\n3,6,1,0.9,12,{features},{values}\n"
    (path := tmp_path / "a.zip").write_bytes(zipped(signed({**GOOD, "worst.csv": text.encode()})))
    if said is None:
        assert archive.read(path, LIMITS).rows("worst.csv")[0]["timesteps"] == "12"
        return
    with pytest.raises(DataError, match=said):
        archive.read(path, LIMITS)


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none", Path("/dev/zero")):
        with pytest.raises(DataError, match="there is no such file"):
            archive.read(path, LIMITS)


def test_limits_are_those_given(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    path.write_bytes(archive.packed(validate.from_folder(KERNELS, LIMITS)))
    assert archive.read(path, LIMITS).benchmark
    with pytest.raises(DataError, match="max_rows=N"):
        archive.read(path, validate.limits({"max_rows": "100"}))
    path.write_bytes(zipped(signed({**GOOD, "history.csv": GOOD["history.csv"] + b"\n" * 2 * 2**20})))
    for limit in ("max_file_mib", "max_total_mib"):
        with pytest.raises(DataError, match=r"history.csv: too large"):
            archive.read(path, validate.limits({limit: "1"}))
    path.write_bytes(zipped(GOOD) + b"x" * 2**20)
    with pytest.raises(DataError, match="larger than 1 MiB"):
        archive.read(path, validate.limits({"max_archive_mib": "1"}))


@pytest.mark.long
def test_every_published_study_comes_back_as_it_went(tmp_path: Path) -> None:
    folders = sorted(path.parent for path in PUBLISHED.glob("*/config.yaml"))
    assert len(folders) > 30
    for folder in folders:
        study = validate.from_folder(folder, LIMITS)
        path = tmp_path / "a.zip"
        path.write_bytes(archive.packed(study))
        assert archive.read(path, LIMITS).texts == study.texts
        assert {file: text.encode() for file, text in study.texts.items()} == {
            file.name: file.read_bytes() for file in folder.iterdir() if file.name in study.texts
        }
        assert len(study.texts) == len(list(folder.iterdir()))


def test_the_same_records_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        folder = tmp_path / name
        folder.mkdir()
        for file in sorted(STUDY.iterdir(), reverse=name == "b"):
            (folder / file.name).write_bytes(file.read_bytes())
    packed = [archive.packed(validate.from_folder(tmp_path / name, LIMITS)) for name in ("a", "b")]
    assert packed[0] == packed[1]
    with zipfile.ZipFile(io.BytesIO(packed[0])) as file:
        assert {info.date_time for info in file.infolist()} == {(1980, 1, 1, 0, 0, 0)}  # not that of the day


def test_a_row_that_is_being_written_is_left_out(tmp_path: Path) -> None:
    for file in STUDY.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    with (tmp_path / "trials.csv").open("a") as file:
        file.write("8,COMP")
    assert validate.from_folder(tmp_path, LIMITS).count("trials.csv") == 8


def test_a_configuration_whose_study_is_no_mapping_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("study: 3\n")
    (tmp_path / "environment.json").write_text("{}")
    (tmp_path / "trials.csv").write_text("number\n")
    with pytest.raises(StorageError, match=r"config.yaml: study"):
        validate.from_folder(tmp_path, LIMITS)


def test_damaged_records_are_not_packed(tmp_path: Path) -> None:
    for file in STUDY.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "trials.csv").write_bytes(b"\xff\n")
    with pytest.raises(StorageError, match=r"trials.csv: cannot be read \(it is not UTF-8\)"):
        validate.from_folder(tmp_path, LIMITS)
    (tmp_path / "trials.csv").write_bytes(b"number,state\n0,DONE\n")
    with pytest.raises(StorageError, match=r"trials.csv: 0 state"):
        validate.from_folder(tmp_path, LIMITS)
