"""What a worker process is made of: Keras's backend, loaded once onto its device, and the bench that trains with it."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from lstm_bench.core import numerics, user_code
from lstm_bench.training import precision

if TYPE_CHECKING:
    from lstm_bench.training.tasks import TaskRunner


def bench(setup: Mapping[str, Any], make: type[TaskRunner] | None = None) -> tuple[TaskRunner, str]:
    """The bench that trains, or one made of it, on a device that the backend is asked to use and may not see."""
    given = setup["backend"], setup["gpu"] is not None, len(setup["cores"]), setup["keras"], setup["deterministic"]
    seen = load(*given)
    from lstm_bench.core.hardware import cpu_name
    from lstm_bench.training.tasks import TaskRunner

    blind = setup["gpu"] is not None and seen == "cpu"  # a GPU that this backend's build cannot use
    device, gpu = cpu_name() if blind else setup["device"], setup["gpu"] if seen == "gpu" else None
    code = setup.get("code")
    guard = user_code.Guard(code["target"], code["files"]) if code else None
    return (make or TaskRunner)(device, setup["share"], gpu, setup["data_fd"], guard), seen


def load(backend: str, gpu: bool, cores: int, keras: bool, deterministic: bool) -> str:
    """Imports the backend, and Keras if asked to; takes the device gently, returns what it sees: "gpu" or "cpu"."""
    os.environ["KERAS_BACKEND"] = backend
    numerics.prepare(os.environ)
    with precision.apart():
        seen = _imported(backend, cores, deterministic)
        precision.pin(backend)
        if keras:
            precision.keras().config.disable_traceback_filtering()
    return "gpu" if seen and gpu else "cpu"


def _imported(backend: str, cores: int, deterministic: bool) -> bool:
    """Imports the backend; returns whether it sees a GPU."""
    if backend != "tensorflow":
        # keras.utils.set_random_seed imports TensorFlow wherever it is installed: seconds, and hundreds of MiB.
        sys.modules.setdefault("tensorflow", None)  # type: ignore[arg-type]
    if backend == "tensorflow":
        import tensorflow as tf

        tf.config.threading.set_intra_op_parallelism_threads(cores)
        tf.config.threading.set_inter_op_parallelism_threads(1)
        devices = tf.config.list_physical_devices("GPU")
        for device in devices:
            tf.config.experimental.set_memory_growth(device, True)
        if deterministic:
            tf.config.experimental.enable_op_determinism()
        seen = bool(devices)
    elif backend == "jax":
        import jax

        seen = jax.default_backend() == "gpu"
    else:
        import torch

        torch.set_num_threads(cores)
        if deterministic:
            torch.use_deterministic_algorithms(True)
            torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = True, False
        seen = torch.cuda.is_available()
    return seen
