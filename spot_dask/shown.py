"""How a run stands, on the page of its executor."""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path
from typing import Any

from spot_dask.executors import Page
from spot_dask.live import Goal, View, document
from spot_dask.session import Listener, Update


class Shown:
    """The run on the executor's page, if it has one."""

    def __init__(self, page: Page | None, goal: Goal, name: str, store: Path | str) -> None:
        self._view = View(goal)
        self._page = page
        self._about: dict[str, Any] = {
            "name": name,
            "store": str(store),
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "began": time.time(),
            "ended": None,
        }

    @property
    def notes(self) -> list[str]:
        """What a user is told at the start."""
        url = None if self._page is None else self._page.url
        return [] if url is None else [f"how the run stands, in a browser: {url}"]

    def beside(self, listener: Listener | None) -> Listener | None:
        """A listener that keeps the page up to date, too."""
        if self._page is None:
            return listener
        self._page.show(lambda: document(self._view, self._about))

        def both(update: Update) -> None:
            self._view.take(update)
            if listener is not None:
                listener(update)

        return both

    def end(self, reason: str) -> None:
        """The run has ended for that reason."""
        if self._page is not None:
            self._about["ended"] = reason
            self._page.close()
