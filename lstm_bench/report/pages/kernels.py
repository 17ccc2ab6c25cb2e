"""The pages of kernel benchmarks, one per grid with a section per device, from their records alone.

A ratio is formed within one device only. An arm that disagrees with the reference is shown as wrong, without its time.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from lstm_bench.report.figures.kernels import OPERATIONS, Row, kernel_figure_makers
from lstm_bench.report.pages.kernel_findings import arm_findings, arm_name, ratio_text
from lstm_bench.report.pages.study import Pages
from lstm_bench.report.render.markdown import (
    NONE,
    Raw,
    bullets,
    code,
    count,
    csv_text,
    document,
    escape,
    image,
    link,
    listed,
    markdown,
    seconds,
    sentence,
    short,
    slug,
)
from lstm_bench.report.sources.records import Result

_SHAPE = ("layer", "units", "layers", "timesteps", "features", "batch")
_CEILINGS = ("matmul_flop_per_s", "copy_byte_per_s")
_ENDED = ("measured", "other_kernel", "wrong", "compile_limit")  # states that are rows of a table
_NUMBER = r"\d+(?:\.\d+)?"
_METHOD = (
    "samples/s: median and 10th to 90th percentile of synchronised, warm samples over several rounds, each arm in fresh "
    "processes. Speedup: over the `generic` kernel of the same backend on the same device, with the 95 % interval from "
    "resampling rounds; between two other arms, the quotient of both intervals, a cautious one. Error: relative, "
    "against a float64 reference, and what is tolerated. Roofline: the lower of peak and intensity times bandwidth, "
    "from the machine's own ceilings. `bare` and `native` are the framework's own layers without Keras, one by one and "
    "as one stack. "
)


def stem(result: Result) -> str:
    """Name of the page of a benchmark's grid: that of its folder."""
    return result.name if result.name.startswith("kernels-") else f"kernels-{result.name}"


def kernel_pages(
    results: Sequence[Result], literature: Mapping[str, Any], up: str, beside: Iterable[str] = ()
) -> Pages:
    """Pages, data and figures of all benchmarks.

    Args:
      results: Benchmarks, of any grids and devices.
      literature: Contents of `conf/literature.yaml`.
      up: From the pages to the folder above the reports, `../`.
      beside: Stems of pages one folder up that show the published benchmarks.
    """
    pages = Pages()
    for place in sorted({stem(r) for r in results}):
        mine = sorted((r for r in results if stem(r) == place), key=lambda r: r.source)
        above = f"Published: {link(place, f'../{place}.md')}." if place in beside else ""
        parts = [
            f"# Kernel benchmark: {escape(place.removeprefix('kernels-'))}",
            *(bullets(f"{r.source}: {note}" for note in r.notes) for r in mine if r.notes),
            f"{_METHOD}How it is measured: {link('docs/method.md', f'{up}docs/method.md')}. {above}".strip(),
        ]
        for result in mine:
            parts += _sections(result, place, literature, pages)
        told = [f"{e['what']}: {e['figure']} ({e['source']})" for e in literature.get("elsewhere") or []]
        if told:
            parts += ["## Published elsewhere", "Of no shape that is measured here; others' devices.", bullets(told)]
        parts.append(f"All rows as data: {link(f'{place}.csv', f'{place}.csv')}.")
        pages.texts[f"{place}.md"] = document(parts)
        columns = dict.fromkeys(c for r in mine for c in r.frame("cells").columns)
        rows = [{"source": r.source, **row} for r in mine for row in _rows(r)]
        pages.texts[f"{place}.csv"] = csv_text(["source", *columns], rows)
    return pages


def _rows(result: Result) -> list[Row]:
    return [{str(k): v for k, v in row.items()} for row in result.frame("cells").to_dict("records")]


def _sections(result: Result, place: str, literature: Mapping[str, Any], pages: Pages) -> list[str]:
    """One section per device that the rows name: a machine's backends need not run on the same one."""
    rows, main = _rows(result), str(result.env("device.name") or "")
    devices = sorted({r["device"] for r in rows} - {""}, key=lambda d: (d != main, d)) or [main or "unknown device"]
    parts = []
    for device in devices:
        mine = [r for r in rows if r["device"] == device or (not r["device"] and device == devices[0])]
        name = result.place or slug(device)
        name += f"-{slug(device)}" if result.place and len(devices) > 1 else ""
        ceilings = result.frame("ceilings")
        own = [c for c in ceilings.to_dict("records") if c["device"] in ("", device)]
        roofs: dict[str, tuple[float, float]] = {}
        for dtype in sorted({c["dtype"] for c in own}):
            peaks = [c[_CEILINGS[0]] for c in own if c["dtype"] == dtype]  # a copy knows no dtype
            best = [max([0.0, *(n for n in found if n > 0)]) for found in (peaks, [c[_CEILINGS[1]] for c in own])]
            if min(best) > 0:
                roofs[dtype] = (best[0], best[1])
        parts += [f"## {escape(device)} ({escape(result.source)})", _what(result, device, mine), *_ceilings(own)]
        if says := arm_findings(mine):
            parts += ["### What it says", bullets(says)]
        for what, (make, caption) in kernel_figure_makers(mine, roofs, device).items():
            path = f"figures/{place}-{name}-{what}"
            pages.figures[path] = make
            parts.append(image(path, caption))
        for operation in OPERATIONS:
            parts += _table([r for r in mine if r["operation"] == operation and r["state"] in _ENDED], operation)
        parts += [*_unmeasured(mine), *_evidence(mine), *_published(mine, device, literature)]
    return parts


def _what(result: Result, device: str, rows: Sequence[Row]) -> str:
    packages = result.env("packages")
    versions = packages if isinstance(packages, Mapping) else {}
    backends = sorted({r["backend"] for r in rows})
    shown = [f"{n} {result.env(k)}" for n, k in (("lstm_bench", "lstm_bench"), ("Python", "python")) if result.env(k)]
    names = ["keras", *backends, *(["jaxlib"] if "jax" in backends else []), *(p for p in versions if "cudnn" in p)]
    shown += [f"{name} {versions[name]}" for name in dict.fromkeys(names) if name in versions]
    commit = str(result.env("git.commit") or "")
    dirty = " with uncommitted changes" if result.env("git.dirty") else ""
    cells, timed = {r["cell"] for r in rows}, [r for r in rows if r["n"] > 0]
    rounds = sorted({int(r["rounds"]) for r in timed if r["rounds"] > 0})
    table: list[tuple[str, object]] = [
        ("device", device),
        ("shared with", ", ".join(sorted({r["device_share"] for r in rows} - {""}))),
        ("processor", f"{result.env('device.cpu')}, {result.env('device.cores')} cores"),
        ("GPU driver", result.env("device.driver")),
        ("platform", result.env("platform")),
        ("versions", ", ".join(shown)),
        ("commit", Raw(code(commit) + dirty) if commit else "not recorded"),
        ("measured", f"{len(cells)} cells, {len(timed)} of {len(rows)} arms and operations, rounds {_span(rounds)}"),
        ("records", Raw(code(result.records))),
    ]
    return markdown(["", ""], [(k, v) for k, v in table if v not in (None, "")])


def _ceilings(own: Sequence[Mapping[Any, Any]]) -> list[str]:
    if not own:
        return ["No ceilings are recorded: no roofline."]
    rows = [
        [c["dtype"], c["backend"], _rate(c[_CEILINGS[0]], 1e12), _rate(c[_CEILINGS[1]], 1e9), count(c["n"])]
        for c in own
    ]
    columns = ["dtype", "backend", "matrix product, TFLOP/s", "copy, GB/s", "n"]
    text = "The machine's own ceilings, measured in the same run; the roof of a dtype is the best over the backends."
    return [text, markdown(columns, rows, columns[2:])]


def _table(rows: Sequence[Row], operation: str) -> list[str]:
    """The rows of one operation, by cell and backend, the fastest first; marks as footnotes."""
    if not rows:
        return []
    cells = list(dict.fromkeys(r["cell"] for r in rows))

    def key(row: Row) -> tuple[int, str, bool, float, str]:
        speed = _speed(row)
        known = not math.isnan(speed)
        return (cells.index(row["cell"]), row["backend"], not known, -speed if known else 0, row["kernel"])

    energy = any(r["energy_j_per_million"] > 0 for r in rows)
    notes: dict[str, list[float]] = {}  # a mark without its number -> the numbers
    lines = []
    for row in sorted(rows, key=key):
        parts = [part for part in re.split(r";\s*", row["marks"]) if part]
        kinds = dict.fromkeys(re.sub(_NUMBER, "#", part) for part in parts)  # a mark of each round, its numbers aside
        for part in parts:
            notes.setdefault(re.sub(_NUMBER, "#", part), []).extend(map(float, re.findall(_NUMBER, part)))
        mark = "".join(f"<sup>{list(notes).index(kind) + 1}</sup>" for kind in kinds)
        lines.append([row["cell"], Raw(escape(arm_name(row)) + mark), row["kernel_ran"], *_numbers(row, energy)])
    columns = [
        "cell", "arm", "kernel that ran", "samples/s (p10 to p90)", "step, ms", "compile, s", "first call, s",
        "speedup over generic (95 %)", "TFLOP/s", "% of roofline", "peak, MiB", *(["kJ per million"] if energy else []),
        "error (tolerated)",
    ]  # fmt: skip
    ranges = {k: " to ".join(f"{n:g}" for n in dict.fromkeys((min(v), max(v)))) if v else "" for k, v in notes.items()}
    told = "\n".join(f"{i}. {escape(sentence(k.replace('#', v)))}." for i, (k, v) in enumerate(ranges.items(), 1))
    title = f"### {sentence(OPERATIONS[operation])}"
    return [title, markdown(columns, lines, columns[3:]), f"Marked while measured:\n\n{told}" if told else ""]


def _numbers(row: Row, energy: bool) -> list[str]:
    error = f"{row['error']:.1e}" if math.isfinite(row["error"]) else NONE
    error += f" ({row['tolerance']:.0e})" if math.isfinite(row["tolerance"]) else ""
    if row["state"] in ("wrong", "compile_limit"):  # never a time of its own
        wrong = row["state"] == "wrong"
        end = f"wrong (error {row['error']:.2g})" if wrong else row["reason"] or "compiles for too long"
        return [end, *[NONE] * (7 + energy), error if wrong else NONE]
    middle, low, high = (_amount(row[f"{part}samples_per_s"]) for part in ("", "p10_", "p90_"))
    speed = f"{middle} ({low} to {high})"
    ratio = ratio_text(*(row[c] for c in ("speedup", "speedup_low", "speedup_high")))
    if row["state"] == "other_kernel":
        speed, ratio = f"{speed}; {row['reason'] or 'another kernel ran'}", "no ratio: another kernel ran"
    fraction = row["roofline_fraction"]
    return [
        speed,
        _amount(row["step_ms"]),
        seconds(row["compile_s"]),
        seconds(row["first_call_s"]),
        "1" if row["kernel"] == "generic" and not row["baseline"] and row["state"] == "measured" else ratio,
        _rate(row["flop_per_s"], 1e12),
        f"{100 * fraction:.3g}" if math.isfinite(fraction) else NONE,
        count(row["peak_memory_mib"]),
        *([_rate(row["energy_j_per_million"], 1e3)] if energy else []),
        error,
    ]


def _unmeasured(rows: Sequence[Row]) -> list[str]:
    """Arms without a figure, those of one reason and extent on one line."""
    cells, operations = {r["cell"] for r in rows}, {r["operation"] for r in rows}
    arms: dict[tuple[str, str, str], tuple[set[str], set[str]]] = {}
    for row in rows:
        if row["state"] not in _ENDED:
            mine = arms.setdefault((row["state"], row["reason"], arm_name(row)), (set(), set()))
            mine[0].add(row["cell"])
            mine[1].add(row["operation"])
    groups: dict[tuple[str, str, str, str], list[str]] = {}
    for (state, reason, arm), (where, when) in sorted(arms.items()):
        extent = "" if where == cells else listed([c for c in dict.fromkeys(r["cell"] for r in rows) if c in where])
        part = "" if when == operations else ", ".join(text for o, text in OPERATIONS.items() if o in when)
        groups.setdefault((state, reason or "no reason given", extent, part), []).append(arm)
    lines = []
    for (state, reason, extent, part), names in groups.items():
        limits = "; ".join(text for text in (extent, part) if text)
        lines.append(f"{', '.join(names)}: {state.replace('_', ' ')}, {reason}{f' ({limits})' if limits else ''}")
    return ["### Not measured", bullets(lines)] if lines else []


def _evidence(rows: Sequence[Row]) -> list[str]:
    found: dict[tuple[str, str], list[str]] = {}
    for operation in OPERATIONS:
        for row in rows:
            if row["evidence"] and row["operation"] == operation:
                found.setdefault((arm_name(row), row["kernel_ran"]), []).append(row["evidence"])
    lines = []
    for (arm, ran), texts in sorted(found.items()):
        others = len(set(texts)) - 1
        lines.append([arm, ran, texts[0] + (f" (and {others} other texts in the CSV)" if others else "")])
    return (
        ["### Evidence of the kernel that ran", markdown(["arm", "kernel that ran", "evidence"], lines)]
        if lines
        else []
    )


def _published(rows: Sequence[Row], device: str, literature: Mapping[str, Any]) -> list[str]:
    """Others' figures of the same shape and operation beside ours: each ratio within its own device."""
    lines = []
    for entry in literature.get("figures") or []:
        mine = [
            r for r in rows
            if r["operation"] == entry["operation"] and r["state"] == "measured" and math.isfinite(r["step_ms"])
            and all(r[k] == entry["shape"][k] for k in _SHAPE)
        ]  # fmt: skip
        best = {(r["dtype"], r["backend"]): r for r in sorted(mine, key=lambda r: (-r["step_ms"], arm_name(r)))}
        kept = [r for r in mine if r["kernel"] in ("cudnn", "generic") or r is best[r["dtype"], r["backend"]]]
        if not kept:
            continue
        shape, what = kept[0]["cell"].removesuffix(f"-{kept[0]['dtype']}"), OPERATIONS[entry["operation"]]
        remark = f"; {entry['differs']}" if entry.get("differs") else ""
        lines += [
            [shape, what, f"published: {entry['source']}{remark}", entry["device"], arm["what"], arm["dtype"], short(arm["ms"]),
             arm.get("ratio", "")]
            for arm in entry["arms"]
        ]  # fmt: skip
        for row in sorted(kept, key=lambda r: (r["dtype"], r["backend"], r["step_ms"])):
            ratio = [row[c] for c in ("speedup", "speedup_low", "speedup_high")]
            text = f"{ratio_text(*ratio)} over generic" if math.isfinite(ratio[0]) else ""
            lines.append([shape, what, "ours", device, arm_name(row), row["dtype"], _amount(row["step_ms"]), text])
    if not lines:
        return []
    columns = ["shape", "operation", "whose", "device", "arm", "dtype", "step, ms", "ratio within that device"]
    text = "Others' figures stand where a cell has their shape and operation. Devices differ: no ratio between them."
    return ["### Beside published figures", text, markdown(columns, lines, {"step, ms"})]


def _speed(row: Row) -> float:
    return float(row["samples_per_s"]) if row["state"] in ("measured", "other_kernel") else math.nan


def _amount(value: float) -> str:
    return count(value) if not abs(value) < 100 else f"{value:.3g}"


def _rate(value: float, unit: float) -> str:
    return _amount(value / unit) if math.isfinite(value) else NONE


def _span(numbers: Sequence[int]) -> str:
    return NONE if not numbers else str(numbers[0]) if len(numbers) == 1 else f"{numbers[0]} to {numbers[-1]}"
