"""A recurrent network over sequences: plain, gated or with long short-term memory."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from spot_dask.space import Categorical, Integer, Parameter, Real

CELLS = {"RNN": nn.RNN, "GRU": nn.GRU, "LSTM": nn.LSTM}


class RNN:
    """Layers of recurrent cells; the last state goes through one dense layer."""

    def space(self) -> dict[str, Parameter]:
        """Kind of cell, width, number of layers and dropout."""
        return {
            "cell": Categorical(list(CELLS), default="LSTM"),
            "units": Integer(8, 256, default=32, scale="power2"),
            "num_layers": Integer(1, 3, default=1),
            "dropout_prob": Real(0.0, 0.5, default=0.01),
        }

    def build(self, cfg: Any, n_in: tuple[int, ...], n_out: int) -> nn.Module:
        """The network for sequences (steps x features, or steps of one feature)."""
        if len(n_in) not in (1, 2):
            raise ValueError(f"rnn gets samples of shape {n_in}; expected steps x features")
        return _Recurrent(cfg, n_in[1] if len(n_in) == 2 else 1, n_out)


class _Recurrent(nn.Module):
    def __init__(self, cfg: Any, features: int, n_out: int) -> None:
        super().__init__()
        between = cfg.dropout_prob if cfg.num_layers > 1 else 0.0
        self.cells = CELLS[cfg.cell](
            features, cfg.units, cfg.num_layers, batch_first=True, dropout=between
        )
        self.dropout = nn.Dropout(cfg.dropout_prob)
        self.out = nn.Linear(cfg.units, n_out)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        steps, _ = self.cells(x[..., None] if x.ndim == 2 else x)
        out: torch.Tensor = self.out(self.dropout(steps[:, -1]))
        return out
