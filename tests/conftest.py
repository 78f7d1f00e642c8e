"""What every test starts from, the order in which they run, and which run only when asked for."""

from __future__ import annotations

import os
from collections import defaultdict
from pathlib import Path

import pytest

from spot_dask import errors

LATER = {"dask": 1, "browser": 2, "e2e": 3}
"""Marker -> how much later than quick ones the files run that have a test with it."""


ASKED_FOR = frozenset(
    {
        "test_readme.py::test_the_shipped_example_trains_on_real_images",
        "test_runs.py::test_a_killed_run_resumes_to_exactly_its_budget[sync]",
        "test_services.py::test_a_worker_with_another_spot_dask_is_named[another-version]",
        "test_services.py::test_a_worker_with_another_spot_dask_is_named[another-python]",
        "test_interrupted_trainings.py::test_a_training_lost_with_its_worker_goes_on_elsewhere[15]",
        "test_page_of_a_cluster.py::test_without_bokeh_two_runs_share_the_page_of_a_scheduler",
        "test_early_stopping_runs.py::"
        "test_trainings_of_networks_are_stopped_and_their_slots_used_again[thread]",
    }
)
"""Tests of a quarter to half a minute that have a neighbour with the same mechanism: they run where
SPOT_DASK_TEST_ALL is set. tests/README.md names each; whoever changes one changes the other."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Let quick files come first and whole runs last, each file in one piece."""
    if "SPOT_DASK_TEST_ALL" not in os.environ:
        left = [item for item in items if item.nodeid.rpartition("/")[2] in ASKED_FOR]
        config.hook.pytest_deselected(items=left)
        items[:] = [item for item in items if item not in left]
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
