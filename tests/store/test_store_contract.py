"""What every store promises, whatever keeps it."""

import uuid
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from object_service import BUCKET
from sizes import size
from store_examples import ENTRIES, HEADER, entries, failed, succeeded, trial

from benchmarks.memory import MemoryStore
from spot_dask.errors import RunTakenOver
from spot_dask.records import Asked, Closed, Opened
from spot_dask.store.journal import Journal


class InMemory:
    def __init__(self, folder):
        self.store = None

    def create(self):
        self.store = MemoryStore(HEADER)
        return self.store

    def resume(self, settings=None):
        self.store = self.store.resume(settings)
        return self.store


class Kept:
    """A journal below a folder or prefix."""

    def __init__(self, folder):
        self.folder, self.count = folder, 0

    def create(self):
        self.count += 1
        self.path = f"{self.folder}/run{self.count}.zarr"
        return Journal.create(self.path, HEADER, durability="process")

    def resume(self, settings=None):
        return Journal.resume(self.path, settings=settings, takeover=True, durability="process")


@pytest.fixture(params=["memory", "disk", "s3"])
def backend(request, tmp_path):
    if request.param == "memory":
        return InMemory(tmp_path)
    if request.param == "disk":
        return Kept(tmp_path)
    request.getfixturevalue("s3")
    return Kept(f"s3://{BUCKET}/{uuid.uuid4().hex}")


def test_a_new_store_holds_its_header_and_that_it_was_opened(backend):
    store = backend.create()
    assert store.header == HEADER
    (record,) = store.records()
    assert (record.seq, record.epoch) == (0, 1)
    assert isinstance(record.entry, Opened)


def test_entries_of_every_kind_come_back_in_order_as_they_were_acknowledged(backend):
    store = backend.create()
    kept = {kind: entry for kind, entry in ENTRIES.items() if kind != "open"}
    acknowledged = [store.append(entry) for entry in kept.values()]
    assert repr([record.entry for record in acknowledged]) == repr(list(kept.values()))
    assert repr(store.records()[1:]) == repr(acknowledged)
    assert [record.seq for record in store.records()] == list(range(len(kept) + 1))


@settings(
    max_examples=size(8, 30),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.lists(entries, max_size=5))
def test_any_entries_come_back(backend, history):
    store = backend.create()
    for entry in history:
        store.append(entry)
    assert repr([record.entry for record in store.records()[1:]]) == repr(history)
    store.close()


def test_what_was_appended_cannot_be_changed_afterwards(backend):
    store = backend.create()
    config = dict(ENTRIES["ask"].trials[0].config)
    trial = type(ENTRIES["ask"].trials[0])(0, config, seed=1)
    store.append(Asked([trial]))
    config["lr"] = 99.0
    assert store.records()[1].entry.trials[0].config["lr"] != 99.0


def test_an_entry_json_cannot_hold_is_refused_and_the_store_goes_on(backend):
    store = backend.create()
    trial = type(ENTRIES["ask"].trials[0])(0, {"lr": float("nan")}, seed=1)
    with pytest.raises(ValueError, match="JSON"):
        store.append(Asked([trial]))
    assert store.append(Closed("done")).seq == 1


def test_resuming_starts_a_higher_epoch_and_keeps_what_was_there(backend):
    first = backend.create()
    first.append(Closed("one"))
    first.close()
    second = backend.resume({"budget": 7})
    second.append(Closed("two"))
    records = second.records()
    assert [record.epoch for record in records] == [1, 1, 2, 2]
    assert records[2].entry.settings == {"budget": 7}
    assert [records[1].entry.reason, records[3].entry.reason] == ["one", "two"]


def test_the_coordinator_before_is_fenced_off_and_changes_nothing(backend):
    first = backend.create()
    second = backend.resume()
    for _ in range(2):
        with pytest.raises(RunTakenOver, match=r"(?s)\A[^\n]*must stop[^\n]*\Z"):
            first.append(Closed("stale"))
    assert second.append(Closed("fresh")).seq == 2
    assert [type(record.entry) for record in second.records()] == [Opened, Opened, Closed]


def test_large_records_are_kept_whole(backend):
    store = backend.create()
    text = "".join(map(chr, range(32, 3000))) * 700
    store.append(Closed(text))
    assert store.records()[1].entry.reason == text


def test_what_is_committed_at_once_is_one_record_with_all_entries_in_order(backend):
    store = backend.create()
    batch = [Asked((trial(0), trial(1))), succeeded(1), failed(0)]
    committed = store.commit(batch)
    assert [(r.seq, r.epoch) for r in committed] == [(1, 1)] * 3
    assert repr([r.entry for r in committed]) == repr(batch)
    store.append(Closed("done"))
    assert repr(store.records()[1:4]) == repr(committed)
    assert [record.seq for record in store.records()] == [0, 1, 1, 1, 2]


def test_nothing_of_a_batch_is_committed_if_one_entry_cannot_be(backend):
    store = backend.create()
    bad = Asked([replace(trial(1), config={"lr": float("nan")})])
    with pytest.raises(ValueError, match="JSON"):
        store.commit([Asked([trial(0)]), bad])
    assert len(store.records()) == 1
