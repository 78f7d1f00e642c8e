"""What a user sees while a run goes on."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from spot_dask.cli.progress import Goal, Plain, Screen, remaining
from spot_dask.cli.text import clock
from spot_dask.coordinator import Lease
from spot_dask.records import Evaluation, Failure, History, Outcome, Status, Trial
from spot_dask.session import Update


def evaluation(number: int, y: float) -> Evaluation:
    outcome = Outcome(Status.OK, y, started=10.0, finished=14.0)
    return Evaluation(Trial(number, {"lr": 0.01, "opt": "sgd"}, seed=0), outcome)


def failed(number: int) -> Evaluation:
    error = Failure("ValueError", "[red]too large")
    return Evaluation(Trial(number, {}, seed=0), Outcome(Status.FAILED, error=error))


def update(*evaluations: Evaluation, message: str | None = None, slots: int = 2) -> Update:
    lease = Lease(Trial(9, {}, seed=0), 0, "w", since=0.0)
    return Update(
        history=History(evaluations=evaluations),
        running=(lease,),
        slots=slots,
        workers=1,
        elapsed=30.0,
        last=evaluations[-1] if evaluations and message is None else None,
        message=message,
    )


def test_a_line_tells_count_trial_value_best_time_and_running() -> None:
    lines: list[str] = []
    plain = Plain(Goal("accuracy", "max", 12, None), lines.append)
    plain(update(evaluation(3, -0.75), evaluation(4, -0.5)))
    assert lines == [
        "2/12  trial 4  accuracy 0.5  best 0.75 (trial 3)  4.0 s  1 running",
    ]


def test_a_failure_is_told_in_its_line_and_a_message_in_one_of_its_own() -> None:
    lines: list[str] = []
    plain = Plain(Goal("loss", "min", None, 60.0), lines.append)
    plain(update(failed(0)))
    plain(update(failed(0), message="waiting for workers"))
    assert lines == [
        "1  trial 0  failed: ValueError: [red]too large  1 running",
        "waiting for workers",
    ]


def test_the_screen_shows_budget_incumbent_workers_and_failures() -> None:
    messages: list[str] = []
    screen = Screen(Goal("loss", "min", 12, None))
    listener = screen.listen(messages.append)
    console = Console(file=io.StringIO(), width=100, force_terminal=False)
    console.print(screen)
    listener(update(failed(0)))
    listener(update(failed(0), evaluation(1, 0.25)))
    listener(update(failed(0), evaluation(1, 0.25), message="hello"))
    console.print(screen)
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    for text in ("2/12", "loss 0.25", "trial 1", "lr=0.01", "1 of 2 slots busy", "[red]too large"):
        assert text in shown
    assert "Ctrl-C" in shown
    assert messages == ["hello"]


def test_time_left_is_that_of_the_limit_reached_first() -> None:
    now = update(evaluation(0, 1.0), evaluation(1, 2.0))
    assert remaining(Goal("loss", "min", 12, None), now, 30.0) == pytest.approx(10 * 4.0 / 2)
    assert remaining(Goal("loss", "min", 12, 35.0), now, 30.0) == pytest.approx(5.0)
    assert remaining(Goal("loss", "min", None, 25.0), now, 30.0) == 0.0
    assert remaining(Goal("loss", "min", 12, None), update(slots=0), 30.0) is None


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
