"""What a few minutes of a GPU are best spent on, in order of worth.

    python tests/benchmarks/gpu.py [minutes=8] [out=gpu-session] [steps=tests,grid] [rehearse=true]

    tests        pytest -m gpu: cuDNN trains as the generic kernel does, on every backend that is installed
    grid         the tutorial grid on JAX and torch, cuDNN proved and beside the generic kernel
    predictions  every cell of `kernels predict=cuda` beside what runs
    packs        K = 1, 4, 16, 64 trainings in one program
    study        one `stacked` study on JAX
    launches     kernels on the GPU per training step, by the profiler, as `kernels forecast=cuda` counts them

It goes on where it stopped: what is done is in `done.json`. A step is begun while there is time, and ended when there is none.
At the end, whatever came, all records are in one archive, `gpu-session.tar.gz`. `rehearse=true` runs all of it small, on a CPU
too.
"""

from __future__ import annotations

import csv
import gzip
import json
import os
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
SUPPORT = HERE.parent / "support"
BACKENDS = ("jax", "torch", "tensorflow")
STEPS_TRACED = 5
Commands = list[tuple[list[str], dict[str, str]]]  # each with what it needs in its environment


def installed() -> list[str]:
    import importlib.util

    return [name for name in BACKENDS if importlib.util.find_spec(name)]


def tests(small: bool) -> Commands:
    only = [
        "-k",
        "not predicted",
        *(["tests/cuda", "tests/training/test_engine.py"]),
    ]  # predictions are a step of their own
    options = ["-m", "gpu", "-q", "-p", "no:cacheprovider", "--rootdir", str(ROOT)]
    paths = [str(ROOT / one) if one.startswith("tests/") else one for one in only]
    return [([sys.executable, "-m", "pytest", *options, *paths], {})]


def grid(small: bool) -> Commands:
    backends = "[" + ",".join(name for name in installed() if name != "tensorflow") + "]"
    asked = ["grid=tutorial", "kernel=[cudnn,generic]", "operation=train_step", "method.rounds=2", "method.samples=5"]
    if small:
        asked = ["grid=quick", "kernel=[cudnn,generic]", "operation=train_step", "method.rounds=1", "method.samples=2"]
    command = [sys.executable, "-m", "lstm_bench.kernels", f"backend={backends}", "tracking=none", *asked]
    return [(command, {})]


def predictions(small: bool) -> Commands:
    cells = ["lstm/plain", "lstm/mask", "gru/plain"] if small else []
    return [
        ([sys.executable, __file__, "predictions_of", name, *cells], {"KERAS_BACKEND": name}) for name in installed()
    ]


def packs(small: bool) -> Commands:
    sizes = ["k=1,2", "rounds=1", "seconds=0.05"] if small else ["k=1,4,16,64", "rounds=3", "seconds=0.5"]
    return [([sys.executable, str(HERE / "packed.py"), "family=single", *sizes], {})]


def study(small: bool) -> Commands:
    options = ["backend=jax", "tracking=none", "study.name=gpu-stacked", "study.n_trials=8", "study.replicates=2"]
    options += ["dataset=digits", "study.n_trials=2", "train.epochs=1", "kernel.probe_s=0.1"] if small else []
    return [([sys.executable, "-m", "lstm_bench.sweep", "+study=stacked", *options], {})]


def launches(small: bool) -> Commands:
    layers = "lstm" if small else "lstm,gru,simple_rnn,bidirectional_lstm"
    asked = [name for name in installed() if name != "tensorflow"]
    return [([sys.executable, __file__, "launches_of", name, layers], {"KERAS_BACKEND": name}) for name in asked]


STEPS: dict[str, tuple[Callable[[bool], Commands], float]] = {  # and the most minutes that each may take
    "tests": (tests, 2),
    "grid": (grid, 3),
    "predictions": (predictions, 2),
    "packs": (packs, 2),
    "study": (study, 3),
    "launches": (launches, 2),
}


def predictions_of(backend: str, *cells: str) -> None:
    """A child: appends what each cell was predicted to run, and what ran, to `predictions.csv`."""
    from lstm_bench.core import hardware
    from lstm_bench.cuda import table

    told = {
        f"{row['layer']}/{row['option']}": row["predicted"]
        for row in table.rows()
        if (row["backend"], row["operation"]) == (backend, "training")
    }
    command = [sys.executable, str(SUPPORT / "prediction_steps.py"), backend, "run", *cells]
    ran = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])
    gpu = next((one.name for one in hardware.gpus()), "none")
    rows = []
    for cell, (kernel, evidence) in ran.items():
        same = (
            "not compared"
            if gpu == "none" or told[cell] == "cannot say"
            else (kernel == "cudnn") == (told[cell] == "cudnn")
        )
        rows.append([gpu, backend, cell, told[cell], kernel, evidence, same])
    _append("predictions.csv", ["gpu", "backend", "cell", "predicted", "ran", "evidence", "same"], rows)


def launches_of(backend: str, layers: str) -> None:
    """A child: appends the kernels on the GPU of one training step, by the profiler, to `launches.csv`."""
    import numpy as np

    from lstm_bench.core import hardware
    from lstm_bench.kernels import measure, reference
    from lstm_bench.model import kernel

    gpu = next((one.name for one in hardware.gpus()), None)
    rows = []
    for layer in layers.split(","):
        cell = {
            "layer": layer,
            "units": 64,
            "layers": 1,
            "timesteps": 28,
            "features": 28,
            "batch": 64,
            "dtype": "float32",
        }
        for name in ("cudnn", "generic"):
            if kernel.unavailable(name, backend, {layer.removeprefix("bidirectional_")}, gpu):
                continue
            arm = measure.make(backend, name, cell, reference.weights(cell, 0), *reference.inputs(cell, 0))
            arm.compile("train_step")
            steps = np.tile(np.arange(64, dtype=np.int32), (STEPS_TRACED, 1))
            arm.run("train_step", steps)
            traced = {"jax": _traced_by_jax, "torch": _traced_by_torch}[backend](
                lambda a=arm, s=steps: a.run("train_step", s)
            )
            rows.append(
                [gpu or "none", backend, layer, name, arm.kernel_evidence("train_step")[0], traced / STEPS_TRACED]
            )
    _append("launches.csv", ["gpu", "backend", "layer", "kernel", "ran", "launches_per_step"], rows)


def _traced_by_jax(run: Callable[[], Any]) -> int:
    """Events on the GPU's streams in JAX's trace."""
    import jax

    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder):
            run()
        [file] = Path(folder).rglob("*.trace.json.gz")
        events = json.loads(gzip.decompress(file.read_bytes()))["traceEvents"]
    named = [event for event in events if event.get("ph") == "M"]
    devices = {e["pid"] for e in named if e["name"] == "process_name" and "/device:GPU" in e["args"]["name"]}
    streams = {
        (e["pid"], e["tid"])
        for e in named
        if e["name"] == "thread_name" and e["pid"] in devices and "Stream" in e["args"]["name"]
    }
    return sum(event.get("ph") == "X" and (event["pid"], event["tid"]) in streams for event in events)


def _traced_by_torch(run: Callable[[], Any]) -> int:
    """Kernels and copies in torch's trace."""
    import torch

    activities = [torch.profiler.ProfilerActivity.CPU]
    if torch.cuda.is_available():
        activities.append(torch.profiler.ProfilerActivity.CUDA)
    with torch.profiler.profile(activities=activities, acc_events=True) as profile:
        run()
    return sum(event.device_type == torch.autograd.DeviceType.CUDA for event in profile.events())


def _append(name: str, header: list[str], rows: list[list[Any]]) -> None:
    new = not Path(name).exists()
    with Path(name).open("a", newline="") as file:
        writer = csv.writer(file)
        writer.writerows([header, *rows] if new else rows)


def _run(command: list[str], environment: dict[str, str], log: Path, limit_s: float) -> int | None:
    """The exit code; None where the time was over, and the whole group was ended."""
    given = os.environ | {"XLA_PYTHON_CLIENT_PREALLOCATE": "false", "MLFLOW_DISABLE_TELEMETRY": "true"} | environment
    given["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), str(SUPPORT), os.environ.get("PYTHONPATH")]))
    with log.open("a") as output:
        process = subprocess.Popen(
            command, cwd=log.parent, env=given, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            return process.wait(max(1.0, limit_s))
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGTERM)  # a sweep writes down what it has
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
            return None


def _steps(done: dict[str, Any], names: list[str]) -> Iterator[str]:
    for name in names:
        if done.get(name, {}).get("state") == "done":
            print(f"{name}: done before")
        else:
            yield name


def main(minutes: float, out: Path, small: bool, names: list[str]) -> int:
    """Runs the steps; 0 where each was done or had been."""
    out.mkdir(parents=True, exist_ok=True)
    file, archive = out / "done.json", out.with_suffix(".tar.gz")
    done: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
    deadline = time.monotonic() + 60 * minutes
    try:
        for name in _steps(done, names):
            make, most = STEPS[name]
            since, left, codes = time.monotonic(), deadline - time.monotonic(), []
            if left < 5:
                print(f"{name}: no time left")
                continue
            limit = min(left, 60 * most * (5 if small else 1))
            for command, environment in make(small):
                codes.append(_run(command, environment, out / f"{name}.log", limit - (time.monotonic() - since)))
            state = "no time" if None in codes else "failed" if any(codes) else "done"
            done[name] = {"state": state, "exit": codes, "seconds": round(time.monotonic() - since, 1)}
            file.write_text(json.dumps(done, indent=1))
            print(f"{name}: {state}, {done[name]['seconds']:.0f} s", flush=True)
    finally:
        with tarfile.open(archive, "w:gz") as packed:
            packed.add(out, arcname=out.name)
        print(f"records  {archive} ({archive.stat().st_size / 2**20:.1f} MiB)")
    return int(any(done.get(name, {}).get("state") != "done" for name in names))


if __name__ == "__main__":
    if sys.argv[1:2] in (["predictions_of"], ["launches_of"]):
        globals()[sys.argv[1]](*sys.argv[2:])
        sys.exit()
    given = dict(argument.split("=", 1) for argument in sys.argv[1:])
    small = given.pop("rehearse", "false") == "true"
    minutes, out = float(given.pop("minutes", 8)), Path(given.pop("out", "gpu-session")).resolve()
    names = given.pop("steps", ",".join(STEPS)).split(",")
    if given or set(names) - set(STEPS):
        sys.exit(f"usage: gpu.py [minutes=8] [out=FOLDER] [rehearse=true] [steps={','.join(STEPS)}]")
    if small:
        os.nice(10)
    sys.exit(main(minutes, out, small, names))
