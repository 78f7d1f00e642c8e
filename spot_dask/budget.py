"""When a run ends, and checks of plain numbers."""

from __future__ import annotations

from dataclasses import dataclass

from spot_dask.settings import DEFAULT_EVALUATIONS


@dataclass(frozen=True)
class Budget:
    """When a run ends: after so many evaluations or so much wall time (seconds), whichever first.

    Both count over all sessions of the run, failed evaluations included.
    """

    evaluations: int | None = None
    wall: float | None = None

    def __post_init__(self) -> None:
        if self.evaluations is not None:
            check_count("budget: evaluations", self.evaluations)
        if self.wall is not None and not (is_number(self.wall) and self.wall > 0):
            raise ValueError(f"budget: wall is {self.wall!r}; expected seconds, more than 0")

    @property
    def limit(self) -> int | None:
        """The number of evaluations a run ends after; None if only its time ends it."""
        if self.evaluations is None and self.wall is None:
            return DEFAULT_EVALUATIONS
        return self.evaluations


def check_count(name: str, value: object, least: int = 1) -> None:
    """Raises ValueError unless the value is a whole number of at least ``least``."""
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ValueError(f"{name} is {value!r}; expected a whole number, at least {least}")


def is_number(value: object) -> bool:
    """Whether the value is an int or a float, and no bool."""
    return isinstance(value, int | float) and not isinstance(value, bool)
