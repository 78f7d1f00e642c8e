"""One BLAS thread for small matrices.

Below some 1,500 rows a second thread spends its time waiting for the first, which on a machine
shared with Dask workers costs ten times what it saves.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from functools import cache
from typing import Any

import scipy.linalg  # noqa: F401  (its BLAS must be loaded before the controller looks for it)
from threadpoolctl import ThreadpoolController

LARGE = 1500


@cache
def _controller() -> ThreadpoolController:
    return ThreadpoolController()  # searches the loaded libraries: milliseconds, so once


def blas_threads(rows: int) -> AbstractContextManager[Any]:
    """A context in which BLAS uses one thread, unless there are many rows."""
    if rows >= LARGE:
        return nullcontext()
    limited: AbstractContextManager[Any] = _controller().limit(limits=1, user_api="blas")
    return limited
