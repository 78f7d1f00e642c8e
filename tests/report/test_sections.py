"""The seam of sections: one file is a section, and what it lacks is named."""

from __future__ import annotations

import json
import re
import textwrap
from types import ModuleType

import pytest
from report_studies import Builder, fill

from spot_dask.report import sections, write
from spot_dask.report.context import Missing
from spot_dask.report.page import to_json
from spot_dask.space import Real, Space

EXAMPLE = textwrap.dedent(re.search(r"::\n\n((?:    .*\n|\n)+)", sections.__doc__)[1])
"""The section that the documentation of the folder shows."""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """One more folder that sections are looked for in."""
    monkeypatch.setattr(sections, "__path__", [*sections.__path__, str(tmp_path)])
    sections.found.cache_clear()
    yield tmp_path
    sections.found.cache_clear()


def test_a_file_in_the_folder_is_a_section(folder):
    (folder / "median.py").write_text(EXAMPLE)
    space = Space(x=Real(0.0, 1.0, default=0.9))
    write(fill(Builder(space=space), 12, lambda c: c["x"]).context(), folder / "report.html")
    page = (folder / "report.html").read_text()
    body = page.split('<section id="median">')[1].split("</section>")[0]
    assert "<h2>What is a typical value?</h2>" in body
    assert "Half of the trainings reached" in body
    assert page.index('id="parameters"') < page.index('id="median"') < page.index('id="curves"')
    assert json.loads((folder / "report.json").read_text())["median"] > 0
    write(Builder(space=space).context(), folder / "report.html")
    assert "no evaluation" in json.loads((folder / "report.json").read_text())["median"]["reason"]
    assert "Not shown because" in (folder / "report.html").read_text().split('id="median"')[1]


PART = "class ASection:\n title, order = 'A', 1\n "


def module(source):
    made = ModuleType("noise")
    made.__dict__["__name__"] = "noise"
    exec(source, made.__dict__)
    return made


@pytest.mark.parametrize(
    ("source", "complaint"),
    [
        ("", "noise holds 0 classes whose name ends in 'Section'"),
        ("class ASection: pass\nclass BSection: pass", "noise holds 2 classes"),
        ("class ASection: title = 1", "noise.ASection lacks title, order, facts, render;"),
        (PART + "facts = len", "noise.ASection lacks render;"),
        (PART + "facts = render = lambda self: 1", r"facts does not take \(context\)"),
        (PART + "facts = render = lambda self, c: 1", r"render does not take \(found, context\)"),
    ],
)
def test_what_a_section_lacks_is_named(source, complaint):
    with pytest.raises(ValueError, match=complaint):
        sections.of(module(source))


def test_every_section_tells_its_method_from_how_many_evaluations_and_from_which_seed():
    """What has numbers has them; what draws at random names the seed."""
    context = fill(Builder(), 60, initial=30).context()
    methods = to_json(context)["methods"]
    facts = {name: context[type(section)] for name, section in sections.found()}
    shown = [name for name, f in facts.items() if f != () and not isinstance(f, Missing)]
    assert {"verdict", "importance", "effects", "landscape", "trust", "budget"} <= {*shown}
    random = {"progress", "winner", "importance", "effects", "regions", "landscape", "budget"}
    for name in shown:
        method = methods[name]
        assert method["how"], name
        assert method["n"], name
        drawn = re.search(r"drawn (at|from)|draws|random|bootstrap", method["how"])
        assert (method["seed"] is not None) >= bool(drawn or name in random), name
