"""Records <-> JSON, the only place where they meet.

Strict JSON has no NaN and no infinity: non-finite numbers are written as the strings ``"NaN"``,
``"Infinity"`` and ``"-Infinity"`` where a number is expected.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from sys import intern
from typing import Any, TypeVar

from spot_dask.records import Evaluation, Failure, Import, Origin, Outcome, Status, Trial

JSON = dict[str, Any]
_T = TypeVar("_T")


def number_to_json(value: float) -> float | str:
    """A finite number as itself, NaN and the infinities as strings."""
    if math.isfinite(value):
        return value
    if math.isnan(value):
        return "NaN"
    return "Infinity" if value > 0 else "-Infinity"


def number_from_json(value: float | str) -> float:
    return float(value)


def _named(values: Mapping[str, _T]) -> dict[str, _T]:
    """The same with every name kept once in memory, however many evaluations bear it."""
    return {intern(name): value for name, value in values.items()}


def trial_to_json(trial: Trial) -> JSON:
    """Raises ValueError for a seed that the tables' columns, of 64 bits and signed, cannot hold."""
    if not 0 <= trial.seed < 2**63:
        raise ValueError(f"seed of trial {trial.number} is {trial.seed}; expected 0 to 2**63 - 1")
    return {
        "number": trial.number,
        "config": dict(trial.config),
        "seed": trial.seed,
        "replicate": trial.replicate,
        "origin": trial.origin.value,
    }


def trial_from_json(data: JSON) -> Trial:
    return Trial(
        number=data["number"],
        config=_named(data["config"]),
        seed=data["seed"],
        replicate=data["replicate"],
        origin=Origin(data["origin"]),
    )


def outcome_to_json(outcome: Outcome) -> JSON:
    error = outcome.error
    return {
        "status": outcome.status.value,
        "y": number_to_json(outcome.y),
        "metrics": {name: number_to_json(v) for name, v in outcome.metrics.items()},
        "curves": {name: [number_to_json(v) for v in c] for name, c in outcome.curves.items()},
        "started": number_to_json(outcome.started),
        "finished": number_to_json(outcome.finished),
        "worker": outcome.worker,
        "device": outcome.device,
        "error": None
        if error is None
        else {"type": error.type, "message": error.message, "traceback": error.traceback},
    }


def outcome_from_json(data: JSON) -> Outcome:
    error = data["error"]
    return Outcome(
        status=Status(data["status"]),
        y=number_from_json(data["y"]),
        metrics=_named({name: number_from_json(v) for name, v in data["metrics"].items()}),
        curves=_named({name: tuple(map(float, c)) for name, c in data["curves"].items()}),
        started=number_from_json(data["started"]),
        finished=number_from_json(data["finished"]),
        worker=intern(data["worker"]),
        device=intern(data["device"]),
        error=None if error is None else Failure(**error),
    )


def evaluation_to_json(evaluation: Evaluation) -> JSON:
    return {
        "trial": trial_to_json(evaluation.trial),
        "outcome": outcome_to_json(evaluation.outcome),
        "attempt": evaluation.attempt,
    }


def evaluation_from_json(data: JSON) -> Evaluation:
    return Evaluation(
        trial=trial_from_json(data["trial"]),
        outcome=outcome_from_json(data["outcome"]),
        attempt=data["attempt"],
    )


def import_to_json(item: Import) -> JSON:
    return {
        "config": dict(item.config),
        "y": number_to_json(item.y),
        "source_run": item.source_run,
        "source_trial": item.source_trial,
    }


def import_from_json(data: JSON) -> Import:
    return Import(**{**data, "y": number_from_json(data["y"])})
