"""Time spent and how busy the workers were."""

from __future__ import annotations

from collections.abc import Sequence

from spot_dask.report import text
from spot_dask.report.blocks import Block, Details, NotShown, Text, table
from spot_dask.report.facts import Cost, Findings


class Spent:
    title = "What did it cost?"
    order = 100

    def render(self, findings: Findings) -> Sequence[Block]:
        c = findings.cost
        if not c.workers:
            return [NotShown("no training has recorded its time")]
        workers = [
            (
                w.name or "–",
                w.device or "–",
                str(w.trials),
                text.seconds(w.seconds),
                text.percent(w.share),
            )
            for w in c.workers
        ]
        titles = ("worker", "device", "trainings", "training time", "busy")
        return [
            Text(_sentence(c)),
            table(
                ("training, total", "mean", "median", "longest", "working time"),
                [tuple(map(text.seconds, (c.training, c.mean, c.median, c.longest, c.wall)))],
            ),
            Details(f"{text.plural(len(workers), 'worker')}", [table(titles, workers), Text(_HOW)]),
        ]


_HOW = (
    "Busy is a worker's training time over the whole working time of the study; a worker that "
    "joined late or trains several at once can be far from 100 %."
)


def _sentence(c: Cost) -> str:
    said = f"{text.seconds(c.training)} of training in {text.seconds(c.wall)} of working time"
    if c.wall > 0:
        said += f": {c.training / c.wall:.1f} trainings at once on average"
    if c.repeated:
        said += (
            f". {text.plural(c.repeated, 'attempt')} had to be repeated because a worker was lost"
        )
    return f"{said}."
