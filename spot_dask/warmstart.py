"""Warm start: what an earlier run's evaluations are worth to a new study.

Parameters are mapped by name, type and bounds; an evaluation that has no equivalent in the new
space is dropped, and why is recorded. The source is only read.
"""

from __future__ import annotations

from collections import Counter

from spot_dask.errors import StoreError
from spot_dask.records import Import, Imported
from spot_dask.run import Run
from spot_dask.space import Space
from spot_dask.store import Header


def take_over(source: Run, header: Header) -> Imported:
    """The source's successful evaluations as those of the study that ``header`` describes.

    Raises StoreError if the two runs do not have the same objective in the same direction.
    """
    theirs = (source.header.objective, source.header.direction)
    ours = (header.objective, header.direction)
    if theirs != ours:
        raise StoreError(
            f"{source.path} cannot warm-start this study: its objective is {theirs[0]} "
            f"({theirs[1]}imised), this study's is {ours[0]} ({ours[1]}imised)"
        )
    space = Space.from_json(header.space)
    items, dropped = [], []
    for evaluation in source.history.evaluations:
        number = evaluation.trial.number
        if not evaluation.ok:
            dropped.append(f"trial {number}: it had failed")
            continue
        try:
            config = space.adopt(evaluation.trial.config, source.space)
        except ValueError as error:
            dropped.append(f"trial {number}: {error}")
            continue
        items.append(Import(config, evaluation.y, source.header.run_id, number))
    return Imported(str(source.path), tuple(items), tuple(dropped))


def summary(imported: Imported) -> str:
    """One line: how many evaluations were taken, how many dropped, and why."""
    total = len(imported.items) + len(imported.dropped)
    line = f"took {len(imported.items)} of {total} evaluations"
    if not imported.dropped:
        return line
    reasons = Counter(reason.partition(": ")[2] for reason in imported.dropped).most_common(3)
    return line + "; dropped " + ", ".join(f"{count} ({reason})" for reason, count in reasons)
