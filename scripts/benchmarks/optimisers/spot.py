"""spot-dask, with the early replicates that a run has, which tell whether an objective is exact.

Options are fields of Tuner: ``infill=log_ei``, ``surrogate=kriging``.

A dotted name sets a field of what a field holds: ``design.initial=16``,
``surrogate.deterministic=True``, ``infill.search.starts=8``. ``ahead=1`` keeps so many proposals
ready before they are asked for, as a coordinator does whose proposals take long; ``priors=False``
leaves evaluations of other objectives unread.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from spot_dask import History, Space, Trial, Tuner, infill, surrogates
from spot_dask.records import Configuration, Import
from spot_dask.settings import Settings

_FIND = {"surrogate": surrogates.find, "infill": infill.find}


class Spot:
    def __init__(self, tuner: Tuner, ahead: int = 0, priors: bool = True) -> None:
        self.tuner = tuner
        self._priors = priors
        self.history = History()
        self._ahead = ahead
        self._trials: list[Trial] = []
        self._given = 0

    def ask(self, n: int) -> list[Configuration]:
        wanted = n - len(self._trials) + self._given + self._ahead
        trials = self.tuner.ask(self.history, wanted)
        self.history = self.history.ask(trials)
        self._trials += trials
        given = self._trials[self._given : self._given + n]
        self._given += len(given)
        return [trial.config for trial in given]

    def tell(self, results: Sequence[tuple[int, float]]) -> None:
        for number, y in results:
            self.history = self.history.tell(self._trials[number].result(y))

    def attach(self, results: Sequence[tuple[Configuration, float]]) -> None:
        self._trials = [Trial(i, config, seed=0) for i, (config, _) in enumerate(results)]
        self._given = len(self._trials)
        self.history = self.history.ask(self._trials)
        self.tell([(i, y) for i, (_, y) in enumerate(results)])

    def inform(self, sources: Sequence[Sequence[tuple[Configuration, float]]]) -> None:
        """Evaluations of other objectives, one sequence per source."""
        if self._priors:
            priors = [
                tuple(Import(config, y, f"source {i}", k) for k, (config, y) in enumerate(source))
                for i, source in enumerate(sources)
            ]
            self.history = replace(self.history, priors=tuple(priors))

    def recommend(self) -> Configuration | None:
        """The configuration the study would report as its best."""
        best = self.tuner.recommend(self.history, self.tuner.model(self.history))
        return None if best is None else best.config


def make(space: Space, seed: int, ahead: int = 0, priors: bool = True, **options: Any) -> Spot:
    tuner = Tuner(space, seed=seed, repeats=Settings.repeats)
    for name, value in sorted(options.items()):  # a field before what is inside it
        tuner = _set(tuner, name.split("."), value)
    return Spot(tuner, ahead, priors)


def _set(holder: Any, path: list[str], value: Any) -> Any:
    """A copy of a frozen dataclass with the field at the end of the path set."""
    name, *rest = path
    if not rest:
        return replace(holder, **{name: value})
    held = getattr(holder, name)
    held = _FIND[name](held) if isinstance(held, str) else held
    return replace(holder, **{name: _set(held, rest, value)})
