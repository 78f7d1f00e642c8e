"""Ask a journal's questions again: a run is repeated exactly by its seed and its order of events.

A parallel run depends on when its trainings happened to end. The journal tells it: every batch is
recorded with the number of evaluations it was computed from, so each can be computed again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from spot_dask.records import Asked, Evaluation, History, Imported, Opened, Record, Told, Trial
from spot_dask.tuner import Tuner


def questions(
    records: Iterable[Record], settings: Mapping[str, Any]
) -> Iterator[tuple[History, Asked, Mapping[str, Any]]]:
    """Every batch of a journal with the history that its tuner was asked on and its settings."""
    sources = History()
    asked: list[Trial] = []
    told: dict[int, Evaluation] = {}
    for record in records:
        match record.entry:
            case Opened() as session:
                settings = {**settings, **session.settings}
            case Imported() as imported:
                sources = sources.take_over(imported)
            case Told(evaluation):
                told.setdefault(evaluation.trial.number, evaluation)
            case Asked(trials, known) as batch:
                seen = dict(list(told.items())[:known])
                pending = tuple(trial for trial in asked if trial.number not in seen)
                history = replace(sources, evaluations=tuple(seen.values()), pending=pending)
                yield history, batch, settings
                asked += trials


def deviations(
    records: Iterable[Record],
    settings: Mapping[str, Any],
    tuner: Callable[[Mapping[str, Any]], Tuner],
) -> Iterator[str]:
    """Where asking again gives other trials than those recorded; nothing for a faithful journal.

    ``tuner`` makes the tuner of a session with its settings, which are those the run began with
    as sessions have changed them since. Other versions of the libraries, or another kind of
    processor, may round otherwise and then choose otherwise.
    """
    for history, batch, current in questions(records, settings):
        again = tuner(current).ask(history, batch.q or len(batch.trials))
        for old, new in zip(batch.trials, again, strict=False):
            if old != new:
                yield f"trial {old.number}: recorded {old}, asked again {new}"
        if len(again) != len(batch.trials):
            number = batch.trials[0].number
            yield f"trial {number}: a batch of {len(batch.trials)}, asked again {len(again)}"
