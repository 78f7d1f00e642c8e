"""Studies with known truth under noise of known law, to judge statements by.

A training of a configuration with the true level f shows f + sd e (``multiplied``: f exp(sd e)),

    e = sqrt(shared) E(seed) + sqrt(1 - shared) own error,

where E is an effect that all trainings of one seed have in common; both parts have the same shape,
with mean 0 and, but for rare divergence, variance 1. Everything is minimised.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache

import numpy as np

from benchmarks.problems import FloatArray, stream
from spot_dask import Categorical, Integer, Real, Space
from spot_dask.records import Configuration, Evaluation, History, Origin, Stage, Trial
from spot_dask.tuner import Tuner
from spot_dask.tuner.confirmation import LEAST, default_failed, seeds_of

REPEATS = 2
"""Early replicates of the default and the best so far, as a run has by default."""

DRAWS = 4096
_DIVERGING = 0.05  # share of trainings whose error is a jump
_JUMP = 10.0


def _skewed(rng: np.random.Generator, n: int) -> FloatArray:
    """Log-normal with sigma 0.5, as seed-to-seed errors of real trainings look."""
    sigma = 0.5
    centre = math.exp(sigma**2 / 2)
    spread = centre * math.sqrt(math.expm1(sigma**2))
    drawn: FloatArray = (np.exp(sigma * rng.standard_normal(n)) - centre) / spread
    return drawn


def _diverging(rng: np.random.Generator, n: int) -> FloatArray:
    """Normal, and once in twenty a jump of ten standard deviations."""
    jumps = _JUMP * (rng.random(n) < _DIVERGING)
    drawn: FloatArray = rng.standard_normal(n) + jumps - _JUMP * _DIVERGING
    return drawn


SHAPES: Mapping[str, Callable[[np.random.Generator, int], FloatArray]] = {
    "normal": lambda rng, n: rng.standard_normal(n),
    "t3": lambda rng, n: rng.standard_t(3, n) / math.sqrt(3),
    "skewed": _skewed,
    "diverging": _diverging,
}


@dataclass(frozen=True)
class Noise:
    """What trainings of one configuration differ by; ``multiplied`` noise is normal."""

    sd: float
    shape: str = "normal"
    multiplied: bool = False
    shared: float = 0.46

    def value(self, level: FloatArray | float, e: FloatArray | float) -> FloatArray:
        """What trainings show."""
        spread = np.asarray(self.sd * np.asarray(e))
        return level * np.exp(spread) if self.multiplied else level + spread

    def mean(self, level: float) -> float:
        """Expectation over seeds and errors."""
        return level * math.exp(self.sd**2 / 2) if self.multiplied else level

    def mixed(self, effect: FloatArray | float, error: FloatArray | float) -> FloatArray:
        """e of an effect of the seed and an error of the training."""
        parts = math.sqrt(self.shared) * np.asarray(effect), np.asarray(error)
        return np.asarray(parts[0] + math.sqrt(1 - self.shared) * parts[1])

    def pairs(self) -> tuple[FloatArray, FloatArray]:
        """Draws of e (DRAWS each) of two configurations under the same seeds."""
        effect, first, second = _parts(self.shape)
        return self.mixed(effect, first), self.mixed(effect, second)


@cache
def _parts(shape: str) -> tuple[FloatArray, FloatArray, FloatArray]:
    rng = stream("noise", shape)
    return tuple(SHAPES[shape](rng, DRAWS) for _ in range(3))  # type: ignore[return-value]


@dataclass(frozen=True)
class Scenario:
    """A space, the true level of each configuration (infinite where it fails), and noise.

    ``fresh``: every training of the search has a seed of its own, not that of its replicate.
    """

    name: str
    space: Space
    level: Callable[[Configuration], float]
    noise: Noise
    fresh: bool = False

    def mean(self, config: Configuration) -> float:
        """The expectation of a training."""
        return self.noise.mean(self.level(config))

    def beats(self, tuned: Configuration, default: Configuration) -> float:
        """The probability that tuned is better than the default on a new seed; ties are halves."""
        first, second = self.noise.pairs()
        mine, other = self.level(tuned), self.level(default)
        gap = self.noise.value(other, second) - self.noise.value(mine, first)
        tied = np.abs(gap) <= 1e-12 * abs(mine)
        return float(np.mean((gap > 0) & ~tied) + np.mean(tied) / 2)

    def typical(
        self, configs: list[Configuration], forward: Callable[[FloatArray], FloatArray]
    ) -> FloatArray:
        """The expectation of transformed trainings of k configurations (k).

        Trainings that the transformation has no value for are left out; NaN where all are such.
        """
        e = self.noise.pairs()[0]
        with np.errstate(invalid="ignore", divide="ignore"):
            moved = [forward(self.noise.value(self.level(config), e)) for config in configs]
        kept = [values[np.isfinite(values)] for values in moved]
        return np.array([np.mean(values) if len(values) else np.nan for values in kept])


@dataclass
class Trainer:
    """Trains: the values of one run of a scenario."""

    scenario: Scenario
    run: int
    _effects: dict[int, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.rng = stream(self.scenario.name, self.run)

    def __call__(self, trial: Trial) -> Evaluation:
        noise, level = self.scenario.noise, self.scenario.level(trial.config)
        draw = SHAPES[noise.shape]
        if trial.seed not in self._effects:
            self._effects[trial.seed] = float(draw(self.rng, 1)[0])
        e = noise.mixed(self._effects[trial.seed], float(draw(self.rng, 1)[0]))
        return trial.result(float(noise.value(level, e)) if math.isfinite(level) else math.nan)


@dataclass(frozen=True, eq=False)
class Searched:
    """A search, what it recommends, and how many seeds confirm that by default."""

    history: History
    best: Configuration
    seeds: int


def sizes(budget: int) -> tuple[int, int]:
    """Trials of the search and seeds of the confirmation; small budgets are confirmed afterwards.

    As ``spot-dask confirm`` does with those that a run does not confirm.
    """
    seeds = seeds_of(None, budget)
    return budget - 2 * seeds, seeds or LEAST


@dataclass
class _Tried:
    """A configuration of the stand-in: its row (d) and its evaluations."""

    row: FloatArray
    evaluations: list[Evaluation]

    @property
    def observed(self) -> float:
        """Mean of its values; infinite where one failed."""
        values = [e.y for e in self.evaluations]
        return sum(values) / len(values) if all(map(math.isfinite, values)) else math.inf


@dataclass
class _StandIn:
    """A search under way."""

    scenario: Scenario
    train: Trainer
    tried: dict[bytes, _Tried] = field(default_factory=dict)
    done: list[Evaluation] = field(default_factory=list)

    def add(self, row: FloatArray, origin: Origin) -> None:
        """Train the configuration of a snapped row (d)."""
        space, number = self.scenario.space, len(self.done)
        one = self.tried.setdefault(space.row_keys(row[None])[0], _Tried(row, []))
        r = len(one.evaluations)
        seed = 10_000 + number if self.scenario.fresh else r
        config = one.evaluations[0].trial.config if r else space.decode(row[None])[0]
        one.evaluations.append(self.train(Trial(number, config, seed, r, origin)))
        self.done.append(one.evaluations[-1])

    def best(self, count: int = 1) -> list[_Tried]:
        """The best by their mean values."""
        return sorted(self.tried.values(), key=lambda one: one.observed)[:count]

    def repeat(self, count: int) -> None:
        """Replicates of the default and the best, in turn, as a run has early by default."""
        default = next(iter(self.tried.values()))
        for i in range(count):
            failed = math.isinf(default.observed)
            self.add((self.best()[0] if i % 2 or failed else default).row, Origin.REPLICATE)

    def step(self) -> None:
        """A random configuration in every third trial, else one near the best; never one again.

        In a space of fewer configurations than trials: the best four in turn, when all are known.
        """
        space, rng, n = self.scenario.space, self.train.rng, len(self.done)
        if len(self.tried) >= space.size:
            best = self.best(4)
            self.add(best[n % len(best)].row, Origin.REPLICATE)
            return
        while True:
            row = rng.random(space.d) if n % 3 == 0 else _near(self.best()[0].row, rng)
            snapped = space.snap(row[None])
            if space.row_keys(snapped)[0] not in self.tried:
                self.add(snapped[0], Origin.INFILL)
                return


def cheap_search(
    scenario: Scenario, budget: int, train: Trainer, repeats: int = REPEATS
) -> Searched:
    """A stand-in for the tuner that costs next to nothing.

    Random configurations, then steps around the best that was observed, in turn with more random
    ones; the best mean observed is recommended, as it is. So what it chooses flatters itself at
    least as much as the tuner's choice, which a model has smoothed.
    """
    space, search = scenario.space, _StandIn(scenario, train)
    n, seeds = sizes(budget)
    search.add(space.snap(space.encode([space.default]))[0], Origin.DEFAULT)
    for row in space.snap(train.rng.random((min(n // 2, 2 * space.d) - 1, space.d))):
        search.add(row, Origin.DESIGN)
    search.repeat(repeats)
    while len(search.done) < n:
        search.step()
    best = search.best()[0].evaluations[0].trial.config
    return Searched(History(tuple(search.done)), best, seeds)


def _near(row: FloatArray, rng: np.random.Generator) -> FloatArray:
    """A step from a row (d), in some of the parameters."""
    d = len(row)
    moved = rng.random(d) < max(0.4, 1.5 / d)
    near = np.where(moved, np.clip(row + 0.15 * rng.standard_normal(d), 0.0, 1.0), row)
    anywhere = moved & (rng.random(d) < 0.2)
    return np.where(anywhere, rng.random(d), near)


def real_search(scenario: Scenario, budget: int, train: Trainer, q: int = 4) -> Searched:
    """The tuner itself, q trials at a time."""
    n, seeds = sizes(budget)
    tuner = Tuner(scenario.space, seed=train.run, budget=budget, repeats=REPEATS, confirm=None)
    history = History()
    while history.asked < n:
        trials = tuner.ask(history, min(q, n - history.asked))
        history = history.ask(trials)
        for trial in trials:
            history = history.tell(train(trial))
    (best,) = tuner.finalists(history)
    confirms = tuner.ask(history, 2 * seeds, Stage("confirm", seeds))
    assert {tuple(t.config.items()) for t in confirms} <= {
        tuple(c.items()) for c in (best.config, scenario.space.default)
    }
    return Searched(history, best.config, seeds)


def confirmed(searched: Searched, space: Space, train: Trainer, start: int) -> History:
    """The history with confirmations of the best and the default under seeds from ``start`` on."""
    history = searched.history
    configs = [] if default_failed(history) else [space.default]
    if dict(searched.best) != dict(space.default) or not configs:
        configs.append(searched.best)
    listed = [(config, r) for r in range(searched.seeds) for config in configs]
    trials = [
        Trial(history.asked + i, config, -1 - start - r, r, Origin.CONFIRM)
        for i, (config, r) in enumerate(listed)
    ]
    return History((*history.evaluations, *(train(trial) for trial in trials)))


def _space(**defaults: object) -> Space:
    space = Space(
        lr=Real(1e-4, 1.0, scale="log", default=1e-2),
        wd=Real(1e-6, 1e-1, scale="log", default=1e-4),
        width=Integer(16, 256, scale="log", default=64),
        drop=Real(0.0, 0.6, default=0.2),
        opt=Categorical(["sgd", "adam", "rms"], default="sgd"),
        mom=Real(0.0, 0.99, default=0.9),
    )
    return space.modify(**{name: {"default": value} for name, value in defaults.items()})


_KINDS = {"sgd": 0.1, "adam": 0.0, "rms": 0.15}
_USUAL = _space()
_BEST = _space(lr=10**-2.8, wd=1e-3, width=128, drop=0.3, opt="adam", mom=0.6)
_BAD = _space(lr=1.5e-4, wd=1e-5, width=20, drop=0.5, opt="rms", mom=0.2)
_FEW = Space(
    opt=Categorical(["sgd", "adam", "rms"], default="sgd"),
    batch=Categorical([32, 64], default=32, ordered=True),
)


def _distance(c: Configuration) -> float:
    """How far a configuration is from the best one, where it is 0."""
    step = math.log10(c["lr"]) + (2.8 if c["opt"] == "adam" else 2.3)
    width, decay = math.log2(c["width"]) - 7, math.log10(c["wd"]) + 3
    smooth = 0.5 * step**2 + 0.1 * width**2 + 0.02 * decay**2
    return smooth + 0.3 * (c["drop"] - 0.3) ** 2 + _KINDS[c["opt"]] + 0.2 * (c["mom"] - 0.6) ** 2


def _sum(c: Configuration) -> float:
    return 0.5 + _distance(c)


def _product(c: Configuration) -> float:
    """A positive loss over orders of magnitude, which diverges and then fails for large steps."""
    if c["lr"] > 0.5:
        return math.inf
    edge = 5 * max(0.0, math.log10(c["lr"]) + 0.7)
    return 0.05 * math.exp(1.2 * _distance(c)) + edge**2


def _few(c: Configuration) -> float:
    return 0.5 + _KINDS[c["opt"]] + 0.04 * (c["batch"] == 32)


def _scenarios() -> list[Scenario]:
    add, large = Noise(0.05), Noise(0.2)
    times, more = Noise(0.05, multiplied=True), Noise(0.3, multiplied=True)
    return [
        Scenario("sum, exact", _USUAL, _sum, Noise(0.0)),
        Scenario("sum, small noise", _USUAL, _sum, add),
        Scenario("sum, large noise", _USUAL, _sum, large),
        Scenario("product, exact", _USUAL, _product, Noise(0.0)),
        Scenario("product, small noise", _USUAL, _product, times),
        Scenario("product, large noise", _USUAL, _product, more),
        Scenario("default is best", _BEST, _sum, large),
        Scenario("default is best, product", _BEST, _product, more),
        Scenario("pure noise", _USUAL, lambda c: 1.0, large),
        Scenario("bad default", _BAD, _product, Noise(0.1, multiplied=True)),
        Scenario("t3 noise", _USUAL, _sum, Noise(0.2, "t3")),
        Scenario("skewed noise", _USUAL, _sum, Noise(0.2, "skewed")),
        Scenario("1 in 20 diverges", _USUAL, _sum, Noise(0.05, "diverging")),
        Scenario("no effect of seeds", _USUAL, _sum, Noise(0.2, shared=0.0)),
        Scenario("fresh seeds", _USUAL, _sum, large, fresh=True),
        Scenario("fresh seeds, product", _USUAL, _product, more, fresh=True),
        Scenario("6 configurations", _FEW, _few, Noise(0.1)),
        Scenario("6 configurations, pure noise", _FEW, lambda c: 1.0, large),
    ]


SCENARIOS = {scenario.name: scenario for scenario in _scenarios()}
