"""One run: an optimiser on a problem with q workers on a simulated clock.

Synchronous: q evaluations are asked at once and told when all of them are finished. Asynchronous: a
worker that is free gets its next evaluation at once. What evaluation number k of seed s shows and
how long it takes comes from random numbers of (problem, s, k) only: the same for every optimiser.
"""

from __future__ import annotations

import heapq
import math
from dataclasses import dataclass, field

from benchmarks.optimisers import Attachable, Optimiser, cpu_seconds
from benchmarks.problems import Problem, stream
from spot_dask.records import Configuration


@dataclass(frozen=True)
class Mode:
    """How evaluations are made: q at a time, in step or not, ``budget`` in all."""

    q: int = 8
    sync: bool = True
    budget: int = 64

    def __str__(self) -> str:
        return f"q={self.q} {'sync' if self.sync else 'async'} N={self.budget}"


@dataclass(frozen=True)
class Point:
    """How a run stood after so many evaluations; regrets are normalised.

    ``regret`` is that of the incumbent: picked by the observed values, judged by its true value.
    ``best`` is the lowest of all evaluated; ``recommended`` that of the optimiser's own choice
    (the incumbent's where it makes none), known at the end only.
    """

    evaluations: int
    seconds: float
    cpu: float
    regret: float
    best: float
    failed: int
    distinct: int
    recommended: float = math.nan


@dataclass
class _Progress:
    """What has been seen so far in a run."""

    problem: Problem
    configs: list[Configuration] = field(default_factory=list)
    seen: float = math.inf
    regret: float = 1.0
    best: float = 1.0
    evaluated: int = 0
    failed: int = 0

    def add(self, number: int, y: float) -> None:
        self.evaluated += 1
        if not math.isfinite(y):
            self.failed += 1
            return
        regret = self.true_regret(self.configs[number])
        self.best = min(self.best, regret)
        if y < self.seen:
            self.seen, self.regret = y, regret

    def true_regret(self, config: Configuration) -> float:
        return self.problem.regret(float(self.problem.truth([config])[0]))

    def point(self, seconds: float, cpu: float, recommended: float = math.nan) -> Point:
        space = self.problem.space
        distinct = len(set(space.row_keys(space.encode(self.configs))))
        return Point(
            self.evaluated, seconds, cpu, self.regret, self.best, self.failed, distinct, recommended
        )


def run(optimiser: Optimiser, problem: Problem, mode: Mode, seed: int) -> list[Point]:
    """The run's points: about 16 along the way and the last one, the budget's end."""
    progress = _Progress(problem)
    running: list[tuple[float, int, float]] = []  # end, number, y
    now, cpu = _begin(optimiser, progress, seed), 0.0
    points: list[Point] = []
    step = max(1, mode.budget // 16)
    while progress.evaluated < mode.budget:
        given = len(progress.configs)
        free = mode.q - (given % mode.q if mode.sync else len(running))
        wanted = min(free, mode.budget - given)
        if wanted > 0 and not (mode.sync and running):
            started = cpu_seconds(optimiser)
            asked = optimiser.ask(wanted)
            cpu += cpu_seconds(optimiser) - started
            for config in asked:
                heapq.heappush(running, _evaluation(progress, config, now, seed))
        if not running:
            break  # the space is exhausted
        ended = [heapq.heappop(running) for _ in range(len(running) if mode.sync else 1)]
        now = ended[-1][0]
        for _, number, y in ended:
            progress.add(number, y)
        started = cpu_seconds(optimiser)
        optimiser.tell(sorted((number, y) for _, number, y in ended))
        cpu += cpu_seconds(optimiser) - started
        if progress.evaluated // step > (points[-1].evaluations // step if points else 0):
            points.append(progress.point(now, cpu))
    last = progress.point(now, cpu, _recommended(optimiser, progress))
    return [p for p in points if p.evaluations < last.evaluations] + [last]


def _begin(optimiser: Optimiser, progress: _Progress, seed: int) -> float:
    """When the problem's first configuration has been evaluated, if it has one.

    An optimiser that can learn from what it did not ask for is told; the others cannot use it.
    """
    config = progress.problem.first
    if config is None:
        return 0.0
    end, number, y = _evaluation(progress, config, 0.0, seed)
    progress.add(number, y)
    if isinstance(optimiser, Attachable):
        optimiser.attach([(config, y)])
    return end


def _evaluation(
    progress: _Progress, config: Configuration, now: float, seed: int
) -> tuple[float, int, float]:
    """When an evaluation that starts now ends, its number and its value."""
    number, problem = len(progress.configs), progress.problem
    progress.configs.append(config)
    rng = stream(problem.name, seed, number)
    y = problem.observe(config, rng)
    return now + problem.seconds(config, rng), number, y


def _recommended(optimiser: Optimiser, progress: _Progress) -> float:
    recommend = getattr(optimiser, "recommend", None)
    config = recommend() if recommend is not None else None
    return progress.regret if config is None else progress.true_regret(config)
