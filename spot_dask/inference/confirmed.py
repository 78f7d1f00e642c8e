"""What fresh seeds say of a configuration, and of its gain over the default.

Only confirmations enter: trainings under seeds that neither the search nor the choice of the
configuration has seen. Values are in the user's sign.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from spot_dask.inference.transform import bounds
from spot_dask.records import Configuration, History
from spot_dask.stats.intervals import EVERYWHERE, MeanEstimate, mean_interval
from spot_dask.stats.paired import PairedComparison, compare_paired

FEWEST = 3
"""Seeds below which no interval is stated: it would be wider than what it is about."""


@dataclass(frozen=True)
class FreshValues:
    """The values (user's sign) of a configuration under fresh seeds, by number of the seed.

    ``failed`` counts trainings without a result, ``trials`` are the numbers of the others.
    """

    config: Configuration
    seeds: tuple[int, ...]
    values: tuple[float, ...]
    trials: tuple[int, ...]
    failed: int


@dataclass(frozen=True)
class Confirmation:
    """What fresh seeds say of the tuned configuration and, where it has them too, the default.

    ``value`` is the tuned configuration's mean with its intervals, ``default`` the default's.
    ``gain`` compares them on the seeds that both succeeded with, positive where tuned is better;
    None where there are no such pairs, or where tuned is the default itself (``is_default``).
    """

    tuned: FreshValues
    value: MeanEstimate
    default: MeanEstimate | None
    default_values: FreshValues | None
    gain: PairedComparison | None
    is_default: bool

    @property
    def stated(self) -> bool:
        """Whether there are seeds enough for an interval."""
        return self.value.n >= FEWEST


def fresh_values(history: History, config: Configuration, sign: float) -> FreshValues:
    """The confirmations of a configuration; ``sign`` is -1 where the objective is maximised."""
    own = [e for e in history.confirmations if dict(e.trial.config) == dict(config)]
    found = sorted((e for e in own if e.ok), key=lambda e: e.trial.replicate)
    return FreshValues(
        config,
        tuple(e.trial.replicate for e in found),
        tuple(sign * e.y for e in found),
        tuple(e.trial.number for e in found),
        sum(e.failed for e in own),
    )


def confirmation(
    history: History, config: Configuration, default: Configuration, sign: float
) -> Confirmation | None:
    """What fresh seeds say of a configuration; None where none has succeeded with it."""
    tuned, base = (fresh_values(history, c, sign) for c in (config, default))
    if not tuned.values:
        return None
    ends = bounds_of(history, sign)
    is_default = dict(config) == dict(default)
    value = mean_interval(tuned.values, bounds=ends)
    gain = None
    if not is_default:
        pairs = paired(base, tuned)
        if pairs:
            first, second = (sign * np.array(side) for side in zip(*pairs, strict=True))
            gain = compare_paired(first, second)
    known = bool(base.values) and not is_default
    return Confirmation(
        tuned,
        value,
        mean_interval(base.values, bounds=ends) if known else None,
        base if known else None,
        gain,
        is_default,
    )


def paired(first: FreshValues, second: FreshValues) -> list[tuple[float, float]]:
    """The values of two configurations on the seeds that both have succeeded with."""
    a, b = (dict(zip(f.seeds, f.values, strict=True)) for f in (first, second))
    return [(a[seed], b[seed]) for seed in sorted(a.keys() & b.keys())]


def bounds_of(history: History, sign: float) -> tuple[float, float]:
    """What the objective can be, as far as all its values tell: (0, 1), (0, inf) or no bounds.

    The same as for all other statements (``inference.transform.bounds``).
    """
    values = [*(sign * e.y for e in history.ok), *(sign * i.y for i in history.imports)]
    return bounds(np.array(values), sign < 0) if values else EVERYWHERE
