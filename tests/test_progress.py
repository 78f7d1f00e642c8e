"""How a run stands, and how long it will still take."""

from __future__ import annotations

import heapq
import json
from collections.abc import Callable, Sequence

import numpy as np
import pytest

from spot_dask.codec import JSON
from spot_dask.coordinator import Lease
from spot_dask.progress import RECENT, Goal, OnPage, Standing, Update, View, time_left
from spot_dask.records import Evaluation, Failure, History, Outcome, Status, Trial
from spot_dask.surrogates import FloatArray
from spot_dask.tuner.model import Best


def test_equal_trainings_give_the_length_of_the_schedule() -> None:
    known = [10.0] * 5
    assert time_left(known, [], 4, 12) == pytest.approx(30.0, rel=0.05)
    assert time_left(known, [4.0, 9.0], 2, 2) == pytest.approx(16.0, rel=0.05)
    assert time_left(known, [], 4, 9, together=3) == pytest.approx(30.0, rel=0.05)
    assert time_left(known, [9.0], 1, 0) == pytest.approx(1.0, abs=0.3)


def test_nothing_is_said_without_a_basis() -> None:
    assert time_left([10.0, 10.0], [], 4, 12) is None
    assert time_left([10.0] * 5, [1.0], 0, 12) is None


DISTRIBUTIONS: dict[str, Callable[[np.random.Generator], FloatArray]] = {
    "equal": lambda rng: np.full(400, 60.0),
    "lognormal": lambda rng: rng.lognormal(4.0, 0.5, 400),
    "exponential": lambda rng: rng.exponential(60.0, 400),
    "stopped early, most": lambda rng: np.where(
        rng.random(400) < 0.75, rng.uniform(3.0, 10.0, 400), rng.uniform(90.0, 110.0, 400)
    ),
}


@pytest.mark.parametrize(
    ("share", "slots", "tolerance"),
    [(0.05, 8, 1.35), (0.2, 8, 1.2), (0.5, 8, 1.2), (0.9, 8, 1.2), (0.9, 64, 1.25)],
)
@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_it_is_right_on_average_whatever_the_distribution_of_durations(
    name: str, share: float, slots: int, tolerance: float
) -> None:
    ratios = []
    for seed in range(20):
        seconds = DISTRIBUTIONS[name](np.random.default_rng(seed))
        starts, ends, free = [], [], [0.0] * slots
        for each in seconds:
            starts.append(heapq.heappop(free))
            ends.append(starts[-1] + each)
            heapq.heappush(free, ends[-1])
        begun, ended = np.array(starts), np.array(ends)
        now = np.sort(ended)[int(share * 400)]
        done, running = ended <= now, (begun <= now) & (ended > now)
        waiting = int(sum(begun > now))
        left = time_left(list(seconds[done]), list(now - begun[running]), slots, waiting)
        assert left is not None
        ratios.append(left / (ended.max() - now))
    assert 1 / tolerance < np.median(ratios) < tolerance


def test_quick_trainings_that_end_first_are_not_taken_for_all() -> None:
    slow = time_left([1.0, 1.5, 2.0], [30.0] * 13, 16, 100)
    assert slow is not None
    assert slow > 100 * 15 / 16


def test_a_training_that_goes_on_takes_longer_than_its_age() -> None:
    known = [1.0, 2.0, 3.0, 40.0, 60.0, 80.0]
    assert time_left(known, [30.0], 1, 0) == pytest.approx(60.0 - 30.0)
    far_off = time_left([1.0, 2.0, 3.0], [50.0], 1, 0)
    assert far_off is not None
    assert far_off > 10.0


def test_a_batch_waits_for_the_slowest_of_the_one_before() -> None:
    rng = np.random.default_rng(1)
    left = time_left(list(rng.lognormal(size=400)), [], 8, 80, together=8)
    slowest = rng.lognormal(size=(4000, 10, 8)).max(axis=2)
    assert left == pytest.approx(np.median(slowest.sum(axis=1)), rel=0.25)


def standing_of(view: View, evaluations: Sequence[Evaluation], now: float) -> Standing:
    """How a run of one slot stands at this time, where nothing runs."""
    history = History(evaluations=tuple(evaluations))
    view.take(Update(history, None, (), slots=1, workers=1, elapsed=now, now=now))
    found = view.standing()
    assert found is not None
    return found


def lasted(number: int, seconds: float) -> Evaluation:
    outcome = Outcome(Status.OK, 0.0, started=0.0, finished=seconds)
    return Evaluation(Trial(number, {}, seed=0), outcome)


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    moment = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: moment[0])
    return moment


def test_the_newest_trainings_count(now: list[float]) -> None:
    view = View(Goal("loss", "min", 2 * RECENT + 1, None))
    evaluations = [lasted(k, 1e6 if k < RECENT else 2.0) for k in range(2 * RECENT)]
    assert standing_of(view, evaluations, 0.0).left == pytest.approx(2.0)


def test_the_time_left_is_counted_down_until_a_training_ends(now: list[float]) -> None:
    view = View(Goal("loss", "min", 5, None))
    evaluations = [lasted(k, 10.0) for k in range(3)]
    assert standing_of(view, evaluations, 100.0).left == pytest.approx(20.0)
    now[0] = 4.0
    found = view.standing()
    assert found is not None
    assert (found.left, found.elapsed) == (pytest.approx(16.0), 104.0)
    now[0] = 5.0
    assert standing_of(view, evaluations, 105.0).left == pytest.approx(15.0)
    assert standing_of(view, [*evaluations, lasted(3, 30.0)], 106.0).left == pytest.approx(10.0)


@pytest.mark.parametrize(
    ("evaluations", "wall", "share"), [(8, None, 0.25), (None, 40.0, 0.5), (2, 40.0, 1.0)]
)
def test_the_share_of_a_budget_is_that_of_the_scarcer(
    now: list[float], evaluations: int | None, wall: float | None, share: float
) -> None:
    view = View(Goal("loss", "min", evaluations, wall))
    assert standing_of(view, [lasted(0, 1.0), lasted(1, 1.0)], 20.0).share == share


class Shown:
    """A page that keeps what it is given to show."""

    url = "http://somewhere/spot"

    def show(self, standing: Callable[[], JSON | None]) -> None:
        self.standing = standing

    def close(self) -> None:
        self.last = self.standing()


def test_a_page_shows_how_a_run_stands_until_its_end() -> None:
    page, passed = Shown(), []
    board = OnPage(page, Goal("acc", "max", 8, None), "a study", "run.zarr")
    watcher = board.beside(passed.append)
    assert watcher is not None
    assert page.standing() is None
    bad = Outcome(Status.FAILED, error=Failure("ValueError", "bad"))
    evaluations = (lasted(0, 5.0), Evaluation(Trial(1, {}, seed=0), bad))
    lease = Lease(Trial(2, {}, seed=0), 1, "tcp://w:1", since=90.0, epoch=3, value=-0.5)
    update = Update(
        History(evaluations), Best((evaluations[0],), -0.75, 0.1), (lease,), 2, 1, 30.0, 100.0
    )
    watcher(update)
    assert passed == [update]
    board.end("budget")
    shown = json.loads(json.dumps(page.last))
    for clock in ("host", "pid", "began", "elapsed"):
        del shown[clock]
    (running,) = shown.pop("running")
    assert running.pop("seconds") == pytest.approx(10.0, abs=1.0)
    assert running == {
        "trial": 2, "attempt": 1, "worker": "tcp://w:1", "epoch": 3, "value": 0.5, "fold": "",
    }  # fmt: skip
    assert shown.pop("best") == {
        "trial": 0, "config": {}, "value": 0.0, "trainings": 1, "confirmed": False,
        "low": None, "high": None, "limits": "", "feasible": True,
        "folds": 1,
    }  # fmt: skip
    assert shown.pop("goal") == {
        "objective": "acc", "direction": "max", "evaluations": 8, "wall": None, "together": None,
        "epochs": None, "folds": {"k": 1, "repeats": 1, "stop": True, "draws": True},
    }  # fmt: skip
    assert shown == {
        "name": "a study", "store": "run.zarr", "ended": "budget", "share": 0.25, "done": 2,
        "left": None, "stopping": None, "paused": False, "workers": 1, "slots": 2, "busy": 1,
        "failures": {"failed": 1}, "epochs": 3, "foretold": None, "misled": None,
    }  # fmt: skip


def test_without_a_page_updates_go_to_the_watcher_alone() -> None:
    board = OnPage(None, Goal("acc", "max", 8, None), "a study", "run.zarr")
    assert board.beside(None) is None
    assert board.notes == []
    board.end("budget")
