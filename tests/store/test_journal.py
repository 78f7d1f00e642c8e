import json
import os
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
import zarr
from store_examples import ENTRIES, HEADER, succeeded
from test_zarr_format import versioned

from spot_dask.errors import StoreCorrupt, StoreError
from spot_dask.records import Closed
from spot_dask.store.journal import Journal

ONE_LINE = r"(?s)\A[^\n]*{}[^\n]*\Z"


def one_line(text):
    return ONE_LINE.format(text)


@contextmanager
def unprivileged():
    """As somebody for whom permissions hold; root is refused nothing."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "run.zarr"


@pytest.fixture
def journal(path):
    journal = Journal.create(path, HEADER, durability="process")
    yield journal
    journal.close()


def test_a_run_is_created_with_its_parents_and_without_leftovers(tmp_path):
    Journal.create(tmp_path / "runs/today/x.zarr", HEADER).close()
    assert [p.name for p in (tmp_path / "runs/today").iterdir()] == ["x.zarr"]
    assert Journal.open(tmp_path / "runs/today/x.zarr").header == HEADER


def test_an_existing_run_is_not_created_again(path, journal):
    journal.append(Closed("kept"))
    with pytest.raises(StoreError, match=one_line(r"spot-dask resume .*run\.zarr")):
        Journal.create(path, HEADER)
    assert journal.records()[1].entry == Closed("kept")


@pytest.mark.parametrize(
    ("make", "seen"),
    [
        (lambda p: p.write_text("hello"), "a file"),
        (lambda p: p.mkdir(), "an empty directory"),
        (lambda p: p.symlink_to("nowhere"), "a file"),
        (lambda p: zarr.open_group(p, mode="w"), "a directory"),
    ],
)
def test_whatever_else_is_at_the_path_of_a_new_run_stays_there(path, make, seen):
    make(path)
    with pytest.raises(StoreError, match=one_line(rf"already there \({seen}\)")):
        Journal.create(path, HEADER)
    assert len(list(path.parent.iterdir())) == 1


@pytest.mark.parametrize("way", [Journal.open, Journal.resume])
@pytest.mark.parametrize(
    ("make", "seen"),
    [
        (lambda p: None, "there is nothing"),
        (lambda p: p.write_text("hello"), "there is a file"),
        (lambda p: p.mkdir(), "there is an empty directory"),
        (lambda p: (p / "sub").mkdir(parents=True), "there is a directory"),
        (lambda p: zarr.open_group(p, mode="w"), "another Zarr group"),
        (lambda p: zarr.open_group(p, mode="w", attributes={"spot_dask": 1}), "another Zarr group"),
        (lambda p: zarr.create_array(p, shape=(2,), dtype="i4"), "another Zarr array"),
    ],
)
def test_what_is_no_run_is_refused_with_what_was_seen(path, make, seen, way):
    make(path)
    with pytest.raises(StoreError, match=one_line(rf"{seen}.*expected .*spot-dask run")):
        way(path)


def test_a_run_of_a_newer_minor_version_is_read_with_a_line_but_not_resumed(path, journal, caplog):
    journal.close()
    (path / "zarr.json").write_bytes(versioned("1.9", "1.0"))
    assert Journal.open(path).header == HEADER
    assert "schema 1.9); it is opened for reading only" in caplog.text
    with pytest.raises(StoreError, match=one_line("schema 1.9.*can be read.*upgrade")):
        Journal.resume(path)


def test_a_directory_that_may_not_be_written_is_refused_in_one_line():
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        run = Path(folder) / "run.zarr"
        Journal.create(run, HEADER).close()
        for part in (run, *run.rglob("*")):
            part.chmod(0o555 if part.is_dir() else 0o444)
        Path(folder).chmod(0o555)
        with unprivileged():
            assert len(Journal.open(run).records()) == 1
            with pytest.raises(StoreError, match=one_line("Permission denied; check the perm")):
                Journal.resume(run)
            with pytest.raises(StoreError, match=one_line("Permission denied; check the perm")):
                Journal.create(Path(folder) / "new.zarr", HEADER)
        Path(folder).chmod(0o700)


def test_a_journal_opened_for_reading_or_closed_does_not_write(path, journal):
    with pytest.raises(StoreError, match="not open for writing"):
        Journal.open(path).append(Closed("x"))
    journal.close()
    with pytest.raises(StoreError, match="not open for writing"):
        journal.append(Closed("x"))
    assert len(journal.records()) == 1


def test_an_unknown_durability_is_refused_before_anything_is_written(path):
    with pytest.raises(ValueError, match="durability is 'often'; expected 'fsync' or 'process'"):
        Journal.create(path, HEADER, durability="often")
    assert not list(path.parent.iterdir())


def test_a_run_goes_on_beyond_a_block_and_zarr_reads_all_of_it(path, journal):
    for number in range(1, 998):
        journal.append(Closed(str(number)))
    assert zarr.open_group(path, mode="r")["log"].shape == (1, 1000)
    journal.close()

    journal = Journal.resume(path, durability="process")
    for number in range(999, 2003):
        journal.append(Closed(str(number)))
    journal.close()

    records = Journal.open(path).records()
    assert [record.seq for record in records] == list(range(2003))
    assert all(r.entry == Closed(str(r.seq)) for r in records if r.seq not in (0, 998))
    log = zarr.open_group(path, mode="r")["log"]
    assert log.shape == (3, 1000)
    for seq in (1, 999, 1000, 2002):
        assert json.loads(str(log[divmod(seq, 1000)]))["items"] == [{"reason": str(seq), "why": ""}]
    assert log[2, 3] == ""


def test_reading_a_run_changes_nothing(path, journal):
    journal.append(ENTRIES["tell"])
    before = {p: (p.stat().st_mtime_ns, p.read_bytes()) for p in path.rglob("*") if p.is_file()}
    Journal.open(path).records()
    after = {p: (p.stat().st_mtime_ns, p.read_bytes()) for p in path.rglob("*") if p.is_file()}
    assert before == after


def test_no_pickle_is_written(path, journal):
    journal.append(succeeded())
    assert not any(b"\x80\x05" in p.read_bytes() for p in path.rglob("*") if p.is_file())


def test_temporary_files_of_a_crash_are_ignored_and_old_ones_swept_when_resuming(path, journal):
    journal.close()
    fresh, old = path / "log/c/0/.a.partial", path / "log/c/0/.b.partial"
    for stray in (fresh, old):
        stray.write_bytes(b"torn")
    os.utime(old, (time.time() - 7200, time.time() - 7200))
    assert len(Journal.open(path).records()) == 1
    assert old.exists()
    Journal.resume(path).close()
    assert (fresh.exists(), old.exists()) == (True, False)


def test_a_run_removed_while_it_is_written_does_not_come_back_headless(path, journal):
    path.rename(path.with_name("moved.zarr"))
    with pytest.raises(StoreError, match=one_line("it was removed or moved")):
        journal.append(Closed("x"))
    assert not path.exists()
    path.with_name("moved.zarr").rename(path)
    assert journal.append(Closed("x")).seq == 1


def test_a_foreign_object_among_the_records_is_named(path, journal):
    for name in ("log/c/0/1000", "log/c/0/01", "log/c/x", "log/c/0/readme"):
        (path / name).write_bytes(b"?")
        with pytest.raises(StoreCorrupt, match=f"{name} is no record"):
            Journal.open(path).records()
        (path / name).unlink()
    assert len(Journal.open(path).records()) == 1
