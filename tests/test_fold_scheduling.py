"""Folds in the search: which are asked, in which order, and what configurations are worth."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from spot_dask import Folds, FunctionTask, Study, TimeSplit
from spot_dask.errors import StoreCorrupt
from spot_dask.records import Evaluation, FoldPlan, History, Origin, Outcome, Stage, Status, Trial
from spot_dask.settings import Budget, Design
from spot_dask.space import Integer, Real, Space
from spot_dask.tuner import Tuner
from spot_dask.tuner.folds import FoldTable, key_of, table_of
from spot_dask.tuner.foretold import foretold

SPACE = Space(x=Real(0.0, 1.0, default=0.1), z=Real(0.0, 1.0, default=0.9))
PLAN = FoldPlan(5)
TUNER = Tuner(SPACE, seed=1, infill="log_ei", budget=80, folds=PLAN)

Objective = Callable[[Trial], float]


def bowl(trial: Trial) -> float:
    return sum((float(v) - 0.6) ** 2 for v in trial.config.values())


def hard(trial: Trial) -> float:
    """How hard a fold is, for all configurations alike: three times as much as what they differ."""
    seed = trial.seed if trial.partition is None else trial.partition
    return float(np.random.default_rng([seed, trial.fold]).normal())


def folded(trial: Trial) -> float:
    noise = 0.03 * float(np.random.default_rng(trial.number).normal())
    return bowl(trial) + hard(trial) + noise


def told(history: History, objective: Objective = folded, keep: int = 0) -> History:
    """The history after all but the last ``keep`` pending trials have their values."""
    for trial in history.pending[: len(history.pending) - keep]:
        history = history.tell(trial.result(objective(trial)))
    return history


def run(
    tuner: Tuner = TUNER, until: int = 80, q: int = 4, objective: Objective = folded
) -> History:
    history = History()
    while history.asked < until:
        trials = tuner.ask(history, min(q, until - history.asked))
        if not trials:
            break
        assert len(trials) == min(q, until - history.asked)  # no worker is idle
        history = told(history.ask(trials), objective)
    return history


@pytest.fixture(scope="module")
def searched() -> History:
    return run()


def trials_of(history: History) -> list[Trial]:
    asked = [e.trial for e in history.evaluations] + list(history.pending)
    return sorted(asked, key=lambda t: t.number)


def by_config(history: History) -> dict[object, list[Trial]]:
    found: dict[object, list[Trial]] = {}
    for t in trials_of(history):
        found.setdefault(key_of(t.config), []).append(t)
    return found


def test_the_default_has_all_its_folds_at_once_and_others_their_first() -> None:
    first = TUNER.ask(History(), 8)
    assert [t.replicate for t in first] == [0, 1, 2, 3, 4, 0, 0, 0]
    assert {t.origin for t in first[:5]} == {Origin.DEFAULT}
    assert len({key_of(t.config) for t in first}) == 4
    assert [t.number for t in first] == list(range(8))


def test_a_fold_has_the_same_partition_and_seed_for_every_configuration(searched: History) -> None:
    plan = FoldPlan(2, repeats=2)
    found = trials_of(run(replace(TUNER, folds=plan), until=60))
    seeds: dict[int, set[tuple[int, int, int | None]]] = {}
    for t in found:
        assert t.fold == t.replicate % 2
        seeds.setdefault(t.replicate, set()).add((t.seed, t.fold, t.partition))
    assert all(len(each) == 1 for each in seeds.values())
    partitions = [next(iter(seeds[r]))[2] for r in range(4)]
    assert partitions[0] == partitions[1] != partitions[2] == partitions[3]
    assert len({next(iter(seeds[r]))[0] for r in range(4)}) == 4
    assert all(t.partition is None for t in trials_of(run(replace(TUNER, folds=FoldPlan()), 9)))


def test_what_is_begun_is_finished_first_unless_it_is_hopeless(searched: History) -> None:
    trials = by_config(searched)
    complete = [
        own for own in trials.values() if len({t.replicate for t in own} & {*range(5)}) == 5
    ]
    ended = [own for own in trials.values() if len(own) < 5]
    assert len(complete) >= 6
    assert len(ended) >= 4  # bad ones cost a training or two
    table = table_of(PLAN, searched)
    worst = [bowl(own[0]) for own in ended]
    assert np.median([bowl(own[0]) for own in complete]) < np.quantile(worst, 0.25)
    for own in ended:
        if own[0].number < 70:  # at the end the budget may be what ended it
            assert table.is_hopeless(own[0].config)
    assert len(searched.evaluations) < 0.85 * 5 * len(trials)


def test_folds_that_are_missing_come_before_new_configurations() -> None:
    history = told(History().ask(TUNER.ask(History(), 8)))
    then = TUNER.ask(history, 6)
    begun = [t.config for t in trials_of(history)[5:]]
    assert [(t.config, t.replicate) for t in then] == [
        (config, r) for config in begun for r in range(1, 5)
    ][:6]


def test_a_fold_that_failed_ends_its_configuration() -> None:
    history = History().ask(TUNER.ask(History(), 8))
    for trial in history.pending:
        bad = trial.number == 6
        history = history.tell(trial.result(math.nan if bad else folded(trial)))
    config = trials_of(history)[6].config
    later = TUNER.ask(history, 12)
    assert config not in [t.config for t in later]
    whole = told(history.ask(later))
    assert not table_of(PLAN, whole).is_complete(config)
    best = TUNER.recommend(whole, TUNER.model(whole))
    assert best is not None
    assert best.config != config


def test_no_new_configuration_is_begun_that_could_not_be_finished() -> None:
    tuner = replace(TUNER, budget=40, confirm=0.0)
    found = by_config(run(tuner, until=40))
    table = table_of(PLAN, run(tuner, until=40))
    late = [own for own in found.values() if own[0].number >= 36]
    assert late == []
    last = [t for t in trials_of(run(tuner, until=40)) if t.number >= 38]
    assert all(t.replicate > 0 for t in last)  # folds of others, or other partitions of the best
    assert sum(table.is_complete(own[0].config) for own in found.values()) >= 5


def test_workers_are_busy_whatever_is_known_and_however_small_the_space() -> None:
    small = Space(n=Integer(0, 3, default=0))
    for budget in (None, 60):
        tuner = replace(TUNER, space=small, budget=budget, design=Design(initial=2))
        history, rounds = History(), 0
        while trials := tuner.ask(history, 3):
            history, rounds = told(history.ask(trials), keep=1), rounds + 1
            if history.asked >= 60:
                break
            assert len(trials) == 3 or budget is None
        whole = told(history)
        assert len(by_config(whole)) == 4
        if budget is None:  # all there is was tried
            assert all(len(own) == 5 for own in by_config(whole).values())
            assert tuner.ask(whole, 3) == ()


def test_another_way_to_search_trains_folds_as_well() -> None:
    found = run(replace(TUNER, search="random", budget=60), until=60)
    table = table_of(PLAN, found)
    assert {t.origin for t in trials_of(found)} >= {Origin.DEFAULT, Origin.BASELINE}
    assert sum(table.is_complete(own[0].config) for own in by_config(found).values()) >= 3
    best = replace(TUNER, search="random").recommend(found, None)
    assert best is not None
    assert best.complete


def test_stop_false_trains_all_folds_of_all() -> None:
    tuner = replace(TUNER, folds=FoldPlan(5, stop=False), budget=50)
    found = by_config(run(tuner, until=50))
    assert len(found) == 10
    assert all(len(own) == 5 for own in found.values())


# ------------------------------------------------------------------ what it is worth


def evaluation(number: int, x: float, replicate: int, y: float) -> Evaluation:
    trial = Trial(number, {"x": x, "z": 0.5}, 7 + replicate, replicate, Origin.DESIGN)
    return Evaluation(trial, Outcome(Status.OK, y))


def a_table(*cells: tuple[float, int, float], plan: FoldPlan | None = None) -> FoldTable:
    return FoldTable(plan or FoldPlan(3), [evaluation(i, *cell) for i, cell in enumerate(cells)])


FULL = [(0.1, 0, 1.0), (0.1, 1, 2.0), (0.1, 2, 6.0), (0.2, 0, 2.0), (0.2, 1, 3.5), (0.2, 2, 6.5)]


def test_a_value_is_the_mean_over_folds_or_without_the_effects_of_those_it_has() -> None:
    table = a_table(*FULL, (0.3, 0, 1.5), (0.3, 2, 6.5))
    assert table.level({"x": 0.1, "z": 0.5}) == 3.0
    assert table.level({"x": 0.2, "z": 0.5}) == 4.0
    effects = table.fit.effects
    assert sum(effects) == pytest.approx(0.0, abs=1e-12)
    expected = (1.5 - effects[0] + 6.5 - effects[2]) / 2
    assert table.level({"x": 0.3, "z": 0.5}) == pytest.approx(expected)
    assert expected < 4.0  # though its mean is 4.0: it has the easy and the hard fold
    assert math.isnan(table.level({"x": 0.9, "z": 0.5}))
    assert [table.is_complete({"x": x, "z": 0.5}) for x in (0.1, 0.2, 0.3, 0.9)] == [
        True, True, False, False
    ]  # fmt: skip


def test_what_lacks_folds_and_may_be_the_best_is_undecided() -> None:
    table = a_table(*FULL, (0.3, 0, 1.5), (0.4, 0, 0.9))
    assert [c["x"] for c in table.undecided()] == [0.3, 0.4]
    assert {m.config["x"] for m in table.due()} == {0.3, 0.4}
    assert [m.replicate for m in table.due(3)] == [1, 2]  # the other could not be finished
    assert table.due(3)[0].config["x"] == 0.4  # the more promising one
    assert table.due(1) == []


def test_another_partition_compares_those_that_have_it() -> None:
    table = a_table(*FULL, (0.1, 3, 10.0), (0.2, 3, 11.0))
    assert table.fit.effects[:3].mean() == pytest.approx(-(table.fit.effects[3]) / 3)
    assert table.level({"x": 0.1, "z": 0.5}) == pytest.approx(3.0, abs=0.1)
    assert table.effect(3) == pytest.approx(7.0, abs=0.1)
    alone = a_table(*FULL, (0.1, 3, 10.0))
    assert alone.level({"x": 0.1, "z": 0.5}) == pytest.approx(3.0)
    ys = [e.y for e in alone.levelled([evaluation(9, 0.1, 3, 10.0), evaluation(0, *FULL[0])])]
    assert ys == [pytest.approx(1.0 - alone.effect(0))]  # nothing tells how hard the fourth is


def test_hopeless_is_worse_by_two_standard_errors_and_needs_four_degrees_of_freedom() -> None:
    plan, rng = FoldPlan(4), np.random.default_rng(2)
    cells = [(c / 10, r, c + 2 * r + 0.1 * rng.normal()) for c in range(3) for r in range(4)]
    table = a_table(*cells, (0.9, 0, 40.0), (0.8, 0, 0.05), plan=plan)
    assert table.fit.df == 6
    assert table.is_hopeless({"x": 0.9, "z": 0.5})
    assert not table.is_hopeless({"x": 0.8, "z": 0.5})
    sd = table.fit.difference_sd(4, 0)
    level = table.fit.values[0] + table.effect(0)
    for factor, is_hopeless in ((1.5, False), (2.5, True)):  # the cell itself has no residual
        near = a_table(*cells, (0.9, 0, 40.0), (0.8, 0, level + factor * sd), plan=plan)
        assert near.is_hopeless({"x": 0.8, "z": 0.5}) is is_hopeless
    few = a_table(*cells[:8], (0.9, 0, 40.0), plan=plan)
    assert few.fit.df == 3
    assert not few.is_hopeless({"x": 0.9, "z": 0.5})
    never = a_table(*cells, (0.9, 0, 40.0), plan=replace(plan, stop=False))
    assert not never.is_hopeless({"x": 0.9, "z": 0.5})


def test_few_configurations_that_are_as_good_as_the_best_are_given_up() -> None:
    """A configuration equal to the best is called hopeless by chance in few of many tables."""
    rng, plan, wrong = np.random.default_rng(4), FoldPlan(5), 0
    for _ in range(200):
        hardness = rng.normal(size=5) * 3
        cells = [(c / 10, r, hardness[r] + rng.normal()) for c in range(4) for r in range(5)]
        table = a_table(*cells, (0.9, 0, hardness[0] + rng.normal()), plan=plan)
        wrong += table.is_hopeless({"x": 0.9, "z": 0.5})
    assert wrong < 0.15 * 200  # the best of four is lucky, too


def test_the_luckiest_fold_is_never_recommended() -> None:
    cells = [(0.1, r, 1.0 + r) for r in range(5)] + [(0.2, r, 0.9 + r) for r in range(5)]
    lucky = [evaluation(i, *cell) for i, cell in enumerate([*cells, (0.7, 0, 0.01)])]
    history = History(evaluations=tuple(lucky))
    best = TUNER.recommend(history, None)
    assert best is not None
    assert best.config["x"] == 0.2
    assert best.observed == pytest.approx(2.9)
    seen = TUNER.seen(history.ok, history)
    assert [b.config["x"] for b in seen] == [0.1, 0.2]


def test_the_surrogate_learns_what_is_left_without_the_folds_effects(searched: History) -> None:
    model = TUNER.model(searched)
    assert model is not None
    truth = np.array([bowl(Trial(0, c, 0)) for c in SPACE.decode(model.X)])
    offset = (model.y - truth).mean()
    assert np.abs(model.y - truth - offset).max() < 0.2  # noise of 0.03, of folds 1
    best = TUNER.recommend(searched, model)
    assert best is not None
    assert bowl(best.evaluations[0].trial) < 0.01
    assert best.observed == pytest.approx(np.mean([e.y for e in best.evaluations[:5]]), abs=0.05)


def test_what_was_expected_is_compared_without_the_fold_s_effect(searched: History) -> None:
    found = foretold(searched, PLAN)
    assert found is not None
    assert found.inside >= 0.8 * found.n
    raw = foretold(searched, FoldPlan())
    assert raw is not None
    assert raw.inside < found.inside


# ------------------------------------------------------------------ confirmation and studies


def test_each_confirming_seed_draws_a_partition_of_its_own(searched: History) -> None:
    trials = TUNER.ask(searched, 20, Stage("confirm", seeds=5))
    assert len(trials) == 10
    assert {(t.fold, t.partition) for t in trials} == {(0, None)}
    assert len({t.seed for t in trials}) == 5
    assert not {t.seed for t in trials} & {t.seed for t in trials_of(searched)}
    windows = replace(TUNER, folds=FoldPlan(5, draws=False))
    fixed = windows.ask(searched, 20, Stage("confirm", seeds=5))
    assert sorted(t.fold for t in fixed) == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]


def test_a_study_takes_its_folds_from_the_task_and_records_them() -> None:
    def f(cfg: object, trial: object) -> float:
        return 0.0

    def study(folds: object, **more: object) -> Study:
        return Study(SPACE, FunctionTask(f, folds=folds), budget=Budget(evaluations=30), **more)  # type: ignore[arg-type]

    assert study(5).tuner.folds == FoldPlan(5)
    assert study(Folds(3, repeats=2, stop=False)).settings["folds"] == {
        "k": 3, "repeats": 2, "stop": False, "draws": True
    }  # fmt: skip
    assert study(TimeSplit(4)).folds == FoldPlan(4, draws=False)
    assert study(1).tuner.ask(History(), 1)[0].partition is None
    restored = Study.restored(study(5).settings)
    assert restored["folds"] == FoldPlan(5)
    assert Study.restored({})["folds"] == FoldPlan()
    with pytest.raises(ValueError, match=r"design.replicates is 2 in a study with 5 folds"):
        study(5, design=Design(replicates=2))
    for wrong in ({"k": 0}, {"q": 1}):
        with pytest.raises(ValueError, match="folds"):
            Study.restored({"folds": wrong})


def test_more_folds_than_a_table_has_columns_for_are_refused() -> None:
    with pytest.raises(ValueError, match=r"5 folds of 1000000 partitions .* at most 10,000"):
        FoldPlan(5, repeats=10**6)
    trial = Trial(0, SPACE.default, 1, 2**60, Origin.DEFAULT)
    history = History().ask([trial]).tell(trial.result(1.0))
    with pytest.raises(StoreCorrupt, match="replicate 1152921504606846976"):
        _ = table_of(PLAN, history).fit
