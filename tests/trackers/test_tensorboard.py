"""What TensorBoard itself reads of a run, also of one that was killed at any step."""

from __future__ import annotations

import math
import os
import shutil
import signal
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tracked_examples import SPACE, evaluation, failed, points, told, tracked

from spot_dask.records import Evaluation, Status
from spot_dask.trackers import event_files
from spot_dask.trackers.tensorboard import TensorBoard

pytest.importorskip("tensorboard")

LOST = evaluation(
    0, status=Status.LOST, y=math.nan, metrics={}, curves={}, started=math.nan, finished=math.nan
)
"""A trial that never trained: it has no point anywhere."""

FIVE = (*map(evaluation, range(3)), failed(3), evaluation(4, status=Status.STOPPED, y=math.nan))


class Board:
    """The runs under a directory, as TensorBoard's server has them."""

    def __init__(self, directory: Path) -> None:
        from tensorboard import context
        from tensorboard.backend.event_processing import data_provider, plugin_event_multiplexer
        from tensorboard.plugins import base_plugin
        from tensorboard.plugins.hparams import backend_context

        self._runs = plugin_event_multiplexer.EventMultiplexer().AddRunsFromDirectory(
            str(directory)
        )
        self._runs.Reload()
        provider = data_provider.MultiplexerDataProvider(self._runs, str(directory))
        told = base_plugin.TBContext(data_provider=provider, multiplexer=self._runs)
        self._hparams, self._request = backend_context.Context(told), context.RequestContext()

    def scalars(self, run: str) -> list[tuple[str, int, float]]:
        """Every point of a run: tag, step, value."""
        from tensorboard.util.tensor_util import make_ndarray

        found = [
            (tag, event.step, make_ndarray(event.tensor_proto))
            for tag in self._runs.Runs()[run]["tensors"]
            for event in self._runs.Tensors(run, tag)
        ]
        return sorted(
            (tag, step, float(v)) for tag, step, v in found if v.dtype.kind == "f" and v.size
        )

    def text(self, run: str, tag: str) -> str:
        """A text of a run."""
        (event,) = self._runs.Tensors(run, tag)
        return str(event.tensor_proto.string_val[0].decode())

    def trials(self) -> list[str]:
        """The runs that are trials."""
        return sorted(run for run in self._runs.Runs() if run.startswith("trial"))

    def experiment(self) -> Any:
        """Hyperparameters and metrics, as the plugin hparams shows them."""
        found = self._hparams.hparams_metadata(self._request, "")
        return self._hparams.experiment_from_metadata(self._request, "", True, found, None)

    def groups(self) -> dict[str, Any]:
        """The session of each trial with the group that it is in, as the plugin hparams asks."""
        from tensorboard.plugins.hparams import api_pb2, list_session_groups

        request = api_pb2.ListSessionGroupsRequest(start_index=0, slice_size=100)
        request.allowed_statuses.extend([0, 1, 2, 3])
        for metric in self.experiment().metric_infos:
            request.col_params.add(metric=metric.name)
        ask = list_session_groups.Handler(self._request, self._hparams, "", request)
        return {s.name: (g, s) for g in ask.run().session_groups for s in g.sessions}


def expected(found: Evaluation) -> list[tuple[str, int, float]]:
    """The points of a trial: its curves, and its results at its last epoch."""
    metrics = found.outcome.metrics if found.ok else {}
    last = [(f"result/{name}", found.outcome.epochs, value) for name, value in metrics.items()]
    return sorted([*points(found), *last])


def close(found: list[Any], wanted: list[Any]) -> bool:
    """Whether points are the same; TensorBoard keeps their values in four bytes."""
    names = [point[:2] for point in found] == [point[:2] for point in wanted]
    return names and [p[2] for p in found] == pytest.approx([p[2] for p in wanted], rel=1e-6)


def is_whole(directory: Path, *evaluations: Evaluation) -> bool:
    """Whether TensorBoard has each point of these evaluations once, and no other."""
    board = Board(directory)
    names = [f"trial-{e.trial.number:04d}" for e in evaluations]
    return (
        board.trials() == names == sorted(board.groups())
        and all(
            close(board.scalars(n), expected(e)) for n, e in zip(names, evaluations, strict=True)
        )
        and [step for tag, step, _ in board.scalars("search") if tag == "seconds"]
        == [place for place, e in enumerate(evaluations, 1) if e.outcome.seconds > 0]
    )


def test_tensorboard_reads_curves_results_and_the_search(tmp_path: Path) -> None:
    told(TensorBoard(), tracked(tmp_path / "run.zarr"), *FIVE)
    directory = tmp_path / "run" / "tensorboard"
    assert is_whole(directory, *FIVE)
    search = Board(directory).scalars("search")
    best = [value for tag, _, value in search if tag == "best so far"]
    assert best == pytest.approx([1, 1 / 2, 1 / 3, 1 / 3, 1 / 3])
    assert [step for tag, step, _ in search if tag == "objective"] == [1, 2, 3]
    facts = Board(directory).text("trial-0003", "facts")
    assert "**status** failed" in facts
    assert "RuntimeError: too long" in facts


def test_the_plugin_for_hyperparameters_has_them_with_their_results(tmp_path: Path) -> None:
    from tensorboard.plugins.hparams import api_pb2

    told(TensorBoard(dir=str(tmp_path / "tb")), tracked(tmp_path / "run.zarr"), *FIVE)
    board = Board(tmp_path / "tb" / "run")
    infos = {info.name: info for info in board.experiment().hparam_infos}
    assert infos.keys() == SPACE.parameters.keys()
    kinds = {name: api_pb2.DataType.Name(info.type)[10:] for name, info in infos.items()}
    assert kinds == {
        "optim.lr": "FLOAT64", "n": "FLOAT64", "flag": "BOOL", "kind": "STRING", "mixed": "STRING",
    }  # fmt: skip
    assert list(infos["kind"].domain_discrete) == ["none", "64x64"]
    group, session = board.groups()["trial-0001"]
    values = {name: value for name, value in group.hparams.items()}
    assert values["optim.lr"].number_value == pytest.approx(0.2)
    assert values["flag"].bool_value is True
    assert (values["kind"].string_value, values["mixed"].string_value) == ("none", "two")
    results = {m.name.tag: m.value for m in session.metric_values}
    assert results == pytest.approx({"result/loss": 0.5, "result/val/acc <b>": 0.5})
    statuses = [api_pb2.Status.Name(board.groups()[run][1].status) for run in board.trials()]
    ended = ["SUCCESS"] * 3 + ["FAILURE", "SUCCESS"]
    assert statuses == [f"STATUS_{end}" for end in ended]
    assert session.end_time_secs - session.start_time_secs == 3.0


def killed_at(step: int, work: Callable[[], None]) -> bool:
    """Whether a process that does this work was killed at its ``step``-th write; then it is."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forks beside threads
        child = os.fork()
    if child == 0:
        count = 0

        def counted(function: Any) -> Any:
            def call(*given: Any, **named: Any) -> Any:
                nonlocal count
                count += 1
                if count == step:
                    os.kill(os.getpid(), signal.SIGKILL)
                return function(*given, **named)

            return call

        for owner, name in ((Path, "replace"), (Path, "mkdir"), (Path, "open"), (os, "fsync"),
                            (Path, "write_text"), (event_files, "record")):  # fmt: skip
            setattr(owner, name, counted(getattr(owner, name)))
        work()
        os._exit(0)
    return os.waitpid(child, 0)[1] == signal.SIGKILL


def test_killed_at_any_write_and_resumed_every_point_is_there_once(tmp_path: Path) -> None:
    before, after = (LOST, *FIVE[1:3]), FIVE[3:4]
    step = 1
    while True:
        store = tmp_path / f"{step}.zarr"
        run = tracked(store)
        if not killed_at(step, lambda run=run: told(TensorBoard(), run, *before)):  # type: ignore[misc]
            break
        told(TensorBoard(), tracked(store, *before), *after)
        assert is_whole(tmp_path / str(step) / "tensorboard", *before, *after), step
        step += 1
    assert step > 12


def test_a_point_that_was_cut_short_is_written_again(tmp_path: Path) -> None:
    store, (first, second, third) = tmp_path / "run.zarr", FIVE[:3]
    told(TensorBoard(), tracked(store), first, second)
    (file,) = (tmp_path / "run" / "tensorboard" / "search").iterdir()
    whole = file.read_bytes()
    for cut in (1, 20, 60):
        file.write_bytes(whole[:-cut])
        told(TensorBoard(), tracked(store, first, second))
        assert is_whole(tmp_path / "run" / "tensorboard", first, second), cut
    shutil.rmtree(tmp_path / "run" / "tensorboard" / "trial-0001")  # by hand
    told(TensorBoard(), tracked(store, first, second), third)
    assert is_whole(tmp_path / "run" / "tensorboard", first, second, third)


def test_a_new_store_of_an_old_name_has_a_folder_of_its_own(tmp_path: Path) -> None:
    store = tmp_path / "run.zarr"
    told(TensorBoard(), tracked(store), *FIVE[:2])
    told(TensorBoard(), tracked(store, run="fedcba9876543210"), *FIVE[:1])
    assert is_whole(tmp_path / "run" / "tensorboard", *FIVE[:2])
    assert is_whole(tmp_path / "run" / "tensorboard-fedcba98", *FIVE[:1])
