"""Stores of spot-dask."""

from __future__ import annotations

from collections.abc import Sequence

from spot_dask.records import Evaluation
from spot_dask.run import Run
from spot_dask.tuner.folds import table_of
from spot_dask.warmstart import Earlier, Row


class EarlierRun:
    """The evaluations of a run and those it had taken as data, but not its priors.

    No component that its header names is made: a surrogate there is a name and no more.
    """

    suffixes = (".zarr",)

    def read(self, path: str, objectives: Sequence[str]) -> Earlier:
        run = Run.open(path)
        header, history = run.header, run.history
        rows = [
            Row(i.source_run, i.source_trial, i.config, run.signed(i.y), metrics=i.metrics)
            for i in history.imports
        ]
        told: Sequence[Evaluation] = history.evaluations
        if run.folds.several:  # a configuration's value is its mean
            known = table_of(run.folds, history).means(history.ok, complete=False)
            told = [*known, *(e for e in told if e.trial.confirms or not e.ok)]
        for e in told:
            why = "" if e.ok else "it had failed"
            trial, metrics = e.trial, e.outcome.metrics
            rows.append(
                Row(header.run_id, trial.number, trial.config, run.signed(e.y), why, metrics)
            )
        return Earlier(rows, header.objective, header.direction, run.space)
