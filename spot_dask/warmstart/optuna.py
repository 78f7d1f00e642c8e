"""Studies of Optuna, in a journal file or an SQLite database; needs the extra ``[optuna]``."""

from __future__ import annotations

import math
import sqlite3
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spot_dask.errors import StoreError, did_you_mean
from spot_dask.warmstart import Earlier, Row, split

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

_SQLITE = b"SQLite format 3\0"


class Optuna:
    """A study with one objective; ``file:name`` where a file holds several."""

    suffixes = (".db", ".sqlite", ".sqlite3", ".log", ".journal")

    def read(self, path: str, objectives: Sequence[str]) -> Earlier:
        try:
            import optuna
        except ImportError:
            raise StoreError(
                f"{path}: Optuna is not installed here; pip install 'spot-dask[optuna]'"
            ) from None
        file, name = split(path)
        level = optuna.logging.get_verbosity()
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        try:
            with _storage(file) as storage:
                name = _chosen(file, name, optuna.get_all_study_names(storage))
                study = optuna.load_study(study_name=name, storage=storage)
                return _earlier(path, study)
        except StoreError:
            raise
        except Exception as error:  # whatever a broken file makes Optuna raise
            kind = type(error).__name__
            raise StoreError(
                f"{file}: Optuna {optuna.__version__} cannot read it ({kind}: {_line(error)})"
            ) from error
        finally:
            optuna.logging.set_verbosity(level)


def _earlier(path: str, study: Any) -> Earlier:
    if len(study.directions) != 1:
        raise StoreError(f"{path}: a study of {len(study.directions)} objectives; expected one")
    trials = study.get_trials(deepcopy=False)
    # A study has no identity of its own: its name and the start of its first trial stand for it.
    began = next((t.datetime_start for t in trials if t.datetime_start), None)
    run = f"optuna:{study.study_name}" + (f":{began.isoformat()}" if began else "")
    direction = {"MINIMIZE": "min", "MAXIMIZE": "max"}[study.direction.name]
    rows = [_row(run, t) for t in trials if t.state.is_finished()]
    names = study.metric_names
    return Earlier(rows, names[0] if names else None, direction)


def _row(run: str, trial: FrozenTrial) -> Row:
    state = trial.state.name
    if state != "COMPLETE":
        why = "it was pruned" if state == "PRUNED" else "it had failed"
        return Row(run, trial.number, trial.params, math.nan, why)
    assert trial.values is not None
    (y,) = trial.values
    return Row(run, trial.number, trial.params, y, "" if math.isfinite(y) else "it had failed")


def _chosen(file: str, name: str | None, names: list[str]) -> str:
    if not names:
        raise StoreError(f"{file}: there is no study of Optuna in it")
    if name is None and len(names) == 1:
        return names[0]
    listed = ", ".join(f"{file}:{n}" for n in names)
    if name is None:
        raise StoreError(f"{file}: {len(names)} studies of Optuna in it; say which: {listed}")
    if name not in names:
        near = did_you_mean(name, names)
        raise StoreError(f"{file}: no study named {name!r}, there are: {listed}{near}")
    return name


@contextmanager
def _storage(file: str) -> Iterator[Any]:
    """A storage of Optuna on a copy: it creates what is missing and locks what it opens."""
    try:
        content = Path(file).read_bytes()
    except OSError as error:
        raise StoreError(f"{file}: cannot be read ({error.strerror})") from None
    from optuna.storages import JournalStorage, RDBStorage
    from optuna.storages.journal import JournalFileBackend

    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "copy"
        if not content.startswith(_SQLITE):
            copy.write_bytes(content)
            yield JournalStorage(JournalFileBackend(str(copy)))
            return
        # By its backup, which waits for a writer to finish where a copy of the file would not.
        with (
            closing(
                sqlite3.connect(f"{Path(file).resolve().as_uri()}?mode=ro", uri=True)
            ) as source,
            closing(sqlite3.connect(copy)) as target,
        ):
            source.backup(target)
        storage = RDBStorage(f"sqlite:///{copy}")
        try:
            yield storage
        finally:
            storage.remove_session()
            storage.engine.dispose()


def _line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
