"""What a study's data decides: what its configuration leaves open, what each seed trains on, and the facts of its records."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lstm_bench.core import errors, schema
from lstm_bench.core.console import Display
from lstm_bench.core.formatting import counted
from lstm_bench.data import classes, objective, task, warning
from lstm_bench.data import dataset as data
from lstm_bench.data.splits import ALL, for_fold, for_seed
from lstm_bench.model.question import ONE_CLASS
from lstm_bench.study import search_space
from lstm_bench.study.control_rows import asked_by
from lstm_bench.sweep import epochs, windows
from lstm_bench.sweep.workers import Workers
from lstm_bench.training import buckets


class Preparation:
    """Fits a study to its data, before anything is trained.

    Args:
      config: Resolved configuration: what the data decides is put there.
      space: Parsed search space, likewise.
      display: What a person sees.
      source: Where the data was found.
      later: Where `train.epochs` follows from the data: configurations of the studies to come, which have the same; else None.

    Attributes:
      task: Of the data; a classification until `settle`.
      baselines: See `Dataset`.
      asked: Of a control.
      buckets: See `buckets.planned`.
      warnings: Of the data.
    """

    def __init__(
        self,
        config: schema.Sweep,
        space: dict[str, search_space.Domain],
        display: Display,
        source: str,
        later: Sequence[schema.Sweep] | None = None,
    ):
        self.config, self.space, self.display, self.source, self._later = config, space, display, source, later
        self.task, self.baselines, self.asked = task.CLASSIFICATION, dict[str, float](), ONE_CLASS
        self.buckets: tuple[int, ...] = ()
        self.warnings: list[str] = []

    def settle(self, found: data.Dataset) -> None:
        """Checks that a study can be made of the data, puts what it decides into the configuration, and says so.

        Raises:
          ConfigError: for an objective, a window or weights of classes that the data cannot have.
        """
        labels = found.labels("train"), found.labels("validation")
        objective.check_objective(self.config["study"], found.name, found.kind, *labels, n_outputs=found.n_classes)
        for note in found.notes:
            self.display.line(f"  data      {note}")
        weighted = self.config["train"]["class_weight"] is not None
        said = found.about is not None
        self.warnings = warning.warnings(found, self.config["dataset"], weighted=weighted) if said else []
        for sentence in self.warnings:
            self.display.line(f"  warning   {sentence}", "yellow")
        # Whether, is decided once: every seed, or fold, trains on data of one kind.
        if self.config["dataset"].get("resplit") or self.config["dataset"].get("folds"):
            self.config["dataset"]["standardize"] = found.mean is not None
        if settled := objective.settle_objective(self.config["study"], found.kind, *labels, found.n_classes):
            self.display.line(f"  objective {settled}")
            self.display.objective = objective.settled_objective(self.config["study"])
        if self._later is not None:
            self._settle_epochs(self._later, len(found.x_train))
        masked = found.lengths_train is not None
        if settled := windows.settle(self.config, self.space, found.input_shape[0], masked=masked):
            self.display.line(f"  window    {settled}")
        weights = self.config["train"]["class_weight"]
        classes.weights(weights, found.kind, labels[0], found.n_classes, found.classes)
        self.buckets = self._padded_to(found)
        self.task, self.baselines = found.kind, found.baselines
        self.display.measure = found.kind.measure.column
        self.asked = asked_by(found.kind, found.y_train, found.n_classes, found.tokens is not None)

    def _settle_epochs(self, later: Sequence[schema.Sweep], n_train: int) -> None:
        """Chooses `train.epochs` by the data, and for the display those of the studies to come, which have the same."""
        for config in later:
            epochs.settle(config, config["study"]["space"], n_train)
        if said := epochs.settle(self.config, self.space, n_train):
            self.display.line(f"  epochs    {said}")
            self.display.epochs = self.config["train"]["epochs"]

    def redraw(self, found: data.Dataset, workers: Workers) -> None:
        """Draws what each seed of a confirmation trains on once, so that none fails after the search; a cluster is given it.

        Raises:
          DataError: when a seed's training split lacks what a model needs, as a class.
        """
        dataset, folds = self.config["dataset"], self.config["dataset"].get("folds")
        if folds:
            own = {f"fold {fold + 1} of dataset.folds={folds}": for_fold(dataset, fold) for fold in range(folds)}
            own["all folds"] = for_fold(dataset, ALL)
        elif dataset.get("resplit"):
            n = self.config["study"]["replicates"]
            own = {f"seed {seed} of dataset.resplit=true": for_seed(dataset, seed) for seed in range(n)}
        else:
            return
        what = counted(folds, "fold") if folds else counted(len(own), "seed")
        with self.display.waiting(f"drawing the training and validation data of {what}"):
            for name, settings in own.items():
                try:
                    drawn = data.load(settings)
                except errors.DataError as error:
                    raise errors.DataError(f"{name}: {error}") from error
                labels = drawn.labels("train"), drawn.labels("validation")
                objective.check_objective(
                    self.config["study"], drawn.name, drawn.kind, *labels, n_outputs=drawn.n_classes
                )
                if workers.on_ray:
                    workers.give(drawn, settings)
        n_train, n_test = len(found.x_train) + len(found.x_validation), len(found.x_test)
        self.display.line(
            f"  data      each of {folds} folds of the {n_train:,} training sequences is validated on in turn; a seed of the "
            f"confirmation is then trained on all of them and reads the {n_test:,} test sequences"
            if folds
            else f"  data      each seed draws its training and validation data; the {n_test:,} test sequences stay"
        )

    def _padded_to(self, dataset: data.Dataset) -> tuple[int, ...]:
        """Numbers of timesteps that batches of unequal length are padded to, at the configuration's own batch size; said."""
        train, timesteps = self.config["train"], dataset.input_shape[0]
        size = min(train["batch_size"], len(dataset.x_train))
        found = buckets.planned(train, dataset.lengths_train, timesteps, size)
        if found:
            said = f"batches of about one length, padded to {', '.join(map(str, found))} timesteps"
            self.display.line(f"  lengths   {said if len(found) > 1 else f'all padded to {found[0]} timesteps'}")
        if found and str(self.config["model"]["_target_"]) == "lstm_bench.model.cnn_lstm":
            self.display.line("  lengths   the last window of a sequence is completed by zeros")
        return found

    def facts(self, dataset: data.Dataset) -> dict[str, Any]:
        """`dataset` of `environment.json`."""
        timesteps, features = dataset.input_shape
        folds, n_train, n_validation = (
            self.config["dataset"].get("folds"),
            len(dataset.x_train),
            len(dataset.x_validation),
        )
        groups: dict[str, int] = dict((dataset.about or {}).get("groups", {}))
        if folds:  # each of them is validated on once, and all are trained on before the test set is read
            n_train = n_validation = n_train + n_validation
            if groups:
                groups["train"] = groups["validation"] = groups["train"] + groups["validation"]
        return {
            "name": dataset.name,
            "sha256": dataset.sha256,
            "source": self.source,
            "n_train": n_train,
            "n_validation": n_validation,
            **({"folds": folds} if folds else {}),
            "n_test": len(dataset.x_test),
            **({"groups": groups} if groups else {}),
            "timesteps": timesteps,
            "features": features,
            "n_classes": dataset.n_classes,
            "task": dataset.task,
            "n_outputs": dataset.n_classes,
            "baselines": dataset.baselines,
            "trivial": dataset.kind.trivial(dataset.labels("train"), dataset.labels("test")),
            **({"lengths": lengths} if (lengths := dataset.length_facts()) else {}),
            **({"classes": list(dataset.classes)} if dataset.classes else {}),
            **({"vocabulary": dataset.about["vocabulary"]} if dataset.about and dataset.tokens is not None else {}),
            **({"notes": notes} if (notes := [*dataset.notes, *self.warnings]) else {}),
        }
