"""What every test starts from, who runs what when, and which run only when asked for."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from sizes import ALL, size
from xdist.scheduler import LoadFileScheduling

from spot_dask import errors

# How long an example takes says how busy the machine is.
settings.register_profile(
    "spot-dask",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    max_examples=size(40, 100),
)
settings.load_profile("spot-dask")

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
        "test_store.py::test_the_quick_setting_tells_ratios_to_the_baseline_of_the_same_run",
        "test_chaos.py::test_a_broken_writer_is_found",
        "test_many_workers.py::test_each_trial_is_committed_once_on_a_thousand_workers[1]",
        "test_early_stopping.py::test_results_are_kept_and_shown_beside_the_baseline",
        "test_optimise.py::test_kriging_with_log_ei_beats_random_search_on_styblinski_tang",
        "test_many_workers.py::test_each_trial_is_committed_once_on_thousands_of_workers",
        "test_tuner.py::test_a_failing_region_is_not_proposed_in_a_loop[log_nei]",
        "test_tuner.py::test_a_failing_region_is_not_proposed_in_a_loop[ucb]",
        "test_crash_regions.py::"
        "test_the_border_of_a_crash_region_is_found_with_few_failures[4]",
        "test_supervisor.py::test_torch_has_all_cores_for_the_only_slot",
        "test_baselines.py::test_what_learns_is_better_than_chance[evolution]",
        *(
            f"test_report_html.py::test_every_store_has_a_page[{case}]"
            for case in (
                "two trials", "three trials", "one real", "constant zero", "tiny values",
                "a diverged training",
            )
        ),
    }
)  # fmt: skip
"""Costly tests that have a neighbour with the same mechanism, all with a name or one with its
parameters: they run where SPOT_DASK_TEST_ALL is set. tests/README.md names each; whoever changes
one changes the other."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Let quick files come first and whole runs last, each file in one piece."""
    if not ALL:
        left = [item for item in items if ASKED_FOR & set(_names(item))]
        config.hook.pytest_deselected(items=left)
        items[:] = [item for item in items if item not in left]
    turn: defaultdict[Path, int] = defaultdict(int)
    for item in items:
        turn[item.path] = max(
            turn[item.path], *(n for mark, n in LATER.items() if item.get_closest_marker(mark)), 0
        )
    items.sort(key=lambda item: turn[item.path])


def _names(item: pytest.Item) -> tuple[str, str]:
    """The file and the function of a test, with its parameters and without."""
    name = f"{item.path.name}::{item.nodeid.partition('::')[2]}"
    return name, name.partition("[")[0]


class Lanes(LoadFileScheduling):  # type: ignore[misc]
    """The last process begins with the last files, those that mostly wait, the others with the
    first; a file runs in one process."""

    def _assign_work_unit(self, node: Any) -> None:
        if node is self.nodes[-1] and len(self.nodes) > 1:
            self.workqueue.move_to_end(next(reversed(self.workqueue)), last=False)
        super()._assign_work_unit(node)


@pytest.hookimpl(optionalhook=True)  # there may be no xdist
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Whole runs go on beside the quick tests."""
    return Lanes(config, log) if config.option.dist == "loadfile" else None


@pytest.fixture(autouse=True)
def nothing_was_said_before() -> Iterator[None]:
    """Warnings that are logged once per process are logged once per test.

    And at the level of a program that has just begun, whatever an earlier one in this process set.
    """
    errors._said.clear()
    yield
    logging.getLogger("spot_dask").setLevel(logging.NOTSET)
