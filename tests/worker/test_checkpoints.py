"""Checkpoints: handed from one start of a trial to the next, never shared, removed in the end."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cloudpickle
import pytest

from spot_dask import StoreError, replacing
from spot_dask.executors.checkpoints import Folder
from spot_dask.records import Outcome, Status, Trial
from spot_dask.tasks.function import FunctionTask
from spot_dask.worker import checkpoints, supervisor
from spot_dask.worker.checkpoints import Place
from spot_dask.worker.limits import Conditions, Limits

cloudpickle.register_pickle_by_value(sys.modules[__name__])


@pytest.fixture
def place(tmp_path: Path) -> Place:
    place = Place.of(tmp_path / "checkpoints", "run", "the study")
    Folder(place)
    return place


@pytest.fixture(autouse=True, scope="module")
def _no_processes_left() -> Iterator[None]:
    yield
    supervisor.close()


def texts(place: Place, number: int = 3) -> list[str]:
    """What every start of a trial has in its file, in the order of the starts."""
    return [
        (start / "a").read_text() if (start / "a").exists() else "-"
        for start in sorted(Path(place.root, str(number)).iterdir())
    ]


def test_a_start_begins_with_a_copy_of_what_the_last_one_saved(place: Place) -> None:
    first = place.begin(3)
    assert list(first.iterdir()) == []
    (first / "deep").mkdir()
    (first / "deep" / "b").write_text("1")
    second = place.begin(3)
    assert (second / "deep" / "b").read_text() == "1"
    assert list(place.begin(4).iterdir()) == []
    (second / "deep" / "b").write_text("2")
    # The first one still runs, and nobody can reach it.
    (first / "deep" / "b").write_text("of the first")
    assert (place.begin(3) / "deep" / "b").read_text() == "2"


def test_of_many_starts_the_last_two_are_kept(place: Place) -> None:
    for number in range(12):
        (place.begin(3) / "a").write_text(str(number))
    assert texts(place) == ["10", "11"]


def test_two_that_start_at_once_have_directories_of_their_own(place: Place) -> None:
    (place.begin(3) / "a").write_text("old")
    later = Place(place.root, place.version)
    one, two = later.begin(3), later.begin(3)
    assert one != two
    assert (one / "a").read_text() == (two / "a").read_text() == "old"


def test_a_copy_that_was_cut_off_is_not_handed_on(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = place.begin(3)
    (first / "a").write_text("whole")

    def die(source: str, target: str) -> None:
        Path(target).write_text("half")
        raise KeyboardInterrupt

    with monkeypatch.context() as dying:
        dying.setattr(checkpoints, "_copy", die)
        with pytest.raises(KeyboardInterrupt):
            place.begin(3)
    second = place.begin(3)
    assert (second / "a").read_text() == "whole"
    assert len(list(Path(place.root, "3").glob(".*"))) == 1  # another start may still make it
    shutil.rmtree(first)
    shutil.rmtree(second)
    assert list(place.begin(3).iterdir()) == []


def test_what_is_being_written_is_not_handed_on(place: Place) -> None:
    first = place.begin(3)
    (first / "a").write_text("whole")
    with contextlib.suppress(ZeroDivisionError), replacing(first / "a") as file:
        file.write(b"half")
        file.flush()
        second = place.begin(3)
        raise ZeroDivisionError
    assert [path.name for path in second.iterdir()] == ["a"]
    assert [path.name for path in first.iterdir()] == ["a"]
    assert (first / "a").read_text() == (second / "a").read_text() == "whole"
    with replacing(first / "a") as file:
        file.write(b"new")
    assert (first / "a").read_text() == "new"


def test_what_another_version_of_the_study_saved_is_not_used(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    (place.begin(3) / "a").write_text("old")
    edited = Place.of(Path(place.root).parent, "run", "the edited study")
    assert list(edited.begin(3).iterdir()) == []
    assert "another version of the study" in caplog.text


def test_a_copy_that_was_cut_off_is_never_seen(place: Place) -> None:
    first = place.begin(3)
    (first / "a").write_text("whole")
    half = first.with_name(f".000001-{place.version}-deadbeef")
    half.mkdir()
    (half / "a").write_text("ha")
    assert (place.begin(3) / "a").read_text() == "whole"


def test_what_no_trial_waits_for_is_removed(place: Place) -> None:
    for number in (1, 2, 3):
        place.begin(number)
    folder, root = Folder(place), Path(place.root)
    folder.discard(1)
    folder.discard(9)  # has saved nothing
    folder.close([Trial(3, {}, 0)])
    assert [path.name for path in root.iterdir()] == ["3"]
    another = Folder(Place.of(root.parent, "another run", ""))
    Folder(place).close([])
    assert [path.name for path in root.parent.iterdir()] == ["another run"]
    another.close([])
    assert not root.parent.exists()


def test_a_directory_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match=r"no checkpoints can be kept in .* --checkpoints"):
        Folder(Place.of(tmp_path / "file", "run", ""))


def run(
    function: Any, place: Place | None, isolation: Any = "warm", attempt: int = 0, **config: Any
) -> Outcome:
    task = cloudpickle.dumps(FunctionTask(function))
    trial = Trial(3, config, seed=5)
    conditions = Conditions(isolation=isolation, place=place)
    return supervisor.run_trial(task, trial, attempt, "run", conditions)


def train(cfg: Any, trial: Any) -> dict[str, float]:
    """Ten epochs, one attempt's after the other's; an attempt may be killed after some."""
    saved = trial.checkpoint / "epoch"
    begun = int(saved.read_text()) if saved.exists() else 0
    for epoch in range(begun + 1, 11):
        trial.report(epoch, loss=1 / epoch)
        with replacing(saved) as file:
            file.write(str(epoch).encode())
        if epoch == cfg.killed_after:
            os.kill(os.getpid(), signal.SIGKILL)
    return {"loss": 0.0, "begun": begun, "kept": float(trial.keeps_checkpoint)}


@pytest.mark.parametrize("isolation", ["warm", "process"])
def test_a_killed_training_goes_on_where_it_was(place: Place, isolation: str) -> None:
    assert run(train, place, isolation, killed_after=4).status is Status.CRASHED
    assert run(train, place, isolation, 1, killed_after=7).status is Status.CRASHED
    # A coordinator that was killed itself does not count the attempt.
    outcome = run(train, place, isolation, 1, killed_after=0)
    assert outcome.metrics == {"loss": 0.0, "begun": 7.0, "kept": 1.0}


def temporary() -> set[Path]:
    return set(Path(tempfile.gettempdir()).glob("spot-dask-*"))


@pytest.mark.parametrize("killed_after", [0, 4])
def test_without_a_place_the_directory_is_a_temporary_one(killed_after: int) -> None:
    before = temporary()
    run(train, None, killed_after=killed_after)
    assert temporary() == before
    assert run(train, None, killed_after=0).metrics == {"loss": 0.0, "begun": 0.0, "kept": 0.0}


def test_a_worker_that_does_not_share_the_directory_says_so(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    supervisor.close()  # a new process writes where we look
    elsewhere = Place.of(tmp_path / "elsewhere", "run", "")
    assert run(train, elsewhere, killed_after=0).metrics["kept"] == 0.0
    assert "elsewhere/run is not on this machine" in capfd.readouterr().err
    assert not (tmp_path / "elsewhere").exists()


def test_a_training_that_saves_nothing_makes_no_directory(place: Place) -> None:
    assert run(lambda cfg: 1.0, place).ok
    assert list(Path(place.root).iterdir()) == []


def pid(cfg: Any) -> dict[str, float]:
    return {"loss": 1.0, "pid": os.getpid()}


def test_where_a_training_runs_is_by_choice(place: Place) -> None:
    pids = {
        isolation: [run(pid, place, isolation).metrics["pid"] for _ in range(2)]
        for isolation in ("warm", "process", "thread")
    }
    assert len(set(pids["warm"])) == 1
    assert len({*pids["warm"], *pids["process"], os.getpid()}) == 4
    assert set(pids["thread"]) == {os.getpid()}


def test_a_training_in_a_thread_has_a_checkpoint_too(place: Place) -> None:
    def fail(cfg: Any, trial: Any) -> float:
        (trial.checkpoint / "a").write_text("1")
        raise KeyboardInterrupt

    with ThreadPoolExecutor(1) as worker:
        assert worker.submit(run, fail, place, "thread").result().status is Status.FAILED
    assert (place.begin(3) / "a").read_text() == "1"


@pytest.mark.parametrize(
    ("isolation", "limits", "message"),
    [
        ("thread", Limits(seconds=5.0), "in a thread of its worker can have no timeout"),
        ("thread", Limits(memory="1GB"), "can have no limit of memory"),
        ("thread", Limits(gpus=1), "can have no GPUs of its own"),
        ("proces", Limits(), "isolation is 'proces'; expected 'warm', 'process' or 'thread'; did"),
    ],
)
def test_what_cannot_be_kept_is_refused(isolation: Any, limits: Limits, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Conditions(limits, isolation)
