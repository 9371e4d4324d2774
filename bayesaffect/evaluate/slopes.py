"""Calibration slope and intercept: by how much is what a model says exaggerated, and is it shifted?

1 and 0 when calibrated; a slope below 1 says over-confident (too extreme), above 1 under-confident.
Lines raise `InputError` for what is no probability, no known truth, or no trial at all.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from bayesaffect.evaluate.scores.accepted import check_classes, check_event, check_ratings

_FLOOR = 1e-12


class Line(NamedTuple):
    """``intercept`` and ``slope``; ``score`` (n, parameters) and ``information`` (n, parameters, parameters) of each
    trial at the solution, from which intervals are made (`resampled`)."""

    intercept: float
    slope: float
    score: np.ndarray
    information: np.ndarray


def event_line(probability: np.ndarray, outcome: np.ndarray) -> Line:
    """Cox's (1958) recalibration of an event: logit P(outcome_i) = intercept + slope logit(probability_i).

    Maximum likelihood; ``probability`` (n,), ``outcome`` (n,) 0 or 1. NaN where there is no finite solution: all
    outcomes the same, all probabilities the same, or outcomes that the probabilities separate without error.
    """
    check_event(probability, outcome)
    p = np.clip(probability, _FLOOR, 1 - _FLOOR)
    x = np.stack([np.ones(p.size), np.log(p) - np.log1p(-p)], 1)
    y = np.asarray(outcome, dtype=float)

    def derivatives(b):
        q = 1 / (1 + np.exp(-np.clip(x @ b, -500, 500)))
        gain = y * np.log(np.maximum(q, 1e-300)) + (1 - y) * np.log(np.maximum(1 - q, 1e-300))
        return gain.sum(), (y - q)[:, None] * x, (q * (1 - q))[:, None, None] * x[:, :, None] * x[:, None, :]

    (intercept, slope), score, information = _newton(derivatives, np.array([0.0, 1.0]))
    return Line(intercept, slope, score, information)


def class_slope(prob: np.ndarray, label: np.ndarray) -> Line:
    """Slope b of log P(label_i = k) = b log p_ik - log sum_j p_ij^b, maximum likelihood.

    The inverse of a fitted temperature (Guo et al. 2017). ``prob`` (n, k), ``label`` (n,). The intercept is NaN (there
    is none). NaN where there is no finite solution.
    """
    check_classes(prob, label)
    log = np.log(np.maximum(prob, _FLOOR))
    rows = np.arange(label.size)

    def derivatives(b):
        z = b[0] * log
        q = np.exp(z - z.max(1, keepdims=True))
        q /= q.sum(1, keepdims=True)
        centre = (q * log).sum(1)
        spread = (q * (log - centre[:, None]) ** 2).sum(1)
        gain = np.log(np.maximum(q[rows, label], 1e-300)).sum()
        return gain, (log[rows, label] - centre)[:, None], spread[:, None, None]

    (slope,), score, information = _newton(derivatives, np.array([1.0]))
    return Line(float("nan"), slope, score, information)


def rating_line(mean: np.ndarray, truth: np.ndarray) -> tuple[float, float]:
    """Intercept and slope of the truth on the predicted mean, least squares: slope = cov(x, y) / var(x).

    Both (n,). The intercept is the expected truth where the prediction is 0. NaN for constant predictions.
    """
    check_ratings(mean, truth)
    x = mean - mean.mean()
    if (x**2).mean() < 1e-24:
        return float("nan"), float("nan")
    slope = float((x * truth).mean() / (x**2).mean())
    return float(truth.mean() - slope * mean.mean()), slope


def resampled(line: Line, score: np.ndarray, information: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Parameters of each resample of subjects by one Newton step from the whole sample (Schucany & Wang 1991).

    ``score`` (subject, parameters) and ``information`` (subject, parameters, parameters): the line's, summed over the
    trials of each subject; ``weight`` (resample, subject). Returns (resample, parameters).
    """
    start = np.array([line.intercept, line.slope])[-score.shape[1] :]
    with np.errstate(all="ignore"):
        total = np.einsum("rs,sij->rij", weight, information)
        step = weight @ score
        good = np.isfinite(start).all() & (np.linalg.det(total) > 1e-12)
        out = np.full((len(weight), start.size), np.nan)
        if np.any(good):
            out[good] = start + np.linalg.solve(total[good], step[good][..., None])[..., 0]
    return out


def clustered_error(line: Line, subject: np.ndarray) -> float:
    """Standard error of the slope from the sums of scores per subject (Liang & Zeger 1986), with m / (m - 1).

    ``subject`` (n,) names. NaN with fewer than two subjects or without a solution.
    """
    names, group = np.unique(subject, return_inverse=True)
    if names.size < 2 or not np.isfinite(line.slope):
        return float("nan")
    sums = np.zeros((names.size, line.score.shape[1]))
    np.add.at(sums, group, line.score)
    bread = np.linalg.inv(line.information.sum(0))
    return float(np.sqrt((bread @ (sums.T @ sums) @ bread)[-1, -1] * names.size / (names.size - 1)))


def _newton(derivatives, start: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Damped Newton; NaN parameters when it runs away or the information vanishes."""
    b = start
    gain, score, information = derivatives(b)
    for _ in range(60):
        total = information.sum(0)
        if not np.isfinite(total).all() or np.linalg.det(total) < 1e-10:
            break
        step = np.linalg.solve(total, score.sum(0))
        size = 1.0
        while size > 1e-6:
            trial = derivatives(b + size * step)
            if trial[0] >= gain - 1e-12 * abs(gain):
                break
            size /= 2
        b, (gain, score, information) = b + size * step, trial
        if np.abs(step).max() < 1e-10:
            return b, score, information
        if np.abs(b).max() > 1e3:
            break
    return np.full(start.size, np.nan), score, information
