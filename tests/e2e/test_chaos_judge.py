"""The judge of the chaos runs sees what it is there to see, and blames nobody for the rest."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
from e2e_shell import wait_until

from chaos.services import Service
from chaos.trainings import Fault, Training, judge, trainings


def training(number: int, attempt: int, begun: float, last: float, **options: Any) -> Training:
    given = {"label": "a", "ended": last, "pid": 10 * number + attempt} | options
    return Training(number, attempt, started=begun, last=last, **given)


def told(number: int, attempt: int = 0, status: str = "ok") -> str:
    item = {"trial": {"number": number}, "attempt": attempt, "outcome": {"status": status}}
    return json.dumps({"kind": "tell" if status == "ok" else "fail", "items": [item]})


def killed(label: str, moment: float) -> Fault:
    return Fault("worker killed", label, moment, moment, lethal=True)


GOOD = [training(0, 0, 10, 12), training(1, 0, 10, 13)]
RECORDS = {0: told(0), 1: told(1)}


def test_a_run_without_trouble_is_acquitted() -> None:
    verdict = judge(GOOD, [], RECORDS, RECORDS, 2)
    assert verdict.failures == 0
    assert (verdict.started, verdict.evaluated) == (2, 2)


def test_records_of_several_evaluations_count_each_of_them() -> None:
    both = json.dumps({"kind": "batch", "items": [json.loads(told(0)), json.loads(told(1))]})
    assert judge(GOOD, [], {}, {0: both}, 2).failures == 0
    assert judge(GOOD, [], {}, {0: both, 1: told(1)}, 2).doubled == 1


def test_a_training_that_was_killed_may_be_run_again() -> None:
    cut = training(0, 0, 10, 11, ended=None)
    again = training(0, 1, 11.5, 13)
    verdict = judge([cut, again, GOOD[1]], [killed("a", 11.1)], {}, {0: told(0, 1), 1: told(1)}, 2)
    assert verdict.failures == 0
    assert verdict.again == 1


@pytest.mark.parametrize(
    ("earlier", "faults"),
    [
        (training(0, 0, 10, 12), [killed("a", 10.5)]),  # it lived on
        (training(0, 0, 10, 11, ended=None), []),  # nothing had happened to it
        (training(0, 0, 10, 11, ended=None), [killed("b", 10.5)]),  # nor this
        (training(0, 0, 10, 11, ended=None), [Fault("coordinator killed", "c", 10.5, 10.5, False)]),
    ],
    ids=["alive", "no-cause", "elsewhere", "coordinator"],
)
def test_a_training_that_need_not_have_been_run_again(
    earlier: Training, faults: list[Fault]
) -> None:
    again = training(0, 1, 11.2, 14)
    verdict = judge([earlier, again, GOOD[1]], faults, {}, {0: told(0, 1), 1: told(1)}, 2)
    assert verdict.rerun_alive == 1
    assert verdict.failures == 1


def test_what_cannot_be_reached_may_be_alive() -> None:
    again = training(0, 1, 11.2, 14)
    cut_off = Fault("worker cut off for long", "a", 10.2, 12.0, lethal=True)
    verdict = judge(
        [training(0, 0, 10, 12), again, GOOD[1]], [cut_off], {}, {0: told(0, 1), 1: told(1)}, 2
    )
    assert verdict.failures == 0


@pytest.mark.parametrize(
    ("final", "what"),
    [
        ({0: told(0)}, "missing"),
        ({0: told(0), 1: told(1), 2: told(1)}, "doubled"),
        ({0: told(0), 1: told(1, 1)}, "invented"),
        ({0: told(0), 1: told(1) + " "}, "lost"),
    ],
)
def test_records_that_are_not_as_they_should_be(final: dict[int, str], what: str) -> None:
    verdict = judge(GOOD, [], RECORDS, final, 2)
    assert getattr(verdict, what) == 1


def test_notes_are_read_as_they_were_written(tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    notes.write_text(
        "start 3 1 77 worker 10.0\nstart 4 0 78 worker 10.5\nalive 3 1 77 worker 11.0\n"
        "end 4 0 78 worker 12.0\n"
    )
    assert trainings(notes) == [
        Training(3, 1, 77, "worker", 10.0, 11.0),
        Training(4, 0, 78, "worker", 10.5, 12.0, 12.0),
    ]


def test_a_service_that_does_not_end_when_told_to_is_killed_and_buried(tmp_path: Path) -> None:
    words = ["sh", "-c", "trap '' TERM; echo deaf; while :; do sleep 0.1; done"]
    service = Service("deaf", lambda: words, tmp_path, dict(os.environ))
    service.start()
    wait_until(lambda: "\ndeaf" in (tmp_path / "deaf.log").read_text())
    service.end(signal.SIGTERM)
    service.destroy()
    assert service.process is not None
    assert service.process.returncode == -signal.SIGKILL
    assert service.pid is None
