"""The benchmark of starts runs each way and compares in one run."""

from __future__ import annotations

import re
import sys

import pytest
from click.testing import CliRunner

from benchmarks import starts


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux forks")
def test_each_way_is_measured_and_compared_to_an_interpreter_each() -> None:
    done = CliRunner().invoke(starts.main, ["--trainings", "2", "--task", "numpy"])
    assert done.exit_code == 0, done.output
    rows = [line.split(" | ") for line in done.stdout.splitlines()[2:]]
    assert [row[1] for row in rows] == [starts.BASELINE, "process, forked", "warm", "thread"]
    base = float(rows[0][3])
    for _, _, first_line, round_trip, ratio in rows[:3]:
        assert float(first_line) <= float(round_trip)
        shown = float(re.sub(r"1/| \|", "", ratio))
        assert shown == pytest.approx(base / float(round_trip), rel=0.1)
