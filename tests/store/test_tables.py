"""The tables of a run: published whole, kept up to date, and never trusted over the journal."""

from __future__ import annotations

import errno
import json
import logging
import shutil
import tarfile
import threading
import time
from contextlib import closing, suppress
from itertools import pairwise
from pathlib import Path

import pytest
from sizes import size
from table_examples import header, publish, story
from test_journal_crashes import Crash, crash_everywhere, file_system

from spot_dask.errors import RunTakenOver
from spot_dask.fold import Fold
from spot_dask.records import Closed
from spot_dask.store import table as table_module
from spot_dask.store import tables
from spot_dask.store.journal import Journal
from spot_dask.store.layout import chunk_key
from spot_dask.store.table import tabulate as tabulated
from spot_dask.store.tables import TableKeeper
from spot_dask.store.verify import verify


def create(path, entries):
    journal = Journal.create(path, header(), durability="process")
    for entry in entries:
        journal.append(entry)
    journal.close()


def extend(path, entries):
    journal = Journal.resume(path, before=Journal.open(path), durability="process")
    for entry in entries:
        journal.append(entry)
    journal.close()


def names(path):
    return sorted(p.name for p in (path / "tables").glob("g*"))


def truth(path):
    journal = Journal.open(path)
    return tabulated(journal.header, Fold.of(journal.records()).rows)


def read(path):
    return tables.read(Journal.open(path))


def same(table, other):
    assert repr(table.columns) == repr(other.columns)
    for one, two in zip(table.columns, other.columns, strict=True):
        assert one.values.tolist() == two.values.tolist() or one.kind == "real"
        assert one.kind == "text" or one.values.tobytes() == two.values.tobytes()
    for one, two in zip(table.curves, other.curves, strict=True):
        assert (one.name, one.sizes.tolist()) == (two.name, two.sizes.tolist())
        assert one.values.tobytes() == two.values.tobytes()
    return True


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "run.zarr"
    create(path, story(12))
    return path


@pytest.fixture
def few_columns(monkeypatch):
    """Fewer steps, so that each of them can be the last."""
    common = table_module._common
    monkeypatch.setattr(table_module, "_common", lambda rows, header: common(rows, header)[:1])
    monkeypatch.setattr(table_module, "_FIELDS", table_module._FIELDS[:1])
    monkeypatch.setattr(table_module, "_parameters", lambda rows, space: [])
    for name in ("_metrics", "_curves"):
        monkeypatch.setattr(table_module, name, lambda rows: [])


def test_a_published_table_reads_as_the_journal_does(path):
    publish(path)
    (name,) = names(path)
    assert name == "g0000000017"  # 1 opened, 1 import, 3 batches of 1 + 4
    same(read(path), truth(path))
    assert not list(tables.problems(Journal.open(path)))
    assert json.loads((path / "tables/zarr.json").read_text())["attributes"]["latest"] == name


def test_a_table_and_the_records_after_it_read_as_the_journal_does(path, monkeypatch):
    publish(path)
    extend(path, story(20)[-5:])
    before = truth(path)
    seen = []
    original = tables.tabulate
    monkeypatch.setattr(tables, "tabulate", lambda h, r, t: original(h, seen.extend(r) or r, t))
    same(read(path), before)
    assert [row.seq for row in seen] == list(range(19, 23))


def test_large_tables_are_kept_in_several_chunks(path, monkeypatch):
    monkeypatch.setattr("spot_dask.store.tables.ROW_CHUNK", 4)
    monkeypatch.setattr("spot_dask.store.tables.POINT_CHUNK", 7)
    publish(path)
    same(read(path), truth(path))
    assert len(list(path.glob("tables/g*/objective/c/*"))) == 4


def test_publishing_what_is_published_changes_nothing(path):
    publish(path)
    before = sorted((p, p.stat().st_mtime_ns) for p in path.rglob("tables/g*/**/*"))
    publish(path)
    assert sorted((p, p.stat().st_mtime_ns) for p in path.rglob("tables/g*/**/*")) == before


def complete(path):
    """The generations that others see; each of them has all of its chunks."""
    journal = Journal.open(path)
    assert not list(tables.problems(journal))
    return [g.through.seq for g in tables.generations(journal.backend, journal.header)]


@pytest.mark.usefixtures("few_columns")
def test_a_crash_at_any_step_of_publishing_leaves_whole_tables_only(tmp_path, monkeypatch):
    path = tmp_path / "run.zarr"
    create(path, story(4))
    publish(path)
    extend(path, story(8)[-5:])
    publish(path)
    extend(path, story(12)[-5:])
    expected = truth(path)
    monkeypatch.setattr(tables, "KEPT_SECONDS", 0.0)
    seen = set()

    def check(copy, done):
        found = complete(copy)
        seen.add(tuple(found))
        assert not done or found == [19, 13]
        same(read(copy), expected)
        latest = json.loads((copy / "tables/zarr.json").read_text())["attributes"]["latest"]
        assert int(latest[1:]) in found
        publish(copy)
        assert complete(copy) == [19, 13]

    assert crash_everywhere(path, publish, check, every=size(3, 1)) > 50
    assert {(13, 7), (19, 13, 7), (19, 13)} <= seen


@pytest.mark.usefixtures("few_columns")
@pytest.mark.parametrize("call", ["mkdir", "open", "write", "replace", "link", "rename"])
def test_a_full_disk_while_publishing_is_a_warning_and_the_run_goes_on(
    path, monkeypatch, call, caplog
):
    monkeypatch.setattr(tables, "KEPT_SECONDS", 0.0)
    for _ in range(2):
        publish(path)
        extend(path, [Closed("x")])
    journal = Journal.resume(path, before=Journal.open(path), durability="process")
    store = TableKeeper(journal)
    store.commit([Closed("y")])
    with file_system(call, error=errno.ENOSPC):
        store.close()
    journal.close()
    assert "the tables of the run were not renewed" in caplog.text
    assert "free some space" in caplog.text
    same(read(path), truth(path))
    complete(path)
    publish(path)
    assert complete(path)[0] == len(Journal.open(path).records())


def found(path):
    """What is wrong with the tables, by themselves and beside the journal."""
    journal = Journal.open(path)
    journal.read()
    return list(tables.problems(journal, journal.fold.rows))


def test_every_flipped_or_cut_byte_is_found_and_what_is_read_stays_right(path, monkeypatch, caplog):
    monkeypatch.setattr(table_module, "_FIELDS", table_module._FIELDS[:1])
    publish(path)
    expected = truth(path)
    assert found(path) == []
    files = sorted(p for p in path.rglob("tables/**/*") if p.is_file())
    assert len(files) > 30
    for file in files:
        data = file.read_bytes()
        for place in sorted({0, len(data) // 2, len(data) - 1, 1, len(data) // 3})[:: size(2, 1)]:
            damaged = bytearray(data)
            damaged[place] ^= 0x10
            for bad in (bytes(damaged), data[:place]):
                file.write_bytes(bad)
                assert found(path), (file, place)
        same(read(path), expected)
        file.unlink()
        same(read(path), expected)
        assert found(path), file
        file.write_bytes(data)
    assert found(path) == []
    assert "is missing); ignored" in caplog.text


def test_every_byte_of_the_documents_that_bind_a_table_counts(path, few_columns):
    publish(path)
    for file in (path / "tables/zarr.json", path / "tables/g0000000017/zarr.json"):
        data = file.read_bytes()
        for place in range(0, len(data), 5 if len(data) < 500 else 31):
            file.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
            assert found(path), (file, place, data[place : place + 1])
        file.write_bytes(data)
    assert found(path) == []


def test_columns_that_are_swapped_or_stale_or_another_run_s_are_found(path, tmp_path):
    publish(path)
    extend(path, story(16)[-5:])
    publish(path)
    expected = truth(path)
    first, second = (path / "tables" / name for name in names(path))
    other = tmp_path / "other.zarr"
    create(other, story(16)[:-5])
    publish(other)
    (theirs,) = other.glob("tables/g*")

    def replaced(column, by):
        kept = (second / column).rename(tmp_path / "kept")
        shutil.copytree(by, second / column)
        assert any(column in line for line in found(path))
        same(read(path), expected)
        shutil.rmtree(second / column)
        kept.rename(second / column)
        assert found(path) == []

    replaced("config.lr", second / "seconds")
    replaced("objective", first / "objective")
    replaced("seed", theirs / "seed")
    for one, other in (("config.lr", "seconds"), ("started", "finished")):
        for _ in range(2):
            (second / one).rename(second / "x")
            (second / other).rename(second / one)
            (second / "x").rename(second / other)
            assert bool(found(path)) is (_ == 0)
            same(read(path), expected)
    (second / "zarr.json").write_bytes((first / "zarr.json").read_bytes())
    assert any("it is the table of" in line for line in found(path))
    same(read(path), expected)


def test_a_table_that_says_something_else_than_the_journal_is_found(path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(table_module, "_y", lambda row: 1.0)
        publish(path)
    assert found(path) == ["tables/g0000000017: objective is not what the journal says"]
    assert not list(tables.problems(Journal.open(path)))
    assert verify(path).problems == tuple(found(path))


def test_a_table_of_the_version_before_is_checked_and_made_anew(tmp_path, caplog):
    with tarfile.open(Path(__file__).parent / "golden/tables-1.0.tar.xz") as archive:
        archive.extractall(tmp_path, filter="data")
    path = tmp_path / "oldrun.zarr"
    assert found(path) == []
    same(read(path), truth(path))
    seed = path / "tables/g0000000017/seed"
    seed.rename(tmp_path / "seed")
    shutil.copytree(path / "tables/g0000000017/trial", seed)
    assert found(path)
    same(read(path), truth(path))
    extend(path, [Closed("x")])
    publish(path)
    latest = json.loads((path / "tables/zarr.json").read_text())["attributes"]["latest"]
    assert latest == names(path)[-1] == "g0000000019"
    assert not caplog.text


def test_a_damaged_table_is_replaced_by_the_one_before(path, caplog):
    publish(path)
    extend(path, story(16)[-5:])
    publish(path)
    first, second = names(path)
    chunk = path / "tables" / second / "objective/c/0"
    chunk.write_bytes(bytes([chunk.read_bytes()[0] ^ 1]) + chunk.read_bytes()[1:])
    same(read(path), truth(path))
    assert f"{second} is damaged" in caplog.text
    shutil.rmtree(path / "tables" / first)
    same(read(path), truth(path))


def test_a_table_of_another_run_is_not_read(path, tmp_path, caplog):
    other = tmp_path / "other.zarr"
    create(other, story(16)[:-5])
    publish(other)
    shutil.copytree(other / "tables", path / "tables")
    same(read(path), truth(path))
    assert "is not a table of this journal" in caplog.text
    assert ["does not belong" in line for line in tables.problems(Journal.open(path))] == [True]


def test_old_tables_go_after_an_hour_and_the_newest_two_stay(path, monkeypatch):
    now = time.time()
    kept = []
    for hours in range(5):
        monkeypatch.setattr(time, "time", lambda hours=hours: now + 2400 * hours)
        extend(path, [Closed(str(hours))])
        publish(path)
        kept.append([int(name[1:]) for name in names(path)])
    assert kept == [[19], [19, 21], [19, 21, 23], [21, 23, 25], [23, 25, 27]]


def test_what_was_never_finished_goes_with_the_next_table(path):
    with file_system("link", error=None) as system, suppress(Crash):
        system.at = "link"
        publish(path)
    assert names(path) == ["g0000000017"]
    assert complete(path) == []
    extend(path, [Closed("x")])
    publish(path)
    assert names(path) == ["g0000000019"]


def test_a_coordinator_that_was_taken_over_cannot_finish_a_table_that_was_removed(path):
    """It wrote half of a table, the next one removed that half: it must fail, not publish."""
    journal = Journal.open(path)
    directory = journal.backend
    original = directory.put_new

    def late(key, data):
        directory.remove_tree(key.rpartition("/")[0])
        return original(key, data)

    directory.put_new = late
    with pytest.raises(Exception, match="No such file"):
        publish(path, directory)
    assert complete(path) == []


def test_readers_see_whole_tables_while_a_writer_publishes(path, monkeypatch, caplog):
    monkeypatch.setattr(tables, "KEPT_SECONDS", 0.0)
    entries = story(40)
    journal = Journal.resume(path, before=Journal.open(path), durability="process")
    over = threading.Event()

    def write():
        try:
            for i, entry in enumerate(entries[16:]):
                journal.append(entry)
                if i % 5 == 0:
                    publish(path, journal.backend)
        finally:
            over.set()

    thread = threading.Thread(target=write)
    thread.start()
    counts = []
    try:
        while not over.is_set():
            table = read(path)
            trials = table["trial"].values[2:].tolist()
            assert trials == list(range(len(trials)))
            ok = table["status"].values[2:] == 0
            expected = [t + 0.25 for t in trials if t % 5 != 4]
            assert table["objective"].values[2:][ok].tolist() == expected
            assert len(table.curves[0].values) == 5 * ok.sum()
            counts.append(len(table))
    finally:
        thread.join()
        journal.close()
    assert counts == sorted(counts)
    assert len(set(counts)) > 3
    assert len(read(path)) == 42
    assert "is not a table of this journal" not in caplog.text


# ---------------------------------------------------------------- kept up to date


@pytest.fixture
def eager(monkeypatch):
    """Tables after every five evaluations, at once."""
    monkeypatch.setattr(tables, "FEWEST_NEW", 4)
    monkeypatch.setattr(tables, "PAUSE_SECONDS", -1.0)


def test_tables_are_made_at_growing_intervals_and_at_the_end(tmp_path, eager, monkeypatch):
    path, rows = tmp_path / "run.zarr", []
    original = tables.publish

    def noted(backend, header, *what):
        original(backend, header, *what)
        rows.append(next(tables.generations(backend, header)).rows)

    monkeypatch.setattr(tables, "publish", noted)
    with closing(Journal.create(path, header(), durability="process", fold=Fold())) as journal:
        store = TableKeeper(journal)
        for entry in story(100, points=1):
            store.commit([entry])
            if store._thread is not None:
                store._thread.join()
        store.close()
    grown = [later - earlier for earlier, later in pairwise(rows)]
    assert rows[-1] == 102
    assert 6 < len(rows) < 15
    assert grown[:-1] == sorted(grown[:-1])
    same(read(path), truth(path))


def test_a_run_is_not_held_up_while_its_tables_are_written(tmp_path, eager, monkeypatch):
    began, go_on = threading.Event(), threading.Event()

    def slow(*what):
        began.set()
        assert go_on.wait(60)

    monkeypatch.setattr(tables, "publish", slow)
    with closing(
        Journal.create(tmp_path / "run.zarr", header(), durability="process", fold=Fold())
    ) as journal:
        store = TableKeeper(journal)
        for entry in story(40):
            store.commit([entry])
        assert began.wait(60)
        assert store._thread.is_alive()
        assert len(journal.records()) > 50
        go_on.set()
        store.close()
        assert not store._thread.is_alive()


def test_at_most_one_table_a_minute_is_made(tmp_path, eager, monkeypatch):
    monkeypatch.setattr(tables, "PAUSE_SECONDS", 60.0)
    with closing(
        Journal.create(tmp_path / "run.zarr", header(), durability="process", fold=Fold())
    ) as journal:
        store = TableKeeper(journal)
        for entry in story(40):
            store.commit([entry])
        assert not (tmp_path / "run.zarr/tables").exists()
        store.close()
    assert len(names(tmp_path / "run.zarr")) == 1


def test_a_resumed_run_counts_from_its_last_table(path, eager, monkeypatch):
    monkeypatch.setattr(tables, "FEWEST_NEW", 1)
    monkeypatch.setattr(tables, "GROWTH", 0.5)
    publish(path)
    with closing(Journal.resume(path, before=Journal.open(path), durability="process")) as journal:
        store = TableKeeper(journal)
        for entry in story(16)[-5:-1]:
            store.commit([entry])
        assert store._thread is None  # 3 more than 14


def test_a_coordinator_that_was_taken_over_publishes_nothing(path):
    with closing(Journal.resume(path, before=Journal.open(path), durability="process")) as journal:
        first = TableKeeper(journal)
        Journal.resume(path, takeover=True, durability="process").close()
        with pytest.raises(RunTakenOver):
            first.commit([Closed("stale")])
        first.close()
    assert not (path / "tables").exists()


@pytest.fixture(autouse=True)
def _logged(caplog):
    caplog.set_level(logging.WARNING, "spot_dask")


def test_a_journal_shorter_than_its_table_is_told_where_nobody_noted_its_end(tmp_path, caplog):
    path = tmp_path / "run.zarr"
    create(path, story(5))
    publish(path)
    last = Journal.open(path).count() - 1
    (path / "log/.writer").unlink()
    (path / chunk_key(last)).unlink()
    found = verify(path)
    assert found.problems == ()
    assert f"lacks record {last}, which is noted there" in found.short
    ahead = path / f"tables/g{last + 1:010d}"
    assert ahead.exists()
    Journal.resume(path, durability="process").close()
    assert f"lacks record {last}, which is noted there" in caplog.text
    assert not ahead.exists()
    publish(path)
    assert verify(path).problems == ()
