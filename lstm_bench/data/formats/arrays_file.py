"""`.npz`: arrays of every split, or undivided ones; never a pickle."""

from __future__ import annotations

import zipfile

from lstm_bench.core.errors import ConfigError, DataError
from lstm_bench.data.arrays import SPLITS
from lstm_bench.data.formats.source import Source
from lstm_bench.data.npz import read_npz
from lstm_bench.data.sequences import Columns, Sequences

_DIVIDED = tuple(f"{axis}_{split}" for split in SPLITS for axis in "xy")


def read(source: Source, columns: Columns) -> dict[str, Sequences]:
    """`x_train y_train [x_validation y_validation] x_test y_test`, or `x y`, each with `groups` where there are such.

    Raises:
      ConfigError: for settings of tables.
      DataError: for a file that is damaged, incomplete, or holds other arrays.
    """
    given = [key for key, value in vars(columns).items() if value and key != "categories"]
    if given:
        raise ConfigError(
            f"dataset.{given[0]}: an .npz file has no columns", remedy="Leave it out; groups are an array `groups`."
        )
    if source.member is not None:
        raise DataError(f"{source}: an .npz within an archive is not read", remedy="Unpack the archive.")
    source.require()
    keys = _DIVIDED if (names := _names(source)) is None or "x" not in names else ("x", "y")
    splits = dict.fromkeys(key.partition("_")[2] or "all" for key in keys)
    groups = {split: f"groups_{split}" if split != "all" else "groups" for split in splits}
    found = read_npz(source.path, [*keys, *(key for key in groups.values() if names and key in names)])
    made = {}
    for split in splits:
        x_key, y_key = (f"{axis}_{split}" if split != "all" else axis for axis in "xy")
        if x_key in found:
            made[split] = Sequences(found[x_key], found[y_key], groups=found.get(groups[split]))
    return made


def _names(source: Source) -> set[str] | None:
    """Names of the arrays; None where the file cannot be read, which `read_npz` says."""
    try:
        with zipfile.ZipFile(source.path) as archive:
            return {name.removesuffix(".npy") for name in archive.namelist()}
    except (OSError, zipfile.BadZipFile):
        return None
