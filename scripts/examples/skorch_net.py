"""Tune a PyTorch network as an estimator, by skorch, in a Pipeline judged on five folds.

    pip install 'spot-dask[skorch]'
    spot-dask run skorch_net.py
    spot-dask fit runs/skorch-*.zarr -o net.joblib     # the whole Pipeline, for predict_proba

Nothing is downloaded.
"""

import torch
from sklearn.datasets import load_wine
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from skorch import NeuralNetClassifier
from torch import nn

from spot_dask import Budget, Integer, Real, SklearnTask, Space, Study


class Net(nn.Module):
    def __init__(self, width=16, dropout=0.2):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(13, width), nn.ReLU(), nn.Dropout(dropout), nn.Linear(width, 3)
        )

    def forward(self, X):
        return self.layers(X)


def single(X):
    return X.astype("float32")


net = NeuralNetClassifier(
    Net, criterion=nn.CrossEntropyLoss, optimizer=torch.optim.Adam, max_epochs=20, train_split=None,
    verbose=0,
)  # fmt: skip
pipeline = Pipeline(
    [("scale", StandardScaler()), ("single", FunctionTransformer(single)), ("net", net)]
)

space = Space(
    {
        "net.lr": Real(1e-3, 0.3, scale="log", default=1e-2),
        "net.batch_size": Integer(8, 128, scale="power2", default=32),
        "net.module.width": Integer(4, 64, scale="power2", default=16),
        "net.module.dropout": Real(0, 0.6, default=0.2),
    }
)
task = SklearnTask(pipeline, load_wine, cv=5, scoring=("neg_log_loss", "accuracy"))
study = Study(space, task, name="skorch", seed=1, budget=Budget(evaluations=80))  # of one fold each
