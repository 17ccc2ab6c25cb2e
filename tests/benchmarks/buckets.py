"""What batches by length save on PLAID (100 to 1,344 timesteps), and whether accuracy pays for it.

    python tests/benchmarks/buckets.py [epochs=20] [units=16] [seeds=0,1,2,3,4] [backend=jax] [kernel=generic]

The same GRU trains with batches padded to at most six numbers of timesteps and to the longest alone, seed by seed in turn, in one
process on one thread. Each training is a line of `records/buckets.csv` at once: the seconds of an epoch's training steps, the
share of padded timesteps and their seconds, and the test accuracy. What is recorded is not trained again: the same command goes
on, several with other seeds run beside each other. Prints the mean accuracies and the ratio of the epochs with its range over
the seeds. The data are those of sktime 1.2.0's wheel.
"""

from __future__ import annotations

import os
import statistics
import sys
from pathlib import Path
from typing import Any

import record

ASKED = {"epochs": "20", "units": "16", "seeds": "0,1,2,3,4", "backend": "jax", "kernel": "generic"}
RECORD = Path(__file__).parent / "records" / "buckets.csv"
SETTING = ("backend", "kernel", "units", "epochs")
COLUMNS = (*SETTING, "seed", "batches", "padded_to", "epoch_s", "padding_share", "padding_s", "test_accuracy")
BATCHES = {"by length": None, "to the longest": 1}  # name -> train.buckets


def recorded(asked: dict[str, str]) -> dict[tuple[str, str], record.Row]:
    """What is recorded of this setting, by seed and kind of batches."""
    found = [row for row in record.rows(RECORD) if all(row[name] == asked[name] for name in SETTING)]
    return {(row["seed"], row["batches"]): row for row in found}


def main(asked: dict[str, str]) -> None:
    import yaml

    sys.path.insert(0, str(Path(__file__).parents[1] / "support"))
    from trainings import config
    from wheels import wheel

    from lstm_bench.core.clock import Phases
    from lstm_bench.core.configuration import conf_dir
    from lstm_bench.data import dataset
    from lstm_bench.training import fit, programs

    path = f"{wheel('sktime==1.2.0')}!sktime/datasets/data/PLAID/PLAID_TRAIN.ts"
    fields = yaml.safe_load((conf_dir() / "dataset" / "file.yaml").read_text())
    data = dataset.load({**fields, "path": path, "standardize": True, "validation_size": 0.1})
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

    known, seeds = recorded(asked), asked["seeds"].split(",")
    for seed in seeds:
        for name in BATCHES if int(seed) % 2 == 0 else reversed(BATCHES):
            if (seed, name) in known:
                continue
            one = trained(int(seed), BATCHES[name])
            measured = {"epoch_s": one["epoch_s"], "padding_s": one["padding_s"] / epochs}
            measured |= {key: one[key] for key in ("padding_share", "test_accuracy")}
            setting = {key: asked[key] for key in SETTING}
            padded_to = " ".join(map(str, one["padded_to"]))
            record.append(
                RECORD,
                COLUMNS,
                setting
                | {"seed": seed, "batches": name, "padded_to": padded_to}
                | {key: f"{value:.4f}" for key, value in measured.items()},
            )
            print(f"seed {seed}, {name}: {one['epoch_s']:.2f} s an epoch, {one['test_accuracy']:.1%}", flush=True)
    report(asked)


def report(asked: dict[str, str]) -> None:
    """The lines of all recorded seeds that have both kinds of batches."""
    from lstm_bench.core.statistics import t_interval

    known = recorded(asked)
    seeds = sorted({seed for seed, _ in known if all((seed, name) in known for name in BATCHES)})
    for name in BATCHES:
        mine = [known[seed, name] for seed in seeds]
        accuracy, second, padded, share = (
            [float(row[key]) for row in mine] for key in ("test_accuracy", "epoch_s", "padding_s", "padding_share")
        )
        spread = f" ± {statistics.stdev(accuracy):.1%}" if len(seeds) > 1 else ""
        print(
            f"{name} ({mine[0]['padded_to']} timesteps): test accuracy {statistics.mean(accuracy):.1%}{spread} "
            f"(n = {len(seeds)}), {statistics.median(second):.2f} s an epoch, of which {statistics.median(padded):.2f} s "
            f"on the {statistics.median(share):.1%} of timesteps that are padding"
        )
    by_length, longest = ([float(known[seed, name]["epoch_s"]) for seed in seeds] for name in BATCHES)
    ratios = [one / other for one, other in zip(by_length, longest, strict=True)]
    less = [
        float(known[seed, "to the longest"]["test_accuracy"]) - float(known[seed, "by length"]["test_accuracy"])
        for seed in seeds
    ]
    interval = t_interval(less)
    print(
        f"by length, seed by seed, {100 * interval.mean:.1f} points less than to the longest "
        f"(95 % t interval: ± {100 * interval.half_width:.1f})"
    )
    print(f"an epoch takes {statistics.median(ratios):.2f} of the longest's ({min(ratios):.2f} to {max(ratios):.2f})")


if __name__ == "__main__":
    chosen = ASKED | dict(argument.split("=") for argument in sys.argv[1:])
    os.environ |= {"KERAS_BACKEND": chosen["backend"], "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    main(chosen)
