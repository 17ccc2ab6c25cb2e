"""Which runs MLflow holds of one study: found by ids of ours in their tags, each once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

ENDED = ("FINISHED", "FAILED", "KILLED")
STUDY_RUN, TRIAL, REPLICATE, CELL = (f"lstm_bench.{kind}" for kind in ("study_run", "trial", "replicate", "cell"))


@dataclass
class Run:
    """A run that the store holds.

    Attributes:
      run_id: MLflow's.
      status: MLflow's, of what was told of its end; RUNNING where nothing was, whatever MLflow says.
      running: Whether MLflow says so.
      started_ms: Start, milliseconds since 1970.
      points: Key and step of each point that it has, None as long as they were not read.
    """

    run_id: str
    status: str
    running: bool = True
    started_ms: int = 0
    points: set[tuple[str, int]] | None = None

    def is_of_another_try(self, started_ms: int) -> bool:
        """Whether a seed was begun again since: it keeps its name, and none of the curve that it had."""
        return self.status not in ("FINISHED", "FAILED") and self.started_ms != started_ms


@dataclass(frozen=True)
class Training:
    """Which training a run is of.

    Attributes:
      kind: trial or replicate.
      identity: Among those of its study: number of the trial, or `<digest>/<seed>` of the replicate.
      name: For people.
    """

    kind: str
    identity: str
    name: str

    @property
    def tag(self) -> str:
        """Key of the tag that holds the identity."""
        return f"lstm_bench.{self.kind}"

    @classmethod
    def of_trial(cls, number: int) -> Training:
        """The place of a trial."""
        return cls("trial", str(number), f"trial {number}")

    @classmethod
    def of_replicate(cls, digest: str, seed: int, trial: int | None) -> Training:
        """The place of a seed of the configuration of that digest, which a trial found: another winner's are other runs."""
        found = "" if trial is None else f" of trial {trial}"
        return cls("replicate", f"{digest}/{seed}", f"replicate seed {seed}{found}")


class RunIndex:
    """The runs of a study by tag and identity.

    Args:
      client: MLflow's.
      experiment_id: MLflow's id of the experiment.
      study: Id of the study, as its runs have it in the tag `lstm_bench.study`.

    Attributes:
      strays: Ids of runs below another parent than the study's.
    """

    def __init__(self, client: Any, experiment_id: str, study: str):
        self._client, self._experiment_id, self._study = client, experiment_id, study
        self._runs: dict[tuple[str, str], Run] = {}
        self.strays: set[str] = set()

    def get(self, tag: str, identity: str) -> Run | None:
        """The run with that tag and identity (`<study>/<name>`; of the study's own run its id), None where there is none."""
        return self._runs.get((tag, identity))

    def put(self, tag: str, identity: str, run: Run) -> Run:
        """Adds a run that was just made."""
        self._runs[tag, identity] = run
        return run

    def of(self, *tags: str) -> dict[str, Run]:
        """Runs with one of these tags, by identity, in the order of their identities."""
        return {
            identity: run
            for (tag, identity), run in sorted(self._runs.items(), key=lambda item: item[0])
            if tag in tags
        }

    def __len__(self) -> int:
        return len(self._runs)

    def load(self) -> None:
        """Reads what the store holds.

        A second run of one id is deleted: a lost answer of a server leaves one, and drivers that start at once. The one that
        has ended stays, else the older one, whoever looks. A run that a person deleted comes back, for its study goes on, as
        long as there is no other one of its id.
        """
        from mlflow.entities import ViewType

        self._runs = {}
        parents = self._read(ViewType.ACTIVE_ONLY)
        active = set(self._runs)
        parents |= self._read(ViewType.DELETED_ONLY)
        for key in self._runs.keys() - active:
            self._client.restore_run(self._runs[key].run_id)
        study = self.get(STUDY_RUN, self._study)
        mine = "" if study is None else study.run_id
        self.strays = {run.run_id for run in self._runs.values() if parents[run.run_id] not in ("", mine)}

    def _read(self, view: str) -> dict[str, str]:
        """Adds the runs of a view that were not there before. Returns the parent of each run, by its id."""
        from mlflow.entities import ViewType

        before, parents, token = set(self._runs), dict[str, str](), None  # newest first
        while True:
            page = self._client.search_runs(
                [self._experiment_id], f"tags.`lstm_bench.study` = '{self._study}'", view, page_token=token
            )
            for stored in page:
                tags = stored.data.tags
                parents[stored.info.run_id] = tags.get("mlflow.parentRunId", "")
                for tag in (STUDY_RUN, TRIAL, REPLICATE, CELL):
                    if tag not in tags or (tag, tags[tag]) in before:
                        continue
                    found, other = _run(stored, tag), self._runs.get((tag, tags[tag]))
                    if other is not None:
                        spare = found if other.status in ENDED and found.status not in ENDED else other
                        if view == ViewType.ACTIVE_ONLY:
                            self.discard(spare)
                        found = found if spare is other else other
                    self._runs[tag, tags[tag]] = found
            token = page.token
            if not token:
                return parents

    def discard(self, run: Run) -> None:
        """Deletes a run that is there twice, or that was begun again."""
        if run.running:
            self._client.set_terminated(run.run_id, "KILLED")
        self._client.delete_run(run.run_id)


def _run(found: Any, tag: str) -> Run:
    """A run as MLflow gave it. The end of a training is told once its state is; the study's own run has none."""
    status = found.info.status
    told = "state" in found.data.tags or tag not in (TRIAL, REPLICATE)
    return Run(found.info.run_id, status if told else "RUNNING", status not in ENDED, found.info.start_time)
