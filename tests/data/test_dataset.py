import contextlib
import functools
import gzip
import hashlib
import http.server
import io
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lstm_bench.core.errors import ConfigError, DataError, StorageError
from lstm_bench.data import dataset as data
from lstm_bench.data import download, images, splits
from lstm_bench.data import task as tasks
from lstm_bench.data.objective import check_objective
from lstm_bench.data.settings import check

NAMES = list(images.SHA256)
MNIST = {
    "name": "mnist",
    "dir": None,
    "path": None,
    "train_size": None,
    "validation_size": 5000,
    "validation": "split",
    "split_seed": 0,
    "standardize": False,
    "fallback": "digits",
}
DIGITS = {**MNIST, "name": "digits", "validation_size": 0.1, "fallback": None}


@pytest.fixture(scope="module")
def real_mnist() -> dict[str, Any]:
    """Settings of the real MNIST. Its tests fail rather than skip without it: they are the proof of the pins."""
    root = os.environ.get("LSTM_BENCH_DATA")
    if not root or not any((Path(root) / "mnist").glob("train-images*")):
        pytest.fail(
            "needs the real MNIST: set LSTM_BENCH_DATA to the folder that holds mnist/train-images-idx3-ubyte.gz"
        )
    return {**MNIST, "dir": str(Path(root) / "mnist")}


@pytest.fixture(scope="module")
def real(real_mnist: dict[str, Any]) -> data.Dataset:
    return data.load(real_mnist)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home folder, no network: whoever wants a mirror says so."""
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv("LSTM_BENCH_DATA", raising=False)
    monkeypatch.setattr(download, "MIRRORS", dict.fromkeys(download.MIRRORS, ()))
    return folder


def idx(array: np.ndarray) -> bytes:
    header = bytes([0, 0, 8, array.ndim]) + b"".join(size.to_bytes(4, "big") for size in array.shape)
    return header + array.astype(np.uint8).tobytes()


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """Four IDX files of 40 + 20 images, with their digests pinned in place of the real ones."""
    rng = np.random.RandomState(0)
    y_train, y_test = np.arange(40) % 10, np.arange(20) % 10
    arrays = (rng.randint(0, 256, (40, 28, 28)), y_train, rng.randint(0, 256, (20, 28, 28)), y_test)
    contents = dict(zip(NAMES, map(idx, arrays), strict=True))
    for name, content in contents.items():
        monkeypatch.setitem(images.SHA256, name, hashlib.sha256(content).hexdigest())
    return contents


def write(folder: Path, contents: dict[str, bytes], suffix: str = ".gz") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        (folder / f"{name}{suffix}").write_bytes(gzip.compress(content) if suffix else content)
    return folder


# What is known of the real thing.


def test_mnist_is_the_published_one(real: data.Dataset) -> None:
    assert real.name == "mnist"
    assert real.x_train.shape == (55000, 28, 28)
    assert real.x_validation.shape == (5000, 28, 28)
    assert real.x_test.shape == (10000, 28, 28)
    assert real.input_shape == (28, 28)
    assert real.n_classes == 10
    assert (real.y_train[0], real.y_test[0]) == (5, 7)
    assert real.x_train.dtype == np.float32
    assert real.y_train.dtype == np.int32
    assert (real.x_train.min(), real.x_train.max()) == (0.0, 1.0)
    pixels = sum(int(np.rint(x.sum(dtype=np.float64) * 255)) for x in (real.x_train, real.x_validation))
    assert round(pixels / (60000 * 784 * 255), 4) == 0.1307  # the mean that everybody normalises by
    together = np.bincount(real.y_train) + np.bincount(real.y_validation)
    assert together.tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]


def test_mnist_split_is_the_same_for_ever(real: data.Dataset) -> None:
    assert np.bincount(real.y_validation).tolist() == [494, 562, 496, 511, 487, 452, 493, 522, 487, 496]
    assert real.y_validation[:12].tolist() == [4, 1, 0, 3, 8, 5, 6, 8, 3, 9, 4, 2]
    assert real.sha256 == "35b4ae54c9e51524e6ee0ca4bc2f8e434b97ffde5dd5af15c3f02b75b02244e2"


def test_tutorials_validate_on_the_test_set_less_its_last_ten(real_mnist: dict[str, Any], real: data.Dataset) -> None:
    got = data.load({**real_mnist, "validation": "test", "validation_size": 9990})
    assert len(got.x_train) == 60000
    assert len(got.x_validation) == 9990
    assert np.array_equal(got.x_validation, real.x_test[:9990])
    assert len(got.x_test) == 10000


def test_digits_are_eight_by_eight_with_a_fixed_test_split() -> None:
    got = data.load(DIGITS)
    assert got.name == "digits"
    assert (got.x_train.shape, got.x_validation.shape, got.x_test.shape) == ((1293, 8, 8), (144, 8, 8), (360, 8, 8))
    assert np.bincount(got.y_test).tolist() == [36, 37, 35, 37, 36, 36, 36, 36, 35, 36]
    assert (got.x_train.min(), got.x_train.max()) == (0.0, 1.0)
    assert np.array_equal(got.x_test, data.load({**DIGITS, "split_seed": 7}).x_test)
    assert got.sha256 == "28bf353848c1e32223d664cc588208be2e6ee9adcca1d59548712f3448acfe9e"


# Splits.


@pytest.mark.parametrize("size", [10, 13, 150, 0.5])
def test_validation_split_is_stratified_disjoint_and_deterministic(size: float) -> None:
    y = np.repeat(np.arange(5), [100, 50, 30, 10, 10])
    n = splits._count(size, len(y))
    picked = splits._stratified(y, n, seed=3, what="size", leave=1)
    rest = np.setdiff1d(np.arange(len(y)), picked)
    assert len(picked) == n == len(set(picked.tolist()))
    assert np.array_equal(picked, np.sort(picked))
    counts = np.bincount(y[picked], minlength=5)
    assert counts.min() >= 1
    assert np.bincount(y[rest], minlength=5).min() >= 1
    if n >= 100:
        assert np.abs(counts - n * np.bincount(y) / len(y)).max() < 1
    assert np.array_equal(picked, splits._stratified(y, n, seed=3, what="size", leave=1))
    assert not np.array_equal(picked, splits._stratified(y, n, seed=4, what="size", leave=1))


def test_validation_and_training_together_are_the_training_set() -> None:
    got, other = data.load(DIGITS), data.load({**DIGITS, "split_seed": 1})
    rows = np.concatenate([got.x_train, got.x_validation]).reshape(1437, -1)
    others = np.concatenate([other.x_train, other.x_validation]).reshape(1437, -1)
    assert np.array_equal(rows[np.lexsort(rows.T)], others[np.lexsort(others.T)])
    assert not np.array_equal(got.x_validation, other.x_validation)
    assert got.sha256 == other.sha256


@pytest.mark.parametrize(("size", "expected"), [(100, 100), (10, 10), (0.5, 646), (1293, 1293), (200.0, 200)])
def test_train_size_takes_a_stratified_part_of_the_training_split(size: float, expected: int) -> None:
    got = data.load({**DIGITS, "train_size": size})
    assert len(got.x_train) == expected
    assert set(got.y_train.tolist()) == set(range(10))
    assert np.array_equal(got.x_validation, data.load(DIGITS).x_validation)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"validation_size": 9}, "dataset.validation_size: expected 10 to 1427 of 1437 samples"),
        ({"validation_size": 1428}, "dataset.validation_size: expected 10 to 1427 of 1437 samples"),
        ({"validation_size": 0.001}, "dataset.validation_size: expected 10 to 1427"),
        ({"validation_size": 0.999}, "dataset.validation_size: expected 10 to 1427"),
        ({"train_size": 9}, "dataset.train_size: expected 10 to 1293 of 1293 samples"),
        ({"train_size": 1294}, "dataset.train_size: expected 10 to 1293 of 1293 samples"),
        ({"validation": "test", "validation_size": 361}, "expected 1 to 360 of the test samples, received 361"),
        ({"validation": "test", "validation_size": 0.001}, "expected 1 to 360 of the test samples, received 0"),
    ],
)
def test_a_split_without_room_is_bad_data(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        data.load({**DIGITS, **settings})
    assert caught.value.exit_code == 3
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "settings",
    [
        {"name": "mnits"},
        *({"validation_size": size} for size in (0, -1, 1.5, 0.0, float("nan"), float("inf"), True, None, "5000")),
        *({"train_size": size} for size in (0, -1, 10.5, False, "all")),
        {"validation": "train"},
        *({"split_seed": seed} for seed in (-1, 2**32, 0.5, True, None)),
        {"standardize": "yes"},
        {"fallback": "cifar"},
        {"dir": ""},
        {"path": "x.npz"},
        {"name": "digits"},  # with a fallback
        {"name": "digits", "fallback": None, "dir": "x"},
        {"name": "npz", "fallback": None, "path": None},
        {"name": "npz", "fallback": None, "path": "???"},
    ],
    ids=str,
)
def test_settings_that_cannot_be_meant_are_refused_before_anything_is_opened(
    settings: dict[str, Any], home: Path
) -> None:
    for function in (check, data.resolve, data.load):
        with pytest.raises(ConfigError, match=r"dataset\.") as caught:
            function({**MNIST, **settings})
        assert caught.value.exit_code == 2
    assert list(home.iterdir()) == []


def test_misspelt_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"received 'mnits'\. Did you mean mnist or smnist or kmnist\?"):
        check({**MNIST, "name": "mnits"})


# Where MNIST is found.


@pytest.mark.parametrize("suffix", [".gz", ""])
def test_mnist_files_may_be_packed_or_not(small: dict[str, bytes], home: Path, suffix: str) -> None:
    folder = write(home / "here", small, suffix)
    got = data.load({**MNIST, "dir": str(folder), "validation_size": 10})
    assert (got.x_train.shape, got.x_test.shape, got.source) == ((30, 28, 28), (20, 28, 28), "~/here")
    assert got.x_test[3, 5, 7] == np.float32(small[NAMES[2]][16 + 3 * 784 + 5 * 28 + 7]) / np.float32(255)


def test_mnist_files_may_be_spelt_with_a_dot(small: dict[str, bytes], home: Path) -> None:
    folder = write(home / "here", {name.replace("-idx", ".idx"): content for name, content in small.items()}, "")
    assert (folder / "train-images.idx3-ubyte").exists()
    assert data.load({**MNIST, "dir": str(folder), "validation_size": 10}).name == "mnist"


def test_mnist_unpacked_in_transit_keeps_its_name(small: dict[str, bytes], home: Path) -> None:
    folder = home / "here"
    write(folder, small)
    (folder / f"{NAMES[0]}.gz").write_bytes(small[NAMES[0]])
    assert len(data.load({**MNIST, "dir": str(folder), "validation_size": 10}).x_train) == 30


def write_keras(folder: Path, small: dict[str, bytes], **changed: np.ndarray) -> Path:
    folder.mkdir(parents=True)
    arrays = {}
    for key, name in images.KEYS.items():
        content = np.frombuffer(small[name], np.uint8)
        arrays[key] = content[16:].reshape(-1, 28, 28) if key.startswith("x") else content[8:]
    np.savez_compressed(folder / "mnist.npz", **{**arrays, **changed})  # type: ignore[arg-type]
    return folder


def test_mnist_of_keras_is_the_same_mnist(small: dict[str, bytes], home: Path) -> None:
    write_keras(home / ".keras" / "datasets", small)
    keras = data.load({**MNIST, "validation_size": 10})
    files = data.load({**MNIST, "validation_size": 10, "dir": str(write(home / "files", small))})
    assert keras.source == "~/.keras/datasets"
    assert keras.sha256 == files.sha256
    assert np.array_equal(keras.x_train, files.x_train)
    assert np.array_equal(keras.y_validation, files.y_validation)


def test_foreign_mnist_npz_is_refused(small: dict[str, bytes], home: Path) -> None:
    folder = write_keras(home / "k", small, y_test=np.zeros(20, np.uint8))
    with pytest.raises(DataError, match=r"mnist.npz: y_test: foreign: not MNIST: expected SHA-256 .* received '"):
        data.load({**MNIST, "dir": str(folder)})


def test_search_order_is_environment_cache_keras(
    small: dict[str, bytes], home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_keras(home / ".keras" / "datasets", small)
    assert data.resolve(MNIST).source == "~/.keras/datasets"
    write(home / ".cache" / "lstm_bench" / "mnist", small)
    assert data.resolve(MNIST).source == "~/.cache/lstm_bench/mnist"
    monkeypatch.setenv("XDG_CACHE_HOME", str(write(home / "xdg" / "lstm_bench" / "mnist", small).parents[1]))
    assert data.resolve(MNIST).source == "~/xdg/lstm_bench/mnist"
    monkeypatch.setenv("LSTM_BENCH_DATA", str(write(home / "shared" / "mnist", small).parent))
    assert data.resolve(MNIST).source == "~/shared/mnist"
    assert data.resolve({**MNIST, "dir": str(write(home / "mine", small))}).source == "~/mine"


def test_resolved_settings_load_without_search_or_network(
    small: dict[str, bytes], home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(home / "shared" / "mnist", small)
    monkeypatch.setenv("LSTM_BENCH_DATA", str(home / "shared"))
    found = data.resolve({**MNIST, "validation_size": 10})
    assert found.config == {**MNIST, "validation_size": 10, "dir": str(home / "shared" / "mnist")}
    assert (found.name, found.notice) == ("mnist", None)
    monkeypatch.delenv("LSTM_BENCH_DATA")
    monkeypatch.setattr(download, "complete", lambda folder: pytest.fail("searched again"))
    assert data.resolve(found.config) == found
    assert data.load(found.config).notice is None


def test_explicit_dir_without_the_files_is_not_searched_elsewhere(small: dict[str, bytes], home: Path) -> None:
    write_keras(home / ".keras" / "datasets", small)
    with pytest.raises(DataError, match=r"dataset.dir=.*/nowhere: MNIST is not there: expected mnist.npz or train-im"):
        data.resolve({**MNIST, "dir": str(home / "nowhere")})


def test_incomplete_folder_names_what_is_missing(small: dict[str, bytes], home: Path) -> None:
    folder = write(home / "part", {name: small[name] for name in NAMES[:3]})
    with pytest.raises(DataError, match="MNIST is incomplete, t10k-labels-idx1-ubyte missing"):
        data.resolve({**MNIST, "dir": str(folder)})


# Corrupt MNIST files. Each is train-images unless it says otherwise; each is one line with the file in it.

IMAGES, LABELS = NAMES[0], NAMES[1]


def flip(packed: bytes, at: int) -> bytes:
    return packed[:at] + bytes([packed[at] ^ 0xFF]) + packed[at + 1 :]


def sized(*shape: int) -> bytes:
    return b"".join(size.to_bytes(4, "big") for size in shape)


CORRUPT: dict[str, tuple[str, Callable[[bytes], bytes], str]] = {
    "truncated gz": (IMAGES, lambda c: gzip.compress(c)[:2000], "truncated"),
    "gz of two bytes": (IMAGES, lambda c: b"\x1f\x8b", "truncated"),
    "gz without its trailer": (IMAGES, lambda c: gzip.compress(c)[:-8], "truncated"),
    "bad CRC": (IMAGES, lambda c: flip(gzip.compress(c), -8 % len(gzip.compress(c))), "corrupt .CRC check failed"),
    "bad length": (IMAGES, lambda c: flip(gzip.compress(c), len(gzip.compress(c)) - 2), "corrupt"),
    "flipped in the middle": (IMAGES, lambda c: flip(gzip.compress(c), 40), "corrupt|foreign"),
    "bad compression method": (IMAGES, lambda c: flip(gzip.compress(c), 2), "corrupt .Unknown compression"),
    "garbage after gz": (IMAGES, lambda c: gzip.compress(c) + b"garbage", "corrupt"),
    "HTML": (IMAGES, lambda c: b"<!DOCTYPE html><html>404", "starts with b'<!DOCTYPE'.*SHA-256 .* received '"),
    "HTML in gz": (IMAGES, lambda c: gzip.compress(b"<!DOCTYPE html>"), "starts with b'<!DOCTYPE'"),
    "empty": (IMAGES, lambda c: b"", "starts with b''"),
    "empty gz": (IMAGES, lambda c: gzip.compress(b""), "starts with b''"),
    "only a magic": (IMAGES, lambda c: c[:4], "header claims shape"),
    "wrong magic": (IMAGES, lambda c: b"\x01" + c[1:], "not an IDX file of bytes in 3 dimensions"),
    "wrong dtype": (IMAGES, lambda c: c[:2] + b"\x0d" + c[3:], "not an IDX file of bytes"),
    "wrong number of dimensions": (IMAGES, lambda c: c[:3] + b"\x02" + c[4:], "not an IDX file of bytes"),
    "labels for images": (IMAGES, lambda c: idx(np.zeros(40)), "not an IDX file of bytes in 3 dimensions"),
    "claims 2^31 images": (IMAGES, lambda c: c[:4] + sized(2**31, 28, 28) + c[16:], "claims shape .2147483648, 28, 28"),
    "claims 2^96 bytes": (IMAGES, lambda c: c[:4] + b"\xff" * 12 + c[16:], "header claims shape"),
    "one byte short": (IMAGES, lambda c: gzip.compress(c[:-1]), "31376 bytes, and it has 31375"),
    "one byte more": (IMAGES, lambda c: gzip.compress(c + b"x"), "31376 bytes, and it has 31377"),
    "another image": (
        IMAGES,
        lambda c: gzip.compress(flip(c, 500)),
        "foreign: not MNIST: expected SHA-256 .* received",
    ),
    "another label": (LABELS, lambda c: gzip.compress(flip(c, 10)), "foreign: not MNIST: expected SHA-256 .* received"),
    "gzip bomb": (LABELS, lambda c: gzip.compress(bytes(2**20)), "too large: expected at most 100000 bytes unpacked"),
    "large and not packed": (LABELS, lambda c: bytes(2**20), "too large"),
}


@pytest.mark.parametrize("kind", CORRUPT)
def test_corrupt_mnist_is_one_line_with_the_file_and_never_a_fallback(
    kind: str, small: dict[str, bytes], home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(images, "MAX_BYTES", 100_000)
    name, corrupt, message = CORRUPT[kind]
    folder = write(home / ".cache" / "lstm_bench" / "mnist", small)
    bad = folder / f"{name}.gz"
    bad.write_bytes(corrupt(small[name]))
    with pytest.raises(DataError, match=message) as caught:
        data.load(MNIST)
    assert str(caught.value).startswith(f"{bad}: ")
    assert "Delete it" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 3


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (IMAGES, b"not IDX at all", "not an IDX file"),
        (LABELS, idx(np.arange(40) % 11), "y_train: expected labels 0 to 9, received 10"),
        (LABELS, idx(np.arange(39) % 10), "y_train: expected as many labels as x_train has samples, 40, received 39"),
        (NAMES[2], idx(np.zeros((20, 27, 28))), "x_test: expected .timesteps, features. .28, 28. as in x_train"),
        (IMAGES, idx(np.zeros((0, 28, 28))), "x_train: expected a shape with at least one sample"),
    ],
)
def test_pinned_files_are_still_checked_for_what_they_hold(
    name: str, content: bytes, message: str, small: dict[str, bytes], home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(images.SHA256, name, hashlib.sha256(content).hexdigest())
    folder = write(home / "here", {**small, name: content})
    with pytest.raises(DataError, match=message):
        data.load({**MNIST, "dir": str(folder), "validation_size": 10})


# Mirrors: an http server on this machine, the scheme being the one thing that is let through for it.

Mirror = Callable[[dict[str, Any]], str]


class Handler(http.server.BaseHTTPRequestHandler):
    def __init__(self, answers: dict[str, Any], *args: Any) -> None:
        self.answers = answers
        super().__init__(*args)

    def do_GET(self) -> None:
        answer = self.answers.get(self.path[1:], 404)
        if isinstance(answer, int):
            self.send_error(answer)
        elif isinstance(answer, str):
            self.send_response(302)
            self.send_header("Location", answer)
            self.end_headers()
        else:
            self.send_response(200)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            with contextlib.suppress(OSError):  # a client that had enough
                self.wfile.write(answer)

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture
def mirror(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Mirror]:
    """Starts mirrors, each from {file: its bytes, a status or where to redirect}; they are asked in that order."""
    monkeypatch.setattr(download, "SCHEME", "http")
    monkeypatch.setenv("no_proxy", "*")
    servers = []

    def start(answers: dict[str, Any]) -> str:
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, answers))
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        servers.append(server)
        url = f"http://127.0.0.1:{server.server_port}/"
        more = {name: (*urls, url) for name, urls in download.MIRRORS.items()}
        monkeypatch.setattr(download, "MIRRORS", more)
        return url

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def packed(small: dict[str, bytes]) -> dict[str, Any]:
    return {f"{name}.gz": gzip.compress(content) for name, content in small.items()}


def test_download_is_verified_stored_and_found_the_next_time(
    small: dict[str, bytes], home: Path, mirror: Mirror, monkeypatch: pytest.MonkeyPatch, capfd: Any
) -> None:
    url = mirror(packed(small))
    found = data.resolve({**MNIST, "validation_size": 10})
    cache = home / ".cache" / "lstm_bench" / "mnist"
    assert (found.name, found.source, found.config["dir"]) == ("mnist", url, str(cache))
    assert sorted(path.name for path in cache.iterdir()) == sorted(f"{name}.gz" for name in NAMES)
    monkeypatch.setattr(download, "MIRRORS", {"mnist": ()})
    assert data.load(found.config).x_train.shape == (30, 28, 28)
    assert data.resolve(MNIST).source == "~/.cache/lstm_bench/mnist"
    assert capfd.readouterr() == ("", "")  # no bar where stderr is no terminal


def test_download_shows_a_bar_on_a_terminal(
    small: dict[str, bytes], mirror: Mirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    mirror(packed(small))
    terminal = Terminal()
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stderr", terminal)
    data.resolve({**MNIST, "validation_size": 10})
    assert "train-images-idx3-ubyte.gz" in terminal.getvalue()


def test_broken_off_download_is_completed(small: dict[str, bytes], home: Path, mirror: Mirror) -> None:
    cache = write(home / ".cache" / "lstm_bench" / "mnist", {IMAGES: small[IMAGES]})
    mirror({file: answer for file, answer in packed(small).items() if IMAGES not in file})
    assert data.load({**MNIST, "validation_size": 10}).name == "mnist"
    assert len(list(cache.iterdir())) == 4


BAD_ANSWERS: dict[str, Any] = {
    "another file": gzip.compress(idx(np.ones((40, 28, 28)))),
    "HTML": b"<html>pay for the wifi</html>",
    "truncated": gzip.compress(bytes(5000))[:20],
    "not found": 404,
    "forbidden": 403,
    "redirect to file": "file:///etc/hostname",
    "redirect to ftp": "ftp://127.0.0.1/x",
    "redirect to another scheme": "https://127.0.0.1/x",
    "oversize": bytes(200_000),
    "bomb": gzip.compress(bytes(200_000)),
}


@pytest.mark.parametrize("kind", BAD_ANSWERS)
def test_bad_mirror_is_passed_over_for_the_second(
    kind: str, small: dict[str, bytes], home: Path, mirror: Mirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(images, "MAX_BYTES", 100_000)
    mirror({**packed(small), f"{IMAGES}.gz": BAD_ANSWERS[kind]})
    mirror(packed(small))
    assert data.load({**MNIST, "validation_size": 10}).name == "mnist"


@pytest.mark.parametrize("kind", BAD_ANSWERS)
def test_bad_mirrors_alone_give_digits_and_leave_no_file(
    kind: str, small: dict[str, bytes], home: Path, mirror: Mirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(images, "MAX_BYTES", 100_000)
    url = mirror({f"{IMAGES}.gz": BAD_ANSWERS[kind]})
    got = data.load(MNIST)
    assert got.name == "digits"
    assert got.notice is not None
    assert url in got.notice
    assert list(home.iterdir()) == []
    with pytest.raises(DataError, match=r"MNIST was neither found in ~/.cache/lstm_bench/mnist, ~/.keras/datasets nor"):
        data.load({**MNIST, "fallback": None})


def test_redirect_within_the_scheme_is_followed(
    small: dict[str, bytes], mirror: Mirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = mirror(packed(small))
    mirror({file: url + file for file in packed(small)})
    monkeypatch.setattr(download, "MIRRORS", {"mnist": download.MIRRORS["mnist"][1:]})
    assert data.load({**MNIST, "validation_size": 10}).name == "mnist"


def test_only_https_is_followed() -> None:
    assert download.SCHEME == "https"
    assert all(url.startswith("https://") for urls in download.MIRRORS.values() for url in urls)
    assert set(download.MIRRORS) == set(images.TITLES)
    assert len(download.MIRRORS["mnist"]) >= 2
    with pytest.raises(OSError, match=r"only https is followed, not http://127.0.0.1/x"):
        download._open("http://127.0.0.1/x")


def test_two_silent_mirrors_give_digits_within_five_seconds(home: Path, mirror: Mirror, monkeypatch: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes connections and never answers
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        monkeypatch.setattr(download, "MIRRORS", {"mnist": (url, url.replace("127.0.0.1", "localhost"))})
        monkeypatch.setattr(download, "READ_S", 8.0)  # lets the waiting threads end soon after
        start = time.monotonic()
        found = data.resolve(MNIST)
        assert time.monotonic() - start < 5
    assert found.name == "digits"
    assert found.notice is not None
    assert "no answer within 1.5 s" in found.notice


def test_fallback_says_so_and_keeps_the_sizes_that_fit(home: Path) -> None:
    found = data.resolve({**MNIST, "train_size": 200, "standardize": True})
    assert found.config == {**DIGITS, "train_size": 200, "standardize": True}
    assert found.notice == (
        "MNIST was neither found in ~/.cache/lstm_bench/mnist, ~/.keras/datasets nor could it be downloaded (): using "
        "scikit-learn's 8x8 digits instead, and everything produced is named after them "
        "(validation_size 0.1 instead of 5000)."
    )
    assert data.resolve({**MNIST, "validation_size": 300}).config == {**DIGITS, "validation_size": 300}
    assert data.resolve({**MNIST, "train_size": 9000, "validation_size": 0.2}).config == {
        **DIGITS,
        "validation_size": 0.2,
    }
    assert data.resolve(found.config).notice is None


def test_unwritable_cache_is_a_storage_fault(small: dict[str, bytes], home: Path, mirror: Mirror) -> None:
    mirror(packed(small))
    (home / ".cache").write_text("a file where a folder is wanted")
    with pytest.raises(StorageError, match=r"train-images-idx3-ubyte.gz: cannot be written .*XDG_CACHE_HOME"):
        data.resolve(MNIST)


def test_loading_mnist_imports_neither_frameworks_nor_sklearn(small: dict[str, bytes], home: Path) -> None:
    config = {**MNIST, "dir": str(write(home / "here", small)), "validation_size": 10}
    code = f"""
import sys
from lstm_bench.data import dataset as data, images as mnist
mnist.SHA256.update({images.SHA256!r})
assert data.load({config!r}).x_train.shape == (30, 28, 28)
heavy = "keras tensorflow jax torch sklearn rich urllib.request"
print([name for name in heavy.split() if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout, done.stderr) == ("[]\n", "")


# What is published in MNIST's format, and MNIST pixel by pixel.


@pytest.fixture
def packed_files(small: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """The four small files as gzip, pinned as the packed files of Fashion-MNIST."""
    files = {name: gzip.compress(content, mtime=0) for name, content in small.items()}
    pins = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    monkeypatch.setitem(images.PACKED_SHA256, "fashion_mnist", pins)
    return files


FASHION = {**MNIST, "name": "fashion_mnist", "fallback": None, "validation_size": 10}


def lay(folder: Path, files: dict[str, bytes]) -> Path:
    folder.mkdir(parents=True)
    for name, content in files.items():
        (folder / f"{name}.gz").write_bytes(content)
    return folder


def test_packed_files_are_found_where_mnist_s_would_be_under_their_own_name(
    packed_files: dict[str, bytes], small: dict[str, bytes], home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = lay(home / ".cache" / "lstm_bench" / "fashion_mnist", packed_files)
    got = data.load(FASHION)
    assert (got.name, got.n_classes, got.x_train.shape) == ("fashion_mnist", 10, (30, 28, 28))
    assert got.source == "~/.cache/lstm_bench/fashion_mnist"
    assert got.sha256 != data.load({**MNIST, "dir": str(write(home / "m", small)), "validation_size": 10}).sha256
    monkeypatch.setenv("LSTM_BENCH_DATA", str(lay(home / "shared" / "fashion_mnist", packed_files).parent))
    assert data.resolve(FASHION).source == "~/shared/fashion_mnist"
    assert data.resolve({**FASHION, "dir": str(cache)}).source == "~/.cache/lstm_bench/fashion_mnist"


def test_packed_files_are_verified_as_packed(packed_files: dict[str, bytes], home: Path) -> None:
    folder = lay(home / "here", packed_files)
    unpacked = gzip.decompress(packed_files[NAMES[3]])
    (folder / f"{NAMES[3]}.gz").write_bytes(gzip.compress(unpacked, 1, mtime=1))  # the same content, packed by another
    with pytest.raises(DataError, match=r"t10k-labels-idx1-ubyte.gz: foreign: not Fashion-MNIST: expected SHA-256"):
        data.load({**FASHION, "dir": str(folder)})
    (folder / f"{NAMES[3]}.gz").write_bytes(packed_files[NAMES[3]][:-4])
    with pytest.raises(DataError, match=r"t10k-labels-idx1-ubyte.gz: truncated"):
        data.load({**FASHION, "dir": str(folder)})
    (folder / f"{NAMES[3]}.gz").rename(folder / NAMES[3])
    with pytest.raises(DataError, match="Fashion-MNIST is incomplete, t10k-labels-idx1-ubyte missing"):
        data.resolve({**FASHION, "dir": str(folder)})


def test_packed_files_are_downloaded_verified_and_kept(
    packed_files: dict[str, bytes], home: Path, mirror: Mirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = mirror({f"{name}.gz": b"not it" for name in NAMES})
    right = mirror({f"{name}.gz": content for name, content in packed_files.items()})
    found = data.resolve(FASHION)
    assert (found.source, found.config["dir"]) == (right, str(home / ".cache" / "lstm_bench" / "fashion_mnist"))
    assert wrong != right
    monkeypatch.setattr(download, "MIRRORS", {})
    assert data.load(found.config).x_test.shape == (20, 28, 28)


@pytest.mark.parametrize(
    ("name", "title"), [("fashion_mnist", "Fashion-MNIST"), ("kmnist", "KMNIST"), ("psmnist", "MNIST")]
)
def test_what_has_no_fallback_is_an_error(name: str, title: str, home: Path) -> None:
    more = {"length": 784, "permutation_seed": 92916} if name == "psmnist" else {}
    with pytest.raises(DataError, match=rf"^{title} was neither found in ~/.cache/lstm_bench/") as caught:
        data.load({**FASHION, "name": name, **more})
    assert "fallback" not in str(caught.value)
    with pytest.raises(ConfigError, match=r"dataset.fallback: expected null, because only dataset=mnist has it"):
        check({**FASHION, "name": name, **more, "fallback": "digits"})


def pixels(folder: Path, name: str = "smnist", **changes: Any) -> data.Dataset:
    return data.load({**MNIST, "name": name, "fallback": None, "validation_size": 10, "dir": str(folder), **changes})


def test_a_pixel_is_a_timestep(small: dict[str, bytes], home: Path) -> None:
    folder = write(home / "here", small)
    rows, got = data.load({**MNIST, "dir": str(folder), "validation_size": 10}), pixels(folder, length=784)
    assert (got.name, got.input_shape, got.n_classes) == ("smnist", (784, 1), 10)
    for split in ("train", "validation", "test"):
        x = getattr(rows, f"x_{split}")
        np.testing.assert_array_equal(getattr(got, f"x_{split}"), x.reshape(len(x), 784, 1))
        np.testing.assert_array_equal(getattr(got, f"y_{split}"), getattr(rows, f"y_{split}"))


@pytest.mark.parametrize(("length", "side"), [(196, 2), (49, 4)])
def test_a_shorter_sequence_averages_squares_of_pixels(
    small: dict[str, bytes], home: Path, length: int, side: int
) -> None:
    folder = write(home / "here", small)
    whole, got = pixels(folder, length=784).x_test.reshape(-1, 28, 28), pixels(folder, length=length)
    assert got.input_shape == (length, 1)
    small_side = 28 // side
    for row, column in ((0, 0), (1, small_side - 1), (small_side - 1, 2)):
        square = whole[:, side * row : side * (row + 1), side * column : side * (column + 1)]
        np.testing.assert_allclose(got.x_test[:, row * small_side + column, 0], square.mean(axis=(1, 2)), rtol=1e-5)


def test_the_permutation_is_the_published_one_and_the_same_for_every_split(small: dict[str, bytes], home: Path) -> None:
    folder = write(home / "here", small)
    straight = pixels(folder, length=784)
    got = pixels(folder, "psmnist", length=784, permutation_seed=92916)
    order = np.random.RandomState(92916).permutation(784)
    assert order[:5].tolist() == [319, 576, 323, 107, 355]
    for split in ("train", "validation", "test"):
        np.testing.assert_array_equal(getattr(got, f"x_{split}"), getattr(straight, f"x_{split}")[:, order])
    assert got.name == "psmnist"


def test_each_length_and_order_has_a_digest_of_its_own(small: dict[str, bytes], home: Path) -> None:
    folder = write(home / "here", small)
    made = [data.load({**MNIST, "dir": str(folder), "validation_size": 10})]
    made += [pixels(folder, length=length) for length in (784, 196, 49)]
    made += [pixels(folder, "psmnist", length=784, permutation_seed=seed) for seed in (1, 2)]
    assert len({dataset.sha256 for dataset in made}) == len(made)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"name": "smnist", "length": 100}, "dataset.length: expected one of 784, 196, 49, received 100"),
        ({"name": "smnist"}, "dataset.length: expected one of 784, 196, 49"),
        ({"name": "smnist", "length": 784, "permutation_seed": 1}, "because only dataset=psmnist has it, received 1"),
        ({"name": "psmnist", "length": 784}, "dataset.permutation_seed: expected an integer from 0 to"),
        (
            {"name": "mnist", "length": 28},
            "dataset.length: expected null, because only dataset=smnist,psmnist,adding,copy",
        ),
        (
            {"name": "mnist", "test_size": 5},
            "dataset.test_size: expected null, because only dataset=adding,copy,file,languages has it",
        ),
    ],
)
def test_sequence_settings_that_cannot_be_meant_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check({**MNIST, "fallback": None, **settings})
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("objective", "task", "message"),
    [
        (
            "val_accuracy",
            "regression",
            "expected one of val_mse, val_mae, val_loss, val_r2 with dataset=it, a regression",
        ),
        ("val_mse", "classification", "val_auroc, val_ece with dataset=it, a classification"),
        ("val_mae", "tagging", "expected one of val_accuracy, val_loss, val_macro_f1 with dataset=it, a tagging"),
        *((objective, "regression", None) for objective in ("val_mse", "val_mae", "val_loss")),
        *((objective, "tagging", None) for objective in ("val_accuracy", "val_loss")),
        *((objective, None, None) for objective in ("val_accuracy", "val_mse")),
    ],
)
def test_an_objective_that_the_task_does_not_have_is_refused(objective: str, task: str, message: str | None) -> None:
    if message is None:
        check_objective({"objective": objective}, "it", task and tasks.of(task))
        return
    with pytest.raises(ConfigError) as caught:
        check_objective({"objective": objective}, "it", task and tasks.of(task))
    assert message in str(caught.value)
    better = "val_mse" if task == "regression" else "val_accuracy"
    assert f"Give study.objective={better}." in str(caught.value)


@pytest.mark.parametrize(("target", "remedy"), [(2.0, " Labels of classes are integers: y.astype(int)."), (0.5, "")])
def test_only_whole_targets_are_perhaps_labels(target: float, remedy: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check_objective({"objective": "val_accuracy"}, "it", tasks.REGRESSION, np.array([0.0, target]))
    assert str(caught.value).endswith(f"Give study.objective=val_mse.{remedy}")
