"""Signals become events of the coordinator, gentler ones first."""

from __future__ import annotations

import math
import os
import signal

import pytest

from spot_dask.coordinator import Detach, Drain, Halt
from spot_dask.session import Ending, as_events


@pytest.fixture
def exits(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The codes this process would have exited with."""
    codes: list[int] = []
    monkeypatch.setattr("spot_dask.session.os._exit", codes.append)
    return codes


def test_the_first_drains_the_second_halts_the_third_exits(exits: list[int]) -> None:
    before = signal.getsignal(signal.SIGINT)
    with as_events(Ending()) as arrived:
        for _ in range(3):
            os.kill(os.getpid(), signal.SIGINT)
        assert list(arrived) == [Drain("SIGINT", math.inf), Halt("SIGINT")]
    assert exits == [130]
    assert signal.getsignal(signal.SIGINT) is before


def test_grace_is_for_sigterm(exits: list[int]) -> None:
    with as_events(Ending(grace=7.0)) as arrived:
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGTERM)
    assert list(arrived) == [Drain("SIGTERM", 7.0), Halt("SIGINT")]
    assert exits == [143]


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_detaching_leaves_what_runs(name: str) -> None:
    with as_events(Ending(grace=7.0, detach=True)) as arrived:
        os.kill(os.getpid(), signal.Signals[name])
    assert list(arrived) == [Detach(name)]
