import io
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lstm_bench.core.errors import DataError
from lstm_bench.data import dataset

NPZ = {
    "name": "npz",
    "dir": None,
    "path": None,
    "train_size": None,
    "validation_size": 0.1,
    "validation": "split",
    "split_seed": 0,
    "standardize": False,
    "fallback": None,
}


def flip(packed: bytes, at: int) -> bytes:
    return packed[:at] + bytes([packed[at] ^ 0xFF]) + packed[at + 1 :]


def own(**changed: Any) -> dict[str, Any]:
    rng = np.random.RandomState(0)
    arrays: dict[str, Any] = {}
    for split, n in (("train", 60), ("test", 9)):
        arrays[f"x_{split}"] = rng.normal(5, 2, (n, 7, 3))
        arrays[f"y_{split}"] = np.arange(n) % 3
    return {key: value for key, value in {**arrays, **changed}.items() if value is not None}


def save(path: Path, arrays: dict[str, Any]) -> dict[str, Any]:
    np.savez(path, **arrays)
    return {**NPZ, "path": str(path)}


def test_own_arrays_are_taken_as_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arrays = own()
    config = save(tmp_path / "walks.npz", arrays)
    got = dataset.load(config)
    assert (got.name, got.n_classes, got.input_shape) == ("walks", 3, (7, 3))
    assert np.array_equal(got.x_test, arrays["x_test"].astype(np.float32))
    assert (len(got.x_train), len(got.x_validation)) == (54, 6)
    assert got.sha256 == dataset.load(config).sha256
    monkeypatch.chdir(tmp_path)
    assert dataset.resolve({**config, "path": "walks.npz"}).config == config


def test_digest_of_own_arrays_knows_values_types_and_shapes(tmp_path: Path) -> None:
    variants = [
        own(),
        own(y_test=np.arange(9)[::-1] % 3),
        own(y_test=(np.arange(9) % 3).astype(np.int16)),
        own(x_train=own()["x_train"].reshape(60, 3, 7), x_test=own()["x_test"].reshape(9, 3, 7)),
        own(x_validation=own()["x_test"], y_validation=own()["y_test"]),
    ]
    assert len({dataset.load(save(tmp_path / "x.npz", arrays)).sha256 for arrays in variants}) == len(variants)
    packed = tmp_path / "packed.npz"
    np.savez_compressed(packed, **own())
    assert dataset.load({**NPZ, "path": str(packed)}).sha256 == dataset.load(save(tmp_path / "x.npz", own())).sha256


def test_own_validation_arrays_are_used(tmp_path: Path) -> None:
    arrays = own(x_validation=np.ones((4, 7, 3)), y_validation=np.array([0, 1, 2, 0]))
    got = dataset.load({**save(tmp_path / "x.npz", arrays), "train_size": 30})
    assert (len(got.x_train), got.y_validation.tolist()) == (30, [0, 1, 2, 0])
    got = dataset.load({**save(tmp_path / "x.npz", arrays), "validation": "test", "validation_size": 9})
    assert np.array_equal(got.x_validation, got.x_test)


def test_standardize_fits_on_the_training_split_only(tmp_path: Path) -> None:
    arrays = own()
    arrays["x_train"][:, :, 2] = arrays["x_test"][:, :, 2] = 0.1  # constant
    got = dataset.load({**save(tmp_path / "x.npz", arrays), "standardize": True})
    raw = dataset.load(save(tmp_path / "x.npz", arrays))
    assert np.allclose(got.x_train.mean(axis=(0, 1)), 0, atol=1e-6)
    assert np.allclose(got.x_train[..., :2].std(axis=(0, 1)), 1, atol=1e-6)
    assert np.allclose(got.x_train[..., 2], 0, atol=1e-6)
    mean, scale = raw.x_train.mean(axis=(0, 1)), raw.x_train.std(axis=(0, 1))
    assert np.allclose(got.x_test[..., :2], ((raw.x_test - mean) / scale)[..., :2], atol=1e-5)
    assert got.x_test.dtype == np.float32
    assert got.sha256 == raw.sha256


def test_floating_point_labels_are_the_targets_of_a_regression(tmp_path: Path) -> None:
    targets = np.random.RandomState(0).standard_normal(60)
    config = save(tmp_path / "x.npz", own(y_train=targets, y_test=np.arange(9) - 4))
    got = dataset.load({**config, "validation_size": 20})
    assert (got.task, got.n_classes, len(got.x_train), len(got.x_validation)) == ("regression", 1, 40, 20)
    assert {got.y_train.dtype, got.y_validation.dtype, got.y_test.dtype} == {np.dtype(np.float32)}
    together = np.sort(np.concatenate([got.y_train, got.y_validation]))
    np.testing.assert_array_equal(together, np.sort(targets.astype(np.float32)))
    again = dataset.load({**config, "validation_size": 20, "split_seed": 1})
    assert not np.array_equal(again.y_validation, got.y_validation)
    (baseline,) = got.baselines.values()
    assert baseline == pytest.approx(np.square(got.y_test - got.y_train.mean()).mean(), rel=1e-5)


def with_value(array: np.ndarray, value: Any) -> np.ndarray:
    array = array.copy()
    array.reshape(-1)[4] = value
    return array


X, Y = own()["x_train"], own()["y_train"]
UNFIT: dict[str, tuple[dict[str, Any], str]] = {
    "no test": ({"x_test": None, "y_test": None}, "x_test is missing"),
    "no training labels": ({"y_train": None}, "y_train is missing"),
    "only x_validation": ({"x_validation": X}, "y_validation is missing"),
    "only y_validation": ({"y_validation": Y}, "x_validation is missing"),
    "two dimensions": ({"x_train": X[:, :, 0]}, r"x_train: expected shape \(samples, timesteps, features\), received"),
    "four dimensions": ({"x_test": np.zeros((9, 7, 3, 1))}, r"x_test: expected shape"),
    "one-hot labels": ({"y_train": np.eye(3, dtype=int)[Y]}, r"y_train: expected shape \(samples,\).*argmax"),
    "no samples": ({"x_train": X[:0], "y_train": Y[:0]}, "x_train: expected a shape with at least one sample"),
    "no timesteps": ({"x_test": np.zeros((9, 0, 3))}, "x_test: expected a shape with at least one sample, timestep"),
    "text": ({"x_train": np.full((60, 7, 3), "a")}, "x_train: expected real numbers, received <U1"),
    "complex": ({"x_train": X + 1j}, "x_train: expected real numbers"),
    "dates": ({"x_train": np.zeros((60, 7, 3), "M8[s]")}, "x_train: expected real numbers"),
    "NaN": ({"x_train": with_value(X, np.nan)}, "x_train: expected finite float32 numbers"),
    "inf in test": ({"x_test": with_value(own()["x_test"], -np.inf)}, "x_test: expected finite float32 numbers"),
    "beyond float32": ({"x_train": with_value(X, 1e300)}, "x_train: expected finite float32 numbers"),
    "float labels": ({"y_test": own()["y_test"] / 2}, "y_test: expected integer labels, received float64"),
    "NaN target": ({"y_train": with_value(Y / 2, np.nan)}, "y_train: expected finite float32 numbers"),
    "target beyond float32": ({"y_train": with_value(Y / 2, 1e300)}, "y_train: expected finite float32 numbers"),
    "text beside targets": (
        {"y_train": Y / 2, "y_test": np.full(9, "a")},
        "y_test: expected numbers, as y_train has them",
    ),
    "negative label": (
        {"y_train": with_value(Y, -1)},
        r"y_train: expected labels 0 to 3, as .*received \[-1, 0, 1, 2\]",
    ),
    "negative test label": ({"y_test": with_value(own()["y_test"], -1)}, r"y_test: expected only labels .* \[-1\]"),
    "huge label": (
        {"y_train": with_value(Y, 2**40)},
        "y_train: expected labels 0 to 3, as there are 4 of them, received",
    ),
    "many gaps": ({"y_train": 7 * np.arange(60), "y_test": Y[:9] * 0}, "received '0, 7, 14, 21, 28 and 55 more'"),
    "from 1": ({"y_train": Y + 1, "y_test": Y[:9] + 1}, r"expected labels 0 to 2, .*, received \[1, 2, 3\]"),
    "one class": ({"y_train": Y * 0, "y_test": Y[:9] * 0}, r"y_train: expected at least 2 classes, received \[0\]"),
    "label only in test": (
        {"y_test": with_value(own()["y_test"], 3)},
        r"y_test: expected only labels .* \[3\]. A class",
    ),
    "class only in test": ({"y_train": np.where(Y == 1, 2, Y)}, r"y_test: expected only labels .* received \[1\]"),
    "label only in validation": (
        {"x_validation": X[:4], "y_validation": np.array([0, 1, 2, 3])},
        r"y_validation: expected only labels that y_train has, received \[3\]",
    ),
    "counts differ": ({"y_train": Y[:-1]}, "y_train: expected as many labels as x_train has samples, 60, received 59"),
    "other features": ({"x_test": np.zeros((9, 7, 4))}, r"x_test: expected \(timesteps, features\) \(7, 3\) as in"),
    "other timesteps": ({"x_test": np.zeros((9, 8, 3))}, r"x_test: expected \(timesteps, features\) \(7, 3\) as in"),
    "rare class": ({"y_train": np.where(np.arange(60) == 2, 2, Y % 2)}, "rarest class has 1"),
}


@pytest.mark.parametrize("kind", UNFIT)
def test_unfit_npz_is_one_line_with_file_and_key(kind: str, tmp_path: Path) -> None:
    changed, message = UNFIT[kind]
    config = save(tmp_path / "x.npz", own(**changed))
    with pytest.raises(DataError, match=message) as caught:
        dataset.load(config)
    assert str(caught.value).startswith(f"{config['path']}: " if kind != "rare class" else "dataset.validation_size: ")
    assert "\n" not in str(caught.value)


class Payload:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


def test_pickles_in_npz_are_never_loaded(tmp_path: Path) -> None:
    touched = tmp_path / "touched"
    payload = np.array([[[Payload(touched)]]], dtype=object)
    config = save(tmp_path / "x.npz", own(x_train=payload))
    with pytest.raises(DataError, match="x_train: Python objects are never unpickled"):
        dataset.load(config)
    assert not touched.exists()
    pickle.loads(pickle.dumps(payload))  # noqa: S301 - the proof that the payload is live
    assert touched.exists()


@pytest.mark.parametrize("content", [b"", b"not a zip", b"<!DOCTYPE html>", pickle.dumps([1])], ids=repr)
def test_what_is_no_npz_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"x.npz: cannot be read .*: expected an .npz file"):
        dataset.load({**NPZ, "path": str(path)})


def test_missing_npz_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"x.npz: no such file"):
        dataset.resolve({**NPZ, "path": str(tmp_path / "x.npz")})
    with pytest.raises(DataError, match=r"~nobody-of-that-name/x.npz: no such file"):
        dataset.resolve({**NPZ, "path": "~nobody-of-that-name/x.npz"})


@pytest.mark.parametrize("compressed", [False, True])
def test_truncated_or_flipped_npz_is_refused_or_unharmed(compressed: bool, tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    config = {**NPZ, "path": str(path)}
    (np.savez_compressed if compressed else np.savez)(path, **own())
    whole, sha256 = path.read_bytes(), dataset.load(config).sha256
    refused = 0
    for at in np.random.RandomState(0).randint(0, len(whole), 100).tolist():
        path.write_bytes(whole[:at])
        with pytest.raises(DataError, match=r"x.npz"):
            dataset.load(config)
        path.write_bytes(flip(whole, at))
        try:
            assert dataset.load(config).sha256 == sha256  # the byte meant nothing: a time stamp, say
        except DataError as error:
            assert "x.npz" in str(error)
            refused += 1
    assert refused > 80


def test_npz_that_would_unpack_beyond_the_cap_is_refused_unread(tmp_path: Path, monkeypatch: Any) -> None:
    path = tmp_path / "x.npz"
    np.savez_compressed(path, **own(x_train=np.zeros((60, 700, 3))))
    monkeypatch.setattr("lstm_bench.data.npz.MAX_NPZ_BYTES", 100_000)
    monkeypatch.setattr(np, "load", lambda *a, **k: pytest.fail("loaded"))
    with pytest.raises(DataError, match="too large: expected at most 100000 bytes, received 101"):
        dataset.load({**NPZ, "path": str(path)})


def test_a_member_without_npy_is_not_read_in_place_of_the_one_that_was_checked(tmp_path: Path) -> None:
    config = save(tmp_path / "x.npz", own())
    before = dataset.load(config)
    with zipfile.ZipFile(config["path"], "a") as archive:
        archive.writestr("x_train", b"\0" * 1000)  # NumPy's own reader would prefer it
    assert dataset.load(config).sha256 == before.sha256


def test_npy_header_is_not_believed(tmp_path: Path) -> None:
    member = io.BytesIO()
    np.lib.format.write_array_header_1_0(member, {"descr": "<f8", "fortran_order": False, "shape": (2**31, 28, 28)})
    config = save(tmp_path / "x.npz", own(x_train=None))
    with zipfile.ZipFile(config["path"], "a") as archive:
        archive.writestr("x_train.npy", member.getvalue())
    with pytest.raises(DataError, match=r"x.npz: x_train: corrupt: expected float64 of shape \(2147483648, 28, 28\)"):
        dataset.load(config)


@pytest.mark.parametrize("names", [[0, 10, 20], [1, 2, 3], [-1, 1, 5]], ids=str)
def test_classes_that_are_not_0_1_are_refused_with_a_line_that_mends_them(names: list[int], tmp_path: Path) -> None:
    arrays = own()
    for key in ("y_train", "y_test"):
        arrays[key] = np.array(names)[arrays[key]]
    with pytest.raises(DataError) as caught:
        dataset.load(save(tmp_path / "x.npz", arrays))
    line = "y_train, y_test = np.split(np.unique(np.concatenate([y_train, y_test]), return_inverse=True)[1], [60])"
    assert f"expected labels 0 to 2, as there are 3 of them, received {names}. Classes: {line}." in str(caught.value)
    scope = {"np": np, **arrays}
    exec(line, scope)  # as a person does
    got = dataset.load(save(tmp_path / "x.npz", {key: scope[key] for key in arrays}))
    assert (got.n_classes, got.y_test.tolist()) == (3, own()["y_test"].tolist())


def test_names_of_classes_are_refused_with_a_line_that_mends_them(tmp_path: Path) -> None:
    arrays = own(x_validation=np.ones((3, 7, 3)), y_validation=np.arange(3))
    for key in ("y_train", "y_validation", "y_test"):
        arrays[key] = np.array(["high", "low", "mid"])[arrays[key]]
    with pytest.raises(DataError, match=r"y_train: expected integer labels, received <U4\. Names") as caught:
        dataset.load(save(tmp_path / "x.npz", arrays))
    scope = {"np": np, **arrays}
    exec(str(caught.value).partition("Names of classes: ")[2].removesuffix("."), scope)
    got = dataset.load(save(tmp_path / "x.npz", {key: scope[key] for key in arrays}))
    assert (got.y_validation.tolist(), got.y_test.tolist()) == ([0, 1, 2], own()["y_test"].tolist())


H = np.random.RandomState(1).normal(size=(60, 4))
ONE_HOT, ONE_HOT_TEST = np.eye(3, dtype=int)[Y], np.eye(3)[own()["y_test"]]
NOT_EXACTLY_ONE = np.where(np.arange(60)[:, None] == 5, 0, ONE_HOT)
FORMS: dict[str, tuple[np.ndarray, np.ndarray, str | None]] = {
    "a column": (Y[:, None], Y[:9, None], "One label per sample: y[:, 0]."),
    "a column of floats": (H[:, :1], H[:9, :1], "One label per sample: y[:, 0]."),
    "a column of one class": (Y[:, None] * 0, Y[:9, None] * 0, "One label per sample: y[:, 0]."),
    "a column of 0 and 1": (Y[:, None] % 2, Y[:9, None] % 2, "One label per sample: y[:, 0]."),
    "a column of text": (Y[:, None].astype(str), Y[:9, None].astype(str), "One label per sample: y[:, 0]."),
    "two axes of one": (Y[:, None, None], Y[:9, None, None], "One label per sample: y.reshape(-1)."),
    "a row": (Y[None], Y[None, :9], "One row of labels: y[0]."),
    "one-hot": (ONE_HOT, ONE_HOT_TEST, "One-hot labels: y.argmax(-1)."),
    "one-hot bool": (ONE_HOT.astype(bool), ONE_HOT_TEST, "One-hot labels: y.argmax(-1)."),
    "one-hot in training alone": (ONE_HOT, ONE_HOT_TEST * 0, "Some rows do not hold exactly one 1, so they are not"),
    "a row of zeros": (NOT_EXACTLY_ONE, ONE_HOT_TEST, "several labels per sample are not supported"),
    "several ones": (1 - ONE_HOT, 1 - ONE_HOT_TEST, "several labels per sample are not supported"),
    "as many as timesteps": (np.eye(7)[Y], np.eye(7)[Y[:9]], "a label for every timestep is not supported."),
    "several labels": (ONE_HOT * 2, ONE_HOT_TEST, "Several labels per sample are not supported; one column is a"),
    "labels per timestep": (
        np.full((60, 7), 2),
        Y[:9],
        "A label for every timestep is another task, dataset.task=tagging; one of them",
    ),
    "one-hot per timestep": (np.eye(3)[np.full((60, 7), 2)], Y[:9], "A label for every timestep is not supported;"),
    "targets per timestep": (np.ones((60, 7)) / 2, Y[:9], "A target for every timestep is not supported; one of them"),
    "a horizon": (H, H[:9], "A horizon, or several targets per sample, is not supported; one column is a study of"),
    "a horizon of columns": (H[..., None], H[:9, :, None], "y[:, -1, 0]."),
    "probabilities": (np.abs(H) / np.abs(H).sum(-1, keepdims=True), H[:9], "A horizon, or several targets per sample"),
    "text in columns": (np.full((60, 2), "a"), np.full((9, 2), "a"), None),
    "no axis": (np.array(3), Y[:9], None),
}


@pytest.mark.parametrize("form", FORMS)
def test_labels_of_other_shapes_get_a_remedy_that_loses_nothing(form: str, tmp_path: Path) -> None:
    y, y_test, remedy = FORMS[form]
    with pytest.raises(DataError, match=r"y_train: expected shape \(samples,\), received \(") as caught:
        dataset.load(save(tmp_path / "x.npz", own(y_train=y, y_test=y_test)))
    said = str(caught.value).partition(f"received {y.shape}")[2]
    assert (remedy in said) if remedy else said == ""
    assert ("argmax" in said) == (form in ("one-hot", "one-hot bool", "as many as timesteps"))


@pytest.mark.parametrize(
    ("y", "remedy"),
    [
        (Y == 0, "received bool. True and false: y.astype(int)."),
        (Y.astype("M8[s]"), "received datetime64[s]"),
        (Y + 0j, "received complex128"),
    ],
    ids=["bool", "dates", "complex"],
)
def test_labels_of_other_types_get_a_remedy_that_loses_nothing(y: np.ndarray, remedy: str, tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        dataset.load(save(tmp_path / "x.npz", own(y_train=y)))
    assert str(caught.value).endswith(f"y_train: expected integer labels, {remedy}")


@pytest.mark.parametrize(
    ("shape", "remedy"),
    [
        ((60, 7), "One feature: x[..., None]."),
        ((60, 7, 3, 1), "One feature: x[..., 0]."),
        ((60, 7, 3, 2), "More axes as features: x.reshape(*x.shape[:2], -1)."),
        ((60,), "received (60,)"),
    ],
    ids=str,
)
def test_inputs_of_other_shapes_get_a_remedy_that_works(shape: tuple[int, ...], remedy: str, tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        dataset.load(save(tmp_path / "x.npz", own(x_train=np.zeros(shape))))
    assert str(caught.value).endswith(remedy)


@pytest.mark.parametrize(
    ("given", "missing", "remedy"),
    [
        ("X_train", "x_train", "Did you mean x_train"),
        ("x_val", None, "Did you mean x_validation"),
        ("X_train", None, "Save the file without it."),
        ("X_test", None, "Save the file without it."),
        ("groups_train", None, "Groups are not supported yet: see to it that no group is in two splits, and save"),
        ("subject", None, "Groups are not supported yet"),
        (
            "lengths_train",
            None,
            "All sequences have one length here, and padding would be read as data: dataset=file takes",
        ),
        (
            "mask_train",
            None,
            "All sequences have one length here, and padding would be read as data: dataset=file takes",
        ),
        ("sample_weight", None, "Weights of samples or classes are not supported yet: save the file without it."),
        ("class_names", None, "Save the file without it."),
    ],
)
def test_unknown_arrays_are_refused_by_name(given: str, missing: str | None, remedy: str, tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        dataset.load(save(tmp_path / "x.npz", own(**{given: np.ones(60)}, **({missing: None} if missing else {}))))
    known = "x_train y_train x_validation y_validation x_test y_test"
    assert f"x.npz: unknown array {given}: expected none but {known}. {remedy}" in str(caught.value)
    assert caught.value.exit_code == 3
