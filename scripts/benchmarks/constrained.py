"""Outcome constraints: the regret of the best feasible configuration, beside two other ways.

Arms are the tuner with its constraints, random search, and the tuner that takes a training which
breaks a constraint for one that failed. All see the same first batches. Problems have known optima:

=========== ====================================================================================
gardner1    min cos 2x cos y + sin x, cos x cos y - sin x sin y <= 0.5 [Gardner et al. 2014, 1]
tight       the same under a limit of -0.8, which moves the optimum
gardner2    min sin x + y, sin x sin y <= -0.95 [Gardner et al. 2014, 2]: a small feasible region
branin      Branin's function in a disc that holds one of its minima [Gelbart et al. 2014]
speed       a network's loss, under a limit of its latency in ms and one of its size: both grow with
            width and depth, as does what it can learn; 4 parameters, noise in the latency
=========== ====================================================================================

Regret is (true value - optimum) / (median of feasible uniform samples - optimum), at most 1, and 1
where the recommendation is not feasible, by the true values of its metrics.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import click
import numpy as np

from benchmarks import csv_rows, score
from benchmarks.problems import stream, uniform
from benchmarks.summary import table
from spot_dask import Integer, Real, Space
from spot_dask.constraints import Limits, parsed
from spot_dask.records import Evaluation, Failure, History, Outcome, Status
from spot_dask.tuner import Tuner

ARMS = ("constraints", "random", "as failures")
AFTER = (16, 24, 40)
_SAMPLES = 200_000


@dataclass(frozen=True)
class LimitedProblem:
    """A problem: a configuration's true metrics, ``loss`` among them, and the limits of others.

    ``noise`` is the relative noise of an evaluation's metrics, by name.
    """

    space: Space
    truth: Callable[[Mapping[str, Any]], dict[str, float]]
    limits: Limits
    noise: Mapping[str, float]

    def feasible(self, metrics: Mapping[str, float]) -> bool:
        """Whether metrics fulfil all limits."""
        return all(c.holds(metrics[c.metric]) for c in parsed(self.limits))


def _gardner1(c: Mapping[str, Any]) -> dict[str, float]:
    x, y = c["x"], c["y"]
    return {
        "loss": math.cos(2 * x) * math.cos(y) + math.sin(x),
        "c": math.cos(x) * math.cos(y) - math.sin(x) * math.sin(y),
    }


def _gardner2(c: Mapping[str, Any]) -> dict[str, float]:
    return {"loss": math.sin(c["x"]) + c["y"], "c": math.sin(c["x"]) * math.sin(c["y"])}


def _branin(c: Mapping[str, Any]) -> dict[str, float]:
    x, y = c["x"], c["y"]
    curve = y - 5.1 / (4 * math.pi**2) * x**2 + 5 / math.pi * x - 6
    loss = curve**2 + 10 * (1 - 1 / (8 * math.pi)) * math.cos(x) + 10
    return {"loss": loss, "disc": (x - 2.5) ** 2 + (y - 7.5) ** 2}


def _speed(c: Mapping[str, Any]) -> dict[str, float]:
    width, depth, lr, drop = (float(c[n]) for n in ("width", "depth", "lr", "dropout"))
    size = width * width * depth / 1e3
    learnt = 0.6 / (1 + 0.35 * math.log2(width / 8) * math.sqrt(depth))
    away = (math.log10(lr) + 2.5 - 0.15 * depth) ** 2
    spoilt = 0.08 * (drop - 0.1 - 0.04 * math.log2(width / 8)) ** 2
    return {
        "loss": learnt + 0.05 * away + spoilt,
        "latency_ms": 0.3 + 0.9 * depth * (width / 64) ** 1.2,
        "size": size,
    }


_BOX = Space(x=Real(0.0, 6.0, default=3.0), y=Real(0.0, 6.0, default=3.0))
PROBLEMS: Mapping[str, LimitedProblem] = {
    "gardner1": LimitedProblem(_BOX, _gardner1, {"c": "<= 0.5"}, {}),
    "tight": LimitedProblem(_BOX, _gardner1, {"c": "<= -0.8"}, {}),
    "gardner2": LimitedProblem(_BOX, _gardner2, {"c": "<= -0.95"}, {}),
    "branin": LimitedProblem(
        Space(x=Real(-5.0, 10.0, default=-5.0), y=Real(0.0, 15.0, default=0.0)),
        _branin,
        {"disc": "<= 50"},
        {},
    ),
    "speed": LimitedProblem(
        Space(
            width=Integer(8, 512, scale="log", default=256),
            depth=Integer(1, 8, default=4),
            lr=Real(1e-4, 1.0, scale="log", default=1e-2),
            dropout=Real(0.0, 0.6, default=0.2),
        ),
        _speed,
        {"latency_ms": "<= 4", "size": "<= 25"},
        {"latency_ms": 0.03},
    ),
}


@dataclass(frozen=True)
class Outcomes:
    """The regret of a run's recommendation ``after`` so many evaluations; ``feasible`` counts the
    evaluations whose true metrics fulfil the limits."""

    problem: str
    arm: str
    seed: int
    after: int
    regret: float
    feasible: int


@click.command()
@click.option("--problem", "names", multiple=True, help=f"Default: all, {', '.join(PROBLEMS)}.")
@click.option("--seeds", default=8, show_default=True)
@click.option("--q", default=4, show_default=True, help="Trials asked together.")
@click.option("--out", default="runs/benchmarks/constrained.csv", show_default=True, type=Path)
def main(names: Sequence[str], seeds: int, q: int, out: Path) -> None:
    """Run what is not in --out yet; print ratios of feasible regret with their intervals."""
    logging.getLogger("spot_dask").setLevel(logging.CRITICAL)
    names = names or list(PROBLEMS)
    done = {(r.problem, r.arm, r.seed) for r in csv_rows.load(Outcomes, out)}
    for seed in range(seeds):
        for name in names:
            for arm in ARMS:
                if (name, arm, seed) not in done:
                    csv_rows.append(out, run(name, arm, seed, q))
    rows = [r for r in csv_rows.load(Outcomes, out) if r.problem in names and r.seed < seeds]
    click.echo(summary(rows))


@cache
def scale(name: str) -> tuple[float, float]:
    """The optimum under the limits and the median of feasible uniform samples.

    The optimum is the best of many samples and of ever smaller steps from the best ones.
    """
    problem, rng = PROBLEMS[name], stream(name, "optimum")
    space = problem.space

    def losses(rows: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        found = [problem.truth(c) for c in space.decode(rows)]
        return np.array([m["loss"] if problem.feasible(m) else math.inf for m in found])

    rows = space.snap(rng.random((_SAMPLES // 10, space.d)))
    values = losses(rows)
    median = float(np.median(values[np.isfinite(values)]))
    for radius in 0.2 * 0.7 ** np.arange(30):
        best = rows[np.argsort(values)[:20]]
        near = np.repeat(best, 30, axis=0)
        near = space.snap(np.clip(near + radius * rng.standard_normal(near.shape), 0.0, 1.0))
        rows, values = np.vstack((best, near)), np.append(losses(best), losses(near))
    return float(values.min()), median


def run(name: str, arm: str, seed: int, q: int) -> list[Outcomes]:
    """A search by an arm, judged after each number of evaluations."""
    problem = PROBLEMS[name]
    (default,) = uniform(problem.space, 1, stream(name, "default"))
    space = problem.space.modify(**{n: {"default": v} for n, v in default.items()})
    limits = {} if arm == "as failures" else problem.limits
    search = "random" if arm == "random" else "spot"
    tuner = Tuner(space, seed=seed, search=search, constraints=limits, repeats=2, budget=max(AFTER))
    history, rows = History(), list[Outcomes]()
    optimum, median = scale(name)
    while history.asked < max(AFTER):
        trials = tuner.ask(history, q)
        history = history.ask(trials)
        for trial in trials:
            history = history.tell(_evaluated(problem, arm, trial, name, seed))
        if history.asked in AFTER:
            best = tuner.recommend(history, tuner.model(history))
            known = [problem.truth(e.trial.config) for e in history.evaluations]
            regret = 1.0
            if best is not None:
                metrics = problem.truth(best.config)
                if problem.feasible(metrics):
                    regret = (metrics["loss"] - optimum) / (median - optimum)
            fine = sum(map(problem.feasible, known))
            rows.append(Outcomes(name, arm, seed, history.asked, min(max(regret, 0.0), 1.0), fine))
    return rows


def _evaluated(problem: LimitedProblem, arm: str, trial: Any, name: str, seed: int) -> Evaluation:
    """What an evaluation shows; the same noise for every arm."""
    rng, config = stream(name, seed, trial.number), trial.config
    metrics = {
        k: v * (1 + problem.noise.get(k, 0.0) * float(rng.standard_normal()))
        for k, v in problem.truth(config).items()
    }
    if arm == "as failures" and not problem.feasible(metrics):
        return Evaluation(trial, Outcome(Status.FAILED, error=Failure("Broken", "a limit")))
    return Evaluation(trial, Outcome(Status.OK, metrics["loss"], metrics))


def summary(rows: Sequence[Outcomes]) -> str:
    """The ratio of the constrained tuner's feasible regret to the others', over all and each."""
    lines = []
    names = sorted({r.problem for r in rows})
    for part in ([*names], *([n] for n in names)):
        for after in AFTER:
            regrets: dict[str, dict[str, dict[int, float]]] = {}
            for r in rows:
                if r.after == after and r.problem in part:
                    regrets.setdefault(r.arm, {}).setdefault(r.problem, {})[r.seed] = r.regret
            if len(regrets) < len(ARMS):
                continue
            mine, unit = regrets[ARMS[0]], dict.fromkeys(part, 1.0)
            ratios = [str(score.ratio(mine, regrets[a], unit)) for a in ARMS[1:]]
            means = [
                f"{np.mean([v for p in regrets[a].values() for v in p.values()]):.3f}" for a in ARMS
            ]
            fine = [
                np.mean([r.feasible for r in rows
                         if (r.arm, r.after) == (a, after) and r.problem in part])
                for a in ARMS
            ]  # fmt: skip
            label = "all" if len(part) > 1 else part[0]
            lines.append([label, str(after), *ratios, *means, *(f"{n:.0f}" for n in fine)])
    head = [
        "problem", "after", *(f"ratio to {a}" for a in ARMS[1:]),
        *(f"regret: {a}" for a in ARMS), *(f"feasible: {a}" for a in ARMS),
    ]  # fmt: skip
    return table(head, lines)


if __name__ == "__main__":
    main()
