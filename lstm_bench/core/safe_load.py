"""YAML and JSON from outside: plain trees of bounded size and depth, without aliases, tags or repeated keys."""

from __future__ import annotations

import json
import math
from typing import Any

import yaml

# Of characters in all, of levels, of characters of a number. A study's configuration has 2,000, 6 and 20.
MAX_LENGTH = 2**18
MAX_DEPTH = 32
MAX_NUMBER = 64

_TAGS = {f"tag:yaml.org,2002:{name}" for name in ("null", "bool", "int", "float", "str", "seq", "map")}
_NUMBERS = {"tag:yaml.org,2002:int", "tag:yaml.org,2002:float"}


class UnreadableError(ValueError):
    """A text that is no such document, with the reason."""


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader, less what makes a small text a large tree: aliases, deep nesting, numbers of any length."""

    depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise UnreadableError("it has an alias")
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise UnreadableError(f"it is nested deeper than {MAX_DEPTH} levels")
        node = super().compose_node(parent, index)
        self.depth -= 1
        if node is not None and node.tag not in _TAGS:
            raise UnreadableError(f"it has a value of type {node.tag[-40:]!r}")
        if node is not None and node.tag in _NUMBERS and len(node.value) > MAX_NUMBER:
            raise UnreadableError("it has a number of too many digits")
        return node

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        keys = [key.value for key, _ in node.value]
        if any(key.tag != "tag:yaml.org,2002:str" for key, _ in node.value):
            raise UnreadableError("it has a key that is no text")
        if len(set(keys)) < len(keys):
            raise UnreadableError("it gives a key twice")
        return super().construct_mapping(node, deep)


def own_yaml(text: str) -> Any:
    """The tree of a YAML text of `conf/`, ours or a user's own: by libyaml where PyYAML has it, nine times as fast.

    Raises:
      yaml.YAMLError: where it is none.
    """
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)(text)
    try:
        return loader.get_single_data()
    finally:
        loader.dispose()


def from_yaml(text: str) -> Any:
    """The tree of a YAML text: null, booleans, numbers, text, lists, and mappings with text as keys.

    Args:
      text: Of at most `MAX_LENGTH` characters; configurations and records only.

    Raises:
      UnreadableError: for anything else.
    """
    _require_length(text)
    try:
        loader = _Loader(text)
        try:
            tree = loader.get_single_data()
        finally:
            loader.dispose()
        _check(tree, 0)
    except UnreadableError:
        raise
    except yaml.YAMLError as error:
        raise UnreadableError(f"it is no YAML ({getattr(error, 'problem', None) or type(error).__name__})") from error
    except Exception as error:  # PyYAML's constructors raise any of half a dozen types for a value they cannot make
        raise UnreadableError(f"it is no YAML ({type(error).__name__})") from error
    return tree


def from_json(text: str) -> Any:
    """The tree of a JSON text, as `from_yaml`.

    Raises:
      UnreadableError: for anything else.
    """
    _require_length(text)
    try:
        tree = json.loads(text, object_pairs_hook=_once)
        _check(tree, 0)
    except UnreadableError:
        raise
    except (ValueError, RecursionError) as error:
        reason = getattr(error, "msg", None) or type(error).__name__
        raise UnreadableError(f"it is no JSON ({reason})") from error
    return tree


def _require_length(text: str) -> None:
    if len(text) > MAX_LENGTH:
        raise UnreadableError(f"it has {len(text)} characters, at most {MAX_LENGTH} are read")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise UnreadableError("it gives a key twice")
    return found


def _check(tree: Any, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise UnreadableError(f"it is nested deeper than {MAX_DEPTH} levels")
    if isinstance(tree, str):
        try:
            tree.encode()
        except UnicodeEncodeError:  # half of a surrogate pair: both languages can escape it, no file can hold it
            raise UnreadableError("it has text that is no Unicode") from None
    elif isinstance(tree, float) and not math.isfinite(tree):
        raise UnreadableError(f"it has the number {tree}")
    elif isinstance(tree, int) and tree.bit_length() > 4 * MAX_NUMBER:
        raise UnreadableError("it has a number of too many digits")
    elif isinstance(tree, dict):
        for key, value in tree.items():
            _check(key, depth)
            _check(value, depth + 1)
    elif isinstance(tree, list):
        for value in tree:
            _check(value, depth + 1)
