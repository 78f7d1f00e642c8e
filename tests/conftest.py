"""What every test starts from, and the order in which they run."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import pytest

from spot_dask import errors

LATER = {"dask": 1, "browser": 2, "e2e": 3}
"""Marker -> how much later than quick ones the files run that have a test with it."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let quick files come first and whole runs last, each file in one piece."""
    turn: defaultdict[Path, int] = defaultdict(int)
    for item in items:
        turn[item.path] = max(
            turn[item.path], *(n for mark, n in LATER.items() if item.get_closest_marker(mark)), 0
        )
    items.sort(key=lambda item: turn[item.path])


@pytest.fixture(autouse=True)
def nothing_was_said_before() -> None:
    """Warnings that are logged once per process are logged once per test."""
    errors._said.clear()
