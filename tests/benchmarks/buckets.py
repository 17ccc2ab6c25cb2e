"""What batches by length save on PLAID (100 to 1,344 timesteps), and whether accuracy pays for it.

    python tests/benchmarks/buckets.py [epochs=20] [units=16] [seeds=5] [backend=jax] [kernel=generic]

The same GRU trains with batches padded to at most six numbers of timesteps and to the longest alone, seed by seed in turn, in one
process on one thread. Prints of each the seconds of an epoch's training steps, the share of padded timesteps and their seconds,
and the test accuracy, then the ratio of the epochs with its range over the seeds. The data are those of sktime 1.2.0's wheel.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

ASKED = {"epochs": "20", "units": "16", "seeds": "5", "backend": "jax", "kernel": "generic"}


def main(asked: dict[str, str]) -> None:
    import numpy as np
    import yaml

    sys.path.insert(0, str(Path(__file__).parents[1] / "support"))
    from trainings import config
    from wheels import wheel

    from lstm_bench.core.clock import Phases
    from lstm_bench.core.configuration import conf_dir
    from lstm_bench.data import dataset
    from lstm_bench.training import fit, programs

    path = f"{wheel('sktime==1.2.0')}!sktime/datasets/data/PLAID/PLAID_TRAIN.ts"
    known = yaml.safe_load((conf_dir() / "dataset" / "file.yaml").read_text())
    data = dataset.load({**known, "path": path, "standardize": True, "validation_size": 0.1})
    epochs, engines = int(asked["epochs"]), programs.Engines()

    def trained(seed: int, buckets: int | None) -> dict[str, Any]:
        chosen = config(epochs=epochs, batch_size=32, learning_rate=3e-3, global_clipnorm=1.0, buckets=buckets)
        chosen["model"] = {"_target_": "lstm_bench.model.gru", "units": int(asked["units"])}
        chosen["backend"] = {"name": asked["backend"]}
        engine, phases = engines.of(chosen, data, asked["kernel"], seed), Phases()
        heard: dict[str, Any] = {"report": lambda epoch: None, "stopped": lambda: False}
        found = fit.train(engine, chosen, data, kernel=asked["kernel"], seed=seed, phases=phases, **heard)
        outputs = engine.logits(data.x_test, data.lengths_test)
        test = data.kind.score(outputs, data.y_test, "test", mask=data.label_mask("test"))
        return {**found.measured, **test, "epoch_s": found.seconds / epochs, "padded_to": engine.buckets}

    results: dict[int | None, list[dict[str, Any]]] = {None: [], 1: []}
    for seed in range(int(asked["seeds"])):
        for buckets in (None, 1) if seed % 2 == 0 else (1, None):
            one = trained(seed, buckets)
            results[buckets].append(one)
            bill = f"{one['padding_share']:.1%} of the timesteps padded, {one['padding_s'] / epochs:.2f} s an epoch"
            said = f"padded to {one['padded_to']}: {one['epoch_s']:.2f} s an epoch, {bill}"
            print(f"seed {seed}, {said}, test accuracy {one['test_accuracy']:.1%}", flush=True)
    for buckets, name in ((None, "with buckets"), (1, "to the longest")):
        each = np.array([one["test_accuracy"] for one in results[buckets]])
        seconds = np.median([one["epoch_s"] for one in results[buckets]])
        print(f"{name}: {each.mean():.1%} +- {each.std(ddof=1):.1%} (n = {len(each)}), {seconds:.2f} s an epoch")
    ratios = [one["epoch_s"] / other["epoch_s"] for one, other in zip(results[None], results[1], strict=True)]
    print(f"an epoch takes {np.median(ratios):.2f} of the longest's ({min(ratios):.2f} to {max(ratios):.2f})")


if __name__ == "__main__":
    chosen = ASKED | dict(argument.split("=") for argument in sys.argv[1:])
    os.environ |= {"KERAS_BACKEND": chosen["backend"], "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    main(chosen)
