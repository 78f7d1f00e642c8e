"""The small print of the command line: help that fits, completion, and what cannot be written."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from cli_studies import run_study, spot, write_study
from click.shell_completion import ShellComplete
from click.testing import CliRunner

from spot_dask.cli import COMMANDS, main

PROGRAM = [sys.executable, "-c", "from spot_dask.cli import main; main(prog_name='spot-dask')"]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run_study(tmp_path_factory.mktemp("store"), "--evaluations", "3")


@pytest.mark.parametrize("width", [40, 80])
@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_no_line_of_help_is_cut(command: str, width: int) -> None:
    args = [*command.split(), "--help"]
    text = CliRunner().invoke(main, args, prog_name="spot-dask", terminal_width=width).output
    assert max(map(len, text.splitlines())) <= width


def test_the_list_of_commands_has_a_line_for_each() -> None:
    lines = CliRunner().invoke(main, ["--help"], terminal_width=80).output.splitlines()
    listed = lines[lines.index("Commands:") + 1 :]
    assert [line.split()[0] for line in listed] == [*COMMANDS]
    assert all(line.endswith(".") and not line.endswith("..") for line in listed)


def completions(args: list[str], incomplete: str) -> list[tuple[str, str]]:
    found = ShellComplete(main, {}, "spot-dask", "_SPOT_DASK_COMPLETE")
    return [(item.type, item.value) for item in found.get_completions(args, incomplete)]


@pytest.mark.parametrize(
    "args",
    [
        *([name] for name in COMMANDS if name not in ("init", "help")),
        ["run", "--store"],
        ["run", "--checkpoints"],
        ["run", "--scheduler"],
        ["run", "--tls-cert"],
        ["run", "--warm-start"],
        ["resume", "--study"],
        ["report", "-o"],
        ["space", "-o"],
        ["fit", "-o"],
        ["export", "-o"],
        ["compare", "-o"],
        ["verify", "--salvage"],
        ["scheduler", "--scheduler-file"],
    ],
    ids=" ".join,
)
def test_a_shell_completes_paths(args: list[str]) -> None:
    expected = [] if args == ["scheduler"] else [("file", "ru")]
    assert completions(args, "ru") == expected


def test_a_shell_completes_the_directory_of_a_new_study_and_the_keys_of_settings() -> None:
    assert completions(["init"], "my") == [("dir", "my")]
    assert completions(["run", "--set"], "design.i") == [("plain", "design.initial=")]


@pytest.mark.parametrize(
    ("args", "near"),
    [
        (["statsu", "run.zarr"], "status"),
        (["run", "study.py", "--evalutions", "3"], "--evaluations"),
        (["status", "--jsno", "run.zarr"], "--json"),
    ],
)
def test_what_is_mistyped_is_answered_by_what_is_near(args: list[str], near: str) -> None:
    (line,) = spot(*args, code=2).stderr.splitlines()
    assert line.startswith("Error: ")
    assert near in line


def test_init_and_help_name_the_same_file(tmp_path: Path) -> None:
    named = spot("init", tmp_path / "new").stdout.split("spot-dask run ")[1].strip()
    assert Path(named).is_file()
    assert f"`spot-dask run {Path(named).name}`" in spot("--help").output


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("raise SystemExit(0)", "SystemExit: 0"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt"),
        ("raise GeneratorExit('x')", "GeneratorExit: x"),
        ("class Own(BaseException): ...\nraise Own('mine')", "Own: mine"),
        ("class Mute(Exception):\n def __str__(self): return 1/0\nraise Mute", "Mute"),
    ],
)
def test_whatever_a_study_raises_when_it_is_imported_is_one_line(
    line: str, told: str, tmp_path: Path
) -> None:
    study = write_study(tmp_path, ('print("the study says hello")', line))
    result = spot("run", study, "--local", "0", code=2)
    (error,) = result.stderr.splitlines()
    assert error == f"Error: {study}:{9 + line.count(chr(10))}: {told}"


def test_ctrl_c_while_a_study_is_imported_is_an_interrupt(tmp_path: Path) -> None:
    kill = f"import os; os.kill(os.getpid(), {signal.SIGINT:d})"
    study = write_study(tmp_path, ('print("the study says hello")', kill))
    assert spot("run", study, code=130).stderr == "Error: interrupted\n"
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.parametrize("args", [["status"], ["export", "--to", "csv", "-o", "-"]])
def test_a_reader_that_leaves_is_no_traceback(args: list[str], store: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as pipe:
        done = subprocess.run(
            [*PROGRAM, args[0], str(store), *args[1:]],
            stdout=pipe,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert (done.returncode, done.stderr) == (1, "")


def test_output_that_cannot_be_written_is_one_line(store: Path) -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [*PROGRAM, "status", str(store)],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    expected = "Error: the output cannot be written (No space left on device)\n"
    assert (done.returncode, done.stderr) == (1, expected)


def test_status_says_what_came_out_best_without_a_surrogate(store: Path) -> None:
    code = (
        "import sys, time\n"
        "from spot_dask.cli import main\n"
        "main(sys.argv[1:], standalone_mode=False)\n"
        "assert 'scipy' not in sys.modules and 'spot_dask.tuner' not in sys.modules\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "status", str(store)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "pending      0\n" in done.stdout
    assert "best         trial " in done.stdout
    assert done.stdout.endswith("(observed, unconfirmed); spot-dask best tells what to take\n")


def test_a_long_error_is_shown_in_short_where_several_are(tmp_path: Path) -> None:
    study = write_study(tmp_path, ("return (cfg.x", "raise RuntimeError('y' * 3000)\n    (cfg.x"))
    out = tmp_path / "failed.zarr"
    asked = ("--local", "0", "--evaluations", "3", "--progress", "plain", "--store", out)
    result = spot("run", study, *asked, code=3)
    told = spot("status", out).stdout
    for text in (result.stderr, told):
        assert max(map(len, text.splitlines())) < 300
    assert told.count("RuntimeError: yyy") == 3
    assert f"spot-dask export {out} --to jsonl" in told
    assert "y" * 3000 in spot("export", out, "--to", "jsonl", "-o", "-").stdout


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_study_that_closes_its_streams_is_told_of_all_the_same(
    stream: str, tmp_path: Path
) -> None:
    study = tmp_path / "study.py"
    study.write_text(f"import sys; sys.{stream}.close()\nundefined\n")
    command = [*PROGRAM, "check", study]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        f"Error: {study}:2: NameError: name 'undefined' is not defined"
    ]


def test_ctrl_c_while_the_command_line_is_imported_is_no_traceback() -> None:
    code = (
        "import os, signal, sys\n"
        # A job in the background has no handler.
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "class Importing:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'click': os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.meta_path.insert(0, Importing())\n"
        "import spot_dask.cli\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60)
    assert (done.returncode, done.stderr) == (-signal.SIGINT, b"")


def test_once_it_is_imported_ctrl_c_is_what_it_was() -> None:
    code = (
        "import signal; before = signal.getsignal(signal.SIGINT)\n"
        "import spot_dask.cli; print(signal.getsignal(signal.SIGINT) is before)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60)
    assert done.stdout == b"True\n"


def test_a_misspelt_variable_is_told(monkeypatch: pytest.MonkeyPatch, store: Path) -> None:
    for name in (
        "SPOT_DASK_LOKAL",
        "SPOT_DASK_EVALUATIONS",
        "SPOT_DASK_JSON_",
        "SPOT_DASK_CHECKPOINT",
    ):
        monkeypatch.setenv(name, "1")
    done = CliRunner().invoke(main, ["status", str(store)])
    assert done.exit_code == 0
    said = [line for line in done.stderr.splitlines() if line.startswith("SPOT_DASK_")]
    assert said == [
        "SPOT_DASK_LOKAL is set, and no option has that variable; did you mean 'SPOT_DASK_LOCAL'?",
        "SPOT_DASK_JSON_ is set, and no option has that variable; did you mean 'SPOT_DASK_JSON'?",
    ]
