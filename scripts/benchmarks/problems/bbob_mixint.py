"""bbob-mixint [Tusar, Brockhoff and Hansen 2019]: four of five variables are integers."""

from __future__ import annotations

from benchmarks.problems import Problem
from benchmarks.problems.bbob import coco

NAMES = [f"f{f}-d{d}-i1{n}" for f in range(1, 25) for d in (5, 10, 20) for n in ("", "-n0.05")]
KIND = "mixed"


def make(name: str) -> Problem:
    return coco("bbob_mixint", name)
