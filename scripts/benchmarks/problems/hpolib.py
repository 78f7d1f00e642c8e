"""HPOLib's tables of fully connected networks: 62,208 real trainings with 4 seeds each."""

from __future__ import annotations

from benchmarks.problems import Problem
from benchmarks.tables import table

NAMES = [
    "naval_propulsion", "parkinsons_telemonitoring", "protein_structure", "slice_localization",
]  # fmt: skip
KIND = "tables"


def make(name: str) -> Problem:
    return table("hpolib", "HPOLib", name, metric="val_loss", sign=1.0)
