"""The search space: named parameters, their conditions, and their places in the unit cube."""

from spot_dask.space.config import Config
from spot_dask.space.parameters import Categorical, Integer, Parameter, Real
from spot_dask.space.space import Space

__all__ = ["Categorical", "Config", "Integer", "Parameter", "Real", "Space"]
