"""Frozen dataclasses <-> JSON, driven by their fields and type hints; the entries of the journal.

Strict JSON has no NaN and no infinity: non-finite numbers are written as the strings ``"NaN"``,
``"Infinity"`` and ``"-Infinity"`` where a number is expected. Reading checks every type: a value
that is not of its field's type is a ValueError.

A field that older records lack has ``metadata={"later": True}`` and its default.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from enum import Enum
from functools import cache
from sys import intern
from types import NoneType, UnionType
from typing import Any, NoReturn, TypeVar, Union, get_args, get_origin, get_type_hints

from spot_dask.records import (
    Asked,
    Changed,
    Closed,
    Entry,
    Imported,
    Opened,
    Retried,
    Stage,
    Told,
    Trial,
)

JSON = dict[str, Any]
_Convert = Callable[[Any], Any]
_T = TypeVar("_T")

NON_FINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
BATCH = "batch"
"""The kind of a record of several entries; its items are what records of one each would say."""


class UnknownKind(ValueError):
    """A kind of entry that this version does not know."""


# ---------------------------------------------------------------- text


def dump(data: Any) -> str:
    """Strict compact JSON in ASCII; raises ValueError or TypeError for what JSON cannot hold."""
    # ASCII, so that lone surrogates (undecodable bytes in a traceback) survive as escapes.
    return json.dumps(data, allow_nan=False, separators=(",", ":"))


def load(text: str | bytes) -> Any:
    """The inverse of ``dump``; raises ValueError, also for JSON that is nested too deeply."""
    try:
        if isinstance(text, str) and not text.startswith("\ufeff"):
            return _DECODER.decode(text)  # json.loads makes a decoder each time
        return json.loads(text, parse_constant=_not_json)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _not_json(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


_DECODER = json.JSONDecoder(parse_constant=_not_json)


# ---------------------------------------------------------------- values


def to_json(value: Any) -> JSON:
    """A dataclass, with all it holds, as JSON has it."""
    kind: Any = type(value)
    found: JSON = _encoder(kind)(value)
    return found


def from_json(kind: type[_T], data: Any) -> _T:
    """The inverse of ``to_json``; raises ValueError where the data is no such dataclass."""
    hint: Any = kind
    found: _T = _decoder(hint)(data)
    return found


def number_to_json(value: float) -> float | str:
    """A finite number as itself, NaN and the infinities as strings."""
    if math.isfinite(value):
        return value
    if math.isnan(value):
        return "NaN"
    return "Infinity" if value > 0 else "-Infinity"


def number_from_json(value: float | str) -> float:
    """The inverse of ``number_to_json``; raises ValueError for anything else."""
    if type(value) is float:
        return value
    if type(value) is int:
        try:
            return float(value)
        except OverflowError:
            raise ValueError("a number is too large") from None
    if isinstance(value, str) and value in NON_FINITE:
        return NON_FINITE[value]
    raise ValueError(f"expected a number, got {value!r:.40}")


@cache
def _encoder(hint: Any) -> _Convert:
    inner = get_args(hint)
    origin = get_origin(hint)
    if is_dataclass(hint):
        parts = [(name, _encoder(kind)) for name, kind in _hints(hint)]
        return lambda value: {
            name: getattr(value, name) if encode is _same else encode(getattr(value, name))
            for name, encode in parts
        }
    if hint is float:
        return number_to_json
    if isinstance(hint, type) and issubclass(hint, Enum):
        return lambda value: value.value
    if origin in (Union, UnionType) and NoneType in inner:
        encode = _encoder(_present(inner))
        return lambda value: None if value is None else encode(value)
    if origin in (Mapping, dict):
        encode = _encoder(inner[1])
        if encode is _same:
            return dict
        if encode is number_to_json:
            return lambda value: dict(zip(value, _numbers_to_json(value.values()), strict=True))
        return lambda value: {name: encode(v) for name, v in value.items()}
    if origin in (Sequence, tuple):
        encode = _encoder(inner[0])
        if encode is _same:
            return list
        if encode is number_to_json:
            return _numbers_to_json
        return lambda value: [encode(v) for v in value]
    return _same


@cache
def _decoder(hint: Any) -> _Convert:
    inner = get_args(hint)
    origin = get_origin(hint)
    if is_dataclass(hint):
        return _dataclass_decoder(hint)
    if hint is float:
        return number_from_json
    if isinstance(hint, type) and issubclass(hint, Enum):
        return _enum_decoder(hint)
    if origin in (Union, UnionType) and NoneType in inner:
        decode = _decoder(_present(inner))
        return lambda data: None if data is None else decode(data)
    if origin in (Union, UnionType):  # plain values
        return _of_types(inner)
    if origin in (Mapping, dict):
        return _mapping_decoder(_decoder(inner[1]), {*get_args(inner[1])} or {inner[1]})
    if origin in (Sequence, tuple):
        decode = _decoder(inner[0])
        if decode is number_from_json:
            return _numbers_from_json
        return lambda data: tuple([decode(item) for item in _checked(data, list)])
    if hint is str:
        return _text
    if hint is Any:
        return _same
    return _of_types((origin or hint,))


def _enum_decoder(kind: type[Enum]) -> _Convert:
    members: dict[Any, Enum] = {member.value: member for member in kind}

    def decode(data: Any) -> Enum:
        found = members.get(data)
        if found is None:
            raise ValueError(f"expected one of {', '.join(members)}, got {data!r:.40}")
        return found

    return decode


def _mapping_decoder(decode: _Convert, plain: set[Any]) -> _Convert:
    """``plain`` are the types of values that stand for themselves."""

    def decoded(data: Any) -> dict[str, Any]:
        # Every name is kept once in memory, however many evaluations bear it.
        names = map(intern, _checked(data, dict))
        if plain.issuperset(map(type, data.values())):
            return dict(zip(names, data.values(), strict=True))
        return dict(zip(names, map(decode, data.values()), strict=True))

    return decoded


def _dataclass_decoder(kind: Any) -> _Convert:
    hints = dict(_hints(kind))
    later = {f.name for f in fields(kind) if f.metadata.get("later")}
    needed = [(name, _decoder(hint)) for name, hint in hints.items() if name not in later]
    added = [(name, _decoder(hint)) for name, hint in hints.items() if name in later]
    in_order = [f.name for f in fields(kind)] == [name for name, _ in (*needed, *added)]
    # A frozen dataclass sets each of its fields by a call, which costs more than all that is read.
    plain = in_order and not hasattr(kind, "__post_init__") and not hasattr(kind, "__slots__")
    gaps = {f.name: f.default for f in fields(kind) if f.name in later}
    plain = plain and MISSING not in gaps.values()

    def decode(data: Any) -> Any:
        try:
            values = {name: convert(data[name]) for name, convert in needed}
            more = {name: convert(data[name]) for name, convert in added if name in data}
        except KeyError as error:
            raise ValueError(f"{kind.__name__} lacks {error}") from None
        except TypeError:
            raise ValueError(f"expected {kind.__name__}, got {data!r:.40}") from None
        if not plain:
            return kind(**values, **more)
        made = object.__new__(kind)
        made.__dict__.update(values, **{**gaps, **more})
        return made

    return decode


def _hints(kind: Any) -> list[tuple[str, Any]]:
    hints = get_type_hints(kind)
    return [(f.name, hints[f.name]) for f in fields(kind)]


def _present(inner: tuple[Any, ...]) -> Any:
    (hint,) = (each for each in inner if each is not NoneType)
    return hint


def _same(value: Any) -> Any:
    return value


def _text(data: Any) -> str:
    return intern(data if type(data) is str else _checked(data, str))


def _checked(data: Any, kind: type[_T]) -> _T:
    if type(data) is not kind:
        raise ValueError(f"expected {kind.__name__}, got {data!r:.40}")
    return data


def _of_types(kinds: tuple[type, ...]) -> _Convert:
    def check(data: Any) -> Any:
        if type(data) not in kinds:
            raise ValueError(f"expected {kinds[0].__name__}, got {data!r:.40}")
        return data

    return check


def _numbers_to_json(values: Collection[float]) -> list[float | str]:
    if all(map(math.isfinite, values)):
        return list(values)
    return [number_to_json(value) for value in values]


def _numbers_from_json(data: Any) -> tuple[float, ...]:
    if {*map(type, _checked(data, list))} <= {float}:
        return tuple(data)
    return tuple([number_from_json(value) for value in data])


# ---------------------------------------------------------------- entries of the journal

_KINDS: dict[str, Any] = {
    "open": Opened,
    "ask": Asked,
    "tell": Told,
    "fail": Told,
    "stop": Told,
    "retry": Retried,
    "import": Imported,
    "change": Changed,
    "close": Closed,
}


_OPTIONAL_NUMBER = _decoder(int | None)
_OPTIONAL_STAGE = _decoder(Stage | None)


def kind_of(entry: Entry) -> str:
    """The kind under which an entry is recorded."""
    if isinstance(entry, Told):
        if entry.evaluation.stopped:
            return "stop"
        return "tell" if entry.evaluation.ok else "fail"
    return next(kind for kind, found in _KINDS.items() if isinstance(entry, found))


def entry_to_json(entry: Entry) -> JSON:
    """``{"kind": ..., "items": [...]}``: what a record says, apart from its place in the chain.

    Raises ValueError for a seed that the tables' columns, of 64 bits and signed, cannot hold.
    """
    match entry:
        case Asked(trials, known, q, stage):
            for trial in trials:
                if not 0 <= trial.seed < 2**63:
                    raise ValueError(
                        f"seed of trial {trial.number} is {trial.seed}; expected 0 to 2**63 - 1"
                    )
            basis = {"known": known, "q": q} | ({} if stage is None else {"stage": to_json(stage)})
            items = [to_json(trial) | basis for trial in trials]
        case Told(evaluation):
            item = to_json(evaluation)
            if not evaluation.spared:  # as nearly all
                del item["spared"]
            items = [item]
        case _:
            items = [to_json(entry)]
    return {"kind": kind_of(entry), "items": items}


def entry_from_json(data: JSON) -> Entry:
    """The entry of a record; raises ValueError, KeyError or TypeError where it is not one."""
    kind, items = data["kind"], data["items"]
    found = _KINDS.get(kind)
    if found is None:
        raise UnknownKind(f"no entry of kind {kind!r:.40}; there are: {', '.join(_KINDS)}")
    entry: Entry
    if found is Asked:
        basis = items[0] if items else {}
        known, q = _OPTIONAL_NUMBER(basis.get("known")), _OPTIONAL_NUMBER(basis.get("q"))
        stage = _OPTIONAL_STAGE(basis.get("stage"))
        entry = Asked(tuple([from_json(Trial, item) for item in items]), known, q, stage)
    else:
        (item,) = items
        entry = from_json(Told, {"evaluation": item}) if found is Told else from_json(found, item)
    if kind_of(entry) != kind:
        raise ValueError(f"an entry of kind {kind!r} holds one of kind {kind_of(entry)!r}")
    return entry


def joined(bodies: Sequence[JSON]) -> JSON:
    """What a record says that holds these entries."""
    return bodies[0] if len(bodies) == 1 else {"kind": BATCH, "items": list(bodies)}


def separated(body: JSON) -> list[JSON]:
    """The inverse of ``joined``."""
    return list(body["items"]) if body["kind"] == BATCH else [body]
