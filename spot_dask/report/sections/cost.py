"""Time spent, when each training ran, and how busy the workers were."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import PathPatch
from matplotlib.path import Path
from matplotlib.ticker import FixedLocator, FuncFormatter

from spot_dask.records import Outcome
from spot_dask.report import figures, text
from spot_dask.report.blocks import Block, Details, NotShown, Text, how, table
from spot_dask.report.context import ReportContext
from spot_dask.stats import FloatArray
from spot_dask.stats.utilisation import SlotTime, lanes, slot_time

SHOWN_ROWS = 32
UNITS = ((2 * 3600.0, 3600.0, "hours"), (120.0, 60.0, "minutes"), (0.0, 1.0, "seconds"))


@dataclass(frozen=True)
class WorkerUse:
    """What a worker did; ``share`` is its training time over the study's working time."""

    name: str
    device: str
    trials: int
    seconds: float
    share: float


@dataclass(frozen=True)
class TrainingSpan:
    """When an attempt at a trial ran, in seconds of the study's working time, and where.

    ``end`` tells how it ended: a status, or ``repeated`` where another attempt followed.
    """

    trial: int
    worker: str
    begin: float
    finish: float
    end: str


@dataclass(frozen=True)
class Cost:
    """Training time, working time of the study (pauses between sessions left out), workers.

    Times are in seconds, mean, median and longest per training; ``repeated`` counts the attempts
    that had to be repeated and ``lost`` is their time. ``slots`` tells where the time of the slots
    went.
    """

    training: float
    wall: float
    mean: float
    median: float
    longest: float
    repeated: int
    lost: float
    workers: tuple[WorkerUse, ...]
    spans: tuple[TrainingSpan, ...]
    slots: SlotTime


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
        repeated = [r.outcome.seconds for r in fold.retries if math.isfinite(r.outcome.seconds)]
        wall, spans = fold.elapsed, _spans(context)
        last = max((s.finish for s in spans), default=0.0)
        return Cost(
            training=sum(spent),
            wall=wall,
            mean=statistics.fmean(spent) if spent else math.nan,
            median=statistics.median(spent) if spent else math.nan,
            longest=max(spent, default=math.nan),
            repeated=len(fold.retries),
            lost=sum(repeated),
            workers=tuple(
                WorkerUse(name, device, len(s), sum(s), sum(s) / wall if wall else math.nan)
                for (name, device), s in sorted(by_worker.items())
            ),
            spans=spans,
            slots=slot_time([s.begin for s in spans], [s.finish for s in spans], max(wall, last)),
        )

    def render(self, found: Cost, context: ReportContext) -> Sequence[Block]:
        if not found.workers:
            return [NotShown("no training has recorded its time")]
        times = (found.training, found.mean, found.median, found.longest, found.wall)
        titles = ("training, total", "mean", "median", "longest", "working time")
        blocks: list[Block] = [Text(_sentence(found), "lead")]
        if found.slots.slots:
            blocks.append(Text(_slots(found.slots)))
        blocks.append(table(titles, [tuple(map(text.seconds, times))]))
        if found.spans:
            blocks.append(_gantt(found))
        rows = []
        for w in found.workers:
            trained, busy = text.seconds(w.seconds), text.percent(w.share)
            rows.append((w.name or "–", w.device or "–", str(w.trials), trained, busy))
        each = table(("worker", "device", "trainings", "training time", "busy"), rows)
        explanation = (
            "Busy is a worker's training time over the whole working time of the study; a worker "
            "that joined late or trains several at once can be far from 100 %."
        )
        blocks += [
            Details(text.plural(len(rows), "worker"), [each, Text(explanation)]),
            how(
                "Begin and end of a training are read on the machine that trained; they are placed "
                "in the working time of the study, in which pauses between sessions are left out, "
                "by when its result arrived; a worker's clock is set by the result that arrived "
                "soonest. There are as many slots as trainings ever ran at "
                "once. The speed-up is the time of all trainings over the working time.",
                n=len(found.spans),
            ),
        ]
        return blocks


def _spans(context: ReportContext) -> tuple[TrainingSpan, ...]:
    """When trainings ran, in the order in which they ended."""
    arrivals = context.fold.arrivals
    times = np.array([a.time for a in arrivals])
    pauses = np.array([a.time - a.elapsed for a in arrivals])
    ended: list[tuple[int, Outcome, str, int]] = []
    for i, a in enumerate(arrivals):
        assert a.evaluation is not None
        e = a.evaluation
        ended.append((e.trial.number, e.outcome, e.outcome.status.value, i))
    late = _late(context)
    for r in context.fold.retries:
        if len(times):  # in the session in which the next result arrived
            at = r.outcome.finished + late.get(r.outcome.worker, 0.0)
            i = min(int(np.searchsorted(times, at)), len(times) - 1)
            ended.append((r.number, r.outcome, "repeated", i))
    found = []
    for number, o, end, i in ended:
        if math.isfinite(o.seconds) and o.seconds >= 0:
            finish = o.finished + late.get(o.worker, 0.0) - float(pauses[i])
            finish = max(o.seconds, min(finish, context.fold.elapsed))
            found.append(TrainingSpan(number, o.worker, finish - o.seconds, finish, end))
    return tuple(sorted(found, key=lambda s: (s.finish, s.trial)))


def _late(context: ReportContext) -> dict[str, float]:
    """How late each worker's clock is, judged by its result that arrived soonest."""
    delays: dict[str, float] = {}
    for a in context.fold.arrivals:
        assert a.evaluation is not None
        o = a.evaluation.outcome
        if math.isfinite(o.finished):
            delays[o.worker] = min(a.time - o.finished, delays.get(o.worker, math.inf))
    return delays


def _sentence(found: Cost) -> str:
    trained, worked = text.seconds(found.training), text.seconds(found.wall)
    said = f"{trained} of training in {worked} of working time"
    if found.wall > 0:
        said += f": {found.training / found.wall:.1f} trainings at once on average"
    if found.repeated:
        attempts = text.plural(found.repeated, "attempt")
        said += f". {attempts} had to be repeated because a worker was lost"
        if found.lost > 0:
            said += f", which took {text.seconds(found.lost)}"
    return f"{said}."


def _slots(s: SlotTime) -> str:
    parts = {
        "before the first training": s.begin,
        "between trainings": s.between,
        "after the last": s.end,
    }
    idle = ", ".join(f"{text.percent(share)} {name}" for name, share in parts.items())
    return (
        f"Of the time of {text.plural(s.slots, 'slot')}, {text.percent(s.training)} was training; "
        f"the rest was waiting: {idle}."
    )


def _gantt(found: Cost) -> Block:
    """The chart of when each training ran."""
    rows = gantt_rows(found.spans)
    names = list(rows)
    shown = names[:SHOWN_ROWS]
    caption = "When each training ran, by worker and slot"
    if len(shown) < len(names):
        caption += f"; {len(shown)} of {len(names)} rows shown"
    data = table(
        ("trial", "worker", "began", "took", "end"),
        [
            (
                str(s.trial),
                s.worker or "–",
                text.seconds(s.begin),
                text.seconds(s.finish - s.begin),
                s.end,
            )
            for s in found.spans
        ],
    )
    return figures.chart(
        lambda ax: draw_gantt(ax, {name: rows[name] for name in shown}, found.wall),
        "gantt",
        "When each training ran",
        f"{len(found.spans)} trainings on {len(names)} slots.",
        f"{caption}.",
        data,
        size=(figures.SIZE[0], 1.2 + 0.2 * max(4, len(shown))),
    )


def gantt_rows(spans: Sequence[TrainingSpan]) -> dict[str, list[TrainingSpan]]:
    """The trainings of each slot of each worker, by the name of the row."""
    rows: dict[str, list[TrainingSpan]] = {}
    for worker in sorted({s.worker for s in spans}):
        own = [s for s in spans if s.worker == worker]
        lane = lanes([s.begin for s in own], [s.finish for s in own])
        several = int(lane.max()) > 0
        for k, s in sorted(zip(lane.tolist(), own, strict=True), key=lambda item: item[0]):
            name = worker or "worker"
            rows.setdefault(f"{name} · {k + 1}" if several else name, []).append(s)
    return rows


def draw_gantt(ax: Axes, rows: dict[str, list[TrainingSpan]], wall: float) -> None:
    """Bars of trainings in rows; those without a result are in the second colour."""
    unit, name = next(u[1:] for u in UNITS if wall >= u[0])
    figures.frame(ax, f"working time ({name})", "", grid="x")
    for colour, ends in ((figures.ACCENT, ("ok",)), (figures.POINT, ("stopped",))):
        _bars(ax, [[s for s in row if s.end in ends] for row in rows.values()], unit, colour)
    others = [[s for s in row if s.end not in ("ok", "stopped")] for row in rows.values()]
    _bars(ax, others, unit, figures.SECOND)
    labels = [figures.short(label, 18) for label in rows]
    ax.yaxis.set_major_locator(FixedLocator([*map(float, range(len(labels)))]))
    ax.yaxis.set_major_formatter(
        FuncFormatter(lambda v, _: labels[round(v)] if 0 <= round(v) < len(labels) else "")
    )
    figures.plain_ticks(ax.xaxis)
    ax.set_xlim(0, max(wall / unit, 1e-9) * 1.01)
    ax.set_ylim(len(rows) - 0.5, -0.5)
    handles = [figures.dot_handle(figures.ACCENT, "trained")]
    if any(s.end == "stopped" for row in rows.values() for s in row):
        handles.append(figures.dot_handle(figures.POINT, "stopped early"))
    if any(others):
        handles.append(figures.dot_handle(figures.SECOND, "failed or repeated"))
    figures.legend(ax, handles)


def _bars(ax: Axes, rows: Sequence[Sequence[TrainingSpan]], unit: float, colour: str) -> None:
    """Bars as one path: rows at 0, 1, ..."""
    corners: list[FloatArray] = []
    for i, row in enumerate(rows):
        for s in row:
            left, right = s.begin / unit, s.finish / unit
            right -= 0.06 * (right - left)  # a gap between one and the next
            corners.append(
                np.array([(left, i - 0.36), (right, i - 0.36), (right, i + 0.36), (left, i + 0.36)])
            )
    if not corners:
        return
    at = np.concatenate([np.vstack([c, c[:1]]) for c in corners])
    one = np.array([Path.MOVETO, Path.LINETO, Path.LINETO, Path.LINETO, Path.CLOSEPOLY])
    path = Path(at, np.tile(one, len(corners)).astype(np.uint8))
    path.should_simplify = False
    ax.add_patch(PathPatch(path, facecolor=colour, edgecolor="none"))
    ax.update_datalim(at)
