"""Core models, SPOT's step 3: networks with the hyperparameters that they are usually tuned by.

A core model is one file with one public class that has ``space()``, its own hyperparameters with
defaults, and ``build(cfg, n_in, n_out)``, which makes the network of a configuration::

    class Linear:
        def space(self):
            return {"bias": Categorical([True, False])}

        def build(self, cfg, n_in, n_out):
            return nn.Linear(math.prod(n_in), n_out, bias=cfg.bias)

``n_in`` is the shape of one sample, ``n_out`` the number of outputs. ``core_model("mlp")`` is the
file ``mlp``, ``core_model("torchvision:resnet18")`` a network of torchvision.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Protocol

import torch
from torch import nn

from spot_dask import plugins
from spot_dask.space import Categorical, Parameter

ACTIVATIONS: Mapping[str, type[nn.Module]] = {
    "ReLU": nn.ReLU,
    "LeakyReLU": nn.LeakyReLU,
    "ELU": nn.ELU,
    "Tanh": nn.Tanh,
    "Sigmoid": nn.Sigmoid,
    "Swish": nn.SiLU,
}
INITIALISATIONS = (
    "Default", "kaiming_uniform", "kaiming_normal", "xavier_uniform", "xavier_normal",
)  # fmt: skip
NAMES = ("cnn", "funnel", "mlp", "resnet_mlp", "rnn", "torchvision:NAME")


class CoreModel(Protocol):
    """A network with hyperparameters."""

    def space(self) -> dict[str, Parameter]:
        """The hyperparameters of the network, with defaults."""
        ...

    def build(self, cfg: Any, n_in: tuple[int, ...], n_out: int) -> nn.Module:
        """The network of a configuration for samples of shape ``n_in``: batch x n_out outputs.

        Raises ValueError for a shape that the network cannot take.
        """
        ...


def core_model(name: str | CoreModel) -> CoreModel:
    """The core model of that name; a model is returned as it is. Raises ValueError for no such.

    >>> from spot_dask import Config, core_model
    >>> mlp = core_model("mlp")
    >>> sorted(mlp.space())
    ['act_fn', 'batch_norm', 'dropout_prob', 'initialization', 'l1']
    """
    if not isinstance(name, str):
        return name
    found: CoreModel = plugins.find(__name__, "build", name, also=("torchvision:NAME",))
    return found


def activations() -> Categorical:
    """The activation of a network, by spotPython's names."""
    return Categorical(list(ACTIVATIONS), default="ReLU")


def initialisations() -> Categorical:
    """How the weights of layers begin, by spotPython's names."""
    return Categorical(list(INITIALISATIONS), default="Default")


def initialised(network: nn.Module, how: str) -> nn.Module:
    """The network, its linear weights drawn anew and its biases zero unless ``how`` is Default."""
    if how != "Default":
        fill = getattr(nn.init, f"{how}_")
        for module in network.modules():
            if isinstance(module, nn.Linear):
                fill(module.weight)
                nn.init.zeros_(module.bias)
    return network


def layer(cfg: Any, n_in: int, n_out: int) -> list[nn.Module]:
    """A dense layer: linear, perhaps normalised over the batch, activation, dropout."""
    norm = [nn.BatchNorm1d(n_out)] if cfg.get("batch_norm", False) else []
    return [nn.Linear(n_in, n_out), *norm, ACTIVATIONS[cfg.act_fn](), nn.Dropout(cfg.dropout_prob)]


def flat(n_in: tuple[int, ...]) -> int:
    """The number of values of a sample."""
    return math.prod(n_in)


class Squeezed(nn.Module):
    """A network of one output for targets that are plain numbers: batch instead of batch x 1.

    A loss would compare batch x 1 outputs with each of batch targets, and say nothing.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.network(x)
        return out.squeeze(-1)
