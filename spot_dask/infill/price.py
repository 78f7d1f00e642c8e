"""What an evaluation costs, as a weight on the log criterion: minus the log of its duration.

Expected improvement per second [Snoek, Larochelle & Adams 2012, sec. 3.2], in logarithms

    log gain(x) - m(x)

where m is the mean of a Kriging model of log seconds (``tuner/durations.py``). It weighs a gain of
twice as much like a training of twice the time, wherever both are. m rows of e features.
"""

from __future__ import annotations

from dataclasses import dataclass

from spot_dask.surrogates import FloatArray, Posterior


@dataclass(frozen=True, eq=False)
class Price:
    """The model of the logarithm of a training's seconds."""

    log_seconds: Posterior

    def weigh(self, values: FloatArray, X: FloatArray) -> FloatArray:
        """The weighted criterion of m values of a log criterion at m x e features."""
        weighed: FloatArray = values - self.log_seconds.predict(X)[0]
        return weighed

    def weigh_gradient(
        self, values: FloatArray, gradient: FloatArray, X: FloatArray
    ) -> tuple[FloatArray, FloatArray]:
        """The weighted criterion (m) and its gradient (m x e), from those of the criterion."""
        return self.weigh(values, X), gradient - self.log_seconds.gradient(X)[0]
