"""The kernel benchmark: `python -m lstm_bench.kernels` times every kernel on the same shapes and proves which one ran."""

from __future__ import annotations

import importlib.util
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lstm_bench.core import cli, composition, schema, streams
from lstm_bench.core.errors import ConfigError, LstmBenchError
from lstm_bench.study.resume import refuse_benchmark

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from lstm_bench.kernels.benchmark import Benchmark

HELP = """\
python -m lstm_bench.kernels [grid=NAME] [backend=NAME] [PATH=VALUE ...]

Throughput of every kernel (cuDNN, fused, generic loop, XLA, unrolled) and of the bare framework, on the same shapes, weights and
inputs: inference, forward and backward, and whole training steps. Every arm is first held to a float64 reference, then
proved, then timed in fresh processes. Writes sweeps/kernels-<grid>/. The same command again measures what is missing.

grids     {grids}
options   backend=all|tensorflow|jax|torch|[...]   kernel=all|[cudnn,fused,generic,xla,unrolled,unrolled_xla,bare,native]
          dtype=float32|tf32|bfloat16|[...]   operation=all|[inference,forward_backward,train_step]   name=FOLDER
          predict=cuda (which kernel an NVIDIA GPU would run, by its program; needs none, measures nothing)
          forecast=cuda (launches of JAX's training steps on H200, H100, A100; needs the extra cuda-compiler, no GPU)
          method.rounds=3 method.samples=7 ...   tracking=none   --config-dir DIR (your own grids)   --cfg job   --help
examples  python -m lstm_bench.kernels
          python -m lstm_bench.kernels grid=tutorial backend=tensorflow
          python -m lstm_bench.kernels grid=braun 'backend=[jax,torch]' 'kernel=[cudnn,generic,native]'
next      python -m lstm_bench.report (the tables)   python -m lstm_bench.ui (the runs)
exit      0 done, 2 bad configuration, 4 storage, 5 the device was lost, 130 interrupted
"""
_SHORT = re.compile(r"^(backend|kernel|dtype|operation)=")


def _help() -> str:
    from lstm_bench.core.configuration import conf_dir

    return HELP.format(grids=", ".join(composition.choices(conf_dir(), "grid")))


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; returns its exit code."""
    from lstm_bench.core.schema import Kernels

    # `backend` and `kernel` are groups of the sweep's: Hydra would look for one choice where a list may be meant.
    given = [_SHORT.sub(r"arms.\1=", argument) for argument in (sys.argv[1:] if argv is None else argv)]
    with streams.lasting():
        return cli.main(given, config_name="kernels", root=Kernels, help_text=_help, run=run)


def run(composed: DictConfig, overrides: Sequence[str]) -> None:
    """Runs one benchmark to its end.

    Raises:
      LstmBenchError: any expected fault; what was measured is kept.
    """
    from lstm_bench.core import configuration, hardware, locks, vocabulary
    from lstm_bench.core.schema import Kernels
    from lstm_bench.kernels import grid
    from lstm_bench.model import kernel
    from lstm_bench.study.columns import study_dir
    from lstm_bench.tracking import store

    config = configuration.load(composed, Kernels)
    store.check(config["tracking"])
    name = config["name"] or f"kernels-{config['grid']['name']}"
    if not configuration.NAME.fullmatch(name) or not name.startswith("kernels-"):
        raise ConfigError("name", expected="kernels-, then letters, digits and ._-", received=name)
    asked = config["arms"]
    backends = _backends(asked["backend"])
    if config.pop("predict"):
        from lstm_bench.kernels import predicting

        predicting.run(config, backends)
        return
    if config.pop("forecast"):
        from lstm_bench.kernels import launching

        launching.run(config)
        return
    kernels = grid.chosen("kernel", asked["kernel"], [*(k for k in kernel.NAMES if k != "auto"), *vocabulary.NAMES])
    operations = grid.chosen("operation", asked["operation"], vocabulary.OPERATIONS)
    if asked["dtype"] is None:
        dtypes = grid.chosen("grid.dtypes", config["grid"]["dtypes"], vocabulary.DTYPES)
    else:
        dtypes = grid.chosen("dtype", asked["dtype"], vocabulary.DTYPES)
    plan = grid.cells_of(config["grid"], dtypes)
    # What is asked for by name is not skipped.
    arms = grid.arms_of(backends, kernels, config["grid"]["skip"] if asked["kernel"] == "all" else [])
    gpus = hardware.gpus()
    grid.require_memory(plan, hardware.memory_mib(), gpus[0].memory_mib if gpus else None)
    if not arms:
        raise ConfigError("kernel", expected=f"a kernel of {' or '.join(backends)}", received=", ".join(kernels))
    _require_some(plan, arms, gpus[0].name if gpus else None)
    config["name"] = name
    config["arms"] = {"backend": backends, "kernel": kernels, "dtype": dtypes, "operation": operations}
    with locks.hold(study_dir(name), "name"):
        _run(config, plan, arms, operations, gpus)


def _backends(value: Any) -> list[str]:
    from lstm_bench.core import vocabulary
    from lstm_bench.kernels import grid

    names = grid.chosen("backend", value, list(vocabulary.OF_BACKEND))
    if value != "all":
        for name in names:
            cli.require_backend(name)
    return [name for name in names if importlib.util.find_spec(name) is not None]


def _require_some(plan: Sequence[Mapping[str, Any]], arms: Sequence[Any], gpu: str | None) -> None:
    """Raises ConfigError when no arm can run anywhere: a benchmark of nothing."""
    from lstm_bench.kernels import grid

    reasons = [grid.unavailable(arm, cell, gpu) for arm in arms for cell in plan]
    if all(reasons):
        said = ", ".join(dict.fromkeys(str(reason) for reason in reasons))
        raise ConfigError(f"none of the chosen kernels can run here: {said}", remedy="Choose others, or kernel=all.")


def _run(
    config: schema.Kernels,
    plan: Sequence[Mapping[str, Any]],
    arms: Sequence[Any],
    operations: Sequence[str],
    gpus: Sequence[Any],
) -> None:
    import secrets
    import time

    from lstm_bench.core import environment, fileio, formatting
    from lstm_bench.core.console import Display
    from lstm_bench.kernels.benchmark import Benchmark
    from lstm_bench.study.columns import study_dir
    from lstm_bench.tracking.client import open_tracking

    name = schema.settled(config["name"])
    folder = study_dir(name)
    display = Display("", 0)
    benchmark = Benchmark(config, folder, plan, arms, operations, gpus, display.line, display)
    seen = environment.collect([benchmark.slot], benchmark.gpus, None)
    if seen["git"]:
        benchmark.commit = seen["git"]["commit"] + ("-dirty" if seen["git"]["dirty"] else "")
    seen["study_id"] = f"{config['name']}-{secrets.token_hex(4)}"
    _guard(folder, config, seen)
    total = benchmark.work_left()
    processes = formatting.counted(total, "process", "processes")
    rounds = formatting.counted(config["method"]["rounds"], "round")
    print(
        f"{config['name']}: {config['grid']['description']}\n"
        f"  cells     {len(plan)} x {len(arms)} arms, {processes} to run in {rounds}\n"
        f"  backends  {', '.join(config['arms']['backend'])}\n"
        f"  device    {benchmark.slot.device}, {len(benchmark.slot.cores)} cores",
        flush=True,
    )
    fileio.write_yaml(folder / "config.yaml", _stored(config))
    fileio.write_json(folder / "environment.json", seen)
    started_ms, status = int(time.time() * 1000), "FAILED"
    tracking = open_tracking(config["tracking"], experiment=name)
    try:
        if total:
            with display:
                benchmark.run()
        else:
            print("nothing to measure: the benchmark is complete")
            benchmark.compute_cells()
        status = "FINISHED"
    except KeyboardInterrupt:
        status = "KILLED"
        raise
    finally:
        ended_ms = max(started_ms, int(time.time() * 1000))  # a clock may be put back
        _track(tracking, config, seen, benchmark.rows, (started_ms, ended_ms), status)
    _summary(benchmark, folder)


def _stored(config: schema.Kernels) -> schema.Kernels:
    from lstm_bench.core.configuration import replaced
    from lstm_bench.core.errors import redact

    uri = config["tracking"]["uri"]
    return replaced(config, {"tracking.uri": redact(uri)} if uri else {})


def _guard(folder: Path, config: schema.Kernels, seen: dict[str, Any]) -> None:
    """Raises ConfigError when the folder's figures were measured otherwise or elsewhere; joins the arms of both, keeps the id."""
    from lstm_bench.core import safe_load

    if not (folder / "runs.csv").exists():
        return
    remedy = "Choose another name=kernels-..., or remove that folder."
    try:
        was = safe_load.from_yaml((folder / "config.yaml").read_text())
        stored = safe_load.from_json((folder / "environment.json").read_text())
    except (OSError, ValueError) as error:
        what = f"{folder.name} has figures, but what they were measured with cannot be read ({type(error).__name__})"
        raise ConfigError(what, remedy=remedy) from error
    seen["study_id"] = stored.get("study_id", seen["study_id"])
    refuse_benchmark(folder.name, (was, stored), (_stored(config), seen), remedy)
    # The figures of other arms stay in the folder: its configuration names them all.
    arms: Any = config["arms"]
    for axis, names in arms.items():
        earlier = was["arms"].get(axis) or []
        arms[axis] = list(dict.fromkeys([*earlier, *names]))


def _track(
    tracking: Any,
    config: schema.Kernels,
    seen: Mapping[str, Any],
    rows: Sequence[Mapping[str, Any]],
    span: tuple[int, int],
    status: str,
) -> None:
    """MLflow's picture: one parent run, one nested run per cell. It observes; its failure is a warning."""
    from lstm_bench.core import configuration, vocabulary

    try:
        tracking.check_store(lambda held: print(f"{held}: waiting", file=sys.stderr, flush=True))
        tracking.start(
            {
                "name": config["name"],
                "description": config["grid"]["description"],
                "params": configuration.flatten(
                    {key: value for key, value in _stored(config).items() if key != "grid"}
                ),
                "tags": {"device": seen["device"]["name"]},
                "environment": seen,
                "source": "lstm_bench.kernels",
                "backends": config["arms"]["backend"],
            }
        )
        for cell in dict.fromkeys(row["cell"] for row in rows):
            mine = [row for row in rows if row["cell"] == cell]
            tracking.log_cell({axis: mine[0][axis] for axis in vocabulary.AXES}, mine, *span)
        tracking.finish(status)
    except LstmBenchError as error:
        cli.say(error)
        return
    if tracking.warning:
        print(f"warning: {tracking.warning}", file=sys.stderr)


def _summary(benchmark: Benchmark, folder: Path) -> None:
    """Prints training steps, fastest first, and what to do next."""
    from lstm_bench.core import formatting

    rows = benchmark.rows
    steps = [row for row in rows if row["operation"] == benchmark.operations[-1]]
    columns = ["cell", "backend", "kernel", "ran", "samples/s", "over generic", "of roofline", "remark"]
    lines = []
    for row in sorted(steps, key=lambda row: (row["cell"], -(row.get("samples_per_s") or 0))):
        if row["state"] == "unavailable":
            continue
        ratio = "" if row.get("speedup") is None else f"{row['speedup']:.2f}"
        if row.get("speedup_low") is not None:
            ratio += f" [{row['speedup_low']:.2f}, {row['speedup_high']:.2f}]"
        speed = f"{row['samples_per_s']:,.0f}" if row.get("samples_per_s") else ""
        roof = f"{100 * row['roofline_fraction']:.0f} %" if row.get("roofline_fraction") else ""
        remark = "; ".join(filter(None, (row["reason"], row.get("marks"))))
        lines.append([row["cell"], row["backend"], row["kernel"], row["kernel_ran"] or "", speed, ratio, roof, remark])
    print(f"\n{benchmark.operations[-1]}:")
    print(formatting.plain(columns, lines, {"samples/s", "over generic", "of roofline"}))
    missing = {(row["backend"], row["kernel"], row["reason"]) for row in rows if row["state"] == "unavailable"}
    for backend, kernel, reason in sorted(missing):
        print(f"{backend} {kernel}: unavailable: {reason}")
    shown = folder.relative_to(Path.cwd()) if folder.is_relative_to(Path.cwd()) else folder
    print(f"records  {shown}/\nnext     python -m lstm_bench.report      python -m lstm_bench.ui")
