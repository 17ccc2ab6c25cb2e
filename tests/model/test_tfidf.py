"""TF-IDF of ids: as scikit-learn has it, kept without a pickle, and no control of anything but texts."""

from __future__ import annotations

import dataclasses
import warnings
from pathlib import Path

import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer

from lstm_bench.core.errors import DataError
from lstm_bench.model import controls, linear, tfidf
from lstm_bench.model.question import Asked, Samples


def drawn(n: int, seed: int = 0, longest: int = 9) -> tuple[np.ndarray, np.ndarray]:
    """Ids of texts of 1 to `longest` of 6 tokens, and whether a text has 2 and then 3."""
    rng = np.random.RandomState(seed)
    lengths = rng.randint(1, longest + 1, n)
    x = np.where(np.arange(longest) < lengths[:, None], rng.randint(1, 7, (n, longest)), 0).astype(np.int32)
    return x, ((x[:, :-1] == 2) & (x[:, 1:] == 3)).any(axis=1).astype(np.int32)


def test_it_is_the_tf_idf_of_scikit_learn() -> None:
    x, _ = drawn(50)
    texts = [[str(token) for token in row[row > 0]] for row in x]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        vectorizer = TfidfVectorizer(analyzer=_runs, min_df=tfidf.LEAST, sublinear_tf=True).fit(texts)
    theirs = vectorizer.transform(texts).toarray()
    ours = tfidf.fit(x)(x).toarray()
    order = [theirs[:, place] for place in range(theirs.shape[1])]
    assert ours.shape == theirs.shape
    np.testing.assert_allclose(sorted(map(tuple, ours.T)), sorted(map(tuple, order)), atol=1e-12)


def test_a_strength_that_begins_where_a_stronger_one_ended_ends_where_it_would_alone() -> None:
    x, y = drawn(300)
    features = tfidf.fit(x)(x)
    *_, last = linear._logistic(features, y, 2, (10.0, 1.0, 0.1), 5000)
    (alone,) = linear._logistic(features, y, 2, (0.1,), 5000)
    assert last.chosen == alone.chosen == "C 10"
    np.testing.assert_allclose(features @ last.weights + last.offset, features @ alone.weights + alone.offset, atol=0.2)
    several = np.stack([y, 1 - y], axis=1)
    lines = list(linear._lines(features, several, Asked("labels", 2), (1.0, 0.1), 1000))
    assert [line.chosen for line in lines] == ["C 1", "C 10"]
    answers = features @ lines[1].weights + lines[1].offset
    assert ((answers > 0) == several).mean() > 0.95
    np.testing.assert_allclose(answers[:, 0], -answers[:, 1], atol=0.2)


def _runs(tokens: list[str]) -> list[str]:
    return [" ".join(tokens[at : at + n]) for n in range(1, 4) for at in range(len(tokens) - n + 1)]


def test_padding_and_ids_that_were_never_seen_are_in_no_run() -> None:
    x, _ = drawn(30)
    made = tfidf.fit(x)
    longer = np.pad(x, ((0, 0), (0, 5)))
    assert (made(longer) != made(x)).nnz == 0
    unseen = np.full((1, 4), int(made.base) + 3, np.int32)
    assert made(unseen).nnz == 0


def test_it_learns_what_the_order_of_tokens_says() -> None:
    train, validation, test = (Samples(*drawn(400, seed)) for seed in range(3))
    made = controls.CONTROLS["tfidf"].fit(train, validation, Asked("class", 2, texts=True))
    right = (made.outputs(test.x).argmax(axis=1) == test.y).mean()
    assert right > 0.97 > max(test.y.mean(), 1 - test.y.mean())
    assert made.chosen.startswith("C ") and any("ids are none" in note for note in made.notes)


@pytest.mark.parametrize("kind", ["class", "labels", "number"])
def test_it_is_kept_as_arrays_and_answers_as_before(tmp_path: Path, kind: str) -> None:
    x, y = drawn(80)
    answers = {"class": y, "labels": np.stack([y, 1 - y], axis=1), "number": y.astype(np.float32)}[kind]
    asked = Asked(kind, 1 if kind == "number" else 2, texts=True)
    made = controls.CONTROLS["tfidf"].fit(Samples(x, answers), Samples(x, answers), asked)
    made.save(tmp_path / "tfidf", {"timesteps": x.shape[1], "features": 8})
    again, about = controls.load(tmp_path / "tfidf")
    assert again.asked == asked and about["features"] == 8
    np.testing.assert_array_equal(again.outputs(x), made.outputs(x))
    assert sorted(path.name for path in (tmp_path / "tfidf").iterdir()) == ["control.json", "control.npz"]


@pytest.mark.parametrize("lost", ["base", "runs", "idf", "weights", "offset"])
def test_arrays_that_do_not_belong_together_are_one_line(tmp_path: Path, lost: str) -> None:
    x, y = drawn(60)
    made = controls.CONTROLS["tfidf"].fit(Samples(x, y), Samples(x, y), Asked("class", 2, texts=True))
    about = {"timesteps": x.shape[1], "features": 8}
    for wrong in ({}, {"weights": np.full_like(made.arrays["weights"], np.nan)}, {"idf": made.arrays["idf"][1:]}):
        rest = {key: array for key, array in made.arrays.items() if wrong or key != lost} | wrong
        dataclasses.replace(made, arrays=rest).save(tmp_path, about)
        with pytest.raises(DataError, match="no control can be read"):
            controls.load(tmp_path)


def test_texts_have_the_controls_of_texts_and_numbers_the_others() -> None:
    assert [control.name for control in controls.able(Asked("class", 2, texts=True))] == ["trivial", "tfidf"]
    assert [control.name for control in controls.able(Asked("class", 2))] == ["trivial", "linear", "minirocket"]
