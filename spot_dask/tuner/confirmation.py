"""Confirmation: finalists and the default, trained again under seeds that the search has not seen.

What a search finds best looks better than it is: it was chosen for its luck as well. So a share of
the budget is kept for trainings that no choice depends on. The finalists are a function of the
search alone, and the search never learns of confirmations: whatever is searched or confirmed later,
all values under these seeds are fresh. Seed r is the same for every configuration, so that
differences are paired.
"""

from __future__ import annotations

from collections.abc import Sequence

from spot_dask.records import Configuration, History
from spot_dask.space import Space
from spot_dask.tuner.model import rows_of

SHARE = 0.2
"""Of the budget, unless the user says otherwise."""

FROM = 25
"""Evaluations from which on a run is confirmed unless the user says otherwise."""

LEAST = 5
"""Seeds, for each of tuned and default: with fewer an interval is wide enough to say nothing."""

MOST_OF_ALL = 4
"""At most one in so many evaluations confirms tuned, and one the default."""


def seeds_of(share: float | None, evaluations: float) -> int:
    """How many seeds confirm each of tuned and default, out of so many evaluations.

    ``share`` is that of the budget for both together; None is ``SHARE`` from ``FROM`` evaluations
    on, and nothing below.
    """
    if share is None:
        share = SHARE if evaluations >= FROM else 0.0
    if share <= 0:
        return 0
    return min(max(LEAST, round(share * evaluations / 2)), int(evaluations) // MOST_OF_ALL)


def reserve(history: History, seeds: int) -> int:
    """The trainings that so many seeds still take, whichever configuration will be the finalist.

    A default that failed is not confirmed, and one that was confirmed before is not trained again.
    """
    if default_failed(history):
        return seeds
    default = None if history.default is None else history.default.config
    there = sum(t.config == default for t in history.confirming)
    return 2 * seeds - min(seeds, there)


def default_failed(history: History) -> bool:
    """Whether the default configuration, trial 0, has no result because it failed."""
    return next((e.failed for e in history.evaluations if e.trial.number == 0), False)


def missing(
    space: Space, wanted: Sequence[Configuration], history: History, seeds: int
) -> list[tuple[Configuration, int]]:
    """Configurations and seeds r < ``seeds`` that were not asked yet, seed by seed.

    A seed whose training failed is not tried again: that it fails is a result.
    """
    confirms = history.confirming
    keys = space.row_keys(rows_of(space, [trial.config for trial in confirms]))
    known = {(key, trial.replicate) for key, trial in zip(keys, confirms, strict=True)}
    listed = list(wanted)
    named = list(zip(listed, space.row_keys(rows_of(space, listed)), strict=True))
    return [(config, r) for r in range(seeds) for config, key in named if (key, r) not in known]
