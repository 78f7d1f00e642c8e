"""The overhead of a TorchTask: the loop that it is compared with trains the same network."""

from __future__ import annotations

import math

import pytest
from click.testing import CliRunner

from benchmarks import overhead


@pytest.mark.parametrize("extra", [False, True])
@pytest.mark.parametrize("batch", [31, 479])  # 12 samples are left over, and one
def test_the_loop_computes_what_the_task_does(extra: bool, batch: int) -> None:
    task = overhead.task_of(overhead.perceptron, batch, 2, extra)
    losses = overhead.by_task(task), overhead.by_loop(task, overhead.perceptron, extra)
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)
    other = overhead.by_loop(task, overhead.perceptron, not extra)
    assert math.isclose(other, losses[0], rel_tol=1e-6) is False


def test_a_ratio_is_shown_for_each_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overhead, "compared", lambda *given: (2.1, 2.0))
    done = CliRunner().invoke(overhead.main, ["--batch", "64"])
    assert done.exit_code == 0, done.output
    assert "| cnn | 64 | clip and schedule | 2.000 | 2.100 | 1.050 |" in done.output
