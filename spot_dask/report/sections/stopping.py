"""What early stopping saved, and what it cost."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from spot_dask.records import Evaluation
from spot_dask.report import text
from spot_dask.report.blocks import Block, Text, how, table
from spot_dask.report.context import Missing, ReportContext
from spot_dask.stats.spared import Spared, spared


@dataclass(frozen=True)
class StoppingCost:
    """What a rule did: trainings ``stopped`` of ``n``, the epochs these took and did not take.

    ``best`` is the best value of the search without what chance let go on. ``spared`` tells what
    became of that; None where there was none.
    """

    rule: str
    n: int
    stopped: int
    epochs: int
    saved: int
    best: float
    spared: Spared | None


class StoppingSection:
    title = "What did early stopping cost?"
    order = 152

    def facts(self, context: ReportContext) -> StoppingCost | Missing:
        """The cost, from trainings that would have been stopped and by chance were not."""
        searched = [e for e in context.evaluations if not e.trial.confirms]
        stopped = [e for e in searched if e.stopped]
        by_chance = [e for e in searched if e.spared]
        if not stopped and not by_chance:
            return Missing("no training was stopped early")
        others = [e.y for e in searched if e.ok and not e.spared]
        best = min(others, default=math.nan)
        values = np.array([e.y if e.ok else math.inf for e in by_chance])
        return StoppingCost(
            rule=str(context.settings.get("early_stopping") or ""),
            n=len(searched),
            stopped=len(stopped),
            epochs=sum(e.outcome.epochs for e in stopped),
            saved=sum(_length(e, searched, context) - e.outcome.epochs for e in stopped),
            best=context.sign * best,
            spared=spared(values, best) if len(values) and others else None,
        )

    def render(self, found: StoppingCost, context: ReportContext) -> Sequence[Block]:
        blocks: list[Block] = [
            Text(
                f"{found.rule or 'The rule'} stopped {found.stopped} of "
                f"{text.plural(found.n, 'training')} early, which took "
                f"{text.plural(found.epochs, 'epoch')} and would have taken {found.saved} more.",
                "lead",
            ),
            Text(_price(found, context.header.objective)),
        ]
        if (s := found.spared) is not None:
            row = (s.n, s.better, f"{text.percent(s.share.low)} to {text.percent(s.share.high)}")
            titles = ("went on by chance", "better than the best", "share of the stopped (95 %)")
            blocks.append(table(titles, [row]))
        blocks.append(
            how(
                "Of what the rule would stop, each training goes on with the same probability "
                "(setting spare), whatever it looks like. So those that went on are a random "
                "sample of all that would have been stopped, and their share that is better than "
                "the best of the others estimates without bias how many of the stopped ones would "
                "have been. The interval is exact (Clopper and Pearson).",
                n=0 if s is None else s.n,
            )
        )
        return blocks


def _length(e: Evaluation, searched: Sequence[Evaluation], context: ReportContext) -> int:
    """The epochs that a stopped training would have taken in all."""
    own = e.trial.config.get(context.settings.get("length") or "", 0)
    if isinstance(own, int | float) and own:
        return max(int(own), e.outcome.epochs)
    whole = [o.outcome.epochs for o in searched if o.ok] or [0]
    return max(round(statistics.median(whole)), e.outcome.epochs)


def _price(found: StoppingCost, objective: str) -> str:
    s = found.spared
    if s is None:
        return (
            "What it cost is not known: none that it would have stopped has gone on by chance and "
            "can be compared with one that was not to be stopped."
        )
    told = (
        f"Of {text.plural(s.n, 'training')} that it would have stopped and chance let go on, "
        f"{s.better or 'none'} became better than the best other one ({objective} "
        f"{text.rough(found.best)})"
    )
    if s.better:
        told += f", by up to {text.spread(s.gain)}"
    low, high = (found.stopped * end for end in (s.share.low, s.share.high))
    expected = found.stopped * s.better / s.n
    return (
        f"{told}. So about {expected:.0f} (95 %: {low:.0f} to {high:.0f}) of the {found.stopped} "
        "that were stopped would have."
    )
