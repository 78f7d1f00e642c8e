"""What listeners of a run are told, when, and that they never touch the run."""

from __future__ import annotations

import ast
import logging
import threading
from collections.abc import Collection
from dataclasses import replace
from importlib import util
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from tracked_examples import evaluation, evaluations, study, tracked

import spot_dask
from spot_dask import Budget, Listener
from spot_dask.cli import main
from spot_dask.errors import StudyError
from spot_dask.records import Asked, Evaluation, Objective, Told, Trial
from spot_dask.store.journal import Journal
from spot_dask.study_file import reload
from spot_dask.trackers import Tracked, feed, opened
from spot_dask.trackers.points import SearchPoints


class Notes(Listener):
    """Writes down what it is told, and whether the journal had it by then."""

    def __init__(self, *, known: Collection[int] | None = None) -> None:
        self.heard: list[tuple[Any, ...]] = []
        self.early: list[Any] = []
        self._known = known

    def begin(self, run: Tracked) -> Collection[int]:
        self._store = run.store
        self.heard.append(("begin", run.name, run.objective.name, len(run.past.evaluations)))
        return super().begin(run) if self._known is None else self._known

    def asked(self, trial: Trial) -> None:
        self.heard.append(("asked", trial.number))
        journal = Journal.open(self._store)
        journal.read()
        if not journal.fold.knows(trial.number):
            self.early.append(trial)

    def evaluated(self, evaluation: Evaluation, place: int) -> None:
        self.heard.append(("evaluated", evaluation.trial.number, place))
        there = [e.trial.number for e in evaluations(self._store)]
        if there[place - 1] != evaluation.trial.number:
            self.early.append(evaluation)

    def end(self, reason: str) -> None:
        self.heard.append(("end", reason))


class Broken(Notes):
    """Raises at some trials, or where it begins."""

    def __init__(self, error: BaseException, *at: int | str, **more: Any) -> None:
        super().__init__(**more)
        self._error, self._at = error, at

    def begin(self, run: Tracked) -> Collection[int]:
        if "begin" in self._at:
            raise self._error
        return super().begin(run)

    def evaluated(self, evaluation: Evaluation, place: int) -> None:
        if evaluation.trial.number in self._at:
            raise self._error
        super().evaluated(evaluation, place)


def of_journal(store: Path) -> list[tuple[Any, ...]]:
    """What a listener of all of a journal is to be told between beginning and end."""
    found: list[tuple[Any, ...]] = []
    place = 0
    for record in Journal.open(store).records():
        if isinstance(record.entry, Asked):
            found += [("asked", trial.number) for trial in record.entry.trials]
        elif isinstance(record.entry, Told):
            place += 1
            found.append(("evaluated", record.entry.evaluation.trial.number, place))
    return found


def test_a_listener_hears_what_the_journal_has_in_its_order(tmp_path: Path) -> None:
    notes, store = Notes(), tmp_path / "run.zarr"
    study().run(Budget(evaluations=9), local=0, store=store, trackers=[notes])
    assert notes.heard[0] == ("begin", "example", "loss", 0)
    assert notes.heard[1:-1] == of_journal(store)
    assert notes.heard[-1] == ("end", "budget")
    assert notes.early == []


def test_a_later_session_tells_what_is_missing_and_what_is_new(tmp_path: Path) -> None:
    store = tmp_path / "run.zarr"
    made = study(trackers=[Notes()])
    made.run(Budget(evaluations=4), local=0, store=store)
    notes, new = Notes(known={0, 1, 3}), Notes()
    made.resume(store, Budget(evaluations=6), local=0, trackers=[notes, new])
    numbers = [e.trial.number for e in evaluations(store)]
    told = [(number, place) for what, number, place in _told(notes)]
    assert told == [(n, k) for k, n in enumerate(numbers, 1) if n not in {0, 1, 3}]
    assert [number for _, number, _ in _told(new)] == numbers[4:]
    assert notes.heard[0][-1] == 4


def _told(notes: Notes) -> list[Any]:
    return [news for news in notes.heard if news[0] == "evaluated"]


@pytest.mark.parametrize("error", [OSError("no space"), SystemExit(1)])
def test_a_failing_listener_is_logged_once_and_the_run_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, error: BaseException
) -> None:
    store, said = tmp_path / "run.zarr", list[str]()
    broken, sound = Broken(error, 1, 3), Notes()
    with caplog.at_level(logging.WARNING):
        run = study().run(
            Budget(evaluations=6), local=0, store=store, trackers=[broken, sound],
            watcher=lambda update: said.append(update.message or ""),
        )  # fmt: skip
    assert (run.state, len(run.history.evaluations)) == ("done", 6)
    told = f"tracker Broken has failed, the run goes on: {type(error).__name__}: {error}"
    assert [r.getMessage() for r in caplog.records].count(told) == 1
    assert [number for _, number, _ in _told(broken)] == [0, 2, 4, 5]
    assert len(_told(sound)) == 6
    assert (
        "tracker Broken: it lacks 2 evaluations; `spot-dask resume` tells it what is missing"
        in (said)
    )
    mended = Notes(known={0, 2, 4, 5})
    study().resume(store, Budget(evaluations=6), local=0, trackers=[mended])
    assert [number for _, number, _ in _told(mended)] == [1, 3]


def test_a_listener_that_cannot_begin_is_told_of(tmp_path: Path) -> None:
    said = list[str]()
    broken = Broken(ValueError("no server\nat all"), "begin")
    run = study().run(
        Budget(evaluations=3), local=0, store=tmp_path / "run.zarr", trackers=[broken],
        watcher=lambda update: said.append(update.message or ""),
    )  # fmt: skip
    assert run.state == "done"
    assert any("tracker Broken: it could not begin" in line for line in said)


def test_a_listener_whose_beginning_returns_nothing_hears_what_comes(tmp_path: Path) -> None:
    class Plain(Listener):
        def __init__(self) -> None:
            self.heard: list[int] = []

        def begin(self, run: Tracked) -> None:
            self.heard.append(-1)

        def evaluated(self, evaluation: Evaluation, place: int) -> None:
            self.heard.append(place)

    plain, store = Plain(), tmp_path / "run.zarr"
    made = study(trackers=[plain])
    made.run(Budget(evaluations=2), local=0, store=store)
    made.resume(store, Budget(evaluations=3), local=0)
    assert plain.heard == [-1, 1, 2, -1, 3]


def test_a_hanging_listener_is_left_after_a_time_that_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "DRAIN_SECONDS", 0.4)
    monkeypatch.setattr(feed, "QUIET_SECONDS", 0.1)
    free, said = threading.Event(), list[str]()

    class Hanging(Notes):
        def evaluated(self, evaluation: Evaluation, place: int) -> None:
            free.wait()
            super().evaluated(evaluation, place)

    hanging = Hanging()
    run = study().run(
        Budget(evaluations=4), local=0, store=tmp_path / "run.zarr", trackers=[hanging],
        watcher=lambda update: said.append(update.message or ""),
    )  # fmt: skip
    assert len(run.history.evaluations) == 4
    assert "tracker Hanging is 4 evaluations behind; waiting for up to 0 s" in said
    lacks = "it has not answered for 0.4 s and lacks 4 evaluations"
    assert any(f"tracker Hanging: {lacks}" in line for line in said)
    free.set()
    (thread,) = [t for t in threading.enumerate() if t.name == "spot-dask-Hanging"]
    thread.join(10)
    assert len(_told(hanging)) == 1, "it is told nothing more once it was left"


def test_a_run_that_breaks_off_tells_no_end(tmp_path: Path) -> None:
    notes = Notes()
    told = feed.Feed([("notes", notes)], tracked(tmp_path / "run.zarr"))
    told.close(None, print)
    assert [news[0] for news in notes.heard] == ["begin"]


# ---------------------------------------------------------------- names


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        (["tensorbord"], "no tracker named 'tensorbord'; there are: mlflow, tensorboard, wandb"),
        ("tensorboard", "trackers is 'tensorboard'; expected a list of names"),
        (["tensorboard(folder='x')"], "has no setting 'folder', there are dir"),
        (["wandb(mode='on')"], "mode is 'on'; expected 'offline' or 'online'"),
        ([Notes], "tracker 'Notes' is a class; give an object of it, or its name"),
        ([object()], r"tracker 'object' has no method begin\(run\)"),
        ([type("Odd", (Notes,), {"end": lambda self: None})()], "Odd': end does not take"),
    ],
)
def test_a_wrong_tracker_is_one_line(given: Any, problem: str) -> None:
    with pytest.raises(ValueError, match=problem) as raised:
        study(trackers=given)
    assert "\n" not in str(raised.value)
    with pytest.raises(ValueError, match=problem):
        study().run(local=0, trackers=given)


def test_what_is_not_installed_is_told_before_there_is_a_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = util.find_spec
    monkeypatch.setattr(
        util, "find_spec", lambda name, *more: None if name == "alembic" else real(name, *more)
    )
    with pytest.raises(StudyError, match=r"'mlflow' needs alembic: pip install 'spot-dask\[mlflow"):
        study(trackers=["mlflow"]).run(local=0, store=tmp_path / "run.zarr")
    assert list(tmp_path.iterdir()) == []
    assert [label for label, _ in opened(["mlflow(uri='http://localhost:1')"])] == ["mlflow"]


def test_trackers_import_their_packages_only_where_they_use_them() -> None:
    for file in (Path(spot_dask.__file__).parent / "trackers").glob("*.py"):
        for node in ast.parse(file.read_text()).body:
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = [getattr(node, "module", None) or a.name for a in node.names]
                assert not {"tensorboard", "mlflow", "wandb"} & {n.split(".")[0] for n in names}


STUDY = """\
from spot_dask import FunctionTask, Real, Space, Study
study = Study(Space(x=Real(0.0, 1.0, default=0.5)), FunctionTask(lambda cfg: cfg.x), {more})
"""


def test_the_command_line_names_trackers_and_resume_goes_on_with_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("study.py").write_text(STUDY.format(more=""))

    def spot(*words: str, code: int = 0) -> str:
        done = CliRunner().invoke(main, [*words, "--local", "0", "--no-report"])
        assert done.exit_code == code, done.output
        return done.output

    said = spot("run", "study.py", "--track", "tensorbord", code=2)
    assert "no tracker named 'tensorbord'" in said
    spot("run", "study.py", "--store", "a.zarr", "--evaluations", "2", "--track", "tensorboard")
    assert len(list(Path("a/tensorboard").glob("trial-*"))) == 2
    spot("resume", "a.zarr", "--evaluations", "3")
    assert len(list(Path("a/tensorboard").glob("trial-*"))) == 3
    # Only the command line knows of a place elsewhere: no store has a run followed there.
    spot("run", "study.py", "--store", "b.zarr", "--evaluations", "2", "--track",
         "tensorboard(dir='tb')")  # fmt: skip
    assert len(list(Path("tb/b").glob("trial-*"))) == 2
    with caplog.at_level(logging.WARNING):
        spot("resume", "b.zarr", "--evaluations", "3")
    assert """to go on with that, add --track 'tensorboard(dir='"'"'tb'"'"')'""" in caplog.text
    assert len(list(Path("tb/b").glob("trial-*"))) == 2
    spot("resume", "b.zarr", "--evaluations", "3", "--track", "tensorboard(dir='tb')")
    assert len(list(Path("tb/b").glob("trial-*"))) == 3


def test_a_store_makes_nothing_follow_a_run_but_our_own_in_its_place(tmp_path: Path) -> None:
    (tmp_path / "study.py").write_text(STUDY.format(more="trackers=['tensorboard']"))
    file, text = str(tmp_path / "study.py"), STUDY.format(more="trackers=['tensorboard']")
    recorded = {"file": file, "name": "study", "text": text}
    for named in ("evil.module:Listener", "mlflow(uri='http://evil')", ["mlflow", "evil:X"]):
        given = (
            f"trackers={named!r}".replace("'", '"')
            if isinstance(named, list)
            else (f"trackers={named}")
        )
        assert reload({**recorded, "overrides": [given]}).study.trackers == ("tensorboard",)
    assert reload({**recorded, "overrides": ['trackers=["mlflow"]']}).study.trackers == ("mlflow",)


def test_the_folder_of_a_run_is_beside_its_store(tmp_path: Path) -> None:
    assert tracked(tmp_path / "a.zarr").folder == tmp_path / "a"
    assert replace(tracked(tmp_path), store="s3://bucket/runs/a.zarr").folder == Path("a")


def test_points_of_the_search_are_in_the_direction_of_the_study(tmp_path: Path) -> None:
    past = tracked(tmp_path, evaluation(0, y=-0.5), evaluation(1, y=-0.7))
    run = replace(past, objective=Objective("acc", "max"))
    points = SearchPoints(run)
    best = [points.at(e, k)["best so far"] for k, e in enumerate(run.past.evaluations, 1)]
    assert best == [0.5, 0.7]
    assert points.at(evaluation(2, y=-0.6), 3) == {
        "objective": 0.6, "best so far": 0.7, "seconds": 3.0,
    }  # fmt: skip
