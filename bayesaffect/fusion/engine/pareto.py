"""How far importance weights can be trusted: the shape of their tail."""

from __future__ import annotations

import numpy as np

GOOD = 0.7


def khat(log_weight: np.ndarray) -> float:
    """Pareto k-hat of importance weights given as logarithms, any shape, up to a constant (Vehtari et al. 2024).

    The largest min(S / 5, 3 sqrt(S)) of S weights, less the largest of the others, are taken for draws from

        p(x) = (1 + k x / sigma)^(-1 - 1 / k) / sigma,

    a generalised Pareto distribution. Its moments exist up to order 1 / k: above 0.5 the variance of the weights is
    infinite, above 0.7 no usable number of draws makes up for it. Infinite where weights are not finite or all but one
    vanish, NaN below 25 draws.
    """
    values = np.sort(np.asarray(log_weight, dtype=float).ravel())
    size = values.size
    if size < 25:
        return float("nan")
    if not np.isfinite(values).all():
        return float("inf")
    tail = int(np.ceil(min(0.2 * size, 3 * np.sqrt(size))))
    values = np.exp(values - values[-1])
    excess = values[-tail:] - values[-tail - 1]
    excess = excess[excess > 0]
    if excess.size < 5:  # ties: weights that hardly differ, or one that holds everything
        return float("inf") if values[:-1].max() < 1e-12 else 0.0
    return shape(excess)


def shape(excess: np.ndarray) -> float:
    """k of a generalised Pareto distribution with threshold 0, from ``excess`` (n,) > 0 in increasing order.

    The profile likelihood in b = -k / sigma, averaged over a grid of b that its prior suggests (Zhang and Stephens
    2009), then drawn towards 0.5 as ten more observations would (Vehtari et al. 2024).
    """
    n = excess.size
    grid = 30 + int(np.sqrt(n))
    quartile = excess[int(n / 4 + 0.5) - 1]
    b = 1 / excess[-1] + (1 - np.sqrt(grid / (np.arange(1, grid + 1) - 0.5))) / (3 * quartile)
    k = np.log1p(-b[:, None] * excess).mean(1)
    profile = n * (np.log(-b / k) - k - 1)
    weight = np.exp(profile - profile.max())
    best = (b * weight).sum() / weight.sum()
    return float((n * np.log1p(-best * excess).mean() + 10 * 0.5) / (n + 10))
