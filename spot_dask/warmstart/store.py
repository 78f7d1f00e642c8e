"""Stores of spot-dask."""

from __future__ import annotations

from collections.abc import Sequence

from spot_dask.run import Run
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
        for e in history.evaluations:
            why = "" if e.ok else "it had failed"
            trial, metrics = e.trial, e.outcome.metrics
            rows.append(
                Row(header.run_id, trial.number, trial.config, run.signed(e.y), why, metrics)
            )
        return Earlier(rows, header.objective, header.direction, run.space)
