"""Warm start: what earlier evaluations are worth to a new study.

A format of earlier evaluations is one file of this folder with one public class that has
``suffixes``, the endings of its files' names, and ``read``; a directory or an address is a store of
spot-dask. Sources are only read: nothing is ever created, locked or changed beside them.

Parameters are mapped by name (``WarmStart.rename`` says otherwise), type and bounds. An evaluation
that has no equivalent in the new space is dropped, and why is recorded:

* changed bounds: what lies outside of the new ones is dropped;
* added parameters are taken to have been at their default *here*: it is the study that knows what
  the earlier trainings did, so this is said and recorded;
* removed parameters must have been at their default there. Where the source records no defaults
  (anything but a store) they must have had one value throughout, or be left out by the user.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, Protocol

from spot_dask import plugins
from spot_dask.errors import StoreError, did_you_mean
from spot_dask.records import Header, Import, Imported, Value
from spot_dask.space import Categorical, Integer, Parameter, Real, Space

Mode = Literal["data", "prior"]
STORE = "store"


@dataclass(frozen=True)
class WarmStart:
    """A source and what it is to the study.

    ``data``: evaluations of the same objective, which count as known. ``prior``: those of another
    one (other data, another budget), which inform proposals and count as nothing. ``rename`` maps
    the source's names (parameters, or the objective's column) to those of the study; a name mapped
    to ``""`` is left out.
    """

    path: str | Path
    mode: Mode = "data"
    rename: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Row:
    """An earlier evaluation as its source has it: its run and number there, values by name.

    ``y`` is in the source's own direction; NaN where there is none, and ``why``.
    """

    run: str
    number: int
    values: Mapping[str, Value]
    y: float = math.nan
    why: str = ""


@dataclass(frozen=True)
class Earlier:
    """What a source holds; None stands for what it does not record.

    ``unit`` is what its rows are called; ``textual`` says that values are texts, to be read as the
    parameter they belong to asks.
    """

    rows: Sequence[Row]
    objective: str | None = None
    direction: str | None = None
    space: Space | None = None
    unit: str = "trial"
    textual: bool = False


class Source(Protocol):
    """A format of earlier evaluations."""

    suffixes: Sequence[str]

    def read(self, path: str, objectives: Sequence[str]) -> Earlier:
        """What is at ``path``; in a table, the first of these names is the objective's column.

        Raises StoreError, in one line, for whatever cannot be read.
        """
        ...


def read(path: str, objectives: Sequence[str]) -> Earlier:
    """The evaluations at a path, in the format that its name says; raises StoreError."""
    return _find(path).read(path, objectives)


def split(path: str) -> tuple[str, str | None]:
    """``file:name`` as the file and the name of the study in it, where there is no file ``path``"""
    file, colon, name = path.rpartition(":")
    if colon and not Path(path).exists() and Path(file).is_file():
        return file, name
    return path, None


def _find(path: str) -> Source:
    file = Path(split(path)[0])
    if "://" in path or file.is_dir():
        return _named(STORE)
    formats = {name: _named(name) for name in plugins.names(__name__, "read")}
    for found in formats.values():
        if file.suffix.lower() in found.suffixes:
            return found
    known = ", ".join(suffix for found in formats.values() for suffix in found.suffixes)
    raise StoreError(f"{path}: no warm start from it; expected a store's directory or {known}")


def _named(name: str) -> Source:
    found: Source = plugins.find(__name__, "read", name)
    return found


def take_over(sources: Iterable[str | Path | WarmStart], header: Header) -> list[Imported]:
    """The sources' successful evaluations as those of the study that ``header`` describes.

    What a source had itself imported comes along; an evaluation that reaches the study by two
    ways counts once, as data if it is that to one of them. Raises StoreError if a source cannot be
    read, does not fit the names it is to have, or is no data for the study's objective.
    """
    given = [s if isinstance(s, WarmStart) else WarmStart(s) for s in sources]
    given.sort(key=lambda source: source.mode)  # data first
    space = Space.from_json(header.space)
    found = [(source, _read(source, space, header)) for source in given]
    _check_renamed(found, header.objective)
    taken: set[tuple[str, int]] = set()
    return [_take(source, earlier, space, header, taken) for source, earlier in found]


def summary(imported: Imported) -> str:
    """One line: how many evaluations were taken, as what, how many dropped, and over what."""
    total = len(imported.items) + len(imported.dropped)
    line = f"took {len(imported.items)} of {total} evaluations"
    if imported.mode == "prior":
        line += " as hints from another objective"
    if imported.dropped:
        # "trial 7: lr: 0.5 is above ..." or "line 8: it had failed": by the part after the number.
        over = Counter(reason.split(": ")[1] for reason in imported.dropped)
        causes = ", ".join(f"{count} for {cause}" for cause, count in over.most_common())
        first = imported.dropped[0]
        line += f"; dropped {len(imported.dropped)} ({causes}; the first: {first})"
    return "; ".join([line, *imported.assumed])


def _read(source: WarmStart, space: Space, header: Header) -> Earlier:
    _check_targets(source, (*space.names, header.objective))
    names = [old for old, new in source.rename.items() if new == header.objective]
    earlier = read(str(source.path), (*names, header.objective))
    theirs = (earlier.objective, earlier.direction or header.direction)
    ours = (header.objective, header.direction)
    same = theirs[0] in (None, *names, header.objective) and theirs[1] == ours[1]
    if source.mode == "data" and not same:
        raise StoreError(
            f"{source.path} cannot warm-start this study: its objective is {theirs[0] or 'unnamed'}"
            f" ({theirs[1]}imised), this study's is {ours[0]} ({ours[1]}imised); if it is related, "
            "give it as a prior (--prior)"
        )
    return earlier


def _take(
    source: WarmStart, earlier: Earlier, space: Space, header: Header, taken: set[tuple[str, int]]
) -> Imported:
    path = str(source.path)
    earlier = _renamed(earlier, source)
    assumed = _assumed(earlier, space, path)
    sign = -1.0 if (earlier.direction or header.direction) == "max" else 1.0
    columns, items, dropped = _columns(earlier), [], []
    for row in earlier.rows:
        try:
            if row.why or (row.run, row.number) in taken:
                raise ValueError(row.why or "it was taken already")
            config = _adopted(row.values, columns, earlier, space)
        except ValueError as error:
            dropped.append(f"{earlier.unit} {row.number}: {error}")
            continue
        items.append(Import(config, sign * row.y, row.run, row.number))
        taken.add((row.run, row.number))
    return Imported(path, tuple(items), tuple(dropped), source.mode, tuple(assumed))


# --- names ------------------------------------------------------------------------------------


def _check_targets(source: WarmStart, names: Sequence[str]) -> None:
    """Raise StoreError where a name is mapped to what the study does not have."""
    for old, new in source.rename.items():
        if new and new not in names:
            near = did_you_mean(new, names)
            raise StoreError(
                f"{source.path}: {old} is renamed to {new!r}, which this study does not have; "
                f"there are {', '.join(names)}{near}"
            )


def _check_renamed(found: Sequence[tuple[WarmStart, Earlier]], objective: str) -> None:
    """Raise StoreError if no source has a name that is to be renamed."""
    there = list(dict.fromkeys(name for _, earlier in found for name in _columns(earlier)))
    for source, _ in found:
        for old, new in source.rename.items():
            if new != objective and old not in there:
                raise StoreError(
                    f"{source.path}: there is no {old!r} to be renamed, there are "
                    f"{', '.join(there)}{did_you_mean(old, there)}"
                )


def _columns(earlier: Earlier) -> dict[str, None]:
    """The names of the parameters there, in their order."""
    if earlier.space is not None:
        return dict.fromkeys(earlier.space.names)
    return dict.fromkeys(name for row in earlier.rows for name in row.values)


def _renamed(earlier: Earlier, source: WarmStart) -> Earlier:
    """The source in the study's names, without the values that are to be left out."""
    named = {old: source.rename.get(old, old) for old in _columns(earlier)}
    new = [name for name in named.values() if name]
    if double := next((name for name in new if new.count(name) > 1), None):
        raise StoreError(
            f"{source.path}: two of its names stand for {double}; leave one out (--rename NAME=)"
        )
    rows = [
        replace(row, values={named[n]: v for n, v in row.values.items() if named[n]})
        for row in earlier.rows
    ]
    space = earlier.space and _renamed_space(earlier.space, {o: n or o for o, n in named.items()})
    return replace(earlier, rows=rows, space=space)


def _renamed_space(space: Space, named: Mapping[str, str]) -> Space:
    data = space.to_json()
    for parameter in data["parameters"]:
        parameter["name"] = named[parameter["name"]]
        parameter["when"] = {named[parent]: v for parent, v in parameter["when"].items()}
    return Space.from_json(data)


def _assumed(earlier: Earlier, space: Space, path: str) -> list[str]:
    """What has to be assumed where the source and the study have different parameters.

    Raises StoreError where a parameter that is only there may have mattered.
    """
    columns = _columns(earlier)
    assumed = [
        f"{name} is not in it: taken to be {space.parameters[name].default!r}"
        for name in space.names
        if name not in columns
    ]
    if earlier.space is not None:
        return assumed  # it has defaults: each evaluation is judged by itself
    for name in columns:
        seen = {repr(row.values.get(name)) for row in earlier.rows if not row.why}
        if name not in space.names and len(seen) > 1:
            raise StoreError(
                f"{path}: {name!r} is no parameter of this study and has different values; there "
                f"are {', '.join(space.names)}{did_you_mean(name, space.names)}; say which it is "
                f"(--rename {name}=NAME) or leave it out (--rename {name}=)"
            )
        if name not in space.names:
            assumed += [f"{name} is not in this study: it was {value} throughout" for value in seen]
    return assumed


# --- values -----------------------------------------------------------------------------------


def _adopted(
    values: Mapping[str, Value], columns: Iterable[str], earlier: Earlier, space: Space
) -> Mapping[str, Value]:
    """A row's values as a configuration of the space; ValueError says why they are none."""
    if earlier.space is not None:
        return space.adopt(values, earlier.space)
    given = {
        name: _native(name, value, space.parameters[name], earlier.textual)
        for name, value in values.items()
        if name in space.parameters
    }
    config = space.validate(given)
    for name in columns:
        if name in config and name not in given:
            raise ValueError(f"{name}: has no value")
        if name in given and name not in config:
            raise ValueError(f"{name}: is not active here but was {given[name]!r}")
    return config


def _native(name: str, value: Value, parameter: Parameter, textual: bool) -> Value:
    """A table's value as the parameter's type has it: texts are read, 64.0 is 64."""
    if textual and isinstance(parameter, Categorical):
        return next((level for level in parameter.levels if _same(level, value)), value)
    if textual and isinstance(parameter, Real | Integer):
        try:
            value = float(value)
        except ValueError:
            raise ValueError(f"{name}: {value!r} is no number") from None
    if isinstance(parameter, Integer) and isinstance(value, float) and value.is_integer():
        return int(value)
    return value


def _same(level: Value, text: Value) -> bool:
    """Whether a text is that of a level."""
    if isinstance(level, bool):
        return str(text).lower() == str(level).lower()
    if isinstance(level, str):
        return level == text
    try:
        return float(level) == float(text)
    except ValueError:
        return False
