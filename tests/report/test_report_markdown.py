"""The report as Markdown and in a few lines: escaped, short, and saying what it leaves out."""

from __future__ import annotations

import pytest
from report_studies import Builder, fill

from spot_dask.records import Failure
from spot_dask.report import as_markdown, in_short
from spot_dask.report.blocks import (
    Cell,
    CheckList,
    Code,
    HealthCheck,
    Sentences,
    Text,
    how,
    table,
)
from spot_dask.report.markdown import MOST_ROWS, escaped, markdown
from spot_dask.report.summary import MOST, summary
from spot_dask.space import Categorical, Space

EVIL = "<script>alert(1)</script> @me #12 |x| `c` *b* $x$ [l](u)\n# h"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("val_loss = 0.3 (95 %: 0.2 to 0.4)", r"val\_loss = 0.3 (95 %: 0.2 to 0.4)"),
        ("a|b", r"a\|b"),
        ("<b>&", "&lt;b>&amp;"),
        ("@me", "@<!-- -->me"),
        ("see #12", "see #<!-- -->12"),
        ("- x\n# y", r"\- x # y"),
        ("1. x", r"1\. x"),
        ("$x^2$", r"\$x^2\$"),
    ],
)
def test_texts_are_shown_as_they_are(text, shown):
    assert escaped(text) == shown


def test_a_long_table_says_how_much_is_shown():
    rows = [(str(i), float(i)) for i in range(MOST_ROWS + 5)]
    document = markdown("t", "u", [("s", [table(("a", "b"), rows)])])
    assert f"*{MOST_ROWS} of {MOST_ROWS + 5} rows shown" in document
    assert "| a | b |\n| --- | ---: |\n| 0 | 0 |" in document


def test_code_cannot_leave_its_fence():
    document = markdown("t", "u", [("s", [Code("```\nx")])])
    assert "````\n```\nx\n````" in document


def test_how_numbers_were_computed_is_folded():
    document = markdown("t", "u", [("s", [how("By t.", n=5, seed=0)])])
    assert "<details><summary>How this was computed</summary>" in document
    assert "By t. n = 5; what is random is drawn from seed 0." in document


def test_only_a_command_of_ours_in_backticks_is_code():
    assert escaped("`spot-dask confirm STORE` does it") == "`spot-dask confirm STORE` does it"
    assert escaped("`spot-dask @me`") == r"\`spot-dask @<!-- -->me\`"
    assert escaped("`rm`") == r"\`rm\`"


def test_a_whole_report_is_short_enough_for_a_comment_and_escaped():
    space = Space(opt=Categorical([EVIL, "b"], default=EVIL))
    builder = Builder(space=space, name=EVIL, objective=EVIL)
    fill(builder, 14, lambda c: float(c["opt"] == "b"))
    builder.tell({}, error=Failure(EVIL, EVIL, EVIL))
    document = as_markdown(builder.context())
    assert len(document) < 65_536
    assert "<script" not in document
    assert "@me" not in document
    assert "\n# h" not in document.partition("## ")[2]
    assert all(line.count("|") >= 2 for line in document.splitlines() if line.startswith("| "))


def test_the_summary_has_at_most_twelve_lines_and_counts_what_it_leaves_out():
    checks = [HealthCheck("WARN", f"check {i}", "seen") for i in range(20)]
    checks += [HealthCheck("FAIL", "bad", "seen"), HealthCheck("PASS", "good", "seen")]
    lines = summary([Sentences([f"sentence {i}" for i in range(6)])], [CheckList(checks)])
    assert len(lines) == MOST
    assert lines[6] == "checks: 1 passed, 20 warnings, 1 failed"
    assert lines[7].startswith("FAIL  bad")
    shown = sum(line.startswith(("WARN", "FAIL")) for line in lines)
    assert lines[-1] == f"and {21 - shown} more in the report"
    assert summary([Text("none"), table(("a",), [[Cell("b")]])], []) == []


@pytest.mark.parametrize("n", [0, 1, 3, 20])
def test_every_study_has_a_summary(n):
    builder = Builder() if n == 0 else fill(Builder(), n)
    assert 1 <= len(in_short(builder.context(model=None))) <= MOST
