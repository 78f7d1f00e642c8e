"""A child for the tests: what it was told last comes back as the next proposal.

Its seed says how it is: 1 lacks a package, 2 fails when asked, 3 dies, 4 is chatty, 5 is slow.
"""

from __future__ import annotations

import math
import os
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts" / "benchmarks" / "children"))
from serve import serve

BURNT = 0.3  # CPU seconds of a slow ask


class Toy:
    def __init__(self, axes: list[dict[str, Any]], seed: int) -> None:
        if seed == 1:
            raise ImportError("No module named 'toys'")
        self.axes, self.seed, self.last, self.started = axes, seed, 0.0, 0.0

    def ask(self, n: int) -> list[dict[str, float]]:
        self.started = time.process_time()
        if self.seed == 2:
            raise ValueError("no idea")
        if self.seed == 3:
            os._exit(7)
        if self.seed == 4:
            os.write(1, b"hello\n")
            print("hello")
        while self.seed == 5 and time.process_time() < self.started + BURNT:
            pass
        return [{axis["name"]: self.last for axis in self.axes} for _ in range(n)]

    def tell(self, results: list[tuple[dict[str, float], float]]) -> None:
        row, y = results[-1]
        self.last = -5.0 if math.isnan(y) else (row["x"] + y) / 2


if __name__ == "__main__":
    serve(Toy)
