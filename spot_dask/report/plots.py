"""The figures of the report on axes of matplotlib's, for notebooks and papers."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import matplotlib as mpl

from spot_dask.errors import did_you_mean
from spot_dask.report import figures
from spot_dask.report.context import HasFacts, Missing, ReportContext
from spot_dask.report.sections.ablation import AblationSection, draw_ablation
from spot_dask.report.sections.budget import BudgetSection, draw_outlook
from spot_dask.report.sections.contour import ContourSection, contour_of, draw_contour
from spot_dask.report.sections.cost import SHOWN_ROWS, CostSection, draw_gantt, gantt_rows
from spot_dask.report.sections.curves import CurvesSection, draw_best_epochs, draw_curves
from spot_dask.report.sections.effects import EffectsSection, MainEffect, draw_effect
from spot_dask.report.sections.failure_rates import (
    SHOWN_GROUPS,
    FailureRatesSection,
    draw_failures,
    failure_groups,
)
from spot_dask.report.sections.gain import GainSection, draw_pairs, draw_severity
from spot_dask.report.sections.generalisation import (
    GeneralisationSection,
    draw_overtuning,
    draw_test,
)
from spot_dask.report.sections.importance import ImportanceSection, draw_importance
from spot_dask.report.sections.landscape import LandscapeSection, draw_screening
from spot_dask.report.sections.noise import SHOWN_CONFIGURATIONS, NoiseSection, draw_noise
from spot_dask.report.sections.progress import ProgressSection, draw_search
from spot_dask.report.sections.regions import RegionsSection, draw_parallel
from spot_dask.report.sections.tradeoff import TradeoffSection, draw_tradeoff
from spot_dask.report.sections.trust import (
    TrustSection,
    draw_predicted,
    draw_quantiles,
    draw_residuals,
)
from spot_dask.report.sections.winner import WinnerSection, draw_chances

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Facts = TypeVar("Facts")


class Plots:
    """The figures of one run's report, as ``Run.plot`` offers them.

    Every method draws on ``ax``, or on the axes of a new figure of pyplot's, and returns the axes.
    ValueError, with the reason, where the report does not show the figure.
    """

    def __init__(self, context: ReportContext) -> None:
        self._context = context
        self._objective = context.header.objective

    def progress(
        self, ax: Axes | None = None, by: Literal["evaluations", "time"] = "evaluations"
    ) -> Axes:
        """Every evaluation, the best so far and what random search would be expected to reach."""
        found = self._facts(ProgressSection)
        return self._on(ax, lambda a: draw_search(a, found, self._objective, by))

    def gain(self, ax: Axes | None = None) -> Axes:
        """Default and tuned under each fresh seed."""
        found = self._facts(GainSection)
        if not found.pairs:
            raise ValueError("no figure, because the result is not confirmed by pairs of seeds")
        return self._on(ax, lambda a: draw_pairs(a, found))

    def severity(self, ax: Axes | None = None) -> Axes:
        """The severity of claims about the improvement, by the size that they claim."""
        found = self._facts(GainSection)
        if found.severity is None:
            raise ValueError("no figure, because too few fresh seeds tell of the improvement")
        return self._on(ax, lambda a: draw_severity(a, found))

    def winner(self, ax: Axes | None = None) -> Axes:
        """The probability of each leading configuration to be the best."""
        found = self._facts(WinnerSection)
        if found.without_model:
            raise ValueError(f"no figure, because {found.without_model}")
        return self._on(ax, lambda a: draw_chances(a, found))

    def outlook(self, ax: Axes | None = None) -> Axes:
        """What further evaluations are expected to gain."""
        found = self._facts(BudgetSection)
        if not any(v > 0 for v in found.recent):
            raise ValueError("no figure, because nothing was expected to be gained lately")
        return self._on(ax, lambda a: draw_outlook(a, found))

    def importance(self, ax: Axes | None = None, region: Literal["near", "whole"] = "near") -> Axes:
        """Sobol indices of the parameters, near the best or in the whole space."""
        found = self._facts(ImportanceSection)
        part = found.near if region == "near" else found.whole
        if isinstance(part, Missing):
            raise ValueError(f"no figure, because {part.reason}")
        return self._on(ax, lambda a: draw_importance(a, part.parameters))

    def effects(self, name: str, ax: Axes | None = None) -> Axes:
        """The objective as one parameter varies, with its simultaneous 95 % band."""
        found = effect(self._context, name)
        if isinstance(found, Missing):
            raise ValueError(f"no figure, because {found.reason}")
        return self._on(ax, lambda a: draw_effect(a, found, self._objective))

    def contour(self, first: str, second: str, ax: Axes | None = None) -> Axes:
        """The objective in the plane of two parameters through the recommended configuration."""
        self._facts(ContourSection)  # there is a model, and a plane
        model, best = self._context.explained, self._context.best
        assert not isinstance(model, Missing)
        assert best is not None
        for name in (first, second):
            _check_free(self._context, name)
            if name not in best.config:
                raise ValueError(
                    f"no figure, because {name} is not active in the recommended configuration"
                )
        found = contour_of(self._context, model, best.config, (first, second), float("nan"))
        return self._on(ax, lambda a: draw_contour(a, found, self._objective))

    def ablation(self, ax: Axes | None = None) -> Axes:
        """What each change of the default contributed to the improvement."""
        found = self._facts(AblationSection)
        return self._on(ax, lambda a: draw_ablation(a, found.parameters, found.scale))

    def parallel(self, ax: Axes | None = None) -> Axes:
        """The configurations as lines across the parameters, the best ones in bold."""
        found = self._facts(RegionsSection)
        return self._on(ax, lambda a: draw_parallel(a, found))

    def landscape(self, ax: Axes | None = None) -> Axes:
        """Elementary effects: how strongly a parameter acts, and how much that depends on where."""
        found = self._facts(LandscapeSection).whole
        if isinstance(found, Missing):
            raise ValueError(f"no figure, because {found.reason}")
        return self._on(ax, lambda a: draw_screening(a, found.screening))

    def noise(self, ax: Axes | None = None) -> Axes:
        """The values of configurations that were trained more than once."""
        found = self._facts(NoiseSection)
        shown = found.configurations[:SHOWN_CONFIGURATIONS]
        return self._on(ax, lambda a: draw_noise(a, shown, self._objective))

    def tradeoff(self, ax: Axes | None = None) -> Axes:
        """The objective against the time of a training, with the front that none dominates."""
        found = self._facts(TradeoffSection)
        return self._on(ax, lambda a: draw_tradeoff(a, found, self._objective))

    def generalisation(self, ax: Axes | None = None) -> Axes:
        """The objective on test data against that of the search."""
        found = self._facts(GeneralisationSection)
        return self._on(ax, lambda a: draw_test(a, found, self._objective))

    def overtuning(self, ax: Axes | None = None) -> Axes:
        """The value on test data of the best so far by that of the search."""
        found = self._facts(GeneralisationSection)
        return self._on(ax, lambda a: draw_overtuning(a, found))

    def gantt(self, ax: Axes | None = None) -> Axes:
        """When each training ran, by worker and slot."""
        found = self._facts(CostSection)
        rows = dict(list(gantt_rows(found.spans).items())[:SHOWN_ROWS])
        return self._on(ax, lambda a: draw_gantt(a, rows, found.wall))

    def failures(self, ax: Axes | None = None) -> Axes:
        """The rate of failures by parameter, with 95 % intervals."""
        found = self._facts(FailureRatesSection)
        groups = failure_groups(found)[:SHOWN_GROUPS]
        if not groups:
            raise ValueError("no figure, because no parameter tells failures apart")
        return self._on(ax, lambda a: draw_failures(a, groups))

    def trust(self, ax: Axes | None = None) -> Axes:
        """Each evaluation against its prediction from all the others."""
        found = self._facts(TrustSection)
        return self._on(ax, lambda a: draw_predicted(a, found, self._objective))

    def residuals(self, ax: Axes | None = None) -> Axes:
        """The standardised errors of these predictions."""
        found = self._facts(TrustSection)
        return self._on(ax, lambda a: draw_residuals(a, found, self._objective))

    def quantiles(self, ax: Axes | None = None) -> Axes:
        """The standardised errors against the quantiles of the normal distribution."""
        found = self._facts(TrustSection)
        return self._on(ax, lambda a: draw_quantiles(a, found))

    def curves(self, ax: Axes | None = None, metric: str | None = None) -> Axes:
        """The learning curves of the best trials; by default those of the objective."""
        found = self._facts(CurvesSection)
        name = metric or found.judged or next(iter(found.metrics))
        if name not in found.metrics:
            near = did_you_mean(name, found.metrics)
            raise ValueError(f"no curves of {name!r}; there are {', '.join(found.metrics)}{near}")
        return self._on(ax, lambda a: draw_curves(a, found.metrics[name], name))

    def best_epochs(self, ax: Axes | None = None) -> Axes:
        """The epoch of the best value of each of the best trainings."""
        found = self._facts(CurvesSection)
        if not found.best_epochs:
            raise ValueError("no figure, because the objective has no value by epoch")
        return self._on(ax, lambda a: draw_best_epochs(a, found))

    def _facts(self, section: type[HasFacts[Facts | Missing]]) -> Facts:
        found = self._context[section]
        if isinstance(found, Missing):
            raise ValueError(f"no figure, because {found.reason}")
        return found

    @staticmethod
    def _on(ax: Axes | None, draw: Callable[[Axes], None]) -> Axes:
        style: Any = {k: v for k, v in figures.STYLE.items() if not k.startswith("svg.")}
        with mpl.rc_context(style), warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=r"Glyph .* missing from font")
            if ax is None:
                from matplotlib import pyplot

                ax = pyplot.figure(figsize=figures.SIZE, layout="constrained").subplots()
            draw(ax)
            ax.get_xticklabels(), ax.get_yticklabels()  # made now, they are no mathematics
            interactive = mpl.is_interactive()
        mpl.interactive(interactive)  # as a backend wants it that was loaded for this figure
        return ax


def effect(context: ReportContext, name: str) -> MainEffect | Missing:
    """How a parameter acts, as the report tells it; ValueError where there is no such one."""
    _check_free(context, name)
    found = context[EffectsSection]
    if isinstance(found, Missing):
        return found
    shown = [e for e in found if e.axis.name == name]
    if not shown:
        return Missing(f"{name} is active in none of the configurations, or matters least of many")
    return shown[0]


def _check_free(context: ReportContext, name: str) -> None:
    free = context.space.free
    if name not in free:
        near = did_you_mean(name, free)
        raise ValueError(f"no free parameter {name!r}, there are {', '.join(free)}{near}")
