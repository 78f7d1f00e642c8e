"""Verification problems are apart from development, and every reading is tallied."""

from __future__ import annotations

import subprocess
from collections import Counter
from pathlib import Path

import pytest
from click.testing import CliRunner

from benchmarks import problems, verification
from benchmarks.problems import KINDS
from benchmarks.quality import main
from benchmarks.results import Results
from benchmarks.sets import DEVELOPMENT, NETWORKS


def test_verification_is_of_every_kind_and_nothing_of_it_is_developed_on() -> None:
    names = verification.names()
    assert len(names) == len(set(names)) >= 30
    assert not set(names) & set(DEVELOPMENT)
    kinds = Counter(map(problems.kind, names))
    assert set(kinds) == set(KINDS) - {"failures"}
    assert kinds["networks"] == 13
    assert (kinds["smooth"], kinds["rugged"], kinds["noisy"]) == (8, 6, 16)
    assert not {n.split("-")[0] for n in names} & set(NETWORKS)
    # An instance is another function: those of development are not used again.
    instances = {n.split("-i")[1].split("-")[0] for n in names if n.startswith("bbob")}
    assert instances <= {str(i) for i in range(21, 41)}


def test_verification_problems_are_left_out_of_all_else(tmp_path: Path) -> None:
    out = tmp_path / "rows.csv"
    args = ["--problem", "mixed/[bp]*", "--optimiser", "sobol", "--budget", "4", "--seeds", "1"]
    result = CliRunner().invoke(main, [*args, "--out", str(out), "--baseline", "random"])
    assert result.exit_code == 0, result.output
    assert {cell.problem for cell in Results(out).runs()} == {"mixed/branches"}


def test_a_verification_runs_its_problems_and_tells_how_often_they_were_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verification, "NAMES", tmp_path / "names.txt")
    monkeypatch.setattr(verification, "LOG", tmp_path / "log.txt")
    monkeypatch.setattr(verification, "commit", lambda: "c0ffee")
    (tmp_path / "names.txt").write_text("# two\n\nmixed/grid\ncrash/m2\n")
    args = ["--verify", "--optimiser", "sobol", "--budget", "8", "--baseline", "random"]
    args += ["--out", str(tmp_path / "rows.csv")]
    for seeds, readings in (("1", 1), ("1", 1), ("2", 2)):
        result = CliRunner().invoke(main, [*args, "--seeds", seeds])
        assert result.exit_code == 0, result.output
        assert f"read {readings} times" in result.output
    lines = (tmp_path / "log.txt").read_text().splitlines()
    assert [line.partition(" | ")[2] for line in lines] == [
        "c0ffee | sobol | q=8 sync N=8 | seeds 0-0", "c0ffee | sobol | q=8 sync N=8 | seeds 0-1"
    ]  # fmt: skip
    assert "| all kinds: ratio to random after | 2 | 4 | 6 | 8 |" in result.output
    assert "| mixed: ratio" in result.output
    assert "| failures: ratio" in result.output


def test_nothing_can_be_chosen_on_verification() -> None:
    for args in (["--race"], ["--set", "mixed"], ["--problem", "crash/m2"], ["--quick"]):
        result = CliRunner().invoke(main, ["--verify", *args])
        assert result.exit_code == 2, result.output


def test_changes_beside_the_commit_are_told_and_always_a_reading(tmp_path: Path) -> None:
    def git(*words: str) -> None:
        identity = ["-c", "user.name=t", "-c", "user.email=t@t"]
        subprocess.run(["git", "-C", str(tmp_path), *identity, *words], check=True)

    git("init", "-q")
    (tmp_path / "a").write_text("1")
    git("add", "a")
    git("commit", "-qm", "one")
    clean = verification.commit(tmp_path)
    assert len(clean) == 10
    log = tmp_path / "scripts" / "benchmarks" / "verification.log"
    log.parent.mkdir(parents=True)
    assert [verification.tally("x", clean, log) for _ in range(2)] == [1, 1]
    assert verification.commit(tmp_path) == clean
    (tmp_path / "a").write_text("2")
    assert verification.commit(tmp_path) == f"{clean}+changes"
    assert [verification.tally("x", f"{clean}+changes", log) for _ in range(2)] == [2, 3]
