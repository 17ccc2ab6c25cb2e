"""MLflow's experiment of a study: its page, where its files are kept, and its models."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from lstm_bench.tracking import runs
from lstm_bench.tracking.store import artifact_dir, move_artifacts, sqlite_path

NOTE = "mlflow.note.content"


def open_experiment(client: Any, uri: str, name: str, study: Mapping[str, Any]) -> tuple[str, str | None]:
    """Finds or makes the experiment of a study; one that was deleted comes back.

    Args:
      client: MLflow's.
      uri: Of the store.
      name: Of the experiment.
      study: As `Tracking.start` takes it.

    Returns:
      MLflow's id of it, and one line about files that lie elsewhere than beside the store; None where there are none.
    """
    from mlflow.exceptions import MlflowException

    tags = runs.experiment_tags(study)
    found = client.get_experiment_by_name(name)
    local = urlsplit(uri).scheme not in ("http", "https")
    folder = artifact_dir(uri) / name
    if found is None:
        try:
            return str(client.create_experiment(name, folder.as_uri() if local else None, tags)), None
        except MlflowException:  # another driver was faster
            found = client.get_experiment_by_name(name)
            if found is None:
                raise
    if found.lifecycle_stage == "deleted":
        client.restore_experiment(found.experiment_id)
    for key, value in tags.items():
        old = found.tags.get(key, "")
        if old != value and not (key == NOTE and old.endswith(f"\n\n{value}")):  # what the last session came to
            client.set_experiment_tag(found.experiment_id, key, value)
    return str(found.experiment_id), _follow(uri, found.artifact_location, folder) if local else None


def _follow(uri: str, location: str, folder: Path) -> str | None:
    """Has files be kept beside a store that was moved, or says where they are: MLflow knows their folder by its old name."""
    old, path = Path(unquote(urlsplit(location).path)), sqlite_path(uri)
    if path is None or old == folder or old.parts[-2:] != folder.parts[-2:]:
        return None
    if not folder.exists() and old.exists():
        return f"MLflow keeps figures and models in {old}, not beside {path}: move that folder to {folder}"
    move_artifacts(path, location, folder.as_uri())
    return None


def log_model(
    client: Any, experiment_id: str, run_id: str, folder: Path, name: str, identity: str, keep: Callable[..., bool]
) -> None:
    """Lists a model in the experiment's Models tab. The same files are not stored twice.

    Args:
      client: MLflow's.
      experiment_id: MLflow's id of the experiment.
      run_id: Of the run whose model it is.
      folder: Written by `mlflow.keras.save_model`.
      name: Of the model; `/ : . % " '` become `-`.
      identity: Of the study.
      keep: Calls what stores files; returns whether they were stored.
    """
    from mlflow.entities import LoggedModelOutput

    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        digest.update(f"{path.relative_to(folder)}\0".encode() + path.read_bytes())
    tags = {"lstm_bench.model": f"{identity}/{digest.hexdigest()[:16]}"}
    stored = client.search_logged_models([experiment_id], filter_string=f"source_run_id = '{run_id}'")
    same = [model for model in stored if tags.items() <= model.tags.items()]
    if any(str(model.status) in ("READY", "LoggedModelStatus.READY") for model in same):
        return
    model = (same or [None])[0] or client.create_logged_model(
        experiment_id, name=re.sub(r"[/:.%\"']", "-", name), source_run_id=run_id, tags=tags, model_type="keras"
    )
    if not keep(lambda: client.log_model_artifacts(model.model_id, str(folder))):
        return
    client.finalize_logged_model(model.model_id, "READY")
    client.log_outputs(run_id, [LoggedModelOutput(model.model_id, step=0)])
