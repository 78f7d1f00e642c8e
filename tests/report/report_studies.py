"""Stores of made-up studies: what the report is a function of."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from types import SimpleNamespace

import numpy as np

from spot_dask.fold import Fold
from spot_dask.records import (
    Asked,
    Closed,
    Evaluation,
    Failure,
    Header,
    History,
    Opened,
    Origin,
    Outcome,
    Record,
    Status,
    Told,
    Trial,
)
from spot_dask.report import ReportContext, sections
from spot_dask.space import Categorical, Integer, Real, Space
from spot_dask.tuner import Tuner

MIXED = Space(
    lr=Real(1e-4, 1.0, default=1e-2, scale="log"),
    width=Integer(16, 256, default=64, scale="power2"),
    depth=Integer(1, 6, default=2),
    drop=Real(0.0, 0.6, default=0.5),
    opt=Categorical(["sgd", "adamw", "rmsprop"], default="sgd"),
    mom=Real(0.0, 0.99, default=0.0).when(opt="sgd"),
    norm=Categorical([False, True], default=False),
)


def bowl(config):
    """A loss with a clear optimum in lr, weaker effects elsewhere; fails for a huge lr."""
    lr = math.log10(config.get("lr", 1e-2))
    loss = 0.35 + 0.12 * (lr + 2.4) ** 2
    loss += 0.10 * (config.get("drop", 0.2) - 0.2) ** 2 * 4
    loss += {"sgd": 0.08, "adamw": 0.0, "rmsprop": 0.05}[config.get("opt", "sgd")]
    loss -= 0.02 * math.log2(config.get("width", 64) / 16) * (1 if lr < -1.5 else -1)
    loss -= 0.03 * config.get("mom", 0.0)
    return loss - (0.02 if config.get("norm") else 0.0)


def curve_to(y, rng, epochs=12):
    falling = y + 0.9 * np.exp(-np.arange(1, epochs + 1) / 3)
    noisy = falling + 0.01 * rng.normal(size=epochs)
    return tuple(float(v) for v in [*noisy[:-1], y])


@dataclass
class Builder:
    """Records of a study: evaluations told one by one, then model, best and findings."""

    space: Space = MIXED
    direction: str = "min"
    objective: str = "val_loss"
    name: str = "fashion"
    study: dict = field(default_factory=dict)
    extra: list = field(default_factory=list)
    settings: dict = field(default_factory=dict)

    def __post_init__(self):
        self.history = History()
        self.entries = [(0.0, Opened("host", 1)), *((0.5, e) for e in self.extra)]
        self.clock = 1.0
        self.ended = True

    def tell(self, config, y=math.nan, **more):
        """One more trial; ``y`` is minimised, NaN makes it a failure."""
        number = self.history.asked
        origin = more.pop("origin", Origin.DESIGN)
        origin = Origin.DEFAULT if number == 0 else origin
        seed, replicate = more.pop("seed", 1234), more.pop("replicate", 0)
        expected = more.pop("expected", None)
        trial = Trial(
            number, self.space.validate(config), seed, replicate, origin, expected=expected
        )
        seconds = more.pop("seconds", 20.0 + 7 * math.sin(number))
        ok, metrics = math.isfinite(y), more.pop("metrics", {})
        status = more.pop("status", Status.OK if ok else Status.FAILED)
        if status is Status.FAILED:
            more.setdefault("error", Failure("RuntimeError", "CUDA out of memory", ""))
        spared = more.pop("spared", 0)
        outcome = Outcome(
            status=status,
            y=y,
            metrics={self.objective: -y if self.direction == "max" else y, **metrics} if ok else {},
            started=1e9 + self.clock,
            finished=1e9 + self.clock + seconds,
            worker=f"gpu-{number % 3}",
            device="cuda:0",
            **more,
        )
        self.entries.append((self.clock, Asked([trial])))
        self.clock += seconds / 2.8
        evaluation = Evaluation(trial, outcome, spared=spared)
        self.entries.append((self.clock, Told(evaluation)))
        self.history = self.history.ask([trial]).tell(evaluation)
        return self

    def confirm(self, *finalists, seeds=5, f=bowl, noise=0.01, default=True):
        """Confirmations of the finalists and the default (the recommended one if none is given).

        ``f`` is minimised; a value that is NaN is a training that failed.
        """
        if not finalists:
            finalists = (Tuner(self.space).recommend(self.history, self.model()).config,)
        configs = [*([self.space.default] if default else []), *finalists]
        rng = np.random.default_rng(99)
        for r in range(seeds):
            shared = rng.normal()
            for config in configs:
                y = f(config) + noise * (shared + 0.5 * rng.normal())
                self.tell(config, y, origin=Origin.CONFIRM, replicate=r, seed=5000 + r)
        return self

    def header(self):
        return Header(
            run_id="0123456789abcdef",
            name=self.name,
            created=1.76e9,
            space=self.space.to_json(),
            space_hash=self.space.hash,
            objective=self.objective,
            direction=self.direction,
            settings={"seed": 7, "budget": {"evaluations": 40, "wall": None}, **self.settings},
            study=self.study,
            versions={"spot_dask": "0.1.0", "python": "3.11"},
        )

    def records(self):
        entries = (
            [*self.entries, (self.clock + 1, Closed("budget"))] if self.ended else self.entries
        )
        return [Record(i, 1, 1.76e9 + t, e) for i, (t, e) in enumerate(entries)]

    def model(self):
        return Tuner(self.space).model(self.history)

    def context(self, records=None, **more):
        """What the report is a function of; without a model if ``model=None``."""
        model = more.pop("model", ...)
        model = self.model() if model is ... else model
        best = Tuner(self.space).recommend(self.history, model)
        found = Fold.of(self.records() if records is None else records)
        return ReportContext(self.header(), found, model, best, **more)

    def facts(self, records=None, **more):
        return facts(self.context(records, **more))


def facts(context):
    """The facts of all sections by name, and those they share."""
    by_name = {name: context[type(section)] for name, section in sections.found()}
    return SimpleNamespace(**by_name, pending=context.fold.pending, recommended=context.recommended)


def fill(builder, n, f=bowl, seed=0, initial=12, noise=0.01, curves=True):
    """n evaluations: the default, a random design, then points that lean towards the best."""
    rng = np.random.default_rng(seed)
    space, sign = builder.space, -1.0 if builder.direction == "max" else 1.0
    best = None
    for number in range(n):
        row = rng.random(space.d)
        if best is not None and number >= initial:
            row = np.clip(0.75 * best[1] + 0.25 * row, 0, 1)
        (config,) = space.decode(row[None])
        config = space.default if number == 0 else config
        if config.get("lr", 0) > 0.4:
            builder.tell(config)
            continue
        y = f(config) + noise * rng.normal()
        told = {builder.objective: curve_to(sign * y, rng)} if curves else {}
        origin = Origin.DESIGN if number < initial else Origin.INFILL
        builder.tell(config, y, curves=told, origin=origin)
        if best is None or y < best[0]:
            best = (y, row)
    return builder
