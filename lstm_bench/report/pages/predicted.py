"""The page of predicted kernels: which one an NVIDIA GPU would run, read from programs on a machine without one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lstm_bench.report.render.markdown import code, csv_text, document, escape, link, markdown
from lstm_bench.study.columns import PREDICTED_COLUMNS

STEM = "kernels-predicted"
FILE = "predicted.csv"
LINK = "kernels that one would run"
_ABOUT = (
    "Which kernel an NVIDIA GPU would run for each recurrent layer, with one option each. Nothing here ran on a GPU, and no "
    "speed is said. `program`: read from the training step itself, built for a GPU. `rule, not program`: torch builds none; "
    "Keras's own rules for the calls of one step. `cannot say`: the reason stands below. Inference is named where it differs."
)


def page(rows: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """The page and its data, by file name.

    Args:
      rows: Of `predicted.csv`, columns `PREDICTED_COLUMNS`; a line that is torn is left out.
    """
    whole = [row for row in rows if None not in row and None not in row.values() and row.get("predicted")]
    backends = list(dict.fromkeys(row["backend"] for row in whole))
    made = dict.fromkeys(f"Keras {row['keras']}, {row['backend']} {row['version']}" for row in whole)
    parts = ["# Kernels that a GPU would run", _ABOUT, f"Made with {'; '.join(map(escape, made))}."]
    parts += [_overview(whole, backends)]
    for backend in backends:
        parts += [f"## Evidence: {escape(backend)}", _evidence([row for row in whole if row["backend"] == backend])]
    parts.append(f"All rows as data: {link(f'{STEM}.csv', f'{STEM}.csv')}.")
    return {f"{STEM}.md": document(parts), f"{STEM}.csv": csv_text(PREDICTED_COLUMNS, whole)}


def _overview(rows: Sequence[Mapping[str, str]], backends: Sequence[str]) -> str:
    found = {(row["layer"], row["option"], row["backend"], row["operation"]): row["predicted"] for row in rows}
    lines = []
    for layer, option in dict.fromkeys((row["layer"], row["option"]) for row in rows):
        line: list[object] = [layer, code(option)]
        for backend in backends:
            training, inference = (found.get((layer, option, backend, name), "") for name in ("training", "inference"))
            line.append(training if training == inference else f"{training} (inference: {inference})")
        lines.append(line)
    return markdown(["layer", "option", *backends], lines)


def _evidence(rows: Sequence[Mapping[str, str]]) -> str:
    """Of training; of inference where it differs."""
    kept = {(row["layer"], row["option"]): row["predicted"] for row in rows if row["operation"] == "training"}
    lines = [
        [
            row["layer"],
            code(row["option"]),
            row["operation"],
            row["predicted"],
            f"{row['cudnn_layers']} of {row['layers']}" if row["layers"] else "",
            code(row["evidence"]) if row["evidence"] else "",
            escape(row["reason"]),
        ]
        for row in rows
        if row["operation"] == "training" or row["predicted"] != kept.get((row["layer"], row["option"]))
    ]
    return markdown(["layer", "option", "operation", "kernel", "layers on cuDNN", "evidence", "reason"], lines)
