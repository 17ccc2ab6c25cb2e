"""A recorded training run again, and compared with its record."""

from __future__ import annotations

import dataclasses
import math
import tempfile
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lstm_bench.core.errors import InterruptedByUser

if TYPE_CHECKING:
    from lstm_bench.core.hardware import Slot
    from lstm_bench.launcher.protocol import PackTask, TrialTask
    from lstm_bench.study.reader import Row, StudyRecord


# What is compared, in the order of the table; what is not recorded is left out.
COMPARED = (
    *("state", "reason", "epochs", "train_loss", "train_accuracy", "val_loss", "val_accuracy", "val_mse", "val_mae"),
    *(
        "penalty",
        "test_loss",
        "test_accuracy",
        "test_mse",
        "test_mae",
        "n_weights",
        "n_trainable",
        "width",
        "kernel_ran",
    ),
    "weights_sha256",
)
_COSTS = (
    "epoch_s",
    "padding_s",
    "peak_memory_mib",
    "peak_device_memory_mib",
    "latency_ms_batch_1",
    "latency_ms_batch_64",
)
_SHOWN = ("train_samples_per_s", "total_s", *_COSTS)  # never the same twice


@dataclasses.dataclass(frozen=True)
class Line:
    """One figure, recorded and measured again."""

    name: str
    recorded: str
    again: str
    compared: bool = True

    @property
    def equal(self) -> bool:
        """Whether the record would be written with the same characters."""
        return self.recorded == self.again

    @property
    def difference(self) -> str:
        """In numbers where there are two."""
        if self.equal:
            return "0" if self.compared else ""
        try:
            return f"{float(self.again) - float(self.recorded):+.2g}"
        except ValueError:
            return "differs"


def trained(
    study: StudyRecord, name: str, work: TrialTask | PackTask, where: Slot, row: Mapping[str, str]
) -> dict[str, Any]:
    """The result of a task in a worker of its own, its log and data gone afterwards. A pruned trial stops where it did."""
    from lstm_bench.core.console import Display
    from lstm_bench.data.objective import settled_objective
    from lstm_bench.data.shared_memory import SharedDataset
    from lstm_bench.data.splits import Drawn
    from lstm_bench.launcher.event_loop import Loop, Running
    from lstm_bench.launcher.local import LocalLauncher
    from lstm_bench.launcher.protocol import PackResult, PackTask
    from lstm_bench.sweep.folds import FoldedLoop, Unkept

    waiting, results = [Running(name, work, 0)], []
    last = int(row["epochs"]) if row["state"] == "PRUNED" and row["epochs"] else math.inf
    display = Display(settled_objective(study.config["study"]), study.config["train"]["epochs"])
    shared = SharedDataset()
    with tempfile.TemporaryDirectory(prefix="lstm_bench-") as folder, display:
        settings = work.config["dataset"]
        shared.store(study.data(typing.cast(Drawn, settings).get("redraw")), settings)
        # Nothing is taken from what XLA compiled before: a new process must come to the same program.
        launcher = LocalLauncher(
            [where],
            work.config["backend"]["name"],
            Path(folder),
            recycle_after=1,
            recycle_mib=2**40,
            data_fd=shared.fd,
            deterministic=work.config["train"]["deterministic"],
        )
        try:
            loop: Any = Loop(launcher, display, None)
            if settings.get("folds"):
                loop = FoldedLoop(loop, Unkept(), study.config)
            loop.run(
                lambda: waiting.pop() if waiting else None,
                lambda running, result: results.append((result, [epoch.row() for epoch in running.epochs])),
                lambda running, epoch: bool(epoch.epoch >= last),
            )
        except InterruptedByUser:
            raise InterruptedByUser("interrupted", remedy="Nothing was written.") from None
        finally:
            launcher.close()
            shared.close()
    ((answer, epochs),) = results
    result = {"history": epochs, **answer.row()}
    if isinstance(answer, PackResult) and isinstance(work, PackTask):
        member = answer.members[work.seeds.index(int(row["seed"]))]
        result = {**member, "state": "PRUNED"} if answer.state == "PRUNED" else dict(member)
    if result["state"] == "PRUNED":  # it may have come further before it heard of its end
        history = result["history"][: int(row["epochs"])]
        return {**result, **history[-1], "epochs": len(history), "history": history}
    return result


def _is_of(line: Mapping[str, str], row: Mapping[str, str], trial: Row | None) -> bool:
    """Whether a line of `history.csv` is an epoch of this row."""
    if "number" in row:
        return line["kind"] == "trial" and line["number"] == row["number"]
    of = line.get("trial") or row.get("trial") or ""
    return line["kind"] == "replicate" and line["number"] == row["seed"] and of == (row.get("trial") or of)


def compared(row: Mapping[str, str], result: Mapping[str, Any], history: Sequence[Mapping[str, str]]) -> list[Line]:
    """Recorded figures beside those of a result.

    Args:
      row: Of `trials.csv` or `replicates.csv`.
      result: Of the worker.
      history: Its rows of `history.csv`.
    """
    from lstm_bench.core import formatting
    from lstm_bench.study.columns import HISTORY_COLUMNS, optional_columns

    lines = []
    for name in dict.fromkeys((*COMPARED, *optional_columns())):
        if name not in _COSTS and row.get(name) and not (name == "weights_sha256" and row["state"] == "PRUNED"):
            again = formatting.format_field(result.get(name))
            short = name == "weights_sha256"
            lines.append(Line(name, row[name][:16] if short else row[name], again[:16] if short else again))
    if history:
        known_by = ("kind", "number", "trial", "train_s")
        curves = [name for name in (*HISTORY_COLUMNS, *optional_columns()) if name not in known_by]
        recorded = [[line.get(name) or "" for name in curves] for line in history]
        again_epochs = [[formatting.format_field(epoch.get(name)) for name in curves] for epoch in result["history"]]
        equal = sum(was == now for was, now in zip(recorded, again_epochs, strict=False))
        lines.append(Line("epochs that are equal", str(len(recorded)), str(equal)))
    return [
        *lines,
        *(Line(n, row[n], formatting.format_field(result.get(n)), compared=False) for n in _SHOWN if row.get(n)),
    ]
