"""Weights & Biases: a run for each trial, in a group for the whole search.

A trial's run is written aside and moved to its place when it is complete, which tells that it is
there.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from spot_dask.records import Evaluation
from spot_dask.trackers import Listener, Tracked
from spot_dask.trackers.points import SearchPoints, epochs, facts, results, trial_name

LONGEST_VALUE = 500


@dataclass
class WandB(Listener):
    """Runs in a project of the study's name, or of the name given; ``wandb sync`` sends them.

    ``mode="offline"`` writes files only, in ``wandb`` of ``dir`` or of the run's own folder beside
    the store. With ``mode="online"`` they are sent as well, to the account that wandb is logged in
    to; a trial that was cut off goes on there under its own id.
    """

    needs: ClassVar[tuple[str, ...]] = ("wandb",)

    project: str | None = None
    entity: str | None = None
    mode: str = "offline"
    dir: str | Path | None = None
    _group: WandBGroup | None = field(default=None, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.mode not in ("offline", "online"):
            raise ValueError(f"mode is {self.mode!r}; expected 'offline' or 'online'")

    def begin(self, run: Tracked) -> Collection[int]:
        """The trials whose runs are in their place; what a killed session left aside is removed."""
        if self.mode == "offline":  # then nothing is to be sent, also not what wandb meets itself
            os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
        base = run.folder if self.dir is None else Path(self.dir)
        options = {"project": self.project or run.name, "entity": self.entity, "mode": self.mode}
        self._group = WandBGroup(run, base.absolute() / "wandb", options)
        return self._group.complete()

    def evaluated(self, evaluation: Evaluation, place: int) -> None:
        """Write the run of a trial and move it to its place."""
        if self._group is not None:
            self._group.write(evaluation, place)

    def end(self, reason: str) -> None:
        """Remove what lies aside."""
        if self._group is not None:
            self._group.clear()


class WandBGroup:
    """The runs of Weights & Biases that belong to a run of spot-dask, in a folder."""

    def __init__(self, run: Tracked, home: Path, options: Mapping[str, Any]) -> None:
        self._run, self._home, self._options = run, home, options
        self._points = SearchPoints(run)
        self._aside = home / f".{run.id[:8]}"

    def complete(self) -> set[int]:
        """The numbers of the trials that are there; what lies aside is removed."""
        self.clear()
        own = re.compile(rf"(?:offline-)?run-[\d_]+-{self._run.id[:8]}-(\d+)")
        found = (own.fullmatch(path.name) for path in self._home.glob("*run-*"))
        return {int(match[1]) for match in found if match}

    def write(self, evaluation: Evaluation, place: int) -> None:
        """Write the run of a trial."""
        trial, outcome = evaluation.trial, evaluation.outcome
        self.clear()
        self._aside.mkdir(parents=True)
        name = f"{self._run.id[:8]}-{trial.number}"
        run = self._begun(evaluation, name)
        try:
            for epoch, _, row in epochs(outcome):
                run.log({allowed(key): value for key, value in row.items()}, step=epoch)
            found = {**results(outcome), **self._points.at(evaluation, place), "place": place}
            noted = {key: short(value) for key, value in facts(evaluation).items()}
            run.summary.update({allowed(key): value for key, value in {**found, **noted}.items()})
        finally:
            run.finish(exit_code=int(outcome.failed))
        (written,) = (self._aside / "wandb").glob(f"*run-*-{name}")
        written.replace(self._home / written.name)

    def clear(self) -> None:
        """Remove what lies aside: a run that was cut off, and what wandb leaves of others."""
        shutil.rmtree(self._aside, ignore_errors=True)

    def _begun(self, evaluation: Evaluation, name: str) -> Any:
        """A run of wandb's that looks at nothing but what it is given."""
        import wandb

        trial = evaluation.trial
        return wandb.init(
            **self._options,
            id=name,
            name=trial_name(trial.number),
            group=f"{self._run.folder.name}-{self._run.id[:8]}",
            job_type=trial.origin.value,
            dir=self._aside,
            config={key: short(value) for key, value in trial.config.items()},
            reinit="create_new",  # a run of the study's own stays as it is
            resume="allow" if self._options["mode"] == "online" else None,
            settings=wandb.Settings(
                console="off", silent=True, disable_git=True, save_code=False,
                x_disable_stats=True, x_disable_meta=True, x_disable_machine_info=True,
                x_save_requirements=False,
            ),
        )  # fmt: skip


def short(value: Any) -> Any:
    """The value, cut where it is a long text."""
    return value[:LONGEST_VALUE] if isinstance(value, str) else value


def allowed(name: str) -> str:
    """A name as Weights & Biases takes it: those with ``_`` in front are its own."""
    return f"metric{name}" if name.startswith("_") else name
