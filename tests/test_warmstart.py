"""Warm starts: every format gives the same evaluations, each once, and no source is touched."""

from __future__ import annotations

import csv
import hashlib
import json
import math
import os
import re
import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest

from spot_dask import (
    Budget,
    Categorical,
    FunctionTask,
    Integer,
    Real,
    Run,
    Space,
    Study,
    WarmStart,
    warmstart,
)
from spot_dask.errors import StoreError
from spot_dask.records import History, Imported, Opened, Origin
from spot_dask.settings import Design
from spot_dask.store.journal import Journal
from spot_dask.warmstart import summary, take_over

SPACE = Space(
    lr=Real(1e-4, 1.0, scale="log", default=1e-2),
    width=Integer(8, 64, scale="power2", default=16),
    opt=Categorical(["sgd", "adam"], default="sgd"),
    nesterov=Categorical([True, False], default=True).when(opt="sgd"),
)

Write = Callable[[Path, list[dict[str, Any]]], Path]


def loss(cfg: Any) -> float:
    return (math.log10(cfg.lr) + 1) ** 2 + abs(cfg.width - 32) / 100 + 0.1 * (cfg.opt == "sgd")


def study(space: Space = SPACE, direction: str = "min", **more: Any) -> Study:
    sign = -1.0 if direction == "max" else 1.0
    task = FunctionTask(lambda cfg: sign * loss(cfg), objective="loss", direction=direction)
    return Study(space, task, **{"design": Design(initial=6), "seed": 3, **more})


def taken(*sources: Any, mine: Study | None = None) -> list[Imported]:
    return take_over(sources, (mine or study())._header())


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("old") / "old.zarr"
    study().run(Budget(evaluations=10), local=0, store=path)
    return path


@pytest.fixture(scope="module")
def rows(store: Path) -> list[dict[str, Any]]:
    """The evaluations of ``store`` as a table has them."""
    return [{**e.trial.config, "loss": e.y} for e in Run.open(store).history.ok]


def write_csv(folder: Path, rows: list[dict[str, Any]], name: str = "old.csv") -> Path:
    columns = dict.fromkeys(name for row in rows for name in row)
    with (folder / name).open("w", newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)
    return folder / name


def write_jsonl(folder: Path, rows: list[dict[str, Any]], name: str = "old.jsonl") -> Path:
    (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder / name


def write_study(storage: Any, rows: list[dict[str, Any]], direction: str, name: str) -> None:
    made = optuna.create_study(storage=storage, study_name=name, direction=direction)
    seen = {n: {row[n]: None for row in rows if n in row} for row in rows for n in row}
    levels = {n: optuna.distributions.CategoricalDistribution([*seen[n]]) for n in seen}
    for row in rows:
        params = {n: v for n, v in row.items() if n != "loss"}
        kinds = {n: levels[n] for n in params}
        trial = optuna.trial.create_trial(params=params, distributions=kinds, value=row["loss"])
        made.add_trial(trial)


def write_journal(
    folder: Path, rows: list[dict[str, Any]], direction: str = "minimize", name: str = "old"
) -> Path:
    path = folder / "optuna.log"
    backend = optuna.storages.journal.JournalFileBackend(str(path))
    write_study(optuna.storages.JournalStorage(backend), rows, direction, name)
    return path


def write_sqlite(
    folder: Path, rows: list[dict[str, Any]], direction: str = "minimize", name: str = "old"
) -> Path:
    storage = optuna.storages.RDBStorage(f"sqlite:///{folder / 'optuna.db'}")
    write_study(storage, rows, direction, name)
    storage.remove_session()
    storage.engine.dispose()
    return folder / "optuna.db"


FORMATS: list[Write] = [write_csv, write_jsonl, write_journal, write_sqlite]
# What follows the reading is the same for both files of Optuna, and a database takes its time.
QUICK = FORMATS[:3]


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    yield
    optuna.logging.set_verbosity(level)


def contents(folder: Path) -> dict[str, str]:
    """Every path below a folder with its content's digest and its time of change."""
    found = {}
    for path in sorted(folder.rglob("*")):
        digest = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
        found[str(path.relative_to(folder))] = f"{digest} {path.stat().st_mtime_ns}"
    return found


# --- formats ----------------------------------------------------------------------------------


@pytest.mark.parametrize("write", FORMATS)
def test_every_format_gives_what_the_store_gives(
    write: Write, store: Path, rows: list[dict[str, Any]], tmp_path: Path
) -> None:
    (theirs,), (mine,) = taken(store), taken(write(tmp_path, rows))
    assert [(i.config, i.y) for i in mine.items] == [(i.config, i.y) for i in theirs.items]
    assert len(mine.items) == 10
    assert not mine.dropped
    assert not mine.assumed


@pytest.mark.parametrize("write", FORMATS)
def test_a_source_is_never_written_nor_anything_beside_it(
    write: Write, rows: list[dict[str, Any]], tmp_path: Path
) -> None:
    path = write(tmp_path, rows)
    before = contents(tmp_path)
    tmp_path.chmod(0o555)
    try:
        taken(path)
    finally:
        tmp_path.chmod(0o755)
    assert contents(tmp_path) == before


def test_a_store_is_not_written_either(store: Path) -> None:
    before = contents(store)
    taken(store, WarmStart(store, "prior"))
    assert contents(store) == before


@pytest.mark.parametrize("write", FORMATS)
def test_a_source_and_its_copy_count_once(
    write: Write, rows: list[dict[str, Any]], tmp_path: Path
) -> None:
    path = write(tmp_path, rows)
    copy = path.with_stem("copy")
    copy.write_bytes(path.read_bytes())
    first, again, hints = taken(path, copy, WarmStart(path, "prior"))
    assert [len(first.items), len(again.items), len(hints.items)] == [10, 0, 0]
    assert "taken already" in again.dropped[0]


def test_a_study_that_has_gone_on_adds_what_is_new(
    rows: list[dict[str, Any]], tmp_path: Path
) -> None:
    path = write_journal(tmp_path, rows[:6])
    for trial, state in ((6, "COMPLETE"), (7, "FAIL")):
        backend = optuna.storages.journal.JournalFileBackend(str(path))
        old = optuna.load_study(study_name="old", storage=optuna.storages.JournalStorage(backend))
        copy = path.with_stem(f"before{trial}")
        copy.write_bytes(path.read_bytes())
        template = old.trials[0]
        value = 1.0 if state == "COMPLETE" else None
        old.add_trial(
            optuna.trial.create_trial(
                state=optuna.trial.TrialState[state],
                params=template.params,
                distributions=template.distributions,
                value=value,
            )
        )
    first, then = taken(tmp_path / "before6.log", path)
    assert [i.source_trial for i in first.items] == [0, 1, 2, 3, 4, 5]
    assert [i.source_trial for i in then.items] == [6]


def test_what_failed_is_dropped_with_its_reason(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("lr,loss\n0.1,1.0\n0.2,\n0.3,nan\n0.4,oops\n,2.0\n2.0,1.0\nfast,1.0\n")
    (found,) = taken(path)
    assert [i.source_trial for i in found.items] == [2]
    assert [d.partition(": ")[0] for d in found.dropped] == [f"line {n}" for n in range(3, 9)]
    reasons = ("had failed", "had failed", "'oops' is no number", "lr: has no value",
               "lr: 2.0 is outside the bounds", "lr: 'fast' is no number")  # fmt: skip
    for said, reason in zip(found.dropped, reasons, strict=True):
        assert reason in said


def test_trials_of_optuna_that_did_not_complete_are_dropped(
    rows: list[dict[str, Any]], tmp_path: Path
) -> None:
    path = write_journal(tmp_path, rows[:2])
    backend = optuna.storages.journal.JournalFileBackend(str(path))
    old = optuna.load_study(study_name="old", storage=optuna.storages.JournalStorage(backend))
    old.add_trial(optuna.trial.create_trial(state=optuna.trial.TrialState.PRUNED))
    old.add_trial(optuna.trial.create_trial(state=optuna.trial.TrialState.FAIL))
    old.ask()
    (found,) = taken(path)
    assert len(found.items) == 2
    assert list(found.dropped) == ["trial 2: it was pruned", "trial 3: it had failed"]


def test_none_is_a_level_of_optuna_and_no_missing_value(tmp_path: Path) -> None:
    rows = [{"lr": 0.1, "act": act, "loss": 1.0} for act in (None, "relu")]
    space = Space(lr=SPACE.parameters["lr"], act=Categorical(["relu", None]))
    (found,) = taken(write_journal(tmp_path, rows), mine=study(space))
    assert [item.config["act"] for item in found.items] == ["None", "relu"]
    assert not found.dropped
    other = study(Space(lr=SPACE.parameters["lr"], act=Categorical(["relu", "tanh"])))
    (found,) = taken(tmp_path / "optuna.log", mine=other)
    assert list(found.dropped) == [
        "trial 0: act: None is no level here; say which one it is (--rename act=None:LEVEL)"
    ]
    renamed = WarmStart(tmp_path / "optuna.log", values={"act": {"None": "tanh"}})
    (found,) = take_over([renamed], other._header())
    assert [item.config["act"] for item in found.items] == ["tanh", "relu"]


def test_values_of_tables_are_read_as_their_parameters_ask(tmp_path: Path) -> None:
    space = Space(
        n=Integer(1, 99, default=1),
        level=Categorical(["1", "2"], default="1"),
        size=Categorical([0.5, 2.0], default=0.5),
        flag=Categorical([True, False], default=True),
    )
    path = tmp_path / "t.csv"
    path.write_text("n,level,size,flag,loss\n64.0,2,2,FALSE,1\n")
    (found,) = taken(path, mine=study(space))
    assert dict(found.items[0].config) == {"n": 64, "level": "2", "size": 2.0, "flag": False}
    (tmp_path / "t.jsonl").write_text('{"n": 64.0, "level": "2", "flag": false, "loss": 1}\n')
    (found,) = taken(tmp_path / "t.jsonl", mine=study(space))
    assert dict(found.items[0].config) == {"n": 64, "level": "2", "size": 0.5, "flag": False}
    assert list(found.assumed) == ["size is not in it: taken to be 0.5"]


# --- objectives -------------------------------------------------------------------------------


def test_a_table_is_in_the_direction_of_the_study(
    rows: list[dict[str, Any]], tmp_path: Path
) -> None:
    (found,) = taken(write_csv(tmp_path, rows), mine=study(direction="max"))
    assert [i.y for i in found.items] == [-row["loss"] for row in rows]


def test_a_study_of_optuna_has_its_own_direction(
    rows: list[dict[str, Any]], tmp_path: Path
) -> None:
    path = write_journal(tmp_path, rows, direction="maximize")
    with pytest.raises(
        StoreError, match=r"maximised\), this study's is loss \(minimised\).*--prior"
    ):
        taken(path)
    (hints,) = taken(WarmStart(path, "prior"))
    assert [i.y for i in hints.items] == [-row["loss"] for row in rows]


def test_a_prior_may_be_of_any_objective(store: Path) -> None:
    task = FunctionTask(loss, objective="error", direction="max")
    mine = Study(SPACE, task)
    with pytest.raises(StoreError, match="cannot warm-start"):
        taken(store, mine=mine)
    (hints,) = taken(WarmStart(store, "prior"), mine=mine)
    assert hints.mode == "prior"
    assert len(hints.items) == 10
    assert "as hints from another objective" in summary(hints)
    assert len(taken(WarmStart(store, rename={"loss": "error"}), mine=study_of_errors())) == 1


def study_of_errors() -> Study:
    return Study(SPACE, FunctionTask(loss, objective="error"))


# --- spaces that have changed -----------------------------------------------------------------


@pytest.mark.parametrize("write", QUICK)
def test_parameters_are_renamed(write: Write, rows: list[dict[str, Any]], tmp_path: Path) -> None:
    old = [{"rate" if n == "lr" else n: v for n, v in row.items()} for row in rows]
    path = write(tmp_path, old)
    with pytest.raises(StoreError, match=r"'rate' is no parameter of this study.*--rename rate="):
        taken(path)
    (found,) = taken(WarmStart(path, rename={"rate": "lr"}))
    assert [i.config["lr"] for i in found.items] == [row["lr"] for row in rows]


def test_parameters_of_a_store_are_renamed_with_the_conditions_on_them(store: Path) -> None:
    parameters = dict(SPACE.parameters)
    parameters["optimiser"] = parameters.pop("opt")
    parameters["momentum"] = replace(parameters.pop("nesterov"), conditions=()).when(
        optimiser="sgd"
    )
    mine = study(Space(parameters))
    rename = {"opt": "optimiser", "nesterov": "momentum"}
    mine_loss = Study(mine.space, FunctionTask(lambda cfg: 0.0, objective="loss"))
    (found,) = taken(WarmStart(store, rename=rename), mine=mine_loss)
    assert len(found.items) == 10
    for item in found.items:
        assert ("momentum" in item.config) == (item.config["optimiser"] == "sgd")


def test_changed_bounds_drop_what_lies_outside(rows: list[dict[str, Any]], tmp_path: Path) -> None:
    narrow = study(SPACE.modify(lr={"low": 1e-2}))
    (found,) = taken(write_csv(tmp_path, rows), mine=narrow)
    inside = [row["lr"] for row in rows if row["lr"] >= 1e-2]
    assert 0 < len(inside) < 10
    assert [i.config["lr"] for i in found.items] == inside
    assert all("lr" in reason for reason in found.dropped)


@pytest.mark.parametrize("write", QUICK)
def test_an_added_parameter_is_taken_at_its_default_and_that_is_said(
    write: Write, rows: list[dict[str, Any]], tmp_path: Path
) -> None:
    more = study(Space({**SPACE.parameters, "decay": Real(0.0, 1.0, default=0.25)}))
    (found,) = taken(write(tmp_path, rows), mine=more)
    assert all(item.config["decay"] == 0.25 for item in found.items)
    assert list(found.assumed) == ["decay is not in it: taken to be 0.25"]
    assert "decay is not in it" in summary(found)


def test_a_removed_parameter_of_a_store_must_have_been_at_its_default(store: Path) -> None:
    less = Space({n: p for n, p in SPACE.parameters.items() if n != "width"})
    (found,) = taken(store, mine=study(less))
    kept = [e.trial.number for e in Run.open(store).history.ok if e.trial.config["width"] == 16]
    assert [i.source_trial for i in found.items] == kept
    assert 0 < len(kept) < 10
    (all_of_them,) = taken(WarmStart(store, rename={"width": ""}), mine=study(less))
    assert len(all_of_them.items) == 10


@pytest.mark.parametrize("write", QUICK)
def test_a_removed_parameter_of_a_table_must_not_have_varied_or_be_left_out(
    write: Write, rows: list[dict[str, Any]], tmp_path: Path
) -> None:
    less = study(Space({n: p for n, p in SPACE.parameters.items() if n != "width"}))
    path = write(tmp_path, rows)
    with pytest.raises(StoreError, match="'width' is no parameter of this study"):
        taken(path, mine=less)
    (found,) = taken(WarmStart(path, rename={"width": ""}), mine=less)
    assert len(found.items) == 10
    constant = tmp_path / "constant"
    constant.mkdir()
    (found,) = taken(write(constant, [{**row, "width": 8} for row in rows]), mine=less)
    assert len(found.items) == 10
    assert "width is not in this study" in found.assumed[0]


# --- bad input --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "text", "rename", "message"),
    [
        ("t.csv", "lr,error\n0.1,1\n", {}, r"no column 'loss'.*there are: lr, error.*--rename"),
        ("t.csv", "", {}, "no column 'loss'.*there are: none"),
        ("t.csv", "lr,loss\n0.1\n", {}, r"t\.csv:2: 1 fields; expected 2"),
        ("t.csv", 'lr,loss\n"0.1,1\n', {}, r"t\.csv:2: not a line of CSV"),
        ("t.csv", "lr,lr,loss\n1,1,1\n", {}, "two columns are named 'lr'"),
        ("t.csv", "lr,loss\n1,1\n", {"rate": "lr"}, "there is no 'rate' to be renamed"),
        ("t.csv", "lr,loss\n1,1\n", {"lr": "lrr"}, "'lrr', which this study does not have.*'lr'"),
        ("t.csv", "lr,r,loss\n1,1,1\n", {"r": "lr"}, "two of its names stand for lr"),
        ("t.csv", b"lr,loss\n\xff,1\n", {}, "not a text in UTF-8"),
        ("t.jsonl", '{"lr": 0.1, "loss": 1}\n{"lr"', {}, r"t\.jsonl:2: not JSON"),
        ("t.jsonl", "[1, 2]\n", {}, r"t\.jsonl:1: not a JSON object"),
        ("t.jsonl", '{"lr": 0.1}\n', {}, "no column 'loss'"),
        ("t.log", "hello\n", {}, "no study of Optuna in it"),
        ("t.db", b"SQLite format 3\0 and no more", {}, "Optuna .* cannot read it"),
        ("t.xyz", "x", {}, r"expected a store or .*\.csv.*\.jsonl"),
    ],
)
def test_what_cannot_be_read_is_told_in_one_line(
    name: str, text: str | bytes, rename: dict[str, str], message: str, tmp_path: Path
) -> None:
    path = tmp_path / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises(StoreError, match=message) as told:
        taken(WarmStart(path, rename=rename))
    assert "\n" not in str(told.value)


# --- hostile sources: data, whatever they hold ------------------------------------------------


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("t.jsonl", '{"lr": ' + "[" * 10**5 + "]" * 10**5 + ', "loss": 1}', "t.jsonl:1: not JSON"),
        ("t.jsonl", '{"lr": ' + "[" * 90 + "]" * 90 + ', "loss": 1}', "line 1 is no evaluation"),
        ("t.jsonl", '{"lr": 0.1, "loss": 1' + "0" * 5000 + "}", "t.jsonl:1: not JSON"),
        ("t.jsonl", '{"a\\nb": 0.1, "loss": 1}', "no printable name"),
        ("t.jsonl", '{"\\ud800": 0.1, "loss": 1}', "no printable name"),
        ("t.jsonl", '{"run": 1, "record": 1, "trial": Infinity, "status": "ok", "objective": 1}',
         "not as `spot-dask export` writes it"),
        ("t.csv", '"a\nb",loss\n1,1\n', "no printable name"),
        ("t.csv", "lr,loss\n" + "1" * 200_000 + ",1\n", "t.csv:2: not a line of CSV"),
        ("t.csv", ",".join(f"x{i}" for i in range(20_000)) + "\n", "and 19980 more"),
        ("t.log", '{"op_code": ' + "[" * 10**5 + "]" * 10**5 + "}\n", "cannot read it"),
        ("t.log", '{"op_code": 99, "worker_id": "a"}\n', "cannot read it"),
    ],
)  # fmt: skip
def test_a_hostile_file_is_refused_in_one_line(
    name: str, text: str, reason: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(StoreError, match=re.escape(reason)) as told:
        taken(tmp_path / name)
    assert str(told.value).isprintable()
    assert len(str(told.value)) < 1000


def test_values_out_of_range_are_dropped_each_with_its_reason(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    huge = "1" + "0" * 400
    values = [f'0.1, "loss": {huge}', f'{huge}, "loss": 1', '[1], "loss": 1', '"x", "loss": 1']
    values.append('0.1, "loss": 1')
    path.write_text("".join(f'{{"lr": {value}}}\n' for value in values))
    (found,) = taken(path)
    assert len(found.items) == 1
    assert [d.partition(": ")[0] for d in found.dropped] == [f"line {n}" for n in range(1, 5)]
    assert all(d.isprintable() and len(d) < 300 for d in found.dropped)


def test_a_line_of_json_may_hold_what_other_texts_take_for_its_end(tmp_path: Path) -> None:
    space = Space(text=Categorical(["a\u2028b", "c"], default="c"))
    path = tmp_path / "t.jsonl"
    path.write_text('{"text": "a\u2028b", "loss": 1}\r\n{"text": "c", "loss": 2}\n')
    (found,) = taken(path, mine=study(space))
    assert [i.config["text"] for i in found.items] == ["a\u2028b", "c"]


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".db", ".log"])
def test_what_is_no_regular_file_is_refused_at_once(
    suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkfifo(tmp_path / f"pipe{suffix}")
    (tmp_path / f"loop{suffix}").symlink_to(tmp_path / f"loop{suffix}")
    (tmp_path / f"folder{suffix}").mkdir()
    (tmp_path / f"large{suffix}").write_bytes(b"lr,loss\n")
    monkeypatch.setattr(warmstart, "LARGEST_FILE", 7)
    for name in ("pipe", "loop", "folder", "large", "x" * 300):
        with pytest.raises(StoreError, match=name[:5]) as told:
            taken(tmp_path / f"{name}{suffix}")
        assert str(told.value).isprintable()


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE trials SET number = 'first'",
        "UPDATE trial_params SET param_name = x'00' WHERE param_name = 'lr'",
        """UPDATE trial_params SET distribution_json = '{"name": "os.system"}'""",
    ],
)
def test_a_database_that_optuna_has_not_written_is_refused(
    change: str, rows: list[dict[str, Any]], tmp_path: Path
) -> None:
    with pytest.raises(StoreError) as told:
        taken(write_changed(tmp_path, rows[:2], change))
    assert str(told.value).isprintable()


def write_changed(folder: Path, rows: list[dict[str, Any]], change: str) -> Path:
    path = write_sqlite(folder, rows)
    with closing(sqlite3.connect(path)) as database, database:
        database.execute(change)
    return path


def test_a_database_runs_nothing_and_its_texts_are_no_objectives(
    rows: list[dict[str, Any]], tmp_path: Path
) -> None:
    trigger = "CREATE TRIGGER t AFTER UPDATE ON trials BEGIN SELECT load_extension('x'); END"
    path = write_changed(tmp_path, rows[:2], trigger)
    assert len(taken(path)[0].items) == 2
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("UPDATE trial_values SET value = 'best'")
    with pytest.raises(StoreError, match=r"nothing of it can be taken: .*'best' is no number"):
        taken(path)


EVIL = [
    "sklearn:utils._testing.check_output(args=['touch', {marker!r}])",
    "sklearn:datasets.clear_data_home(data_home={marker!r})",
    "planted_module:Surrogate",
]


def test_a_store_that_names_components_is_read_without_them(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, marker = Run.open(store), tmp_path / "marker"
    (tmp_path / "planted_module.py").write_text(f"open({str(marker)!r}, 'w')")
    monkeypatch.syspath_prepend(tmp_path)
    past = [(r.time, r.entry) for r in old.journal.records() if not isinstance(r.entry, Opened)]
    (whole,) = taken(store)
    for i, name in enumerate(EVIL):
        name = name.format(marker=str(marker))
        settings = {
            **old.header.settings,
            **dict.fromkeys(("surrogate", "infill", "early_stopping"), name),
        }
        path = tmp_path / f"{i}.zarr"
        header = replace(old.header, settings=settings)
        with closing(Journal.create(path, header, past=past)):
            pass
        for source in (path, WarmStart(path, "prior")):
            (found,) = taken(source)
            assert found.items == whole.items
        assert not marker.exists()
        assert "planted_module" not in sys.modules


def test_a_store_whose_header_holds_no_space_is_damaged(store: Path, tmp_path: Path) -> None:
    header = replace(Run.open(store).header, space={"format": "spot-dask/space/1"})
    with closing(Journal.create(tmp_path / "a.zarr", header)):
        pass
    with pytest.raises(StoreError) as told:
        taken(tmp_path / "a.zarr")
    assert str(told.value).isprintable()


@pytest.mark.parametrize("name", ["gone.csv", "gone.jsonl", "gone.db", "gone.log", "gone.zarr"])
def test_a_source_that_is_not_there_is_told(name: str, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="gone"):
        taken(tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_one_of_several_studies_of_optuna_is_named(
    rows: list[dict[str, Any]], tmp_path: Path
) -> None:
    path = write_sqlite(tmp_path, rows, name="first")
    write_sqlite(tmp_path, rows[:3], name="second")
    with pytest.raises(StoreError, match=r"2 studies of Optuna in it; say which: .*:first, "):
        taken(path)
    assert len(taken(f"{path}:second")[0].items) == 3
    with pytest.raises(StoreError, match=r"no study named 'secnd'.*did you mean 'second'"):
        taken(f"{path}:secnd")


def test_what_to_install_for_optuna_is_told(
    rows: list[dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_journal(tmp_path, rows)
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(StoreError, match=r"pip install 'spot-dask\[optuna\]'"):
        taken(path)


def test_a_study_of_several_objectives_is_refused(tmp_path: Path) -> None:
    storage = optuna.storages.RDBStorage(f"sqlite:///{tmp_path / 'two.db'}")
    optuna.create_study(storage=storage, directions=["minimize", "maximize"])
    storage.remove_session()
    storage.engine.dispose()
    with pytest.raises(StoreError, match="a study of 2 objectives; expected one"):
        taken(tmp_path / "two.db")


# --- priors are no evaluations ----------------------------------------------------------------


def test_a_prior_counts_as_nothing_and_is_kept_with_its_provenance(
    store: Path, tmp_path: Path
) -> None:
    mine = study(seed=5)
    run = mine.run(
        Budget(evaluations=9), local=0, store=tmp_path / "new.zarr",
        warm_start=[WarmStart(store, "prior")],
    )  # fmt: skip
    old = Run.open(store)
    assert len(run.history.evaluations) == 9
    assert run.history.imports == ()
    ((*hints,),) = run.history.priors
    assert [(h.source_run, h.source_trial) for h in hints] == [
        (old.header.run_id, e.trial.number) for e in old.history.ok
    ]
    assert run.status()["trials"] == {
        "done": 9, "failed": 0, "stopped": 0, "pending": 0, "confirming": 0, "imported": 0,
        "hints": 10, "wished": 0,
    }  # fmt: skip
    assert run.model is not None
    assert len(run.model.y) == 9
    # With the priors forgotten, the study says the same of its own evaluations.
    own = replace(run.history, priors=())
    assert run.best == mine.tuner.recommend(own, mine.tuner.model(own))


def test_a_resumed_run_with_priors_repeats_the_uninterrupted_one(
    store: Path, tmp_path: Path
) -> None:
    sources = [WarmStart(store, "prior")]
    mine = study(seed=5, batch=2, sync=True)
    whole = mine.run(Budget(evaluations=14), local=0, store=tmp_path / "a.zarr", warm_start=sources)
    mine.run(Budget(evaluations=8), local=0, store=tmp_path / "b.zarr", warm_start=sources)
    resumed = mine.resume(tmp_path / "b.zarr", Budget(evaluations=14), local=0)
    assert len(resumed.history.priors[0]) == 10
    assert not list(resumed.deviations())
    assert [e.trial for e in resumed.history.evaluations] == [
        e.trial for e in whole.history.evaluations
    ]


def test_the_best_of_a_prior_are_tried_early(store: Path) -> None:
    (hints,) = taken(WarmStart(store, "prior"))
    tuner = study(seed=5).tuner
    trials = tuner.ask(History(priors=(tuple(hints.items),)), 6)
    best = sorted(hints.items, key=lambda i: i.y)
    tried = [t for t in trials if t.origin is Origin.PRIOR]
    assert trials[0].origin is Origin.DEFAULT
    assert [t.config for t in tried] == [i.config for i in best][: len(tried)]
    assert len(tried) == 2  # of the five beside the default


# --- exports ----------------------------------------------------------------------------------


def exports(run: Run, folder: Path) -> list[Path]:
    return [run.export(to, folder / f"old.{to}") for to in ("csv", "jsonl")]


def test_an_export_is_taken_as_it_is_and_is_the_store_itself(store: Path, tmp_path: Path) -> None:
    (whole,) = taken(store)
    for path in exports(Run.open(store), tmp_path):
        (found,) = taken(path)
        assert found.items == whole.items
        assert not found.dropped + found.assumed
        both = taken(store, path, WarmStart(path, "prior"))
        assert [len(each.items) for each in both] == [10, 0, 0]


def test_an_export_keeps_what_was_taken_failed_or_not_active(tmp_path: Path, store: Path) -> None:
    def fails(cfg: Any, trial: Any) -> dict[str, float]:
        return {"loss": math.inf if trial.number == 2 else -loss(cfg), "width": 3.0}

    mine = study(direction="max")
    mine.task = FunctionTask(fails, objective="loss", direction="max")
    source = write_csv(tmp_path, [{"lr": 0.3, "width": 8, "opt": "adam", "loss": -0.5}], "a.csv")
    mine.run(Budget(evaluations=5), local=0, store=tmp_path / "max.zarr", warm_start=[source])
    (whole,) = taken(tmp_path / "max.zarr", mine=mine)
    assert len(whole.items) == 5
    for path in exports(Run.open(tmp_path / "max.zarr"), tmp_path):
        (found,) = taken(path, mine=mine)
        assert found.items == whole.items
        assert found.dropped == ("trial 2: it had failed",)


def test_an_export_of_another_objective_is_no_data(store: Path, tmp_path: Path) -> None:
    mine = study()
    mine.task = FunctionTask(loss, objective="error")
    for path in exports(Run.open(store), tmp_path):
        with pytest.raises(StoreError, match="cannot warm-start"):
            taken(path, mine=mine)
        for rename in ({"objective": "error"}, {"loss": "error"}):
            (found,) = taken(WarmStart(path, rename=rename), mine=mine)
            assert len(found.items) == 10


def test_another_metric_of_an_export_may_be_the_objective(tmp_path: Path) -> None:
    mine = study()
    mine.task = FunctionTask(lambda cfg: {"loss": loss(cfg), "size": cfg.width}, objective="loss")
    source = write_csv(tmp_path, [{"lr": 0.3, "width": 8, "opt": "adam", "loss": 0.5}], "a.csv")
    mine.run(Budget(evaluations=4), local=0, store=tmp_path / "b.zarr", warm_start=[source])
    other = study()
    other.task = FunctionTask(loss, objective="size")
    for path in exports(Run.open(tmp_path / "b.zarr"), tmp_path):
        (found,) = taken(path, mine=other)
        assert [item.y for item in found.items] == [item.config["width"] for item in found.items]
        assert found.dropped == ("trial 2: it had failed",)  # imported: it tells no metrics


def test_a_damaged_export_is_told_by_its_line(store: Path, tmp_path: Path) -> None:
    path = Run.open(store).export("csv", tmp_path / "old.csv")
    lines = path.read_text().splitlines()
    says = r"(?s)\A[^\n]*old.csv:4: not as `spot-dask export`[^\n]*\Z"
    for word in ("", "x"):
        fields = lines[3].split(",")
        fields[lines[0].split(",").index("trial")] = word
        path.write_text("\n".join([*lines[:3], ",".join(fields)]) + "\n")
        with pytest.raises(StoreError, match=says):
            taken(path)
