"""A parallel run is repeated by its seed and its recorded order of events."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from spot_dask import Budget, Design, Real, Run, Space, Study
from spot_dask.fold import Fold
from spot_dask.records import Asked, Imported, Record
from spot_dask.tuner import Tuner


def train(cfg: Any) -> float:
    time.sleep(0.02 + 0.1 * cfg.y)  # of very different durations
    return float((cfg.x - 0.3) ** 2 + 0.1 * cfg.y)


SPACE = Space(x=Real(0.0, 1.0, default=0.9), y=Real(0.0, 1.0, default=0.5))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A real asynchronous run on three slots, whose trainings are shorter than its proposals."""
    home = tmp_path_factory.mktemp("runs")
    study = Study(SPACE, train, seed=3, design=Design(initial=6))
    study.run(Budget(evaluations=5), local=0, store=home / "old.zarr")
    warm = [home / "old.zarr"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Tuner, "ask", slowly(Tuner.ask))
        return study.run(Budget(evaluations=14), local=3, store=home / "a.zarr", warm_start=warm)


def slowly(ask: Any) -> Any:
    def wrapped(*args: Any) -> Any:
        time.sleep(0.2)
        return ask(*args)

    return wrapped


def again(run: Run, records: list[Record]) -> list[str]:
    """The deviations of a journal of these records."""
    forged = replace(run)
    vars(forged)["fold"] = Fold.of(records)
    return forged.deviations()


@pytest.mark.dask
def test_an_asynchronous_run_is_repeated_by_its_recorded_order(run: Run) -> None:
    assert run.deviations() == []
    assert sorted(e.trial.number for e in run.history.evaluations) == list(range(14))
    assert any(isinstance(r.entry, Imported) and r.entry.items for r in run.journal.records())
    # Results arrived while proposals were made, and trials were proposed before a slot was free.
    asked = [r.seq for r in run.journal.records() if isinstance(r.entry, Asked)]
    told = [a.seq for a in run.fold.arrivals]
    assert any(
        batch.told != sum(s < seq for s in told)
        for batch, seq in zip(run.fold.batches, asked, strict=True)
    )


@pytest.mark.dask
def test_a_journal_that_tells_another_order_is_noticed(run: Run) -> None:
    written = run.journal.records()
    last = [r for r in written if isinstance(r.entry, Asked)][-1]
    assert isinstance(last.entry, Asked)
    assert last.entry.known is not None
    forged = replace(last, entry=replace(last.entry, known=last.entry.known - 5))
    records = [forged if r is last else r for r in written]
    found = again(run, records)
    assert found
    assert all(f"trial {last.entry.trials[0].number + i}" in f for i, f in enumerate(found))


def test_a_journal_without_the_number_known_tells_what_came_before(tmp_path: Path) -> None:
    study = Study(SPACE, lambda cfg: float(cfg.x), seed=1, design=Design(initial=4))
    run = study.run(Budget(evaluations=8), local=0, store=tmp_path / "a.zarr")
    records = [
        replace(r, entry=Asked(r.entry.trials)) if isinstance(r.entry, Asked) else r
        for r in run.journal.records()
    ]
    assert again(run, records) == []
