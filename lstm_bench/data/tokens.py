"""Texts as tokens, characters or words, and the tokens that a model knows: those of its training split."""

from __future__ import annotations

import functools
import hashlib
import json
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lstm_bench.core import fileio, safe_load
from lstm_bench.core.configuration import conf_dir
from lstm_bench.core.errors import DataError

FILE = "vocabulary.txt"  # beside a saved model
KINDS = ("char", "word")
NAMES = {"char": "characters", "word": "words"}
PADDING, UNKNOWN = 0, 1  # ids; those of tokens follow
_WORD = re.compile(r"\w+|[^\w\s]")  # a word, or one mark
_MOST_BYTES = 64 * 2**20  # of a file


@functools.cache
def usual() -> dict[str, int]:
    """`conf/text.yaml`."""
    found: dict[str, int] = safe_load.from_yaml((conf_dir() / "text.yaml").read_text(encoding="utf-8"))
    return found


def split(text: str, kind: str) -> Sequence[str]:
    """The tokens of a text: its characters as they are, or its words and marks in small letters.

    Characters are Unicode's code points, composed (NFC): an accent is one token however it was typed, a flag is two.
    """
    text = unicodedata.normalize("NFC", text)
    if kind == "char":
        return text if text.strip() else ""  # blanks alone are no text
    return _WORD.findall(text.lower())


@dataclass(frozen=True)
class Vocabulary:
    """The tokens that a model knows.

    Attributes:
      kind: One of `KINDS`.
      tokens: Of the ids from 2, the most frequent first.
    """

    kind: str
    tokens: tuple[str, ...]

    @classmethod
    def of(cls, counts: Mapping[str, int], kind: str, most: int | None = None, least: int | None = None) -> Vocabulary:
        """The vocabulary of a training split; of tokens that occur equally often the order is that of their code points.

        Args:
          counts: Token -> how often it occurs there.
          kind: One of `KINDS`.
          most: Tokens at most; None: the usual number.
          least: Times that one must occur; None: likewise.
        """
        least = least or usual()["min_count"]
        kept = sorted((-n, token) for token, n in counts.items() if n >= least)
        return cls(kind, tuple(token for _, token in kept[: most or usual()["vocabulary"]]))

    @property
    def size(self) -> int:
        """Ids that there are, those of padding and of what is unknown among them."""
        return 2 + len(self.tokens)

    @functools.cached_property
    def _ids(self) -> dict[str, int]:
        return {token: number for number, token in enumerate(self.tokens, 2)}

    def id(self, token: str) -> int:
        """Of a token, `UNKNOWN` of one that is not there."""
        return self._ids.get(token, UNKNOWN)

    def ids(self, texts: Sequence[Sequence[str]]) -> np.ndarray:
        """int32 ids of all tokens, one text behind the other."""
        return np.fromiter((self.id(token) for tokens in texts for token in tokens), np.int32)

    def written(self) -> str:
        """As plain text: a token per line, as JSON writes it between its quotation marks."""
        return "".join(json.dumps(token, ensure_ascii=False)[1:-1] + "\n" for token in self.tokens)

    @property
    def sha256(self) -> str:
        """Of `written`."""
        return hashlib.sha256(self.written().encode()).hexdigest()

    def described(self) -> dict[str, Any]:
        """What `input.json` says of it."""
        return {"kind": self.kind, "size": self.size, "sha256": self.sha256}

    def save(self, folder: Path) -> None:
        """Writes `vocabulary.txt` into a folder.

        Raises:
          StorageError: where it cannot be written.
        """
        fileio.write_text(folder / FILE, self.written())


def read(folder: Path, about: Mapping[str, Any]) -> Vocabulary:
    """The vocabulary that lies beside a model.

    Args:
      folder: Of the model.
      about: `Vocabulary.described`, as `input.json` has it.

    Raises:
      DataError: where it is missing, or not the one that was saved.
    """
    file = folder / FILE
    try:
        if file.stat().st_size > _MOST_BYTES:
            raise DataError(f"{file}: too large", expected=f"at most {_MOST_BYTES:,} bytes")
        body = file.read_bytes()
        lines = body.decode().split("\n")[:-1]
        tokens = tuple(str(json.loads(f'"{line}"')) for line in lines)
        found = Vocabulary(str(about["kind"]), tokens)
        same = (hashlib.sha256(body).hexdigest(), found.size) == (about["sha256"], about["size"])
    except DataError:
        raise
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{file}: no vocabulary can be read ({type(error).__name__})") from error
    if not same or found.kind not in KINDS:
        raise DataError(f"{file}: not the vocabulary that was saved", expected=f"sha256 {str(about['sha256'])[:12]}")
    return found
