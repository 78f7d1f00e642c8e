"""Recorded histories as plain data, and the objects that they stand for.

A case is a dictionary: ``space``, ``tuner`` and the fields of a history in the order below, ``q``
and the ``answer`` to it. Nothing here follows how a store writes the same things.

========== ================================================================================
space      name -> type, its fields, and ``when`` with the values by parent
tuner      fields of ``Tuner``; ``design`` are those of ``Design``
trial      number, configuration, seed, replicate, origin
evaluation the trial, its status and its objective (None without one)
import     configuration, objective, run, trial
========== ================================================================================
"""

from __future__ import annotations

import json
import lzma
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from spot_dask import Categorical, Design, Evaluation, History, Integer, Real, Space, Trial, Tuner
from spot_dask.records import Failure, Import, Origin, Outcome, Status

DATA = Path(__file__).with_name("proposals.json.xz")
TYPES = {"real": Real, "integer": Integer, "categorical": Categorical}
Case = dict[str, Any]


def load() -> list[Case]:
    cases: list[Case] = json.loads(lzma.decompress(DATA.read_bytes()))
    return cases


def save(cases: Sequence[Case]) -> None:
    DATA.write_bytes(lzma.compress(json.dumps(cases, separators=(",", ":")).encode(), preset=9))


def space_of(data: Mapping[str, Mapping[str, Any]]) -> Space:
    parameters = {}
    for name, given in data.items():
        fields = {k: v for k, v in given.items() if k not in ("type", "when", "hold")}
        parameter = TYPES[given["type"]](**fields)
        if "hold" in given:
            parameter = parameter.hold(given["hold"])
        parameters[name] = parameter.when(**given.get("when", {}))
    return Space(parameters)


def tuner_of(case: Case) -> Tuner:
    given = dict(case["tuner"])
    design = Design(**given.pop("design", {}))
    given = {"infill": "log_ei"} | given  # the default when they were recorded
    return Tuner(space_of(case["space"]), design=design, **given)


def trial_of(data: Sequence[Any]) -> Trial:
    number, config, seed, replicate, origin = data
    return Trial(number, config, seed, replicate, Origin(origin))


def trial_data(trial: Trial) -> list[Any]:
    return [
        trial.number, dict(trial.config), trial.seed, trial.replicate, trial.origin.value
    ]  # fmt: skip


def evaluation_of(data: Sequence[Any]) -> Evaluation:
    trial, status, y = data
    if y is not None:
        return Evaluation(trial_of(trial), Outcome(Status(status), float(y)))
    error = None if status == "stopped" else Failure("Diverged", status)
    return Evaluation(trial_of(trial), Outcome(Status(status), error=error))


def evaluation_data(evaluation: Evaluation) -> list[Any]:
    y = evaluation.y
    known = y if math.isfinite(y) else None
    return [trial_data(evaluation.trial), evaluation.outcome.status.value, known]


def history_of(case: Case) -> History:
    priors = case.get("priors", ())
    return History(
        evaluations=tuple(map(evaluation_of, case["evaluations"])),
        pending=tuple(map(trial_of, case.get("pending", ()))),
        imports=tuple(Import(*item) for item in case.get("imports", ())),
        priors=tuple(tuple(Import(*item) for item in items) for items in priors),
    )
