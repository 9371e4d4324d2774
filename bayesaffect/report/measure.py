"""Predictions beside their truth, and what only a picture needs; scores come from `bayesaffect.evaluate`."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import stats

from bayesaffect.evaluate import scores
from bayesaffect.evaluate.summary import align
from bayesaffect.report.findings import Findings

FEWEST = 5  # people: with fewer, limits from resampling them would be too narrow to mean anything


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
    """The trials of ``model`` whose rating of ``target`` is known; all draws, so that figures tell what tables tell."""
    data = _aligned(findings, model, target)
    if data is None or data.mean is None:
        return None
    return Ratings(data.mean, data.variance, data.truth, data.subject, data.trial)


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


def coverage_curve(
    place: np.ndarray, subject: np.ndarray, levels: np.ndarray, *, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Share of truths inside the central interval of each nominal level, with 90 % limits from resampling subjects.

    A truth is inside the central interval of level c exactly when |F(truth) - 1/2| <= c / 2, where ``place`` holds
    F(truth) of each trial (`pit`); 500 resamples.
    """
    inside = np.abs(place - 0.5)[:, None] <= levels / 2
    names, inverse = np.unique(subject, return_inverse=True)
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
    """Per bin: mean of x and of y, 90 % limits of y's mean from resampling subjects (NaN where there are fewer than
    five people to resample), and the number of trials."""

    x: np.ndarray
    y: np.ndarray
    low: np.ndarray
    high: np.ndarray
    trials: np.ndarray


def binned(x: np.ndarray, y: np.ndarray, subject: np.ndarray, *, bins: int, seed: int = 0) -> Binned:
    """Means of ``x`` and ``y`` (n,) in bins of about equally many trials by ``x``; ties stay in one bin.

    ``low`` and ``high``: 5 and 95 % of the mean of y over 500 resamples of subjects (Efron & Tibshirani 1993); a
    resample without any trial in a bin is left out of that bin's limits. A bin of fewer than five people has none:
    one person's mean does not move when people are resampled, and would look certain.
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
    low, high = np.where((size > 0).sum(0) < FEWEST, np.nan, np.nanquantile(means, [0.05, 0.95], axis=0))
    return Binned(centre, total.sum(0) / size.sum(0), low, high, size.sum(0))


def rank_correlation(x: np.ndarray, y: np.ndarray, subject: np.ndarray, *, seed: int = 0) -> tuple[float, float, float]:
    """Spearman's correlation of ``x`` and ``y`` (n,) over trials: value, and 5 and 95 % of 500 resamples of subjects.

    r = Cov(R(x), R(y)) / sqrt(Var R(x) Var R(y)) with mid-ranks R; a resample weights each subject's trials by how
    often that subject was drawn and keeps the ranks of the whole sample.
    """
    names, person = np.unique(subject, return_inverse=True)
    a, b = (stats.rankdata(v) - (v.size + 1) / 2 for v in (x, y))
    sums = np.stack([np.bincount(person, weights=v) for v in (np.ones(a.size), a, b, a * a, b * b, a * b)], 1)
    draw = np.random.default_rng(seed).multinomial(names.size, np.full(names.size, 1 / names.size), size=500)
    n, sa, sb, saa, sbb, sab = np.concatenate([sums.sum(0, keepdims=True), draw @ sums]).T
    with np.errstate(invalid="ignore", divide="ignore"):
        r = (sab - sa * sb / n) / np.sqrt((saa - sa**2 / n) * (sbb - sb**2 / n))
    return float(r[0]), *(float(q) for q in np.nanquantile(r[1:], [0.05, 0.95]))


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
