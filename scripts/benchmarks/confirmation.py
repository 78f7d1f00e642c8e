"""What confirmation and replicates cost: the true value of the recommendation at equal budgets.

Each arm is the tuner with other settings. With confirmation its search ends earlier, by what fresh
seeds of tuned and default take; replicates at the end of the search take the place of new
configurations. Runs are paired by problem and seed: evaluation k of a seed has the same noise in
every arm.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path

import click
import numpy as np

from benchmarks import csv_rows, score
from benchmarks.noisy import REPEATS, sizes
from benchmarks.problems import Problem, find, matching, stream
from benchmarks.summary import table
from spot_dask.records import Configuration, History, Origin
from spot_dask.stats.intervals import mean_interval
from spot_dask.tuner import Tuner, replication


@dataclass(frozen=True)
class Arm:
    """Settings of the tuner: whether a run is confirmed, and its share of replicates.

    ``gaps``: the whole share is due, and only the gaps of the best against the noise end it; else
    the noise decides how much of the share is due.
    """

    confirm: bool
    replication: float
    gaps: bool = False


ARMS: Mapping[str, Arm] = {
    "unconfirmed": Arm(False, 0.08),
    "confirmed": Arm(True, 0.08),
    "no replicates": Arm(True, 0.0),
    "0.15": Arm(True, 0.15),
    "0.08 by gaps": Arm(True, 0.08, gaps=True),
    "0.15 by gaps": Arm(True, 0.15, gaps=True),
}
_PROBLEMS = ["classic/*-n0.1", "classic/*-n0.3", "mixed/*", "crash/[onc]*"]
_QUICK = ["classic/branin-n0.3", "mixed/grid", "classic/hartmann3-n0.1"]


@dataclass(frozen=True)
class Result:
    """How a run ended: regret of the recommendation, normalised and not clipped.

    ``evaluated`` is the regret of the best configuration that was evaluated, ``correct`` whether
    that was recommended; ``replicates`` counts those at the end of the search.
    """

    problem: str
    arm: str
    budget: int
    seed: int
    regret: float
    evaluated: float
    correct: int
    replicates: int
    searched: int


@click.command()
@click.option("--quick", is_flag=True, help="Three problems, two seeds, 25 evaluations.")
@click.option("--arm", "arms", multiple=True, help=f"Default: all, {', '.join(ARMS)}.")
@click.option("--problem", "patterns", multiple=True, help="Default: all that can fail to repeat.")
@click.option("--seeds", default=5, show_default=True)
@click.option("--budget", default=40, show_default=True, help="Evaluations, confirmation included.")
@click.option("--q", default=4, show_default=True, help="Trials asked together.")
@click.option("--out", default="runs/benchmarks/confirmation.csv", show_default=True, type=Path)
def main(
    quick: bool,
    arms: Sequence[str],
    patterns: Sequence[str],
    seeds: int,
    budget: int,
    q: int,
    out: Path,
) -> None:
    """Run what is not in --out yet; print true values of the recommendations side by side."""
    logging.getLogger("spot_dask").setLevel(logging.CRITICAL)
    names = [n for p in patterns or (_QUICK if quick else _PROBLEMS) for n in matching(p)]
    seeds, budget = (2, 25) if quick else (seeds, budget)
    labels = list(arms or ARMS)
    done = {(r.problem, r.arm, r.budget, r.seed) for r in csv_rows.load(Result, out)}
    for seed in range(seeds):
        for name in names:
            for label in labels:
                if (name, label, budget, seed) not in done:
                    csv_rows.append(out, [run(find(name), label, budget, seed, q)])
    wanted = [
        r
        for r in csv_rows.load(Result, out)
        if r.problem in names and r.arm in labels and r.budget == budget and r.seed < seeds
    ]
    click.echo(summary(wanted))


def run(problem: Problem, label: str, budget: int, seed: int, q: int) -> Result:
    """A search with an arm's settings, and what its recommendation is worth."""
    arm = ARMS[label]
    n = sizes(budget)[0] if arm.confirm else budget
    tuner = Tuner(
        problem.space,
        seed=seed,
        budget=n,
        repeats=REPEATS,
        replication=arm.replication,
        confirm=0.0,
    )
    if arm.gaps:
        tuner = GapTuner(**{f.name: getattr(tuner, f.name) for f in fields(tuner)})
    history = searched(tuner, problem, n, seed, q, opening(problem.name, n, seed, q))
    best = tuner.recommend(history, tuner.model(history))
    chosen = problem.space.default if best is None else best.config
    known = {_key(e.trial.config): e.trial.config for e in history.ok}
    regrets = {key: _regret(problem, config) for key, config in known.items()}
    mine = _regret(problem, chosen)
    least = min(regrets.values(), default=mine)
    planned = tuner.design.size(problem.space) + REPEATS
    late = sum(
        e.trial.origin is Origin.REPLICATE and e.trial.number >= planned
        for e in history.evaluations
    )
    return Result(problem.name, label, budget, seed, mine, least, int(mine <= least), late, n)


@dataclass(frozen=True)
class GapTuner(Tuner):
    """The tuner with its whole share of replicates due, as long as the gaps leave doubt.

    ``replication.allocate`` ends them where the expected loss of the choice is next to nothing.
    """

    def _due(self, history: History, model: object, q: int) -> int:
        if self.budget is None or not isinstance(
            getattr(model, "posterior", None), replication.Noisy
        ):
            return 0
        share = round(self.replication * self.budget)
        return min(q, max(0, history.asked + q - self.budget + share))


@cache
def opening(name: str, n: int, seed: int, q: int) -> History:
    """What a search of n trials begins with in every arm: until replicates can be due."""
    problem, most = find(name), max(arm.replication for arm in ARMS.values())
    tuner = Tuner(problem.space, seed=seed, budget=n, repeats=REPEATS, replication=0.0)
    batches = int((n - round(most * n)) // q)
    return searched(tuner, problem, q * batches, seed, q)


def searched(
    tuner: Tuner, problem: Problem, n: int, seed: int, q: int, history: History | None = None
) -> History:
    """The history after n trials, q at a time, from a history on."""
    history = History() if history is None else history
    while history.asked < n:
        trials = tuner.ask(history, min(q, n - history.asked))
        if not trials:
            break  # the space is exhausted
        history = history.ask(trials)
        for trial in trials:
            y = problem.observe(trial.config, stream(problem.name, seed, trial.number))
            history = history.tell(trial.result(y))
    return history


def _key(config: Configuration) -> tuple[tuple[str, object], ...]:
    return tuple(config.items())


def _regret(problem: Problem, config: Configuration) -> float:
    value = float(problem.truth([config])[0])
    return max((value - problem.optimum) / problem.spread, 0.0)


def summary(results: Sequence[Result]) -> str:
    """Every arm against each baseline: unconfirmed for the cost, no replicates for the benefit."""
    parts = [_rows(results)]
    for baseline in ("unconfirmed", "confirmed", "no replicates"):
        if any(r.arm == baseline for r in results):
            parts.append(_against(results, baseline))
    return "\n\n".join(parts)


def _rows(results: Sequence[Result]) -> str:
    rows = []
    for label in ARMS:
        mine = [r for r in results if r.arm == label]
        if mine:
            correct = float(np.mean([r.correct for r in mine]))
            error = float(np.sqrt(correct * (1 - correct) / len(mine)))
            rows.append(
                [
                    label,
                    f"{len({r.problem for r in mine})} x {len({r.seed for r in mine})}",
                    f"{np.mean([r.searched for r in mine]):.0f}",
                    f"{np.mean([r.replicates for r in mine]):.1f}",
                    f"{np.mean([r.regret for r in mine]):.4f}",
                    f"{np.mean([r.evaluated for r in mine]):.4f}",
                    f"{100 * correct:.0f} +- {100 * error:.0f} %",
                ]
            )
    head = ["arm", "problems x seeds", "search", "late replicates", "regret", "best evaluated"]
    return table([*head, "best of them chosen"], rows)


def _against(results: Sequence[Result], baseline: str) -> str:
    base = _by_run(results, baseline)
    unit = dict.fromkeys(base, 1.0)
    rows = []
    for label in ARMS:
        mine = _by_run(results, label)
        if mine and label != baseline:
            kept = score.ratio(mine, base, unit)
            rows.append([label, str(kept), _difference(mine, base), str(score.wins(mine, base))])
    return table([f"against {baseline}", "regret ratio", "difference in spreads", "wins"], rows)


def _difference(mine: score.Regrets, base: score.Regrets) -> str:
    """Mean difference of regrets with its 95 % t interval over problems."""
    pairs = {p: mine[p].keys() & base[p].keys() for p in mine.keys() & base.keys()}
    found = mean_interval(
        [np.mean([mine[p][s] - base[p][s] for s in seeds]) for p, seeds in pairs.items() if seeds]
    )
    return f"{found.mean:+.3f} [{found.t.low:+.3f}, {found.t.high:+.3f}]"


def _by_run(results: Sequence[Result], label: str) -> dict[str, dict[int, float]]:
    found: dict[str, dict[int, float]] = {}
    for r in results:
        if r.arm == label:
            found.setdefault(r.problem, {})[r.seed] = r.regret
    return found


if __name__ == "__main__":
    main()
