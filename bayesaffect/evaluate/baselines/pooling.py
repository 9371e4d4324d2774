"""Combinations without anything learned, or with a variance alone."""

from __future__ import annotations

import numpy as np
import xarray as xr

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
    and ``groups`` are given, the variance is the mean squared error of that mean on the other groups, and targets
    without truth in some training set are left out.
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


def product(opinions: Opinions, groups: Groups) -> Predictive:
    """Product of experts that share a prior, which counts once (Tresp 2000; Hinton 2002).

    An opinion holds what its sensor shows and what was known before. With the prior of `prior_only` learned on the
    other groups, of a trial's M present modalities only what each adds to it is multiplied:

        classes: p_k proportional to q_k prod_m (p_mk / q_k)
        ratings: 1/v = 1/v0 + sum_m l_m,   mean = v (m0 / v0 + sum_m l_m z_m),
                 l_m = max(1/v_m - 1/v0, 0),   l_m z_m = x_m / v_m - m0 / v0 where l_m > 0, else 0

    so that an opinion that is no surer than the prior says nothing. Where the opinions came without variances, v_m is
    the mean squared error of modality m on the other groups, and one that none of them has adds nothing. Trials without
    any present modality and targets without truth in some training set are left out.
    """
    here = opinions.present.values
    covered, parts = folds(opinions, groups)
    kept = covered & here.any(1)
    prior = prior_only(opinions, groups).select(here.any(1)[covered])
    opinions, here, parts = opinions.select(kept), here[kept], [(train[kept], test[kept]) for train, test in parts]
    mean, variance, log_prob = {}, {}, {}
    for name, values in opinions.log_prob.items():
        if name in prior.log_prob:
            base = prior.log_prob[name].values[0]
            gained = np.where(here[..., None], values.values - base[:, None], 0)
            log_prob[name] = normalised(base + gained.sum(1))
    for name, x in opinions.mean.items():
        if name in prior.mean:
            v = np.where(here, opinions.variance[name].values, 1)
            if not opinions.variance_known:
                v = _errors(_filled(x, here), here, truth_of(opinions, opinions.target(name)), parts)
            m0, v0 = prior.mean[name].values.T, prior.variance[name].values.T
            gained = np.where(here, np.maximum(1 / v - 1 / v0, 0), 0)
            pulled = np.where(gained > 0, _filled(x, here) / v - m0 / v0, 0)
            variance[name] = 1 / (1 / v0[:, 0] + gained.sum(1))
            mean[name] = variance[name] * (m0[:, 0] / v0[:, 0] + pulled.sum(1))
    every = np.ones(here.shape[0], dtype=bool)
    return predictive(opinions, every, mean, variance, log_prob, trained_on(opinions, every, parts))


def _errors(x: np.ndarray, here: np.ndarray, truth: np.ndarray, parts) -> np.ndarray:
    """Mean squared error of each modality on the training trials of each part (trial, modality), or infinity."""
    found = np.ones(x.shape)
    for train, test in parts:
        known = here & (train & np.isfinite(truth))[:, None]
        squared = np.where(known, (x - np.where(np.isfinite(truth), truth, 0)[:, None]) ** 2, 0)
        count = known.sum(0)
        found[test] = np.where(count, np.maximum(squared.sum(0) / np.maximum(count, 1), 1e-6), np.inf)
    return found


def prior_only(index: Trials | Opinions, groups: Groups) -> Predictive:
    """What can be said without looking: the other groups' class frequencies, or mean and variance of their ratings.

    Classes: (n_k + 1) / (n + K), Laplace's rule. Ratings: sample mean and variance (n - 1 in the
    denominator). A target without truth in some training set is left out.
    """
    subject = index.subject.values.astype(str)
    kept, parts = folds(index, groups)
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
    covered, parts = folds(opinions, groups)
    inside = covered[kept]
    for name in list(mean):
        squared = (truth_of(opinions, opinions.target(name))[kept] - mean[name]) ** 2
        for train, test in parts:
            seen = squared[train[kept] & np.isfinite(squared)]
            if not seen.size:
                del mean[name], variance[name]
                break
            variance[name] = np.where(test[kept], max(seen.mean(), 1e-6), variance[name])
    cut = [{name: values[inside] for name, values in part.items()} for part in (mean, variance, log_prob)]
    kept = kept & covered
    return predictive(opinions, kept, *cut, trained_on(opinions, kept, parts))
