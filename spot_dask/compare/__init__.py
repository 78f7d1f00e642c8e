"""Runs compared: which configuration is better, and which way to search.

These are two questions. Which of two *configurations* is better, trainings of both under fresh
seeds tell. Which *way to search* is better, only several runs of each tell, since one run of a
search is one draw of what it may find: nothing is concluded from fewer than MIN_RUNS runs a side.

Values are in the user's sign unless it is said that they are minimised.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import PurePath
from typing import Any

import numpy as np

from spot_dask.codec import number_to_json
from spot_dask.errors import StoreError
from spot_dask.inference.confirmed import fresh_values
from spot_dask.outputs import STORE
from spot_dask.records import Configuration
from spot_dask.run import Run
from spot_dask.stats import FloatArray
from spot_dask.stats.intervals import Interval, MeanEstimate
from spot_dask.stats.paired import compare_paired, holm
from spot_dask.stats.several import (
    MIN_RUNS,
    AnytimeBand,
    MethodRanking,
    Superiority,
    anytime_band,
    rank_methods,
    spread_targets,
    step_curve,
    superiority,
    targets_reached,
)
from spot_dask.stats.unpaired import compare_unpaired

POINTS = 200
"""The most points of a curve."""

DEFAULT = "default"
"""The group of the default configurations, where all are confirmed."""


@dataclass(frozen=True)
class ComparedRun:
    """What one run found. ``fresh`` has the tuned configuration's values by training seed.

    ``evaluations`` are those of the search, ``observed`` is what it saw of the configuration that
    it recommends; ``value`` and ``default`` are means over fresh seeds, None without any.
    """

    store: str
    label: str
    seed: int
    state: str
    evaluations: int
    failed: int
    config: Configuration
    observed: float
    value: MeanEstimate | None
    default: MeanEstimate | None
    fresh: Mapping[int, float]


@dataclass(frozen=True)
class RunGroup:
    """The runs of one way to search, or of one study."""

    label: str
    runs: tuple[ComparedRun, ...]


@dataclass(frozen=True)
class ConfigurationPair:
    """The tuned configurations of two runs compared by their fresh values.

    ``gain`` is by how much the first is better, with a 95 % ``interval``; ``p`` is two-sided and
    ``p_holm`` adjusted for the number of pairs. ``method`` is ``paired`` where the seeds are the
    same and ``Welch`` where they are not; ``n`` counts the values of each.
    """

    first: str
    second: str
    method: str
    n: tuple[int, int]
    gain: float
    interval: Interval
    p: float
    p_holm: float


@dataclass(frozen=True)
class Outdone:
    """How often a run of the first group ends better than one of the second; Holm's p beside p."""

    first: str
    second: str
    better: Superiority
    p_holm: float


@dataclass(frozen=True)
class SearchCurve:
    """Of a group, at each of the comparison's counts: the band, and the share of targets reached.

    The band is of the best value so far, minimised.
    """

    label: str
    band: AnytimeBand
    reached: FloatArray


@dataclass(frozen=True)
class SearchComparison:
    """Groups of MIN_RUNS runs or more, compared by the value that each run ends with.

    ``confirmed`` tells whether these ``values`` (by group) are means over fresh seeds of what a run
    recommends; else they are the best that it observed. ``bands`` are their medians with intervals.
    ``ranking`` is None where fewer than MIN_RUNS study seeds are shared by all groups, which are
    ``seeds``; ``ranked`` names its methods. ``counts`` are numbers of evaluations of a search.
    """

    confirmed: bool
    values: Mapping[str, tuple[float, ...]]
    bands: Mapping[str, tuple[float, Interval, float]]
    pairs: tuple[Outdone, ...]
    seeds: tuple[int, ...]
    ranked: tuple[str, ...]
    ranking: MethodRanking | None
    counts: FloatArray
    curves: tuple[SearchCurve, ...]


@dataclass(frozen=True)
class RunsComparison:
    """All that is told of several runs of one objective."""

    objective: str
    direction: str
    groups: tuple[RunGroup, ...]
    pairs: tuple[ConfigurationPair, ...]
    searches: SearchComparison | None
    notes: tuple[str, ...]

    @property
    def sign(self) -> float:
        """-1 where the objective is maximised."""
        return -1.0 if self.direction == "max" else 1.0


def compare(runs: Sequence[Run]) -> RunsComparison:
    """Compare runs of one objective, each of its own store.

    They are grouped by ``search`` where that differs, else by the name of their study, else each
    is its own group. Raises StoreError, in one line, for fewer than two runs, a store named twice,
    runs of different objectives, and a run without a result.
    """
    _check(runs)
    first = runs[0].header
    groups = _grouped(runs)
    notes = [*_notes(runs)]
    pairs: tuple[ConfigurationPair, ...] = ()
    searches = None
    least = min(len(group.runs) for group in groups)
    if least >= MIN_RUNS:
        by_store = {str(run.path): run for run in runs}
        searches = _searches(groups, by_store)
        if searches.ranking is None:
            notes.append(
                f"{len(searches.seeds)} study seeds are shared by all groups; ranks are told from "
                f"{MIN_RUNS} on"
            )
    else:
        notes.append(
            f"descriptive only: {least} run{'s' if least > 1 else ''} of a group, and ways to "
            f"search are compared by at least {MIN_RUNS} runs each"
        )
    if all(len(group.runs) == 1 for group in groups):
        pairs = _pairs([group.runs[0] for group in groups], runs[0].sign)
        if not pairs:
            notes.append("no two of them are confirmed; `spot-dask confirm STORE` does that")
    return RunsComparison(first.objective, first.direction, groups, pairs, searches, tuple(notes))


def to_json(item: Any) -> Any:
    """Facts as JSON can hold them; NaN and infinities as strings."""
    if dataclasses.is_dataclass(item):
        return {f.name: to_json(getattr(item, f.name)) for f in dataclasses.fields(item)}
    if isinstance(item, Mapping):
        return {str(key): to_json(value) for key, value in item.items()}
    if isinstance(item, np.ndarray):
        return to_json(item.tolist())
    if isinstance(item, list | tuple):
        return [to_json(value) for value in item]
    return number_to_json(item) if isinstance(item, float) else item


def _check(runs: Sequence[Run]) -> None:
    if len(runs) < 2:
        raise StoreError("one run is nothing to compare; name at least two stores")
    known: dict[str, Run] = {}
    for run in runs:
        if run.header.run_id in known:
            other = known[run.header.run_id].path
            raise StoreError(f"{run.path} is the same run as {other}; name each run once")
        known[run.header.run_id] = run
        here, there = ((r.header.direction, r.header.objective) for r in (run, runs[0]))
        if here != there:
            raise StoreError(
                f"{run.path} {here[0]}imises {here[1]} and {runs[0].path} {there[0]}imises "
                f"{there[1]}; runs of one objective can be compared"
            )
        if not run.history.searched.ok:
            raise StoreError(f"{run.path} has no successful trial yet, so it cannot be compared")


def _grouped(runs: Sequence[Run]) -> tuple[RunGroup, ...]:
    searches = [str(run.settings.get("search", "spot")) for run in runs]
    labels = searches if len(set(searches)) > 1 else [run.header.name for run in runs]
    if len(set(labels)) == 1:
        labels = [PurePath(str(run.path)).name.removesuffix(STORE) for run in runs]
        if len(set(labels)) < len(runs):
            labels = [str(run.path) for run in runs]
    groups: dict[str, list[ComparedRun]] = {}
    for run, label in zip(runs, labels, strict=True):
        groups.setdefault(label, []).append(_found(run, label))
    return tuple(
        RunGroup(label, tuple(sorted(found, key=lambda r: r.seed)))
        for label, found in groups.items()
    )


def _found(run: Run, label: str) -> ComparedRun:
    best, confirmed, searched = run.best, run.confirmed, run.history.searched
    assert best is not None  # something succeeded
    fresh = fresh_values(run.history, best.config, run.sign)
    seeds = {e.trial.number: e.trial.seed for e in run.history.confirmations}
    default = None
    if confirmed is not None:
        default = confirmed.value if confirmed.is_default else confirmed.default
    return ComparedRun(
        store=str(run.path),
        label=label,
        seed=run.settings["seed"],
        state=run.state,
        evaluations=len(searched.evaluations),
        failed=len(searched.failed),
        config=best.config,
        observed=run.signed(best.observed),
        value=None if confirmed is None else confirmed.value,
        default=default,
        fresh={seeds[n]: v for n, v in zip(fresh.trials, fresh.values, strict=True)},
    )


def _notes(runs: Sequence[Run]) -> list[str]:
    """What a reader has to know of runs that were not done alike."""
    notes = []
    if unfinished := [str(run.path) for run in runs if run.state != "done"]:
        notes.append(f"not done yet: {', '.join(unfinished)}")
    if len({run.header.space_hash for run in runs}) > 1:
        notes.append("the search spaces differ")
    sizes = {len(run.history.searched.evaluations) for run in runs}
    if len(sizes) > 1:
        notes.append(f"the searches had between {min(sizes)} and {max(sizes)} evaluations")
    return notes


def _pairs(runs: Sequence[ComparedRun], sign: float) -> tuple[ConfigurationPair, ...]:
    found: list[ConfigurationPair] = []
    for first, second in combinations(runs, 2):
        shared = sorted(first.fresh.keys() & second.fresh.keys())
        a, b = (sign * np.array([run.fresh[s] for s in shared]) for run in (first, second))
        if len(shared) >= 2:
            paired = compare_paired(default=b, tuned=a)
            p = min(1.0, 2 * min(paired.p_t, 1 - paired.p_t))
            size, gain, interval = (len(a), len(b)), paired.mean, paired.t
        elif min(len(first.fresh), len(second.fresh)) >= 2:
            a, b = (sign * np.array(list(run.fresh.values())) for run in (first, second))
            welch = compare_unpaired(a, b)
            size, gain, interval, p = (len(a), len(b)), welch.mean, welch.t, welch.p
        else:
            continue
        method = "paired" if len(shared) >= 2 else "Welch"
        found.append(
            ConfigurationPair(first.label, second.label, method, size, gain, interval, p, p)
        )
    adjusted = holm([pair.p for pair in found])
    return tuple(
        dataclasses.replace(pair, p_holm=float(p)) for pair, p in zip(found, adjusted, strict=True)
    )


def _searches(groups: Sequence[RunGroup], runs: Mapping[str, Run]) -> SearchComparison:
    sign = next(iter(runs.values())).sign
    all_runs = [run for group in groups for run in group.runs]
    confirmed = all(run.value is not None for run in all_runs)
    values = {g.label: tuple(_final(run, confirmed) for run in g.runs) for g in groups}
    pairs = [
        (a, b, superiority(sign * np.array(values[a]), sign * np.array(values[b])))
        for a, b in combinations(values, 2)
    ]
    adjusted = holm([better.p for _, _, better in pairs])
    bands = {}
    for label, found in values.items():
        band = anytime_band(sign * np.array(found)[:, None])
        ends = sorted((sign * float(band.low[0]), sign * float(band.high[0])))
        bands[label] = (sign * float(band.median[0]), Interval(*ends), band.coverage)
    seeds, columns = _columns(groups, confirmed)
    ranking = None
    if len(seeds) >= MIN_RUNS:
        ranking = rank_methods(sign * np.array(list(columns.values())).T)
    counts, curves = _curves(groups, runs)
    return SearchComparison(
        confirmed=confirmed,
        values=values,
        bands=bands,
        pairs=tuple(
            Outdone(a, b, better, float(p))
            for (a, b, better), p in zip(pairs, adjusted, strict=True)
        ),
        seeds=tuple(seeds),
        ranked=tuple(columns),
        ranking=ranking,
        counts=counts,
        curves=curves,
    )


def _columns(
    groups: Sequence[RunGroup], confirmed: bool
) -> tuple[list[int], dict[str, list[float]]]:
    """The study seeds that all groups have, and what each method ends with under them.

    The default is a method where it is confirmed under each of these seeds.
    """
    by_seed = {g.label: {run.seed: _final(run, confirmed) for run in g.runs} for g in groups}
    seeds = sorted(set.intersection(*(set(found) for found in by_seed.values())))
    defaults = {
        run.seed: run.default.mean
        for group in groups
        for run in group.runs
        if confirmed and run.default is not None
    }
    if DEFAULT not in by_seed and all(seed in defaults for seed in seeds):
        by_seed[DEFAULT] = defaults
    return seeds, {label: [found[s] for s in seeds] for label, found in by_seed.items()}


def _final(run: ComparedRun, confirmed: bool) -> float:
    """The value that a run is judged by."""
    return run.value.mean if confirmed and run.value is not None else run.observed


def _curves(
    groups: Sequence[RunGroup], runs: Mapping[str, Run]
) -> tuple[FloatArray, tuple[SearchCurve, ...]]:
    most = max(run.evaluations for group in groups for run in group.runs)
    counts = np.unique(np.rint(np.linspace(1, most, min(most, POINTS))))
    found = {
        group.label: np.array([_curve(runs[run.store], counts) for run in group.runs])
        for group in groups
    }
    targets = spread_targets(list(found.values()))
    return counts, tuple(
        SearchCurve(label, anytime_band(curves), targets_reached(curves, targets))
        for label, curves in found.items()
    )


def _curve(run: Run, counts: FloatArray) -> FloatArray:
    """The best value so far, minimised, after so many evaluations of the search."""
    settled, found = run.context.settled, run.context.magnitudes
    back = float if found is None else found.own.returned  # runs may have different units
    y = [
        back(settled[number].y) if (number := a.evaluation.trial.number) in settled else math.nan
        for a in run.fold.arrivals
        if a.evaluation is not None and not a.evaluation.trial.confirms
    ]
    return step_curve(np.arange(1, len(y) + 1), y, counts)
