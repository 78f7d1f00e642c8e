"""One training by several processes, each on a GPU of its own, or on the CPU.

The training's own process is the first of them: it starts the others, which train the same, and
ends them whatever happens. They meet by torch.distributed: NCCL between GPUs, gloo for all else.
``python -m spot_dask.tasks.together RANK DIRECTORY`` is one of the others.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import cloudpickle
import torch
import torch.distributed as dist
from torch import Tensor, nn

from spot_dask import by_value
from spot_dask.tasks import Context
from spot_dask.tasks.snapshot import State

PATIENCE = timedelta(hours=24)
"""How long a process may be busy while others wait for it: it may judge a large set."""

JOB, STORE, ERROR = "job.pkl", "store", "error-"


def rank() -> int:
    """The number of this process among those of a training, from 0."""
    return dist.get_rank() if dist.is_initialized() else 0


def processes() -> int:
    """How many processes this training has."""
    return dist.get_world_size() if dist.is_initialized() else 1


@dataclass
class Helper:
    """The trial as the others see it: they report nothing, and read the same checkpoint."""

    number: int
    attempt: int
    seed: int
    slot: int
    fold: int
    partition: int
    checkpoint: Path
    keeps_checkpoint: bool
    device: str = ""

    def report(self, epoch: int, /, **metrics: float) -> None:
        """The first process reports."""


@contextlib.contextmanager
def together(
    count: int, train: Callable[..., Any], config: Mapping[str, Any], trial: Context
) -> Iterator[None]:
    """Have ``count`` processes, this one included, call ``train(config, trial)``.

    Raises RuntimeError, with its last words, where another process has failed.
    """
    kept = trial.keeps_checkpoint
    checkpoint = trial.checkpoint if kept else Path()
    own = trial.number, trial.attempt, trial.seed, trial.slot, trial.fold, trial.partition
    helper = Helper(*own, checkpoint, kept)
    with tempfile.TemporaryDirectory(prefix="spot-dask-together-") as name:
        directory = Path(name)
        job = train, dict(config), helper, count, sys.path, torch.get_num_threads()
        (directory / JOB).write_bytes(by_value.dumps(job))
        command = [sys.executable, "-P", "-m", __name__]
        root = str(Path(__file__).parents[2])
        paths = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH", "")]))
        others = [
            subprocess.Popen(
                [*command, str(i), name],
                stdin=subprocess.DEVNULL,
                env=os.environ | {"PYTHONPATH": paths},
            )
            for i in range(1, count)
        ]
        try:
            _meet(0, count, directory)
            yield
        except Exception as error:
            said = _last_words(directory, others)
            if said is None:
                raise
            raise RuntimeError(said) from error
        finally:
            for other in others:
                other.kill()
                other.wait()
            if dist.is_initialized():
                dist.destroy_process_group()


def _last_words(directory: Path, others: list[subprocess.Popen[bytes]]) -> str | None:
    """What another process that has failed says; None where none has."""
    time.sleep(0.2)  # it may be about to say it
    for number, other in enumerate(others, 1):
        file = directory / f"{ERROR}{number}"
        if file.exists():
            return f"process {number} of the training failed: {file.read_text()}"
        if other.poll():
            return f"process {number} of the training ended with exit code {other.returncode}"
    return None


def _meet(number: int, count: int, directory: Path) -> None:
    both = "cpu:gloo,cuda:nccl" if torch.cuda.device_count() >= count else "gloo"
    dist.init_process_group(
        both, f"file://{directory / STORE}", PATIENCE, rank=number, world_size=count
    )


# ---------------------------------------------------------------- what they exchange


def add_gradients(model: nn.Module) -> None:
    """Have every process the sum of the gradients of all."""
    wanted = [p for p in model.parameters() if p.requires_grad]
    by_type: dict[tuple[torch.dtype, torch.device], list[nn.Parameter]] = {}
    for parameter in wanted:
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
        by_type.setdefault((parameter.dtype, parameter.device), []).append(parameter)
    for parameters in by_type.values():
        gradients = [p.grad for p in parameters if p.grad is not None]
        flat = torch.cat([gradient.reshape(-1) for gradient in gradients])
        dist.all_reduce(flat)
        sums = torch.split(flat, [gradient.numel() for gradient in gradients])
        for gradient, summed in zip(gradients, sums, strict=True):
            gradient.copy_(summed.view_as(gradient))


def same_weights(model: nn.Module) -> None:
    """Give every process the weights and buffers of the first."""
    for parameter in model.parameters():
        dist.broadcast(parameter.data, 0)
    same_buffers(model)


def same_buffers(model: nn.Module) -> None:
    """Give every process the buffers of the first: means of a batch normalisation and the like."""
    for buffer in model.buffers():
        dist.broadcast(buffer, 0)


def mean_of(value: float, weight: float) -> float:
    """The mean of the processes' values by their weights."""
    both: Tensor = torch.tensor([value * weight, weight], dtype=torch.float64)
    dist.all_reduce(both)
    return float(both[0] / both[1])


def told(value: Any) -> Any:
    """The value that the first process has, in every process."""
    box = [value]
    dist.broadcast_object_list(box, 0)
    return box[0]


def of_all(state: State) -> list[State]:
    """The states of all processes, in every process."""
    found: list[Any] = [None] * processes()
    dist.all_gather_object(found, state)
    return found


def main() -> None:
    """Train as one of the processes of a training."""
    number, directory = int(sys.argv[1]), Path(sys.argv[2])
    try:
        train, config, helper, count, path, threads = cloudpickle.loads(
            (directory / JOB).read_bytes()
        )
        sys.path.extend(entry for entry in path if entry not in sys.path)
        torch.set_num_threads(threads)
        by_value.install()
        from spot_dask.space.config import Config

        _meet(number, count, directory)
        train(Config(config), helper)
    except BaseException as error:
        text = f"{type(error).__name__}: {' '.join(str(error).split())}"
        with contextlib.suppress(OSError):
            (directory / f"{ERROR}{number}").write_text(text)
        raise


if __name__ == "__main__":
    main()
