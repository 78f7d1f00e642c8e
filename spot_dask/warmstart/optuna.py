"""Studies of Optuna, in a journal file or an SQLite database; needs the extra ``[optuna]``."""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from spot_dask.errors import StoreError, did_you_mean, shown
from spot_dask.warmstart import Earlier, Row, check_file, listed, reason, split
from spot_dask.warmstart.table import number

_SQLITE = b"SQLite format 3\0"


class Optuna:
    """A study with one objective; ``file:name`` where a file holds several."""

    suffixes = (".db", ".sqlite", ".sqlite3", ".log", ".journal")

    def read(self, path: str, objectives: Sequence[str]) -> Earlier:
        file, name = split(path)
        check_file(file)
        try:
            import optuna
        except ImportError:
            raise StoreError(
                f"{path}: Optuna is not installed here; pip install 'spot-dask[optuna]'"
            ) from None
        level = optuna.logging.get_verbosity()
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        try:
            with _storage(file) as storage:
                names = optuna.get_all_study_names(storage)
                if name is None and len(names) == 1:
                    (name,) = names
                if name in names:
                    study = optuna.load_study(study_name=name, storage=storage)
                    trials = study.get_trials(deepcopy=False)
                    directions, metrics = study.directions, study.metric_names
        except Exception as error:  # whatever a broken file makes Optuna raise
            kind = type(error).__name__
            raise StoreError(
                f"{file}: Optuna {optuna.__version__} cannot read it ({kind}: {reason(error)})"
            ) from error
        finally:
            optuna.logging.set_verbosity(level)
        if name not in names:
            raise StoreError(f"{file}: {_which(file, name, names)}")
        if len(directions) != 1:
            raise StoreError(f"{path}: a study of {len(directions)} objectives; expected one")
        # A study has no identity of its own: its name and the start of its first trial stand for
        # it.
        began = next((t.datetime_start for t in trials if t.datetime_start), None)
        run = f"optuna:{name}" + (f":{began.isoformat()}" if began else "")
        rows = [_row(run, t) for t in trials if t.state.is_finished()]
        direction = "max" if directions[0].name == "MAXIMIZE" else "min"
        return Earlier(rows, metrics[0] if metrics else None, direction, tells_none=True)


def _which(file: str, name: str | None, names: Sequence[str]) -> str:
    """Why none of the studies of a file is the one that is meant."""
    if not names:
        return "there is no study of Optuna in it"
    # The file's name, without its folder, leaves room for the study's in a message.
    there = listed(f"{Path(file).name}:{n}" if n.isprintable() else shown(n) for n in names)
    if name is None:
        return f"{len(names)} studies of Optuna in it; say which: {there}"
    return f"no study named {name!r}, there are: {there}{did_you_mean(name, names)}"


def _row(run: str, trial: Any) -> Row:
    if trial.state.name != "COMPLETE":
        why = "it was pruned" if trial.state.name == "PRUNED" else "it had failed"
        return Row(run, trial.number, trial.params, why=why)
    (y,) = trial.values if trial.values and len(trial.values) == 1 else (None,)
    return Row(run, trial.number, trial.params, *number(y), metrics=trial.user_attrs)


@contextmanager
def _storage(file: str) -> Iterator[Any]:
    """A storage of Optuna on a copy: it creates what is missing and locks what it opens."""
    from optuna.storages import JournalStorage, RDBStorage
    from optuna.storages.journal import JournalFileBackend

    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "copy"
        with Path(file).open("rb") as opened:
            is_sqlite = opened.read(len(_SQLITE)) == _SQLITE
        if not is_sqlite:
            shutil.copyfile(file, copy)
            yield JournalStorage(JournalFileBackend(str(copy)))
            return
        # By its backup, which waits for a writer to finish where a copy of the file would not.
        address = f"{Path(file).resolve().as_uri()}?mode=ro"
        with (
            closing(sqlite3.connect(address, uri=True)) as source,
            closing(sqlite3.connect(copy)) as target,
        ):
            source.backup(target)
        storage = RDBStorage(f"sqlite:///{copy}")
        try:
            yield storage
        finally:
            storage.remove_session()
            storage.engine.dispose()
