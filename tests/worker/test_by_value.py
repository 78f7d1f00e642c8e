"""A study's own classes and functions in processes that its trainings start, by every method."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from spot_dask import by_value
from spot_dask.records import Outcome, Trial
from spot_dask.study_file import load
from spot_dask.worker import supervisor

METHODS = ["fork", "spawn", "forkserver"]

POOLS = """\
import enum, multiprocessing
from typing import NamedTuple
from spot_dask import FunctionTask, Real, Space, Study
from .parts import Part

begun = None

class Kind(enum.Enum):
    A = 1

class Pair(NamedTuple):
    number: int
    begun: int
    kind: Kind

class Counted:
    seen = []

def begin(value):
    global begun
    begun = value

def work(part):
    return Pair(part.number, begun, Kind.A), Counted()

def train(cfg):
    Counted.seen.append(1)
    with multiprocessing.get_context("METHOD").Pool(1, begin, (7,)) as pool:
        pairs, others = zip(*pool.map(work, [Part(i) for i in range(3)]))
    assert pairs == tuple(Pair(i, 7, Kind.A) for i in range(3)), pairs
    assert all(type(p) is Pair and p.kind is Kind.A for p in pairs)
    assert all(type(other) is Counted for other in others)
    assert Counted.seen == [1] and begun is None
    return 3.0

study = Study(Space(x=Real(0, 1)), FunctionTask(train))
"""

LOADERS = """\
import multiprocessing, torch
from helper import Rows, halved
from torch.utils.data import DataLoader
from spot_dask import Data, Real, Space, Study, TorchTask

class Own(Rows):
    def __getitem__(self, i):
        x, y = super().__getitem__(i)
        return x + 1, y

def data():
    multiprocessing.set_start_method("forkserver", force=True)
    return Data(Own(8), validation=Own(8), transform=halved, train_transform=lambda x: 2 * x)

study = Study(Space(lr=Real(1e-3, 1e-1)), TorchTask(
    model=lambda cfg: torch.nn.Linear(1, 1),
    data=data,
    optimizer=lambda parameters, cfg: torch.optim.SGD(parameters, cfg.lr),
    loss=torch.nn.MSELoss(), epochs=1, workers=1, device="cpu",
))
"""

HELPER = """\
import os, torch
from torch.utils.data import Dataset

class Rows(Dataset):
    def __init__(self, n):
        self.X, self.parent = torch.arange(float(n))[:, None], os.getpid()
    def __len__(self):
        return len(self.X)
    def __getitem__(self, i):
        assert os.getpid() != self.parent  # in a loading process
        return self.X[i], self.X[i]

def halved(x):
    return x / 2
"""


def train(study: Path, **config: float) -> Outcome:
    """What a training of the study's task comes to, in a process that does not have the file."""
    before = sys.path[:]
    try:
        task = by_value.dumps(load(str(study)).study.task)
        for file in study.parent.glob("*.py"):
            file.unlink()
        sys.path[:] = before
        return supervisor.run_trial(task, Trial(0, config, seed=1), 0)
    finally:
        sys.path[:] = before
        supervisor.close()


@pytest.mark.parametrize("method", METHODS)
def test_pools_get_what_a_study_in_a_package_defines(tmp_path: Path, method: str) -> None:
    package = tmp_path / f"studies_{method}"
    package.mkdir()
    (package / "__init__.py").touch()
    part = "from dataclasses import dataclass\n@dataclass\nclass Part:\n    number: int\n"
    (package / "parts.py").write_text(part)
    (package / "study.py").write_text(POOLS.replace("METHOD", method))
    outcome = train(package / "study.py", x=0.5)
    assert outcome.ok, outcome.error
    assert outcome.y == 3.0


def test_loading_processes_get_datasets_of_a_study_and_its_helper(tmp_path: Path) -> None:
    """Started as by default from Python 3.14 on."""
    (tmp_path / "helper.py").write_text(HELPER)
    (tmp_path / "study.py").write_text(LOADERS)
    outcome = train(tmp_path / "study.py", lr=0.01)
    assert outcome.ok, outcome.error


def test_a_script_s_own_classes_reach_spawned_processes(tmp_path: Path) -> None:
    script = POOLS.replace("METHOD", "spawn").replace("from .parts", "from parts")
    script += """
if __name__ == "__main__":
    from spot_dask import by_value
    from spot_dask.records import Trial
    from spot_dask.worker import supervisor
    outcome = supervisor.run_trial(by_value.dumps(study.task), Trial(0, {"x": 0.5}, seed=1), 0)
    assert outcome.y == 3.0, outcome
"""
    (tmp_path / "parts.py").write_text("class Part:\n    def __init__(self, i): self.number = i\n")
    (tmp_path / "script.py").write_text(script)
    done = subprocess.run(
        [sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, check=False,
        env=os.environ | {"PYTHONPATH": str(Path(by_value.__file__).parents[1])},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_two_studies_have_each_its_helper_of_one_name(tmp_path: Path) -> None:
    text = (
        "import own_helper\nfrom spot_dask import FunctionTask, Real, Space, Study\n"
        "study = Study(Space(x=Real(0, 1)), FunctionTask(lambda cfg: own_helper.value()))\n"
    )
    tasks: list[Any] = []
    for value in (1.0, 2.0):
        place = tmp_path / str(value)
        place.mkdir()
        (place / "own_helper.py").write_text(f"VALUE = {value}\ndef value():\n    return VALUE\n")
        (place / "study.py").write_text(text)
        tasks.append(load(str(place / "study.py")).study.task)
    copies = [pickle.loads(by_value.dumps(task)) for task in tasks]
    assert [task.function(SimpleNamespace(x=0.5)) for task in copies] == [1.0, 2.0]


def test_loading_a_pickle_leaves_its_own_process_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "study.py").write_text(
        "from spot_dask import FunctionTask, Real, Space, Study\n"
        "class Net:\n    seen = []\n    def show(self):\n        return begun\n"
        "begun = None\n"
        "def train(cfg):\n    global begun\n    begun = Net()\n    return 1.0\n"
        "study = Study(Space(x=Real(0, 1)), FunctionTask(train))\n"
    )
    task: Any = load(str(tmp_path / "study.py")).study.task
    net = sys.modules[task.function.__module__].Net
    show, seen = net.show, net.seen
    copy = pickle.loads(by_value.dumps(task))
    assert (net.show, net.seen) == (show, seen)
    assert copy.function(None) == 1.0
    assert isinstance(net().show(), net)


def test_what_is_importable_travels_by_name_and_is_not_remembered() -> None:
    before = dict(by_value._by_token)
    assert pickle.loads(by_value.dumps([load, Outcome, pickle.dumps])) == [
        load, Outcome, pickle.dumps,
    ]  # fmt: skip
    assert by_value._by_token == before


def test_an_open_file_is_no_more_sent_by_multiprocessing_than_ever(tmp_path: Path) -> None:
    by_value.install()
    sender, receiver = multiprocessing.Pipe()
    with (tmp_path / "file").open("w") as file, pytest.raises(TypeError, match="pickle"):
        sender.send(file)
    sender.close()
    receiver.close()
