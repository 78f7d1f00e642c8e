"""What tells listeners of a run: a queue and a thread for each."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from queue import SimpleQueue

from spot_dask.records import Asked, Entry, Evaluation, Told, Trial
from spot_dask.settings import one_line
from spot_dask.trackers import Listener, Tracked

logger = logging.getLogger(__name__)

DRAIN_SECONDS = 30.0
"""How long the end of a session waits for all listeners together."""

QUIET_SECONDS = 1.0
"""How long it does so before it says what it waits for."""


class Feed:
    """Tells listeners, each in a thread of its own, what a session has made durable.

    They are given with their labels. ``take`` and ``close`` return at once, or within the limit.
    """

    def __init__(self, listeners: Sequence[tuple[str, Listener]], run: Tracked) -> None:
        self._ears = [Ear(label, listener, run) for label, listener in listeners]
        self._place = len(run.past.evaluations)

    def take(self, entries: Sequence[Entry]) -> None:
        """Pass on entries that are durable, in their order."""
        for entry in entries:
            if isinstance(entry, Asked):
                for trial in entry.trials:
                    self._tell(trial)
            elif isinstance(entry, Told):
                self._place += 1
                self._tell((entry.evaluation, self._place))

    def close(self, reason: str | None, say: Callable[[str], None]) -> None:
        """End with a reason, or None after an error: wait for the listeners, but not for ever.

        ``say`` is told what is waited for, and what is missing in the end.
        """
        deadline = time.monotonic() + DRAIN_SECONDS
        for ear in self._ears:
            ear.hear(End(reason))
        for ear in self._ears:
            ear.join(min(QUIET_SECONDS, max(0.0, deadline - time.monotonic())))
        for ear in self._ears:
            left = max(0.0, deadline - time.monotonic())
            if ear.is_alive():
                say(f"tracker {ear.label} is {ear.behind}; waiting for up to {left:.0f} s")
                ear.join(left)
        for ear in self._ears:
            missing = ear.leave()
            if missing is not None:
                say(f"tracker {ear.label}: {missing}; `spot-dask resume` tells it what is missing")

    def _tell(self, news: Trial | tuple[Evaluation, int]) -> None:
        for ear in self._ears:
            ear.hear(news)


class End:
    """The last that a listener is told."""

    def __init__(self, reason: str | None) -> None:
        self.reason = reason


class Ear(threading.Thread):
    """The thread that tells one listener of a run, first what it has missed of its past."""

    def __init__(self, label: str, listener: Listener, run: Tracked) -> None:
        super().__init__(name=f"spot-dask-{label}", daemon=True)
        self.label = label
        self._listener, self._run = listener, run
        self._queue: SimpleQueue[Trial | tuple[Evaluation, int] | End] = SimpleQueue()
        self._left = threading.Event()
        self._waiting = len(run.past.evaluations)  # evaluations that are not told yet
        self._lost = 0  # that could not be told
        self._deaf = False  # it could not begin
        self._failed = False
        self.start()

    def hear(self, news: Trial | tuple[Evaluation, int] | End) -> None:
        """Have something told when its turn comes."""
        if isinstance(news, tuple):
            self._waiting += 1
        self._queue.put(news)

    @property
    def behind(self) -> str:
        """How far behind it is, in words."""
        return f"{self._waiting} evaluations behind" if self._waiting else "not done yet"

    def leave(self) -> str | None:
        """Tell nothing more; what is missing, in words, or None."""
        self._left.set()
        if self._deaf:
            return "it could not begin and has nothing of this session"
        missing = self._lost + self._waiting
        if self.is_alive():
            return f"it has not answered for {DRAIN_SECONDS:g} s and lacks {missing} evaluations"
        return f"it lacks {missing} evaluations" if missing else None

    def run(self) -> None:
        """Tell the past, then what arrives, until the end."""
        past, known = self._run.past, set[int]()
        numbers = {evaluation.trial.number for evaluation in past.evaluations}

        def begin() -> None:
            told = self._listener.begin(self._run)
            known.update(numbers if told is None else told)

        self._deaf = not self._call(begin)
        if self._deaf:
            return
        for place, evaluation in enumerate(past.evaluations, 1):
            if evaluation.trial.number in known:
                self._waiting -= 1
            else:
                self._call(self._listener.asked, evaluation.trial)
                self._evaluated(evaluation, place)
        for trial in past.pending:
            self._call(self._listener.asked, trial)
        while not self._left.is_set():
            match self._queue.get():
                case End(reason=None):
                    return
                case End(reason=reason):
                    self._call(self._listener.end, reason)
                    return
                case Trial() as trial:
                    self._call(self._listener.asked, trial)
                case (evaluation, place):
                    self._evaluated(evaluation, place)

    def _evaluated(self, evaluation: Evaluation, place: int) -> None:
        if not self._left.is_set():
            self._lost += not self._call(self._listener.evaluated, evaluation, place)
            self._waiting -= 1

    def _call(self, tell: Callable[..., object], *news: object) -> bool:
        """Whether the listener took what it was told; the first time that it did not is logged."""
        if self._left.is_set():
            return False
        try:
            tell(*news)
        except BaseException as error:  # whatever a listener raises, also SystemExit
            if not self._failed:
                self._failed = True
                what = f"{type(error).__name__}: {one_line(error)}"
                logger.warning("tracker %s has failed, the run goes on: %s", self.label, what)
                logger.debug("tracker %s", self.label, exc_info=True)
            return False
        return True
