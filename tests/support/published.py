"""The published records, and the limits of an archive as they are without options."""

from __future__ import annotations

from pathlib import Path

from lstm_bench.study import validate

PUBLISHED = Path(__file__).parents[2] / "sweeps" / "published" / "intel-xeon-2-cores"
KERNELS = PUBLISHED / "kernels-tutorial"
LIMITS = validate.limits({})
