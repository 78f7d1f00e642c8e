"""Warm start: what earlier evaluations are worth to a new study.

A format of earlier evaluations is one file of this folder with one public class that has
``suffixes``, the endings of its files' names, and ``read``; a directory or an address is a store of
spot-dask. Sources are data: nothing that they name is imported or called, and nothing is created,
locked or changed beside them.

Parameters are mapped by name (``WarmStart.rename`` changes names), type and bounds. An evaluation
without an equivalent in the new space is dropped, and the reason is recorded:

* changed bounds: values outside the new ones are dropped;
* an added parameter is assumed to have been at its default *here*: the study knows what the earlier
  trainings did; the assumption is reported and recorded;
* a removed parameter must have been at its default there. If the source records no defaults
  (anything but a store), it must have had one value throughout, or the user leaves it out.
"""

from __future__ import annotations

import math
import stat
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Protocol

from spot_dask import plugins
from spot_dask.cards import Listed
from spot_dask.errors import StoreError, did_you_mean, shown
from spot_dask.records import Header, Import, Imported, Value
from spot_dask.space import Categorical, Integer, Parameter, Real, Space

TWICE = "it was taken already"

NO_VALUE = frozenset({"", "nan", "none", "null", "na", "n/a", "<na>"})
"""What stands for no value in tables of other programs, in small letters."""

TRUTH = {
    **dict.fromkeys(("true", "yes", "y", "t", "on", "1", "1.0"), True),
    **dict.fromkeys(("false", "no", "n", "f", "off", "0", "0.0"), False),
}
"""What tables of other programs have for true and false, in small letters."""

DUST = 1e-9
"""A difference of numbers, relative to them, that their way through decimals may have made."""

LARGEST_FILE = 2**30
"""Bytes of the largest file that is read."""

Mode = Literal["data", "prior"]


@dataclass(frozen=True)
class WarmStart(Listed):
    """A source and what it is to the study.

    ``data``: evaluations of the same objective, which count as known. ``prior``: those of another
    one (other data, another budget), which inform proposals and count as nothing. ``rename`` maps
    the source's names (parameters, or the objective's column) to those of the study; a name mapped
    to ``""`` is left out. ``values`` maps texts of values to others, by the source's names:
    ``{"act": {"None": "none"}}``. Raises ValueError for another mode.

    >>> from spot_dask import Budget, Real, Space, Study, WarmStart
    >>> study = Study(Space(lr=Real(0.0, 1.0)), lambda cfg: cfg.lr)
    >>> first = study.run(Budget(evaluations=4), local=0, store="old.zarr", progress="none")
    >>> second = study.run(Budget(evaluations=2), local=0, store="new.zarr", progress="none",
    ...                    warm_start=[WarmStart("old.zarr")])
    >>> second.history
    History(2 ok, 4 imported)
    """

    path: str | Path
    mode: Mode = "data"
    rename: Mapping[str, str] = field(default_factory=dict)
    values: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.mode not in ("data", "prior"):
            raise ValueError(f"mode is {shown(self.mode)}; expected 'data' or 'prior'")


@dataclass(frozen=True)
class Row:
    """An earlier evaluation in its source's terms: its run and number there, values by name.

    ``y`` is in the source's own direction; if there is none it is NaN, and ``why`` says so.
    ``metrics`` are what else it reported, where the source tells that from parameters.
    """

    run: str
    number: int
    values: Mapping[str, Value]
    y: float = math.nan
    why: str = ""
    metrics: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Earlier:
    """The content of a source; None stands for what it does not record.

    ``unit`` is the word for one of its rows. ``textual``: values are texts, to be converted to the
    type of their parameter. ``tells_none``: None is a value, and what is missing is not among the
    values.
    """

    rows: Sequence[Row]
    objective: str | None = None
    direction: str | None = None
    space: Space | None = None
    unit: str = "trial"
    textual: bool = False
    tells_none: bool = False

    @cached_property
    def columns(self) -> dict[str, None]:
        """The names of the source's parameters, in their order."""
        if self.space is not None:
            return dict.fromkeys(self.space.names)
        return dict.fromkeys(name for row in self.rows for name in row.values)


class Format(Protocol):
    """A format of earlier evaluations."""

    suffixes: Sequence[str]

    def read(self, path: str, objectives: Sequence[str]) -> Earlier:
        """The evaluations at ``path``.

        In a table, the first of ``objectives`` that is there is the objective's column. Raises
        StoreError, in one line, for anything that cannot be read.
        """
        ...


def take_over(sources: Iterable[str | Path | WarmStart], header: Header) -> list[Imported]:
    """The sources' successful evaluations as those of the study that ``header`` describes.

    Evaluations that a source had imported as data are taken with it. An evaluation that reaches the
    study by two ways counts once, as data if it is data to one of them. Raises StoreError if a
    source cannot be read, none has a name or value to be renamed, or is data of another objective,
    ValueError if ``sources`` is one source instead of several.
    """
    if isinstance(sources, str | Path | WarmStart):
        raise ValueError(f"warm_start is {str(sources)!r}; expected a list of sources")
    given = [s if isinstance(s, WarmStart) else WarmStart(s) for s in sources]
    given.sort(key=lambda source: source.mode)  # data first
    space = Space.from_json(header.space)
    found = [_read(source, space, header) for source in given]
    there = dict.fromkeys(name for earlier in found for name in earlier.columns)
    there |= dict.fromkeys(earlier.objective for earlier in found if earlier.objective)
    for source in given:
        for old in {**source.values, **source.rename}:
            if old not in there:
                raise StoreError(
                    f"{source.path}: there is no {old!r} to be renamed, there are "
                    f"{listed(there)}{did_you_mean(old, there)}"
                )
        for name, values in source.values.items():
            _check_values(str(source.path), name, values, found)
    taken: set[tuple[str, int]] = set()
    imported = [_taken(*pair, space, header, taken) for pair in zip(given, found, strict=True)]
    for entry in imported:
        if not entry.items and not all(text.endswith(TWICE) for text in entry.dropped):
            raise StoreError(f"{entry.source}: nothing of it can be taken: {summary(entry)}")
        if not (entry.items or entry.dropped):
            raise StoreError(f"{entry.source}: there is no evaluation in it")
    return imported


def _check_values(path: str, name: str, values: Iterable[str], found: Iterable[Earlier]) -> None:
    """Raise StoreError for a value to be mapped that no row of the sources has."""
    seen = dict.fromkeys(
        str(row.values[name]) for earlier in found for row in earlier.rows if name in row.values
    )
    for value in values:
        if value not in seen:
            raise StoreError(
                f"{path}: {name} is never {value!r}, which is to be renamed, it is "
                f"{listed(seen)}{did_you_mean(value, seen)}"
            )


def summary(imported: Imported) -> str:
    """One line: how many evaluations were taken, as what, how many were dropped, and why."""
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


# --- reading ----------------------------------------------------------------------------------


def _read(source: WarmStart, space: Space, header: Header) -> Earlier:
    """The content of a source, checked to be of the study's objective if it is to be data."""
    names = (*space.names, header.objective, *_wanted(header))
    for old, new in source.rename.items():
        if new and new not in names:
            raise StoreError(
                f"{source.path}: {old} is renamed to {new!r}, which this study does not have; "
                f"there are {listed(names)}{did_you_mean(new, names)}"
            )
    path = str(source.path)
    objectives = [old for old, new in source.rename.items() if new == header.objective]
    objectives.append(header.objective)
    earlier = _format_of(path).read(path, objectives)
    for row in earlier.rows:
        if type(row.number) is not int or any(map(_is_deep, row.values.values())):
            raise StoreError(
                f"{path}: {earlier.unit} {shown(row.number)} is no evaluation; expected a number "
                "and, by name, values that are numbers or texts"
            )
    for name in (*earlier.columns, earlier.objective or ""):
        if not isinstance(name, str) or not (name.isprintable() or name in objectives):
            raise StoreError(f"{path}: {shown(name)} in it is no printable name; rename it there")
    direction = earlier.direction or header.direction
    same = earlier.objective in (None, *objectives) and direction == header.direction
    if source.mode == "data" and not same:
        raise StoreError(
            f"{path} cannot warm-start this study: its objective is "
            f"{earlier.objective or 'unnamed'} ({direction}imised), this study's is "
            f"{header.objective} ({header.direction}imised); if it is related, "
            "give it as a prior (--prior)"
        )
    return earlier


def _is_deep(value: object, levels: int = 10) -> bool:
    """Whether a value nests more than so many levels of lists and tables."""
    if not isinstance(value, list | tuple | Mapping):
        return False
    inner = value.values() if isinstance(value, Mapping) else value
    return levels == 0 or any(_is_deep(v, levels - 1) for v in inner)


def _format_of(path: str) -> Format:
    try:
        is_store = "://" in path or Path(path).is_dir()
        suffix = Path(split(path)[0]).suffix.lower()
    except OSError as error:
        raise StoreError(f"{shown(path)}: cannot be read ({reason(error)})") from None
    formats: dict[str, Format] = {
        name: plugins.find(__name__, "read", name) for name in plugins.names(__name__, "read")
    }
    if is_store:
        return formats["store"]
    for found in formats.values():
        if suffix in found.suffixes:
            return found
    known = ", ".join(suffix for found in formats.values() for suffix in found.suffixes)
    raise StoreError(f"{path}: no warm start from it; expected a store or {known}")


def split(path: str) -> tuple[str, str | None]:
    """``file:name`` as the file and the name of a study in it, unless ``path`` is a file itself."""
    file, colon, name = path.rpartition(":")
    if colon and not Path(path).exists() and Path(file).is_file():
        return file, name
    return path, None


def check_file(path: str) -> None:
    """Raises StoreError unless there is a regular file, and not too large a one, at ``path``."""
    try:
        found = Path(path).stat()
    except (OSError, ValueError) as error:
        raise StoreError(f"{shown(path)}: cannot be read ({reason(error)})") from None
    if not stat.S_ISREG(found.st_mode):
        raise StoreError(f"{path}: not a regular file; save the evaluations in one")
    if found.st_size > LARGEST_FILE:
        raise StoreError(
            f"{path}: {found.st_size} bytes; a warm start is read from at most {LARGEST_FILE}"
        )


def reason(error: Exception) -> str:
    """What an exception tells, in one short line."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return text.strip().partition("\n")[0][:200]


def listed(names: Iterable[str]) -> str:
    """The names for a message, the first twenty of them."""
    known = [name if len(name) <= 80 else f"{name[:80]}..." for name in names]
    more = f" and {len(known) - 20} more" if len(known) > 20 else ""
    return (", ".join(known[:20]) or "none") + more


# --- taking -----------------------------------------------------------------------------------


def _taken(
    source: WarmStart, earlier: Earlier, space: Space, header: Header, taken: set[tuple[str, int]]
) -> Imported:
    """The evaluations of a source that fit the space, without those ``taken`` already."""
    path = str(source.path)
    wanted = _wanted(header)
    earlier = _measured(_renamed(earlier, source), [n for n in wanted if n not in space.names])
    assumed = _assumed(earlier, space, path)
    sign = -1.0 if (earlier.direction or header.direction) == "max" else 1.0
    items, dropped = [], []
    for row in earlier.rows:
        try:
            if row.why or (row.run, row.number) in taken:
                raise ValueError(row.why or TWICE)
            config = _adopted(row.values, earlier, space)
        except ValueError as error:
            dropped.append(f"{earlier.unit} {row.number}: {error}")
            continue
        metrics = {n: v for n in wanted if math.isfinite(v := _finite(row.metrics.get(n)))}
        items.append(Import(config, sign * row.y, row.run, row.number, metrics))
        taken.add((row.run, row.number))
    if source.mode == "data" and items:
        known = {name for item in items for name in item.metrics}
        unknown = [name for name in wanted if name not in known]
        assumed += [
            f"{name} is not in it: whether its constraint holds is unknown" for name in unknown
        ]
    return Imported(path, tuple(items), tuple(dropped), source.mode, tuple(assumed))


def _wanted(header: Header) -> list[str]:
    """The metrics that the study constrains, but for its objective."""
    return [name for name in header.settings.get("constraints", {}) if name != header.objective]


def _measured(earlier: Earlier, wanted: Sequence[str]) -> Earlier:
    """The source with columns of these metrics as metrics, where it has no space to tell them."""
    if earlier.space is not None or not any(name in earlier.columns for name in wanted):
        return earlier
    rows = [
        replace(
            row,
            values={n: v for n, v in row.values.items() if n not in wanted},
            metrics={**row.metrics, **{n: row.values[n] for n in wanted if n in row.values}},
        )
        for row in earlier.rows
    ]
    return replace(earlier, rows=rows)


def _finite(value: Any) -> float:
    """The value of a metric; NaN where it is no finite number."""
    try:
        found = float(value)
    except (TypeError, ValueError, OverflowError):
        return math.nan
    return found if math.isfinite(found) else math.nan


def _renamed(earlier: Earlier, source: WarmStart) -> Earlier:
    """The source in the study's names, without the values that are left out."""
    named = {old: source.rename.get(old, old) for old in earlier.columns}
    uses = Counter(named.values())
    if double := next((name for name, n in uses.items() if name and n > 1), None):
        raise StoreError(
            f"{source.path}: two of its names stand for {double}; leave one out (--rename NAME=)"
        )
    meant = source.values
    rows = [
        replace(
            row,
            values={
                named[n]: meant[n].get(str(v), v) if n in meant else v
                for n, v in row.values.items()
                if named[n]
            },
        )
        for row in earlier.rows
    ]
    space = earlier.space
    if space is not None:
        # What is left out keeps a name in its own space, longer than any that could be the same.
        kept = {old: new or old + "_" * max(map(len, uses)) for old, new in named.items()}
        data = space.to_json()
        for parameter in data["parameters"]:
            own = meant.get(parameter["name"], {})
            if "levels" in parameter:
                parameter["levels"] = [own.get(str(v), v) for v in parameter["levels"]]
                parameter["default"] = own.get(str(parameter["default"]), parameter["default"])
            parameter["name"] = kept[parameter["name"]]
            parameter["when"] = {
                kept[n]: [meant.get(n, {}).get(str(v), v) for v in levels]
                for n, levels in parameter["when"].items()
            }
        space = Space.from_json(data)
    return replace(earlier, rows=rows, space=space)


def _assumed(earlier: Earlier, space: Space, path: str) -> list[str]:
    """The assumptions where the source and the study have different parameters.

    Raises StoreError if a parameter that only the source has may have mattered, or may be one of
    the study's by another spelling, or where the source has none of the study's.
    """
    missing = [name for name in space.names if name not in earlier.columns]
    if earlier.rows and len(missing) == len(space.names):
        raise StoreError(
            f"{path}: none of its columns is a parameter of this study; there are: "
            f"{listed(earlier.columns)}; say which they are (--rename OLD=NEW; this study has "
            f"{listed(space.names)})"
        )
    spelled = {_letters(name): name for name in missing}
    for name in earlier.columns:
        if name not in space.names and _letters(name) in spelled:
            meant = spelled[_letters(name)]
            raise StoreError(
                f"{path}: {name!r} is no parameter of this study; did you mean {meant!r}? Say so "
                f"(--rename {name}={meant}) or leave it out (--rename {name}=)"
            )
    assumed = [
        f"{name} is not in it: taken to be {space.parameters[name].default!r}" for name in missing
    ]
    if earlier.space is not None:
        return assumed  # it has defaults: each evaluation is judged by itself
    for name in earlier.columns:
        if name in space.names:
            continue
        seen = {repr(row.values.get(name)) for row in earlier.rows if not row.why}
        if len(seen) > 1:
            raise StoreError(
                f"{path}: {name!r} is no parameter of this study and has different values; there "
                f"are {listed(space.names)}{did_you_mean(name, space.names)}; say which it is "
                f"(--rename {name}=NAME) or leave it out (--rename {name}=)"
            )
        assumed += [
            f"{name} is not in this study: it was {value[:80]} throughout" for value in seen
        ]
    return assumed


def _letters(name: str) -> str:
    """A name without what spellings of it differ in."""
    return "".join(c for c in name.lower() if c.isalnum())


def _adopted(values: Mapping[str, Value], earlier: Earlier, space: Space) -> Mapping[str, Value]:
    """A row's values as a configuration of the space; ValueError says why they are none."""
    if earlier.space is not None:
        return space.adopt(values, earlier.space)
    found = {
        name: _native(name, value, space.parameters[name], none=earlier.tells_none)
        for name, value in values.items()
        if name in space.parameters
    }
    given = {name: value for name, value in found.items() if value is not None}
    config = space.validate(given)
    for name in earlier.columns:
        if name in config and name not in given:
            raise ValueError(f"{name}: has no value")
        if name in given and name not in config:
            raise ValueError(f"{name}: is not active here but was {given[name]!r}")
    return config


def _native(name: str, value: Any, parameter: Parameter, *, none: bool) -> Any:
    """A table's value in the type of its parameter, None where it stands for no value.

    Texts are read, 64.0 is 64, and what decimals have made of a bound or a level is that. ``none``:
    None is a value; raises ValueError where no level has its name.
    """
    if isinstance(parameter, Categorical):
        if value is None and none:
            if "None" not in parameter.levels:
                raise ValueError(
                    f"{name}: None is no level here; say which one it is (--rename "
                    f"{name}=None:LEVEL)"
                )
            return "None"
        return _level(value, parameter)
    if _is_none(value):
        return None
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            raise ValueError(f"{name}: {shown(value)} is no number") from None
    if isinstance(value, bool) or math.isnan(_finite(value)):
        return value  # which validation refuses
    if isinstance(parameter, Integer):
        nearest = round(value)
        return nearest if _is_near(value, nearest) else value
    if isinstance(parameter, Real):
        return next((b for b in (parameter.low, parameter.high) if _is_near(value, b)), value)
    return value


def _level(value: Any, factor: Categorical) -> Any:
    """The level that a value of a table stands for; itself where it is none, None for no value."""
    for level in factor.levels:
        if level == value and isinstance(level, bool) == isinstance(value, bool):
            return level
    if isinstance(value, str) and (level := _read_level(value, factor)) is not None:
        return level
    if _is_none(value):
        return None
    if not isinstance(value, str | bool) and not math.isnan(_finite(value)):
        if all(isinstance(level, bool) for level in factor.levels):
            return {1: True, 0: False}.get(value, value)
        numbers = [level for level in factor.levels if type(level) in (int, float)]
        return next((level for level in numbers if _is_near(value, float(level))), value)
    return value


def _read_level(text: str, factor: Categorical) -> Any:
    """The level that a text stands for; None where it is none."""
    if all(isinstance(level, bool) for level in factor.levels):
        truth = TRUTH.get(text.strip().lower())
        return truth if truth in factor.levels else None
    for level in factor.levels:
        if isinstance(level, bool) and text.lower() == str(level).lower():
            return level
    try:
        number = float(text)
    except ValueError:
        return None
    numbers = [level for level in factor.levels if type(level) in (int, float)]
    return next((level for level in numbers if _is_near(number, float(level))), None)


def _is_none(value: Any) -> bool:
    """Whether a value of a table stands for no value."""
    if isinstance(value, str):
        return value.strip().lower() in NO_VALUE
    return value is None or (isinstance(value, float) and math.isnan(value))


def _is_near(one: float, other: float) -> bool:
    return math.isclose(one, other, rel_tol=DUST, abs_tol=0.0)
