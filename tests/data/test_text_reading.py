"""Texts as ids of tokens: read as they stand, known from the training split alone; what is no text is refused in one line."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from translations import catalogue

from lstm_bench import leak, look
from lstm_bench.core.configuration import conf_dir
from lstm_bench.core.errors import ConfigError, DataError, LstmBenchError
from lstm_bench.data import dataset, inspection, shared_memory, texts, tokens, warning
from lstm_bench.data.dataset import SPLITS, Dataset
from lstm_bench.data.formats.source import Source
from lstm_bench.data.tokens import UNKNOWN, Vocabulary
from lstm_bench.report.figures import sequences
from lstm_bench.study import leak_findings
from lstm_bench.training.artefacts import described, predictions

WORDS = [
    "the",
    "film",
    "was",
    "a",
    "plot",
    "of",
    "an",
    "actor",
    "and",
    "so",
    "it",
    "is",
    "really",
    "very",
    "this",
    "one",
]


def settings(name: str = "file", **given: Any) -> dict[str, Any]:
    whole = yaml.safe_load((conf_dir() / "dataset" / f"{name}.yaml").read_text())
    return {**whole, **({"text": "note", "target": "mood"} if name == "file" else {}), **given}


def made(path: Path, n: int = 60, notes: Sequence[str] = (), **columns: Sequence[Any]) -> Path:
    """A table of `n` notes, the first as given, and others of 2 to 8 words that say nothing."""
    rng = np.random.RandomState(0)
    drawn = [f"{' '.join(rng.choice(WORDS, rng.randint(2, 9)))} {place}" for place in range(n - len(notes))]
    rows = {"note": [*notes, *drawn], "mood": ["up" if place % 2 else "down" for place in range(n)], **columns}
    pd.DataFrame(rows).to_csv(path, index=False)
    return path


def loaded(path: object, **given: Any) -> Dataset:
    return dataset.load(settings(path=str(path), **given))


def refused(path: object, **given: Any) -> LstmBenchError:
    with pytest.raises((ConfigError, DataError)) as caught:
        loaded(path, **given)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 500
    return caught.value


def spelt(found: Dataset, split: str) -> list[str]:
    """The texts of a split as a model sees them, `_` for what it does not know."""
    names = ["", "_", *(found.tokens or ())]
    return ["".join(names[place] for place in row) for row in getattr(found, f"x_{split}")]


def test_texts_become_padded_ids_with_lengths(tmp_path: Path) -> None:
    found = loaded(made(tmp_path / "a.csv"))
    assert found.x_train.dtype == np.int32 and found.x_train.ndim == 2
    assert found.input_shape == (found.x_train.shape[1], 2 + len(found.tokens or ()))
    for split in SPLITS:
        x, lengths = getattr(found, f"x_{split}"), found.lengths(split)
        assert lengths is not None and ((x > 0).sum(axis=1) == lengths).all()
        assert ((x > 0) == (np.arange(x.shape[1]) < lengths[:, None])).all(), "padding is behind, and nothing else is 0"
    assert found.mean is None and found.classes == ("down", "up")


def test_what_looks_like_something_else_is_a_text(tmp_path: Path) -> None:
    notes = ["NA", "007", "null", "1e5", "multi\nline", "שלום עולם", "😀👍🏽 ok", 'said "so"', "?", "True"] * 3
    given = {"min_count": 1, "validation_size": 6, "validation": "split"}
    found = loaded(made(tmp_path / "a.csv", 60, notes), **given)
    seen = {text for split in SPLITS for text in spelt(found, split)}
    assert {*notes} <= seen


def test_equal_texts_are_equal_however_accents_were_typed(tmp_path: Path) -> None:
    assert tokens.split("e\N{COMBINING ACUTE ACCENT}", "char") == "é"
    assert tokens.split("Don't PANIC, Ünal!", "word") == ["don", "'", "t", "panic", ",", "ünal", "!"]


def test_the_vocabulary_is_that_of_the_training_split_alone(tmp_path: Path) -> None:
    path = made(tmp_path / "a.csv")
    table, before = pd.read_csv(path), loaded(path, tokens="word")
    held_out = {text for split in ("validation", "test") for text in spelt(loaded(path, min_count=1), split)}
    outside = ~table["note"].isin(set(spelt(loaded(path, min_count=1), "train")))
    assert outside.sum() > 10 and held_out
    table.loc[outside, "note"] = [f"zebra {place} zebra" for place in range(int(outside.sum()))]
    table.to_csv(path, index=False)
    after = loaded(path, tokens="word")
    assert after.tokens == before.tokens and "zebra" not in (after.tokens or ())
    assert (after.x_test[:, 0] == UNKNOWN).all() and (after.x_train == before.x_train).all()


def test_size_and_least_count_limit_the_vocabulary(tmp_path: Path) -> None:
    path = made(tmp_path / "a.csv")
    usual = loaded(path, tokens="word")
    assert loaded(path, tokens="word", vocabulary=5).tokens == (usual.tokens or ())[:5]
    assert set(usual.tokens or ()) == {*WORDS}, "a number that is in one text is unknown"
    assert len(loaded(path, tokens="word", min_count=1).tokens or ()) > len(WORDS)


def test_long_texts_are_cut_where_it_is_said(tmp_path: Path) -> None:
    path = made(tmp_path / "a.csv", 60, ["x" * 100_000, "y" * 4000])
    assert "1 of 60 texts have more than 5,000 tokens" in str(refused(path))
    assert "2 of 60 sequences are longer than dataset.max_length" in str(refused(path, max_length=80))
    found = loaded(path, max_length=80, truncate="start")
    assert found.input_shape[0] == 80 and any("2 of 60" in note and "start is cut off" in note for note in found.notes)
    assert found.length_facts()["cut"] == 2


@pytest.mark.parametrize(
    ("given", "notes", "said"),
    [
        ({}, ["", "  ", ""], "3 of 60 texts are empty, the first in row 2"),
        ({"tokens": "word"}, ["  ", ""], "2 of 60 texts are empty"),
        ({}, ["same"] * 60, "column note has one text: expected texts that differ, received 'same'"),
        ({}, [*map(str, range(60))], "column note holds numbers: expected texts, received '0'"),
        ({"text": "nowhere"}, [], "has no column 'nowhere'"),
        ({"target": "note"}, [], "one column"),
        ({"target": None}, [], "no target is named"),
        ({"tokens": "word", "min_count": 1000}, [], "no word occurs 1000 times in the training split"),
        ({"standardize": True}, [], "dataset.standardize: expected auto or false, for tokens are no numbers"),
        ({"missing": "mean"}, [], "dataset.missing: expected refuse"),
        ({"layout": "wide"}, [], "dataset.layout: expected null, for a row is a text"),
        ({"window": 3}, [], "dataset.window: expected null"),
        ({"task": "tagging"}, [], "a text has one answer"),
        ({"resplit": True}, [], "dataset.resplit: expected false"),
        ({"text": None, "tokens": "word"}, [], "dataset.tokens: expected null without dataset.text"),
    ],
)
def test_what_is_no_text_is_one_line(tmp_path: Path, given: dict[str, Any], notes: list[str], said: str) -> None:
    assert said in str(refused(made(tmp_path / "a.csv", 60, notes), **given))


def test_empty_texts_are_left_out_and_counted_where_that_is_said(tmp_path: Path) -> None:
    found = loaded(made(tmp_path / "a.csv", 60, ["", ""]), min_length=1)
    assert sum(len(getattr(found, f"y_{split}")) for split in SPLITS) == 58
    assert any("2 of 60" in note and "left out" in note for note in found.notes)


def test_several_labels_and_numbers_are_predicted_from_texts(tmp_path: Path) -> None:
    columns = {"loud": [place % 2 for place in range(60)], "fast": [place % 3 % 2 for place in range(60)]}
    path = made(tmp_path / "a.csv", 60, **columns, price=[place / 7 for place in range(60)])
    assert loaded(path, target=["loud", "fast"]).task == "multilabel"
    assert loaded(path, target="price").task == "regression"


def test_a_second_file_is_the_test_set(tmp_path: Path) -> None:
    paths = [made(tmp_path / "a.csv"), made(tmp_path / "b.csv", 30, ["zebra crossing"])]
    found = loaded(paths[0], test_path=str(paths[1]), tokens="word")
    assert len(found.x_test) == 30 and found.x_test[0, :2].tolist() == [UNKNOWN, UNKNOWN]


def test_texts_reach_workers_as_they_are(tmp_path: Path) -> None:
    config = settings(path=str(made(tmp_path / "a.csv")))
    whole, shared = dataset.load(config), shared_memory.SharedDataset()
    shared.store(whole, config)
    assert shared.fd is not None
    again = shared_memory.load(shared.fd, config)
    shared.close()
    assert again is not None and again.tokens == whole.tokens and (again.x_train == whole.x_train).all()
    assert again.vocabulary == whole.vocabulary and again.x_train.dtype == np.int32


# The vocabulary beside a model.


def test_a_vocabulary_is_plain_text_and_comes_back(tmp_path: Path) -> None:
    known = Vocabulary("char", ("a", "\n", "\\", '"', "\u2028", "\x85", "\t", "😀", "é", "\r"))
    known.save(tmp_path)
    assert tokens.read(tmp_path, known.described()) == known
    assert (tmp_path / tokens.FILE).read_text(encoding="utf-8").split("\n")[0] == "a"


@pytest.mark.parametrize("damage", ["missing", "another", "cut", "bytes"])
def test_a_damaged_vocabulary_is_one_line(tmp_path: Path, damage: str) -> None:
    known, file = Vocabulary("word", ("a", "b")), tmp_path / tokens.FILE
    if damage != "missing":
        known.save(tmp_path)
        body = {"another": b"a\nc\n", "cut": b"a\n", "bytes": b"\xff\xfe\n"}[damage]
        file.write_bytes(body)
    with pytest.raises(DataError, match=r"vocabulary.txt: (no vocabulary can be read|not the vocabulary)"):
        tokens.read(tmp_path, known.described())


def kept(found: Dataset, folder: Path) -> dict[str, Any]:
    """What lies beside a model of a dataset."""
    assert found.vocabulary is not None
    found.vocabulary.save(folder)
    return described(found)


def test_new_texts_are_read_by_the_vocabulary_and_what_is_unknown_is_said(tmp_path: Path) -> None:
    about = kept(loaded(made(tmp_path / "a.csv"), tokens="word", max_length=6, truncate="end"), tmp_path)
    (tmp_path / "new.csv").write_text(
        "note\nthe film was so\n😀 ☂\nthe the the the the the the the\n", encoding="utf-8"
    )
    found = texts.unseen(Source.parse(tmp_path / "new.csv"), about, tmp_path)
    assert found.x.dtype == np.int32 and found.y is None and found.lengths is not None
    assert found.lengths.tolist() == [4, 2, 6] and found.x[1].tolist() == [UNKNOWN, UNKNOWN, 0, 0, 0, 0]
    (tmp_path / "one.csv").write_text("note\n12 so\n")
    assert texts.unseen(Source.parse(tmp_path / "one.csv"), about, tmp_path).x.shape == (1, 2), "one text is enough"
    learned = {**about, "timesteps": 3, "reading": {**about["reading"], "columns": {"text": "note"}}}
    assert texts.unseen(Source.parse(tmp_path / "new.csv"), learned, tmp_path).notes[0] == (
        "2 of 3 texts are longer than the 3 words that the model has learned from"
    )
    said = "; ".join(found.notes)
    assert (
        "longer than the" not in said
        and "1 of 3 sequences are longer than dataset.max_length=6" in said
        and "1 of 3 texts hold none" in said
    )


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("other\nx\n", "has no column 'note'"),
        ('note\n""\n"  "\n', "2 of 2 texts are empty.*Take such rows out.$"),
        ("note\n" + "so " * 6000 + "\nso\n", "1 of 2 texts have more than 5,000 tokens.*Cut them, or train with"),
        ("note\n", "it holds no row"),
    ],
)
def test_new_texts_that_cannot_be_read_are_one_line(tmp_path: Path, body: str, said: str) -> None:
    about = kept(loaded(made(tmp_path / "a.csv"), tokens="word"), tmp_path)
    (tmp_path / "new.csv").write_text(body)
    with pytest.raises(LstmBenchError, match=said):
        texts.unseen(Source.parse(tmp_path / "new.csv"), about, tmp_path)


# What is said of texts, and what is not.


def test_look_warns_of_texts_in_two_splits_and_draws_no_value(tmp_path: Path) -> None:
    config = settings(path=str(made(tmp_path / "a.csv", 60, ["the same words"] * 30)))
    found = dataset.load(config)
    said = warning.warnings(found, config)
    assert any(" texts of test are in train too, as a model sees them: " in line for line in said)
    assert not inspection.columns(found, config) and not any("scales" in line for line in said)
    assert len(sequences.overview(found).axes) == 2, "lengths and classes: ids are no values"


def test_the_leak_meter_finds_texts_that_are_in_two_splits(tmp_path: Path) -> None:
    config = settings(path=str(made(tmp_path / "a.csv", 60, ["the same words"] * 30)))
    pool = leak._pool(dataset.load(config), config)
    assert pool.split is not None
    same = (pool.x == pool.x[np.flatnonzero(pool.split > 0)[0]]).all(axis=1)
    copies = [(pool.x[pool.split == 0] == row).all(axis=1).any() for row in pool.x[pool.split > 0]]
    (finding,) = leak_findings.findings(pool)
    assert finding.what == "exact duplicates" and finding.n >= sum(copies) > 0 and same.any()
    clean = leak._pool(loaded(made(tmp_path / "b.csv")), config)
    assert not leak_findings.findings(clean)


def test_the_record_of_a_wrong_text_holds_no_text() -> None:
    x, y = np.array([[2, 3, 0], [4, 0, 0]], np.int32), np.array([1, 0])
    (worst,) = predictions(x, y, np.array([[0.9, 0.1], [0.8, 0.2]]))["worst"]
    assert worst["sample"] == 0 and worst["features"] == 0 and "values" not in worst


def test_the_table_of_the_guide_is_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = (Path(__file__).parents[2] / "docs" / "guide" / "text.md").read_text()
    monkeypatch.chdir(tmp_path)
    exec(page.partition("```python\n")[2].partition("```")[0], {})
    line = page.partition("python -m lstm_bench.look ")[2].partition("\n")[0]
    assert look.main(line.split()) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "600 of 4 to 15 words, 18 different" in said
    assert "by group: 430 train (43 groups), 50 validation (5 groups), 120 test (12 groups)" in said


# The strings of Django.


def django(folder: Path) -> Path:
    """Twenty strings in three languages; one is the same in two of them, one has a plural, one a context."""
    for language, mark in (("de", "ß"), ("fr", "ç"), ("el", "λ")):
        own = {f"text {place}": f"{mark}{place} {language}{'word' * (place % 4)}" for place in range(20)}
        own |= {"one\0many": f"{mark} one\0{mark} many {language}", "here\x04ctx": f"ctx {language}", "empty": ""}
        own |= {"shared": "Tag" if language != "el" else "ημέρα"}
        place = folder / "conf" / "locale" / language / "LC_MESSAGES"
        place.mkdir(parents=True)
        (place / "django.mo").write_bytes(catalogue(own))
    (folder / "__init__.py").write_text('VERSION = (5, 2, 1, "final", 0)\n')
    return folder


def test_the_language_of_a_string_is_its_label_and_the_english_one_its_group(tmp_path: Path) -> None:
    config = settings("languages", path=str(django(tmp_path / "django").parent))
    found = dataset.load(config)
    assert found.classes == ("de", "el", "fr") and found.source.startswith("Django 5.2.1, ")
    # 20 strings, two forms of a plural and a context of each language, and what one of them alone calls "shared"
    assert sum(len(getattr(found, f"y_{split}")) for split in SPLITS) == 3 * 23 + 1
    assert any("70 strings of 3 languages; 1 that several have are left out" in note for note in found.notes)
    coded = texts._languages(config, "char")
    groups = coded.parts["all"].groups
    assert groups is not None and {"one", "ctx", "shared"} <= {*groups.tolist()}
    assert "by group" in str((found.about or {})["divided"])
    at_random = dataset.load({**config, "split": "stratified"})
    assert "at random" in str((at_random.about or {})["divided"])


def test_no_english_string_is_in_two_splits(tmp_path: Path) -> None:
    config = settings("languages", path=str(django(tmp_path / "django")))
    found = dataset.load(config)
    numbers = {split: {text.split(" ")[0][1:] for text in spelt(found, split)} - {""} for split in ("train", "test")}
    assert not {n for n in numbers["train"] if n.isdigit()} & {n for n in numbers["test"] if n.isdigit()}


@pytest.mark.parametrize("fault", ["damaged", "none", "nothing", "no folder"])
def test_what_is_no_django_is_one_line(tmp_path: Path, fault: str) -> None:
    folder = django(tmp_path / "django") if fault != "no folder" else tmp_path / "nowhere"
    for file in folder.glob("**/*.mo"):
        file.write_bytes(b"\0" * 40) if fault == "damaged" else file.unlink()
    if fault == "nothing":
        (folder / "conf" / "locale").rename(folder / "conf" / "elsewhere")
    with pytest.raises(DataError) as caught:
        dataset.load(settings("languages", path=str(folder)))
    assert "\n" not in str(caught.value)


def test_django_that_is_not_installed_is_one_line_with_a_way_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(DataError, match=r"Django is not installed.*pip install 'lstm-bench\[languages\]'"):
        dataset.find(settings("languages"))
