"""Answers of a tuner that was asked about values of ordinary magnitude, as the study has them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

from spot_dask.constraints import Limits, parsed
from spot_dask.magnitude import Magnitudes
from spot_dask.records import Evaluation, Expected, History, Import, Trial
from spot_dask.tuner.model import Best


@dataclass(frozen=True)
class Tame:
    """A history with values of ordinary magnitude, and what it was ``before``.

    ``limits`` are the constraints in the units of the study, which answers come back in.
    """

    history: History
    before: History
    magnitudes: Magnitudes
    limits: Limits

    def asked(self, trial: Trial) -> Trial:
        """A trial with what is expected of it in the units of the study."""
        if (expected := trial.expected) is None:
            return trial
        scale = self.magnitudes.own
        mean, sd = scale.returned(expected.mean), scale.width_back(expected.mean, expected.sd)
        return replace(trial, expected=Expected(mean, sd))

    def width(self, width: float) -> float:
        """A difference of values in the units of the study."""
        return self.magnitudes.own.returned(width)

    def best(self, best: Best) -> Best:
        """A recommendation as it stands in the study."""
        scale = self.magnitudes.own
        fulfilments = [
            replace(
                f,
                constraint=constraint,
                observed=self.magnitudes.of(constraint.metric).returned(f.observed),
                unit=self.magnitudes.of(constraint.metric).returned(f.unit),
            )
            for f, constraint in zip(
                best.fulfilments, parsed(self.limits) if best.fulfilments else (), strict=True
            )
        ]
        return replace(
            best,
            evaluations=tuple(self._evaluations[e.trial.number] for e in best.evaluations),
            imports=tuple(self._imports[i.source_run, i.source_trial] for i in best.imports),
            mean=scale.returned(best.mean),
            sd=scale.width_back(best.mean, best.sd),
            level=scale.returned(best.level),
            fulfilments=tuple(fulfilments),
        )

    @cached_property
    def _evaluations(self) -> dict[int, Evaluation]:
        return {e.trial.number: e for e in self.before.evaluations}

    @cached_property
    def _imports(self) -> dict[tuple[str, int], Import]:
        return {(i.source_run, i.source_trial): i for i in self.before.imports}
