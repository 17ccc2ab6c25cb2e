"""A confirmed winner on new sequences: what is read, how it is scaled, what comes out, what is refused."""

from __future__ import annotations

import csv
import hashlib
import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fake
import numpy as np
import pytest
import yaml
from conftest import Command
from scipy.special import softmax
from trainings import config, data

from lstm_bench import predict
from lstm_bench.core import fileio
from lstm_bench.core.configuration import conf_dir
from lstm_bench.core.errors import DataError
from lstm_bench.data import dataset as datasets
from lstm_bench.data import readers, user_files
from lstm_bench.data.formats.source import Source
from lstm_bench.data.task import CLASSIFICATION, REGRESSION, TAGGING
from lstm_bench.study import columns as record
from lstm_bench.training import artefacts, tasks

SHAPE = (2, 3)
X = np.arange(12, dtype=np.float32).reshape(2, *SHAPE)
PIXELS = {"dataset": "digits", "divisor": 16, "mean": None, "scale": None}


# Reading.


def save(folder: Path, name: str, x: np.ndarray, **more: np.ndarray) -> Path:
    path = folder / name
    if path.suffix == ".npy":
        np.save(path, x)
    elif path.suffix == ".npz":
        np.savez(path, x=x, **more)
    else:
        np.savetxt(path, x.reshape(len(x), -1), fmt="%g", delimiter=",")
    return path


@pytest.mark.parametrize("name", ["a.npy", "a.npz", "a.csv"])
def test_every_form_gives_the_same_sequences(tmp_path: Path, name: str) -> None:
    x, y = user_files.read(save(tmp_path, name, X), SHAPE)
    assert np.array_equal(x, X) and y is None


def test_an_npz_may_hold_the_targets_too(tmp_path: Path) -> None:
    _, y = user_files.read(save(tmp_path, "a.npz", X, y=np.array([1, 0])), SHAPE)
    assert y is not None and y.tolist() == [1, 0]


def test_a_csv_may_have_a_header_and_empty_lines_and_is_whole_or_not(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("a,b,c,d,e,f\n1,2,3,4,5,6\n\n")
    x, _ = user_files.read(path, SHAPE)
    assert x.dtype == np.int64 and x.tolist() == [[[1, 2, 3], [4, 5, 6]]]
    path.write_text("1,2,3,4,5,6.0\n")
    assert user_files.read(path, SHAPE)[0].dtype == np.float64


def pickled(path: Path) -> None:
    np.save(path, np.array([{"a": 1}], dtype=object), allow_pickle=True)


def lying(path: Path) -> None:
    """A header that promises eight terabytes."""
    with path.open("wb") as file:
        header = {"descr": "<f8", "fortran_order": False, "shape": (10**6, 10**6)}
        np.lib.format.write_array_header_1_0(file, header)  # type: ignore[arg-type]


def lengths(path: Path) -> None:
    np.savez(path, x=X, lengths=np.array([1, 2]))


def other_key(path: Path) -> None:
    np.savez(path, x_test=X)


def torn(path: Path) -> None:
    np.savez(path, x=X)
    path.write_bytes(path.read_bytes()[:-40])


def gap(path: Path) -> None:
    x = X.copy()
    x[1, 0, 0] = np.nan
    np.save(path, x)


def text(content: str) -> Callable[[Path], None]:
    return lambda path: path.write_text(content) and None  # type: ignore[func-returns-value]


def test_a_member_without_npy_is_not_read_in_place_of_the_one_that_was_checked(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=X)
    with zipfile.ZipFile(tmp_path / "a.npz", "a") as archive:
        for name in ("x", "y"):
            archive.writestr(name, b"\0" * 1000)
    x, y = user_files.read(tmp_path / "a.npz", SHAPE)
    assert np.array_equal(x, X) and y is None


@pytest.mark.parametrize(
    ("name", "make", "said"),
    [
        ("a.npy", lambda path: None, "a.npy: cannot be read (No such file or directory)"),
        ("a.npy", lambda path: np.save(path, X[0]), "received (2, 3). One sequence: x[None]"),
        (
            "a.npy",
            lambda path: np.save(path, X[:, :1]),
            "expected shape (samples, 2, 3): samples, timesteps, features, rec",
        ),
        ("a.npy", lambda path: np.save(path, X[:0]), "no sequence"),
        ("a.npy", lambda path: np.save(path, X.astype(complex)), "expected real numbers, received complex128"),
        ("a.npy", lambda path: np.save(path, X.astype(str)), "expected real numbers"),
        (
            "a.npy",
            gap,
            "NaN or inf: expected finite float32 numbers, received 'neither in 1 of 2 samples, the first is 1'",
        ),
        ("a.npy", lambda path: np.save(path, np.full((1, *SHAPE), 1e300)), "NaN or inf"),
        ("a.npy", pickled, "Python objects are never unpickled"),
        ("a.npy", lying, "corrupt"),
        ("a.npy", text("not numpy"), "cannot be read"),
        ("a.npz", other_key, "x is missing: expected x, and y where it is known, received ['x_test']"),
        (
            "a.npz",
            lengths,
            "unknown array lengths: expected none but x y groups. All sequences have one length here, and padding would be",
        ),
        ("a.npz", torn, "cannot be read"),
        (
            "a.csv",
            text("1,2,3,4,5\n"),
            "line 1: expected 6 numbers (2 timesteps of 3 features) and commas, received '5 f",
        ),
        (
            "a.csv",
            text("1,2,3,4,5,6\n1,2,three,4,5,6\n"),
            "line 2: expected 6 numbers (2 timesteps of 3 features) and co",
        ),
        ("a.csv", text("1,2,3,4,5,nan\n"), "NaN or inf"),
        ("a.csv", text("a,b\n"), "no sequence"),
    ],
)
def test_unfit_input_is_refused_in_one_line(tmp_path: Path, name: str, make: Any, said: str) -> None:
    make(tmp_path / name)
    with pytest.raises(DataError) as caught:
        user_files.read(tmp_path / name, SHAPE)
    assert said in str(caught.value) and "\n" not in str(caught.value)


def test_groups_beside_arrays_say_nothing_of_a_prediction(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=X, y=np.arange(len(X)), groups=np.arange(len(X)))
    x, y = user_files.read(tmp_path / "a.npz", SHAPE)
    assert np.array_equal(x, X) and np.array_equal(y, np.arange(len(X)))


def test_one_feature_is_recognised(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((4, 5)))
    with pytest.raises(DataError, match=r"One feature: x\[\.\.\., None\]"):
        user_files.read(tmp_path / "a.npy", (5, 1))


# Scaling.


def test_whole_numbers_are_pixels_and_others_are_scaled_already() -> None:
    pixels = np.array([[[0, 8, 16]]], np.uint8)
    assert user_files.scaled(pixels, PIXELS, "a").tolist() == [[[0, 0.5, 1]]]
    assert user_files.scaled(pixels / 16, PIXELS, "a").tolist() == [[[0, 0.5, 1]]]
    for wrong in (pixels.astype(np.float32), pixels + 1, -pixels.astype(np.int64)):
        with pytest.raises(DataError, match="expected whole numbers from 0 to 16, or others from 0 to 1"):
            user_files.scaled(wrong, PIXELS, "a")
    assert user_files.scaled(np.array([[[300]]]), {**PIXELS, "divisor": 1}, "a").tolist() == [[[300]]]


@pytest.mark.parametrize("standardize", [False, True])
def test_raw_arrays_become_exactly_what_was_trained_on(standardize: bool) -> None:
    settings = {**fake.config()["dataset"], "standardize": standardize}
    made = datasets.load(settings)
    raw, _, _ = readers._digits()
    task = {"model": {}, "backend": {"name": "jax"}}
    about = json.loads(json.dumps(artefacts.described_input(task, made, Path(__file__))))
    assert np.array_equal(user_files.scaled(raw["x_test"], about, "a"), made.x_test)


# Answers.


def test_tables_of_each_task() -> None:
    columns, rows = CLASSIFICATION.labels.table(np.log([[0.25, 0.75], [0.5, 0.5]]))
    assert columns == ("sample", "prediction", "probability", "probability_0", "probability_1")
    assert [[round(float(row[c]), 6) for c in columns] for row in rows] == [
        [0, 1, 0.75, 0.25, 0.75],
        [1, 0, 0.5, 0.5, 0.5],
    ]
    columns, rows = REGRESSION.labels.table(np.array([[0.5], [2.0]]))
    assert columns == ("sample", "prediction") and [row["prediction"] for row in rows] == [0.5, 2.0]
    columns, rows = TAGGING.labels.table(np.zeros((2, 3, 4)))
    assert columns[:2] == ("sample", "timestep") and (rows[4]["sample"], rows[4]["timestep"], len(rows)) == (1, 1, 6)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`sweeps/toy`: a trained toy and its records, as a session leaves them."""
    folder = tmp_path_factory.mktemp("predict") / "sweeps" / "toy"
    whole = fake.config({"study.name": "toy", "study.replicates": 1})
    whole |= {key: {**whole[key], **config()[key]} for key in ("train", "backend")} | {"model": config()["model"]}
    made = tasks.TaskRunner("a device", "exclusive")
    toy = data()
    made._data[json.dumps(whole["dataset"], sort_keys=True)] = toy
    task = {"kind": "replicate", "config": whole, "kernel": "generic", "steps_per_execution": 50, "seed": 0}
    result = made.run({**task, "keep": str(folder / "model")}, lambda metrics: None, lambda: False)
    assert result["state"] == "COMPLETE" and "detail" not in result
    fileio.write_yaml(folder / "config.yaml", whole)
    facts = {"name": "toy", "timesteps": 5, "features": 3, "n_classes": 2}
    fileio.write_json(folder / "environment.json", {"dataset": facts})
    fileio.write_rows(folder / "predictions.csv", record.PREDICTION_COLUMNS, result["predictions"])
    np.savez(folder.parent.parent / "toy.npz", x=toy.x_test, y=toy.y_test)
    (folder / "accuracy").write_text(f"{result['test_accuracy']:.4f}")
    return folder


@pytest.fixture
def at_home(study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a copy of the study; its folder."""
    shutil.copytree(study.parent.parent, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KERAS_BACKEND", "tensorflow")
    return tmp_path / "sweeps" / "toy"


def test_the_winner_predicts_what_it_predicted_of_the_test_set(
    at_home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert predict.main(["study=toy", "input=toy.npz", "output=out/new.csv"]) == 0
    shown = capsys.readouterr().out
    assert f"accuracy {(at_home / 'accuracy').read_text()}" in shown and "classes  0: " in shown
    with Path("out/new.csv").open() as file:
        rows = list(csv.DictReader(file))
    known = fileio.read_rows(at_home / "predictions.csv")
    assert [row["prediction"] for row in rows] == [row["prediction"] for row in known]
    both = [(float(a["probability"]), float(b["probability"])) for a, b in zip(rows, known, strict=True)]
    np.testing.assert_allclose(*np.array(both).T, rtol=1e-5)
    assert float(rows[0]["probability_0"]) + float(rows[0]["probability_1"]) == pytest.approx(1)


def test_a_model_saved_before_there_was_an_input_json_works(at_home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = at_home / "config.yaml"
    settings.write_text(settings.read_text().replace("name: digits", "name: npz"))
    (at_home / "model" / "input.json").unlink()
    assert predict.main(["study=toy", "input=toy.npz"]) == 0
    assert f"accuracy {(at_home / 'accuracy').read_text()}" in capsys.readouterr().out
    settings.write_text(settings.read_text().replace("standardize: false", "standardize: true"))
    assert predict.main(["study=toy", "input=toy.npz"]) == 2
    assert "saved without the scaling of its input" in capsys.readouterr().err


def test_code_in_a_model_is_not_run(at_home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import keras

    touched, model = tmp_path / "touched", at_home / "model" / "model.keras"
    payload = eval(f"lambda x: (__import__('pathlib').Path({str(touched)!r}).touch(), x)[1]")  # noqa: S307
    keras.Sequential([keras.Input((5, 3)), keras.layers.Lambda(payload)]).save(model)
    about = json.loads((model.parent / "input.json").read_text())
    digest = hashlib.sha256(model.read_bytes()).hexdigest()
    (model.parent / "input.json").write_text(
        json.dumps({**about, "model_sha256": digest})
    )  # whoever wrote one wrote both
    touched.unlink(missing_ok=True)
    assert predict.main(["study=toy", "input=toy.npz"]) == 3
    said = capsys.readouterr().err
    assert "model.keras: Keras cannot load it (" in said and "Lambda" in said and said.count("\n") == 1
    assert not touched.exists()
    keras.saving.load_model(model, safe_mode=False)  # the proof that the payload is live
    assert touched.exists()


# Sequences of unequal length.


def drawn(sizes: list[int]) -> list[np.ndarray]:
    rng = np.random.RandomState(0)
    return [rng.randn(size, 2).astype(np.float32) for size in sizes]


def learned(folder: Path, per_timestep: bool = False, **settings: Any) -> Any:
    """Puts a model of sequences of 2 to 6 timesteps into a study, as `keep` does; returns the Keras model."""
    import keras

    made = drawn([2, 6, *([3, 4, 5] * 16)])
    y = np.concatenate([np.arange(len(s)) % 3 for s in made]) if per_timestep else np.arange(50) % 3
    np.savez(folder / "old.npz", x=np.concatenate(made), y=y, lengths=[len(s) for s in made])
    given = {"path": str(folder / "old.npz"), "standardize": True, **settings}
    found = datasets.load({**yaml.safe_load((conf_dir() / "dataset" / "file.yaml").read_text()), **given})
    layers = [keras.layers.GRU(4, return_sequences=per_timestep, seed=1), keras.layers.Dense(3)]
    model = keras.Sequential([keras.Input((None, 2)), *layers])
    model.save(folder / "model" / "model.keras")
    settings = {"model": {}, "backend": {"name": "tensorflow"}}
    about = artefacts.described_input(settings, found, folder / "model" / "model.keras")
    fileio.write_json(folder / "model" / "input.json", about)
    return lambda x: np.asarray(model(((x - found.mean) / found.scale)[None]))[0]


@pytest.mark.parametrize("per_timestep", [False, True])
def test_sequences_of_any_length_are_predicted_as_each_alone(
    at_home: Path, capsys: pytest.CaptureFixture[str], per_timestep: bool
) -> None:
    alone = learned(at_home, per_timestep)
    new = drawn([1, 9, 4, 6, 2])  # longer and shorter than any that it knows
    y = [np.arange(len(s)) % 3 if per_timestep else np.array([place % 3]) for place, s in enumerate(new)]
    sizes = [len(s) for s in new]
    np.savez("flat.npz", x=np.concatenate(new), lengths=sizes, y=np.concatenate(y))
    x, padded_y = np.full((5, 12, 2), np.nan, np.float32), np.full((5, 12), -9)
    for place, (sequence, labels) in enumerate(zip(new, y, strict=True)):
        x[place, : len(sequence)], padded_y[place, : len(labels)] = sequence, labels
    np.savez("padded.npz", x=x, lengths=sizes, y=padded_y if per_timestep else np.concatenate(y))
    logits = np.concatenate([np.atleast_2d(alone(sequence)) for sequence in new])
    right = int((logits.argmax(-1) == np.concatenate(y)).sum())
    tables = []
    for name in ("flat.npz", "padded.npz"):
        assert predict.main(["study=toy", f"input={name}", "output=new.csv"]) == 0
        said = capsys.readouterr()
        assert f"({right} of {len(logits)})" in said.out and "5 sequences" in said.out
        assert "1 of 5 sequences are longer than the 6 timesteps that the model has learned from" in said.err
        tables.append(fileio.read_rows(Path("new.csv")))
    assert tables[0] == tables[1] and len(tables[0]) == len(logits)
    for place in range(3):
        found = [float(row[f"probability_{place}"]) for row in tables[0]]
        np.testing.assert_allclose(found, softmax(logits, -1)[:, place], rtol=1e-4, atol=1e-6)
    if per_timestep:
        assert [int(row["timestep"]) for row in tables[0]] == [t for s in new for t in range(len(s))]


def test_what_is_too_long_is_cut_as_in_training(at_home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    alone = learned(at_home, max_length=4, truncate="start", min_length=3)
    (new,) = drawn([9])
    np.save("new.npy", new[None])
    assert predict.main(["study=toy", "input=new.npy", "output=new.csv"]) == 0
    assert "1 of 1 sequences are longer than dataset.max_length=4: their start is cut off" in capsys.readouterr().err
    (row,) = fileio.read_rows(Path("new.csv"))
    np.testing.assert_allclose(float(row["probability_1"]), softmax(alone(new[-4:]))[1], rtol=1e-4)
    np.save("new.npy", new[None, :2])
    assert predict.main(["study=toy", "input=new.npy"]) == 0
    assert "1 of 1 sequences are shorter than the 3 timesteps that the model has" in capsys.readouterr().err
    learned(at_home, max_length=6)
    np.save("new.npy", new[None])
    assert predict.main(["study=toy", "input=new.npy"]) == 3
    assert "longer than dataset.max_length: expected at most 6 timesteps, received 9" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        (
            {"x": np.ones((2, 4, 3)), "lengths": [1, 2]},
            "expected shape (samples, any, 2): samples, timesteps, features",
        ),
        ({"x": np.ones((2, 4, 2)), "lengths": [1, 5]}, "lengths: expected whole numbers from 1 to 4"),
        ({"x": np.full((2, 4, 2), np.nan), "lengths": [1, 4]}, "NaN or inf"),
        ({"x": np.ones((2, 4, 2)), "mask": [1, 5]}, "unknown array mask"),
        ({"x": np.ones((2, 4, 2)), "lengths": [1, 4], "y": [0, 7]}, "y: expected labels 0 to 2"),
    ],
)
def test_new_sequences_of_unequal_length_that_are_unfit_are_one_line(
    at_home: Path, capsys: pytest.CaptureFixture[str], arrays: dict[str, Any], said: str
) -> None:
    learned(at_home)
    np.savez("new.npz", **arrays)
    assert predict.main(["study=toy", "input=new.npz"]) == 3
    shown = capsys.readouterr().err
    assert said in shown and shown.count("\n") == 1


def test_a_model_of_one_length_refuses_others(tmp_path: Path) -> None:
    rows = ["r,v", *(f"{name},{value}" for name in "abc" for value in range(3)), "b,4"]
    (tmp_path / "new.csv").write_text("\n".join(rows))
    columns = {"id": "r", "target": "y"}
    reading = {"columns": columns, "features": ["v"], "categories": {}, "filling": None}
    about = {"reading": reading, "timesteps": 4, "features": 1}
    with pytest.raises(DataError, match="sequences of unequal length: expected 4 timesteps of each, as the model has"):
        user_files.read_alike(Source(tmp_path / "new.csv"), about)
    about["reading"] = {**reading, "unequal": True}
    found = user_files.read_alike(Source(tmp_path / "new.csv"), about)
    assert found.lengths is not None and found.lengths.tolist() == [3, 4, 3]


def unconfirmed(folder: Path) -> None:
    shutil.rmtree(folder / "model")


def never_confirmed(folder: Path) -> None:
    unconfirmed(folder)
    path = folder / "config.yaml"
    path.write_text(path.read_text().replace("replicates: 1", "replicates: 0"))


def published(folder: Path) -> None:
    unconfirmed(folder)
    target = folder.parent / "published" / "a-cpu"
    target.mkdir(parents=True)
    shutil.move(folder, target)


def exchanged(folder: Path) -> None:
    with zipfile.ZipFile(folder / "model" / "model.keras", "a") as archive:
        archive.writestr("more.txt", "x")


def test_targets_of_another_shape_or_type_get_a_remedy() -> None:
    x = np.zeros((4, 2, 3))
    wrong = {
        "One label per sample: y[:, 0].": np.zeros((4, 1), int),
        "One-hot labels: y.argmax(-1).": np.eye(3)[[0, 1, 2, 0]],
        "Labels of classes are integers: y.astype(int).": np.ones(4),
    }
    for remedy, y in wrong.items():
        with pytest.raises(DataError) as caught:
            predict._check_targets(y, x, CLASSIFICATION, 3, Path("a.npz"))
        assert str(caught.value).endswith(remedy)


def torn_model(folder: Path) -> None:
    (folder / "model" / "model.keras").write_bytes(b"PK")
    about = json.loads((folder / "model" / "input.json").read_text())
    (folder / "model" / "input.json").write_text(json.dumps({**about, "model_sha256": None}))


def bad_targets(folder: Path) -> None:
    np.savez(folder.parent.parent / "toy.npz", x=data().x_test, y=np.full(50, 7))


def nothing(folder: Path) -> None:
    pass


@pytest.mark.parametrize(
    ("change", "arguments", "code", "said"),
    [
        (
            nothing,
            ("study=tyo", "input=toy.npz"),
            2,
            "study=tyo: there is no such study below sweeps. Did you mean toy?",
        ),
        (nothing, ("study=toy",), 2, "input=... is missing. See --help"),
        (nothing, ("study=toy", "input=toy.npz", "backend=tf"), 2, "backend: expected one of tensorflow, jax, torch"),
        (nothing, ("study=toy", "input=toy.npz", "sweep=x"), 2, "received 'sweep=x'. Did you mean sweeps?"),
        (
            unconfirmed,
            ("study=toy", "input=toy.npz"),
            2,
            "study toy is not confirmed: it has no model yet. To go on, run the",
        ),
        (
            never_confirmed,
            ("study=toy", "input=toy.npz"),
            2,
            "run the sweep command that made it with study.replicates=1",
        ),
        (published, ("study=toy", "input=toy.npz"), 2, "study toy: published records hold no model. To make one, run"),
        (exchanged, ("study=toy", "input=toy.npz"), 3, "model.keras: not the model that was saved"),
        (torn_model, ("study=toy", "input=toy.npz"), 3, "Keras cannot load it"),
        (bad_targets, ("study=toy", "input=toy.npz"), 3, "y: expected labels 0 to 1, received '7 to 7'"),
        (nothing, ("study=toy", "input=toy.npz", "output=/proc/nowhere/a.csv"), 4, "cannot be written"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_its_code(
    at_home: Path, capsys: pytest.CaptureFixture[str], change: Any, arguments: Any, code: int, said: str
) -> None:
    change(at_home)
    assert predict.main(arguments) == code
    shown = capsys.readouterr().err
    assert said in shown and shown.count("\n") == 1


def test_a_published_study_of_the_house_names_the_command_that_makes_its_model(
    capsys: pytest.CaptureFixture[str],
) -> None:
    root = Path(__file__).parents[2] / "sweeps"
    assert predict.main(["study=single", "input=a.npy", f"sweeps={root}"]) == 2
    assert "To make one, run python -m lstm_bench.sweep +study=single\n" in capsys.readouterr().err


def test_help_needs_no_framework_and_a_command_of_its_own_is_quiet(command: Command, study: Path) -> None:
    shown = command("predict", "--help")
    assert shown.returncode == 0 and "input=FILE" in shown.stdout
    done = command("predict", "study=toy", f"input={study.parent.parent / 'toy.npz'}", f"sweeps={study.parent}")
    assert (done.returncode, done.stderr) == (0, ""), done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["jax", pytest.param("torch", marks=pytest.mark.long)])
def test_another_backend_predicts_the_same(command: Command, study: Path, tmp_path: Path, backend: str) -> None:
    pytest.importorskip(backend, reason=f"{backend} is not installed: pip install 'lstm-bench[{backend}]'")
    path = study.parent.parent / "toy.npz"
    done = command(
        "predict", "study=toy", f"input={path}", "output=a.csv", f"sweeps={study.parent}", f"backend={backend}"
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    known = fileio.read_rows(study / "predictions.csv")
    rows = fileio.read_rows(tmp_path / "a.csv")
    assert [row["prediction"] for row in rows] == [row["prediction"] for row in known]
