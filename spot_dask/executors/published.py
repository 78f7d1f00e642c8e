"""What outlives a coordinator: tasks that the scheduler keeps, with their results, by name.

A task is published under its key and its worker, ``spot:RUN:TRIAL:aATTEMPT@WORKER``, until its end
is in the store. The next coordinator of the run finds it there.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from distributed import Client, Future

from spot_dask.executors.heartbeat import task_key

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Known:
    """A task of the run that the scheduler keeps."""

    number: int
    attempt: int
    worker: str
    name: str


class Published:
    """The published tasks of a run. What takes a round trip is done in a thread of its own."""

    def __init__(self, client: Client, run_id: str) -> None:
        self._client = client
        self._pattern = re.compile(rf"spot:{re.escape(run_id)}:(\d+):a(\d+)@(.+)")
        self._run_id = run_id
        self._names: dict[str, str] = {}  # key -> name
        self._errands = ThreadPoolExecutor(1, "spot-dask-errands")

    def key(self, number: int, attempt: int) -> str:
        """The key of an attempt's task."""
        return task_key(self._run_id, number, attempt)

    def known(self) -> Iterator[Known]:
        """What the scheduler keeps of the run now."""
        for name in self._client.list_datasets():
            found = self._pattern.fullmatch(str(name))
            if found is not None:
                number, attempt, worker = int(found[1]), int(found[2]), found[3]
                self._names[self.key(number, attempt)] = name
                yield Known(number, attempt, worker, name)

    def future(self, known: Known) -> Future:
        """The task itself."""
        (future,) = self._client.get_dataset(known.name)
        return future

    def add(self, key: str, worker: str, future: Future) -> None:
        """Have the scheduler keep a task, and its result, also without us."""
        self._errands.submit(self._publish, key, f"{key}@{worker}", future)

    def drop(self, keys: Iterable[str]) -> None:
        """Let the scheduler forget what has ended."""
        for key in keys:
            self._errands.submit(self._unpublish, key)

    def close(self, *, reachable: bool) -> None:
        """Finish what is under way, if the scheduler is there to hear of it."""
        self._errands.shutdown(wait=reachable, cancel_futures=not reachable)

    def _publish(self, key: str, name: str, future: Future) -> None:
        try:
            self._client.publish_dataset([future], name=name, override=True)
            self._names[key] = name
        except Exception as error:
            logger.warning("trial %s would not outlive this coordinator: %r", key, error)

    def _unpublish(self, key: str) -> None:
        name = self._names.pop(key, None)
        try:
            if name is not None:
                self._client.unpublish_dataset(name)
        except Exception as error:
            logger.warning("the scheduler goes on keeping %s: %r", name, error)
