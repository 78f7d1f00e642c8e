"""A study run against other ways to search, by one command that can be repeated."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from cli_studies import spot, spot_json, write_study

from spot_dask import Run
from spot_dask.store.journal import Journal

QUICK = ("--local", "0", "--progress", "none", "--durability", "process", "--evaluations", "5")


def against(directory: Path, *more: str, code: int = 0, names: str = "random") -> str:
    """What is said on stderr, then what is printed."""
    study = write_study(directory)
    given = ("--store", str(directory / "toy.zarr"), "--against", names, *more)
    done = spot("run", study, *QUICK, *given, code=code)
    return f"{done.stderr}\n{done.stdout}".strip()


def stores(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.glob("*.zarr"))


def test_a_study_is_run_by_each_search_with_each_seed_and_compared(tmp_path: Path) -> None:
    said = against(tmp_path, "--seeds", "2", "--seed", "3", "--report", names="random,sobol")
    searches = ("random", "sobol", "spot")
    expected = [f"toy-{search}-s{seed}.zarr" for search in searches for seed in (3, 4)]
    assert stores(tmp_path) == expected
    for name in expected:
        run = Run.open(tmp_path / name)
        assert run.state == "done"
        assert len(run.history.evaluations) == 5
        assert f"toy-{run.settings['search']}-s{run.settings['seed']}.zarr" == name
    assert "descriptive only: 2 runs" in said.replace("Descriptive", "descriptive")
    assert said.splitlines()[-1] == str(tmp_path / "toy-comparison.html")
    assert "Which is better?" in (tmp_path / "toy-comparison.html").read_text()


def test_what_is_done_is_left_and_what_was_cut_off_goes_on(tmp_path: Path) -> None:
    against(tmp_path, "--seeds", "1")
    kept = {n: Run.open(tmp_path / n).header.run_id for n in stores(tmp_path)}
    ends = {n: Run.open(tmp_path / n).end for n in kept}
    said = against(tmp_path, "--seeds", "1")
    assert said.count("is done") == 2
    assert {n: Run.open(tmp_path / n).end for n in kept} == ends
    # A larger budget goes on with both, and so does a run that was killed.
    shutil.rmtree(tmp_path / "toy-random-s0.zarr")
    with_more = against(tmp_path, "--seeds", "1", "--evaluations", "7")
    assert with_more.count("begins or goes on") == 2
    assert Run.open(tmp_path / "toy-spot-s0.zarr").header.run_id == kept["toy-spot-s0.zarr"]
    for name in kept:
        assert len(Run.open(tmp_path / name).history.evaluations) == 7


def test_a_run_that_was_killed_goes_on(tmp_path: Path) -> None:
    against(tmp_path, "--seeds", "1")
    whole = tmp_path / "toy-random-s0.zarr"
    Journal.resume(whole, durability="process").close()  # as a coordinator that wrote no end
    assert Run.open(whole).state == "interrupted"
    assert against(tmp_path, "--seeds", "1").count("begins or goes on") == 1
    assert Run.open(whole).state == "done"


def test_another_study_in_a_store_is_refused_in_one_line(tmp_path: Path) -> None:
    against(tmp_path, "--seeds", "1")
    said = against(tmp_path, "--seeds", "1", "--set", "repeats=0", code=2)
    assert "was begun with another repeats; name another store" in said.splitlines()[-1]


@pytest.mark.parametrize(
    ("names", "more", "message"),
    [
        ("spot", (), "spot is the study's own search"),
        ("randm", (), "no search named 'randm'; there are: "),
        ("random", ("--seeds", "0"), "--seeds"),
    ],
)
def test_what_is_no_comparison_is_refused(
    names: str, more: tuple[str, ...], message: str, tmp_path: Path
) -> None:
    assert message in against(tmp_path, *more, code=2, names=names)
    assert stores(tmp_path) == []


def test_seeds_are_for_comparisons(tmp_path: Path) -> None:
    assert "--against" in spot("run", write_study(tmp_path), "--seeds", "3", code=2).output


def test_json_is_one_document(tmp_path: Path) -> None:
    given = ("--store", str(tmp_path / "toy.zarr"), "--against", "random", "--seeds", "1")
    document = spot_json("run", write_study(tmp_path), *QUICK, *given)
    assert document["schema"] == "spot-dask/compare/1"
    assert [group["label"] for group in document["groups"]] == ["spot", "random"]
    assert json.dumps(document)
