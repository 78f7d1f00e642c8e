"""Tune a LightningModule on scikit-learn's handwritten digits, by Lightning's own Trainer.

    pip install 'spot-dask[lightning]'
    spot-dask run lightning_module.py

Nothing is downloaded. The network is as it was without spot-dask; what was added stands at the end.
"""

import lightning
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset, random_split

from spot_dask import Budget, Integer, LightningTask, Real, Space, Study


class Digits(lightning.LightningDataModule):
    def setup(self, stage):
        digits = load_digits()
        images = torch.tensor(digits.data / 16, dtype=torch.float32)
        samples = TensorDataset(images, torch.tensor(digits.target))
        self.train, self.validation, self.test = random_split(samples, [0.6, 0.2, 0.2])

    def train_dataloader(self):
        return DataLoader(self.train, batch_size=64, shuffle=True)

    def val_dataloader(self):
        return DataLoader(self.validation, batch_size=512)

    def test_dataloader(self):
        return DataLoader(self.test, batch_size=512)


class Net(lightning.LightningModule):
    def __init__(self, lr, width, dropout):
        super().__init__()
        self.lr = lr
        self.layers = nn.Sequential(
            nn.Linear(64, width), nn.ReLU(), nn.Dropout(dropout), nn.Linear(width, 10)
        )

    def forward(self, x):
        return self.layers(x)

    def training_step(self, batch, index):
        return nn.functional.cross_entropy(self(batch[0]), batch[1])

    def validation_step(self, batch, index):
        self._log_of("val", batch)

    def test_step(self, batch, index):  # recorded, never optimised
        self._log_of("test", batch)

    def _log_of(self, part, batch):
        output = self(batch[0])
        self.log(f"{part}_loss", nn.functional.cross_entropy(output, batch[1]))
        self.log(f"{part}_accuracy", (output.argmax(1) == batch[1]).float().mean())

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), self.lr)


space = Space(
    lr=Real(1e-4, 0.1, scale="log", default=1e-3),
    width=Integer(8, 128, scale="power2", default=32),
    dropout=Real(0, 0.6, default=0.2),
)
task = LightningTask(lambda cfg: Net(**cfg), Digits(), epochs=10)
study = Study(space, task, name="lightning", seed=1, budget=Budget(evaluations=25))
