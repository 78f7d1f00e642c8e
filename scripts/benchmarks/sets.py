"""Named sets of problems. Patterns stand for what a suite lists; see ``problems``."""

from __future__ import annotations

BASELINE = [
    "bbob/f8-d5-i1", "bbob/f21-d5-i1", "bbob_mixint/f8-d10-i1", "hpobench/vehicle",
    "hpolib/protein_structure", "nasbench201/cifar100", "lcbench/7593",
]  # fmt: skip

# Instances, data sets and dimensions on which nothing was chosen; look at them seldom.
HELD_OUT = [
    "bbob/f1-d10-i7", "bbob/f3-d5-i7", "bbob/f6-d5-i7", "bbob/f10-d5-i7", "bbob/f13-d10-i7",
    "bbob/f15-d5-i7-n0.05", "bbob/f17-d10-i7-n0.05", "bbob/f20-d5-i7", "bbob/f22-d5-i7",
    "bbob/f24-d3-i7", "bbob_mixint/f1-d5-i7", "bbob_mixint/f10-d10-i7-n0.05",
    "bbob_mixint/f21-d5-i7", "hpobench/phoneme", "hpobench/car", "hpobench/segment",
    "hpolib/naval_propulsion", "hpolib/slice_localization", "nasbench201/cifar10",
    "nasbench201/imagenet", "lcbench/3945", "lcbench/126026", "lcbench/167168", "lcbench/189354",
]  # fmt: skip

SETS: dict[str, list[str]] = {
    "baseline": BASELINE,
    "crash": ["crash/*"],
    "mixed": ["mixed/*"],
    "heldout": HELD_OUT,
    "related": ["transfer/related/*"],
    "unrelated": ["transfer/unrelated/*"],
    "noisy": [f"bbob/f{f}-d{d}-i1-n0.05" for d in (2, 5, 10) for f in range(1, 25)],
    "quick": ["bbob/f8-d5-i1", "bbob_mixint/f8-d10-i1", "mixed/branches", "crash/m2",
              "hpobench/vehicle", "nasbench201/cifar100"],
}  # fmt: skip
SETS["full"] = [*BASELINE, *SETS["crash"], *SETS["mixed"], *HELD_OUT, *SETS["noisy"]]
