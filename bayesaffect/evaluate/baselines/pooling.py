"""Combinations without anything learned, or with a variance alone."""

from __future__ import annotations

import numpy as np
import xarray as xr

from bayesaffect.errors import InputError
from bayesaffect.evaluate.baselines.folds import (
    Groups,
    folds,
    frequencies,
    normalised,
    predictive,
    trained_on,
    truth_of,
)
from bayesaffect.types import Opinions, Predictive, Trials


def equal_weights(opinions: Opinions, groups: Groups | None = None) -> Predictive:
    """Every present modality counts the same.

    Classes: linear pool p_k = (1/M) sum_m p_mk (Stone 1961). Ratings: the mixture's moments, mean
    (1/M) sum_m x_m and variance (1/M) sum_m (v_m + (x_m - mean)^2). Where the opinions came without variances
    and ``groups`` are given, the variance is the mean squared error of that mean on the other groups.
    Trials without any present modality are left out.
    """
    here = opinions.present.values
    kept = here.any(1)
    weight = here[kept] / here[kept].sum(1, keepdims=True)
    mean, variance, log_prob = {}, {}, {}
    for name, x in opinions.mean.items():
        x, v = _filled(x, here)[kept], _filled(opinions.variance[name], here)[kept]
        mean[name] = (weight * x).sum(1)
        variance[name] = (weight * (v + (x - mean[name][:, None]) ** 2)).sum(1)
    for name, values in opinions.log_prob.items():
        prob = np.exp(np.where(here[..., None], values.values, 0))[kept]
        log_prob[name] = normalised(np.log(np.maximum((weight[..., None] * prob).sum(1), 1e-12)))
    return _with_learned_variance(opinions, kept, mean, variance, log_prob, groups)


def product_of_experts(opinions: Opinions, groups: Groups | None = None) -> Predictive:
    """Present modalities as independent evidence, each with its own confidence (Hinton 2002; Genest & Zidek 1986).

    Classes: p_k proportional to prod_m p_mk. Ratings: precision weighting, 1/v = sum_m 1/v_m and
    mean = v sum_m x_m / v_m. ``groups`` as in `equal_weights`. Trials without any present modality are left out.
    """
    here = opinions.present.values
    kept = here.any(1)
    mean, variance, log_prob = {}, {}, {}
    for name, x in opinions.mean.items():
        precision = np.where(here, 1 / np.where(here, opinions.variance[name].values, 1), 0)[kept]
        variance[name] = 1 / precision.sum(1)
        mean[name] = variance[name] * (precision * _filled(x, here)[kept]).sum(1)
    for name, values in opinions.log_prob.items():
        log_prob[name] = normalised(np.where(here[..., None], values.values, 0)[kept].sum(1))
    return _with_learned_variance(opinions, kept, mean, variance, log_prob, groups)


def prior_only(index: Trials | Opinions, groups: Groups) -> Predictive:
    """What can be said without looking: the other groups' class frequencies, or mean and variance of their ratings.

    Classes: (n_k + 1) / (n + K), Laplace's rule. Ratings: sample mean and variance (n - 1 in the
    denominator). A target without truth in some training set is left out.
    """
    subject = index.subject.values.astype(str)
    kept, parts = folds(subject, groups)
    mean, variance, log_prob = {}, {}, {}
    for target in index.targets:
        truth = truth_of(index, target)
        first, second = np.zeros(subject.size), np.zeros(subject.size)
        table = np.zeros((subject.size, len(target.levels or ())))
        for train, test in parts:
            seen = truth[train & np.isfinite(truth)]
            if seen.size < 2 or (target.kind == "continuous" and np.ptp(seen) == 0):
                break
            if target.kind == "continuous":
                first[test], second[test] = seen.mean(), seen.var(ddof=1)
            else:
                table[test] = frequencies(seen, len(target.levels))
        else:
            if target.kind == "continuous":
                mean[target.name], variance[target.name] = first[kept], second[kept]
            else:
                log_prob[target.name] = np.log(table[kept])
    return predictive(index, kept, mean, variance, log_prob, trained_on(index, kept, parts))


def _filled(array: xr.DataArray, here: np.ndarray) -> np.ndarray:
    return np.where(here, array.values, 0)


def _with_learned_variance(opinions, kept, mean, variance, log_prob, groups) -> Predictive:
    if opinions.variance_known or groups is None or not mean:
        return predictive(opinions, kept, mean, variance, log_prob, trained_on(opinions, kept, []))
    covered, parts = folds(opinions.subject.values.astype(str), groups)
    inside = covered[kept]
    for name in list(mean):
        squared = (truth_of(opinions, opinions.target(name))[kept] - mean[name]) ** 2
        for train, test in parts:
            seen = squared[train[kept] & np.isfinite(squared)]
            if not seen.size:
                raise InputError(f"no truth of {name!r} to learn a variance from", remedy="leave out groups")
            variance[name] = np.where(test[kept], max(seen.mean(), 1e-6), variance[name])
    cut = [{name: values[inside] for name, values in part.items()} for part in (mean, variance, log_prob)]
    kept = kept & covered
    return predictive(opinions, kept, *cut, trained_on(opinions, kept, parts))
