"""Scores of predictions against the truth: plain functions on numpy arrays.

Shapes: ``prob`` (n, k) class probabilities, ``label`` (n,) level indices, ``mean`` and ``variance``
(draw, n) the parameters of an equal-weight mixture of Gaussians per trial, ``truth`` (n,).
A score that is an average over trials has a pointwise twin inside (`nll_each`, `brier_each`,
`mixture_nll`, `crps`, `interval_score`), because intervals over subjects are made from those.
"""

from __future__ import annotations

import numpy as np
from scipy.special import logsumexp, ndtr, ndtri
from sklearn.metrics import f1_score, recall_score, roc_auc_score

_BLOCK = 1 << 21  # numbers held at once by the mixture scores (16 MiB)


def nll_each(prob: np.ndarray, label: np.ndarray) -> np.ndarray:
    """Log score of each trial in nats, -log p[i, label_i] (Good 1952); probabilities below 1e-300 count as 1e-300."""
    return -np.log(np.maximum(prob[np.arange(label.size), label], 1e-300))


def nll(prob: np.ndarray, label: np.ndarray) -> float:
    """Mean log score in nats: -(1/n) sum_i log p[i, label_i] (Good 1952)."""
    return float(nll_each(prob, label).mean())


def brier_each(prob: np.ndarray, label: np.ndarray) -> np.ndarray:
    """Brier score of each trial: sum_k (p_ik - [label_i = k])^2, between 0 and 2 (Brier 1950)."""
    return (prob**2).sum(1) - 2 * prob[np.arange(label.size), label] + 1


def brier(prob: np.ndarray, label: np.ndarray) -> float:
    """Mean Brier score: (1/n) sum_i sum_k (p_ik - [label_i = k])^2 over all classes, also for two (Brier 1950)."""
    return float(brier_each(prob, label).mean())


def accuracy(prob: np.ndarray, label: np.ndarray) -> float:
    """Share of trials whose most probable class is the true one: mean of [argmax_k p_ik = label_i]."""
    return float((prob.argmax(1) == label).mean())


def balanced_accuracy(prob: np.ndarray, label: np.ndarray) -> float:
    """Mean recall over the classes that occur in ``label`` (Brodersen et al. 2010)."""
    return float(recall_score(label, prob.argmax(1), labels=np.unique(label), average="macro", zero_division=0))


def macro_f1(prob: np.ndarray, label: np.ndarray) -> float:
    """Mean of F1_k = 2 TP_k / (2 TP_k + FP_k + FN_k) over the classes that occur in truth or prediction.

    Reference: van Rijsbergen (1979).
    """
    return float(f1_score(label, prob.argmax(1), average="macro", zero_division=0))


def auroc(prob: np.ndarray, label: np.ndarray) -> float:
    """Area under the ROC curve: P(score of a positive > score of a negative) + half the ties (Hanley & McNeil 1982).

    Two classes: the second level is the positive one. More: mean over classes of one against the rest;
    a class that never or always occurs is left out. NaN when no class is left.
    """
    classes = [1] if prob.shape[1] == 2 else range(prob.shape[1])
    areas = [roc_auc_score(label == k, prob[:, k]) for k in classes if 0 < (label == k).sum() < label.size]
    return float(np.mean(areas)) if areas else float("nan")


def rmse(mean: np.ndarray, truth: np.ndarray) -> float:
    """Root of the mean squared error: sqrt((1/n) sum_i (mean_i - truth_i)^2); both (n,)."""
    return float(np.sqrt(np.mean((mean - truth) ** 2)))


def pearson(mean: np.ndarray, truth: np.ndarray) -> float:
    """Pearson correlation cov(x, y) / (sd(x) sd(y)); NaN when one of them is constant."""
    x, y = mean - mean.mean(), truth - truth.mean()
    scale = np.sqrt((x**2).mean() * (y**2).mean())
    return float((x * y).mean() / scale) if scale > 1e-12 else float("nan")


def ccc(mean: np.ndarray, truth: np.ndarray) -> float:
    """Concordance: 2 cov(x, y) / (var(x) + var(y) + (mean(x) - mean(y))^2), population moments (Lin 1989)."""
    x, y = mean - mean.mean(), truth - truth.mean()
    total = (x**2).mean() + (y**2).mean() + (mean.mean() - truth.mean()) ** 2
    return float(2 * (x * y).mean() / total) if total > 1e-24 else float("nan")


def rmse_within_each(mean: np.ndarray, truth: np.ndarray, spread: np.ndarray) -> np.ndarray:
    """RMSE inside each trial of a prediction that is constant there: sqrt((mean - truth)^2 + spread^2).

    Exact when ``truth`` is the mean and ``spread`` the population standard deviation of the trial's samples.
    """
    return np.sqrt((mean - truth) ** 2 + spread**2)


def mixture_nll(mean: np.ndarray, variance: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Log score (n,) in nats of a Gaussian mixture: -log (1/D) sum_d N(truth; mean_d, variance_d)."""
    log_density = -0.5 * (np.log(2 * np.pi * variance) + (truth - mean) ** 2 / variance)
    return np.log(mean.shape[0]) - logsumexp(log_density, axis=0)


def mixture_cdf(mean: np.ndarray, variance: np.ndarray, value: np.ndarray) -> np.ndarray:
    """Distribution function (n,) at ``value`` (n,): F(x) = (1/D) sum_d Phi((x - mean_d) / sqrt(variance_d))."""
    out = np.empty(mean.shape[1])
    for part in _parts(mean.shape[1], mean.shape[0]):
        out[part] = ndtr((value[part] - mean[:, part]) / np.sqrt(variance[:, part])).mean(0)
    return out


def pit(mean: np.ndarray, variance: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Probability integral transform F_i(truth_i), uniform on [0, 1] for a calibrated prediction (Dawid 1984)."""
    return mixture_cdf(mean, variance, truth)


def mixture_quantile(mean: np.ndarray, variance: np.ndarray, level: float) -> np.ndarray:
    """Quantile (n,) of the mixture: x with F(x) = ``level``, within 1e-10 of the largest component deviation.

    It lies between the smallest and the largest quantile of the components; Newton steps that leave this
    bracket, or that fail to halve the last step, are replaced by its midpoint, and the bracket shrinks each time.
    """
    out = np.empty(mean.shape[1])
    for part in _parts(mean.shape[1], mean.shape[0]):
        out[part] = _quantile(mean[:, part], np.sqrt(variance[:, part]), level)
    return out


def _quantile(mean: np.ndarray, deviation: np.ndarray, level: float) -> np.ndarray:
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
        excess = ndtr(z).mean(0) - level
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
    return mixture_quantile(mean, variance, (1 - level) / 2), mixture_quantile(mean, variance, (1 + level) / 2)


def covered(mean: np.ndarray, variance: np.ndarray, truth: np.ndarray, level: float) -> np.ndarray:
    """Whether the central interval holds the truth (n,) bool: |2 F(truth) - 1| <= level, which needs no quantile."""
    return np.abs(2 * pit(mean, variance, truth) - 1) <= level


def coverage(mean: np.ndarray, variance: np.ndarray, truth: np.ndarray, level: float) -> float:
    """Share of trials whose central ``level`` interval holds the truth."""
    return float(covered(mean, variance, truth, level).mean())


def interval_score(low: np.ndarray, high: np.ndarray, truth: np.ndarray, level: float) -> np.ndarray:
    """Interval score (n,) with a = 1 - level (Gneiting & Raftery 2007).

    (high - low) + (2/a) max(low - y, 0) + (2/a) max(y - high, 0)
    """
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
