"""Models built and compiled, kept from trial to trial where their programs are the same."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lstm_bench.core import schema
from lstm_bench.data import classes
from lstm_bench.data.dataset import Dataset
from lstm_bench.model import build, network
from lstm_bench.training import buckets
from lstm_bench.training.criteria import Criterion, criterion, standardised, weighted
from lstm_bench.training.engine import factory, pack
from lstm_bench.training.engine.jax import JaxEngine
from lstm_bench.training.optimizer import optimizer

_HELD = 2**28  # bytes of the folds of a dataset that stay loaded beside each other


def prepare(
    config: schema.Sweep, data: Dataset, kernel: str, seed: int, steps_per_execution: int = 1
) -> factory.Engine:
    """The engine of a configuration, not compiled yet.

    Args:
      config: Resolved configuration.
      data: Dataset; the training split is made resident.
      kernel: A kernel other than "auto".
      seed: Of the initial weights and of dropout.
      steps_per_execution: See `engine.make`.
    """
    settings = config["train"]
    batch_size = min(settings["batch_size"], len(data.x_train))
    asked = settings.get("class_weight"), data.kind, data.labels("train"), data.n_classes, data.classes
    weights = classes.weights(*asked)
    model, lengths = _build(config, data, kernel, seed)
    timesteps = padded_to(config, data, model)
    evaluated = len(data.x_validation)
    if timesteps:  # batches of about one length, where there are not enough samples for batches of the size asked for
        evaluated = -(-evaluated // len(timesteps))
    return factory.make(
        config["backend"]["name"],
        model,
        optimizer(settings),
        data.x_train,
        data.y_train,
        batch_size=batch_size,
        evaluation_batch_size=min(settings["evaluation_batch_size"], evaluated),
        kernel=kernel,
        lengths=lengths,
        criterion=_criterion(data, weights),
        steps_per_execution=steps_per_execution,
        true=data.lengths_train,
        buckets=timesteps,
    )


def padded_to(config: schema.Sweep, data: Dataset, model: Any) -> tuple[int, ...]:
    """Numbers of timesteps that training batches are padded to; none where sequences have one length.

    A network that takes one number of timesteps and no other has that one: `dataset.max_length`, see `network.require_masked`.
    """
    settings = config["train"]
    batch_size = min(settings["batch_size"], len(data.x_train))
    found = buckets.planned(settings, data.lengths_train, data.x_train.shape[1], batch_size)
    one_size = config.get("dataset", {}).get("max_length") is not None and not network.takes(model, *found[:1])
    return (data.x_train.shape[1],) if found and one_size else found


def _criterion(data: Dataset, weights: np.ndarray | None) -> Criterion:
    """What the training steps minimise, with the weights of classes or the scale of targets where there are such."""
    if weights is not None:
        return weighted(weights)
    plain = criterion(data.kind.loss)
    return plain if data.target is None else standardised(plain, *data.target)


def prepare_pack(config: schema.Sweep, data: Dataset, seeds: Sequence[int], steps_per_execution: int = 1) -> pack.Pack:
    """A pack with a member per seed, each with the weights and the random state of `prepare`; not compiled yet."""
    engine = prepare(config, data, pack.KERNEL, seeds[0], steps_per_execution)
    assert isinstance(engine, JaxEngine)
    return pack.Pack(engine, (_build(config, data, pack.KERNEL, seed)[0] for seed in seeds))


def _build(config: schema.Sweep, data: Dataset, kernel: str, seed: int) -> tuple[Any, list[int]]:
    import keras

    keras.utils.set_random_seed(seed)
    sizes, masked = (data.input_shape, data.n_classes), data.lengths_train is not None
    answers = data.per_timestep
    more: dict[str, Any] = {"masked": masked, "units": data.target, "tokens": data.tokens is not None}
    return build.build(config["model"], *sizes, kernel, per_timestep=answers, **more)


def are_held(data: Sequence[Dataset], config: schema.Dataset) -> bool:
    """Whether datasets stay beside each other: the folds of a small one, whose trainings come in turn.

    Args:
      data: They.
      config: Group `dataset` of the last.
    """
    return "fold" in config and sum(one.x_train.nbytes + one.x_test.nbytes for one in data) < _HELD


class Engines:
    """The last engines of a worker, with their compiled programs: a training that one of them fits starts at once."""

    def __init__(self) -> None:
        self._kept: dict[tuple[str, int], factory.Engine] = {}
        self._data: list[Dataset] = []  # of those that are kept

    def of(
        self, config: schema.Sweep, data: Dataset, kernel: str, seed: int, steps_per_execution: int = 1
    ) -> factory.Engine:
        """An engine as `prepare` makes it; a kept one has the weights and the random state of a fresh one.

        At most `launcher.keep_engines` are kept, and of one dataset, or the folds of one.
        """
        if not any(data is known for known in self._data):
            if not are_held([*self._data, data], config.get("dataset", {})):
                self._data.clear()
                self._kept.clear()
            self._data.append(data)
        settings: Mapping[str, Any] = config["train"]
        parts = {"optimizer", "global_clipnorm", "batch_size", "evaluation_batch_size"}
        parts |= {"momentum"} if settings["optimizer"] in ("sgd", "rmsprop") else set()
        parts |= {name for name in ("class_weight", "weight_decay", "buckets") if settings.get(name) is not None}
        program = {name: settings[name] for name in sorted(parts)}
        key = json.dumps([config["model"], program, config["backend"]["name"], kernel, steps_per_execution]), id(data)
        engine = self._kept.pop(key, None)
        if engine is None:
            engine = prepare(config, data, kernel, seed, steps_per_execution)
        else:
            engine.reset(_build(config, data, kernel, seed)[0])
        self._kept[key] = engine
        while len(self._kept) > config["launcher"]["keep_engines"]:
            del self._kept[next(iter(self._kept))]
        return engine
