"""Texts of users, trainings and stores are shown as they are: nothing obeys them."""

from __future__ import annotations

import ast
import csv
import io
import json
import logging
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_studies import spot
from rich.console import Console

from spot_dask import Categorical, Real, Run, Space
from spot_dask.cli import progress
from spot_dask.cli.options import VisibleLog
from spot_dask.executors.page import render
from spot_dask.inference.narrowed import NarrowedSpace
from spot_dask.report import figures, markdown
from spot_dask.report.blocks import Code, table
from spot_dask.texts import csv_cell, csv_text, json_document, printable, shell, toml_text
from spot_dask.warmstart import take_over

BAD = (
    "\x1b]0;pwned\x07\x1b[31m\x9b31m\x9d0;c1\x9c\u202egnp\u2066a\u2069\u200b\r\ud800[/]\n"
    "[red]<b>|`@u #1 $\\foo$"
)
LEVELS = [
    "[relu]", "[/]", "=1+1", "\u202egnp", "a\x1b[2J\x07", "b\x9b31m\r", "@cmd\tx", "_hidden",
    "#2558c4", "c\ud800", "url(#a)\nz", "$\\foo$", "'=2", "-1", "\U0001f600\U000e0041",
]  # fmt: skip
STUDY = f"""
from spot_dask import Budget, Categorical, Design, FunctionTask, Real, Space, Study

BAD, LEVELS = {BAD!r}, {LEVELS!r}
OBJECTIVE, OTHER = "loss[/]\\x1b[31m\\u202e", "m\\u202e=[/x]\\x1b[1m"

def loss(cfg, trial):
    if cfg.x > 0.9:
        raise type("Bad\\x1b[31mError[/]", (Exception,), {{}})("boom " + BAD)
    for epoch in range(2):
        trial.report(epoch + 1, **{{OBJECTIVE: (cfg.x - 0.3) ** 2 + epoch, OTHER: 1.0}})
    return {{OBJECTIVE: (cfg.x - 0.3) ** 2 + LEVELS.index(cfg.kind) / 10, OTHER: 1.0}}

study = Study(
    Space(x=Real(0.01, 1.0, default=0.5), kind=Categorical(LEVELS, default="[/]")),
    FunctionTask(loss, objective=OBJECTIVE),
    name="toy" + BAD,
    budget=Budget(evaluations=18),
    design=Design(initial=15),
    infill="log_ei",
)
"""


def unsafe(text: str) -> set[str]:
    """The characters of a text that are not seen, but for the ends of its lines."""
    return {c for c in text if c != "\n" and not c.isprintable()}


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("hostile") / "study.py"
    path.write_text(STUDY)
    return path


@pytest.fixture(scope="module")
def ran(study: Path) -> tuple[Path, str]:
    """A run of the study, and what it printed."""
    store = study.with_name("run.zarr")
    options = ("--local", "0", "--store", store, "--progress", "plain", "--report")
    return store, spot("run", study, *options).output


@pytest.fixture(scope="module")
def store(ran: tuple[Path, str]) -> Path:
    return ran[0]


# --- what a terminal gets ---------------------------------------------------------------------


def test_a_run_of_hostile_texts_ends_well_and_its_output_is_safe(ran: tuple[Path, str]) -> None:
    assert unsafe(ran[1]) == set()
    assert "kind = [relu]" in ran[1]
    assert r"Bad\x1b[31mError[/]: boom \x1b]0;pwned" in ran[1]


@pytest.mark.parametrize(
    "command",
    [
        ("status",), ("best",), ("space",), ("status", "--json"),
        *(("best", "--format", notation) for notation in ("json", "toml", "python", "args")),
    ],
    ids=" ".join,
)  # fmt: skip
def test_what_a_command_prints_of_a_store_is_safe(command: tuple[str, ...], store: Path) -> None:
    output = spot(command[0], store, *command[1:]).output
    assert output
    assert unsafe(output) == set()
    if command[0] == "best" and "--json" not in command:
        assert "[relu]" in output


def test_levels_in_brackets_are_shown_in_the_table_of_a_check(study: Path) -> None:
    output = spot("check", study).output
    assert unsafe(output) == set()
    for level in ("[relu]", "[/]", r"\u202egnp"):
        assert level in output


def test_the_screen_shows_texts_as_they_are() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=300)
    console.print(progress._line(f"best: {BAD}"))
    printed = BAD.replace("\r", "")  # before it is what a progress bar showed earlier
    console.print(progress.coloured(f"\x1b[32mgreen\x1b[0m {printed}"))
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    colours = re.sub(r"\x1b\[[\d;]*m", "", shown)  # of rich's, around what is coloured
    assert unsafe(colours) == set()
    assert "[red]<b>" in shown
    assert "\x1b[32mgreen" in shown
    assert "pwned\a" not in shown


def test_errors_are_safe_wherever_a_command_line_has_them() -> None:
    for words in (
        ("status", "\x1b]0;a\x07\udc80.zarr"), ("run", "--\x1b[31m", "x"), ("\x1b[31m",),
        ("--\x1b[31m",), ("export", "x.zarr", "--to", "\x1b[31m\u202e"), ("run", "\x1b[1m.py"),
    ):  # fmt: skip
        result = spot(*words, code=2)
        assert unsafe(result.output) == set()
        assert result.output.count("\n") == 1
        assert result.output.startswith("Error: ")


def test_a_log_is_safe_and_keeps_its_lines() -> None:
    record = logging.LogRecord("spot_dask", logging.WARNING, "", 0, "host %s\nlost", (BAD,), None)
    shown = VisibleLog("%(message)s").format(record)
    assert unsafe(shown) == set()
    assert shown.endswith("\nlost")


def test_a_terminal_without_the_characters_gets_escapes(store: Path) -> None:
    code = "import sys; from spot_dask.cli import main; main(sys.argv[2:])"
    command = [sys.executable, "-c", code, "spot-dask", "best", str(store)]
    ended = subprocess.run(command, capture_output=True, env={"PYTHONIOENCODING": "ascii"})
    assert ended.returncode == 0, ended.stderr
    assert b"[relu]" in ended.stdout


def test_nothing_in_the_commands_writes_but_what_makes_texts_safe() -> None:
    """Only options.py writes lines, and rich only what is a Text by then, or a page of ours."""
    found = list(writers())
    assert found == [
        ("options.py", "console.print"), ("options.py", "click.echo_via_pager"),
        ("options.py", "click.echo"), ("options.py", "console.print"),
        ("progress.py", "console.print"),
    ]  # fmt: skip


def writers() -> Iterator[tuple[str, str]]:
    """The calls in the commands that write to a terminal, by file."""
    for path in sorted(Path(progress.__file__).parent.glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                name = ast.unparse(node.func)
                if name in (
                    "print",
                    "click.echo",
                    "click.echo_via_pager",
                    "click.secho",
                    "sys.stdout.write",
                ) or (name.endswith("console.print") or name == "sys.stderr.write"):
                    yield path.name, name


# --- pages and files --------------------------------------------------------------------------


def test_the_report_is_safe_in_all_its_forms(store: Path) -> None:
    page, text, data = (store.parent / "run" / f"report.{e}" for e in ("html", "md", "json"))
    for file in (page, text, data):
        assert unsafe(file.read_text(encoding="utf-8")) == set(), file
    html = page.read_text(encoding="utf-8")
    assert "<b>|" not in html
    assert "#2558c4</text>" in html  # a level is no colour of the page
    assert r"\[relu\]" in text.read_text(encoding="utf-8")
    assert json.loads(data.read_text(encoding="utf-8"))["about"]["name"] == f"toy{BAD}"


def test_a_figure_keeps_texts_that_look_like_its_own_code() -> None:
    text = "#2558c4 url(#a) font-family: x; 0.12345 \u202e"
    chart = figures.chart(lambda ax: ax.set_title(text), "x", "t", "d", "c")
    assert text.replace("\u202e", r"\u202e</text>") in chart.svg


def test_markdown_and_the_live_page_are_safe() -> None:
    shown = markdown.markdown(BAD, BAD, [(BAD, [Code(BAD), table(("a",), [(BAD,)])])])
    assert unsafe(shown) == set()
    assert "@u" not in shown.replace("`", "").split("@<!-- -->u", 1)[0].split("```")[0]
    run = {
        "name": BAD, "store": BAD, "pid": 1, "host": BAD, "share": 0.5, "done": 1, "elapsed": 1.0,
        "ended": None, "age": 1.0, "stopping": None, "left": None, "failures": {BAD: 1}, "busy": 0,
        "slots": 1, "workers": 1, "running": [],
        "goal": {"evaluations": 2, "wall": None, "objective": BAD},
        "best": {"value": 1.0, "confirmed": False, "low": None, "trainings": 1, "trial": 0,
                 "config": {"kind": BAD}},
    }  # fmt: skip
    page = render([run])
    assert unsafe(page) == set()
    assert r"\u202egnp" in page
    assert "<b>" not in page


# --- what is read again -----------------------------------------------------------------------


def test_cells_of_csv_are_no_formulas_and_come_back(store: Path, tmp_path: Path) -> None:
    path = tmp_path / "e.csv"
    told = spot("export", store, "--to", "csv", "-o", path)
    assert "an apostrophe is before each text that a spreadsheet would compute" in told.stderr
    rows = list(csv.reader(io.StringIO(path.read_text("utf-8"), newline=""), strict=True))
    assert {len(row) for row in rows} == {len(rows[0])}
    for cell in (cell for row in rows for cell in row):
        assert cell[:1] not in "=+@\t\r" or not cell
        assert not cell.startswith("-") or float(cell) < 0
    seen = {row[rows[0].index("config.kind")] for row in rows[1:]}
    assert {"'=1+1", "'@cmd\tx", "''=2", "-1"} <= seen
    header = Run.open(store).header
    (taken,) = take_over([path], header)
    kinds = {item.config["kind"] for item in taken.items}
    assert {"=1+1", "@cmd\tx", "'=2", "-1"} <= kinds


@pytest.mark.parametrize("to", ["jsonl", "parquet", "zarr"])
def test_other_exports_hold_the_texts_themselves(to: str, store: Path, tmp_path: Path) -> None:
    path = tmp_path / f"e.{to}"
    spot("export", store, "--to", to, "-o", path)
    if to == "jsonl":
        text = path.read_text("utf-8")
        assert unsafe(text) == set()
        kinds = [json.loads(line)["config"]["kind"] for line in text.splitlines()]
        assert set(kinds) <= set(LEVELS)
        assert "=1+1" in kinds
    if to == "parquet":
        import pandas as pd

        assert {"=1+1", "\u202egnp"} <= set(pd.read_parquet(path)["config.kind"])


@pytest.mark.parametrize(
    "text", ["=1", "+a", "-a", "@a", "\ta", "\ra", "'=1", "''=1", "'a", "-1", "+1e3", "a", ""]
)
def test_a_cell_gives_the_text_back(text: str) -> None:
    cell = csv_cell(text)
    assert csv_text(cell) == text
    assert cell[:1] not in set("=+-@\t\r") or float(cell)
    assert (cell == text) == (text in ("'a", "-1", "+1e3", "a", ""))


@pytest.mark.parametrize("text", [*LEVELS, BAD, "ä\x7f", "'"])
def test_notations_are_read_as_the_text_again(text: str) -> None:
    document = json_document(json.dumps({"a": text}, ensure_ascii=False, indent=1))
    assert unsafe(document) == set()
    assert json.loads(document) == {"a": text}
    quoted = toml_text(text)
    assert unsafe(quoted) == set()
    assert tomllib.loads(f"a = {quoted}")["a"] == text.replace("\ud800", "\\ud800")
    words = shell([text])
    assert unsafe(words) == set()
    if "\ud800" not in text:
        told = subprocess.run(["bash", "-c", f"printf %s {words}"], capture_output=True, check=True)
        assert told.stdout.decode() == text


def test_a_narrowed_space_is_toml_whatever_its_names_and_levels() -> None:
    levels = ["\U0001f600", "\u202ea\x7f"]
    space = Space({"größe": Real(0, 1), "kind": Categorical(levels)})
    changes = {"größe": {"low": 0.5, "default": 0.5}, "kind": {"levels": levels}}
    text = NarrowedSpace(space, changes, ()).toml()
    assert tomllib.loads(text)["space"] == changes
    assert unsafe(text) == set()


def test_what_is_seen_stays_as_it_is() -> None:
    for text in ("lr=0.01", "größe – 中 😀", "[red]", "a\\b"):
        assert printable(text) == text
