"""init writes a study that runs; check finds out what a run would."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from cli_studies import spot, spot_json, write_study

from spot_dask.cli.check import TEMPLATES
from spot_dask.study_file import load

ROOT = Path(__file__).parents[2]


def test_init_writes_files_and_never_overwrites_them(tmp_path: Path) -> None:
    home = tmp_path / "my" / "study"
    result = spot("init", home)
    assert str(home / "spot.toml") in result.stdout
    assert sorted(path.name for path in home.iterdir()) == sorted(TEMPLATES)
    (home / "spot.toml").unlink()
    assert "exists already" in spot("init", home, code=2).stderr
    assert not (home / "spot.toml").exists()


def test_init_into_what_is_no_directory_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert "cannot write" in spot("init", tmp_path / "file" / "below", code=2).stderr


def test_the_shipped_example_is_the_study_that_init_writes() -> None:
    example = (ROOT / "scripts/examples/digits.py").read_text()
    template = (ROOT / "spot_dask/cli/templates/study.py.template").read_text()
    assert template == example.replace("digits.py", "study.py")


def test_the_study_that_init_writes_loads_both_ways(tmp_path: Path) -> None:
    spot("init", tmp_path)
    toml = load(str(tmp_path / "spot.toml")).study
    python = load(str(tmp_path / "study.py")).study
    assert toml.space == python.space
    assert (toml.budget, toml.design, toml.seed) == (python.budget, python.design, python.seed)
    assert toml.budget.evaluations == 40


def test_the_examples_among_the_settings_that_init_writes_hold(tmp_path: Path) -> None:
    spot("init", tmp_path)
    file = tmp_path / "spot.toml"
    rest = file.read_text().partition("[study]")[2]
    file.write_text("[study]" + rest.replace("\n# ", "\n"))
    loaded = load(str(file))
    assert loaded.study.design.initial == 12
    assert loaded.study.space.parameters["width"].held
    assert loaded.scheduler.startswith("tls://")


@pytest.mark.e2e
def test_the_study_that_init_writes_passes_its_check(tmp_path: Path) -> None:
    spot("init", tmp_path)
    document = spot_json("check", tmp_path / "spot.toml")
    assert [item["status"] for item in document["checks"]] == ["PASS"] * 3
    assert document["estimate_seconds"] > 0


def test_check_shows_the_space_and_trains_the_defaults(tmp_path: Path) -> None:
    study = write_study(tmp_path)
    result = spot("check", study, "--set", "space.x.high=0.9")
    for text in ("0.01 to 0.9", "a, b", "power2", "kind = b", "PASS  training", "loss 0.14"):
        assert text in result.stdout
    document = spot_json("check", study, "--set", "space.width=8")
    assert document["schema"] == "spot-dask/check/1"
    rows = {row["name"]: row for row in document["space"]}
    assert list(rows) == ["x", "kind", "width", "rate"]
    assert rows["width"]["fixed"]
    assert rows["rate"]["when"] == {"kind": ["b"]}
    assert document["seconds"] > 0


def test_check_fails_when_the_defaults_fail(tmp_path: Path) -> None:
    study = write_study(tmp_path, ("return (cfg", "raise ValueError('never')\n    return (cfg"))
    document = spot_json("check", study, code=4)
    assert [item["status"] for item in document["checks"]] == ["PASS", "PASS", "FAIL"]
    assert "ValueError: never" in document["checks"][2]["message"]


def test_check_names_what_cannot_travel(tmp_path: Path) -> None:
    study = write_study(
        tmp_path,
        ("def loss", "import threading\nguard = threading.Lock()\n\ndef loss"),
        ("return (cfg", "guard.locked()\n    return (cfg"),
    )
    result = spot("check", study, code=4)
    assert "FAIL  pickling: 'guard', used by loss(), is a lock" in result.stdout
    assert "SKIP  training" in result.stdout


def messages(document: dict[str, Any]) -> dict[str, str]:
    """What was warned of, by the thing that was looked at."""
    return {
        item["name"]: item["message"] for item in document["checks"] if item["status"] == "WARN"
    }


def test_check_warns_of_parameters_that_nobody_reads(tmp_path: Path) -> None:
    warned = messages(spot_json("check", write_study(tmp_path)))
    assert list(warned) == ["parameters"]
    assert "never reads 'width', which is tuned all the same; leave it out" in warned["parameters"]
    study = write_study(tmp_path, ("return (cfg", "dict(cfg)\n    return (cfg"), name="all.py")
    assert messages(spot_json("check", study)) == {}


def test_check_ends_a_function_that_reports_after_one_epoch(tmp_path: Path) -> None:
    whole = spot("check", write_study(tmp_path)).stdout
    assert "PASS  training: the whole training (it reports no epochs) of the defaults" in whole
    study = write_study(
        tmp_path,
        ("def loss(cfg):", "def loss(cfg, trial):"),
        ("return (cfg", "trial.report(1, loss=0.75)\n    assert False\n    return (cfg"),
    )
    document = spot_json("check", study)
    assert "one epoch of the defaults on cpu: loss 0.75" in document["checks"][2]["message"]
    assert document["estimate_seconds"] is None  # nobody knows of how many


NETWORK = """\
import numpy as np
import torch
from spot_dask import Budget, Integer, Metric, Real, Space, Study, TorchTask

X = np.random.default_rng(0).normal(size=(200, 4)).astype("float32")
X[3, 2] = HOLE


def data():
    import pandas as pd
    return pd.DataFrame(X, columns=["a", "b", "age", "d"]).iloc[:, :], (X[:, 0] > 0).astype("int64")


def model(cfg):
    return torch.nn.Sequential(torch.nn.Flatten(), Filled(), torch.nn.Linear(4, 2))


class Filled(torch.nn.Module):
    def forward(self, x):
        return torch.nan_to_num(x)


def spread(output, target):
    return output.std()


study = Study(
    Space(
        lr=Real(0.01, 1.0, default=0.1), batch=Integer(8, 32, default=8),
        epochs=Integer(1, 3, default=2), n=Integer(1, 9, default=3),
    ),
    TorchTask(
        model, data, lambda p, cfg: torch.optim.SGD(p, cfg.lr), torch.nn.CrossEntropyLoss(),
        metrics=METRICS, epochs="epochs", batch_size="batch", device="cpu", eval_batch_size=18,
        judge=JUDGE,
    ),
    budget=Budget(evaluations=6),
)
"""


def test_check_warns_of_data_metrics_and_judgement(tmp_path: Path) -> None:
    path = tmp_path / "study.py"
    over = 'Metric(spread, over="samples")'
    for name, text in {"HOLE": "np.nan", "METRICS": f"({over},)", "JUDGE": '"best"'}.items():
        path.write_text((path.read_text() if path.exists() else NETWORK).replace(name, text))
    document = spot_json("check", path)
    said = [item["message"] for item in document["checks"] if item["status"] == "WARN"]
    assert len(said) == 4
    assert said[0] == "column 'age' of X (train) holds 1 of 200 values that are NaN or infinite"
    assert said[1].startswith("judge is 'best': the objective is the best of all epochs")
    assert said[2].startswith("the training of the defaults never reads 'n', which is tuned")
    assert said[3].startswith("val_spread changes with the batch size of the evaluation: ")
    assert document["estimate_seconds"] > 0
