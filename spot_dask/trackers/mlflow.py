"""MLflow: a run for the whole search, and one within it for each trial.

A trial's run is finished when all of its points are there, which tells that it is complete. One
that is still running when a session begins was cut off: it is deleted, and written anew.
"""

from __future__ import annotations

import os
import re
import uuid
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from spot_dask.outputs import PARTIAL
from spot_dask.records import Evaluation, Outcome, Status, Trial
from spot_dask.trackers import Listener, Tracked
from spot_dask.trackers.points import SearchPoints, epochs, facts, moment, results, trial_name

RUN, TRIAL = "spot_dask.run", "spot_dask.trial"
"""Tags: which run of spot-dask, and which trial of it, a run of MLflow is."""

LONGEST_NAME = 250
LONGEST_VALUE = 500
MOST_METRICS, MOST_PARAMS = 1000, 100
"""What MLflow takes at once."""

ENDS = {Status.OK: "FINISHED", Status.STOPPED: "KILLED"}


@dataclass
class MLflow(Listener):
    """Nested runs in an experiment of the study's name, or of the name given.

    ``uri`` is that of a tracking server or of a database; without it, ``mlflow.db`` in the
    directory of the store, as in ``mlflow ui --backend-store-uri sqlite:///runs/mlflow.db``.
    """

    uri: str | None = None
    experiment: str | None = None
    _runs: NestedRuns | None = field(default=None, init=False, repr=False, compare=False)

    @property
    def needs(self) -> tuple[str, ...]:
        """The packages without which it cannot be: a server has the database's."""
        served = self.uri is not None and self.uri.startswith("http")
        return ("mlflow",) if served else ("mlflow", "sqlalchemy", "alembic")

    def begin(self, run: Tracked) -> Collection[int]:
        """The trials that have a complete run; the others' runs are deleted."""
        from mlflow import MlflowClient

        folder = run.folder.absolute().parent
        uri = self.uri
        if uri is None:
            folder.mkdir(parents=True, exist_ok=True)
            uri = f"sqlite:///{made(folder / 'mlflow.db', (folder / 'mlartifacts').as_uri())}"
        client, name = MlflowClient(uri), self.experiment or run.name
        found = client.get_experiment_by_name(name)
        if found is not None:
            experiment = found.experiment_id
        else:  # a database has its artifacts beside it, a server knows where its own are
            place = None if self.uri else (folder / "mlartifacts").as_uri()
            experiment = client.create_experiment(name, artifact_location=place)
        self._runs = NestedRuns(client, experiment, run)
        return self._runs.complete()

    def asked(self, trial: Trial) -> None:
        """Begin the run of a trial, with its parameters."""
        if self._runs is not None:
            self._runs.start(trial)

    def evaluated(self, evaluation: Evaluation, place: int) -> None:
        """Add the points and finish the trial's run."""
        if self._runs is not None:
            self._runs.finish(evaluation, place)

    def end(self, reason: str) -> None:
        """Finish the run of the search."""
        if self._runs is not None:
            self._runs.close(reason)


def made(database: Path, artifacts: str) -> Path:
    """The database, which is made aside if it is not there.

    MLflow cannot go on with tables of which only some were made when a run was killed.
    """
    if database.exists():
        return database
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    aside = database.with_name(f"{database.name}.{uuid.uuid4().hex[:8]}{PARTIAL}")
    try:
        SqlAlchemyStore(f"sqlite:///{aside}", artifacts).engine.dispose()
        try:
            os.link(aside, database)
        except FileExistsError:
            pass  # another run's, made meanwhile
        except OSError:  # a file system without links
            aside.replace(database)
    finally:
        aside.unlink(missing_ok=True)
    return database


class NestedRuns:
    """The runs of MLflow that belong to a run of spot-dask."""

    def __init__(self, client: Any, experiment: str, run: Tracked) -> None:
        self._client, self._experiment, self._run = client, experiment, run
        self._points = SearchPoints(run)
        self._started: dict[int, str] = {}  # trial -> the run that it has
        self._finished: set[int] = set()  # trials whose run is complete, though the search's is not
        own = list(self._search(f"tags.`{RUN}` = '{run.id}'"))
        if own:
            self._parent = own[0].info.run_id
            client.update_run(self._parent, status="RUNNING")
        else:
            tags = {RUN: run.id, "spot_dask.store": str(run.store)}
            begun = client.create_run(experiment, tags=tags, run_name=run.folder.name)
            self._parent = begun.info.run_id
        names = ("objective", "best so far", "seconds")
        self._steps = {
            name: {m.step for m in client.get_metric_history(self._parent, name)} for name in names
        }

    def complete(self) -> set[int]:
        """The trials that lack nothing; what was begun only is deleted."""
        places = {e.trial.number: k for k, e in enumerate(self._run.past.evaluations, 1)}
        evaluations = {e.trial.number: e for e in self._run.past.evaluations}
        found = set()
        for child in self._search(f"tags.`mlflow.parentRunId` = '{self._parent}'"):
            number = int(child.data.tags[TRIAL])
            if child.info.status == "RUNNING":
                self._client.delete_run(child.info.run_id)
            elif number in evaluations and not self._lacking(evaluations[number], places[number]):
                found.add(number)
            else:
                self._started[number] = child.info.run_id
                self._finished.add(number)
        return found

    def start(self, trial: Trial, begun: float = 0.0) -> None:
        """Begin the run of a trial, unless it has one."""
        from mlflow.entities import Param

        if trial.number in self._started:
            return
        created = self._client.create_run(
            self._experiment,
            start_time=int(1000 * begun) or None,
            tags={"mlflow.parentRunId": self._parent, TRIAL: str(trial.number)},
            run_name=trial_name(trial.number),
        )
        self._started[trial.number] = created.info.run_id
        values = [(str(value)[:LONGEST_VALUE], name) for name, value in trial.config.items()]
        names = allowed([name for _, name in values])
        params = [Param(names[name], value) for value, name in values]
        for at in range(0, len(params), MOST_PARAMS):
            self._client.log_batch(created.info.run_id, params=params[at : at + MOST_PARAMS])

    def finish(self, evaluation: Evaluation, place: int) -> None:
        """Write what is not there of an evaluation."""
        from mlflow.entities import Metric, RunTag

        outcome, number = evaluation.outcome, evaluation.trial.number
        ended = int(1000 * moment(outcome, 1.0))
        lacking = self._lacking(evaluation, place)
        if lacking:
            points = [Metric(name, value, ended, place) for name, value in lacking.items()]
            self._client.log_batch(self._parent, metrics=points)
            for name in lacking:
                self._steps[name].add(place)
        self.start(evaluation.trial, moment(outcome, 0.0))
        run = self._started.pop(number)
        if number in self._finished:
            return
        metrics = [
            Metric(name, value, when, step) for name, value, when, step in points_of(outcome)
        ]
        noted = [RunTag(name, text[:LONGEST_VALUE]) for name, text in facts(evaluation).items()]
        self._client.log_batch(run, tags=noted)
        for at in range(0, len(metrics), MOST_METRICS):
            self._client.log_batch(run, metrics=metrics[at : at + MOST_METRICS])
        self._client.set_terminated(run, ENDS.get(outcome.status, "FAILED"), ended or None)

    def close(self, reason: str) -> None:
        """Finish the run of the search."""
        self._client.set_tag(self._parent, "spot_dask.ended", reason)
        self._client.set_terminated(self._parent)

    def _lacking(self, evaluation: Evaluation, place: int) -> Mapping[str, float]:
        """The points of the search that are not there."""
        found = self._points.at(evaluation, place).items()
        return {name: value for name, value in found if place not in self._steps[name]}

    def _search(self, condition: str) -> Iterator[Any]:
        token = None
        while True:
            page = self._client.search_runs([self._experiment], condition, page_token=token)
            yield from page
            token = page.token
            if not token:
                return


def points_of(outcome: Outcome) -> list[tuple[str, float, int, int]]:
    """The points of a training: name, value, time (ms since 1970, UTC) and step."""
    found = [
        (name, value, int(1000 * when), epoch)
        for epoch, when, row in epochs(outcome)
        for name, value in row.items()
    ]
    ended = int(1000 * moment(outcome, 1.0))
    found += [(name, value, ended, outcome.epochs) for name, value in results(outcome).items()]
    names = allowed([name for name, *_ in found])
    return [(names[name], value, when, step) for name, value, when, step in found]


def allowed(names: Sequence[str]) -> dict[str, str]:
    """The names as MLflow takes them: other characters become ``_``, and no two become one.

    A name is a path to MLflow: parts of it that are empty or ``..`` are refused as well.
    """
    found: dict[str, str] = {}
    for name in dict.fromkeys(names):
        parts = [part for part in re.sub(r"[^/\w.\- :]", "_", name).split("/") if part]
        mended = "/".join("_" if set(part) <= {"."} else part for part in parts) or "_"
        mended = mended[: LONGEST_NAME - 5]
        others = set(found.values())
        ends = ("", *(f"_{k}" for k in range(2, len(found) + 2)))
        found[name] = next(mended + end for end in ends if mended + end not in others)
    return found
