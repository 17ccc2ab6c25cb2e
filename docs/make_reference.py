"""Writes the reference pages from the code, so that they never say anything else.

    python docs/make_reference.py [check=true]

`docs/reference/configuration.md` comes from the schema and from `conf/` with its comments, `docs/reference/columns.md`
from the columns of the records and their comments. With `check=true` nothing is written, and the exit code is 6 where a
page is stale.
"""

from __future__ import annotations

import ast
import inspect
import io
import re
import sys
import tokenize
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from lstm_bench.core import configuration, errors, schema
from lstm_bench.data import objective, task
from lstm_bench.model import kernel, signature
from lstm_bench.study import columns as record

PAGES = Path(__file__).parent / "reference"
MADE = "Made by `python docs/make_reference.py`; do not edit."


def table(header: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A Markdown table."""
    lines = [list(header), *map(list, rows)]
    lines.insert(1, ["---"] * len(lines[0]))
    return "\n".join("| " + " | ".join(map(escaped, line)) + " |" for line in lines)


def escaped(text: str) -> str:
    """A text as a field of a table: outside code spans `<study>` is no tag."""
    parts = text.replace("|", "\\|").split("`")
    parts[::2] = [part.replace("<", "&lt;") for part in parts[::2]]
    return "`".join(parts)


# Configuration


def comments(path: Path) -> dict[str, str]:
    """Dotted key -> its comment in a YAML file.

    It stands behind the key, and goes on in lines below it that are indented further; or in lines of their own above the key, but
    for those that the file begins with.
    """
    found: dict[str, str] = {}
    parents: list[tuple[int, str]] = []
    above: list[str] = []
    last = ""
    for line in path.read_text(encoding="utf-8").splitlines():
        key = re.match(r"( *)([\w.]+):(?: |$)", line)
        comment = re.search(r"(?:^|\s)# ?(.*)$", line)
        if key:
            indent = len(key[1])
            parents = [parent for parent in parents if parent[0] < indent]
            last = ".".join([*(name for _, name in parents), key[2]])
            parents.append((indent, key[2]))
            found[last] = comment[1].strip() if comment else " ".join(above)
            above = []
        elif comment and last:
            if len(line) - len(line.lstrip()) > parents[-1][0]:
                found[last] += " " + comment[1].strip()
            else:
                above.append(comment[1].strip())
    return found


def head(path: Path) -> str:
    """The comment that a YAML file begins with, in one line, without its header and its command."""
    lines = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            break
        text = line.lstrip("# ").strip()
        if not text.startswith(("@package", "python -m")):
            lines.append(text)
    return " ".join(lines)


def shown(value: Any) -> str:
    """A default as it is written on a command line."""
    if value is None:
        return "`null`"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, dict | list):
        return f"`{yaml.safe_dump(value, default_flow_style=True, width=10_000).strip()}`"
    return f"`{value}`" if str(value) else "empty"


def allowed(hint: Any, rule: object) -> str:
    """A type and its range or choices, in words."""
    origin = typing.get_origin(hint)
    if isinstance(rule, schema.Weights | schema.Names):
        return f"{rule}, or null"
    if hint is Any:
        return "one, or a list"
    if origin in (dict, list):
        return {dict: "a mapping", list: "a list"}[origin]
    words = configuration.type_words(hint)
    if isinstance(rule, schema.Choice):
        return "one of " + ", ".join(f"`{name}`" for name in rule.names)
    if rule is None:
        return words
    said = str(rule)
    if int in (hint, *typing.get_args(hint)) and float not in (hint, *typing.get_args(hint)):
        said = said.replace("a number", "a whole number")
    return said + (" or null" if "null" in words else "")


def composed(name: str) -> dict[str, Any]:
    """`conf/NAME.yaml` with its default choices, nothing resolved that needs an environment."""
    from hydra import compose, initialize_config_dir
    from omegaconf import OmegaConf

    with initialize_config_dir(version_base="1.3", config_dir=str(configuration.conf_dir())):
        plain = OmegaConf.to_container(compose(config_name=name), resolve=False)
    return typing.cast(dict[str, Any], plain)


def schema_comments(node: type) -> dict[str, str]:
    """Key of a group -> comment behind it."""
    lines = inspect.getsource(node).splitlines()
    found = (re.match(r" +(\w+): [^#]*(?:# (.*))?$", line) for line in lines)
    return {match[1]: match[2] or "" for match in found if match}


def meaning(group: str, key: str, files: list[Path], known: Mapping[str, str]) -> str:
    """What an option is: the comment of the first YAML file that has one, else the schema's."""
    if key == "name":
        return f"set by `{group}=NAME`"
    for path in files:
        if said := comments(path).get(key):
            return said
    return known.get(key, "")


def options(group: str, node: Any, values: Mapping[str, Any], files: list[Path]) -> str:
    """Table of a group's options."""
    known = schema_comments(node)
    rows = [
        [f"`{group}.{key}`", allowed(value.kind, value.rule), shown(values.get(key)), meaning(group, key, files, known)]
        for key, value in schema.values(node).items()
    ]
    return table(["option", "value", "default", "meaning"], rows)


def choices(group: str) -> list[Path]:
    """YAML files of a group."""
    return sorted((configuration.conf_dir() / group).glob("*.yaml"))


def sentence(text: str | None) -> str:
    """First line of a docstring."""
    return (text or "").strip().splitlines()[0] if text else ""


def families() -> Iterator[str]:
    """Sections of the families: their options from their signatures."""
    rows, more = [], []
    for path in choices("model"):
        settings = yaml.safe_load(path.read_text(encoding="utf-8"))
        function = signature.find(settings["_target_"])
        layers = ", ".join(kernel.LAYERS[name] for name in signature.recurrent_layers(function)) or "none"
        rows.append([f"`{path.stem}`", sentence(function.__doc__), layers])
        said = comments(path)
        for name, (kind, rule) in signature.rules(function).items():
            value = [allowed(kind, rule), shown(settings.get(name)), said.get(name) or argument(function, name)]
            more.append([f"`{path.stem}`", f"`model.{name}`", *value])
    yield "### `model`\n\nThe architecture family: a function and its arguments."
    yield table(["choice", "what it is", "recurrent layers"], rows)
    yield (
        "`model.weights`, of every family with a width, is a number of parameters such as `25k`: the nearest width stands in for "
        "the option that is named `units` or `filters`. `model.embedding`, of every family where samples are texts, is how many "
        "numbers stand for a token, 32 where nothing is said; their table is none of those parameters."
    )
    yield table(["family", "option", "value", "default", "meaning"], more)


def argument(function: Callable[..., Any], name: str) -> str:
    """What a docstring says of an argument."""
    found = re.search(rf"^  {name}: (.*(?:\n {{4,}}.*)*)", inspect.getdoc(function) or "", re.MULTILINE)
    return " ".join(found[1].split()) if found else ""


def plain_page(name: str, command: str) -> Iterator[str]:
    """Section of a YAML file that has no schema."""
    path = configuration.conf_dir() / f"{name}.yaml"
    values, said = yaml.safe_load(path.read_text(encoding="utf-8")), comments(path)
    yield f"## `{name}.yaml`\n\nOptions of {command}."
    yield table(
        ["option", "default", "meaning"], [[f"`{key}`", shown(value), said[key]] for key, value in values.items()]
    )


def rooted(name: str, root: Any, apart: Iterable[str], command: str) -> Iterator[str]:
    """Sections of a YAML file with a root of its own: single values first, then each group that is not told elsewhere."""
    path, kinds, values = configuration.conf_dir() / f"{name}.yaml", schema.values(root), composed(name)
    said, known = comments(path), schema_comments(root)
    yield f"## `{name}.yaml`\n\nOptions of {command}."
    groups = [key for key, value in kinds.items() if schema.is_group(value.kind)]
    single = [key for key in kinds if key not in (*groups, *apart)]
    yield table(
        ["option", "value", "default", "meaning"],
        [[f"`{k}`", allowed(kinds[k].kind, None), shown(values[k]), said.get(k) or known.get(k, "")] for k in single],
    )
    for group in groups:
        if group in apart:
            continue
        node = kinds[group].kind
        own = {key.partition(".")[2]: text for key, text in said.items() if key.startswith(group + ".")}
        known_of = schema_comments(node)
        rows = [
            [
                f"`{group}.{key}`",
                allowed(value.kind, value.rule),
                shown(values[group][key]),
                own.get(key) or known_of.get(key, ""),
            ]
            for key, value in schema.values(node).items()
        ]
        yield table(["option", "value", "default", "meaning"], rows)


def all_options() -> str:
    """The page of all options."""
    kinds, values = schema.values(schema.Sweep), composed("sweep")
    study = comments(configuration.conf_dir() / "sweep.yaml")
    own = {key.partition(".")[2]: text for key, text in study.items() if key.startswith("study.")}
    parts = [
        f"# Configuration\n\n{MADE}",
        "An option is `PATH=VALUE` on a command line, a group's choice `GROUP=NAME`, a study `+study=NAME`, a "
        "campaign `+campaign=NAME`. Every type and range is checked before anything is created. A text that "
        "Hydra's grammar cannot read is quoted twice: `'train.optimizer=\"adam\"'`; paths, addresses and "
        "`study.description` are taken as they stand.",
        "## `sweep.yaml`\n\nOptions of `python -m lstm_bench.sweep`: its groups, and `study`.",
        table(
            ["option", "value", "default", "meaning"],
            [["`controls`", allowed(kinds["controls"].kind, None), shown(values["controls"]), study["controls"]]],
        ),
    ]
    for group in schema.GROUPS:
        node = kinds[group].kind
        if group == "model":
            parts += families()
            continue
        files = choices(group)
        if group == "study":
            rows = []
            for key, value in schema.values(node).items():
                rule = schema.Choice(objective.AUTO, *objective.objectives()) if key == "objective" else value.rule
                said = [allowed(value.kind, rule), shown(values[group][key]), own.get(key, "")]
                rows.append([f"`study.{key}`", *said])
            parts += [
                f"### `study`\n\n{sentence(node.__doc__)}",
                table(["option", "value", "default", "meaning"], rows),
                "The defaults are those of `conf/sweep.yaml`; a study's own file overrides them:",
                table(["study", "what it is"], [[f"`{f.stem}`", described(f)] for f in files]),
                "#### Campaigns",
                table(["campaign", "what it is"], [[f"`{f.stem}`", head(f)] for f in choices("campaign")]),
            ]
            continue
        default = (
            next(f for f in files if f.stem == str(values[group].get("name", "default")))
            if group != "storage"
            else None
        )
        ordered = sorted(files, key=lambda path: path != default and path.stem != "sqlite")
        parts.append(f"### `{group}`")
        if len(files) > 1:
            parts.append(table(["choice", "what it is"], [[f"`{f.stem}`", head(f)] for f in files]))
        parts.append(options(group, node, values[group], ordered))
    parts += [
        *rooted("kernels", schema.Kernels, ("grid", "tracking"), "`python -m lstm_bench.kernels`; `tracking` is as above"),
        table(["grid", "what it is"], [[f"`{f.stem}`", described(f, "grid")] for f in choices("grid")]),
        *rooted("doctor", schema.Doctor, ("dataset", "storage", "tracking", "method"), "`python -m lstm_bench.doctor`; "
                "`dataset`, `storage` and `tracking` are as above, `method` is as of the kernel benchmark"),
        *rooted("look", schema.Look, ("dataset",), "`python -m lstm_bench.look`; `dataset` is as above"),
        *rooted("leak", schema.Leak, ("dataset", "model", "backend", "train"), "`python -m lstm_bench.leak`; groups as above"),
        *plain_page("report", "`python -m lstm_bench.report`"),
        *plain_page("archive", "`python -m lstm_bench.export` and `merge`: what an archive may hold"),
        *plain_page("epochs", "no command: how long a study that was made for other data trains on `dataset=file`"),
        *plain_page("buckets", "no command: how many numbers of timesteps batches of sequences of unequal length are padded to"),
    ]  # fmt: skip
    return "\n\n".join(parts) + "\n"


def described(path: Path, group: str = "study") -> str:
    """A YAML file's own `description`."""
    read = yaml.safe_load(path.read_text(encoding="utf-8"))
    return str(read.get("description") or read.get(group, {}).get("description") or head(path))


# Columns


def column_comments() -> dict[str, dict[str, str]]:
    """Name of a tuple of columns in the module `record` -> its own columns -> their comments."""
    source = inspect.getsource(record)
    behind = {
        token.start[0]: token.string.lstrip("# ")
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type == tokenize.COMMENT
    }
    found: dict[str, dict[str, str]] = {}
    for node in ast.parse(source).body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Tuple) and isinstance(node.targets[0], ast.Name):
            known: dict[str, str] = {}
            for item in node.value.elts:
                if isinstance(item, ast.Starred) and isinstance(item.value, ast.Name):
                    known |= found.get(item.value.id, {})
                elif isinstance(item, ast.Constant):
                    known[str(item.value)] = behind.get(item.lineno, "")
            found[node.targets[0].id] = known
    return found


def rows_of() -> dict[str, str]:
    """File of a record -> what one row of it is, from the docstring of `record`."""
    return dict(re.findall(r"^\| `([\w.]+)` +\| (.+?) +\|", record.__doc__ or "", re.MULTILINE))


def scored(column: str) -> str:
    """What the column of a metric holds."""
    metric = task.metric_of(column)
    assert metric is not None, column
    said = str(metric.of.__doc__).splitlines()[0].rstrip(".")
    return f"{said[0].lower()}{said[1:]}; empty where the split cannot have it" + (
        ", of an epoch only where the study aims at it" if metric.late else ""
    )


def columns() -> str:
    """The page of all columns."""
    said, kinds = column_comments(), rows_of()
    names = {id(value): name for name, value in vars(record).items() if isinstance(value, tuple)}
    anywhere: dict[str, str] = {}
    for known in said.values():
        for column, text in known.items():
            anywhere.setdefault(column, text)
            anywhere[column] = anywhere[column] or text
    parts = [
        f"# Columns\n\n{MADE}",
        "The records of a study are the text files in `sweeps/<study>/`, those of a kernel benchmark in "
        "`sweeps/kernels-<grid>/`; published ones lie in [sweeps/published/](../../sweeps/README.md). They are "
        "read without Optuna, MLflow or Keras. All times are seconds on a monotonic clock, all accuracies and "
        "losses are means over samples, accuracies are fractions in 0..1, samples are sequences. An empty field "
        "is a value that there is not. Columns are only ever appended.",
        "## Of every record",
        table(["file", "holds"], [[f"`{name}`", kinds[name]] for name in ("config.yaml", "environment.json")]),
        "## Of a study",
    ]
    for place, files in ((None, record.FILES), ("## Of a kernel benchmark", record.BENCHMARK_FILES)):
        parts += [place] if place else []
        for name, listed in files.items():
            own = said.get(names[id(listed)], {})
            optional = record.optional_columns() if name in ("trials.csv", "replicates.csv", "history.csv") else ()
            optional = [c for c in optional if name == "replicates.csv" or not c.startswith("test_")]
            optional += record.FORECAST_COLUMNS if name == "predictions.csv" else ()
            rows = []
            for column in (*listed, *optional):
                text = own.get(column) or anywhere.get(column) or scored(column)
                note = " (only where a study has it)" if column in optional else ""
                rows.append([f"`{column}`", "text" if column in record.TEXT else "number", text + note])
            if name == "trials.csv":
                rows.append(["`config_<path>`", "as searched", "one for each searched path, with all its digits"])
            parts += [f"### `{name}`\n\nOne row per {kinds[name]}.", table(["column", "type", "meaning"], rows)]
    return "\n\n".join(parts) + "\n"


def main(arguments: list[str]) -> int:
    """Writes the pages, or checks them."""
    if arguments not in ([], ["check=true"]):
        print("python docs/make_reference.py [check=true]", file=sys.stderr)
        return errors.ConfigError.exit_code
    made = {PAGES / "configuration.md": all_options(), PAGES / "columns.md": columns()}
    stale = [path for path, text in made.items() if not path.exists() or path.read_text(encoding="utf-8") != text]
    if arguments:
        for path in stale:
            print(f"{path}: stale. Run python docs/make_reference.py", file=sys.stderr)
        return errors.CheckFailedError.exit_code if stale else errors.DONE
    for path in stale:
        path.write_text(made[path], encoding="utf-8")
    return errors.DONE


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
