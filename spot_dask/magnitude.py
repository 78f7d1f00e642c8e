"""Values of any finite magnitude, brought to one at which arithmetic neither over- nor underflows.

Models, criteria, statistics and figures square what they are given, and squares of squares. Of
values beyond 1e77 these overflow, of values below 1e-81 nothing is left. So wherever a history
enters computation (``Tuner``, a report) its values pass through here, once. Ordinary values, which
are nearly all that there are, come out as they are, bit for bit. Where a study has others, each
metric has a unit 10^k, that of its typical value, and

    f(v) = u                                 u = v / 10^k, |u| <= REACH
    f(v) = sign(u) REACH (1 + ln(|u| / REACH))                 beyond

f grows strictly, so that the best stays the best and what fulfils a constraint does; it is odd, so
that it does not matter who turns the sign; and it is nearly everywhere a change of the unit. A
single value of 1e308 among others near 1 stays far above them, and these stay as they are.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spot_dask.constraints import Constraint, parsed
from spot_dask.records import (
    ORDINARY,
    Evaluation,
    Expected,
    History,
    Import,
    Imported,
    Objective,
    Trial,
    is_extreme,
)

FloatArray = NDArray[np.float64]

REACH = 1e50
"""So many units from zero on values are drawn closer."""

LARGEST = float(np.finfo(np.float64).max)

_BESIDE = ("test_", "val_", "valid_", "validation_", "train_")


def mean_of(values: Iterable[float]) -> float:
    """The mean of values, of which there is at least one, also where their sum overflows."""
    found = np.array(list(values), dtype=np.float64)
    if len(found) == 1:
        return float(found[0])
    largest = float(np.abs(found).max())
    if not 1e300 <= largest < math.inf:
        with np.errstate(invalid="ignore"):  # of infinities of both signs
            return float(found.mean())
    return float((found / largest).mean()) * largest


@dataclass(frozen=True)
class Scale:
    """The function f of the module's text, with the unit 10^``exponent``."""

    exponent: int = 0

    @property
    def _factors(self) -> tuple[float, float]:
        """Two powers of ten whose product is the unit's reciprocal, which may be no number."""
        half = self.exponent // 2
        return 10.0**-half, 10.0 ** -(self.exponent - half)

    @property
    def unit(self) -> str:
        """The unit in words: ``1e-300``."""
        return f"1e{self.exponent}"

    def forward(self, values: float | FloatArray) -> FloatArray:
        """f of values of any shape; NaN and infinities stay what they are."""
        a, b = self._factors
        with np.errstate(over="ignore", under="ignore", invalid="ignore"):
            v = np.asarray(values, dtype=np.float64)
            u = v * a * b
            far = np.isfinite(v) & ~(np.abs(u) <= REACH)
            # ln|u| from v itself: u may have overflowed.
            logs = np.log(np.abs(np.where(far, v, 1.0))) - self.exponent * math.log(10.0)
            near_end = REACH * (1.0 + logs - math.log(REACH))
            return np.asarray(np.where(far, np.sign(v) * near_end, u))

    def back(self, values: float | FloatArray) -> FloatArray:
        """The values whose f is given, as far as they are numbers; else the largest one."""
        a, b = self._factors
        with np.errstate(over="ignore", under="ignore", invalid="ignore"):
            t = np.asarray(values, dtype=np.float64)
            far = np.abs(t) > REACH
            logs = np.where(far, np.abs(t), REACH) / REACH - 1.0 + math.log(REACH)
            ends = np.sign(t) * np.exp(logs + self.exponent * math.log(10.0))
            v = np.clip(np.where(far, ends, t / a / b), -LARGEST, LARGEST)
            return np.asarray(np.where(np.isinf(t), t, v))

    def number(self, value: float) -> float:
        """f of a number."""
        return float(self.forward(value))

    def returned(self, value: float) -> float:
        """The number whose f is given."""
        return float(self.back(value))

    def width_back(self, at: float, width: float) -> float:
        """A width (such as a standard deviation) at f = ``at`` in the values' own unit."""
        ends = self.back(np.array([at - width / 2, at + width / 2]))
        return float(min(ends[1] / 2 - ends[0] / 2, LARGEST / 2) * 2)


def drawn_closer(values: Sequence[float]) -> Sequence[float]:
    """Values with those beyond REACH drawn closer; the very same where all are ordinary."""
    if not is_extreme(values):
        return values
    return tuple(Scale().forward(np.array(values, dtype=np.float64)).tolist())


@dataclass(frozen=True)
class Magnitudes:
    """The scales of an objective, of metrics by name, and of the objectives of other runs."""

    objective: Objective
    scales: Mapping[str, Scale]
    priors: tuple[Scale, ...] = ()

    @property
    def own(self) -> Scale:
        """The objective's scale."""
        return self.of(self.objective.name)

    def of(self, name: str) -> Scale:
        """The scale of a metric; a test or training value has that of what it stands beside."""
        return self.scales.get(_stem(name), Scale())

    def trial(self, trial: Trial) -> Trial:
        """A trial with what was expected of it."""
        if (expected := trial.expected) is None:
            return trial
        above = max(-LARGEST, min(LARGEST, expected.mean + expected.sd))
        centre, end = self.own.forward(np.array([expected.mean, above]))
        return replace(trial, expected=Expected(float(centre), float(abs(end - centre))))

    def evaluation(self, e: Evaluation) -> Evaluation:
        """An evaluation with its objective, metrics and curves."""
        o = e.outcome
        metrics = {name: self.of(name).number(v) for name, v in o.metrics.items()}
        curves = {
            name: tuple(self.of(name).forward(np.array(curve, dtype=np.float64)).tolist())
            for name, curve in o.curves.items()
        }
        told = replace(o, y=self.own.number(o.y), metrics=metrics, curves=curves)
        return replace(e, trial=self.trial(e.trial), outcome=told)

    def imported(self, item: Import, scale: Scale | None = None) -> Import:
        """An imported evaluation, of another run's objective with its own ``scale``."""
        metrics = {name: self.of(name).number(v) for name, v in item.metrics.items()}
        return replace(item, y=(scale or self.own).number(item.y), metrics=metrics)

    def source(self, source: Imported) -> Imported:
        """What was taken over of a source: for other objectives nothing is shown of the values."""
        if source.mode != "data":
            return source
        return replace(source, items=tuple(map(self.imported, source.items)))

    def history(self, history: History) -> History:
        """A history with all of its values."""
        return replace(
            history,
            evaluations=tuple(map(self.evaluation, history.evaluations)),
            pending=tuple(map(self.trial, history.pending)),
            imports=tuple(map(self.imported, history.imports)),
            priors=tuple(
                tuple(self.imported(item, scale) for item in items)
                for items, scale in zip(history.priors, self.priors, strict=True)
            ),
        )

    def limits(self, limits: Mapping[str, str]) -> dict[str, str]:
        """Constraints with their bounds."""
        return {
            c.metric: Constraint(c.metric, c.operator, self.of(c.metric).number(c.bound)).text
            for c in parsed(limits)
        }

    def settings(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Settings with those that are in units of a metric: constraints, ``mde``, ``until``."""
        found = dict(settings)
        if found.get("constraints"):
            found["constraints"] = self.limits(found["constraints"])
        if found.get("mde"):
            found["mde"] = self.own.number(float(found["mde"]))
        until = (found.get("budget") or {}).get("until")
        if isinstance(until, float | int):
            found["budget"] = {**found["budget"], "until": self.own.number(float(until))}
        return found

    @property
    def note(self) -> str:
        """What a reader of the results is to know, in a line."""
        parts = [
            f"{name} in units of {scale.unit}"
            for name, scale in sorted(self.scales.items())
            if scale.exponent
        ]
        units = f"{', '.join(parts)}; " if parts else ""
        return (
            f"Values are near the ends of what numbers can be. All that follows has {units}"
            f"values beyond {REACH:g} units drawn closer; `export` has them as they are."
        )


def magnitudes(history: History, objective: Objective) -> Magnitudes | None:
    """The scales of what a history holds; None where all of its values are ordinary.

    They depend on the values alone, not on their order.
    """
    if not history.is_extreme:
        return None
    own, sizes = _stem(objective.name), dict[str, list[float]]()
    for e in history.evaluations:
        for name, size in e.sizes.items():
            sizes.setdefault(_stem(name), []).append(size)
    for item in history.imports:
        sizes.setdefault("", []).append(abs(item.y))
        for name, value in item.metrics.items():
            sizes.setdefault(_stem(name), []).append(abs(value))
    # What the objective is called is measured in its unit, by its own values.
    k, beside = _exponent(sizes.pop("", [])), sizes.pop(own, [])
    priors = [[abs(item.y) for item in items] for items in history.priors]
    found = {name: _exponent(values) for name, values in sizes.items()}
    found[own] = 0 if k is None and max(beside, default=0.0) > 10.0**ORDINARY else k
    others = [_exponent(values) for values in priors]
    if all(k is None for k in [*found.values(), *others]):
        return None
    scales = {name: Scale(k or 0) for name, k in found.items() if k is not None}
    return Magnitudes(objective, scales, tuple(Scale(k or 0) for k in others))


def _exponent(sizes: list[float]) -> int | None:
    """The exponent of the unit for values of these sizes; None where they are ordinary."""
    known = np.array(sizes, dtype=np.float64)
    known = np.sort(known[np.isfinite(known) & (known > 0.0)])
    if not len(known):
        return None
    k = math.floor(math.log10(known[(len(known) - 1) // 2]))
    if abs(k) > ORDINARY:
        return k
    return 0 if known[-1] > 10.0**ORDINARY else None


def _stem(name: str) -> str:
    """What a metric measures, on whatever data."""
    return next((name.removeprefix(p) for p in _BESIDE if name.startswith(p)), name)
