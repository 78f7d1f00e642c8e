"""What trackers write of an evaluation: its curves, its results and how the search stands."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

from spot_dask.records import Evaluation, Objective, Outcome
from spot_dask.trackers import Tracked


def trial_name(number: int) -> str:
    """What a tracker calls a trial: names in the order of their numbers."""
    return f"trial-{number:04d}"


def epochs(outcome: Outcome) -> Iterator[tuple[int, float, dict[str, float]]]:
    """Epochs from 1, the time of each (s since 1970, UTC) and the metrics reported in it.

    Times are spread evenly over the training. NaN, which stands for what was not reported, is left
    out; infinite values are not.
    """
    last = outcome.epochs
    for k in range(last):
        curves = outcome.curves.items()
        reported = {name: c[k] for name, c in curves if k < len(c) and not math.isnan(c[k])}
        if reported:
            yield k + 1, moment(outcome, (k + 1) / last), reported


def moment(outcome: Outcome, share: float) -> float:
    """When this share of a training was done (s since 1970, UTC); 0 where that is not known."""
    time = outcome.started + share * (outcome.finished - outcome.started)
    return 0.0 if math.isnan(time) else time


def results(outcome: Outcome) -> dict[str, float]:
    """The metrics of a training that has succeeded, as ``result/NAME``; without NaN."""
    if not outcome.ok:
        return {}
    found = outcome.metrics.items()
    return {f"result/{name}": value for name, value in found if not math.isnan(value)}


def facts(evaluation: Evaluation) -> dict[str, str]:
    """What is known of an evaluation beside numbers, as texts."""
    trial, outcome = evaluation.trial, evaluation.outcome
    found = {
        "status": outcome.status.value,
        "origin": trial.origin.value,
        "seed": str(trial.seed),
        "replicate": str(trial.replicate),
        "worker": outcome.worker,
        "device": outcome.device,
    }
    if outcome.error is not None:
        found["error"] = f"{outcome.error.type}: {outcome.error.message}"
    return {name: text for name, text in found.items() if text}


class SearchPoints:
    """How the search stands after each evaluation: a point of every series that knows it.

    ``objective`` and ``best so far`` are in the direction of the study; confirmations are no part
    of the search and leave the best as it is. ``seconds`` is the time of the training.
    """

    def __init__(self, run: Tracked) -> None:
        self._objective: Objective = run.objective
        self._bests = [math.inf]  # after so many evaluations, minimised
        for evaluation in run.past.evaluations:
            self._add(evaluation)

    def at(self, evaluation: Evaluation, place: int) -> Mapping[str, float]:
        """The points of the ``place``-th evaluation; those of a session are asked for in order."""
        if place == len(self._bests):
            self._add(evaluation)
        sign = self._objective.sign
        found = {
            "objective": sign * evaluation.y,
            "best so far": sign * self._bests[place],
            "seconds": evaluation.outcome.seconds,
        }
        return {name: value for name, value in found.items() if math.isfinite(value)}

    def _add(self, evaluation: Evaluation) -> None:
        counts = evaluation.ok and not evaluation.trial.confirms
        self._bests.append(min(self._bests[-1], evaluation.y) if counts else self._bests[-1])
