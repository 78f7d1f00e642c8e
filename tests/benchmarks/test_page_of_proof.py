"""The page of proof: made of the stored files alone, losses first, with commands that exist."""

from __future__ import annotations

import csv
import os
import re
import shlex
import shutil
import subprocess
import sys
from html import unescape
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from benchmarks import comparison, stored
from benchmarks.drawings import spaced
from benchmarks.evidence import TABLES, Evidence
from benchmarks.page import draw_picture, main, proof
from benchmarks.results import Cell, Results
from benchmarks.short_form import PAGE, documentation
from benchmarks.simulation import Mode, Point
from benchmarks.stored import MARKS, StoredRun

ROOT = Path(__file__).parents[2]
OTHERS = ("losses", "quality", "nanochat", "coverage", "origins")


@pytest.fixture(scope="module")
def whole() -> str:
    return proof(Evidence(stored.FOLDER))


def section(page: str, name: str) -> str:
    return page.partition(f'<section id="{name}"')[2].partition("</section>")[0]


def test_the_page_of_what_is_stored_has_every_section(whole: str) -> None:
    for name in {*OTHERS, *(table.name for table in TABLES)}:
        assert "Not shown because" not in section(whole, name), name
        assert len(section(whole, name)) > 200, name
    assert whole.index('id="losses"') < whole.index('id="quality"')


def test_the_page_of_the_documentation_is_what_is_stored() -> None:
    written = PAGE.read_text(encoding="utf-8")
    again = "write it again: ./scripts/benchmarks/page --documentation"
    assert written == documentation(Evidence(stored.FOLDER)), again


def test_the_page_asks_for_nothing(whole: str) -> None:
    assert not re.search(r'(?:src|href)="(?!#)', whole)


def test_the_page_needs_nothing_of_the_bench_extra() -> None:
    """It only reads files: a fresh clone need not install the peers for it."""
    script = (ROOT / "scripts/benchmarks/page").read_text()
    assert [line.strip() for line in script.splitlines() if "install" in line] == [
        '"$root/scripts/install"'
    ]
    others = ["ax", "botorch", "cocoex", "icechunk", "onnxruntime", "optuna", "smac"]
    blocked = f"import sys; sys.modules.update(dict.fromkeys({others})); import benchmarks.page"
    path = os.pathsep.join([str(ROOT / "scripts"), str(ROOT)])
    subprocess.run(
        [sys.executable, "-c", blocked], env={**os.environ, "PYTHONPATH": path}, check=True
    )


def test_every_command_of_the_page_exists(whole: str) -> None:
    code = [unescape(text) for text in re.findall(r"<pre[^>]*><code>(.*?)</code>", whole, re.S)]
    commands = [line for text in code for line in text.replace("\\\n", " ").splitlines()]
    assert len(commands) > 15
    for command in commands:
        script, *words = shlex.split(command)
        assert (ROOT / script).is_file(), command
        if script.startswith("./scripts/benchmarks/"):
            source = (ROOT / "scripts" / "benchmarks" / f"{Path(script).name}.py").read_text()
            options = set(re.findall(r"[\"/](--[a-z-]+)(?=[\"/])", source))
            assert {word for word in words if word.startswith("--")} <= options, command


def test_what_is_stored_is_small_and_all_of_it_has_an_origin() -> None:
    files = sorted(stored.FOLDER.glob("*.csv"))
    assert sum(path.stat().st_size for path in files) < 400_000
    told = {origin.file for origin in stored.origins()}
    assert {path.stem for path in files} - told == {"origins", "scales"}
    for origin in stored.origins():
        assert re.fullmatch(r"\d{4}-\d\d-\d\d", origin.date)
        assert re.search(r"\b[0-9a-f]{7}\b", origin.commit)


def test_what_is_not_stored_costs_one_line_with_its_command(tmp_path: Path) -> None:
    shutil.copy(stored.FOLDER / "origins.csv", tmp_path)
    page = proof(Evidence(tmp_path))
    names = {"quality": "verification", "nanochat": "nanochat", "coverage": "coverage"}
    for name, file in (names | {table.name: table.name for table in TABLES}).items():
        left = section(page, name)
        assert left.count("Not shown because") == 1, name
        assert f"{file}.csv is not stored; ./scripts/" in left, name
        assert "<table" not in left, name


def test_an_empty_folder_gives_a_page_of_what_is_missing(tmp_path: Path) -> None:
    assert proof(Evidence(tmp_path)).count("Not shown because") == len(TABLES) + 4


def run(problem: str, optimiser: str, seed: int, end: float, kind: str = "smooth") -> StoredRun:
    regrets = np.linspace(1, end, len(MARKS))
    return StoredRun(problem, kind, optimiser, 8, seed, 1.0, 0, end, *map(float, regrets))


def made(ours: float, theirs: float, problem: str, kind: str = "smooth") -> list[StoredRun]:
    ends = {"averaged_ei": ours, "optuna_gp": theirs, "random": 1.0}
    return [run(problem, label, s, end, kind) for label, end in ends.items() for s in range(2)]


def test_a_loss_is_told_with_its_kind() -> None:
    runs = [*made(0.2, 0.4, "a/1"), *made(0.4, 0.2, "a/2", "noisy")]
    rows = {row.kind: row for row in comparison.by_kind(runs, "optuna_gp")}
    assert set(rows) == {"all", "smooth", "noisy"}
    assert rows["smooth"].ratio.value == pytest.approx(0.5)
    assert rows["noisy"].ratio.value == pytest.approx(2)
    assert [loss.problem for loss in rows["all"].lost] == ["a/2"]
    assert (rows["noisy"].behind, rows["smooth"].behind) == (True, False)


def test_only_seeds_that_both_have_run_count() -> None:
    runs = [*made(0.2, 0.4, "a/1"), run("a/1", "averaged_ei", 7, 1.0)]
    whole = comparison.compared(runs, "optuna_gp")
    assert whole is not None
    assert (whole.pairs, whole.ratio.value) == (2, pytest.approx(0.5))


def test_ranks_and_courses_are_over_what_all_have_run() -> None:
    runs = [*made(0.2, 0.4, "a/1"), run("a/2", "averaged_ei", 0, 1.0)]
    labels = ["averaged_ei", "optuna_gp", "random"]
    assert comparison.mean_ranks(runs, labels) == (dict(zip(labels, [1, 2, 3], strict=True)), 1)
    course = comparison.courses(runs, labels)[0]
    assert (course.runs, course.rel[-1]) == (2, pytest.approx(0.2))


def test_kept_runs_are_shortened_and_replace_their_own(tmp_path: Path) -> None:
    results = Results(tmp_path / "quality.csv")
    for budget, end in ((64, 0.123456), (32, 0.5)):
        points = [Point(n, n, n / 2, end, end, 3, n) for n in range(8, budget + 1, 8)]
        points[-1] = Point(budget, budget, budget / 2, end, end, 3, budget, 0.25)
        results.add(Cell("bbob/f8-d5-i1", "mine", Mode(8, True, budget), budget), points)
    words = ["--keep", str(results.path), "--stored", str(tmp_path), "--label", "mine=averaged_ei"]
    for _ in range(2):
        done = CliRunner().invoke(main, [*words, "--out", str(tmp_path / "page.html")])
        assert done.exit_code == 0, done.output
    (only,) = stored.runs("verification", tmp_path)
    assert (only.optimiser, only.kind, only.failed) == ("averaged_ei", "smooth", 3)
    assert (only.r8, only.r64, only.recommended) == (0.1235, 0.1235, 0.25)
    # Judged is what is recommended, which need not be what looked best.
    assert (only.regret(56), only.regret()) == (0.1235, 0.25)


def test_a_missed_aim_stands_among_the_losses(tmp_path: Path) -> None:
    with (tmp_path / "tracking.csv").open("w", encoding="utf-8") as file:
        csv.writer(file).writerows([["tracker", "ratio", "aim", "met"], ["slow", "3", "1", "no"],
                                    ["quick", "1", "1", "yes"]])  # fmt: skip
    losses = section(proof(Evidence(tmp_path)), "losses")
    assert "Tracking: slow" in losses
    assert "quick" not in losses


def test_labels_are_moved_apart_as_little_as_need_be() -> None:
    assert spaced([0.1, 0.5], 0.2) == [0.1, 0.5]
    assert spaced([0.49, 0.51], 0.2) == pytest.approx([0.4, 0.6])
    assert spaced([0.3, 0.49, 0.51], 0.2) == pytest.approx([0.7 / 3, 1.3 / 3, 1.9 / 3])


def test_the_picture_is_small(tmp_path: Path) -> None:
    path = tmp_path / "regret.png"
    words = draw_picture(Evidence(stored.FOLDER), path)
    assert re.search(r"spot-dask 0\.\d\d, Optuna GPSampler 0\.\d\d", words)
    assert path.read_bytes().startswith(b"\x89PNG")
    assert path.stat().st_size < 80_000
