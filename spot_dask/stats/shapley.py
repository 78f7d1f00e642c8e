"""Where the gain came from: the change from the default to the tuned row shared among parameters.

The players are the k parameters in which the two rows differ; the value of a set of players is f at
the default with the tuned values of these. The share of a player is its Shapley value, the mean
over all orders of changing one parameter after the other of what its own change made [Shapley 1953;
Biedenkapp et al. 2017 for the ablation], so the shares add to f(tuned) - f(default). It is linear
in f at the corners, share = W f, so under a normal posterior its covariance is W Sigma W'.

Corners are snapped. A parameter that is active on one side only changes nothing as long as it is
not active, and where its parent was changed first it has the default's column, which is its default
where it was inactive there. So the share of the parent is about the parent with the child at its
default, and the share of the child about the child's value, each averaged over the orders.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from spot_dask.stats import BoolArray, FloatArray, IntArray, Joint, Paths, Snap
from spot_dask.stats.effects import Z95

EXACT = 12  # players at most for all corners
ORDERS = 256
BLOCK = 256  # rows asked for at once: larger arrays are slower


@dataclass(frozen=True)
class Game:
    """The corners at which f has to be known, and how shares follow from it.

    ``players`` (k) are columns, ``rows`` (m x d) the distinct snapped corners, ``weights`` (k x m)
    is W. ``steps`` (orders x k x 2) tells, where orders were drawn, the rows after and before the
    change of each player.
    """

    players: IntArray
    rows: FloatArray
    weights: FloatArray
    steps: IntArray | None


@dataclass(frozen=True)
class Ablation:
    """Shares (k each) of the players (columns) in f(tuned) - f(default): mean and posterior sd.

    ``low`` and ``high`` end 95 % intervals. ``error`` is the standard error that orders drawn at
    random leave in the mean, 0 where all corners were used.
    """

    players: IntArray
    mean: FloatArray
    sd: FloatArray
    low: FloatArray
    high: FloatArray
    error: FloatArray
    exact: bool


def ablation_game(
    default: FloatArray,
    tuned: FloatArray,
    snap: Snap,
    rng: np.random.Generator,
    orders: int = ORDERS,
) -> Game:
    """The game between two snapped rows (d each).

    All 2^k corners for up to 12 players, else the k + 1 on each of ``orders`` drawn at random, half
    of them the reverse of the others [Mitchell et al. 2022]. ValueError unless that is an even
    number of at least 4.
    """
    if orders < 4 or orders % 2:
        raise ValueError(f"got orders={orders}: expected an even number of at least 4")
    players = np.flatnonzero(default != tuned)
    k = len(players)
    if k <= EXACT:
        chosen = (np.arange(2**k)[:, None] >> np.arange(k) & 1).astype(bool)
        raw_weights, steps = _all_corners(chosen), None
    else:
        half = np.stack([rng.permutation(k) for _ in range(orders // 2)])
        turn = np.argsort(np.concatenate([half, half[:, ::-1]]), axis=1)
        chosen = (turn[:, None, :] < np.arange(k + 1)[None, :, None]).reshape(-1, k)
        steps = (np.arange(orders)[:, None] * (k + 1) + turn)[..., None] + np.array([1, 0])
        raw_weights = _of_orders(steps, len(chosen))
    rows = np.tile(default, (len(chosen), 1))
    rows[:, players] = np.where(chosen, tuned[players], default[players])
    # Corners that are the same configuration are the same value: ask for each once.
    distinct, place = np.unique(snap(rows), axis=0, return_inverse=True)
    place = place.reshape(-1)
    weights = np.zeros((k, len(distinct)))
    np.add.at(weights.T, place, raw_weights.T)
    return Game(players, distinct, weights, None if steps is None else place[steps])


def ablation(posterior: Joint, game: Game) -> Ablation:
    """Shares under a normal joint posterior: exact mean and sd, and intervals of mean -+ 1.96 sd.

    ``posterior`` is asked once for all m corners, so the covariance has m x m entries: for many
    players use ``ablation_of_draws``.
    """
    value, covariance = posterior(game.rows)
    mean = game.weights @ value
    variance = np.einsum("km,km->k", game.weights @ covariance, game.weights)
    sd = np.sqrt(np.maximum(variance, 0.0))
    error = _error(game, value)
    exact = game.steps is None
    return Ablation(game.players, mean, sd, mean - Z95 * sd, mean + Z95 * sd, error, exact)


def ablation_of_draws(paths: Paths, game: Game) -> Ablation:
    """Shares of functions drawn: mean, sd and quantiles; some corners at a time."""
    blocks = range(0, len(game.rows), BLOCK)
    values = np.hstack([paths(game.rows[start : start + BLOCK]) for start in blocks])
    shares = values @ game.weights.T
    low, high = np.quantile(shares, [0.025, 0.975], axis=0)
    mean, sd = shares.mean(axis=0), shares.std(axis=0, ddof=1)
    error = _error(game, values.mean(axis=0))
    return Ablation(game.players, mean, sd, low, high, error, game.steps is None)


def _error(game: Game, value: FloatArray) -> FloatArray:
    """The standard error (k) of the mean over orders, from pairs of an order and its reverse."""
    if game.steps is None:
        return np.zeros(len(game.players))
    made = value[game.steps[..., 0]] - value[game.steps[..., 1]]
    half = len(made) // 2
    pairs = (made[:half] + made[half:]) / 2.0
    return np.asarray(pairs.std(axis=0, ddof=1) / math.sqrt(half), dtype=np.float64)


def _all_corners(chosen: BoolArray) -> FloatArray:
    """W (k x 2^k): |S|! (k - |S| - 1)! / k! for a corner S that a player joins, minus at S."""
    k = chosen.shape[1]
    if k == 0:
        return np.zeros((0, 1))
    size = chosen.sum(axis=1)
    share = np.array([1.0 / (k * math.comb(k - 1, s)) for s in range(k)])
    joined, left = share[np.maximum(size - 1, 0)], share[np.minimum(size, k - 1)]
    return np.asarray(np.where(chosen, joined[:, None], -left[:, None]).T, dtype=np.float64)


def _of_orders(steps: IntArray, corners: int) -> FloatArray:
    """W (k x corners) of the mean over orders: f after a change minus f before it."""
    orders, k, _ = steps.shape
    weights = np.zeros((k, corners))
    for player in range(k):
        np.add.at(weights[player], steps[:, player, 0], 1.0 / orders)
        np.add.at(weights[player], steps[:, player, 1], -1.0 / orders)
    return weights
