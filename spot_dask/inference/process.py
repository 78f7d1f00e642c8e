"""A Gaussian process for statements: product kernel, pure error, and the seed as a block.

z = mean + f(x) + seed effect + error for n values z, standardised by the caller, with

    cov(f(x), f(x')) = s2 R(x, x'),  var(seed effect) = s2 t,  var(error) = s2 g

======== ============ =================================================================
F        n x e        features; ``member`` (e) names the parameter (0..p-1) of a column
R        n x n        product over parameters of Matern-5/2 of the distance within one
S        n x n        1 where two values share a seed, else 0
theta    p + 2        log length scale of every parameter, log g, log t
C        n x n        R + g I + t S
======== ============ =================================================================

What is predicted is f plus the mean: the objective over the population of seeds. The constant mean
has a flat prior, so densities are those of contrasts (REML) [Patterson & Thompson 1971]; the
process variance is profiled with a weak inverse-gamma prior. Hyperparameters are a sample from
their posterior: importance-weighted draws from its Laplace approximation [Rasmussen & Williams
2006, sec. 3.4; Gelman et al. 2013, ch. 10], so what they do not know is part of every statement.

Draws of functions are made by conditioning random Fourier features [Rahimi & Recht 2007; Wilson et
al. 2020, eq. 12]: a product of Matern kernels has independent Student-t frequencies.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.linalg import LinAlgError, cho_factor, cho_solve, cholesky

from spot_dask.surrogates import FloatArray, IntArray
from spot_dask.surrogates.numerics import blas_threads, descend

LENGTH_BOUNDS = (0.03, 50.0)
NUGGET_BOUNDS = (1e-7, 1e3)
SEED_BOUNDS = (1e-7, 1e2)
NUGGET = (1e-2, 2.5)  # median and log sd of the prior: noise may be next to nothing, or all
SEED = (1e-2, 2.0)
LENGTH_SD = 1.5  # of the log length scale: a parameter may well do nothing
WEIGHT = 0.1  # shape of the inverse-gamma prior on the process variance
SETS = 8  # of hyperparameters
PROPOSED = 32  # sets that these are chosen from
FEATURES = 1024  # of a random function
MANY = 64  # rows among which values of a parameter are looked for that REPEATED rows have
REPEATED = 4
CELLS = 32768  # of a matrix that is computed at once: as many as fit into a processor's cache
WAVES = 64  # rows of random features at a time, for the same reason
STEP = 1e-3  # in theta, of the differences that give the curvature
EVALUATIONS = 80
FAILED = 1e10


@dataclass(frozen=True, eq=False)
class Observed:
    """Features F (n x e), values z (n), seed blocks (n) and the parameter of each column (e)."""

    F: FloatArray
    z: FloatArray
    blocks: IntArray
    member: IntArray

    @property
    def p(self) -> int:
        """Number of parameters."""
        return int(self.member.max(initial=-1)) + 1

    @cached_property
    def together(self) -> FloatArray:
        """S (n x n): 1 where two values share a seed."""
        same: FloatArray = (self.blocks[:, None] == self.blocks[None, :]).astype(np.float64)
        return same

    @cached_property
    def pairs(self) -> tuple[IntArray, IntArray]:
        """The n (n - 1) / 2 pairs of values: indices of the later and of the earlier ones."""
        return np.tril_indices(len(self.z), -1)

    @cached_property
    def distances(self) -> FloatArray:
        """Distances within each parameter, of each pair: p x n (n - 1) / 2."""
        found = [within(self.F, self.F, self.member, g)[self.pairs] for g in range(self.p)]
        return np.array(found).reshape(self.p, len(self.pairs[0]))

    def rows(self, chosen: IntArray) -> Observed:
        """The values with these indices."""
        return Observed(self.F[chosen], self.z[chosen], self.blocks[chosen], self.member)


def within(
    A: FloatArray, B: FloatArray, member: IntArray, g: int, out: FloatArray | None = None
) -> FloatArray:
    """Distances between rows (a x e, b x e -> a x b) in the columns of parameter g.

    They are in ``out``, if that is given, unless the parameter has several columns.
    """
    a, b = A[:, member == g], B[:, member == g]
    if a.shape[1] == 1:
        apart: FloatArray = np.subtract(a, b.T, out=out)
        return np.abs(apart, out=apart)
    square = np.einsum("ij,ij->i", a, a)[:, None] + np.einsum("ij,ij->i", b, b) - 2 * a @ b.T
    root: FloatArray = np.sqrt(np.maximum(square, 0.0))
    return root


def distinct(columns: FloatArray) -> tuple[IntArray, IntArray]:
    """First index of each distinct row (k) of columns (n x c), and which of them each is (n)."""
    one = columns.shape[1] == 1
    rows, axis = (columns[:, 0], None) if one else (columns, 0)
    _, first, place = np.unique(rows, axis=axis, return_index=True, return_inverse=True)
    return first, place.reshape(-1)


def matern(scaled: FloatArray) -> FloatArray:
    """Matern-5/2 at distances in units of the length scale."""
    a = np.sqrt(5.0) * scaled
    value: FloatArray = (1.0 + a + a * a / 3.0) * np.exp(-a)
    return value


@dataclass(frozen=True, eq=False)
class Density:
    """Minus the log posterior density of theta, up to a constant, with its gradient."""

    data: Observed

    def moments(self) -> tuple[FloatArray, FloatArray]:
        """Centre and sd of the prior of theta (p + 2 each)."""
        p = self.data.p
        length = max(0.0, float(np.log(0.4) + 0.25 * np.log(max(p, 1))))
        centre = np.concatenate((np.full(p, length), np.log([NUGGET[0], SEED[0]])))
        return centre, np.concatenate((np.full(p, LENGTH_SD), [NUGGET[1], SEED[1]]))

    def bounds(self) -> tuple[FloatArray, FloatArray]:
        """Least and largest theta (p + 2 each)."""
        sides = zip(LENGTH_BOUNDS, NUGGET_BOUNDS, SEED_BOUNDS, strict=True)
        low, high = (np.log([length] * self.data.p + [g, t]) for length, g, t in sides)
        return low, high

    def __call__(self, theta: FloatArray) -> tuple[float, FloatArray]:
        """Value and gradient (p + 2); FAILED and zeros where C has no Cholesky factor."""
        data, n = self.data, len(self.data.z)
        g, t = np.exp(theta[-2:])
        a, poly, slopes = self._space
        np.multiply(data.distances, (np.sqrt(5.0) / np.exp(theta[:-2]))[:, None], out=a)
        np.multiply(a, 1.0 / 3.0, out=poly)
        poly += 1.0
        poly *= a
        poly += 1.0
        r = np.exp(-a.sum(axis=0)) * np.prod(poly, axis=0)
        C = t * data.together
        C[data.pairs] += r  # the lower half is all that is read
        C.flat[:: n + 1] += 1.0 + g
        try:
            factor = cho_factor(C, lower=True)
        except LinAlgError:
            return FAILED, np.zeros_like(theta)
        inverse = cho_solve(factor, np.eye(n))
        ones = inverse.sum(axis=1)
        total = float(ones.sum())
        residual = data.z - float(ones @ data.z) / total
        alpha = inverse @ residual
        free = n - 1 + 2 * WEIGHT
        s2 = (float(residual @ alpha) + 2 * WEIGHT) / free
        logs = float(np.log(np.diagonal(factor[0])).sum())
        value = 0.5 * free * np.log(s2) + logs + 0.5 * np.log(total)
        W = inverse - np.outer(ones, ones) / total - np.outer(alpha, alpha) / s2
        np.add(a, 1.0, out=slopes)
        slopes *= 1.0 / 3.0
        slopes *= a
        slopes *= a
        slopes /= poly
        gradient = np.concatenate(
            (
                slopes @ (W[data.pairs] * r),
                [0.5 * g * float(np.trace(W)), 0.5 * t * float((W * data.together).sum())],
            )
        )
        centre, sd = self.moments()
        deviation = (theta - centre) / sd
        return float(value + 0.5 * deviation @ deviation), gradient + deviation / sd

    @cached_property
    def _space(self) -> FloatArray:
        """Three arrays like the distances, to compute in: new ones cost more than what is done."""
        return np.empty((3, *self.data.distances.shape))

    def mode(self, start: FloatArray | None = None) -> tuple[FloatArray, float]:
        """The best theta found from ``start``, or else from three starts, and its density.

        From the prior's centre, from much noise, and from a rough function almost without noise:
        where a search has looked at several minima alike, a smooth and noisy function explains
        that too, worse. The best after a third of the evaluations goes on.
        """
        centre, _ = self.moments()
        noisy, rough = centre.copy(), centre.copy()
        noisy[-2] = np.log(1.0)
        rough[:-2] += np.log(0.3)
        rough[-2] = np.log(1e-4)
        low, high = self.bounds()
        if start is None:
            begun = [
                descend(self, np.clip(s, low, high), low, high, EVALUATIONS // 3, 1e-7)
                for s in (centre, noisy, rough)
            ]
            start = min(begun, key=lambda item: item[1])[0]
        return descend(self, np.clip(start, low, high), low, high, EVALUATIONS, 1e-7)

    def sample(self, mode: FloatArray, rng: np.random.Generator, count: int) -> FloatArray:
        """A sample (count x (p + 2)) of the posterior of theta, whose mode is the first of it."""
        low, high = self.bounds()
        base, sd = self(mode)[0], self.moments()[1]
        curvature = np.empty((len(mode), len(mode)))
        for i in range(len(mode)):
            step = np.zeros(len(mode))
            step[i] = STEP
            curvature[i] = (self(mode + step)[1] - self(mode - step)[1]) / (2 * STEP)
        values, vectors = np.linalg.eigh((curvature + curvature.T) / 2)
        # Nowhere flatter than the prior is there something to learn from the data.
        values = np.maximum(values, float(1.0 / np.square(sd).max()) / 4)
        u = rng.standard_normal((PROPOSED, len(mode)))
        proposals = np.clip(mode + u / np.sqrt(values) @ vectors.T, low, high)
        density = np.array([self(theta)[0] for theta in proposals])
        weight = np.exp(np.clip(base - density + 0.5 * (u * u).sum(axis=1), -700, 50))
        weight = np.where(density >= FAILED, 0.0, weight)
        if not weight.sum() > 0:
            return np.tile(mode, (count, 1))
        # No proposal may count for more than an eighth: few of them are all there is.
        weight = np.minimum(weight, 0.25 * weight.sum())
        chosen = rng.choice(PROPOSED, size=count - 1, p=weight / weight.sum())
        return np.vstack([mode, proposals[chosen]])


@dataclass(frozen=True, eq=False)
class Conditioned:
    """The process under one set of hyperparameters, given all the data."""

    data: Observed
    theta: FloatArray

    @cached_property
    def scales(self) -> FloatArray:
        """Length scale of every parameter (p)."""
        return np.exp(self.theta[:-2])

    @property
    def nugget(self) -> float:
        """g: variance of the error as a share of the process variance."""
        return float(np.exp(self.theta[-2]))

    @property
    def seed_share(self) -> float:
        """t: variance of the seed effect as a share of the process variance."""
        return float(np.exp(self.theta[-1]))

    def correlation(self, A: FloatArray, B: FloatArray) -> FloatArray:
        """R between features (a x e, b x e -> a x b), some rows at a time.

        Rows that statistics ask for differ from each other in one parameter or two, as a rule. So
        the factors of parameters that have few values among the rows of A are computed once for
        each value, and together where they change together.
        """
        found = np.empty((len(A), len(B)))
        rest = list(range(self.data.p))
        together: dict[bytes, tuple[IntArray, IntArray, list[int]]] = {}
        for g in range(self.data.p) if len(A) > MANY else ():
            first, place = distinct(A[:, self.data.member == g])
            if REPEATED * len(first) <= len(A):
                together.setdefault(first[place].tobytes(), (first, place, []))[2].append(g)
                rest.remove(g)
        tables = [(self._product(A[first], B, some), place) for first, place, some in
                  together.values()]  # fmt: skip
        step = max(1, CELLS // max(1, len(B)))
        some = np.empty((min(step, len(A)), len(B)))
        for i in range(0, len(A), step):
            part = self._product(A[i : i + step], B, rest)
            for table, place in tables:
                taken = place[i : i + step]
                part *= np.take(table, taken, axis=0, out=some[: len(taken)], mode="clip")
            found[i : i + step] = part
        return found

    def _product(self, A: FloatArray, B: FloatArray, parameters: Sequence[int]) -> FloatArray:
        """Of some parameters, in place and with one exponential: seven times as fast."""
        found, total = np.ones((len(A), len(B))), np.zeros((len(A), len(B)))
        place = np.empty_like(found)
        stretch = np.sqrt(5.0 / 3.0) / self.scales[self.data.member]
        A, B = A * stretch, B * stretch
        for g in parameters:
            # 1 + a + a^2 / 3 = (b + sqrt(3) / 2)^2 + 1 / 4 with b = a / sqrt(3)
            b = within(A, B, self.data.member, g, place)
            total += b
            b += np.sqrt(0.75)
            b *= b
            b += 0.25
            found *= b
        total *= -np.sqrt(3.0)
        found *= np.exp(total, out=total)
        return found

    @cached_property
    def factor(self) -> FloatArray:
        """The lower Cholesky factor of C (n x n)."""
        n = len(self.data.z)
        C = self.correlation(self.data.F, self.data.F) + self.seed_share * self.data.together
        C.flat[:: n + 1] += self.nugget
        for jitter in (0.0, 1e-9, 1e-7, 1e-5):
            try:
                C.flat[:: n + 1] += jitter
                return np.asarray(cholesky(C, lower=True))
            except LinAlgError:
                continue
        raise LinAlgError("the covariance of the evaluations is singular")

    @cached_property
    def inverse(self) -> FloatArray:
        """C^-1 (n x n)."""
        return np.asarray(cho_solve((self.factor, True), np.eye(len(self.data.z))))

    @cached_property
    def _ones(self) -> FloatArray:
        return np.asarray(self.inverse.sum(axis=1))

    @cached_property
    def level(self) -> float:
        """The generalised least squares estimate of the mean."""
        return float(self._ones @ self.data.z) / float(self._ones.sum())

    @cached_property
    def alpha(self) -> FloatArray:
        """C^-1 (z - level) (n): the mean at x is level + R(x, X) alpha."""
        return np.asarray(self.inverse @ (self.data.z - self.level))

    @cached_property
    def s2(self) -> float:
        """The process variance."""
        return self.variance(float((self.data.z - self.level) @ self.alpha), len(self.data.z))

    @staticmethod
    def variance(square: float, n: int) -> float:
        """The process variance from (z - level)' C^-1 (z - level) of n values."""
        return (square + 2 * WEIGHT) / (n - 1 + 2 * WEIGHT)

    def joint(self, F: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Mean (m) and covariance (m x m) of the objective over all seeds at F (m x e)."""
        c = self.correlation(F, self.data.F)
        u = 1.0 - c @ self._ones
        covariance = self.correlation(F, F) - c @ self.inverse @ c.T
        covariance += np.outer(u, u) / self._ones.sum()
        return self.level + c @ self.alpha, self.s2 * covariance

    def moments(self, F: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Mean and variance (m each) at F (m x e)."""
        c = self.correlation(F, self.data.F)
        u = 1.0 - c @ self._ones
        variance = 1.0 - np.einsum("ij,ij->i", c @ self.inverse, c) + u * u / self._ones.sum()
        return self.level + c @ self.alpha, self.s2 * np.maximum(variance, 0.0)

    def contrast(self, F: FloatArray, base: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Mean and variance (m each) of f(F) - f(base), F being m x e and base 1 x e.

        What all rows have in common, as the effect of an only seed, is no part of it.
        """
        c = self.correlation(F, self.data.F) - self.correlation(base, self.data.F)
        u = c @ self._ones
        variance = 2.0 - 2.0 * self.correlation(F, base)[:, 0]
        variance += u * u / self._ones.sum() - np.einsum("ij,ij->i", c @ self.inverse, c)
        return c @ self.alpha, self.s2 * np.maximum(variance, 0.0)

    def leave_one_out(self) -> tuple[FloatArray, FloatArray]:
        """Mean and sd (n each) of every value as the others predict it [Dubrule 1983]."""
        Q = self.inverse - np.outer(self._ones, self._ones) / self._ones.sum()
        q = np.maximum(np.diagonal(Q), 1e-300)
        return self.data.z - (Q @ self.data.z) / q, np.sqrt(self.s2 / q)

    def hold_out(self, held: IntArray) -> tuple[FloatArray, FloatArray]:
        """Mean (k) and covariance (k x k) of the values ``held`` as all others predict them."""
        Q = self.inverse - np.outer(self._ones, self._ones) / self._ones.sum()
        block = np.linalg.pinv(Q[np.ix_(held, held)], hermitian=True)
        return self.data.z[held] - block @ (Q @ self.data.z)[held], self.s2 * block

    def paths(self, count: int, rng: np.random.Generator) -> Callable[[FloatArray], FloatArray]:
        """``count`` draws of the function: features (m x e) to values (count x m)."""
        data, n = self.data, len(self.data.z)
        W = rng.standard_normal((data.F.shape[1], FEATURES))
        stretch = np.sqrt(5.0 / rng.chisquare(5.0, size=(data.p, FEATURES)))
        W *= (stretch / self.scales[:, None])[data.member]
        W /= 2 * np.pi  # turns
        phase = rng.uniform(0, 1, FEATURES)
        weights = rng.standard_normal((FEATURES, count)) * np.sqrt(2.0 / FEATURES)
        single = weights.astype(np.float32)
        all_turns, all_whole = np.empty((2, WAVES, FEATURES))
        all_angles = np.empty((WAVES, FEATURES), dtype=np.float32)

        def wave(F: FloatArray) -> FloatArray:
            # A cosine in single precision takes a twelfth of the time; within half a turn its
            # error is 1e-7, far below the least sd of the error, sqrt(NUGGET_BOUNDS[0]) = 3e-4.
            turns, whole, angles = (part[: len(F)] for part in (all_turns, all_whole, all_angles))
            np.matmul(F, W, out=turns)
            turns += phase
            turns -= np.rint(turns, out=whole)
            turns *= 2 * np.pi
            np.copyto(angles, turns, casting="same_kind")
            return np.asarray(np.cos(angles, out=angles) @ single)

        def prior(F: FloatArray) -> FloatArray:
            return np.vstack([wave(F[i : i + WAVES]) for i in range(0, len(F), WAVES)])

        labels, block = np.unique(data.blocks, return_inverse=True)
        seeds = rng.standard_normal((len(labels), count)) * np.sqrt(self.seed_share)
        error = rng.standard_normal((n, count)) * np.sqrt(self.nugget)
        # The process variance has a scaled inverse chi-squared posterior.
        free = n - 1 + 2 * WEIGHT
        sd = np.sqrt(self.s2 * free / rng.chisquare(free, size=count))
        residual = data.z[:, None] - sd * (prior(data.F) + seeds[block] + error)
        level = (self._ones @ residual) / self._ones.sum()
        solved = self.inverse @ (residual - level)

        def draw(F: FloatArray) -> FloatArray:
            values = level + sd * prior(F) + self.correlation(F, data.F) @ solved
            return np.asarray(values.T)

        return draw


@dataclass(frozen=True, eq=False)
class Process:
    """The process under a sample of hyperparameters, whose first set is their mode."""

    sets: tuple[Conditioned, ...]
    log_density: float

    @property
    def mode(self) -> Conditioned:
        """The process under the most likely hyperparameters."""
        return self.sets[0]

    def mean(self, F: FloatArray) -> FloatArray:
        """Posterior mean (m) at F (m x e)."""
        return np.asarray(np.mean([s.level + s.correlation(F, s.data.F) @ s.alpha
                                   for s in self.sets], axis=0))  # fmt: skip

    def joint(self, F: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Mean (m) and covariance (m x m) of the mixture over hyperparameters at F (m x e)."""
        parts = [s.joint(F) for s in self.sets]
        means = np.array([mean for mean, _ in parts])
        spread = means - means.mean(axis=0)
        covariance = np.mean([cov for _, cov in parts], axis=0) * _inflated(self.mode)
        return means.mean(axis=0), covariance + spread.T @ spread / len(parts)

    def predict(self, F: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Mean and standard deviation (m each) of the mixture at F (m x e)."""
        return self._mixed([s.moments(F) for s in self.sets])

    def contrast(self, F: FloatArray, base: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Mean and standard deviation (m each) of f(F) - f(base), F being m x e, base 1 x e."""
        return self._mixed([s.contrast(F, base) for s in self.sets])

    def _mixed(self, parts: list[tuple[FloatArray, FloatArray]]) -> tuple[FloatArray, FloatArray]:
        """Mean and sd (m each) of a mixture of as many means and variances as there are sets."""
        means = np.array([mean for mean, _ in parts])
        variance = np.mean([v for _, v in parts], axis=0) * _inflated(self.mode)
        return means.mean(axis=0), np.sqrt(variance + means.var(axis=0))

    def leave_one_out(self) -> tuple[FloatArray, FloatArray]:
        """Mean and sd (n each) of every value as the others predict it."""
        parts = [s.leave_one_out() for s in self.sets]
        means = np.array([mean for mean, _ in parts])
        variance = np.mean([sd**2 for _, sd in parts], axis=0) * _inflated(self.mode)
        return means.mean(axis=0), np.sqrt(variance + means.var(axis=0))

    def hold_out(self, held: IntArray) -> tuple[FloatArray, FloatArray]:
        """Mean (k) and covariance (k x k) of the values ``held`` as all others predict them."""
        parts = [s.hold_out(held) for s in self.sets]
        means = np.array([mean for mean, _ in parts])
        spread = means - means.mean(axis=0)
        covariance = np.mean([cov for _, cov in parts], axis=0) * _inflated(self.mode)
        return means.mean(axis=0), covariance + spread.T @ spread / len(parts)

    def paths(self, count: int, rng: np.random.Generator) -> Callable[[FloatArray], FloatArray]:
        """Draws of the function over all sets: features (m x e) to values (count x m)."""
        shares = [len(part) for part in np.array_split(np.arange(count), len(self.sets))]
        draws = [s.paths(k, rng) for s, k in zip(self.sets, shares, strict=True) if k]
        return lambda F: np.vstack([draw(F) for draw in draws])

    @property
    def noise(self) -> tuple[float, float]:
        """Variances of the error and of the seed effect, of the scale of z; posterior medians."""
        found = np.array([(s.s2 * s.nugget, s.s2 * s.seed_share) for s in self.sets])
        error, seed = np.median(found, axis=0)
        return float(error), float(seed)


def _inflated(at: Conditioned) -> float:
    """The variance of Student's t relative to the normal's: s2 is estimated."""
    free = len(at.data.z) - 1 + 2 * WEIGHT
    return free / (free - 2) if free > 4 else 2.0


def fit(
    data: Observed,
    rng: np.random.Generator,
    tuned: IntArray | None = None,
    start: FloatArray | None = None,
    sets: int = SETS,
) -> Process:
    """Fit to z, which should have about mean 0 and sd 1.

    Hyperparameters are estimated from the values ``tuned`` (all unless given), from ``start`` if
    it is given. ``sets`` of them are kept; with one, that is the mode. Raises LinAlgError where the
    covariance is singular.
    """
    density = Density(data if tuned is None else data.rows(tuned))
    with blas_threads(len(data.z)):
        mode, value = density.mode(start)
        chosen = mode[None, :] if sets == 1 else density.sample(mode, rng, sets)
        found = tuple(Conditioned(data, theta) for theta in chosen)
        for conditioned in found:
            _ = conditioned.alpha
    return Process(found, -value)
