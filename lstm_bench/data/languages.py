"""`dataset=languages`: the strings of Django's user interface in its languages, whose names are the classes.

Django need not be imported, nor installed where Python finds it: a folder that `pip install --target` made will do.
"""

from __future__ import annotations

import gettext
import importlib.util
import re
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lstm_bench.core.errors import DataError

MAX_BYTES = 16 * 2**20  # of a file of translations
_INSTALL = (
    "Say pip install 'lstm-bench[languages]'; or pip install --no-deps --target FOLDER django, and dataset.path=FOLDER"
)


class Strings(NamedTuple):
    """What there is to classify.

    Attributes:
      texts: Strings, each once.
      labels: The language of each, as Django calls it: `pt_BR`; objects.
      groups: The English string of each: its translations are of one group; objects.
      note: How many there are, and how many were left out, in words.
    """

    texts: tuple[str, ...]
    labels: np.ndarray
    groups: np.ndarray
    note: str


def find(path: str | None) -> Path:
    """The package folder of Django.

    Args:
      path: That folder, or the one that it lies in; None: where Python finds it.

    Raises:
      DataError: where there is none.
    """
    if path is None:
        spec = importlib.util.find_spec("django")
        if spec is None or spec.origin is None:
            raise DataError("dataset=languages: Django is not installed", remedy=_INSTALL)
        return Path(spec.origin).parent
    for folder in (Path(path).expanduser().absolute(), Path(path).expanduser().absolute() / "django"):
        if (folder / "conf" / "locale").is_dir():
            return folder
    raise DataError(f"dataset.path={path}: Django is not there", expected="conf/locale in it", remedy=_INSTALL)


def version(folder: Path) -> str:
    """The version of Django, as its package says it; "" where it does not."""
    try:
        said = (folder / "__init__.py").read_text(encoding="utf-8")
    except (OSError, ValueError):
        return ""
    numbers = re.search(r"^VERSION = \((\d+), (\d+), (\d+)", said, re.MULTILINE)
    return ".".join(numbers.groups()) if numbers else ""


def read(folder: Path) -> Strings:
    """The translated strings of all parts of Django; one that two languages have is no example of either.

    Raises:
      DataError: for a file that is no catalogue of translations.
    """
    found: dict[tuple[str, str], str] = {}  # language and string -> the English one
    for file in sorted(folder.glob("**/locale/*/LC_MESSAGES/django.mo")):
        language = file.parent.parent.name
        for english, string in _catalogue(file):
            found.setdefault((language, string), english)
    if not found:
        raise DataError(f"{folder}: no translated string", expected="files locale/*/LC_MESSAGES/django.mo")
    of = Counter(string for _, string in found)
    kept = {pair: english for pair, english in found.items() if of[pair[1]] == 1}
    labels = np.array([language for language, _ in kept], object)
    several = len(of) - len(kept)
    note = f"{len(kept):,} strings of {len({*labels.tolist()})} languages; {several:,} that several have are left out"
    return Strings(tuple(string for _, string in kept), labels, np.array([*kept.values()], object), note)


def _catalogue(file: Path) -> list[tuple[str, str]]:
    """English string and translation, sorted; each form of a plural is one, and a context is none of the string."""
    try:
        if file.stat().st_size > MAX_BYTES:
            raise DataError(f"{file}: too large", expected=f"at most {MAX_BYTES:,} bytes")
        with file.open("rb") as opened:
            catalogue = gettext.GNUTranslations(opened)._catalog  # type: ignore[attr-defined]  # nothing public lists it
    except DataError:
        raise
    except Exception as error:  # a damaged file raises any of several types
        raise DataError(f"{file}: no catalogue of translations ({type(error).__name__})") from error
    english = {key: (key[0] if isinstance(key, tuple) else key).rpartition("\x04")[2] for key in catalogue}
    return sorted((english[key], text) for key, text in catalogue.items() if english[key] and text.strip())
