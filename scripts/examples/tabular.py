"""Tune a perceptron on a table with texts and missing values, as it comes from pandas.

    spot-dask run tabular.py

Nothing is downloaded: it is scikit-learn's table of wines, made as untidy as tables are.
"""

import numpy as np
import torch
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.datasets import load_wine
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from torch import nn

from spot_dask import Budget, Integer, Real, Space, Study, TorchTask

COLOURS = ["pale", "red", "dark"]


def data():
    frame, kinds = load_wine(return_X_y=True, as_frame=True)  # 178 x 13, kinds 0 to 2
    dark = np.digitize(frame.pop("color_intensity"), [4, 6])
    frame["colour"] = np.array(COLOURS, dtype=object)[dark]
    frame = frame.mask(np.random.default_rng(0).random(frame.shape) < 0.05)  # 1 in 20 is missing
    return frame, kinds


prepare = make_column_transformer(  # fitted to what trains, so nothing leaks from what validates
    (make_pipeline(SimpleImputer(strategy="median"), StandardScaler()),
     make_column_selector(dtype_include="number")),
    (OneHotEncoder(categories=[COLOURS], handle_unknown="ignore"), ["colour"]),
    sparse_threshold=0,
)  # fmt: skip


def model(cfg):
    layers, width = [], 12 + len(COLOURS)
    for _ in range(cfg.layers):
        layers += [nn.Linear(width, cfg.width), nn.ReLU(), nn.Dropout(cfg.dropout)]
        width = cfg.width
    return nn.Sequential(*layers, nn.Linear(width, 3))


def optimizer(parameters, cfg):
    return torch.optim.AdamW(parameters, cfg.lr, weight_decay=cfg.weight_decay)


space = Space(
    lr=Real(1e-4, 1e-1, scale="log", default=1e-3),
    weight_decay=Real(1e-5, 1.0, scale="log", default=1e-2),
    layers=Integer(1, 3, default=1),
    width=Integer(8, 128, scale="power2", default=16),
    dropout=Real(0.0, 0.6, default=0.0),
)

task = TorchTask(
    model, data, optimizer, nn.CrossEntropyLoss(), metrics=["accuracy", "f1_macro"], epochs=30,
    batch_size=16, prepare=prepare,
)  # fmt: skip

study = Study(space, task, name="wines", budget=Budget(evaluations=40))
