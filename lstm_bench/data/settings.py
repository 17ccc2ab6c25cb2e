"""Settings of group `dataset`: ranges, types, and which source has which. Opens nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from lstm_bench.core import schema
from lstm_bench.core.configuration import NAME
from lstm_bench.core.errors import ConfigError, nearest
from lstm_bench.data import synthetic, texts
from lstm_bench.data.cutter import cutter_of
from lstm_bench.data.readers import DIVISOR, IMAGES, LENGTHS
from lstm_bench.data.splits import check_folds, check_resplit, nothing_to_fold, nothing_to_redraw
from lstm_bench.data.task import tasks


def check(config: schema.Dataset) -> None:
    """Checks ranges and types of the `dataset` settings. Opens nothing.

    Raises:
      ConfigError: if a setting cannot be meant, whatever the data.
    """

    values: Mapping[str, Any] = config

    def need(key: str, valid: bool, expected: str) -> None:
        if not valid:
            raise ConfigError(f"dataset.{key}", expected=expected, received=values.get(key))

    name, seed = config["name"], config["split_seed"]
    if not isinstance(name, str) or name not in DIVISOR:
        raise ConfigError("dataset.name", received=name, remedy=nearest(str(name), DIVISOR))
    size = "a count of at least 1 or a fraction between 0 and 1"
    if name in synthetic.MAKERS:
        for key in ("train_size", "validation_size", "test_size"):
            need(
                key,
                _is_size(values.get(key)) and values[key] >= 1,
                f"a count of at least 1, which dataset={name} draws",
            )
    else:
        need("validation_size", _is_size(config["validation_size"]), size)
        need("train_size", config["train_size"] is None or _is_size(config["train_size"]), size + ", or null for all")
    check_resplit(config)
    check_folds(config)
    if config.get("resplit") and name in synthetic.MAKERS:
        raise nothing_to_redraw(f"dataset={name} makes its sets")
    if config.get("folds") and name in synthetic.MAKERS:
        raise nothing_to_fold(f"dataset={name} makes as many validation sequences as are wanted")
    need("validation", config["validation"] in ("split", "test"), "split or test")
    need("split_seed", type(seed) is int and 0 <= seed < 2**32, "an integer from 0 to 2**32 - 1")
    need(
        "standardize",
        isinstance(config["standardize"], bool) or (name == "file" and config["standardize"] == "auto"),
        "true or false" + (", or auto" if name == "file" else ""),
    )
    owners: dict[str, tuple[str, ...]] = {
        "dir": tuple(IMAGES),
        "path": ("npz", "file", "languages"),
        "task": ("npz", "file"),
        **dict.fromkeys(_OF_FILE, ("file",)),
        **dict.fromkeys(_OF_TEXTS, ("file", "languages")),
        "fallback": ("mnist",),
        "length": ("smnist", "psmnist", *synthetic.MAKERS),
        "permutation_seed": ("psmnist",),
        "test_size": (*synthetic.MAKERS, "file", "languages"),
    }
    scaled, scalable = config.get("scale_target"), ("npz", "file")
    known = isinstance(scaled, bool) or (name == "file" and scaled == "auto")
    need("scale_target", scaled is None or known, "true or false" + (", or auto" if name == "file" else ""))
    need("scale_target", not scaled or name in scalable, f"false, as only dataset={','.join(scalable)} has it")
    for key, having in owners.items():
        expected = f"null, because only dataset={','.join(having)} has it"
        need(key, name in having or values.get(key) is None, expected)
    length, permutation_seed = config.get("length"), config.get("permutation_seed")
    if name in ("smnist", "psmnist"):
        need("length", type(length) is int and length in LENGTHS, f"one of {', '.join(map(str, LENGTHS))}")
    if name in synthetic.MAKERS:
        shortest = synthetic.SHORTEST[name]
        need("length", type(length) is int and length >= shortest, f"a whole number of at least {shortest}")
    if name == "psmnist":
        valid = type(permutation_seed) is int and 0 <= permutation_seed < 2**32
        need("permutation_seed", valid, "an integer from 0 to 2**32 - 1")
    need("dir", config["dir"] is None or _is_text(config["dir"]), "a folder, or null to search")
    need("path", name not in ("npz", "file") or _is_text(config["path"]), "the path of a file")
    if name in ("file", "languages"):
        _check_file(config, need, size)
    need("fallback", config["fallback"] in (None, "digits"), "digits or null")


_OF_TEXTS = ("split", "max_length", "min_length", "truncate", "tokens", "vocabulary", "min_count")
_OF_FILE = (
    *("test_path", "title", "layout", "id", "time", "features", "target", "group", "window", "stride"),
    *("missing", "lengths", "text"),
    *("horizon", "context", "scale", "season", "resample", "origins", "quantiles", "known", "calendar"),
)


def _check_file(config: schema.Dataset, need: Callable[[str, bool, str], None], size: str) -> None:
    """Checks the settings of `dataset=file` that no file has to be opened for."""
    values: Mapping[str, Any] = config
    title = config.get("title")
    need("test_size", config.get("test_size") is None or _is_size(config["test_size"]), size + ", or null for a fifth")
    need(
        "title",
        title is None or bool(NAME.fullmatch(title)),
        "letters, digits and ._-, at most 100",
    )
    features = config.get("features")
    need("features", features is None or len(features) == len({*features}) > 0, "columns, each once")
    if cutter := cutter_of(config):
        cutter.check(config)
        if cutter is not texts:
            return
    for key in texts.SETTINGS:
        need(key, cutter is texts or values.get(key) is None, "null without dataset.text")
    for task in tasks().values():
        for key in task.settings:
            need(key, values.get(key) is None, f"null without dataset.task={task.name}")
    need("stride", config.get("stride") is None or config.get("window") is not None, "null without dataset.window")
    window, most, least = config.get("window"), config.get("max_length"), config.get("min_length")
    need("window", window is None or window >= 2, "at least 2 timesteps")
    for key in ("max_length", "min_length"):
        need(key, window is None or values.get(key) is None, "null with dataset.window, whose windows have one length")
    need("min_length", most is None or least is None or least <= most, f"at most dataset.max_length, {most}")
    cuts = config.get("truncate") in (None, "refuse")
    need("truncate", cuts or most is not None, "refuse without dataset.max_length")


def _is_size(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return 0 < value < 1 or (value >= 1 and float(value).is_integer())


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and value.strip() not in ("", "???")
