"""A peer in a process of another interpreter."""

from __future__ import annotations

import gc
import math
import os
import sys
import time
from pathlib import Path

import pytest

from benchmarks import Unavailable, problems
from benchmarks.child import Child
from benchmarks.simulation import Mode, run

TOY = Path(__file__).with_name("toy_child.py")
BURNT = 0.3  # CPU seconds of a slow toy's ask
PROBLEM = problems.find("crash/m2")


@pytest.fixture(autouse=True)
def toys_python(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOY_PYTHON", sys.executable)


def toy(seed: int = 0) -> Child:
    return Child("TOY_PYTHON", TOY, PROBLEM.space, seed)


def test_a_child_is_asked_and_told_by_number() -> None:
    child = toy()
    assert child.ask(2) == [{"x": 0.0, "y": 0.0}] * 2
    child.tell([(0, 0.5), (1, 1.0)])
    assert child.ask(1) == [{"x": 0.5, "y": 0.5}]
    child.tell([(2, 0.9), (1, 0.4)])
    assert child.ask(1) == [{"x": 0.2, "y": 0.2}]


def test_a_child_learns_of_failures_and_of_evaluations_it_did_not_ask_for() -> None:
    child = toy()
    child.attach([({"x": 0.2, "y": 0.1}, 0.6)])
    assert child.ask(1) == [{"x": 0.4, "y": 0.4}]
    child.tell([(1, math.nan)])  # the toy then leaves the bounds, the adapter does not
    assert child.ask(1) == [{"x": 0.0, "y": 0.0}]


def test_the_childs_cpu_seconds_count_in_a_run() -> None:
    points = run(toy(seed=5), PROBLEM, Mode(q=1, sync=True, budget=2), seed=0)
    assert points[-1].cpu == pytest.approx(2 * BURNT, rel=0.2)


def test_what_a_peer_prints_does_not_come_between_the_lines() -> None:
    assert toy(seed=4).ask(1) == [{"x": 0.0, "y": 0.0}]


@pytest.mark.parametrize(
    ("python", "said"),
    [
        ("", "set TOY_PYTHON to its Python"),
        ("/no/such/python", "TOY_PYTHON: '/no/such/python' does not start"),
    ],
)
def test_without_its_interpreter_a_peer_is_left_out(
    monkeypatch: pytest.MonkeyPatch, python: str, said: str
) -> None:
    monkeypatch.setenv("TOY_PYTHON", python)
    with pytest.raises(Unavailable, match=said):
        toy()


def test_without_its_package_a_peer_is_left_out() -> None:
    with pytest.raises(Unavailable, match=r"TOY_PYTHON names lacks a package.*'toys'"):
        toy(seed=1)


def test_a_childs_failure_is_told_in_one_line() -> None:
    with pytest.raises(RuntimeError, match=r"^toy_child: ValueError: no idea$"):
        toy(seed=2).ask(1)
    with pytest.raises(RuntimeError, match=r"^toy_child ended with exit status 7$"):
        toy(seed=3).ask(1)


def test_a_child_ends_with_its_adapter() -> None:
    child = toy()
    pid = child._process.pid
    os.kill(pid, 0)
    del child
    gc.collect()
    end = time.monotonic() + 10
    while time.monotonic() < end:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return
        time.sleep(0.01)
    pytest.fail("the child is still there")
