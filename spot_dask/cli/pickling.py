"""Whether a task can travel to a worker, and what in it cannot.

A study's functions travel by value, with every global and every closure variable they use. Some of
those cannot travel (a lock), and some can but must not (cloudpickle sends an open file as a copy
of its text, a CUDA tensor needs the same device on every worker). The pickler below sees every
object on its way and remembers who uses it under which name.
"""

from __future__ import annotations

import io
import pickle
import socket
import sys
import threading
from collections.abc import Iterator
from types import CodeType, FunctionType, ModuleType

import cloudpickle

from spot_dask.by_value import dumps

ATOMS = (type(None), bool, int, float, str, type)
LOCKS = (type(threading.Lock()), type(threading.RLock()))


class Refused(Exception):
    """Something that must not travel; the message names it."""


class Inspector(cloudpickle.CloudPickler):  # type: ignore[misc]  # cloudpickle is untyped
    """Pickles to nowhere; raises Refused at the first object that cannot or must not travel."""

    def __init__(self) -> None:
        super().__init__(io.BytesIO())
        self._names: dict[int, str] = {}
        self._alive: list[object] = []  # an id is only good as long as its object lives
        self._last: object = None

    def persistent_id(self, obj: object) -> None:
        """Called by pickle for every object it is about to write."""
        if id(obj) in self._names and not isinstance(obj, ATOMS):
            self._last = obj
        for name, value in _uses(obj):
            self._alive.append(value)
            self._names.setdefault(id(value), name)
        reason = _reason(obj)
        if reason is not None:
            raise Refused(f"{self.name(obj)} is {reason}")

    def name(self, obj: object) -> str:
        """How an object is called by whoever uses it."""
        return self._names.get(id(obj), f"something in {self.last}")

    @property
    def last(self) -> str:
        """The last object with a name that pickle came to."""
        return "the task" if self._last is None else self._names[id(self._last)]


def culprit(task: object) -> str | None:
    """What keeps a task from travelling, in one line; None if nothing does."""
    inspector = Inspector()
    try:
        inspector.dump(task)
        pickle.loads(dumps(task))
    except Refused as error:
        return str(error)
    except Exception as error:  # pickle raises what it likes, and so do users' __reduce__ methods
        return f"{inspector.last} cannot be pickled: {str(error).splitlines()[0]}"
    return None


def _uses(obj: object) -> Iterator[tuple[str, object]]:
    """What travels along with an object, by names that mean something to its author."""
    if isinstance(obj, FunctionType):
        owner = f"{obj.__qualname__}()"
        for name in _global_names(obj.__code__):
            if name in obj.__globals__:
                yield f"{name!r}, used by {owner},", obj.__globals__[name]
        for name, cell in zip(obj.__code__.co_freevars, obj.__closure__ or (), strict=True):
            if cell != type(cell)():
                yield f"{name!r}, used by {owner},", cell.cell_contents
    elif hasattr(obj, "__dict__") and not isinstance(obj, type | ModuleType):
        for name, value in vars(obj).items():
            yield f"{type(obj).__name__}.{name}", value


def _global_names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _global_names(constant)


def _reason(obj: object) -> str | None:
    """Why an object must not travel; None if it may."""
    if obj is sys.stdout or obj is sys.stderr:  # these travel by name
        return None
    if isinstance(obj, io.IOBase) and not isinstance(obj, io.StringIO | io.BytesIO):
        return f"an open file ({getattr(obj, 'name', '?')}); open it inside the function"
    if isinstance(obj, LOCKS):
        return "a lock; make it inside the function"
    if isinstance(obj, socket.socket):
        return "a network connection; open it inside the function"
    if _is(obj, "torch", "Tensor") and getattr(obj, "is_cuda", False):
        return "a CUDA tensor; move it to the device inside the function"
    if _is(obj, "distributed", "Client") or _is(obj, "distributed", "Future"):
        return "part of a live Dask client; a training must not use the cluster it runs on"
    return None


def _is(obj: object, module: str, name: str) -> bool:
    """``isinstance`` without importing the module: where it is not imported, no object is one."""
    kind = getattr(sys.modules.get(module), name, None)
    return kind is not None and isinstance(obj, kind)
