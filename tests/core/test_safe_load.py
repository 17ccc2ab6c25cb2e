"""YAML and JSON from outside: what a tree may hold."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
import yaml

from lstm_bench.core import safe_load
from lstm_bench.core.configuration import conf_dir

ROOT = Path(__file__).parents[2]
LAUGHS = "a: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]\n"
REFUSED_YAML = {
    "an alias": (LAUGHS, "an alias"),
    "an alias to itself": ("a: &a [*a]", "an alias"),
    "deep lists": ("a: " + "[" * 100_000, "deeper than 32"),
    "deep mappings": ("".join(f"{' ' * i}a:\n" for i in range(300)), "deeper than 32"),
    "a Python object": ("a: !!python/object/apply:os.system [id]", "value of type"),
    "a binary": ("a: !!binary aGk=", "value of type"),
    "a date, which may be none": ("a: 2026-13-41", "value of type"),
    "an empty number": ("a: !!int ''", "no YAML"),
    "a truth that is none": ("a: !!bool perhaps", "no YAML"),
    "many digits": ("a: " + "9" * 5000, "too many digits"),
    "a long time of day": ("a: " + ":".join(["1"] + ["59"] * 50_000), "too many digits"),
    "a key that is a list": ("? [a]\n: b", "a key that is no text"),
    "a key that is a number": ("1: b", "a key that is no text"),
    "a key twice": ("a: 1\na: 2", "a key twice"),
    "not a number": ("a: .nan", "the number nan"),
    "half a character": ('a: "\\uD800"', "no Unicode"),
    "a control character": ("a: \x01", "no YAML"),
    "two documents": ("a: 1\n---\nb: 2", "no YAML"),
    "a long text": ("a: " + "x" * 2**18, "at most"),
}
REFUSED_JSON = {
    "deep lists": ("[" * 100_000, "no JSON"),
    "less deep lists": ("[" * 40 + "]" * 40, "deeper than 32"),
    "not a number": ('{"a": NaN}', "the number nan"),
    "infinity, spelt out": ('{"a": 1e999}', "the number inf"),
    "many digits": ('{"a": ' + "9" * 5000 + "}", "no JSON"),
    "less many digits": ('{"a": ' + "9" * 200 + "}", "too many digits"),
    "a key twice": ('{"a": 1, "a": 2}', "a key twice"),
    "half a character": ('{"a": "\\ud800"}', "no Unicode"),
    "half a character in a key": ('{"\\ud800": 1}', "no Unicode"),
    "a torn text": ('{"a": ', "no JSON"),
    "a long text": ('"' + "x" * 2**18 + '"', "at most"),
}


def test_every_file_of_conf_is_what_the_slower_loader_makes_of_it() -> None:
    texts = [path.read_text(encoding="utf-8") for path in sorted(conf_dir().rglob("*.yaml"))]
    assert len(texts) > 50
    for text in (*texts, "a: 1e-3\nb: 1.0e-3\nc: yes\nd: 2026-01-01\ne: &x {f: ~}\ng: *x"):
        assert repr(safe_load.own_yaml(text)) == repr(yaml.safe_load(text))
    with pytest.raises(yaml.YAMLError):
        safe_load.own_yaml("a: [1")


@pytest.mark.parametrize(("text", "said"), REFUSED_YAML.values(), ids=REFUSED_YAML)
def test_yaml_that_is_refused(text: str, said: str) -> None:
    begun = time.monotonic()
    with pytest.raises(safe_load.UnreadableError, match=said):
        safe_load.from_yaml(text)
    assert time.monotonic() - begun < 5


@pytest.mark.parametrize(("text", "said"), REFUSED_JSON.values(), ids=REFUSED_JSON)
def test_json_that_is_refused(text: str, said: str) -> None:
    with pytest.raises(safe_load.UnreadableError, match=said):
        safe_load.from_json(text)


def test_published_records_are_read_as_by_the_libraries() -> None:
    for path in sorted((ROOT / "sweeps" / "published").rglob("config.yaml")):
        assert safe_load.from_yaml(path.read_text()) == yaml.safe_load(path.read_text())
        text = (path.parent / "environment.json").read_text()
        assert safe_load.from_json(text) == json.loads(text)
