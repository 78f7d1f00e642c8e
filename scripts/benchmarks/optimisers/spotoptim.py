"""spotoptim 3 with its defaults, in the interpreter that SPOTOPTIM_PYTHON names: 3.13 or newer.

It is the successor of spotPython and strictly sequential: a batch is the number of points that it
is told to suggest at once, and it knows no pending ones. It drops failed evaluations.
"""

from __future__ import annotations

from benchmarks.child import Child
from spot_dask import Space


def make(space: Space, seed: int) -> Child:
    return Child("SPOTOPTIM_PYTHON", "spotoptim_child.py", space, seed)
