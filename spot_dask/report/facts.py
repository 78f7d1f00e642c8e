"""What a report says, as values: computed once, shown on the page and written to report.json.

Objectives are in the user's sign (a study that maximises shows what it maximised), parameters in
the user's units, times in seconds. ``NaN`` means unknown. A part that cannot be shown is a
``Missing`` with its reason, never an empty chart.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from spot_dask.records import Configuration, Failure, Value

Kind = Literal["real", "integer", "categorical"]
Floats = tuple[float, ...]


@dataclass(frozen=True)
class Missing:
    """A part that is not shown; the reason completes the sentence "not shown because ..."."""

    reason: str


@dataclass(frozen=True)
class Run:
    """Where the numbers come from; ``ended`` is why the last session closed, "" if it did not."""

    run_id: str
    name: str
    created: float
    objective: str
    direction: str
    sessions: int
    ended: str
    settings: Mapping[str, Any]
    study: Mapping[str, Any]
    versions: Mapping[str, str]
    space: Mapping[str, Any]
    space_hash: str


@dataclass(frozen=True)
class Parameter:
    """A parameter of the space, its default and its value in the recommended configuration.

    ``default`` and ``tuned`` are None where the parameter is not active; ``bound`` tells which
    end of its range the recommended value sits at.
    """

    name: str
    kind: Kind
    scale: str
    domain: tuple[Value, ...]
    condition: str
    fixed: bool
    default: Value | None
    tuned: Value | None
    bound: Literal["", "lower", "upper"] = ""


@dataclass(frozen=True)
class Row:
    """A trial with its evaluation; ``elapsed`` is the working time of the study when it arrived."""

    number: int
    origin: str
    config: Configuration
    seed: int
    replicate: int
    status: str
    y: float
    seconds: float
    elapsed: float
    worker: str
    device: str
    attempt: int
    metrics: Mapping[str, float] = field(default_factory=dict)
    error: Failure | None = None


@dataclass(frozen=True)
class Recommended:
    """The configuration to use: its first trial, observed value and the model's estimate there.

    ``observed`` is the mean of so many ``trainings``.
    """

    number: int
    config: Configuration
    observed: float
    trainings: int
    mean: float
    sd: float
    low: float
    high: float


@dataclass(frozen=True)
class Gain:
    """Improvement of the recommended configuration over the default; positive is better.

    ``default`` is of a single training and ``observed`` its difference to what was observed of the
    recommended configuration; mean, sd and interval are the model's.
    """

    default: float
    observed: float
    mean: float
    sd: float
    low: float
    high: float


@dataclass(frozen=True)
class Progress:
    """Evaluations in order of arrival (n), the incumbent after each, and random search.

    ``random[k - 1]`` is the expected best of k random evaluations, from the space-filling part
    of the initial design. ``initial`` marks evaluations of the initial design, ``stopped`` those
    that were stopped early.
    """

    number: tuple[int, ...]
    elapsed: Floats
    y: Floats
    best: Floats
    initial: tuple[bool, ...]
    random: Floats
    stopped: tuple[bool, ...] = ()


@dataclass(frozen=True)
class Share:
    """Share of the variance with the ends of its sampling interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Importance:
    """Sobol indices of a parameter: alone (first) and in any combination (total)."""

    name: str
    first: Share
    total: Share


@dataclass(frozen=True)
class Axis:
    """How a parameter is drawn; ``levels`` only for factors."""

    name: str
    kind: Kind
    scale: str
    levels: tuple[Value, ...] = ()


@dataclass(frozen=True)
class Effect:
    """The main effect of a parameter at values (g) with its 95 % band, and evaluations (p).

    ``condition`` is not empty where the effect is that among configurations with the parameter
    active.
    """

    axis: Axis
    values: tuple[Value, ...]
    mean: Floats
    low: Floats
    high: Floats
    points: tuple[tuple[Value, float], ...]
    condition: str


@dataclass(frozen=True)
class Contour:
    """The model around the recommended configuration: ``mean[a][b]`` at (x[a], y[b])."""

    x_axis: Axis
    y_axis: Axis
    x: tuple[Value, ...]
    y: tuple[Value, ...]
    mean: tuple[Floats, ...]
    points: tuple[tuple[Value, Value], ...]
    best: tuple[Value, Value]


@dataclass(frozen=True)
class Curve:
    """A learning curve of a trial, one value per epoch."""

    number: int
    values: Floats


@dataclass(frozen=True)
class Curves:
    """Learning curves of the best few trials by metric, and the trials' rank order."""

    metrics: Mapping[str, tuple[Curve, ...]]
    judged: str
    last_is_best: int
    judged_of: int


@dataclass(frozen=True)
class Trust:
    """Leave-one-out predictions of the model: observed, predicted mean and sd (n each)."""

    observed: Floats
    mean: Floats
    sd: Floats
    q2: float
    within: float


@dataclass(frozen=True)
class Worker:
    """What a worker did; ``share`` is its training time over the study's working time."""

    name: str
    device: str
    trials: int
    seconds: float
    share: float


@dataclass(frozen=True)
class Cost:
    """Training time, working time of the study (pauses between sessions left out), workers."""

    training: float
    wall: float
    mean: float
    median: float
    longest: float
    repeated: int
    workers: tuple[Worker, ...]


@dataclass(frozen=True)
class FailureGroup:
    """Failures of one type with one message."""

    status: str
    type: str
    message: str
    numbers: tuple[int, ...]
    traceback: str


@dataclass(frozen=True)
class WarmStart:
    """Evaluations taken from a source, and why others were not.

    ``mode`` is ``data`` or ``prior``; ``assumed`` is what the source does not record.
    """

    source: str
    taken: int
    dropped: tuple[str, ...]
    mode: str = "data"
    assumed: tuple[str, ...] = ()


@dataclass(frozen=True)
class Check:
    """A health check: PASS, WARN or FAIL, what was looked at and what was seen."""

    state: Literal["PASS", "WARN", "FAIL", "NONE"]
    title: str
    message: str


@dataclass(frozen=True)
class Findings:
    """Everything the report says."""

    run: Run
    parameters: tuple[Parameter, ...]
    trials: tuple[Row, ...]
    pending: int
    recommended: Recommended | Missing
    gain: Gain | Missing
    progress: Progress | Missing
    importance: tuple[Importance, ...] | Missing
    effects: tuple[Effect, ...] | Missing
    contour: Contour | Missing
    curves: Curves | Missing
    trust: Trust | Missing
    cost: Cost
    failures: tuple[FailureGroup, ...]
    warm_starts: tuple[WarmStart, ...]
    checks: tuple[Check, ...] = ()
    verdict: tuple[str, ...] = ()
