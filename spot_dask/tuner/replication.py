"""Which of the best configurations to train again, when their values are noisy (Kriging-OCBA).

At the end of a budget somebody takes the configuration b of lowest posterior mean. Choosing b
instead of j loses f_b - f_j where that is positive, so the expected loss is at most

    L = sum_j E[max(f_b - f_j, 0)],    f_b - f_j ~ N(-gap_j, spread_j^2)

[the opportunity cost bound: He, Chick & Chen 2007, eq. 5]. A replicate of i leaves the means where
they are, as far as one knows, and shrinks the joint covariance. Every replicate goes where it
lowers L most. With many of them the allocation balances as optimal computing budget allocation
does, N_b^2 = sum_j N_j^2 and N_i / N_j = (gap_j / gap_i)^2 for j, i != b where N_b is much larger
[OCBA: Chen, Lin, Yucesan & Chick 2000, theorem 1]; with few, points that the model knows to be
equally good are left alone, on which the ratios would spend everything.

k candidates, counted by their row; mean (k) and covariance (k x k) of the noise-free objective.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol, runtime_checkable

import numpy as np

from spot_dask.infill.log_ei import log_h
from spot_dask.surrogates import FloatArray

CANDIDATES = 12
LEAST_NUGGET = 1e-3  # noise of 3 % of the objective's sd: not worth telling apart
# From here on the whole share is worth it. At a fifth of this, replicates cost a little (measured).
FULL_NUGGET = 0.5
NEGLIGIBLE = 0.01  # expected loss in sd of the noise at which there is nothing left to decide


@runtime_checkable
class Noisy(Protocol):
    """A posterior that has estimated the noise: its variance is ``nugget * variance``."""

    @property
    def nugget(self) -> float:
        """Noise variance as a share of the process variance."""
        ...

    @property
    def variance(self) -> float:
        """The process variance, in the user's units squared."""
        ...

    def joint(self, X: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Mean (k) and covariance (k x k) of the noise-free objective at X (k x e)."""
        ...


def choose(
    posterior: Noisy, X: FloatArray, running: FloatArray, slots: int, to_the_end: bool = False
) -> list[int]:
    """Rows of X (n x e, distinct configurations) to be evaluated again, at most ``slots``.

    What is running (p x e) will have been evaluated before. Fewer, or none, where replicates are
    not worth it, unless ``to_the_end``.
    """
    if slots < 1 or (not to_the_end and (len(X) < 2 or not worth(posterior.nugget))):
        return []
    noise, n = posterior.nugget * posterior.variance, len(X)
    mean, covariance = posterior.joint(np.vstack([X, running]))
    sd = np.sqrt(np.diagonal(covariance))
    few = np.argsort((mean - sd)[:n], kind="stable")[:CANDIDATES]
    covariance = evaluated(covariance, range(n, len(mean)), noise)[np.ix_(few, few)]
    return [int(few[i]) for i in allocate(mean[few], covariance, noise, slots, to_the_end)]


def worth(nugget: float) -> float:
    """How much of the largest share of the budget replicates are worth, from 0 to 1."""
    return 0.0 if nugget < LEAST_NUGGET else min(1.0, nugget / FULL_NUGGET)


def evaluated(covariance: FloatArray, rows: Iterable[int], noise: float) -> FloatArray:
    """The covariance after one more evaluation of each of these rows; ``noise`` is a variance."""
    for i in rows:
        step = covariance[:, i] / np.sqrt(covariance[i, i] + noise)
        covariance = covariance - np.outer(step, step)
    return covariance


def expected_loss(gap: FloatArray, variance: FloatArray) -> FloatArray:
    """E[max(D, 0)] of D ~ N(-gap, variance), elementwise; gap >= 0."""
    spread = np.sqrt(np.maximum(variance, 1e-300))
    loss: FloatArray = spread * np.exp(log_h(-gap / spread)[0])
    return loss


def allocate(
    mean: FloatArray, covariance: FloatArray, noise: float, slots: int, to_the_end: bool = False
) -> list[int]:
    """Rows to be evaluated again, at most ``slots``, in the order of choice.

    Fewer where the expected loss is next to nothing already, unless ``to_the_end``. ``noise`` is
    the variance of a single evaluation.
    """
    b = int(np.argmin(mean))
    others = np.arange(len(mean)) != b
    gap = (mean - mean[b])[others]
    chosen: list[int] = []
    for _ in range(slots):
        spread = (np.diagonal(covariance) + covariance[b, b] - 2.0 * covariance[b])[others]
        negligible = expected_loss(gap, spread).sum() <= NEGLIGIBLE * np.sqrt(noise)
        if negligible and not to_the_end:
            break
        # Column i: by how much a replicate of i moves the means, per sd of its surprise.
        steps = covariance / np.sqrt(np.diagonal(covariance) + noise)
        left = spread[:, None] - np.square(steps - steps[b])[others]
        best = int(np.argmin(expected_loss(gap[:, None], left).sum(axis=0)))
        chosen.append(best)
        covariance = evaluated(covariance, [best], noise)
    return chosen
