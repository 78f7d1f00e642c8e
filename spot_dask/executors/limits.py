"""What a trial may use: GPUs, exactly those and no others, and time."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from spot_dask.errors import ClusterError

DEVICES = "CUDA_VISIBLE_DEVICES"
"""The environment variable that tells CUDA which GPUs there are."""


@dataclass(frozen=True)
class Limits:
    """What one trial may use.

    ``gpus``: 2 for two GPUs, 0.25 for a GPU shared by four trials, 0 for none; None for one where
    there are any. ``seconds``: how long it may train before it is stopped; None for ever.
    """

    gpus: float | None = None
    seconds: float | None = None

    def __post_init__(self) -> None:
        gpus = self.gpus
        if gpus and not (gpus > 0 and _is_whole(gpus if gpus >= 1 else 1 / gpus)):
            raise ValueError(f"gpus is {gpus!r}; expected a whole number or a share such as 0.25")
        if self.seconds is not None and not self.seconds > 0:
            raise ValueError(f"timeout is {self.seconds!r}; expected seconds, more than 0")

    def slots(self, gpus: int) -> int:
        """How many trials so many GPUs take at a time; not for trials without GPUs."""
        each = 1.0 if self.gpus is None else self.gpus
        return gpus // round(each) if each >= 1 else gpus * round(1 / each)

    def devices(self, slot: int, visible: Sequence[str]) -> tuple[str, ...]:
        """The GPUs of a slot, among those its worker sees; raises ClusterError if it sees too few.

        Trials that share GPUs are dealt out to all of them in turn.
        """
        if self.gpus == 0 or (self.gpus is None and not visible):
            return ()
        if self.gpus is None or self.gpus < 1:
            if not visible:
                raise ClusterError("the trial asks for a GPU, but its worker sees none")
            return (visible[slot % len(visible)],)
        each = round(self.gpus)
        mine = tuple(visible[slot * each : (slot + 1) * each])
        if len(mine) < each:
            raise ClusterError(
                f"slot {slot} of the worker asks for {each} GPUs of its own, but the worker sees "
                f"only {len(visible)}; start it with fewer threads or another GPU resource"
            )
        return mine


def visible_gpus() -> list[str]:
    """The GPUs this process may use, as ``DEVICES`` names them."""
    chosen = os.environ.get(DEVICES)
    if chosen is not None:
        return [name.strip() for name in chosen.split(",") if name.strip()]
    nodes = [p.name for p in Path("/dev").glob("nvidia*") if re.fullmatch(r"nvidia\d+", p.name)]
    return [str(i) for i in range(len(nodes))]


def _is_whole(value: float) -> bool:
    return abs(value - round(value)) < 1e-6
