"""What the records of a store say, without any model."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from spot_dask.records import (
    Asked,
    Closed,
    Evaluation,
    Header,
    Imported,
    Opened,
    Origin,
    Record,
    Retried,
    Told,
    Trial,
)
from spot_dask.report.facts import (
    Cost,
    Curve,
    Curves,
    FailureGroup,
    Missing,
    Progress,
    Row,
    Run,
    WarmStart,
    Worker,
)
from spot_dask.stats.progress import expected_best, incumbent_curve

SHOWN_CURVES = 5


@dataclass(frozen=True)
class Arrival:
    """An evaluation and the working time of the study (seconds) when it was recorded."""

    evaluation: Evaluation
    elapsed: float


@dataclass(frozen=True)
class Digest:
    """The records of a study sorted out; ``sign`` turns a minimised value into the user's."""

    header: Header
    arrivals: tuple[Arrival, ...]
    asked: tuple[Trial, ...]
    retried: tuple[Retried, ...]
    imported: tuple[Imported, ...]
    sessions: int
    wall: float
    ended: str

    @property
    def sign(self) -> float:
        return -1.0 if self.header.direction == "max" else 1.0

    @property
    def evaluations(self) -> tuple[Evaluation, ...]:
        """The evaluations by trial number."""
        found = (a.evaluation for a in self.arrivals)
        return tuple(sorted(found, key=lambda e: e.trial.number))

    @property
    def ranked(self) -> tuple[Evaluation, ...]:
        """The successful evaluations, the best observed one first."""
        return tuple(sorted((e for e in self.evaluations if e.ok), key=lambda e: e.y))


def digest(header: Header, records: Sequence[Record]) -> Digest:
    """Sort the records of a store out."""
    clock = _working_time(records)
    entries = [r.entry for r in records]
    last = entries[-1] if entries else None
    return Digest(
        header=header,
        arrivals=tuple(
            Arrival(r.entry.evaluation, t)
            for r, t in zip(records, clock, strict=True)
            if isinstance(r.entry, Told)
        ),
        asked=tuple(t for e in entries if isinstance(e, Asked) for t in e.trials),
        retried=tuple(e for e in entries if isinstance(e, Retried)),
        imported=tuple(e for e in entries if isinstance(e, Imported)),
        sessions=sum(isinstance(e, Opened) for e in entries),
        wall=clock[-1] if clock else 0.0,
        ended=last.reason if isinstance(last, Closed) else "",
    )


def _working_time(records: Sequence[Record]) -> list[float]:
    """Seconds of work before each record: pauses between sessions do not count."""
    elapsed, clock = 0.0, []
    for i, record in enumerate(records):
        before = records[i - 1] if i else record
        if record.epoch == before.epoch:
            elapsed += max(0.0, record.time - before.time)
        clock.append(elapsed)
    return clock


def run(digest: Digest) -> Run:
    h = digest.header
    return Run(
        run_id=h.run_id,
        name=h.name,
        created=h.created,
        objective=h.objective,
        direction=h.direction,
        sessions=digest.sessions,
        ended=digest.ended,
        settings=h.settings,
        study=h.study,
        versions=h.versions,
        space=h.space,
        space_hash=h.space_hash,
    )


def rows(digest: Digest) -> tuple[Row, ...]:
    """All evaluated trials by number."""
    found = (_row(a, digest.sign) for a in digest.arrivals)
    return tuple(sorted(found, key=lambda row: row.number))


def _row(arrival: Arrival, sign: float) -> Row:
    e = arrival.evaluation
    return Row(
        number=e.trial.number,
        origin=e.trial.origin.value,
        config=e.trial.config,
        seed=e.trial.seed,
        replicate=e.trial.replicate,
        status=e.outcome.status.value,
        y=sign * e.y if e.ok else math.nan,
        seconds=e.outcome.seconds,
        elapsed=arrival.elapsed,
        worker=e.outcome.worker,
        device=e.outcome.device,
        attempt=e.attempt,
        metrics=e.outcome.metrics,
        error=e.outcome.error,
    )


def progress(digest: Digest) -> Progress | Missing:
    if not digest.ranked:
        return Missing("no evaluation has succeeded")
    found = [a.evaluation for a in digest.arrivals]
    y = np.array([e.y if e.ok else math.nan for e in found])
    return Progress(
        number=tuple(e.trial.number for e in found),
        elapsed=tuple(a.elapsed for a in digest.arrivals),
        y=_floats(digest.sign * y),
        best=_floats(digest.sign * incumbent_curve(y)),
        initial=tuple(e.trial.origin not in (Origin.INFILL, Origin.REPLICATE) for e in found),
        random=_random_search(digest),
        stopped=tuple(e.stopped for e in found),
    )


def _random_search(digest: Digest) -> tuple[float, ...]:
    """Expected best of 1, 2, ... random evaluations, as many as the design has."""
    drawn = [e.y for e in digest.ranked if e.trial.origin is Origin.DESIGN]
    if len(drawn) < 2:
        return ()
    return _floats(digest.sign * expected_best(np.array(drawn), len(drawn)))


def _floats(values: Iterable[float]) -> tuple[float, ...]:
    return tuple(float(v) for v in values)


def curves(digest: Digest) -> Curves | Missing:
    """Learning curves of the best few trials that reported any."""
    told = [e for e in digest.ranked if _finite_curves(e)]
    if not told:
        return Missing("no successful training reported values by epoch")
    best = told[:SHOWN_CURVES]
    names = sorted({name for e in best for name in e.outcome.curves})
    metrics = {
        name: tuple(
            Curve(e.trial.number, _floats(e.outcome.curves[name]))
            for e in best
            if name in e.outcome.curves
        )
        for name in names
    }
    judged = digest.header.objective if digest.header.objective in names else ""
    full = [c.values for c in metrics.get(judged, ()) if len(c.values) > 1]
    ends = sum(_best_is_last(values, digest.sign) for values in full)
    return Curves(metrics, judged, ends, len(full))


def _finite_curves(e: Evaluation) -> bool:
    return any(math.isfinite(v) for curve in e.outcome.curves.values() for v in curve)


def _best_is_last(values: tuple[float, ...], sign: float) -> bool:
    """Whether the last epoch is the best one; ``values`` are in the user's sign."""
    signed = [sign * v if math.isfinite(v) else math.inf for v in values]
    return math.isfinite(signed[-1]) and signed[-1] <= min(signed)


def cost(digest: Digest) -> Cost:
    outcomes = [a.evaluation.outcome for a in digest.arrivals] + [r.outcome for r in digest.retried]
    spent = [o.seconds for o in outcomes if math.isfinite(o.seconds)]
    by_worker: dict[tuple[str, str], list[float]] = {}
    for o in outcomes:
        if math.isfinite(o.seconds):
            by_worker.setdefault((o.worker, o.device), []).append(o.seconds)
    return Cost(
        training=sum(spent),
        wall=digest.wall,
        mean=statistics.fmean(spent) if spent else math.nan,
        median=statistics.median(spent) if spent else math.nan,
        longest=max(spent, default=math.nan),
        repeated=len(digest.retried),
        workers=tuple(
            Worker(name, device, len(s), sum(s), sum(s) / digest.wall if digest.wall else math.nan)
            for (name, device), s in sorted(by_worker.items())
        ),
    )


def failures(digest: Digest) -> tuple[FailureGroup, ...]:
    """Failed trials grouped by how they failed, the most frequent group first."""
    groups: dict[tuple[str, str, str], list[Evaluation]] = {}
    for e in digest.evaluations:
        if e.failed:
            error = e.outcome.error
            key = ("", "") if error is None else (error.type, error.message)
            groups.setdefault((e.outcome.status.value, *key), []).append(e)
    ordered = sorted(groups.items(), key=lambda g: (-len(g[1]), g[0]))
    return tuple(
        FailureGroup(
            status=status,
            type=kind,
            message=message,
            numbers=tuple(e.trial.number for e in found),
            traceback=next((e.outcome.error.traceback for e in found if e.outcome.error), ""),
        )
        for (status, kind, message), found in ordered
    )


def warm_starts(digest: Digest) -> tuple[WarmStart, ...]:
    return tuple(
        WarmStart(i.source, len(i.items), tuple(i.dropped), i.mode, tuple(i.assumed))
        for i in digest.imported
    )
