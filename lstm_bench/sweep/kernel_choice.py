"""Chooses kernel and steps per execution, by measurement where asked; benchmarks all kernels for the winner."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeVar

from lstm_bench.core import schema
from lstm_bench.core.configuration import replaced
from lstm_bench.core.errors import KernelError
from lstm_bench.core.formatting import values
from lstm_bench.launcher.event_loop import NO_TASK_YET, Loop, Running
from lstm_bench.launcher.protocol import ProbeResult, ProbeTask, Result
from lstm_bench.study import columns, search_space
from lstm_bench.sweep.kernel_cache import Memory, bucket
from lstm_bench.sweep.store.trials import TrialStore
from lstm_bench.training.engine import factory

DECISION_S = 0.5  # timed seconds per kernel and shape: the choice needs the order, not the third digit
_COMPILE_S, _WARM_UP_S = 2.0, 1.5  # of a probe: what a person is told beforehand
# Of a program, not part of it: see engine.py.
INPUTS = (
    *("train.learning_rate", "train.schedule", "train.decay", "train.warmup"),
    *("train.plateau_factor", "train.plateau_patience", "train.plateau_floor"),
)


_T = TypeVar("_T")


class Choice(NamedTuple):
    """What runs the steps of a training."""

    kernel: str
    steps_per_execution: int

    def task(self) -> dict[str, Any]:
        """Its part of a task."""
        return self._asdict()


class KernelChoice:
    """The kernels of one study, and which of them trains what.

    Args:
      config: Resolved configuration.
      space: Parsed search space.
      study: Keeps what was measured.
      loop: Runs the probes.
      unavailable: Kernel -> None, or the reason why it cannot run here.
      n_train: Training samples.
      timesteps: Length of the sequences.
      memory: What other studies measured, None to measure anew.
      about: Versions, device and data that a remembered figure depends on.
      workers: Trainings at a time.
      gpu: Whether they run on a GPU.
    """

    def __init__(
        self,
        config: schema.Sweep,
        space: dict[str, search_space.Domain],
        study: TrialStore,
        loop: Loop,
        unavailable: Mapping[str, str | None],
        n_train: int,
        timesteps: int,
        memory: Memory | None = None,
        about: Mapping[str, Any] | None = None,
        workers: int = 1,
        gpu: bool = False,
    ):
        self.config, self.space, self.study, self.loop = config, space, study, loop
        self.unavailable, self.n_train = unavailable, n_train
        self.memory, self.about, self.workers, self.gpu = memory, dict(about or {}), workers, gpu
        self.backend, self.named = config["backend"]["name"], config["kernel"]["name"]
        unroll = timesteps <= config["kernel"]["max_unroll"]
        # unrolled_xla compiles for longer than a trial saves by it.
        self.candidates = [
            name
            for name, reason in unavailable.items()
            if reason is None and name != "unrolled_xla" and (unroll or name != "unrolled")
        ]
        self._decided: list[dict[str, Any]] = []
        self._probing: list[Choice] | None = None  # of the winner's, those to come

    def _choices(self) -> list[Choice]:
        names = self.candidates if self.named == "auto" else [self.named]
        return [Choice(name, n) for name in names for n in factory.steps_per_execution(self.backend, name)]

    def decide(self) -> str:
        """Where there is a choice, decides once per study, at the ends of its space, and keeps the answer; in words."""
        choices = self._choices()
        if len(choices) > 1:
            self._decided = self.once("kernels", lambda: self._measure(choices))
        else:
            self._decided = self.study.get("kernels") or []
        decided = {self._words(choice) for choice in map(self._choice, self._decided)} or {self._words(choices[0])}
        if len(decided) == 1:
            return decided.pop()
        return ", ".join(
            f"{self._words(self._choice(found))} near {values(found['corner'])}" for found in self._decided
        )

    def once(self, key: str, measure: Callable[[], _T]) -> _T:
        """A fact that is measured once per study: by this driver, or by another one, which is waited for."""
        taken = False

        def look() -> Running | None:
            nonlocal taken
            taken = self.study.get(key) is None and bool(self.study.claim([key]))
            return None if taken or self.study.get(key) is not None else NO_TASK_YET

        counts = False
        while not counts:
            if look() is NO_TASK_YET:
                self.loop.run(look, lambda *_: None)
            # What was claimed by another driver since, this one having been silent for too long, is not this one's to say.
            counts = not taken or self.study.put(key, measure())
        found: _T = self.study.get(key)
        return found

    def _choice(self, decision: Mapping[str, Any]) -> Choice:
        usual = factory.steps_per_execution(self.backend, decision["kernel"])[0]
        return Choice(decision["kernel"], decision.get("steps_per_execution", usual))

    def _words(self, choice: Choice) -> str:
        several = len(factory.steps_per_execution(self.backend, choice.kernel)) > 1
        return choice.kernel + (f" x{choice.steps_per_execution}" if several else "")

    def of(self, config: schema.Sweep, params: Mapping[str, Any]) -> Choice:
        """What trains one configuration: the only one, or what was decided at the nearest measured shape.

        Args:
          config: Resolved configuration of the trial.
          params: Its searched values. Nearest is by the logarithm of the sizes.
        """
        if not self._decided:
            return self._choices()[0]
        return self._choice(min(self._decided, key=lambda decision: distance(decision["corner"], params)))

    def _compiles_per_trial(self) -> float:
        """Share of the trials that need a program of their own: workers keep the programs of shapes that come again."""
        programs, trials = self.workers, max(1, self.config["study"]["n_trials"])
        for path, domain in self.space.items():
            if path not in INPUTS:
                programs *= len(domain["choices"]) if domain["type"] == "categorical" else trials
        return min(1.0, programs / trials)

    def _measure(self, choices: list[Choice]) -> list[dict[str, Any]]:
        """Every choice at every corner; the one wins that finishes a trial first, its share of compiling included."""
        corners = search_space.corners(self.space)
        measured: list[dict[Choice, dict[str, float]]] = [{} for _ in corners]
        waiting = []
        for number in reversed(range(len(corners))):
            for choice in choices:
                known = self.memory.get(self._about(corners[number], choice)) if self.memory else None
                if known is None:
                    waiting.append((number, choice))
                else:
                    measured[number][choice] = known

        n, lasted, measuring = len(waiting), list[float](), dict[str, tuple[int, Choice]]()

        def next_task() -> Running | None:
            if not waiting:
                return None
            number, choice = waiting.pop(0)
            name = f"kernel {n - len(waiting)} of {n}: {self._words(choice)}, shape {number + 1} of {len(corners)}"
            running = Running(name, self.probe_task(corners[number], choice, DECISION_S))
            measuring[name] = number, choice
            running.about_s = statistics.fmean(lasted) if lasted else None
            return running

        def finished(running: Running, result: Result) -> None:
            assert isinstance(result, ProbeResult)
            lasted.append(running.elapsed_s())
            if kept := result.figures():
                number, choice = measuring[running.name]
                measured[number][choice] = kept
                # Under other load their order is another one: good enough for this study, not for those to come.
                if self.memory and not result.disturbed_by:
                    self.memory.put(self._about(corners[number], choice), kept)

        self.loop.run(next_task, finished)
        samples, share = self.config["train"]["epochs"] * self.n_train, self._compiles_per_trial()
        decided: list[dict[str, Any]] = []
        for corner, figures in zip(corners, measured, strict=True):
            seconds = {
                choice: share * found["compile_s"] + samples / found["train_samples_per_s"]
                for choice, found in figures.items()
            }
            if not seconds:
                raise KernelError(
                    f"kernel={self.named}: none of the kernels ran", remedy="See the workers' logs; or name a kernel."
                )
            fastest = min(seconds, key=lambda choice: seconds[choice])
            named = {self._words(choice): found for choice, found in figures.items()}
            decided.append({"corner": corner, **fastest.task(), "measured": named})
        return decided

    def _about(self, corner: Mapping[str, Any], choice: Choice) -> dict[str, Any]:
        """What a remembered figure stands under."""
        config = replaced(self.config, corner)
        shape = {**config["model"], "batch_size": config["train"]["batch_size"]}
        trained = {"backend": self.backend, "shape": bucket(shape), "optimizer": config["train"]["optimizer"]}
        return {**self.about, **trained, **choice.task()}

    def probe_task(self, values: Mapping[str, Any], choice: Choice, seconds: float, pack: int = 1) -> ProbeTask:
        """The task that measures a choice at searched values, for so many trainings in one program."""
        return ProbeTask(config=replaced(self.config, values), seconds=seconds, pack=pack, **choice.task())

    def probe(self, winner: Mapping[str, Any], digest: str) -> list[dict[str, Any]]:
        """Rows of `columns.KERNEL_COLUMNS` for the winner: every kernel measured, or the reason why it is not.

        One kernel at a time, the other workers idle; measured once and kept.

        Args:
          winner: Searched values of the confirmed configuration.
          digest: Its name.
        """
        return self.once(f"probe/{digest}", lambda: self._probe(winner))

    def probing_s(self) -> float:
        """Seconds that `probe` still takes."""
        if self._probing is None:
            return sum(self._probe_s(Choice(name, 1)) for name in self.candidates)
        running = sum(max((r.about_s or 0.0) - r.elapsed_s(), 0.0) for r in self.loop.running())
        return running + sum(self._probe_s(choice) for choice in self._probing)

    def _probe_s(self, choice: Choice) -> float:
        """Seconds that a kernel of `probe` takes: it is built, compiled, warmed up and timed."""
        compiled = [
            figures["compile_s"]
            for decision in self._decided
            for words, figures in decision.get("measured", {}).items()
            if words.split()[0] == choice.kernel
        ]
        return float(self.config["kernel"]["probe_s"]) + max(compiled, default=_COMPILE_S) + _WARM_UP_S

    def _probe(self, winner: Mapping[str, Any]) -> list[dict[str, Any]]:
        backend = self.backend
        rows: dict[str, dict[str, Any]] = {}
        for name, reason in self.unavailable.items():
            skipped = None if name in self.candidates else "not measured: compiles for too long"
            rows[name] = {"backend": backend, "kernel": name, "reason": reason or skipped}
        trained = self.of(replaced(self.config, winner), winner)
        waiting = [
            trained if name == trained.kernel else Choice(name, factory.steps_per_execution(backend, name)[0])
            for name in self.candidates
        ]

        n, self._probing, measuring = len(waiting), waiting, dict[str, str]()

        def next_task() -> Running | None:
            if self.loop.busy() or not waiting:
                return None
            self.loop.display.total(self.config["study"]["name"], n - len(waiting), n, "kernel")
            choice = waiting.pop(0)
            name = f"the winner's kernel {n - len(waiting)} of {n}: {choice.kernel}"
            running = Running(name, self.probe_task(winner, choice, self.config["kernel"]["probe_s"]))
            measuring[name] = choice.kernel
            running.about_s = self._probe_s(choice)
            return running

        def finished(running: Running, result: Result) -> None:
            assert isinstance(result, ProbeResult)
            row = rows[measuring[running.name]]
            if result.state == "COMPLETE":
                row |= {column: value for column, value in result.row().items() if column in columns.KERNEL_COLUMNS}
                share = str(result.device_share).replace("other busy", "other idle")
                row["device_share"] = "; ".join(filter(None, (share, result.disturbed_by)))
            else:
                row["reason"] = ": ".join(filter(None, (result.reason, result.detail)))

        self.loop.run(next_task, finished)
        return list(rows.values())


def distance(corner: Mapping[str, Any], params: Mapping[str, Any]) -> float:
    """From a measured shape to a configuration, squared, by the logarithm of the sizes."""
    return sum((_size(params[path]) - _size(value)) ** 2 for path, value in corner.items() if path in params)


def _size(value: float) -> float:
    """Logarithm of a size; of a negative value, mirrored."""
    return math.copysign(math.log1p(abs(value)), value)
