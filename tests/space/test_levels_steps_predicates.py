"""Spaces as people have them: names for any value, steps, dots, centres, predicates."""

import copy
import json
import pickle
from typing import Any

import numpy as np
import pytest

from spot_dask import baselines
from spot_dask.baselines import Known
from spot_dask.infill.candidates import KnownRows, make_pool
from spot_dask.records import Evaluation, History, Outcome, Status
from spot_dask.settings import Design
from spot_dask.space import Categorical, Config, Integer, Real, Space
from spot_dask.space.predicates import Predicate, parsed
from spot_dask.tuner import Tuner
from spot_dask.tuner.design import initial_design


class Wide:
    """A class as a level."""


def deep() -> None:
    """A function as a level."""


LEVELS = Space(
    size=Categorical({"none": None, "64x64": (64, 64), "odd": np.arange(3)}),
    net=Categorical([Wide, deep, None, (1, 2)], default=None),
    lr=Real(0, 1).when(size="64x64"),
)


# --- named levels


def test_a_level_is_stored_by_its_name_and_trained_as_what_it_stands_for() -> None:
    config = LEVELS.validate({"size": "64x64", "net": Wide})
    assert config == {"size": "64x64", "net": "Wide", "lr": 0.5}
    assert json.loads(json.dumps(config)) == config
    assert LEVELS.meant(config) == {"size": (64, 64), "net": Wide, "lr": 0.5}
    assert LEVELS.default == {"size": "none", "net": "None"}
    assert LEVELS.meant(LEVELS.default) == {"size": None, "net": None}


def test_a_level_may_be_given_by_its_value_or_its_name() -> None:
    for given in ((64, 64), "64x64"):
        assert LEVELS.validate({"size": given})["size"] == "64x64"
    assert LEVELS.validate({"size": None})["size"] == "none"
    assert LEVELS.validate({"net": (1, 2)})["net"] == "(1, 2)"
    with pytest.raises(ValueError, match=r"size: \(64, 65\) .tuple. is not a level; give one of"):
        LEVELS.validate({"size": (64, 65)})


def test_a_value_that_is_compared_elementwise_is_a_level_by_its_name() -> None:
    assert LEVELS.meant(LEVELS.validate({"size": "odd"}))["size"].tolist() == [0, 1, 2]


def test_what_names_stand_for_survives_copies_and_changes_but_is_not_stored() -> None:
    copies = (copy.deepcopy(LEVELS), pickle.loads(pickle.dumps(LEVELS)), LEVELS.fix(net="Wide"))
    for space in (*copies, LEVELS.modify(size={"levels": ["64x64", "none"], "default": "none"})):
        assert space.meanings["size"]["64x64"] == (64, 64)
    stored = Space.from_json(json.loads(json.dumps(LEVELS.to_json())))
    assert stored == LEVELS
    assert stored.meanings == {}
    assert stored.meant({"size": "64x64"}) == {"size": "64x64"}


def test_conditions_may_name_a_level_by_its_value() -> None:
    space = Space(
        net=Categorical([Wide, None]),
        width=Integer(1, 9).when(net=Wide),
        x=Real(0, 1).when(net=None),
    )
    assert space.validate({"net": Wide}) == {"net": "Wide", "width": 5}
    assert space.validate({"net": None}) == {"net": "None", "x": 0.5}


# --- steps


@pytest.mark.parametrize(
    ("parameter", "values"),
    [
        (Real(0, 1, step=0.25), [0.0, 0.25, 0.5, 0.75, 1.0]),
        (Real(0.1, 0.7, step=0.2), [0.1, 0.3, 0.5, 0.7]),
        (Real(-0.3, 0.3, step=0.1), [-0.3, -0.2, -0.1, 0.0, 0.1, 0.2, 0.3]),
        (Integer(16, 128, step=16), [16, 32, 48, 64, 80, 96, 112, 128]),
        (Integer(3, 9, step=3), [3, 6, 9]),
    ],
)
def test_only_multiples_of_the_step_are_possible(parameter: Any, values: list[float]) -> None:
    space = Space(x=parameter)
    u = np.random.default_rng(0).random((400, 1))
    drawn = [config["x"] for config in space.decode(u)]
    assert sorted(set(drawn)) == values
    assert space.size == len(values) == len(space.grid())
    assert not space.continuous[0]
    for value in values:
        again = space.decode(space.encode([{"x": value}]))
        assert again == [{"x": value}]
        assert type(again[0]["x"]) is type(value)
    counts = np.unique(drawn, return_counts=True)[1]
    assert counts.min() > 400 / len(values) / 3  # cells of equal width


def test_decimal_dust_is_taken_for_the_step_and_anything_else_is_refused() -> None:
    space = Space(x=Real(0, 1, step=0.1))
    assert space.validate({"x": 0.1 + 0.2}) == {"x": 0.3}
    step = r"x: 0.25 is no multiple of the step 0.1 above 0.0; nearest are 0.2 and 0.3"
    with pytest.raises(ValueError, match=f"{step}$"):
        space.validate({"x": 0.25})
    step = "x: 5 is no multiple of the step 2 above 0; nearest are 4 and 6"
    with pytest.raises(ValueError, match=f"{step}$"):
        Space(x=Integer(0, 8, step=2)).validate({"x": 5})


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: Real(0, 1, step=0.3),
            "high 1.0 is no multiple of the step 0.3 .* nearest are 0.9 and 1.2",
        ),
        (lambda: Integer(0, 9, step=2), "nearest are 8 and 10"),
        (lambda: Real(0, 1, step=0), "step 0.0 is not positive"),
        (lambda: Real(0, 1, step=-0.1), "step -0.1 is not positive"),
        (lambda: Real(0, 1, step="a"), "step 'a' .str. is not a number"),
        (lambda: Integer(0, 9, step=0), "step 0 is not positive"),
        (lambda: Integer(0, 9, step=1.5), "step 1.5 .float. is not an integer"),
        (lambda: Real(0.1, 1, step=0.1, scale="log"), "step 0.1 does not fit the log scale"),
        (lambda: Integer(1, 8, step=2, scale="power2"), "step 2 does not fit the power2 scale"),
        (lambda: Real(0, 1, step=0.5, default=0.4), "default 0.4 is no multiple"),
    ],
)
def test_a_wrong_step_is_refused_in_one_line(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        make()
    assert "\n" not in str(caught.value)


# --- centres


def test_a_default_that_is_not_given_is_the_centre_on_the_scale() -> None:
    space = Space(
        a=Real(0, 3),
        b=Real(1e-5, 1e-1, scale="log"),
        c=Integer(8, 512, scale="power2"),
        d=Categorical(["x", "y", "z"]),
        e=Categorical([1, 2, 3], ordered=True),
        f=Real(0, 1, default=0),
    )
    assert space.default == {"a": 1.5, "b": 1e-3, "c": 64, "d": "x", "e": 2, "f": 0.0}
    assert space.centred == ("a", "b", "c", "d", "e")


def test_a_centre_moves_with_the_range_and_a_given_default_does_not() -> None:
    space = Space(a=Real(0, 2), b=Real(0, 2, default=1))
    changed = space.modify(a={"low": 1}, b={"low": 0.5})
    assert changed.default == {"a": 1.5, "b": 1.0}
    assert space.modify(a={"default": 0.5}).centred == ()


def test_the_same_value_given_as_a_default_is_the_same_space() -> None:
    centred, given = Space(a=Real(0, 2)), Space(a=Real(0, 2, default=1))
    assert centred == given
    assert centred.difference(given) == []
    assert Space.from_json(centred.to_json()).centred == ("a",)


# --- names with dots


def test_a_name_with_dots_is_a_key_and_an_attribute_of_an_attribute() -> None:
    config = Config({"optim.lr": 0.1, "model.init_args.lr": 0.2, "seed": 3})
    assert config["optim.lr"] == config.optim.lr == 0.1
    assert config.model.init_args.lr == 0.2
    assert dict(config.optim) == {"lr": 0.1}
    with pytest.raises(AttributeError, match="no active parameter 'opt'"):
        _ = config.opt


@pytest.mark.parametrize("name", ["a.", ".a", "a..b", "a.1", "a b.c", ""])
def test_an_odd_name_with_dots_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="is not a parameter name"):
        Space({name: Real(0, 1)})


def test_no_name_is_a_parameter_and_a_group() -> None:
    with pytest.raises(ValueError, match=r"optim: is the name of a group, too, that of optim\.lr"):
        Space({"optim": Real(0, 1), "optim.lr": Real(0, 1)})


# --- predicates

ORDERED = Space(low=Integer(0, 10, default=2), high=Integer(0, 10, default=9), x=Real(0, 1))


def test_an_expression_and_a_function_say_the_same() -> None:
    X = ORDERED.snap(np.random.default_rng(0).random((300, 3)))
    by_text = ORDERED.where("low < high and x <= .5").allowed(X)
    by_call = ORDERED.where(lambda c: c.low < c.high and c.x <= 0.5, "as above").allowed(X)
    expected = [c["low"] < c["high"] and c["x"] <= 0.5 for c in ORDERED.decode(X)]
    assert by_text.tolist() == by_call.tolist() == expected


@pytest.mark.parametrize(
    ("text", "values", "holds"),
    [
        ("a + 2 * b <= 8", {"a": 2, "b": 3}, True),
        ("a % 2 == 1 or b // 2 == 1", {"a": 2, "b": 3}, True),
        ("not a == b", {"a": 2, "b": 2}, False),
        ("1 < a < b", {"a": 2, "b": 2}, False),
        ("kind in ('x', 'y')", {"kind": "x"}, True),
        ("kind != 'x'", {"kind": "x"}, False),
        ("optim.lr > 0", {"optim.lr": 0.1}, True),
        ("-a < 0", {"a": 1}, True),
        ("flag", {"flag": False}, False),
        ("a < missing", {"a": 1}, True),  # what is not active holds
    ],
)
def test_expressions(text: str, values: dict[str, Any], holds: bool) -> None:
    assert Predicate(text).holds(values) is holds


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('true')", "a.__class__()", "[x for x in a] == a", "lambda: a",
        "a if b else a", "f'{a}' == a", "a ** a ** a < 1", "a << 9 < 1", "a[0] < 1", "(b := a) < 1",
        "a <", "", "1", "a + 1", "a" * 501, "a; b", "await a", "b'x' == a",
    ],
)  # fmt: skip
def test_nothing_but_a_comparison_is_an_expression(text: str) -> None:
    with pytest.raises(ValueError, match=r"^where ") as caught:
        parsed(text)
    assert "\n" not in str(caught.value)


def test_no_text_grows_by_an_expression() -> None:
    with pytest.raises(ValueError, match=r"cannot be told of .* kind is 'x', no number"):
        Predicate("kind * 1000000000 == kind").holds({"kind": "x"})


@pytest.mark.parametrize(
    ("condition", "text", "message"),
    [
        ("lwo < high", None, "names 'lwo', which is no parameter; did you mean 'low'"),
        ("low > high", None, "default: 'low > high' does not hold for low = 2, high = 9"),
        (lambda c: True, None, "a function needs its text"),
        (lambda c: c.lwo < 3, "t", "'t' cannot be told of .* no active parameter 'lwo'"),
        ("low < high", "two", "two texts"),
        (3, None, "where 3 is no condition"),
        (
            "low == 2 and high == 9 and x == 0.5",
            None,
            "none of 4096 random configurations meets it",
        ),
    ],
)
def test_a_wrong_predicate_is_refused_in_one_line(condition: Any, text: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        ORDERED.where(condition, text)
    assert "\n" not in str(caught.value)


def test_a_store_keeps_expressions_and_the_texts_of_functions() -> None:
    space = ORDERED.where("low < high").where(lambda c: c.x < 0.7, "x is small")
    data = json.loads(json.dumps(space.to_json()))
    stored = Space.from_json(data)
    assert stored == space
    assert data["where"] == ["low < high", {"function": "x is small"}]
    assert [p.known for p in stored.predicates] == [True, False]
    X = stored.encode([{"low": 3, "high": 2, "x": 0}, {"low": 2, "high": 3, "x": 0.9}])
    assert stored.allowed(X).tolist() == [False, True]
    assert space.allowed(X).tolist() == [False, False]
    assert space.difference(ORDERED) == [
        "where low < high: only here",
        "where x is small: only here",
    ]


@pytest.mark.parametrize("data", [3, {"text": "low < high"}, {"function": 3}, ["low < high"]])
def test_a_store_with_an_odd_predicate_is_refused(data: Any) -> None:
    with pytest.raises(ValueError, match="where"):
        Space.from_json({**ORDERED.to_json(), "where": [data]})


NARROW = ORDERED.where("high == low + 1 or (low == 2 and high == 9)").where("x < .5 or low == 2")


@pytest.mark.parametrize("kind", ["lhs", "sobol"])
def test_designs_obey(kind: Any) -> None:
    configs = initial_design(NARROW, Design(kind, 12), (), np.random.default_rng(0))
    assert len(configs) == 12
    assert [NARROW.validate(c) for c in configs] == configs


def test_pools_and_exchanges_obey() -> None:
    rng = np.random.default_rng(0)
    known = KnownRows(NARROW, NARROW.encode([NARROW.default]), frozenset())
    pool, _ = make_pool(known, known.rows, 256, rng)
    assert len(pool) >= 128  # although one of twenty is allowed
    assert NARROW.allowed(pool).all()


@pytest.mark.parametrize(
    ("search", "infill"),
    [("spot", name) for name in ("log_ei", "averaged_ei", "thompson")]
    + [(name, "log_ei") for name in ("random", "sobol", "grid", "evolution", "pattern")],
)
def test_every_search_obeys(search: str, infill: str) -> None:
    tuner = Tuner(NARROW, design=Design(initial=6), search=search, infill=infill, budget=20)
    history = History()
    for _ in range(3):
        trials = tuner.ask(history, 4)
        assert len(trials) == 4
        history = history.ask(trials)
        for trial in trials:
            assert NARROW.validate(trial.config) == dict(trial.config)
            y = float(trial.config["x"]) + float(trial.config["low"])
            history = history.tell(Evaluation(trial, Outcome(Status.OK, y)))


class Stubborn:
    """A criterion of somebody's own that knows nothing of predicates."""

    def propose(self, posterior: Any, request: Any, rng: np.random.Generator) -> Any:
        return request.space.snap(rng.random((request.q, request.space.d)))


def test_a_criterion_that_does_not_obey_is_filled_up() -> None:
    tuner = Tuner(NARROW, design=Design(initial=6), infill=Stubborn())
    history = History()
    for _ in range(2):
        trials = tuner.ask(history, 6)
        assert [NARROW.validate(t.config) for t in trials] == [dict(t.config) for t in trials]
        history = history.ask(trials)
        for trial in trials:
            history = history.tell(Evaluation(trial, Outcome(Status.OK, float(trial.config["x"]))))


def test_a_small_space_is_counted_and_listed_without_what_is_excluded() -> None:
    space = Space(a=Integer(0, 3), b=Integer(0, 3)).where("a <= b")
    assert space.size == len(space.grid()) == 10
    known = Known(space, *[np.empty((0, 2)), np.empty(0), np.empty((0, 2))], 0, 20)
    found = baselines.find("random")
    assert found is not None
    assert len(found.propose(known, 16, np.random.default_rng(0))) <= 10


def test_centres_that_a_predicate_excludes_are_named() -> None:
    space = Space(low=Integer(1, 10), high=Integer(1, 10))
    with pytest.raises(
        ValueError, match="low, high: the centre, as no default was given; give one"
    ):
        space.where("low < high")
    with pytest.raises(ValueError, match="none of 4096 random configurations meets it"):
        space.where("low > 20")


def test_a_condition_may_name_what_a_level_stands_for() -> None:
    crop = Categorical({"none": None, "64x64": (64, 64)})
    for given in ([None], None, ["none"]):
        space = Space(crop=crop, y=Real(0, 1).when(crop=given))
        assert space.parameters["y"].conditions == (("crop", ("none",)),)
    assert Space.from_json(space.to_json()).names == ("crop", "y")
