"""Extreme numbers: histories at the ends of what floats can be, through all that reads them.

A case is what a study may have measured: objectives, learning curves, metrics, time stamps and
seeds, in a space of ranges near their limits. It is written into a store and read the way that
users do. Whatever raises, warns or is no number where there could be one is a complaint.
"""

from __future__ import annotations

import json
import logging
import math
import random
import tempfile
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np

from spot_dask import baselines, early_stopping, errors, infill, plugins
from spot_dask.early_stopping.ruler import Ruler
from spot_dask.records import (
    Asked,
    Closed,
    Entry,
    Evaluation,
    Expected,
    Header,
    History,
    Import,
    Imported,
    Objective,
    Origin,
    Outcome,
    Status,
    Told,
    Trial,
)
from spot_dask.report import sections
from spot_dask.report.context import Missing
from spot_dask.run import Run
from spot_dask.space import Categorical, Integer, Real, Space
from spot_dask.store.export import FORMATS
from spot_dask.store.journal import Journal
from spot_dask.tuner import Tuner

Floats = np.ndarray
Make = Callable[[int, np.random.Generator], Floats]

LARGEST = 1.7976931348623157e308
LEAST = 5e-324


def _one(odd: float, others: Make) -> Make:
    def make(n: int, rng: np.random.Generator) -> Floats:
        y = others(n, rng)
        y[n // 3] = odd
        return y

    return make


def _uniform(n: int, rng: np.random.Generator) -> Floats:
    return rng.random(n)


def _equal(value: float) -> Make:
    return lambda n, rng: np.full(n, value)


OBJECTIVES: Mapping[str, Make] = {
    "ordinary": _uniform,
    "tiny": lambda n, rng: 1e-300 * rng.random(n),
    "denormal": lambda n, rng: LEAST * rng.integers(0, 10, n),
    "huge": lambda n, rng: 1e308 * rng.random(n),
    "both ends": lambda n, rng: LARGEST * np.sign(rng.random(n) - 0.5),
    "squares overflow": lambda n, rng: 1e160 * (rng.random(n) - 0.5),
    "squares underflow": lambda n, rng: 1e-170 * rng.random(n),
    "any magnitude": lambda n, rng: 10.0 ** rng.uniform(-320, 308, n),
    "half of them huge": lambda n, rng: np.where(np.arange(n) % 2, 1e308, 1.0) * rng.random(n),
    "one huge": _one(LARGEST, _uniform),
    "one hugely good": _one(-LARGEST, _uniform),
    "equal but for one": _one(1e-300, _equal(0.0)),
    "one denormal": _one(LEAST, _equal(1.0)),
    "all zero": _equal(0.0),
    "all the largest": _equal(LARGEST),
    "all the least": _equal(LEAST),
}

SPACES: Mapping[str, Callable[[], Space]] = {
    "ordinary": lambda: Space(
        a=Real(0, 1), b=Real(1e-3, 1, scale="log"), c=Categorical(["x", "y"])
    ),
    "widest": lambda: Space(a=Real(-1e150, 1e150), b=Real(1e-150, 1e150, scale="log")),
    "least": lambda: Space(a=Real(0, 1e-150), b=Real(-1e-150, 1e-150)),
    "neighbours": lambda: Space(
        a=Real(1.0, math.nextafter(1, 2), scale="log"), b=Real(1e16, 1e16 + 4)
    ),
    "neighbours at the ends": lambda: Space(
        a=Real(math.nextafter(1e150, 0), 1e150, scale="log"),
        b=Real(1e-150, math.nextafter(1e-150, 1)),
    ),
    "integers": lambda: Space(
        a=Integer(-(10**12), 10**12),
        b=Integer(1, 10**12, scale="log"),
        c=Integer(1, 2**39, scale="power2"),
    ),
    "steps": lambda: Space(a=Real(-1e150, 1e150, step=1e149), b=Real(0, 1)),
}

Curve = Callable[[float, int], Sequence[float]]
CURVES: Mapping[str, Curve] = {
    "falling": lambda y, i: (y / 2 + abs(y) / 2, y),
    "none": lambda y, i: (),
    "not finite": lambda y, i: (math.nan, math.inf, -math.inf, y)[i % 4 :],
    "huge": lambda y, i: (LARGEST, -LARGEST, 1e308, y),
    "of any magnitude": lambda y, i: (LEAST, 1e-300, 1.0, 1e300, math.nan, y),
}

TIMES: Mapping[str, Callable[[int], tuple[float, float]]] = {
    "ordinary": lambda i: (1.7e9 + 10 * i, 1.7e9 + 10 * i + 20 + i % 5),
    "zero": lambda i: (0.0, 0.0),
    "no time": lambda i: (1.7e9, 1.7e9),
    "negative": lambda i: (-1e12 + i, -1e12),
    "far": lambda i: (1e18, 1e18 + 1024 * (i % 3)),
    "the end of time": lambda i: (0.0, LARGEST),
    "both ends of time": lambda i: (-LARGEST, LARGEST),
    "a long training": lambda i: (1.7e9, 1e300 * (i % 2)),
    "not known": lambda i: (math.nan, math.inf),
}

METRICS: Mapping[str, Callable[[float, int], Mapping[str, float]]] = {
    "test value": lambda y, i: {"test_loss": y},
    "none": lambda y, i: {},
    "huge": lambda y, i: {"test_loss": LARGEST, "size": 1e308 * (i % 2), "zero": -0.0},
    "tiny": lambda y, i: {"size": LEAST * i, "other": 1e-300},
    "not finite": lambda y, i: {"test_loss": math.nan, "size": math.inf, "other": -math.inf},
}
LIMITS: Mapping[str, Mapping[str, str]] = {"none": {}, "huge": {"size": "<= 1e307"}}
SEEDS = (0, 2**31, 2**53 + 1, 2**63 - 2)


@dataclass(frozen=True)
class Case:
    """What a study has measured: names of the parts above."""

    objective: str = "ordinary"
    space: str = "ordinary"
    curve: str = "falling"
    time: str = "ordinary"
    metric: str = "test value"
    limits: str = "none"
    seed: int = 0
    direction: str = "min"
    imported: bool = False
    n: int = 16

    @classmethod
    def drawn(cls, chance: random.Random) -> Case:
        """Any case."""
        return cls(
            *(
                chance.choice(list(part))
                for part in (OBJECTIVES, SPACES, CURVES, TIMES, METRICS, LIMITS)
            ),
            chance.choice(SEEDS),
            chance.choice(["min", "max"]),
            chance.random() < 0.3,
            chance.choice([3, 9, 16, 26]),
        )


@dataclass(frozen=True)
class Made:
    """The entries of a case, and its history."""

    space: Space
    header: Header
    entries: Sequence[Entry]
    history: History


def made(case: Case, confirmed: int = 4) -> Made:
    """The study of a case, with so many fresh seeds of the default and the best."""
    space, rng = SPACES[case.space](), np.random.default_rng(1)
    y = OBJECTIVES[case.objective](case.n, rng)
    sign = 1.0 if case.direction == "min" else -1.0
    configs = space.decode(space.snap(rng.random((case.n, space.d))))
    configs[0] = space.default
    plan = [(config, float(v), i % 2, case.seed + i % 2) for i, (config, v) in
            enumerate(zip(configs, y, strict=True))]  # fmt: skip
    again = [
        (config, float(v), 0, case.seed) for config, v in zip(configs[1:3], y[:2], strict=True)
    ]
    fresh = [
        (config, float(y[(7 * r + k) % case.n]), r, 1000 + r)
        for r in range(confirmed)
        for k, config in enumerate((space.default, configs[int(y.argmin())]))
    ]
    history, entries = History(), list[Entry]()
    if case.imported:
        items = [Import(c, float(v), "other", i) for i, (c, v) in enumerate(
            zip(space.decode(space.snap(rng.random((3, space.d)))), y, strict=False))]  # fmt: skip
        for mode in ("data", "prior"):
            entry = Imported(f"{mode}.zarr", [i for i in items], mode=mode)
            entries.append(entry)
            history = history.take_over(entry)
    for number, (config, v, replicate, seed) in enumerate([*plan, *again, *fresh]):
        origin = Origin.DEFAULT if number == 0 else Origin.DESIGN if number < 6 else Origin.INFILL
        if number >= len(plan):
            origin = Origin.REPLICATE
        if number >= len(plan) + len(again):
            origin = Origin.CONFIRM
        expected = Expected(float(y[(number - 1) % case.n]), abs(float(y[number % case.n])))
        trial = Trial(number, config, seed, replicate, origin,
                      expected if origin is Origin.INFILL else None)  # fmt: skip
        curve = tuple(float(sign * u) for u in CURVES[case.curve](v, number))
        metrics = {"loss": sign * v, **METRICS[case.metric](sign * v, number)}
        begun, ended = TIMES[case.time](number)
        outcome = Outcome(Status.OK, v, metrics, {"loss": curve, "more": curve[::-1]}, begun, ended,
                          f"worker-{number % 3}", "cpu")  # fmt: skip
        evaluation = Evaluation(trial, outcome)
        entries += [Asked([trial], number, 1), Told(evaluation)]
        history = history.ask([trial]).tell(evaluation)
    settings = {"seed": case.seed, "budget": {"evaluations": 60, "wall": None},
                "constraints": dict(LIMITS[case.limits])}  # fmt: skip
    header = Header("f00d", "extremes", 1.7e9, space.to_json(), space.hash, "loss", case.direction,
                    settings, {}, {"spot-dask": "1"})  # fmt: skip
    return Made(space, header, [*entries, Closed("budget")], history)


class Complaints:
    """What was wrong, in lines; each names where."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    @contextmanager
    def about(self, what: str) -> Iterator[None]:
        """Note what raises, warns or is logged as a warning in the context."""
        errors._said.clear()  # what is said once per process is heard every time
        told = Listening(self.lines, what)
        logger = logging.getLogger("spot_dask")
        logger.addHandler(told)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                yield
        except Exception as error:
            frames = traceback.extract_tb(error.__traceback__)
            own = [f for f in frames if "spot_dask/" in f.filename] or frames
            where = f"{own[-1].filename.rpartition('spot_dask/')[2]}:{own[-1].lineno}"
            self.lines.append(f"{what}: {type(error).__name__}: {error} ({where})")
        finally:
            logger.removeHandler(told)

    def unless(self, fine: bool, what: str) -> None:
        """Note what is not so."""
        if not fine:
            self.lines.append(what)


class Listening(logging.Handler):
    """Writes down what is logged from warnings on."""

    def __init__(self, lines: list[str], what: str) -> None:
        super().__init__(logging.WARNING)
        self._lines, self._what = lines, what

    def emit(self, record: logging.LogRecord) -> None:
        """Note a record."""
        self._lines.append(f"{self._what}: logged: {record.getMessage()}")


def proposals(case: Case, criteria: Sequence[str], ways: Sequence[str]) -> list[str]:
    """What is wrong with what the criteria, and other ways to search, propose next."""
    found, study = Complaints(), made(case, confirmed=0)
    objective = Objective("loss", case.direction)
    common = {"seed": case.seed, "budget": 60, "objective": objective}
    limits = LIMITS[case.limits]
    tuner = Tuner(study.space, constraints=limits, **common)
    for name in criteria:
        with found.about(f"infill {name}"):
            for trial in Tuner(study.space, infill=name, constraints=limits, **common).ask(
                study.history, 2
            ):
                found.unless(trial.origin is not Origin.FALLBACK, f"infill {name}: a fallback")
                said = trial.expected
                fine = said is None or (math.isfinite(said.mean) and math.isfinite(said.sd))
                found.unless(fine, f"infill {name}: expects {said}")
    for name in ways:
        with found.about(f"search {name}"):
            trials = Tuner(study.space, search=name, **common).ask(study.history, 2)
            few = len({tuple(t.config.values()) for t in trials}) < len(trials)
            found.unless(not few, f"search {name}: the same trial twice")
    with found.about("recommendation"):
        model = tuner.model(study.history)
        found.unless(model is not None, "there is no model")
        best = tuner.recommend(study.history, model)
        found.unless(best is not None and math.isfinite(best.expected), f"recommends {best}")
    return found.lines


def rules(case: Case) -> list[str]:
    """What is wrong with what rules of early stopping say of a training among the others."""
    found, study = Complaints(), made(case, confirmed=0)
    ruler = Ruler(Objective("loss", case.direction), study.space, None)
    curves = ruler.ended(study.history.evaluations)
    for name in plugins.names(early_stopping.__name__, "stops"):
        with found.about(f"early stopping {name}"):
            rule = early_stopping.find(name)
            for curve in curves:
                for end in range(1, len(curve.values) + 1):
                    cut = early_stopping.Curve(curve.values[:end], features=curve.features)
                    rule.stops(cut, [c for c in curves if c is not curve])
            predicts = getattr(rule, "predicts", None)
            if predicts is not None:
                predicts(curves, curves)
    return found.lines


def pages(case: Case, folder: Path) -> list[str]:
    """What is wrong with what is told of the run of a case: statements, tables, report, exports."""
    found, study = Complaints(), made(case)
    path = folder / "extreme.zarr"
    past = [(1.7e9 + i, entry) for i, entry in enumerate(study.entries)]
    Journal.create(path, study.header, durability="process", past=past).close()
    run = Run.open(path)
    with found.about("status"):
        json.dumps(run.status(), allow_nan=False)
    for what, tell in {
        "best": lambda: run.best_json(run.best),
        "luckiest": lambda: run.luckiest,
        "notebook": lambda: (run._repr_html_(), str(run.table()), run.history._repr_html_()),
        "frame": lambda: (run.to_dataframe(), run.curves(), run.to_xarray()),
    }.items():
        with found.about(what):
            tell()
    with found.about("context"):
        context = run.context
        for name, section in sections.found():
            with found.about(f"section {name}"):
                facts = context[type(section)]
                if not isinstance(facts, Missing):
                    section.render(facts, context)
        with found.about("report"):
            run.report(folder / "report.html")
    for kind in FORMATS:
        with found.about(f"export {kind}"):
            run.export(kind, folder / f"e.{kind}")
    return found.lines


def attempt(case: Case) -> list[str]:
    """All complaints about a case."""
    criteria = [n for n in plugins.names(infill.__name__, "propose") if "per_second" not in n]
    ways = plugins.names(baselines.__name__, "propose")
    with tempfile.TemporaryDirectory() as folder:
        parts = (proposals(case, criteria, ways) if case.n > 3 else [], rules(case),
                 pages(case, Path(folder)))  # fmt: skip
    return [line for part in parts for line in part]


@click.command(context_settings={"show_default": True})
@click.option("--cases", default=40, help="How many, after one for each name of each part.")
@click.option("--seed", default=0)
def main(cases: int, seed: int) -> None:
    """Try extreme studies, print what raises or warns; exit 1 if anything does."""
    chance = random.Random(seed)
    each: dict[str, Any] = {"objective": OBJECTIVES, "space": SPACES, "curve": CURVES,
                            "time": TIMES, "metric": METRICS, "limits": LIMITS}  # fmt: skip
    all_cases = [Case(**{part: name}) for part, names in each.items() for name in names]
    all_cases += [Case.drawn(chance) for _ in range(cases)]
    bad = 0
    for case in all_cases:
        lines = attempt(case)
        bad += bool(lines)
        for line in lines:
            click.echo(f"{case}\n    {line}")
    click.echo(f"{len(all_cases)} cases, {bad} with complaints")
    raise SystemExit(1 if bad else 0)


if __name__ == "__main__":
    main()
