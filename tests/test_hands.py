"""What somebody who watches a run wants of it: configurations to try, and pauses."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from spot_dask import Budget, Categorical, FunctionTask, Real, Run, Space, Study, Tuner
from spot_dask.cli import main
from spot_dask.coordinator import (
    Commit,
    Finish,
    Finished,
    Instruction,
    Joined,
    Paused,
    Policy,
    Propose,
    Proposed,
    Start,
    Tick,
    Wished,
)
from spot_dask.coordinator.state import Coordinator
from spot_dask.errors import StoreError
from spot_dask.fold import Fold
from spot_dask.progress import Update
from spot_dask.records import (
    Asked,
    Changed,
    History,
    Opened,
    Origin,
    Outcome,
    Record,
    Stage,
    Status,
    Told,
    Trial,
)
from spot_dask.session import Incumbent
from spot_dask.store.verify import verify
from spot_dask.store.wishes import WISHES

SPACE = Space(x=Real(0.0, 1.0, default=0.9), kind=Categorical(["a", "b"], default="a"))
OK = Outcome(Status.OK, 1.0)


def study(evaluations: int = 6) -> Study:
    budget = Budget(evaluations=evaluations)
    return Study(SPACE, FunctionTask(lambda cfg: (cfg.x - 0.3) ** 2), seed=1, budget=budget)


def begun(evaluations: int | None = 6) -> Coordinator:
    """A coordinator of two slots on which trials 0 and 1 run."""
    coordinator = Coordinator(Policy(evaluations=evaluations), Fold(), 0.0)
    coordinator.handle(Joined("w", 2), 0.0)
    coordinator.handle(Tick(), 0.0)
    coordinator.handle(Proposed(tuple(trial(n) for n in (0, 1))), 0.0)
    assert sorted(coordinator.running) == [0, 1]
    return coordinator


def trial(number: int, x: float = 0.5, origin: Origin = Origin.INFILL) -> Trial:
    return Trial(number, {"x": x, "kind": "b"}, 1, origin=origin)


def feed(coordinator: Coordinator, *events: Any) -> list[Instruction]:
    return [i for event in events for i in coordinator.handle(event, 1.0)]


def test_a_paused_run_begins_nothing_and_goes_on_where_it_was() -> None:
    coordinator = begun()
    assert feed(coordinator, Paused(True), Tick()) == []
    ended = feed(coordinator, Finished(0, 0, OK), Finished(1, 0, OK), Tick())
    assert {type(i) for i in ended} == {Commit}
    assert not coordinator.finished
    (proposal,) = feed(coordinator, Paused(False), Tick())
    assert proposal == Propose(2)


def test_what_was_proposed_when_it_was_paused_waits() -> None:
    coordinator = begun()
    assert Propose(1) in feed(coordinator, Finished(0, 0, OK), Tick())
    asked = feed(coordinator, Paused(True), Proposed((trial(2),)), Tick())
    assert [type(i) for i in asked] == [Commit]
    started = feed(coordinator, Paused(False), Tick())
    assert [i.trial.number for i in started if isinstance(i, Start)] == [2]


def test_a_wish_is_asked_at_once_and_starts_before_what_waits() -> None:
    coordinator, config = begun(), {"x": 0.1, "kind": "a"}
    feed(coordinator, Finished(0, 0, OK), Tick(), Paused(True), Proposed((trial(2),)))
    stage = Stage("try", configs=(config,))
    feed(coordinator, Wished((config,)), Tick())
    began = feed(coordinator, Joined("w", 1), Paused(False))  # the slot that is busy is left
    assert [i for i in began if isinstance(i, Start)] == []
    assert feed(coordinator, Tick()) == [Propose(1, stage)]
    wished = trial(3, 0.1, Origin.HAND)
    assert feed(coordinator, Proposed((wished,))) == [Commit(Asked((wished,), 1, 1, stage))]
    started = feed(coordinator, Finished(1, 0, OK))
    assert [i.trial for i in started if isinstance(i, Start)] == [wished]


def test_a_wish_needs_a_default_first_and_a_budget() -> None:
    config = {"x": 0.1, "kind": "a"}
    coordinator = Coordinator(Policy(evaluations=6), Fold(), 0.0)
    feed(coordinator, Joined("w", 1), Wished((config,)))
    assert feed(coordinator, Tick()) == [Propose(1)]
    coordinator = begun(evaluations=2)
    assert feed(coordinator, Wished((config,)), Tick()) == []
    ended = feed(coordinator, Finished(0, 0, OK), Finished(1, 0, OK), Tick())
    assert ended[-1] == Finish("budget")


def test_a_run_waits_for_a_wish_though_its_search_is_exhausted() -> None:
    coordinator, config = begun(evaluations=None), {"x": 0.1, "kind": "a"}
    feed(coordinator, Finished(0, 0, OK), Tick())
    feed(coordinator, Proposed(()))  # exhausted
    asked = feed(coordinator, Wished((config,)), Finished(1, 0, OK), Tick())
    assert asked[-1] == Propose(1, Stage("try", configs=(config,)))
    assert feed(coordinator, Proposed(()), Tick())[-1] == Finish("exhausted")


def test_what_is_known_is_not_tried_again_and_the_design_is_not_delayed() -> None:
    tuner = Tuner(SPACE, seed=1)
    planned = tuner.ask(History(), 8)
    history = History(pending=planned[:3])
    fresh = {"x": 0.123, "kind": "a"}
    stage = Stage("try", configs=(fresh, planned[1].config, fresh))
    (wished,) = tuner.ask(history, 3, stage)
    assert (wished.number, wished.config, wished.origin) == (3, fresh, Origin.HAND)
    assert wished.seed == planned[0].seed
    rest = tuner.ask(history.ask([wished]), 5)
    assert [t.config for t in rest] == [t.config for t in planned[3:]]
    assert [t.number for t in rest] == [4, 5, 6, 7, 8]


def test_a_run_tries_what_was_asked_for_and_is_repeated_exactly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("spot_dask.session.REQUEST_SECONDS", 0.0)
    path, heard = tmp_path / "a.zarr", []

    def watcher(update: Update) -> None:
        heard.append(update.message or "")
        if update.last is not None and update.last.trial.number == 2:
            Run.open(path).try_next({"x": 0.25})

    study(12).run(local=0, store=path, watcher=watcher)
    assert "trial 4 is what was asked for by hand" in heard
    Run.open(path).try_next({"x": 0.26})
    run = study(12).resume(path, Budget(evaluations=14), local=0)
    assert [(t.number, t.config["x"]) for t in _by_hand(path)] == [(4, 0.25), (12, 0.26)]
    assert len(run.history.evaluations) == 14
    assert run.deviations() == []
    assert run.journal.wishes() == []
    assert "hand" in {row[1] for row in run.table().rows}
    assert verify(path).problems == ()


def _by_hand(path: Path) -> list[Trial]:
    trials = [e.trial for e in Run.open(path).history.evaluations]
    return [trial for trial in trials if trial.origin is Origin.HAND]


def test_a_wish_that_was_recorded_before_a_crash_is_not_granted_twice(tmp_path: Path) -> None:
    path = tmp_path / "a.zarr"
    study().run(Budget(evaluations=4), local=0, store=path)
    run = Run.open(path)
    config = run.try_next({"x": 0.25})
    (wish,) = run.journal.wishes()
    key = f"{WISHES}/{wish.name}"
    kept = run.journal.backend.get(key)
    assert kept is not None
    study().resume(path, Budget(evaluations=6), local=0)
    assert [t.config for t in _by_hand(path)] == [config]
    run.journal.backend.put_new(key, kept)  # as if it had been killed before it was removed
    again = study().resume(path, Budget(evaluations=8), local=0)
    assert [t.config for t in _by_hand(path)] == [config]
    assert again.journal.wishes() == []


def spot(*args: str | Path, code: int = 0) -> str:
    done = CliRunner().invoke(main, list(map(str, args)))
    assert done.exit_code == code, done.output
    return done.output


def test_the_commands_tell_in_one_line_what_is_wrong(tmp_path: Path) -> None:
    path = tmp_path / "a.zarr"
    study(30).run(Budget(evaluations=5), local=0, store=path)
    for words, why in (
        (["x=2"], "x: 2 is outside the bounds"),
        (["z=2"], "no parameter 'z', there are x, kind"),
        (['{"x": '], "not a JSON object"),
        (["x=0.9"], "trial 0 of"),
        (["x=0.1", "--like", "77"], "expected default, best or the number of a trial"),
        (["x"], "expected KEY=VALUE"),
    ):
        told = spot("try", path, *words, code=2)
        assert why in told
        assert len(told.strip().splitlines()) == 1
    told = spot("try", path, '{"x": 0.25, "kind": "b"}')
    why = "it waits, as the search's budget is used up"
    how = f"`spot-dask resume {path} --evaluations 6` tries it first"
    assert told == f"x=0.25 kind=b: {why}; {how}\n"
    assert "already; it waits" in spot("try", path, "x=0.25", "kind=b", code=2)
    assert json.loads(spot("status", path, "--json"))["trials"]["wished"] == 1
    assert "nothing to pause" in spot("pause", path, code=2)


def test_what_waits_is_tried_with_the_budget_that_is_told(tmp_path: Path) -> None:
    """The rest of a budget is kept for confirmation: room for a wish is above all of it."""
    path = tmp_path / "a.zarr"
    first = study(26).run(local=0, store=path)
    assert len(first.history.confirmations) == 10
    spot("try", path, "x=0.21")
    told = spot("try", path, "x=0.22")
    needed = Run.open(path).least_budget
    assert f"--evaluations {needed}`" in told
    assert needed > 26
    again = study().resume(path, Budget(evaluations=needed), local=0)
    tried = [e.trial.config["x"] for e in again.history.evaluations if e.trial.origin == "hand"]
    assert sorted(tried) == [0.21, 0.22]


def test_the_best_so_far_is_within_the_ranges() -> None:
    trials = [trial(0, 0.3), trial(1, 0.8)]
    history = History().ask(trials).tell(trials[0].result(0.1)).tell(trials[1].result(0.5))
    box = Space(x=Real(0.7, 1.0, default=0.9), kind=SPACE.parameters["kind"])
    best = Incumbent(Tuner(SPACE, within=box)).of(history)
    assert best is not None
    assert best.config["x"] == 0.8


def test_a_pause_is_part_of_the_store(tmp_path: Path) -> None:
    path = tmp_path / "a.zarr"
    paused: list[bool] = []

    def watcher(update: Update) -> None:
        paused.append(update.paused)
        if update.last is not None and update.last.trial.number == 1:
            raise KeyboardInterrupt  # as good as killed

    with pytest.raises(KeyboardInterrupt):
        study().run(local=0, store=path, watcher=watcher)
    assert "paused: it stays so when it is resumed" in spot("pause", path)
    assert "paused already" in spot("pause", path)
    assert "paused       no training begins" in spot("status", path)
    assert Run.open(path).status()["paused"]
    seen = len(Run.open(path).history.evaluations)

    def unpausing(update: Update) -> None:
        if update.paused:
            assert len(update.history.evaluations) == seen
            Run.open(path).pause(False)

    run = study().resume(path, local=0, watcher=unpausing)
    assert len(run.history.evaluations) == 6
    assert not run.status()["paused"]
    assert spot("unpause", path) == f"{path} is not paused\n"
    with pytest.raises(StoreError, match="there is nothing to pause"):
        Run.open(path).pause()


def test_what_would_do_nothing_and_what_is_said_twice_is_not_tried(tmp_path: Path) -> None:
    path = tmp_path / "a.zarr"
    space = Space(
        opt=Categorical(["sgd", "adam"], default="sgd"),
        momentum=Real(0.0, 1.0, default=0.9).when(opt="sgd"),
        x=Real(0.0, 1.0, default=0.5),
    )
    task = FunctionTask(lambda cfg: cfg.x)
    Study(space, task, seed=1).run(Budget(evaluations=4), local=0, store=path)
    for words, why in (
        (
            ["opt=adam", "momentum=0.5"],
            "momentum does nothing here: it is only there if opt is s",
        ),
        (['{"opt": "adam", "momentum": 0.5}'], "momentum does nothing here"),
        (["x=0.1", "x=0.2"], "x is given twice: 0.1 and 0.2"),
        (['{"x": 0.1, "x": 0.2}'], "x is given twice: 0.1 and 0.2"),
        (["space.x=0.1"], "no parameter 'space.x'"),
    ):
        told = spot("try", path, *words, code=2)
        assert why in told
        assert len(told.strip().splitlines()) == 1
    with pytest.raises(ValueError, match="momentum does nothing here"):
        Run.open(path).try_next({"opt": "adam", "momentum": 0.5})
    # What only comes from the one that it is like may go.
    told = spot("try", path, "opt=adam", "--like", "0")
    assert told.startswith("opt='adam' x=0.5:") or told.startswith("opt=adam x=0.5:")


def test_the_time_of_a_pause_is_no_part_of_the_wall_time() -> None:
    coordinator = Coordinator(Policy(evaluations=None, seconds=10.0), Fold(), 0.0)
    coordinator.handle(Joined("w", 1), 0.0)
    coordinator.handle(Tick(), 0.0)
    coordinator.handle(Paused(True), 4.0)
    coordinator.handle(Tick(), 100.0)
    assert coordinator.stopping is None
    coordinator.handle(Paused(False), 104.0)
    coordinator.handle(Tick(), 109.9)
    assert coordinator.stopping is None
    coordinator.handle(Tick(), 110.1)
    assert coordinator.stopping == "wall"


def test_the_store_knows_for_how_long_a_run_was_paused() -> None:
    def told(*entries: tuple[float, int, Any]) -> Fold:
        return Fold.of(
            [Record(i, epoch, at, entry) for i, (at, epoch, entry) in enumerate(entries)]
        )

    asked = Asked([trial(0)])
    fold = told(
        (0.0, 1, Opened("host", 1)),
        (2.0, 1, asked),
        (5.0, 1, Changed({"paused": True})),
        (6.0, 1, Told(trial(0).result(1.0))),
        (90.0, 1, Changed({"paused": False})),
        (94.0, 1, Asked([trial(1)])),
    )
    assert fold.elapsed == 9.0
    assert fold.settings == {}
    killed = told(
        (0.0, 1, Opened("host", 1)),
        (5.0, 1, Changed({"paused": True})),
        (50.0, 2, Opened("host", 1)),
        (52.0, 2, Changed({"paused": True})),
        (80.0, 2, Changed({"paused": False})),
        (81.0, 2, asked),
    )
    assert killed.elapsed == 5.0 + 2.0 + 1.0
    assert killed.copy().elapsed == killed.elapsed


def test_a_paused_run_records_it_and_its_clock_stands_still(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("spot_dask.session.REQUEST_SECONDS", 0.0)
    path, elapsed = tmp_path / "a.zarr", list[float]()

    def watcher(update: Update) -> None:
        if update.last is not None and update.last.trial.number == 1:
            Run.open(path).pause()
        if update.paused:
            elapsed.append(update.elapsed)
            if len(elapsed) > 1:
                time.sleep(0.3)
                Run.open(path).pause(False)

    run = study().run(local=0, store=path, watcher=watcher)
    assert len(elapsed) > 1
    assert max(elapsed) == elapsed[0]
    paused = [r.entry.settings for r in run.journal.records() if isinstance(r.entry, Changed)]
    assert paused == [{"paused": True}, {"paused": False}]
    assert run.deviations() == []
    assert "paused" not in run.settings
