"""Benchmarks: spot-dask and its peers on the same problems, with the same seeds.

One BLAS thread for everyone, set before numpy is loaded: oversubscribed cores made some peers ten
times slower, which would be no fair comparison.
"""

import os

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"


class Unavailable(Exception):
    """A suite or a peer that cannot be used here, with what to install or to give."""
