"""HEBO 0.3.6 with its defaults, in the interpreter that HEBO_PYTHON names: it needs numpy 1.24.

HEBO leaves failed evaluations out. It knows no pending ones: asked while others are running
(``--async``), it proposes as if they were not.
"""

from __future__ import annotations

from benchmarks.child import Child
from spot_dask import Space


def make(space: Space, seed: int) -> Child:
    return Child("HEBO_PYTHON", "hebo_child.py", space, seed)
