"""Tuned against default: observed values and the model's difference."""

from __future__ import annotations

import math
from collections.abc import Sequence

from spot_dask.report import text
from spot_dask.report.blocks import Block, Details, NotShown, Text, table
from spot_dask.report.facts import Findings, Missing, Recommended


class Better:
    title = "Is it better than the default?"
    order = 30

    def render(self, findings: Findings) -> Sequence[Block]:
        g, r = findings.gain, findings.recommended
        if isinstance(r, Missing):
            return [NotShown(r.reason)]
        if isinstance(g, Missing):
            return [NotShown(g.reason)]
        each = "one training each" if r.trainings == 1 else f"the latter {r.trainings} times"
        rows = [
            (f"observed, {each}", g.default, r.observed, g.observed),
            ("by the model", _default_mean(findings, r), r.mean, g.mean),
        ]
        titles = ("", "default (trial 0)", f"recommended (trial {r.number})", "improvement")
        doubt: list[Block] = []
        if isinstance(findings.importance, Missing):
            reason = findings.importance.reason
            doubt = [Text(f"Do not rely on the model yet: {reason}.", "warning")]
        return [
            *doubt,
            Text(
                f"By the model the improvement is {text.like(g.mean, g.high - g.low)} with a "
                f"standard deviation of {text.spread(g.sd)} (approx. 95 % "
                f"interval {text.interval(g.low, g.high)})."
            ),
            table(titles, [r for r in rows if not math.isnan(r[3])]),
            Text(
                "Not confirmed yet. The recommended configuration was chosen because its values "
                "looked good, so they flatter it; only trainings on fresh seeds can tell.",
                "warning",
            ),
            Details("How this was computed", [Text(_HOW)]),
        ]


_HOW = (
    "The improvement by the model is the difference of the two configurations under the joint "
    "posterior of the Kriging model, so their correlation is taken into account. The uncertainty "
    "of the model's own length scales is left out; intervals are therefore a little too short."
)


def _default_mean(f: Findings, r: Recommended) -> float:
    assert not isinstance(f.gain, Missing)
    return r.mean - f.gain.mean if f.run.direction == "max" else r.mean + f.gain.mean
