"""HPOBench's tables of multi-layer perceptrons: 30,000 real trainings with 5 seeds each."""

from __future__ import annotations

from benchmarks.problems import Problem
from benchmarks.tables import table

NAMES = [
    "australian", "blood_transfusion", "car", "credit_g", "kc1", "phoneme", "segment", "vehicle",
]  # fmt: skip
KIND = "tables"


def make(name: str) -> Problem:
    return table("hpobench", "HPOBench", name, metric="val_acc", sign=-1.0)
