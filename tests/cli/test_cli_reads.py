"""Every command reads a store once: no record is asked for twice, however it is looked at."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import pytest
from cli_studies import run_study, spot

from spot_dask import Run
from spot_dask.store import files
from spot_dask.store.layout import CHUNKS


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each object of a journal was read, by its path."""
    counted: Counter[str] = Counter()
    read = files.read_object

    def count(path: str) -> bytes:
        data = read(path)
        if f"/{CHUNKS}/" in path:
            counted[path] += 1
        return data

    monkeypatch.setattr(files, "read_object", count)
    return counted


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run_study(tmp_path_factory.mktemp("finished"))


@pytest.mark.parametrize(
    "command",
    [
        ("status",), ("status", "--json"), ("best",), ("best", "--by", "observed"), ("report",),
        ("export", "--to", "csv"), ("export", "--to", "zarr"), ("export", "--to", "jsonl"),
    ],
    ids=" ".join,
)  # fmt: skip
@pytest.mark.parametrize("tables", [True, False], ids=["tables", "no tables"])
def test_a_command_that_reads_a_store_reads_each_record_once(
    command: tuple[str, ...], tables: bool, finished: Path, tmp_path: Path, reads: Counter[str]
) -> None:
    store = Path(shutil.copytree(finished, tmp_path / "run.zarr"))
    if not tables:
        shutil.rmtree(store / "tables")
    count = Run.open(store).end
    reads.clear()
    spot(command[0], store, *command[1:])
    assert max(reads.values()) == 1
    if command[0] != "export" or not tables:  # by the table, and by the record that it ends with
        assert len(reads) == count


def test_a_run_reads_nothing_of_what_it_has_written(tmp_path: Path, reads: Counter[str]) -> None:
    run_study(tmp_path)
    assert not reads


def test_a_resumed_run_reads_what_was_there_once_and_nothing_else(
    tmp_path: Path, reads: Counter[str]
) -> None:
    store = run_study(tmp_path)
    count = Run.open(store).end
    reads.clear()
    spot("resume", store, "--local", "0", "--evaluations", "8")
    assert set(reads.values()) == {1}
    assert len(reads) == count
    assert Run.open(store).status()["budget"]["used"] == 8
