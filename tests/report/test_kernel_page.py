"""Pages of made-up kernel benchmarks: every state of an arm, several devices, damaged records, the figures' bytes."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from test_report import edit, make_study, sums

from lstm_bench.core import fileio
from lstm_bench.core.configuration import conf_dir
from lstm_bench.report import command as report
from lstm_bench.report.figures import kernels
from lstm_bench.report.pages import kernels as kernel_page
from lstm_bench.report.sources import benchmarks
from lstm_bench.study import columns, reader

ROOT = Path(report.__file__).parents[2]
COLUMNS, CEILINGS = columns.CELL_COLUMNS, columns.CEILING_COLUMNS
BRAUN = {"layer": "lstm", "units": 320, "layers": 1, "timesteps": 100, "features": 123, "batch": 64}
SMALL = {"layer": "lstm", "units": 64, "layers": 1, "timesteps": 28, "features": 28, "batch": 64}
# kernel -> speed relative to generic
SPEEDS = {"generic": 1.0, "xla": 0.8, "unrolled": 1.3, "unrolled_xla": 1.01, "bare": 2.4, "native": 2.9, "cudnn": 6.0}


def make_cell(rng, shape, *, dtype="float32", device="Xeon Test", gpu=False, backends=("jax", "torch"), rounds=3):
    """Rows of one cell: every arm and operation; cuDNN only on a GPU."""
    names = dict(
        zip(
            ("l", "u", "t", "f", "b"),
            (shape[k] for k in ("layers", "units", "timesteps", "features", "batch")),
            strict=True,
        )
    )
    cell = "{layer}-{l}x{u}-t{t}-f{f}-b{b}-{dtype}".format(layer=shape["layer"], dtype=dtype, **names)
    flop = 24.0 * shape["layers"] * shape["units"] * (shape["units"] + shape["features"]) * shape["timesteps"]
    rows = []
    for backend in backends:
        for kernel, factor in SPEEDS.items():
            for operation, cost in (("inference", 1), ("forward_backward", 3), ("train_step", 3.2)):
                row = {
                    **shape,
                    "cell": cell,
                    "dtype": dtype,
                    "backend": backend,
                    "kernel": kernel,
                    "operation": operation,
                }
                rows.append(row)
                if kernel == "cudnn" and not gpu:
                    row |= {"state": "unavailable", "reason": "no GPU"}
                    continue
                speed = (
                    (2e13 if gpu else 4e10)
                    / flop
                    * factor
                    / cost
                    * (1.2 if backend == "jax" else 1)
                    * rng.uniform(0.998, 1.002)
                )
                row |= {
                    "state": "measured", "kernel_ran": kernel, "samples_per_s": speed, "p10_samples_per_s": 0.96 * speed,
                    "p90_samples_per_s": 1.03 * speed, "step_ms": 1e3 * shape["batch"] / speed, "n": 21, "rounds": rounds,
                    "steps": 4000, "compile_s": 1.25, "first_call_s": 0.02, "error": 2.5e-7, "tolerance": 1e-4,
                    "flop_per_sample": flop, "bytes_per_sample": flop / 9, "flop_per_s": flop * speed,
                    "roofline_flop_per_s": 4e11, "roofline_fraction": flop * speed / 4e11, "peak_memory_mib": 612.0,
                    "device": device, "device_share": "exclusive", "evidence": f"{backend}: {kernel} ops 3",
                }  # fmt: skip
                if gpu:
                    row["energy_j_per_million"] = 2500.0
                if kernel != "generic":
                    row |= {
                        "baseline": "generic",
                        "speedup": factor,
                        "speedup_low": 0.95 * factor,
                        "speedup_high": 1.06 * factor,
                    }
    return rows


def make_benchmark(
    folder, shapes=(SMALL,), *, change=lambda row: None, device="Xeon Test", dtypes=("float32",), **more
):
    """Writes the records of a plausible benchmark into `folder`; `change` edits each row."""
    rng = np.random.default_rng(0)
    rows = [
        row for shape in shapes for dtype in dtypes for row in make_cell(rng, shape, dtype=dtype, device=device, **more)
    ]
    for row in rows:
        change(row)
    grid = folder.name.removeprefix("kernels-")
    fileio.write_yaml(folder / "config.yaml", {"grid": {"name": grid}, "method": {"rounds": 3}})
    fileio.write_json(
        folder / "environment.json",
        {
            "lstm_bench": "0.1.0", "python": "3.11.2", "platform": "Linux-6.1-x86_64", "grid": {"name": grid},
            "packages": {"keras": "3.15.1", "jax": "0.10.2", "torch": "2.13.0"},
            "git": {"commit": "0123456789abcdef", "dirty": False},
            "device": {"name": device, "cpu": "Xeon Test", "cores": 2},
        },
    )  # fmt: skip
    fileio.write_rows(folder / "cells.csv", COLUMNS, rows)
    ceilings = [
        {
            "backend": b,
            "dtype": d,
            "device": device,
            "matmul_flop_per_s": p * more.get("gpu", 0) * 100 + p,
            "copy_byte_per_s": 2e12 if more.get("gpu") else 2e10,
            "n": 20,
        }
        for d in dtypes
        for b, p in (("jax", 4.0e11), ("torch", 4.7e11))
    ]
    fileio.write_rows(folder / "ceilings.csv", CEILINGS, ceilings)
    return folder


def odd_states(row):
    """One arm of every state besides measured."""
    arm = (row["backend"], row["kernel"])
    if arm == ("jax", "xla"):
        row |= {"state": "wrong", "reason": "disagrees with the reference", "error": 0.31, "samples_per_s": 98765.4}
        row |= {"speedup": None, "speedup_low": None, "speedup_high": None}
    elif arm == ("jax", "native"):
        row |= {
            "state": "other_kernel",
            "kernel_ran": "generic",
            "reason": "asked native, ran generic",
            "speedup": None,
        }
        row |= {"speedup_low": None, "speedup_high": None}
    elif arm == ("torch", "xla") or arm == ("torch", "unrolled_xla"):
        for column in ("samples_per_s", "step_ms", "speedup", "error"):
            row[column] = None
        row |= {"state": "compile_limit", "reason": "compile exceeded 60 s"}
        if arm[1] == "unrolled_xla":
            row |= {"state": "failed", "reason": "RuntimeError | x"}
    elif arm == ("torch", "bare"):
        row["marks"] = (
            "other load 23 %; power cap; other load 12 %" if row["operation"] == "inference" else "other load 41 %"
        )


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def pages_only(monkeypatch):
    from lstm_bench.report.figures import style

    monkeypatch.setattr(style, "render", lambda made, kind: f"{kind} of {len(made.axes)} axes".encode())


def page(path):
    assert report.main([]) == 0
    return Path(path).read_text()


def table_rows(text, title):
    """The lines of the table under a heading."""
    part = text.split(f"### {title}\n")[1].split("\n#")[0]
    return [line for line in part.splitlines() if line.startswith("| ")][2:]


@pytest.mark.usefixtures("pages_only")
def test_a_page_says_where_and_how_and_shows_each_arm_with_its_proof(here):
    make_benchmark(here / "sweeps/kernels-quick")
    text = page("reports/kernels-quick.md")
    for part in (
        "# Kernel benchmark: quick\n",
        "[docs/method.md](../docs/method.md)",
        "## Xeon Test (working)",
        "| processor | Xeon Test, 2 cores |",
        "keras 3.15.1, jax 0.10.2, torch 2.13.0",
        "`0123456789abcdef`",
        "| measured | 1 cells, 36 of 42 arms and operations, rounds 3 |",
        "| float32 | torch | 0.47 | 20 | 20 |",
        "- jax cudnn, torch cudnn: unavailable, no GPU\n",
        "| torch unrolled | unrolled | torch: unrolled ops 3 |",
        "All rows as data: [kernels-quick.csv](kernels-quick.csv).",
    ):
        assert part in text, part
    assert text.index("### Training step") < text.index("### Forward + backward") < text.index("### Inference")
    rows = table_rows(text, "Training step")
    assert [line.split(" | ")[1] for line in rows] == [
        *(f"jax {k}" for k in ("native", "bare", "unrolled", "unrolled_xla", "generic", "xla")),
        *(f"torch {k}" for k in ("native", "bare", "unrolled", "unrolled_xla", "generic", "xla")),
    ]
    bare = next(line for line in rows if "| jax bare |" in line).split(" | ")
    raw = next(
        r for r in fileio.read_rows(here / "sweeps/kernels-quick/cells.csv")
        if (r["backend"], r["kernel"], r["operation"]) == ("jax", "bare", "train_step")
    )  # fmt: skip
    speed = float(raw["samples_per_s"])
    assert bare[3] == f"{speed:,.0f} ({0.96 * speed:,.0f} to {1.03 * speed:,.0f})"
    assert bare[4:8] == [f"{64e3 / speed:.3g}", "1.25", "0.02", "2.40x (2.28 to 2.54)"]
    assert bare[-1] == "2.5e-07 (1e-04) |"
    assert "kJ per million" not in text
    data = fileio.read_rows(here / "reports/kernels-quick.csv")
    assert list(data[0]) == ["source", *COLUMNS]
    assert len(data) == 42


@pytest.mark.usefixtures("pages_only")
def test_a_wrong_arm_is_never_shown_with_its_time(here):
    make_benchmark(here / "sweeps/kernels-quick", change=odd_states)
    text = page("reports/kernels-quick.md")
    for title in ("Training step", "Forward + backward", "Inference"):
        line = next(line for line in table_rows(text, title) if "| jax xla |" in line)
        assert "| wrong (error 0.31) | – | – | – | – | – | – | – | 3.1e-01 (1e-04) |" in line  # noqa: RUF001
    assert "98,765" not in text
    assert "3 rows disagree with the float64 reference, and are in no comparison: jax xla." in text


@pytest.mark.usefixtures("pages_only")
def test_each_state_is_said_and_only_measured_arms_are_compared(here):
    make_benchmark(here / "sweeps/kernels-quick", change=odd_states)
    text = page("reports/kernels-quick.md")
    rows = {line.split(" | ")[1]: line for line in table_rows(text, "Training step")}
    assert "; asked native, ran generic |" in rows["jax native"]
    assert "no ratio: another kernel ran" in rows["jax native"]
    assert "| compile exceeded 60 s | –" in rows["torch xla"]  # noqa: RUF001
    assert "torch unrolled_xla" not in rows
    assert "- torch unrolled\\_xla" not in text
    assert "- torch unrolled_xla: failed, RuntimeError \\| x\n" in text
    assert "torch bare<sup>1</sup>" in rows
    marked = text.split("### Inference")[1].split("### Not measured")[0]
    assert "torch bare<sup>1</sup><sup>2</sup>" in marked
    assert "1. Other load 12 to 23 %.\n2. Power cap.\n" in marked
    assert "xla over generic" not in text.replace("unrolled_xla over generic", "")


@pytest.mark.usefixtures("pages_only")
def test_words_follow_the_intervals(here):
    make_benchmark(here / "sweeps/kernels-quick", [SMALL, {**SMALL, "units": 128}])
    text = page("reports/kernels-quick.md")
    assert "- Highest median of a training step, of 2 cells: jax native in 2 (" in text
    assert "- unrolled_xla over generic on jax: of 2 cells, no difference shown in 2 (1.01x)." in text
    assert "- unrolled over generic on torch: of 2 cells, faster in 2 (1.30x)." in text
    assert "- xla over generic on torch: of 2 cells, slower in 2 (0.80x)." in text
    # bare 2.28..2.54 over generic, unrolled 1.235..1.378: at least 2.28 / 1.378
    assert "- The bare layer over Keras's fastest kernel on jax: of 2 cells, faster in 2 (1." in text
    assert "1.01x (0.96 to 1.07: no difference shown)" in text
    assert "cuDNN over generic on" not in text


def test_a_ratio_of_ratios_has_a_cautious_interval():
    from lstm_bench.report.pages import kernel_findings

    bare = {"kernel": "bare", "samples_per_s": 24.0, "speedup": 2.4, "speedup_low": 2.0, "speedup_high": 3.0}
    xla = {"kernel": "xla", "samples_per_s": 20.0, "speedup": 2.0, "speedup_low": 1.6, "speedup_high": 2.5}
    generic = {
        "kernel": "generic",
        "samples_per_s": 10.0,
        "speedup": np.nan,
        "speedup_low": np.nan,
        "speedup_high": np.nan,
    }
    assert kernel_findings._ratio(bare, xla) == pytest.approx((1.2, 2.0 / 2.5, 3.0 / 1.6))
    assert kernel_findings._ratio(bare, generic) == (2.4, 2.0, 3.0)
    assert np.isnan(kernel_findings._ratio(bare, generic | {"kernel": "xla"})[1])
    assert kernel_findings._verdict([(1.2, 0.8, 1.9)]) == "no difference shown, 1.20x (0.80 to 1.90)"
    assert kernel_findings._verdict([(2, 1.5, 3), (0.5, 0.4, 0.6), (1, np.nan, np.nan)]) == (
        "of 3 cells, faster in 1 (2.00x), slower in 1 (0.50x), no interval in 1 (1.00x)"
    )


@pytest.mark.usefixtures("pages_only")
def test_published_devices_share_a_page_and_working_records_have_their_own(here):
    make_benchmark(here / "sweeps/published/cpu-2/kernels-quick")
    make_benchmark(here / "sweeps/published/h200/kernels-quick", device="NVIDIA H200", gpu=True, backends=("jax",))
    before = page("reports/kernels-quick.md")
    assert before.index("## Xeon Test (published/cpu-2)") < before.index("## NVIDIA H200 (published/h200)")
    assert "cuDNN over generic on jax: faster, 6.00x (5.70 to 6.36)." in before
    assert "| kJ per million |" in before.split("## NVIDIA H200")[1]
    names = {p.name for p in (here / "reports/figures").iterdir()}
    assert {"kernels-quick-cpu-2-speedup-lstm.svg", "kernels-quick-h200-roofline.svg"} <= names
    # no sentence or table sets one device against another
    assert not any("H200" in line and "Xeon" in line for line in before.splitlines() if "processor" not in line)
    committed = sums(here / "reports")
    make_benchmark(here / "sweeps/kernels-quick")
    make_benchmark(here / "sweeps/kernels-mine")
    text = page("reports/working/kernels-quick.md")
    assert "[docs/method.md](../../docs/method.md)" in text
    assert "Published: [kernels-quick](../kernels-quick.md)." in text
    assert "Published:" not in (here / "reports/working/kernels-mine.md").read_text()
    assert {k: v for k, v in sums(here / "reports").items() if not k.startswith("working/")} == committed
    assert report.main(["sweeps=sweeps/published", "check=true"]) == 0
    assert report.main(["check=true"]) == 0


@pytest.mark.usefixtures("pages_only")
def test_backends_on_different_devices_of_one_machine_are_apart(here):
    def on_gpu(row):
        if row["backend"] == "jax" and row.get("device"):
            row["device"] = "NVIDIA H200"

    make_benchmark(here / "sweeps/published/box/kernels-quick", change=on_gpu)
    text = page("reports/kernels-quick.md")
    cpu, gpu = text.split("## NVIDIA H200 (published/box)")
    assert "## Xeon Test (published/box)" in cpu
    assert "torch bare" in cpu and "jax bare" not in cpu
    assert "jax bare" in gpu and "torch bare" not in gpu
    assert (here / "reports/figures/kernels-quick-box-NVIDIA-H200-speedup-lstm.svg").exists()


@pytest.mark.usefixtures("pages_only")
def test_studies_and_benchmarks_are_told_apart_and_indexed(here, capsys):
    make_study(here / "sweeps/single")
    make_benchmark(here / "sweeps/kernels-quick")
    root = (here / "sweeps").resolve()
    assert [p.name for p, _ in reader.places(root)] == ["single"]
    assert [p.name for p, _ in reader.places(root, benchmarks=True)] == ["kernels-quick"]
    assert report.main([]) == 0
    index = (here / "reports/README.md").read_text()
    assert "| [kernels-quick](kernels-quick.md) | working | Xeon Test | 1 | complete |" in index
    assert "| [single](single.md) |" in index
    assert "kernels-quick" not in (here / "reports/comparison.md").read_text()
    kept = sums(here / "reports")
    make_benchmark(here / "sweeps/kernels-quick", change=odd_states)
    assert report.main(["studies=single"]) == 0
    assert {k: v for k, v in sums(here / "reports").items() if "kernels" in k} == {
        k: v for k, v in kept.items() if "kernels" in k
    }
    assert report.main(["studies=single", "check=true"]) == 0
    assert report.main(["check=true"]) == 6
    assert "stale: reports/kernels-quick.md" in capsys.readouterr().err


@pytest.mark.usefixtures("pages_only")
def test_benchmarks_alone_have_an_index_and_no_comparison(here, capsys):
    make_benchmark(here / "sweeps/kernels-quick")
    assert "Comparison of families" not in page("reports/README.md")
    assert not (here / "reports/comparison.md").exists()
    assert "reports/README.md" in capsys.readouterr().out
    (here / "sweeps/kernels-quick").rename(here / "sweeps/kernels-other")
    assert report.main(["check=true"]) == 6
    assert report.main([]) == 0
    assert not (here / "reports/kernels-quick.md").exists()
    assert not (here / "reports/figures/kernels-quick-Xeon-Test-speedup-lstm.svg").exists()


def torn(folder):
    path = folder / "cells.csv"
    path.write_bytes(path.read_bytes()[:-20])
    return "cells.csv ends in a torn line, which is left out."


def missing(folder):
    (folder / "cells.csv").unlink()
    return "cells.csv is missing."


def empty(folder):
    (folder / "cells.csv").write_text("")
    return "cells.csv holds no row: nothing is measured yet."


def binary(folder):
    (folder / "cells.csv").write_bytes(b"\xff\xfe\x00")
    return "cells.csv cannot be read: UnicodeDecodeError."


def other_columns(folder):
    (folder / "cells.csv").write_text("cell,state\nx,measured\n")
    return "1 rows name no cell, arm or state and are left out."


def only_cells(folder):
    for file in ("config.yaml", "environment.json", "ceilings.csv"):
        (folder / file).unlink()
    return "No ceilings are recorded: no roofline."


def fewer_rounds(folder):
    rows = fileio.read_rows(folder / "cells.csv")
    rows[0]["rounds"] = "2"
    # another is wrong after one round: that is an end, not a gap
    rows[1] |= {"state": "wrong", "rounds": "1"}
    fileio.write_rows(folder / "cells.csv", COLUMNS, rows)
    return "- working: Partially measured: 1 of 35 rows have fewer than 3 rounds"


def repeated(folder):
    rows = fileio.read_rows(folder / "cells.csv")
    fileio.write_rows(folder / "cells.csv", COLUMNS, [{**rows[0], "rounds": "1"}, *rows])
    return "cells.csv: 1 rows repeat an arm with fewer rounds: left out."


def nothing_measured(folder):
    rows = [
        {k: r[k] for k in ("cell", "backend", "kernel", "operation")} | {"state": "failed", "reason": "boom"}
        for r in fileio.read_rows(folder / "cells.csv")
    ]
    fileio.write_rows(folder / "cells.csv", COLUMNS, rows)
    return "jax bare, jax cudnn,"


@pytest.mark.usefixtures("pages_only")
@pytest.mark.parametrize(
    "damage",
    [torn, missing, empty, binary, other_columns, only_cells, fewer_rounds, repeated, nothing_measured],
)
def test_damaged_or_unfinished_records_are_a_note_and_no_crash(here, damage):
    folder = make_benchmark(here / "sweeps/kernels-quick")
    said = damage(folder)
    assert said in page("reports/kernels-quick.md")
    assert report.main(["check=true"]) == 0


@pytest.mark.usefixtures("pages_only")
def test_published_figures_stand_beside_cells_of_the_same_shape_only(here):
    deepbench = {"layer": "lstm", "units": 512, "layers": 1, "timesteps": 25, "features": 512, "batch": 16}
    make_benchmark(
        here / "sweeps/kernels-mix", [BRAUN, deepbench, SMALL], device="NVIDIA H200", gpu=True, backends=("jax",)
    )
    text = page("reports/kernels-mix.md")
    rows = table_rows(text, "Beside published figures")
    braun = [line for line in rows if "lstm-1x320-t100-f123-b64 " in line]
    assert "| GTX 1080 | TensorFlow cuDNN | float32 | 10 | about 5x over Keras LSTM |" in braun[0]
    assert "published: Braun 2018, arXiv 1806.01818; with a dense layer" in braun[0]
    ours = [line for line in braun if "| ours | NVIDIA H200 |" in line]
    assert [line.split(" | ")[4] for line in ours] == ["jax cudnn", "jax generic"]
    assert ours[0].endswith("| 6.00x (5.70 to 6.36) over generic |")
    assert any("| V100 | DeepBench | mixed | 1.41 |" in line for line in rows)
    assert len([line for line in rows if "| V100 |" in line]) == 2
    assert not any("-1x64-" in line for line in rows)
    assert not any("ours" in line and ("V100" in line or "GTX" in line) for line in rows)
    assert "RETURNN kernel page" in text and "Appleyard" in text and "Working with RNNs" in text


@pytest.mark.usefixtures("pages_only")
@pytest.mark.parametrize("other", [{"units": 321}, {"batch": 32}, {"features": 28}, {"timesteps": 99}, {"layers": 2}])
def test_another_shape_has_no_published_figure(here, other):
    make_benchmark(here / "sweeps/kernels-mix", [{**BRAUN, **other}])
    text = page("reports/kernels-mix.md")
    assert "Beside published figures" not in text
    assert "GTX 1080 |" not in text


def test_the_literature_is_that_of_its_sources():
    found = yaml.safe_load((conf_dir() / "literature.yaml").read_text())
    for entry in found["figures"]:
        assert set(entry["shape"]) == {"layer", "units", "layers", "timesteps", "features", "batch"}
        assert entry["operation"] in kernels.OPERATIONS
        assert entry["device"] and entry["source"]
        assert all(set(arm) <= {"what", "dtype", "ms", "ratio"} for arm in entry["arms"])
    # hidden, batch, timesteps -> ms in float32 and mixed precision on a V100
    printed = {
        (512, 16, 25): [2.20, 1.41],
        (512, 128, 25): [3.86, 2.20],
        (1024, 128, 25): [8.37, 3.84],
        (2048, 128, 25): [25.6, 6.90],
        (4096, 128, 25): [89.6, 17.2],
        (1536, 32, 50): [12.8],
        (256, 16, 150): [9.84],
        (256, 64, 150): [13.1, 10.1],
    }
    deep = [e for e in found["figures"] if e["source"].startswith("DeepBench")]
    shapes = [e["shape"] for e in deep]
    assert all(s["features"] == s["units"] and s["layers"] == 1 and s["layer"] == "lstm" for s in shapes)
    ours = {
        (s["units"], s["batch"], s["timesteps"]): [a["ms"] for a in e["arms"]]
        for s, e in zip(shapes, deep, strict=True)
    }
    assert ours == printed


def test_scaling_is_found_where_one_dimension_takes_three_values(here):
    shapes = [{**SMALL, "timesteps": t} for t in (28, 112, 448)] + [{**SMALL, "units": u} for u in (32, 64)]
    folder = make_benchmark(here / "sweeps/kernels-scaling", shapes, change=odd_states)
    rows = kernel_page._rows(benchmarks.load(folder))
    groups = kernels.scaling_groups(rows, "timesteps")
    assert list(groups) == ["lstm, 1 layers, 64 units, 64 batch, 28 features, float32"]
    (group,) = groups.values()
    assert {r["timesteps"] for r in group} == {28, 112, 448}
    assert {r["state"] for r in group} == {"measured"}
    assert kernels.scaling_groups(rows, "units") == {}


def test_figures_are_drawn_for_odd_records(here):
    shapes = [{**SMALL, "batch": b} for b in (1, 16, 256)] + [{**SMALL, "layer": "gru"}]
    make_benchmark(here / "sweeps/kernels-odd", shapes, change=odd_states)
    report.main(["png=true"])
    names = {p.name for p in (here / "reports/png").glob("*.png")}
    assert names == {
        f"kernels-odd-Xeon-Test-{what}.png"
        for what in (
            "speedup-gru", "speedup-lstm", f"scaling-batch-lstm-1layers-64units-{SMALL['timesteps']}timesteps-"
            f"{SMALL['features']}features-float32", "roofline",
        )
    }  # fmt: skip
    for name in names:
        assert (here / "reports/png" / name).read_bytes().startswith(b"\x89PNG")
    text = (here / "reports/figures/kernels-odd-Xeon-Test-speedup-lstm.svg").read_text()
    assert "<dc:date>" not in text


def test_a_long_grid_is_drawn_on_several_pictures(here):
    rng = np.random.default_rng(0)
    rows = [r for u in range(10, 30) for r in make_cell(rng, {**SMALL, "units": u}, backends=("jax",))]
    for row in rows:
        for column in (*COLUMNS,):
            row.setdefault(column, float("nan") if column not in columns.TEXT else "")
    makers = kernels.kernel_figure_makers(rows, {"float32": (4e11, 2e10)}, "Xeon")
    assert [name for name in makers if name.startswith("speedup")] == [
        f"speedup-lstm-from-1x{units}-t28-f28-b64-float32" for units in (10, 19, 28)
    ]
    assert list(makers)[3:] == ["scaling-units-lstm-1layers-28timesteps-64batch-28features-float32", "roofline"]


def test_same_records_same_bytes_whatever_the_environment(tmp_path):
    homes = []
    for name, env in (
        ("one", {"TZ": "UTC", "LANG": "C", "LC_ALL": "C", "PYTHONHASHSEED": "0"}),
        ("two", {"TZ": "Asia/Kolkata", "LANG": "de_DE.UTF-8", "LC_ALL": "", "PYTHONHASHSEED": "12345"}),
    ):
        home = tmp_path / name
        shapes = [{**SMALL, "timesteps": t} for t in (28, 112, 448)]
        folder = make_benchmark(home / "sweeps/published/cpu/kernels-scaling", shapes, change=odd_states)
        if name != "one":
            shuffle(folder)
        done = subprocess.run(
            [sys.executable, "-W", "error", "-m", "lstm_bench.report"],
            cwd=home, env={**os.environ, **env, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=200,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        homes.append(sums(home / "reports"))
    assert len([name for name in homes[0] if name.endswith(".svg")]) == 3
    assert homes[0] == homes[1]


def shuffle(folder):
    rng = np.random.default_rng(1)
    for name in ("cells.csv", "ceilings.csv"):
        edit(folder / name, lambda lines: [lines[0], *(lines[1:][i] for i in rng.permutation(len(lines) - 1))])
