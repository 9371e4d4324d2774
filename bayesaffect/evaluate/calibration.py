"""Calibration: does an outcome predicted with probability p happen in a share p of the cases?

Shapes: ``prob`` (n, k), ``label`` (n,) level indices; ``mean`` and ``variance`` (draw, n) of a Gaussian
mixture, ``truth`` (n,). Bands are those of a calibrated forecaster with independent trials; trials of one
subject are not independent, so a curve outside its band is a question to look into, not a test result.
All raise `InputError` for what is no probability or no known truth, and where there is no trial.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.stats import binom, norm, poisson_binom

from bayesaffect.evaluate.scores import pit
from bayesaffect.evaluate.scores.accepted import check_classes, check_event, check_known


class Floor(NamedTuple):
    """Mean and central range of a calibration error under perfect calibration."""

    mean: float
    low: float
    high: float


def bin_index(value: np.ndarray, bins: int) -> np.ndarray:
    """Bin of a probability among ``bins`` of equal width, ((b)/bins, (b+1)/bins]; 0 falls in the first."""
    return np.clip(np.ceil(np.asarray(value) * bins).astype(int) - 1, 0, bins - 1)


def even_index(value: np.ndarray, bins: int) -> np.ndarray:
    """Bin of each value (n,) among at most ``bins`` that hold equally many, in ascending order.

    Equal values share the bin of their middle place: cut at a boundary, they would be sorted by the order of the table.
    """
    ordered, bins = np.sort(value), min(bins, value.size)
    place = np.repeat(np.arange(bins), [part.size for part in np.array_split(ordered, bins)])
    middle = (np.searchsorted(ordered, value, "left") + np.searchsorted(ordered, value, "right") - 1) // 2
    return place[middle]


def confidence(prob: np.ndarray, label: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Probability of the most probable class (n,) and whether that class is the true one (n,)."""
    check_classes(prob, label)
    chosen = prob.argmax(1)
    return prob[np.arange(label.size), chosen], chosen == label


def gap(probability: np.ndarray, outcome: np.ndarray, bins: int = 15) -> float:
    """Expected calibration error of one event (Naeini et al. 2015).

    sum_b (n_b / n) |mean outcome in b - mean probability in b| over ``bins`` bins of equal width.
    """
    check_event(probability, outcome)
    difference = np.bincount(bin_index(probability, bins), outcome - np.asarray(probability), minlength=bins)
    return float(np.abs(difference).sum() / len(outcome))


def ece(prob: np.ndarray, label: np.ndarray, bins: int = 15) -> float:
    """Expected calibration error of the confidence (Guo et al. 2017).

    sum_b (n_b / n) |accuracy_b - confidence_b| over ``bins`` bins of equal width.
    """
    return gap(*confidence(prob, label), bins)


def classwise_ece(prob: np.ndarray, label: np.ndarray, bins: int = 15) -> float:
    """Mean over classes k of the calibration error (`gap`) of p_k as a forecast of [label = k] (Kull et al. 2019)."""
    check_classes(prob, label)
    return float(np.mean([gap(prob[:, k], label == k, bins) for k in range(prob.shape[1])]))


def adaptive_ece(prob: np.ndarray, label: np.ndarray, bins: int = 15) -> float:
    """As `ece` with bins that hold equally many trials, in order of confidence (Nixon et al. 2019; `even_index`)."""
    level, correct = confidence(prob, label)
    return float(np.abs(np.bincount(even_index(level, bins), correct - level)).sum() / label.size)


def ece_floor(prob: np.ndarray, *, seed: int, bins: int = 15, draws: int = 1000, level: float = 0.9) -> Floor:
    """What `ece` would be, on average, if these forecasts were perfectly calibrated.

    The calibration error is a sum of absolute values, so noise alone makes it positive: E[ece | correct_i ~
    Bernoulli(max_k p_ik)], independent trials, over ``draws`` draws (Roelofs et al. 2022 on the bias; Vaicenavicius et
    al. 2019 on resampling under calibration). Also its central ``level`` range: an error above it is more
    than noise.
    """
    confident = np.asarray(prob).max(1)
    index = bin_index(confident, bins)
    rng = np.random.default_rng(seed)
    values, block = [], max(1, 2_000_000 // confident.size)
    member = np.zeros((confident.size, bins))
    member[np.arange(confident.size), index] = 1
    for start in range(0, draws, block):
        correct = rng.random((min(block, draws - start), confident.size)) < confident
        values.append(np.abs((correct - confident) @ member).sum(1) / confident.size)
    values = np.concatenate(values)
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return Floor(float(values.mean()), float(low), float(high))


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
    check_event(probability, outcome)
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
    check_known(truth)
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
    check_known(values)
    counts, edges = np.histogram(values, bins=bins, range=(0, 1))
    low, high = _binomial_band(len(values), np.full(bins, 1 / bins), band)
    columns = {"low": edges[:-1], "high": edges[1:], "density": counts * bins / len(values), "trials": counts}
    return pd.DataFrame(columns | {"band_low": low * bins, "band_high": high * bins})


def pit_curve(
    values: np.ndarray, *, seed: int, band: float = 0.9, points: int = 100, draws: int = 1000
) -> pd.DataFrame:
    """Distribution function of PIT values minus the uniform one, with a band for the whole curve.

    Columns ``at`` (points in (0, 1)), ``difference`` = share of values <= at, minus at, ``band_low``, ``band_high``:
    with probability ``band`` the whole curve of n independent uniform values stays inside. The band is binomial at
    every point, its pointwise level chosen by simulation such that ``band`` holds jointly (Säilynoja et al. 2022).
    """
    check_known(values)
    n, at = len(values), np.arange(1, points) / points
    uniform = np.random.default_rng(seed).random((draws, n))
    counts = np.stack([np.bincount(np.ceil(u * points).astype(int), minlength=points + 1) for u in uniform])
    counts = counts.cumsum(1)[:, 1:points]
    # smallest two-sided tail probability along each simulated curve; its quantile is the pointwise level
    tail = np.minimum(binom.cdf(counts, n, at), binom.sf(counts - 1, n, at)).min(1)
    level = np.quantile(tail, 1 - band)
    low, high = binom.ppf(level, n, at), binom.isf(level, n, at)
    share = np.searchsorted(np.sort(values), at, side="right") / n
    columns = {"at": at, "difference": share - at, "band_low": low / n - at, "band_high": high / n - at}
    return pd.DataFrame(columns)


def _binomial_band(n: int, probability: np.ndarray, band: float) -> tuple[np.ndarray, np.ndarray]:
    return binom.ppf((1 - band) / 2, n, probability) / n, binom.ppf((1 + band) / 2, n, probability) / n
