"""Loading a study: ``file.py[:name]`` or ``file.toml``, with settings laid over it.

The study file runs as a module of a name of its own, and what it defines travels to the workers by
value, so that no worker needs the file. Everything a user can get wrong is a StudyError of one
line.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
import sys
import tomllib
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import cloudpickle

from spot_dask.errors import StudyError, did_you_mean
from spot_dask.settings import (
    COMPONENT,
    KEYS,
    Given,
    Key,
    one_line,
    parse_override,
    plain,
)
from spot_dask.space import Space
from spot_dask.store.backend import address
from spot_dask.study import Study


@dataclass(frozen=True)
class Loaded:
    """A study with its settings applied, and where it is to run and be kept."""

    study: Study
    scheduler: str | None = None
    local: int | None = None
    store: Path | str | None = None


def load(target: str, overrides: Iterable[str | Given] = ()) -> Loaded:
    """The study named by ``file.py[:name]`` or ``file.toml``, with ``KEY=VALUE`` overrides.

    Raises StudyError, in one line, for whatever is wrong with the file, the study or a setting.
    """
    given = [parse_override(o) if isinstance(o, str) else o for o in overrides]
    return _load(locate(target), given)


def reload(
    recorded: Mapping[str, Any],
    target: str | None = None,
    agrees: Callable[[str], bool] = lambda doubt: False,
) -> Loaded:
    """The study of a run from ``Header.study``: from the file named there, or from ``target``.

    Whoever wrote the store wrote the header, so a file that may not be the one the run was begun
    with is run only if ``agrees`` says so of the doubt. Recorded overrides are applied again, but
    for the names of components: those of the run are settings that ``Study.under`` restores.
    Raises StudyError in one line, also if the run was begun from Python and there is no target.
    """
    overrides = recorded.get("overrides", [])
    if not (isinstance(overrides, list) and all(isinstance(text, str) for text in overrides)):
        raise StudyError("the store's overrides of its study cannot be read")
    given = [parse_override(text, "recorded") for text in overrides]
    if target is not None:
        return _load(locate(target), given, recorded=True)
    if "file" not in recorded:
        raise StudyError("this run was begun from Python; name its study with --study FILE")
    file, name, text = (recorded.get(key) for key in ("file", "name", "text"))
    if not (isinstance(file, str) and isinstance(name, str) and f"{file}{name}".isprintable()):
        raise StudyError("the store does not tell its study's file; name it with --study FILE")
    path = Path(file)
    try:
        state = path.stat()
    except OSError as error:
        raise StudyError(
            f"the run's study is gone: {file}; name its new place with --study"
        ) from error
    if not (path.is_absolute() and path.suffix == ".py" and stat.S_ISREG(state.st_mode)):
        raise StudyError(f"{file} is no Python file by its full path; name it with --study FILE")
    doubt = None
    if state.st_uid not in (0, os.getuid()):
        doubt = f"{file}, the run's study, is another user's"
    elif read_text(path) != text:
        doubt = f"{file} has changed since the run began"
    if doubt is not None and not agrees(doubt):
        raise StudyError(f"{doubt}; to run it as it is, add --study {file}:{name}")
    return _load(Source(path, name), given, recorded=True)


def _load(source: Source, given: Sequence[Given], *, recorded: bool = False) -> Loaded:
    """The study of a source with settings laid over it; those of a header may name no component."""
    settings = (*source.settings, *given)
    text = read_text(source.file)
    name, study = _pick(_execute(source.file, text), source)
    names = [s for s in given if recorded and s.key in KEYS and KEYS[s.key].kind is COMPONENT]
    loaded = _apply(study, [setting for setting in settings if setting not in names])
    kept = [str(setting) for setting in settings if setting.key[0] != "store"]
    path = str(source.file.resolve())
    loaded.study.source = {"file": path, "name": name, "overrides": kept, "text": text}
    return loaded


# --- which study ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Source:
    """Which study is meant: its Python file, the name in it, and settings that came along."""

    file: Path
    name: str | None
    settings: tuple[Given, ...] = ()


def locate(target: str) -> Source:
    """Which Python file and name a STUDY argument means; reads a TOML file, runs nothing."""
    bare = target.endswith((".py", ".toml"))
    file, _, name = (target, "", "") if bare else target.rpartition(":")
    path = Path(file)
    if path.suffix not in (".py", ".toml"):
        raise StudyError(f"{target}: expected a study as file.py, file.py:name or file.toml")
    if not path.is_file():
        raise StudyError(f"{file}: no such file; `spot-dask init` writes a study to start from")
    if path.suffix == ".py":
        return Source(path, name or None)
    if name:
        raise StudyError(f'{target}: a name goes into the file: [study] file = "study.py:{name}"')
    return _read_toml(path)


def read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise StudyError(f"{path}: cannot be read: {one_line(error)}") from error


def _read_toml(path: Path) -> Source:
    try:
        data = tomllib.loads(read_text(path))
    except tomllib.TOMLDecodeError as error:
        raise StudyError(f"{path}: not valid TOML: {one_line(error)}") from error
    settings = {setting.key: setting for setting in _flatten(data, (), str(path))}
    file = settings.pop(("study", "file"), None)
    if file is None:
        raise StudyError(f'{path}: which study? Add [study] file = "study.py:study"')
    store = settings.get(("store", "path"))
    if store is not None and isinstance(store.value, str):
        where = address(store.value)
        if isinstance(where, Path):
            settings[store.key] = replace(store, value=str(path.parent / where))
    study, _, name = str(file.value).partition(":")
    python = path.parent / study
    if python.suffix != ".py" or not python.is_file():
        raise file.error(f"no such Python file: {python}")
    return Source(python, name or None, tuple(settings.values()))


def _flatten(table: Mapping[str, Any], key: Key, where: str) -> Iterator[Given]:
    for name, value in table.items():
        if isinstance(value, dict):
            yield from _flatten(value, (*key, name), where)
        else:
            yield Given((*key, name), value, where)


# --- running the file -------------------------------------------------------------------------


def _execute(path: Path, text: str) -> ModuleType:
    """Run a study file as a module of its own name, registered to travel by value."""
    file = path.resolve()
    digest = hashlib.sha256(str(file).encode()).hexdigest()[:8]
    module = ModuleType(f"{re.sub(r'[^0-9A-Za-z_]', '_', path.stem)}_{digest}")
    module.__file__ = str(file)
    before = set(sys.modules)
    sys.modules[module.__name__] = module
    try:
        with _importable(file.parent):
            exec(compile(text, str(file), "exec"), module.__dict__)
    except (Exception, SystemExit) as error:  # whatever a user's file raises is told in one line
        del sys.modules[module.__name__]
        raise StudyError(_blame(error, path)) from error
    for own in (module, *_helpers(set(sys.modules) - before, file.parent)):
        cloudpickle.register_pickle_by_value(own)
    return module


@contextmanager
def _importable(directory: Path) -> Iterator[None]:
    sys.path.insert(0, str(directory))
    try:
        yield
    finally:
        sys.path.remove(str(directory))
        # At the end, for what a training imports when it runs; the path travels with every trial.
        if str(directory) not in sys.path:
            sys.path.append(str(directory))


def _helpers(names: Iterable[str], directory: Path) -> Iterator[ModuleType]:
    """New top-level modules that only the study's directory has: no worker could import them."""
    elsewhere = [p for p in sys.path if Path(p).resolve() != directory]
    for name in sorted(name for name in names if "." not in name):
        file = getattr(sys.modules[name], "__file__", None)
        if file is None or not Path(file).is_relative_to(directory):
            continue
        if not _found(name, elsewhere):
            yield sys.modules[name]


def _found(name: str, path: list[str]) -> bool:
    """Whether the import system finds a module of this name on this path."""
    saved = sys.path[:]
    sys.path[:] = path
    try:
        finders = [finder for finder in sys.meta_path if hasattr(finder, "find_spec")]
        return any(finder.find_spec(name, None) is not None for finder in finders)
    finally:
        sys.path[:] = saved


def _blame(error: BaseException, path: Path) -> str:
    """``file:line: what`` of an exception that left a study file."""
    own = str(path.resolve())
    if isinstance(error, SyntaxError):
        return f"{path if error.filename == own else error.filename}:{error.lineno}: {error.msg}"
    lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == own]
    kind = "" if type(error) in (ValueError, StudyError) else f"{type(error).__name__}: "
    return f"{path}:{lines[-1] if lines else 1}: {kind}{one_line(error)}"


def _pick(module: ModuleType, source: Source) -> tuple[str, Study]:
    studies: dict[str, Study] = {}
    for name, value in vars(module).items():
        if isinstance(value, Study) and not any(value is known for known in studies.values()):
            studies[name] = value
    if source.name is None:
        if len(studies) == 1:
            return next(iter(studies.items()))
        raise StudyError(f"{source.file}: {_undecided(module, source, list(studies))}")
    value = getattr(module, source.name, None)
    if not isinstance(value, Study):
        there = ", ".join(studies) or "none"
        raise StudyError(f"{source.file}: no Study named {source.name!r}; there are: {there}")
    return source.name, value


def _undecided(module: ModuleType, source: Source, names: Sequence[str]) -> str:
    if names:
        listing = ", ".join(f"{source.file}:{name}" for name in names)
        return f"several studies; say which: {listing}"
    own = [n for n, v in vars(module).items() if getattr(v, "__module__", "") == module.__name__]
    there = ", ".join(own) or "nothing"
    return f"no Study in it (it defines: {there}); add study = Study(space=..., task=...)"


# --- applying settings ------------------------------------------------------------------------


def _apply(study: Study, settings: Sequence[Given]) -> Loaded:
    values = {setting.key: _checked(setting, study) for setting in settings}
    store = values.pop(("store", "path"), None)
    where = ", ".join(dict.fromkeys(setting.where for setting in settings)) or "study"
    try:
        changed = replace(
            study,
            space=_space(study.space, values),
            budget=replace(study.budget, **_table(values, "budget")),
            design=replace(study.design, **_table(values, "design")),
            **_table(values, "study"),
        )
    except (ValueError, TypeError) as error:
        raise StudyError(f"{where}: {one_line(error)}") from error
    cluster = _table(values, "cluster")
    return Loaded(changed, **cluster, store=None if store is None else address(store))


def _table(values: Mapping[Key, Any], table: str) -> dict[str, Any]:
    return {key[1]: value for key, value in values.items() if key[0] == table}


def _space(space: Space, values: Mapping[Key, Any]) -> Space:
    changes: dict[str, dict[str, Any]] = {}
    fixed: dict[str, Any] = {}
    for key, value in values.items():
        if key[0] == "space" and len(key) == 3:
            changes.setdefault(key[1], {})[key[2]] = value
        elif key[0] == "space":
            fixed[key[1]] = value
    changed = space.modify(**changes) if changes else space
    return changed.fix(**fixed) if fixed else changed


def _checked(setting: Given, study: Study) -> Any:
    """The value converted as its key asks; raises StudyError for an unknown key or a bad value."""
    declared = KEYS.get(setting.key)
    if declared is None and setting.key not in _space_keys(study.space):
        raise _unknown(setting, study.space)
    try:
        return plain(setting.value) if declared is None else declared.read(setting.value)
    except ValueError as error:
        raise setting.error(error) from error


def _space_keys(space: Space) -> list[Key]:
    keys: list[Key] = []
    for name, parameter in space.parameters.items():
        fields = [f for f in parameter.to_json() if f not in ("type", "fixed", "when")]
        keys += [("space", name), *(("space", name, field) for field in fields)]
    return keys


def _unknown(setting: Given, space: Space) -> StudyError:
    if setting.key[0] == "space" and setting.key[1:2] and setting.key[1] not in space.parameters:
        seen, names = setting.key[1], ", ".join(space.names)
        problem = f"no parameter {seen!r}, there are {names}{did_you_mean(seen, space.names)}"
    else:
        known = [".".join(key) for key in (*KEYS, *_space_keys(space))]
        near = did_you_mean(setting.name, known) or f"; there are: {', '.join(known)}"
        problem = f"unknown key {setting.name!r}{near}"
    return StudyError(f"{setting.where}: {problem}")
