"""Run by test_pack.py in a process of its own: every member of a pack must train exactly as its solo run does."""

from __future__ import annotations

import json
import sys
import tempfile
import unittest.mock
from pathlib import Path
from typing import Any

import keras
import numpy as np
from trainings import config, data, ragged

from lstm_bench.core.clock import Phases
from lstm_bench.data.dataset import Dataset
from lstm_bench.training import fit, programs, tasks
from lstm_bench.training.engine import factory
from lstm_bench.training.engine import pack as packed

SEEDS = (3, 4, 5)
RATES = (0.02, 0.005, 0.05)
STEPS = 6
TOY = data(n=450)  # 56 steps an epoch: a whole call and a rest
CLOSE = {"rtol": 2e-3, "atol": 2e-5}
MODELS = {
    "stacked": {"units": 4, "layers": 2, "dropout": 0.3, "dense_units": 5},
    "single": {"units": 4},  # its batch normalisation moves weights that no gradient reaches
}


def settings(family: str, **changes: Any) -> dict[str, Any]:
    model = {"_target_": f"lstm_bench.model.{family}", **MODELS[family]}
    return {**config(**changes), "model": model, "backend": {"name": "jax"}, "launcher": {"keep_engines": 9}}


ALONE = programs.Engines()  # of each network one, whose programs are compiled once


def members_train_as_alone(family: str, n: int) -> None:
    """Different seeds and different learning rates, over two calls: losses, counts, weights, logits."""
    toy, chosen = TOY, settings(family)
    rng = np.random.default_rng(0)
    rows = rng.integers(0, len(toy.x_train), (STEPS, len(SEEDS), 8))
    rates = np.linspace(1, 0.5, STEPS, dtype=np.float32)[:, None] * np.array(RATES, np.float32)
    pack = programs.prepare_pack(chosen, toy, SEEDS, n)
    pack.warm_up()
    assert pack.kernel_ran == packed.KERNEL, pack.evidence
    first, second = pack.steps(rows[:4], rates[:4]), pack.steps(rows[4:], rates[4:])
    logits = pack.logits(toy.x_test)
    assert logits.shape == (len(SEEDS), len(toy.x_test), toy.n_classes)
    for member, seed in enumerate(SEEDS):
        alone = ALONE.of(chosen, toy, "generic", seed, n)
        alone.warm_up()
        losses, correct, _ = zip(
            *(alone.steps(rows[part, member], rates[part, member]) for part in (slice(0, 4), slice(4, 6))), strict=True
        )
        np.testing.assert_allclose([first[0][member], second[0][member]], losses, **CLOSE)
        assert (first[1][member], second[1][member]) == correct
        np.testing.assert_allclose(logits[member], alone.logits(toy.x_test), **CLOSE)
        alone.sync_model()
        pack.sync_model(member)
        for ours, theirs in zip(pack.model.get_weights(), alone.model.get_weights(), strict=True):
            np.testing.assert_allclose(ours, theirs, **CLOSE)
    spread = np.ptp(logits, axis=0).max()
    assert spread > 0.01, f"the members are one and the same ({spread})"


def a_pack_s_epochs_are_those_of_its_seeds(family: str, toy: Dataset = TOY, **changes: Any) -> None:
    chosen = settings(family, epochs=3, schedule="cosine", **changes)
    reported: list[dict[str, Any]] = []
    pack = programs.prepare_pack(chosen, toy, SEEDS, factory.MAX_STEPS)
    members = fit.train_pack(pack, chosen, toy, seeds=SEEDS, phases=Phases(), report=reported.append)
    for seed, member in zip(SEEDS, members, strict=True):
        trained = fit.train(
            ALONE.of(chosen, toy, "generic", seed, factory.MAX_STEPS),
            chosen,
            toy,
            kernel="generic",
            seed=seed,
            phases=Phases(),
            report=lambda metrics: None,
            stopped=lambda: False,
        )
        assert member.error is None
        assert [epoch["epoch"] for epoch in member.epochs] == [1, 2, 3]
        for ours, theirs in zip(member.epochs, trained.epochs, strict=True):
            assert ours.keys() == theirs.keys() - {"train_samples_per_s"}
            assert ours["n_weights"] == theirs["n_weights"]
            for name in ("train_loss", "val_loss"):
                np.testing.assert_allclose(ours[name], theirs[name], **CLOSE)
            for name in ("train_accuracy", "val_accuracy"):
                assert abs(ours[name] - theirs[name]) <= 1.5 / len(toy.x_train)  # one sample on the edge
        assert member.measured.keys() == {*trained.measured, "pack"}
        assert member.measured["pack"] == len(SEEDS)
        assert member.measured["val_loss"] == member.epochs[-1]["val_loss"]
        seconds = sum(epoch["train_s"] for epoch in member.epochs)
        samples = 3 * (len(toy.x_train) // 8) * 8
        np.testing.assert_allclose(member.measured["train_samples_per_s"], samples / seconds)
    assert len({member.epochs[-1]["val_loss"] for member in members}) == len(SEEDS)
    means = [np.mean([member.epochs[at]["val_loss"] for member in members]) for at in range(3)]
    np.testing.assert_allclose([metrics["val_loss"] for metrics in reported], means)
    assert [metrics["each"] for metrics in reported] == [[member.epochs[at] for member in members] for at in range(3)]


def a_member_stops_at_its_own_epoch_and_keeps_its_best() -> None:
    """The first seed gets no better after one epoch, the second after two, the third after three: it is the last to stop."""
    slow = {"learning_rate": 0.002}
    chosen = settings("single", epochs=5, patience=1, **slow)
    chosen["study"] = {"objective": "val_loss", "direction": "minimize", "objectives": {}}
    given = [*(3.0, 3.0, 3.0), *(9.0, 2.0, 2.0), *(9.0, 1.0), 9.0]  # an epoch after the other, of those that go on
    scored, reported = type(TOY.kind).score, list[dict[str, Any]]()

    def score(self: Any, outputs: Any, y: Any, split: str, mask: Any = None, late: Any = None) -> dict[str, float]:
        return scored(self, outputs, y, split, mask, late) | ({} if late is None else {"val_loss": given.pop(0)})

    pack = programs.prepare_pack(chosen, TOY, SEEDS, factory.MAX_STEPS)
    with unittest.mock.patch.object(type(TOY.kind), "score", score):
        members = fit.train_pack(pack, chosen, TOY, seeds=SEEDS, phases=Phases(), report=reported.append)
    assert given == [] and all(member.over for member in members)
    assert [member.measured["best_epoch"] for member in members] == [1, 2, 3]
    assert [member.measured["epochs"] for member in members] == [2, 3, 4]
    went_on = [[one is not None for one in epoch["each"]] for epoch in reported]
    assert went_on == [[True] * 3, [True] * 3, [False, True, True], [False, False, True]]
    assert [[bool(one and one.get("ended")) for one in epoch["each"]].count(True) for epoch in reported] == [0, 1, 1, 1]
    for at, seed in enumerate(SEEDS):
        until = settings("single", epochs=at + 1, **slow)
        alone, how = ALONE.of(until, TOY, "generic", seed, factory.MAX_STEPS), {"kernel": "generic", "seed": seed}
        fit.train(alone, until, TOY, **how, phases=Phases(), report=reported.append, stopped=lambda: False)
        for model in (alone, pack):
            model.sync_model(*([at] if model is pack else []))
        for ours, theirs in zip(pack.model.get_weights(), alone.model.get_weights(), strict=True):
            np.testing.assert_allclose(ours, theirs, **CLOSE)


def trials_in_one_program_are_those_of_one_by_one() -> None:
    """They differ in learning rate, schedule and seed, and none reads the test set; a stop ends all of them."""
    bench = tasks.TaskRunner("a device", "exclusive")
    bench.data = lambda settings: TOY  # type: ignore[method-assign]
    chosen = {**settings("stacked", epochs=2), "dataset": {}}
    trains = [
        {**chosen["train"], "learning_rate": rate, "schedule": schedule}
        for rate, schedule in zip(RATES, ("constant", "cosine", "inverse_time"), strict=True)
    ]
    arm = {"kernel": "generic", "steps_per_execution": factory.MAX_STEPS}
    work = {"kind": "trials", "config": chosen, "seeds": list(SEEDS), "trains": trains, **arm}
    together = bench.run(work, lambda metrics: None, lambda: False)
    json.dumps(together)
    assert together["state"] == "COMPLETE", together
    for member, seed, own in zip(together["members"], SEEDS, trains, strict=True):
        task = {"kind": "trial", "config": {**chosen, "train": own}, "seed": seed, **arm}
        alone = bench.run(task, lambda metrics: None, lambda: False)
        assert member.keys() == {*alone, "pack"}
        assert not any(name.startswith("test_") for name in member)
        for name in ("val_loss", "train_loss"):
            np.testing.assert_allclose(member[name], alone[name], **CLOSE)
        assert (member["state"], member["device_share"]) == ("COMPLETE", "packed 3")
    heard: list[dict[str, Any]] = []
    stopped = bench.run(work, lambda metrics: heard.append(metrics) if "each" in metrics else None, lambda: bool(heard))
    assert len(heard) == 1
    for member, before in zip(stopped["members"], together["members"], strict=True):
        assert (member["state"], member["epochs"], "weights_sha256" in member) == ("PRUNED", 1, False)
        np.testing.assert_allclose(member["val_loss"], before["history"][0]["val_loss"], rtol=1e-6)


def a_member_that_is_no_number_fails_alone() -> None:
    chosen, toy = settings("single"), TOY
    pack = programs.prepare_pack(chosen, toy, SEEDS)
    poisoned = [weight.copy() for weight in pack.model.get_weights()]
    poisoned[0][:] = np.nan
    models = []
    for seed in SEEDS:
        models.append(programs.prepare(chosen, toy, "generic", seed).model)
    models[1].set_weights(poisoned)
    broken = packed.Pack(pack.engine, models)
    members = fit.train_pack(broken, chosen, toy, seeds=SEEDS, phases=Phases(), report=lambda metrics: None)
    whole = fit.train_pack(pack, chosen, toy, seeds=SEEDS, phases=Phases(), report=lambda metrics: None)
    assert [member.error for member in members] == [None, "loss nan in epoch 1", None]
    assert (members[1].epochs, members[1].measured) == ([], {})
    for at in (0, 2):
        np.testing.assert_allclose(members[at].epochs[-1]["val_loss"], whole[at].epochs[-1]["val_loss"], rtol=1e-6)
    for model in models:
        model.set_weights(poisoned)
    said: list[dict[str, float]] = []
    nothing = packed.Pack(pack.engine, models)
    members = fit.train_pack(nothing, chosen, toy, seeds=SEEDS, phases=Phases(), report=said.append)
    assert [member.error for member in members] == ["loss nan in epoch 1"] * 3
    assert said == []


def a_pack_s_task_gives_what_its_replicates_give() -> None:
    """And a probe counts the samples of all members."""
    bench = tasks.TaskRunner("a device", "exclusive")
    bench.data = lambda settings: TOY  # type: ignore[method-assign]
    chosen = {**settings("single"), "dataset": {}}
    arm = {"kernel": "generic", "steps_per_execution": factory.MAX_STEPS}
    common = {"config": chosen, **arm}
    with tempfile.TemporaryDirectory() as folder:
        kept = {"keep": str(Path(folder) / "packed")}, {"keep": str(Path(folder) / "alone")}
        work = {"kind": "pack", "seeds": [0, 4], **common, **kept[0]}
        packed_result = bench.run(work, lambda metrics: None, lambda: False)
        alone_results = [
            bench.run({"kind": "replicate", "seed": seed, **common, **more}, lambda metrics: None, lambda: False)
            for seed, more in ((0, kept[1]), (4, {}))
        ]
        json.dumps(packed_result)  # it travels as JSON
        models = [keras.saving.load_model(Path(more["keep"]) / "model.keras").get_weights() for more in kept]
    for ours, theirs in zip(*models, strict=True):
        np.testing.assert_allclose(ours, theirs, **CLOSE)
    assert (packed_result["state"], packed_result["device_share"]) == ("COMPLETE", "exclusive")
    for member, alone in zip(packed_result["members"], alone_results, strict=True):
        assert alone["state"] == "COMPLETE", alone
        assert member.keys() == {*alone, "pack"}
        assert (member["device_share"], member["pack"], member["total_s"]) == (
            "packed 2",
            2,
            packed_result["members"][0]["total_s"],
        )
        for name in ("test_loss", "val_loss", "train_loss"):
            np.testing.assert_allclose(member[name], alone[name], **CLOSE)
        assert abs(member["test_accuracy"] - alone["test_accuracy"]) <= 1.5 / len(TOY.x_test)
    assert "predictions" in packed_result["members"][0]
    probes = [{"kind": "probe", "seconds": 0.2, "pack": k, **common} for k in (1, 3)]
    one, three = (bench.run(work, lambda metrics: None, lambda: False) for work in probes)
    assert (one["state"], three["state"], three["kernel_ran"]) == ("COMPLETE", "COMPLETE", "generic")
    assert (one["batch_size"], three["batch_size"]) == (8, 24)
    np.testing.assert_allclose(three["train_samples_per_s"], 24 / three["step_ms"] * 1000)


if __name__ == "__main__":
    for made in MODELS:
        for per_execution in factory.steps_per_execution("jax", packed.KERNEL):
            members_train_as_alone(made, per_execution)
            print(f"{made} x{per_execution} equal", flush=True)
        a_pack_s_epochs_are_those_of_its_seeds(made)
        print(f"{made} epochs equal", flush=True)
    a_pack_s_epochs_are_those_of_its_seeds("single", ragged(n=130), buckets=3)
    print("buckets equal", flush=True)
    a_member_stops_at_its_own_epoch_and_keeps_its_best()
    print("best epochs equal", flush=True)
    trials_in_one_program_are_those_of_one_by_one()
    print("trials equal", flush=True)
    a_member_that_is_no_number_fails_alone()
    print("nan alone", flush=True)
    a_pack_s_task_gives_what_its_replicates_give()
    print("tasks equal", flush=True)
    sys.exit(0)
