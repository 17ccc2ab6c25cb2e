"""The page of forecast launches: what JAX's training steps, compiled for GPUs that were not there, would ask of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lstm_bench.report.render.markdown import code, csv_text, document, escape, link, markdown
from lstm_bench.study.columns import LAUNCH_COLUMNS

STEM = "kernels-forecast"
FILE = "forecast.csv"
LINK = "kernel launches, a forecast"
_ABOUT = (
    "JAX's training step of the kernel benchmark's cells, compiled ahead of time for NVIDIA GPUs on a machine without one, and "
    "never run. The launches of one step are counted in XLA's optimised program: its own fusions, calls of libraries and copies, "
    "inside loops times their turns. No time is forecast."
)
_NOT = (
    "The compiler chose without a card: there it tries several programs and takes the fastest, so that a product may become "
    "a library's call, and counts differ by as much. It may also record several launches as one CUDA graph, which costs "
    "less than they do; the optimised program does not show that. What cuDNN launches is its own affair: not known. The "
    "lower bound is no forecast but what no step goes below by the roofline: products at the card's TF32 peak, or bytes at "
    "its bandwidth where they exceed its cache. It holds for every kernel, and is far below what launches alone cost. The "
    "GPUs are described as XLA's own target descriptions have them; the peaks of TF32 come from NVIDIA's data sheets. "
    "Compiled for CUDA 13."
)
_HEADER = (
    *("cell", "kernel", "launches", "fusions", "library calls", "copies", "loops: turns x launches"),
    *("temporary MiB", "lower bound, us", "remark"),
)


def page(rows: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """The page and its data, by file name.

    Args:
      rows: Of `forecast.csv`, columns `LAUNCH_COLUMNS`; a line that is torn is left out.
    """
    whole = [row for row in rows if None not in row and None not in row.values() and row.get("state")]
    made = dict.fromkeys(f"Keras {r['keras']}, jaxlib {r['jaxlib']}, jax-cuda13-pjrt {r['compiler']}" for r in whole)
    parts = ["# Kernel launches: a forecast", _ABOUT, f"Made with {'; '.join(map(escape, made))}."]
    for gpu in dict.fromkeys(row["gpu"] for row in whole):
        parts += [f"## Forecast: one training step on {escape(gpu)}", _of([r for r in whole if r["gpu"] == gpu])]
    parts += ["## What the forecast is not", _NOT, f"All rows as data: {link(f'{STEM}.csv', f'{STEM}.csv')}."]
    return {f"{STEM}.md": document(parts), f"{STEM}.csv": csv_text(LAUNCH_COLUMNS, whole)}


def _of(rows: Sequence[Mapping[str, str]]) -> str:
    lines = []
    for row in rows:
        mib = f"{int(row['temporary_bytes']) / 2**20:.1f}" if row["temporary_bytes"] else ""
        counts = [row[name] for name in ("fusions", "library_calls", "copies", "loops")]
        launches = row["launches"] or "not known"
        lines.append([code(row["cell"]), row["kernel"], launches, *counts, mib, row["bound_us"], escape(row["reason"])])
    return markdown(list(_HEADER), lines)
