"""Tune a training loop of your own, which goes on from its last epoch when it was interrupted.

    spot-dask run own_loop.py

Any function of a configuration is a task. This one takes what it can get of ``trial``: its seed,
``report`` for learning curves and early stopping, and ``checkpoint`` for what survives a kill.
"""

import torch
from sklearn.datasets import load_digits
from torch import nn

from spot_dask import Budget, FunctionTask, Integer, Real, Space, Study, replacing

EPOCHS = 15


def train(cfg, trial):
    torch.manual_seed(trial.seed)
    digits = load_digits()
    x, y = torch.tensor(digits.data / 16, dtype=torch.float32), torch.tensor(digits.target)
    train, held = torch.randperm(len(x)).split([1437, 360])
    net = nn.Sequential(nn.Linear(64, cfg.width), nn.ReLU(), nn.Linear(cfg.width, 10))
    optimizer = torch.optim.Adam(net.parameters(), cfg.lr, betas=(cfg.beta1, 0.999))

    saved, begin = trial.checkpoint / "state.pt", 1
    if saved.exists():  # an earlier attempt at this trial was cut off
        begin, weights, moments = torch.load(saved, weights_only=True)
        net.load_state_dict(weights)
        optimizer.load_state_dict(moments)

    for epoch in range(begin, EPOCHS + 1):
        order = torch.Generator().manual_seed(1000 * trial.seed + epoch)  # the same when resumed
        for rows in train[torch.randperm(len(train), generator=order)].split(64):
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(x[rows]), y[rows]).backward()
            optimizer.step()
        with torch.no_grad():
            output = net(x[held])
        loss = nn.functional.cross_entropy(output, y[held]).item()
        accuracy = (output.argmax(1) == y[held]).float().mean().item()
        with replacing(saved) as file:  # all of it or nothing, come what may
            torch.save((epoch + 1, net.state_dict(), optimizer.state_dict()), file)
        trial.report(epoch, val_loss=loss, accuracy=accuracy)
    return {"val_loss": loss, "accuracy": accuracy}


space = Space(
    lr=Real(1e-4, 1e-1, scale="log", default=1e-3),
    beta1=Real(0.5, 0.99, default=0.9),
    width=Integer(8, 128, scale="power2", default=32),
)
task = FunctionTask(train, objective="val_loss")
study = Study(space, task, name="own-loop", early_stopping="rank", budget=Budget(evaluations=40))
