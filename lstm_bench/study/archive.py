"""One file per study: its records, checked, and packed into a zip that says what it holds; and read without being believed.

An archive has `manifest.json` (format, kind, study, study_id, lstm_bench, and size and SHA-256 of every file) and records
alone: no database, no model, no pickle, nothing that is run. The same records give the same bytes.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import zipfile
from pathlib import Path

import lstm_bench
from lstm_bench.core import configuration, safe_load
from lstm_bench.core.errors import DataError, LstmBenchError, StorageError
from lstm_bench.study import columns
from lstm_bench.study.reader import StudyRecord
from lstm_bench.study.validate import DOCUMENTS, TABLES, Limits, Reader

FORMAT = 1
MANIFEST = "manifest.json"

_MIB = 2**20
_RATIO_FROM = 16 * _MIB
_END = b"PK\5\6"  # of a zip: end of its central directory, 22 bytes where there is no comment
_END_64 = b"PK\6\7"
_END_SIZE = 22
_DIRECTORY = 2**16  # bytes of the central directory: eight short names come to 600


def packed(study: StudyRecord) -> bytes:
    """The archive of a study; of the same records the same bytes, as long as zlib is the same."""
    bodies = {file: text.encode() for file, text in study.texts.items()}
    manifest = {
        "format": FORMAT,
        "kind": "benchmark" if study.benchmark else "study",
        "study": study.name,
        "study_id": study.study_id,
        "lstm_bench": study.environment.get("lstm_bench") or lstm_bench.__version__,
        "files": {
            file: {"bytes": len(body), "sha256": hashlib.sha256(body).hexdigest()} for file, body in bodies.items()
        },
    }
    members = {MANIFEST: (json.dumps(manifest, indent=2) + "\n").encode(), **bodies}
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, body in members.items():
            info = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))  # the earliest that a zip can say
            info.compress_type, info.create_system, info.external_attr = zipfile.ZIP_DEFLATED, 3, 0o100644 << 16
            archive.writestr(info, body, compresslevel=9)
    return out.getvalue()


def write(path: Path, body: bytes) -> None:
    """Writes a file at once: a crash leaves the old one or the new one.

    Raises:
      StorageError: when it cannot be written.
    """
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
        raise StorageError(f"{path}: cannot be written ({error.strerror or error})") from error


def read(path: Path, bounds: Limits) -> StudyRecord:
    """The study in an archive from anywhere. No header is believed, no name is used as a path, nothing is run.

    Raises:
      DataError: when it is missing, damaged, too large, or anything else than an archive of records; names the member.
    """
    reader = Reader(str(path), bounds, DataError)
    if not path.is_file():
        reader.refuse(None, "there is no such file")
    try:
        with path.open("rb") as file:
            body = file.read(bounds.max_archive_mib * _MIB + 1)
    except OSError as error:
        reader.refuse(None, f"cannot be read ({error.strerror or error})")
    if len(body) > bounds.max_archive_mib * _MIB:
        reader.refuse(None, f"larger than {bounds.max_archive_mib} MiB", remedy="max_archive_mib=N takes larger ones.")
    return _unpacked(reader, body)


def _unpacked(reader: Reader, body: bytes) -> StudyRecord:
    bodies = _members(reader, body)
    texts = {}
    for file, content in bodies.items():
        try:
            texts[file] = content.decode("utf-8")
        except UnicodeDecodeError as error:
            reader.refuse(file, f"it is not UTF-8 (byte {error.start})")
        if "\0" in texts[file]:
            reader.refuse(file, "it holds a NUL")
    manifest = reader.mapping(MANIFEST, texts.pop(MANIFEST), safe_load.from_json)
    if manifest.get("format") != FORMAT:
        made = str(manifest.get("lstm_bench"))[:40]
        reader.refuse(MANIFEST, "format", expected=str(FORMAT), received=str(manifest.get("format"))[:40], remedy=(
            f"It was made by lstm_bench {made!r}, this is {lstm_bench.__version__}."))  # fmt: skip
    name = manifest.get("study")
    if not isinstance(name, str) or not configuration.NAME.fullmatch(name):
        reader.refuse(MANIFEST, "study", expected="a letter or digit, then at most 99 of A-Za-z0-9._-", received=name)
    kind = "benchmark" if name.startswith("kernels-") else "study"
    if manifest.get("kind") != kind:
        reader.refuse(MANIFEST, "kind", expected=kind, received=str(manifest.get("kind"))[:40])
    listed = manifest.get("files")
    if not isinstance(listed, dict) or listed.keys() != texts.keys():
        reader.refuse(
            MANIFEST, "files", expected=" ".join(sorted(texts)), received=str(listed and sorted(listed))[:200]
        )
    known = (*DOCUMENTS, *(columns.BENCHMARK_FILES if kind == "benchmark" else columns.FILES))
    for file in texts:
        digest = hashlib.sha256(bodies[file]).hexdigest()
        if listed[file] != {"bytes": len(bodies[file]), "sha256": digest}:
            reader.refuse(
                file, "not what the manifest says", received=f"{len(bodies[file])} bytes, sha256 {digest[:12]}"
            )
        if file not in known:
            reader.refuse(file, f"a {kind} has no such file")
    study = reader.record(name, texts)
    if manifest.get("study_id") != study.study_id:
        reader.refuse(MANIFEST, "study_id", expected=repr(study.study_id), received=str(manifest.get("study_id"))[:40])
    return study


def _members(reader: Reader, body: bytes) -> dict[str, bytes]:
    """The unpacked members by their name, which is one of a few."""
    end = body[-_END_SIZE:]
    size, offset = int.from_bytes(end[12:16], "little"), int.from_bytes(end[16:20], "little")
    whole = end[:4] == _END and end[20:] == b"\0\0" and offset + size + len(end) == len(body)
    if not whole or body[-_END_SIZE - 20 :][:4] == _END_64 or size > _DIRECTORY:
        reader.refuse(None, "not an archive of a study, or cut off", expected="a file made by lstm_bench.export")
    bounds = reader.limits
    found: dict[str, bytes] = {}
    total = 0
    try:
        with zipfile.ZipFile(io.BytesIO(body)) as archive:
            for info in archive.infolist():
                name = info.orig_filename
                if name not in (MANIFEST, *DOCUMENTS, *TABLES) or info.filename != name:
                    reader.refuse(repr(name[:80]), "no such file belongs into an archive")
                if name in found:
                    reader.refuse(name, "it is there twice")
                if info.flag_bits & 0x1:
                    reader.refuse(name, "it is encrypted")
                if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                    reader.refuse(name, f"it is packed by method {info.compress_type}", expected="deflate")
                if info.external_attr >> 28 not in (0, 8):  # a link, a folder, a device
                    reader.refuse(name, "it is no plain file")
                most = bounds.max_file_mib * _MIB if name in TABLES else 4 * safe_load.MAX_LENGTH
                with archive.open(info) as member:
                    found[name] = member.read(min(most, bounds.max_total_mib * _MIB - total) + 1)
                total += len(found[name])
                if len(found[name]) > most or total > bounds.max_total_mib * _MIB:
                    remedy = "max_file_mib=N and max_total_mib=N take more." if name in TABLES else None
                    reader.refuse(name, "too large", remedy=remedy)
                if total > max(_RATIO_FROM, bounds.max_ratio * len(body)):
                    reader.refuse(name, f"unpacked more than {bounds.max_ratio} times as large: a bomb")
    except LstmBenchError:
        raise
    except Exception as error:  # a damaged zip raises any of a dozen types
        reader.refuse(None, f"cannot be unpacked ({' '.join(str(error).split())[:100] or type(error).__name__})")
    if MANIFEST not in found:
        reader.refuse(None, f"{MANIFEST} is missing")
    return found
