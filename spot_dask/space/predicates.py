"""Conditions that configurations must meet together, such as ``low < high``.

A predicate is an expression, which is data and can be written into a store and read from it, or a
function of the user's, of which a store knows the text alone. Expressions hold names of parameters,
numbers, texts, None, ``+ - * / // %``, comparisons, ``in`` and ``and``, ``or``, ``not``. They are
interpreted here, node by node; nothing is ever handed to Python. An expression on a parameter that
is not active holds.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

from spot_dask.errors import did_you_mean, shown
from spot_dask.space.config import Config

Value = Callable[[Config], Any]

LONGEST = 500  # characters of an expression
_ARITHMETIC: dict[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}
_COMPARISONS: dict[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.In: lambda value, several: value in several,
    ast.NotIn: lambda value, several: value not in several,
}
_NODES = (
    *_ARITHMETIC, *_COMPARISONS, ast.Expression, ast.BoolOp, ast.And, ast.Or, ast.UnaryOp, ast.Not,
    ast.USub, ast.BinOp, ast.Compare, ast.Name, ast.Attribute, ast.Load, ast.Constant, ast.Tuple,
    ast.List,
)  # fmt: skip


class Inactive(Exception):
    """An expression asks for a parameter that the configuration does not have."""


@dataclass(frozen=True)
class Predicate:
    """A condition on a configuration: its text, and what tells whether it is met.

    ``function`` is None for an expression, and for a function of a store that is only read
    (``known`` is False then).
    """

    text: str
    function: Callable[[Config], Any] | None = None
    expression: bool = True

    @property
    def known(self) -> bool:
        """Whether it can be evaluated here."""
        return self.expression or self.function is not None

    @cached_property
    def _met(self) -> Callable[[Config], Any]:
        if self.function is not None:
            return self.function
        return _compiled(parsed(self.text)) if self.expression else lambda config: True

    def __getstate__(self) -> dict[str, Any]:
        """The fields alone: what an expression was made into is made again."""
        return {name: getattr(self, name) for name in ("text", "function", "expression")}

    def holds(self, values: Mapping[str, Any]) -> bool:
        """Whether a configuration, with levels' meanings, meets it; True where it is not known.

        Raises ValueError where it cannot be computed.
        """
        try:
            return bool(self._met(Config(values)))
        except Inactive:
            return True
        except Exception as error:  # of the user's function, or of values that do not compare
            raise ValueError(
                f"{self.text!r} cannot be told of {shown(dict(values))}: "
                f"{type(error).__name__}: {error}"
            ) from None

    def names(self) -> Iterator[str]:
        """The parameters that an expression names."""
        if self.expression:
            yield from _names(parsed(self.text))

    def to_json(self) -> str | dict[str, str]:
        """The expression, or the text of a function as ``{"function": text}``."""
        return self.text if self.expression else {"function": self.text}

    @staticmethod
    def from_json(data: object) -> Predicate:
        """The predicate of ``to_json``; raises ValueError for anything else."""
        if isinstance(data, str):
            return checked(data)
        text = data.get("function") if isinstance(data, Mapping) else None
        if isinstance(text, str) and isinstance(data, Mapping) and len(data) == 1:
            return Predicate(text, expression=False)
        raise ValueError(f"where {shown(data)} is no condition; expected such as 'low < high'")


def checked(text: str) -> Predicate:
    """An expression as a predicate; raises ValueError for a text that is none."""
    parsed(text)
    return Predicate(text)


def parsed(text: str) -> ast.expr:
    """The tree of an expression; raises ValueError, naming what it cannot hold."""
    if len(text) > LONGEST:
        raise ValueError(f"where {shown(text)} is longer than {LONGEST} characters; shorten it")
    try:
        tree = ast.parse(text.strip(), mode="eval")
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        raise ValueError(
            f"where {shown(text)} is no expression; expected such as 'low < high'"
        ) from None
    for node in ast.walk(tree):
        odd = isinstance(node, ast.Constant) and not isinstance(
            node.value, bool | int | float | str | None
        )
        if odd or not isinstance(node, _NODES):
            raise ValueError(
                f"where {shown(text)} holds {shown(ast.unparse(node))}; expected names, numbers, "
                "texts, arithmetic and comparisons only, or a function with its text"
            )
    if not isinstance(tree.body, ast.Compare | ast.BoolOp | ast.UnaryOp | ast.Name | ast.Attribute):
        raise ValueError(f"where {shown(text)} compares nothing; expected such as 'low < high'")
    return tree.body


def check_names(predicate: Predicate, known: Mapping[str, Any]) -> None:
    """Raises ValueError for an expression on a parameter that there is not."""
    for name in predicate.names():
        if name not in known:
            near = did_you_mean(name, known)
            raise ValueError(
                f"where {predicate.text!r} names {name!r}, which is no parameter{near}"
            )


def _names(node: ast.expr) -> Iterator[str]:
    if isinstance(node, ast.Name | ast.Attribute):
        yield ast.unparse(node)
        return
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.expr):
            yield from _names(child)


def _compiled(node: ast.expr) -> Value:
    """What a part of an expression is, as a function of a configuration; it raises Inactive."""
    if isinstance(node, ast.BoolOp):
        together = all if isinstance(node.op, ast.And) else any
        parts = [_compiled(part) for part in node.values]
        return lambda config: together(part(config) for part in parts)
    if isinstance(node, ast.Compare):
        return _compared([type(op) for op in node.ops], [node.left, *node.comparators])
    if isinstance(node, ast.BinOp):
        left, right, of = _number(node.left), _number(node.right), _ARITHMETIC[type(node.op)]
        return lambda config: of(left(config), right(config))
    if isinstance(node, ast.UnaryOp):
        if isinstance(node.op, ast.Not):
            negated = _compiled(node.operand)
            return lambda config: not negated(config)
        number = _number(node.operand)
        return lambda config: -number(config)
    if isinstance(node, ast.Tuple | ast.List):
        items = [_compiled(part) for part in node.elts]
        return lambda config: tuple(item(config) for item in items)
    if isinstance(node, ast.Constant):
        constant = node.value
        return lambda config: constant
    return _looked_up(ast.unparse(node))


def _looked_up(name: str) -> Value:
    def value(config: Config) -> Any:
        if name not in config:
            raise Inactive(name)
        return config[name]

    return value


def _compared(ops: Sequence[type[ast.cmpop]], nodes: Sequence[ast.expr]) -> Value:
    """Comparisons that follow each other, as in ``0 < low < high``."""
    tests, parts = [_COMPARISONS[op] for op in ops], [_compiled(node) for node in nodes]

    def value(config: Config) -> bool:
        values = [part(config) for part in parts]
        return all(test(*pair) for test, pair in zip(tests, pairwise(values), strict=True))

    return value


def _number(node: ast.expr) -> Callable[[Config], float]:
    """A part of an expression that must be a number: no text is ever repeated or formatted."""
    part, written = _compiled(node), ast.unparse(node)

    def value(config: Config) -> float:
        found = part(config)
        if isinstance(found, bool) or not isinstance(found, int | float):
            raise TypeError(f"{written} is {shown(found)}, no number")
        return found

    return value
