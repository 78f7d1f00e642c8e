"""The table of variance against R's published ones, scipy, and projection by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from spot_dask.stats.anova import AnovaTable, anova, pairs_that_fit
from spot_dask.stats.regression import Predictor

# R's ``warpbreaks``: breaks for wool A, B (rows of three) by tension L, M, H, nine looms each.
BREAKS = np.array(
    [
        [26, 30, 54, 25, 70, 52, 51, 26, 67],
        [18, 21, 29, 17, 12, 18, 35, 30, 36],
        [36, 21, 24, 18, 10, 43, 28, 15, 26],
        [27, 14, 29, 19, 29, 31, 41, 20, 44],
        [42, 26, 19, 16, 39, 28, 21, 39, 29],
        [20, 21, 24, 17, 13, 15, 15, 16, 28],
    ],
    dtype=float,
)
WOOL = Predictor("wool", np.repeat([0.0, 0, 0, 1, 1, 1], 9), ("A", "B"))
TENSION = Predictor("tension", np.repeat([0.0, 1, 2, 0, 1, 2], 9), ("L", "M", "H"))


def line(table: AnovaTable, i: int) -> tuple[int, float, float, float]:
    row = table.rows[i]
    return row.df, row.squares, row.F, row.p


@pytest.mark.parametrize("kind", [2, 3])
def test_a_balanced_design_has_the_table_that_r_prints(kind: int) -> None:
    """``anova(lm(breaks ~ wool * tension, warpbreaks))``."""
    table = anova([WOOL, TENSION], BREAKS.ravel(), pairs=[(0, 1)], kind=kind)
    assert [row.name for row in table.rows] == ["wool", "tension", "wool × tension"]
    assert line(table, 0) == pytest.approx((1, 450.7, 3.7653, 0.0582130), rel=2e-4)
    assert line(table, 1) == pytest.approx((2, 2034.3, 8.4980, 0.0006926), rel=2e-4)
    assert line(table, 2) == pytest.approx((2, 1002.8, 4.1891, 0.0210442), rel=2e-4)
    assert (table.residual_df, table.residual) == (48, pytest.approx(5745.1, rel=1e-5))
    assert sum(row.squares for row in table.rows) + table.residual == pytest.approx(table.total)


def test_one_factor_is_scipys() -> None:
    groups = [BREAKS[0], BREAKS[1][:4], BREAKS[2][:6]]
    values = np.repeat([0.0, 1.0, 2.0], [9, 4, 6])
    row = anova([Predictor("f", values, ("a", "b", "c"))], np.concatenate(groups)).rows[0]
    reference = stats.f_oneway(*groups)
    assert (row.F, row.p) == pytest.approx((reference.statistic, reference.pvalue))
    ranked = anova([Predictor("f", values, ("a", "b", "c"))], np.concatenate(groups), ranks=True)
    H = stats.kruskal(*groups).statistic  # Conover and Iman: F = H / (k-1) / ((N-1-H) / (N-k))
    found = ranked.rows[0].F
    assert found == pytest.approx(H / 2 / ((18 - H) / 16))


def squares_by_projection(larger: list[np.ndarray], smaller: list[np.ndarray], y: np.ndarray):
    """The residual sum of squares of the smaller model minus that of the larger, by lstsq."""

    def rest(columns: list[np.ndarray]) -> float:
        X = np.column_stack([np.ones(len(y)), *columns])
        return float(np.sum((y - X @ np.linalg.lstsq(X, y)[0]) ** 2))

    return rest(smaller) - rest(larger)


def test_unbalanced_sums_of_squares_are_differences_of_models() -> None:
    rng = np.random.default_rng(2)
    f, x = rng.integers(0, 3, size=25), rng.random(25)
    y = f + 2 * x * (f == 1) + rng.normal(size=25)
    effects = [(f == k).astype(float) - (f == 0) for k in (1, 2)]
    xc = x - x.mean()
    product = [e * xc for e in effects]
    predictors = [Predictor("f", f.astype(float), ("a", "b", "c")), Predictor("x", x)]
    second, third = (anova(predictors, y, pairs=[(0, 1)], kind=k) for k in (2, 3))
    everything = [*effects, xc, *product]
    interaction = squares_by_projection(everything, [*effects, xc], y)
    assert second.rows[2].squares == pytest.approx(interaction)
    assert third.rows[2].squares == pytest.approx(interaction)
    assert second.rows[0].squares == pytest.approx(squares_by_projection([*effects, xc], [xc], y))
    assert third.rows[0].squares == pytest.approx(
        squares_by_projection(everything, [xc, *product], y)
    )
    assert third.rows[1].squares == pytest.approx(
        squares_by_projection(everything, [*effects, *product], y)
    )
    assert second.rows[1].squares == pytest.approx(
        squares_by_projection([*effects, xc], effects, y)
    )
    assert second.rows[0].squares != pytest.approx(third.rows[0].squares, rel=0.01)
    share = second.rows[1].squares / (second.rows[1].squares + second.residual)
    assert second.rows[1].share == pytest.approx(share)


def test_a_number_may_bend() -> None:
    x = np.linspace(0, 1, 21)
    y = (x - 0.5) ** 2 + 0.01 * np.sin(50 * x)
    straight, bent = (anova([Predictor("x", x, quadratic=q)], y).rows[0] for q in (False, True))
    assert (straight.df, bent.df) == (1, 2)
    assert straight.p > 0.1 > 1e-6 > bent.p


def test_p_values_are_uniform_without_effects() -> None:
    rng = np.random.default_rng(3)
    found = []
    for _ in range(300):
        predictors = [
            Predictor("a", rng.random(16)),
            Predictor("f", np.arange(16) % 3.0, ("u", "v", "w")),
        ]
        found.append([row.p for row in anova(predictors, rng.normal(size=16), [(0, 1)]).rows])
    for p in np.transpose(found):
        assert stats.kstest(p, "uniform").pvalue > 0.01


def test_what_is_confounded_is_not_estimable() -> None:
    x = np.array([0.1, 0.4, 0.3, 0.9, 0.7, 0.2])
    a, b = Predictor("a", x), Predictor("b", 1 - x)
    free = Predictor("c", np.array([0.0, 1.0, 0.0, 0.0, 1.0, 1.0]), ("u", "v"))
    table = anova([a, b, free], np.array([1.0, 2.0, 4.0, 3.0, 6.0, 5.0]))
    assert [row.estimable for row in table.rows] == [False, False, True]
    assert np.isnan([table.rows[0].squares, table.rows[0].F, table.rows[0].p]).all()
    assert table.residual_df == 3
    unseen = Predictor("d", np.array([0.0, 1.0, 0.0, 0.0, 1.0, 1.0]), ("u", "v", "never"))
    row = anova([unseen], np.arange(6.0)).rows[0]
    assert (row.estimable, row.df) == (False, 1)


def test_too_few_evaluations_give_no_test() -> None:
    table = anova([Predictor("a", np.array([0.0, 1.0]))], np.array([1.0, 3.0]))
    assert (table.residual_df, table.rows[0].squares) == (0, pytest.approx(2.0))
    assert np.isnan([table.rows[0].F, table.rows[0].p]).all()
    equal = anova([Predictor("a", np.arange(5.0))], np.full(5, 2.0))
    assert (equal.total, equal.rows[0].squares) == (0.0, 0.0)
    assert np.isnan([equal.rows[0].F, equal.rows[0].share]).all()
    assert anova([], np.arange(3.0)).rows == ()


def test_all_pairs_or_none_are_fitted() -> None:
    rng = np.random.default_rng(4)
    predictors = [Predictor("a", rng.random(30)), Predictor("b", rng.random(30)), Predictor(
        "c", np.arange(30) % 3.0, ("u", "v", "w"))]  # fmt: skip
    assert pairs_that_fit(predictors, 30) == ((0, 1), (0, 2), (1, 2))
    few = [Predictor(p.name, p.values[:14], p.levels) for p in predictors]
    assert pairs_that_fit(few, 14) == ()  # 9 columns, a constant and 5 for the error
    enough = [Predictor(p.name, p.values[:15], p.levels) for p in predictors]
    assert len(pairs_that_fit(enough, 15)) == 3
    assert pairs_that_fit([predictors[0], predictors[0]], 30) == ()
