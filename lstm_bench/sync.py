"""Command: `python -m lstm_bench.sync` brings MLflow up to date from the records, after an outage or in another store."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from lstm_bench.core import cli, home, schema
from lstm_bench.core.errors import ConfigError, LstmBenchError, StorageError, nearest, redact

HELP = """\
python -m lstm_bench.sync [study=NAME] [sweeps=DIR] [tracking.uri=URI]

Brings MLflow up to date from the records of finished and interrupted sweeps: what an outage kept from it is added, with the
same runs, parameters, metrics and curves; what is there is left as it is. Twice gives nothing new.

  study=NAME         only this study                                     (all in DIR)
  sweeps=DIR         where the studies lie; sweeps=sweeps/published for the committed records   (sweeps)
  tracking.uri=URI   of the store: sqlite:///FILE, http://HOST:5000, ...  (that of each sweep, else MLFLOW_TRACKING_URI)
                     '${oc.env:NAME}' reads it from the environment, which keeps a password out of the shell's history

A study that a sweep is working on is left out, and said; named by study=, it is exit 4. Needs neither Optuna nor a framework.

example  python -m lstm_bench.sync study=stacked
exit     0 done, 2 bad usage or no such study, 4 unreadable records, a study at work, or MLflow does not take it
"""
_WAIT_S = "30"  # for one answer of a server: here nobody waits for a worker


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit code."""
    return cli.guarded(argv, HELP, run)


def run(arguments: list[str]) -> None:
    """Brings MLflow up to date.

    Raises:
      LstmBenchError: any expected fault; of several studies that have one the last, when the others are done and said.
    """
    given = cli.options(arguments, ("study", "sweeps", "tracking.uri"))
    from lstm_bench.study import reader
    from lstm_bench.tracking import store

    uri = cli.resolved("tracking.uri", given["tracking.uri"]) if "tracking.uri" in given else None
    store.check({"name": "mlflow", "uri": uri})
    root = home.expanded(given.get("sweeps", "sweeps"))
    asked = "published" in root.absolute().parts
    known = [one for one in reader.places(root) if (one.folder / "config.yaml").is_file()]
    own = (one.folder for one in known if one.device is None and one.folder.parent != root / "merged")
    folders = sorted(one.folder for one in known) if asked else sorted(own)
    if "study" in given:
        names = [folder.name for folder in folders]
        folders = [folder for folder in folders if folder.name == given["study"]]
        if not folders:
            raise ConfigError(
                f"study={given['study']}: there is no such study below {root}", remedy=nearest(given["study"], names)
            )
    if not folders:
        print(f"No studies below {root}: nothing to bring up to date.")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", _WAIT_S)
    faults: list[LstmBenchError] = []
    for folder in folders:
        try:
            _sync(folder, uri, named="study" in given)
        except LstmBenchError as error:
            faults.append(error)  # the other studies are brought up to date all the same
    for fault in faults[:-1]:
        cli.say(fault)
    if faults:
        raise faults[-1]


def _sync(folder: Path, uri: str | None, named: bool) -> None:
    """Brings one study up to date and says what was added."""
    from lstm_bench.core import locks, safe_load
    from lstm_bench.report.command import study_figures
    from lstm_bench.tracking import follower
    from lstm_bench.tracking.client import open_tracking

    try:
        config = safe_load.from_yaml((folder / "config.yaml").read_text(encoding="utf-8"))
        name, settings = str(config["study"]["name"]), _settings(config, uri)
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise StorageError(f"{folder}: config.yaml cannot be read ({type(error).__name__})") from error
    if settings is None:
        print(f"{name}: left out, its sweep tracked nothing (tracking=none); tracking.uri=URI brings it there")
        return
    tracking = open_tracking(settings, experiment=name)
    tracking.check_store(lambda held: print(f"{name}: {held}: waiting", file=sys.stderr, flush=True))
    with contextlib.ExitStack() as held:
        if (folder / "lock").exists():  # else no sweep has ever worked here: copied or published records
            try:
                held.enter_context(locks.hold(folder, "study"))
            except StorageError as error:
                if named:
                    raise
                print(f"{name}: left out, {error.what}")
                return
        follower.follow(folder, tracking, study_figures)
    if tracking.error is not None:
        from lstm_bench.tracking.store import said

        raise StorageError(
            f"{name}: MLflow ({redact(str(tracking.uri))}) does not take it: {said(tracking.error)}",
            remedy="Nothing is lost: when it does again, give this command once more.",
        )
    added, n = tracking.added, len(tracking.known)
    what = f"{added} of {n} runs added" if added else f"up to date, {n} runs"
    print(f"{name}: {what} ({tracking.address})" + (f"; {tracking.remark}" if tracking.remark else ""))


def _settings(config: schema.Sweep, uri: str | None) -> schema.Store | None:
    """Where a study goes: as given, else as its sweep was told; None where that was nowhere."""
    from lstm_bench.tracking import store

    tracking = config["tracking"]
    if uri is not None:
        return {"name": "mlflow", "uri": uri}
    if tracking["name"] == "none":
        return None
    if tracking["uri"] in (None, redact(store.default() or "")):
        return {"name": "mlflow", "uri": store.default()}
    if tracking["uri"] and "***" in tracking["uri"]:
        raise ConfigError(
            f"{config['study']['name']}: the records hold no password of {tracking['uri']}",
            remedy="Give the whole: tracking.uri='${oc.env:NAME}'.",
        )
    return {"name": "mlflow", "uri": tracking["uri"]}


if __name__ == "__main__":
    sys.exit(main())
