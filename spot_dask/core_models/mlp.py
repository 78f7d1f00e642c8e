"""A network of dense layers that halve in width [spotPython's NNLinearRegressor]."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from torch import nn

from spot_dask.core_models import activations, flat, initialisations, initialised, layer
from spot_dask.space import Categorical, Integer, Parameter, Real


class MLP:
    """Widths l1, l1 / 2, l1 / 2, l1 / 4, l1 / 4, at least 2."""

    def space(self) -> dict[str, Parameter]:
        """Width, activation, dropout, batch norm and initial weights."""
        return {
            "l1": Integer(8, 256, default=64, scale="power2"),
            "act_fn": activations(),
            "dropout_prob": Real(0.0, 0.5, default=0.01),
            "batch_norm": Categorical([False, True], default=False),
            "initialization": initialisations(),
        }

    def build(self, cfg: Any, n_in: tuple[int, ...], n_out: int) -> nn.Module:
        """The network; samples are flattened."""
        l1 = cfg.l1
        widths = [flat(n_in), *(max(2, n) for n in (l1, l1 // 2, l1 // 2, l1 // 4, l1 // 4))]
        layers: list[nn.Module] = [nn.Flatten()]
        for before, after in pairwise(widths):
            layers += layer(cfg, before, after)
        network = nn.Sequential(*layers, nn.Linear(widths[-1], n_out))
        return initialised(network, cfg.initialization)
