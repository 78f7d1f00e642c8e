"""The share of the slots' time that is spent training.

Durations are lognormal; the bound is list scheduling: the same trainings in the same order, each
started at once on the slot that is free first. Simulated runs charge the CPU time that proposals
really take. On real Dask workers trainings sleep, and note themselves when they begin and end, so
that everyone is measured alike; the time from a slot becoming free to the next training's first
line is seen there, too.
"""

from __future__ import annotations

import os
import tempfile
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import click
import numpy as np

from benchmarks import Unavailable
from benchmarks.memory import MemoryStore
from benchmarks.simulated import Fate, SimulatedExecutor
from benchmarks.sleeping import CONTENDERS, Note, cluster, duration, notes
from benchmarks.summary import table
from spot_dask import Budget, FunctionTask, Real, Space, Study
from spot_dask.coordinator import Policy
from spot_dask.coordinator.state import Coordinator
from spot_dask.fold import Fold
from spot_dask.records import Header, History, Outcome, Stage, Status, Trial
from spot_dask.session import Session
from spot_dask.tuner import Tuner

SPACE = Space({f"x{j}": Real(0.0, 1.0, default=0.5) for j in range(5)})
HEADER = Header("utilisation", "utilisation", 0.0, {}, "", "loss", "min")


@dataclass(frozen=True)
class Use:
    """Share of slot time spent training, its bound, CPU of the coordinator and of proposals.

    ``cpu`` and ``proposals`` are seconds per trial; ``core`` is the part of a core that both take.
    """

    share: float
    bound: float
    cpu: float
    proposals: float
    core: float


class Clocked:
    """A tuner whose CPU seconds are counted."""

    def __init__(self, tuner: Tuner) -> None:
        self._tuner = tuner
        self.constraints = tuner.constraints
        self.seconds = 0.0

    def ask(self, history: History, q: int, stage: Stage | None = None) -> tuple[Trial, ...]:
        began = time.process_time()
        trials = self._tuner.ask(history, q, stage)
        self.seconds += time.process_time() - began
        return trials


def bound(seconds: Sequence[float], slots: int) -> float:
    """The share of list scheduling."""
    ends = np.zeros(slots)
    for one in seconds:
        ends[ends.argmin()] += one
    return float(sum(seconds) / (slots * ends.max()))


def simulate(slots: int, trials: int, sigma: float, mean: float, *, sync: bool) -> Use:
    """A whole run on so many workers of one slot, in virtual time."""

    def training(trial: Trial, attempt: int) -> Fate:
        x = np.array(list(trial.config.values()), dtype=float)
        y = float(((x - 0.3) ** 2).sum() + 0.05 * np.random.default_rng(trial.number).normal())
        return Fate(Outcome(Status.OK, y), duration(trial.number, sigma, mean))

    study = Study(SPACE, FunctionTask(_never), budget=Budget(evaluations=trials), seed=1)
    tuner = Clocked(study.tuner)
    executor = SimulatedExecutor(training, slots, deferred=None, beat=60.0)
    policy = Policy(evaluations=trials, sync=sync)
    coordinator = Coordinator(policy, Fold(), 0.0)
    session = Session(coordinator, tuner, executor, MemoryStore(HEADER))  # type: ignore[arg-type]
    began = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        session.run()
    cpu = time.process_time() - began
    ended = coordinator.history.evaluations
    makespan = max(e.outcome.finished for e in ended)
    share = sum(e.outcome.seconds for e in ended) / (slots * makespan)
    best = bound([duration(n, sigma, mean) for n in range(trials)], slots)
    rest = (cpu - tuner.seconds) / trials
    return Use(share, best, rest, tuner.seconds / trials, cpu / makespan)


def _never(config: object) -> float:
    raise AssertionError("simulated, never trained")


@dataclass(frozen=True)
class Gaps:
    """What trainings on real workers noted: share, bound, and seconds between trainings."""

    share: float
    bound: float
    p50: float
    p99: float


def measure(found: Sequence[Note], slots: int) -> Gaps:
    """From the first line of the first training to the last line of the last one."""
    begun = min(note.began for note in found)
    makespan = max(note.ended for note in found) - begun
    share = sum(note.seconds for note in found) / (slots * makespan)
    gaps: list[float] = []
    for place in {note.place for note in found}:
        there = sorted((n for n in found if n.place == place), key=lambda note: note.began)
        gaps += [b.began - a.ended for a, b in pairwise(there)]
    best = bound([note.seconds for note in sorted(found, key=lambda n: n.began)], slots)
    p50, p99 = np.quantile(gaps, [0.5, 0.99])
    return Gaps(share, best, float(p50), float(p99))


@click.command(context_settings={"show_default": True})
@click.option("--sigma", "sigmas", multiple=True, type=float, default=(0.3, 0.5, 1.0))
@click.option("--workers", multiple=True, type=click.IntRange(1), default=(8, 64, 1000))
@click.option("--each", default=10, help="Simulated trainings per worker (at 1,000: --wide).")
@click.option("--wide", default=3, help="Simulated trainings per worker from 1,000 workers on.")
@click.option("--mean", default=600.0, help="Median seconds of a simulated training.")
@click.option("--real/--no-real", default=True, help="On 8 slots of real Dask workers, too.")
@click.option("--trials", default=80, help="Real trainings of each contender.")
@click.option("--seconds", default=2.0, help="Median seconds of a real training.")
@click.option("--contender", "names", multiple=True, type=click.Choice(list(CONTENDERS)))
def main(
    sigmas: Sequence[float],
    workers: Sequence[int],
    each: int,
    wide: int,
    mean: float,
    real: bool,
    trials: int,
    seconds: float,
    names: Sequence[str],
) -> None:
    """Measure how busy slots are kept; ratios are to list scheduling and to --sync."""
    rows: list[list[str]] = []
    for slots in workers:
        for sigma in sigmas:
            count = slots * (wide if slots >= 1000 else each)
            uses = {s: simulate(slots, count, sigma, mean, sync=s) for s in (True, False)}
            rows += [_simulated_row(slots, sigma, uses[s], uses[True], s) for s in uses]
    head = ["workers", "sigma", "mode", "share", "/ bound", "/ sync", "coordinator ms",
            "proposals ms", "% of a core"]  # fmt: skip
    if rows:
        click.echo(f"simulated, {mean:g} s a training; CPU per trial\n" + table(head, rows))
    if real:
        _show_real(names or list(CONTENDERS), sigmas, trials, seconds)


def _simulated_row(slots: int, sigma: float, use: Use, base: Use, sync: bool) -> list[str]:
    return [
        f"{slots:,}",
        f"{sigma:g}",
        "sync" if sync else "async",
        f"{use.share:.3f}",
        f"{use.share / use.bound:.3f}",
        f"{use.share / base.share:.2f}",
        f"{1e3 * use.cpu:.2f}",
        f"{1e3 * use.proposals:.1f}",
        f"{100 * use.core:.1f}",
    ]


def _show_real(names: Sequence[str], sigmas: Sequence[float], trials: int, median: float) -> None:
    rows: list[list[str]] = []
    with tempfile.TemporaryDirectory() as scratch, cluster(Path(scratch)) as address:
        for sigma in sigmas:
            base: float | None = None
            for name in names:
                place = Path(scratch) / f"{name}-{sigma}".replace(" ", "-")
                place.mkdir()
                began = time.process_time()
                try:
                    CONTENDERS[name](address, place, trials, sigma, median)
                except Unavailable as error:
                    click.echo(f"left out: {error}", err=True)
                    continue
                cpu = (time.process_time() - began) / trials
                gaps = measure(notes(place), 8)
                base = base or gaps.share / gaps.bound
                ratio = gaps.share / gaps.bound
                rows.append(
                    [name, f"{sigma:g}", f"{gaps.share:.3f}", f"{ratio:.3f}", f"{ratio / base:.2f}"]
                    + [f"{1e3 * value:.0f}" for value in (gaps.p50, gaps.p99, cpu)]
                )
    head = ["8 real slots", "sigma", "share", "/ bound", "/ first", "free to first line p50 ms"]
    head += ["p99 ms", "driver CPU ms"]
    load = os.getloadavg()[0]
    click.echo(f"\n{trials} trainings of about {median:g} s; load {load:.1f} at the end")
    click.echo(table(head, rows))


if __name__ == "__main__":
    main()
