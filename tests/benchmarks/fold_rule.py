"""By what rule a training on all folds (`dataset.folds`), which has no validation data, ends and chooses its epoch.

    python tests/benchmarks/fold_rule.py study=FOLDER [seeds=2] [epochs=450]

The winner of a study with folds is trained on the sequences of each of its folds but those held out, and after every epoch
both are scored. Then each fold stands in the place of the test set: a rule sees what the other folds' networks told of their
held-out sequences, and of this one's network the loss on what it is trained on. Prints the mean accuracy on the held-out
sequences by each rule, and its deviation over folds and seeds. No test set is read. On the backend of the study, on one thread.

| rule | the epoch |
|---|---|
| own best | the best one on the held-out sequences themselves: what no rule can know |
| mean loss | where the mean loss of the other folds was least |
| mean best | the mean of where the other folds were at their best |
| last best | the last of these |
| least loss | up to there, the one with the least loss on what is trained on: `sweep/folds.py` |
| last | the last of all |
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

ASKED = {"study": "", "seeds": "2", "epochs": "450"}
PATIENCE = 150  # epochs


class Course(NamedTuple):
    """What was measured of a training after each of its epochs."""

    trained_on: np.ndarray  # loss
    loss: np.ndarray  # of the sequences that were held out, as below
    accuracy: np.ndarray

    def best(self) -> int:
        """The epoch, from 0, of the best accuracy on what was held out, of equal ones that with the least loss."""
        best = 0
        for epoch in range(len(self.loss)):
            if (self.accuracy[epoch], -self.loss[epoch]) > (self.accuracy[best], -self.loss[best]):
                best = epoch
            if epoch - best >= PATIENCE:
                break
        return best


def chosen(own: Course, others: Sequence[Course]) -> dict[str, int]:
    """Rule -> the epoch, from 0, that it chooses."""
    best = [other.best() for other in others]
    together = min(best) + PATIENCE + 1  # epochs that all of them had, with patience
    return {
        "own best": own.best(),
        "mean loss": int(np.mean([other.loss[:together] for other in others], axis=0).argmin()),
        "mean best": round(float(np.mean(best))),
        "last best": max(best),
        "least loss": int(own.trained_on[: max(best) + 1].argmin()),
        "last": len(own.loss) - 1,
    }


def main(asked: dict[str, str]) -> None:
    from lstm_bench.core import schema
    from lstm_bench.core.clock import Phases
    from lstm_bench.data import dataset
    from lstm_bench.data.splits import for_fold
    from lstm_bench.study import reader
    from lstm_bench.training import backend

    folder = Path(asked["study"])
    study = reader.find(folder.name, folder.parent)
    config, epochs = study.config_of(study.best_trial()), int(asked["epochs"])
    config["train"] |= {"epochs": epochs, "patience": epochs}
    config["study"] |= {"objective": "val_loss", "direction": "minimize"}
    backend.load(config["backend"]["name"], False, 1, True, False)
    from lstm_bench.training import fit, programs

    def course(fold: int, seed: int) -> Course:
        found = dataset.load(for_fold(config["dataset"], fold))
        own = {f"{axis}_validation": getattr(found, f"{axis}_train") for axis in ("x", "y", "lengths")}
        data, rows = dataclasses.replace(found, **own), list[tuple[float, float, float]]()
        engine = programs.prepare(config, data, "generic", seed)

        def report(epoch: dict[str, Any]) -> None:
            outputs = engine.logits(found.x_validation, found.lengths_validation)
            score = found.kind.score(outputs, found.y_validation, "held")
            rows.append((epoch["val_loss"], score["held_loss"], score["held_accuracy"]))

        heard: dict[str, Any] = {"report": report, "stopped": lambda: False}
        fit.train(engine, config, data, kernel="generic", seed=seed, phases=Phases(), **heard)
        return Course(*np.array(rows).T)

    reached: dict[str, list[float]] = {}
    for seed in range(int(asked["seeds"])):
        courses = [course(fold, seed) for fold in range(schema.settled(config["dataset"].get("folds")))]
        for fold, own in enumerate(courses):
            for rule, epoch in chosen(own, courses[:fold] + courses[fold + 1 :]).items():
                reached.setdefault(rule, []).append(100 * own.accuracy[epoch])
        print(f"seed {seed} is done", flush=True)
    for rule, each in reached.items():
        print(f"{rule:<10}  {np.mean(each):5.1f} +- {np.std(each, ddof=1):4.1f} %  (n = {len(each)})")


if __name__ == "__main__":
    given = dict(argument.split("=", 1) for argument in sys.argv[1:])
    if not given.get("study") or set(given) - set(ASKED):
        sys.exit(f"options: {' '.join(f'{key}={value}' for key, value in ASKED.items())}")
    main(ASKED | given)
