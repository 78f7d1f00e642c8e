"""Lightning's Trainer as a task: what it reports, saves, and says of what is wrong."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning
import pytest
import pytorch_lightning
import torch
from killed_trainings import alone, kill, one_thread
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from torch import nn
from torch.utils.data import DataLoader, TensorDataset, random_split

from spot_dask import Budget, Integer, LightningTask, Real, Space, Study
from spot_dask.space import Config
from spot_dask.tasks import Diverged, StoppedEarly

__all__ = ["one_thread"]  # used by every test

CONFIG = Config({"width": 6, "lr": 0.02})


class Trial:
    """What a running training knows; ``at`` is called with each epoch that is reported."""

    number, attempt, seed, slot, device = 7, 1, 42, 0, ""
    keeps_checkpoint = True
    keeps_artifacts = False

    def __init__(self, folder: Path, at: Callable[[int], object] = lambda epoch: None) -> None:
        self.checkpoint, self.at = folder, at
        self.reports: list[tuple[int, dict[str, float]]] = []

    def report(self, epoch: int, /, **metrics: float) -> None:
        self.reports.append((epoch, metrics))
        self.at(epoch)


class Steps:
    """A small network with dropout, and what is logged of it."""

    def __init__(self, cfg: Any) -> None:
        super().__init__()
        self.save_hyperparameters()  # type: ignore[attr-defined]
        self.net = nn.Sequential(
            nn.Linear(4, cfg["width"]), nn.ReLU(), nn.Dropout(0.3), nn.Linear(cfg["width"], 2)
        )
        self.lr = cfg["lr"]

    def forward(self, x: Any) -> Any:
        return self.net(x)

    def _loss(self, name: str, batch: Any) -> Any:
        loss = nn.functional.cross_entropy(self(batch[0]), batch[1])  # type: ignore[operator]
        self.log(name, loss, on_epoch=True, on_step=False)  # type: ignore[attr-defined]
        return loss

    def training_step(self, batch: Any, index: int) -> Any:
        return self._loss("train_loss", batch)

    def validation_step(self, batch: Any, index: int) -> None:
        self._loss("val_loss", batch)

    def test_step(self, batch: Any, index: int) -> None:
        self._loss("loss", batch)

    def configure_optimizers(self) -> Any:
        adam = torch.optim.Adam(self.parameters(), self.lr)  # type: ignore[attr-defined]
        plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(adam, factor=0.5, patience=0)
        step = torch.optim.lr_scheduler.StepLR(adam, 1, 0.9)
        return [adam], [step, {"scheduler": plateau, "monitor": "val_loss"}]


class Net(Steps, lightning.LightningModule):
    pass


class Untested(lightning.LightningModule):
    """A module that logs only what ``logs`` names; without validation if there is nothing."""

    def __init__(self, *logs: str, value: float = 1.0) -> None:
        super().__init__()
        self.weight, self.logs, self.value = nn.Linear(4, 1), logs, value

    def training_step(self, batch: Any, index: int) -> Any:
        loss = self.weight(batch[0]).mean()
        self.log("train_loss", loss)
        return loss

    def validation_step(self, batch: Any, index: int) -> None:
        for name in self.logs:
            self.log(name, self.value)

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), 0.1)


def samples() -> TensorDataset:
    draws = torch.Generator().manual_seed(1)
    X = torch.randn(80, 4, generator=draws)
    return TensorDataset(X, (X[:, 0] > 0).long())


class Parts:
    """Training, validation and test data, drawn in ``setup``."""

    def __init__(self, workers: int = 0) -> None:
        super().__init__()
        self.workers = workers

    def setup(self, stage: str) -> None:
        self.parts = random_split(samples(), [48, 16, 16])

    def train_dataloader(self) -> Any:
        return DataLoader(self.parts[0], 8, shuffle=True, num_workers=self.workers)

    def val_dataloader(self) -> Any:
        return DataLoader(self.parts[1], 16)

    def test_dataloader(self) -> Any:
        return DataLoader(self.parts[2], 16)


class DataModule(Parts, lightning.LightningDataModule):
    pass


def loaders(shuffle: bool = True) -> tuple[Any, Any]:
    return DataLoader(samples(), 20, shuffle=shuffle), DataLoader(samples(), 80)


def task(module: Any = Net, data: Any = loaders, **settings: Any) -> LightningTask:
    return LightningTask(module, data, **{"epochs": 2, "checkpoint_seconds": 0, **settings})


@pytest.mark.parametrize("epoch", [1, 3])
def test_a_killed_training_ends_as_one_that_ran_through(epoch: int, tmp_path: Path) -> None:
    stopping = EarlyStopping("val_loss", patience=3)
    whole = task(data=DataModule(), epochs=4, trainer={"callbacks": [stopping]})
    for name in "ab":
        (tmp_path / name).mkdir()
    straight, again = Trial(tmp_path / "a"), Trial(tmp_path / "b")
    expected = whole(CONFIG, straight)

    fork = multiprocessing.get_context("fork")
    killed = Trial(tmp_path / "b", kill(epoch))
    child = fork.Process(target=alone, args=(whole, CONFIG, killed))
    child.start()
    child.join(60)
    assert child.exitcode == -signal.SIGKILL
    assert (tmp_path / "b" / "lightning.ckpt").exists() == (epoch > 1)
    begun: list[int] = []
    again.at = begun.append
    assert whole(CONFIG, again) == expected
    assert again.reports == straight.reports
    assert [e for e, _ in straight.reports] == [1, 2, 3, 4] == begun
    assert set(expected) == {"train_loss", "val_loss", "test_loss"}


def test_what_loading_processes_draw_goes_on_as_well(tmp_path: Path) -> None:
    whole = task(data=DataModule(workers=1), epochs=3)
    expected = whole(CONFIG, Trial(tmp_path))
    (tmp_path / "b").mkdir()

    def stop(epoch: int) -> None:
        if epoch == 2:
            raise StoppedEarly

    with pytest.raises(StoppedEarly):
        whole(CONFIG, Trial(tmp_path / "b", stop))
    assert whole(CONFIG, Trial(tmp_path / "b")) == expected


def test_a_checkpoint_of_something_else_is_not_used(tmp_path: Path, caplog: Any) -> None:
    expected = task()(CONFIG, Trial(tmp_path))
    (tmp_path / "lightning.ckpt").write_bytes(b"damaged")
    assert task()(CONFIG, Trial(tmp_path)) == expected
    assert "trial 7 begins anew, its checkpoint cannot be used" in caplog.text


def test_the_seed_fixes_a_training_and_another_one_changes_it(tmp_path: Path) -> None:
    first, second, other = (Trial(tmp_path) for _ in range(3))
    other.seed = 43
    for trial in (first, second, other):
        trial.keeps_checkpoint = False
        task()(CONFIG, trial)
    assert first.reports == second.reports != other.reports
    assert [*tmp_path.iterdir()] == []  # nothing is written where nobody would find it


def test_both_packages_and_their_data_modules_do(tmp_path: Path) -> None:
    class Other(Steps, pytorch_lightning.LightningModule):
        pass

    class OtherData(Parts, pytorch_lightning.LightningDataModule):
        pass

    assert task(Other, OtherData())(CONFIG, Trial(tmp_path)).keys() >= {"val_loss", "test_loss"}
    with pytest.raises(ValueError, match=r"import both from one package"):
        task(Other, DataModule())(CONFIG, Trial(tmp_path))


def test_a_sanity_check_is_not_reported_and_each_validation_is(tmp_path: Path) -> None:
    some = Trial(tmp_path)
    task(trainer={"num_sanity_val_steps": 2, "val_check_interval": 0.5})(CONFIG, some)
    assert [epoch for epoch, _ in some.reports] == [1, 2, 3, 4]
    few, without = Trial(tmp_path), Trial(tmp_path)
    few.keeps_checkpoint = without.keeps_checkpoint = False
    rarely = {"check_val_every_n_epoch": 2}
    task(lambda cfg: Untested("val_loss"), epochs=4, trainer=rarely)(CONFIG, few)
    assert [epoch for epoch, _ in few.reports] == [2, 4]
    data = DataLoader(samples(), 20)
    task(lambda cfg: Untested(), data, objective="train_loss")(CONFIG, without)
    assert [epoch for epoch, _ in without.reports] == [1, 2]


def test_sigterm_is_left_to_who_sees_to_the_training(tmp_path: Path) -> None:
    heard: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: heard.append(number))
    try:
        trial = Trial(tmp_path, lambda epoch: os.kill(os.getpid(), signal.SIGTERM))
        task()(CONFIG, trial)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert heard == [signal.SIGTERM] * 2
    assert len(trial.reports) == 2


def test_arguments_of_the_trainer_are_the_users(tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "own").mkdir()
    saving = ModelCheckpoint(dirpath=tmp_path / "own")
    trainer = {"callbacks": saving, "enable_checkpointing": True, "max_steps": 6}
    trial = Trial(tmp_path)
    task(epochs="epochs", trainer=lambda cfg: trainer)(Config({**CONFIG, "epochs": 3}), trial)
    assert len(trial.reports) == 1  # of 4 steps each
    assert [path.name for path in (tmp_path / "own").iterdir()] == ["epoch=1-step=6.ckpt"]
    assert saving.best_model_path == ""  # a copy of it was trained with
    assert capsys.readouterr() == ("", "")


def test_the_tuned_model_is_in_hand_after_a_run(tmp_path: Path) -> None:
    space = Space(lr=Real(1e-3, 0.1, scale="log"), width=Integer(2, 8))
    study = Study(space, task(), budget=Budget(evaluations=2))
    run = study.run(store=tmp_path / "run.zarr", local=0)
    fitted = run.fit(study)
    assert run.best is not None
    assert fitted.metrics["val_loss"] == run.best.observed
    assert fitted.predict(samples().tensors[0].numpy()).shape == (80, 2)
    loaded = torch.load(fitted.save(tmp_path / "net.pt"), weights_only=True)
    assert "net.0.weight" in loaded["weights"]
    with pytest.raises(ValueError, match="give a data module without validation"):
        run.fit(study, full=True)


def test_check_trains_one_epoch(tmp_path: Path) -> None:
    trial = Trial(tmp_path)
    task(epochs=50).shortened()(CONFIG, trial)
    assert len(trial.reports) == 1


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (lambda: task(trainer={"gradient_clip": 1}),
         "trainer has 'gradient_clip', no argument of Trainer; did you mean 'gradient_clip_val'?"),
        (lambda: task(trainer={"max_epochs": 3}), "give it to the task instead: epochs=..."),
        (lambda: task(trainer=lambda: {}), "trainer cannot be called with (cfg)"),
        (lambda: task(data=DataModule), "data is the class DataModule; give DataModule(...)"),
        (lambda: task(epochs=0), "epochs is 0; expected a number from 1 or a parameter's name"),
        (lambda: task(objective="test_loss"), "test data are never optimised on"),
        (lambda: task(lambda: None), "module cannot be called with (cfg)"),
    ],
)  # fmt: skip
def test_what_cannot_be_a_task_is_said_at_once(made: Any, message: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the message is compared below
        made()
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        (lambda: task(lambda cfg: Untested("valid_loss")), ValueError,
         "the module logs no 'val_loss', the objective; did you mean 'valid_loss'?"),
        (lambda: task(lambda cfg: Untested(), DataLoader(samples(), 20)), ValueError,
         "there is no validation_step, or no data"),
        (lambda: task(lambda cfg: Untested("val_loss", value=float("nan"))), Diverged,
         "val_loss became nan in epoch 1"),
        (lambda: task(lambda cfg: nn.Linear(2, 2)), ValueError,
         "module() returned 'Linear'; expected a LightningModule"),
        (lambda: task(data=lambda: 3), ValueError, "data is 3; expected a LightningDataModule"),
        (lambda: task(trainer={"max_steps": 1}), ValueError, "ended before anything was validated"),
        (lambda: task(trainer=lambda cfg: {"precison": 16}), ValueError,
         "trainer has 'precison', no argument of Trainer; did you mean 'precision'?"),
        (lambda: task(epochs="epochs"), ValueError, "epochs='epochs' names no active parameter"),
    ],
)  # fmt: skip
def test_what_goes_wrong_in_a_training_is_one_line(
    wrong: Any, error: Any, message: str, tmp_path: Path
) -> None:
    with pytest.raises(error) as caught:
        wrong()(CONFIG, Trial(tmp_path))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_package_is_named(monkeypatch: Any) -> None:
    monkeypatch.setattr("spot_dask.tasks.lightning.find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"pip install 'spot-dask\[lightning\]'"):
        task()
