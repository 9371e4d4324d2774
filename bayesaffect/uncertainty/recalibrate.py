"""One temperature per categorical and one variance scale per continuous target, from subjects not trained on.

Whom to learn it from: a network is surer of the subjects it was stopped by than of strangers, because the epoch
was chosen where they went best, and they are few. So where nested predictions exist, `across` learns from them: for
a test group every other subject, predicted by networks that saw neither that subject nor the test group.
Without them, a fit's validation subjects have to do.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import xarray as xr
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, logsumexp

from bayesaffect.errors import InputError
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


def apply(predictive: Predictive, factors: Mapping[str, float | np.ndarray]) -> Predictive:
    """Temper log-probabilities by T; multiply variances by s and draws' distances from their mean by sqrt(s).

    The total variance E[v] + Var[m] is multiplied by s exactly, and its mean E[m] stays. A factor is one number,
    or one per trial (trial,).
    """
    mean, variance, log_prob = dict(predictive.mean), dict(predictive.variance), dict(predictive.log_prob)
    for name, factor in factors.items():
        factor = np.broadcast_to(factor, predictive.subject.shape)
        if name in mean:
            centre = mean[name].mean("draw").values
            mean[name] = mean[name].copy(data=centre + np.sqrt(factor) * (mean[name].values - centre))
            variance[name] = variance[name].copy(data=variance[name].values * factor)
        else:
            tempered = log_prob[name].values / factor[:, None]
            log_prob[name] = log_prob[name].copy(data=log_softmax(tempered, axis=-1))
    return replace(predictive, mean=mean, variance=variance, log_prob=log_prob)


def across(
    out_of_fold: Predictive,
    nested: Mapping[int, Predictive],
    groups: Sequence[Iterable[str]],
    truth: xr.Dataset,
    *,
    unit: xr.DataArray | None = None,
) -> tuple[Predictive, dict[int, Predictive], dict[int, dict[str, float]]]:
    """Recalibrate one network's predictions for every test group by its nested predictions of all other groups.

    The factors of test group a are `fit` on ``nested[a]``: no label of a enters them, neither directly nor
    through a network. They are applied to the out-of-fold predictions of a and to all of ``nested[a]``, so that
    what a fusion learns from and what it is tested on are on one scale, as with any preprocessing that is learned
    on the training subjects. The networks behind ``nested[a]`` had one group less to learn from than those that
    predict a, so the factors err a little on the cautious side where subjects are few; more groups make that less.

    Parameters
    ----------
    out_of_fold : predictions as the networks made them, not yet recalibrated.
    nested : position of a test group -> predictions of the other groups by networks that saw neither; a group
        without an entry keeps its predictions as they are.
    groups : subjects of each group.
    unit : what stands for the subject of each trial (trial,) where groups are of something else, such as stimuli.

    Returns
    -------
    Both recalibrated, and position of a test group -> target -> temperature or scale.

    Raises
    ------
    InputError : if ``nested[a]`` holds a subject of group a, or a network behind it has seen one.
    """
    groups = [{str(s) for s in group} for group in groups]
    subject = _units(out_of_fold, unit)
    factors = {a: fit(_unseen(part, groups[a], unit), truth) for a, part in nested.items()}
    each = {target.name: np.ones(subject.size) for target in out_of_fold.targets}
    for a, found in factors.items():
        for name, factor in found.items():
            each[name][np.isin(subject, sorted(groups[a]))] = factor
    return apply(out_of_fold, each), {a: apply(part, factors[a]) for a, part in nested.items()}, factors


def _units(predictive: Predictive, unit: xr.DataArray | None) -> np.ndarray:
    return (predictive.subject if unit is None else unit.sel(trial=predictive.trial.values)).values.astype(str)


def _unseen(predictive: Predictive, group: set[str], unit: xr.DataArray | None) -> Predictive:
    """``predictive``, once it is sure that it knows nothing of ``group``."""
    told, kind = set(_units(predictive, unit)), "subject"
    if predictive.trained_on is not None:
        seen = predictive.trained_on
        kind = str(seen.dims[1]).removeprefix("trained_")
        told |= set(seen[seen.dims[1]].values[seen.values.any(0)].astype(str))
    if shared := sorted(told & group):
        raise InputError(f"nested predictions know the test {kind}s {shared}", remedy="hold them out of these fits")
    return predictive
