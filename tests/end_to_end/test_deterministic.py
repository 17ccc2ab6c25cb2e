"""`train.deterministic=true`: the same training in another process gives the same bits, on every backend."""

from __future__ import annotations

import hashlib
import importlib.util
import json

import determinism
import fake
import pytest

from lstm_bench.core.errors import ConfigError
from lstm_bench.core.vocabulary import OF_BACKEND
from lstm_bench.launcher.worker_environment import deterministic_environment
from lstm_bench.study import search_space as spaces
from lstm_bench.sweep import kernel_cache, session
from lstm_bench.training.faults import not_deterministic

FACTS = {"task": "classification", "timesteps": 8, "features": 8, "n_classes": 10}


@pytest.mark.long
@pytest.mark.parametrize("backend", sorted(OF_BACKEND))
def test_a_training_gives_the_same_bits_in_another_process_and_in_a_kept_engine(backend: str) -> None:
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed: pip install 'lstm-bench[{backend}]'")
    (arm, *_) = [arm for arm in determinism.ARMS if arm[0] == backend and arm[1] == "generic"]
    first, other = determinism.task(*arm, seed=1), determinism.task(*arm, seed=2)
    alone = determinism.results(backend, [first], True, 1)
    between = determinism.results(backend, [other, first], True, 1)
    assert determinism.bits(alone[0]) == determinism.bits(between[1])
    assert determinism.bits(alone[0]) != determinism.bits(between[0])


def test_xla_and_cublas_are_told_before_they_are_loaded_and_flags_of_the_user_stay() -> None:
    assert deterministic_environment({})["XLA_FLAGS"] == "--xla_gpu_deterministic_ops=true"
    made = deterministic_environment({"XLA_FLAGS": "--xla_dump_to=/tmp/x"})
    assert made == {
        "XLA_FLAGS": "--xla_dump_to=/tmp/x --xla_gpu_deterministic_ops=true",
        "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
    }


@pytest.mark.parametrize(
    ("text", "is_so"),
    [
        # As torch and TensorFlow say it.
        ("put_with_indices_cuda does not have a deterministic implementation, but you set", True),
        ("Deterministic GPU implementation of sparse_softmax is not available", True),
        ("A deterministic GPU implementation of BiasAddGrad is not currently available.", True),
        ("out of memory", False),
    ],
)
def test_an_operation_without_determinism_is_known_by_its_words(text: str, is_so: bool) -> None:
    assert not_deterministic(RuntimeError(text)) is is_so


def test_it_cannot_be_searched() -> None:
    space = {"train.deterministic": {"type": "categorical", "choices": [True, False]}}
    with pytest.raises(
        ConfigError, match=r"holds for whole processes, not for one trial\. Set train\.deterministic=true"
    ):
        spaces.parse(fake.config({"study.space": space}))


def test_kernels_measured_under_it_are_not_remembered_for_others(tmp_path) -> None:
    about = {}
    for value in (False, True):
        config = fake.config({"train.deterministic": value})
        made = session.Session(config, spaces.parse(config), tmp_path, [], None, "here")  # type: ignore[arg-type]
        about[value] = made._measured_on(FACTS)
    store = kernel_cache.Memory(tmp_path / "kernels.json")
    store.put(about[True], {"train_samples_per_s": 1.0})
    assert store.get(about[True]) and not store.get(about[False])


def test_a_study_made_before_there_was_the_choice_goes_on_and_keeps_its_winner(tmp_path) -> None:
    config = fake.config()
    without = fake.config()
    later = ("deterministic", "global_clipnorm", "patience", "class_weight", "warmup", "weight_decay", "buckets")
    for name in (*later, "plateau_factor", "plateau_patience", "plateau_floor"):
        del without["train"][name]
    fake.study(tmp_path, without).close()
    parts = {group: without[group] for group in ("model", "train", "backend")}
    with fake.opened(tmp_path, config) as bench:  # not refused
        named = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:12]
        assert bench.confirmation.digest({}) == named
    with pytest.raises(ConfigError, match=r"train\.deterministic was (null|false), is true"):
        fake.study(tmp_path, fake.config({"train.deterministic": True}))
