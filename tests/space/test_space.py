"""The search space: configurations and rows of the unit cube are two forms of the same thing."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sizes import size
from space_strategies import example, reals, spaces_and_rows, text

from spot_dask.space import Categorical, Integer, Real, Space


@pytest.fixture
def space() -> Space:
    return example()


@settings(max_examples=size(60, 200), deadline=None)
@given(spaces_and_rows())
def test_rows_and_configurations_are_two_forms_of_the_same(drawn: Any) -> None:
    space, X = drawn
    configs, snapped = space.decode(X), space.snap(X)
    rows = space.encode(configs)
    assert text(space.decode(rows)) == text(configs)
    assert text([space.validate(config) for config in configs]) == text(configs)
    # Bit for bit, once and for all, and the same for a row alone.
    assert snapped.tobytes() == rows.tobytes() == space.snap(snapped).tobytes()
    assert snapped.tobytes() == np.vstack([space.snap(row[None]) for row in X]).tobytes()
    assert ((snapped >= 0) & (snapped <= 1)).all()


@settings(max_examples=size(60, 200), deadline=None)
@given(st.data(), reals())
def test_a_real_anywhere_between_its_bounds_is_rounded_once_and_for_all(
    data: st.DataObject, real: Real
) -> None:
    space = Space(x=Real(real.low, real.high, default=real.default, scale=real.scale))
    asked = [real.low, real.high, *data.draw(st.lists(st.floats(real.low, real.high)))]
    for value in asked:
        config = space.validate({"x": value})
        assert abs(config["x"] - value) <= 1e-9 * max(real.high - real.low, 0)
        assert text(space.validate(config)) == text(config)
        assert text(space.decode(space.encode([config]))) == text([config])
    assert space.validate({"x": real.low}) == {"x": real.low}
    assert space.validate({"x": real.high}) == {"x": real.high}


@pytest.mark.parametrize("scale", ["linear", "log"])
@pytest.mark.parametrize(
    ("low", "high"),
    [
        (1e6, 1e6 + 1e-3),
        (1e12, 1e12 + 1e-3),
        (1 / 3, 2 / 3),
        (0.12345678905, 0.98765432105),
        (999.9999999, 1000.0000001),
        (1e-12, 1e12),
        (1e-150, 1e150),
        (1.0, math.nextafter(1.0, 2.0)),
        (9.99999999999, 10.00000000001),
        (5e-5, 1.0000000005),
    ],
)
def test_awkward_ranges_round_trip_and_reach_their_bounds(
    low: float, high: float, scale: Any
) -> None:
    space = Space(x=Real(low, high, default=low, scale=scale))
    edges = np.array([[0.0], [1.0], [5e-324], [1 - 2**-53], [0.5]])
    X = np.vstack([edges, np.random.default_rng(0).random((5000, 1))])
    configs = space.decode(X)
    assert configs[0] == {"x": low}
    assert configs[1] == {"x": high}
    assert space.decode(space.encode(configs)) == configs
    assert [space.validate(c) for c in configs[:200]] == configs[:200]
    distinct = {c["x"] for c in configs}
    assert len(set(space.row_keys(space.snap(X)))) == len(distinct)


@pytest.mark.parametrize("odd", range(1, 40, 2))
def test_bounds_half_way_between_two_lattice_points_are_kept(odd: int) -> None:
    low, high = odd * 0.5e-10, 2 + odd * 0.5e-10
    space = Space(x=Real(low, high, default=1))
    for bound in (low, high):
        assert space.validate({"x": bound}) == {"x": bound}
        assert space.decode(space.encode([{"x": bound}])) == [{"x": bound}]


def test_reals_are_short_decimal_numbers_where_that_is_possible() -> None:
    space = Space(x=Real(0, 1, default=0.5), y=Real(1e-4, 1, default=0.1, scale="log"))
    for config in space.decode(np.random.default_rng(0).random((1000, 2))):
        assert len(repr(config["x"]).removeprefix("0.")) <= 10
        assert float(f"{config['y']:.10g}") == config["y"]


def test_the_log_scale_places_the_geometric_mean_in_the_middle() -> None:
    space = Space(x=Real(1e-4, 1, default=0.1, scale="log"), k=Integer(1, 100, default=1))
    assert space.encode([{"x": 1e-2}])[0, 0] == pytest.approx(0.5)
    assert space.encode([{"k": 1}, {"k": 100}])[:, 1].tolist() == [0.005, 0.995]


@pytest.mark.parametrize("scale", ["linear", "log"])
def test_integers_have_cells_that_cover_the_unit_interval(scale: Any) -> None:
    space = Space(k=Integer(1, 12, default=3, scale=scale))
    u = np.linspace(0, 1, 1001)[:, None]
    values = [c["k"] for c in space.decode(u)]
    assert values == sorted(values)
    assert set(values) == set(range(1, 13))
    counts = [values.count(k) for k in range(1, 13)]
    if scale == "linear":
        assert max(counts) - min(counts) <= 1
    else:
        expected = np.log((np.arange(1, 13) + 0.5) / (np.arange(1, 13) - 0.5)) / math.log(25)
        assert np.abs(np.array(counts) / 1001 - expected).max() < 2 / 1001


def test_powers_of_two_are_cells_of_equal_width() -> None:
    space = Space(width=Integer(16, 128, default=64, scale="power2"))
    assert [c["width"] for c in space.decode([[0.1], [0.3], [0.6], [0.9]])] == [16, 32, 64, 128]
    assert space.encode([{"width": 64}]).tolist() == [[0.625]]


def test_rows_outside_the_unit_cube_or_of_another_width_are_refused(space: Space) -> None:
    for wrong in (np.full((1, 7), 1.5), np.full((1, 7), np.nan), np.zeros((1, 3)), np.zeros(7)):
        for method in (space.decode, space.snap, space.features, space.row_keys):
            with pytest.raises(ValueError, match="rows"):
                method(wrong)


def test_a_configuration_may_leave_out_what_is_at_its_default(space: Space) -> None:
    assert space.encode([{}]).tobytes() == space.encode([space.default]).tobytes()
    assert space.validate({}) == space.default
    # An inactive parameter that is given is dropped.
    assert space.validate({"momentum": 0.5}) == space.default
    assert space.encode([{"momentum": 0.5}]).tobytes() == space.encode([{}]).tobytes()


def test_numpy_scalars_are_taken_for_the_numbers_they_hold() -> None:
    space = Space(x=Real(np.float64(0), 1, default=0.5), k=Categorical(np.arange(3), default=1))
    config = space.validate({"x": np.float32(0.25), "k": np.int64(2)})
    assert text(config) == '{"x": 0.25, "k": 2}'
    assert space.validate({"x": 1}) == {"x": 1.0, "k": 1}
    assert type(space.validate({"x": 1})["x"]) is float


# Levels and types


def test_booleans_integers_and_floats_are_not_confused() -> None:
    flags, numbers = Categorical([False, True], default=True), Categorical([0, 1], default=1)
    assert flags != numbers
    assert Space(a=flags).hash != Space(a=numbers).hash
    both = Space(a=Categorical([0, True, 1, False, 2.0], default=1))
    decoded = both.decode(both.grid())
    assert text([c["a"] for c in decoded]) == "[0, true, 1, false, 2.0]"
    assert text(both.decode(both.encode(decoded))) == text(decoded)
    for space, wrong in ((Space(a=flags), 1), (Space(a=numbers), True), (Space(a=numbers), 1.0)):
        with pytest.raises(ValueError, match="is not a level"):
            space.validate({"a": wrong})
    assert text(both.validate({"a": 2})) == '{"a": 2.0}'


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Real(2, 1, default=1), "low 2.0 is above high 1.0"),
        (lambda: Integer(2, 1, default=1), "low 2 is above high 1"),
        (lambda: Real(0, 1, default=2), "default 2 is outside the bounds; give a number from 0.0"),
        (lambda: Real(0, 1, default=True), "default True .bool. is not a number"),
        (lambda: Real(0, 1, default=math.nan), "default nan is outside"),
        (lambda: Real(0, 1, default=0.5, scale="log"), "needs low > 0"),
        (lambda: Real(0, 1, default=0.5, scale="lgo"), "did you mean 'log'"),
        (lambda: Real(math.nan, 1, default=0.5), "low nan is not finite"),
        (lambda: Real(0, math.inf, default=0.5), "high inf is not finite"),
        (lambda: Real(0, 1e200, default=0.5), "high 1e.200 is too large"),
        (lambda: Real(0, 10**400, default=0.5), "too large"),
        (lambda: Real(0, 1e-200, default=0), "too close to zero"),
        (lambda: Real("0", 1, default=0), "low '0' .str. is not a number"),
        (lambda: Real(0, 1, default=0, held=1), "fixed 1 is not a boolean"),
        (lambda: Integer(0.0, 1, default=0), "low 0.0 .float. is not an integer"),
        (lambda: Integer(0, 2, default=1.0), "default 1.0 .float. is not an integer"),
        (lambda: Integer(False, 2, default=1), "low False .bool. is not an integer"),
        (lambda: Integer(0, 2, default=1, scale="log"), "needs low >= 1"),
        (lambda: Integer(0, 10**13, default=1), "high 10000000000000 is beyond"),
        (lambda: Integer(3, 8, default=4, scale="power2"), "low 3 .* the nearest are 2 and 4"),
        (lambda: Integer(2, 9, default=4, scale="power2"), "high 9 .* the nearest are 8 and 16"),
        (lambda: Integer(0, 8, default=4, scale="power2"), "low 0 .* the smallest is 1"),
        (lambda: Integer(2, 8, default=6, scale="power2"), "default 6 .* nearest are 4 and 8"),
        (lambda: Categorical([], default="a"), "levels is empty"),
        (lambda: Categorical("ab", default="a"), "'ab' is not a list"),
        (lambda: Categorical(["a", "b", "a"], default="a"), "'a' more than once"),
        (lambda: Categorical([1, 1.0], default=1), "1.0 more than once"),
        (
            lambda: Categorical(["a", object()], default="a"),
            "level <object .* has no name of its own",
        ),
        (lambda: Categorical([1.0, math.nan], default=1.0), "level nan .float. has no name"),
        (lambda: Categorical(["adam", "sgd"], default="adm"), "did you mean 'adam'"),
        (lambda: Categorical(["a"], default="a").when(x=[]), "condition on x has no values"),
        (lambda: Space(), "needs parameters, got none"),
        (lambda: Space({"a b": Real(0, 1, default=0)}), "'a b' is not a parameter name"),
        (lambda: Space(a=(0, 1)), "a: .0, 1. is not a parameter"),
    ],
)
def test_a_wrong_parameter_is_refused_in_one_line(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        make()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"learning": 1}, "no parameter 'learning', there are lr, width"),
        ({"widht": 1}, "did you mean 'width'"),
        ({"lr": "0.1"}, "lr: '0.1' .str. is not a number; give a number from 0.0001 to 1.0"),
        ({"lr": False}, "lr: False .bool."),
        ({"lr": 2}, "lr: 2 is outside the bounds"),
        ({"lr": math.nan}, "lr: nan is outside the bounds"),
        ({"width": 48}, "width: 48 is not a power of two; the nearest are 32 and 64"),
        ({"width": 64.0}, "width: 64.0 .float. is not an integer; give a power of two from 16"),
        ({"opt": "sdg"}, "opt: 'sdg' .str. is not a level; .* did you mean 'sgd'"),
        ({"opt": ["sgd"]}, "opt: .* is not a level"),
        ({"nesterov": 1}, "nesterov: 1 .int. is not a level; give one of False, True"),
    ],
)
def test_a_wrong_configuration_is_refused_naming_the_parameter(
    space: Space, config: dict[str, Any], message: str
) -> None:
    for refuse in (space.validate, lambda c: space.encode([space.default, c])):
        with pytest.raises(ValueError, match=message) as caught:
            refuse(config)
        assert "\n" not in str(caught.value)


def test_a_parameter_that_is_given_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="b: is given twice, by name and in the mapping; keep one"):
        Space({"a": Real(0, 1), "b": Real(0, 1)}, b=Real(0, 2))
