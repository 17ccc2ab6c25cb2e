"""Three made sets, and whether the verdict on each is the one that is known to be true.

    python tests/benchmarks/verdicts.py [sets=shift,random,order] [folder=DIR]

| set | its class | what has to be taken |
|---|---|---|
| shift | the mean of the sequence | a linear model on summaries |
| random | nothing: labels are drawn | nothing that looks at an input: the majority is as good |
| order | which of two marked pulses comes first, 60 steps apart, among pulses that are not marked | a recurrent family |

In `order` no summary knows the class: sum, deviation, extremes, ends and slope of the signal are alike by construction, and
marks lie alike. Each set is trained on by `gru single cnn` and the controls, three configurations and five seeds; the verdict is
that of the command line. Exit code 1 where one is not as it should be.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import yaml

_SEARCHED = {
    **dict.fromkeys(("gru", "single"), ("model.units", "train.optimizer", "train.momentum", "train.batch_size")),
    "cnn": ("model.filters", "model.kernel_size", "model.blocks", "train.batch_size"),
}
_SIZES = {
    **dict.fromkeys(("gru", "single"), ("model.units=32",)),
    "cnn": ("model.filters=24", "model.kernel_size=5", "model.blocks=3"),
}
CAMPAIGN = {
    "description": "Two recurrent families and a CNN on a made set",
    "studies": [
        {"study": name, "overrides": [*_SIZES[name], *(f"study.space.{path}=null" for path in paths)]}
        for name, paths in _SEARCHED.items()
    ],
    "overrides": [
        *("sampler=random", "pruner=none", "kernel.probe=false", "study.n_trials=3", "study.replicates=5"),
        *("train.optimizer=adam", "train.batch_size=64", "tracking=none", "backend=jax", "kernel=generic"),
    ],
}
WANTED = {"shift": ("linear on summaries",), "random": ("Take none",), "order": ("gru", "single")}
EPOCHS = {"shift": 10, "random": 10, "order": 40}


def shift(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Noise whose mean is the class."""
    rng = np.random.RandomState(seed)
    y = np.arange(n) % 2
    return (rng.normal(size=(n, 40, 1)) + 0.8 * y[:, None, None]).astype(np.float32), y


def random(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Noise, and labels that have nothing to do with it."""
    rng = np.random.RandomState(seed)
    return rng.normal(size=(n, 40, 1)).astype(np.float32), rng.permutation(np.arange(n) % 2)


def order(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Pulses of 1 and -1; two of opposite signs, about 60 steps apart, are marked, and which of them comes first is the class.

    Every pair of pulses has one of opposite order and the same gap beside it, so that neither the sum of a sequence nor its slope
    says anything.
    """
    rng, timesteps = np.random.RandomState(seed), 80
    x, y = np.zeros((n, timesteps, 2), np.float32), np.arange(n) % 2
    for sequence, label in zip(x, y, strict=True):
        signal, gap, sign = sequence[:, 0], 60 + rng.randint(-3, 4), 1 if label else -1
        first = rng.randint(1, timesteps - gap - 1)
        signal[[first, first + gap]], sequence[[first, first + gap], 1] = (sign, -sign), 1
        _put(signal, gap, -sign, rng)
        for _ in range(5):
            gap = rng.randint(1, 60)
            _put(signal, gap, 1, rng)
            _put(signal, gap, -1, rng)
    return x, y


def _put(signal: np.ndarray, gap: int, sign: int, rng: np.random.RandomState) -> None:
    """Puts a pair of pulses where there are none, and not at an end; its first of a sign."""
    inner = signal[1:-1]
    at = 1 + rng.choice(np.flatnonzero((inner[:-gap] == 0) & (inner[gap:] == 0)))
    signal[[at, at + gap]] = sign, -sign


MAKERS = {"shift": shift, "random": random, "order": order}
SIZES = {"shift": (300, 100, 300), "random": (300, 100, 300), "order": (1600, 300, 400)}


def main(argv: Sequence[str]) -> int:
    """Runs the command line; returns its exit code."""
    given = dict(argument.split("=", 1) for argument in argv)
    names = given.get("sets", "shift,random,order").split(",")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(given.get("folder", temporary)).absolute()
        wrong = [name for name in names if not is_right(name, folder)]
    print("not as it should be: " + ", ".join(wrong) if wrong else "each verdict is the one that is true")
    return int(bool(wrong))


def is_right(name: str, folder: Path) -> bool:
    """Makes a set, trains on it, prints the verdict; whether it begins with what has to be taken."""
    (folder / "conf" / "campaign").mkdir(parents=True, exist_ok=True)
    (folder / "conf" / "campaign" / "made.yaml").write_text(yaml.safe_dump(CAMPAIGN))
    path = folder / f"{name}.npz"
    if not path.exists():
        parts = zip(("train", "validation", "test"), SIZES[name], strict=True)
        made = {split: MAKERS[name](n, seed) for seed, (split, n) in enumerate(parts)}
        np.savez(
            path, **{f"{axis}_{split}": pair[place] for split, pair in made.items() for place, axis in enumerate("xy")}
        )
    line = [sys.executable, "-m", "lstm_bench.sweep", "--config-dir", "conf", "+campaign=made", f"study.name={name}"]
    line += [
        "dataset=file",
        f"dataset.path={path}",
        f"train.epochs={EPOCHS[name]}",
        f"train.patience={EPOCHS[name] // 2}",
    ]
    done = subprocess.run(line, cwd=folder, capture_output=True, text=True, check=False)
    said = done.stdout.rpartition("verdict on ")[2]
    print(f"{name}: exit {done.returncode}\n{said or done.stdout[-2000:] + done.stderr[-2000:]}", flush=True)
    first = said.splitlines()[1] if said else ""
    return done.returncode == 0 and any(word in first for word in WANTED[name])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
