"""How true importances are that come from what a search evaluated, beside Optuna's.

The tuner searches functions whose Sobol indices can be computed; after n evaluations, and e more
that fill the space, the report's importances are computed as it does: near the best, and in the
whole space, where its gate decides whether they are shown. *Covered* is the share of parameters
whose 95 % interval of the total index holds the truth, in the same region and on the same scale.
Optuna's fANOVA and PED-ANOVA see the same evaluations. They state first-order importances without
an interval; errors are therefore those of first-order indices as shares of their sum, the truth's
likewise, whether shown or not (mean over parameters).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import click
import numpy as np
import numpy.typing as npt

from benchmarks.optimisers import require
from benchmarks.peers import OptunaStudy
from benchmarks.problems import Problem, find, matching, stream
from benchmarks.summary import table
from spot_dask.inference import Inference, evidence, infer
from spot_dask.inference.gate import filling_check
from spot_dask.inference.near import near_optimal, too_rough
from spot_dask.records import History, Stage
from spot_dask.report.sections.importance import (
    NEAR_LEVEL,
    RegionImportance,
    Share,
    region_importance,
)
from spot_dask.stats import Snap
from spot_dask.stats.sensitivity import sobol_posterior
from spot_dask.tuner import Tuner

FloatArray = npt.NDArray[np.float64]
TRUTH = 2048  # base points
TINY = 1e-9  # the least value of a function on a logarithmic scale
ROUNDING = 0.005  # shares are shown in per cent


@dataclass(frozen=True)
class Judged:
    """Importances of one run after ``n`` evaluations of the search and ``explored`` others.

    Coverage of total indices and widths of intervals, NaN where they are not shown; errors of
    first-order shares of the report, fANOVA and PED-ANOVA.
    """

    problem: str
    seed: int
    n: int
    explored: int
    near_shown: bool
    near: float
    near_width: float
    shown: bool
    whole: float
    whole_width: float
    if_shown: float
    error: float
    fanova: float
    pedanova: float


@click.command()
@click.option("--seeds", default=5, show_default=True)
@click.option("--problem", "patterns", multiple=True, help="Default: all with known indices.")
@click.option("--n", "sizes", multiple=True, type=int, help="Default: 40 and 80.")
@click.option("--explored", multiple=True, type=int, help="Default: 0 and 32.")
def main(
    seeds: int, patterns: Sequence[str], sizes: Sequence[int], explored: Sequence[int]
) -> None:
    """Print coverage and errors by problem, number of evaluations and explored ones."""
    names = [name for p in patterns or ["sensitivity/*"] for name in matching(p)]
    found: list[Judged] = []
    for seed in range(seeds):
        for name in names:
            for history in histories(find(name), seed, sizes or (40, 80), explored or (0, 32)):
                found.append(judged(find(name), seed, history))
                click.echo(f"{found[-1]}", err=True)
    click.echo(summary(found))


def histories(
    problem: Problem, seed: int, sizes: Sequence[int], explored: Sequence[int]
) -> Iterator[History]:
    """A search after each number of evaluations, with each number of explored ones added."""
    tuner, history = Tuner(problem.space, seed=seed), History()
    for n in sorted(sizes):
        while history.asked < n:
            history = _told(problem, seed, history, tuner, None)
        for more in sorted(explored):
            known = history
            while known.asked < n + more:
                known = _told(problem, seed, known, tuner, Stage("explore"))
            yield known


def _told(
    problem: Problem, seed: int, history: History, tuner: Tuner, stage: Stage | None
) -> History:
    (trial,) = tuner.ask(history, 1, stage)
    y = problem.observe(trial.config, stream(problem.name, seed, trial.number))
    return history.ask([trial]).tell(trial.result(y))


def judged(problem: Problem, seed: int, history: History) -> Judged:
    """What the report and Optuna say after a history, against the truth."""
    model = infer(evidence(problem.space, history, 1.0), 1.0)
    assert model is not None
    snap = problem.space.snap
    near = near_optimal(model, np.random.default_rng(0))

    def inside(raw: FloatArray) -> FloatArray:
        return snap(near.box(raw))

    local, whole = region_importance(model, inside, NEAR_LEVEL), region_importance(model, snap)
    near_shown = not too_rough(model, near.box)
    shown = not filling_check(model).failure
    _, local_total = truth(problem, inside, model)
    first, total = truth(problem, snap, model)
    raw_first, _ = truth(problem, snap, None)
    names = list(problem.space.free)
    near_covered = _covered([s for _, s in _by_name(local, names)], local_total)
    stated = _by_name(whole, names)
    if_shown = _covered([s for _, s in stated], total)
    explored = sum(e.trial.origin.value == "explore" for e in history.evaluations)
    peers = optuna_importances(problem, history, seed)
    return Judged(
        problem=problem.name.rpartition("/")[2],
        seed=seed,
        n=history.asked - explored,
        explored=explored,
        near_shown=near_shown,
        near=near_covered if near_shown else np.nan,
        near_width=_width(local) if near_shown else np.nan,
        shown=shown,
        whole=if_shown if shown else np.nan,
        whole_width=_width(whole) if shown else np.nan,
        if_shown=if_shown,
        error=_error(np.array([s.value for s, _ in stated]), first),
        fanova=_error(peers[0], raw_first),
        pedanova=_error(peers[1], raw_first),
    )


def truth(problem: Problem, snap: Snap, model: Inference | None) -> tuple[FloatArray, FloatArray]:
    """First and total indices (d each) where ``snap`` puts raw rows, on the model's scale."""

    def path(rows: FloatArray) -> FloatArray:
        values = problem.truth(problem.space.decode(rows))
        if model is not None and model.transform.name != "identity":
            values = model.transform.forward(np.maximum(values, TINY))
        return values[None]

    found = sobol_posterior(path, snap, problem.space.d, np.random.default_rng(0), TRUTH)
    return found.first.value, found.total.value


def optuna_importances(problem: Problem, history: History, seed: int) -> list[FloatArray]:
    """Importances (d) of fANOVA and of PED-ANOVA from the evaluations of a history."""
    optuna: Any = require("optuna", "optuna")
    sampler = optuna.samplers.RandomSampler(seed=seed)
    study = OptunaStudy(optuna, problem.space, sampler)
    study.attach([(e.trial.config, e.y) for e in history.ok])
    kinds = optuna.importance
    found = []
    for evaluator in (
        kinds.FanovaImportanceEvaluator(seed=seed), kinds.PedAnovaImportanceEvaluator()
    ):  # fmt: skip
        shares = kinds.get_param_importances(study.study, evaluator=evaluator)
        found.append(np.array([shares.get(name, 0.0) for name in problem.space.free]))
    return found


def _by_name(found: RegionImportance, names: Sequence[str]) -> list[tuple[Share, Share]]:
    """First and total indices in the order of the names."""
    named = {p.name: p for p in found.parameters}
    return [(named[name].first, named[name].total) for name in names]


def _covered(shares: Sequence[Share], true: FloatArray) -> float:
    pairs = zip(shares, true, strict=True)
    return float(np.mean([s.low - ROUNDING <= t <= s.high + ROUNDING for s, t in pairs]))


def _width(found: RegionImportance) -> float:
    return float(np.mean([p.total.high - p.total.low for p in found.parameters]))


def _error(values: FloatArray, true: FloatArray) -> float:
    """Mean absolute error of shares of the sum."""
    values, true = (v / max(1e-12, float(v.sum())) for v in (values, np.maximum(true, 0.0)))
    return float(np.mean(np.abs(values - true)))


def summary(found: Sequence[Judged]) -> str:
    """By problem, number of evaluations and of explored ones; last, over all problems."""
    rows = []
    cells = sorted({(j.n, j.explored) for j in found})
    for name in [*dict.fromkeys(j.problem for j in found), "all"]:
        for n, explored in cells:
            at = [j for j in found if (j.n, j.explored) == (n, explored)]
            mine = [j for j in at if name in (j.problem, "all")]
            rows.append(_row(name, n, explored, mine))
    head = [
        "problem",
        "n",
        "explored",
        "runs",
        "near: shown",
        "covered",
        "width",
        "whole: shown",
        "covered",
    ]
    head += ["width", "were it always shown", "error S1", "fANOVA", "PED-ANOVA"]
    return table(head, rows)


def _row(name: str, n: int, explored: int, mine: Sequence[Judged]) -> list[str]:
    def mean(part: str, form: str = ".2f") -> str:
        values = np.array([getattr(j, part) for j in mine], dtype=np.float64)
        values = values[np.isfinite(values)]
        return format(float(values.mean()), form) if len(values) else "–"

    return [
        name, str(n), str(explored), str(len(mine)),
        mean("near_shown"), mean("near"), mean("near_width"),
        mean("shown"), mean("whole"), mean("whole_width"), mean("if_shown"),
        mean("error", ".3f"), mean("fanova", ".3f"), mean("pedanova", ".3f"),
    ]  # fmt: skip


if __name__ == "__main__":
    main()
