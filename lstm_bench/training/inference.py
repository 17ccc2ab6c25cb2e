"""A confirmed winner, found, loaded and run on new sequences."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sys
import tempfile
import textwrap
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lstm_bench.core.clock import clock
from lstm_bench.core.errors import ConfigError, DataError, StorageError

# Of the calls that a latency is the median of: few where one takes a second, and not for long where it takes a millisecond.
_WARM_UP_CALLS, _LEAST_CALLS, _MOST_CALLS, _TIMED_S = 3, 5, 1000, 0.5

if TYPE_CHECKING:
    import numpy as np

    from lstm_bench.study.reader import StudyRecord


def winner(study: StudyRecord) -> tuple[Path, dict[str, Any]]:
    """The saved model of a study and what its `input.json` says.

    Raises:
      ConfigError: when there is none, with the way to one.
      DataError: when the model is not the one that was saved.
      StorageError: when a file cannot be read.
    """
    from lstm_bench.core.configuration import conf_dir

    folder = study.folder / "model"
    model, file = folder / "model.keras", folder / "input.json"
    if not model.exists():
        known = (conf_dir() / "study" / f"{study.name}.yaml").exists()
        makes = f"python -m lstm_bench.sweep +study={study.name}" if known else "the sweep command that made it"
        if study.copied:
            raise ConfigError(
                f"study {study.name}: published records hold no model", remedy=f"to make one, run {makes}"
            )
        kept = [path.name for path in sorted((study.folder / "controls").glob("*/")) if path.is_dir()]
        if kept and study.config["study"]["n_trials"] == 0:
            raise ConfigError(
                f"study {study.name} trained no network, but controls",
                remedy=f"Say control={kept[0]}" + "".join(f" or control={name}" for name in kept[1:]),
            )
        if study.config["study"]["replicates"] == 0:
            remedy = f"to make one, run {makes} with study.replicates=1"
            raise ConfigError(f"study {study.name} has no model: study.replicates=0 confirms nothing", remedy=remedy)
        raise ConfigError(f"study {study.name} is not confirmed: it has no model yet", remedy=f"to go on, run {makes}")
    try:
        about = json.loads(file.read_text(encoding="utf-8")) if file.exists() else _older(study)
        saved = hashlib.sha256(model.read_bytes()).hexdigest()
    except (OSError, ValueError) as error:
        raise StorageError(f"{folder}: cannot be read ({error})") from error
    if about["model_sha256"] not in (None, saved):
        raise DataError(
            f"{model}: not the model that was saved",
            expected=f"sha256 {about['model_sha256'][:12]}",
            received=saved[:12],
        )
    return model, about


def _older(study: StudyRecord) -> dict[str, Any]:
    """What `input.json` would say of a model saved before there was one."""
    from lstm_bench.data.readers import DIVISOR
    from lstm_bench.data.task import recorded

    settings, facts = study.config["dataset"], study.environment.get("dataset", {})
    missing = [name for name in ("timesteps", "features", "n_classes") if name not in facts]
    if settings["standardize"] or missing:
        raise ConfigError(
            f"study {study.name}: its model was saved without the scaling of its input",
            remedy="Confirm it anew: move its folder away and give the sweep command again.",
        )
    return {
        **facts,
        "dataset": facts.get("name"),
        "task": recorded(facts).name,
        "divisor": DIVISOR[settings["name"]],
        "mean": None,
        "scale": None,
        "backend": study.config["backend"]["name"],
        "model_sha256": None,
    }


def load(model: Path, study: StudyRecord) -> Any:
    """The Keras model, in safe mode, its own layers known; frameworks say nothing while they start.

    Raises:
      DataError: when the file is no model that Keras can load.
    """
    from lstm_bench.core import numerics
    from lstm_bench.model import build
    from lstm_bench.training import precision

    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    numerics.prepare(os.environ)
    with _quiet():
        with precision.apart():  # importing Keras imports its backend
            keras = precision.keras()
            precision.pin(keras.config.backend())
        try:
            return build.load(model, str(study.config["model"].get("_target_", "")))
        except ConfigError:
            raise
        except Exception as error:  # a damaged or foreign file raises any of a dozen types
            reason = textwrap.shorten(str(error), 240, placeholder=" ...") or type(error).__name__
            raise DataError(f"{model}: Keras cannot load it ({reason})") from error


def outputs(model: Any, x: np.ndarray, size: int, lengths: np.ndarray | None = None) -> np.ndarray:
    """What the model gives for scaled sequences, float64: logits, or the prediction of a regression.

    Args:
      model: Keras model.
      x: `(samples, timesteps, features)` float32.
      size: Samples at a time.
      lengths: `(samples,)`, of sequences that are padded on the right; None for others.
    """
    import numpy as np

    from lstm_bench.training.engine.base import padded

    with _quiet():
        if lengths is not None:
            return np.concatenate([*_masked(model, x, size, lengths)]).astype(np.float64)
        return np.concatenate([np.asarray(model.predict_on_batch(batch))[:n] for batch, n in padded(x, size)]).astype(
            np.float64
        )


def _masked(model: Any, x: np.ndarray, size: int, lengths: np.ndarray) -> Iterator[np.ndarray]:
    """What the model gives for each batch of padded sequences, with the mask of their true timesteps."""
    import numpy as np
    from keras import ops

    from lstm_bench.data.lengths import mask
    from lstm_bench.model import network
    from lstm_bench.training.engine.base import padded

    network.open_time(model)

    filled = np.ones(-(-len(x) // size) * size, np.int32)  # what fills up the last batch has one timestep
    filled[: len(x)] = lengths
    counts = mask(filled, x.shape[1])
    # Of the outermost model, which Keras takes for a layer: layers inside it do get the mask.
    warnings.filterwarnings("ignore", "Layer .* was passed an input with a mask attached")
    for index, (batch, n) in enumerate(padded(x, size)):
        given = ops.convert_to_tensor(batch), ops.convert_to_tensor(counts[index * size : (index + 1) * size])
        yield np.asarray(ops.convert_to_numpy(model(given[0], mask=given[1], training=False)))[:n]


def latency(model: Any, x: np.ndarray) -> dict[str, float]:
    """Milliseconds per sequence in batches of 1 and of 64: the median of calls after some that are not counted.

    A call is what `predict` makes: the sequences go to the device, and the outputs come back, before the clock is read.

    Args:
      model: Keras model.
      x: `(samples, timesteps, features)` float32.

    Returns:
      The columns `latency_ms_batch_1` and `latency_ms_batch_64` of a record.
    """
    import numpy as np

    found = {}
    for size in (1, 64):
        batch, seconds = x[np.arange(size) % len(x)], list[float]()
        for _ in range(_WARM_UP_CALLS):
            model.predict_on_batch(batch)
        while len(seconds) < _LEAST_CALLS or (sum(seconds) < _TIMED_S and len(seconds) < _MOST_CALLS):
            since = clock()
            np.asarray(model.predict_on_batch(batch))
            seconds.append(clock() - since)
        found[f"latency_ms_batch_{size}"] = 1000 * float(np.median(seconds)) / size
    return found


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keeps what C++ libraries write to standard error, and shows it when something goes wrong."""
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as file:
        os.dup2(file.fileno(), 2)
        try:
            yield
        except (ConfigError, DataError):
            raise  # said in one line
        except BaseException:
            file.seek(0)
            os.write(kept, file.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)
