"""The recommended configuration while a run goes on."""

from __future__ import annotations

import logging
import math
import time

from spot_dask.errors import warn_once
from spot_dask.model import Best
from spot_dask.records import History
from spot_dask.tuner import Tuner

logger = logging.getLogger(__name__)

SHARE = 0.02
"""Of one core: what the surrogate may take that is fitted only to be shown."""

PAUSE_SECONDS = 2.0
"""The least time between two looks."""


class Incumbent:
    """The tuner's recommendation as of the last look; a look fits the surrogate anew."""

    def __init__(self, tuner: Tuner) -> None:
        self._tuner = tuner
        self._best: Best | None = None
        self._known = 0  # evaluations at the last look
        self._looking = False
        self._next = 0.0

    def is_due(self, history: History) -> bool:
        """Whether there is something new, nobody looks now and the last look was long ago."""
        new = len(history.evaluations) > self._known
        return new and not self._looking and time.monotonic() >= self._next

    def begin(self) -> None:
        """A look is about to be taken, perhaps in another thread."""
        self._looking = True

    def look(self, history: History) -> None:
        """Make the recommendation from this history."""
        began = time.monotonic()
        try:
            self._best = self._tuner.recommend(history, self._tuner.model(history))
        except Exception as error:
            # A run must not end for what is only shown.
            warn_once(logger, "the best so far is not known: %r", error)
        seconds = time.monotonic() - began
        self._known = len(history.evaluations)
        self._next = began + max(PAUSE_SECONDS, seconds / SHARE)
        self._looking = False

    def of(self, history: History) -> Best | None:
        """The recommendation, or what was observed since the last look and is better."""
        found = [Best((e,)) for e in history.evaluations[self._known :] if e.ok]
        if self._best is not None:
            found.append(self._best)
        return min(found, key=expected, default=None)


def expected(best: Best) -> float:
    """What the surrogate expects there; what was observed where there is no surrogate."""
    return best.observed if math.isnan(best.mean) else best.mean
