"""The published records, and the limits of an archive as they are without options."""

from __future__ import annotations

from pathlib import Path

from lstm_bench.study import validate

PUBLISHED = Path(__file__).parents[2] / "sweeps" / "published" / "amd-epyc-2-cores"
LIMITS = validate.limits({})
