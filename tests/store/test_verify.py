"""Whatever is wrong with a store is told, all of it; and what is intact can be saved."""

import dataclasses
import json
import math
import shutil

import pytest
from sizes import size
from store_examples import HEADER, succeeded, trial
from test_curves import told

from spot_dask.cli import main
from spot_dask.errors import StoreCorrupt, StoreError
from spot_dask.fold import Fold
from spot_dask.records import Asked, Closed, Outcome, Retried, Status
from spot_dask.store.inbox import Inbox
from spot_dask.store.journal import Journal
from spot_dask.store.verify import salvage, verify


@pytest.fixture
def path(tmp_path):
    """Two sessions: 0 open, 1 ask 0 1, 2 tell 0, 3 retry 1, 4 tell 1 (long), 5 close, 6 open, 7."""
    path = tmp_path / "run.zarr"
    journal = Journal.create(path, HEADER, durability="process")
    journal.append(Asked((trial(0), trial(1))))
    journal.append(succeeded(0))
    journal.append(Retried(1, 0, Outcome(Status.LOST)))
    journal.append(told(number=1))
    journal.append(Closed("paused"))
    journal.close()
    journal = Journal.resume(path, settings={"budget": {"evaluations": 9}}, durability="process")
    journal.append(Asked((trial(2),)))
    Inbox(str(path), HEADER.run_id).leave(2, 0, succeeded(2).evaluation.outcome)
    journal.close()
    return path


def objects(path):
    return sorted(p for p in path.rglob("*") if p.is_file() and p.name != ".writer")


def key(path, place):
    return str(place.relative_to(path))


def history(path):
    return Fold.of(Journal.open(path).records()).history


def test_an_intact_run_has_no_problems_and_all_of_it_was_looked_at(path):
    verdict = verify(path)
    assert verdict.problems == ()
    assert verdict.records == 8
    assert verdict.objects == len(objects(path)) == 14
    assert verdict.size == sum(p.stat().st_size for p in objects(path)) - (
        (path / "zarr.json").stat().st_size
    )


def test_any_changed_byte_is_told_with_its_object(path):
    silent = set()
    for place in objects(path):
        data = place.read_bytes()
        for position in {*range(0, len(data), max(1, len(data) // size(7, 20))), len(data) - 1}:
            place.write_bytes(
                data[:position] + bytes([data[position] ^ 1 << position % 8]) + data[position + 1 :]
            )
            try:
                found = verify(path).problems
            except StoreError as error:
                found = (str(error),)
            if not any(key(path, place) in problem for problem in found):
                silent.add(place.name)
        place.write_bytes(data)
    assert silent <= {"zarr.json"}  # the case of a letter in an escape of the header
    assert verify(path).problems == ()


def test_all_that_is_wrong_is_told(path):
    (path / "log/c/0/2").unlink()
    (path / "log/c/0/5").write_bytes(b"x")
    (path / "log/c/0/notes").write_bytes(b"x")
    problems = verify(path).problems
    assert [line.split()[0] for line in problems] == ["log/c/0/notes", "log/c/0/2", "log/c/0/5"]


def test_records_removed_at_the_end_are_missed(path):
    for seq in (6, 7):
        (path / f"log/c/0/{seq}").unlink()
    assert [line.split()[0] for line in verify(path).problems] == ["log/c/0/6", "log/c/0/7"]


def test_swapped_records_are_told(path):
    one, other = path / "log/c/0/2", path / "log/c/0/3"
    one.rename(path / "x")
    other.rename(one)
    (path / "x").rename(other)
    told_of = {line.split()[0] for line in verify(path).problems}
    assert {"log/c/0/2", "log/c/0/3"} <= told_of


def test_records_that_fit_but_contradict_each_other_are_told(path):
    journal = Journal.resume(path, durability="process")
    journal.append(Asked((trial(0),)))
    journal.close()
    assert verify(path).problems == ("record 9 asks trial 0 a second time",)


@pytest.mark.parametrize(
    ("seq", "how"), [(n, "removed") for n in range(8)] + [(n, "damaged") for n in (1, 4, 7)]
)
def test_all_but_the_damaged_record_is_saved_and_the_damaged_run_is_not_touched(path, seq, how):
    place = path / f"log/c/0/{seq}"
    data = place.read_bytes()
    place.unlink()
    if how == "damaged":
        place.write_bytes(data[:-1])
    before = {p: p.read_bytes() for p in path.rglob("*") if p.is_file()}
    target = path.with_name("saved.zarr")
    saved = salvage(path, target)
    assert {p: p.read_bytes() for p in path.rglob("*") if p.is_file()} == before
    assert any(f"log/c/0/{seq} is missing or damaged" in loss for loss in saved.losses)
    assert verify(target).problems == ()
    known = [e for e in history(target).evaluations]
    assert [e.trial.number for e in known] == {2: [1], 4: [0]}.get(seq, [0, 1])
    if seq not in (2, 4):
        expected = [succeeded(0).evaluation, told(number=1).evaluation]
        assert repr([e.outcome for e in known]) == repr([e.outcome for e in expected])
    journal = Journal.resume(target, durability="process")
    journal.append(Closed("goes on"))
    journal.close()


def test_times_sessions_and_settings_are_saved(path):
    intact = Fold.of(Journal.open(path).records())
    (path / "log/c/0/3").unlink()
    target = path.with_name("saved.zarr")
    salvage(path, target)
    state = Fold.of(Journal.open(target).records())
    assert state.settings == {"budget": {"evaluations": 9}}
    assert math.isclose(state.elapsed, intact.elapsed, abs_tol=1e-6)
    header = Journal.open(target).header
    assert header.run_id != HEADER.run_id
    assert header.study["salvaged_from"] == str(path)
    assert dataclasses.replace(header, run_id="", study={}) == dataclasses.replace(
        HEADER, run_id="", study={}
    )


def test_trials_are_numbered_anew_where_one_is_not_known(path):
    journal = Journal.resume(path, durability="process")
    journal.append(Asked((trial(3), trial(4))))
    journal.append(succeeded(4, 0.75))
    journal.close()
    (path / "log/c/0/9").unlink()
    target = path.with_name("saved.zarr")
    saved = salvage(path, target)
    assert "trials 4 to 4 have smaller numbers now" in saved.losses
    assert [(e.trial.number, e.y) for e in history(target).evaluations][-1] == (3, 0.75)
    assert history(target).asked == 4


def test_a_damaged_header_is_saved_from_its_copy(path):
    (path / "zarr.json").write_bytes(b"{}"[:1])
    assert "zarr.json" in verify(path).problems[0]
    target = path.with_name("saved.zarr")
    assert "its copy in the first record is used" in salvage(path, target).losses[0]
    assert Journal.open(target).header.space == HEADER.space
    assert len(history(target).evaluations) == 2
    (path / "log/c/0/0").unlink()
    with pytest.raises(StoreCorrupt, match="so is its copy"):
        salvage(path, path.with_name("other.zarr"))
    assert not path.with_name("other.zarr").exists()


def test_an_evaluation_without_its_curves_is_saved_without_them(path):
    for place in path.glob("curves/*/c/0"):
        place.unlink()
    target = path.with_name("saved.zarr")
    (loss,) = salvage(path, target).losses
    assert "kept without curves" in loss
    (_, second) = history(target).evaluations
    assert (second.y, second.outcome.curves) == (told().evaluation.y, {})


@pytest.mark.parametrize("seq", range(1, 7))
def test_a_record_of_another_run_is_not_saved(path, seq, tmp_path):
    other = shutil.copytree(path, tmp_path / "other.zarr")
    shutil.rmtree(other)
    journal = Journal.create(other, HEADER, durability="process")
    for number in range(8):
        journal.append(Asked((trial(100 + number),)))
    journal.close()
    shutil.copy(other / f"log/c/0/{seq}", path / f"log/c/0/{seq}")
    target = path.with_name("saved.zarr")
    salvage(path, target)
    numbers = {t.number for t in history(target).pending}
    numbers |= {e.trial.number for e in history(target).evaluations}
    assert numbers <= {0, 1, 2}
    assert history(target).asked == len(numbers)


def spot(capsys, *args):
    code = main(list(map(str, args)), standalone_mode=False)
    return code or 0, capsys.readouterr().out


def test_the_command_tells_and_exits_accordingly(path, capsys, monkeypatch):
    monkeypatch.chdir(path.parent)
    code, out = spot(capsys, "verify", "run.zarr", "--salvage", "saved.zarr")
    assert code == 0
    assert "8 records in 14 objects" in out
    assert "nothing to salvage" in out
    (path / "log/c/0/2").unlink()
    code, out = spot(capsys, "verify", "run.zarr")
    assert code == 1
    assert out.splitlines()[0] == "log/c/0/2 is missing"
    code, out = spot(capsys, "verify", "run.zarr", "--json")
    document = json.loads(out)
    assert (code, document["schema"]) == (1, "spot-dask/verify/1")
    assert (document["intact"], document["problems"]) == (False, ["log/c/0/2 is missing"])
    code, out = spot(capsys, "verify", "run.zarr", "--salvage", "saved.zarr")
    assert code == 0
    assert "not saved: log/c/0/2 is missing or damaged: dropped" in out
    assert "`spot-dask resume saved.zarr`" in out
    assert verify("saved.zarr").problems == ()
    with pytest.raises(StoreError, match="already there"):
        salvage("run.zarr", "saved.zarr")
