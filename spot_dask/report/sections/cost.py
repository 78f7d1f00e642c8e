"""Time spent and how busy the workers were."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from spot_dask.report import text
from spot_dask.report.blocks import Block, Details, NotShown, Text, table
from spot_dask.report.context import ReportContext


@dataclass(frozen=True)
class WorkerUse:
    """What a worker did; ``share`` is its training time over the study's working time."""

    name: str
    device: str
    trials: int
    seconds: float
    share: float


@dataclass(frozen=True)
class Cost:
    """Training time, working time of the study (pauses between sessions left out), workers.

    Times are in seconds, mean, median and longest per training; ``repeated`` counts the attempts
    that had to be repeated.
    """

    training: float
    wall: float
    mean: float
    median: float
    longest: float
    repeated: int
    workers: tuple[WorkerUse, ...]


class CostSection:
    title = "What did it cost?"
    order = 150

    def facts(self, context: ReportContext) -> Cost:
        fold = context.fold
        outcomes = [e.outcome for e, _ in context.arrivals]
        outcomes += [retry.outcome for retry in fold.retries]
        by_worker: dict[tuple[str, str], list[float]] = {}
        for o in outcomes:
            if math.isfinite(o.seconds):
                by_worker.setdefault((o.worker, o.device), []).append(o.seconds)
        spent = [o.seconds for o in outcomes if math.isfinite(o.seconds)]
        wall = fold.elapsed
        return Cost(
            training=sum(spent),
            wall=wall,
            mean=statistics.fmean(spent) if spent else math.nan,
            median=statistics.median(spent) if spent else math.nan,
            longest=max(spent, default=math.nan),
            repeated=len(fold.retries),
            workers=tuple(
                WorkerUse(name, device, len(s), sum(s), sum(s) / wall if wall else math.nan)
                for (name, device), s in sorted(by_worker.items())
            ),
        )

    def render(self, found: Cost, context: ReportContext) -> Sequence[Block]:
        if not found.workers:
            return [NotShown("no training has recorded its time")]
        trained, worked = text.seconds(found.training), text.seconds(found.wall)
        said = f"{trained} of training in {worked} of working time"
        if found.wall > 0:
            said += f": {found.training / found.wall:.1f} trainings at once on average"
        if found.repeated:
            attempts = text.plural(found.repeated, "attempt")
            said += f". {attempts} had to be repeated because a worker was lost"
        times = (found.training, found.mean, found.median, found.longest, found.wall)
        titles = ("training, total", "mean", "median", "longest", "working time")
        total = table(titles, [tuple(map(text.seconds, times))])
        rows = []
        for w in found.workers:
            trained, busy = text.seconds(w.seconds), text.percent(w.share)
            rows.append((w.name or "–", w.device or "–", str(w.trials), trained, busy))
        each = table(("worker", "device", "trainings", "training time", "busy"), rows)
        explanation = (
            "Busy is a worker's training time over the whole working time of the study; a worker "
            "that joined late or trains several at once can be far from 100 %."
        )
        workers = Details(text.plural(len(rows), "worker"), [each, Text(explanation)])
        return [Text(f"{said}."), total, workers]
