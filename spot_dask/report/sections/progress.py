"""The search over evaluations and over time."""

from __future__ import annotations

from collections.abc import Sequence

from spot_dask.report import figures, text
from spot_dask.report.blocks import Block, Chart, Charts, Details, NotShown, Table, Text, table
from spot_dask.report.facts import Findings, Missing, Progress
from spot_dask.report.svg import to_svg


class Search:
    title = "How did the search go?"
    order = 40

    def render(self, findings: Findings) -> Sequence[Block]:
        p = findings.progress
        if isinstance(p, Missing):
            return [NotShown(p.reason)]
        name = findings.run.objective
        steps = _improvements(p)
        by_evaluations = to_svg(
            lambda ax: figures.progress(ax, p, name, "evaluations"),
            "progress-evaluations",
            "Best value so far by number of evaluations",
            f"{len(p.y)} evaluations; the best value improved {len(steps.rows) - 1} times.",
        )
        by_time = to_svg(
            lambda ax: figures.progress(ax, p, name, "time"),
            "progress-time",
            "Best value so far by working time",
            f"{text.seconds(p.elapsed[-1])} of working time.",
        )
        return [
            Text(_sentence(p, name)),
            Charts(
                [
                    Chart(by_evaluations, "By evaluations.", steps),
                    Chart(by_time, "By working time; pauses between sessions are left out."),
                ]
            ),
            Details("How this was computed", [Text(_HOW), *_random(p)]),
        ]


_HOW = (
    "The line for random search is the expected best of k evaluations drawn at random from the "
    "space-filling part of the initial design; it ends where the design ends. The best value so "
    "far is an observed one and therefore flattering."
)


def _sentence(p: Progress, objective: str) -> str:
    last = max(i for i in range(len(p.best)) if i == 0 or p.best[i] != p.best[i - 1])
    said = (
        f"The best observed {objective}, {text.number(p.best[-1])}, came as evaluation "
        f"{last + 1} of {len(p.y)} (trial {p.number[last]})."
    )
    if any(p.stopped):
        said += (
            f" {text.plural(sum(p.stopped), 'training')} promised too little, ended early and "
            "gave no result."
        )
    if p.random:
        said += (
            f" {len(p.random)} random evaluations would be expected to reach "
            f"{text.number(p.random[-1])}."
        )
    return said


def _improvements(p: Progress) -> Table:
    """Only the evaluations that improved on all before them."""
    rows = [
        (str(i + 1), str(p.number[i]), text.seconds(p.elapsed[i]), text.number(p.best[i]))
        for i in range(len(p.best))
        if p.y[i] == p.best[i] and (i == 0 or p.best[i] != p.best[i - 1])
    ]
    return table(("evaluation", "trial", "working time", "best so far"), rows)


def _random(p: Progress) -> list[Block]:
    rows = [(str(k + 1), text.number(v)) for k, v in enumerate(p.random)]
    return [table(("random evaluations", "expected best"), rows)] if rows else []
