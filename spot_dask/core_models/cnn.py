"""The small convolutional network of PyTorch's CIFAR-10 tutorial, which SPOT's tutorial tunes."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from spot_dask.space import Integer, Parameter


class CNN:
    """Two convolutions of 5 x 5 with 6 and 16 channels, each pooled, then widths l1 and l2."""

    def space(self) -> dict[str, Parameter]:
        """The widths of both dense layers."""
        return {
            "l1": Integer(4, 512, default=32, scale="power2"),
            "l2": Integer(4, 512, default=32, scale="power2"),
        }

    def build(self, cfg: Any, n_in: tuple[int, ...], n_out: int) -> nn.Module:
        """The network for images (channels x height x width, at least 16 x 16)."""
        if len(n_in) != 3 or min(n_in[1:]) < 16:
            raise ValueError(
                f"cnn gets samples of shape {n_in}; expected channels x height x width of images, "
                "16 x 16 or larger"
            )
        convolutions = nn.Sequential(
            nn.Conv2d(n_in[0], 6, 5), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        )  # fmt: skip
        with torch.no_grad():
            size = convolutions(torch.zeros(1, *n_in)).shape[1]
        return nn.Sequential(
            convolutions,
            nn.Linear(size, cfg.l1), nn.ReLU(),
            nn.Linear(cfg.l1, cfg.l2), nn.ReLU(),
            nn.Linear(cfg.l2, n_out),
        )  # fmt: skip
