"""Claims on several finalists: Holm by hand, and the rate of any false claim."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from spot_dask.stats.finalists import FALSE_CLAIMS, compare_finalists
from spot_dask.stats.paired import compare_paired, holm

DEFAULT = np.array([2.0, 2.3, 1.9, 2.2, 2.1])


def test_each_is_compared_and_the_least_p_pays_for_all() -> None:
    noise = np.array([0.1, -0.1, 0.05, 0.0, -0.05])
    found = compare_finalists(DEFAULT, [DEFAULT - 1 + noise, DEFAULT - 0.12 + noise, DEFAULT + 1])
    ps = [f.comparison.p_t for f in found]
    assert found[0].comparison == compare_paired(DEFAULT, DEFAULT - 1 + noise)
    assert [f.p_holm for f in found] == pytest.approx([3 * ps[0], 2 * ps[1], 1.0], rel=1e-6)
    assert [f.comparison.better for f in found] == [True, True, False]
    assert [f.better for f in found] == [True, False, False]


def test_one_finalist_is_a_paired_comparison() -> None:
    (found,) = compare_finalists(DEFAULT, [DEFAULT * 0.9])
    assert (found.p_holm, found.better) == (found.comparison.p_t, found.comparison.better)
    assert compare_finalists(DEFAULT, []) == ()


def test_any_false_claim_is_rare_and_unadjusted_it_is_not() -> None:
    rng = np.random.default_rng(1)
    default, tuned = rng.normal(size=(4000, 1, 6)), rng.normal(size=(4000, 6, 6))
    ps = stats.ttest_rel(default, tuned, axis=2, alternative="greater").pvalue
    any_claim = np.mean([np.any(holm(p) < FALSE_CLAIMS) for p in ps])
    assert any_claim <= FALSE_CLAIMS + 0.005 < 0.08 < np.mean(np.any(ps < FALSE_CLAIMS, axis=1))
    for values, finalists, p in zip(default[:5], tuned[:5], ps[:5], strict=True):
        found = compare_finalists(values[0], finalists)
        assert [f.p_holm for f in found] == pytest.approx(holm(p))
