"""Several finalists against the default: which of them may be called better?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy.typing as npt

from spot_dask.stats.paired import PairedComparison, compare_paired, holm

FALSE_CLAIMS = 0.025


@dataclass(frozen=True)
class Finalist:
    """The paired comparison of one finalist, with its one-sided t test's p after Holm's adjustment.

    ``better`` is the claim that stands among all of them; it is harder to get than
    ``comparison.better``, which is that of one finalist alone.
    """

    comparison: PairedComparison
    p_holm: float

    @property
    def better(self) -> bool:
        return self.p_holm < FALSE_CLAIMS


def compare_finalists(
    default: npt.ArrayLike, finalists: Sequence[npt.ArrayLike]
) -> tuple[Finalist, ...]:
    """Compare each finalist (n values) with the default (n values) on the same seeds.

    The share of studies in which any claim is false is at most 2.5 % (Holm 1979), however the
    tests depend on each other. With one finalist it is ``compare_paired``.
    """
    found = [compare_paired(default, values) for values in finalists]
    adjusted = holm([comparison.p_t for comparison in found])
    return tuple(Finalist(c, float(p)) for c, p in zip(found, adjusted, strict=True))
