"""What ``log_ei_per_second`` is worth: regret at equal seconds of training, beside ``log_ei``.

Problems are those of LCBench's development tasks, whose durations come with the table. A run goes
on until its q slots, each of which takes the next training as soon as it is free, have been busy
for as long as ``--trainings`` of average length take; its regret is that of the best observed value
among those that had ended by then. Runs are paired by problem and seed.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import click
import numpy as np

from benchmarks import csv_rows, score, verification
from benchmarks.problems import Problem, find, matching, stream, uniform
from benchmarks.sets import NETWORKS
from benchmarks.summary import table
from spot_dask.records import Evaluation, History, Outcome, Status
from spot_dask.tuner import Tuner

ARMS = ("log_ei", "log_ei_per_second")
SHARES = (0.5, 1.0)
FEW = 5
_SAMPLES = 512


@dataclass(frozen=True)
class Timed:
    """The regret of a run after so many seconds, a ``share`` of all; ``n`` trainings had ended."""

    problem: str
    arm: str
    trainings: float
    seed: int
    share: float
    regret: float
    n: int


@click.command()
@click.option("--problem", "patterns", multiple=True, help="Default: five development tasks.")
@click.option("--seeds", default=5, show_default=True)
@click.option("--trainings", default=32.0, show_default=True, help="Seconds, in average trainings.")
@click.option("--q", default=4, show_default=True, help="Trainings at a time.")
@click.option("--out", default="runs/benchmarks/per_second.csv", show_default=True, type=Path)
def main(patterns: Sequence[str], seeds: int, trainings: float, q: int, out: Path) -> None:
    """Run what is not in --out yet; print the ratio of regrets with its interval."""
    logging.getLogger("spot_dask").setLevel(logging.CRITICAL)
    names = [n for p in patterns or NETWORKS[:FEW] for n in matching(p)]
    names, _ = verification.apart(names)
    done = {(r.problem, r.arm, r.trainings, r.seed) for r in csv_rows.load(Timed, out)}
    for seed in range(seeds):
        for name in names:
            for arm in ARMS:
                if (name, arm, trainings, seed) not in done:
                    csv_rows.append(out, run(find(name), arm, trainings, seed, q))
    rows = [
        r
        for r in csv_rows.load(Timed, out)
        if r.problem in names and r.trainings == trainings and r.seed < seeds
    ]
    click.echo(summary(rows))


@cache
def average(name: str) -> float:
    """The mean seconds of a training of a random configuration."""
    problem = find(name)
    configs = uniform(problem.space, _SAMPLES, stream(name, "seconds"))
    return float(np.mean([problem.seconds(c, stream(name, "one")) for c in configs]))


def run(problem: Problem, arm: str, trainings: float, seed: int, q: int) -> list[Timed]:
    """A search by an arm, judged after each share of its seconds."""
    tuner = Tuner(problem.space, seed=seed, infill=arm)
    total = trainings * average(problem.name)
    history = History()
    ended: list[tuple[float, Evaluation]] = []
    running: list[tuple[float, Evaluation]] = []
    now = 0.0
    while now * q < total:
        (trial,) = tuner.ask(history)
        history = history.ask([trial])
        draws = stream(problem.name, seed, trial.number)
        y, seconds = problem.observe(trial.config, draws), problem.seconds(trial.config, draws)
        outcome = Outcome(Status.OK, y, {}, {}, now, now + seconds, f"slot {trial.number % q}")
        running.append((now + seconds, Evaluation(trial, outcome)))
        if len(running) == q:  # the next slot to be free takes the next training
            running.sort(key=lambda one: one[0])
            now, evaluation = running.pop(0)
            ended.append((now, evaluation))
            history = history.tell(evaluation)
    rows = []
    for share in SHARES:
        known = [e for moment, e in ended if moment * q <= share * total]
        best = min(known, key=lambda e: e.y, default=None)
        regret = 1.0 if best is None else problem.regret(problem.truth([best.trial.config])[0])
        rows.append(Timed(problem.name, arm, trainings, seed, share, float(regret), len(known)))
    return rows


def summary(rows: Sequence[Timed]) -> str:
    """The ratio of the arm's regrets to log_ei's by share, and how many trainings each had."""
    lines = []
    for share in SHARES:
        regrets: dict[str, dict[str, dict[int, float]]] = {}
        for r in rows:
            if r.share == share:
                regrets.setdefault(r.arm, {}).setdefault(r.problem, {})[r.seed] = r.regret
        if len(regrets) < len(ARMS):
            continue
        base, other = (regrets[arm] for arm in ARMS)
        unit = dict.fromkeys(base, 1.0)  # regrets are in units of a random configuration's
        counts = (np.mean([r.n for r in rows if (r.arm, r.share) == (a, share)]) for a in ARMS)
        worth = [f"{share:g}", str(score.ratio(other, base, unit)), str(score.wins(other, base))]
        lines.append([*worth, *(f"{n:.1f}" for n in counts)])
    pairs = len({(r.problem, r.seed) for r in rows})
    head = ["share of the seconds", "ratio of regrets", "wins", *(f"n of {a}" for a in ARMS)]
    return f"{pairs} pairs of runs\n{table(head, lines)}"


if __name__ == "__main__":
    main()
