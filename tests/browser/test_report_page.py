"""The report as a browser shows it: offline, light and dark, narrow, printed, sorted."""

from __future__ import annotations

import shutil

import pytest

from spot_dask import Categorical, FunctionTask, Real, Space, Study
from spot_dask.settings import Budget

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium on this machine"),
]

SPACE = Space(
    x=Real(0.0, 1.0, default=0.9),
    y=Real(1e-3, 1.0, default=0.1, scale="log"),
    kind=Categorical(["round", "square", "flat"], default="flat"),
)


def objective(config, trial):
    if config.x > 0.97:
        raise ValueError("x is too large")
    for epoch in range(1, 4):
        trial.report(epoch, loss=config.x**2 + 1 / epoch)
    return (config.x - 0.3) ** 2 + 0.1 * len(config.kind) + 0.1 * config.y


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    folder = tmp_path_factory.mktemp("browser")
    study = Study(SPACE, FunctionTask(objective), name="browsed", seed=3)
    study.run(Budget(evaluations=14), local=0, store=folder / "run.zarr")
    return study.report(folder / "report.html")


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def visit(browser, report):
    """Opens the report in a context of its own; at the end nothing may have gone wrong."""
    contexts, problems = [], []

    def open_page(width=1200, **options):
        context = browser.new_context(
            viewport={"width": width, "height": 900}, offline=True, **options
        )
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("console", lambda message: problems.append(message.text))
        page.on(
            "request",
            lambda r: None if r.url.startswith("file:") else problems.append(r.url),
        )
        page.goto(report.as_uri())
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert problems == []


def colour(page, selector, name):
    script = "([s, n]) => getComputedStyle(document.querySelector(s))[n]"
    return page.evaluate(script, [selector, name])


def brightness(css):
    return sum(int(part) for part in css.strip("rgba()").split(",")[:3]) / 3


def test_the_page_opens_offline_and_follows_the_colour_scheme(visit):
    light, dark = visit(color_scheme="light"), visit(color_scheme="dark")
    assert brightness(colour(light, "body", "backgroundColor")) > 200
    assert brightness(colour(dark, "body", "backgroundColor")) < 60
    assert brightness(colour(light, "svg.figure text", "fill")) < 150
    assert brightness(colour(dark, "svg.figure text", "fill")) > 130


@pytest.mark.parametrize("width", [400, 800, 1600])
def test_nothing_sticks_out_sideways(visit, width):
    page = visit(width)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    boxes = page.eval_on_selector_all(
        "svg.figure", "f => f.map(e => e.getBoundingClientRect().width)"
    )
    assert boxes
    assert min(boxes) > 250


def test_the_trials_can_be_sorted_and_filtered(visit):
    page = visit()
    first = page.locator("table.tool tbody tr:visible td:first-child")
    page.get_by_role("button", name="trial", exact=True).click()
    page.get_by_role("button", name="trial", exact=True).click()
    assert first.first.inner_text() == "13"
    page.get_by_role("button", name="loss", exact=True).click()
    column = page.locator("table.tool tbody tr td:nth-child(4)").all_inner_texts()
    values = [float(text) for text in column if text != "–"]
    assert values == sorted(values)
    page.get_by_label("Filter the trials").fill("default")
    assert first.all_inner_texts() == ["0"]


def test_everything_can_be_read_without_scripts(visit):
    page = visit(java_script_enabled=False)
    assert page.locator("table.tool tbody tr").count() == 14
    assert page.locator(".filter").count() == 0


def test_paper_shows_what_the_screen_folds_away(visit, tmp_path):
    page = visit(color_scheme="dark")
    hidden = page.get_by_text("Begin and end of a training are read")
    assert not hidden.is_visible()
    page.emulate_media(media="print")
    assert brightness(colour(page, "body", "backgroundColor")) == 255
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert hidden.is_visible()
    pdf = page.pdf(format="A4", print_background=True)
    assert pdf.startswith(b"%PDF")
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.locator("details[open]").count() == 0


def test_on_paper_twenty_parameters_fit_and_the_text_keeps_its_size(browser, tmp_path):
    """A table that is too wide would make the browser shrink all pages, and be cut in the end."""
    named = {f"a_parameter_{i}": Real(1e-4, 1.0, default=0.5, scale="log") for i in range(18)}
    named |= {f"kind_{i}": Categorical(["a_rather_long_level", "b"], default="b") for i in (1, 2)}
    task = FunctionTask(lambda cfg: cfg.a_parameter_0 + cfg.a_parameter_1)
    study = Study(Space(named), task, name="wide", seed=3, confirm=0.0)
    study.run(Budget(evaluations=8), local=0, store=tmp_path / "run.zarr")
    path = study.report(tmp_path / "report.html")
    width = 688  # pixels of A4 between its margins
    page = browser.new_page(viewport={"width": width, "height": 980})
    page.goto(path.as_uri())
    page.emulate_media(media="print")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    cells = page.eval_on_selector_all(
        "table.tool.wide th", "f => f.map(e => e.getBoundingClientRect().right)"
    )
    assert len(cells) == 25
    assert max(cells) <= width
    page.close()


ACCESSIBLE = """() => {
  const found = [];
  for (const tag of ["header", "main", "footer"])
    if (document.querySelectorAll("body > " + tag).length !== 1) found.push(`not one ${tag}`);
  if (document.querySelectorAll("h1").length !== 1) found.push("not one h1");
  let last = 0;
  for (const h of document.querySelectorAll("h1, h2, h3, h4")) {
    const level = Number(h.tagName[1]);
    if (level > last + 1) found.push(`${h.tagName} after h${last}`);
    last = level;
  }
  for (const f of document.querySelectorAll("svg.figure"))
    if (f.getAttribute("role") !== "img" || !f.getAttribute("aria-label")) found.push("figure");
  for (const part of document.querySelectorAll(".scroll"))
    if (part.tabIndex !== 0 || !part.getAttribute("aria-label")) found.push("scrolled part");
  for (const th of document.querySelectorAll("thead th"))
    if (th.scope !== "col") found.push("table head");
  for (const i of document.querySelectorAll("input, button"))
    if (!(i.getAttribute("aria-label") || i.textContent.trim())) found.push("a control");
  const ids = Array.from(document.querySelectorAll("[id]"), e => e.id);
  if (new Set(ids).size !== ids.length) found.push("an id twice");
  for (const a of document.querySelectorAll("a[href^='#']"))
    if (!document.getElementById(a.getAttribute("href").slice(1))) found.push(a.href);
  return found;
}"""
"""What axe would call serious, of what such a page can have."""

CONTRAST = """() => {
  const rgb = (css) => css.match(/[0-9.]+/g).map(Number);
  const light = (c) => {
    const [r, g, b] = c.slice(0, 3).map(v => v / 255)
      .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = (e) => {
    for (; e; e = e.parentElement) {
      const c = rgb(getComputedStyle(e).backgroundColor);
      if (c.length < 4 || c[3] === 1) return c;
    }
    return [255, 255, 255];
  };
  const found = [];
  const texts = "h1, h2, p, li, td, th, a, summary, figcaption, .state, svg.figure text";
  for (const e of document.querySelectorAll(texts)) {
    if (!e.textContent.trim()) continue;
    const style = getComputedStyle(e);
    const colour = rgb(e.closest("svg") ? style.fill : style.color);
    const [a, b] = [light(colour), light(ground(e))].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    const which = `${e.tagName} ${ratio.toFixed(2)}: ${e.textContent.slice(0, 30)}`;
    if (ratio < 4.5) found.push(which);
  }
  return found;
}"""
"""Texts with less than the contrast that WCAG asks for."""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_everybody_can_read_it(visit, scheme):
    page = visit(color_scheme=scheme)
    assert page.evaluate(ACCESSIBLE) == []
    assert page.evaluate(CONTRAST) == []
    page.evaluate("document.querySelector('main p').style.color = 'rgb(120, 120, 120)'")
    assert len(page.evaluate(CONTRAST)) == 1  # it is seen where there is too little
