"""Run by test_engine.py in a process of its own: MiB that the proof of torch's kernel adds to it for packed sequences."""

from __future__ import annotations

import resource

import numpy as np

from lstm_bench.model import build
from lstm_bench.training import optimizer
from lstm_bench.training.engine import factory

BATCH, TIMESTEPS = 64, 300
SETTINGS = {"optimizer": "sgd", "learning_rate": 0.1, "momentum": 0.0, "global_clipnorm": None}


def peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


family = {"_target_": "lstm_bench.model.single", "units": 64}
model = build.build(family, (TIMESTEPS, 1), 2, "fused", per_timestep=False, masked=True)[0]
rng = np.random.default_rng(0)
engine = factory.make(
    "torch",
    model,
    optimizer.optimizer(SETTINGS),
    rng.standard_normal((BATCH, TIMESTEPS, 1)).astype(np.float32),
    rng.integers(0, 2, BATCH).astype(np.int32),
    batch_size=BATCH,
    evaluation_batch_size=BATCH,
    kernel="fused",
    lengths=[TIMESTEPS],
    true=np.linspace(1, TIMESTEPS, BATCH).astype(np.int32),
    buckets=(TIMESTEPS,),
)
engine.warm_up()
before = peak()
ran, _ = engine.kernel_evidence("train_step")
print(ran, peak() - before)
