"""Scores of an equal-weight mixture of Gaussians per trial: ``mean`` and ``variance`` > 0 (draw, n), ``truth`` (n,).

Scores with a value per trial are NaN where the truth is; `covered` and `coverage` raise `InputError` there, and all do
for a variance that is not above 0 and a level that is not between 0 and 1.
"""

from __future__ import annotations

import numpy as np
from scipy.special import logsumexp, ndtr, ndtri

from bayesaffect.evaluate.scores.accepted import check_known, check_level, check_positive

_BLOCK = 1 << 21  # numbers held at once (16 MiB)


def mixture_nll(mean: np.ndarray, variance: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Log score (n,) in nats of a Gaussian mixture: -log (1/D) sum_d N(truth; mean_d, variance_d)."""
    check_positive("variance", variance)
    log_density = -0.5 * (np.log(2 * np.pi * variance) + (truth - mean) ** 2 / variance)
    return np.log(mean.shape[0]) - logsumexp(log_density, axis=0)


def mixture_cdf(mean: np.ndarray, variance: np.ndarray, value: np.ndarray) -> np.ndarray:
    """Distribution function (n,) at ``value`` (n,): F(x) = (1/D) sum_d Phi((x - mean_d) / sqrt(variance_d))."""
    check_positive("variance", variance)
    out = np.empty(mean.shape[1])
    for part in _parts(mean.shape[1], mean.shape[0]):
        out[part] = ndtr((value[part] - mean[:, part]) / np.sqrt(variance[:, part])).mean(0)
    return out


def pit(mean: np.ndarray, variance: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Probability integral transform F_i(truth_i), uniform on [0, 1] for a calibrated prediction (Dawid 1984)."""
    return mixture_cdf(mean, variance, truth)


def mixture_quantile(mean: np.ndarray, variance: np.ndarray, level: float | np.ndarray) -> np.ndarray:
    """Quantile (n,) of the mixture: x with F(x) = ``level``, within 1e-10 of the largest component deviation.

    ``level`` is one number in (0, 1) or one per trial (n,).

    It lies between the smallest and the largest quantile of the components; Newton steps that leave this
    bracket, or that fail to halve the last step, are replaced by its midpoint, and the bracket shrinks each time.
    """
    check_positive("variance", variance)
    check_level(level)
    out = np.empty(mean.shape[1])
    level = np.broadcast_to(np.asarray(level, dtype=float), out.shape)
    for part in _parts(mean.shape[1], mean.shape[0]):
        out[part] = _quantile(mean[:, part], np.sqrt(variance[:, part]), level[part])
    return out


def _quantile(mean: np.ndarray, deviation: np.ndarray, level: np.ndarray) -> np.ndarray:
    ends = mean + ndtri(level) * deviation
    low, high = ends.min(0), ends.max(0)
    tolerance = 1e-10 * deviation.max(0)
    x, step_limit = (low + high) / 2, high - low
    active = np.flatnonzero(high - low > tolerance)
    for _ in range(200):
        if not active.size:
            break
        m, s, here = mean[:, active], deviation[:, active], x[active]
        z = (here - m) / s
        excess = ndtr(z).mean(0) - level[active]
        low[active] = np.where(excess < 0, here, low[active])
        high[active] = np.where(excess > 0, here, high[active])
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            step = excess / (np.exp(-0.5 * z**2) / s).mean(0) * np.sqrt(2 * np.pi)
        trial = here - step
        inside = (trial >= low[active]) & (trial <= high[active]) & (np.abs(step) < 0.5 * step_limit[active])
        moved = np.where(inside, trial, (low[active] + high[active]) / 2)
        x[active] = np.where(excess == 0, here, moved)
        step_limit[active] = np.where(inside, np.abs(step), high[active] - low[active])
        done = (excess == 0) | (np.abs(x[active] - here) <= tolerance[active])
        active = active[~done]
    return x


def interval(mean: np.ndarray, variance: np.ndarray, level: float) -> tuple[np.ndarray, np.ndarray]:
    """Central interval (low, high), each (n,): the quantiles (1 - level)/2 and (1 + level)/2 of the mixture."""
    check_level(level)
    return mixture_quantile(mean, variance, (1 - level) / 2), mixture_quantile(mean, variance, (1 + level) / 2)


def covered(mean: np.ndarray, variance: np.ndarray, truth: np.ndarray, level: float) -> np.ndarray:
    """Whether the central interval holds the truth (n,) bool: |2 F(truth) - 1| <= level, which needs no quantile."""
    check_known(truth)
    check_level(level)
    return np.abs(2 * pit(mean, variance, truth) - 1) <= level


def coverage(mean: np.ndarray, variance: np.ndarray, truth: np.ndarray, level: float) -> float:
    """Share of trials whose central ``level`` interval holds the truth."""
    return float(covered(mean, variance, truth, level).mean())


def interval_score(low: np.ndarray, high: np.ndarray, truth: np.ndarray, level: float) -> np.ndarray:
    """Interval score (n,) with a = 1 - level (Gneiting & Raftery 2007).

    (high - low) + (2/a) max(low - y, 0) + (2/a) max(y - high, 0)
    """
    check_level(level)
    penalty = np.maximum(low - truth, 0) + np.maximum(truth - high, 0)
    return high - low + 2 / (1 - level) * penalty


def crps(mean: np.ndarray, variance: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Continuous ranked probability score (n,) of a Gaussian mixture (Grimit et al. 2006).

    CRPS = (1/D) sum_d A(y - m_d, v_d) - (1/2D^2) sum_de A(m_d - m_e, v_d + v_e),
    A(m, v) = 2 sqrt(v) phi(m / sqrt(v)) + m (2 Phi(m / sqrt(v)) - 1).
    The double sum equals 2 D^2 times the integral of F (1 - F); with many draws that integral is taken by the
    trapezoidal rule at steps of 0.75 times the smallest deviation, where its error is below 1e-8 of the scale
    (the integrand is smoothed by the Gaussian). Memory is bounded by working on blocks of trials.
    """
    check_positive("variance", variance)
    draws, n = mean.shape
    deviation = np.sqrt(variance)
    first = np.empty(n)
    for part in _parts(n, draws):
        first[part] = _absolute(truth[part] - mean[:, part], deviation[:, part]).mean(0)
    if draws == 1:
        return first - deviation[0] / np.sqrt(np.pi)
    start, stop = (mean - 6.5 * deviation).min(0), (mean + 6.5 * deviation).max(0)
    points = np.ceil((stop - start) / (0.75 * deviation.min(0))).astype(int) + 1
    second = np.empty(n)
    on_grid = points < draws / 2
    for rows, spread in ((np.flatnonzero(on_grid), _spread_grid), (np.flatnonzero(~on_grid), _spread_pairs)):
        order = rows[np.argsort(points[rows], kind="stable")]
        for part in _parts(order.size, draws * (32 if spread is _spread_grid else draws)):
            take = order[part]
            second[take] = spread(mean[:, take], deviation[:, take], start[take], stop[take], points[take])
    return first - second


def _absolute(mean: np.ndarray, deviation: np.ndarray) -> np.ndarray:
    """E|X| of X ~ Normal(mean, deviation^2)."""
    z = mean / deviation
    return 2 * deviation * np.exp(-0.5 * z**2) / np.sqrt(2 * np.pi) + mean * (2 * ndtr(z) - 1)


def _spread_pairs(mean, deviation, start, stop, points):
    draws = mean.shape[0]
    total = np.zeros(mean.shape[1])
    for d in range(draws):
        total += _absolute(mean[d] - mean[d + 1 :], np.sqrt(deviation[d] ** 2 + deviation[d + 1 :] ** 2)).sum(0)
    own = (2 * deviation / np.sqrt(np.pi)).sum(0)
    return (2 * total + own) / (2 * draws**2)


def _spread_grid(mean, deviation, start, stop, points):
    count = int(points.max())
    step = (stop - start) / (count - 1)
    total = np.zeros(mean.shape[1])
    for k in range(count):
        cdf = ndtr((start + k * step - mean) / deviation).mean(0)
        total += cdf * (1 - cdf)
    return total * step


def _parts(n: int, each: int):
    """Slices of ``range(n)`` such that a slice times ``each`` stays within the block size."""
    size = max(1, _BLOCK // max(1, each))
    return (slice(k, min(k + size, n)) for k in range(0, n, size))
