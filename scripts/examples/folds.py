"""Tune a network on a table by cross-validation: 5 folds, groups, and a frame as it is.

    spot-dask run folds.py

A frame with numbers that are missing and texts goes in as it is: ``prepare`` is a transformer of
scikit-learn, fitted on the training part of every fold. Samples of one clinic are never on both
sides. Every fold is an evaluation: folds train in parallel, and a configuration that is hopeless
after its first ones gets no others. Nothing is downloaded.
"""

import numpy as np
import torch
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_breast_cancer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from torch import nn

from spot_dask import Budget, Folds, Integer, Real, Space, Study, TorchTask

CLINICS = [f"clinic {i}" for i in range(20)]
NUMBERS = ["mean radius", "mean texture", "mean smoothness", "mean concavity", "worst area"]


def data():
    X, y = load_breast_cancer(return_X_y=True, as_frame=True)
    rng = np.random.default_rng(0)
    frame = X[NUMBERS].mask(rng.random((len(X), len(NUMBERS))) < 0.05)  # 5 % are missing
    frame["device"] = rng.choice(["old", "new"], len(X))
    frame["clinic"] = rng.choice(CLINICS, len(X))
    return frame, y


prepare = ColumnTransformer(
    [
        ("numbers", make_pipeline(SimpleImputer(), StandardScaler()), NUMBERS),
        ("device", OneHotEncoder(categories=[["old", "new"]]), ["device"]),
    ]  # the clinic is left out
)


def model(cfg):
    return nn.Sequential(
        nn.Linear(len(NUMBERS) + 2, cfg.width),
        nn.ReLU(),
        nn.Dropout(cfg.dropout),
        nn.Linear(cfg.width, 2),
    )


def optimizer(parameters, cfg):
    return torch.optim.AdamW(parameters, cfg.lr, weight_decay=cfg.weight_decay)


space = Space(
    lr=Real(1e-4, 1.0, scale="log", default=1e-3),
    weight_decay=Real(1e-5, 1.0, scale="log", default=1e-2),
    width=Integer(4, 128, scale="power2", default=32),
    dropout=Real(0.0, 0.6, default=0.2),
)

task = TorchTask(
    model,
    data,
    optimizer,
    loss=nn.CrossEntropyLoss(),
    epochs=8,
    batch_size=32,
    split=Folds(5, groups="clinic"),
    prepare=prepare,
)

study = Study(space, task, name="folds", budget=Budget(evaluations=60))
