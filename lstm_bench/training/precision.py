"""The precision of a process that trains: set once its framework and Keras are imported, and read back."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lstm_bench.core.errors import ConfigError
from lstm_bench.core.numerics import _KERAS, precision
from lstm_bench.training.lean_import import lean


def pin(backend: str) -> None:
    """Sets the precision of a backend that is imported: to what `precision` says."""
    if backend == "tensorflow":
        import tensorflow as tf

        tf.config.experimental.enable_tensor_float_32_execution(True)
    elif backend == "jax":
        import jax

        jax.config.update("jax_enable_x64", False)
        jax.config.update("jax_default_matmul_precision", None)
    else:
        import torch

        torch.set_default_dtype(torch.float32)
        torch.set_float32_matmul_precision("highest")
        torch.backends.cudnn.allow_tf32 = True


@contextlib.contextmanager
def apart() -> Iterator[None]:
    """Lets frameworks be imported without the user's `keras.json`, which may hold anything; TensorFlow imports Keras too.

    And without what Keras only offers more for. Its folder stays the user's: `keras.utils.get_file` and the like find what they
    have downloaded there.
    """
    home = os.environ.get("KERAS_HOME")
    os.environ["KERAS_HOME"] = os.devnull  # where no file is, and none can be made
    try:
        with lean(os.environ.get("KERAS_BACKEND", "tensorflow")):
            yield
    finally:
        del os.environ["KERAS_HOME"]
        if home is not None:
            os.environ["KERAS_HOME"] = home
        internal = sys.modules.get("keras.src.backend.config")
        if internal is not None:
            vars(internal)["_KERAS_DIR"] = home or _home()


def _home() -> str:
    """Keras's folder, by its own rule."""
    with contextlib.suppress(RuntimeError):  # nobody's
        if os.access(Path.home(), os.W_OK):
            return str(Path.home() / ".keras")
    return "/tmp/.keras"  # where Keras itself goes then  # nosec B108


def keras() -> Any:
    """Keras, set to what `precision` says; imported where it was not yet."""
    with apart() if "keras" not in sys.modules else contextlib.nullcontext():
        import keras

    keras.config.set_floatx(_KERAS["floatx"])
    keras.config.set_image_data_format(_KERAS["image_data_format"])
    keras.config.set_epsilon(_KERAS["epsilon"])
    keras.config.set_dtype_policy("float32")
    return keras


def found(backend: str) -> dict[str, Any]:
    """What a process whose backend and Keras are imported computes in; compare `precision`."""
    import keras

    said: dict[str, Any] = {name: getattr(keras.config, name)() for name in _KERAS}
    said["dtype_policy"] = keras.config.dtype_policy().name
    if backend == "tensorflow":
        import tensorflow as tf

        tf32 = tf.config.experimental.tensor_float_32_execution_enabled()
        return {**said, "matmul_precision": "default", "tf32": tf32}
    if backend == "jax":
        import jax

        matmul = jax.config.jax_default_matmul_precision or "default"
        return {**said, "matmul_precision": matmul, "x64": jax.config.jax_enable_x64}
    import torch

    cuda = torch.backends.cuda.matmul.allow_tf32
    return {
        **said,
        "matmul_precision": torch.get_float32_matmul_precision(),
        "tf32": cuda,
        "tf32_cudnn": torch.backends.cudnn.allow_tf32,
    }


def refuse_changes(backend: str, target: str) -> None:
    """Refuses a family whose module sets another precision for everything in its process.

    Raises:
      ConfigError: names the setting.
    """
    wanted = precision(backend)
    for name, value in found(backend).items():
        if value != wanted[name]:
            raise ConfigError(
                f"model._target_={target}: its module sets {name} for the whole process",
                expected=str(wanted[name]),
                received=str(value),
                remedy="Give single layers a dtype of their own instead.",
            )
