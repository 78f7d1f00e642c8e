"""The CPU seconds of a proposal."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from click.testing import CliRunner

from benchmarks.proposal import expected, main


def test_ratios_to_the_baseline_are_shown_and_who_cannot_learn_is_left_out(tmp_path: Path) -> None:
    out = tmp_path / "seconds.csv"
    args = ["--optimiser", "spot", "--optimiser", "same=spot", "--optimiser", "sobol"]
    args += ["--n", "40", "--q", "2", "--repeats", "1", "--out", str(out)]
    done = CliRunner().invoke(main, args)
    assert done.exit_code == 0, done.output
    assert "| spot | 1 |" in done.output
    with out.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(r["optimiser"], r["n"], r["q"]) for r in rows] == [
        ("spot", "40", "2"),
        ("same", "40", "2"),
    ]
    assert all(0 < float(r["cpu_seconds"]) < 60 for r in rows)


def test_what_would_take_longer_than_the_limit_is_not_tried(tmp_path: Path) -> None:
    args = ["--optimiser", "spot", "--q", "1", "--n", "40", "--n", "80", "--repeats", "1"]
    args += ["--limit", "1e-6", "--out", str(tmp_path / "seconds.csv")]
    done = CliRunner().invoke(main, args)
    assert done.exit_code == 0, done.output
    shown = next(line for line in done.output.splitlines() if line.startswith("| spot |"))
    first, second = shown.split("|")[2:4]
    assert float(first) > 0
    assert second.strip() == ""


@pytest.mark.parametrize(
    ("n", "q", "seconds"),
    [(50, 8, 0.0), (200, 8, 3.0), (200, 256, 96.0), (1000, 8, 20.0), (100, 4, 0.0)],
)
def test_time_is_expected_to_grow_linearly_from_the_largest_smaller_pair(
    n: int, q: int, seconds: float
) -> None:
    assert expected({(100, 8): 1.5, (500, 8): 10.0}, n, q) == pytest.approx(seconds)
