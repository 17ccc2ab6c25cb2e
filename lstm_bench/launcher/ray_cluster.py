"""A Ray cluster as this process reaches it: its address, who may enter it, its nodes and what they run.

Ray binds to every interface of a node unless the node's address is 127.0.0.1, and lets in whoever comes unless its
token authentication is on: https://docs.ray.io/en/latest/ray-security/token-auth.html
"""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lstm_bench.core import hardware
from lstm_bench.core.errors import ConfigError, StorageError
from lstm_bench.launcher.worker_environment import without_passwords

_START_S = 60.0  # what a cluster of our own gets to start in
_END_S = 10.0  # and to end in
_ANSWER_S = 5.0  # what a given address gets to answer in
_TOKENS = (
    "Make a token with `ray get-auth-token --generate`, give it to every node (~/.ray/auth_token or RAY_AUTH_TOKEN), start"
    " them with RAY_AUTH_MODE=token, and set that here too."
)
# The process that keeps a cluster of our own: it ends it when its standard input ends, whatever ended us.
_HEAD = """
import sys, ray
ray.init(
    address="local", num_cpus=int(sys.argv[1]), include_dashboard=False, log_to_driver=False, configure_logging=False,
    _node_ip_address="127.0.0.1", _temp_dir=sys.argv[2],
)
print(ray.get_runtime_context().gcs_address, flush=True)
sys.stdin.read()
ray.shutdown(wait_for_processes=True)
"""


@dataclass(frozen=True)
class Node:
    """A node that is alive.

    Attributes:
      id: Ray's.
      name: What a person knows it by.
      address: Its IP address.
      resources: Ray's name -> amount, in all.
    """

    id: str
    name: str
    address: str
    resources: dict[str, float] = field(default_factory=dict)

    def holds(self, request: Mapping[str, float]) -> int:
        """How many workers that each ask for so much it can hold; of nothing, one per core."""
        asked = {name: amount for name, amount in request.items() if amount}
        # Ray counts in steps of 1/10,000.
        fits = [int(round(self.resources.get(name, 0.0) / amount, 4)) for name, amount in asked.items()]
        return min(fits, default=int(self.resources.get("CPU", 0.0)))


def loopback(host: str) -> bool:
    """Whether only this machine reaches a node of that address. Others of 127.0.0.0/8 Ray binds to every interface."""
    return host in ("127.0.0.1", "localhost", "::1", "[::1]")


def tokens() -> bool:
    """Whether this process identifies itself by a token."""
    return os.environ.get("RAY_AUTH_MODE", "").lower() == "token"


def check(address: str) -> None:
    """Checks what can be checked of `launcher.address` before anything is created.

    Raises:
      ConfigError: Ray is not installed, or the cluster is beyond this machine and token authentication is off.
    """
    if importlib.util.find_spec("ray") is None:
        raise ConfigError("launcher=ray: Ray is not installed", remedy="Install it: pip install 'lstm-bench[ray]'")
    given = os.environ.get("RAY_ADDRESS", "") if address == "auto" else address
    if given in ("", "auto", "local") or loopback(_host(given)) or tokens():
        return
    raise ConfigError(
        f"launcher.address={given}: a cluster beyond this machine needs token authentication, and it is off",
        remedy=_TOKENS,
    )


def _host(address: str) -> str:
    return address.removeprefix("ray://").rpartition(":")[0]


class Connection:
    """This process as a driver of a cluster.

    Args:
      address: `auto`, `local`, `HOST:PORT` or `ray://HOST:PORT`. A local cluster is started, and ended by `close`.
      log: File that gets what Ray has to say, instead of the screen.

    Raises:
      ConfigError: when nobody answers there, or lets us in.
      StorageError: when a local cluster does not start.
    """

    def __init__(self, address: str, log: Path):
        self._head: subprocess.Popen[str] | None = None
        self._folder: str | None = None
        self._log = log
        for name, value in (("RAY_USAGE_STATS_ENABLED", "0"), ("RAY_BACKEND_LOG_LEVEL", "error")):
            os.environ.setdefault(name, value)
        try:
            log.parent.mkdir(parents=True, exist_ok=True)
            log.touch()
        except OSError as error:
            raise StorageError(f"{log}: cannot be written ({error.strerror})") from error
        self.address = self._start() if address == "local" else _found(address)
        self._ray = _ray(self.address)
        try:
            self._enter()
        except BaseException:
            self.close()
            raise

    def _start(self) -> str:
        """Starts a cluster that this machine alone reaches, and only with its token."""
        if "RAY_AUTH_MODE" not in os.environ:
            os.environ["RAY_AUTH_MODE"] = "token"
            os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
        # Ray's sockets are in there: a long path would not do.
        place = None if len(tempfile.gettempdir()) < 20 else "/tmp"  # a folder of its own is made there  # nosec B108
        self._folder = tempfile.mkdtemp(prefix="ray-", dir=place)
        with self._log.open("ab") as output:
            # In a session of its own: `ray.init` would take this process out of the terminal's, and with it Ctrl-C.
            self._head = subprocess.Popen(
                [sys.executable, "-c", _HEAD, str(len(hardware.cores())), self._folder],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=output,
                text=True,
                start_new_session=True,
                env={**without_passwords(os.environ), **_LOOPBACK},  # workers inherit it
            )
        late = threading.Timer(_START_S, self._head.kill)
        late.start()
        assert self._head.stdout is not None
        address = self._head.stdout.readline().strip()
        late.cancel()
        if not address:
            self._end()
            raise StorageError("launcher.address=local: Ray did not start", remedy=f"See {self._log}.")
        return address

    def _enter(self) -> None:
        before = signal.getsignal(signal.SIGTERM)
        try:
            with self._aside():
                self._ray.init(
                    address=self.address, log_to_driver=False, configure_logging=False, logging_level=logging.ERROR
                )
        except (OSError, RuntimeError, ValueError, self._ray.exceptions.RayError) as error:
            lines = str(error).strip().splitlines() or [type(error).__name__]
            said = " ".join(dict.fromkeys((lines[0], lines[-1])))[:300]
            raise ConfigError(
                f"launcher.address={self.address}: {said}",
                remedy=f"Is the token that of the cluster, and Ray {self._ray.__version__} on both? See {self._log}.",
            ) from error
        finally:
            if threading.current_thread() is threading.main_thread():
                signal.signal(signal.SIGTERM, before)  # Ray takes it
        self._hush()

    @contextlib.contextmanager
    def _aside(self) -> Iterator[None]:
        """Whatever writes to standard error, from C++ too, writes to the log."""
        sys.stderr.flush()
        kept = os.dup(2)
        with self._log.open("ab") as output:
            os.dup2(output.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(kept, 2)
            os.close(kept)

    def _hush(self) -> None:
        """What raylets have to say goes to the log: Ray prints it, `log_to_driver` or not."""
        from ray._private import worker

        def write(data: Mapping[str, Any], *_: Any, **__: Any) -> None:
            with contextlib.suppress(OSError), self._log.open("a") as file:
                file.writelines(f"({data.get('pid')}) {line}\n" for line in data.get("lines", ()))

        if hasattr(worker, "print_to_stdstream"):
            worker.print_to_stdstream = write

    def nodes(self) -> list[Node]:
        """The nodes that are alive."""
        return [
            Node(
                node["NodeID"],
                node.get("NodeName") or node["NodeManagerAddress"],
                node["NodeManagerAddress"],
                dict(node["Resources"]),
            )
            for node in self._ray.nodes()
            if node["Alive"]
        ]

    def close(self) -> None:
        """Leaves the cluster; one of our own is gone on return."""
        with contextlib.suppress(Exception):  # a cluster that is gone cannot be left
            self._ray.shutdown()
        self._end()

    def _end(self) -> None:
        if self._head is None:
            return
        assert self._head.stdin is not None and self._head.stdout is not None
        with contextlib.suppress(OSError):
            self._head.stdin.close()
        try:
            self._head.wait(_END_S)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._head.pid, signal.SIGKILL)
            self._head.wait()
        self._head.stdout.close()
        self._head = None
        if self._folder:
            shutil.rmtree(self._folder, ignore_errors=True)


# Ray takes 127.0.0.1 for the machine's address on its network, except where it believes that it cannot form clusters.
_LOOPBACK = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}


def _ray(address: str) -> Any:
    """Ray, prepared for an address."""
    import ray

    host, port = _host(address), int(address.rpartition(":")[2])
    if loopback(host) and not address.startswith("ray://"):
        with contextlib.suppress(OSError), socket.create_connection((host.strip("[]"), port), _ANSWER_S):
            from ray._private import ray_constants

            ray_constants.ENABLE_RAY_CLUSTER = False
    return ray


def _found(address: str) -> str:
    """The address as HOST:PORT or ray://HOST:PORT, where somebody answers."""
    given = address
    if address == "auto":
        from ray._private.utils import read_ray_address

        given = os.environ.get("RAY_ADDRESS", "").removeprefix("auto") or read_ray_address(None) or ""
        if not given:
            raise ConfigError(
                "launcher.address=auto: no Ray cluster runs on this machine",
                remedy="Start one (see docs/guide/clusters.md), or give launcher.address=local.",
            )
    if not given.rpartition(":")[2].isdecimal():
        raise ConfigError("RAY_ADDRESS", expected="HOST:PORT or ray://HOST:PORT", received=given)
    host, port = _host(given), int(given.rpartition(":")[2])
    hosts = [host]
    if loopback(host):
        import ray

        hosts.append(ray.util.get_node_ip_address())  # where Ray looks for what was started without an address
    why = ""
    for name in hosts:
        try:
            socket.create_connection((name.strip("[]"), port), _ANSWER_S).close()
            return given
        except OSError as error:
            why = error.strerror or str(error)
    raise ConfigError(f"launcher.address={given}: nobody answers ({why})", remedy="Is the cluster's head running?")


def runs(backend: str, target: str | None = None) -> Callable[[], dict[str, str]]:
    """A function that says what runs where it is called: versions of `lstm_bench` (with a digest of its code), Keras, the
    backend and Python, the files of a user's own family with their digests, and `auth`, Ray's way of letting others in.

    It is defined in here so that Ray sends its code along: a node may have another `lstm_bench`, or none.

    Args:
      backend: Name of its package.
      target: `model._target_` of a user's own family.
    """

    def told() -> dict[str, str]:
        import hashlib
        import os
        import re
        import sys
        from importlib import metadata, util
        from pathlib import Path

        said = {"python": f"{sys.version_info[0]}.{sys.version_info[1]}", "auth": os.environ.get("RAY_AUTH_MODE", "")}
        for name in ("keras", backend):
            try:
                said[name] = metadata.version(name)
            except metadata.PackageNotFoundError:
                said[name] = "none"
        spec = util.find_spec("lstm_bench")
        if spec is None or spec.origin is None:
            return {"lstm_bench": "none", **said}
        init = Path(spec.origin)
        version = re.search(r'__version__ = "(.*?)"', init.read_text())
        code = hashlib.sha256()
        for path in sorted(init.parent.rglob("*.py")):
            code.update(str(path.relative_to(init.parent)).encode() + path.read_bytes())
        if target:
            try:
                from lstm_bench.core import user_code

                said |= {file: sha256[:8] for file, sha256 in user_code.of(target).files.items()}
            except Exception:  # another version's, which is refused for that
                said["model._target_"] = "unknown"
        return {"lstm_bench": f"{version[1] if version else 'unknown'} ({code.hexdigest()[:8]})", **said}

    return told


def refusal(node: Node, said: Mapping[str, str], ours: Mapping[str, str]) -> ConfigError | None:
    """Why a node cannot be used: it runs something else than we do, or anybody may enter it.

    Args:
      node: The node.
      said: What `runs` says there.
      ours: What it says here.
    """
    names = [name for name in ours if name != "auth"]
    other = [name for name in names if said.get(name) != ours[name]]
    if other:
        return ConfigError(
            f"node {node.name} ({node.address}) runs other code",
            expected=" and ".join(f"{name} {ours[name]}" for name in other),
            received=" and ".join(f"{name} {said.get(name, 'none')}" for name in other),
            remedy="Put the same files on every node, or let them share a folder."
            if all(name.endswith(".py") for name in other)
            else "Install the same versions on every node.",
        )
    if not loopback(node.address) and said.get("auth", "").lower() != "token":
        return ConfigError(
            f"node {node.name} ({node.address}) lets in whoever reaches it: token authentication is off", remedy=_TOKENS
        )
    return None
