"""The manifest of a folder of reports: figures are drawn anew where that can change them, and nowhere else."""

from __future__ import annotations

import ast
import functools
import hashlib
import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import undrawn
from test_report import make_study, sums

import lstm_bench
from lstm_bench.report import command as report
from lstm_bench.report import manifest as manifests
from lstm_bench.report.figures import study as figure
from lstm_bench.report.figures import style


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def drawn(monkeypatch):
    """Paths of the figures that were drawn since it was last emptied; their bytes are quickly made ones."""
    paths: list[str] = []
    draw = manifests._drawn
    monkeypatch.setattr(manifests, "_drawn", lambda makers, kinds: paths.extend(makers) or draw(makers, kinds))
    monkeypatch.setattr(style, "pictures", undrawn)
    return paths


def test_a_figure_is_drawn_anew_where_its_rows_its_code_or_its_file_changed_and_nowhere_else(here, drawn, monkeypatch):
    for name in ("single", "stacked"):
        make_study(here / "sweeps" / name)
    report.main([])
    first = sums(here / "reports")
    assert {f"{path}.svg" for path in drawn} == {name for name in first if name.endswith(".svg")}
    drawn.clear()
    assert report.main(["check=true"]) == report.main([]) == report.main(["html=true"]) == 0
    assert drawn == []
    rows = here / "sweeps/single/history.csv"
    rows.write_text(rows.read_text().replace("0.9", "0.8"))
    assert report.main([]) == 0
    assert "figures/single-curves" in drawn and not [path for path in drawn if "stacked" in path]
    drawn.clear()
    (here / "reports/figures/stacked-curves.svg").write_bytes(b"edited by hand")
    assert report.main(["check=true"]) == 6
    assert report.main([]) == 0
    assert drawn == ["figures/stacked-curves"] * 2
    drawn.clear()
    (here / "reports/figures/stacked-curves.svg").unlink()
    (here / "reports/figures/stacked-curves.svg").mkdir()  # what cannot be read is drawn, and found stale
    assert report.main(["check=true"]) == 6
    (here / "reports/figures/stacked-curves.svg").rmdir()
    assert report.main([]) == 0
    assert drawn == ["figures/stacked-curves"] * 2
    drawn.clear()
    before = sums(here / "reports")
    monkeypatch.setattr(style, "_code", lambda: b"other code, the same bytes")
    assert report.main(["check=true"]) == 0
    assert len(drawn) == len([name for name in before if name.endswith(".svg")])
    assert sums(here / "reports") == before
    report.main([])
    drawn.clear()
    assert report.main(["check=true"]) == 0
    assert drawn == []
    assert {name for name, digest in sums(here / "reports").items() if digest != before[name]} == {"MANIFEST.json"}


def test_what_a_figure_is_drawn_from_is_bound_to_its_bytes(here, drawn):
    make_study(here / "sweeps/single")
    report.main([])
    drawn.clear()
    path, figure_path = here / "reports/MANIFEST.json", here / "reports/figures/single-curves.svg"
    manifest = json.loads(path.read_text())
    figure_path.write_bytes(b"of other rows, with the sum of its file")
    manifest["files"]["figures/single-curves.svg"] = hashlib.sha256(figure_path.read_bytes()).hexdigest()
    path.write_text(json.dumps(manifest, indent=1) + "\n")
    assert report.main(["check=true"]) == 6
    assert drawn == ["figures/single-curves"]


def test_a_manifest_of_an_older_version_is_current_and_its_figures_are_drawn(here, drawn):
    make_study(here / "sweeps/single")
    report.main([])
    path = here / "reports/MANIFEST.json"
    manifest = json.loads(path.read_text())
    del manifest["drawn_from"]
    path.write_text(json.dumps(manifest, indent=1) + "\n")
    drawn.clear()
    assert report.main(["check=true"]) == 0
    assert len(drawn) == len(list((here / "reports/figures").rglob("*.svg")))


def test_figures_that_other_versions_drew_are_drawn_anew_though_some_were_renewed_before(here, drawn, monkeypatch):
    for name in ("single", "stacked"):
        make_study(here / "sweeps" / name)
    report.main([])
    ours = style.renderer()
    monkeypatch.setattr(style, "renderer", lambda: {**ours, "matplotlib": "99.0"})
    style._code.cache_clear()
    try:
        assert report.main(["studies=single"]) == 0
        drawn.clear()
        assert report.main([]) == 0
        assert "figures/stacked-curves" in drawn and "figures/single-curves" not in drawn
    finally:
        style._code.cache_clear()


def test_figures_are_drawn_by_no_module_that_their_digest_leaves_out():
    package = Path(lstm_bench.__file__).parent
    called = {
        node.module
        for path in (package / "report/figures").glob("*.py")
        if path.name != "sequences.py"  # of `look`: no report shows it
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("lstm_bench")
    }
    known = {".".join(path.relative_to(package.parent).with_suffix("").parts) for path in style.DRAWN_BY}
    # Of tasks, the labels of their metrics: they are in the digest one by one.
    assert called - known == {"lstm_bench.data.task", "lstm_bench.core", "lstm_bench.report.render"}


def test_equal_rows_have_one_digest_however_they_lie_in_memory_and_others_have_another():
    def digest(rows, **more):
        return style.drawn_from(functools.partial(figure.learning_curves, rows, **more))

    rows = pd.DataFrame({"kind": ["trial"] * 3, "number": [0, 0, 1], "val_accuracy": [0.5, math.nan, 0.7]})
    alike = pd.DataFrame({"kind": np.array(["trial"] * 3, dtype=object), "number": [0, 0, 1]})
    alike["val_accuracy"] = pd.array([0.5, None, 0.7], dtype="Float64")
    assert digest(rows) == digest(alike) == digest(rows.iloc[::-1].iloc[::-1].copy())
    others = [
        (rows.assign(number=[0, 1, 0]), {}), (rows.assign(val_accuracy=[0.5, 0.6, 0.7]), {}), (rows.iloc[::-1], {}),
        (rows.rename(columns={"number": "n"}), {}), (rows, {"winner": 1}), (rows, {"metric": "val_loss"}),
    ]  # fmt: skip
    assert len({digest(rows), *(digest(other, **more) for other, more in others)}) == 1 + len(others)
    assert style.drawn_from(functools.partial(figure.pareto, rows)) != digest(rows)
    with pytest.raises(TypeError, match="give it rows, text and numbers"):
        digest(rows, metric=object())
