"""A network of dense layers that narrows evenly [spotPython's NNFunnelRegressor]."""

from __future__ import annotations

from typing import Any

from torch import nn

from spot_dask.core_models import activations, flat, initialisations, initialised, layer
from spot_dask.space import Categorical, Integer, Parameter, Real


class Funnel:
    """``num_layers`` layers; each is half as wide as the one before, at least 2 wide."""

    def space(self) -> dict[str, Parameter]:
        """Width, depth, activation, dropout, batch norm and initial weights."""
        return {
            "l1": Integer(8, 512, default=64, scale="power2"),
            "num_layers": Integer(2, 8, default=3),
            "act_fn": activations(),
            "dropout_prob": Real(0.0, 0.5, default=0.01),
            "batch_norm": Categorical([False, True], default=False),
            "initialization": initialisations(),
        }

    def build(self, cfg: Any, n_in: tuple[int, ...], n_out: int) -> nn.Module:
        """The network; samples are flattened."""
        width, layers = cfg.l1, [nn.Flatten(), *layer(cfg, flat(n_in), cfg.l1)]
        for _ in range(cfg.num_layers - 1):
            narrower = max(2, width // 2)
            layers += layer(cfg, width, narrower)
            width = narrower
        return initialised(nn.Sequential(*layers, nn.Linear(width, n_out)), cfg.initialization)
