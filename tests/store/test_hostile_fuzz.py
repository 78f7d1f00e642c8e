"""What scripts/chaos/hostile does to a thousand stores, to a few; and that it finds what is run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from chaos import hostile
from chaos.reader import Unreadable, differing, texts
from spot_dask import Budget, FunctionTask, Real, Space, Study

STORES = 30


@pytest.mark.timeout(300)
def test_nothing_of_a_hostile_store_is_run_and_each_answer_is_clear(tmp_path, monkeypatch):
    monkeypatch.setitem(hostile.COMMANDS, "report", (0, hostile.COMMANDS["report"][1]))  # is slow
    done, found = hostile.play(tmp_path, STORES, seed=3)
    assert done.total() >= STORES
    assert found == []


def test_the_canary_is_made_by_what_unpickles_or_imports(tmp_path, monkeypatch):
    import base64
    import importlib
    import pickle

    canary = tmp_path / "canary"
    pickle.loads(base64.b64decode(hostile.hostile_values(canary)[0]))
    assert canary.exists()
    canary.unlink()
    (tmp_path / "evil_canary.py").write_text(hostile.EVIL.format(canary=str(canary)))
    monkeypatch.syspath_prepend(tmp_path)
    importlib.import_module("evil_canary")
    assert canary.exists()


def test_the_judges_read_journal_table_and_export_by_themselves(tmp_path):
    path = tmp_path / "run.zarr"

    def train(cfg, trial):
        if trial.number == 2:
            raise ValueError("no")
        return cfg.x

    study = Study(Space(x=Real(0, 1)), FunctionTask(train), search="random", repeats=0)
    run = study.run(Budget(evaluations=4), local=0, store=path, progress="none")
    exported = Path(run.export("jsonl")).read_text()
    assert differing(path, exported) == []
    rows = [json.loads(line) for line in exported.splitlines()]
    rows[1]["objective"] = 7.0
    (said,) = differing(path, "\n".join(map(json.dumps, rows)))
    assert said.startswith(f"trial {rows[1]['trial']}: ('ok', 7.0) in the export")
    (path / "log/c/0/3").unlink()
    with pytest.raises(Unreadable, match="a record is missing"):
        list(texts(path))
