"""The command that prints a smaller space; what it prints runs."""

from __future__ import annotations

from pathlib import Path

from cli_studies import run_study, spot, spot_json, write_study

from spot_dask import Run, Space


def test_a_smaller_space_is_printed_written_and_read_again(tmp_path: Path) -> None:
    store = run_study(tmp_path, "--evaluations", "24", "--confirm", "0")
    said = spot("space", store).stdout
    assert said.startswith("# in Python\nspace = Space(\n    x=Real(")
    assert "# in a study's TOML file\n[space]\n" in said
    file = tmp_path / "next.toml"
    assert spot("space", store, "-o", file).stdout == f"{file}\n"
    file.write_text(f'[study]\nfile = "{write_study(tmp_path).name}"\n\n{file.read_text()}')
    document = spot_json("space", store)
    spot("run", file, "--local", "0", "--evaluations", "1", "--store", tmp_path / "next.zarr")
    assert Run.open(tmp_path / "next.zarr").space == Space.from_json(document["space"])
    assert spot("space", store, "-o", tmp_path / "x.json", code=2).exit_code == 2


def test_where_the_data_cannot_tell_it_is_one_line(tmp_path: Path) -> None:
    said = spot("space", run_study(tmp_path, "--evaluations", "3"), code=2).output
    assert said.startswith("Error: no smaller space follows from ")
    assert said.count("\n") == 1
