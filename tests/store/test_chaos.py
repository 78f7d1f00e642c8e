"""What scripts/chaos/store does at full size, at a moderate one; and that it finds what is broken.

Each promise of the store is tried by a scenario, and each scenario is tried with a writer that
leaves out what the promise rests on.
"""

import random

import pytest

from chaos.broken import WRITERS
from chaos.scenarios import SCENARIOS, attempt

BROKEN = {
    "no fsync": "power cuts",
    "no directory fsync": "power cuts",
    "rename": "pauses",
    "check then write": "takeovers of sixty",
    "in place": "kills at every step",
    "append": "kills at every step",
    "early acknowledgement": "kills at random",
    "blind retry": "failing disks",
    "no fence": "pauses",
    "no checksum": "damage",
}


@pytest.fixture(autouse=True)
def _short_curves(monkeypatch):
    from chaos.story import LARGE
    from spot_dask.store import curves

    monkeypatch.setattr(curves, "LARGE", LARGE)


def tally(scenario, folder):
    _, _, times = SCENARIOS[scenario]
    return attempt(scenario, folder, times, random.Random(f"20261123 {folder.name}"))


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_nothing_is_lost_doubled_or_invented_and_all_is_readable(scenario, tmp_path):
    result = tally(scenario, tmp_path)
    assert result.kills + result.others >= SCENARIOS[scenario][2] // 2
    assert result.acknowledged > 0
    assert result.failures == 0, result


@pytest.mark.parametrize("writer", BROKEN)
def test_a_broken_writer_is_found(writer, tmp_path):
    # A race that the writer loses to nobody shows nothing: such a scenario is tried again.
    folders = [tmp_path / str(i) for i in range(4)]
    with WRITERS[writer]():
        assert any(tally(BROKEN[writer], _made(folder)).failures > 0 for folder in folders)


def _made(folder):
    folder.mkdir()
    return folder


def test_every_broken_writer_is_tried():
    assert BROKEN.keys() == WRITERS.keys() - {"correct"}
