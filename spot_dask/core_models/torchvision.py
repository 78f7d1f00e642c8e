"""Networks of torchvision by name, without pretrained weights: ``torchvision:resnet18``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from spot_dask import plugins
from spot_dask.errors import did_you_mean, shown
from spot_dask.space import Parameter

COLOURS = 3


@dataclass(frozen=True)
class Torchvision:
    """A classifier of torchvision; its hyperparameters are those of its training."""

    name: str

    def __post_init__(self) -> None:
        from torchvision import models

        known = models.list_models(module=models)
        if self.name not in known:
            near = did_you_mean(self.name, known) or f"; there are {', '.join(known[:6])}, ..."
            raise ValueError(f"torchvision has no model {shown(self.name)}{near}")

    def space(self) -> dict[str, Parameter]:
        """Nothing of its own."""
        return {}

    def build(self, cfg: Any, n_in: tuple[int, ...], n_out: int) -> nn.Module:
        """The network for images; one of other than three channels is mixed into three first."""
        from torchvision import models

        if len(n_in) != 3:
            raise ValueError(
                f"{self.name} gets samples of shape {n_in}; expected channels x height x width"
            )
        network: nn.Module = models.get_model(self.name, weights=None, num_classes=n_out)
        if n_in[0] == COLOURS:
            return network
        return nn.Sequential(nn.Conv2d(n_in[0], COLOURS, 1), network)


def named(rest: str, settings: Mapping[str, Any], trusted: bool) -> Torchvision:
    """``torchvision:NAME``."""
    plugins.check_settings(f"core model torchvision:{rest}", Torchvision, settings)
    return Torchvision(rest)
