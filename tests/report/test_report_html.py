"""The page and its JSON: complete, escaped, repeatable, whatever the store holds."""

from __future__ import annotations

import gc
import json
import math
import re
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest
from report_studies import MIXED, Builder, fill

import spot_dask
from spot_dask.records import Failure
from spot_dask.report import figures, html, sections, to_json, write
from spot_dask.report.page import rare_collections
from spot_dask.space import Categorical, Integer, Real, Space

EVIL = "<script>alert('1')</script>\"'>&"
ONE_FACTOR = Space(opt=Categorical(["a", "b", "c"], default="a"))
LINE = Space(x=Real(0.0, 1.0, default=0.5))
VOID = {"meta", "br", "hr", "img", "input", "link"}


class Page(HTMLParser):
    """Tags in order; complains where they do not nest."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.ids, self.text = [], [], [], []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.ids += [v for k, v in attrs if k == "id"]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.ids += [v for k, v in attrs if k == "id"]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def constant(n=15):
    return fill(Builder(space=LINE), n, lambda c: 0.25, noise=0.0)


def all_failed():
    b = Builder()
    for i in range(5):
        b.tell({"drop": i / 10})
    return b


def ragged():
    b = Builder(space=LINE)
    for i in range(8):
        nan = math.nan
        curves = {"val_loss": ((nan,) * 4, (1.0, nan, math.inf), (), (1.0,))[i % 4], "a": (nan,)}
        b.tell({"x": i / 8}, float(i), curves=curves)
    return b


def twenty_levels():
    levels = [f"level {i} of a name that is long" for i in range(20)]
    b = Builder(space=Space(opt=Categorical(levels, default=levels[0])))
    for i, level in enumerate(levels):
        b.tell({"opt": level}, float(i))
    return b


def nan_metrics():
    b = Builder(space=LINE)
    for i in range(8):
        metrics = {"test_loss": (math.nan, math.inf, -1.0, 1.0)[i % 4], "other": math.nan}
        b.tell({"x": i / 8}, float(i), metrics=metrics, seconds=(math.nan, 0.0, 5.0)[i % 3])
    return b


DEGENERATE = {
    "no trial": lambda: Builder(),
    "one trial": lambda: fill(Builder(), 1),
    "two trials": lambda: fill(Builder(), 2),
    "three trials": lambda: fill(Builder(), 3),
    "all failed": all_failed,
    "the default failed": lambda: fill(Builder().tell({}), 20),
    "one factor": lambda: fill(Builder(space=ONE_FACTOR), 12, lambda c: "abc".index(c["opt"])),
    "one real": lambda: fill(Builder(space=LINE), 12, lambda c: c["x"] ** 2),
    "constant": constant,
    "constant zero": lambda: fill(Builder(space=LINE), 9, lambda c: 0.0, noise=0.0),
    "NaN curves": ragged,
    "huge values": lambda: fill(Builder(space=LINE), 15, lambda c: 1e100 * c["x"], noise=0.0),
    "tiny values": lambda: fill(Builder(space=LINE), 15, lambda c: 1e-300 * c["x"], noise=0.0),
    "a fixed parameter": lambda: fill(Builder(space=MIXED.fix(width=64, opt="adamw")), 20),
    "a diverged training": lambda: fill(Builder(space=LINE), 15).tell({"x": 0.01}, 1e12),
    "a wide integer": lambda: fill(
        Builder(space=Space(k=Integer(1, 10_000, default=3, scale="log"))),
        15,
        lambda c: abs(c["k"] - 50),
    ),
    "twenty levels, each once": twenty_levels,
    "NaN metrics": nan_metrics,
    "maximised": lambda: fill(Builder(direction="max", objective="accuracy"), 20),
}


@pytest.mark.parametrize("case", DEGENERATE)
def test_every_store_has_a_page(case, tmp_path):
    f = DEGENERATE[case]().context()
    write(f, tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text()
    page = Page(text)
    assert len(set(page.ids)) == len(page.ids)
    assert text.count("<h2>") == len(sections.found())
    for name, _ in sections.found():
        body = text.split(f'<section id="{name}"')[1].split("</section>")[0]
        assert re.search(r"</p>|</ul>|</table>|</figure>", body), name
    assert (tmp_path / "report.md").read_text().count("\n## ") == len(sections.found())
    document = json.loads((tmp_path / "report.json").read_text())
    assert set(document["methods"]) == {name for name, _ in sections.found()}
    assert document["schema"] == "spot-dask/report/2"


def test_what_is_missing_says_why():
    text = html(Builder().context())
    assert text.count("Not shown because") >= 6
    assert "no evaluation has succeeded" in text


def test_page_and_json_are_the_same_for_the_same_store(full, full_context, full_page):
    again = full.context()
    assert html(again) == full_page
    assert to_json(again) == to_json(full_context)


def test_nothing_a_user_wrote_becomes_markup():
    space = Space(opt=Categorical([EVIL, "b"], default=EVIL), naïve=Real(0.0, 1.0, default=0.5))
    b = Builder(space=space, name=EVIL, objective=EVIL)
    b.study = {"file": EVIL, "name": EVIL, "text": EVIL, "overrides": [EVIL]}
    fill(b, 16, lambda c: c["naïve"] + (c["opt"] == "b"))
    b.tell({}, error=Failure(EVIL, EVIL, EVIL))
    text = html(b.context())
    page = Page(text)
    assert page.tags.count("script") == 1
    assert "<script>alert" not in text
    assert any("<script>alert" in part for part in page.text)


def test_names_with_mathematics_are_text():
    space = Space(opt=Categorical(["$x^2$", "a_b$"], default="a_b$"))
    text = html(
        fill(Builder(space=space, objective="$\\frac{"), 12, lambda c: len(c["opt"])).context()
    )
    assert "$\\frac{" in text


def test_every_figure_is_well_formed_and_described(full_page):
    figures = re.findall(r"<svg.*?</svg>", full_page, flags=re.S)
    assert len(figures) >= 12
    for figure in figures:
        root = ElementTree.fromstring(figure)
        assert root.get("aria-label")
        assert root.find("{http://www.w3.org/2000/svg}title") is not None
        referred = set(re.findall(r"(?:url\(#|href=\"#)([^\")]+)", figure))
        assert referred <= set(re.findall(r' id="([^"]+)"', figure))


def test_figures_follow_the_colours_of_the_page(full_page):
    for figure in re.findall(r"<svg.*?</svg>", full_page, flags=re.S):
        assert "var(--" in figure
        assert "font-family" not in figure


def test_the_page_asks_for_nothing_from_outside(full_page):
    text = full_page
    addresses = set(re.findall(r"https?://[^\s\"'<)]+", text))
    assert addresses <= {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}
    assert not re.search(r"<(link|img|iframe|object)|@import|\bsrc=", text)
    assert "default-src 'none'" in text


def test_the_page_shows_the_run(full_page):
    text = " ".join(Page(full_page).text)
    assert "spot-dask run study.py:study" in text
    assert "space = ..." in text
    assert "Unconfirmed: the best of many noisy values" in text
    assert "2025-10-09" in text


def test_the_json_holds_every_number_of_the_facts(full_context, full_facts):
    document = json.loads(json.dumps(to_json(full_context), allow_nan=False))
    assert document["recommended"]["observed"] == full_facts.recommended.observed
    first = document["importance"]["near"]["parameters"][0]
    assert first["total"]["value"] == full_facts.importance.near.parameters[0].total.value
    assert len(document["trials"]) == len(full_facts.trials)
    assert [c["state"] for c in document["checks"]] == [c.state for c in full_facts.checks]
    assert to_json(Builder().context())["gain"] == {"reason": "no evaluation has succeeded"}


def test_a_thousand_trials_stay_within_a_megabyte_and_a_half():
    space = Space({f"x{i}": Real(0.0, 1.0, default=0.5) for i in range(20)})
    b = fill(Builder(space=space), 1000, lambda c: c["x0"] + c["x1"] ** 2, curves=False)
    context = b.context(model=None)  # that of the search, of which the report shows little
    assert len(context.evaluations) == 1000
    assert len(html(context).encode()) < 1_500_000


def test_the_resources_of_the_page_are_in_the_package():
    folder = Path(spot_dask.__file__).parent / "report"
    assert {p.name for p in folder.glob("page.*")} >= {"page.html", "page.css", "page.js"}


def test_numbers_in_texts_of_a_figure_are_not_rounded():
    def draw(ax):
        ax.plot([0.123456, 0.234567], [1.0, 2.0])
        ax.annotate("0.123456, (0.98765)", (0.123456, 1.0))
        ax.set_xlabel("from 1.23456")

    svg = figures.chart(draw, "numbers", "Numbers", "", "").svg
    assert ">0.123456, (0.98765)<" in svg
    assert ">from 1.23456<" in svg
    assert not re.search(r" d=\"[^\"]*\d\.\d{3}", svg)


def test_cycles_are_looked_for_less_often_while_a_report_is_made_and_as_before_then():
    usual = gc.get_threshold()
    try:
        for before in (700, 200_000, 0):
            gc.set_threshold(before, 10, 10)
            with rare_collections(), rare_collections():
                now = gc.get_threshold()[0]
            assert now == (max(before, 70_000) if before else 0)
            assert gc.get_threshold() == (before, 10, 10)
    finally:
        gc.set_threshold(*usual)
