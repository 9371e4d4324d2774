"""Importance weights on posterior draws, their tail smoothed, and draws picked by them."""

from __future__ import annotations

import numpy as np

from bayesaffect.fusion.engine import pareto

EQUAL = 1e-9


def smoothed(log_weight: np.ndarray) -> tuple[np.ndarray, float]:
    """Weights (S,) that sum to 1, and k-hat: Pareto-smoothed importance sampling (Vehtari et al. 2024).

    The largest min(S / 5, 3 sqrt(S)) weights above a threshold u are replaced by the quantiles at (j - 1/2) / T of the
    generalised Pareto distribution u + sigma ((1 - q)^-k - 1) / k that was fitted to them, at most the largest weight;
    sigma is read off their median. Draws with a weight of zero (-inf) stay where they are.
    """
    if np.ptp(log_weight) < EQUAL:
        return np.full(log_weight.size, 1 / log_weight.size), 0.0
    k = pareto.khat(np.where(np.isfinite(log_weight), log_weight, np.nanmin(log_weight[np.isfinite(log_weight)]) - 50))
    weight = np.exp(log_weight - log_weight.max())
    size = weight.size
    tail = int(np.ceil(min(0.2 * size, 3 * np.sqrt(size))))
    if size >= 25 and np.isfinite(k) and abs(k) > 1e-3:
        order = np.argsort(weight, kind="stable")
        last, u = order[-tail:], weight[order[-tail - 1]]
        sigma = k * np.median(weight[last] - u) / (2**k - 1)
        q = (np.arange(tail) + 0.5) / tail
        weight[last] = np.minimum(u + sigma * ((1 - q) ** -k - 1) / k, 1.0)
    return weight / weight.sum(), k


def resampled(weight: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Positions (S,) of draws picked by systematic resampling: each occurs S w times, rounded up or down."""
    size = weight.size
    points = (rng.random() + np.arange(size)) / size
    return np.minimum(np.searchsorted(np.cumsum(weight), points), size - 1)
