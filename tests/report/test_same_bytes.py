"""Reports are the same bytes on every processor: what they print is summed exactly, or in a fixed order."""

from __future__ import annotations

import ast
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grimp
import pytest

import lstm_bench
from lstm_bench.core import statistics
from lstm_bench.kernels import summary
from lstm_bench.report.stats import bootstrap, budget, paired
from lstm_bench.study import pareto

PACKAGE = Path(lstm_bench.__file__).parent

# Their order of summation, or that of the library behind them, is the processor's.
UNORDERED = {"sum", "nansum", "mean", "nanmean", "average", "std", "nanstd", "var", "nanvar", "dot", "vdot", "inner"}
UNORDERED |= {
    "matmul",
    "tensordot",
    "einsum",
    "cov",
    "corrcoef",
    "polyfit",
    "trapezoid",
    "convolve",
    "correlate",
    "norm",
}


# Reached for a name or a check alone; what they compute is in no report.
_MODEL = ("layers", "fused_torch", "cudnn_jax", "controls", "linear", "minirocket", "forecasters", "tfidf")
APART = {f"lstm_bench.model.{name}" for name in _MODEL} | {"lstm_bench.study.leakage", "lstm_bench.study.leak_findings"}


def report_modules() -> list[Path]:
    """Modules that make a report: the wing's own, and what they import in however many steps."""
    graph = grimp.build_graph("lstm_bench", exclude_type_checking_imports=True)
    own = graph.find_descendants("lstm_bench.report")
    reached = (own | graph.find_upstream_modules("lstm_bench.report", as_package=True)) - APART
    # A report asks a `Task` for words alone: what `data` sums was summed in a worker, and is in the records.
    reached = {name for name in reached if not name.startswith("lstm_bench.data.")}
    places = [PACKAGE.parent / name.replace(".", "/") for name in sorted(reached)]
    return [place.with_suffix(".py") for place in places if not place.is_dir()]


def test_the_statistics_of_a_report_are_among_them() -> None:
    names = {path.relative_to(PACKAGE).as_posix() for path in report_modules()}
    assert {"core/statistics.py", "study/pareto.py", "report/stats/paired.py", "report/pages/comparison.py"} <= names


def unordered(source: str) -> list[str]:
    """Sums in a module's source whose order is not ours; those inside `int(...)` are of whole numbers, which are exact."""
    tree = ast.parse(source)
    exact = {
        id(inner)
        for call in ast.walk(tree)
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "int"
        for inner in ast.walk(call)
    }
    found = []
    for node in ast.walk(tree):
        if id(node) in exact:
            continue
        if isinstance(node, ast.BinOp | ast.AugAssign) and isinstance(node.op, ast.MatMult):
            found.append(f"line {node.lineno}: @")
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in UNORDERED:
            found.append(f"line {node.lineno}: .{node.func.attr}(")
    return found


@pytest.mark.parametrize("module", report_modules(), ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_no_sum_of_a_report_takes_the_processor_s_order(module: Path) -> None:
    assert unordered(module.read_text()) == []


def test_such_a_sum_would_be_found() -> None:
    planted = "a = weights @ x\nb = x.mean()\nc = np.dot(x, y)\nd = int((x > 0).sum())\ne = math.fsum(x)\nf = pd.Series(x).sum()"
    assert unordered(planted) == ["line 1: @", "line 2: .mean(", "line 3: .dot(", "line 6: .sum("]


# Sums that a pairwise or fused order rounds otherwise: magnitudes apart, ties in the last digit printed.
VALUES = [0.1, 1e-9, 0.30000000000000004, 0.7, 1e8, 0.2, 1 / 3, 2 / 3, 1e-3, 0.05, 0.15, 3e7]
OTHERS = [0.3, 0.1, 1e-9, 0.6, 1e8, 1 / 7]


def _rounds(values: list[float]) -> dict[int, list[float]]:
    """Three rounds of four samples; which sample comes first in its round is chance."""
    return {at: [v for v in values if sorted(VALUES).index(v) % 3 == at] for at in range(3)}


def _pairs(values: list[float]) -> dict[int, float]:
    """Seed -> value, the seeds in the order of `values`."""
    return {VALUES.index(value): value for value in values}


def _points(values: list[float]) -> list[tuple[float, float, float]]:
    return [(value, 1 / (1 + value), value % 0.7) for value in values]


@pytest.mark.parametrize(
    "figure",
    [
        lambda v: statistics.t_interval(v),
        lambda v: statistics.deviation(v),
        lambda v: statistics.quantile(v, 0.3),
        lambda v: summary.ratio_interval(_rounds(v), _rounds(v[::-1]), resamples=50),
        lambda v: bootstrap.bootstrap_interval(v, resamples=200),
        lambda v: bootstrap.improvement(v, OTHERS, resamples=200),
        lambda v: paired.sign_flip([a - 0.4 for a in v]),
        lambda v: paired.t_test([a - 0.4 for a in v]),
        lambda v: paired.paired(_pairs(v), _pairs(VALUES[::-1][:5])),
        lambda v: list(budget.expected_best(v)),
        lambda v: [list(end) for end in budget.expected_best_interval(v, range(1, 13), resamples=50)],
        lambda v: pareto.hypervolume(_points(v), (2e8, 2.0, 1.0), ["minimize"] * 3),
    ],
)
def test_the_order_of_what_is_summed_changes_no_digit(figure: Callable[[list[float]], Any]) -> None:
    orders = [VALUES, VALUES[::-1], sorted(VALUES), *(random.Random(k).sample(VALUES, len(VALUES)) for k in range(20))]
    assert len({repr(figure(list(order))) for order in orders}) == 1


def test_sums_are_the_rounded_exact_ones() -> None:
    """Of 1e16, 1 and -1e16 a sum from left to right is 0, and a product of matrices whatever the processor takes."""
    ones = bootstrap.draws(3, 4, 0) * 0 + 1
    assert statistics.weighted_sums(ones.T, [0.1, 0.2, 0.3]).tolist() == [0.1 + 0.2 + 0.3] * 4
    assert budget.expected_best([1e16, 1.0, -1e16], budgets=[1]).tolist() == [pytest.approx(1 / 3)]
