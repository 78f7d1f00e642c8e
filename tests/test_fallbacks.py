"""A proposal never raises and never blocks: every fallback, forced.

==================================== ======================================= =================
what fails                           what serves instead                     logged
==================================== ======================================= =================
no Cholesky factor                   ten times the nugget, again and again   once
the likelihood everywhere            the length scales of the prior          once
the classifier of failures           no weights                              once
the surrogate                        space-filling points                    once
another criterion than ``log_ei``    ``log_ei``                              once
``log_ei``                           space-filling points                    once
a criterion gives too few new points space-filling points
a posterior cannot predict           what was observed                       once
the criterion is not a number        candidates spread evenly                once
it is at some candidates             they come last
all local searches                   the best of the pool
a known point is conditioned on      a variance of rounding errors
what other objectives teach          nothing of them                         once
no candidate is new                  the whole space is listed, then the end
==================================== ======================================= =================
"""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass, replace

import numpy as np
import pytest
from numpy.testing import assert_allclose

from spot_dask import errors
from spot_dask.infill import climb, log_ei, optimise, thompson
from spot_dask.infill.log_ei import LogEI, log_expected_improvement
from spot_dask.infill.optimise import Search
from spot_dask.records import Evaluation, History, Import, Origin, Outcome, Status
from spot_dask.space import Categorical, Real, Space
from spot_dask.surrogates import kriging, likelihood
from spot_dask.surrogates.kriging import Kriging
from spot_dask.surrogates.posterior import inverse_root
from spot_dask.tuner import Tuner

SPACE = Space(
    x=Real(0.0, 1.0, default=0.5),
    z=Real(0.0, 1.0, default=0.5),
    opt=Categorical(["a", "b", "c"], default="a"),
)


def after(
    tuner, batches=3, q=4, y=lambda c: (c["x"] - 0.3) ** 2 + c["z"] + 0.1 * (c["opt"] == "b")
):
    """The history after some batches; every proposal is checked to be full and new."""
    history, keys = History(), set()
    for _ in range(batches):
        trials = tuner.ask(history, q)
        assert len(trials) == q
        new = tuner.space.row_keys(tuner.space.encode([t.config for t in trials]))
        assert len(set(new)) == q
        assert not keys & set(new)
        keys |= set(new)
        history = history.ask(trials)
        for trial in trials:
            outcome = Outcome(Status.OK, float(y(trial.config)))
            history = history.tell(Evaluation(trial, outcome))
    return history


def rows(tuner, history):
    return tuner.space.encode([e.trial.config for e in history.evaluations])


def origins(history):
    """How often trials after the design of eight have which origin."""
    return Counter(e.trial.origin for e in history.evaluations if e.trial.number >= 8)


def raising(*args, **kwargs):
    raise RuntimeError("forced\nat line 3")


class Broken:
    """An extension that raises."""

    fit = propose = raising


@pytest.mark.parametrize(
    "broken", [{"surrogate": Broken()}, {"surrogate": Broken(), "infill": Broken()}]
)
def test_a_surrogate_that_raises_leaves_space_filling_points(broken, caplog):
    history = after(Tuner(SPACE, **broken), batches=5)
    assert [r.getMessage() for r in caplog.records] == [
        "no surrogate: RuntimeError: forced; space-filling points"
    ]
    assert origins(history) == {Origin.FALLBACK: 12}


def test_a_criterion_that_raises_is_replaced_by_log_ei(caplog):
    history = after(Tuner(SPACE, infill=Broken()), batches=5)
    assert [r.getMessage() for r in caplog.records] == [
        "infill Broken failed: RuntimeError: forced; another one serves"
    ]
    assert origins(history) == {Origin.FALLBACK: 12}
    same = after(Tuner(SPACE, infill="log_ei"), batches=5)
    assert origins(same) == {Origin.INFILL: 12}
    assert_allclose(rows(Tuner(SPACE), history), rows(Tuner(SPACE), same), rtol=0)


@pytest.mark.parametrize(
    "wrong", [np.full((4, 3), np.nan), np.full((4, 3), 7.0), np.zeros(5), None]
)
def test_a_criterion_that_returns_no_rows_of_the_space_is_replaced(wrong, caplog):
    @dataclass
    class Wrong:
        def propose(self, posterior, request, rng):
            return wrong

    after(Tuner(SPACE, infill=Wrong()), batches=4)
    assert len(caplog.records) == 1
    assert "another one serves" in caplog.text


def test_if_no_criterion_works_space_filling_points_are_taken(monkeypatch, caplog):
    monkeypatch.setattr(LogEI, "propose", raising)
    history = after(Tuner(SPACE, infill=Broken()), batches=5)
    assert sorted(r.getMessage()[:13] for r in caplog.records) == ["infill Broken", "infill LogEI "]
    assert origins(history) == {Origin.FALLBACK: 12}


def test_log_ei_does_not_serve_in_its_own_place(monkeypatch, caplog):
    asked = []

    def once(self, posterior, request, rng):
        asked.append(request.q)
        raise RuntimeError("forced")

    monkeypatch.setattr(LogEI, "propose", once)
    history = after(Tuner(SPACE, infill=LogEI(Search(starts=2))), batches=3)
    assert asked == [4]
    assert len(caplog.records) == 1
    assert origins(history) == {Origin.FALLBACK: 4}


def test_where_too_little_is_known_the_design_goes_on(caplog):
    tuner, history = Tuner(SPACE), History()
    for _ in range(4):
        for trial in tuner.ask(history, 4):
            history = history.ask([trial]).tell(trial.result(np.nan))
    assert origins(history) == {Origin.DESIGN: 8}
    assert not caplog.records


def test_priors_that_cannot_be_learnt_from_are_left_out(monkeypatch, caplog):
    def singular(*args):
        raise np.linalg.LinAlgError("no factor")

    monkeypatch.setattr("spot_dask.tuner.source_model", singular)
    plain = after(Tuner(SPACE), batches=3)
    items = tuple(Import(e.trial.config, e.y, "old", e.trial.number) for e in plain.evaluations)
    trials = Tuner(SPACE).ask(replace(plain, priors=(items,)), 2)
    assert trials == Tuner(SPACE).ask(plain, 2)
    assert "are left out" in caplog.text


@pytest.mark.parametrize("names", [{"surrogate": "krigin"}, {"infill": "log_eii"}])
def test_a_name_of_which_there_is_none_is_no_fallback(names):
    with pytest.raises(ValueError, match=r"no (infill|surrogate)"):
        after(Tuner(SPACE, **names), batches=5)


@pytest.mark.parametrize("infill", ["log_ei", "log_nei", "ucb"])
def test_a_criterion_that_is_not_a_number_leaves_evenly_spread_points(monkeypatch, caplog, infill):
    def undefined(mean, sd, best):
        shape = np.broadcast(mean, sd, best).shape
        return (np.full(shape, np.nan),) * 3

    monkeypatch.setattr(log_ei, "log_expected_improvement", undefined)
    monkeypatch.setattr("spot_dask.infill.log_nei.log_expected_improvement", undefined)
    monkeypatch.setattr("spot_dask.infill.ucb._Bound.__call__", lambda self, *a: undefined(*a))
    history = after(Tuner(SPACE, infill=infill), batches=6)
    assert [r.getMessage() for r in caplog.records] == [
        "the criterion is not a number anywhere: space-filling points"
    ]
    late = rows(Tuner(SPACE), history)[-12:]
    assert np.ptp(late[:, :2], axis=0).min() > 0.5


def test_candidates_where_the_criterion_is_not_a_number_come_last(monkeypatch, caplog):
    def half(mean, sd, best):
        values, by_mean, by_sd = log_expected_improvement(mean, sd, best)
        hidden = np.broadcast_to(np.arange(values.shape[0]) % 2 == 0, values.shape[::-1]).T
        return np.where(hidden, np.nan, values), by_mean, by_sd

    plain = after(Tuner(SPACE), batches=5)
    monkeypatch.setattr(log_ei, "log_expected_improvement", half)
    history = after(Tuner(SPACE), batches=5)
    assert not caplog.records
    # Still a search: not far from what the whole criterion finds.
    assert min(e.y for e in history.evaluations) < min(e.y for e in plain.evaluations) + 0.05


def test_where_all_local_searches_fail_the_best_candidate_is_taken(monkeypatch):
    space = Space(x=Real(0.0, 1.0, default=0.5), z=Real(0.0, 1.0, default=0.5))
    seen = []

    def lost(function, starts, free, scales, evaluations):
        seen.append(len(starts))
        return climb.climb(
            lambda X: (np.full(len(X), np.nan), np.full(X.shape, np.nan)),
            starts,
            free,
            scales,
            evaluations,
        )

    monkeypatch.setattr(optimise, "climb", lost)
    history = after(Tuner(space), batches=5, y=lambda c: (c["x"] - 0.3) ** 2 + c["z"])
    assert seen
    assert min(e.y for e in history.evaluations) < 0.05


def test_a_likelihood_that_fails_everywhere_leaves_the_prior(monkeypatch, caplog):
    monkeypatch.setattr(
        likelihood.NegativeLogPosterior,
        "__call__",
        lambda self, theta: (likelihood.FAILED, np.zeros_like(theta)),
    )
    after(Tuner(SPACE), batches=5)
    assert [r.getMessage() for r in caplog.records] == [
        "no length scales could be estimated; those of the prior are used"
    ]


def test_a_singular_covariance_is_said_once_however_often_it_is_met(monkeypatch, caplog):
    monkeypatch.setattr(kriging, "DETERMINISTIC_NUGGET", 1e-18)
    space = Space(x=Real(0.0, 1.0, default=0.5))
    after(Tuner(space, surrogate=Kriging(deterministic=True)), batches=8, y=lambda c: c["x"] ** 2)
    assert sum("singular" in r.getMessage() for r in caplog.records) == 1


def test_a_covariance_that_is_not_a_number_does_not_block():
    with pytest.raises(np.linalg.LinAlgError, match="not finite"):
        inverse_root(np.full((3, 3), np.nan), 1e-8, np.ones(3))
    with pytest.raises(np.linalg.LinAlgError, match="not finite"):
        thompson._root(np.full((3, 3), np.nan))


@pytest.mark.parametrize("infill", ["log_ei", "thompson"])
def test_a_posterior_that_is_not_a_number_leaves_space_filling_points(monkeypatch, infill, caplog):
    fit = Kriging.fit

    def spoiled(self, *args):
        p = fit(self, *args)
        return replace(p, alpha=np.full_like(p.alpha, np.nan), root=np.full_like(p.root, np.nan))

    monkeypatch.setattr(Kriging, "fit", spoiled)
    after(Tuner(SPACE, infill=infill), batches=4)
    assert 1 <= len(caplog.records) <= 2


def test_a_message_is_logged_once_and_another_one_again(caplog):
    log = logging.getLogger("spot_dask.somewhere")
    for n in range(3):
        errors.warn_once(log, "seen %d", n)
    errors.warn_once(log, "else %d", 0)
    assert [r.getMessage() for r in caplog.records] == ["seen 0", "else 0"]


@pytest.mark.parametrize("wrong", [raising, lambda X: (np.full(len(X), np.nan), np.ones(len(X)))])
def test_a_posterior_that_cannot_predict_is_no_model(wrong, caplog):
    @dataclass(frozen=True)
    class Fitted:
        predict = staticmethod(wrong)

    @dataclass(frozen=True)
    class Mine:
        def fit(self, X, y):
            return Fitted()

    tuner, history = Tuner(SPACE, surrogate=Mine()), after(Tuner(SPACE))
    assert tuner.model(history) is None
    assert tuner.recommend(history, None) is not None
    assert "no surrogate: " in caplog.text


def test_a_posterior_that_cannot_predict_new_points_has_no_say_in_the_recommendation(caplog):
    @dataclass(frozen=True)
    class Fitted:
        known: int

        def predict(self, X):
            return raising() if len(X) != self.known else (np.zeros(len(X)), np.ones(len(X)))

    class Mine:
        def fit(self, X, y):
            return Fitted(len(X))

    tuner, history = Tuner(SPACE, surrogate=Mine()), after(Tuner(SPACE))
    worst = max(history.ok, key=lambda e: e.y)
    more = history.ask([replace(worst.trial, number=history.asked, replicate=1)])
    history = more.tell(Evaluation(more.pending[0], worst.outcome))  # 13 rows, 12 configurations
    model = tuner.model(history)
    assert model is not None
    best = tuner.recommend(history, model)
    assert best.evaluations[0] == history.incumbent
    assert np.isnan(best.mean)
    assert "no prediction: RuntimeError: forced" in caplog.text


def test_what_a_criterion_leaves_open_is_no_choice_of_its_own():
    @dataclass(frozen=True)
    class Idle:
        def propose(self, posterior, request, rng):
            return request.evaluated[:1]  # known already

    assert origins(after(Tuner(SPACE, infill=Idle()), batches=4)) == {Origin.FALLBACK: 8}
