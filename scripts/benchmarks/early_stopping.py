"""What early stopping saves, and what it costs: the same studies with and without it.

Studies run through the coordinator itself, with q workers on a simulated clock, on problems whose
learning curves are known. Every rule is judged by the true full-length value of the configuration
that is recommended: after as many trials as the baseline, which tells the training time it saves,
and after as many epochs as the baseline needs for a quarter, a half and all of its trials. The
last judgement is how many epochs it takes until that value is as good as the baseline's was then.
The baseline itself is often as good earlier, so it is timed likewise. A rule that has never come
there counts with all its epochs, as many as the baseline's: too few, so see how often it has
("reached"). Runs are paired by problem and seed. ``--verification`` takes the tasks of LCBench that
no rule was designed on.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np

from benchmarks import Unavailable, csv_rows, score
from benchmarks.data import VARIABLE
from benchmarks.problems import course, find, matching, stream
from benchmarks.sets import NETWORKS
from benchmarks.simulated import Fate, SimulatedExecutor
from benchmarks.summary import table
from spot_dask import early_stopping
from spot_dask.coordinator import (
    Commit,
    Event,
    Policy,
    Propose,
    Proposed,
    Start,
    StopEarly,
    Tick,
)
from spot_dask.coordinator.state import Coordinator
from spot_dask.fold import Fold
from spot_dask.records import History, Objective, Outcome, Status, Told, Trial
from spot_dask.tuner import Tuner

NONE = "none"
_PROBLEMS = ["trained/*", *NETWORKS]
_QUICK = ["trained/*"]
_VERIFICATION = [
    f"lcbench/{task}"
    for task in (167152, 167200, 168330, 168331, 168868, 168908,
                 168910, 189354, 189862, 189866, 189873, 189906)
]  # fmt: skip
"""On which no rule of early stopping was designed, nor is to be: none is in ``NETWORKS``."""
_SHARES = {"epochs/4": 0.25, "epochs/2": 0.5, "epochs": 1.0}
_OBJECTIVE = Objective("loss")


@dataclass(frozen=True)
class Result:
    """How a run stood when ``after`` of it were used up; regrets normalised.

    ``after`` is trials, epochs (a half or a quarter of them), or better: whenever the regret was
    lower than ever before.
    """

    problem: str
    rule: str
    seed: int
    after: str
    trials: int
    stopped: int
    epochs: int
    seconds: float
    regret: float


@click.command()
@click.option("--quick", is_flag=True, help="Made-up problems only, two seeds, 32 trials.")
@click.option("--verification", is_flag=True, help="Tasks that no rule was designed on.")
@click.option("--rule", "rules", multiple=True, help="Default: rank and asha. With settings.")
@click.option("--spare", default=0.05, show_default=True, help="Share that chance lets go on.")
@click.option("--problem", "patterns", multiple=True, help="Default: all with learning curves.")
@click.option("--seeds", default=5, show_default=True)
@click.option("--trials", default=64, show_default=True, help="That the baseline trains.")
@click.option("--q", default=8, show_default=True, help="Workers.")
@click.option("--data", help="Folder with lcbench/model.onnx.")
@click.option("--out", default="runs/benchmarks/early_stopping.csv", show_default=True, type=Path)
def main(
    quick: bool,
    verification: bool,
    rules: Sequence[str],
    spare: float,
    patterns: Sequence[str],
    seeds: int,
    trials: int,
    q: int,
    data: str | None,
    out: Path,
) -> None:
    """Run what is not in --out yet; print training time and regret beside those without."""
    if data is not None:
        os.environ[VARIABLE] = data
    named = _QUICK if quick else _VERIFICATION if verification else _PROBLEMS
    names = [n for p in patterns or named for n in matching(p)]
    seeds, trials = (2, 32) if quick else (seeds, trials)
    labels = [NONE, *(rules or ("rank", "asha"))]
    done = {(r.problem, r.rule, r.seed): r for r in csv_rows.load(Result, out)}
    for seed in range(seeds):
        for name in names:
            for label in labels:
                if (name, label, seed) not in done:
                    _try(out, name, label, seed, trials, q, spare)
    wanted = [
        r
        for r in csv_rows.load(Result, out)
        if r.problem in names and r.rule in labels and r.seed < seeds
    ]
    click.echo(summary(wanted, labels))


def _try(out: Path, name: str, label: str, seed: int, trials: int, q: int, spare: float) -> None:
    try:
        csv_rows.append(out, run(name, label, seed, trials, q, spare))
    except Unavailable as error:
        click.echo(f"left out: {error}", err=True)


def run(name: str, label: str, seed: int, trials: int, q: int, spare: float = 0.0) -> list[Result]:
    """How a study with the rule gets better, until so many trials and as much training are over."""
    problem, trained = find(name), course(name)
    rule = None if label == NONE else early_stopping.find(label)
    tuner = Tuner(problem.space, seed=seed, early_stopping=rule)
    executor = SimulatedExecutor(_training(trained, name, seed), workers=q)
    policy = Policy(objective=_OBJECTIVE, early_stopping=rule, spare=spare, space=problem.space)
    coordinator = Coordinator(policy, Fold(), executor.now())
    length = len(trained(problem.space.default, stream(name)).values)
    due = {"trials", *_SHARES}
    results: list[Result] = []
    regret, lowest, finished = 1.0, 1.0, 0  # as of a random configuration, while none has ended
    for history in _histories(coordinator, executor, tuner):
        if len(history.ok) > finished:
            finished = len(history.ok)
            best = tuner.recommend(history, tuner.model(history))
            assert best is not None
            regret = problem.regret(float(problem.truth([best.config])[0]))
        epochs = sum(len(e.outcome.curves[_OBJECTIVE.name]) for e in history.evaluations)
        used = {
            "better": regret < lowest,
            "trials": len(history.evaluations) >= trials,
        } | {after: epochs >= share * trials * length for after, share in _SHARES.items()}
        counts = (len(history.evaluations), len(history.stopped), epochs)
        results += [
            Result(name, label, seed, after, *counts, executor.now(), regret)
            for after in used
            if used[after] and (after == "better" or after in due)
        ]
        lowest = min(lowest, regret)
        due -= {after for after in due if used[after]}
        if not due:
            break
    return results


def _training(trained: Callable[..., object], name: str, seed: int) -> Callable[[Trial, int], Fate]:
    def training(trial: Trial, attempt: int) -> Fate:
        made = trained(trial.config, stream(name, seed, trial.number))
        values = tuple(map(float, made.values))
        outcome = Outcome(Status.OK, values[-1], curves={_OBJECTIVE.name: values})
        return Fate(outcome, made.seconds, reports=[{_OBJECTIVE.name: v} for v in values])

    return training


def _histories(
    coordinator: Coordinator, executor: SimulatedExecutor, tuner: Tuner
) -> Iterator[History]:
    """The history after every evaluation, for ever."""
    while True:
        events: list[Event] = [*executor.wait(3600.0), Tick()]
        while events:
            for instruction in coordinator.handle(events.pop(0), executor.now()):
                match instruction:
                    case Propose(q):
                        events.append(Proposed(tuner.ask(coordinator.history, q)))
                    case Start(trial, attempt, worker):
                        executor.start(trial, attempt, worker)
                    case StopEarly(number, attempt, worker):
                        executor.stop_early(number, attempt, worker)
                    case Commit(Told()):
                        yield coordinator.history


def summary(results: Sequence[Result], labels: Sequence[str]) -> str:
    """At equal numbers of trials, at equal epochs, and to the regrets of the baseline there."""
    targets = {
        after: {
            (r.problem, r.seed): r.regret for r in results if (r.rule, r.after) == (NONE, after)
        }
        for after in ("trials", *_SHARES)
    }
    views = {
        ("equal trials", "trials"): [r for r in results if r.after == "trials"],
        **{
            (f"equal {after}", after): [r for r in results if r.after == after] for after in _SHARES
        },
        **{
            (f"to the same quality, {after}", after): _until(results, targets[after])
            for after in _SHARES
            if targets[after]
        },
    }
    rows = [
        _row(at, label, found, targets[after])
        for (at, after), found in views.items()
        for label in labels
        if any(r.rule == label for r in found)
    ]
    head = ["at", "rule", "trials", "stopped", "reached", "epochs / none", "regret"]
    return table([*head, "regret / none", "wins"], rows)


_Run = tuple[str, int]
"""Problem and seed."""


def _until(results: Sequence[Result], targets: Mapping[_Run, float]) -> list[Result]:
    """How each run stood when its regret first was the target or lower, or else at its end."""
    found: dict[tuple[str, str, int], Result] = {}
    for r in sorted(results, key=lambda r: r.epochs):
        key, target = (r.problem, r.rule, r.seed), targets[r.problem, r.seed]
        if key not in found or found[key].regret > target:
            found[key] = r
    return list(found.values())


def _row(
    at: str, label: str, results: Sequence[Result], targets: Mapping[_Run, float]
) -> list[str]:
    runs = [r for r in results if r.rule == label]
    reached = [r.regret <= targets[r.problem, r.seed] for r in runs]
    epochs, epochs_of_none = (_by_run(results, rule, lambda r: r.epochs) for rule in (label, NONE))
    regret, regret_of_none = (_by_run(results, rule, lambda r: r.regret) for rule in (label, NONE))
    unit = dict.fromkeys(regret_of_none, 1.0)
    return [
        at,
        label,
        f"{np.mean([r.trials for r in runs]):.0f}",
        f"{np.mean([r.stopped / r.trials for r in runs]):.0%}",
        f"{np.mean(reached):.0%}",
        str(score.ratio(epochs, epochs_of_none, unit)),
        f"{np.mean([r.regret for r in runs]):.4f}",
        str(score.ratio(regret, regret_of_none, unit)),
        str(score.wins(regret, regret_of_none)),
    ]


def _by_run(
    results: Sequence[Result], label: str, value: Callable[[Result], float]
) -> Mapping[str, Mapping[int, float]]:
    found: dict[str, dict[int, float]] = {}
    for r in results:
        if r.rule == label:
            found.setdefault(r.problem, {})[r.seed] = value(r)
    return found


if __name__ == "__main__":
    main()
