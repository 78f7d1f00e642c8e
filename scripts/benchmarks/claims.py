"""What a report states about a run whose truth is known, and whether it holds.

Every claim is 1 where it holds and 0 where not, or a share of the statements of one run; a claim
that a run does not make is absent. ``NOMINAL`` tells how often each should hold.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from benchmarks.noisy import Scenario
from benchmarks.problems import FloatArray
from spot_dask.inference import Inference
from spot_dask.inference.confirmed import Confirmation
from spot_dask.records import Configuration
from spot_dask.stats.intervals import Interval
from spot_dask.stats.paired import PairedComparison

LEVEL = 0.95
_Z = 1.959963984540054
_ELSEWHERE = 40

NOMINAL: Mapping[str, float] = {
    "tuned": LEVEL,
    "tuned, BCa": LEVEL,
    "default": LEVEL,
    "default, BCa": LEVEL,
    "gain": LEVEL,
    "gain, BCa": LEVEL,
    "P(tuned beats default)": LEVEL,
    "not falsely better": 0.975,
    "sign flip p > .025": 0.975,
    "severity, more than": LEVEL,
    "severity, at most": LEVEL,
    "LOO prediction": LEVEL,
    "prediction elsewhere": LEVEL,
    "model elsewhere": LEVEL,
    "model, evaluated": LEVEL,
    "model, default": LEVEL,
    "model, tuned": LEVEL,
    "model, gain": LEVEL,
}
CONFIRMED = tuple(NOMINAL)[:11]
MODELLED = tuple(NOMINAL)[11:]


def confirmed_claims(
    scenario: Scenario, found: Confirmation, default: Configuration
) -> dict[str, float]:
    """What is stated from fresh seeds: of expectations over all seeds, and of the next seed.

    "Better than the default" is judged where it is false, in the runs whose configuration gains
    nothing. The severity claims are one-sided bounds of .95 each, of which a run states one; it
    counts as right in the other.
    """
    tuned = found.tuned.config
    mean = scenario.mean(tuned)
    holds = {
        "tuned": inside(found.value.t, mean),
        "tuned, BCa": inside(found.value.bca, mean),
    }
    base = scenario.mean(default)
    if found.default is not None:
        holds["default"] = inside(found.default.t, base)
        holds["default, BCa"] = inside(found.default.bca, base)
    if found.gain is not None:
        holds |= _gain_claims(found.gain, base - mean, scenario.beats(tuned, default))
    elif found.is_default:
        holds["not falsely better"] = holds["sign flip p > .025"] = 1.0
    return holds


def _gain_claims(gain: PairedComparison, truth: float, beats: float) -> dict[str, float]:
    """The claims of a paired comparison; those of significance only where there is no gain."""
    bound, slack = gain.warranted(), 1e-9 * abs(truth)
    more, less = bound <= truth + slack, bound >= truth - slack
    holds = {
        "gain": inside(gain.t, truth),
        "gain, BCa": inside(gain.bca, truth),
        "P(tuned beats default)": inside(gain.share_interval, beats),
        "severity, more than": float(not gain.better or more),
        "severity, at most": float(gain.better or less),
    }
    if truth <= slack:
        holds["not falsely better"] = float(not gain.better)
        holds["sign flip p > .025"] = float(gain.p_sign_flip > 0.025)
    return holds


def model_claims(
    scenario: Scenario,
    inference: Inference,
    best: Configuration,
    rng: np.random.Generator,
) -> dict[str, float]:
    """What the model of inference states: predictions of trainings, and of typical values.

    The typical value of a configuration is the expectation over seeds on the scale of the model's
    transformation. ``elsewhere`` is at random configurations that do not fail. Intervals of tuned
    and of its gain are never printed from the model; they show why.
    """
    space, noise = scenario.space, scenario.noise
    mean, sd = inference.leave_one_out()
    holds = {"LOO prediction": _share(mean, sd, inference.z)}
    rows = space.snap(rng.random((_ELSEWHERE, space.d)))
    configs = [dict(c) for c in space.decode(rows)]
    fine = [i for i, c in enumerate(configs) if np.isfinite(scenario.level(c))]
    rows, configs = rows[fine], [configs[i] for i in fine]
    mean, sd = inference.predict(rows)
    levels = np.array([scenario.level(c) for c in configs])
    shown = noise.value(levels, rng.permutation(noise.pairs()[0])[: len(levels)])
    with np.errstate(invalid="ignore", divide="ignore"):
        z = inference.internal(shown)
    spread = np.sqrt(sd**2 + np.sum(np.square(inference.noise)))
    holds["prediction elsewhere"] = _share(mean, spread, z)
    holds["model elsewhere"] = _share(mean, sd, _typical(scenario, inference, configs))
    evaluated = [dict(c) for c in space.decode(inference.evidence.X)]
    truth = _typical(scenario, inference, evaluated)
    holds["model, evaluated"] = _share(*inference.predict(inference.evidence.X), truth)
    if not np.isfinite(scenario.level(space.default)):
        return holds
    pair = space.encode([space.default, best])
    truth = _typical(scenario, inference, [dict(space.default), dict(best)])
    mean, covariance = inference.joint(pair)
    sd = np.sqrt(np.diagonal(covariance))
    holds["model, default"] = _share(mean[:1], sd[:1], truth[:1])
    holds["model, tuned"] = _share(mean[1:], sd[1:], truth[1:])
    if dict(best) != dict(space.default):
        apart = np.array([1.0, -1.0])
        spread = np.sqrt(np.maximum(apart @ covariance @ apart, 0.0))[None]
        holds["model, gain"] = _share((apart @ mean)[None], spread, (apart @ truth)[None])
    return holds


def _typical(
    scenario: Scenario, inference: Inference, configs: list[dict[str, bool | int | float | str]]
) -> FloatArray:
    """The truth of z at k configurations (k)."""
    moved = scenario.typical(list(configs), inference.transform.forward)
    return (inference.sign * moved - inference.offset) / inference.scale


def _share(mean: FloatArray, sd: FloatArray, truth: FloatArray) -> float:
    """The share of truths in their normal intervals."""
    return float(np.mean(np.abs(mean - truth) <= _Z * sd + 1e-6))


def inside(interval: Interval, truth: float) -> float:
    """1 where an interval holds the truth, up to rounding."""
    slack = 1e-9 * abs(truth)
    return float(interval.low - slack <= truth <= interval.high + slack)
