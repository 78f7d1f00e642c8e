"""HEBO with its defaults, behind ``serve``."""

from __future__ import annotations

import random

from serve import serve


class Hebo:
    def __init__(self, axes, seed):
        import numpy as np
        import pandas as pd
        import torch
        from hebo.design_space.design_space import DesignSpace
        from hebo.optimizers.hebo import HEBO
        from pymoo.config import Config

        Config.warnings["not_compiled"] = False  # it is printed by every process
        random.seed(seed)
        np.random.seed(seed)  # noqa: NPY002 - HEBO draws from the global generators
        torch.manual_seed(seed)
        torch.set_num_threads(1)
        self._np, self._pd = np, pd
        self._hebo = HEBO(DesignSpace().parse(list(map(_parameter, axes))), scramble_seed=seed)

    def ask(self, n):
        return self._hebo.suggest(n).to_dict("records")

    def tell(self, results):
        rows = self._pd.DataFrame([row for row, _ in results])
        self._hebo.observe(rows, self._np.array([[y] for _, y in results], dtype=float))


def _parameter(axis):
    if axis["kind"] == "factor":
        levels = list(range(int(axis["high"]) + 1))
        return {"name": axis["name"], "type": "cat", "categories": levels}
    kinds = {"float": ("num", "pow"), "int": ("int", "pow_int")}
    kind = kinds[axis["kind"]][axis["log"]]
    return {"name": axis["name"], "type": kind, "lb": axis["low"], "ub": axis["high"]}


if __name__ == "__main__":
    serve(Hebo)
