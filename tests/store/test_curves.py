"""Long learning curves are kept in arrays of their own, as safely as the record that names them."""

import dataclasses
import errno
import math
from contextlib import suppress

import numpy as np
import pytest
import zarr
from store_examples import HEADER, succeeded
from test_journal_crashes import file_system

from spot_dask.errors import StoreCorrupt, StoreError
from spot_dask.records import Closed, Evaluation, Outcome, Retried, Status, Told
from spot_dask.store import curves
from spot_dask.store.journal import Journal


def told(n=curves.LARGE, number=0):
    """An evaluation with n + 3 values of its curves, some of them no numbers."""
    short = succeeded(number).evaluation
    rng = np.random.default_rng(n + number)
    long = tuple(rng.normal(size=n).tolist())
    kept = {"loss": long, "empty": (), "lr": (math.inf, math.nan, -math.inf)}
    return Told(Evaluation(short.trial, dataclasses.replace(short.outcome, curves=kept)))


@pytest.fixture
def path(tmp_path):
    return tmp_path / "run.zarr"


@pytest.fixture
def journal(path):
    journal = Journal.create(path, HEADER, durability="process")
    yield journal
    journal.close()


def arrays(path):
    return sorted(p.name for p in (path / "curves").glob("*") if p.is_dir())


@pytest.mark.parametrize("entry", [told(), Retried(3, 0, told().evaluation.outcome)])
def test_long_curves_come_back_exactly_from_an_array_and_the_record_is_small(path, journal, entry):
    acknowledged = journal.append(entry)
    assert repr(acknowledged.entry) == repr(entry)
    assert repr(Journal.open(path).records()[1].entry) == repr(entry)
    assert (path / "log/c/0/1").stat().st_size < 1000
    (name,) = arrays(path)
    group = zarr.open_group(path, mode="r")
    outcome = entry.evaluation.outcome if isinstance(entry, Told) else entry.outcome
    values = np.concatenate([*map(np.array, outcome.curves.values())])
    np.testing.assert_array_equal(group[f"curves/{name}"][:], values)
    assert sorted(key for key, _ in group.members()) == ["curves", "log"]


def test_short_curves_stay_in_the_record(path, journal):
    journal.append(told(curves.LARGE - 3))
    assert not (path / "curves").exists()
    journal.append(told(curves.LARGE - 2))
    assert len(arrays(path)) == 1


def test_an_array_is_durable_before_the_record_that_names_it(path):
    with file_system() as system:
        journal = Journal.create(path, HEADER)
        system.calls.clear()
        journal.append(told())
        journal.close()
    calls = [(name, at.removeprefix(f"{path}/")) for name, at in system.calls]
    linked = max(i for i, (name, _) in enumerate(calls) if name == "link")
    (name,) = arrays(path)
    for place in ("curves", f"curves/{name}", f"curves/{name}/c"):
        parent = place.rpartition("/")[0]
        made = calls.index(("mkdir", place))
        assert made < calls.index(("fsync", parent or str(path)), made) < linked
        assert calls.index(("fsync", place)) < linked
    links = [i for i, (name, _) in enumerate(calls) if name == "link"]
    writes = [i for i, (name, _) in enumerate(calls) if name == "write"]
    assert len(links) == len(writes) == 4
    for write, link in zip(writes, links, strict=True):
        assert "fsync" in [name for name, _ in calls[write:link]]


def test_the_curves_of_a_batch_are_few_only_if_they_are_few_together(path, journal):
    few = curves.LARGE // 2
    batch = [told(few, number=0), told(3, number=1), told(few - 3, number=2)]
    journal.commit(batch[1:])
    assert arrays(path) == []
    journal.commit(batch)
    assert len(arrays(path)) == 2
    found = [record.entry for record in Journal.open(path).records()[1:]]
    assert repr(found) == repr(batch[1:] + batch)


@pytest.mark.parametrize("step", range(0, 27, 2))
def test_an_array_left_by_a_failure_is_used_when_the_entry_is_appended_again(path, journal, step):
    with file_system(step, error=errno.EIO), suppress(StoreError):
        journal.append(told())
    journal.append(told())
    journal.append(told())
    journal.append(told(number=1))
    kept = [r.entry.evaluation.trial.number for r in Journal.open(path).records()[1:]]
    assert kept[-3:] == [0, 0, 1]
    assert len(arrays(path)) == 2


def test_every_changed_byte_of_an_array_is_reported(path, journal):
    journal.append(told())
    place = path / curves.chunk_of(arrays(path)[0])
    data = place.read_bytes()
    for position in [*range(0, len(data), 997), len(data) - 1]:
        damaged = bytearray(data)
        damaged[position] ^= 1
        place.write_bytes(damaged)
        with pytest.raises(StoreCorrupt, match=r"log/c/0/1 is damaged: curves/.*/c/0 is not what"):
            Journal.open(path).records()
    for length in (0, 3, len(data) - 1):
        place.write_bytes(data[:length])
        with pytest.raises(StoreCorrupt, match=r"curves/.*/c/0 is not what"):
            Journal.open(path).records()
    place.unlink()
    with pytest.raises(StoreCorrupt, match=r"curves/.*/c/0 is missing"):
        Journal.open(path).records()


def test_swapped_arrays_are_noticed(path, journal):
    journal.append(told(number=0))
    journal.append(told(number=1))
    one, other = (path / curves.chunk_of(name) for name in arrays(path))
    one.rename(path / "x")
    other.rename(one)
    (path / "x").rename(other)
    with pytest.raises(StoreCorrupt, match="is not what was written"):
        Journal.open(path).records()


def test_an_array_that_was_damaged_before_it_is_needed_again_is_not_built_upon(path, journal):
    journal.append(told())
    place = path / curves.chunk_of(arrays(path)[0])
    place.write_bytes(place.read_bytes()[:-1])
    with pytest.raises(StoreCorrupt, match="is not what was written"):
        journal.append(told())
    assert journal.append(Closed("x")).seq == 2


def test_a_failed_outcome_may_have_long_curves_too(path, journal):
    entry = told().evaluation
    failed = Outcome(Status.CRASHED, curves=entry.outcome.curves)
    journal.append(Told(Evaluation(entry.trial, failed)))
    assert repr(Journal.open(path).records()[1].entry.evaluation.outcome) == repr(failed)
