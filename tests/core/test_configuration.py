"""`lstm_bench.core.configuration`: what `conf/` may say, checked before anything is created."""

from __future__ import annotations

from pathlib import Path

import fake
import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from lstm_bench.core import schema
from lstm_bench.core.configuration import conf_dir, flatten, get, load, redacted_config, replaced
from lstm_bench.core.errors import ConfigError
from lstm_bench.core.schema import Choice, Doctor, Kernels, Leak, Range, Sweep

GRIDS = sorted(path.stem for path in (conf_dir() / "grid").glob("*.yaml"))


def test_no_password_and_no_home_is_shown():
    home = str(Path.home())
    config = fake.config(
        {
            "storage.url": "postgresql://me:S3CRET@db/x",
            "tracking.uri": "https://me:S3CRET@host/x",
            "dataset.dir": f"{home}/data",
            "dataset.path": f"{home}work/x.npz",
        }
    )
    shown = redacted_config(config)
    assert shown["storage"]["url"] == "postgresql://me:***@db/x"
    assert shown["tracking"]["uri"] == "https://me:***@host/x"
    assert shown["dataset"]["dir"] == "~/data"
    assert shown["dataset"]["path"] == f"{home}work/x.npz"
    assert config["storage"]["url"] == "postgresql://me:S3CRET@db/x"


def test_paths_lead_through_nested_dicts():
    config = {"a": {"b": 1, "c": {}}, "d": [2]}
    assert flatten(config) == {"a.b": 1, "a.c": {}, "d": [2]}
    assert get(config, "a.b") == 1
    assert replaced(config, {"a.b": 3}) == {"a": {"b": 3, "c": {}}, "d": [2]}
    assert config["a"]["b"] == 1
    for path in ("a.x", "a.b.x", "x"):
        with pytest.raises(KeyError, match=path):
            get(config, path)


@pytest.mark.parametrize(
    ("rule", "words", "inside", "outside"),
    [
        (Range(), "a finite number", [0, -1.5], [float("nan"), float("inf"), True, "1", None]),
        (Range(1), "a number of at least 1", [1, 7], [0.99]),
        (Range(0, open_low=True), "a number above 0", [1e-9], [0]),
        (Range(0, 1, open_high=True), "a number of at least 0 and below 1", [0, 0.99], [1]),
        (Range(high=2), "a number of at most 2", [2], [2.01]),
        (Choice("a", "b"), "one of a, b", ["a"], ["c", 1, None]),
    ],
)
def test_rules_say_and_do_the_same(rule, words, inside, outside):
    assert str(rule) == words
    assert [value for value in inside if value not in rule] == []
    assert [value for value in outside if value in rule] == []


@pytest.mark.parametrize(("file", "root"), [("sweep", Sweep), ("kernels", Kernels), ("doctor", Doctor), ("leak", Leak)])
def test_what_is_composed_has_every_key_and_what_no_yaml_names_is_null(file, root):
    with initialize_config_dir(version_base="1.3", config_dir=str(conf_dir())):
        composed = compose(file, overrides={"sweep": ["+study=smoke"], "leak": ["dataset.path=a.csv"]}.get(file, []))
    config = load(composed, root)
    named = flatten(OmegaConf.to_container(composed))
    for name, group in schema.values(root).items():
        if not schema.is_group(group.kind):
            continue
        assert list(config[name]) == list(schema.values(group.kind))
        unnamed = [key for key in config[name] if not any(f"{path}.".startswith(f"{name}.{key}.") for path in named)]
        assert all(config[name][key] in (None, {}) for key in unnamed)
        assert not [key for key in unnamed if schema.values(group.kind)[key].is_required]


def benchmark(values, *overrides):
    """`conf/kernels.yaml` with values at dotted paths, checked."""
    with initialize_config_dir(version_base="1.3", config_dir=str(conf_dir())):
        composed = compose("kernels", overrides=list(overrides))
    OmegaConf.set_struct(composed, False)
    for path, value in values.items():
        OmegaConf.update(composed, path, value)
    return load(composed, Kernels)


def refused_benchmark(values) -> str:
    with pytest.raises(ConfigError) as caught:
        benchmark(values)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("grid", GRIDS)
def test_every_grid_of_ours_is_valid(grid):
    config = benchmark({}, f"grid={grid}")
    assert config["grid"]["name"] == grid
    assert config["name"] is None
    assert set(config) == {"name", "arms", "grid", "method", "tracking", "predict", "forecast"}
    assert config["arms"] == {"backend": "all", "kernel": "all", "dtype": None, "operation": "all"}


def test_the_benchmark_takes_twenty_samples_over_three_rounds_or_more_by_default():
    method = benchmark({})["method"]
    assert method["rounds"] >= 3
    assert method["rounds"] * method["samples"] >= 20
    assert method["window_s"] >= 0.05
    assert method["compile_limit_s"] == 60
    assert set(method["tolerance"]) == {"float32", "tf32", "bfloat16"}
    assert method["tolerance"]["float32"] < method["tolerance"]["tf32"] < method["tolerance"]["bfloat16"]


@pytest.mark.parametrize("value", ["jax", ["jax", "torch"]])
def test_an_option_of_the_benchmark_is_one_or_a_list(value):
    names = ("backend", "kernel", "dtype", "operation")
    config = benchmark({f"arms.{name}": value for name in names})
    assert config["arms"] == dict.fromkeys(names, value)


@pytest.mark.parametrize(
    ("path", "value", "line"),
    [
        ("method.rounds", 0, "method.rounds: expected a whole number of at least 1, received 0"),
        ("method.rounds", "x", "method.rounds: expected a whole number, received 'x'"),
        ("method.samples", 1, "method.samples: expected a whole number of at least 2, received 1"),
        ("method.window_s", 0, "method.window_s: expected a number above 0, received 0.0"),
        ("method.window_s", float("inf"), "method.window_s: expected a number above 0, received inf"),
        ("method.steady", 0, "method.steady: expected a number above 0 and of at most 1, received 0.0"),
        ("method.steady", 1.5, "method.steady: expected a number above 0 and of at most 1, received 1.5"),
        ("method.compile_limit_s", -1, "method.compile_limit_s: expected a number above 0, received -1.0"),
        ("method.seed", -1, "method.seed: expected a whole number of at least 0, received -1"),
        (
            "method.max_other_load",
            1.01,
            "method.max_other_load: expected a number of at least 0 and of at most 1, received 1.01",
        ),
        ("method.tolerance", 3, "method.tolerance: expected a mapping, received 3"),
        ("grid", 3, "grid: expected one of its YAML files, or single values of it, received 3"),
        (
            "tracking.name",
            "mlfow",
            "tracking.name: expected one of mlflow, none, received 'mlfow'. Did you mean mlflow?",
        ),
    ],
)
def test_a_value_of_the_benchmark_out_of_its_range_is_refused(path, value, line):
    assert refused_benchmark({path: value}) == line


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ({"grids": "x"}, "unknown option grids. Did you mean grid?"),
        ({"arms.kernels": "cudnn"}, "unknown option arms.kernels. Did you mean kernel?"),
        # A study is no group of the benchmark: the remedy does not speak of one.
        ({"study": "stacked"}, "unknown option study. Valid: arms, forecast, grid, method, name, predict, tracking"),
        ({"method.round": 3}, "unknown option method.round. Did you mean rounds?"),
        ({"grid.cell": []}, "unknown option grid.cell. Did you mean cells?"),
    ],
)
def test_an_unknown_key_of_the_benchmark_is_refused_with_the_nearest(values, line):
    assert refused_benchmark(values) == line


@pytest.mark.parametrize(
    ("path", "value", "line"),
    [
        ("grid.dtypes", "float32", "grid.dtypes: expected a list, received 'float32'"),
        ("grid.cells", 3, "grid.cells: expected a list, received 3"),
        ("method.tolerance.float32", "x", "method.tolerance.float32: expected a number, received 'x'"),
        ("method.tolerance.float32", -1, "method.tolerance.float32: expected a number above 0, received -1.0"),
        (
            "method.tolerance.float32",
            float("nan"),
            "method.tolerance.float32: expected a number above 0, received nan",
        ),
        ("method.tolerance.flaot32", 1e-4, "unknown option method.tolerance.flaot32"),
    ],
)
def test_a_list_or_a_tolerance_that_cannot_be_meant_is_refused_in_plain_words(path, value, line):
    assert refused_benchmark({path: value}).startswith(line)
