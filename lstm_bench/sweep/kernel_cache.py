"""What kernels measured before: training throughput by versions, device and shape, in one small file beside the data's cache.

A study whose shapes were measured by another one takes their figures over instead of measuring again. Sizes are rounded to
powers of two: a shape's neighbours have the same fastest kernel. The file may be deleted at any time.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def bucket(value: Any) -> Any:
    """A size rounded to a power of two; of any other number, whether there is any; names as they are."""
    if isinstance(value, Mapping):
        return {key: bucket(inner) for key, inner in value.items()}
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value
    if isinstance(value, int) and value > 0:
        return 2 ** round(math.log2(value))
    return value > 0


class Memory:
    """The file of remembered figures.

    Args:
      path: JSON; its folder is made with the first figure. A file that cannot be read counts as empty, one that cannot be
        written stays as it is: nothing depends on it but time.
    """

    def __init__(self, path: Path):
        self.path = path

    def _read(self) -> dict[str, Any]:
        try:
            found = json.loads(self.path.read_text())
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def get(self, about: Mapping[str, Any]) -> dict[str, float] | None:
        """Figures that were put under an equal description, None when there are none."""
        entry = self._read().get(_key(about))
        try:
            return {name: float(value) for name, value in entry["figures"].items()} if entry else None
        except (TypeError, KeyError, AttributeError, ValueError):
            return None

    def put(self, about: Mapping[str, Any], figures: Mapping[str, float]) -> None:
        """Remembers figures; the description is kept beside them for people to read."""
        entries = {**self._read(), _key(about): {"about": dict(about), "figures": dict(figures)}}
        new = self.path.with_name(f"{self.path.name}.{os.getpid()}")
        with contextlib.suppress(OSError):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            new.write_text(json.dumps(entries, indent=1, sort_keys=True) + "\n")
            new.replace(self.path)  # whole or not at all; of two at once, one is measured again some day


def _key(about: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:16]
