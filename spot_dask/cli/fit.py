"""``spot-dask fit``: the tuned model of a run, as a file."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import click

from spot_dask import words
from spot_dask.cli import options as opt
from spot_dask.errors import StoreError
from spot_dask.texts import printable

SECONDS = 1.0
"""Between two lines about epochs: those of a small network end faster than one can read."""


class _Epochs:
    """Tells on stderr how the training goes."""

    def __init__(self) -> None:
        self._next = 0.0

    def tell(self, epoch: int, metrics: Mapping[str, float]) -> None:
        now = time.monotonic()
        if now >= self._next:
            self._next = now + SECONDS
            opt.say(f"epoch {epoch}: {_shown(metrics)}", err=True)


def _shown(metrics: Mapping[str, float]) -> str:
    shown = ", ".join(f"{name} {words.rough(value)}" for name, value in metrics.items())
    return printable(shown, words.LONGEST_TEXT)


@opt.command(
    "store",
    click.option(
        "-o",
        "--output",
        metavar="FILE",
        type=opt.PATH,
        default="model.pt",
        show_default=False,
        help="Where to write it [model.pt].",
    ),
    click.option(
        "--trial", type=click.IntRange(0), metavar="N", help="Of this trial; default: the best."
    ),
    click.option("--seed", type=click.IntRange(0), help="Another seed than the trial's."),
    click.option("--full", is_flag=True, help="Train on the validation data, too."),
    opt.study_option,
)
def fit(
    store: str,
    output: str,
    trial: int | None,
    seed: int | None,
    full: bool,
    study: str | None,
    as_json: bool,
) -> None:
    """Train the best of the run in STORE again; keep the model.

    With its own seed, on a CPU, it is the model whose value is recorded. The study's file is run:
    the one that STORE names, if it is as it was, or the one of --study.
    """
    from spot_dask.cli.run import reloaded
    from spot_dask.run import Run

    if not Path(output).parent.is_dir():
        raise click.UsageError(f"-o {output}: there is no directory {Path(output).parent}")
    run = Run.open(store)
    if seed is None and not full:
        with suppress(StoreError):
            opt.say(f"what its training has left is kept: {run.artifacts_at(trial)}", err=True)
    given = reloaded(run, study).study
    fitted = run.fit(given, trial=trial, seed=seed, full=full, tell=_Epochs().tell)
    try:
        fitted.save(output)
    except OSError as error:
        raise StoreError(f"{output} cannot be written ({error.strerror})") from error
    measured = dict(fitted.metrics)
    if as_json:
        document = {"store": store, "output": output, "config": fitted.named, "metrics": measured}
        opt.emit("fit", {**document, "seed": fitted.seed, "full": full})
        return
    opt.say(f"{output}: {_shown(measured)}")
