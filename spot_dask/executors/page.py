"""A page beside Dask's dashboard that tells how the runs on a scheduler stand.

A coordinator installs it in the scheduler's own HTTP server, so it is bound to where the dashboard
is, and sends a small document every now and then. It only shows: nothing can be asked of it, it
loads nothing and runs no script. Whatever fails about it is logged and harms no run.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

from distributed import Client, Scheduler
from jinja2 import Environment, StrictUndefined
from tornado.web import RequestHandler

from spot_dask import clock
from spot_dask.codec import JSON
from spot_dask.texts import in_template

logger = logging.getLogger(__name__)

PUSH_SECONDS = 2.0
"""How often a run is shown anew."""

CLOSE_SECONDS = 2.0
"""How long the end of a run waits for the page."""

ATTEMPTS = 30
"""Failures in a row after which a page is given up."""

KEPT = 20
"""Runs; the one that was heard of longest ago goes first."""

SILENT_SECONDS = 15.0
"""After so long without news of a run that has not ended the page says so."""

EVERYWHERE = ("0.0.0.0", "::")
_BOARD = "spot-dask-page"
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'",
    "X-Content-Type-Options": "nosniff",
}


class Board:
    """What the scheduler knows of runs: by run, when it was told and what."""

    def __init__(self) -> None:
        self._runs: dict[str, tuple[float, JSON]] = {}

    def put(self, run: str, standing: JSON) -> None:
        self._runs.pop(run, None)
        self._runs[run] = clock.now(), standing
        while len(self._runs) > KEPT:
            del self._runs[next(iter(self._runs))]

    def runs(self) -> list[JSON]:
        """The newest first, each with the seconds since it was heard of."""
        told = [{**run, "age": clock.now() - then} for then, run in self._runs.values()]
        return sorted(told, key=lambda run: (run["ended"] is not None, -run["began"]))


class RunsHandler(RequestHandler):
    """Answers with what ``show`` returns: a page, or a document to be sent as JSON."""

    def initialize(self, show: Callable[[], str | JSON]) -> None:
        self.show = show

    def set_default_headers(self) -> None:
        for name, value in _HEADERS.items():
            self.set_header(name, value)

    def get(self) -> None:
        self.finish(self.show())


def install(dask_scheduler: Scheduler) -> tuple[str, int]:
    """Have the scheduler serve ``/spot`` and ``/spot.json``, unless it does; its host and port."""
    if _BOARD not in dask_scheduler.extensions:
        board = dask_scheduler.extensions[_BOARD] = Board()
        routes: list[tuple[str, Callable[[], str | JSON]]] = [
            ("/spot", lambda: render(board.runs())),
            ("/spot.json", lambda: {"schema": "spot-dask/live/1", "runs": board.runs()}),
        ]
        dask_scheduler.http_application.add_handlers(
            ".*", [(path, RunsHandler, {"show": show}) for path, show in routes]
        )
    server = dask_scheduler.http_server
    return server.address, server.port


def put(run: str, standing: JSON, dask_scheduler: Scheduler) -> None:
    """Take in how a run stands; runs on the scheduler, which may be another one by now."""
    install(dask_scheduler)
    dask_scheduler.extensions[_BOARD].put(run, standing)


def render(runs: list[JSON]) -> str:
    """The page, with every text in it escaped."""
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, finalize=in_template, trim_blocks=True
    )
    environment.filters["clock"] = lambda seconds: str(timedelta(seconds=round(seconds)))
    environment.filters["number"] = lambda value: f"{value:.4g}"
    environment.filters["rough"] = lambda value: f"{value:.3g}"
    template = Path(__file__).with_name("page.html").read_text()
    return environment.from_string(template).render(runs=runs, silent=SILENT_SECONDS)


class SchedulerPage:
    """The page as the coordinator of a run sees it."""

    def __init__(self, client: Client, run: str) -> None:
        """Install it; raises whatever prevents that."""
        host, port = client.run_on_scheduler(install)
        # The dashboard's own link is wrong where it is bound to one interface only.
        link = str(client.dashboard_link) if host in EVERYWHERE else f"http://{host}:{port}/status"
        self.url = f"{link.removesuffix('/status')}/spot" if link.endswith("/status") else None
        self._client = client
        self._run = run
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    def show(self, standing: Callable[[], JSON | None]) -> None:
        """Show what this returns from now on, asked again and again by a thread."""
        self._over.clear()
        self._thread = threading.Thread(
            target=self._serve, args=[standing], name="spot-dask-page", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Show how it stands in the end; does not wait long for that."""
        self._over.set()
        if self._thread is not None:
            self._thread.join(CLOSE_SECONDS)

    def _serve(self, standing: Callable[[], JSON | None]) -> None:
        failures, over = 0, False
        while not over and failures < ATTEMPTS:
            over = self._over.wait(PUSH_SECONDS)
            document = standing()
            try:
                if document is not None:
                    self._client.run_on_scheduler(put, self._run, document)
                failures = 0
            except Exception as error:  # Dask's, of no common kind: the page is old
                failures += 1
                logger.info("the page of the run is not up to date: %r", error)


def open_page(client: Client, run: str) -> SchedulerPage | None:
    """The page of a run; None where the scheduler cannot have one."""
    try:
        return SchedulerPage(client, run)
    except Exception as error:  # Dask's, or of the scheduler's environment: of any kind
        logger.info("the scheduler has no page for the run: %r", error)
        return None
