"""A run as its store tells it: history, recommendation, status and report.

Everything here is a function of the store alone; no scheduler, no user code and no data set is
needed to read a run.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spot_dask import baselines, by_value, early_stopping, infill, plugins, surrogates
from spot_dask.cards import Card, brief, counted
from spot_dask.codec import number_to_json
from spot_dask.constraints import parsed, standing
from spot_dask.errors import StoreCorrupt, StoreError
from spot_dask.executors.artifacts import artifacts_of
from spot_dask.glance import Glance
from spot_dask.inference import Inference
from spot_dask.inference.confirmed import FEWEST, Confirmation, confirmation
from spot_dask.inference.narrowed import NarrowedSpace, narrowed
from spot_dask.magnitude import magnitudes
from spot_dask.outputs import beside
from spot_dask.records import (
    Configuration,
    Evaluation,
    Import,
    Objective,
    Opened,
    Trial,
)
from spot_dask.settings import Budget, Settings, shared
from spot_dask.space import Config, Space
from spot_dask.stats.paired import PairedComparison
from spot_dask.store import export, tables
from spot_dask.store.journal import Journal
from spot_dask.store.table import Table, tabulate
from spot_dask.store.wishes import RANGES, pause, put_wish
from spot_dask.texts import printable
from spot_dask.tuner import Tuner
from spot_dask.tuner.confirmation import reserve, seeds_of
from spot_dask.tuner.foretold import foretold
from spot_dask.tuner.limited import rank
from spot_dask.tuner.model import Best, Model
from spot_dask.tuner.ranges import changed, hull_of
from spot_dask.tuner.stopping import Judgement, Stopping
from spot_dask.worker.artifacts import ArtifactPlace
from spot_dask.worker.context import RunningTrial, Tell

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

    from spot_dask.report.context import Missing, ReportContext
    from spot_dask.report.plots import Plots
    from spot_dask.report.sections.effects import MainEffect
    from spot_dask.report.sections.importance import Importances
    from spot_dask.tasks.fitted import Fitted


@dataclass(frozen=True, repr=False)
class Run(Glance):
    """A run read from its store at one moment; open it again to see what came after.

    ``path`` is the store's address: text if it is the URL of an object store.

    >>> from spot_dask import Run
    >>> run = Run.open("run.zarr")
    >>> run
    Run('run.zarr': digits, minimises loss)
    >>> run.state, len(run.history)
    ('done', 25)

    The examples of its methods are of this run.
    """

    _unlisted = frozenset(
        ("being_written", "best_json", "by", "context", "end", "epochs_end_it", "fold", "folds",
         "header", "journal", "least_budget", "not_loaded", "observed", "of", "sign", "signed",
         "study", "tabulated")
    )  # fmt: skip
    study: Settings | None = field(default=None, repr=False)

    @classmethod
    def open(cls, path: str | Path, study: Settings | None = None) -> Run:
        """Open the store at ``path``; raises StoreError or StoreCorrupt if that is not possible.

        What it holds is read when it is asked for, up to the record that is the last one now.
        ``study`` is needed where the run's surrogate or criterion is the study's own: what a store
        names of other code is not loaded.

        >>> from spot_dask import Run
        >>> Run.open("run.zarr").header.name
        'digits'
        """
        return replace(super().open(path), study=study)

    @classmethod
    def by(cls, seen: Glance) -> Run:
        """The run that was seen, with its model; what was read is not read again."""
        if isinstance(seen, cls):
            return seen
        return cls(seen.path, seen.header, seen.being_written, seen.end, seen.journal)

    @classmethod
    def of(cls, path: Path | str, journal: Journal, study: Settings) -> Run:
        """The study's run at ``path`` as the closed journal that has written it knows it."""
        return cls(path, journal.header, False, journal.tail.seq, journal, study)

    def __repr__(self) -> str:
        """Which run it is, without reading it."""
        aim = f"{self.header.direction}imises {self.header.objective}"
        return printable(f"Run({str(self.path)!r}: {self.header.name}, {aim})")

    def _repr_html_(self) -> str:
        """How the run stands and what it found, as a notebook shows it."""
        return card_of(self.status(), self.space.default)._repr_html_()

    def table(self) -> Card:
        """The trials that ended, by number, as rows that print as a table.

        The columns are ``trial`` (None for an imported evaluation, which come first), ``origin``,
        ``status``, the objective in the user's direction (None without a result), ``constraints``
        (fulfilled, broken or unknown; where there are any), ``seconds`` and the parameters (None
        where inactive). ``to_dataframe`` has all there is.

        >>> table = run.table()
        >>> table.columns
        ('trial', 'origin', 'status', 'loss', 'seconds', 'lr', 'optimizer')
        >>> table[0][:3]
        (0, 'default', 'ok')
        """
        names, limits = self.space.names, parsed(self.settings["constraints"])
        objective = Objective(self.header.objective, self.header.direction)

        def stands(item: Evaluation | Import) -> tuple[str, ...]:
            return (standing(limits, item, objective),) if limits else ()

        rows: list[tuple[Any, ...]] = [
            (None, "imported", "ok", self.signed(i.y), *stands(i), None, *map(i.config.get, names))
            for i in self.history.imports
        ]
        for e in sorted(self.history.evaluations, key=lambda e: e.trial.number):
            trial, y = e.trial, self.signed(e.y) if e.ok else None
            seconds = None if math.isnan(e.outcome.seconds) else e.outcome.seconds
            ended = (
                trial.number,
                trial.origin.value,
                e.outcome.status.value,
                y,
                *stands(e),
                seconds,
            )
            rows.append((*ended, *map(trial.config.get, names)))
        told = ("constraints",) if limits else ()
        columns = ("trial", "origin", "status", self.header.objective, *told, "seconds", *names)
        return Card(f"{self.header.name}: {counted(len(rows), 'evaluation')}", (), columns, rows)

    @cached_property
    def tabulated(self) -> Table:
        """One row per evaluation; by the newest table in the store if nothing was read yet."""
        if self.journal.tail.seq == self.end:
            return tabulate(self._widened, self.fold.rows)
        try:
            return tables.read(self.journal, self.end)
        except StoreCorrupt:
            if not self.fold.ranges:  # else it may hold what the header's space does not
                raise
            return tabulate(self._widened, self.fold.rows)

    def to_dataframe(self) -> pd.DataFrame:
        """One row per evaluation, finished or imported, in the order of the journal.

        ``spot-dask help evaluations`` has the columns; a parameter ``lr`` is ``config.lr``. Raises
        SpotDaskError if pandas is not installed.

        >>> frame = run.to_dataframe()
        >>> len(frame), frame["config.optimizer"][0]
        (25, 'sgd')
        """
        return export.to_dataframe(self.tabulated)

    def curves(self) -> pd.DataFrame:
        """The learning curves in long form: trial, metric, epoch (from 1), value.

        >>> run.curves().columns.tolist()
        ['trial', 'metric', 'epoch', 'value']
        """
        return export.curves(self.tabulated)

    def to_xarray(self) -> xr.Dataset:
        """Evaluations and curves as a Dataset; raises SpotDaskError if xarray is not installed."""
        return export.to_xarray(self.tabulated)

    @cached_property
    def model(self) -> Model | None:
        """The surrogate fitted to the whole history; None if it is too short or ``not_loaded``."""
        return None if self.not_loaded else self._tuner.model(self.history)

    @cached_property
    def not_loaded(self) -> str:
        """The name of the surrogate if it is none of ours and no study was given; else empty."""
        surrogate = self._tuner.surrogate
        try:
            surrogates.find(surrogate, trusted=False)
        except ValueError:
            return str(surrogate)
        return ""

    @cached_property
    def best(self) -> Best | None:
        """The recommended configuration: lowest surrogate mean; None if none succeeded.

        Where nothing fulfils the constraints, it is the nearest, and not ``feasible``.

        >>> run.best["optimizer"], 0.0 < run.best["lr"] < 0.3
        ('adam', True)
        """
        return self._tuner.recommend(self.history, self.model)

    @cached_property
    def enough(self) -> Judgement | None:
        """Why the search ended, or is to end, before its budget; None where it is not."""
        return self._tuner.enough(self.history)

    @property
    def luckiest(self) -> Best | None:
        """The evaluation with the best observed value, which noise has made look too good.

        Under constraints, of those that were seen to fulfil them, if there is any.

        >>> run.luckiest.observed <= run.best.observed
        True
        """
        found = self._tuner.seen(self.history.searched.ok, self.history)
        return min(found, key=lambda b: (*rank(b, b.observed), b.trial or 0), default=None)

    @cached_property
    def confirmed(self) -> Confirmation | None:
        """What fresh seeds say of the recommended configuration; None before they say anything.

        Values are in the user's direction.

        >>> run.confirmed.value.n
        5
        """
        best = self.best
        return None if best is None else self._confirmation(best)

    def _confirmation(self, best: Best) -> Confirmation | None:
        return confirmation(self.history, best.config, self.space.default, self.sign)

    def gain(self) -> PairedComparison | None:
        """By how much the recommended configuration is better than the default on fresh seeds.

        None while it is not confirmed, where it is the default itself, or where the default failed.

        >>> gain = run.gain()
        >>> f"better by {gain.mean:.1f}, of {gain.n} pairs of seeds"
        'better by 0.5, of 5 pairs of seeds'
        """
        return None if self.confirmed is None else self.confirmed.gain

    def fit(
        self,
        given: Any,
        *,
        trial: int | None = None,
        seed: int | None = None,
        full: bool = False,
        tell: Tell | None = None,
    ) -> Fitted:
        """Train the recommended configuration, or a trial's, again and return its model.

        ``given`` is the run's study or its task, which no store holds. With the trial's own seed,
        which is the default, and as many threads, the model on a CPU is the very one whose value
        is recorded. In a study with folds it is trained on the first fold (or the trial's), and its
        metrics are those recorded of that; with another seed it is a hold-out set that the seed
        draws. ``full`` trains on the validation data, too: with folds, on all training data.
        ``tell(epoch, metrics)`` hears every epoch that is reported. Raises StoreError where there
        is nothing to fit, and what the training raises.
        """
        known, best = {t.number: t for t in self.fold.trials}, self.best
        if trial is not None and trial not in known:
            raise StoreError(f"there is no trial {trial} in {self.path}")
        if trial is not None:
            config: Configuration = known[trial].config
        elif best is not None:
            trial, config = best.trial, best.config
        else:
            raise StoreError(f"no successful trial in {self.path} yet, so there is nothing to fit")
        if seed is not None:
            wanted = Trial(trial or 0, config, seed)
        elif trial is not None:
            wanted = known[trial]
        else:
            raise StoreError("the best is imported, so its seed is unknown; give one")
        task: Any = getattr(given, "training", given)
        inner = getattr(task, "task", task)  # of one whose levels are what they stand for
        if not hasattr(inner, "fitted"):
            name = type(inner).__name__
            raise StoreError(f"a {name} returns what it measured, no model; a TorchTask has one")
        training = RunningTrial(wanted, tell=tell)
        by_value.install()
        try:
            found: Fitted = task.fitted(Config(config), training, full=full)
            return found
        finally:
            training.close()

    def artifacts(self, trial: int | None = None) -> Path:
        """The directory of what a trial's training has left, by default of the recommended one.

        That is the first training of the configuration whose artifacts are kept. Nothing in it is
        read or loaded. What is in a bucket is copied into the folder of the run's results, once.
        Raises StoreError, which says why, where there is none.
        """
        place, kept = self._kept(trial)
        into = beside(self.path) / "artifacts" / self.header.run_id
        try:
            return place.fetched(kept.trial.number, kept.attempt, into)
        except (OSError, ValueError) as error:
            raise StoreError(f"the artifacts of {self.path} cannot be read: {error}") from error

    def artifacts_at(self, trial: int | None = None) -> str:
        """Where they are, a directory or an address, without copying any; raises StoreError."""
        place, kept = self._kept(trial)
        return str(place.address(kept.trial.number, kept.attempt))

    def _kept(self, trial: int | None) -> tuple[ArtifactPlace, Evaluation]:
        """The evaluation of a trial, or of the recommended configuration, that has artifacts."""
        keep, best = self.settings["keep"], self.best if trial is None else None
        if keep is None:
            raise StoreError(
                f"{self.path} keeps no artifacts: it was run without --keep best;"
                " `spot-dask fit` trains its best again"
            )
        if trial is None and best is None:
            raise StoreError(f"no successful trial in {self.path} yet, so nothing is kept")
        place = artifacts_of(self.settings["artifacts"], self.path, self.header.run_id)
        if place.owner != self.header.run_id:
            raise StoreError(f"the artifacts of {self.path} are not here: there is no {place.root}")
        for e in sorted(self.history.ok, key=lambda e: e.trial.number):
            asked = e.trial.number == trial if best is None else e.trial.config == best.config
            if asked and place.address(e.trial.number, e.attempt):
                return place, e
        what = f"trial {trial}" if best is None else "the recommended configuration"
        raise StoreError(f"no artifacts of {what} are kept in {place.root} (keep is {keep!r})")

    @cached_property
    def inference(self) -> Inference | None:
        """The model that statements are made from; None while too little is known."""
        return self.context.inference

    def importances(self) -> Importances | Missing:
        """Which parameters matter, near the best and in the whole space; or why that is not told.

        As in the report: posterior medians of Sobol indices with 95 % intervals.

        >>> sorted(run.importances().order)
        ['lr', 'optimizer']
        """
        from spot_dask.report.sections.importance import ImportanceSection

        return self.context[ImportanceSection]

    def effects(self, name: str) -> MainEffect | Missing:
        """How the objective varies with a parameter, in the user's direction; or why not told.

        ValueError for a parameter that does not exist or is fixed.

        >>> effect = run.effects("optimizer")
        >>> effect.values
        ('sgd', 'adam')
        """
        from spot_dask.report.plots import effect

        return effect(self.context, name)

    @cached_property
    def plot(self) -> Plots:
        """The figures of the report as axes of matplotlib's: ``run.plot.progress(ax=None)``."""
        from spot_dask.report.plots import Plots

        return Plots(self.context)

    def narrowed(self, width: float = 0.1) -> NarrowedSpace:
        """The near-optimal box as a smaller space, whose default is the recommended configuration.

        A range stays at least ``width`` of the old one wide, on its scale. Raises StoreError where
        the evaluations cannot tell what may be left out.

        >>> run.narrowed().space["optimizer"].fixed
        True
        """
        from spot_dask.report.context import Missing

        near, best = self.context.near, self.best
        try:
            if isinstance(near, Missing) or best is None:
                raise ValueError(near.reason if isinstance(near, Missing) else "nothing succeeded")
            configs = self.space.decode(near.rows[near.chosen])
            return narrowed(self.within, configs, best.config, width)
        except ValueError as error:
            raise StoreError(f"no smaller space follows from {self.path}: {error}") from error

    @cached_property
    def context(self) -> ReportContext:
        """What the report, and statements and figures in Python, are made from.

        In the units of its ``magnitudes`` where values are no ordinary ones.
        """
        from spot_dask.report.context import ReportContext

        objective = Objective(self.header.objective, self.header.direction)
        found = magnitudes(self.history, objective)
        if found is None:
            return ReportContext(self._widened, self.fold, self.model, self.best, self.not_loaded)
        header = replace(self._widened, settings=found.settings(self._widened.settings))
        fold = self.fold.at(found)
        tuner = self._tuner_of(found.settings(self.settings))
        best = tuner.recommend(fold.history, self.model)
        return ReportContext(header, fold, self.model, best, self.not_loaded, found)

    def status(self) -> dict[str, Any]:
        """How the run stands, as JSON (schema ``spot-dask/status/1``).

        >>> status = run.status()
        >>> status["state"], status["trials"]["done"], status["budget"]["limit"]
        ('done', 25, 25)
        """
        found, told = super().status(), foretold(self.history, self.folds)
        found["budget"]["enough"] = None if self.enough is None else str(self.enough)
        found["incumbent"] = self.best_json(self.best)
        found["foretold"] = None if told is None else {**asdict(told), "warning": told.warning}
        return found

    def best_json(self, best: Best | None) -> dict[str, Any] | None:
        """A recommendation as JSON: trial, configuration, and what is known of its value.

        ``observed`` is the mean of so many ``trainings`` of the search, or ``imported`` ones, by
        which the configuration was chosen. ``mean``, its 95 % interval from ``lo`` to ``hi`` and
        ``gain`` over the default come from fresh ``seeds`` alone; null before it is confirmed, and
        the ends below three seeds. ``constraints`` tell how it stands to each; ``feasible`` is
        false where nothing fulfils all of them and this is the nearest.
        """
        if best is None:
            return None
        found = self._confirmation(best)
        value, gain = (None, None) if found is None else (found.value, found.gain)
        stated = found is not None and found.stated
        return {
            "trial": best.trial,
            "config": dict(best.config),
            "objective": self.header.objective,
            "observed": self.signed(best.observed),
            "trainings": len(best.values),
            "imported": len(best.imports),
            "feasible": best.feasible,
            "limits": best.limits,
            "constraints": [
                {
                    "metric": f.constraint.metric,
                    "limit": f.constraint.text,
                    "observed": number_to_json(f.observed) if f.known else None,
                    "trainings": f.trainings,
                    "chance": None if math.isnan(f.chance) else f.chance,
                    "fulfilled": f.fulfilled,
                }
                for f in best.fulfilments
            ],
            "confirmed": found is not None,
            "seeds": 0 if value is None else value.n,
            "mean": None if value is None else value.mean,
            "lo": value.t.low if value is not None and stated else None,
            "hi": value.t.high if value is not None and stated else None,
            "gain": gain
            and {
                "mean": gain.mean,
                "lo": gain.t.low if gain.n >= FEWEST else None,
                "hi": gain.t.high if gain.n >= FEWEST else None,
                "p": gain.p_t,
                "pairs": gain.n,
                "better": gain.better,
            },
        }

    def report(self, path: str | Path | None = None) -> Path:
        """Write the report (HTML, and JSON beside it); returns the path of the HTML file.

        The default path is ``report.html`` in a folder beside the store that bears its name; for
        an object store that folder is in the current directory. Raises ValueError for a path that
        does not end in .html, StoreError where it cannot be written, or where its .json or .md
        would replace what is no report.

        >>> print(run.report("report.html"))
        report.html
        """
        from spot_dask import report

        if path is not None:
            report.check_path(Path(path))
        target = self._beside / "report.html" if path is None else Path(path)
        try:
            report.write(self.context, target)
        except OSError as error:
            raise StoreError(
                f"the report cannot be written to {target} ({error.strerror}); "
                "give the path of an HTML file in a directory that can be written (-o)"
            ) from error
        return target

    def request_stop(self) -> Opened:
        """Ask the coordinator that runs this, here or elsewhere, to finish what runs and stop.

        Returns who that is. Raises StoreError if the run is known not to be running.
        """
        if self.ended is not None:
            raise StoreError(f"{self.path} is not running: it has ended ({self.ended})")
        opened = self.fold.opened
        assert opened is not None  # a run begins with it
        if self.state == "interrupted":
            raise StoreError(
                f"{self.path} is not running: process {opened.pid} was killed; "
                f"`spot-dask resume {self.path}` goes on"
            )
        self.journal.request_stop()
        return opened

    def try_next(self, config: Configuration, like: Configuration | None = None) -> Configuration:
        """Ask for a configuration: the run takes it next, or as soon as it is resumed.

        What is not given is as in the configuration that it is to be ``like``, or has its default.
        Returns the whole configuration. Raises ValueError where the space has none like it, or
        where something given would do nothing, StoreError where it was asked for or tried before.

        >>> run.try_next({"lr": 0.025, "optimizer": "adam"})
        {'lr': 0.025, 'optimizer': 'adam'}
        """
        space = self.space
        for wish in self.journal.range_wishes():
            box = changed(self.within, space, {k: str(v) for k, v in wish.config.items()})
            space = hull_of(space, box)
        whole = space.validate({**(like or {}), **config})
        for name in config:
            if name not in whole:
                needs = " and ".join(
                    f"{parent} is {' or '.join(map(str, values))}"
                    for parent, values in space.parameters[name].conditions
                )
                raise ValueError(f"{name} does nothing here: it is only there if {needs}")
        trials = [e.trial for e in self.history.evaluations] + list(self.history.pending)
        for trial in trials:
            if dict(trial.config) == whole and not trial.confirms:
                raise StoreError(f"trial {trial.number} of {self.path} has this configuration")
        if any(dict(wish.config) == whole for wish in self.journal.wishes()):
            raise StoreError(f"{self.path} was asked for this configuration already; it waits")
        put_wish(self.journal.backend, self.header.run_id, whole)
        return whole

    @property
    def least_budget(self) -> int:
        """The least number of evaluations, in all, that leaves room for what waits to be tried.

        Not below the budget that there is: more of it may be kept for confirmation than of a
        smaller one that is not confirmed.
        """
        confirm, asked = self.settings["confirm"], self.fold.asked
        waiting = max(1, len(self.journal.wishes()))
        limit = Budget(**self.settings["budget"]).limit
        for evaluations in count(max(asked + waiting, limit or 0)):
            seeds = seeds_of(confirm, evaluations)
            kept = reserve(self.history, seeds) if seeds else 0
            if evaluations >= asked + kept + waiting:
                break
        return evaluations

    @property
    def within(self) -> Space:
        """The space that is searched now: part of ``space`` where ranges were changed."""
        ranges = self.settings["ranges"]
        return Space.from_json(ranges["within"]) if ranges else self.space

    def change_ranges(self, ranges: Mapping[str, str]) -> Space:
        """Ask for other ranges: ``{"lr": "1e-5:0.1", "opt": "adam,sgd"}``.

        A running run takes them at once, another one when it is resumed. What was evaluated stays,
        and informs the search. Returns the space to be searched then; raises ValueError where a
        parameter cannot have such a range, or where nothing would change.

        >>> run.change_ranges({"lr": "0.001:0.1"})["lr"]
        Real(0.001, 0.1, default=0.01, scale='log')
        """
        box = self.within
        for wish in self.journal.range_wishes():
            box = changed(box, self.space, {k: str(v) for k, v in wish.config.items()})
        new = changed(box, self.space, ranges)
        if new == box:
            raise ValueError("these are the ranges that it has")
        put_wish(self.journal.backend, self.header.run_id, dict(ranges), RANGES)
        return new

    def pause(self, on: bool = True) -> bool:
        """Have no training begin, though what runs goes on; or, where not ``on``, go on as before.

        It stays so for all sessions of the run. Returns whether that changes anything; raises
        StoreError where the run is done.
        """
        if on and self.state == "done":
            raise StoreError(f"{self.path} is done ({self.ended}): there is nothing to pause")
        return pause(self.journal.backend, on)

    def deviations(self) -> list[str]:
        """Where proposing again, from what was known at the time, gives other trials; [] if never.

        A run is repeated exactly by its seed and the recorded order of its evaluations, also if
        it was parallel; with other versions of the libraries it need not be.

        >>> run.deviations()
        []
        """
        return list(self._deviations())

    def _deviations(self) -> Iterator[str]:
        for batch in self.fold.batches:
            tuner, trials = (
                self._tuner_of({**self._begun_with, **batch.settings}),
                batch.asked.trials,
            )
            asked = batch.asked
            again = tuner.ask(self.fold.question(batch), asked.q or len(trials), asked.stage)
            for old, new in zip(trials, again, strict=False):
                if old != new:
                    yield f"trial {old.number}: recorded {old}, asked again {new}"
            if len(again) != len(trials):
                number = trials[0].number
                yield f"trial {number}: a batch of {len(trials)}, asked again {len(again)}"

    def export(self, to: str, path: str | Path | None = None, *, force: bool = False) -> Path:
        """Write the table as ``csv``, ``curves.csv``, ``jsonl``, ``parquet`` or ``zarr``.

        The default path is ``evaluations.<to>`` in the folder where ``report`` writes by default.
        Raises StoreError if something is there, unless ``force``.

        >>> print(run.export("csv", "evaluations.csv"))
        evaluations.csv
        """
        if to not in export.FORMATS:
            raise ValueError(f"no format {to!r}; there are: {', '.join(export.FORMATS)}")
        target = self._beside / f"evaluations.{to}" if path is None else Path(path)
        export.export(self.tabulated, target, to, tables.about(self.header), force=force)
        return target

    @property
    def _beside(self) -> Path:
        """The folder of the run's results: that of the store's name.

        Buckets may have stores of one name; then it bears the run's identity, too.
        """
        folder = beside(self.path)
        if isinstance(self.path, str):
            from spot_dask.report.page import run_of

            if run_of(folder / "report.json") not in (None, self.header.run_id):
                return folder.with_name(f"{folder.name}-{self.header.run_id[:8]}")
        return folder

    @property
    def _tuner(self) -> Tuner:
        return self._tuner_of(self.settings)

    def _tuner_of(self, settings: Mapping[str, Any]) -> Tuner:
        """The tuner of a session with these settings; it loads no code that only they name."""
        told = Settings(**Settings.restored(settings))
        for name, find in _FINDERS:
            own = None if self.study is None else getattr(self.study, name)
            if own is not None and plugins.name_of(own) == getattr(told, name):
                setattr(told, name, find(own))
        objective = Objective(self.header.objective, self.header.direction)
        begun = Space.from_json(self.header.space)  # ranges that were changed are in the settings
        return tuner_of(begun, told, objective, trusted=False)


_FINDERS = (
    ("surrogate", surrogates.find),
    ("infill", infill.find),
    ("search", baselines.find),
    ("early_stopping", early_stopping.find),
)
"""Settings that name what the tuner is made of."""


def card_of(status: Mapping[str, Any], default: Configuration) -> Card:
    """How a run stands, as ``Run.status`` tells it, with its best configuration."""
    budget, trials, best = status["budget"], status["trials"], status["incumbent"]
    of = "" if budget["limit"] is None else f" of {budget['limit']}"
    lines = [f"{status['state']}: {budget['used']}{of} evaluations, {trials['failed']} failed"]
    if best is None:
        return Card(status["name"], [*lines, "no evaluation has succeeded"])
    if not best["confirmed"]:
        trainings = counted(best["trainings"], "training")
        value = f"observed {best['observed']:.3g} ({trainings}), unconfirmed"
    else:
        ends = "" if best["lo"] is None else f" ({brief(best['lo'])} to {brief(best['hi'])})"
        value = f"{brief(best['mean'])}{ends}, confirmed by {counted(best['seeds'], 'fresh seed')}"
    where = "imported" if best["trial"] is None else f"trial {best['trial']}"
    name = "best" if best["feasible"] else "nearest"
    lines.append(f"{name}: {where}, {best['objective']} {value}")
    lines += [best["limits"]] if best["limits"] else []
    rows = [(name, value, default.get(name)) for name, value in best["config"].items()]
    return Card(status["name"], lines, ("parameter", "value", "default"), rows)


def tuner_of(
    space: Space, settings: Settings, objective: Objective, *, trusted: bool = True
) -> Tuner:
    """The tuner of a study with this space and these settings; see ``Tuner`` for ``trusted``."""
    values = shared(Tuner, settings)
    values |= {"space": space, "objective": objective, "budget": settings.budget.limit}
    if settings.ranges:
        space = values["space"] = Space.from_json(settings.ranges["hull"])
        values["within"] = Space.from_json(settings.ranges["within"])
    if (until := settings.budget.until) is not None:
        values["stopping"] = Stopping(
            space,
            until,
            objective,
            settings.transform,
            values.get("within"),
            settings.constraints,
        )
    return Tuner(**values, trusted=trusted)
