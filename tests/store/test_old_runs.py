"""A whole run of the version before this package was rebuilt opens, reports and goes on as it did.

``golden/run-0.1.tar.xz`` holds the store after 12 evaluations, its study, what ``best --json`` and
the report said of it then, and the 16 trials that the old version came to by resuming it.
"""

import json
import tarfile
from pathlib import Path

import pytest

from spot_dask import Budget, Run
from spot_dask.store.verify import verify
from spot_dask.study_file import load

ARCHIVE = Path(__file__).parent / "golden" / "run-0.1.tar.xz"
DIGITS = 1e-6  # relative: another processor may round otherwise


@pytest.fixture
def then(tmp_path):
    with tarfile.open(ARCHIVE) as tar:
        tar.extractall(tmp_path, filter="data")
    return tmp_path / "run-0.1"


def alike(now, then):
    return now == then if isinstance(then, (str, bool)) else now == pytest.approx(then, rel=DIGITS)


def same_trials(history, trials):
    found = sorted(history.evaluations, key=lambda e: e.trial.number)
    assert len(found) == len(trials)
    for evaluation, old in zip(found, trials, strict=True):
        trial = evaluation.trial
        assert (trial.number, trial.origin) == (old["number"], old["origin"])
        assert evaluation.outcome.status == old["status"]
        assert trial.config.keys() == old["config"].keys()
        assert all(alike(trial.config[name], value) for name, value in old["config"].items())


def test_an_old_run_opens_and_recommends_as_before(then):
    assert verify(then / "run.zarr").problems == ()
    run = Run.open(then / "run.zarr")
    same_trials(run.history, json.loads((then / "trials.json").read_text())[:12])
    old, now = json.loads((then / "best.json").read_text()), run.best_json(run.best)
    assert all(alike(now["config"][name], value) for name, value in old["config"].items())
    for name in ("trial", "observed", "trainings"):
        assert now[name] == pytest.approx(old[name], rel=1e-4)
    # What it said of the mean was the surrogate's, which nothing had confirmed.
    assert run.best.mean == pytest.approx(old["mean"], rel=1e-4)
    assert (now["confirmed"], now["mean"], now["lo"]) == (False, None, None)
    assert run.deviations() == []
    assert len(run.tabulated) == 12


def test_an_old_run_reports_as_before(then):
    old = json.loads((then / "report.json").read_text())
    page = Run.open(then / "run.zarr").report(then / "page.html")
    now = json.loads(page.with_suffix(".json").read_text())
    assert old.keys() <= now.keys()
    assert now["trials"] == old["trials"]
    assert now["failures"] == old["failures"]


def test_an_old_run_goes_on_with_the_trials_that_it_went_on_with(then):
    study = load(str(then / "study.py")).study
    run = study.resume(then / "run.zarr", Budget(evaluations=16), local=0)
    same_trials(run.history, json.loads((then / "trials.json").read_text()))
    assert verify(then / "run.zarr").problems == ()
