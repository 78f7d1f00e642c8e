"""A study whose store is in a bucket, from the command line and from Python."""

from __future__ import annotations

import json
import uuid
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from object_service import BUCKET

from spot_dask import Budget, FunctionTask, Run, StoreError, WarmStart
from spot_dask.cli import main
from spot_dask.executors.artifacts import ArtifactFolder, artifacts_of
from spot_dask.store.bucket import bucket_at
from spot_dask.study_file import load
from spot_dask.tasks import Config, Context
from spot_dask.worker import artifacts
from spot_dask.worker.artifacts import artifact_place

STUDY = """\
from spot_dask import Budget, Design, FunctionTask, Real, Space, Study

study = Study(
    space=Space(x=Real(0.0, 1.0, default=0.5)),
    task=FunctionTask(lambda cfg: (cfg.x - 0.3) ** 2),
    budget=Budget(evaluations=4),
    design=Design(initial=4),
)
"""


@pytest.fixture
def folder(s3: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "study.py").write_text(STUDY)
    return tmp_path


@pytest.fixture
def prefix() -> str:
    return f"s3://{BUCKET}/{uuid.uuid4().hex}"


def spot(*args: object) -> str:
    result = CliRunner().invoke(main, [*map(str, args)], prog_name="spot-dask")
    assert result.exit_code == 0, result.output
    return result.stdout


def test_every_command_takes_the_address_of_an_object_store(folder: Path, prefix: str) -> None:
    first, second = f"{prefix}/first.zarr", f"{prefix}/second.zarr"
    told = spot("run", "study.py", "--local", 0, "--store", first)
    assert told.splitlines()[-1] == "first/report.html"
    assert (folder / "first/report.html").is_file()
    assert first in told

    spot("resume", first, "--local", 0, "--evaluations", 5, "--no-report")
    assert json.loads(spot("status", first, "--json"))["budget"]["used"] == 5
    assert json.loads(spot("best", first, "--json"))["store"] == first
    assert spot("report", first, "-o", "mine/r.html").splitlines()[-1] == "mine/r.html"
    assert (folder / "mine/r.html").is_file()
    assert spot("export", first, "--to", "csv").splitlines()[-1] == "first/evaluations.csv"
    assert len((folder / "first/evaluations.csv").read_text().splitlines()) == 1 + 5

    options = ["--local", 0, "--no-report", "--warm-start", first]
    spot("run", "study.py", *options, "--store", second)
    run = Run.open(second)
    assert len(run.history.imports) == 5
    assert run.fold.imports[0].source == first == Run.open(first).path
    assert sorted(p.name for p in folder.iterdir() if p.is_dir() and p.name != "__pycache__") == [
        "first",
        "mine",
    ]


def saving(cfg: Config, trial: Context) -> float:
    (trial.artifacts / "number").write_text(str(trial.number))
    (trial.artifacts / "deep").mkdir()
    (trial.artifacts / "deep" / "ü b").write_bytes(b"x" * 100_000)
    return float(cfg.x)


def keys(address: str) -> set[str]:
    return {o["path"] for page in bucket_at(address).store.list() for o in page}


def test_artifacts_of_a_run_in_a_bucket_are_kept_there_or_in_a_directory(
    folder: Path, prefix: str
) -> None:
    study = replace(load("study.py").study, task=FunctionTask(saving), keep="best")
    run = study.run(store=f"{prefix}/a.zarr", local=0)
    there = Run.open(study.resume(run.path, Budget(evaluations=6), local=0).path)
    best = there.best
    assert best is not None
    address = f"{prefix}/a.zarr.artifacts/{best.trial}"
    assert there.artifacts_at() == address
    assert json.loads(spot("best", run.path, "--json"))["artifacts"] == address
    assert not (folder / "a").exists()  # nothing is copied to tell where they are
    copy = there.artifacts()
    assert copy == Path("a/artifacts", run.header.run_id, str(best.trial))
    assert (copy / "number").read_text() == str(best.trial)
    assert (copy / "deep" / "ü b").stat().st_size == 100_000
    kept = {f"{best.trial}/{name}" for name in ("number", "deep/ü b", ".complete")}
    assert kept < keys(f"{prefix}/a.zarr.artifacts")
    shelf = ArtifactFolder(artifacts_of(None, run.path, run.header.run_id))
    shelf.settle(there.history, {best.trial})
    shelf.close()
    assert keys(f"{prefix}/a.zarr.artifacts") == {".run", *kept}
    copy.rename(copy.with_name("moved"))
    assert there.artifacts() == copy
    assert (copy / "number").exists()

    for given, where in (("kept", str(folder / "kept")), (f"{prefix}/k", f"{prefix}/k")):
        other = replace(study, artifacts=given)
        run = other.run(store=f"{prefix}/{given[-1]}.zarr", local=0)
        at = Run.open(run.path).artifacts_at()
        assert at.rpartition("/")[0] == f"{where}/{run.header.run_id}"


def test_artifacts_in_a_bucket_are_complete_or_not_there(
    folder: Path, prefix: str, caplog: pytest.LogCaptureFixture
) -> None:
    study = replace(load("study.py").study, task=FunctionTask(saving), keep="all")
    run = study.run(store=f"{prefix}/a.zarr", local=0)
    root = f"{prefix}/a.zarr.artifacts"
    store = bucket_at(root).store
    store.delete("1/.complete")  # as of a worker that was killed before it was done
    store.put("2/.complete", json.dumps({"number": 99}).encode())
    store.put("3/.complete", json.dumps({"../../../../out": 1, "number": 1}).encode())
    store.put("0/.complete", b"[")
    with pytest.raises(StoreError, match="no artifacts of trial 1 are kept"):
        run.artifacts(1)
    with pytest.raises(StoreError, match="2/number is not whole"):
        run.artifacts(2)
    with pytest.raises(StoreError, match=r"'\.\./\.\./\.\./\.\./out' is no name of a file"):
        run.artifacts(3)
    with pytest.raises(StoreError, match="cannot be read"):
        run.artifacts(0)
    assert not any(p.is_file() for p in folder.rglob("out"))
    assert not any((folder / "a/artifacts").rglob("number"))

    place = artifacts_of(None, run.path, run.header.run_id)
    (folder / "new").mkdir()
    (folder / "new" / "number").write_text("again")
    place.publish(folder / "new", 1, 0)  # of the attempt that comes after
    assert (run.artifacts(1) / "number").read_text() == "again"
    assert not any(key.startswith("1/deep") for key in keys(root))
    elsewhere = artifact_place(root, "another run")
    with pytest.raises(StoreError, match="has the artifacts of another run"):
        ArtifactFolder(elsewhere)


def test_a_bucket_that_fails_costs_the_artifacts_and_not_the_result(
    folder: Path, prefix: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(artifacts, "PATIENCE_SECONDS", 0.0)
    study = replace(load("study.py").study, task=FunctionTask(saving), keep="best")
    study = replace(study, artifacts=f"{prefix}/k")
    put = artifacts.ArtifactBucket._put

    def full(self: artifacts.ArtifactBucket, key: str, data: bytes | Path) -> None:
        if key.endswith("number"):
            raise StoreError(f"cannot write {key} of {self.root}: quota exceeded")
        put(self, key, data)

    monkeypatch.setattr(artifacts.ArtifactBucket, "_put", full)
    run = study.run(store=folder / "b.zarr", local=0)
    assert len(run.history.ok) == 4
    assert [r.message.count("quota exceeded") for r in caplog.records if "lost" in r.message] == [1]
    with pytest.raises(StoreError, match="are not here: there is no s3:"):
        run.artifacts()


def test_the_address_may_stand_in_the_settings_and_goes_through_python(
    folder: Path, prefix: str
) -> None:
    store = f"{prefix}/a.zarr"
    toml = folder / "spot.toml"
    toml.write_text(f'[study]\nfile = "study.py"\n[store]\npath = "{store}"\n')
    assert load(str(toml)).store == store
    assert load("study.py", [f"store.path={store}"]).store == store
    study = load("study.py").study
    assert study.run(store=store, local=0).path == store
    again = study.resume(store, Budget(evaluations=6), local=0)
    assert len(again.history.evaluations) == 6
    assert study.report() == Path("a/report.html")


def test_a_source_in_a_bucket_is_taken_once_as_data_or_prior_and_never_written(
    folder: Path, prefix: str
) -> None:
    source = f"{prefix}/source.zarr"
    study = load("study.py").study
    study.run(store=source, local=0)

    def contents() -> dict[str, object]:
        everything = bucket_at(source).store.list()
        return {o["path"]: (o["e_tag"], o["last_modified"]) for page in everything for o in page}

    before = contents()
    again, hints = WarmStart(source), WarmStart(source, "prior")
    data = study.run(store=folder / "data.zarr", local=0, warm_start=[source, again, hints])
    assert len(data.history.imports) == 4
    assert data.history.priors == ()
    prior = study.run(store=folder / "prior.zarr", local=0, warm_start=[hints])
    assert list(map(len, prior.history.priors)) == [4]
    assert {i.source_run for i in data.history.imports} == {Run.open(source).header.run_id}
    assert before == contents()
