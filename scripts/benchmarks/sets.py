"""Named sets of problems, all for development. Patterns stand for what a suite lists.

What is used to choose must not be used to judge: the verification problems are in a file of their
own, which ``benchmarks.verification`` reads.
"""

from __future__ import annotations

NETWORKS = [
    f"lcbench/{task}"
    for task in (126025, 126029, 146212, 7593, 34539, 167190, 167149, 189909)
]  # fmt: skip

DEVELOPMENT = [
    *NETWORKS,
    "bbob/f8-d5-i1", "bbob/f21-d5-i1", "bbob/f2-d5-i2", "bbob/f3-d5-i2", "bbob/f10-d10-i2",
    "bbob/f15-d5-i2", "bbob/f13-d5-i2", "bbob/f17-d5-i2", "bbob_mixint/f8-d10-i1",
    "hpolib/protein_structure", "hpobench/vehicle", "nasbench201/cifar100", "mixed/branches",
]  # fmt: skip

SETS: dict[str, list[str]] = {
    "development": DEVELOPMENT,
    "networks": NETWORKS,
    "crash": ["crash/*"],
    "mixed": ["mixed/*"],
    "nanochat": ["nanochat/*"],
    "related": ["transfer/related/*"],
    "unrelated": ["transfer/unrelated/*"],
    "noisy": [f"bbob/f{f}-d{d}-i1-n0.05" for d in (2, 5, 10) for f in range(1, 25)],
    "quick": ["bbob/f8-d5-i1", "bbob_mixint/f8-d10-i1", "mixed/branches", "crash/m2",
              "hpobench/vehicle", "nasbench201/cifar100"],
}  # fmt: skip
SETS["full"] = [*DEVELOPMENT, *SETS["crash"], *SETS["mixed"], *SETS["noisy"]]
