"""TensorBoard's event files: records of scalars, texts and hyperparameters, written and read.

Messages and the framing of records are tensorboard's own.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from spot_dask.records import Value
from spot_dask.space import Categorical, Parameter

EVENTS = "events.out.tfevents"
"""What TensorBoard knows an event file by: no other file may have it in its name."""


def record(time: float, step: int = 0, values: Iterable[Any] = ()) -> bytes:
    """An event with these values of a summary, framed; without any, the head of a file.

    ``time`` is in seconds since 1970, UTC.
    """
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.summary.writer.record_writer import RecordWriter

    held = list(values)
    if held:
        event = Event(wall_time=time, step=step, summary=Summary(value=held))
    else:
        event = Event(wall_time=time, file_version="brain.Event:2")
    framed = io.BytesIO()
    RecordWriter(framed).write(event.SerializeToString())
    return framed.getvalue()


def put(path: Path, records: Iterable[bytes]) -> None:
    """Write an event file that is there in whole, and on disk, or not at all.

    The folders above it are made.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name("partial")  # TensorBoard does not look into it
    with aside.open("wb") as file:
        file.write(record(0.0) + b"".join(records))
        file.flush()
        os.fsync(file.fileno())
    aside.replace(path)


def steps_in(folder: Path) -> set[int]:
    """The steps of all complete records in the event files of a folder."""
    from tensorboard.backend.event_processing.event_file_loader import LegacyEventFileLoader

    return {
        event.step
        for path in folder.glob(f"{EVENTS}*")
        for event in LegacyEventFileLoader(str(path)).Load()
        if event.HasField("summary")
    }


def scalars(values: Mapping[str, float]) -> Iterator[Any]:
    """Values of a summary, by their tags."""
    from tensorboard.compat.proto.summary_pb2 import Summary

    for tag, value in values.items():
        yield Summary.Value(tag=tag, simple_value=value)


def text(tag: str, content: str) -> Any:
    """A text, which TensorBoard reads as Markdown."""
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.plugins.text.metadata import create_summary_metadata
    from tensorboard.util.tensor_util import make_tensor_proto

    told = make_tensor_proto(content.encode())
    return Summary.Value(tag=tag, metadata=create_summary_metadata(None, None), tensor=told)


# ---------------------------------------------------------------- hyperparameters


def experiment(name: str, parameters: Mapping[str, Parameter], metrics: Iterable[str]) -> Any:
    """Which hyperparameters and which metrics, by their tags, the trials of a run have."""
    from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2

    infos = []
    for key, parameter in parameters.items():
        info = api_pb2.HParamInfo(name=key)
        info.type = getattr(api_pb2, f"DATA_TYPE_{_kind(parameter)}")
        if isinstance(parameter, Categorical):
            info.domain_discrete.extend([_held(parameter, level) for level in parameter.levels])
        infos.append(info)
    named = [api_pb2.MetricInfo(name=api_pb2.MetricName(tag=tag)) for tag in metrics]
    told = api_pb2.Experiment(description=name, hparam_infos=infos, metric_infos=named)
    return _hparams(metadata.EXPERIMENT_TAG, plugin_data_pb2.HParamsPluginData(experiment=told))


def session_start(
    config: Mapping[str, Value], parameters: Mapping[str, Parameter], time: float
) -> Any:
    """The hyperparameters of a trial; TensorBoard averages over trials that have the same ones."""
    from tensorboard.plugins.hparams import metadata, plugin_data_pb2

    group = repr(sorted(config.items()))
    told = plugin_data_pb2.SessionStartInfo(group_name=group, start_time_secs=time)
    for name, value in config.items():
        held = _held(parameters[name], value)
        kind = {bool: "bool_value", float: "number_value", str: "string_value"}[type(held)]
        setattr(told.hparams[name], kind, held)
    data = plugin_data_pb2.HParamsPluginData(session_start_info=told)
    return _hparams(metadata.SESSION_START_INFO_TAG, data)


def session_end(failed: bool, time: float) -> Any:
    """How a trial ended, and when."""
    from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2

    status = api_pb2.STATUS_FAILURE if failed else api_pb2.STATUS_SUCCESS
    told = plugin_data_pb2.SessionEndInfo(status=status, end_time_secs=time)
    data = plugin_data_pb2.HParamsPluginData(session_end_info=told)
    return _hparams(metadata.SESSION_END_INFO_TAG, data)


def _hparams(tag: str, data: Any) -> Any:
    """A value of a summary for the plugin hparams, which reads its metadata only."""
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.plugins.hparams import metadata

    return Summary.Value(
        tag=tag, metadata=metadata.create_summary_metadata(data), tensor=metadata.NULL_TENSOR
    )


def _kind(parameter: Parameter) -> str:
    """BOOL, FLOAT64 or STRING: what the values of a parameter are to TensorBoard."""
    if not isinstance(parameter, Categorical):
        return "FLOAT64"
    types = {type(level) for level in parameter.levels}
    if types == {bool}:
        return "BOOL"
    return "FLOAT64" if types <= {int, float} else "STRING"


def _held(parameter: Parameter, value: Value) -> bool | float | str:
    """A value of a parameter as TensorBoard holds it; levels of mixed types are texts."""
    kinds = {"BOOL": bool, "FLOAT64": float, "STRING": str}
    held: bool | float | str = kinds[_kind(parameter)](value)
    return held
