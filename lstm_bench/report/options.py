"""The options of the report: `key=value` over `conf/report.yaml`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lstm_bench.core import home
from lstm_bench.core.errors import ConfigError, nearest, redact

PICTURES = ("png", "pdf")
FIGURES = ("essential", "all")
_SWITCHES = ("check", "html", "latex", *PICTURES)
_PATHS = ("sweeps", "reports", "uri")  # options that are paths or addresses
SOURCES = ("records", "mlflow")


@dataclass
class Options:
    """The command line over `conf/report.yaml`."""

    sweeps: Path
    reports: Path
    check: bool
    studies: list[str] | None
    sweeps_given: bool = False
    html: bool = False
    source: str = "records"
    uri: str | None = None
    experiments: list[str] | None = None
    figures: str = "essential"
    png: bool = False
    pdf: bool = False
    latex: bool = False
    columns: list[str] | None = None
    names: list[str] | None = None

    @property
    def origin(self) -> str:
        """For people: what the reports are made from, without a password."""
        if self.source == "records":
            return str(self.sweeps)
        return "MLflow" if self.uri is None else redact(self.uri)

    @property
    def kinds(self) -> tuple[str, ...]:
        """What each figure is drawn as: the SVG of the pages, and what was asked for."""
        return ("svg", *(kind for kind in PICTURES if getattr(self, kind) and not self.check))


def parse(args: Sequence[str]) -> Options:
    """Reads `key=value` options.

    Raises:
      ConfigError: for an unknown key or a value of the wrong type.
    """
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError

    defaults = _conf("report.yaml")
    for arg in args:
        key, equals, _ = arg.partition("=")
        if not equals or key not in defaults:
            expected = "a known option" if equals else "key=value"
            remedy = nearest(key.lstrip("-+"), defaults)
            raise ConfigError("report options", expected=expected, received=redact(arg), remedy=remedy)
    try:
        # Paths are taken as they stand: a `#` or `: ` in one is no YAML.
        texts = {key: value for key, _, value in (arg.partition("=") for arg in args) if key in _PATHS}
        texts = {key: value for key, value in texts.items() if value not in ("", "null") and "${" not in value}
        listed = [arg for arg in args if arg.partition("=")[0] not in texts]
        given: Any = OmegaConf.to_container(OmegaConf.from_dotlist(listed), resolve=True)
    except (OmegaConfBaseException, YAMLError) as error:
        raise ConfigError("report options", expected="key=value", received=redact(" ".join(args))) from error
    given |= texts
    values = {**defaults, **{str(k): v for k, v in given.items()}}
    for key in _SWITCHES:
        if not isinstance(values[key], bool):
            raise ConfigError(key, expected="true or false", received=str(values[key]))
    for key in ("sweeps", "reports"):
        if values[key] in (None, "") or isinstance(values[key], dict | list):
            raise ConfigError(key, expected="a folder", received=str(values[key]))
    source, uri = values["source"], values["uri"]
    if source not in SOURCES:
        expected = " or ".join(SOURCES)
        raise ConfigError("source", expected=expected, received=str(source), remedy=nearest(str(source), SOURCES))
    others = ("sweeps",) if source == "mlflow" else ("uri", "experiments")
    for key in others:
        if given.get(key) is not None:
            remedy = "source=mlflow reads no records." if source == "mlflow" else "It belongs to source=mlflow."
            raise ConfigError(
                key, expected=f"none with source={source}", received=redact(str(given[key])), remedy=remedy
            )
    _check_choices(values)
    if uri is not None and not isinstance(uri, str):
        raise ConfigError("uri", expected="a URI or null", received=str(uri))
    reports = home.expanded(str(values["reports"]))
    return Options(
        home.expanded(str(values["sweeps"])),
        reports / "mlflow" if source == "mlflow" and "reports" not in given else reports,
        values["check"],
        _names(values["studies"]),
        "sweeps" in given,
        values["html"],
        source,
        uri,
        _names(values["experiments"]),
        values["figures"],
        values["png"],
        values["pdf"],
        values["latex"],
        _names(values["columns"]),
        _names(values["names"]),
    )


def _check_choices(values: Mapping[str, Any]) -> None:
    """`figures`, and that `names` go with `columns`.

    Raises:
      ConfigError: where they do not.
    """
    figures, columns, names = values["figures"], _names(values["columns"]), _names(values["names"])
    if figures not in FIGURES:
        expected = " or ".join(FIGURES)
        raise ConfigError("figures", expected=expected, received=str(figures), remedy=nearest(str(figures), FIGURES))
    if columns is not None and not columns:
        raise ConfigError("columns", expected="names of columns", received="none")
    if names is not None and len(names) != len(columns or ()):
        raise ConfigError(
            "names",
            expected=f"one for each of the {len(columns)} columns" if columns else "none without columns=",
            received=", ".join(names) or "none",
        )


def _names(value: Any) -> list[str] | None:
    """`a,b` or a list of names."""
    if value is None:
        return None
    parts = value if isinstance(value, list) else str(value).split(",")
    return [name for part in parts if (name := str(part).strip())]


def _conf(name: str) -> dict[str, Any]:
    import yaml

    from lstm_bench.core import safe_load
    from lstm_bench.core.configuration import conf_dir  # lazily: OmegaConf is not for --help

    path = conf_dir() / name
    try:
        value = safe_load.own_yaml(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        what = f"{path}: cannot be read ({type(error).__name__})"
        raise ConfigError(what, remedy="Install lstm_bench again.") from error
    if not isinstance(value, dict):
        raise ConfigError(str(path), expected="a mapping", received=type(value).__name__)
    return value
