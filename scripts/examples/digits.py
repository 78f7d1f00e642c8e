"""Tune a small convolutional network on scikit-learn's handwritten digits (8 x 8 pixels).

    spot-dask run digits.py

Nothing is downloaded. The comments number the seven steps of SPOT.
"""

import torch
from sklearn.datasets import load_digits
from torch import nn

from spot_dask import Budget, Categorical, Integer, Real, Space, Study, TorchTask


def data():  # step 1: load the data
    digits = load_digits()
    return digits.images[:, None], digits.target  # 1797 x 1 x 8 x 8, class numbers 0 to 9


def prepare(train, cfg):  # step 2: prepare them; fitted on the training part only
    images, _ = train.tensors
    mean, std = images.mean(), images.std()
    return lambda x: (x - mean) / std


def model(cfg):  # step 3: the core model ...
    return nn.Sequential(
        nn.Conv2d(1, cfg.width, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(cfg.width, 2 * cfg.width, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Dropout(cfg.dropout), nn.Linear(8 * cfg.width, 10),
    )  # fmt: skip


def optimizer(parameters, cfg):
    if cfg.optimizer == "sgd":
        return torch.optim.SGD(parameters, cfg.lr, momentum=cfg.momentum)
    return {"adam": torch.optim.Adam, "rmsprop": torch.optim.RMSprop}[cfg.optimizer](
        parameters, cfg.lr
    )


space = Space(  # ... with its default hyperparameters; step 4: their bounds and levels
    lr=Real(1e-4, 1.0, scale="log", default=1e-2),
    width=Integer(4, 32, scale="power2", default=8),
    dropout=Real(0.0, 0.6, default=0.25),
    optimizer=Categorical(["sgd", "adam", "rmsprop"], default="sgd"),
    momentum=Real(0.0, 0.99, default=0.9).when(optimizer="sgd"),
    batch_size=Integer(16, 256, scale="power2", default=64),
)

task = TorchTask(  # step 5: loss and metric
    model, data, optimizer, prepare=prepare, epochs=10, batch_size="batch_size",
    loss=nn.CrossEntropyLoss(), metrics=("accuracy",), objective="val_loss",
)  # fmt: skip

# step 6: spot-dask run; step 7: spot-dask report
study = Study(space, task, name="digits", seed=1, budget=Budget(evaluations=40))
