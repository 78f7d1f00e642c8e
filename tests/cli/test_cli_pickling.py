"""What must not travel to a worker is found and named."""

from __future__ import annotations

import io
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cloudpickle
import pytest

from spot_dask import FunctionTask
from spot_dask.cli.pickling import culprit

lock = threading.Lock()
generator = (i for i in range(3))
table = {"deep": [{"deeper": lock}]}
buffer = io.StringIO("text")


class Model:
    def __init__(self) -> None:
        self.guard = threading.RLock()


model = Model()


def uses_lock(cfg: Any) -> float:
    return 1.0 if lock else 0.0


def calls_another(cfg: Any) -> float:
    return uses_lock(cfg)


def uses_table(cfg: Any) -> float:
    return float(len(table))


def uses_generator(cfg: Any) -> float:
    return float(next(generator))


def uses_model(cfg: Any) -> float:
    return 1.0 if model.guard else 0.0


def comprehends(cfg: Any) -> list[bool]:
    return [lock.locked() for _ in range(2)]


def encloses() -> Callable[[Any], bool]:
    guard = threading.Lock()
    return lambda cfg: guard.locked()


def harmless(cfg: Any) -> float:
    print(buffer.getvalue())
    return float(cfg.x)


@pytest.fixture(autouse=True)
def by_value() -> Any:
    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    yield
    cloudpickle.unregister_pickle_by_value(sys.modules[__name__])


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (uses_lock, ["'lock'", "uses_lock()", "a lock"]),
        (calls_another, ["'lock'", "uses_lock()", "a lock"]),
        (comprehends, ["'lock'", "comprehends()"]),
        (uses_table, ["something in 'table'", "uses_table()", "a lock"]),
        (uses_generator, ["'generator'", "uses_generator()", "cannot pickle"]),
        (uses_model, ["Model.guard", "a lock"]),
        (encloses(), ["'guard'", "a lock"]),
    ],
)
def test_the_culprit_is_named(function: Callable[[Any], Any], words: list[str]) -> None:
    problem = culprit(FunctionTask(function))
    assert problem is not None
    assert "\n" not in problem
    for word in words:
        assert word in problem


@pytest.mark.parametrize("mode", ["r", "w"])
def test_an_open_file_is_refused_although_cloudpickle_would_copy_it(
    tmp_path: Path, mode: str
) -> None:
    path = tmp_path / "log.txt"
    path.write_text("text")
    with path.open(mode) as log:
        problem = culprit(FunctionTask(lambda cfg: log.name))
    assert problem is not None
    assert "'log'" in problem
    assert "open file" in problem
    assert str(path) in problem


@pytest.mark.dask
def test_a_live_client_is_refused() -> None:
    from spot_dask.executors.cluster import embedded

    client = embedded(1)
    try:
        problem = culprit(FunctionTask(lambda cfg: client.status))
    finally:
        cluster = client.cluster
        client.close()
        cluster.close()
    assert problem is not None
    assert "'client'" in problem
    assert "Dask client" in problem


def test_what_can_travel_is_let_through(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = sys.__stderr__
    monkeypatch.setattr(sys, "stderr", stream)
    assert culprit(FunctionTask(harmless)) is None
    assert culprit(FunctionTask(lambda cfg: print(file=stream))) is None
