"""The search space: named parameters <-> rows of the unit cube, conditions and snapping.

Notation: ``d`` free parameters (neither fixed nor never active), each one column of a row in
[0, 1]^d in the order of declaration; ``n`` rows; ``e`` feature columns. This module is the only
place where configurations and rows meet. A row is *snapped* if it is the encoding of a
configuration; the column of an inactive parameter then holds its default's position.

Features embed every parameter in one Euclidean space, so that surrogates never see types.

- A real, an integer and an ordered factor keep their position: one feature column.
- Two levels of an unordered factor are at distance 1 whichever they are: one-hot / sqrt(2), which
  makes the squared distance the Hamming distance; two levels need only one column of 0 and 1.
- A conditional parameter gets one more column that is 1 where it is active. Where it is not, its
  value columns sit at one neutral point, equally far from all levels.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import (
    Callable,
    ItemsView,
    Iterable,
    Iterator,
    KeysView,
    Mapping,
    Sequence,
    ValuesView,
)
from dataclasses import replace
from functools import cached_property
from itertools import islice
from types import MappingProxyType
from typing import Any, final

import numpy as np
import numpy.typing as npt

from spot_dask.cards import Card, Listed, counted
from spot_dask.errors import did_you_mean, shown
from spot_dask.records import Configuration, Value
from spot_dask.space.conditions import (
    Requirement,
    active,
    by_name,
    count,
    holds,
    narrowed,
    requirements,
)
from spot_dask.space.config import Config
from spot_dask.space.hyperdict import parameters_from_hyperdict
from spot_dask.space.parameters import (
    JSON,
    Categorical,
    FloatArray,
    Integer,
    Parameter,
    Real,
    canonical_json,
    check_name,
    naming,
)
from spot_dask.space.predicates import Predicate, check_names, checked
from spot_dask.space.signature import parameters_from_signature

_FORMAT = "spot-dask/space/1"
_TRIED = 4096
_LARGEST_GRID = 100_000
_MANY_VALUES = 20
_SPREAD_VALUES = 8
_SHOWN = 8
REMEMBERED = 30_000
"""Configurations whose rows are remembered, at most."""

Codes = dict[str, FloatArray]


@final
class Space(Listed):
    """Named parameters; immutable. Raises ValueError naming the parameter that is wrong.

    ``space["lr"]`` is a parameter; a space iterates over the names in the order of declaration, and
    has the keys, values and items of a mapping, so that ``dict(space)`` is one of its parameters.

    >>> from spot_dask import Categorical, Real, Space
    >>> space = Space(
    ...     lr=Real(1e-4, 1.0, scale="log"),
    ...     optimizer=Categorical(["sgd", "adam"]),
    ...     momentum=Real(0.0, 0.99, default=0.9).when(optimizer="sgd"),
    ... )
    >>> list(space), len(space), "lr" in space
    (['lr', 'optimizer', 'momentum'], 3, True)
    >>> space["lr"]
    Real(0.0001, 1.0, scale='log')
    >>> space.default
    {'lr': 0.01, 'optimizer': 'sgd', 'momentum': 0.9}
    """

    _unlisted = frozenset(
        ("active", "allowed", "checked", "climbable", "columns", "compared", "conditions_text",
         "continuous", "features", "groups", "hash", "meanings", "meant", "neighbours",
         "predicates", "row_keys", "rows", "snap")
    )  # fmt: skip

    def __init__(self, mapping: Mapping[str, Parameter] | None = None, /, **more: Parameter):
        parameters = dict(mapping or {}) | more
        if double := [name for name in more if name in (mapping or {})]:
            raise ValueError(f"{double[0]}: is given twice, by name and in the mapping; keep one")
        if not parameters:
            raise ValueError("a space needs parameters, got none; give at least one")
        for name, parameter in parameters.items():
            check_name(name)
            if not isinstance(parameter, Parameter):
                raise ValueError(
                    f"{name}: {shown(parameter)} is not a parameter;"
                    " give a Real, Integer or Categorical"
                )
            group = next((n for n in parameters if n.startswith(f"{name}.")), None)
            if group is not None:
                raise ValueError(f"{name}: is the name of a group, too, that of {group}; rename it")
        parameters = by_name(parameters)
        self.parameters: Mapping[str, Parameter] = MappingProxyType(parameters)
        self.names = tuple(parameters)
        self.predicates: tuple[Predicate, ...] = ()
        self._requirements = requirements(parameters)
        self.free = tuple(
            n for n in self.names if self._requirements[n] is not None and not parameters[n].fixed
        )
        self.d = len(self.free)
        self._free = [parameters[n] for n in self.free]
        self._needs: list[Requirement] = [self._requirements[n] or {} for n in self.free]
        self._codes = {n: p.default_code for n, p in parameters.items()}
        self._neutral = np.array(
            [p.position(np.array([p.default_code]))[0] for p in self._free], dtype=np.float64
        )
        self.continuous = np.array([p.size == math.inf for p in self._free], dtype=np.bool_)
        # What a local search may move by a gradient, as steps hardly show in it.
        self.climbable = self.continuous | np.array(
            [p.size > _MANY_VALUES and not _unordered_levels(p) for p in self._free], dtype=np.bool_
        )
        # For each feature column: the row column j it comes from, and j again if it is its value.
        groups, columns = [], []
        for j, parameter in enumerate(self._free):
            levels = _unordered_levels(parameter)
            own = [j] if levels == 0 else [-1] * (1 if levels == 2 else levels)
            own += [-1] if self._needs[j] else []
            groups += [j] * len(own)
            columns += own
        self.groups = np.array(groups, dtype=np.int64)
        self.columns = np.array(columns, dtype=np.int64)

    def __getitem__(self, name: str) -> Parameter:
        """The parameter of that name; KeyError, which tells of the nearest, if there is none."""
        if name not in self.parameters:
            raise KeyError(self._unknown(name))
        return self.parameters[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)

    def __contains__(self, name: object) -> bool:
        return name in self.parameters

    def keys(self) -> KeysView[str]:
        """The names, in the order of declaration."""
        return self.parameters.keys()

    def values(self) -> ValuesView[Parameter]:
        """The parameters, in the order of declaration."""
        return self.parameters.values()

    def items(self) -> ItemsView[str, Parameter]:
        """The names with their parameters, in the order of declaration.

        >>> from spot_dask import Integer, Space
        >>> space = Space(layers=Integer(1, 4))
        >>> dict(space) == {**space} == dict(space.items())
        True
        """
        return self.parameters.items()

    @property
    def default(self) -> dict[str, Value]:
        """The default configuration."""
        return self.validate({})

    @property
    def centred(self) -> tuple[str, ...]:
        """The free parameters that no default was given for: it is the centre of their ranges.

        >>> from spot_dask import Real, Space
        >>> Space(lr=Real(0.0, 1.0), dropout=Real(0.0, 0.5, default=0.1)).centred
        ('lr',)
        """
        return tuple(n for n in self.free if self.parameters[n].centred)

    # Predicates

    def where(self, condition: str | Callable[[Config], Any], text: str | None = None) -> Space:
        """A space of those configurations only that also meet a condition.

        An expression such as ``"low < high"``, or a function of a configuration with its text, as
        ``where(lambda c: c.low < c.high, "low < high")``; the text of a function is all that a
        store holds of it. Raises ValueError for what is no condition, and if the default or
        hardly any configuration meets it.

        >>> from spot_dask import Integer, Space
        >>> space = Space(layers=Integer(1, 4), width=Integer(16, 256, scale="power2"))
        >>> small = space.where("layers * width <= 512")
        >>> small.validate({"layers": 4, "width": 256})
        Traceback (most recent call last):
        ValueError: 'layers * width <= 512' does not hold for layers = 4, width = 256
        """
        if isinstance(condition, str):
            if text is not None:
                raise ValueError(f"where: two texts, {condition!r} and {text!r}; give one of them")
            predicate = checked(condition)
        elif not callable(condition):
            raise ValueError(f"where {shown(condition)} is no condition; expected 'low < high'")
        elif not isinstance(text, str) or not text.strip():
            raise ValueError("where: a function needs its text; give where(function, 'low < high')")
        else:
            predicate = Predicate(text, condition, expression=False)
        return self._under((*self.predicates, predicate)).checked()

    def checked(self) -> Space:
        """The space itself; raises ValueError if its predicates leave hardly anything of it."""
        for predicate in self.predicates:
            check_names(predicate, self.parameters)
        if self.predicates and self.d:
            tried = np.random.default_rng(0).random((_TRIED, self.d))
            if not self.allowed(self.snap(tried)).any():
                raise ValueError(
                    f"where {' and '.join(p.text for p in self.predicates)}: none of {_TRIED} "
                    "random configurations meets it; narrow the ranges or declare the parameters "
                    "otherwise, such as high = low + width"
                )
        try:
            _ = self.default
        except ValueError as error:
            own = ", ".join(self.centred)
            how = f"; {own}: the centre, as no default was given; give one" if own else ""
            raise ValueError(f"default: {error}{how}") from None
        return self

    def allowed(self, X: FloatArray) -> npt.NDArray[np.bool_]:
        """Which rows (n x d) meet the predicates: n booleans; what is not known counts as met."""
        known = [p for p in self.predicates if p.known]
        if not known:
            return np.ones(len(X), dtype=np.bool_)
        configs = [self.meant(config) for config in self.decode(X)]
        met = [all(p.holds(config) for p in known) for config in configs]
        return np.array(met, dtype=np.bool_)

    def meant(self, config: Configuration) -> dict[str, Any]:
        """A configuration with what its named levels stand for, as trainings get it."""
        return {
            name: p.meaning(value) if isinstance(p := self.parameters[name], Categorical) else value
            for name, value in config.items()
        }

    @property
    def meanings(self) -> dict[str, Mapping[Value, Any]]:
        """What named levels stand for, by parameter, where there are any."""
        factors = {n: p for n, p in self.parameters.items() if isinstance(p, Categorical)}
        return {name: factor.meanings for name, factor in factors.items() if factor.meanings}

    def _under(self, predicates: Sequence[Predicate]) -> Space:
        made = Space(self.parameters)
        made.predicates = tuple(predicates)
        return made

    # Configurations

    def validate(self, config: Mapping[str, Any]) -> dict[str, Value]:
        """The canonical configuration: defaults filled in, inactive dropped, reals rounded.

        Raises ValueError for an unknown name, a wrong type, a value out of bounds, an unknown
        level, a value of a fixed parameter other than the fixed one, and what a predicate excludes.

        >>> from spot_dask import Categorical, Real, Space
        >>> space = Space(
        ...     optimizer=Categorical(["sgd", "adam"]),
        ...     momentum=Real(0.0, 0.99, default=0.9).when(optimizer="sgd"),
        ... )
        >>> space.validate({})
        {'optimizer': 'sgd', 'momentum': 0.9}
        >>> space.validate({"optimizer": "adam", "momentum": 0.5})
        {'optimizer': 'adam'}
        """
        self._check_names(config)
        given = {name: float(self._parse(name, [value])[0]) for name, value in config.items()}
        codes = self._codes | given
        found = {
            name: parameter.value(codes[name])
            for name, parameter in self.parameters.items()
            if holds(self._requirements[name], codes)
        }
        for predicate in self.predicates:
            if not predicate.holds(self.meant(found)):
                named = [n for n in predicate.names() if n in found] or list(found)
                values = ", ".join(f"{n} = {shown(found[n])}" for n in named[:_SHOWN])
                raise ValueError(f"{predicate.text!r} does not hold for {values}")
        return found

    def rows(self, configs: Iterable[Mapping[str, Any]]) -> FloatArray:
        """``encode`` of configurations, of which none is changed later: each is encoded once.

        There may be none; as many as ``REMEMBERED`` are known.
        """
        listed, seen = list(configs), self._seen  # which another thread may empty meanwhile
        found = [seen.get(id(c)) for c in listed]
        fresh = [i for i, known in enumerate(found) if known is None]
        if fresh:
            if len(seen) + len(fresh) > REMEMBERED:
                seen.clear()
            encoded = self.encode([listed[i] for i in fresh])
            for i, row in zip(fresh, encoded, strict=True):
                # The configuration is kept, too, lest its id become another one's.
                found[i] = seen[id(listed[i])] = listed[i], row.tobytes()
        rows = b"".join([known[1] for known in found if known is not None])
        return np.frombuffer(rows, dtype=np.float64).reshape(len(listed), self.d).copy()

    @cached_property
    def _seen(self) -> dict[int, tuple[Mapping[str, Any], bytes]]:
        return {}

    def encode(self, configs: Sequence[Mapping[str, Any]]) -> FloatArray:
        """Configurations as snapped rows (n x d); accepts what ``validate`` accepts.

        >>> from spot_dask import Categorical, Real, Space
        >>> space = Space(lr=Real(1e-4, 1.0, scale="log"), optimizer=Categorical(["sgd", "adam"]))
        >>> space.encode([{"lr": 0.01}, {"lr": 1.0, "optimizer": "adam"}]).tolist()
        [[0.5, 0.25], [1.0, 0.75]]
        """
        for config in configs:
            self._check_names(config)
        codes = {
            name: self._parse(name, [c.get(name, parameter.default) for c in configs])
            for name, parameter in self.parameters.items()
        }
        return self._positions(codes, len(configs))

    def decode(self, X: FloatArray) -> list[dict[str, Value]]:
        """Rows (n x d) of [0, 1] as canonical configurations; snaps.

        >>> import numpy as np
        >>> from spot_dask import Categorical, Real, Space
        >>> space = Space(lr=Real(1e-4, 1.0, scale="log"), optimizer=Categorical(["sgd", "adam"]))
        >>> space.decode(np.array([[0.5, 0.9]]))
        [{'lr': 0.01, 'optimizer': 'adam'}]
        """
        X = self._rows(X)
        codes = self._column_codes(X)
        configs: list[dict[str, Value]] = [{} for _ in range(len(X))]
        for name, parameter in self.parameters.items():
            for i in np.flatnonzero(active(self._requirements[name], codes, len(X))):
                configs[i][name] = parameter.value(codes[name][i])
        return configs

    def snap(self, X: FloatArray) -> FloatArray:
        """``encode(decode(X))`` bit for bit, vectorised."""
        X = self._rows(X)
        return self._positions(self._column_codes(X), len(X))

    def row_keys(self, X: FloatArray) -> list[bytes]:
        """One key per snapped row (n x d), equal exactly if the configurations are equal."""
        return [row.tobytes() for row in self.compared(X)]

    def compared(self, X: FloatArray) -> npt.NDArray[np.uint64]:
        """Snapped rows (n x d) as numbers, those of two equal exactly if the configurations are."""
        X = self._rows(X)
        return np.where(self.active(X), X, self._neutral).view(np.uint64)

    def active(self, X: FloatArray) -> npt.NDArray[np.bool_]:
        """Which free parameters are active in each row: n x d booleans."""
        X = self._rows(X)
        codes = self._column_codes(X) if any(self._needs) else {}
        columns = [active(needed, codes, len(X)) for needed in self._needs]
        return np.array(columns, dtype=np.bool_).reshape(self.d, len(X)).T

    def features(self, X: FloatArray) -> FloatArray:
        """Snapped rows (n x d) as points of one Euclidean space (n x e)."""
        X = self._rows(X)
        is_active = self.active(X)
        blocks = [np.empty((len(X), 0))]
        for j, parameter in enumerate(self._free):
            levels, neutral = _unordered_levels(parameter), 0.5
            block = X[:, j, None]
            if levels == 2:
                block = parameter.code(X[:, j])[:, None]
            elif levels > 2:
                one_hot = parameter.code(X[:, j])[:, None] == np.arange(levels)
                block, neutral = one_hot / math.sqrt(2), 0.0
            if self._needs[j]:
                active_here = is_active[:, j, None]
                block = np.hstack([np.where(active_here, block, neutral), active_here])
            blocks.append(block)
        return np.concatenate(blocks, axis=1)

    # Finite spaces and neighbourhoods

    @cached_property
    def size(self) -> int | float:
        """Number of distinct configurations; ``math.inf`` with a free real.

        With predicates an upper bound where they are too many to be listed.

        >>> from spot_dask import Categorical, Integer, Space
        >>> Space(layers=Integer(1, 4), act=Categorical(["relu", "tanh"])).size
        8
        """
        size = self._unbounded
        return len(self.grid()) if self.predicates and size <= _LARGEST_GRID else size

    @cached_property
    def _unbounded(self) -> int | float:
        """The size without the predicates."""
        if self.continuous.any():
            return math.inf
        return count(dict(zip(self.free, self._free, strict=True)), self._needs)

    def grid(self) -> FloatArray:
        """The rows of all distinct configurations; ValueError above 100,000 of them.

        >>> from spot_dask import Categorical, Integer, Space
        >>> space = Space(layers=Integer(1, 2), act=Categorical(["relu", "tanh"]))
        >>> [tuple(config.values()) for config in space.decode(space.grid())]
        [(1, 'relu'), (1, 'tanh'), (2, 'relu'), (2, 'tanh')]
        """
        size = self._unbounded
        if size > _LARGEST_GRID:
            raise ValueError(
                f"the space has {size} configurations, a grid at most {_LARGEST_GRID};"
                " fix or coarsen parameters"
            )
        rows = self._neutral[None, :].copy()
        for j, parameter in enumerate(self._free):
            positions = parameter.position(np.arange(parameter.size, dtype=np.float64))
            copies = np.where(self.active(rows)[:, j], parameter.size, 1).astype(np.int64)
            which = np.concatenate([np.arange(c) for c in copies])
            rows, varied = np.repeat(rows, copies, axis=0), np.repeat(copies > 1, copies)
            rows[:, j] = np.where(varied, positions[which], rows[:, j])
        return rows[self.allowed(rows)]

    def neighbours(self, row: FloatArray) -> FloatArray:
        """All configurations that differ from a row (d) in one active discrete parameter: m x d.

        A child that the change activates takes its default. Integers and ordered factors of more
        than 20 values: one step up and down and a few values spread over the range.
        """
        row = self.snap(np.asarray(row, dtype=np.float64)[None])[0]
        found = [np.empty((0, self.d))]
        for j in np.flatnonzero(self.active(row[None])[0] & ~self.continuous):
            parameter, size = self._free[j], int(self._free[j].size)
            here = parameter.code(row[j : j + 1])[0]
            if size <= _MANY_VALUES or _unordered_levels(parameter):
                codes = np.arange(size, dtype=np.float64)
            else:
                spread = parameter.code((np.arange(_SPREAD_VALUES) + 0.5) / _SPREAD_VALUES)
                codes = np.unique(np.concatenate([spread, [here - 1, here + 1]]))
            others = codes[(codes != here) & (codes >= 0) & (codes < size)]
            positions = parameter.position(others)
            found.append(np.where(np.arange(self.d) == j, positions[:, None], row))
        return self.snap(np.concatenate(found))

    # JSON, identity and changes

    def to_json(self) -> JSON:
        """The space as JSON, as a store's header has it.

        >>> from spot_dask import Integer, Space
        >>> space = Space(layers=Integer(1, 4))
        >>> Space.from_json(space.to_json()) == space
        True
        """
        entries = [{"name": n, **p.to_json()} for n, p in self.parameters.items()]
        where = [predicate.to_json() for predicate in self.predicates]
        return {"format": _FORMAT, "parameters": entries} | ({"where": where} if where else {})

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> Space:
        """The space that ``to_json`` wrote; raises ValueError for anything else, whatever it is.

        >>> from spot_dask import Integer, Space
        >>> Space.from_json(Space(layers=Integer(1, 4)).to_json())
        Space(layers=Integer(1, 4))
        """
        seen = data.get("format") if isinstance(data, Mapping) else data
        if seen != _FORMAT:
            raise ValueError(f"format {shown(seen)} is not a space; expected {_FORMAT!r}")
        entries = data.get("parameters")
        if not isinstance(entries, list | tuple):
            raise ValueError("the space has no parameters; give a list of them")
        parameters: dict[str, Parameter] = {}
        for entry in entries:
            if not isinstance(entry, Mapping):
                raise ValueError(f"{shown(entry)} is not a parameter; give its name and fields")
            name = check_name(entry.get("name"))
            if name in parameters:
                raise ValueError(f"{name}: given twice; give every parameter once")
            with naming(name):
                parameters[name] = parameter_from_json({k: entry[k] for k in entry if k != "name"})
        where = data.get("where", [])
        if not isinstance(where, list | tuple):
            raise ValueError(f"where {shown(where)} is not a list; give a list of conditions")
        return Space(parameters)._under([Predicate.from_json(item) for item in where])

    @staticmethod
    def from_hyperdict(data: Mapping[str, Any], /, **changes: Mapping[str, Any]) -> Space:
        """The space of one core model in spotPython's hyperdict format, in natural units.

        ``changes`` replaces keys of entries, such as ``units={"upper": 6}``, in the entries' own
        units and before they are read. Raises ValueError naming the entry that is wrong or has no
        equivalent.

        >>> from spot_dask import Space
        >>> Space.from_hyperdict(
        ...     {"units": {"type": "int", "transform": "transform_power_2_int",
        ...                "lower": 3, "upper": 8, "default": 4}}
        ... )
        Space(units=Integer(8, 256, default=16, scale='power2'))
        """
        return Space(parameters_from_hyperdict(data, changes))

    @staticmethod
    def from_signature(function: Callable[..., Any], /, **ranges: Parameter | None) -> Space:
        """The space of the arguments of a function or class, such as any ``nn.Module``.

        ``ranges`` gives the parameters by argument; None leaves an argument alone. A flag becomes
        both levels, a ``Literal`` or an ``Enum`` its levels; any other argument that has a default
        is left alone. Where a range has no default of its own the argument's is taken if it lies
        within. Raises ValueError for a range of an argument that there is not.

        >>> from spot_dask import Integer, Space
        >>> def network(width=64, bias: bool = True): ...
        >>> Space.from_signature(network, width=Integer(16, 256))
        Space(width=Integer(16, 256, default=64), bias=Categorical([False, True], default=True))
        """
        return Space(parameters_from_signature(function, ranges))

    @cached_property
    def hash(self) -> str:
        """SHA-256 of the canonical JSON, as hex; the order of the parameters matters.

        Whether a default was given does not: one that is equal to the centre is the same search.
        """
        data = self.to_json()
        for entry in data["parameters"]:
            entry.pop("centred", None)
        return hashlib.sha256(canonical_json(data).encode()).hexdigest()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Space) and self.hash == other.hash

    def __hash__(self) -> int:
        return hash(self.hash)

    def __reduce__(self) -> tuple[Any, ...]:
        return Space, (dict(self.parameters),), {"predicates": self.predicates}

    def __repr__(self) -> str:
        """The space as it is written in Python; cut after a few parameters."""
        plain = all(map(str.isidentifier, self.names))
        shown = [
            f"{n}={p!r}" if plain else f"{n!r}: {p!r}"
            for n, p in islice(self.parameters.items(), _SHOWN)
        ]
        if len(self.names) > _SHOWN:
            shown.append(f"and {len(self.names) - _SHOWN} more")
        inside = ", ".join(shown) if plain else f"{{{', '.join(shown)}}}"
        return f"Space({inside}){self.conditions_text}"

    @property
    def conditions_text(self) -> str:
        """The predicates as they follow a space in Python."""
        return "".join(f".where({predicate.text!r})" for predicate in self.predicates)

    def _repr_html_(self) -> str:
        """The parameters as a notebook shows them."""
        rows = [(name, repr(p), p.default) for name, p in self.parameters.items()]
        title = f"Space of {counted(len(rows), 'parameter')}"
        return Card(title, (), ("name", "parameter", "default"), rows)._repr_html_()

    def difference(self, other: Space) -> list[str]:
        """What differs, one line each, such as ``lr: high 0.1 here, 1.0 there``; empty if equal.

        >>> from spot_dask import Real, Space
        >>> here = Space(lr=Real(0.0, 0.1, default=0.01))
        >>> here.difference(Space(lr=Real(0.0, 1.0, default=0.01)))
        ['lr: high 0.1 here, 1.0 there']
        """
        lines = [f"{n}: only here" for n in self.names if n not in other.parameters]
        lines += [f"{n}: only there" for n in other.names if n not in self.parameters]
        shared = [n for n in self.names if n in other.parameters]
        for name in shared:
            here, there = self.parameters[name].to_json(), other.parameters[name].to_json()
            lines += [
                f"{name}: {field} {here.get(field)!r} here, {there.get(field)!r} there"
                for field in ({**here, **there} if here["type"] == there["type"] else ["type"])
                if field != "centred"
                and canonical_json(here.get(field)) != canonical_json(there.get(field))
            ]
        ours, theirs = ([p.text for p in space.predicates] for space in (self, other))
        lines += [f"where {text}: only here" for text in ours if text not in theirs]
        lines += [f"where {text}: only there" for text in theirs if text not in ours]
        if not lines and self.names != other.names:
            lines = [f"order: {', '.join(self.names)} here; {', '.join(other.names)} there"]
        return lines

    def modify(self, /, **changes: Parameter | Mapping[str, Any]) -> Space:
        """A space with parameters replaced, or with only the given fields of them changed.

        Fields are those of the JSON form: low, high, scale, levels, ordered, default, fixed, when.
        Condition values that a parent can no longer take are dropped; a condition that loses all
        its values is a ValueError.

        >>> from spot_dask import Real, Space
        >>> Space(lr=Real(1e-4, 1.0, scale="log", default=0.01)).modify(lr={"high": 0.1})
        Space(lr=Real(0.0001, 0.1, default=0.01, scale='log'))
        """
        self._check_names(changes)
        parameters = dict(self.parameters)
        for name, change in changes.items():
            if isinstance(change, Mapping):
                with naming(name):
                    parameters[name] = _changed(parameters[name], change)
            else:
                parameters[name] = change
        for name in self.names:
            change = changes.get(name, {})
            if isinstance(change, Mapping) and "when" not in change:
                parameters[name] = parameters[name].when(**narrowed(name, parameters))
        return Space(parameters)._under(self.predicates).checked()

    def fix(self, /, **values: Value) -> Space:
        """A space in which parameters are held at values; their bounds are kept.

        >>> from spot_dask import Integer, Real, Space
        >>> space = Space(lr=Real(0.0, 1.0), layers=Integer(1, 4)).fix(layers=2)
        >>> space.default, space.free
        ({'lr': 0.5, 'layers': 2}, ('lr',))
        """
        self._check_names(values)
        parameters = dict(self.parameters)
        for name, value in values.items():
            with naming(name):
                parameters[name] = parameters[name].hold(value)
        return Space(parameters)._under(self.predicates).checked()

    def adopt(self, config: Configuration, source: Space) -> dict[str, Value]:
        """A configuration of ``source`` as one of this space, for a warm start.

        A parameter that is new here takes its default. One that does not exist or is not active
        here must have been at the source's default. Anything else that does not fit (another
        type, out of the bounds, no such level) is a ValueError with the reason.

        >>> from spot_dask import Real, Space
        >>> old, new = Space(lr=Real(0.0, 1.0)), Space(lr=Real(0.0, 1.0), dropout=Real(0.0, 0.5))
        >>> new.adopt({"lr": 0.1}, old)
        {'lr': 0.1, 'dropout': 0.25}
        """
        given = source.validate(config)
        shared = {n: v for n, v in given.items() if n in self.parameters}
        for name in shared:
            here, there = self.parameters[name].kind, source.parameters[name].kind
            if here != there:
                raise ValueError(f"{name}: is {here} here but was {there} there")
        adopted = self.validate(shared)
        for name, value in given.items():
            default = source.parameters[name].default
            if name not in adopted and value != default:
                what = "is not active" if name in self.parameters else "does not exist"
                raise ValueError(
                    f"{name}: {what} here but was {value!r}, not its default {default!r}"
                )
        return adopted

    # Inside

    def _check_names(self, given: Mapping[str, Any]) -> None:
        for name in given:
            if name not in self.parameters:
                raise ValueError(self._unknown(name))

    def _unknown(self, name: object) -> str:
        near = did_you_mean(name, self.names)
        return f"no parameter {shown(name)}, there are {', '.join(self.names)}{near}"

    def _parse(self, name: str, values: list[Any]) -> FloatArray:
        """The canonical codes of values of one parameter; every error names it."""
        parameter = self.parameters[name]
        with naming(name):
            codes = parameter.codes(values)
            if parameter.fixed and (codes != self._codes[name]).any():
                wrong = values[int(np.argmax(codes != self._codes[name]))]
                raise ValueError(
                    f"{wrong!r} given, but fixed at {parameter.default!r}; leave it out"
                )
        return codes

    def _rows(self, X: FloatArray) -> FloatArray:
        X = np.asarray(X, dtype=np.float64)
        if X.ndim != 2 or X.shape[1] != self.d:
            raise ValueError(f"rows have shape {X.shape}, expected n x {self.d}")
        if not ((X >= 0) & (X <= 1)).all():
            raise ValueError("rows leave the unit cube; clip them to [0, 1]")
        return X

    def _column_codes(self, X: FloatArray) -> Codes:
        codes = {n: np.full(len(X), code) for n, code in self._codes.items()}
        for j, (name, parameter) in enumerate(zip(self.free, self._free, strict=True)):
            # Contiguous, because vectorised exp and log may round strided arrays differently.
            codes[name] = parameter.code(np.ascontiguousarray(X[:, j]))
        return codes

    def _positions(self, codes: Codes, n: int) -> FloatArray:
        X = np.empty((n, self.d))
        for j, (name, parameter) in enumerate(zip(self.free, self._free, strict=True)):
            is_active = active(self._needs[j], codes, n)
            X[:, j] = np.where(is_active, parameter.position(codes[name]), self._neutral[j])
        return X


_KINDS: dict[str, type[Real | Integer | Categorical]] = {
    kind.kind: kind for kind in (Real, Integer, Categorical)
}


def parameter_from_json(data: JSON) -> Parameter:
    """The parameter that ``Parameter.to_json`` wrote."""
    given = dict(data)
    kind = given.pop("type", None)
    if not isinstance(kind, str) or kind not in _KINDS:
        near = did_you_mean(kind, _KINDS)
        raise ValueError(f"type {shown(kind)} is not one of {', '.join(_KINDS)}{near}")
    return _KINDS[kind].from_json(given)


def _changed(parameter: Parameter, change: Mapping[str, Any]) -> Parameter:
    fields = {**parameter.to_json(), **change}
    if "default" in change:
        fields.pop("centred", None)
    try:
        made = parameter_from_json(fields)
    except ValueError as error:
        reason = str(error).removeprefix("default ")
        if "default" in change or reason == str(error):
            raise
        raise ValueError(f"needs a new default too: the old one, {reason}") from None
    if isinstance(parameter, Categorical) and isinstance(made, Categorical):
        made = replace(made, meanings={**parameter.meanings, **made.meanings})
    return made


def _unordered_levels(parameter: Parameter) -> int:
    """Number of levels of an unordered factor, 0 for everything else."""
    is_unordered = isinstance(parameter, Categorical) and not parameter.ordered
    return int(parameter.size) if is_unordered else 0
