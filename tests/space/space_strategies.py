"""Random spaces, rows of theirs, and one space to try things on."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
from hypothesis import strategies as st

from spot_dask.space import Categorical, Integer, Parameter, Real, Space

LEVELS = (False, True, 0, 1, 2, 0.5, 1.5, "sgd", "adam", "rms prop", "")


def text(value: Any) -> str:
    """JSON text, which unlike == tells True, 1 and 1.0 apart."""
    return json.dumps(value)


@st.composite
def bounds(draw: st.DrawFn, positive: bool) -> tuple[float, float]:
    """From 1e-12 to 1e12, around and far from zero, wide and narrow."""
    low = draw(st.floats(1.0, 9.999)) * 10.0 ** draw(st.integers(-12, 12))
    if draw(st.booleans()):
        low = float(f"{low:.2g}")
    if not positive:
        low *= draw(st.sampled_from((-1.0, 0.0, 1.0)))
    width = draw(st.floats(1.0, 9.999)) * 10.0 ** draw(st.integers(-12, 12))
    high = low + width
    if high == low:
        high = math.nextafter(low, math.inf)
    return low, high


@st.composite
def reals(draw: st.DrawFn) -> Real:
    scale = draw(st.sampled_from(("linear", "log")))
    low, high = draw(bounds(positive=scale == "log"))
    default = draw(st.floats(low, high))
    return Real(low, high, default=default, scale=scale, held=draw(st.integers(0, 9)) == 0)


@st.composite
def integers(draw: st.DrawFn) -> Integer:
    scale = draw(st.sampled_from(("linear", "log", "power2")))
    held = draw(st.integers(0, 9)) == 0
    if scale == "power2":
        first, steps = draw(st.integers(0, 30)), draw(st.integers(0, 9))
        default = 2 ** (first + draw(st.integers(0, steps)))
        return Integer(2**first, 2 ** (first + steps), default=default, scale=scale, held=held)
    small = st.integers(1 if scale == "log" else -100, 100)
    low = draw(small | st.integers(1, 10**11))
    high = low + draw(st.integers(0, 5) | st.integers(0, 10**11))
    return Integer(low, high, default=draw(st.integers(low, high)), scale=scale, held=held)


@st.composite
def categoricals(draw: st.DrawFn) -> Categorical:
    levels = draw(st.lists(st.sampled_from(LEVELS), min_size=1, max_size=6, unique_by=text))
    default = draw(st.sampled_from(levels))
    ordered, held = draw(st.booleans()), draw(st.integers(0, 9)) == 0
    return Categorical(levels, default=default, ordered=ordered, held=held)


def conditioned(draw: st.DrawFn, child: Any, earlier: dict[str, Parameter]) -> Any:
    parents = draw(st.lists(st.sampled_from(sorted(earlier)), max_size=2, unique=True))
    when = {}
    for name in parents:
        parent = earlier[name]
        values = [parent.default]
        if not isinstance(parent, Real):
            last = int(parent.size) - 1
            codes = draw(st.lists(st.integers(0, last), min_size=1, max_size=3))
            values = [parent.value(code) for code in codes]
        when[name] = values
    return child.when(**when)


@st.composite
def spaces(draw: st.DrawFn, of: Any = None, most: int = 5) -> Space:
    kind = reals() | integers() | categoricals() if of is None else of
    parameters: dict[str, Parameter] = {}
    for i in range(draw(st.integers(1, most))):
        parameter = draw(kind)
        if parameters and draw(st.booleans()):
            parameter = conditioned(draw, parameter, parameters)
        parameters[f"p{i}"] = parameter
    return Space(parameters)


EDGES = np.array([0.0, 5e-324, 0.5, math.nextafter(1.0, 0.0), 1.0])


@st.composite
def rows(draw: st.DrawFn, space: Space, n: int = 8) -> np.ndarray:
    """Rows of anything in [0, 1], a fourth of it on the edges; drawn at once, since it is quick."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    X = rng.random((n, space.d))
    return np.where(rng.random(X.shape) < 0.25, rng.choice(EDGES, X.shape), X)


@st.composite
def spaces_and_rows(draw: st.DrawFn) -> tuple[Space, np.ndarray]:
    space = draw(spaces())
    return space, draw(rows(space))


few_values = (
    st.builds(
        lambda low, k, d: Integer(low, low + k, default=low + min(d, k)),
        st.integers(-3, 3),
        st.integers(0, 3),
        st.integers(0, 3),
    )
    | categoricals()
)


def example() -> Space:
    return Space(
        lr=Real(1e-4, 1.0, default=1e-2, scale="log"),
        width=Integer(16, 256, default=64, scale="power2"),
        dropout=Real(0, 0.5, default=0.1),
        opt=Categorical(["sgd", "adam", "rmsprop"], default="adam"),
        momentum=Real(0, 0.99, default=0.9).when(opt="sgd"),
        nesterov=Categorical([False, True], default=True).when(opt=("sgd", "rmsprop")),
        batch=Integer(8, 128, default=32, scale="log"),
    )
