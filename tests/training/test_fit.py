"""Training: schedules, epochs, what is counted, and loss that is no number."""

from __future__ import annotations

import dataclasses
import gc
import math
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from sklearn.metrics import mean_pinball_loss
from trainings import config, data, problem, ragged

from lstm_bench.core.clock import Phases
from lstm_bench.core.configuration import conf_dir
from lstm_bench.core.errors import KernelError
from lstm_bench.core.hardware import gpus
from lstm_bench.data import dataset, metric, task
from lstm_bench.data.dataset import Dataset
from lstm_bench.data.horizon import Future
from lstm_bench.training import criteria, fit, programs
from lstm_bench.training import optimizer as optimizers
from lstm_bench.training.engine import factory

# Of each dataset, as a worker has them: to compile a program takes longer than to train this little with it. That such an engine
# trains as a fresh one does is tested below. What a test compares of two runs it reads after each: the engine may be one.
KEPT: dict[int, tuple[Dataset, programs.Engines]] = {}


def run(data: Dataset, kernel: str = "generic", stopped: Any = lambda: False, more: Any = None, **changes: Any) -> Any:
    reported: list[dict[str, float]] = []
    phases, settings = Phases(), {**config(**changes), **(more or {})}
    _, kept = KEPT.setdefault(id(data), (data, programs.Engines()))
    engine = kept.of({**settings, "launcher": {"keep_engines": 16}}, data, kernel, seed=3)
    trained = fit.train(
        engine, settings, data,
        kernel=kernel, seed=3, phases=phases, report=reported.append, stopped=stopped,
    )  # fmt: skip
    trained.engine = engine  # type: ignore[attr-defined]
    return trained, reported, phases.seconds()


def test_every_epoch_is_reported_and_the_phases_add_up() -> None:
    trained, reported, seconds = run(data())
    assert [epoch["epoch"] for epoch in reported] == [1, 2]
    assert trained.epochs == reported
    assert trained.measured["val_accuracy"] == reported[-1]["val_accuracy"]
    assert {epoch["n_weights"] for epoch in reported} == {trained.measured["n_weights"]}
    assert trained.measured["train_samples_per_s"] == reported[-1]["train_samples_per_s"] > 0
    parts = seconds["setup_s"] + seconds["compile_s"] + seconds["train_s"] + seconds["eval_s"]
    assert seconds["total_s"] == pytest.approx(parts)
    assert min(seconds.values()) > 0


def test_throughput_counts_the_steps_that_were_run_and_only_their_time() -> None:
    trained, reported, seconds = run(data(n=50))
    # 50 samples are 6 whole batches of 8: 48 samples an epoch.
    timed = sum(epoch["train_s"] for epoch in reported)
    assert trained.measured["train_samples_per_s"] == pytest.approx(2 * 48 / timed)
    assert timed <= seconds["train_s"]


def test_a_batch_larger_than_the_data_is_the_data() -> None:
    trained, _, _ = run(data(n=6), batch_size=64)
    assert int(trained.engine.optimizer.iterations) == 2


def test_it_learns() -> None:
    _, reported, _ = run(data(n=200), epochs=5)
    assert reported[-1]["train_loss"] < 0.7 * reported[0]["train_loss"]


def untimed(epoch: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in epoch.items() if name not in ("train_s", "train_samples_per_s")}


def test_the_same_seed_gives_the_same_numbers() -> None:
    first, second = (run(data())[1] for _ in range(2))
    for a, b in zip(first, second, strict=True):
        assert untimed(a) == untimed(b)


def test_a_loss_that_is_no_number_ends_the_trial() -> None:
    with pytest.raises(fit.NotFiniteError, match="in epoch 1"):
        run(data(scale=np.nan))


def test_a_stop_is_heeded_between_calls_and_what_was_measured_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(factory, "MAX_STEPS", 2)
    asked = iter([False, False, True])
    trained, reported, _ = run(data(n=48), stopped=lambda: next(asked))
    assert trained.stopped and reported == []
    assert int(trained.engine.optimizer.iterations) == 4
    assert trained.measured["train_samples_per_s"] > 0
    assert trained.measured["epochs"] == 0


AIM = {"objective": "val_accuracy", "direction": "maximize", "objectives": {}}


def scripted(monkeypatch: pytest.MonkeyPatch, *scores: float, losses: Sequence[float] = ()) -> None:
    """Validation accuracies in the order in which they are asked for; what is asked for once more, at the end, is 0."""
    left = list(zip(scores, losses or [1.0] * len(scores), strict=True))

    def score(self: Any, outputs: Any, y: Any, split: str, mask: Any = None, late: Any = None) -> dict[str, float]:
        if late is None:
            return {"val_ece": 0.5}
        accuracy, loss = left.pop(0) if left else (0.0, 1.0)
        return {"val_accuracy": accuracy, "val_loss": loss}

    monkeypatch.setattr(task.Task, "score", score)


@pytest.mark.parametrize(
    ("scores", "direction", "epochs", "best"),
    [
        ((0.5, 0.7, 0.6, 0.7, 0.6), "maximize", 5, 2),  # of equals the earlier one; three without a better one
        ((0.5, 0.3, 0.4, 0.2, 0.9, 0.8), "minimize", 6, 4),  # to the last epoch
        pytest.param((0.5, 0.6, 0.7, 0.8, 0.9, 1.0), "maximize", 6, 6, marks=pytest.mark.long),
    ],
)
def test_early_stopping_keeps_the_weights_of_the_best_epoch(
    monkeypatch: pytest.MonkeyPatch, scores: tuple[float, ...], direction: str, epochs: int, best: int
) -> None:
    scripted(monkeypatch, *scores)
    aim = {"study": {**AIM, "direction": direction}}
    trained, reported, _ = run(data(), epochs=6, patience=3, more=aim)
    assert (len(reported), trained.stopped) == (epochs, False)
    assert (trained.measured["epochs"], trained.measured["best_epoch"]) == (epochs, best)
    assert (trained.measured["val_accuracy"], trained.measured["val_ece"]) == (scores[best - 1], 0.5)
    assert ("ended" in reported[-1]) == (epochs < 6) and not any("ended" in epoch for epoch in reported[:-1])
    trained.engine.sync_model()
    kept = fit.weights_digest(trained.engine.model), trained.engine.logits(data().x_test)
    until, _, _ = run(data(), epochs=best)  # a constant rate: the same steps, by the same engine
    assert "best_epoch" not in until.measured
    until.engine.sync_model()
    assert kept[0] == fit.weights_digest(until.engine.model)
    np.testing.assert_array_equal(kept[1], until.engine.logits(data().x_test))


@pytest.mark.parametrize(("last", "epochs", "best"), [(0.1, 8, 8), (0.2, 8, 5)])
def test_of_epochs_with_one_objective_that_of_the_lowest_validation_loss_counts(
    monkeypatch: pytest.MonkeyPatch, last: float, epochs: int, best: int
) -> None:
    losses = (0.9, 0.5, 0.4, 0.1, 0.2, 0.6, 0.7, last)  # the least of all is an epoch's of a lower accuracy
    scripted(monkeypatch, 0.5, 1.0, 1.0, 0.9, 1.0, 1.0, 1.0, 1.0, losses=losses)
    trained, _, _ = run(data(), epochs=8, patience=3, more={"study": AIM})
    assert (trained.measured["epochs"], trained.measured["best_epoch"]) == (epochs, best)
    assert trained.measured["val_accuracy"] == 1.0 and trained.measured["val_loss"] == losses[best - 1]


@pytest.mark.parametrize("kind", ["classification", pytest.param("tagging", marks=pytest.mark.long)])
def test_class_weights_are_in_the_training_loss_alone(kind: str) -> None:
    toy = problem(kind)
    plain, _, _ = run(toy, epochs=1, learning_rate=1e-9, batch_size=50)
    found, _, _ = run(toy, epochs=1, learning_rate=1e-9, batch_size=50, class_weight={"0": 3.0})
    assert found.measured["train_loss"] > 1.2 * plain.measured["train_loss"]
    assert found.measured["val_loss"] == pytest.approx(plain.measured["val_loss"], rel=1e-4)
    logits = np.random.default_rng(0).standard_normal((50, *toy.y_train.shape[1:], 2)).astype(np.float32)
    loss, right = criteria.weighted(np.array([3, 1], np.float32))(toy.y_train, np.arange(50), logits)
    picked = -np.take_along_axis(metric.log_probability(logits), toy.y_train[..., None], -1)[..., 0]
    assert float(loss) == pytest.approx((picked * np.where(toy.y_train == 0, 3, 1)).mean(), rel=1e-5)
    assert int(right) == (logits.argmax(-1) == toy.y_train).sum()
    even, _, _ = run(toy, epochs=1, batch_size=50, class_weight={"0": 1.0, "1": 1.0})
    same, _, _ = run(toy, epochs=1, batch_size=50)
    assert even.measured["train_loss"] == pytest.approx(same.measured["train_loss"], rel=1e-6)
    assert even.measured["train_accuracy"] == same.measured["train_accuracy"]


def test_another_kernel_than_asked_for_stops_the_sweep() -> None:
    class Engine:
        kernel_ran, evidence = "generic", "While 2"

    with pytest.raises(KernelError, match=r"kernel=cudnn was asked for and generic ran \(While 2\)"):
        fit.require_ran("cudnn", Engine())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("settings", "step", "expected"),
    [
        ({"schedule": "constant"}, 50, 0.01),
        ({"schedule": "cosine"}, 0, 0.01),
        ({"schedule": "cosine"}, 50, 0.005),
        ({"schedule": "cosine"}, 100, 0.0),
        # Keras 2's decay: lr / (1 + decay * step), no weight decay.
        ({"schedule": "inverse_time", "decay": 0.1}, 10, 0.005),
    ],
)
def test_learning_rate_schedules(settings: dict[str, Any], step: int, expected: float) -> None:
    rates = optimizers.rates(
        {**config()["train"], "learning_rate": 0.01, **settings}, steps=101 if step == 100 else 100
    )
    assert rates.dtype == np.float32
    assert rates[step] == pytest.approx(expected, abs=3e-6)


def test_a_warmup_is_keras_s_own() -> None:
    import keras

    settings = {**config(schedule="warmup_cosine", warmup=0.25)["train"], "epochs": 2}
    ours = optimizers.rates(settings, steps=40)
    theirs = keras.optimizers.schedules.CosineDecay(0.0, 30, warmup_target=settings["learning_rate"], warmup_steps=10)
    np.testing.assert_allclose(ours, [float(theirs(step)) for step in range(40)], rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize(("direction", "floor"), [("maximize", 0.0), ("minimize", 0.0), ("minimize", 1e-3)])
def test_a_plateau_lowers_the_rate_where_keras_does(direction: str, floor: float) -> None:
    import keras

    scores = np.random.default_rng(1).integers(0, 6, 60) / 10
    scores = scores if direction == "minimize" else 1 - scores
    settings = {**config()["train"], "plateau_factor": 0.5, "plateau_patience": 3, "plateau_floor": floor}
    theirs = keras.callbacks.ReduceLROnPlateau(
        "score", factor=0.5, patience=3, mode=direction[:3], min_delta=0, min_lr=floor
    )
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(settings["learning_rate"]), "mse")
    theirs.set_model(model)
    theirs.on_train_begin()
    ours, rates = optimizers.Plateau(settings["learning_rate"]), []
    for epoch, score in enumerate(scores.tolist()):
        before = ours.rate
        assert ours.after(settings, score, maximize=direction == "maximize") == (ours.rate < before)
        theirs.on_epoch_end(epoch, {"score": score})
        rates.append((ours.rate, float(model.optimizer.learning_rate)))
    np.testing.assert_allclose(*np.array(rates).T, rtol=1e-6)
    assert len({ours for ours, _ in rates}) >= 5


def test_weight_decay_reaches_adamw_alone_and_is_part_of_its_program() -> None:
    assert optimizers.optimizer(config(optimizer="adamw", weight_decay=0.1)["train"]).weight_decay == 0.1
    assert optimizers.optimizer(config(optimizer="adamw")["train"]).weight_decay == 0.004
    assert optimizers.optimizer(config(optimizer="adam", weight_decay=0.1)["train"]).weight_decay is None
    kept, toy = programs.Engines(), data()
    first, second = (config(optimizer="adamw", weight_decay=value) for value in (0.1, 0.2))
    assert kept.of(first, toy, "generic", seed=3) is not kept.of(second, toy, "generic", seed=3)


def test_schedules_are_keras_s_own() -> None:
    from keras.optimizers import schedules

    settings = {**config()["train"], "learning_rate": 0.01, "decay": 0.3}
    for name, theirs in (
        ("cosine", schedules.CosineDecay(0.01, decay_steps=37)),
        ("inverse_time", schedules.InverseTimeDecay(0.01, decay_steps=1, decay_rate=0.3)),
    ):
        ours = optimizers.rates({**settings, "schedule": name}, steps=37)
        np.testing.assert_allclose(ours, [float(theirs(step)) for step in range(37)], rtol=1e-5)


def test_the_schedule_is_what_the_steps_are_trained_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(factory, "MAX_STEPS", 4)
    settings, given = config(schedule="inverse_time", decay=0.5), []
    engine = programs.prepare(settings, data(), "generic", seed=3)
    steps = engine.steps
    monkeypatch.setattr(engine, "steps", lambda rows, rates, *more: given.extend(rates) or steps(rows, rates, *more))
    fit.train(
        engine,
        settings,
        data(),
        kernel="generic",
        seed=3,
        phases=Phases(),
        report=lambda _: None,
        stopped=lambda: False,
    )
    np.testing.assert_array_equal(given, optimizers.rates(settings["train"], steps=12))


DROPPED = {"_target_": "lstm_bench.model.recurrent_dropout", "units": 4, "recurrent_dropout": 0.5, "dropout": 0.5}


@pytest.mark.parametrize(
    "model",
    [
        pytest.param(config()["model"], id="single"),
        pytest.param(DROPPED, id="recurrent_dropout", marks=pytest.mark.long),
    ],
)
def test_a_kept_engine_trains_as_a_fresh_one_does(model: dict[str, Any]) -> None:
    kept, toy = programs.Engines(), data()

    def trained(engine: Any, settings: dict[str, Any]) -> list[dict[str, float]]:
        quiet = {"report": lambda _: None, "stopped": lambda: False}
        done = fit.train(engine, settings, toy, kernel="generic", seed=7, phases=Phases(), **quiet)
        return [untimed(epoch) for epoch in done.epochs]

    first = {**config(), "model": model}
    other = {**config(learning_rate=0.005, schedule="cosine"), "model": model}
    engine = kept.of(first, toy, "generic", seed=3)
    trained(engine, first)
    assert kept.of(other, toy, "generic", seed=7) is engine, "the learning rate is an input of the program"
    fresh = programs.prepare(other, toy, "generic", seed=7)
    for a, b in zip(engine.model.variables, fresh.model.variables, strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy())
    assert trained(engine, other) == trained(fresh, other)


@pytest.mark.parametrize(
    "changes",
    [
        {"batch_size": 10},
        {"optimizer": "sgd"},
        {"evaluation_batch_size": 30},
        {"class_weight": "balanced"},
        {"model": {"units": 5}},
    ],
)
def test_another_program_is_another_engine(changes: dict[str, Any]) -> None:
    kept, toy, first = programs.Engines(), data(), config()
    engine = kept.of(first, toy, "generic", seed=3)
    second = config(**{key: value for key, value in changes.items() if key != "model"})
    second["model"] |= changes.get("model", {})
    assert kept.of(second, toy, "generic", seed=3) is not engine
    assert kept.of(first, toy, "generic", seed=3) is engine
    assert kept.of(first, dataclasses.replace(toy), "generic", seed=3) is not engine, "other data"


def test_momentum_is_part_of_the_program_where_there_is_one() -> None:
    kept, toy = programs.Engines(), data()
    for optimizer, same in (("adam", True), ("sgd", False)):
        two = [kept.of(config(optimizer=optimizer, momentum=m), toy, "generic", seed=3) for m in (0.0, 0.9)]
        assert (two[0] is two[1]) is same


def test_the_engine_that_was_used_longest_ago_goes() -> None:
    kept, toy = programs.Engines(), data()
    a, b = (kept.of(config(batch_size=size), toy, "generic", seed=3) for size in (8, 9))
    assert kept.of(config(batch_size=8), toy, "generic", seed=3) is a
    kept.of(config(batch_size=10), toy, "generic", seed=3)
    assert kept.of(config(batch_size=8), toy, "generic", seed=3) is a
    assert kept.of(config(batch_size=9), toy, "generic", seed=3) is not b


def test_the_engine_that_goes_takes_its_programs_along() -> None:
    kept, toy = programs.Engines(), data()
    engine = kept.of(config(), toy, "generic", seed=3)
    engine.compile("train_step")
    graphs = [weakref.ref(program.graph) for program in engine._programs["train_step", None]]
    assert all(graph() is not None for graph in graphs)
    del engine
    for size in (9, 10):
        kept.of(config(batch_size=size), toy, "generic", seed=3)
    gc.collect()
    assert [graph() for graph in graphs] == [None, None]


def test_momentum_reaches_sgd_alone() -> None:
    assert optimizers.optimizer({**config()["train"], "optimizer": "sgd", "momentum": 0.9}).momentum == 0.9
    assert not hasattr(optimizers.optimizer({**config()["train"], "momentum": 0.9}), "momentum")


def test_score_is_cross_entropy_and_accuracy() -> None:
    logits = np.array([[2.0, 0.0], [0.0, 0.0], [-1000.0, 1000.0]], np.float32)
    y = np.array([0, 1, 1])
    assert metric.cross_entropy(logits, y) == pytest.approx((np.log1p(np.exp(-2)) + np.log(2) + 0) / 3)
    assert metric.accuracy(logits, y) == pytest.approx(2 / 3)
    np.testing.assert_allclose(np.exp(metric.log_probability(logits)).sum(axis=1), 1)


def test_a_regression_is_measured_by_its_errors_alone() -> None:
    trained, reported, _ = run(problem("regression"), epochs=3)
    assert set(untimed(reported[0])) == {"epoch", "train_loss", "val_loss", "val_mse", "val_mae", "n_weights"}
    for epoch in reported:
        assert epoch["val_loss"] == epoch["val_mse"] > 0
    toy = problem("regression")
    error = trained.engine.logits(toy.x_validation)[:, 0].astype(float) - toy.y_validation
    assert trained.measured["val_mse"] == pytest.approx(np.square(error).mean(), rel=1e-6)
    assert trained.measured["val_mae"] == pytest.approx(np.abs(error).mean(), rel=1e-6)
    assert not {"val_accuracy", "train_accuracy"} & set(trained.measured)


def test_every_timestep_of_a_tagging_counts() -> None:
    trained, reported, _ = run(problem("tagging"), epochs=12, learning_rate=0.05)
    toy = problem("tagging")
    logits = trained.engine.logits(toy.x_validation)
    assert logits.shape == (50, 5, 2)
    right = logits.argmax(axis=-1) == toy.y_validation
    assert trained.measured["val_accuracy"] == pytest.approx(right.mean())
    assert all(0 <= epoch["train_accuracy"] <= 1 for epoch in reported)
    assert reported[-1]["train_accuracy"] > 0.5, "of positions, not of samples"


def test_metrics_of_a_tagging_are_means_over_samples_and_timesteps() -> None:
    rng = np.random.default_rng(0)
    logits, y = rng.standard_normal((4, 3, 5)), rng.integers(0, 5, (4, 3))
    flat = task.CLASSIFICATION.score(logits.reshape(12, 5), y.ravel(), "test")
    found = task.TAGGING.score(logits, y, "test")
    names = ("test_loss", "test_accuracy")
    assert {name: found[name] for name in names} == pytest.approx({name: flat[name] for name in names})


def test_metrics_of_a_regression_are_the_mean_squared_and_absolute_error() -> None:
    found = task.REGRESSION.score(np.array([[1.0], [2.0], [4.0]], np.float32), np.array([1.0, 4.0, 3.0]), "val")
    assert found == pytest.approx({"val_loss": 5 / 3, "val_mse": 5 / 3, "val_mae": 1.0, "val_r2": 1 - 5 / (14 / 3)})


def test_a_short_recurrence_behind_a_cnn_is_proved_unrolled() -> None:
    settings = config(epochs=1)
    settings["model"] = {
        "_target_": "lstm_bench.model.cnn_lstm",
        "window": 5,
        "filters": 2,
        "kernel_size": 3,
        "units": 3,
    }
    made = programs.prepare(settings, data(), "unrolled", seed=0)
    made.warm_up()
    assert made.kernel_ran == "unrolled", made.evidence


def test_gradients_are_scaled_down_to_the_norm_asked_for() -> None:
    assert optimizers.optimizer(config()["train"]).global_clipnorm is None
    assert optimizers.optimizer({**config()["train"], "global_clipnorm": 0.5}).global_clipnorm == 0.5
    steps = []
    for norm in (None, 1e-3):
        settings = {**config()["train"], "optimizer": "sgd", "learning_rate": 1.0, "global_clipnorm": norm}
        engine = programs.prepare({**config(), "train": settings}, data(), "generic", seed=0)
        engine.warm_up()
        before = [np.array(v) for v in engine.model.trainable_variables]
        engine.steps(np.arange(8)[None], np.ones(1, np.float32))
        engine.sync_model()
        moved = [np.array(v) - b for v, b in zip(engine.model.trainable_variables, before, strict=True)]
        steps.append(math.sqrt(sum(float(np.square(m).sum()) for m in moved)))
    assert steps[0] > 0.01
    assert steps[1] == pytest.approx(1e-3, rel=1e-3)


def test_quantiles_are_trained_by_the_pinball_loss() -> None:
    from keras import ops

    rng = np.random.default_rng(0)
    y = np.concatenate([rng.standard_normal((5, 2 * 4 + 5)), np.tile([0.1, 0.5, 0.9], (5, 1))], axis=1)
    outputs, rows = rng.standard_normal((2, 12)), np.array([3, 1])
    loss, _ = criteria.horizon_loss(*(ops.convert_to_tensor(of) for of in (y, rows, outputs)))
    parts = [
        mean_pinball_loss(y[rows, :4].ravel(), outputs[:, 4 * place : 4 * place + 4].ravel(), alpha=level)
        for place, level in enumerate((0.1, 0.5, 0.9))
    ]
    assert float(loss) == pytest.approx(np.mean(parts))


@pytest.mark.long
def test_intervals_of_a_known_process_cover_what_they_say(tmp_path: Path) -> None:
    """80 % intervals of AR(1) series of known noise cover 76 to 84 % of what comes."""
    rng, n = np.random.default_rng(0), 120
    noise = rng.standard_normal((300, n + 50))
    values = np.zeros_like(noise)
    for step in range(1, n + 50):
        values[:, step] = 0.7 * values[:, step - 1] + noise[:, step]
    frame = pd.DataFrame({"walk": np.repeat(np.arange(300), n), "value": values[:, 50:].ravel()})
    frame.to_csv(tmp_path / "a.csv", index=False)
    asked = yaml.safe_load((conf_dir() / "dataset" / "file.yaml").read_text()) | {"path": str(tmp_path / "a.csv")}
    asked |= {"task": "forecasting", "id": "walk", "target": "value", "horizon": 6, "context": 12, "scale": "series"}
    found = dataset.load(asked | {"quantiles": [0.1, 0.5, 0.9], "stride": 3})
    trained, _, _ = run(found, epochs=12, batch_size=64, optimizer="adam", learning_rate=3e-3)
    scores = found.kind.score(trained.engine.logits(found.x_test), found.y_test, "test")
    assert 0.76 <= scores["test_coverage"] <= 0.84
    assert scores["test_wql"] < found.kind.score(Future.of(found.y_test).naive(), found.y_test, "test")["test_wql"]


@pytest.mark.parametrize(
    "scale", ["window", "difference", *(pytest.param(scale, marks=pytest.mark.long) for scale in ("series", "none"))]
)
def test_a_forecast_learns_the_same_weights_whatever_comes_last(tmp_path: Path, scale: str) -> None:
    values = 50 + np.cumsum(np.random.default_rng(0).standard_normal((4, 40)), axis=1)
    asked = yaml.safe_load((conf_dir() / "dataset" / "file.yaml").read_text()) | {"path": str(tmp_path / "a.csv")}
    asked |= {"task": "forecasting", "id": "walk", "target": "value", "horizon": 3, "context": 5, "scale": scale}
    known, tests = [], []
    for factor in (1.0, 1e6):
        values[:, -3:] *= factor
        pd.DataFrame({"walk": np.repeat(np.arange(4), 40), "value": values.ravel()}).to_csv(tmp_path / "a.csv")
        found = dataset.load(asked)
        trained, reported, _ = run(found)
        trained.engine.sync_model()
        known.append((fit.weights_digest(trained.engine.model), *map(untimed, reported)))
        tests.append(found.kind.score(trained.engine.logits(found.x_test), found.y_test, "test"))
        assert 0 < trained.measured["val_mase"] < (100 if scale == "none" else 10) and "train_loss" in reported[0]
    assert known[0] == known[1]
    assert all(tests[1][name] > 1000 * tests[0][name] for name in ("test_mase", "test_mae", "test_rmse", "test_loss"))


def test_the_data_of_workers_is_not_copied_where_tensorflow_can_use_it() -> None:
    from lstm_bench.training.engine.tensorflow import _placed

    if gpus():
        pytest.skip("a GPU: the data is copied to it")
    room = np.zeros(1000 + 32, np.float32)
    start = -(room.ctypes.data // 4) % 16  # floats up to the next 64 bytes
    for offset, shared in ((start, True), (start + 1, False)):
        array = room[offset : offset + 1000]
        tensor = _placed(array)
        array[7] = 5.0
        assert (float(tensor[7]) == 5.0) is shared
        array[7] = 0.0


def test_sequences_of_unequal_length_train_alike_whatever_their_padding_holds() -> None:
    timed, results = ("train_s", "train_samples_per_s"), []
    for junk in (0.0, np.nan):
        toy = ragged(junk=junk)
        y = np.repeat(toy.y_train[:, None], 12, axis=1)
        toy = dataclasses.replace(toy, task="tagging", y_train=y, y_validation=y, y_test=y)
        trained, reported, seconds = run(toy, epochs=4, buckets=2)
        share = trained.measured["padding_share"]
        assert 0 < trained.measured["padding_s"] < share * 2 * seconds["train_s"] and 0 < share < 0.4
        assert len(trained.engine.buckets) == len(trained.engine._programs) == 2
        outputs = trained.engine.logits(toy.x_validation, toy.lengths_validation)
        right = (outputs.argmax(-1) == toy.y_validation)[toy.label_mask("validation")]
        assert reported[-1]["val_accuracy"] == right.mean() > 0.8 and 0.6 < reported[-1]["train_accuracy"] <= 1
        results.append([{name: value for name, value in epoch.items() if name not in timed} for epoch in reported])
    assert results[0] == results[1]
