"""Stores of spot-dask."""

from __future__ import annotations

from collections.abc import Sequence

from spot_dask.run import Run
from spot_dask.warmstart import Earlier, Row


class Store:
    """A run's own evaluations and those it had taken as data; what had informed it is left."""

    suffixes = (".zarr",)

    def read(self, path: str, objectives: Sequence[str]) -> Earlier:
        run = Run.open(path)
        history = run.history
        taken = [
            Row(i.source_run, i.source_trial, i.config, run.signed(i.y)) for i in history.imports
        ]
        own = [
            Row(
                run.header.run_id,
                t.number,
                t.config,
                run.signed(e.y),
                "" if e.ok else "it had failed",
            )
            for e in history.evaluations
            for t in [e.trial]
        ]
        return Earlier((*taken, *own), run.header.objective, run.header.direction, run.space)
