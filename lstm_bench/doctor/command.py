"""Command: `python -m lstm_bench.doctor` says what this installation can do, and what is wrong with it and how to mend that."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lstm_bench.core import cli, home, schema
from lstm_bench.core.errors import CheckFailedError, ConfigError, LstmBenchError, redact, require_quoted

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from lstm_bench.doctor.finding import Finding

HELP = """\
python -m lstm_bench.doctor [PATH=VALUE ...]

What this installation can do: versions, devices, backends, kernels with proof, data, databases, locks, records, room on the
disks, limits, clock. Every fault is one line with its remedy. What is merely not there (a GPU, a backend that is not
installed, data that would be downloaded) is no fault. Reads; writes nothing, mends nothing.

  kernels=false          loads no backend and proves no kernel: a few seconds instead of half a minute
  backends=all           those to load: all, one, or a list: '[jax,torch]'
  sweeps=sweeps          folder of the studies
  dataset.dir=FOLDER     where MNIST is; dataset=NAME dataset.dir=FOLDER of another one, dataset=npz dataset.path=FILE
  storage.url=URL        Optuna's database, where it is not in sweeps/<study>/; a password by '${oc.env:VARIABLE}'
  tracking.uri=URI       MLflow's store (MLFLOW_TRACKING_URI, else mlflow.db here); or tracking=none
  limits.free_mib=1024   and the others of conf/doctor.yaml

exit  0 no fault, 2 bad option, 6 a fault was found
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; returns its exit code."""
    from lstm_bench.core.schema import Doctor

    line = list(sys.argv[1:] if argv is None else argv)
    return cli.main(line, config_name="doctor", root=Doctor, help_text=lambda: HELP, run=run)


def run(composed: DictConfig, overrides: Sequence[str]) -> None:
    """Looks at everything and says so.

    Raises:
      ConfigError: for an option that cannot be meant.
      CheckFailedError: when there is a fault.
    """
    from lstm_bench.core import configuration, hardware, schema, vocabulary
    from lstm_bench.data import settings
    from lstm_bench.doctor import installation, inventory, machine
    from lstm_bench.kernels import grid
    from lstm_bench.tracking import store

    asked = configuration.load(composed, schema.Doctor)
    settings.check(asked["dataset"])
    store.check(asked["tracking"])
    _check_url(asked["storage"]["url"])
    _check_cell(asked["cell"], vocabulary.AXES)
    backends = grid.chosen("backends", asked["backends"], list(vocabulary.OF_BACKEND))
    sweeps = home.expanded(asked["sweeps"]).absolute()
    folder = None
    if asked["tracking"]["name"] == "mlflow":
        path = store.sqlite_path(store.store_uri(asked["tracking"]))
        folder = path.parent if path else None
    faults = _said("installation", installation.findings())
    faults += _said("machine", machine.findings(sweeps, folder, asked["limits"]))
    faults += _said("data and studies", inventory.findings(asked, sweeps))
    faults += _kernels(asked, backends, hardware.gpus()) if asked["kernels"] else []
    print()
    for fault in faults:
        print(f"fault: {redact(str(fault))}")
    if faults:
        raise CheckFailedError(f"{len(faults)} fault{'s' * (len(faults) > 1)} found", remedy="see above")
    print("no fault found")


def _check_url(url: str | None) -> None:
    if url is not None and not url.startswith(("sqlite:///", "postgresql")):
        scheme = url.split(":", 1)[0]
        raise ConfigError("storage.url", expected="sqlite:///FILE or postgresql://...", received=f"{scheme}:...")
    if url is not None and not url.startswith("sqlite:"):
        require_quoted("storage.url", url)


def _check_cell(asked: Mapping[str, Any], axes: Sequence[str]) -> None:
    from lstm_bench.core import vocabulary
    from lstm_bench.kernels import case

    for axis in (*asked, *axes):
        if axis not in axes or axis not in asked:
            raise ConfigError("cell", expected=", ".join(axes), received=", ".join(asked))
    case.check("cell", asked)
    if asked["dtype"] not in vocabulary.DTYPES:
        raise ConfigError("cell.dtype", expected=f"one of {', '.join(vocabulary.DTYPES)}", received=asked["dtype"])


def _said(title: str, findings: Sequence[Finding]) -> list[LstmBenchError]:
    """Prints a section; returns its faults."""
    print(f"\n{title}")
    width = max((len(finding.what) for finding in findings), default=0)
    for finding in findings:
        print(f"  {finding.what:<{width}}  {redact(finding.said)}{' FAULT, see below' * _unsaid(finding)}")
    return [finding.fault for finding in findings if finding.fault]


def _unsaid(finding: Finding) -> bool:
    return finding.fault is not None and "FAULT" not in finding.said


def _kernels(asked: schema.Doctor, backends: Sequence[str], gpus: Sequence[Any]) -> list[LstmBenchError]:
    """Prints each backend and kernel as it is proved; returns the faults."""
    from lstm_bench.cuda import table
    from lstm_bench.doctor import proof

    print("\nkernels, by what one training step ran", flush=True)
    faults = []
    found: Iterator[proof.Proof] = proof.proofs(backends, asked["cell"], asked["method"], gpus)
    for one in found:
        ran = f"{one.ran}: " if one.ran else ""
        print(f"  {one.backend:<10}  {one.kernel:<12}  {ran}{one.said}", flush=True)
        faults += [one.fault] if one.fault else []
    for backend in backends if not gpus else ():
        print(f"  {backend:<10}  {table.of_backend(backend)}")
    return faults
