"""Two coordinators on one run: one writes, the other is told, nothing is lost."""

import os
import random
import re
import signal
import socket
import threading
import time
from contextlib import closing

import pytest
from store_examples import HEADER
from store_processes import writers, written

from spot_dask.errors import RunTakenOver, StoreError
from spot_dask.records import Closed, Opened
from spot_dask.store.journal import Journal


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "run.zarr"
    Journal.create(path, HEADER, durability="process").close()
    return path


def test_a_second_coordinator_is_told_who_is_writing(path):
    first = Journal.resume(path)
    who = rf"process {os.getpid()} on {re.escape(socket.gethostname())} since 20..-..-.."
    with pytest.raises(StoreError, match=rf"(?s)\A[^\n]*{who}[^\n]*\Z"):
        Journal.resume(path)
    assert first.append(Closed("undisturbed")).seq == 2
    first.close()
    Journal.resume(path).close()


def test_a_new_run_is_locked_from_its_creation_on(tmp_path):
    journal = Journal.create(tmp_path / "new.zarr", HEADER)
    with pytest.raises(StoreError, match="is being written by process"):
        Journal.resume(tmp_path / "new.zarr")
    journal.close()


def test_taking_over_stops_the_first_coordinator_which_is_told_by_whom_and_when(path):
    first = Journal.resume(path)
    second = Journal.resume(path, takeover=True)
    who = rf"taken over by process {os.getpid()} on .* at 20..-..-.. ..:..:.. UTC"
    for _ in range(2):
        with pytest.raises(RunTakenOver, match=rf"(?s)\A[^\n]*{who}[^\n]*\Z"):
            first.append(Closed("stale"))
    first.close()
    # The one that took over holds the lock now, whatever becomes of the first.
    with pytest.raises(StoreError, match="is being written"):
        Journal.resume(path)
    second.append(Closed("fresh"))
    second.close()
    assert [r.entry for r in Journal.open(path).records()[3:]] == [Closed("fresh")]


def test_a_killed_coordinator_holds_no_lock(path):
    with writers(path, [0], 100_000) as (writer,):
        writer.go()
        writer.read_one()
        with pytest.raises(StoreError, match="is being written"):
            Journal.resume(path)
        writer.process.kill()
        writer.read_all()
        Journal.resume(path).close()


def test_a_copy_of_a_coordinator_in_the_same_epoch_is_stopped_too(path):
    """As after a fork; the second to write finds its place taken by an equal epoch."""
    journal = Journal.resume(path)
    twin = Journal.resume(path, takeover=True)
    twin._epoch, twin.tail = journal._epoch, journal.tail
    with pytest.raises(RunTakenOver):
        twin.append(Closed("x"))
    journal.close()
    twin.close()


def test_of_many_that_create_a_run_at_once_one_does(tmp_path):
    start, made, refused = threading.Barrier(6), [], []

    def create():
        start.wait()
        try:
            made.append(Journal.create(tmp_path / "new.zarr", HEADER, durability="process"))
        except StoreError as error:
            refused.append(str(error))

    threads = [threading.Thread(target=create) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1
    assert all("spot-dask resume" in line for line in refused)
    assert made[0].append(Closed("x")).seq == 1
    assert [p.name for p in tmp_path.iterdir()] == ["new.zarr"]


def test_coordinators_that_take_over_from_each_other_lose_nothing(path):
    promised, takeovers, met = [], 0, False
    for attempt in range(10):  # how often they meet is up to the machine's scheduler
        starts = [10_000 * attempt + first for first in (0, 1000, 2000)]
        with writers(path, starts, 6, rounds=12) as started:
            for writer in started:
                writer.go()
            for writer in started:
                writer.read_all()
                assert writer.process.returncode == 0
            promised += [line for writer in started for line in writer.acknowledged]
            met = any(writer.over for writer in started)
        takeovers += 36
        if met:
            break
    assert met, "they never met"
    assert len(set(promised)) == len(promised)
    assert sorted(written(path)) == sorted(promised)
    opened = [r.epoch for r in Journal.open(path).records() if isinstance(r.entry, Opened)]
    assert opened == list(range(1, takeovers + 2))


def test_a_writer_stopped_during_a_takeover_does_no_harm_when_it_goes_on(path):
    chance = random.Random(7)
    promised = []
    sessions = list(range(6))
    with writers(path, sessions, 100_000) as started:
        for session, writer in zip(sessions, started, strict=True):
            writer.go()
            writer.read_one()
            time.sleep(chance.uniform(0, 0.01))
            writer.process.send_signal(signal.SIGSTOP)
            journal = Journal.resume(path, takeover=True, durability="process")
            taken_at = journal.records()[-1].seq
            journal.append(Closed(f"{1000 + session}:0:"))
            writer.process.send_signal(signal.SIGCONT)
            writer.read_all()
            assert writer.over
            assert all(int(line.split()[0]) < taken_at for line in writer.acknowledged)
            journal.close()
            promised += writer.acknowledged
    present = written(path)
    assert set(promised) <= set(present)
    assert len(set(present)) == len(present)


def test_a_reader_sees_the_beginning_of_what_a_writer_writes(path):
    seen = []
    with writers(path, [0], 1200) as (writer,):
        writer.go()
        writer.read_one()
        while not seen or len(seen) < 1000:
            lines = written(path)
            assert lines[: len(seen)] == seen
            seen = lines
        writer.read_all()
    assert written(path) == writer.acknowledged
    assert writer.acknowledged[: len(seen)] == seen
    assert len(writer.acknowledged) == 1200


def test_a_request_to_stop_reaches_the_coordinator_it_was_made_to_and_no_later_one(tmp_path):
    path = tmp_path / "run.zarr"
    with closing(Journal.create(path, HEADER)) as first:
        assert not first.stop_requested
        Journal.open(path).request_stop()
        assert first.stop_requested
        assert len(first.records()) == 1
    with closing(Journal.resume(path)) as second:
        assert not second.stop_requested
        Journal.open(path).request_stop()
        assert second.stop_requested
        assert not first.stop_requested
