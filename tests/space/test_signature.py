"""Spaces from the arguments of functions and classes."""

import enum
from typing import Any, Literal

import pytest
from torch import nn

from spot_dask.space import Categorical, Integer, Real, Space


class Norm(enum.Enum):
    BATCH = 1
    LAYER = 2


class Net(nn.Module):
    def __init__(
        self,
        width: int = 64,
        dropout: float = 0.9,
        bias: bool = True,
        act: Literal["relu", "tanh"] = "tanh",
        norm: Norm = Norm.LAYER,
        name: str = "net",
        **more: Any,
    ) -> None:
        super().__init__()
        self.made = (width, dropout, bias, act, norm)


def test_the_arguments_of_a_module_are_its_space() -> None:
    space = Space.from_signature(Net, width=Integer(16, 256, scale="power2"), dropout=Real(0, 0.5))
    assert space.names == ("width", "dropout", "bias", "act", "norm")
    assert space.default == {
        "width": 64,
        "dropout": 0.25,  # the argument's is outside of the range
        "bias": True,
        "act": "tanh",
        "norm": "LAYER",
    }
    assert space.centred == ("dropout",)
    net = Net(**space.meant(space.default))
    assert net.made == (64, 0.25, True, "tanh", Norm.LAYER)


def test_a_range_with_a_default_keeps_it_and_none_leaves_an_argument_alone() -> None:
    space = Space.from_signature(
        Net, width=Integer(16, 256, default=32), bias=None, depth=Real(0, 1)
    )
    assert space.names == ("width", "act", "norm", "depth")
    assert space.default["width"] == 32


def test_torchs_own_modules() -> None:
    space = Space.from_signature(nn.Dropout, p=Real(0, 0.8))
    assert space.parameters["p"] == Real(0, 0.8, default=0.5)
    assert space.parameters["inplace"] == Categorical([False, True], default=False)


def test_a_range_of_no_argument_is_refused_with_the_nearest() -> None:
    def train(width: int, lr: float) -> None:
        """Nothing."""

    with pytest.raises(ValueError, match=r"train has no argument 'wdith', .*did you mean 'width'"):
        Space.from_signature(train, wdith=Integer(1, 2))
    with pytest.raises(ValueError, match="a space needs parameters"):
        Space.from_signature(train)


def test_a_range_that_is_no_parameter_is_refused() -> None:
    with pytest.raises(ValueError, match=r"width: \(16, 64\) is not a parameter; give a Real"):
        Space.from_signature(Net, width=(16, 64))  # type: ignore[arg-type]
