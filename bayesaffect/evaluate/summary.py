"""Tables of scores with intervals from a bootstrap over subjects.

Every score in the table is a function of sums over trials (for AUROC: over pairs of trials). The sums are
taken once per subject; a resample of subjects then only weights them, so a thousand resamples cost one
matrix product and no score is recomputed trial by trial.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
import xarray as xr

from bayesaffect.errors import InputError
from bayesaffect.evaluate import scores
from bayesaffect.evaluate.calibration import bin_index, confidence
from bayesaffect.types import Predictive, Target

COLUMNS = ["model", "target", "score", "value", "low", "high", "trials", "subjects"]
BINS = 15
_BIASED = ("ece", "classwise_ece")
_DRAWS = 500


@dataclass(frozen=True)
class Aligned:
    """A model's predictions of one target on the trials whose truth is known, as plain arrays."""

    trial: np.ndarray
    subject: np.ndarray
    truth: np.ndarray
    mean: np.ndarray | None = None
    variance: np.ndarray | None = None
    prob: np.ndarray | None = None
    spread: np.ndarray | None = None


def align(predictive: Predictive, truth: xr.Dataset, target: Target) -> Aligned | None:
    """Join predictions and truth by trial name; trials without truth are dropped.

    ``None`` when the predictive says nothing about this target or no trial is left.
    """
    categorical = target.kind == "categorical"
    if target.name not in (predictive.log_prob if categorical else predictive.mean) or target.name not in truth:
        return None
    position = {str(t): k for k, t in enumerate(truth["trial"].values)}
    row = np.array([position.get(str(t), -1) for t in predictive.trial.values], dtype=int)
    values = np.asarray(truth[target.name].values, dtype=float)
    known = row >= 0
    known[known] = values[row[known]] >= 0 if categorical else np.isfinite(values[row[known]])
    if not known.any():
        return None
    row = row[known]
    index = predictive.trial.values[known].astype(str), predictive.subject.values[known].astype(str)
    if categorical:
        array = predictive.log_prob[target.name]
        if "level" in array.coords and array.sizes["level"] == len(target.levels):
            if sorted(array["level"].values.tolist()) != sorted(target.levels):
                raise InputError(
                    f"levels {array['level'].values.tolist()} of {target.name!r} are not {list(target.levels)}"
                )
            array = array.sel(level=list(target.levels))
        prob = np.exp(array.transpose("draw", "trial", ...).values[:, known]).mean(0)
        return Aligned(*index, values[row].astype(int), prob=prob)
    spread = truth.get(f"spread_{target.name}")
    return Aligned(
        *index,
        values[row],
        mean=predictive.mean[target.name].values[:, known],
        variance=predictive.variance[target.name].values[:, known],
        spread=None if spread is None else np.asarray(spread.values, dtype=float)[row],
    )


def score_table(
    predictives: Mapping[str, Predictive],
    truth: xr.Dataset,
    targets: tuple[Target, ...],
    *,
    seed: int,
    resamples: int = 1000,
    level: float = 0.9,
) -> pd.DataFrame:
    """All legal scores of every model on every target it predicts.

    Categorical: nll (nats), brier, accuracy, balanced_accuracy, macro_f1, auroc, ece and classwise_ece (15
    bins). Continuous, in rating units (mean and standard deviation times `Target.half_range`, nll plus its
    logarithm): nll, rmse, ccc, pearson, crps, coverage50, coverage90, coverage95, interval_score90, and
    rmse_within where the truth has ``spread_<target>`` (standard deviation inside a trial, [-1, 1] scale).

    ``low`` and ``high`` are the percentiles (1 -+ level)/2 over ``resamples`` draws of subjects with
    replacement (Efron & Tibshirani 1993), the same draws for all models with the same subjects; NaN with
    fewer than two subjects. Resamples in which a score is undefined are left out. Calibration errors are sums of
    absolute values, which resampling inflates: their interval is moved by minus that bias (mean of the resamples
    minus the value) and cut at 0. With more than 500 draws, crps and interval_score90 use 500 evenly spaced ones.

    Returns columns model, target, score, value, low, high, trials, subjects. A pair of model and target
    without a common trial of known truth has no row.
    """
    rows = []
    for model, predictive in predictives.items():
        for target in targets:
            data = align(predictive, truth, target)
            if data is None:
                continue
            names, group = np.unique(data.subject, return_inverse=True)
            counts = resample_counts(names.size, resamples, seed)
            for score, function in statistics(data, target, group).items():
                value, low, high = _interval(function, counts, level, debias=score in _BIASED)
                rows.append((model, target.name, score, value, low, high, data.truth.size, names.size))
    return pd.DataFrame(rows, columns=COLUMNS)


def paired_difference(
    predictives: Mapping[str, Predictive],
    a: str,
    b: str,
    *,
    truth: xr.Dataset,
    targets: tuple[Target, ...],
    seed: int,
    resamples: int = 1000,
    level: float = 0.9,
) -> pd.DataFrame:
    """Score of ``a`` minus score of ``b`` on the trials that both cover, subjects resampled jointly.

    Columns a, b, target, score, value, low, high, trials, subjects; scores and units as in `score_table`.
    Negative is better for ``a`` in nll, brier, ece, rmse, crps and interval_score90.
    Raises `InputError` for an unknown model.
    """
    if missing := [m for m in (a, b) if m not in predictives]:
        raise InputError(f"no model {missing}", remedy=f"there are {list(predictives)}")
    rows = []
    for target in targets:
        first, second = (align(predictives[m], truth, target) for m in (a, b))
        if first is None or second is None:
            continue
        common, left, right = np.intersect1d(first.trial, second.trial, return_indices=True)
        if not common.size:
            continue
        first, second = _take(first, left), _take(second, right)
        names, group = np.unique(first.subject, return_inverse=True)
        counts = resample_counts(names.size, resamples, seed)
        ours, theirs = statistics(first, target, group), statistics(second, target, group)
        for score in ours:
            value, low, high = _interval(lambda c, f=ours[score], g=theirs[score]: f(c) - g(c), counts, level)
            rows.append((a, b, target.name, score, value, low, high, common.size, names.size))
    return pd.DataFrame(rows, columns=["a", "b", *COLUMNS[1:]])


def resample_counts(subjects: int, resamples: int, seed: int) -> np.ndarray:
    """How often each subject occurs in each resample: (resamples, subjects), rows sum to ``subjects``."""
    return (
        np.random.default_rng(seed).multinomial(subjects, np.full(subjects, 1 / subjects), size=resamples).astype(float)
    )


def statistics(data: Aligned, target: Target, group: np.ndarray) -> dict[str, Callable[[np.ndarray], np.ndarray]]:
    """Score name -> function from subject weights (resample, subject) to the score's values (resample,)."""
    if target.kind == "categorical":
        return _categorical(data, group)
    return _continuous(data, group, target.half_range)


def _categorical(data: Aligned, group: np.ndarray) -> dict[str, Callable]:
    prob, label = data.prob, data.truth
    k, rows = prob.shape[1], np.arange(label.size)
    truth, guess = np.eye(k)[label], np.eye(k)[prob.argmax(1)]
    n = _sums(np.ones(label.size), group)
    confusion = _sums((truth[:, :, None] * guess[:, None, :]).reshape(label.size, -1), group)
    level, correct = confidence(prob, label)
    gaps = np.zeros((label.size, 1, BINS))
    gaps[rows, 0, bin_index(level, BINS)] = correct - level
    classwise = np.zeros((label.size, k, BINS))
    for c in range(k):
        classwise[rows, c, bin_index(prob[:, c], BINS)] = truth[:, c] - prob[:, c]

    def calibration(gap):
        sums, classes = _sums(gap.reshape(label.size, -1), group), gap.shape[1]
        return lambda w: np.abs(w @ sums).sum(1) / (w @ n) / classes

    def recall(w):
        table = (w @ confusion).reshape(-1, k, k)
        with np.errstate(invalid="ignore"):
            return np.nanmean(np.diagonal(table, axis1=1, axis2=2) / table.sum(2), axis=1)

    def f1(w):
        table = (w @ confusion).reshape(-1, k, k)
        total = table.sum(1) + table.sum(2)
        with np.errstate(invalid="ignore"):
            return np.nanmean(np.where(total > 0, 2 * np.diagonal(table, axis1=1, axis2=2) / total, np.nan), axis=1)

    pairs = [_pairs(prob[:, c], label == c, group) for c in ([1] if k == 2 else range(k))]

    def auroc(w):
        areas = np.full((w.shape[0], len(pairs)), np.nan)
        for c, (above, positive, negative) in enumerate(pairs):
            total = (w @ positive) * (w @ negative)
            np.divide(((w @ above) * w).sum(1), total, out=areas[:, c], where=total > 0)
        seen = np.isfinite(areas).sum(1)
        return np.where(seen > 0, np.nansum(areas, axis=1) / np.maximum(seen, 1), np.nan)

    return {
        "nll": _average(scores.nll_each(prob, label), group, n),
        "brier": _average(scores.brier_each(prob, label), group, n),
        "accuracy": _average(correct.astype(float), group, n),
        "balanced_accuracy": recall,
        "macro_f1": f1,
        "auroc": auroc,
        "ece": calibration(gaps),
        "classwise_ece": calibration(classwise),
    }


def _continuous(data: Aligned, group: np.ndarray, half_range: float) -> dict[str, Callable]:
    mean, variance, y = data.mean, data.variance, data.truth
    x, n = mean.mean(0), _sums(np.ones(y.size), group)
    # moments about fixed centres lose no digits when they are differenced
    u, v = x - x.mean(), y - y.mean()
    moments, shift = _sums(np.stack([u, v, u * u, v * v, u * v], 1), group), x.mean() - y.mean()

    def central(w):
        mu, mv, uu, vv, uv = (w @ moments / (w @ n)[:, None]).T
        return mu - mv + shift, uu - mu**2, vv - mv**2, uv - mu * mv

    def pearson(w):
        _, vx, vy, cov = central(w)
        scale = np.sqrt(np.maximum(vx * vy, 0))
        return np.divide(cov, scale, out=np.full(cov.shape, np.nan), where=scale > 1e-12)

    def ccc(w):
        offset, vx, vy, cov = central(w)
        total = vx + vy + offset**2
        return np.divide(2 * cov, total, out=np.full(cov.shape, np.nan), where=total > 1e-24)

    squared = _average((x - y) ** 2, group, n)
    central_distance = np.abs(2 * scores.pit(mean, variance, y) - 1)
    few = np.linspace(0, len(mean) - 1, min(len(mean), _DRAWS)).astype(int)
    low, high = scores.interval(mean[few], variance[few], 0.9)
    out = {
        "nll": _average(scores.mixture_nll(mean, variance, y) + np.log(half_range), group, n),
        "rmse": lambda w: half_range * np.sqrt(squared(w)),
        "ccc": ccc,
        "pearson": pearson,
        "crps": _average(half_range * scores.crps(mean[few], variance[few], y), group, n),
    }
    for percent in (50, 90, 95):
        out[f"coverage{percent}"] = _average((central_distance <= percent / 100).astype(float), group, n)
    out["interval_score90"] = _average(half_range * scores.interval_score(low, high, y, 0.9), group, n)
    if data.spread is not None and np.isfinite(data.spread).all():
        out["rmse_within"] = _average(half_range * scores.rmse_within_each(x, y, data.spread), group, n)
    return out


def _pairs(score: np.ndarray, positive: np.ndarray, group: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Per pair of subjects (s, t): how often a positive of s scores above a negative of t, ties as half."""
    subjects = int(group.max()) + 1
    up, down = _sums(positive.astype(float), group), _sums((~positive).astype(float), group)
    above = np.empty((subjects, subjects))
    mine = score[positive]
    for t in range(subjects):
        others = np.sort(score[~positive & (group == t)])
        below = (np.searchsorted(others, mine, "left") + np.searchsorted(others, mine, "right")) / 2
        above[:, t] = np.bincount(group[positive], below, minlength=subjects)
    return above, up, down


def _sums(values: np.ndarray, group: np.ndarray) -> np.ndarray:
    out = np.zeros((int(group.max()) + 1, *values.shape[1:]))
    np.add.at(out, group, values)
    return out


def _average(values: np.ndarray, group: np.ndarray, n: np.ndarray) -> Callable:
    sums = _sums(values, group)
    return lambda w: (w @ sums) / (w @ n)


def _interval(
    function: Callable, counts: np.ndarray, level: float, *, debias: bool = False
) -> tuple[float, float, float]:
    value = float(function(np.ones((1, counts.shape[1])))[0])
    if counts.shape[1] < 2 or not np.isfinite(value):
        return value, float("nan"), float("nan")
    draws = function(counts)
    draws = draws[np.isfinite(draws)]
    if draws.size < 2:
        return value, float("nan"), float("nan")
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2])
    if debias:
        bias = draws.mean() - value
        low, high = max(low - bias, 0), max(high - bias, 0)
    return value, float(low), float(high)


def _take(data: Aligned, rows: np.ndarray) -> Aligned:
    def pick(array, axis=0):
        return None if array is None else np.take(array, rows, axis=axis)

    mixture = pick(data.mean, 1), pick(data.variance, 1)
    return Aligned(pick(data.trial), pick(data.subject), pick(data.truth), *mixture, pick(data.prob), pick(data.spread))
