"""What Python and notebooks show of our values: short, escaped, and no more than is known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from spot_dask import (
    Budget,
    Categorical,
    FunctionTask,
    History,
    Integer,
    Real,
    Run,
    Space,
    Study,
    Tuner,
)
from spot_dask.cards import MOST, Card

HOSTILE = "<script>alert(1)</script>\n\x1b[2J"

SPACE = Space(
    x=Real(0.001, 1.0, default=0.5, scale="log"),
    width=Integer(8, 32, default=16, scale="power2"),
    kind=Categorical(["<b>", "c"], default="<b>"),
    rate=Real(0.0, 1.0, default=0.5).when(kind="c"),
)


def loss(cfg: Any) -> float:
    if cfg.x > 0.9:
        raise ValueError("too large")
    return float(abs(cfg.x - 0.3) + (0.1 if cfg.kind == "c" else 0.0))


@pytest.fixture(scope="module")
def study() -> Study:
    return Study(SPACE, FunctionTask(loss), name=HOSTILE, seed=3, repeats=0)


@pytest.fixture(scope="module")
def plain(study: Study, tmp_path_factory: pytest.TempPathFactory) -> Run:
    store = tmp_path_factory.mktemp("plain") / "run.zarr"
    return study.run(Budget(evaluations=24), local=0, store=store)


@pytest.fixture(scope="module")
def confirmed(study: Study, tmp_path_factory: pytest.TempPathFactory) -> Run:
    store = tmp_path_factory.mktemp("confirmed") / "run.zarr"
    return study.run(Budget(evaluations=26), local=0, store=store)


@pytest.mark.parametrize("name", ["run", "study", "best", "space", "history"])
def test_what_is_shown_is_one_short_line_and_escaped_html(
    name: str, study: Study, plain: Run
) -> None:
    shown = {
        "run": plain,
        "study": study,
        "best": plain.best,
        "space": study.space,
        "history": plain.history,
    }[name]
    line, html = repr(shown), shown._repr_html_()  # type: ignore[union-attr]
    assert len(line) < 400
    assert line.isprintable()
    assert "<script" not in html
    assert "<b>" not in html
    assert "\x1b" not in html
    assert html.count("<table") == html.count("</table>") == 1
    assert len(html) < 20_000


def test_no_interval_is_shown_before_confirmation(plain: Run, confirmed: Run) -> None:
    html = plain._repr_html_()
    assert "unconfirmed" in html
    assert " to " not in html
    found = confirmed.confirmed
    assert found is not None
    html = confirmed._repr_html_()
    assert "unconfirmed" not in html
    assert "confirmed by 5 fresh seeds" in html
    assert f"{found.value.t.low:.4g} to {found.value.t.high:.4g}" in html


def test_the_table_of_a_run_holds_what_the_history_does(plain: Run) -> None:
    table = plain.table()
    evaluations = sorted(plain.history.evaluations, key=lambda e: e.trial.number)
    assert len(table) == len(evaluations) == 24
    assert table.columns[:5] == ("trial", "origin", "status", plain.header.objective, "seconds")
    for row, e in zip(table, evaluations, strict=True):
        assert row[:4] == (
            e.trial.number, e.trial.origin, e.outcome.status, e.y if e.ok else None,
        )  # fmt: skip
        assert row[5:] == tuple(e.trial.config.get(name) for name in SPACE.names)
    assert table[0][0] == 0
    lines = repr(table).splitlines()
    assert len(lines) == MOST + 3
    assert lines[-1] == f"{MOST} of 24 shown"
    assert table._repr_html_().count("<tr>") == MOST + 1


def test_a_maximised_objective_is_shown_in_its_own_sign(tmp_path: Path) -> None:
    task = FunctionTask(lambda cfg: 5.0 + cfg.x, direction="max")
    run = Study(SPACE, task).run(Budget(evaluations=3), local=0, store=tmp_path / "r.zarr")
    assert all(row[3] >= 5 for row in run.table())
    assert "observed -" not in run._repr_html_()


def test_counts_of_a_history_and_an_empty_one() -> None:
    assert repr(History()) == "History(empty)"
    trials = Tuner(SPACE).ask(History(), 3)
    history = History().ask(trials).tell(trials[0].result(1.0)).tell(trials[1].result(float("nan")))
    assert repr(history) == "History(1 ok, 1 failed, 1 pending)"


@pytest.mark.parametrize(
    ("parameter", "code"),
    [
        (Real(0, 1, default=0.5), "Real(0.0, 1.0, default=0.5)"),
        (Integer(1, 8, default=2, scale="power2"), "Integer(1, 8, default=2, scale='power2')"),
        (Categorical(["a", 1], default=1, ordered=True).when(k="x", n=[1, 2]).hold("a"),
         "Categorical(['a', 1], default='a', ordered=True).when(k='x', n=[1, 2]).hold('a')"),
    ],
)  # fmt: skip
def test_a_parameter_is_shown_as_it_is_written(parameter: Any, code: str) -> None:
    assert repr(parameter) == code
    assert eval(code) == parameter


def test_a_space_is_cut_after_a_few_parameters() -> None:
    space = Space({f"x{i}": Real(0, 1, default=0) for i in range(30)})
    assert repr(space).endswith("x7=Real(0.0, 1.0, default=0.0), and 22 more)")
    assert eval(repr(SPACE)) == SPACE


def test_a_card_without_a_table_is_a_title_and_lines() -> None:
    assert repr(Card("a", ["b"])) == "a\nb"
    assert Card("a", ["<i>"])._repr_html_() == "<div><strong>a</strong><div>&lt;i&gt;</div></div>"
