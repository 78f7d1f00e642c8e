"""The system calls of a writer, counted, and something done at one of them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

CALLS = ("mkdir", "open", "write", "fsync", "link", "unlink", "replace", "rename")
"""The calls that change something, of those that the store makes."""

Hook = Callable[[int, str, Callable[..., Any], tuple[Any, ...]], Any]
"""(how many calls before this one, its name, the call itself, arguments) -> its result."""


@contextmanager
def intercepted(hook: Hook) -> Iterator[None]:
    """Have every such call of this process done by ``hook``, save those that the hook makes."""
    count, busy = 0, False

    def wrap(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            nonlocal count, busy
            if busy:
                return real(*args, **options)
            count, busy = count + 1, True
            try:
                return hook(count - 1, name, lambda *a: real(*a, **options), args)
            finally:
                busy = False

        return call

    with ExitStack() as stack:
        for name in CALLS:
            stack.enter_context(patch.object(os, name, wrap(name, getattr(os, name))))
        yield
