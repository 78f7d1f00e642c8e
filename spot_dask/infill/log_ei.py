"""Log expected improvement [Jones, Schonlau & Welch 1998; Ament et al. 2023].

EI(x) = E[max(best - f(x), 0)] = sd h(u), u = (best - mean) / sd, h(u) = phi(u) + u Phi(u), for the
noise-free objective f. ``best`` is the lowest posterior mean at what is known: with noise the
lowest value was mostly lucky. In logarithms nothing underflows, so that there is a slope to climb
everywhere.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from scipy.special import erfcx, log_ndtr

from spot_dask.infill import Request
from spot_dask.infill.optimise import Search, greedy
from spot_dask.surrogates import FloatArray, Posterior

LOG_SQRT_2PI = 0.5 * float(np.log(2.0 * np.pi))
SQRT_HALF_PI = float(np.sqrt(0.5 * np.pi))


@dataclass(frozen=True)
class LogEI:
    """A batch by log expected improvement, believing in pending points and batch mates."""

    search: Search = field(default_factory=Search)

    def propose(
        self, posterior: Posterior, request: Request, rng: np.random.Generator
    ) -> FloatArray:
        """At most q new, distinct, snapped rows (<= q x d); fewer only if no more exist."""
        return greedy(log_expected_improvement, posterior, request, rng, self.search)


def log_expected_improvement(
    mean: FloatArray, sd: FloatArray, best: FloatArray | float
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """log EI elementwise, sd > 0, and its derivatives with respect to mean and sd."""
    u = (best - mean) / sd
    value, slope = log_h(u)
    return np.log(sd) + value, -slope / sd, (1.0 - slope * u) / sd


def log_h(u: FloatArray) -> tuple[FloatArray, FloatArray]:
    """log h(u) for h(u) = phi(u) + u Phi(u), and its derivative Phi(u) / h(u).

    With t = -u and Mills' ratio M(t) = Phi(-t) / phi(t): h(u) = phi(u) (1 - t M(t)).

    ======================= ===================================== ==========================
    range of u              1 - t M(t)                            relative error of h(u)
    ======================= ===================================== ==========================
    u > -1                  h(u) itself, no cancellation          1e-15
    -50 < u <= -1           M(t) = sqrt(pi/2) erfcx(t / sqrt 2)   below 1e-12, growing as t^2
    u <= -50                asymptotic series in 1 / t^2          below 1e-13
    ======================= ===================================== ==========================
    """
    u = np.asarray(u, dtype=np.float64)
    value, slope = np.empty_like(u), np.empty_like(u)
    for part, branch in (
        (u > -1.0, _near),
        ((u > -50.0) & (u <= -1.0), _middle),
        (~(u > -50.0), _far),
    ):
        if part.any():
            value[part], slope[part] = branch(u[part])
    return value, slope


def _near(u: FloatArray) -> tuple[FloatArray, FloatArray]:
    Phi = np.exp(log_ndtr(u))
    h = np.exp(-0.5 * u * u - LOG_SQRT_2PI) + u * Phi
    return np.log(h), Phi / h


def _middle(u: FloatArray) -> tuple[FloatArray, FloatArray]:
    mills = SQRT_HALF_PI * erfcx(-u / np.sqrt(2.0))
    rest = 1.0 + u * mills
    return -0.5 * u * u - LOG_SQRT_2PI + np.log(rest), mills / rest


def _far(u: FloatArray) -> tuple[FloatArray, FloatArray]:
    """By M(t) = (1/t) (1 - 1/t^2 + 3/t^4 - 15/t^6 + 105/t^8 - ...)."""
    s = 1.0 / (u * u)
    rest = s * (1.0 - s * (3.0 - s * (15.0 - s * (105.0 - 945.0 * s))))
    value = -0.5 * u * u - LOG_SQRT_2PI + np.log(rest)
    return value, (1.0 - rest) / (-u * rest)
