"""Command: the MLflow UI on the right store, for this machine only.

Ctrl-C is how it is meant to end, so that exits 0.
"""

from __future__ import annotations

import contextlib
import re
import signal
import sys
import threading
from collections.abc import Sequence
from typing import Any

from lstm_bench.core import cli
from lstm_bench.core.errors import ConfigError, nearest
from lstm_bench.tracking import store
from lstm_bench.tracking.ui_server import HOSTS, is_local, serve

HELP = """\
python -m lstm_bench.ui [key=value ...]    the MLflow UI in a browser; Ctrl-C ends it

  tracking.uri=URI      the store, as for lstm_bench.sweep; taken as it stands, but for ${oc.env:NAME}, which reads it from
                        the environment; null is mlflow.db in the working directory   (MLFLOW_TRACKING_URI, else null)
  ui.host=127.0.0.1     127.0.0.1 or localhost
  ui.port=5000          1 to 65535
"""
DEFAULTS: dict[str, Any] = {
    "tracking.uri": None,
    "ui.host": "127.0.0.1",
    "ui.port": 5000,
}


def options(arguments: Sequence[str]) -> dict[str, Any]:
    """`DEFAULTS` with the `key=value` arguments laid over them, checked.

    Raises:
      ConfigError: for an unknown key, a value of the wrong type or range, or a host that is not this machine.
    """
    found = DEFAULTS | {"tracking.uri": store.default()}
    for argument in arguments:
        key, separator, text = argument.partition("=")
        if not separator or key not in DEFAULTS:
            raise ConfigError("option", expected="key=value", received=argument, remedy=nearest(key, DEFAULTS))
        if not text:
            raise ConfigError(key, expected="a value", received=argument)
        text = cli.resolved(key, text)
        if key == "ui.port":
            found[key] = int(text) if re.fullmatch("[0-9]{1,9}", text) else text
        else:  # as it stands: a path may hold any character
            found[key] = None if text == "null" else text
    if not is_local(found["ui.host"]):
        raise ConfigError(
            "ui.host",
            expected=" or ".join(HOSTS),
            received=found["ui.host"],
            remedy="The UI asks nobody for a password: from elsewhere, use ssh -L 5000:127.0.0.1:5000 HOST.",
        )
    port = found["ui.port"]
    if type(port) is not int or not 1 <= port <= 65535:
        raise ConfigError("ui.port", expected="a number from 1 to 65535", received=port)
    store.check({"name": "mlflow", "uri": found["tracking.uri"]})
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    if threading.current_thread() is threading.main_thread():  # in another one, signals are the caller's
        signal.signal(signal.SIGTERM, signal.default_int_handler)
    return cli.guarded(arguments, HELP, _until_interrupted)


def _until_interrupted(arguments: list[str]) -> None:
    with contextlib.suppress(KeyboardInterrupt):
        found = options(arguments)
        serve(store.store_uri({"name": "mlflow", "uri": found["tracking.uri"]}), found["ui.host"], found["ui.port"])


if __name__ == "__main__":
    sys.exit(main())
