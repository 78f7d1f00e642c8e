"""The CIFAR-10 tutorial of SPOT and of Ray Tune: default, random search, ASHA and SPOT.

All tune the network of PyTorch's tutorial (two convolutions, three dense layers) on 30,000 images,
judge it on 20,000 others by the loss of the last epoch, and record the accuracy on the 10,000 test
images, which no search sees. The spaces are the published ones:

* ``spot`` and ``random``: widths 4 to 512, batches of 2 to 32, 8 or 16 epochs and ten optimizers at
  SPOT's base rates, gradients clipped to norm 1 [spotPython's notebook 14];
* ``asha``: widths 4 to 256, learning rates 1e-4 to 1e-1, batches of 2 to 16, SGD with momentum 0.9,
  10 epochs, random search stopped early by successive halving [Ray Tune's tutorial].

Methods that do not stop trainings get ``--budget`` trainings; ``asha`` gets as many epochs as these
take on average, so it begins more. Then the configuration that each recommends, and the defaults of
its space, are trained under ``--seeds`` fresh seeds, each with another split. Only these values are
shown. What is there is not trained again: the same command goes on after an interruption, and one
with a larger budget goes on from where a smaller one ended.

``--images`` is a folder with ``train/CLASS/*`` and ``test/CLASS/*``, or one that torchvision's
CIFAR10 reads. A GPU is shared by all trainings of the machine.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from torch import nn
from torchvision.datasets import CIFAR10, ImageFolder

from benchmarks.summary import table
from spot_dask import (
    Budget,
    Categorical,
    Data,
    Integer,
    Real,
    Run,
    Space,
    Split,
    Study,
    TorchTask,
    core_model,
)
from spot_dask.stats.intervals import MeanEstimate, mean_interval
from spot_dask.tasks.optimizers import made

TEN = ("Adadelta", "Adagrad", "Adam", "AdamW", "Adamax", "ASGD", "NAdam", "RAdam", "RMSprop", "SGD")
EPOCHS = 12
"""What a training of the published space takes on average, of 8 or 16 epochs."""

PUBLISHED = {
    "spot": "spotPython .596 (its reruns .575 to .610)",
    "asha": "Ray Tune .581",
    "default": ".243 (SGD without momentum)",
}
"""Accuracies on the test images that the tutorials state, of single trainings."""


@dataclass(frozen=True)
class Images:
    """All images, from a file that ``gathered`` wrote: normalised as the tutorials do."""

    path: Path
    share: float = 1.0

    def __call__(self) -> Data:
        """50,000 for training and validation, 10,000 for testing, or a share of both."""
        with np.load(self.path) as file:
            parts = [(file[f"{part}_x"], file[f"{part}_y"]) for part in ("train", "test")]
        train, test = (
            (torch.from_numpy(x).float().div_(127.5).sub_(1)[chosen], torch.from_numpy(y)[chosen])
            for x, y in parts
            if (chosen := slice(None, None, round(1 / self.share))) is not None
        )
        return Data(train, test=test)


def gathered(source: Path, file: Path) -> Path:
    """Read the images (N x 3 x 32 x 32, uint8) and classes of a folder into one file, once."""
    if file.exists():
        return file
    found: dict[str, Any] = {}
    for part in ("train", "test"):
        if (source / part).is_dir():
            items = [(np.asarray(image), y) for image, y in ImageFolder(source / part)]
            images, found[f"{part}_y"] = (np.array(values) for values in zip(*items, strict=True))
        else:
            whole = CIFAR10(source, train=part == "train")
            images, found[f"{part}_y"] = whole.data, np.array(whole.targets)
        found[f"{part}_x"] = images.transpose(0, 3, 1, 2).copy()
    file.parent.mkdir(parents=True, exist_ok=True)
    np.savez(file, **found)
    return file


def network(cfg: Any) -> nn.Module:
    """The network of PyTorch's tutorial with the widths l1 and l2."""
    return core_model("cnn").build(cfg, (3, 32, 32), 10)


def at_base_rate(parameters: Any, cfg: Any) -> torch.optim.Optimizer:
    """One of the ten optimizers at SPOT's base rate; SGD has a momentum of 0.9."""
    return made(cfg.optimizer, parameters, **({"momentum": 0.9} if cfg.optimizer == "SGD" else {}))


def sgd(parameters: Any, cfg: Any) -> torch.optim.Optimizer:
    """Ray's optimizer."""
    return torch.optim.SGD(parameters, cfg.lr, momentum=0.9)


def study_of(
    method: str,
    data: Images,
    budget: int,
    seed: int,
    batch: int,
    gpus: float | None,
    wall: float | None,
) -> Study:
    """The study of a method, whose smallest batch is ``batch``."""
    ray = method == "asha"
    space: dict[str, Any] = {
        "l1": Integer(4, 256 if ray else 512, scale="power2", default=32),
        "l2": Integer(4, 256 if ray else 512, scale="power2", default=32),
        "batch_size": Integer(batch, 16 if ray else 32, scale="power2", default=16),
    }
    if ray:
        space["lr"] = Real(1e-4, 1e-1, scale="log", default=1e-3)
    else:
        space["epochs"] = Integer(8, 16, scale="power2", default=8)
        space["optimizer"] = Categorical(TEN, default="SGD")
    task = TorchTask(
        network,
        data,
        sgd if ray else at_base_rate,
        loss=nn.CrossEntropyLoss(),
        metrics=("accuracy",),
        epochs=10 if ray else "epochs",
        batch_size="batch_size",
        split=Split(0.4),
        clip=None if ray else 1.0,
        eval_batch_size=2000,
    )
    return Study(
        Space(space),
        task,
        name=method,
        seed=seed,
        budget=Budget(
            wall=wall, **({"epochs": EPOCHS * budget} if ray else {"evaluations": budget})
        ),
        search="spot" if method == "spot" else "random",
        early_stopping="asha(min_epochs=1)" if ray else None,
        confirm=0,
        gpus=gpus,
    )


def beyond(budget: Budget, run: Run) -> Budget:
    """The budget of a search whose run has confirmed already: a budget counts a whole run."""
    confirmed = run.history.confirmations
    more = {"evaluations": len(confirmed), "epochs": sum(e.outcome.epochs for e in confirmed)}
    known = {name: getattr(budget, name) for name in more}
    return replace(budget, **{k: v + more[k] for k, v in known.items() if v is not None})


METHODS = ("random", "asha", "spot")


@click.command(help=__doc__)
@click.option("--images", type=click.Path(path_type=Path), required=True, help="The data set.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("runs/tutorial"))
@click.option("--method", "methods", multiple=True, type=click.Choice(METHODS), default=METHODS)
@click.option("--budget", default=40, show_default=True, help="Trainings of a method.")
@click.option("--seeds", default=5, show_default=True, help="Fresh seeds of what is recommended.")
@click.option("--seed", default=0, show_default=True, help="Of the search.")
@click.option("--local", default=2, show_default=True, help="Trainings at a time.")
@click.option("--gpus", type=float, help="GPUs of a training, such as 0.1.")
@click.option("--smallest-batch", default=2, show_default=True)
@click.option("--share", default=1.0, show_default=True, help="Of the images.")
@click.option("--wall", type=float, help="Seconds after which a search begins no more trainings.")
@click.option("--only-table", is_flag=True, help="Train nothing; show what is there.")
def main(
    images: Path,
    out: Path,
    methods: tuple[str, ...],
    budget: int,
    seeds: int,
    seed: int,
    local: int,
    gpus: float | None,
    smallest_batch: int,
    share: float,
    wall: float | None,
    only_table: bool,
) -> None:
    """Search, confirm and show."""
    data = Images(gathered(images, out / "images.npz").absolute(), share)
    for method in () if only_table else methods:
        study = study_of(method, data, budget, seed, smallest_batch, gpus, wall)
        store = out / f"{method}-s{seed}.zarr"
        if store.exists():
            run = study.resume(store, beyond(study.budget, Run.open(store)), local=local)
        else:
            run = study.run(store=store, local=local)
        study.confirm_more(run.path, seeds, local=local)
    click.echo(shown([Run.open(path) for path in sorted(out.glob("*.zarr"))]))


def shown(runs: list[Run]) -> str:
    """What fresh seeds say of each run's recommendation and of its space's defaults."""
    rows = []
    for run in runs:
        spent = [e for e in run.history.searched.evaluations]
        work = f"{len(spent)} trainings, {sum(e.outcome.epochs for e in spent)} epochs"
        for label, config in (
            ("tuned", run.best and run.best.config),
            ("default", run.space.default),
        ):
            own = [e.outcome.metrics for e in run.history.confirmations
                   if e.ok and dict(e.trial.config) == dict(config or {})]  # fmt: skip
            if not own:
                continue
            loss, accuracy = (
                stated([m[name] for m in own], bounds)
                for name, bounds in (("val_loss", (0.0, np.inf)), ("test_accuracy", (0.0, 1.0)))
            )
            method = run.header.name
            published = PUBLISHED.get(method if label == "tuned" else "default", "")
            what = ", ".join(f"{k}={v}" for k, v in (config or {}).items())
            spent_by = work if label == "tuned" else ""
            rows.append([method, label, what, spent_by, str(len(own)), loss, accuracy, published])
    head = ["method", "", "configuration", "search", "seeds", "validation loss", "test accuracy"]
    return table([*head, "published test accuracy"], rows)


def stated(values: list[float], bounds: tuple[float, float]) -> str:
    """A mean with its 95 % interval."""
    found: MeanEstimate = mean_interval(values, bounds=bounds)
    return f"{found.mean:.4f} [{found.t.low:.4f}, {found.t.high:.4f}]"


if __name__ == "__main__":
    main()
