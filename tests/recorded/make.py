"""Make the recorded histories and the tuner's answers: ``python tests/recorded/make.py``.

The answers are what later versions must propose, too. Run it again only where proposals change on
purpose, and say so in the changelog.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from recorded_cases import (
    Case,
    evaluation_data,
    history_of,
    save,
    space_of,
    trial_data,
    tuner_of,
)

from spot_dask import Design, Evaluation, History, Tuner
from spot_dask.records import Outcome, Status

Config = dict[str, Any]


def real(low: float, high: float, default: float, **more: Any) -> Config:
    return {"type": "real", "low": low, "high": high, "default": default, **more}


def integer(low: int, high: int, default: int, **more: Any) -> Config:
    return {"type": "integer", "low": low, "high": high, "default": default, **more}


def factor(levels: list[Any], default: Any, **more: Any) -> Config:
    return {"type": "categorical", "levels": levels, "default": default, **more}


REALS = {name: real(0.0, 1.0, 0.5) for name in ("a", "b", "c")}
MIXED = {
    "lr": real(1e-4, 1.0, 1e-2, scale="log"),
    "width": integer(8, 256, 32, scale="power2"),
    "opt": factor(["sgd", "adam", "rmsprop"], "sgd"),
    "momentum": real(0.0, 0.99, 0.9, when={"opt": ["sgd"]}),
    "beta": real(0.8, 0.999, 0.9, when={"opt": ["adam", "rmsprop"]}),
    "layers": integer(1, 40, 3),
    "bias": factor([True, False], True),
}
DISCRETE = {
    "n": integer(1, 9, 4),
    "kind": factor(["x", "y", "z"], "x"),
    "size": integer(1, 64, 8, scale="power2"),
    "deep": integer(1, 5, 2, when={"kind": ["x"]}),
    "logs": integer(1, 1000, 30, scale="log"),
}
TINY = {"n": integer(0, 9, 0), "k": factor(["a", "b"], "a")}
WIDE = {f"x{i}": real(-1.0, 1.0, 0.3) for i in range(15)} | {
    f"f{i}": factor(["u", "v", "w"], "u") for i in range(5)
}
ORDERED = {
    "dropout": factor([0.0, 0.1, 0.2, 0.5], 0.1),
    "x": real(0.0, 1.0, 0.5),
    "fixed": real(0.0, 2.0, 1.0, hold=0.5),
    "batch": integer(16, 512, 64, scale="log"),
}


def objective(config: Config, noise: float = 0.0, number: int = 0, shift: float = 0.0) -> float:
    """A bowl over all numbers in units of their size, and a fixed amount for every level."""
    total = 0.0
    for name, value in sorted(config.items()):
        if isinstance(value, bool | str):
            digest = hashlib.sha256(f"{name}={value}".encode()).digest()
            total += 0.3 * digest[0] / 255
        else:
            centre = 0.3 + shift + 0.4 * hashlib.sha256(name.encode()).digest()[0] / 255
            total += (math.log1p(abs(float(value))) - centre) ** 2
    return total + noise * float(np.random.default_rng(number).normal())


def space_filling(space: Config, n: int, seed: int = 0, **tuner: Any) -> Case:
    """A case with n evaluations of a design."""
    made = Tuner(space_of(space), seed=seed, design=Design(initial=n))
    trials = made.ask(History(), n)
    evaluations = [
        [trial_data(t), "ok", objective(dict(t.config), tuner.get("noise", 0.0), t.number)]
        for t in trials
    ]
    tuner.pop("noise", None)
    return {"space": space, "tuner": {"seed": seed, **tuner}, "evaluations": evaluations}


def run(space: Config, n: int, q: int, noise: float = 0.0, running: int = 0, **tuner: Any) -> Case:
    """A case with n evaluations of a run by the tuner, the last ``running`` of them pending."""
    case: Case = {"space": space, "tuner": tuner, "evaluations": []}
    made, history = tuner_of(case), History()
    while trials := made.ask(history, min(q, n - history.asked)):
        for trial in trials:
            history = history.ask([trial])
            if trial.number < n - running:
                y = objective(dict(trial.config), noise, trial.number)
                history = history.tell(Evaluation(trial, Outcome(Status.OK, y)))
    case["evaluations"] = [evaluation_data(e) for e in history.evaluations]
    case["pending"] = [trial_data(t) for t in history.pending]
    return case


def pending(case: Case, count: int) -> Case:
    """The last evaluations of a case are pending instead."""
    kept, last = case["evaluations"][:-count], case["evaluations"][-count:]
    return case | {"evaluations": kept, "pending": [trial for trial, _, _ in last]}


def ended(case: Case, status: str, which: Callable[[Config, int], bool]) -> Case:
    """Some evaluations of a case ended by a status instead."""
    found = [
        [trial, status, None] if which(trial[1], trial[0]) else [trial, before, y]
        for trial, before, y in case["evaluations"]
    ]
    return case | {"evaluations": found}


def taken_over(space: Config, n: int, run: str, seed: int = 7, shift: float = 0.0) -> list[Any]:
    """Imports: n evaluations of the same objective, or of one that is shifted."""
    trials = Tuner(space_of(space), seed=seed, design=Design(initial=n)).ask(History(), n)
    return [[dict(t.config), objective(dict(t.config), shift=shift), run, t.number] for t in trials]


FOREST = "sklearn:ensemble.RandomForestRegressor(n_estimators=30)"


def cases() -> Iterator[tuple[str, Case, int]]:
    """Name, case and q of all of them."""
    yield "nothing yet", {"space": MIXED, "tuner": {"seed": 1}, "evaluations": []}, 8
    start = [{"lr": 0.3, "opt": "adam"}, {"width": 256}]
    yield "start", {"space": MIXED, "tuner": {"seed": 2, "start": start}, "evaluations": []}, 9
    design = {"kind": "sobol", "initial": 12}
    yield "sobol", {"space": MIXED, "tuner": {"seed": 3, "design": design}, "evaluations": []}, 12
    design = {"initial": 5, "replicates": 2}
    yield "twice", {"space": MIXED, "tuner": {"seed": 4, "design": design}, "evaluations": []}, 10
    yield "wide design", {"space": WIDE, "tuner": {"seed": 5}, "evaluations": []}, 12

    yield "reals", space_filling(REALS, 10), 1
    yield "reals in batches", space_filling(REALS, 12, seed=1), 4
    yield "reals, noisy", space_filling(REALS, 20, seed=2, noise=0.1), 3
    yield "mixed", space_filling(MIXED, 16), 1
    yield "mixed in batches", space_filling(MIXED, 16, seed=1), 5
    yield "mixed, a large batch", space_filling(MIXED, 20, seed=2), 12
    yield "discrete", space_filling(DISCRETE, 14), 4
    yield "ordered levels", space_filling(ORDERED, 14), 3
    yield "wide", space_filling(WIDE, 24), 2
    yield "tiny", space_filling(TINY, 8), 4
    yield "tiny, nearly all", space_filling(TINY, 17), 8
    yield "refilled", pending(space_filling(MIXED, 20, seed=3), 4), 1
    yield "refilled in twos", pending(space_filling(REALS, 16, seed=3), 6), 2
    yield "begun while the design runs", pending(space_filling(MIXED, 9, seed=4), 3), 3
    yield "a run", run(MIXED, 24, 4, seed=5), 4
    yield "a run that is refilled", run(MIXED, 24, 1, seed=6, running=3), 1

    def far(config: Config, _: int) -> bool:
        return bool(config["lr"] > 0.1)

    failing = space_filling(MIXED, 20, seed=7)
    yield "failures", ended(failing, "failed", far), 3
    yield "out of memory", ended(failing, "memory", lambda c, _: c["width"] > 64), 3
    yield "failures by chance", ended(failing, "crashed", lambda _, n: n % 5 == 3), 2
    yield (
        "lost and late",
        ended(ended(failing, "lost", lambda _, n: n == 4), "timeout", lambda _, n: n in (9, 11)),
        2,
    )
    yield "failures, pending", pending(ended(failing, "failed", far), 5), 2
    yield (
        "failures, a batch of reals",
        ended(space_filling(REALS, 18, seed=8), "failed", lambda c, _: c["a"] + c["b"] > 1.2),
        6,
    )
    yield "stopped early", ended(failing, "stopped", lambda _, n: n > 8 and n % 2 == 0), 3
    yield (
        "stopped and failed",
        ended(ended(failing, "stopped", lambda _, n: n % 4 == 1), "failed", far),
        3,
    )

    imports = {"imports": taken_over(MIXED, 12, "old")}
    yield "imports alone", {"space": MIXED, "tuner": {}, "evaluations": []} | imports, 4
    yield "imports", space_filling(MIXED, 8, seed=9) | imports, 3
    priors = {"priors": [taken_over(MIXED, 20, "one", 8, 0.05), taken_over(MIXED, 20, "two", 9, 1)]}
    yield "priors, the design", {"space": MIXED, "tuner": {}, "evaluations": []} | priors, 9
    yield "priors", space_filling(MIXED, 12, seed=10) | priors, 3
    yield "priors and imports", space_filling(MIXED, 10, seed=11) | priors | imports, 2
    yield "priors and failures", ended(failing, "failed", far) | priors, 2

    tuner: dict[str, Any] = {"design": {"initial": 10, "replicates": 2}, "noise": 0.4}
    noisy = run(REALS, 34, 34, seed=12, budget=40, replication=0.25, **tuner)
    yield "replicates", noisy, 6
    yield "replicates, one by one", pending(noisy, 2), 1
    yield "replicates of a tiny space", run(TINY, 20, 4, noise=1.5, seed=13, budget=30), 4

    yield "log_nei", space_filling(MIXED, 16, seed=14, infill="log_nei", noise=0.1), 3
    yield (
        "log_nei, pending",
        pending(space_filling(REALS, 18, seed=15, infill="log_nei(samples=16)"), 4),
        2,
    )
    yield "ucb", space_filling(MIXED, 16, seed=16, infill="ucb"), 4
    yield "thompson", space_filling(MIXED, 16, seed=17, infill="thompson(candidates=256)"), 3
    yield (
        "constant liar",
        pending(space_filling(REALS, 14, seed=18, infill="constant_liar(lie='mean')"), 3),
        3,
    )
    yield "ucb, failures", failing_with(failing, far, infill="ucb(beta=1.2)"), 4
    yield "thompson, failures", failing_with(failing, far, infill="thompson"), 2

    gauss = "kriging(correlation='gauss', deterministic=True)"
    yield "gauss", space_filling(REALS, 14, seed=19, surrogate=gauss), 2
    yield "forest", space_filling(MIXED, 16, seed=20, surrogate=FOREST), 2
    yield (
        "forest, stopped",
        failing_with(ended(failing, "stopped", lambda _, n: n % 4 == 1), far, surrogate=FOREST),
        2,
    )
    linear = "sklearn:linear_model.BayesianRidge"
    yield (
        "an sd that is stated",
        pending(space_filling(REALS, 14, seed=21, surrogate=linear, infill="log_nei"), 2),
        2,
    )
    yield "many", space_filling(REALS, 180, seed=22, noise=0.05), 2
    yield "more than are tuned on", random_many(560, seed=23), 2


def failing_with(case: Case, which: Callable[[Config, int], bool], **tuner: Any) -> Case:
    return ended(case | {"tuner": case["tuner"] | tuner}, "failed", which)


def random_many(n: int, seed: int) -> Case:
    """n random evaluations: a design of so many takes long."""
    case: Case = {"space": REALS, "tuner": {"seed": seed}, "evaluations": []}
    configs = space_of(REALS).decode(np.random.default_rng(seed).random((n, 3)))
    for number, config in enumerate(configs):
        trial = [number, config, 0, 0, "design"]
        case["evaluations"].append([trial, "ok", objective(config, 0.05, number)])
    return case


def main() -> None:
    found = []
    for name, case, q in cases():
        print(name, flush=True)
        trials = tuner_of(case).ask(history_of(case), q)
        assert trials, name
        found.append({"name": name, **case, "q": q, "answer": [trial_data(t) for t in trials]})
    save(found)
    print(f"{len(found)} histories")


if __name__ == "__main__":
    main()
