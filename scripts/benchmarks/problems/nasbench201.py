"""NAS-Bench-201's tables of cell architectures: 15,625 real trainings with 3 seeds each."""

from __future__ import annotations

from benchmarks.problems import Problem
from benchmarks.tables import table

NAMES = ["cifar10", "cifar100", "imagenet"]
KIND = "tables"


def make(name: str) -> Problem:
    return table("nasbench201", "NASBench201", name, metric="val_acc", sign=-1.0)
