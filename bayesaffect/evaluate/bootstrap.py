"""Resamples of subjects, and the interval of what is computed on them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np


def resample_counts(subjects: int, resamples: int, seed: int) -> np.ndarray:
    """How often each subject occurs in each resample: (resamples, subjects), rows sum to ``subjects``."""
    return (
        np.random.default_rng(seed).multinomial(subjects, np.full(subjects, 1 / subjects), size=resamples).astype(float)
    )


def interval(
    function: Callable[[np.ndarray], np.ndarray], counts: np.ndarray, level: float, *, debias: bool = False
) -> tuple[float, float, float]:
    """Value of ``function`` with every subject counted once, and the percentiles (1 -+ level)/2 over the resamples.

    ``function``: weights (resample, subject) -> (resample,); ``counts``: of `resample_counts`. Resamples in which it
    is undefined are left out. With ``debias`` both ends are moved by minus the bias, mean of the resamples minus the
    value (Efron & Tibshirani 1993). The ends are NaN with fewer than two subjects, or where the value is undefined.
    """
    value = float(function(np.ones((1, counts.shape[1])))[0])
    if counts.shape[1] < 2 or not np.isfinite(value):
        return value, float("nan"), float("nan")
    draws = function(counts)
    draws = draws[np.isfinite(draws)]
    if draws.size < 2:
        return value, float("nan"), float("nan")
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2])
    if debias:
        bias = draws.mean() - value
        low, high = low - bias, high - bias
    return value, float(low), float(high)
