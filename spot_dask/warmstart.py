"""Warm start: what an earlier run's evaluations are worth to a new study.

Parameters are mapped by name, type and bounds; an evaluation that has no equivalent in the new
space is dropped, and why is recorded. The source is only read.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from spot_dask.errors import StoreError
from spot_dask.records import Configuration, Import, Imported
from spot_dask.run import Run
from spot_dask.space import Space
from spot_dask.store import Header


def take_over(sources: Sequence[Run], header: Header) -> list[Imported]:
    """The sources' successful evaluations as those of the study that ``header`` describes.

    What a source had itself imported comes along; an evaluation that reaches the study by two
    ways counts once. Raises StoreError if a source does not have the study's objective in the
    same direction.
    """
    taken: set[tuple[str, int]] = set()
    return [_take(source, header, taken) for source in sources]


def _take(source: Run, header: Header, taken: set[tuple[str, int]]) -> Imported:
    theirs = (source.header.objective, source.header.direction)
    ours = (header.objective, header.direction)
    if theirs != ours:
        raise StoreError(
            f"{source.path} cannot warm-start this study: its objective is {theirs[0]} "
            f"({theirs[1]}imised), this study's is {ours[0]} ({ours[1]}imised)"
        )
    space = Space.from_json(header.space)
    items = []
    dropped = [f"trial {e.trial.number}: it had failed" for e in source.history.failed]
    for run, number, config, y in _evaluations(source):
        if (run, number) in taken:
            dropped.append(f"trial {number}: it was taken already")
            continue
        try:
            items.append(Import(space.adopt(config, source.space), y, run, number))
            taken.add((run, number))
        except ValueError as error:
            dropped.append(f"trial {number}: {error}")
    return Imported(str(source.path), tuple(items), tuple(dropped))


def _evaluations(source: Run) -> Iterator[tuple[str, int, Configuration, float]]:
    """Run, trial number, configuration and value of all the source knows."""
    for item in source.history.imports:
        yield item.source_run, item.source_trial, item.config, item.y
    for evaluation in source.history.ok:
        trial = evaluation.trial
        yield source.header.run_id, trial.number, trial.config, evaluation.y


def summary(imported: Imported) -> str:
    """One line: how many evaluations were taken, how many dropped, and over what."""
    total = len(imported.items) + len(imported.dropped)
    line = f"took {len(imported.items)} of {total} evaluations"
    if not imported.dropped:
        return line
    # "trial 7: lr: 0.5 is above ..." or "trial 8: it had failed": group by the part after trial.
    over = Counter(reason.split(": ")[1] for reason in imported.dropped)
    causes = ", ".join(f"{count} for {cause}" for cause, count in over.most_common())
    first = imported.dropped[0]
    return f"{line}; dropped {len(imported.dropped)} ({causes}; the first: {first})"
