"""Sequential elimination: variants run seed by seed, and those that are clearly behind drop out.

After each seed the variant with the lowest relative regret leads. Another is dropped as soon as its
ratio to the leader is above 1 with a one-sided bootstrap bound of 90 %, over problems, then seeds.
The looks are many and the leader is chosen, so a variant may be dropped by bad luck somewhat more
often than 10 % say; what is left at the end is to be confirmed on problems of verification.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from benchmarks import score
from benchmarks.score import Interval, Regrets

LEVEL = 0.9


@dataclass(frozen=True)
class Dropped:
    """A variant that lost after so many seeds, its ratio to the leader then, and who led."""

    label: str
    seeds: int
    ratio: Interval
    leader: str

    def __str__(self) -> str:
        bound = f"{self.ratio.value:.3f}, above {self.ratio.low:.3f}"
        return f"after {self.seeds} seeds: {self.label} dropped ({bound} of {self.leader}'s regret)"


def losers(
    regrets: Mapping[str, Regrets], unit: Mapping[str, float], seeds: int, level: float = LEVEL
) -> list[Dropped]:
    """Which variants are to be dropped, by the problems that all have run; never the leader."""
    shared = set(unit).intersection(*regrets.values())
    if len(regrets) < 2 or not shared:
        return []
    regrets = {label: {p: found[p] for p in shared} for label, found in regrets.items()}
    leader = min(regrets, key=lambda label: score.relative(regrets[label], unit).value)
    found = []
    for label in regrets:
        # The lower end of a two-sided interval of 2 level - 1 is the one-sided bound.
        ratio = score.ratio(regrets[label], regrets[leader], unit, level=2 * level - 1)
        if label != leader and ratio.low > 1.0:
            found.append(Dropped(label, seeds, ratio, leader))
    return found


def race(
    labels: Sequence[str],
    seeds: range,
    advance: Callable[[Sequence[str], range], tuple[Mapping[str, Regrets], Mapping[str, float]]],
    tell: Callable[[str], object],
) -> list[str]:
    """The labels that are left after all seeds, in order.

    ``advance(labels, seeds)`` runs those seeds of those variants, where they are missing, and gives
    all regrets and the unit of regret. ``tell`` is given a line for each that is dropped.
    """
    left = list(labels)
    for done in range(1, len(seeds) + 1):
        regrets, unit = advance(left, seeds[:done])
        for label in [label for label in left if not regrets[label]]:
            left.remove(label)
            tell(f"after {done} seeds: {label} dropped (it has no result)")
        for dropped in losers({label: regrets[label] for label in left}, unit, done):
            left.remove(dropped.label)
            tell(str(dropped))
        if len(left) == 1:
            tell(f"after {done} seeds: only {left[0]} is left")
            break
    return left
