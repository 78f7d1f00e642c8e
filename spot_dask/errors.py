"""What can go wrong while running.

::

    SpotDaskError
    ├── StudyError      the study cannot be loaded or is inconsistent       (exit code 2)
    ├── StoreError      the evaluation store cannot be used as asked        (exit code 2)
    │   ├── StoreCorrupt    a record is missing or fails its checksum       (exit code 1)
    │   ├── StoreFull       no space is left; the same entry may be appended later
    │   ├── StoreGone       what is there is not the run any more that was written  (exit code 1)
    │   └── RunTakenOver    another coordinator has taken over the store    (exit code 1)
    └── ClusterError    the scheduler is unreachable or lost                (exit code 5)

A wrong argument is a ``ValueError`` (or ``TypeError``); every message says what was seen, what
was expected and what to do. A proposal that fails is no error: the tuner falls back to another
one and logs the failure once.
"""

from __future__ import annotations

import difflib
import logging
import reprlib
from collections.abc import Iterable


class RunWarning(UserWarning):
    """What needs the attention of whoever started a run from Python; the run goes on, or ended.

    >>> import warnings
    >>> from spot_dask import RunWarning
    >>> warnings.simplefilter("error", RunWarning)  # end a script where a run needs attention
    """


class SpotDaskError(Exception):
    """Base of all errors that spot-dask raises while running; the message is one line.

    >>> from spot_dask import Run, SpotDaskError
    >>> try:
    ...     Run.open("nowhere.zarr")
    ... except SpotDaskError as error:
    ...     print(type(error).__name__)
    StoreError
    """

    exit_code = 1


class StudyError(SpotDaskError):
    """The study cannot be loaded or is inconsistent.

    >>> from spot_dask import SpotDaskError, StudyError
    >>> issubclass(StudyError, SpotDaskError), StudyError.exit_code
    (True, 2)
    """

    exit_code = 2


class StoreError(SpotDaskError):
    """The evaluation store cannot be used as asked.

    >>> from spot_dask import Real, Space, StoreError, Study
    >>> study = Study(Space(lr=Real(0.0, 1.0)), lambda cfg: cfg.lr)
    >>> try:
    ...     study.run(store="run.zarr", local=0, progress="none")
    ... except StoreError as error:
    ...     print("is already there" in str(error))
    True
    """

    exit_code = 2


class StoreCorrupt(StoreError):
    """A record of the journal is missing, truncated or fails its checksum."""

    exit_code = 1


class StoreFull(StoreError):
    """No space is left for the store; the same entry may be appended again later."""


class StoreGone(StoreError):
    """The store was removed, moved, replaced or lost a part while this coordinator wrote it."""

    exit_code = 1


class RunTakenOver(StoreError):
    """Another coordinator has the store now; this one may acknowledge nothing more."""

    exit_code = 1


class ClusterError(SpotDaskError):
    """The Dask scheduler is unreachable or lost; the store is intact.

    >>> from spot_dask import Budget, ClusterError, Real, Space, Study
    >>> issubclass(ClusterError, Exception), ClusterError.exit_code
    (True, 5)
    """

    exit_code = 5


_LONGEST_NAME = 80
_short = reprlib.Repr()
_short.maxlevel, _short.maxlist, _short.maxtuple, _short.maxdict = 3, 20, 20, 20
_short.maxstring = _short.maxlong = _short.maxother = _LONGEST_NAME


def shown(value: object) -> str:
    """``repr`` of a value for one line of a message, cut where it is long or deep."""
    return _short.repr(value)


def did_you_mean(seen: object, known: Iterable[object]) -> str:
    """``; did you mean 'x'?`` with the nearest known name or value; empty if none is near."""
    if not isinstance(seen, str | int | float) or len(str(seen)) > _LONGEST_NAME:
        return ""
    by_text = {str(k): k for k in known}
    close = difflib.get_close_matches(str(seen), by_text, n=1)
    return f"; did you mean {by_text[close[0]]!r}?" if close else ""


_said: set[tuple[str, str]] = set()


def warn_once(logger: logging.Logger, message: str, *args: object) -> None:
    """Log a warning unless this process has logged the same message, with any arguments.

    A study makes hundreds of proposals, and a problem of one is often a problem of all.
    """
    if (logger.name, message) not in _said:
        _said.add((logger.name, message))
        logger.warning(message, *args)
