"""Loss against cost: what no other configuration beats in both, and the cheapest good enough.

``n`` configurations; loss and cost are minimised.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from spot_dask.stats import FloatArray
from spot_dask.stats.intervals import checked


def pareto_front(loss: npt.ArrayLike, cost: npt.ArrayLike) -> tuple[int, ...]:
    """Indices of the configurations that none dominates, the cheapest first.

    One dominates another if it is no worse in both and better in one. Of equal ones the first is
    named. ValueError unless both are n finite values.
    """
    losses, costs = _both(loss, cost)
    front: list[int] = []
    for i in np.lexsort([losses, costs]):
        if not front or losses[i] < losses[front[-1]]:
            front.append(int(i))
    return tuple(front)


def cheapest_within(loss: npt.ArrayLike, cost: npt.ArrayLike, delta: float) -> int:
    """The index of the cheapest configuration whose loss is at most delta >= 0 above the least.

    Of equally cheap ones, that of least loss. ValueError as in ``pareto_front``.
    """
    losses, costs = _both(loss, cost)
    if not delta >= 0:
        raise ValueError(f"got delta={delta}: expected delta >= 0")
    good = np.flatnonzero(losses <= losses.min() + delta)
    return int(good[np.lexsort([losses[good], costs[good]])[0]])


def _both(loss: npt.ArrayLike, cost: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
    losses, costs = checked(loss), checked(cost)
    if len(losses) != len(costs):
        raise ValueError(f"got {len(losses)} losses and {len(costs)} costs: expected pairs")
    return losses, costs
