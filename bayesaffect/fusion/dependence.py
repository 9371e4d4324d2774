"""How much evidence a trial is, where the trials of a person follow one another and are alike.

Windows that overlap, or are cut from one long task, share their errors: n of them are worth n / D independent ones.
With residuals r_i = e_{y_i} - p_i (p_i the normalised geometric mean of the opinions), less their mean within the
subject,
and rho_l their autocorrelation at lag l, in the order in which the trials are given (what subtracting the mean took
from it, a share D / n, given back),

    D = 1 + 2 sum_l rho_l (1 - l / n),

summed up to the first lag whose rho_l is not above three of its standard errors, 3 / sqrt(pairs) (Geyer 1992 on such
sums). Every term of the log-likelihood is multiplied by 1 / D, so that neither the differences between people nor the
certainty about them are overrated (a power likelihood; Bissiri, Holmes and Walker 2016). Film clips that were rated
one by one have D = 1.
"""

from __future__ import annotations

import numpy as np

SWEEPS = 5
ERRORS = 3


def share(probability: np.ndarray, truth: np.ndarray, subject: np.ndarray) -> float:
    """1 / D of trials in their order: probabilities (N, K), classes (N,), subjects (N,)."""
    residual = np.eye(probability.shape[1])[truth] - probability
    parts = [residual[subject == s] for s in np.unique(subject)]
    parts = [part - part.mean(0) for part in parts if len(part) > 2]
    if not parts or not (scale := sum((part**2).sum() for part in parts)):
        return 1.0
    trials = sum(len(part) for part in parts)
    usual, variance = trials / len(parts), scale / trials
    raw, pairs = [], []
    for lag in range(1, max(len(part) for part in parts)):
        longer = [part for part in parts if len(part) > lag]
        pairs.append(sum(len(part) - lag for part in longer))
        raw.append(sum((part[lag:] * part[:-lag]).sum() for part in longer) / pairs[-1] / variance)
    total = 1.0
    for _ in range(SWEEPS):
        taken = min(total / usual, 0.5)  # of the variance and of every covariance, by subtracting the mean
        rho = taken + (1 - taken) * np.array(raw)
        small = rho <= ERRORS / np.sqrt(pairs)
        last = int(small.argmax()) if small.any() else rho.size
        total = 1 + 2 * (rho[:last] * np.maximum(1 - np.arange(1, last + 1) / usual, 0.0)).sum()
    return 1 / total


def pooled(log_prob: np.ndarray, present: np.ndarray) -> np.ndarray:
    """Normalised geometric mean (N, K) of the opinions (N, M, K) that are present; even where none is."""
    log_p = np.where(present[:, :, None], log_prob, 0.0).sum(1) / np.maximum(present.sum(1), 1)[:, None]
    p = np.exp(log_p - log_p.max(1, keepdims=True))
    return p / p.sum(1, keepdims=True)
