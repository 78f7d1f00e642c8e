"""What a user sees while a run goes on."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from typing import Any

import pytest
from rich.console import Console

from spot_dask.cli.progress import Plain, Screen
from spot_dask.coordinator import Lease
from spot_dask.progress import Goal, Update
from spot_dask.records import Evaluation, Failure, History, Outcome, Status, Trial
from spot_dask.tuner.model import Best
from spot_dask.words import clock


def evaluation(number: int, y: float) -> Evaluation:
    outcome = Outcome(Status.OK, y, started=10.0, finished=14.0)
    return Evaluation(Trial(number, {"lr": 0.01, "opt": "sgd"}, seed=0), outcome)


def failed(number: int) -> Evaluation:
    error = Failure("ValueError", "[red]too large")
    return Evaluation(Trial(number, {}, seed=0), Outcome(Status.FAILED, error=error))


def update(
    *evaluations: Evaluation,
    message: str | None = None,
    slots: int = 2,
    running: int = 1,
    **more: Any,
) -> Update:
    leases = [
        Lease(Trial(9 + i, {}, seed=0), 0, f"tcp://w:{i}", since=10.0) for i in range(running)
    ]
    leases[0] = replace(leases[0], epoch=3, value=0.5)
    best = min((e for e in evaluations if e.ok), key=lambda e: e.y, default=None)
    return Update(
        history=History(evaluations=evaluations),
        best=None if best is None else Best((best,), best.y, 0.1),
        running=tuple(leases),
        slots=slots,
        workers=1,
        elapsed=30.0,
        now=40.0,
        last=evaluations[-1] if evaluations and message is None else None,
        message=message,
        **more,
    )


def shown(screen: Screen, width: int, height: int = 24) -> list[str]:
    """The lines of a screen, as rich lays them out in a terminal of that size."""
    console = Console(file=io.StringIO(), width=width, height=height, color_system=None)
    return ["".join(s.text for s in line).rstrip() for line in console.render_lines(screen)]


def test_a_line_tells_count_trial_value_best_time_and_running() -> None:
    lines: list[str] = []
    plain = Plain(Goal("accuracy", "max", 12, None), lines.append)
    plain(update(evaluation(3, -0.75), evaluation(4, -0.5)))
    assert lines == [
        "2/12  trial 4  accuracy 0.5  best 0.75 (unconfirmed, 1 seed) trial 3  4.0 s  1 running",
    ]


def test_a_failure_is_told_in_its_line_and_a_message_in_one_of_its_own() -> None:
    lines: list[str] = []
    plain = Plain(Goal("loss", "min", None, 60.0), lines.append)
    plain(update(failed(0)))
    plain(update(failed(0), message="waiting for workers"))
    assert lines == [
        "1  trial 0  failed: ValueError: [red]too large  1 running  wall time ends in 30.0 s",
        "waiting for workers",
    ]


def test_a_log_tells_once_a_minute_that_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: clock[0])
    lines: list[str] = []
    plain = Plain(Goal("loss", "min", 12, None), lines.append)
    for clock[0] in range(0, 181, 5):
        plain(replace(update(evaluation(0, 1.0)), last=None))
    assert len(lines) == 3
    assert lines[0] == (
        "1/12  1 of 2 slots busy on 1 worker  "
        "the oldest: trial 9  30.0 s  epoch 3  loss 0.5  w:0  30.0 s"
    )


def test_the_screen_shows_budget_incumbent_workers_and_failures() -> None:
    messages: list[str] = []
    screen = Screen(Goal("loss", "min", 12, None))
    watcher = screen.listen(messages.append)
    assert shown(screen, 100) == ["starting ..."]
    watcher(update(failed(0)))
    watcher(update(failed(0), evaluation(1, 0.25)))
    watcher(update(failed(0), evaluation(1, 0.25), message="hello"))
    bar, *lines = shown(screen, 100)
    assert "2/12  30.0 s" in bar
    assert lines == [
        "best: loss 0.25 (unconfirmed, 1 seed) trial 1",
        "  lr=0.01 opt=sgd",
        "1 of 2 slots busy on 1 worker; not ok: 1 failed",
        "  trial 9  30.0 s  epoch 3  loss 0.5",
        "trial 0 failed: ValueError: [red]too large",
        "Ctrl-C: finish running and stop",
    ]
    assert messages == ["hello"]


@pytest.mark.parametrize(("width", "height"), [(60, 24), (40, 10), (100, 40)])
def test_a_screen_fits_its_terminal_however_many_slots_there_are(width: int, height: int) -> None:
    screen = Screen(Goal("a_long_name_of_an_objective", "min", 10000, 86400.0))
    watcher = screen.listen(lambda message: None)
    for i in range(5):
        watcher(update(*map(failed, range(i + 1)), evaluation(9, 0.25), slots=256, running=256))
        watcher(update(*map(failed, range(i + 1)), slots=256, running=256))
    lines = shown(screen, width, height)
    assert len(lines) < height
    assert max(map(len, lines)) <= width
    assert "256 of 256 slots busy" in "".join(lines)
    count = sum(line.startswith("  trial ") for line in lines)
    assert 1 <= count <= 8
    assert f"  and {256 - count} more" in lines


def test_the_time_left_is_told_with_what_ends_the_run() -> None:
    evaluations = [evaluation(i, 1.0) for i in range(4)]

    def told(goal: Goal, **more: Any) -> str:
        screen = Screen(goal)
        screen.listen(lambda message: None)(
            replace(update(*evaluations, slots=1, **more), now=12.0)
        )
        return shown(screen, 100)[0]

    assert re.search(r"about (29|30)\.\d s left", told(Goal("loss", "min", 12, None)))
    assert "wall time ends in 5.0 s" in told(Goal("loss", "min", 12, 35.0))
    assert "about " in told(Goal("loss", "min", 12, 3600.0))
    assert "ending (SIGINT)" in told(Goal("loss", "min", 12, 35.0), stopping="SIGINT")
    assert "left" not in told(Goal("loss", "min", None, 3600.0))


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (1.34, "1.3 s"),
        (59.97, "1 min 00 s"),
        (125, "2 min 05 s"),
        (3599.9, "1 h 00 min"),
        (11220, "3 h 07 min"),
        (187200, "2 d 04 h"),
    ],
)
def test_a_duration_is_told_in_two_units(seconds: float, text: str) -> None:
    assert clock(seconds) == text
