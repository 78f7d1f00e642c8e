"""``spot-dask init --from``: a study of a program from its --help."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from cli_studies import spot

from spot_dask.cli.from_help import arguments, study_text
from spot_dask.study_file import load

ARGPARSE = """\
usage: main.py [-h] [--batch-size N]

PyTorch MNIST Example

options:
  -h, --help            show this help message and exit
  --batch-size N        input batch size for training (default: 64)
  --test-batch-size N   input batch size for testing
                        (default: 1000)
  --epochs N            number of epochs to train (default: 14)
  -lr LR, --lr LR       learning rate (default: 1.0)
  --dropout P           dropout applied to layers (0 = no dropout, default=0.2)
  --model {RNN_TANH,LSTM}
                        type of network (default: LSTM)
  --weight_decay WD     weight decay (default: 0.0005)
  --no-cuda             disables CUDA training
  --seed S              random seed (default: 1)
  --name NAME           of the run (default: None)
"""

CLICK = """\
Usage: train.py [OPTIONS]

Options:
  --lr FLOAT                    Learning rate.  [default: 0.01]
  --width INTEGER               Hidden units.  [default: 100]
  --optim [sgd|adam]            [default: adam]
  --tied / --untied             Tie weights.  [default: untied]
  --help                        Show this message and exit.
"""


def test_options_of_argparse_are_read() -> None:
    found = {a.option: a for a in arguments(ARGPARSE)}
    assert {n: (a.takes, a.default) for n, a in found.items() if n != "help"} == {
        "batch-size": ("N", "64"),
        "test-batch-size": ("N", "1000"),
        "epochs": ("N", "14"),
        "lr": ("LR", "1.0"),
        "dropout": ("P", "0.2"),
        "model": ("{RNN_TANH,LSTM}", "LSTM"),
        "weight_decay": ("WD", "0.0005"),
        "no-cuda": ("", ""),
        "seed": ("S", "1"),
        "name": ("NAME", "None"),
    }
    assert found["model"].choices == ("RNN_TANH", "LSTM")


def test_options_of_click_are_read() -> None:
    found = {a.option: (a.takes, a.default, a.choices) for a in arguments(CLICK)}
    assert found["lr"] == ("FLOAT", "0.01", ())
    assert found["optim"] == ("[sgd|adam]", "adam", ("sgd", "adam"))


@pytest.mark.parametrize(
    ("text", "names"),
    [
        (ARGPARSE, ("batch_size", "test_batch_size", "lr", "dropout", "model", "weight_decay")),
        (CLICK, ("lr", "width", "optim")),
    ],
)
def test_what_is_written_is_a_study(tmp_path: Path, text: str, names: tuple[str, ...]) -> None:
    file = tmp_path / "spot.toml"
    file.write_text(study_text("python main.py", text))
    study = load(str(file)).study
    assert study.space.names == names
    assert study.space.centred == ()  # the program's own defaults
    assert study.space.default["lr"] == (1.0 if text is ARGPARSE else 0.01)
    assert ("--seed={seed}" in study.task.command) == (text is ARGPARSE)  # type: ignore[attr-defined]
    assert "# --epochs (default: 14)" in file.read_text() or text is CLICK


def test_a_program_is_asked_and_the_study_checks(tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text(
        "import argparse\n"
        "parser = argparse.ArgumentParser()\n"
        "parser.add_argument('--lr', type=float, default=0.5, help='(default: %(default)s)')\n"
        "print('val_loss:', parser.parse_args().lr)\n"
    )
    program = f"{sys.executable} {tmp_path / 'main.py'}"
    spot("init", tmp_path / "study", "--from", program)
    checked = spot("check", tmp_path / "study" / "spot.toml")
    assert "val_loss 0.5" in checked.output


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("no-such-program", "--from 'no-such-program' cannot be started"),
        (f"{sys.executable} -c 'print(3)'", "--help tells no options: '3'"),
    ],
)
def test_a_program_without_help_is_told_in_one_line(
    tmp_path: Path, command: str, message: str
) -> None:
    done = spot("init", tmp_path / "study", "--from", command, code=2)
    assert message in done.output
    assert len(done.output.strip().splitlines()) == 1
    assert not (tmp_path / "study").exists()


ABSL = """\
main.py:
  --lr: learning rate
    (default: '0.1')
    (a number)
  --opt: <adam|sgd>: Optimizer
    (default: 'adam')
  --mode=fast|slow  how
    (default:
    slow)
"""


def test_choices_as_a_pattern_and_defaults_on_later_lines_are_read() -> None:
    found = {a.option: (a.default, a.choices) for a in arguments(ABSL)}
    assert found == {
        "lr": ("0.1", ()),
        "opt": ("adam", ("adam", "sgd")),
        "mode": ("slow", ("fast", "slow")),
    }
