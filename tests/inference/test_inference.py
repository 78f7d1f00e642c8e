"""The choice of a transformation, and what the model of inference is made from."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spot_dask.inference import evidence, infer
from spot_dask.inference.transform import NAMES, candidates, transform, unfit
from spot_dask.records import History, Import, Origin, Trial
from spot_dask.space import Real, Space

SPACE = Space(x=Real(0.0, 1.0, default=0.5), w=Real(0.0, 1.0, default=0.5))


def history(y: list[float], origin: Origin = Origin.INFILL, seed: int = 5) -> History:
    rng = np.random.default_rng(0)
    known = History()
    for i, value in enumerate(y):
        config = {"x": float(rng.random()), "w": float(rng.random())}
        trial = Trial(i, config, seed, origin=origin)
        known = known.ask([trial]).tell(trial.result(value))
    return known


@given(st.lists(st.floats(1e-6, 1 - 1e-6), min_size=1, max_size=9))
def test_transformations_are_undone_and_keep_the_order(values: list[float]) -> None:
    v = np.array(values)
    for option in candidates(v, maximised=True):
        np.testing.assert_allclose(option.back(option.forward(v)), v, rtol=1e-6, atol=1e-9)
        h = 1e-6 * v * (1 - v)
        slope = (option.forward(v + h) - option.forward(v - h)) / (2 * h)
        np.testing.assert_allclose(np.log(slope), option.log_jacobian(v), atol=1e-3)


def test_values_say_what_is_possible() -> None:
    assert [t.name for t in candidates(np.array([0.2, 0.9]), True)] == list(NAMES)
    assert [t.name for t in candidates(np.array([0.2, 9.0]))] == ["identity", "log", "sqrt"]
    assert [t.name for t in candidates(np.array([-0.2, 9.0]))] == ["identity"]
    assert [t.name for t in candidates(np.array([0.0, 1.0]), True)] == ["identity", "logit"]
    # A loss that has been below 1 so far is no share, and nothing bounds it by 1.
    loss = candidates(np.array([0.02, 0.9]))
    assert [t.name for t in loss] == ["identity", "log", "sqrt"]
    assert {t.high for t in loss} == {np.inf}
    assert transform("logit", np.array([0.02, 0.9])).high == 1.0
    assert "positive" in unfit("log", np.array([0.0, 1.0]))
    with pytest.raises(ValueError, match="log needs positive values; the least is -1"):
        transform("log", np.array([-1.0, 1.0]))


def test_nothing_is_said_beyond_what_the_objective_can_be() -> None:
    share, loss = (transform("identity", np.array(v), True) for v in ([0.5, 1.0], [0.5, 3.0]))
    assert list(share.back(np.array([-1.0, 2.0]))) == [0.0, 1.0]
    assert list(loss.back(np.array([-1.0, 5.0]))) == [0.0, 5.0]


def test_the_scale_on_which_errors_are_alike_is_chosen() -> None:
    rng = np.random.default_rng(3)
    X = rng.random((40, 2))
    smooth = 2 * np.sin(3 * X[:, 0]) + X[:, 1]
    for name, v in (
        ("log", np.exp(2 * smooth + 0.1 * rng.standard_normal(40))),
        ("identity", smooth - smooth.min() + 0.3 + 0.1 * rng.standard_normal(40)),
    ):
        known = history(list(v))
        seen = evidence(SPACE, known, 1.0)
        seen.X[:] = X
        found = infer(seen, 1.0)
        assert found is not None
        assert found.transform.name == name, found.scores
        np.testing.assert_allclose(found.user(found.z), v, rtol=1e-6)
        np.testing.assert_allclose(found.internal(v), found.z, atol=1e-6)


def test_what_confirms_is_no_evidence_and_what_fills_the_space_is_marked() -> None:
    known = history([1.0, 2.0, 3.0], Origin.DESIGN)
    last = Trial(3, {"x": 0.5, "w": 0.5}, 77, origin=Origin.CONFIRM)
    known = known.ask([last]).tell(last.result(-50.0))
    seen = evidence(SPACE, known, 1.0)
    assert list(seen.v) == [1.0, 2.0, 3.0]
    assert seen.filling.all()


def test_values_of_a_seed_share_a_block_and_imported_ones_have_their_own() -> None:
    known = history([1.0, 2.0])
    other = Trial(2, {"x": 0.1, "w": 0.5}, 77, 1, Origin.REPLICATE)
    known = known.ask([other]).tell(other.result(4.0))
    known = History(known.evaluations, imports=(Import({"x": 0.2, "w": 0.1}, 3.0, "run", 0),))
    seen = evidence(SPACE, known, 1.0)
    assert list(seen.v) == [3.0, 1.0, 2.0, 4.0]
    assert list(seen.blocks) == [0, 1, 1, 2]
    assert list(seen.numbers) == [-1, 0, 1, 2]


def test_a_maximised_objective_is_shown_as_it_is() -> None:
    accuracy = [0.5, 0.7, 0.9, 0.95, 0.99, 0.8]
    seen = evidence(SPACE, history([-a for a in accuracy]), -1.0)
    found = infer(seen, -1.0)
    assert found is not None
    np.testing.assert_allclose(seen.v, accuracy)
    np.testing.assert_allclose(found.user(found.z), accuracy, rtol=1e-9)
    assert found.z[4] == min(found.z)
    assert found.user(np.array([-50.0, 50.0])).tolist() == pytest.approx([1.0, 0.0], abs=1e-6)


def test_too_little_is_no_model() -> None:
    assert infer(evidence(SPACE, history([1.0, 2.0]), 1.0), 1.0) is None
    assert infer(evidence(SPACE, History(), 1.0), 1.0) is None


def test_equal_values_make_a_model_that_knows_no_difference() -> None:
    found = infer(evidence(SPACE, history([2.0] * 8), 1.0), 1.0)
    assert found is not None
    mean, sd = found.predict(np.full((1, 2), 0.5))
    assert np.isfinite([mean, sd]).all()
