"""Texts of a table, or of `dataset=languages`, as token ids: `x` int32 `(samples, tokens)`, padded with id 0."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from lstm_bench.core import schema
from lstm_bench.core.errors import ConfigError, DataError
from lstm_bench.core.formatting import is_number
from lstm_bench.data import division, file_dataset, formats, languages
from lstm_bench.data.arrays import SPLITS, Arrays, checked
from lstm_bench.data.formats.source import Source
from lstm_bench.data.lengths import real
from lstm_bench.data.rows import Table, answers, times
from lstm_bench.data.sequences import Columns, Sequences, aligned, changes, from_rows
from lstm_bench.data.task import CLASSIFICATION, of
from lstm_bench.data.tokens import KINDS, NAMES, PADDING, UNKNOWN, Vocabulary, read, split, usual

SETTINGS = ("text", "tokens", "vocabulary", "min_count")  # of group `dataset`, those that only texts have
_ELSEWHERE = ("layout", "features", "window", "stride", "lengths", "horizon", "context", "scale", "season", "resample")


def are_asked(config: schema.Dataset) -> bool:
    """Whether the samples of a group `dataset` are texts."""
    return config.get("text") is not None or config.get("name") == "languages"


def check(config: schema.Dataset) -> None:
    """Checks the settings of texts that no file has to be opened for.

    Raises:
      ConfigError: for one that cannot be meant.
    """
    values: Mapping[str, Any] = config
    for key in _ELSEWHERE:
        if values.get(key) is not None:
            raise ConfigError(f"dataset.{key}", expected="null, for a row is a text", received=values[key])
    why = "for tokens are no numbers"
    for key, kept, said in (
        ("missing", (None, "refuse"), f"refuse, {why}"),
        ("standardize", (False, "auto"), f"auto or false, {why}"),
        ("resplit", (None, False), "false, for the vocabulary is that of one training split"),
    ):
        if values.get(key) not in kept:
            raise ConfigError(f"dataset.{key}", expected=said, received=values[key])
    named = config.get("task")
    task = of(named) if named else CLASSIFICATION
    if task.per_timestep or task.cutter:
        raise ConfigError(
            f"dataset.task={task.name}: a text has one answer, or several labels",
            expected="classification, regression or multilabel",
        )


@dataclass(frozen=True, eq=False)
class Coded:
    """Texts as numbers, before anything is divided.

    Attributes:
      parts: As of `file_dataset.parts_of`; `x` int32 `(samples, tokens, 1)` holds indices into `alphabet`, counted from 1.
      alphabet: All tokens that there are, sorted.
      where: The file or folder, for messages.
      notes: What was left out, a sentence each.
    """

    parts: dict[str, Sequences]
    alphabet: tuple[str, ...]
    where: str
    columns: Columns
    notes: tuple[str, ...] = ()


def load(config: schema.Dataset) -> file_dataset.FileData:
    """Reads texts, divides them, and has the training split say which tokens a model knows.

    Args:
      config: The `dataset` settings.

    Raises:
      ConfigError: for settings that do not fit the file.
      DataError: for a file that is unfit.
    """
    kind = config.get("tokens") or KINDS[0]
    coded = (_languages if config["name"] == "languages" else _tables)(config, kind)
    parts, where, columns = coded.parts, coded.where, coded.columns
    one, way, task, why = file_dataset.asked_of(config, parts, columns, where)
    changed = file_dataset.changed_by(parts)
    sha256 = hashlib.sha256(f"{file_dataset.digest_of(parts)} {_digest(coded.alphabet)}".encode()).hexdigest()
    parts, divided = file_dataset.divided_by(parts, config, way, task, where)
    labels, named = file_dataset.labelled(parts, columns, task, where)
    vocabulary = _known(coded, parts["train"], kind, config)
    ids = np.array([PADDING, *(vocabulary.id(token) for token in coded.alphabet)], np.int32)
    arrays: Arrays = {f"x_{split}": ids[found.x] for split, found in parts.items()}
    arrays |= {f"y_{split}": y for split, y in labels.items()}
    arrays, n_outputs = checked(arrays, task, None, Path(where))
    lengths = {f"lengths_{split}": found.every_length() for split, found in parts.items()}
    arrays |= {f"x_{split}": arrays[f"x_{split}"][..., 0] for split in SPLITS} | lengths
    unknown = {split: unknown_share(arrays[f"x_{split}"], arrays[f"lengths_{split}"]) for split in SPLITS}
    about = {
        **{"split": way, "divided": divided, "windows": False, "overlap": False, "in_time": division.in_time(one)},
        "groups": division.groups_of(parts) if way != "stratified" else {},
        "columns": formats.columns_of(file_dataset.sources(config)["path"]) if config["name"] == "file" else None,
        **{"missing": {}, "vocabulary": {**vocabulary.described(), "unknown": unknown}},
        **({"changed": changed} if changed else {}),
    }
    kept = {key: value for key, value in vars(columns).items() if value and key != "categories"}
    reading: dict[str, Any] = {"columns": kept, "features": [columns.text], "categories": {}, "filling": None}
    reading["vocabulary"] = vocabulary.described()
    said = changes(changed.get("cut", 0), changed.get("dropped", 0), changed.get("of", 0), columns)
    size = f"{len(vocabulary.tokens):,} {NAMES[kind]} are known from the training split"
    notes = [f"a {task.name} task: {why}", *coded.notes, *said, f"divided {divided}"]
    notes.append(f"{size}; {100 * unknown['test']:.2g} % of those of the test split are others")
    made = file_dataset.FileData(arrays, n_outputs, task, sha256, named, reading, tuple(notes), about)
    return replace(made, tokens=vocabulary.tokens)


def unseen(source: Source, about: Mapping[str, Any], folder: Path) -> Sequences:
    """The texts of a table as a model knows them; target and group may be missing.

    Args:
      source: The table.
      about: `input.json` of the model.
      folder: Of the model: its vocabulary lies there.

    Returns:
      `x` int32 `(samples, tokens)`, with lengths; `y` None where there is no target; notes on what is cut and what is unknown.

    Raises:
      ConfigError: where the column of texts is not there.
      DataError: for a file that cannot be read, or a text that is empty.
    """
    vocabulary = read(folder, about["reading"]["vocabulary"])
    known, given = formats.columns_of(source), dict(about["reading"]["columns"])
    if known is None:
        raise DataError(f"{source}: no table of texts", expected=".csv, .tsv or .parquet", received=source.suffix)
    for optional in ("target", "group", "id", "time"):
        names = given.get(optional)
        if names is None or not {*([names] if isinstance(names, str) else names)} <= {*known}:
            given.pop(optional, None)
    given.pop("min_length", None)
    columns, where = Columns(**given), str(source)
    table = _table(source, columns)
    tokens = [split(text, vocabulary.kind) for text in _texts(table, columns, where)]
    found = _sequences(vocabulary.ids(tokens), tokens, table, columns, where, unseen=True)
    found = replace(found, x=found.x[..., 0], lengths=found.every_length())
    alone = int(((found.x == UNKNOWN) | (found.x == PADDING)).all(axis=1).sum())
    share, n = unknown_share(found.x, found.lengths), f"{len(found):,}"
    notes = changes(found.cut, 0, len(found), columns)
    if longer := int((found.every_length() > about["timesteps"]).sum()):
        known_of = f"the {about['timesteps']:,} {NAMES[vocabulary.kind]} that the model has learned from"
        notes.append(f"{longer:,} of {n} texts are longer than {known_of}")
    if share:
        notes.append(f"{100 * share:.2g} % of the {NAMES[vocabulary.kind]} are none that the model knows")
    if alone:
        notes.append(f"{alone:,} of {n} texts hold none that it knows: what is predicted of them says nothing")
    return replace(found, notes=tuple(notes))


def unknown_share(x: np.ndarray, lengths: np.ndarray | None) -> float:
    """Of the tokens of texts, those that are not known."""
    return float((real(x, lengths) == UNKNOWN).mean())


def _known(coded: Coded, train: Sequences, kind: str, config: schema.Dataset) -> Vocabulary:
    counts = np.bincount(real(train.x, train.every_length()).ravel(), minlength=len(coded.alphabet) + 1)[1:]
    counted = dict(zip(coded.alphabet, counts.tolist(), strict=True))
    made = Vocabulary.of(counted, kind, config.get("vocabulary"), config.get("min_count"))
    if not made.tokens:
        least = config.get("min_count") or usual()["min_count"]
        raise DataError(
            f"{coded.where}: no {kind} occurs {least} times in the training split",
            expected="tokens to learn from",
            remedy="Say dataset.min_count=1, or give more texts.",
        )
    return made


def _languages(config: schema.Dataset, kind: str) -> Coded:
    folder = languages.find(config["path"])
    found = languages.read(folder)
    tokens, where = [split(text, kind) for text in found.texts], str(folder)
    alphabet, codes = _coded(tokens)
    table = {"language": found.labels, "english": found.groups}
    group = None if config.get("split") == "stratified" else "english"  # at random, whatever is alike
    columns = replace(Columns.of(config), text="text", target="language", group=group)
    return Coded({"all": _sequences(codes, tokens, table, columns, where)}, alphabet, where, columns, (found.note,))


def _tables(config: schema.Dataset, kind: str) -> Coded:
    columns = Columns.of(config)
    if columns.target is None:
        raise ConfigError(f"{config['path']}: no target is named", remedy="Give dataset.target=COLUMN.")
    files = file_dataset.sources(config)
    tables = {key: _table(source, columns) for key, source in files.items()}
    texts = {key: _texts(tables[key], columns, str(source)) for key, source in files.items()}
    where = str(files["path"])
    everything = [text for own in texts.values() for text in own]
    if len({*everything}) < 2:
        raise DataError(
            f"{where}: column {columns.text} has one text", expected="texts that differ", received=everything[0][:40]
        )
    if all(map(is_number, everything)):
        raise DataError(
            f"{where}: column {columns.text} holds numbers",
            expected="texts",
            received=everything[0][:40],
            remedy="Numbers are inputs as they are: dataset.features and dataset.layout, without dataset.text.",
        )
    tokens = {key: [split(text, kind) for text in own] for key, own in texts.items()}
    alphabet, codes = _coded([one for own in tokens.values() for one in own])
    ends = np.cumsum([sum(map(len, own)) for own in tokens.values()])[:-1]
    apart = dict(zip(files, np.split(codes, ends), strict=True))
    made = {key: _sequences(apart[key], tokens[key], tables[key], columns, str(files[key])) for key in files}
    if len(made) == 1:
        return Coded({"all": made["path"]}, alphabet, where, columns)
    test = made["test_path"] if columns.group else replace(made["test_path"], groups=None)
    return Coded(aligned({"train": made["path"], "test": test}), alphabet, where, columns)


def _table(source: Source, columns: Columns) -> Table:
    if formats.columns_of(source) is None:
        raise DataError(
            f"{source}: dataset.text names a column", expected=".csv, .tsv or .parquet", received=source.suffix
        )
    from lstm_bench.data.formats import table

    return table.table(source, columns)


def _texts(table: Table, columns: Columns, where: str) -> list[str]:
    """The texts of a table; an empty cell is an empty text."""
    values = table[str(columns.text)].tolist()
    return ["" if value is None or value != value else str(value) for value in values]


def _coded(texts: Sequence[Sequence[str]]) -> tuple[tuple[str, ...], np.ndarray]:
    """All tokens that there are, sorted, and int32 indices in them, from 1, of the tokens of one text behind the other."""
    alphabet = tuple(sorted({token for tokens in texts for token in tokens}))
    indices = {token: index for index, token in enumerate(alphabet, 1)}
    return alphabet, np.fromiter((indices[token] for tokens in texts for token in tokens), np.int32)


def _digest(alphabet: Sequence[str]) -> str:
    return hashlib.sha256("\0".join(alphabet).encode()).hexdigest()


def _sequences(
    codes: np.ndarray,
    tokens: Sequence[Sequence[str]],
    table: Table,
    columns: Columns,
    where: str,
    unseen: bool = False,
) -> Sequences:
    """Texts as sequences, cut and left out as `columns` say; empty ones are refused, unless `min_length` leaves them out.

    Of `unseen` ones, which a model predicts, no remedy is an option of a sweep.
    """
    lengths = np.array([len(own) for own in tokens])
    empty = np.flatnonzero(lengths == 0)
    if len(empty) and (columns.min_length is None or len(empty) == len(lengths)):
        raise DataError(
            f"{where}: {len(empty):,} of {len(lengths):,} texts are empty, the first in row {empty[0] + 2}",
            expected="at least one token in each",
            remedy="Take such rows out" + ("." if unseen else ", or say dataset.min_length=1, which leaves them out."),
        )
    longest = usual()["longest"]
    if columns.max_length is None and int(lengths.max()) > longest:
        over = lengths > longest
        raise DataError(
            f"{where}: {int(over.sum()):,} of {len(lengths):,} texts have more than {longest:,} tokens",
            expected="shorter ones, as it learned from" if unseen else "dataset.max_length, where texts are so long",
            received=int(lengths.max()),
            remedy="Cut them, or train with dataset.max_length, to which a prediction cuts too."
            if unseen
            else "Say dataset.max_length=256 and what is cut off: dataset.truncate=end, or start.",
        )
    stamps = None if columns.time is None else times(table[columns.time], columns.time, where)
    group, name = (None if key is None else table[key] for key in (columns.group, columns.id))
    own: dict[str, Any] = {"groups": group, "ids": name, "first": stamps, "last": stamps}
    y = answers(table, columns, where)
    return from_rows(codes[:, None], lengths, y, columns, where, **own, several=columns.multilabel)
