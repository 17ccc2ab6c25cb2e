"""What a worker does with a task: one configuration in, a result out, every exception a state.

A task is one of `launcher/protocol.py`, or of a kernel benchmark, a plain dict of kind cell or ceiling; so is its result.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

from lstm_bench.core import schema, user_code
from lstm_bench.core.clock import Phases
from lstm_bench.core.errors import ConfigError, KernelError, LstmBenchError
from lstm_bench.data import dataset as datasets
from lstm_bench.data import shared_memory
from lstm_bench.launcher import protocol
from lstm_bench.launcher.protocol import (
    CheckResult,
    CheckTask,
    ControlResult,
    ControlTask,
    PackResult,
    PackTask,
    ProbeResult,
    ProbeTask,
    Result,
    StepsTask,
    TrialResult,
    TrialTask,
)
from lstm_bench.model import build, kernel, network
from lstm_bench.model.signature import find, is_own, recurrent_layers, width_argument
from lstm_bench.training import controls, criteria, fit, monitor, precision, programs, timer
from lstm_bench.training.artefacts import _plain, keep, predicted
from lstm_bench.training.buckets import Buckets
from lstm_bench.training.engine import factory
from lstm_bench.training.engine.pack import KERNEL, Pack
from lstm_bench.training.faults import not_deterministic, out_of_memory, undetermined
from lstm_bench.training.monitor import Watch

Send = Callable[[dict[str, Any]], None]
Work = Callable[..., Result | dict[str, Any]]  # of a task, its clock, where it reports to, and whether it is to stop
# Of a probe's cores, the share that others may take unsaid: the driver itself needs some, where it sits on the same core.
_MAX_OTHER_LOAD = 0.25


Asked = TypeVar("Asked", bound=StepsTask)  # tasks whose one model may be sized by its weights


class TaskRunner:
    """A worker's workbench: datasets stay loaded from task to task."""

    def __init__(
        self,
        device: str,
        share: str,
        gpu: str | None = None,
        data_fd: int | None = None,
        code: user_code.Guard | None = None,
    ):
        self.device, self.share, self.gpu, self._data_fd, self._code = device, share, gpu, data_fd, code
        self._data: dict[str, datasets.Dataset] = {}
        self._engines = programs.Engines()

    def data(self, config: schema.Dataset) -> datasets.Dataset:
        """The dataset of group `dataset`: the driver's where it shares it, else loaded, once."""
        key = json.dumps(config, sort_keys=True)
        if key not in self._data:
            self._forget(config)
            shared = None if self._data_fd is None else shared_memory.load(self._data_fd, config)
            self._data[key] = shared or datasets.load(config)
        return self._data[key]

    def _forget(self, config: schema.Dataset) -> None:
        """Lets go of what is loaded; of the folds of one small dataset not, whose trainings come in turn."""
        base = {**config, "fold": None}
        held = [{**json.loads(key), "fold": None} for key in self._data]
        if any(one != base for one in held) or not programs.are_held([*self._data.values()], config):
            self._data.clear()

    def preload_data(self, config: schema.Dataset, dataset: datasets.Dataset) -> None:
        """Takes the dataset of group `dataset` from a launcher that brings it along."""
        self._data = {json.dumps(config, sort_keys=True): dataset}

    def run(self, task: Mapping[str, Any], report: Send, stopped: Callable[[], bool]) -> dict[str, Any]:
        """Result of a task. Never raises for a fault of the task itself."""
        phases, sized = Phases(), dict[str, Any]()
        try:
            if self._code:
                self._code.check()
            asked = protocol.read(task)
            if isinstance(asked, StepsTask):
                asked, sized = self._sized(asked)
            result = self.work()[task["kind"]](asked, phases, report, stopped)
            if isinstance(result, PackResult):
                result = PackResult(state=result.state, members=[{**sized, **member} for member in result.members])
        except fit.NotFiniteError as error:
            result = _diverged(error)
        except LstmBenchError as error:
            traced = _traced(error.__cause__)
            result = Result(state="FAULT", error=type(error).__name__, detail=str(error), traceback=traced)
        except Exception as error:  # any other exception is the trial's own, and the sweep goes on
            traceback.print_exc()
            if not_deterministic(error):
                fault = Result(state="FAULT", error="KernelError", detail=str(undetermined(error)))
                return {**phases.seconds(), **fault.row()}
            result = _failed(error, _traced(error) if task["kind"] == "check" else None)
        said = result.row() if isinstance(result, Result) else result
        return {**phases.seconds(), **sized, **said, "device": self.device, "device_share": self.share}

    def work(self) -> dict[str, Work]:
        """What is done for each kind of task."""
        return {
            "check": self._check,
            "trial": self._trial,
            "replicate": self._trial,
            "trials": self._pack,
            "pack": self._pack,
            "probe": self._probe,
            "control": self._control,
        }

    def _sized(self, task: Asked) -> tuple[Asked, dict[str, Any]]:
        """A task whose model has the width that `model.weights` comes to, and that width as a part of the result."""
        asked = task.config["model"]
        model = sized(asked, self.data(task.config["dataset"]))
        found = {} if asked.get("weights") is None else {"width": model[str(width_argument(find(model["_target_"])))]}
        return dataclasses.replace(task, config={**task.config, "model": model}), found

    def _check(self, task: CheckTask, *_: Any) -> CheckResult:
        """Builds the model at the configuration's values and at the ends of its space.

        Of a user's family it is also tried whether a winner could be saved and loaded, whether its outputs are logits, and
        whether the kernel that is named runs it.
        """
        import keras

        data, target = self.data(task.config["dataset"]), str(task.config["model"].get("_target_", ""))
        function = find(target)
        if data.lengths_train is not None:
            named, backend = task.config["kernel"]["name"], task.config["backend"]["name"]
            kernel.require(named, backend, recurrent_layers(function), self.gpu, masked=True)
            if data.per_timestep:
                criteria.require_mask(data.kind.loss)
        registered = dict(keras.saving.get_custom_objects())
        searched = iter([{}, *(task.searched or [{}] * len(task.corners))])
        for config in (task.config, *task.corners):
            with _searched(next(searched)):
                model, lengths = _plain(config, data)
                if data.lengths_train is not None:
                    network.require_masked(model, target, config["dataset"].get("max_length"))
                if not is_own(target):
                    network.require_no_distribution(model, target)
                    build.require_saveable(model, target, registered)
        precision.refuse_changes(task.config["backend"]["name"], target)
        if not is_own(target):
            self._require_kernel(task.config, data, recurrent_layers(function))
        n_weights, layers = int(model.count_params()), list(recurrent_layers(function))
        return CheckResult(state="COMPLETE", n_weights=n_weights, recurrent=len(lengths), layers=layers)

    def _require_kernel(self, config: schema.Sweep, data: datasets.Dataset, layers: Sequence[str]) -> None:
        """Raises KernelError where a user's network does not run the kernel that is named, as one with a mask may not."""
        named, backend = config["kernel"]["name"], config["backend"]["name"]
        if named == "auto" or kernel.unavailable(named, backend, layers, self.gpu):  # the latter is said by the driver
            return
        config = {**config, "model": sized(config["model"], data)}
        engine = programs.prepare(config, data, named, seed=0)
        engine.warm_up()
        fit.require_ran(named, engine)

    def _probe(self, task: ProbeTask, *_: Any) -> ProbeResult:
        config, data = task.config, self.data(task.config["dataset"])
        per_execution, members = task.steps_per_execution, task.pack
        try:
            program: factory.Engine | Pack
            if members > 1:
                program = programs.prepare_pack(config, data, range(members), per_execution)
            else:
                program = programs.prepare(config, data, task.kernel, seed=0, steps_per_execution=per_execution)
        except KernelError as error:  # one kernel of several: the others are still to be measured
            return ProbeResult(state="FAIL", reason="refused", detail=str(error))
        size = min(config["train"]["batch_size"], len(data.x_train))
        batch_size, rows, rng = members * size, None, np.random.default_rng(0)
        if data.lengths_train is not None:  # as in an epoch, of each length its share
            known = Buckets(data.lengths_train, size, [each for each in program.buckets if each], 0)

            def rows(steps: int) -> np.ndarray:
                return np.concatenate([known.sample(steps, rng) for _ in range(members)], axis=1)

        watch = Watch(os.environ.get("CUDA_VISIBLE_DEVICES", "0") if self.gpu else None, _MAX_OTHER_LOAD)
        watch.start()
        try:
            figures = timer.training_throughput(program, batch_size, len(data.x_train), task.seconds, rows)
        except KernelError as error:
            return ProbeResult(state="FAIL", reason="refused", detail=str(error))
        except Exception as error:
            if not_deterministic(error):
                return ProbeResult(state="FAIL", reason="refused", detail=str(undetermined(error)))
            raise
        ran: dict[str, Any] = {
            "backend": config["backend"]["name"],
            "kernel": task.kernel,
            "disturbed_by": watch.stop()[0],
        }
        return ProbeResult(state="COMPLETE", **ran, **figures)

    def _control(self, task: ControlTask, phases: Phases, *_: Any) -> ControlResult:
        return controls.fitted(task, self.data, phases)

    def _trial(self, task: TrialTask, phases: Phases, report: Send, stopped: Callable[[], bool]) -> TrialResult:
        config = task.config
        data = self.data(config["dataset"])
        monitor.reset_peak_memory(config["backend"]["name"], self.gpu)
        engine = self._engines.of(config, data, task.kernel, task.seed, task.steps_per_execution)
        trained = fit.train(
            engine,
            config,
            data,
            kernel=task.kernel,
            seed=task.seed,
            phases=phases,
            report=report,
            stopped=stopped,
            progress=lambda epochs: report({"progress": epochs}),
        )
        state = "PRUNED" if trained.stopped else "COMPLETE"
        result: dict[str, Any] = {
            "state": state,
            **trained.measured,
            "history": trained.epochs,
            "kernel": task.kernel,
            **self._peak_memory(config),
        }
        if not trained.stopped:
            result["epoch_s"] = _epoch_s(phases, len(trained.epochs))
            engine.sync_model()
            result["weights_sha256"] = fit.weights_digest(engine.model)
        if task.kind == "replicate":
            with phases("eval_s"):
                outputs = engine.logits(data.x_test, data.lengths_test)
                result |= data.kind.score(outputs, data.y_test, "test", mask=data.label_mask("test"))
            if task.keep:
                # The winner's artefacts are not part of what a training costs.
                result |= predicted(data, outputs) | phases.seconds()
                result |= keep(engine.model, task, data)
        return TrialResult.read(result)

    def _peak_memory(self, config: schema.Sweep) -> dict[str, float | None]:
        """What the training since `reset_peak_memory` took at most, as a part of its result."""
        on_device = monitor.peak_device_memory_mib(config["backend"]["name"], self.gpu)
        return {"peak_memory_mib": monitor.peak_memory_mib(), "peak_device_memory_mib": on_device}

    def _pack(self, task: PackTask, phases: Phases, report: Send, stopped: Callable[[], bool]) -> Result:
        """Several seeds in one program: `members` holds what each would be as a task of its own."""
        config, seeds, trains, tests = task.config, task.seeds, task.trains, task.kind == "pack"
        data = self.data(config["dataset"])
        heard: dict[str, Any] = {"phases": phases, "report": report, "stopped": stopped}
        monitor.reset_peak_memory(config["backend"]["name"], self.gpu)
        heard["progress"] = lambda epochs: report({"progress": epochs})
        try:
            pack = programs.prepare_pack(config, data, seeds, task.steps_per_execution)
            trained = fit.train_pack(pack, config, data, seeds=seeds, trains=trains, **heard)
        except KernelError as error:  # one by one another kernel may run
            return Result(state="FAIL", reason="refused", detail=str(error))
        epoch_s = _epoch_s(phases, max(len(member.epochs) for member in trained))
        if tests:
            with phases("eval_s"):
                logits = pack.logits(data.x_test, data.lengths_test)
        # Every member took as long as the pack did.
        common: dict[str, Any] = {**phases.seconds(), **self._peak_memory(config)}
        common |= {"device": self.device, "device_share": f"packed {len(seeds)}"}
        members = []
        for at, (seed, member) in enumerate(zip(seeds, trained, strict=True)):
            result = {
                "state": "COMPLETE",
                **member.measured,
                "history": member.epochs,
                "kernel": KERNEL,
                **common,
            }
            if member.error:
                result |= {"state": "FAIL", "reason": "nan", "detail": member.error}
            elif not member.over:
                result["state"] = "PRUNED"
            else:
                result["epoch_s"] = epoch_s
                if tests:
                    result |= data.kind.score(logits[at], data.y_test, "test", mask=data.label_mask("test"))
                pack.sync_model(at)
                result["weights_sha256"] = fit.weights_digest(pack.model)
                if tests and seed == 0 and task.keep:
                    result |= predicted(data, logits[at])
                    result |= keep(pack.model, task, data)
            members.append(TrialResult.read(result).row())
        return PackResult(state="COMPLETE", members=members)


def _epoch_s(phases: Phases, epochs: int) -> float:
    """Seconds of an epoch, on the mean, of a training that was not stopped and has read no test set yet."""
    seconds = phases.seconds()
    had = max(epochs, 1)  # none where every member of a pack has failed
    return float(seconds["train_s"] + seconds["eval_s"]) / had


def _diverged(error: fit.NotFiniteError) -> Result:
    """Result of a trial whose loss is not a number."""
    return Result(state="FAIL", reason="nan", detail=str(error))


def _failed(error: Exception, traced: str | None = None) -> Result:
    """Result of a trial that raised an exception of its own."""
    detail = " ".join(f"{type(error).__name__}: {error}".split())[:500]
    return Result(state="FAIL", reason="oom" if out_of_memory(error) else "exception", detail=detail, traceback=traced)


def _traced(error: BaseException | None) -> str | None:
    """The traceback of what a user's function raised; None where there was no such exception."""
    return None if error is None else "".join(traceback.format_exception(error))


@contextlib.contextmanager
def _searched(values: Mapping[str, Any]) -> Iterator[None]:
    """Names the searched values with which a model cannot be built; none are the configuration's own."""
    try:
        yield
    except Exception as error:
        if not values:
            raise
        detail = str(error) if isinstance(error, LstmBenchError) else f"{type(error).__name__}: {error}"
        named = ", ".join(f"study.space.{path}={value}" for path, value in values.items())
        kind = type(error) if isinstance(error, LstmBenchError) else ConfigError
        raise kind(f"{named}: {detail}") from error


def sized(model: Mapping[str, Any], data: datasets.Dataset) -> dict[str, Any]:
    """Group `model` with its width filled in: see `build.resolved`."""
    shape = build.inside(model, data.input_shape, data.tokens is not None)
    return build.resolved(model, shape, data.n_classes, per_timestep=data.per_timestep)
