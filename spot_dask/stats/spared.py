"""What early stopping costs, from the trainings that chance let go on.

Of the trainings that a rule would stop, each goes on with the same probability, whatever it is and
whatever it will come to. So those that went on are a simple random sample of all that would have
been stopped, and the share of them that came out better than the best training that was not to be
stopped estimates the same share of the stopped without bias. Its interval is exact [Clopper &
Pearson 1934].
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from spot_dask.stats import FloatArray
from spot_dask.stats.intervals import Interval, clopper_pearson


@dataclass(frozen=True)
class Spared:
    """``n`` trainings that went on by chance, of which so many came out ``better`` than the best.

    ``share`` is the interval of better / n. ``gain`` is by how much the best of them is better, 0
    where none is.
    """

    n: int
    better: int
    share: Interval
    gain: float


def spared(values: FloatArray, best: float) -> Spared:
    """The estimate from the values (n, minimised; infinite where a training failed) and the best.

    Raises ValueError without values.
    """
    if not len(values):
        raise ValueError("no training has gone on by chance")
    better = int(np.sum(values < best))
    gain = max(0.0, best - float(values.min()))
    return Spared(len(values), better, clopper_pearson(better, len(values)), gain)
