"""Where results are written: a folder for each run, whole files, and nothing of somebody else's."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from spot_dask import Budget, FunctionTask, Real, Run, Space, StoreError, Study
from spot_dask.outputs import beside, replacing, write_texts


def loss(cfg: object) -> float:
    return float(cfg.x)  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    study = Study(Space(x=Real(0, 1)), FunctionTask(loss), budget=Budget(evaluations=2))
    return study.run(store=tmp_path_factory.mktemp("run") / "run.zarr", local=0)


@pytest.mark.parametrize(
    ("store", "folder"),
    [
        ("run.zarr", "run"), ("lr0.1", "lr0.1.results"), ("lr0.2", "lr0.2.results"),
        ("lr0.1.zarr", "lr0.1"), ("plain", "plain.results"), (".zarr", ".results"),
        ("a.b/c", "a.b/c.results"),
    ],
)  # fmt: skip
def test_a_store_has_a_folder_of_its_own(store: str, folder: str, tmp_path: Path) -> None:
    assert beside(tmp_path / store) == tmp_path / folder
    assert beside(f"s3://bucket/a/{Path(store).name}") == Path(Path(folder).name)


def test_a_folder_is_in_no_store(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "zarr.json").touch()
    assert beside(tmp_path / "run.zarr") == tmp_path / "run.zarr.results"
    assert beside(tmp_path / "run") == tmp_path / "run.results"


def test_a_store_of_any_name_gets_its_report_and_export_outside(run: Run, tmp_path: Path) -> None:
    pages = []
    for name in ("lr0.1", "lr0.2"):
        store = tmp_path / name
        store.symlink_to(run.path)
        opened = Run.open(store)
        pages += [opened.report(), opened.export("csv")]
    assert len(set(pages)) == 4
    assert all(page.is_file() and not page.is_relative_to(tmp_path / "lr0.1") for page in pages)


def test_stores_of_one_name_in_buckets_do_not_share_a_report(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    far = Run("s3://a/run.zarr", run.header, False, run.end, run.journal)
    assert far.report() == far.report() == Path("run/report.html")
    data = json.loads(Path("run/report.json").read_text())
    data["about"]["run_id"] = "another"
    Path("run/report.json").write_text(json.dumps(data))
    assert far.report() == Path(f"run-{run.header.run_id[:8]}/report.html")
    assert json.loads(Path("run/report.json").read_text()) == data


def test_a_report_replaces_links_and_not_what_they_lead_to(run: Run, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("mine")
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "r.html").symlink_to(victim)
    page = run.report(folder / "r.html")
    assert victim.read_text() == "mine"
    assert not page.is_symlink()
    assert page.read_text().startswith("<!DOCTYPE html>")
    assert sorted(p.name for p in folder.iterdir()) == ["r.html", "r.json", "r.md"]


@pytest.mark.parametrize("other", ["README.md", "README.json"])
def test_a_report_replaces_no_file_that_is_none(other: str, run: Run, tmp_path: Path) -> None:
    (tmp_path / other).write_text("{}")
    with pytest.raises(StoreError, match=f"{other} is there and is no report's; give another"):
        run.report(tmp_path / "README.html")
    assert [p.name for p in tmp_path.iterdir()] == [other]
    (tmp_path / other).unlink()
    assert run.report(tmp_path / "README.html") == run.report(tmp_path / "README.html")


@pytest.mark.parametrize("name", ["r", "lr0.1", "r.md", "r.json"])
def test_a_report_is_html(name: str, run: Run, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"expected one that ends in \.html"):
        run.report(tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_a_file_is_written_whole_or_stays_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b.txt"
    write_texts({path: "one"})

    def interrupted() -> None:
        with replacing(path) as file:
            file.write(b"tw")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert path.read_text() == "one"
    assert [p.name for p in path.parent.iterdir()] == ["b.txt"]


def test_what_is_no_file_is_not_replaced(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="no regular file"), replacing(tmp_path / "pipe"):
        pass
    with pytest.raises(IsADirectoryError), replacing(tmp_path):
        pass
    assert (tmp_path / "pipe").is_fifo()


def test_init_does_not_write_through_a_link(tmp_path: Path) -> None:
    from click.testing import CliRunner

    from spot_dask.cli import main

    (tmp_path / "study.py").symlink_to(tmp_path / "elsewhere.py")
    assert "cannot write" in CliRunner().invoke(main, ["init", str(tmp_path)]).output
    assert not (tmp_path / "elsewhere.py").exists()
