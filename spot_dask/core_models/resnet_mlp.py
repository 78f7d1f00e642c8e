"""Dense layers with residual connections [He et al. 2016; for tables: Gorishniy et al. 2021]."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from spot_dask.core_models import ACTIVATIONS, activations, flat, initialisations, initialised
from spot_dask.space import Integer, Parameter, Real


class ResNetMLP:
    """``blocks`` times x + dropout(linear(act(linear(norm(x))))), all ``l1`` wide."""

    def space(self) -> dict[str, Parameter]:
        """Width, number of blocks, activation, dropout and initial weights."""
        return {
            "l1": Integer(8, 512, default=64, scale="power2"),
            "blocks": Integer(1, 6, default=2),
            "act_fn": activations(),
            "dropout_prob": Real(0.0, 0.5, default=0.01),
            "initialization": initialisations(),
        }

    def build(self, cfg: Any, n_in: tuple[int, ...], n_out: int) -> nn.Module:
        """The network; samples are flattened."""
        blocks = [_Block(cfg) for _ in range(cfg.blocks)]
        into = [nn.Flatten(), nn.Linear(flat(n_in), cfg.l1)]
        out = [nn.LayerNorm(cfg.l1), ACTIVATIONS[cfg.act_fn](), nn.Linear(cfg.l1, n_out)]
        return initialised(nn.Sequential(*into, *blocks, *out), cfg.initialization)


class _Block(nn.Module):
    def __init__(self, cfg: Any) -> None:
        super().__init__()
        self.inner = nn.Sequential(
            nn.LayerNorm(cfg.l1),
            nn.Linear(cfg.l1, cfg.l1),
            ACTIVATIONS[cfg.act_fn](),
            nn.Linear(cfg.l1, cfg.l1),
            nn.Dropout(cfg.dropout_prob),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = x + self.inner(x)
        return out
