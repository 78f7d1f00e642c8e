"""Tables of earlier evaluations as other programs write them, and those that do not fit."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from spot_dask import (
    Budget,
    Categorical,
    Design,
    FunctionTask,
    Integer,
    Real,
    Run,
    Space,
    StoreError,
    Study,
    WarmStart,
)  # fmt: skip
from spot_dask.records import Header, Imported
from spot_dask.warmstart import take_over

SPACE = Space(
    lr=Real(0.1, 0.3, default=0.2),
    width=Integer(8, 64, default=16),
    flag=Categorical([False, True]),
    act=Categorical(["none", "relu"]),
    rate=Categorical([0.3, 0.5]).when(act="relu"),
)
ROWS = [
    {"lr": 0.1, "width": 8, "flag": True, "act": "none", "rate": None, "loss": 1.5},
    {"lr": 0.3, "width": 64, "flag": False, "act": "relu", "rate": 0.3, "loss": 0.5},
]
CONFIGS = [{k: v for k, v in row.items() if k != "loss" and v is not None} for row in ROWS]


def loss(cfg: Any) -> dict[str, float]:
    return {"loss": float(cfg.lr)}


@pytest.fixture(scope="module")
def study() -> Study:
    return Study(
        SPACE, FunctionTask(loss, objective="loss"), budget=Budget(evaluations=3),
        design=Design(initial=2), infill="log_ei",
    )  # fmt: skip


@pytest.fixture(scope="module")
def header(study: Study) -> Header:
    return study._header()


@pytest.fixture
def taken(header: Header, tmp_path: Path) -> Any:
    """What is taken of a file with this content."""

    def take(content: str | bytes, name: str = "t.csv", **options: Any) -> Imported:
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return take_over([WarmStart(path, **options)], header)[0]

    return take


CSV = "lr,width,flag,act,rate,loss\n0.1,8,true,none,,1.5\n0.3,64,false,relu,0.3,0.5\n"


# --- what does not fit ------------------------------------------------------------------------


def test_a_table_that_has_no_parameter_of_the_study_is_an_error(taken: Any) -> None:
    with pytest.raises(StoreError, match=r"none of its columns is a parameter.*--rename OLD=NEW"):
        taken("alpha,beta,loss\n1,2,1.5\n1,2,0.5\n")
    with pytest.raises(StoreError, match="none of its columns is a parameter"):
        taken("loss\n1.5\n")


@pytest.mark.parametrize("name", ["LR", "Lr", "l_r", "l-r"])
def test_another_spelling_of_a_parameter_is_an_error(name: str, taken: Any) -> None:
    table = CSV.replace("lr,", f"{name},", 1).replace("0.3,64", "0.1,64")  # one value throughout
    with pytest.raises(StoreError, match=f"'{name}' is no parameter.*did you mean 'lr'"):
        taken(table)
    assert len(taken(table, rename={name: "lr"}).items) == 2
    assert len(taken(table, rename={name: ""}).items) == 2


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"rename": {"los": "loss"}}, "there is no 'los' to be renamed"),
        ({"rename": {"wdith": "width"}}, "there is no 'wdith' to be renamed"),
        ({"values": {"akt": {"None": "none"}}}, "there is no 'akt' to be renamed"),
        ({"values": {"act": {"None": "none"}}}, "act is never 'None', which is to be renamed"),
    ],
)
def test_what_is_renamed_has_to_be_there(options: dict[str, Any], told: str, taken: Any) -> None:
    with pytest.raises(StoreError, match=told):
        taken(CSV, **options)


def test_the_objective_may_have_another_name(taken: Any) -> None:
    assert len(taken(CSV.replace("loss", "score"), rename={"score": "loss"}).items) == 2


def test_nothing_taken_is_an_error(taken: Any) -> None:
    with pytest.raises(StoreError, match=r"nothing of it can be taken: took 0 of 1 .*outside"):
        taken("lr,loss\n5,1.5\n")
    with pytest.raises(StoreError, match="there is no evaluation in it"):
        taken("lr,loss\n")


def test_what_is_dropped_is_said_where_nobody_watches(
    study: Study, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "t.csv"
    path.write_text("lr,loss\n0.2,1.5\n5,0.5\n")
    with caplog.at_level(logging.WARNING):
        study.run(store=tmp_path / "run.zarr", local=0, warm_start=[path])
    assert "took 1 of 2 evaluations; dropped 1 (" in caplog.text


# --- values -----------------------------------------------------------------------------------


@pytest.mark.parametrize("dust", ["0.30000000000000004", "0.2999999999999999999", ".3", "3e-1"])
def test_decimal_dust_drops_no_row(dust: str, taken: Any) -> None:
    found = taken(CSV.replace("0.3,", f"{dust},"))
    assert [item.config for item in found.items] == CONFIGS
    assert not taken(CSV.replace("0.3,64", "0.3001,64")).items[1:]
    rows = json.dumps([{**row, "lr": row["lr"] * (1 + 1e-16)} for row in ROWS])  # type: ignore[operator]
    assert [item.config for item in taken(rows, "t.json").items] == CONFIGS


@pytest.mark.parametrize(
    ("true", "false"), [("True", "False"), ("1", "0"), ("yes", "no"), ("1.0", "0.0"), ("on", "OFF")]
)
def test_truth_has_many_names(true: str, false: str, taken: Any) -> None:
    found = taken(CSV.replace("true", true).replace("false", false))
    assert [item.config for item in found.items] == CONFIGS


def test_numbers_of_json_are_truth_for_a_flag_only(taken: Any) -> None:
    rows = [{**row, "flag": int(row["flag"])} for row in ROWS]  # type: ignore[call-overload]
    assert [item.config for item in taken(json.dumps(rows), "t.json").items] == CONFIGS


@pytest.mark.parametrize("nothing", ["nan", "NaN", "None", "null", "NA", "<NA>", " "])
def test_what_stands_for_no_value_is_none(nothing: str, taken: Any) -> None:
    found = taken(CSV.replace("none,,", f"none,{nothing},"))
    assert [item.config for item in found.items] == CONFIGS


def test_values_are_mapped_by_their_texts(taken: Any) -> None:
    table = CSV.replace("none", "None").replace("relu", "nn.ReLU")
    values = {"act": {"None": "none", "nn.ReLU": "relu"}}
    assert [item.config for item in taken(table, values=values).items] == CONFIGS
    with pytest.raises(StoreError, match="there is no 'ac' to be renamed"):
        taken(table, values={"ac": {"None": "none"}})


def test_values_of_a_store_are_mapped(study: Study, header: Header, tmp_path: Path) -> None:
    there = Space(SPACE.parameters | {"act": Categorical(["identity", "relu"])}).modify()
    there = Space(
        {n: p for n, p in SPACE.parameters.items() if n not in ("act", "rate")}
        | {"act": Categorical(["identity", "relu"])}
    )
    other = Study(there, study.task, budget=Budget(evaluations=3), design=Design(initial=2))
    run = other.run(store=tmp_path / "old.zarr", local=0)
    source = WarmStart(run.path, values={"act": {"identity": "none"}})
    (found,) = take_over([source], header)
    assert {item.config["act"] for item in found.items} <= {"none", "relu"}
    assert len(found.items) == 3


def test_the_command_line_maps_values(tmp_path: Path) -> None:
    from spot_dask.cli.run import _sources

    options = {"rename": ("LR=lr", "act=None:none", "a="), "warm_start": ("t.csv",), "prior": ()}
    (source,) = _sources(options)
    assert source.rename == {"LR": "lr", "a": ""}
    assert source.values == {"act": {"None": "none"}}


# --- formats ----------------------------------------------------------------------------------


@pytest.mark.parametrize("delimiter", [";", "\t", "|"])
@pytest.mark.parametrize("comma", [False, True])
def test_other_delimiters_and_decimal_commas_are_read(
    delimiter: str, comma: bool, taken: Any
) -> None:
    table = CSV.replace(",", delimiter)
    if comma:
        table = table.replace(".", ",")
    found = taken(table, "t.tsv" if delimiter == "\t" else "t.csv")
    assert [item.config for item in found.items] == CONFIGS
    assert [item.y for item in found.items] == [1.5, 0.5]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_encodings_are_read(encoding: str, taken: Any) -> None:
    assert [item.config for item in taken(CSV.encode(encoding)).items] == CONFIGS


@pytest.mark.parametrize("orient", ["records", "columns", "index", "split", "table"])
def test_json_of_pandas_is_read(orient: Any, taken: Any) -> None:
    text = pd.DataFrame(ROWS).to_json(orient=orient)
    found = taken(text, "t.json")
    assert [item.config for item in found.items] == CONFIGS
    assert [item.y for item in found.items] == [1.5, 0.5]


def test_lines_of_json_may_be_named_json(taken: Any) -> None:
    text = pd.DataFrame(ROWS).to_json(orient="records", lines=True)
    assert [item.config for item in taken(text, "t.json").items] == CONFIGS


@pytest.mark.parametrize("text", ["{", "3", "[1, 2]", '{"a": 1}', "[]"])
def test_other_json_is_refused_in_one_line(text: str, taken: Any) -> None:
    with pytest.raises(StoreError) as told:
        taken(text, "t.json")
    assert "\n" not in str(told.value)


def test_what_pandas_writes_is_read(taken: Any, header: Header, tmp_path: Path) -> None:
    frame = pd.DataFrame(ROWS)
    frame.to_parquet(tmp_path / "p.parquet")
    frame.to_csv(tmp_path / "i.csv")  # with its index
    frame.to_csv(tmp_path / "t.tsv", sep="\t", index=False)
    for name in ("p.parquet", "i.csv", "t.tsv"):
        (found,) = take_over([tmp_path / name], header)
        assert [item.config for item in found.items] == CONFIGS, name
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(StoreError, match="no Parquet that can be read"):
        take_over([tmp_path / "broken.parquet"], header)


def test_what_a_run_exports_or_gives_as_a_frame_is_read(
    study: Study, header: Header, tmp_path: Path
) -> None:
    run = study.run(store=tmp_path / "run.zarr", local=0)
    expected = [e.trial.config for e in run.history.evaluations]
    run.to_dataframe().to_csv(tmp_path / "frame.csv", index=False)
    paths = [run.export("parquet"), run.export("csv"), run.export("jsonl"), tmp_path / "frame.csv"]
    for path in paths:
        (found,) = take_over([path], header)
        assert [item.config for item in found.items] == expected, path
    assert Run.open(run.path).state == "done"
