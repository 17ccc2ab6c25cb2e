"""Half of what `import keras` takes: what Keras and TensorFlow import because it is there, for functions that nothing here calls.

Keras 3.15 imports scikit-learn for `keras.wrappers`, Matplotlib's pyplot for `keras.visualization`, pandas to take data frames,
JAX (through Orbax) to save checkpoints; TensorFlow 2.21 imports JAX to convert its models for TensorFlow Lite. Each does without
where it is not installed, and a worker needs none of them for that.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator

OFFERED = ("jax", "matplotlib", "orbax", "pandas", "pyarrow", "scipy", "sklearn")
_PARTS = {"jax": ("jax", "scipy")}  # of these, what a backend is made of


@contextlib.contextmanager
def lean(backend: str) -> Iterator[None]:
    """While Keras and a backend are imported, what they offer more for seems not to be installed; afterwards it is as before.

    What is imported already stays; the rest can be imported as ever when the context ends.
    """
    hidden = [name for name in OFFERED if name not in _PARTS.get(backend, ()) and name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]  # None: its import raises ImportError
    try:
        yield
    finally:
        for name in hidden:
            if sys.modules.get(name, name) is None:
                del sys.modules[name]
