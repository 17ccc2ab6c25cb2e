"""Where a session's tasks run: worker processes of this machine, or actors of a Ray cluster, started once there is work."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from lstm_bench.core import errors, fileio, hardware, schema, vocabulary
from lstm_bench.core.cache import cache_folder
from lstm_bench.core.console import Display
from lstm_bench.core.errors import StorageError
from lstm_bench.data.dataset import Dataset
from lstm_bench.data.shared_memory import SharedDataset
from lstm_bench.launcher.local import LocalLauncher
from lstm_bench.launcher.protocol import CheckResult
from lstm_bench.launcher.ray_launcher import RayLauncher
from lstm_bench.study import search_space
from lstm_bench.sweep import precheck

TRACEBACK = "logs/traceback.txt"  # in a study's folder: what a user's family raised


class Workers:
    """The workers of one session.

    Args:
      config: Resolved configuration.
      space: Parsed search space.
      folder: `sweeps/<study>/`.
      gpus: The visible GPUs.
      display: What a person sees.
      code: `target` and `files` of a user's own family, None of ours.

    Attributes:
      launcher: None until `start`.
      on_ray: Whether they are actors of a Ray cluster.
      slots: Their devices; of a cluster known after `wait`.
      gpus: As given; of a cluster those of its workers.
      gpu: Name of the GPU that the backend sees, None for the CPU.
    """

    def __init__(
        self,
        config: schema.Sweep,
        space: dict[str, search_space.Domain],
        folder: Path,
        gpus: list[hardware.Gpu],
        display: Display,
        code: Mapping[str, Any] | None,
    ):
        self._config, self._space, self._folder, self._display, self._code = config, space, folder, display, code
        self._backend = config["backend"]["name"]
        self.on_ray = config["launcher"]["name"] == "ray"
        self.gpus, self.slots = gpus, hardware.slots(config["launcher"]["workers"], gpus)
        self.gpu = gpus[0].name if gpus else None
        self.launcher: LocalLauncher | RayLauncher | None = None
        self._ray: RayLauncher | None = None  # the launcher, if it is that
        self._loaded: list[tuple[Dataset, schema.Dataset]] = []  # until the workers have it
        self._shared: SharedDataset | None = None
        self._give: Callable[[Dataset, schema.Dataset], None] | None = None  # to the workers

    def start(self) -> None:
        """Starts them; they have the data as soon as it was given."""
        settings, deterministic = self._config["launcher"], self._config["train"]["deterministic"]
        if self.on_ray:
            self.launcher = self._ray = RayLauncher(
                settings,
                self._backend,
                self._folder / "logs",
                self._display.line,
                deterministic=deterministic,
                code=self._code,
            )
            self._give = self._ray.share
        else:
            self._shared = SharedDataset()
            self._give = self._shared.store
            self.launcher = LocalLauncher(
                self.slots,
                self._backend,
                self._folder / "logs",
                settings["recycle_after"],
                settings["recycle_mib"],
                data_fd=self._shared.fd,
                # Machines may share a home, but not what was compiled for one of their processors.
                programs=cache_folder() / "xla" / re.sub(r"\W+", "-", hardware.cpu_name()),
                deterministic=deterministic,
                code=self._code,
            )
        self._share()

    def give(self, dataset: Dataset, settings: schema.Dataset | None = None) -> None:
        """Gives them the data, once both are there; the driver keeps no copy.

        Args:
          dataset: What `data.load` returned.
          settings: Of what: a seed's own, of a cluster alone; None for the study's.
        """
        self._loaded.append((dataset, settings or self._config["dataset"]))
        self._share()

    def _share(self) -> None:
        if self._give:
            while self._loaded:
                self._give(*self._loaded.pop(0))

    def wait(self) -> None:
        """Waits for the first worker of a cluster and takes its device as the study's: here that was known before."""
        if self._ray:
            self._ray.meet()
            self.slots, self.gpus = self._ray.slots, self._ray.gpus
            self.gpu = self.slots[0].gpu
            nodes, slot = self._ray.about()["nodes"], self.slots[0]
            where = ", ".join(f"{n} on {name}" for name, n in nodes.items())
            self._display.line(f"  ray       workers: {where}; {slot.device} ({slot.share})")

    def about(self) -> dict[str, Any] | None:
        """What a record says of a cluster; None of this machine."""
        return self._ray.about() if self._ray else None

    def check(self) -> list[str]:
        """Builds the model once in a worker, before the study is created; returns the family's recurrent layers.

        Raises:
          LstmBenchError: when the worker dies, or the model cannot be built.
        """
        assert self.launcher is not None
        self.launcher.submit("check", precheck.task(self._config, self._space))
        with contextlib.ExitStack() as waiting:
            waiting.enter_context(self._display.waiting(f"starting {vocabulary.BACKEND_NAMES[self._backend]}"))
            return self._checked(self.launcher, waiting)

    def _checked(self, launcher: LocalLauncher | RayLauncher, waiting: contextlib.ExitStack) -> list[str]:
        building = False
        while True:
            for event in launcher.events(0.5):
                if event.kind == "ready" and not building:
                    building = True
                    waiting.close()
                    waiting.enter_context(self._display.waiting("building the model"))
                if event.kind == "died":
                    if event.body.get("why"):
                        raise StorageError(f"a worker died while it started {event.body['why']}")
                    said = Path(event.body["log"]).read_text(errors="replace").strip().splitlines()[-1:]
                    raise StorageError(f"a worker died while it started (exit {event.body['exit']}): {' '.join(said)}")
                if event.kind == "ready" and self.gpu and event.body["seen"] == "cpu":
                    unseen, self.gpu = self.gpu, None
                    self._display.box(
                        f"{unseen} is there, but backend={self._backend} does not see it: this runs on the CPU. Install the"
                        " backend's GPU build, or set CUDA_VISIBLE_DEVICES= to run on the CPU knowingly."
                    )
                if event.kind == "result":
                    result = CheckResult.read(event.body)
                    traced = self._keep_traceback(result.traceback)
                    if fault := precheck.fault(self._config, result, traced):
                        raise fault
                    return list(result.layers)

    def _keep_traceback(self, text: str | None) -> str:
        """Writes what a user's function raised to a file; names it, in words that end a line."""
        if text is None:
            return ""
        fileio.write_text(self._folder / TRACEBACK, errors.redact(text))
        return f"; the traceback is in {shown(self._folder)}/{TRACEBACK}"

    def close(self) -> None:
        """Ends them."""
        if self.launcher:
            self.launcher.close()
        if self._shared:
            self._shared.close()


def shown(folder: Path) -> str:
    """A folder as a person at the prompt would name it."""
    return str(folder.relative_to(Path.cwd())) if folder.is_relative_to(Path.cwd()) else str(folder)
