"""Every parameter embedded in one Euclidean space, so that surrogates never see types.

- A real, an integer and an ordered factor keep their position: one feature column.
- Two levels of an unordered factor are at distance 1 whichever they are: one-hot / sqrt(2), which
  makes the squared distance the Hamming distance; two levels need only one column of 0 and 1.
- A conditional parameter gets one more column that is 1 where it is active. Where it is not, its
  value columns sit at one neutral point, equally far from all levels.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from spot_dask.space.discrete import Categorical
from spot_dask.space.parameters import FloatArray, Parameter


def unordered_levels(parameter: Parameter) -> int:
    """Number of levels of an unordered factor, 0 for everything else."""
    is_unordered = isinstance(parameter, Categorical) and not parameter.ordered
    return int(parameter.size) if is_unordered else 0


def feature_columns(parameter: Parameter, j: int, conditional: bool) -> list[int]:
    """For each feature column of row column j: j if it is the row's value, else -1."""
    levels = unordered_levels(parameter)
    values = [j] if levels == 0 else [-1] * (1 if levels == 2 else levels)
    return [*values, -1] if conditional else values


def feature_block(
    parameter: Parameter, column: FloatArray, active: npt.NDArray[np.bool_] | None
) -> FloatArray:
    """The feature columns of one row column (n); ``active`` (n) is given if it is conditional."""
    levels = unordered_levels(parameter)
    block, neutral = column[:, None], 0.5
    if levels == 2:
        block = parameter.code(column)[:, None]
    elif levels > 2:
        one_hot = parameter.code(column)[:, None] == np.arange(levels)
        block, neutral = one_hot / math.sqrt(2), 0.0
    if active is None:
        return block
    return np.column_stack([np.where(active[:, None], block, neutral), active])
