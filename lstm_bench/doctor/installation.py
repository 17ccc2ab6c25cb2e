"""What is installed: the package, Python, and every requirement beside the floor that the package's own metadata gives it."""

from __future__ import annotations

import importlib.metadata
import platform
import sys

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

import lstm_bench
from lstm_bench.core.errors import ConfigError
from lstm_bench.doctor.finding import Finding

DISTRIBUTION = "lstm-bench"
_CONTRIBUTORS = "dev"  # the extra that no user needs


def findings() -> list[Finding]:
    """The package itself, Python, what is required, and what the extras bring."""
    here = f"{lstm_bench.__version__}, Python {platform.python_version()}, {platform.platform()}"
    try:
        metadata = importlib.metadata.metadata(DISTRIBUTION)
        requirements = [Requirement(line) for line in importlib.metadata.requires(DISTRIBUTION) or ()]
    except importlib.metadata.PackageNotFoundError:
        fault = ConfigError(
            f"{DISTRIBUTION} is not installed: its requirements are not known",
            remedy="In the checkout: python -m pip install -e .",
        )
        return [Finding("lstm_bench", here, fault)]
    found = [Finding("lstm_bench", here, _python(metadata["Requires-Python"]))]
    extras = [extra for extra in metadata.get_all("Provides-Extra") or () if extra != _CONTRIBUTORS]
    for requirement in requirements:
        if _applies(requirement, ""):
            found.append(_required(requirement))
    for extra in extras:
        found += [_optional(r, extra) for r in requirements if not _applies(r, "") and _applies(r, extra)]
    return found


def _applies(requirement: Requirement, extra: str) -> bool:
    return requirement.marker is None or requirement.marker.evaluate({"extra": extra})


def _python(wanted: str | None) -> ConfigError | None:
    version = platform.python_version()
    if wanted is None or SpecifierSet(wanted).contains(version, prereleases=True):
        return None
    return ConfigError("Python", expected=wanted, received=version, remedy="Make a virtual environment of such a one.")


def version(name: str) -> str | None:
    """Installed version of a distribution, None when there is none."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _install(requirement: Requirement) -> str:
    extras = f"[{','.join(sorted(requirement.extras))}]" if requirement.extras else ""
    return f"{sys.executable} -m pip install '{requirement.name}{extras}{requirement.specifier}'"


def _required(requirement: Requirement) -> Finding:
    installed = version(requirement.name)
    if installed is None:
        fault = ConfigError(f"{requirement.name} is missing", remedy=_install(requirement))
        return Finding(requirement.name, "missing", fault)
    return Finding(requirement.name, f"{installed} ({_wanted(requirement)})", _too_old(requirement, installed))


def _wanted(requirement: Requirement) -> str:
    return f"needs {requirement.specifier}" if requirement.specifier else "any"


def _too_old(requirement: Requirement, installed: str) -> ConfigError | None:
    if requirement.specifier.contains(installed, prereleases=True):
        return None
    return ConfigError(
        requirement.name, expected=str(requirement.specifier), received=installed, remedy=_install(requirement)
    )


def _optional(requirement: Requirement, extra: str) -> Finding:
    """Of an extra. What is not installed is no fault, nor is another version than a pinned one."""
    installed, name = version(requirement.name), f"{requirement.name} [{extra}]"
    missing = [] if installed is None else _missing(requirement)
    if installed is None or missing:
        said = f"without {', '.join(missing[:3])}{', ...' * (len(missing) > 3)}; " if missing else ""
        return Finding(name, f"{said}not installed: pip install '{DISTRIBUTION}[{extra}]'")
    pinned = any(one.operator == "==" for one in requirement.specifier)
    fault = None if pinned else _too_old(requirement, installed)
    return Finding(name, f"{installed} ({_wanted(requirement)})", fault)


def _missing(requirement: Requirement) -> list[str]:
    """What the extras of a requirement ask for and is not there: `tensorflow[and-cuda]` is TensorFlow and its libraries."""
    asked = [Requirement(line) for line in importlib.metadata.requires(requirement.name) or () if requirement.extras]
    wanted = [r for r in asked if not _applies(r, "") and any(_applies(r, extra) for extra in requirement.extras)]
    return [r.name for r in wanted if version(r.name) is None]
