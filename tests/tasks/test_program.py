"""A program as a task: real processes, read as they print."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from spot_dask import Categorical, Integer, Real, Space, Study
from spot_dask.errors import StudyError
from spot_dask.space import Config
from spot_dask.study_file import load
from spot_dask.tasks import StoppedEarly
from spot_dask.tasks.program import ProgramFailed, ProgramTask


class Trial:
    """What a running training knows."""

    number, attempt, seed, slot, device = 7, 1, 42, 0, ""
    keeps_checkpoint = True

    def __init__(self, folder: Path | None = None, stop_at: int = 0) -> None:
        self.checkpoint = folder
        self.reports: list[tuple[int, dict[str, float]]] = []
        self.stop_at = stop_at

    def report(self, epoch: int, /, **metrics: float) -> None:
        self.reports.append((epoch, metrics))
        if epoch == self.stop_at:
            raise StoppedEarly


def python(code: str, *arguments: str) -> list[str]:
    return [sys.executable, "-c", code, *arguments]


def run(code: str, trial: Any = None, **settings: Any) -> Any:
    task = ProgramTask(python(code), **settings)
    return task(Config({}), trial or Trial())


# --- the command


def words(command: Any, config: dict[str, Any], **settings: Any) -> list[str]:
    return ProgramTask(command, **settings).arguments(Config(config), Trial(Path("/keep")))


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("python m.py --lr {lr}", ["python", "m.py", "--lr", "0.001"]),
        ("m --seed={seed} --out={checkpoint}/m.pt", ["m", "--seed=42", "--out=/keep/m.pt"]),
        ("m {...}", ["m", "--lr=0.001", "--batch-size=64", "--tied", "--optim.kind=sgd", "--n=2"]),
        ("m --lr={lr} {...}",
         ["m", "--lr=0.001", "--batch-size=64", "--tied", "--optim.kind=sgd", "--n=2"]),
        ("m 'a b' {tied:--tie} {off:--off}", ["m", "a b", "--tie"]),
        ("m {optim.kind}", ["m", "sgd"]),
        ("m --x={gone} y", ["m", "y"]),
        (["m", "{lr}", "a b"], ["m", "0.001", "a b"]),
    ],
)  # fmt: skip
def test_places_are_filled(command: Any, expected: list[str]) -> None:
    config = {
        "lr": 0.001, "batch_size": 64, "tied": True, "off": False, "optim.kind": "sgd", "n": 2.0,
    }  # fmt: skip
    assert words(command, config) == expected


def test_names_keep_their_underscores_where_that_is_asked_for() -> None:
    assert words("m {...}", {"batch_size": 4}, dashes=False) == ["m", "--batch_size=4"]


def test_no_shell_reads_a_value() -> None:
    hostile = "$(touch /tmp/never); `x` && y"
    assert words("m --act={act}", {"act": hostile}) == ["m", f"--act={hostile}"]


# --- what it prints


def test_each_line_with_the_objective_is_an_epoch_and_the_last_is_the_result() -> None:
    trial, code = (
        Trial(),
        (
            "import json\n"
            "for e in range(3): print('text'); print(json.dumps({'val_loss': 1/(e+1), 'acc': e}))\n"
            "print(json.dumps({'test_loss': 9, 'name': 'x', 'flag': True}))"
        ),
    )
    assert run(code, trial) == {"val_loss": pytest.approx(1 / 3), "acc": 2.0, "test_loss": 9.0}
    assert [(epoch, m["acc"]) for epoch, m in trial.reports] == [(1, 0), (2, 1), (3, 2)]


def test_patterns_find_numbers_wherever_they_are_printed() -> None:
    code = (
        "import sys\n"
        "print('| epoch 1 | train ppl 3,210.5', end='\\r')\n"
        "print('valid loss 5.25 | valid ppl 1e+02', file=sys.stderr)\n"
        "print('valid loss -.5 | valid ppl nan')"
    )
    trial = Trial()
    read = {"val_loss": "valid loss {}", "ppl": r"valid ppl (\S+)", "train": r"train ppl ([\d.,]+)"}
    found = run(code, trial, read=read)
    assert found["val_loss"] == -0.5
    assert found["train"] == 3210.5
    assert [m["val_loss"] for _, m in trial.reports] == [5.25, -0.5]


def test_a_report_may_name_its_epoch() -> None:
    trial = Trial()
    run('print(\'{"epoch": 5, "val_loss": 1}\'); print(\'{"epoch": 9, "val_loss": 0}\')', trial)
    assert [epoch for epoch, _ in trial.reports] == [5, 9]


def test_a_failure_says_the_exit_code_and_the_last_lines() -> None:
    with pytest.raises(
        ProgramFailed, match="ended with exit code 3: ValueError: no such file"
    ) as e:
        run("import sys; print('begun'); print('ValueError: no such file'); sys.exit(3)")
    assert "begun" in "\n".join(e.value.__notes__)
    with pytest.raises(ProgramFailed, match="was killed by SIGKILL: it printed nothing"):
        run("import os; os.kill(os.getpid(), 9)")
    with pytest.raises(
        ProgramFailed, match=r"out of memory: torch.cuda.OutOfMemoryError: CUDA out of"
    ):
        run("import sys; print('torch.cuda.OutOfMemoryError: CUDA out of memory.'); sys.exit(1)")


def test_a_program_that_prints_no_objective_is_told() -> None:
    with pytest.raises(
        ProgramFailed, match="ended well but printed no JSON object with 'val_loss'"
    ):
        run("print('{\"loss\": 3}')")
    with pytest.raises(ProgramFailed, match="nothing that its pattern finds of 'val_loss': done"):
        run("print('done')", read={"val_loss": "loss {}"})


def test_a_program_that_there_is_not_is_told() -> None:
    with pytest.raises(ProgramFailed, match=r"no-such-program cannot be started: .*on the PATH"):
        ProgramTask("no-such-program")(Config({}), Trial())


def test_an_endless_line_and_odd_bytes_are_survived() -> None:
    code = (
        "import sys; sys.stdout.write('x' * 1000000); sys.stdout.buffer.write(b'\\xff\\n');"
        "print('{\"val_loss\": 2}')"
    )
    assert run(code) == {"val_loss": 2.0}


def test_seed_trial_and_environment_reach_it() -> None:
    code = (
        "import os, json; print(json.dumps({'val_loss': int(os.environ['SPOT_DASK_SEED']),"
        "'n': int(os.environ['SPOT_DASK_TRIAL']), 'mine': int(os.environ['MINE'])}))"
    )
    assert run(code, env={"MINE": "3"}) == {"val_loss": 42.0, "n": 7.0, "mine": 3.0}


def test_a_stopped_training_ends_with_all_that_it_started(tmp_path: Path) -> None:
    code = (
        "import subprocess, sys, time\n"
        "p = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        f"open({str(tmp_path / 'pid')!r}, 'w').write(str(p.pid))\n"
        "print('{\"val_loss\": 1}', flush=True); time.sleep(60)"
    )
    began = time.monotonic()
    with pytest.raises(StoppedEarly):
        run(code, Trial(stop_at=1))
    assert time.monotonic() - began < 30
    child = int((tmp_path / "pid").read_text())
    assert not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE


# --- what is wrong


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"command": ""}, "command is empty"),
        ({"command": "a 'b"}, "command .a 'b.: No closing quotation"),
        ({"command": "m", "read": "csv"}, "read is 'csv'; expected 'json' or a pattern"),
        ({"command": "m", "read": {"loss": "loss {}"}}, "no pattern of the objective 'val_loss'"),
        ({"command": "m", "read": {"val_loss": "loss"}}, "read.val_loss 'loss' has no group"),
        ({"command": "m", "read": {"val_loss": "(loss"}}, "read.val_loss .*unterminated"),
        ({"command": "m", "env": {"A": 1}}, "env is .*; expected texts by name"),
        ({"command": "m", "direction": "down"}, "direction is 'down'"),
    ],
)
def test_what_is_wrong_is_told_in_one_line(settings: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        ProgramTask(**settings)
    assert "\n" not in str(caught.value)


def test_a_place_of_no_parameter_is_told_when_the_study_is_made() -> None:
    with pytest.raises(ValueError, match=r"command has \{lrr\}, .*did you mean 'lr'"):
        Study(Space(lr=Real(0, 1)), ProgramTask("m {lrr}"))


# --- a study in TOML alone

PROGRAM = """\
import argparse, json, os, pathlib, sys, time
parser = argparse.ArgumentParser()
parser.add_argument("--lr", type=float, default=0.1, help="learning rate (default: 0.1)")
parser.add_argument("--width", type=int, default=8)
parser.add_argument("--act", choices=["relu", "tanh"], default="relu")
parser.add_argument("--tied", action="store_true")
parser.add_argument("--keep", default=None)
args = parser.parse_args()
for epoch in range(3):
    loss = (args.lr - 0.3) ** 2 + args.width / 100 + (args.act == "relu") + args.tied
    loss += 1 / (epoch + 1)
    print(f"epoch {epoch} valid loss {loss:.4f}")
"""

TOML = """\
where = ["lr * width <= 20"]

[program]
command = "PYTHON main.py {...}"
read = {val_loss = "valid loss {}"}

[space.lr]
type = "real"
low = 0.01
high = 1.0
scale = "log"

[space.width]
type = "integer"
low = 1
high = 64

[space.act]
type = "categorical"
levels = ["relu", "tanh"]

[space.tied]
type = "categorical"
levels = [false, true]

[budget]
evaluations = 12

"""


@pytest.fixture
def toml(tmp_path: Path) -> Path:
    (tmp_path / "main.py").write_text(PROGRAM)
    file = tmp_path / "spot.toml"
    file.write_text(TOML.replace("PYTHON", sys.executable))
    return file


def test_a_toml_file_alone_is_a_study(toml: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(toml.parent.parent)  # the program is found beside the file
    loaded = load(str(toml), ["space.width.high=32"])
    assert loaded.study.space.names == ("lr", "width", "act", "tied")
    assert loaded.study.space.parameters["width"] == Integer(1, 32)
    assert loaded.study.space.parameters["tied"] == Categorical([False, True])
    run = loaded.study.run(local=0, store=toml.parent / "run.zarr")
    evaluations = run.fold.history.evaluations
    assert len(evaluations) == 12
    assert all(e.outcome.ok for e in evaluations), [e.outcome.error for e in evaluations]
    assert {len(e.outcome.curves["val_loss"]) for e in evaluations} == {3}
    assert all(e.trial.config["lr"] * e.trial.config["width"] <= 20 for e in evaluations)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("[space.lr]\n", "[space.lr]\nlw = 3\n", "space.lr: real has no field 'lw'"),
        ('type = "real"\n', "", "space.lr.low is 0.01; expected a table with a type"),
        ('type = "real"', 'type = "rael"', "space.lr: type 'rael' .* did you mean 'real'"),
        ("command = ", "comand = ", "program.comand is unknown; did you mean 'command'"),
        ("lr * width", "lr * wdith", "names 'wdith', which is no parameter"),
        ("{...}", "{...} {lrr}", "command has {lrr}"),
        ("valid loss {}", "valid loss", "has no group for the number"),
        ("[budget]", "[bugdet]", "unknown key 'bugdet.evaluations'"),
    ],
)
def test_what_is_wrong_in_it_is_told_in_one_line(
    toml: Path, old: str, new: str, message: str
) -> None:
    toml.write_text(toml.read_text().replace(old, new))
    with pytest.raises(StudyError, match=message) as caught:
        load(str(toml))
    assert "\n" not in str(caught.value)
    assert str(toml) in str(caught.value)
