"""Predictions beside their truth, and what only a picture needs; scores come from `bayesaffect.evaluate`."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from bayesaffect.evaluate import scores
from bayesaffect.evaluate.summary import align
from bayesaffect.report.findings import Findings

_MOST_DRAWS = 300


class Classes(NamedTuple):
    """Class probabilities (n, K), true levels (n,), subjects (n,) and trial names (n,) of trials with a truth."""

    prob: np.ndarray
    label: np.ndarray
    subject: np.ndarray
    trial: np.ndarray


class Ratings(NamedTuple):
    """Mixture means and variances (draw, n), truth, subjects, trial names (n,); internal scale [-1, 1]."""

    mean: np.ndarray
    variance: np.ndarray
    truth: np.ndarray
    subject: np.ndarray
    trial: np.ndarray


def classes(findings: Findings, model: str, target: str) -> Classes | None:
    """The trials of ``model`` whose level of ``target`` is known; ``None`` where there are none."""
    data = _aligned(findings, model, target)
    return None if data is None or data.prob is None else Classes(data.prob, data.truth, data.subject, data.trial)


def ratings(findings: Findings, model: str, target: str) -> Ratings | None:
    """The trials of ``model`` whose rating of ``target`` is known; at most 300 draws, evenly spaced."""
    data = _aligned(findings, model, target)
    if data is None or data.mean is None:
        return None
    draws = data.mean.shape[0]
    chosen = np.unique(np.linspace(0, draws - 1, min(draws, _MOST_DRAWS)).round().astype(int))
    return Ratings(data.mean[chosen], data.variance[chosen], data.truth, data.subject, data.trial)


def _aligned(findings, model, name):
    predictive = findings.predictives.get(model)
    return None if predictive is None else align(predictive, findings.truth, findings.target(name))


def pit(r: Ratings) -> np.ndarray:
    """F(truth) of each trial (n,); uniform when calibrated."""
    return scores.pit(r.mean, r.variance, r.truth)


def nll(values: Classes | Ratings, half_range: float = 1.0) -> np.ndarray:
    """Negative log predictive probability or density of each trial's truth (n,), nats; densities per rating unit."""
    if isinstance(values, Classes):
        return scores.nll_each(values.prob, values.label)
    return scores.mixture_nll(values.mean, values.variance, values.truth) + np.log(half_range)


def per_subject(value: np.ndarray, subject: np.ndarray) -> dict[str, float]:
    """Mean of ``value`` over each subject's trials."""
    names, inverse = np.unique(subject, return_inverse=True)
    mean = np.bincount(inverse, weights=value) / np.bincount(inverse)
    return dict(zip(names.tolist(), mean.tolist(), strict=True))


def coverage_curve(r: Ratings, levels: np.ndarray, *, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Share of truths inside the central interval of each nominal level, with 90 % limits from resampling subjects.

    A truth is inside the central interval of level c exactly when |F(truth) - 1/2| <= c / 2; 500 resamples.
    """
    inside = np.abs(pit(r) - 0.5)[:, None] <= levels / 2
    names, inverse = np.unique(r.subject, return_inverse=True)
    hits = np.zeros((names.size, levels.size))
    np.add.at(hits, inverse, inside)
    size = np.bincount(inverse)
    draw = np.random.default_rng(seed).multinomial(names.size, np.full(names.size, 1 / names.size), size=500)
    low, high = np.quantile((draw @ hits) / (draw @ size)[:, None], [0.05, 0.95], axis=0)
    return inside.mean(0), low, high


def selective(uncertainty: np.ndarray, good: np.ndarray, handed_back: np.ndarray) -> np.ndarray:
    """Mean of ``good`` over the trials kept when the given share with the largest uncertainty is handed back."""
    order = np.argsort(uncertainty, kind="stable")
    total = np.cumsum(good[order]) / np.arange(1, good.size + 1)
    kept = np.clip(np.round((1 - handed_back) * good.size).astype(int), 1, good.size)
    return total[kept - 1]


def roc(score: np.ndarray, positive: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """False and true positive rates over all thresholds, and the area (ties count half)."""
    order = np.argsort(-score, kind="stable")
    last = np.append(np.diff(score[order]) != 0, True)
    tpr = np.append(0, np.cumsum(positive[order])[last] / max(positive.sum(), 1))
    fpr = np.append(0, np.cumsum(~positive[order])[last] / max((~positive).sum(), 1))
    return fpr, tpr, float(np.trapezoid(tpr, fpr))


class Binned(NamedTuple):
    """Per bin: mean of x and of y, 90 % limits of y's mean from resampling subjects, and the number of trials."""

    x: np.ndarray
    y: np.ndarray
    low: np.ndarray
    high: np.ndarray
    trials: np.ndarray


def binned(x: np.ndarray, y: np.ndarray, subject: np.ndarray, *, bins: int, seed: int = 0) -> Binned:
    """Means of ``x`` and ``y`` (n,) in bins of about equally many trials by ``x``; ties stay in one bin.

    ``low`` and ``high``: 5 and 95 % of the mean of y over 500 resamples of subjects (Efron & Tibshirani 1993); a
    resample without any trial in a bin is left out of that bin's limits.
    """
    edges = np.unique(np.quantile(x, np.linspace(0, 1, bins + 1)[1:-1]))
    place = np.searchsorted(edges, x, side="right")
    used, place = np.unique(place, return_inverse=True)
    names, person = np.unique(subject, return_inverse=True)
    total, size = np.zeros((2, names.size, used.size))
    np.add.at(total, (person, place), y)
    np.add.at(size, (person, place), 1)
    centre = np.bincount(place, weights=x) / size.sum(0)
    draw = np.random.default_rng(seed).multinomial(names.size, np.full(names.size, 1 / names.size), size=500)
    with np.errstate(invalid="ignore", divide="ignore"):
        means = (draw @ total) / (draw @ size)
    low, high = np.nanquantile(means, [0.05, 0.95], axis=0)
    return Binned(centre, total.sum(0) / size.sum(0), low, high, size.sum(0))


def expectation(values: Classes | Ratings) -> tuple[np.ndarray, np.ndarray]:
    """The error that each prediction announces, and the error it made (n,): equal on average if calibrated.

    Classes: entropy -sum_k p_k log p_k and -log p_truth, nats. Ratings: variance of the mixture,
    mean_d v_d + var_d m_d, and (mean_d m_d - truth)^2, on the internal scale.
    """
    if isinstance(values, Classes):
        p = np.clip(values.prob, 1e-300, 1)
        return -(p * np.log(p)).sum(1), nll(values)
    centre = values.mean.mean(0)
    return values.variance.mean(0) + values.mean.var(0), (centre - values.truth) ** 2


def found(findings: Findings, model: str, target: str) -> Classes | Ratings | None:
    """`classes` or `ratings`, whichever the target is."""
    categorical = findings.target(target).kind == "categorical"
    return (classes if categorical else ratings)(findings, model, target)
