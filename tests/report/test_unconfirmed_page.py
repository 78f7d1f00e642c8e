"""What no fresh seed has confirmed is stated nowhere on the page as if it were known."""

from __future__ import annotations

import json
import re
import shlex
import tomllib
from html.parser import HTMLParser

import pytest
from report_studies import Builder, fill

from spot_dask.notation import written
from spot_dask.report import html
from spot_dask.report.sections.checks import ChecksSection

RAW = ("trials", "noise", "trust", "curves", "tradeoff")
"""Sections that show what every training gave; they recommend nothing."""


class Texts(HTMLParser):
    """The texts of a page that a reader sees, by the section's id."""

    def __init__(self, page):
        super().__init__()
        self.section, self.hidden, self.found = "", 0, {}
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.hidden += tag in ("style", "script", "svg")
        if tag == "section":
            self.section = dict(attrs).get("id", "")

    def handle_endtag(self, tag):
        self.hidden -= tag in ("style", "script", "svg")

    def handle_data(self, data):
        if not self.hidden and data.strip():
            self.found.setdefault(self.section, []).append(data.strip())


@pytest.fixture(scope="module")
def study():
    return fill(Builder(), 26)


@pytest.fixture(scope="module")
def context(study):
    return study.context()


@pytest.fixture(scope="module")
def shown(context):
    return Texts(html(context)).found


def test_it_is_called_unconfirmed_where_it_is_named(shown):
    for section in ("verdict", "checks", "parameters", "gain", "winner"):
        assert "unconfirmed" in " ".join(shown[section]).lower(), section


def test_its_value_stands_nowhere_to_four_digits(context, shown):
    r = context.recommended
    values = {context.sign * e.y for e in context.ranked[:1]} | {r.observed}
    default = context.sign * context.evaluations[0].y
    values |= {default, default - r.observed}
    four = {f"{v:.4g}" for v in values} | {f"{v:.4f}" for v in values}
    for section, texts in shown.items():
        if section not in RAW:
            told = set(re.findall(r"\d+\.\d+", " ".join(texts)))
            assert not told & four, section


def test_no_interval_is_given_of_its_value_or_gain(context, shown):
    name = context.header.objective
    for section in ("verdict", "checks", "gain", "winner", "progress", "budget", "parameters"):
        for sentence in re.split(r"(?<=[.!?])\s", " ".join(shown[section])):
            assert "interval" not in sentence or "%" not in sentence, (section, sentence)
            if name in sentence:
                assert "95 %" not in sentence, (section, sentence)


def test_no_check_passes_on_what_is_claimed_of_it(context):
    claims = {"Confirmed on fresh seeds", "Better than the default"}
    states = {c.title: c.state for c in context[ChecksSection]}
    assert {states[title] for title in claims} == {"WARN"}


def test_a_configuration_can_be_copied_in_four_notations():
    config = {"lr": 1e-05, "a b": 'x"\\\x7fé', "k": 3, "on": True, "wide": 1e22}
    assert json.loads(written(config, "json")) == config
    assert tomllib.loads(written(config, "toml")) == config
    scope = {}
    exec(written(config, "python"), scope)
    assert scope["config"] == config
    assert shlex.split(written(config, "args"))[0] == "--lr=1e-05"
