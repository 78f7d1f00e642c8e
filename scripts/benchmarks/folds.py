"""What it is worth to end hopeless configurations after their first folds, at equal trainings.

Three arms search with the same number of trainings: ``all`` trains every configuration on all five
folds (``stop=False``), which is the baseline; ``stop`` is the default; ``one`` trains each once, on
the same hold-out set of a fifth. Each is judged by the true value of what it recommends.

On formulas a value is the truth, what is hard about the fold for all configurations alike (a
standard deviation of half the spread of random configurations) and noise (a tenth of it). On
``svc`` a support vector machine is trained on folds of 250 of scikit-learn's digits; its truth is
the error on the other 1547, trained on all 250. Runs are paired by problem and seed.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import click
import numpy as np
from sklearn.datasets import load_digits
from sklearn.svm import SVC

from benchmarks import csv_rows, score
from benchmarks.problems import Problem, find, stream
from benchmarks.summary import table
from spot_dask import Categorical, Real, Space
from spot_dask.records import Configuration, FoldPlan, History, Trial
from spot_dask.tasks.data import Arrays
from spot_dask.tasks.splits import Folds
from spot_dask.tuner import Tuner

ARMS = {"all": FoldPlan(5, stop=False), "stop": FoldPlan(5), "one": FoldPlan()}
FORMULAS = ("classic/branin", "classic/hartmann6", "mixed/layers", "mixed/pipeline")
SVC_NAME = "svc"
HARD, NOISE = 0.5, 0.1
KNOWN = 250
OPTIMUM, MEDIAN = 0.02, 0.81
"""Of the true errors: below the best of 300 random configurations (.0226), and their median."""


@dataclass(frozen=True)
class FoldedRun:
    """The normalised regret of a run's recommendation; ``configurations`` were begun in it."""

    problem: str
    arm: str
    trainings: int
    seed: int
    regret: float
    configurations: int


@click.command()
@click.option("--problem", "problems", multiple=True, help="Default: all five.")
@click.option("--seeds", default=10, show_default=True)
@click.option("--trainings", default=80, show_default=True)
@click.option("--q", default=4, show_default=True, help="Trainings at a time.")
@click.option("--out", default="runs/benchmarks/folds.csv", show_default=True, type=Path)
def main(problems: Sequence[str], seeds: int, trainings: int, q: int, out: Path) -> None:
    """Run what is not in --out yet; print the ratio of regrets to those of all folds always."""
    logging.getLogger("spot_dask").setLevel(logging.CRITICAL)
    names = problems or (*FORMULAS, SVC_NAME)
    done = {(r.problem, r.arm, r.trainings, r.seed) for r in csv_rows.load(FoldedRun, out)}
    for seed in range(seeds):
        for name in names:
            for arm in ARMS:
                if (name, arm, trainings, seed) not in done:
                    csv_rows.append(out, [run(name, arm, trainings, seed, q)])
    rows = csv_rows.load(FoldedRun, out)
    known = [r for r in rows if r.problem in names and r.trainings == trainings and r.seed < seeds]
    click.echo(summary(known))


def run(name: str, arm: str, trainings: int, seed: int, q: int) -> FoldedRun:
    """A search by an arm in batches of q, and the regret of what it recommends."""
    problem, observe = of(name)
    tuner = Tuner(
        problem.space, seed=seed, infill="log_ei", budget=trainings, folds=ARMS[arm], replication=0
    )
    history = History()
    while history.asked < trainings:
        history = history.ask(tuner.ask(history, min(q, trainings - history.asked)))
        for trial in history.pending:
            history = history.tell(trial.result(observe(trial, seed)))
    best = tuner.recommend(history, tuner.model(history))
    regret = 1.0 if best is None else problem.regret(float(problem.truth([best.config])[0]))
    begun = sum(e.trial.replicate == 0 for e in history.evaluations)
    return FoldedRun(name, arm, trainings, seed, regret, begun)


@cache
def of(name: str) -> tuple[Problem, Callable[[Trial, int], float]]:
    """A problem and what a trial of it shows, for a seed."""
    if name == SVC_NAME:
        return svc()
    problem = find(name)

    def observe(trial: Trial, seed: int) -> float:
        own = "one" if trial.partition is None else f"{trial.partition}"  # the same for all trials
        hard = stream(name, "hard", seed, own, trial.fold).standard_normal()
        noise = stream(name, "noise", seed, trial.number).standard_normal()
        truth = float(problem.truth([trial.config])[0])
        return truth + problem.spread * (HARD * hard + NOISE * noise)

    return problem, observe


def svc() -> tuple[Problem, Callable[[Trial, int], float]]:
    """A support vector machine on digits: its error, which all folds of a seed are part of."""
    X, y = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(y))
    (X, y), (others, theirs) = ((X[o], y[o]) for o in (order[:KNOWN], order[KNOWN:]))
    data, folds = Arrays(X, y), Folds(5)
    space = Space(
        C=Real(1e-3, 1e3, scale="log", default=1e-2),
        gamma=Real(1e-7, 1e-1, scale="log", default=1e-6),
        kernel=Categorical(["rbf", "poly", "sigmoid"]),
        coef0=Real(0.0, 2.0, default=0.0).when(kernel=["poly", "sigmoid"]),
    )

    def error(
        config: Configuration, train: tuple[object, object], held: tuple[object, object]
    ) -> float:
        model = SVC(**config, max_iter=20_000).fit(*train)
        return 1.0 - float(model.score(*held))

    def truth(configs: Sequence[Configuration]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        return np.array([error(c, (X, y), (others, theirs)) for c in configs])

    def observe(trial: Trial, seed: int) -> float:
        partition = seed if trial.partition is None else trial.partition
        train, held = folds.places(data, partition, trial.fold)
        return error(trial.config, (X[train], y[train]), (X[held], y[held]))

    problem = Problem(SVC_NAME, space, truth, lambda c, rng: float("nan"), OPTIMUM, median=MEDIAN)
    return problem, observe


def summary(rows: Sequence[FoldedRun]) -> str:
    """The ratio of each arm's regrets to those of all folds, and the configurations it began."""
    regrets: dict[str, dict[str, dict[int, float]]] = {}
    for r in rows:
        regrets.setdefault(r.arm, {}).setdefault(r.problem, {})[r.seed] = r.regret
    lines = []
    for arm, own in regrets.items():
        unit = dict.fromkeys(own, 1.0)  # regrets are in units of a random configuration's
        begun = np.mean([r.configurations for r in rows if r.arm == arm])
        mean = np.mean([value for each in own.values() for value in each.values()])
        worth = [str(score.ratio(own, regrets["all"], unit)), str(score.wins(own, regrets["all"]))]
        lines.append([arm, *worth, f"{mean:.4f}", f"{begun:.1f}"])
    pairs = len({(r.problem, r.seed) for r in rows})
    head = ["arm", "ratio of regrets to all", "wins", "mean regret", "configurations"]
    return f"{pairs} pairs of runs\n{table(head, lines)}"


if __name__ == "__main__":
    main()
