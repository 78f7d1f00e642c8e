"""Other ways to search, by name: what a study's search is to be compared with.

``search="random"`` has the trials after the default chosen by a file of this folder instead of by
surrogate and criterion. Budget, confirmation, failures and resuming stay as they are, so that two
runs differ in their search alone. A new one is one file with one public class that has
``propose``, or a class anywhere::

    class Same:
        def propose(self, known, q, rng):
            return known.space.snap(rng.random((q, known.space.d)))

The same history gives the same trials: what a method has to remember it computes from ``known``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from spot_dask import plugins
from spot_dask.space import Integer, Space
from spot_dask.surrogates import FloatArray

KIND = "search"
"""What messages call a method of this folder, as its option does."""

SPOT = "spot"
"""The name of the search by surrogate and criterion."""


@dataclass(frozen=True)
class Known:
    """What a method chooses from: rows of the unit cube, snapped.

    ``X`` (n x d) and ``y`` (n, minimised) are what succeeded, by trial number; ``asked`` (m x d)
    everything that was ever asked, in that order, pending and failed trials included. ``seed`` is
    the study's, ``budget`` the number of trials there will be, if that is known.
    """

    space: Space
    X: FloatArray
    y: FloatArray
    asked: FloatArray
    seed: int
    budget: int | None

    def fresh(self, rows: FloatArray, q: int) -> FloatArray:
        """The first q of these rows, snapped and allowed, that were not asked yet, each once."""
        snapped, asked = self.space.snap(rows), self.space.compared(self.asked)
        snapped = snapped[self.space.allowed(snapped)]
        kept: dict[bytes, int] = {}
        for i, row in enumerate(self.space.compared(snapped)):
            if len(kept) == q:
                break
            if not (asked == row).all(axis=1).any():
                kept.setdefault(row.tobytes(), i)
        return snapped[[*kept.values()]]


class Baseline(Protocol):
    """A way to search, with its settings."""

    def propose(self, known: Known, q: int, rng: np.random.Generator) -> FloatArray:
        """At most q new, distinct, snapped rows (<= q x d); the caller fills up at random."""
        ...


def find(search: str | Baseline, *, trusted: bool = True) -> Baseline | None:
    """The method of that name; a method is returned as it is, and None stands for ``spot``.

    A name is that of a file in this folder or ``package.module:Name``. Raises ValueError if there
    is none, and NotLoaded for one from elsewhere that is not ``trusted``.
    """
    if not isinstance(search, str):
        return search
    if search == SPOT:
        return None
    found: Baseline = plugins.find(__name__, "propose", search, also=(SPOT,), trusted=trusted)
    return found


@plugins.once
def check(search: str | Baseline) -> None:
    """Raise ValueError, saying what is missing or wrong, unless a method can serve."""
    label = f"search {search if isinstance(search, str) else type(search).__name__!r}"
    found = find(search)
    if found is None:
        return
    if not callable(getattr(found, "propose", None)):
        raise ValueError(f"{label} has no method propose(known, q, rng)")
    plugins.check_call(f"{label}: propose", found.propose, "known", "q", "rng")
    space = Space(x=Integer(0, 9, default=0), z=Integer(0, 9, default=0))
    X = space.grid()[::13]
    known = Known(space, X, X.sum(axis=1), X, 0, 20)
    try:
        rows = np.asarray(found.propose(known, 2, np.random.default_rng(0)), dtype=np.float64)
    except Exception as error:
        raise ValueError(f"{label}: propose raises {error!r}") from error
    if rows.ndim != 2 or rows.shape[1] != space.d or len(rows) > 2:
        raise ValueError(f"{label}: propose returns shape {rows.shape}; expected {(2, space.d)}")
