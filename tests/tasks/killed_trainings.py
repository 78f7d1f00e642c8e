"""What tests of trainings that are killed share: processes without threads, and the kill."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Tiny networks are the quicker for it, and a forked process has no others."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def alone(function: Callable[..., object], *arguments: Any) -> None:
    """Call a function in a forked process, which finds none of torch's other threads."""
    torch.set_num_threads(1)
    function(*arguments)


def kill(epoch: int) -> Callable[[int], None]:
    def at(reported: int) -> None:
        if reported == epoch:
            os.kill(os.getpid(), signal.SIGKILL)

    return at
