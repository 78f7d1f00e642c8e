"""Runs in an object store: the same promises over a network that fails."""

import json
import logging
import random
import signal
import sys
import threading
import time
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import zarr
from object_service import BUCKET, environment, proxy
from sizes import size
from store_examples import ENTRIES, HEADER
from store_processes import writers, written
from table_examples import header, publish, story

from spot_dask import buckets
from spot_dask.errors import RunTakenOver, StoreCorrupt, StoreError
from spot_dask.fold import Fold
from spot_dask.records import Closed, Opened
from spot_dask.run import Run
from spot_dask.store import bucket, layout, tables
from spot_dask.store.backend import address, backend_at
from spot_dask.store.bucket import bucket_at
from spot_dask.store.journal import Journal
from spot_dask.store.table import tabulate


def one_line(text):
    return rf"(?s)\A[^\n]*{text}[^\n]*\Z"


def reasons(where):
    return [r.entry.reason for r in Journal.open(where).records() if isinstance(r.entry, Closed)]


@pytest.fixture
def where(s3):
    return f"s3://{BUCKET}/{uuid.uuid4().hex}/run.zarr"


@pytest.fixture
def journal(where):
    journal = Journal.create(where, HEADER)
    yield journal
    journal.close()


@pytest.fixture
def network(s3):
    """A proxy that the next runs are reached through."""
    with proxy(s3) as between, environment(between.port):
        yield between


def test_a_run_is_created_read_closed_and_resumed(where):
    journal = Journal.create(where, HEADER)
    journal.append(ENTRIES["tell"])
    assert journal.being_written
    journal.close()
    assert not Journal.open(where).being_written
    again = Journal.resume(where)
    again.append(Closed("done"))
    again.close()
    kinds = [type(r.entry).__name__ for r in Journal.open(where).records()]
    assert kinds == ["Opened", "Told", "Opened", "Closed"]
    assert Journal.open(where).header == HEADER


def test_any_zarr_reader_reads_the_log_through_obstore_and_fsspec(where, journal, s3):
    from obstore.fsspec import FsspecStore

    journal.append(ENTRIES["tell"])
    through = [
        zarr.storage.ObjectStore(bucket_at(where).store, read_only=True),
        zarr.storage.FsspecStore(
            FsspecStore("s3", asynchronous=True, client_options={"allow_http": True}),
            read_only=True,
            path=where.removeprefix("s3://"),
        ),
    ]
    for store in through:
        log = zarr.open_group(store, mode="r")["log"]
        assert log.shape == (1, 1000)
        assert [json.loads(str(log[0, i]))["kind"] for i in (0, 1)] == ["open", "tell"]
        assert log[0, 2] == ""


def test_a_run_goes_on_beyond_a_block_and_is_read_in_batches(where, monkeypatch):
    from spot_dask.store import chain
    from spot_dask.store import journal as journal_module

    for module in (layout, journal_module, chain):
        monkeypatch.setattr(module, "BLOCK", 10)
    journal = Journal.create(where, HEADER)
    for i in range(70):
        journal.append(Closed(str(i)))
    journal.close()
    assert reasons(where) == [str(i) for i in range(70)]


def test_a_missing_and_a_damaged_record_are_named(where, journal):
    for i in range(5):
        journal.append(Closed(str(i)))
    store = bucket_at(where).store
    third = bytes(store.get("log/c/0/3").bytes())
    store.put("log/c/0/3", third[:-1] + bytes([third[-1] ^ 1]))
    with pytest.raises(StoreCorrupt, match=one_line("log/c/0/3 is damaged")):
        Journal.open(where).records()
    store.delete("log/c/0/3")
    with pytest.raises(StoreCorrupt, match=one_line("log/c/0/3 is missing, but")):
        Journal.open(where).records()


def test_tables_are_renewed_and_what_may_still_be_written_is_left_for_an_hour(where, monkeypatch):
    monkeypatch.setattr(tables, "KEPT_SECONDS", 0.0)
    journal = Journal.create(where, header())
    backend = bucket_at(where)
    backend.put_any("tables/g0000000001/trial/c/0", b"of a coordinator that was taken over")
    for entry in story(1)[:3]:
        journal.append(entry)
        publish(where, backend)
    unfinished, *published = sorted(backend.names("tables"))[:-1]
    assert unfinished == "g0000000001"
    assert published == ["g0000000002", "g0000000003", "g0000000004"]
    table = tables.read(Journal.open(where))
    assert repr(table) == repr(tabulate(journal.header, Fold.of(journal.records()).rows))
    assert len(table)
    assert not list(tables.problems(journal))
    monkeypatch.setattr(bucket, "STALE_SECONDS", 0.5)
    time.sleep(2.1)
    bucket_at(where).renew(journal._lock.key, b"")
    publish(where, backend)
    assert sorted(backend.names("tables")) == ["g0000000003", "g0000000004", "zarr.json"]
    journal.close()


# ---------------------------------------------------------------- two coordinators


def test_a_second_coordinator_is_told_who_writes_and_since_when(where, journal):
    who = r"being written by process \d+ on \S+ since 20..-.*sign of life \d+ s ago.*take over"
    with pytest.raises(StoreError, match=one_line(who)):
        Journal.resume(where)
    journal.append(Closed("undisturbed"))
    journal.close()
    Journal.resume(where).close()


def test_taking_over_stops_the_first_coordinator(where, journal):
    second = Journal.resume(where, takeover=True)
    for _ in range(2):
        with pytest.raises(RunTakenOver, match=one_line("was taken over by process")):
            journal.append(Closed("stale"))
    second.append(Closed("fresh"))
    journal.close()
    with pytest.raises(StoreError, match="being written"):  # by the second, still
        Journal.resume(where)
    second.close()
    assert reasons(where) == ["fresh"]


def test_a_writer_renews_its_sign_until_it_closes_and_a_dead_one_is_given_up(where, monkeypatch):
    monkeypatch.setattr(bucket, "BEAT_SECONDS", 0.2)
    monkeypatch.setattr(bucket, "ALIVE_SECONDS", 1.5)  # the service counts whole seconds
    alive = Journal.create(where, HEADER)
    time.sleep(2.6)
    with pytest.raises(StoreError, match="being written"):
        Journal.resume(where)
    alive._lock._over.set()  # as if it was killed
    alive._lock._thread.join()
    time.sleep(2.6)
    assert not Journal.open(where).being_written
    Journal.resume(where).close()


def test_signs_of_writers_long_dead_are_swept_when_a_run_is_resumed(where, journal, monkeypatch):
    journal._lock._over.set()
    (old,) = bucket_at(where)._signs()
    monkeypatch.setattr(bucket, "STALE_SECONDS", 0.5)
    time.sleep(1.1)
    second = Journal.resume(where, takeover=True)
    assert [each["path"] for each in bucket_at(where)._signs()] == [second._lock.key] != [old]
    second.close()


def test_an_existing_run_is_not_created_again(where, journal):
    journal.append(Closed("kept"))
    with pytest.raises(StoreError, match=one_line(rf"already there.*resume {where}")):
        Journal.create(where, HEADER)
    assert reasons(where) == ["kept"]


def test_of_many_that_create_a_run_at_once_one_does(where):
    start, made, refused = threading.Barrier(6), [], []

    def create():
        start.wait()
        try:
            made.append(Journal.create(where, HEADER))
        except StoreError as error:
            refused.append(str(error))

    threads = [threading.Thread(target=create) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1
    assert all("spot-dask resume" in line for line in refused)
    made[0].append(Closed("x"))
    made[0].close()
    assert reasons(where) == ["x"]


def test_coordinators_that_take_over_from_each_other_lose_nothing(where):
    Journal.create(where, HEADER).close()
    acknowledged, overs = [], []
    together, turns = threading.Barrier(3), size(2, 3)

    def coordinate(name):
        pause = random.Random(name)
        for turn in range(turns):
            together.wait(timeout=60)
            journal = Journal.resume(where, takeover=True)
            try:
                for i in range(100):
                    # On a busy machine another one resumes late, and in a longer pause.
                    time.sleep(pause.uniform(0, 0.1) * (1 + i / 5))
                    acknowledged.append(journal.append(Closed(f"{name}:{turn}:{i}")))
                    if i >= 4 and overs:
                        break
            except RunTakenOver:
                overs.append(name)
            finally:
                journal.close()

    threads = [threading.Thread(target=coordinate, args=(name,)) for name in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    records = Journal.open(where).records()
    assert overs, "they never met"
    closed = [record for record in records if isinstance(record.entry, Closed)]
    assert closed == sorted(acknowledged, key=lambda record: record.seq)
    assert [r.epoch for r in records if isinstance(r.entry, Opened)] == list(
        range(1, 3 * turns + 2)
    )


def test_a_writer_stopped_during_a_takeover_does_no_harm_when_it_goes_on(where):
    Journal.create(where, HEADER).close()
    with writers(where, [0], 100_000) as (writer,):
        writer.go()
        writer.read_one()
        writer.process.send_signal(signal.SIGSTOP)
        journal = Journal.resume(where, takeover=True)
        taken_at = journal.records()[-1].seq
        journal.append(Closed("1000:0:"))
        writer.process.send_signal(signal.SIGCONT)
        writer.read_all()
        journal.close()
    assert writer.over
    assert all(int(line.split()[0]) < taken_at for line in writer.acknowledged)
    assert set(writer.acknowledged) <= set(written(where))


def test_kill_9_at_random_moments_loses_doubles_and_invents_nothing(where):
    Journal.create(where, HEADER).close()
    promised = []
    with writers(where, list(range(size(3, 6))), 100_000) as started:
        for session, writer in enumerate(started):
            writer.go()
            writer.read_one()
            time.sleep(0.013 * session)
            writer.process.kill()
            writer.read_all()
            assert writer.acknowledged
            promised += writer.acknowledged
            # A request under way may arrive after its sender has died, and after this reading.
            present = written(where)
            assert present[: len(promised)] == promised
            follows = f"{session}:{len(writer.acknowledged)}"
            assert all(line.endswith(" " + follows) for line in present[len(promised) :])
            time.sleep(0.2)
            promised = written(where)
    assert len(set(promised)) == len(promised)


# ---------------------------------------------------------------- a network that fails


@pytest.mark.parametrize("fault", ["lost", "cut", "503"])
@pytest.mark.parametrize("count", [1, 3])
def test_an_entry_is_recorded_once_however_often_its_answer_is_lost(network, where, fault, count):
    journal = Journal.create(where, HEADER)
    for i in range(3):
        network.times(count, fault)
        assert journal.append(Closed(str(i))).seq == i + 1
    journal.close()
    assert reasons(where) == ["0", "1", "2"]
    puts = [path for method, path in network.seen if method == "PUT" and "/log/c/0/1" in path]
    assert len(puts) == count + 1


@pytest.mark.parametrize("part", ["/zarr.json", "/log/c/0/0", "/log/.writer"])
def test_a_run_is_created_although_answers_are_lost(network, where, part):
    network.times(2, "lost", part=part)
    Journal.create(where, HEADER).close()
    assert len(Journal.open(where).records()) == 1


@pytest.mark.parametrize("retried", [True, False])
def test_an_entry_that_arrived_unnoticed_is_recorded_once_when_the_network_is_back(
    network, where, monkeypatch, retried
):
    monkeypatch.setattr(bucket, "PATIENCE_SECONDS", 0.5)
    journal = Journal.create(where, HEADER)

    def cut_after_the_first_put(method, path):
        return "lost" if ("PUT", path) not in network.seen[:-1] else "cut"

    network.fault = cut_after_the_first_put
    with pytest.raises(StoreError, match=one_line("cannot write log/c/0/1 of s3://.*network")):
        journal.append(Closed("a"))
    network.fault = lambda method, path: None
    assert reasons(where) == ["a"]  # there, but never acknowledged
    assert journal.append(Closed("a" if retried else "b")).seq == (1 if retried else 2)
    journal.close()
    assert reasons(where) == (["a"] if retried else ["a", "b"])


def test_reading_is_tried_again_too(network, where):
    Journal.create(where, HEADER).close()
    network.times(3, "cut", method="GET", part="")
    assert len(Journal.open(where).records()) == 1


def test_a_refusal_is_not_tried_again_and_tells_what_to_set(network, where):
    journal = Journal.create(where, HEADER)
    network.times(10**6, "403")
    began = len(network.seen)
    with pytest.raises(StoreError, match=one_line("as told; set the service's usual env.*AWS_")):
        journal.append(Closed("x"))
    assert len(network.seen) == began + 1
    journal.close()


def test_a_service_that_ignores_the_condition_is_refused_before_anything_is_written(network, where):
    network.fault = lambda method, path: "blind"
    with pytest.raises(StoreError, match=one_line("ignores If-None-Match.*keep the run on")):
        Journal.create(where, HEADER)
    network.fault = lambda method, path: None
    journal = Journal.create(where + "2", HEADER)
    journal.close()
    network.fault = lambda method, path: "blind"
    with pytest.raises(StoreError, match=one_line("ignores If-None-Match")):
        Journal.resume(where + "2")
    assert len(Journal.open(where + "2").records()) == 1


def test_a_service_that_is_not_there_is_told_soon(where, monkeypatch):
    monkeypatch.setattr(bucket, "OPENING_SECONDS", 0.5)
    with environment(9), pytest.raises(StoreError, match=one_line("cannot read .*the endpoint")):
        Journal.open(where)


def test_a_bucket_that_is_not_there_is_told(s3):
    for way in (Journal.open, lambda where: Journal.create(where, HEADER)):
        with pytest.raises(StoreError, match=one_line("bucket does not exist; check the bucket")):
            way("s3://nowhere/run.zarr")


# ---------------------------------------------------------------- addresses


@pytest.mark.parametrize(
    ("given", "means"),
    [
        ("runs/a.zarr", Path("runs/a.zarr")),
        (Path("/x"), Path("/x")),
        ("s3://b/a b/ü.zarr/", "s3://b/a b/ü.zarr"),
        ("gs://b/x", "gs://b/x"),
        ("az://c/x", "az://c/x"),
    ],
)
def test_an_address_is_a_path_or_the_url_of_an_object_store(given, means):
    assert address(given) == means


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("http://b/x", r"no store can be at http://b/x: .* s3://bucket/run.zarr"),
        ("s3://b", "no store can be at"),
        ("s3://b/", "no store can be at"),
        ("s3:///x", "no store can be at"),
        (Path("s3://b/x"), "was a URL before it became a Path: give it as text"),
        ("s3://AKID:geheim@b/x", "credentials belong in the environment"),
        ("az://c/x?sig=geheim", "credentials belong in the environment"),
    ],
)
def test_what_is_no_address_is_refused_in_one_line_without_a_secret(given, says):
    with pytest.raises(StoreError, match=one_line(says)) as caught:
        address(given)
    assert "geheim" not in str(caught.value)


def test_each_scheme_has_its_service(s3, monkeypatch):
    from obstore import store

    assert isinstance(bucket_at("gs://b/x").store, store.GCSStore)
    with pytest.raises(StoreError, match=one_line("Account must be specified; set .*AZURE_")):
        bucket_at("az://c/x")
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "me")
    assert isinstance(bucket_at("az://c/x").store, store.AzureStore)
    assert bucket_at("s3://b/a b/ü.zarr").store.prefix == "a b/ü.zarr"


def test_without_obstore_it_is_told_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "obstore", None)
    with pytest.raises(StoreError, match=one_line(r"s3://b/x: .*pip install 'spot-dask\[s3\]'")):
        backend_at("s3://b/x", "fsync")


@pytest.mark.usefixtures("network")
def test_neither_store_nor_logs_nor_errors_hold_a_credential(network, where, caplog, monkeypatch):
    monkeypatch.setattr(bucket, "PATIENCE_SECONDS", 0.5)
    with caplog.at_level(logging.DEBUG):
        journal = Journal.create(where, HEADER)
        network.times(10**6, "503")
        with pytest.raises(StoreError) as caught:
            journal.append(Closed("x"))
        network.fault = lambda method, path: None
        journal.close()
    store = bucket_at(where).store
    objects = [bytes(store.get(o["path"]).bytes()) for page in store.list() for o in page]
    told = caplog.text + str(caught.value) + repr(store) + repr(objects)
    assert "trying again" in caplog.text
    for secret in ("AKIDEXAMPLE", "wJalrXUtnFEMI"):
        assert secret not in told


def test_the_text_of_a_failure_is_one_line_without_a_signed_address():
    class Failed(Exception):
        pass

    text = "Generic error: Error performing PUT https://x/y?sig=geheim in 3ms - HTTP error: no "
    text += "route to https://x/y?sig=geheim\n\nDebug source:\nuri: https://x/y?sig=geheim"
    assert buckets.reason(Failed(text)) == "HTTP error: no route to https://x/y"


def test_the_report_of_a_run_in_a_bucket_goes_to_the_current_directory(where, tmp_path):
    run = Run(where, HEADER, False, 0, None)
    assert run._beside == Path("run")
    assert Run(tmp_path / "a.zarr", HEADER, False, 0, None)._beside == tmp_path / "a"


def test_whether_a_sign_is_fresh_goes_by_the_time_between(monkeypatch):
    now = datetime.now(UTC)
    for seconds, alive in ((0, True), (59, True), (61, False), (-5, True)):
        assert bucket._alive({"last_modified": now - timedelta(seconds=seconds)}, now) is alive
