"""The benchmark of stores runs, compares in one run and keeps what it is given."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import numpy as np
import pytest
import zarr
from click.testing import CliRunner

from benchmarks import Unavailable, storages, store
from spot_dask.records import Told
from spot_dask.store.journal import Journal

OURS = [c for c in storages.CONTENDERS if c.name.startswith(("spot-dask", "zarr"))]


def test_the_quick_setting_tells_ratios_to_the_baseline_of_the_same_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "CONTENDERS", OURS)
    done = CliRunner().invoke(store.main, ["--quick", "--folder", str(tmp_path)])
    assert done.exit_code == 0, done.output
    rows = [line.split(" | ") for line in done.stdout.splitlines() if line.startswith("| ")]
    commits = [row for row in rows if row[0].strip("| ") in {c.name for c in OURS}]
    assert len(commits) == 2 * len(OURS)
    cpu = {(row[0], row[1], row[2]): float(row[3]) for row in commits}
    for name, q, durable, *_, ratio in commits:
        base = cpu["| " + store.BASELINE, q, durable]
        shown = float(re.sub(r"1/| \|", "", ratio))
        assert shown == pytest.approx(base / cpu[name, q, durable], rel=0.05)
    opened = [row[1] for row in rows if row[0] == "| 100"]
    assert opened == list(store.WAYS.values())
    assert not list(tmp_path.iterdir())


def test_all_that_was_committed_is_kept(tmp_path: Path) -> None:
    batch = [storages.evaluation(number) for number in range(3)]
    ours = storages.SpotJournal(tmp_path / "a", synced=True)
    ours.ask(batch)
    ours.commit(batch)
    ours.close()
    told = [r.entry for r in Journal.open(tmp_path / "a").records() if isinstance(r.entry, Told)]
    assert [entry.evaluation for entry in told] == batch

    columns = storages.ZarrAppend(tmp_path / "b", synced=True)
    columns.commit(batch)
    columns.commit(batch[:1])
    group = zarr.open_group(tmp_path / "b", mode="r")
    assert np.asarray(group["number"]).tolist() == [0, 1, 2, 0]
    curve = np.asarray(group["curve"])
    assert curve[3].tolist() == list(batch[0].outcome.curves["val_loss"])


@pytest.mark.parametrize("name", ["icechunk", "optuna journal", "optuna sqlite"])
def test_a_peer_that_is_not_installed_is_left_out_with_a_line(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("icechunk", "optuna", "optuna.storages", "optuna.storages.journal"):
        monkeypatch.setitem(sys.modules, module, None)
    peers = [c for c in storages.CONTENDERS if c.name == name]
    monkeypatch.setattr(store, "CONTENDERS", peers[:1])
    assert store._commits(tmp_path, 1) == {}
    with pytest.raises(Unavailable, match=rf"{name}: left out, no module .*\[bench\]"):
        storages.opened(peers[0], tmp_path / "x")
