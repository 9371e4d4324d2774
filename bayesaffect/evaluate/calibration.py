"""Calibration: does an outcome predicted with probability p happen in a share p of the cases?

Shapes: ``prob`` (n, k), ``label`` (n,) level indices; ``mean`` and ``variance`` (draw, n) of a Gaussian
mixture, ``truth`` (n,). Bands are those of a calibrated forecaster with independent trials; trials of one
subject are not independent, so a curve outside its band is a question to look into, not a test result.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.stats import binom, norm, poisson_binom

from bayesaffect.evaluate.scores import pit


def bin_index(value: np.ndarray, bins: int) -> np.ndarray:
    """Bin of a probability among ``bins`` of equal width, ((b)/bins, (b+1)/bins]; 0 falls in the first."""
    return np.clip(np.ceil(np.asarray(value) * bins).astype(int) - 1, 0, bins - 1)


def confidence(prob: np.ndarray, label: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Probability of the most probable class (n,) and whether that class is the true one (n,)."""
    chosen = prob.argmax(1)
    return prob[np.arange(label.size), chosen], chosen == label


def gap(probability: np.ndarray, outcome: np.ndarray, bins: int = 15) -> float:
    """Expected calibration error of one event (Naeini et al. 2015).

    sum_b (n_b / n) |mean outcome in b - mean probability in b| over ``bins`` bins of equal width.
    """
    difference = np.bincount(bin_index(probability, bins), outcome - np.asarray(probability), minlength=bins)
    return float(np.abs(difference).sum() / len(outcome))


def ece(prob: np.ndarray, label: np.ndarray, bins: int = 15) -> float:
    """Expected calibration error of the confidence (Guo et al. 2017).

    sum_b (n_b / n) |accuracy_b - confidence_b| over ``bins`` bins of equal width.
    """
    return gap(*confidence(prob, label), bins)


def classwise_ece(prob: np.ndarray, label: np.ndarray, bins: int = 15) -> float:
    """Mean over classes k of the calibration error (`gap`) of p_k as a forecast of [label = k] (Kull et al. 2019)."""
    return float(np.mean([gap(prob[:, k], label == k, bins) for k in range(prob.shape[1])]))


def adaptive_ece(prob: np.ndarray, label: np.ndarray, bins: int = 15) -> float:
    """As `ece` with bins that hold equally many trials, in order of confidence (Nixon et al. 2019)."""
    level, correct = confidence(prob, label)
    order = np.argsort(level, kind="stable")
    parts = np.array_split(correct[order] - level[order], min(bins, label.size))
    return float(sum(abs(part.sum()) for part in parts) / label.size)


def reliability_curve(prob: np.ndarray, label: np.ndarray, bins: int = 15, *, band: float = 0.9) -> pd.DataFrame:
    """Accuracy against confidence in equal-width bins, with consistency bands (Bröcker & Smith 2007).

    One row per bin that holds trials: ``low``, ``high`` (edges), ``confidence`` (mean), ``frequency`` (share
    correct), ``trials``, ``band_low``, ``band_high``. The band holds the share that would be correct with
    probability ``band`` if each trial were correct with its own confidence: quantiles of the Poisson-binomial
    distribution (up to 1,000 trials in the bin; its normal limit beyond). For the curve
    of one event see `event_curve`.
    """
    return event_curve(*confidence(prob, label), bins, band=band)


def event_curve(probability: np.ndarray, outcome: np.ndarray, bins: int = 15, *, band: float = 0.9) -> pd.DataFrame:
    """`reliability_curve` of a single event forecast with ``probability`` (n,) and seen as ``outcome`` (n,) bool."""
    index, rows = bin_index(probability, bins), []
    for b in np.unique(index):
        p, seen = np.asarray(probability)[index == b], np.asarray(outcome)[index == b]
        low, high = _share_band(p, band)
        rows.append((b / bins, (b + 1) / bins, p.mean(), seen.mean(), p.size, low, high))
    return pd.DataFrame(rows, columns=["low", "high", "confidence", "frequency", "trials", "band_low", "band_high"])


def _share_band(probability: np.ndarray, band: float) -> tuple[float, float]:
    levels, n = np.array([(1 - band) / 2, (1 + band) / 2]), probability.size
    if n <= 1000:
        counts = np.searchsorted(poisson_binom(np.clip(probability, 0, 1)).cdf(np.arange(n + 1)), levels)
    else:
        counts = norm.ppf(levels, probability.sum(), np.sqrt(max((probability * (1 - probability)).sum(), 1e-300)))
    low, high = np.clip(counts / n, 0, 1)
    return float(low), float(high)


def coverage_curve(
    mean: np.ndarray, variance: np.ndarray, truth: np.ndarray, *, levels: np.ndarray | None = None, band: float = 0.9
) -> pd.DataFrame:
    """Share of trials inside the central interval at each nominal level: mean of [|2 F_i(y_i) - 1| <= level].

    Columns ``level``, ``coverage``, ``trials``, ``band_low``, ``band_high`` (binomial, of a calibrated
    forecaster). ``levels`` default to 0.05, 0.10, ..., 0.95.
    """
    levels = np.arange(1, 20) / 20 if levels is None else np.asarray(levels, dtype=float)
    distance = np.abs(2 * pit(mean, variance, truth) - 1)
    inside = (distance[None] <= levels[:, None]).mean(1)
    low, high = _binomial_band(truth.size, levels, band)
    return pd.DataFrame({"level": levels, "coverage": inside, "trials": truth.size, "band_low": low, "band_high": high})


def pit_histogram(values: np.ndarray, bins: int = 10, *, band: float = 0.9) -> pd.DataFrame:
    """Histogram of PIT values as density (1 everywhere when calibrated; a U says over-confident, a hump says too wide).

    Columns ``low``, ``high``, ``density``, ``trials``, ``band_low``, ``band_high``: quantiles of
    binomial(n, 1/bins), as density.
    """
    counts, edges = np.histogram(values, bins=bins, range=(0, 1))
    low, high = _binomial_band(len(values), np.full(bins, 1 / bins), band)
    columns = {"low": edges[:-1], "high": edges[1:], "density": counts * bins / len(values), "trials": counts}
    return pd.DataFrame(columns | {"band_low": low * bins, "band_high": high * bins})


def _binomial_band(n: int, probability: np.ndarray, band: float) -> tuple[np.ndarray, np.ndarray]:
    return binom.ppf((1 - band) / 2, n, probability) / n, binom.ppf((1 + band) / 2, n, probability) / n
