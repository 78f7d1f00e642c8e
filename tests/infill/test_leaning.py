"""What the user believes of good values: its weight and words, and that wrong ones are survived."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spot_dask import (
    Budget,
    Categorical,
    FunctionTask,
    Integer,
    Real,
    Run,
    Space,
    Study,
    Tuner,
)
from spot_dask.errors import StudyError
from spot_dask.infill.leaning import (
    DOUBT,
    STRENGTH,
    Leaning,
    checked,
    described,
    likeliest,
    off,
)
from spot_dask.records import History, Origin
from spot_dask.report.sections.run import RunSection
from spot_dask.study_file import load

SPACE = Space(
    lr=Real(1e-5, 1.0, scale="log", default=1e-3),
    width=Integer(8, 512, scale="power2", default=64),
    depth=Integer(1, 9, default=2),
    opt=Categorical(["sgd", "adam", "lion"], default="sgd"),
    size=Categorical(["s", "m", "l"], default="s", ordered=True),
    momentum=Real(0.0, 1.0, default=0.9).when(opt="sgd"),
    nesterov=Categorical([False, True], default=False).when(opt="sgd"),
)
PRIOR = {
    "lr": (0.01, 0.5),
    "width": (128, 0.3),
    "depth": (3, 2),
    "opt": {"adam": 3, "lion": 0.5},
    "size": {"m": 4},
    "momentum": (0.5, 0.1),
    "nesterov": [[True, 2]],
}


def leaning(prior: dict[str, Any] = PRIOR, space: Space = SPACE) -> Leaning:
    found = Leaning.of(space, checked(space, prior))
    assert found is not None
    return found.after(int(STRENGTH))  # a power of 1


def weight(config: dict[str, Any], prior: dict[str, Any]) -> float:
    X = SPACE.features(SPACE.encode([config]))
    return float(leaning(prior).weigh(np.zeros(1), X)[0])


def test_a_spread_is_in_decades_where_the_scale_is_logarithmic() -> None:
    bell = math.log((1 - DOUBT) * math.exp(-0.5) + DOUBT)
    for name, centre, spread, away in (
        ("lr", 0.01, 0.5, 0.01 * 10**0.5),
        ("lr", 0.01, 0.5, 0.01 / 10**0.5),
        ("width", 64, math.log10(4), 256),
        ("depth", 3, 2, 5),
    ):
        prior = {name: (centre, spread)}
        assert weight({name: centre}, prior) == pytest.approx(0.0, abs=1e-6)
        assert weight({name: away}, prior) == pytest.approx(bell, abs=1e-6)
        assert off(SPACE, prior, {name: away})[name] == pytest.approx(1.0)
    assert weight({"lr": 1.0}, {"lr": (1e-5, 0.01)}) == pytest.approx(math.log(DOUBT))


def test_levels_have_weights_and_inactive_parameters_have_none() -> None:
    levels = {"opt": {"adam": 3, "lion": 0.5}}
    assert weight({"opt": "adam"}, levels) == pytest.approx(0.0)
    assert weight({"opt": "sgd"}, levels) == pytest.approx(math.log(1 / 3))
    assert weight({"opt": "lion"}, levels) == pytest.approx(math.log(1 / 6))
    assert weight({"size": "l"}, {"size": {"m": 4}}) == pytest.approx(math.log(1 / 4))
    child = {"momentum": (0.5, 0.1), "nesterov": {True: 2}}
    assert weight({"opt": "adam"}, child) == pytest.approx(0.0)
    assert weight({"momentum": 0.5, "nesterov": False}, child) == pytest.approx(-math.log(2))


def test_the_gradient_is_that_of_the_weight_and_it_fades() -> None:
    rng = np.random.default_rng(0)
    X = SPACE.features(SPACE.snap(rng.random((12, SPACE.d))))
    lean, h = leaning(), 1e-6
    values, gradient = lean.weigh_gradient(np.zeros(12), np.zeros_like(X), X)
    assert values == pytest.approx(lean.weigh(np.zeros(12), X))
    for k in (0, 1, 2):  # what is climbed: lr, width, depth
        step = h * (np.arange(X.shape[1]) == k)
        slope = (lean.weigh(np.zeros(12), X + step) - lean.weigh(np.zeros(12), X - step)) / (2 * h)
        assert gradient[:, k] == pytest.approx(slope, abs=1e-5)
    later = lean.after(100).weigh(np.zeros(12), X)
    assert later == pytest.approx(values * STRENGTH / 100)


@pytest.mark.parametrize(
    ("prior", "why"),
    [
        ({"rate": (1, 1)}, "prior: no parameter 'rate'"),
        ({"lr": 0.01}, r"prior\.lr: 0\.01 is no belief; expected \(centre, spread\)"),
        ({"lr": (0.01, 0)}, r"prior\.lr: the spread is 0; expected a number, more than 0"),
        ({"lr": (10, 1)}, r"prior\.lr: 10 is outside the bounds"),
        ({"opt": {"adamw": 1}}, r"prior\.opt: .*is not a level"),
        ({"opt": {"adam": 0}}, r"prior\.opt: the weight of 'adam' is 0; expected more than 0"),
        ({"opt": (1, 2)}, r"prior\.opt: \(1, 2\) is no belief; expected weights by level"),
        ({"opt": ["adam", 2]}, r"prior\.opt: \['adam', 2\] is no belief; expected weights"),
        ({"opt": []}, r"prior\.opt: \[\] is no belief; expected weights by level"),
        ({"opt": "adam"}, r"prior\.opt: 'adam' is no belief; expected weights by level"),
        ([1], r"prior is \[1\]; expected beliefs by parameter"),
    ],
)
def test_what_cannot_be_believed_is_told_in_one_line(prior: Any, why: str) -> None:
    with pytest.raises(ValueError, match=f"^{why}") as told:
        Study(SPACE, FunctionTask(lambda cfg: cfg.lr), prior=prior)
    assert "\n" not in str(told.value)


def test_a_belief_is_told_in_words_and_its_best_is_tried_first() -> None:
    words = described(SPACE, PRIOR)
    assert words["lr"] == "0.01, a factor 3.16 either way"
    assert words["depth"] == "3 ± 2"
    assert words["opt"] == "adam 3, lion 0.5"
    best = likeliest(SPACE, PRIOR)
    assert best == {"lr": 0.01, "width": 128, "depth": 3, "opt": "adam", "size": "m"}
    trials = Tuner(SPACE, prior=checked(SPACE, PRIOR)).ask(History(), 3)
    assert (trials[1].config, trials[1].origin) == (best, Origin.USER)
    without = Tuner(SPACE, prior={"lr": [1e-3, 1.0]}).ask(History(), 3)
    assert without[1].origin is Origin.DESIGN  # the default is what is believed to be the best


def regret(prior: dict[str, Any], seed: int, counts: tuple[int, ...]) -> list[float]:
    """The best noise-free value after so many evaluations; its minimum is 0 at .3."""
    space = Space({f"x{j}": Real(0.0, 1.0, default=0.9) for j in range(3)})
    tuner = Tuner(space, seed=seed, prior=checked(space, prior), infill="log_ei")
    history, found = History(), []
    values: list[float] = []
    while len(values) < max(counts):
        trials = tuner.ask(history, 4)
        history = history.ask(trials)
        for trial in trials:
            x = np.array(list(trial.config.values()), dtype=float)
            y = float(np.sum((x - 0.3) ** 2 + 0.03 * (1 - np.cos(8 * np.pi * (x - 0.3)))))
            values.append(y)
            history = history.tell(trial.result(y))
    for count in counts:
        found.append(min(values[:count]))
    return found


def test_right_beliefs_help_and_wrong_ones_are_survived() -> None:
    right = {f"x{j}": (0.32, 0.1) for j in range(3)}
    wrong = {f"x{j}": (0.95, 0.05) for j in range(3)}
    found = {
        name: np.log10(1e-3 + np.array([regret(prior, seed, (12, 48)) for seed in range(4)]))
        for name, prior in (("right", right), ("wrong", wrong), ("none", {}))
    }
    means = {name: values.mean(axis=0) for name, values in found.items()}
    assert means["right"][0] < means["none"][0] - 0.3
    assert means["wrong"][1] < means["none"][1] + 0.5
    assert means["wrong"][1] < -1.0


def test_a_belief_is_recorded_and_a_run_is_repeated_by_it(tmp_path: Path) -> None:
    def study(prior: dict[str, Any]) -> Study:
        task = FunctionTask(lambda cfg: math.log10(cfg.lr) ** 2 + (cfg.opt == "sgd"))
        return Study(SPACE, task, seed=1, prior=prior)

    run = study(PRIOR).run(Budget(evaluations=14), local=0, store=tmp_path / "a.zarr")
    assert run.settings["prior"]["lr"] == [0.01, 0.5]
    assert run.settings["prior"]["opt"] == [["adam", 3.0], ["lion", 0.5]]
    assert run.deviations() == []
    section = RunSection()
    shown = str(section.render(section.facts(run.context), run.context))
    assert "belief about lr" in shown
    assert "0.01, a factor 3.16 either way; the best has" in shown
    assert "spreads away" in shown
    again = study({}).resume(tmp_path / "a.zarr", Budget(evaluations=16), local=0)
    assert again.settings["prior"] == run.settings["prior"]
    assert Run.open(tmp_path / "a.zarr").deviations() == []


def test_a_belief_is_given_in_toml_and_by_set(tmp_path: Path) -> None:
    (tmp_path / "study.py").write_text(
        "from spot_dask import *\n"
        "study = Study(Space(lr=Real(1e-5, 1.0, scale='log', default=0.1),"
        " opt=Categorical(['a', 'b'], default='a')), FunctionTask(lambda cfg: cfg.lr))\n"
    )
    (tmp_path / "spot.toml").write_text(
        '[study]\nfile = "study.py"\n[prior]\nlr = [0.01, 0.5]\n[prior.opt]\nb = 3\n'
    )
    found = load(str(tmp_path / "spot.toml"), ["prior.lr=[0.02, 1]"]).study
    assert dict(found.prior) == {"lr": [0.02, 1.0], "opt": [["b", 3.0]]}
    with pytest.raises(StudyError, match=r"prior\.lr: 9 is outside the bounds"):
        load(str(tmp_path / "spot.toml"), ["prior.lr=[9, 1]"])


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    "prior",
    [
        {"lr": (1e-3, 1e-300), "depth": (2, 5e-324)},
        {"lr": (1e-3, 1e300), "depth": (2, 1e308)},
        {"opt": {"adam": 1e308, "sgd": 1e-320}},
        {"lr": (1e-5, 1e-9), "opt": {"adam": 1e-308}},
    ],
)
def test_extreme_beliefs_are_finite_and_warn_of_nothing(prior: Any) -> None:
    assert all(described(SPACE, prior).values())
    leaning = Leaning.of(SPACE, checked(SPACE, prior))
    assert leaning is not None
    X = SPACE.features(SPACE.snap(np.random.default_rng(0).random((64, SPACE.d))))
    values, gradient = leaning.after(1).weigh_gradient(np.zeros(64), np.zeros_like(X), X)
    assert np.isfinite(values).all()
    assert np.isfinite(gradient).all()


def test_a_criterion_that_takes_no_beliefs_says_so() -> None:
    task = FunctionTask(lambda cfg: cfg.lr)
    with pytest.raises(ValueError, match="prior: infill 'thompson' takes no beliefs") as told:
        Study(SPACE, task, infill="thompson", prior={"depth": (2, 1)})
    assert "\n" not in str(told.value)
    for infill in ("log_ei", "ucb", "log_nei", "averaged_ei"):
        Study(SPACE, task, infill=infill, prior={"depth": (2, 1)})
    Study(SPACE, task, infill="thompson")
