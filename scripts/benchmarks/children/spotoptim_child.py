"""spotoptim with its defaults, behind ``serve``: its own steps, driven from outside.

A batch is its ``n_infill_points``; the initial design has max(10, 2 d) points, as it advises.
"""

from __future__ import annotations

from importlib.metadata import version

from serve import serve


class SpotOptim:
    def __init__(self, axes, seed):
        import numpy as np
        import spotoptim

        found = version("spotoptim")
        if int(found.partition(".")[0]) < 3:  # what pip takes where Python is older than 3.13
            raise ImportError(f"spotoptim 3 is needed, {found} is there")
        self._np, self._axes = np, axes
        self._spot = spotoptim.SpotOptim(
            fun=_never_called,
            bounds=list(map(_bounds, axes)),
            var_type=[axis["kind"] for axis in axes],
            var_name=[axis["name"] for axis in axes],
            var_trans=["log10" if axis["log"] else None for axis in axes],
            n_initial=max(10, 2 * len(axes)),
            max_iter=100_000,
            seed=seed,
        )
        self._spot.set_seed()
        self._design = list(self._spot.get_initial_design())
        self._X, self._y = [], []

    def ask(self, n):
        if len(self._y) >= self._spot.n_initial:
            self._design = []  # also where it learnt from evaluations it did not ask for
        elif len(self._y) < 2:
            while len(self._design) < n:
                self._design += list(self._spot.generate_initial_design())
        planned, self._design = self._design[:n], self._design[n:]
        if len(planned) < n:
            planned += list(self._infill(n - len(planned)))
        spot = self._spot
        natural = spot.repair_natural_X(spot.inverse_transform_X(self._np.array(planned)))
        return [self._numbers(row) for row in natural]

    def tell(self, results):
        for row, y in results:
            if self._np.isfinite(y):  # spotoptim's own loop drops the others, too
                self._X.append([row[axis["name"]] for axis in self._axes])
                self._y.append(y)

    def _infill(self, n):
        spot = self._spot
        spot.X_, spot.y_ = self._np.array(self._X, dtype=float), self._np.array(self._y)
        best = spot.y_.argmin()
        spot.best_x_, spot.best_y_ = spot.X_[best], spot.y_[best]
        spot.n_infill_points = n
        spot.update_stats()
        spot.fit_scheduler()
        return spot.suggest_next_infill_point()

    def _numbers(self, row):
        pairs = zip(self._axes, row.tolist(), strict=True)
        return {a["name"]: v if a["kind"] == "float" else round(v) for a, v in pairs}


def _bounds(axis):
    if axis["kind"] == "factor":
        return tuple(f"level{i}" for i in range(int(axis["high"]) + 1))
    return axis["low"], axis["high"]


def _never_called(X):
    raise AssertionError("asked and told, never run")


if __name__ == "__main__":
    serve(SpotOptim)
