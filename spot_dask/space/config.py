"""A configuration as trainings and predicates get it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


class Config(Mapping[str, Any]):
    """A configuration whose parameters are also attributes: ``cfg.lr`` is ``cfg["lr"]``.

    ``cfg.optim`` holds the parameters whose names begin with "optim.", without that, so that
    ``cfg.optim.lr`` is ``cfg["optim.lr"]``. Levels with a name are what they stand for.

    >>> from spot_dask import Config
    >>> cfg = Config({"optim.lr": 0.01, "width": 64})
    >>> cfg.width, cfg.optim.lr, cfg["optim.lr"], cfg.get("momentum", 0.9)
    (64, 0.01, 0.01, 0.9)
    """

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = dict(values)

    def __getitem__(self, name: str) -> Any:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        if name in self._values:
            return self._values[name]
        start = f"{name}."
        group = {n.removeprefix(start): v for n, v in self._values.items() if n.startswith(start)}
        if group:
            return Config(group)
        active = ", ".join(self._values)
        raise AttributeError(
            f"no active parameter {name!r} in this configuration; active: {active}"
        ) from None

    def __dir__(self) -> list[str]:
        """The active parameters, or the groups they are in, and the methods of a mapping."""
        return sorted({*TAKEN, *(name.partition(".")[0] for name in self._values)})

    def __repr__(self) -> str:
        return f"Config({self._values!r})"


TAKEN = frozenset(name for name in dir(Config) if not name.startswith("_"))
"""Names that are a Config's own, which no parameter can have: ``cfg.items`` is no value."""
