"""What early stopping saved and cost, as the report tells it."""

from __future__ import annotations

import math
from typing import Any

import pytest
from report_studies import Builder
from test_gain_section import words

from spot_dask.records import Origin, Status
from spot_dask.report.context import Missing
from spot_dask.report.sections.stopping import StoppingSection
from spot_dask.space import Integer, Real, Space

SPACE = Space(x=Real(0.0, 1.0, default=0.9), n=Integer(5, 80, default=20))


def study(spared: list[float], stopped: int, direction: str = "min", **settings: Any) -> Builder:
    """Five that finish after 20 epochs, best value 1; some are stopped after 4, some are spared."""
    b = Builder(space=SPACE, direction=direction, settings={"early_stopping": "rank", **settings})
    for i in range(5):
        b.tell({"x": 0.9 - i / 100, "n": 20}, 1.0 + i, curves={"val_loss": (1.0,) * 20})
    b.tell({"x": 0.1, "n": 20}, -9.0, origin=Origin.CONFIRM, curves={"val_loss": (1.0,) * 20})
    for i in range(stopped):
        b.tell(
            {"x": 0.2 + i / 100, "n": 40}, status=Status.STOPPED, curves={"val_loss": (1.0,) * 4}
        )
    for i, y in enumerate(spared):
        b.tell({"x": 0.5 + i / 100, "n": 20}, y, spared=4, curves={"val_loss": (1.0,) * 20})
    return b


def told(b: Builder) -> tuple[Any, str]:
    context = b.context(model=None)
    found = context[StoppingSection]
    return found, " ".join(words(StoppingSection().render(found, context)))


def test_of_what_chance_let_go_on_those_better_than_the_best_are_the_price() -> None:
    found, page = told(study([0.5, 3.0, math.nan, 9.0], stopped=8))
    assert (found.n, found.stopped, found.epochs, found.saved) == (17, 8, 32, 128)
    assert found.best == 1.0
    assert (found.spared.n, found.spared.better, found.spared.gain) == (4, 1, 0.5)
    assert "rank stopped 8 of 17 trainings early, which took 32 epochs" in page
    assert "would have taken 128 more" in page
    assert "1 became better than the best other one" in page
    assert "So about 2 (95 %: 0 to 6) of the 8 that were stopped would have." in page


def test_a_better_accuracy_is_a_higher_one() -> None:
    found, page = told(study([0.5, 3.0], stopped=1, direction="max"))
    assert found.best == -1.0
    assert found.spared.better == 1
    assert "val_loss -1" in page


def test_where_a_parameter_holds_the_length_what_was_saved_is_known() -> None:
    found, _ = told(study([2.0], stopped=3, length="n"))
    assert found.saved == 3 * 36


def test_without_any_that_went_on_by_chance_the_price_is_not_known() -> None:
    found, page = told(study([], stopped=3))
    assert found.spared is None
    assert "What it cost is not known" in page
    context = study([], stopped=0).context(model=None)
    missing = context[StoppingSection]
    assert missing == Missing("no training was stopped early")


@pytest.mark.parametrize("stopped", [0, 1])
def test_few_are_told_in_the_singular(stopped: int) -> None:
    _, page = told(study([2.0], stopped=stopped))
    assert f"stopped {stopped} of" in page
    assert "Of 1 training that" in page
