"""A study run by several ways to search, each with several seeds: what a comparison needs.

Every run has a store of its own whose name follows from the way to search and the seed, so that the
same call goes on where it was interrupted: runs that are done are left as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from spot_dask import plugins
from spot_dask.errors import StoreError
from spot_dask.records import is_source
from spot_dask.run import Run
from spot_dask.store.backend import address, backend_at
from spot_dask.study import Study, safe


@dataclass(frozen=True)
class Entrant:
    """One run of a series: the study with its way to search and its seed, and the store."""

    study: Study
    store: Path | str

    @property
    def done(self) -> Run | None:
        """The run if it is there and done under the study's budget; else None."""
        run = self._there()
        if run is None or run.state != "done":
            return None
        return run if run.settings["budget"] == self.study.settings["budget"] else None

    def advance(self, warm_start: Sequence[Any] = (), **more: Any) -> Run:
        """Run it, go on with it, or return it where it is done.

        ``more`` are keyword arguments that ``Study.run`` and ``Study.resume`` share. Raises what
        they do, and StoreError where the store holds a run with other settings.
        """
        run = self._there()
        if run is None:
            return self.study.run(store=self.store, warm_start=warm_start, **more)
        return self.done or self.study.resume(run, self.study.budget, **more)

    def _there(self) -> Run | None:
        """The run in the store; None where there is none. Raises StoreError for another one."""
        if backend_at(self.store, self.study.durability).seen() == "nothing":
            return None
        run, own = Run.open(self.store, self.study), self.study.settings
        differing = [name for name in own if name != "budget" and run.settings[name] != own[name]]
        text, recorded = self.study.source.get("text"), run.header.study
        known = "text" in recorded or "sha256" in recorded
        if known if text is None else not is_source(recorded, text):
            differing.append("file of the study")
        if differing:
            raise StoreError(
                f"{self.store} was begun with another {' and another '.join(differing)}; "
                "name another store with --store, or remove it"
            )
        return run


def stem_of(study: Study, base: str | Path | None = None) -> str:
    """What the names of a series begin with: ``base`` without .zarr, or ``runs/NAME``."""
    return str(address(Path("runs") / safe(study.name) if base is None else base)).removesuffix(
        ".zarr"
    )


def series(study: Study, against: Sequence[str], seeds: int, stem: str) -> list[Entrant]:
    """The study with its own search and with those of these names, for seeds s, s + 1, ...

    Stores are ``STEM-random-s0.zarr`` and so on. Seed by seed, so that an interrupted series is as
    balanced as it can be. Raises ValueError for a name that is no way to search.
    """
    own = plugins.name_of(study.search)
    searches = dict.fromkeys([own, *against])
    if len(searches) < 2:
        raise ValueError(f"{own} is the study's own search; name another")
    return [
        Entrant(
            replace(study, search=study.search if search == own else search, seed=seed),
            address(f"{stem}-{safe(search)}-s{seed}.zarr"),
        )
        for seed in range(study.seed, study.seed + seeds)
        for search in searches
    ]
