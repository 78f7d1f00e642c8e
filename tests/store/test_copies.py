"""Copies of a store, also of one that is written meanwhile, are opened, told short, and go on."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from store_examples import HEADER, SPACE, succeeded, trial

from spot_dask import Budget, FunctionTask, Real, Space, Study
from spot_dask.cli import main
from spot_dask.errors import StoreCorrupt, StoreError
from spot_dask.fold import Fold
from spot_dask.records import Asked, Closed
from spot_dask.store import tables
from spot_dask.store.backup import backup
from spot_dask.store.inbox import Inbox
from spot_dask.store.journal import Journal
from spot_dask.store.verify import salvage, verify
from spot_dask.store.wishes import pause

WRITER = """
import sys, time
from store_examples import HEADER, succeeded, trial
from spot_dask.records import Asked
from spot_dask.store.journal import Journal
journal = Journal.create(sys.argv[1], HEADER, durability="process")
for number in range(100_000):
    journal.commit([Asked((trial(number),))])
    journal.commit([succeeded(number)])
    print(number, flush=True)
    time.sleep(0.005)
"""


@pytest.fixture
def path(tmp_path):
    """Records 0 open, 1 ask 0 1, 2 tell 0, 3 tell 1, 4 close."""
    path = tmp_path / "run.zarr"
    journal = Journal.create(path, HEADER, fold=Fold())
    for entry in (Asked((trial(0), trial(1))), succeeded(0), succeeded(1), Closed("done")):
        journal.append(entry)
    journal.close()
    return path


@pytest.fixture
def living(tmp_path):
    """The path of a run that a process is writing."""
    path = tmp_path / "living.zarr"
    paths = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path)],
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": paths},
    )
    process.stdout.readline()
    yield path
    assert process.poll() is None
    process.kill()
    process.wait()
    process.stdout.close()


def evaluations(path):
    return [e.trial.number for e in Fold.of(Journal.open(path).records()).history.evaluations]


def goes_on(path):
    """Resume a copy: what it lacks it does not lack for whoever comes next."""
    before = Journal.open(path).count()
    Journal.resume(path).close()
    assert Journal.open(path).count() == before + 1
    assert not Journal.open(path).short()
    Journal.resume(path).close()
    assert verify(path).problems == ()


COPIERS = {
    "cp": "cp -r {0} {1}",
    "cp -al": "cp -al {0} {1}",
    "tar": "mkdir {1} && tar -C {0} -cf - . | tar -C {1} -xf -",
    "rsync": "rsync -a {0}/ {1}",
}


@pytest.mark.parametrize("name", COPIERS)
def test_a_copy_of_a_run_that_is_written_opens_and_goes_on(name, living, tmp_path):
    if shutil.which(name.split()[0]) is None:
        pytest.skip(f"{name} is not installed")
    for number in range(4):
        copy = tmp_path / f"copy{number}"
        there = len(evaluations(living))
        subprocess.run(COPIERS[name].format(living, copy), shell=True, stderr=subprocess.DEVNULL)
        found = evaluations(copy)
        assert found == list(range(len(found)))
        assert len(found) >= there
        assert verify(copy).problems == ()
        goes_on(copy)


def test_a_backup_of_a_run_that_is_written_is_whole_and_has_a_table(living, tmp_path):
    time.sleep(0.2)
    there = len(evaluations(living))
    new = tmp_path / "new.zarr"
    made = backup(living, new)
    found = evaluations(new)
    assert there <= len(found) == made.evaluations
    assert verify(new).problems == ()
    assert verify(new).short == ""
    journal = Journal.open(new)
    (generation,) = tables.generations(journal.backend, journal.header)
    assert generation.rows == len(found)
    goes_on(new)


def test_a_copy_whose_hint_is_ahead_is_told_short_and_goes_on(path, tmp_path, caplog):
    copy = shutil.copytree(path, tmp_path / "copy.zarr")
    for seq in (3, 4):
        (copy / f"log/c/0/{seq}").unlink()
    said = f"{copy} ends with record 2 and lacks records 3 to 4, which are noted there"
    assert Journal.open(copy).short().startswith(said)
    assert verify(copy).problems == ()
    assert verify(copy).short.startswith(said)
    Journal.resume(copy).close()
    assert caplog.text.count(said) == 1
    assert evaluations(copy) == [0]
    goes_on(copy)


def test_the_run_itself_is_not_taken_for_a_copy(path):
    (path / "log/c/0/4").unlink()
    assert verify(path).problems == ("log/c/0/4 is missing",)
    with pytest.raises(StoreCorrupt, match="record 4 had been acknowledged"):
        Journal.resume(path)


def test_after_a_loss_of_power_what_was_not_synced_is_short_and_not_refused(tmp_path, monkeypatch):
    path = tmp_path / "run.zarr"
    journal = Journal.create(path, HEADER, durability="process")
    journal.append(Closed("x"))
    journal.close()
    (path / "log/c/0/1").unlink()
    with pytest.raises(StoreCorrupt, match="had been acknowledged"):
        Journal.resume(path, durability="process")
    boot = tmp_path / "boot"
    boot.write_text("another one")
    monkeypatch.setattr("spot_dask.store.lock._BOOT", boot)
    assert "lacks record 1" in Journal.open(path).short()
    Journal.resume(path, durability="process").close()


def test_a_record_missing_in_the_middle_of_a_copy_is_named(path, tmp_path):
    copy = shutil.copytree(path, tmp_path / "copy.zarr")
    (copy / "log/c/0/2").unlink()
    with pytest.raises(StoreCorrupt, match="log/c/0/2 is missing, but there are later records"):
        Journal.resume(copy)
    assert verify(copy).problems == ("log/c/0/2 is missing",)


@pytest.mark.parametrize("seq", [0, 2, 4])
def test_a_record_without_a_byte_is_named_and_the_rest_is_saved(path, tmp_path, seq):
    copy = shutil.copytree(path, tmp_path / "copy.zarr")
    (copy / f"log/c/0/{seq}").write_bytes(b"")
    with pytest.raises(StoreCorrupt, match=f"log/c/0/{seq} is damaged: it has no bytes"):
        Journal.resume(copy)
    salvage(copy, tmp_path / "saved.zarr")
    assert evaluations(tmp_path / "saved.zarr") == {0: [0, 1], 2: [1], 4: [0, 1]}[seq]


def test_hard_links_share_neither_lock_nor_notes(path, tmp_path):
    writer = Journal.resume(path)
    copy = tmp_path / "links.zarr"
    shutil.copytree(path, copy, copy_function=os.link)
    assert Journal.open(path).being_written
    assert not Journal.open(copy).being_written
    other = Journal.resume(copy)
    with pytest.raises(StoreError, match="is being written by process"):
        Journal.resume(path)
    before = (path / "log/.writer").read_bytes()
    other.append(Closed("x"))
    assert (path / "log/.writer").read_bytes() == before
    writer.append(Closed("y"))
    assert Journal.open(copy).records()[-1].entry == Closed("x")
    other.close()
    writer.close()
    goes_on(copy)
    goes_on(path)


def test_a_store_behind_a_link_is_the_same_store(path, tmp_path):
    link = tmp_path / "link.zarr"
    link.symlink_to(path)
    writer = Journal.resume(link)
    for place in (path, link):
        assert Journal.open(place).being_written
        with pytest.raises(StoreError, match="is being written by process"):
            Journal.resume(place)
    link.unlink()
    link.symlink_to(tmp_path)
    with pytest.raises(StoreError, match=r"zarr\.json was removed or moved"):
        writer.append(Closed("x"))
    writer.close()


def test_times_and_owners_of_a_copy_do_not_matter(path, tmp_path):
    copy = shutil.copytree(path, tmp_path / "copy.zarr")
    for place in [copy, *copy.rglob("*")]:
        os.utime(place, (0, 0))
        if os.geteuid() == 0:
            os.chown(place, 12345, 12345)
    goes_on(copy)


def test_a_store_without_its_head_is_told_and_saved(path, tmp_path):
    (path / "zarr.json").unlink()
    with pytest.raises(StoreCorrupt, match=r"zarr\.json of .* is missing, its records are there"):
        Journal.resume(path)
    assert verify(path).problems == (f"zarr.json of {path} is missing, its records are there",)
    saved = salvage(path, tmp_path / "saved.zarr")
    assert len(saved.losses) == 1
    assert evaluations(tmp_path / "saved.zarr") == [0, 1]
    assert Journal.open(tmp_path / "saved.zarr").header.space == SPACE.to_json()


def spot(capsys, *args):
    code = main(list(map(str, args)), standalone_mode=False)
    return code or 0, capsys.readouterr()


def test_the_command_makes_a_backup_and_refuses_what_is_there(path, tmp_path, capsys):
    Inbox(str(path), HEADER.run_id).leave(1, 0, succeeded(1).evaluation.outcome)
    pause(Journal.open(path).backend, True)
    new = tmp_path / "new.zarr"
    code, told = spot(capsys, "backup", path, new)
    assert (code, told.err) == (0, "")
    assert (
        told.out == f"{new}: 5 records, 2 evaluations; `spot-dask resume {new}` goes on from it\n"
    )
    assert Journal.open(new).paused
    assert (new / "log/.inbox/1.0").exists()
    assert {p.name for p in tmp_path.iterdir()} == {"run.zarr", "new.zarr"}
    before = sorted(new.rglob("*"))
    code, told = spot(capsys, "backup", path, new)
    assert (code, told.out) == (2, "")
    assert "is already there" in told.err
    assert sorted(new.rglob("*")) == before
    code, told = spot(capsys, "backup", path, tmp_path / "b.zarr", "--json")
    assert json.loads(told.out)["records"] == 5
    (path / "log/c/0/2").write_bytes(b"x")
    code, told = spot(capsys, "backup", path, tmp_path / "c.zarr")
    assert code == 1
    assert "log/c/0/2 is damaged" in told.err
    assert "--salvage NEW saves the rest" in told.err
    assert not (tmp_path / "c.zarr").exists()


def test_a_backup_is_no_part_of_what_it_copies(tmp_path):
    store = tmp_path / "run.zarr"
    Study(Space(x=Real(0.0, 1.0)), FunctionTask(lambda cfg: cfg.x), search="random").run(
        Budget(evaluations=2), local=0, store=store
    )
    with pytest.raises(StoreError, match=r"is inside .*run\.zarr: give the copy a place"):
        backup(store, store / "sub.zarr")
    assert not (store / "sub.zarr").exists()


def test_a_record_of_two_bytes_is_told_of_by_name(tmp_path):
    store = tmp_path / "run.zarr"
    Study(Space(x=Real(0.0, 1.0)), FunctionTask(lambda cfg: cfg.x), search="random").run(
        Budget(evaluations=2), local=0, store=store
    )
    records = sorted((store / "log" / "c").rglob("*"), key=lambda p: (len(p.name), p.name))
    for record in (path for path in records if path.is_file()):
        whole = record.read_bytes()
        record.write_bytes(whole[:2])
        assert verify(store).problems
        record.write_bytes(whole)
    assert not verify(store).problems
