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
from spot_dask.store.bucket import bucket_at
from spot_dask.study_file import load
from spot_dask.tasks import Config, Context

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


def test_artifacts_of_a_run_in_a_bucket_are_kept_in_a_directory(folder: Path, prefix: str) -> None:
    def train(cfg: Config, trial: Context) -> float:
        (trial.artifacts / "number").write_text(str(trial.number))
        return float(cfg.x)

    study = replace(load("study.py").study, task=FunctionTask(train), keep="best")
    with pytest.raises(StoreError, match="--artifacts"):
        study.run(store=f"{prefix}/a.zarr", local=0)
    kept = replace(study, artifacts="kept")
    run = kept.run(store=f"{prefix}/a.zarr", local=0)
    again = kept.resume(run.path, Budget(evaluations=6), local=0)
    there = Run.open(again.path)
    best = there.best
    assert best is not None
    assert (there.artifacts() / "number").read_text() == str(best.trial)
    assert there.artifacts().parent == folder / "kept" / run.header.run_id
    assert json.loads(spot("best", run.path, "--json"))["artifacts"] == str(there.artifacts())


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
