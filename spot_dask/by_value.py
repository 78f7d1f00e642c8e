"""Functions and classes of a study travel by value, from any process to any other.

A study's own module exists in the process that loaded its file and nowhere else, and a notebook's
``__main__`` only in the notebook. ``dumps`` pickles what they define by value, as cloudpickle does.
In a process that has loaded such a pickle, or has called ``install``, multiprocessing does so, too:
in what it sends to processes that it starts, by whichever method, and in all of its queues and
pipes. What other modules define, and every process can import, travels by name as ever.

A module is one thing in every process: the functions of a module that arrive in several pickles
have the same global variables there, and variables and classes that are known stay as they are. So
what one function of a study sets, such as the initializer of a pool, another one sees.
"""

from __future__ import annotations

import io
import uuid
from collections.abc import Callable
from multiprocessing.reduction import ForkingPickler
from types import FunctionType
from typing import Any
from weakref import WeakSet

import cloudpickle

Globals = dict[str, Any]

REMEMBERED = 256
"""Of how many modules the global variables are remembered; the oldest are forgotten."""

_by_token: dict[str, Globals] = {}
_tokens: dict[int, str] = {}  # by the id of the globals, which _by_token keeps alive
_complete: WeakSet[type] = WeakSet()  # the classes that are known here


def dumps(value: object) -> bytes:
    """Pickle a value with all that its study's module, or ``__main__``, defines of it.

    Another process that loads it makes new modules of it. Raises what pickling a user's object
    raises.
    """
    file = io.BytesIO()
    _Pickler(file, _new_token).dump(value)
    return file.getvalue()


def install() -> None:
    """Have multiprocessing pickle by value, in this process, what others cannot import."""
    if "reducer_override" not in vars(ForkingPickler):
        ForkingPickler.reducer_override = _reduced_for_process  # type: ignore


def forget() -> None:
    """Forget the modules that have arrived: what arrives from now on belongs to another study."""
    _by_token.clear()
    _tokens.clear()
    _complete.clear()


class _Module(Globals):
    """A module's globals as they travel; where they arrive they are a dictionary shared by all."""

    def __init__(self, of: Globals, token_of: Callable[[Globals], str]) -> None:
        super().__init__()
        self._of, self._token_of = of, token_of

    def __reduce__(self) -> tuple[Any, ...]:
        return _globals_of, (self._token_of(self._of), dict(self))


class _Pickler(cloudpickle.CloudPickler):  # type: ignore[misc]  # cloudpickle is untyped
    """Gives every module that travels a token.

    ``globals_ref`` is cloudpickle's: what stands for the globals of functions, by their id.
    """

    def __init__(self, file: io.BytesIO, token_of: Callable[[Globals], str]) -> None:
        super().__init__(file)
        self._token_of = token_of

    def reducer_override(self, obj: Any) -> Any:
        """How a function or a class travels; NotImplemented for anything else, or by name."""
        if isinstance(obj, FunctionType) and id(obj.__globals__) not in self.globals_ref:
            self.globals_ref[id(obj.__globals__)] = _Module(obj.__globals__, self._token_of)
        reduced = super().reducer_override(obj)
        if not isinstance(reduced, tuple) or len(reduced) < 6:
            return reduced
        if isinstance(obj, type):
            _complete.add(obj)
        make, arguments, state, *_, set_state = reduced
        return _made, (make, *arguments), (set_state, state), None, None, _set_state


def _reduced_for_process(pickler: ForkingPickler, obj: Any) -> Any:
    """How multiprocessing pickles an object: as always where that is possible."""
    reducer = cloudpickle.CloudPickler.dispatch_table.get(type(obj))
    if reducer is not None and type(obj) not in pickler.dispatch_table:
        # Code, cells and the like, but no copy of an open file's text.
        return NotImplemented if isinstance(obj, io.IOBase) else reducer(obj)
    if not isinstance(obj, FunctionType | type):
        return NotImplemented
    by_value = vars(pickler).setdefault("_by_value", _Pickler(io.BytesIO(), _known_token))
    return by_value.reducer_override(obj)


def _known_token(of: Globals) -> str:
    """The token that all pickles of this process give a module."""
    return _tokens.get(id(of)) or _new_token(of)


def _new_token(of: Globals) -> str:
    """A token for one pickle alone; whoever loads that in this process gets the module itself."""
    token = uuid.uuid4().hex
    _remember(token, of)
    return token


def _remember(token: str, of: Globals) -> None:
    _by_token[token] = of
    _tokens.setdefault(id(of), token)
    while len(_by_token) > REMEMBERED:
        oldest = next(iter(_by_token))
        if _tokens.get(id(gone := _by_token.pop(oldest))) == oldest:
            del _tokens[id(gone)]


def _globals_of(token: str, named: Globals) -> Globals:
    """The globals of the module with this token; ``named`` where it has not arrived before."""
    if token not in _by_token:
        _remember(token, named)
    return _by_token[token]


def _made(make: Callable[..., Any], *arguments: Any) -> Any:
    """What cloudpickle makes; whoever has got it may pass it on by multiprocessing."""
    install()
    return make(*arguments)


def _set_state(made: Any, state: tuple[Callable[[Any, Any], object], Any]) -> None:
    """Set the state as cloudpickle does, but leave alone classes and globals that are known."""
    set_state, (attributes, slots) = state
    if isinstance(made, type):
        if made in _complete:
            return
        _complete.add(made)
    elif isinstance(made, FunctionType):
        known = made.__globals__
        for name in slots.get("__globals__", ()):
            if name in known:
                slots["__globals__"][name] = known[name]
    set_state(made, (attributes, slots))
