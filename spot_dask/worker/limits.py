"""The conditions of a training: GPUs, exactly those and no others, time, and where it runs."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from spot_dask.errors import ClusterError
from spot_dask.settings import Isolation, check
from spot_dask.worker.artifacts import ArtifactPlace
from spot_dask.worker.checkpoints import Place

DEVICES = "CUDA_VISIBLE_DEVICES"
"""The environment variable that tells CUDA which GPUs there are."""


@dataclass(frozen=True)
class Limits:
    """What one trial may use.

    ``gpus``: 2 for two GPUs, 0.25 for a GPU shared by four trials, 0 for none; None for one where
    there are any. ``seconds``: how long an attempt may take from when its process begins with it;
    None for ever. ``memory``: what it and all that it starts may have, ``"8GB"``; None for any.
    """

    gpus: float | None = None
    seconds: float | None = None
    memory: str | None = None

    def __post_init__(self) -> None:
        check("gpus", self.gpus)
        check("timeout", self.seconds)
        check("memory", self.memory)

    @property
    def enforced(self) -> list[str]:
        """What only a training in a process of its own can be held to, in words."""
        asked = {"timeout": self.seconds, "limit of memory": self.memory}
        found = [what for what, limit in asked.items() if limit is not None]
        return found + (["GPUs of its own"] if self.gpus else [])

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


@dataclass(frozen=True)
class Conditions:
    """What a training may use, where it runs, and where its checkpoints and artifacts are kept.

    Where a place is None, none are kept.

    In a thread of its worker nothing can be taken from it: it cannot be stopped, except early at
    its next report, and its crash is that of the worker with all that runs there.
    """

    limits: Limits = field(default_factory=Limits)
    isolation: Isolation = "warm"
    place: Place | None = None
    artifacts: ArtifactPlace | None = None

    def __post_init__(self) -> None:
        check("isolation", self.isolation)
        if self.isolation == "thread" and (asked := self.limits.enforced):
            raise ValueError(
                f"a training in a thread of its worker can have no {asked[0]}; "
                "expected isolation 'warm' or 'process'"
            )


def visible_gpus() -> list[str]:
    """The GPUs this process may use, as ``DEVICES`` names them."""
    chosen = os.environ.get(DEVICES)
    if chosen is not None:
        return [name.strip() for name in chosen.split(",") if name.strip()]
    nodes = [p.name for p in Path("/dev").glob("nvidia*") if re.fullmatch(r"nvidia\d+", p.name)]
    return [str(i) for i in range(len(nodes))]
