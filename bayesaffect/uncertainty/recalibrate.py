"""One temperature per categorical and one variance scale per continuous target, from subjects not trained on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import xarray as xr
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, logsumexp

from bayesaffect.types import Predictive

PRIOR_TRIALS = 10.0
PRIOR_LOG_TEMPERATURE = 0.2
TRIALS_PER_SUBJECT = 8.0


def weights(subject: np.ndarray) -> np.ndarray:
    """Weight of each trial, min(1, 8 / trials of its subject): many windows of one person are not as many witnesses."""
    _, inverse, count = np.unique(subject, return_inverse=True, return_counts=True)
    return np.minimum(1.0, TRIALS_PER_SUBJECT / count[inverse])


def scale(mean: np.ndarray, variance: np.ndarray, truth: np.ndarray, subject: np.ndarray) -> float:
    """Variance scale s = (n0 + sum w z^2) / (n0 + sum w), z^2 = (y - E[m])^2 / (E[v] + Var[m]), n0 = 10.

    Without n0 and w this is the maximum of the Gaussian likelihood; n0 pseudo-trials with z^2 = 1 keep a
    handful of validation trials from deciding alone, w are the `weights`. ``mean`` and ``variance``
    (draw, trial), ``truth`` (trial,) with NaN missing, ``subject`` (trial,).
    """
    known = np.isfinite(truth)
    total = variance.mean(0) + mean.var(0)
    squared = ((truth - mean.mean(0)) ** 2 / total)[known]
    weight = weights(subject[known])
    return float((PRIOR_TRIALS + (weight * squared).sum()) / (PRIOR_TRIALS + weight.sum()))


def temperature(log_prob: np.ndarray, truth: np.ndarray, subject: np.ndarray) -> float:
    """Temperature T that minimises -sum w log E[softmax(log p / T)]_y + (log T)^2 / (2 0.2^2).

    The expectation is over draws, the sum over trials with a known class, w are the `weights` (Guo et al.
    2017, with a log-normal prior on T). ``log_prob`` (draw, trial, level), ``truth`` (trial,) with -1
    missing, ``subject`` (trial,).
    """
    known = truth >= 0
    log_prob, truth = log_prob[:, known], truth[known].astype(int)
    weight = weights(subject[known])

    def cost(log_t: float) -> float:
        tempered = log_softmax(log_prob / np.exp(log_t), axis=-1)
        pooled = logsumexp(tempered[:, np.arange(truth.size), truth], axis=0) - np.log(len(log_prob))
        return -(weight * pooled).sum() + log_t**2 / (2 * PRIOR_LOG_TEMPERATURE**2)

    return float(np.exp(minimize_scalar(cost, bounds=(-1.5, 1.5), method="bounded").x))


def fit(predictive: Predictive, truth: xr.Dataset) -> dict[str, float]:
    """Target -> scale or temperature, from predictions of subjects that were not trained on; 1 without truth."""
    trial, subject = predictive.trial.values, predictive.subject.values.astype(str)
    factors = {}
    for target in predictive.targets:
        name, y = target.name, truth[target.name].sel(trial=trial).values
        if target.kind == "continuous":
            factors[name] = scale(predictive.mean[name].values, predictive.variance[name].values, y, subject)
        else:
            factors[name] = temperature(predictive.log_prob[name].values, y, subject)
    return factors


def apply(predictive: Predictive, factors: Mapping[str, float]) -> Predictive:
    """Temper log-probabilities by T; multiply variances by s and draws' distances from their mean by sqrt(s).

    The total variance E[v] + Var[m] is multiplied by s exactly, and its mean E[m] stays.
    """
    mean, variance, log_prob = dict(predictive.mean), dict(predictive.variance), dict(predictive.log_prob)
    for name, factor in factors.items():
        if name in mean:
            centre = mean[name].mean("draw")
            mean[name] = (centre + np.sqrt(factor) * (mean[name] - centre)).transpose(*mean[name].dims)
            variance[name] = variance[name] * factor
        else:
            log_prob[name] = log_prob[name].copy(data=log_softmax(log_prob[name].values / factor, axis=-1))
    return replace(predictive, mean=mean, variance=variance, log_prob=log_prob)
