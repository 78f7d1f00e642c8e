"""The best known value of a problem without a formula for it, and the median of its values.

python -m benchmarks.best_known sklearn/svm_digits
"""

from __future__ import annotations

import os

import click
import numpy as np

from benchmarks import data, problems
from benchmarks.problems import FloatArray, Truth, stream, uniform
from spot_dask import Space


def lowest(
    space: Space, truth: Truth, name: str, samples: int, rounds: int, elite: int, children: int
) -> tuple[float, FloatArray]:
    """The lowest value found, and those of the uniform samples.

    After the samples come so many rounds of ever smaller steps: ``children`` from each of the
    ``elite`` best, every coordinate with a chance of a half.
    """
    rng = stream(name, "optimum")
    X = space.encode(uniform(space, samples, rng))
    first = y = truth(space.decode(X))
    for i in range(rounds):
        best = np.argsort(y)[:elite]
        steps = 0.3 * 0.8**i * rng.standard_normal((children, elite, space.d))
        steps *= rng.random(steps.shape) < 0.5
        near = space.snap(np.clip(X[best] + steps, 0, 1).reshape(-1, space.d))
        X, y = np.vstack([X[best], near]), np.append(y[best], truth(space.decode(near)))
    return float(y.min()), first


@click.command()
@click.argument("names", nargs=-1, required=True)
@click.option("--samples", default=128, show_default=True)
@click.option("--rounds", default=8, show_default=True)
@click.option("--elite", default=6, show_default=True)
@click.option("--children", default=3, show_default=True, help="Steps from each of the elite.")
@click.option("--data", "folder", help="Folder with the data of suites.")
def main(
    names: tuple[str, ...], samples: int, rounds: int, elite: int, children: int, folder: str | None
) -> None:
    """Print what a problem's file states as known."""
    if folder:
        os.environ[data.VARIABLE] = folder
    for name in names:
        p = problems.find(name)
        best, values = lowest(p.space, p.truth, name, samples, rounds, elite, children)
        finite = values[np.isfinite(values)]
        click.echo(f"{name}: Known({best:.6g}, {float(np.median(finite)):.6g})")


if __name__ == "__main__":
    main()
