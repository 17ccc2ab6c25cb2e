"""`dataset=`: name -> arrays `(samples, timesteps, features)`, checked, split and scaled.

A driver calls `resolve` once: it finds or downloads the data, or falls back with a notice. Workers call `load` with the
configuration that `resolve` returned, which neither searches nor touches the network.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import math
import os
import queue
import sys
import threading
import zipfile
import zlib
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, BinaryIO

import numpy as np

from lstm_bench.errors import ConfigError, DataError, LstmBenchError, StorageError, nearest

# SHA-256 of the uncompressed IDX files. Looked up at every read: tests put the digests of small files here.
MNIST_SHA256 = {
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}
MNIST_KEYS = dict(zip(("x_train", "y_train", "x_test", "y_test"), MNIST_SHA256, strict=True))
MIRRORS = ("https://ossci-datasets.s3.amazonaws.com/mnist/", "https://storage.googleapis.com/cvdf-datasets/mnist/")
SCHEME = "https"  # the only one that is followed, redirects included
ANSWER_S = 1.5  # seconds for a mirror to answer: two silent ones and the import of scikit-learn stay within 5 s
READ_S = 20.0  # seconds without a byte before a download is given up
MAX_IDX_BYTES = 64 * 2**20  # of one MNIST file, packed or unpacked; the largest has 47 MB
MAX_NPZ_BYTES = 16 * 2**30  # of all arrays in a user's npz, unpacked
DIVISOR = {"mnist": 255, "digits": 16, "npz": 1}  # pixels to [0, 1]; a user's arrays are taken as they are
DIGITS_TEST, DIGITS_SEED = 360, 0  # a fifth of the 1,797 digits is the test set, whatever `split_seed` says
REPLACE = "Delete it and give the same command again, or put the right file in its place."
SPLITS = ("train", "validation", "test")

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True, eq=False)  # arrays have no single ==
class Dataset:
    """Arrays ready to train on: `x_*` float32 `(samples, timesteps, features)`, `y_*` int32 `(samples,)` from 0."""

    name: str  # what was really used: mnist, digits or the stem of the npz file
    x_train: np.ndarray
    y_train: np.ndarray
    x_validation: np.ndarray
    y_validation: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    n_classes: int  # at least 2
    sha256: str  # of the arrays before they were split and scaled
    source: str  # where they were found, the home folder as ~, or the URL they were just downloaded from
    notice: str | None = None  # why this is not the dataset that was asked for

    @property
    def input_shape(self) -> tuple[int, int]:
        """`(timesteps, features)`, without the batch axis."""
        return self.x_train.shape[1], self.x_train.shape[2]


@dataclass(frozen=True)
class Found:
    """What `resolve` found: a `dataset` configuration that any worker can load without searching."""

    config: dict[str, Any]
    name: str  # as in `Dataset`
    source: str
    notice: str | None = None


def check(config: Mapping[str, Any]) -> None:
    """Checks ranges and types of the `dataset` settings. Opens nothing.

    Raises:
      ConfigError: if a setting cannot be meant, whatever the data.
    """

    def need(key: str, valid: bool, expected: str) -> None:
        if not valid:
            raise ConfigError(f"dataset.{key}", expected=expected, received=config[key])

    name, seed = config["name"], config["split_seed"]
    if not isinstance(name, str) or name not in DIVISOR:
        raise ConfigError("dataset.name", received=name, remedy=nearest(str(name), DIVISOR))
    size = "a count of at least 1 or a fraction between 0 and 1"
    need("validation_size", _is_size(config["validation_size"]), size)
    need("train_size", config["train_size"] is None or _is_size(config["train_size"]), size + ", or null for all")
    need("validation", config["validation"] in ("split", "test"), "split or test")
    need("split_seed", type(seed) is int and 0 <= seed < 2**32, "an integer from 0 to 2**32 - 1")
    need("standardize", isinstance(config["standardize"], bool), "true or false")
    for key, owner in (("dir", "mnist"), ("path", "npz"), ("fallback", "mnist")):
        need(key, name == owner or config[key] is None, f"null, because only dataset={owner} has it")
    need("dir", config["dir"] is None or _is_text(config["dir"]), "a folder, or null to search")
    need("path", name != "npz" or _is_text(config["path"]), "the path of an .npz file")
    need("fallback", config["fallback"] in (None, "digits"), "digits or null")


def _is_size(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return 0 < value < 1 or (value >= 1 and float(value).is_integer())


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and value.strip() not in ("", "???")


def resolve(config: Mapping[str, Any]) -> Found:
    """Finds the data, downloading MNIST if need be. Contents are verified by `load`, except for a download's.

    Args:
      config: The `dataset` settings.

    Returns:
      What was found: with an absolute `dir` or `path`, or the settings of `digits` and a notice.

    Raises:
      ConfigError: if a setting cannot be meant.
      DataError: if there is nothing, or only a part of it, and no fallback.
      StorageError: if a download cannot be stored.
    """
    check(config)
    if config["name"] == "digits":
        return Found(dict(config), "digits", "scikit-learn load_digits")
    if config["name"] == "npz":
        path = _absolute(config["path"])
        if not _is_file(path):
            raise DataError(f"{path}: no such file", remedy="Give an existing one: dataset.path=FILE.npz")
        return Found({**config, "path": str(path)}, path.stem, _short(path))
    if config["dir"] is not None:
        folder = _absolute(config["dir"])
        if not _holds_mnist(folder):
            raise DataError(
                f"dataset.dir={folder}: MNIST is not there",
                expected="mnist.npz or " + " ".join(f"{name}[.gz]" for name in MNIST_SHA256),
                remedy="Correct dataset.dir, or leave it out to search and download.",
            )
        return Found({**config, "dir": str(folder)}, "mnist", _short(folder))

    cache = _cache()
    folders = [cache, Path.home() / ".keras" / "datasets"]
    if root := os.environ.get("LSTM_BENCH_DATA"):
        folders.insert(0, _absolute(root) / "mnist")
    for folder in folders:
        if _holds_mnist(folder):
            return Found({**config, "dir": str(folder)}, "mnist", _short(folder))
    try:
        url = _download(cache)
    except _UnreachableError as error:
        missing = f"MNIST was neither found in {', '.join(map(_short, folders))} nor could it be downloaded ({error})"
        if config["fallback"] is None:
            remedy = "Say dataset.dir=FOLDER of its four IDX files, or allow dataset.fallback=digits."
            raise DataError(missing, remedy=remedy) from error
        return _fall_back(config, missing)
    return Found({**config, "dir": str(cache)}, "mnist", url)


def _fall_back(config: Mapping[str, Any], missing: str) -> Found:
    """The settings of `digits`, with the sizes that were asked for where so small a set allows them."""
    asked, default = (config["train_size"], config["validation_size"]), (None, 0.1)
    candidates = dict.fromkeys((asked, (asked[0], default[1]), (default[0], asked[1]), default))
    for train_size, validation_size in candidates:
        sizes = {"train_size": train_size, "validation_size": validation_size}
        digits = {**config, "name": "digits", "dir": None, "path": None, "fallback": None, **sizes}
        with contextlib.suppress(DataError):
            load(digits)
            break
    changed = [f"{key} {value} instead of {config[key]}" for key, value in sizes.items() if value != config[key]]
    notice = f"{missing}: using scikit-learn's 8x8 digits instead, and everything produced is named after them"
    notice += f" ({', '.join(changed)})" if changed else ""
    return Found(digits, "digits", "scikit-learn load_digits", notice + ".")


def load(config: Mapping[str, Any]) -> Dataset:
    """Arrays of a dataset, verified, split and scaled.

    Args:
      config: The `dataset` settings, best those that `resolve` returned.

    Returns:
      The `Dataset`. Samples keep the order of their source within each split. The training and validation splits are
      stratified and depend on `split_seed` and the labels alone.

    Raises:
      ConfigError: if a setting cannot be meant.
      DataError: if the data is missing, corrupt, foreign or unfit, or too small for the sizes asked for.
      StorageError: if a download cannot be stored.
    """
    found = resolve(config)
    config = found.config
    if config["name"] == "npz":
        arrays, n_classes, sha256 = _npz(Path(config["path"]))
    else:
        arrays, n_classes, sha256 = _mnist(Path(config["dir"])) if config["name"] == "mnist" else _digits()

    size, seed, y = config["validation_size"], config["split_seed"], arrays["y_train"]
    rows: dict[str, Any] = {}
    train = np.arange(len(y))
    if config["validation"] == "test":
        n_test = len(arrays["y_test"])
        if not 1 <= (n := _count(size, n_test)) <= n_test:
            raise DataError("dataset.validation_size", expected=f"1 to {n_test} of the test samples", received=n)
        for axis in "xy":
            arrays[f"{axis}_validation"] = arrays[f"{axis}_test"][:n]
    elif "x_validation" not in arrays:
        rows["validation"] = _stratified(y, _count(size, len(y)), seed, "dataset.validation_size", leave=1)
        train = np.setdiff1d(train, rows["validation"])
    if config["train_size"] is not None:
        n = _count(config["train_size"], len(train))
        train = train[_stratified(y[train], n, seed, "dataset.train_size", leave=0)]
    if len(train) < len(y):
        rows["train"] = train
    for split, index in rows.items():  # validation first: it is cut out of what the training rows then replace
        for axis in "xy":
            arrays[f"{axis}_{split}"] = arrays[f"{axis}_train"][index]
    for split in SPLITS:  # scaled after the split: bytes are cheaper to copy than floats
        arrays[f"x_{split}"] = np.divide(arrays[f"x_{split}"], DIVISOR[config["name"]], dtype=np.float32)
    if config["standardize"]:
        _standardize(arrays)
    return Dataset(found.name, **arrays, n_classes=n_classes, sha256=sha256, source=found.source, notice=found.notice)


def _count(size: float, n: int) -> int:
    return int(size) if size >= 1 else round(size * n)


def _stratified(y: np.ndarray, n: int, seed: int, what: str, leave: int) -> np.ndarray:
    """Sorted indices of `n` samples, every class in proportion: at least one taken of each and `leave` left behind."""
    classes, counts = np.unique(y, return_counts=True)
    low, high = len(classes), len(y) - leave * len(classes)
    if not low <= n <= high or counts.min() <= leave:
        raise DataError(
            what,
            expected=f"{low} to {high} of {len(y)} samples in {len(classes)} classes of {1 + leave} or more",
            received=n,
            remedy=f"The rarest class has {counts.min()}.",
        )
    share = n * counts / len(y)
    take = np.clip(share.astype(int), 1, counts - leave)
    while missing := n - take.sum():  # by largest remainder; each round mends one sample
        step = int(np.sign(missing))
        free = take < counts - leave if step > 0 else take > 1
        take[np.argmax(np.where(free, step * (share - take), -np.inf))] += step
    rng = np.random.RandomState(seed)  # NumPy froze its stream for good; that of default_rng may change
    picked = [rng.permutation(np.flatnonzero(y == label))[:k] for label, k in zip(classes, take, strict=True)]
    return np.sort(np.concatenate(picked))


def _standardize(arrays: Arrays) -> None:
    """Mean 0 and deviation 1 of every feature over the training split; the other splits by the same figures."""
    mean = arrays["x_train"].mean(axis=(0, 1), dtype=np.float64)
    variance = np.square(arrays["x_train"] - mean.astype(np.float32)).mean(axis=(0, 1), dtype=np.float64)
    scale = np.sqrt(variance)
    scale[scale <= 1e-6 * np.abs(mean)] = 1  # a constant feature; its deviation is float32's rounding, or 0
    for split in SPLITS:
        x = arrays[f"x_{split}"] - mean.astype(np.float32)
        arrays[f"x_{split}"] = np.divide(x, scale.astype(np.float32), out=x)


# Sources: each returns arrays, number of classes and digest.


def _digits() -> tuple[Arrays, int, str]:
    from sklearn.datasets import load_digits  # lazily: it takes a second, and MNIST needs none of it

    digits = load_digits()
    x, y = digits.images.astype(np.uint8), digits.target.astype(np.int32)
    test = _stratified(y, DIGITS_TEST, DIGITS_SEED, "digits", leave=1)
    train = np.setdiff1d(np.arange(len(y)), test)
    arrays = {"x_train": x[train], "y_train": y[train], "x_test": x[test], "y_test": y[test]}
    return arrays, 10, _digest({"x": x, "y": y})


def _mnist(folder: Path) -> tuple[Arrays, int, str]:
    files = _idx_files(folder)
    if len(files) == len(MNIST_SHA256):
        where = folder
        arrays = {key: _read_idx(files[name], name) for key, name in MNIST_KEYS.items()}
    else:
        where = folder / "mnist.npz"
        arrays = _read_npz(where, MNIST_KEYS)
        for key, name in MNIST_KEYS.items():
            header = b"\0\0\x08" + bytes([arrays[key].ndim]) + np.array(arrays[key].shape, ">u4").tobytes()
            actual = hashlib.sha256(header + arrays[key].tobytes()).hexdigest()  # as if it were the IDX file
            _verify(f"{where}: {key}", actual, MNIST_SHA256[name])
    arrays, n_classes = _checked(arrays, 10, where)
    return arrays, n_classes, hashlib.sha256(" ".join(MNIST_SHA256.values()).encode()).hexdigest()


def _npz(path: Path) -> tuple[Arrays, int, str]:
    raw = _read_npz(path, [f"{axis}_{split}" for split in SPLITS for axis in "xy"])
    arrays, n_classes = _checked(raw, None, path)
    return arrays, n_classes, _digest(raw)


def _digest(arrays: Arrays) -> str:
    digest = hashlib.sha256()
    for key in sorted(arrays):
        digest.update(f"{key} {arrays[key].dtype.str} {arrays[key].shape}\n".encode())
        digest.update(np.ascontiguousarray(arrays[key]).reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def _checked(arrays: Arrays, n_classes: int | None, where: Path) -> tuple[Arrays, int]:
    """The arrays with labels as int32 and real inputs as float32, once their shapes and values were found fit."""

    def need(key: str, valid: object, expected: str, received: object = None, remedy: str | None = None) -> None:
        if not valid:
            raise DataError(f"{where}: {key}", expected=expected, received=received, remedy=remedy)

    checked: Arrays = {}
    for split in (split for split in SPLITS if f"x_{split}" in arrays):
        x_key, y_key = f"x_{split}", f"y_{split}"
        x, y = arrays[x_key], arrays[y_key]
        need(x_key, x.ndim == 3, "shape (samples, timesteps, features)", x.shape, "One feature: x[..., None].")
        need(x_key, x.size, "a shape with at least one sample, timestep and feature", x.shape)
        need(x_key, x.dtype.kind in "biuf", "real numbers", x.dtype)
        if x.dtype.kind == "f":
            with np.errstate(over="ignore"):  # what float32 cannot hold becomes inf, which is refused next
                x = x.astype(np.float32, copy=False)
            need(x_key, np.isfinite(x).all(), "finite float32 numbers, neither NaN nor inf")
        need(y_key, y.ndim == 1, "shape (samples,)", y.shape, "One-hot labels: y.argmax(-1).")
        need(y_key, y.dtype.kind in "iu", "integer labels", y.dtype)
        need(y_key, len(y) == len(x), f"as many labels as {x_key} has samples, {len(x)}", len(y))
        if n_classes is None:
            n_classes = int(y.max()) + 1
            need(y_key, 2 <= n_classes <= len(y), f"2 to {len(y)} classes, labelled from 0", n_classes)
        need(y_key, y.min() >= 0, "labels from 0", int(y.min()), "Subtract the least label.")
        need(y_key, y.max() < n_classes, f"labels 0 to {n_classes - 1}", int(y.max()))
        checked[x_key], checked[y_key] = x, y.astype(np.int32)
        form = checked["x_train"].shape[1:]
        need(x_key, x.shape[1:] == form, f"(timesteps, features) {form} as in x_train", x.shape[1:])
        unknown = np.setdiff1d(checked[y_key], checked["y_train"])
        need(y_key, not unknown.size, "only labels that y_train has", unknown[:5].tolist())
    assert n_classes is not None  # there is a training split
    return checked, n_classes


# Files.


def _absolute(path: str) -> Path:
    with contextlib.suppress(RuntimeError):  # ~nobody: taken literally, and not found
        return Path(path).expanduser().absolute()
    return Path(path).absolute()


def _cache() -> Path:
    root = os.environ.get("XDG_CACHE_HOME")
    return (_absolute(root) if root else Path.home() / ".cache") / "lstm_bench" / "mnist"


def _short(path: Path) -> str:
    return f"~/{path.relative_to(Path.home())}" if path.is_relative_to(Path.home()) else str(path)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a folder that may not be entered
        return False


def _idx_files(folder: Path) -> dict[str, Path]:
    """The MNIST files in `folder` by their official names; some tools spell them `train-images.idx3-ubyte`."""
    found = {}
    for name in MNIST_SHA256:
        for spelling in (name, name.replace("-idx", ".idx")):
            for path in (folder / f"{spelling}.gz", folder / spelling):
                if name not in found and _is_file(path):
                    found[name] = path
    return found


def _holds_mnist(folder: Path) -> bool:
    files = _idx_files(folder)
    if len(files) == len(MNIST_SHA256) or _is_file(folder / "mnist.npz"):
        return True
    if files and folder != _cache():  # in the cache it is a download that was broken off, and is completed
        missing = ", ".join(name for name in MNIST_SHA256 if name not in files)
        raise DataError(f"{folder}: MNIST is incomplete, {missing} missing", remedy="Add it, or remove the others.")
    return False


def _read_idx(path: Path, name: str) -> np.ndarray:
    try:
        with path.open("rb") as file:
            return _idx(file, str(path), name)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from error


def _idx(file: BinaryIO, where: str, name: str) -> np.ndarray:
    """Array uint8 of an MNIST file, gzipped or not, every claim of whose header was checked before it was believed."""
    packed = file.read(2) == b"\x1f\x8b"  # the content decides: some tools unpack and leave the .gz in the name
    file.seek(0)
    try:
        content = (gzip.GzipFile(fileobj=file) if packed else file).read(MAX_IDX_BYTES + 1)
    except EOFError as error:
        raise DataError(f"{where}: truncated", remedy=REPLACE) from error
    except (gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f"{where}: corrupt ({error})", remedy=REPLACE) from error
    if len(content) > MAX_IDX_BYTES:
        raise DataError(f"{where}: too large", expected=f"at most {MAX_IDX_BYTES} bytes unpacked", remedy=REPLACE)

    n_dims = 3 if "idx3" in name else 1
    offset = 4 + 4 * n_dims
    shape = tuple(int(size) for size in np.frombuffer(content[4:offset].ljust(offset - 4, b"\0"), ">u4"))
    fault = None
    if content[:4] != bytes([0, 0, 8, n_dims]):  # 8: unsigned bytes
        fault = f"not an IDX file of bytes in {n_dims} dimensions, it starts with {content[:9]!r}"
    elif len(content) != offset + math.prod(shape):
        fault = f"its header claims shape {shape}, {offset + math.prod(shape)} bytes, and it has {len(content)}"
    _verify(where, hashlib.sha256(content).hexdigest(), MNIST_SHA256[name], fault)
    return np.frombuffer(content, np.uint8, offset=offset).reshape(shape)


def _verify(where: str, actual: str, pinned: str, fault: str | None = None) -> None:
    if fault or actual != pinned:
        fault = fault or "foreign: not MNIST"
        raise DataError(f"{where}: {fault}", expected=f"SHA-256 {pinned}", received=actual, remedy=REPLACE)


def _read_npz(path: Path, keys: Collection[str]) -> Arrays:
    """Those `keys` that the file has: x and y of training and test, those of validation both or neither."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = {key for key in keys if f"{key}.npy" in archive.namelist()}
            sizes = {key: archive.getinfo(f"{key}.npy").file_size for key in names}
            if sum(sizes.values()) > MAX_NPZ_BYTES:
                limit = f"at most {MAX_NPZ_BYTES} bytes"
                raise DataError(f"{path}: too large", expected=limit, received=sum(sizes.values()))
            for key in keys:
                other = ("y" if key[0] == "x" else "x") + key[1:]
                if key not in names and ("validation" not in key or other in names):
                    expected = "x_train y_train x_test y_test, and x_validation y_validation both or neither"
                    raise DataError(f"{path}: {key} is missing", expected=expected, received=archive.namelist()[:12])
            for key, size in sizes.items():
                with archive.open(f"{key}.npy") as member:
                    _check_npy(member, size, f"{path}: {key}")
        with np.load(path, allow_pickle=False) as file:
            return {key: file[key] for key in keys if key in names}
    except LstmBenchError:
        raise
    except Exception as error:  # a damaged zip raises any of a dozen types
        raise DataError(f"{path}: cannot be read ({error or type(error).__name__})", expected="an .npz file") from error


def _check_npy(member: IO[bytes], size: int, where: str) -> None:
    """Refuses what NumPy would allocate, or unpickle, on the word of an array's header alone."""
    version = np.lib.format.read_magic(member)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(member)
    if dtype.hasobject:
        raise DataError(f"{where}: Python objects are never unpickled", expected="numbers", received=dtype)
    if member.tell() + math.prod(shape) * dtype.itemsize != size:
        raise DataError(
            f"{where}: corrupt", expected=f"{dtype} of shape {shape}, its header says", received=f"{size} B"
        )


# Download.


class _UnreachableError(Exception):
    """No mirror gave the file."""


def _download(folder: Path) -> str:
    """Completes the MNIST files in `folder`, each verified before it gets its name. Returns the mirror of the last."""
    from http.client import HTTPException

    mirror = ""
    present = _idx_files(folder)
    for name in (name for name in MNIST_SHA256 if name not in present):
        reasons = []
        for mirror in MIRRORS:
            url = f"{mirror}{name}.gz"
            try:
                body = _fetch(url)
                _idx(io.BytesIO(body), url, name)
                break
            except (OSError, HTTPException, DataError) as error:
                reason = getattr(error, "reason", None) or error
                reasons.append(str(error) if isinstance(error, DataError) else f"{url}: {reason}")
        else:
            raise _UnreachableError("; ".join(reasons))
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
            if len(body) > MAX_IDX_BYTES:
                raise OSError(f"more than {MAX_IDX_BYTES} bytes")
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
