"""How noisy is the objective? Replicate variance, its components, and the model's nugget.

``N`` values of some configurations, each trained more than once; identifiers are integers. The
population is that of seeds (and folds): configurations are fixed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import special

from spot_dask.stats import FloatArray, IntArray
from spot_dask.stats.intervals import Interval, checked

TOLERANCE = 1e-9


@dataclass(frozen=True)
class PureError:
    """The pooled variance within configurations, with df degrees of freedom.

    ``interval`` is the 95 % chi-square interval of the variance, for normal noise of the same
    variance everywhere. Without a replicate, df = 0, the variance is NaN and the interval (0, inf).
    """

    variance: float
    df: int
    interval: Interval

    @property
    def sd(self) -> float:
        return float(np.sqrt(self.variance))

    @property
    def sd_interval(self) -> Interval:
        return Interval(float(np.sqrt(self.interval.low)), float(np.sqrt(self.interval.high)))


def pure_error(values: npt.ArrayLike, configuration: npt.ArrayLike) -> PureError:
    """Pool sum (y - mean of its configuration)^2 over N finite values; df = N - configurations.

    If replicates of several configurations share their seeds, a main effect of the seed makes the
    interval too short: see ``components``.
    """
    y = checked(values)
    groups = _labels(configuration, len(y))
    count = np.bincount(groups)
    deviations = y - (np.bincount(groups, y) / count)[groups]
    df = len(y) - len(count)
    if df == 0:
        return PureError(np.nan, 0, Interval(0.0, np.inf))
    squares = _square(deviations, y)
    low, high = squares / special.chdtri(df, [0.025, 0.975])  # of the upper tail
    return PureError(squares / df, df, Interval(float(low), float(high)))


@dataclass(frozen=True)
class Component:
    """The variance of one random effect, beside the residual's.

    ``variance`` is unbiased before it is cut at 0. ``p`` tests that it is 0. ``share`` is
    variance / (variance + residual), and ``share_interval`` its 95 % interval, exact for normal
    effects and balanced data, and approximate otherwise. Where ``df`` is 0 the data cannot tell
    the effect from others: variance and p are NaN and the interval is (0, 1). ``mean_square`` has
    the expectation residual + weight * variance.
    """

    name: str
    variance: float
    df: int
    p: float
    share: float
    share_interval: Interval
    mean_square: float
    weight: float


@dataclass(frozen=True)
class Components:
    """Random effects such as seed and fold, and the residual with interactions in it.

    The residual's variance is NaN where no degree of freedom is left for it.
    """

    effects: tuple[Component, ...]
    residual: float
    residual_df: int

    @property
    def total(self) -> float:
        """The variance of one value of a configuration on a new seed and fold."""
        return self.residual + sum(effect.variance for effect in self.effects)

    @property
    def total_interval(self) -> Interval:
        """The 95 % interval of ``total``, for normal effects; (0, inf) where it is not known.

        total is a sum of mean squares, sum_i c_i MS_i, and behaves like one with the degrees of
        freedom total^2 / sum_i (c_i MS_i)^2 / df_i (Satterthwaite 1946). Unlike that of
        ``pure_error`` it holds where configurations share seeds: of 2 configurations on the same 5
        seeds it covers .96, .97, .93 where the seed's share is 0, .5, .9; the other .95, .93, .86.
        """
        if not np.isfinite(self.total):
            return Interval(0.0, np.inf)
        parts = [(e.mean_square / e.weight, e.df) for e in self.effects if e.variance > 0]
        rest = 1 - sum(1 / e.weight for e in self.effects if e.variance > 0)
        parts.append((rest * self.residual, self.residual_df))
        squares = sum(part**2 / df for part, df in parts)
        if squares == 0:
            return Interval(0.0, 0.0)
        df = self.total**2 / squares
        low, high = df * self.total / special.chdtri(df, [0.025, 0.975])
        return Interval(float(low), float(high))

    @property
    def total_sd_interval(self) -> Interval:
        """The same of the standard deviation."""
        found = self.total_interval
        return Interval(float(np.sqrt(found.low)), float(np.sqrt(found.high)))


def components(
    values: npt.ArrayLike, configuration: npt.ArrayLike, **effects: npt.ArrayLike
) -> Components:
    """Variance components of y = configuration + seed + fold + residual, crossed, unbalanced.

    ``components(y, configuration, seed=..., fold=...)`` with N identifiers each. By the method of
    fitting constants (Henderson 1953, method 3): the reduction of the sum of squares by an effect,
    adjusted for all the others, has the expectation variance * trace(Z' M Z) + residual * df, with
    Z the effect's indicators and M the projection that removes the others. It is tested by the
    exact F test of Wald (Seely and El-Bassiouni 1983).
    """
    y = checked(values)
    fixed = _indicators(configuration, len(y))
    random = {name: _indicators(labels, len(y)) for name, labels in effects.items()}
    everything = _basis(np.hstack([fixed, *random.values()]))
    residual_df = len(y) - everything.shape[1]
    rest = y - everything @ (everything.T @ y)
    residual = _square(rest, y) / residual_df if residual_df else np.nan
    found = []
    for name, Z in random.items():
        others = _basis(np.hstack([fixed, *_without(random, name)]))
        adjusted = Z - others @ (others.T @ Z)
        own = _basis(adjusted)
        squares = _square(own.T @ y, y)
        weight = float(np.sum(adjusted**2))
        found.append(_component(name, squares, weight, own.shape[1], residual, residual_df))
    return Components(tuple(found), residual, residual_df)


def _component(
    name: str, squares: float, weight: float, df: int, residual: float, residual_df: int
) -> Component:
    if not df or not residual_df:
        return Component(name, np.nan, df, np.nan, np.nan, Interval(0.0, 1.0), np.nan, np.nan)
    variance = max(0.0, (squares - df * residual) / weight)
    if residual == 0:  # no ratio: all of the noise is the effect's, or there is none
        p, share = (0.0, 1.0) if variance > 0 else (1.0, 0.0)
        return Component(
            name, variance, df, p, share, Interval(share, share), squares / df, weight / df
        )
    F, scale = squares / df / residual, weight / df
    # (1 + scale * ratio) * F(df, residual_df) is how F is distributed for balanced data.
    ratios = (F / special.fdtri(df, residual_df, [0.975, 0.025]) - 1) / scale
    low, high = np.maximum(ratios, 0.0) / (1 + np.maximum(ratios, 0.0))
    return Component(
        name,
        variance,
        df,
        float(special.fdtrc(df, residual_df, F)),
        variance / (variance + residual),
        Interval(float(low), float(high)),
        squares / df,
        scale,
    )


@dataclass(frozen=True)
class NuggetCheck:
    """The ratio of the model's nugget to the noise variance of replicates, with 95 % interval.

    ``agrees`` unless the ratio is outside [1/2, 2] and its interval excludes 1.
    """

    ratio: float
    interval: Interval
    agrees: bool


def check_nugget(nugget: float, error: PureError, nugget_df: float = np.inf) -> NuggetCheck:
    """Compare the nugget (a variance >= 0 in units of the values) with the pure error.

    The ratio divided by its truth has the F distribution with nugget_df and error.df degrees of
    freedom, if the nugget behaves like a mean square; infinitely many take it as given. Without
    replicates, or without any noise in them and in the model, nothing disagrees.
    """
    if error.df == 0 or (nugget == 0 and error.variance == 0):
        return NuggetCheck(np.nan, Interval(0.0, np.inf), True)
    if error.variance == 0:
        return NuggetCheck(np.inf, Interval(np.inf, np.inf), False)
    ratio = nugget / error.variance
    dfn = min(nugget_df, 1e9)
    low, high = ratio / special.fdtri(dfn, error.df, [0.975, 0.025])
    agrees = 0.5 <= ratio <= 2 or low <= 1 <= high
    return NuggetCheck(ratio, Interval(float(low), float(high)), bool(agrees))


@dataclass(frozen=True)
class ConfigurationEffect:
    """The test that all configurations that were trained several times have the same mean.

    F has ``df`` (configurations - 1) and ``residual_df`` degrees of freedom. ``paired`` tells
    whether what a seed does to all configurations was removed. p is NaN where it cannot be told.
    """

    F: float
    df: int
    residual_df: float
    p: float
    paired: bool


def configuration_effect(
    values: npt.ArrayLike, configuration: npt.ArrayLike, seed: npt.ArrayLike
) -> ConfigurationEffect:
    """Test N values of k >= 2 configurations, two of each at least; ValueError otherwise.

    Where configurations share seeds, the F test of configurations adjusted for seeds, whose p for
    two on the same seeds is that of the paired t test. Else Welch's (1951), which allows each
    configuration a variance of its own, and whose p for two is that of Welch's t test.
    """
    y = checked(values)
    groups, seeds = _labels(configuration, len(y)), _labels(seed, len(y))
    count = np.bincount(groups)
    if len(count) < 2 or count.min() < 2:
        raise ValueError(f"got groups of {count.tolist()} values: expected two of two at least")
    if len(np.unique(np.stack([groups, seeds]), axis=1).T) > seeds.max() + 1:
        return _within_seeds(y, groups, seeds)
    return _welch(y, groups)


def _within_seeds(y: FloatArray, groups: IntArray, seeds: IntArray) -> ConfigurationEffect:
    """Squares that configurations explain beyond seeds, against what neither explains."""
    shared = _indicators(seeds, len(y))
    reduced, full = _basis(shared), _basis(np.hstack([shared, _indicators(groups, len(y))]))
    df, residual_df = full.shape[1] - reduced.shape[1], len(y) - full.shape[1]
    if not df or not residual_df:
        return ConfigurationEffect(np.nan, df, residual_df, np.nan, True)
    residual = y - full @ (full.T @ y)
    squares = _square(full.T @ y, y) - _square(reduced.T @ y, y)
    squares = squares if squares > 1e-12 * float(y @ y) else 0.0
    noise = _square(residual, y) / residual_df
    if noise == 0:
        F = np.inf if squares else 0.0
        return ConfigurationEffect(F, df, residual_df, float(not squares), True)
    F = squares / df / noise
    return ConfigurationEffect(F, df, residual_df, float(special.fdtrc(df, residual_df, F)), True)


def _welch(y: FloatArray, groups: IntArray) -> ConfigurationEffect:
    parts = [y[groups == g] for g in range(groups.max() + 1)]
    k, n = len(parts), np.array([len(part) for part in parts])
    means, variances = (np.array([f(part) for part in parts]) for f in (np.mean, _variance))
    if not variances.any():
        same = bool(np.ptp(means) <= 1e-12 * np.abs(means).max())
        return ConfigurationEffect(0.0 if same else np.inf, k - 1, len(y) - k, float(same), False)
    if not variances.all():  # a configuration without noise has an infinite weight
        return ConfigurationEffect(np.nan, k - 1, np.nan, np.nan, False)
    weights = n / variances
    mean = float(weights @ means / weights.sum())
    spare = float(np.sum((1 - weights / weights.sum()) ** 2 / (n - 1)))
    F = float(weights @ (means - mean) ** 2) / (k - 1)
    F /= 1 + 2 * (k - 2) / (k**2 - 1) * spare
    residual_df = (k**2 - 1) / (3 * spare)
    return ConfigurationEffect(
        F, k - 1, residual_df, float(special.fdtrc(k - 1, residual_df, F)), False
    )


def _variance(values: FloatArray) -> float:
    deviations = values - values.mean()
    return _square(deviations, values) / (len(values) - 1)


def _labels(identifiers: npt.ArrayLike, n: int) -> npt.NDArray[np.intp]:
    """Identifiers (n) as 0, 1, ...; ValueError if they are not n."""
    found = np.asarray(identifiers)
    if found.shape != (n,):
        raise ValueError(f"got {found.shape} identifiers of {n} values: expected one each")
    return np.unique(found, return_inverse=True)[1]


def _square(part: FloatArray, y: FloatArray) -> float:
    """The sum of squares of a part of y; 0 where it is rounding."""
    found = float(part @ part)
    return found if found > 1e-26 * float(y @ y) else 0.0


def _indicators(identifiers: npt.ArrayLike, n: int) -> FloatArray:
    labels = _labels(identifiers, n)
    return np.asarray(labels[:, None] == np.arange(labels.max() + 1), dtype=np.float64)


def _without(random: Mapping[str, FloatArray], name: str) -> list[FloatArray]:
    return [other for key, other in random.items() if key != name]


def _basis(columns: FloatArray) -> FloatArray:
    """An orthonormal basis of the space that the columns (N x p) span: N x rank."""
    U, s, _ = np.linalg.svd(columns, full_matrices=False)
    return np.asarray(U[:, s > TOLERANCE * max(1.0, float(s.max(initial=0.0)))])
