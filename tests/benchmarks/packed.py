"""K trainings packed into one JAX program, against one by one and K processes at once.

    python tests/benchmarks/packed.py [family=single,stacked] [k=1,4,16,64] [rounds=5] [seconds=2]

On MNIST rows, batches of 64, every family with the sizes of its YAML. `solo` is one training on the best kernel there is: cuDNN
on a GPU, else `generic`. K trainings one by one have its samples/s in all, so a pack's ratio to it is what packing gains over
them. `processes` are K trainings like `solo` at once, on one GPU, or each on a core of its own as far as there are cores. Solo
and packs are timed in turn in one process, the ratio is the median over the rounds (lowest to highest), compiling is left out.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from typing import Any

BATCH = 64


def _configuration(family: str) -> dict[str, Any]:
    import yaml

    from lstm_bench.core.configuration import conf_dir

    settings = {"optimizer": "adam", "learning_rate": 0.001, "momentum": 0.0, "schedule": "constant", "decay": 0.0}
    return {
        "model": yaml.safe_load((conf_dir() / "model" / f"{family}.yaml").read_text()),
        "backend": {"name": "jax"},
        "train": {**settings, "epochs": 1, "batch_size": BATCH, "evaluation_batch_size": 1000},
    }


def _data() -> Any:
    import yaml

    from lstm_bench.core.configuration import conf_dir
    from lstm_bench.data import dataset

    settings = yaml.safe_load((conf_dir() / "dataset" / "mnist.yaml").read_text())
    return dataset.load(dataset.resolve({**settings, "fallback": None}).config)


def _kernel() -> str:
    import jax

    return "cudnn" if jax.default_backend() == "gpu" else "generic"


def together(family: str, ks: list[int], rounds: int, seconds: float) -> None:
    """A child: times solo and packs in turn; prints their figures."""
    import jax
    import numpy as np

    from lstm_bench.training import programs, timer
    from lstm_bench.training.engine import factory

    config, mnist, kernel = _configuration(family), _data(), _kernel()
    rng = np.random.default_rng(0)
    arms: dict[int, Any] = {0: programs.prepare(config, mnist, kernel, 0, factory.MAX_STEPS)}
    arms |= {k: programs.prepare_pack(config, mnist, range(k), factory.MAX_STEPS) for k in ks}
    compile_s, rates = {}, {k: [] for k in arms}
    for k, arm in arms.items():
        since = time.perf_counter()
        arm.compile("train_step")
        compile_s[k] = time.perf_counter() - since
        assert arm.kernel_evidence("train_step")[0] == ("generic" if k else kernel), arm.kernel_evidence("train_step")
    for _ in range(rounds):
        for k, arm in arms.items():
            samples = BATCH * max(1, k)

            def rows_of(steps: int, samples: int = samples) -> np.ndarray:
                return rng.integers(0, len(mnist.x_train), (steps, samples))

            timing = timer.sample(arm, "train_step", rows_of, samples=3, seconds=seconds)
            rates[k].append(statistics.median(timing.rates(samples)))
    device = jax.devices()[0].device_kind
    print(json.dumps({"device": device, "kernel": kernel, "compile_s": compile_s, "rates": rates}))


def alone(family: str, core: int, seconds: float) -> None:
    """A child: says when it is ready, trains for so many seconds when it is told to, prints its samples/s."""
    if core >= 0:
        os.sched_setaffinity(0, {core})
    import numpy as np

    from lstm_bench.training import programs
    from lstm_bench.training.engine import factory

    mnist = _data()
    made = programs.prepare(_configuration(family), mnist, _kernel(), 0, factory.MAX_STEPS)
    made.compile("train_step")
    rows = np.random.default_rng(0).integers(0, len(mnist.x_train), (factory.MAX_STEPS, BATCH))
    made.run("train_step", rows)
    print("ready", flush=True)
    sys.stdin.readline()
    since, steps = time.perf_counter(), 0
    while time.perf_counter() - since < seconds:
        steps += made.run("train_step", rows)
    print(steps * BATCH / (time.perf_counter() - since))


def _child(*arguments: Any) -> subprocess.Popen[str]:
    environment = {**os.environ, "KERAS_BACKEND": "jax", "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
    command = [sys.executable, __file__, *map(str, arguments)]
    return subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def _processes(family: str, k: int, kernel: str, seconds: float) -> float:
    """Samples per second in all of `k` processes at once."""
    cores = sorted(os.sched_getaffinity(0))
    pinned = [-1 if kernel == "cudnn" else cores[at % len(cores)] for at in range(k)]
    children = [_child("--alone", family, core, seconds) for core in pinned]
    try:
        for child in children:
            if child.stdout.readline() != "ready\n":  # type: ignore[union-attr]
                sys.exit("a process of its own did not start: see above")
        for child in children:
            child.stdin.write("go\n")  # type: ignore[union-attr]
            child.stdin.flush()  # type: ignore[union-attr]
        return sum(float(child.communicate()[0]) for child in children)
    finally:
        for child in children:
            child.kill()


def main(family: str, k: str, rounds: str, seconds: str) -> None:
    """Prints a table per family."""
    ks = [int(one) for one in k.split(",")]
    for name in family.split(","):
        child = _child("--together", name, k, rounds, seconds)
        found = json.loads(child.communicate()[0] or "null")
        if child.returncode:
            sys.exit(f"timing {name} ended with {child.returncode}")
        rates = {int(members): values for members, values in found["rates"].items()}
        solo = statistics.median(rates[0])
        print(f"{name}, batch {BATCH}, {found['device']}: samples/s in all, ratio to one by one")
        print(f"  solo {found['kernel']:<10} {solo:>12,.0f}  compile {found['compile_s']['0']:.1f} s")
        for members in ks:
            ratios = [ours / theirs for ours, theirs in zip(rates[members], rates[0], strict=True)]
            shared = _processes(name, members, found["kernel"], 2 * float(seconds))
            packed = statistics.median(rates[members])
            print(
                f"  packed K={members:<7} {packed:>12,.0f}  {statistics.median(ratios):.2f} ({min(ratios):.2f} to"
                f" {max(ratios):.2f})  compile {found['compile_s'][str(members)]:.1f} s;  {members} processes"
                f" {shared:,.0f} ({shared / solo:.2f}), packed over processes {packed / shared:.2f}",
                flush=True,
            )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--together"]:
        together(sys.argv[2], [int(one) for one in sys.argv[3].split(",")], int(sys.argv[4]), float(sys.argv[5]))
    elif sys.argv[1:2] == ["--alone"]:
        alone(sys.argv[2], int(sys.argv[3]), float(sys.argv[4]))
    else:
        usual = {"family": "single,stacked", "k": "1,4,16,64", "rounds": "5", "seconds": "2"}
        given = dict(argument.split("=", 1) for argument in sys.argv[1:])
        if given.keys() - usual.keys():
            sys.exit(__doc__)
        main(**{**usual, **given})
