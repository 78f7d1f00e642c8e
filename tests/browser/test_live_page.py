"""The page of a scheduler's runs as a browser shows it, served by a real scheduler."""

from __future__ import annotations

import shutil
import time

import pytest
from distributed import Client, LocalCluster

from spot_dask.executors import page as live

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

pytestmark = [
    pytest.mark.browser,
    pytest.mark.dask,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium on this machine"),
]

GOAL = {"objective": "validation_loss", "direction": "min", "evaluations": 40, "wall": 7200.0,
        "together": None}  # fmt: skip
GOING_ON = {
    "name": "a-study-with-a-rather-long-name-" * 4,
    "store": "/scratch/projects/somebody/tunings/2026-11-24/" * 4 + "run.zarr",
    "host": "node-17.cluster.example.org", "pid": 4242,
    "began": 1.0, "ended": None, "goal": GOAL, "share": 0.3, "done": 12, "elapsed": 734.0,
    "left": 1710.0, "stopping": None, "workers": 3, "slots": 12, "busy": 9,
    "best": {
        "trial": 7, "value": 0.123456, "low": 0.1111, "high": 0.1358,
        "trainings": 5, "confirmed": True,
        "config": {f"a_long_parameter_{number}": 1.23456789e-05 for number in range(12)},
    },
    "failures": {"failed": 2, "oom": 1},
    "running": [
        {
            "trial": 12 + number, "attempt": 0, "seconds": 61.0 * number, "epoch": number or None,
            "value": 0.5 / number if number else None,
            "worker": f"tls://node-{number}.cluster.example.org:40123",
        }
        for number in range(8)
    ],
}  # fmt: skip
ENDED = {**GOING_ON, "name": "done", "ended": "budget", "share": 1.0, "done": 40, "left": None,
         "best": None, "failures": {}, "running": [], "busy": 0, "began": 0.0}  # fmt: skip

WIDER_THAN_THEIR_BOX = """all => all.filter(e => e.clientWidth && e.scrollWidth > e.clientWidth + 1)
    .map(e => e.outerHTML)"""
ON_SEVERAL_LINES = """all => all.filter(e => {
    const range = document.createRange();
    range.selectNodeContents(e);
    return range.getClientRects().length > 1;
}).map(e => e.innerText)"""


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def scheduler():
    """A client whose scheduler has the page of two runs."""
    options = {"dashboard_address": "127.0.0.1:0", "worker_dashboard_address": "127.0.0.1:0"}
    with (
        LocalCluster(n_workers=0, processes=False, **options) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        yield client


def open_page(browser, scheduler, width=1200, scheme="light"):
    """The page with its two runs, and a list that fills with whatever goes wrong."""
    address = live.SchedulerPage(scheduler, "going on").url
    scheduler.run_on_scheduler(live.put, "going on", GOING_ON)
    scheduler.run_on_scheduler(live.put, "ended", ENDED)
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page, problems = context.new_page(), []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda message: problems.append(message.text))
    page.goto(address)
    return page, problems


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [400, 1200])
def test_the_page_shows_its_runs_and_nothing_sticks_out(browser, scheduler, width, scheme):
    page, problems = open_page(browser, scheduler, width, scheme)
    text = page.locator("body").inner_text()
    for told in (
        GOING_ON["name"], "12 of 40 evaluations in 0:12:14 of 2:00:00", "about 0:28:30 left",
        "best validation_loss 0.1235 (0.1111 to 0.1358; confirmed, 5 seeds) in trial 7",
        "2 failed, 1 oom",
        "9 of 12 slots busy, 3 workers", "tls://node-7.cluster.example.org:40123", "and 1 more",
        "ended (budget)",
    ):  # fmt: skip
        assert told in text
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.eval_on_selector_all("section *", WIDER_THAN_THEIR_BOX) == []
    assert page.eval_on_selector_all("td:not(:last-child)", ON_SEVERAL_LINES) == []
    page.context.close()
    assert problems == []


def test_the_page_follows_its_runs_by_itself(browser, scheduler):
    page, problems = open_page(browser, scheduler)
    scheduler.run_on_scheduler(live.put, "going on", {**GOING_ON, "done": 13})
    begun = time.monotonic()
    page.get_by_text("13 of 40 evaluations").wait_for(timeout=10_000)
    assert time.monotonic() - begun < 5
    page.context.close()
    assert problems == []
