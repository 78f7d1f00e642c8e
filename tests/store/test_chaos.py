"""What scripts/chaos/store does at full size, at a small one; and that it finds what is broken.

Each promise of the store is tried by a scenario, and each scenario is tried with a writer that
leaves out what the promise rests on. The script runs in a process without threads: it forks.
"""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from chaos.broken import FOUND_BY, WRITERS
from chaos.scenarios import SCENARIOS
from chaos.story import Tally

ROOT = Path(__file__).parents[2]


def chaos(flag: str) -> dict[str, list[Tally]]:
    """The rows that the script prints with a flag, by what they begin with."""
    paths = [str(ROOT / "scripts"), str(ROOT), os.environ.get("PYTHONPATH", "")]
    done = subprocess.run(
        [sys.executable, "-m", "chaos.store", flag],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found: dict[str, list[Tally]] = {}
    for line in done.stdout.splitlines()[1:]:
        figures = line[22:].replace(",", "").split()[: len(fields(Tally))]
        if all(figure.isdecimal() for figure in figures):
            found.setdefault(line[:22].rstrip(), []).append(Tally(*map(int, figures)))
    return found


@pytest.fixture(scope="module")
def tallies() -> dict[str, list[Tally]]:
    return chaos("--quick")


@pytest.fixture(scope="module")
def sabotaged() -> dict[str, list[Tally]]:
    return chaos("--sabotage")


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_nothing_is_lost_doubled_or_invented_and_all_is_readable(
    scenario: str, tallies: dict[str, list[Tally]]
) -> None:
    (tally,) = tallies[scenario]
    assert tally.kills + tally.others >= SCENARIOS[scenario][2] // 2
    assert tally.acknowledged > 0
    assert tally.failures == 0


@pytest.mark.parametrize("writer", FOUND_BY)
def test_a_broken_writer_is_found(writer: str, sabotaged: dict[str, list[Tally]]) -> None:
    assert sabotaged[writer][-1].failures > 0


def test_every_broken_writer_is_tried() -> None:
    assert FOUND_BY.keys() == WRITERS.keys() - {"correct"}
