"""The code of a user's own family: which files it is, and a digest of what they say, without running any of it.

What counts is the family's module and whatever it imports, at its top or inside its functions, from anywhere but installed
distributions, Python's own library and lstm_bench: an editable installation lies in its owner's folder, and counts. A digest is
taken over the syntax tree, so comments, docstrings and layout do not count. Neither do files that the code reads, and
modules whose names it computes while it runs.
"""

from __future__ import annotations

import ast
import hashlib
import importlib
import importlib.machinery
import sys
import sysconfig
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from lstm_bench.core.errors import ConfigError

_INSTALLED = ("site-packages", "dist-packages")
_NO_MEANING = (
    "ctx",
    "kind",
    "type_comment",
    "type_ignores",
)  # of a syntax tree: layout, or what its place says already
_SHOWN = 4  # files that are named


class Code(NamedTuple):
    """What a family's code is.

    Attributes:
      files: Path below the folder it is imported from -> SHA-256 of its syntax tree.
      unseen: Modules that are the user's and whose source cannot be found: compiled ones, or made while Python runs.
    """

    files: dict[str, str]
    unseen: tuple[str, ...] = ()

    def record(self) -> dict[str, Any] | None:
        """As `environment.json` and the database have it; None where there is nothing to tell."""
        if not self.files:
            return None
        lines = "".join(f"{file} {sha256}\n" for file, sha256 in sorted(self.files.items()))
        return {"digest": hashlib.sha256(lines.encode()).hexdigest(), "files": dict(sorted(self.files.items()))}


class _Module(NamedTuple):
    """A module as it would be found: `text` is None where it has no source."""

    is_users: bool
    places: Sequence[str] | None  # of a package: where its submodules are looked for
    text: bytes | None


def of(target: str) -> Code:
    """The code behind `model._target_`; of one that is installed, no files.

    Args:
      target: `package.module.function`.
    """
    importlib.invalidate_caches()
    finder, first = _Finder(), target.rpartition(".")[0]
    files, unseen, seen, todo = {}, [], set(), [first]
    while todo:
        name = todo.pop()
        if name in seen or not name:
            continue
        seen.add(name)
        todo.append(name.rpartition(".")[0])  # a package runs before its modules do
        module = finder.find(name)
        if module is None:
            unseen += [name] * (name == first)
            continue
        if not module.is_users:
            continue
        if module.text is None:
            unseen += [name] * (module.places is None)  # a folder without `__init__.py` has none
            continue
        is_package = module.places is not None
        path = name.replace(".", "/") + ("/__init__.py" if is_package else ".py")
        try:
            tree = ast.parse(module.text)
            files[path] = digest(tree)
            todo += _imported(tree, name, is_package)
        except (SyntaxError, ValueError, RecursionError, MemoryError):  # what imports it says so
            files[path] = hashlib.sha256(module.text).hexdigest()
    return Code(files, tuple(sorted(unseen)))


def digest(tree: ast.AST) -> str:
    """SHA-256 of a syntax tree without docstrings, in a form that does not depend on Python's version."""
    sha256 = hashlib.sha256()
    _feed(tree, lambda text: sha256.update(text.encode("utf-8", "surrogatepass")))
    return sha256.hexdigest()


def _feed(node: Any, write: Callable[[str], Any]) -> None:
    if isinstance(node, ast.AST):
        write(f"({type(node).__name__}")
        for field, value in ast.iter_fields(node):
            if field in _NO_MEANING or value is None or value == []:  # newer versions have more fields, empty ones
                continue
            write(f" {field}=")
            _feed(value, write)
        write(")")
    elif isinstance(node, list):
        write("[")
        said = [it for it in node if not _is_text(it)]
        for it in said or [ast.Pass()] * bool(node):
            _feed(it, write)
        write("]")
    else:
        write(hex(node) if type(node) is int else ascii(node))


def _is_text(node: Any) -> bool:
    """Whether a statement is a string alone, which does nothing: a docstring, or a comment in another form."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _imported(tree: ast.AST, module: str, is_package: bool) -> Iterator[str]:
    """Names of the modules that a module may import, and of some that are none: attributes look alike."""
    package = module if is_package else module.rpartition(".")[0]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = _absolute("." * node.level + (node.module or ""), package)
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names if base and alias.name != "*")
        elif isinstance(node, ast.Call) and node.args:
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", None)
            named = node.args[0]
            if called in ("import_module", "__import__") and isinstance(named, ast.Constant):
                yield _absolute(named.value, package) if isinstance(named.value, str) else ""
        elif isinstance(node, ast.Assign) and is_package and ast.unparse(node.targets[0]) == "__all__":
            texts = (it.value for it in ast.walk(node.value) if isinstance(it, ast.Constant))
            yield from (f"{module}.{text}" for text in texts if isinstance(text, str))  # what `import *` brings


def _absolute(name: str, package: str) -> str:
    """A module's name from one with leading dots; "" where it points out of its package."""
    level = len(name) - len(name.lstrip("."))
    if level == 0:
        return name
    parts = package.split(".")
    if not package or level > len(parts):
        return ""
    return ".".join([*parts[: len(parts) - level + 1], *filter(None, [name.lstrip(".")])])


class _Finder:
    """Finds modules as an import would, but imports none of them, not even the packages that they are in."""

    def __init__(self) -> None:
        self._known: dict[str, _Module | None] = {}
        places = {sysconfig.get_path(name) for name in ("stdlib", "platstdlib")}
        self._library = [path for place in places if place for path in (Path(place), Path(place).resolve())]

    def find(self, name: str) -> _Module | None:
        if name not in self._known:
            self._known[name] = self._found(name)
        return self._known[name]

    def _found(self, name: str) -> _Module | None:
        package, _, _ = name.rpartition(".")
        places: Sequence[str] | None = None
        if package:
            parent = self.find(package)
            if parent is None or not parent.is_users or parent.places is None:
                return None
            places = parent.places
        if name.partition(".")[0] == "lstm_bench":
            return None
        spec = _spec(name, places)
        if spec is not None:
            return self._read(name, spec)
        # Python finds a folder without `__init__.py` in a package by the package itself, which is not imported here.
        tail = name.rpartition(".")[2]
        below = [str(path) for place in places or () if (path := Path(place, tail)).is_dir()]
        return _Module(True, below, None) if below else None

    def _read(self, name: str, spec: importlib.machinery.ModuleSpec) -> _Module:
        origin: str | None = spec.origin
        below = None if spec.submodule_search_locations is None else list(spec.submodule_search_locations)
        if origin in (None, "namespace"):
            # Modules of several owners may lie in there: each is looked at for itself.
            return _Module(True, below, None)
        file = Path(str(origin))
        if not spec.has_location or self._is_installed(file):
            return _Module(False, below, None)
        return _Module(True, below, _text(name, file, spec.loader))

    def _is_installed(self, path: Path) -> bool:
        either = (path.absolute(), path.resolve())
        return any(
            not set(_INSTALLED).isdisjoint(it.parts) or any(it.is_relative_to(place) for place in self._library)
            for it in either
        )


def _spec(name: str, places: Sequence[str] | None) -> importlib.machinery.ModuleSpec | None:
    for finder in sys.meta_path:
        try:
            spec = finder.find_spec(name, places)
        except Exception:  # anybody's: it has not found it  # nosec B112
            continue
        if spec is not None:
            return spec
    return None


def _text(name: str, path: Path, loader: Any) -> bytes | None:
    """A module's source, None where there is none: it is compiled. Of one in a zip file, what lies in there."""
    try:
        if path.suffix == ".py" and path.is_file():
            return path.read_bytes()
        text = loader.get_source(name)
        return None if text is None else str(text).encode("utf-8", "surrogatepass")
    except Exception:  # a loader is anybody's
        return None


def changed(was: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """In words, which files are not what they were."""
    found = []
    for file in sorted({*was, *now}):
        if was.get(file) != now.get(file):
            found.append(f"{file} {'is new' if file not in was else 'is gone' if file not in now else 'has changed'}")
    return found[:_SHOWN] + ([f"{len(found) - _SHOWN} more"] if len(found) > _SHOWN else [])


class Guard:
    """Sees to it that a worker trains the code that its study was made with.

    Args:
      target: `model._target_`.
      files: See `Code`.
    """

    def __init__(self, target: str, files: Mapping[str, str]):
        self._target, self._files, self._imported = target, files, False

    def check(self) -> None:
        """Before a task. The first one imports the code, between two looks at it.

        Raises:
          ConfigError: when a file is not what it was when the session began.
        """
        self._look()
        if not self._imported:
            module = self._target.rpartition(".")[0]
            try:
                importlib.import_module(module)
            except Exception:  # the task says what is wrong with it
                return
            self._look()
            self._imported = True

    def _look(self) -> None:
        found = changed(self._files, of(self._target).files)
        if found:
            raise ConfigError(
                f"model._target_={self._target}: {', '.join(found)} since this session began",
                remedy="Put it back and give the same command again, or make a new study with study.name=NEW.",
            )
