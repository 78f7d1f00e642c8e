"""Stored runs of the search beside those of its peers: ratios, ranks and the problems lost.

All comparisons are paired: of a problem they take the seeds that both, or all, have run. The unit
of regret is the mean regret of random search on the problem after 64 evaluations.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks import problems, score
from benchmarks.score import Interval
from benchmarks.stored import MARKS, Published, Scale, StoredRun, on_shared_seeds, regrets
from benchmarks.summary import REFERENCE
from spot_dask.stats.intervals import mean_interval

OURS = "averaged_ei"
"""The label of the default search in ``verification.csv``."""

NAMES = {
    "averaged_ei": "spot-dask", "spot": "spot-dask", "log_ei": "spot-dask, log_ei",
    "optuna_gp": "Optuna GPSampler", "optuna_tpe": "Optuna TPE", "botorch": "BoTorch qLogNEI",
    "ax": "Ax", "smac": "SMAC3", "hebo": "HEBO", "random": "random search",
}  # fmt: skip
PEERS = ("optuna_gp", "optuna_tpe", "botorch", "ax", "smac", "hebo")


@dataclass(frozen=True)
class Lost:
    """A problem on which the mean regret is above the peer's, in units of random search's."""

    problem: str
    kind: str
    ours: float
    theirs: float
    pairs: int


@dataclass(frozen=True)
class Compared:
    """Our regret beside a peer's on problems of one kind, "all" for every kind.

    ``ratio`` is below 1 where ours is lower; collapses are runs that end above half of random
    search's mean regret.
    """

    peer: str
    kind: str
    problems: int
    pairs: int
    halfway: Interval
    ratio: Interval
    wins: Interval
    collapses: tuple[int, int]
    lost: Sequence[Lost]

    @property
    def behind(self) -> bool:
        return self.ratio.value > 1


def compared(found: Sequence[StoredRun], peer: str, kind: str = "all") -> Compared | None:
    """Beside one peer on problems of a kind; None where there is no pair of runs.

    Problems that random search has not run are left out: they have no unit.
    """
    mine = [run for run in found if kind in ("all", run.kind)]
    unit = unit_of(mine)
    mine = [run for run in mine if run.problem in unit]
    both = on_shared_seeds({label: regrets(mine, label) for label in (OURS, peer)})
    ours, theirs = both[OURS], both[peer]
    if not ours:
        return None
    half = on_shared_seeds({label: regrets(mine, label, MARKS[3]) for label in (OURS, peer)})
    kinds = {run.problem: run.kind for run in mine}
    means = [
        Lost(p, kinds[p], _mean(ours[p]) / unit[p], _mean(theirs[p]) / unit[p], len(ours[p]))
        for p in ours
    ]
    return Compared(
        peer,
        kind,
        len(ours),
        sum(map(len, ours.values())),
        score.ratio(half[OURS], half[peer], unit),
        score.ratio(ours, theirs, unit),
        score.wins(ours, theirs),
        (score.collapses(ours, unit)[0], score.collapses(theirs, unit)[0]),
        sorted(
            (m for m in means if m.ours > m.theirs and m.ours > score.FLOOR),
            key=lambda m: m.theirs / m.ours,
        ),
    )


def by_kind(found: Sequence[StoredRun], peer: str) -> list[Compared]:
    """Beside one peer: all problems, then each kind; one row where all are of one kind."""
    kinds = [compared(found, peer, kind) for kind in problems.KINDS]
    rows = [row for row in kinds if row is not None]
    whole = compared(found, peer)
    return [whole, *rows] if whole is not None and len(rows) > 1 else rows


def peers_of(found: Sequence[StoredRun]) -> list[str]:
    """The peers that have run, in their order."""
    there = {run.optimiser for run in found}
    return [peer for peer in PEERS if peer in there]


def cpu_per_batch(found: Sequence[StoredRun], label: str) -> float:
    """Mean CPU seconds of proposals per 8 evaluations; NaN without a run."""
    mine = [run.cpu for run in found if run.optimiser == label]
    return sum(mine) / len(mine) * 8 / MARKS[-1] if mine else math.nan


def mean_ranks(found: Sequence[StoredRun], labels: Sequence[str]) -> tuple[dict[str, float], int]:
    """Mean rank of each by mean regret, over the problems and seeds that all have run; how many
    problems these are."""
    shared = on_shared_seeds({label: regrets(found, label) for label in labels})
    return score.ranks(shared), len(next(iter(shared.values()), {}))


@dataclass(frozen=True)
class Course:
    """How the regret of one optimiser fell: ``rel`` (see ``score``) after each of ``MARKS``."""

    label: str
    rel: Sequence[float]
    problems: int
    runs: int


def courses(found: Sequence[StoredRun], labels: Sequence[str]) -> list[Course]:
    """Over the problems and seeds that all of them have run."""
    unit = unit_of(found)
    at = [on_shared_seeds({label: regrets(found, label, m) for label in labels}) for m in MARKS]
    return [
        Course(
            label,
            [score.relative(shared[label], unit).value for shared in at],
            len(at[-1][label]),
            sum(map(len, at[-1][label].values())),
        )
        for label in labels
        if at[-1][label]
    ]


def unit_of(found: Sequence[StoredRun]) -> dict[str, float]:
    """Mean regret of random search at the end, by problem."""
    random = regrets(found, REFERENCE)
    return {p: max(_mean(by_seed), 1e-9) for p, by_seed in random.items()}


@dataclass(frozen=True)
class Trained:
    """What runs of a problem with failures came to: best values and failures of 64, with 95 %
    intervals of their means; ``course`` is the mean best value after each of ``MARKS``."""

    name: str
    best: Interval
    failed: Interval
    course: Sequence[float]
    runs: int
    published: bool = False

    @property
    def title(self) -> str:
        return f"published: {self.name}" if self.published else self.name


def trained(found: Sequence[StoredRun], q: int, scale: Scale) -> list[Trained]:
    """Of each optimiser with batches of q, the best first."""
    rows = []
    for label in sorted({run.optimiser for run in found if run.q == q}):
        mine = [run for run in found if run.optimiser == label and run.q == q]
        rows.append(
            Trained(
                NAMES.get(label, label),
                mean([scale.value(run.r64) for run in mine]),
                mean([run.failed for run in mine]),
                [float(np.mean([scale.value(run.regret(m)) for run in mine])) for m in MARKS],
                len(mine),
            )
        )
    return sorted(rows, key=lambda row: row.best.value)


def trained_elsewhere(rows: Sequence[Published]) -> list[Trained]:
    """What published runs came to, method by method, the best first."""
    methods = sorted({row.method for row in rows})
    found = []
    for method in methods:
        at = [[r for r in rows if r.method == method and r.evaluations == m] for m in MARKS]
        found.append(
            Trained(
                method,
                mean([row.best for row in at[-1]]),
                mean([row.failed for row in at[-1]]),
                [float(np.mean([row.best for row in some])) for some in at],
                len(at[-1]),
                published=True,
            )
        )
    return sorted(found, key=lambda row: row.best.value)


def mean(values: Sequence[float]) -> Interval:
    """The mean with its t interval; of one value without ends."""
    found = mean_interval(values)
    return Interval(found.mean, found.t.low, found.t.high)


def _mean(by_seed: Mapping[int, float]) -> float:
    return float(np.mean(list(by_seed.values())))
