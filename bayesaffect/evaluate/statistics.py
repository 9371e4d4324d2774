"""Every score of a table as a function of how often each subject counts.

A score is a function of sums over trials (for AUROC: over pairs of trials). The sums are taken once per subject; a
resample of subjects then only weights them, so a thousand resamples cost one matrix product and no score is
recomputed trial by trial. Scores that are means over trials are listed trial by trial by `pointwise`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from bayesaffect.evaluate import scores, slopes, smooth
from bayesaffect.evaluate.aligned import Aligned
from bayesaffect.evaluate.calibration import bin_index, confidence, even_index
from bayesaffect.types import Target

BINS = 15
THRESHOLDS = 1000
INFLATED = ("ece", "adaptive_ece", "classwise_ece", "smooth_ece")  # sums of absolute values, by resampling
_DRAWS = 500
_BLOCK = 1 << 22


def ordered(target: Target) -> bool:
    """Whether the levels are numbers in ascending order, such as ("1", "2", "3"): distances between them count."""
    try:
        steps = np.diff([float(level) for level in target.levels or ()])
    except ValueError:
        return False
    return bool(steps.size) and bool((steps > 0).all())


def pointwise(data: Aligned, target: Target) -> dict[str, np.ndarray]:
    """Score name -> its value in each trial (n,), for the scores that are means over trials.

    Categorical: nll, brier, accuracy, entropy, and rps for levels that are numbers. Continuous, in rating units: nll,
    squared_error (its mean is the square of rmse), crps, coverage50/90/95, interval_score90, width90 and, where the
    truth has a spread, rmse_within. With more than 500 draws, crps and intervals use 500 evenly spaced ones.
    """
    if target.kind == "categorical":
        prob, label = data.prob, data.truth
        out = {
            "nll": scores.nll_each(prob, label),
            "brier": scores.brier_each(prob, label),
            "accuracy": confidence(prob, label)[1].astype(float),
            "entropy": scores.entropy_each(prob),
        }
        return out | ({"rps": scores.rps_each(prob, label)} if ordered(target) else {})
    mean, variance, y, unit = data.mean, data.variance, data.truth, target.half_range
    x = mean.mean(0)
    few = np.linspace(0, len(mean) - 1, min(len(mean), _DRAWS)).astype(int)
    low, high = scores.interval(mean[few], variance[few], 0.9)
    central = np.abs(2 * scores.pit(mean, variance, y) - 1)
    out = {
        "nll": scores.mixture_nll(mean, variance, y) + np.log(unit),
        "squared_error": unit**2 * (x - y) ** 2,
        "crps": unit * scores.crps(mean[few], variance[few], y),
    }
    out |= {f"coverage{percent}": (central <= percent / 100).astype(float) for percent in (50, 90, 95)}
    out["interval_score90"] = unit * scores.interval_score(low, high, y, 0.9)
    out["width90"] = unit * (high - low)
    if data.spread is not None and np.isfinite(data.spread).all():
        out["rmse_within"] = unit * scores.rmse_within_each(x, y, data.spread)
    return out


def statistics(
    data: Aligned, target: Target, group: np.ndarray, *, each: Mapping[str, np.ndarray] | None = None
) -> dict[str, Callable[[np.ndarray], np.ndarray]]:
    """Score name -> function from subject weights (resample, subject) to the score's values (resample,).

    ``group`` (n,): the subject's number of each trial; ``each``: `pointwise` of the same, where it was made already.
    """
    n = _sums(np.ones(data.truth.size), group)
    each = pointwise(data, target) if each is None else each
    each = {name: _average(values, group, n) for name, values in each.items()}
    if target.kind == "categorical":
        return each | _categorical(data, group, n)
    return _continuous(data, group, n, target.half_range, each)


def _categorical(data: Aligned, group: np.ndarray, n: np.ndarray) -> dict[str, Callable]:
    prob, label = data.prob, data.truth
    k = prob.shape[1]
    truth, guess = np.eye(k)[label], np.eye(k)[prob.argmax(1)]
    confusion = _sums((truth[:, :, None] * guess[:, None, :]).reshape(label.size, -1), group)

    def table(w):
        return (w @ confusion).reshape(-1, k, k)

    def recall(w):
        with np.errstate(invalid="ignore"):
            return np.nanmean(np.diagonal(table(w), axis1=1, axis2=2) / table(w).sum(2), axis=1)

    def f1(w):
        total = table(w).sum(1) + table(w).sum(2)
        with np.errstate(invalid="ignore"):
            return np.nanmean(np.where(total > 0, 2 * np.diagonal(table(w), axis1=1, axis2=2) / total, np.nan), axis=1)

    pairs = [_pairs(prob[:, c], label == c, group) for c in ([1] if k == 2 else range(k))]

    def auroc(w):
        areas = np.full((w.shape[0], len(pairs)), np.nan)
        for c, (above, positive, negative) in enumerate(pairs):
            total = (w @ positive) * (w @ negative)
            np.divide(((w @ above) * w).sum(1), total, out=areas[:, c], where=total > 0)
        seen = np.isfinite(areas).sum(1)
        return np.where(seen > 0, np.nansum(areas, axis=1) / np.maximum(seen, 1), np.nan)

    level, correct = confidence(prob, label)
    return {
        "balanced_accuracy": recall,
        "macro_f1": f1,
        "kappa": lambda w: scores.kappa_of(table(w)),
        "auroc": auroc,
        "aurc": _aurc(-level, 1.0 - correct, group),
        **_gaps(prob, truth, level, correct, group, n),
        **_slopes(prob, label, group),
    }


def _gaps(prob, truth, level, correct, group, n) -> dict[str, Callable]:
    size, k = prob.shape
    rows = np.arange(size)
    equal = np.zeros((size, 1, BINS))
    equal[rows, 0, bin_index(level, BINS)] = correct - level
    full = np.zeros((size, 1, BINS))
    full[rows, 0, even_index(level, BINS)] = correct - level
    classwise = np.zeros((size, k, BINS))
    for c in range(k):
        classwise[rows, c, bin_index(prob[:, c], BINS)] = truth[:, c] - prob[:, c]

    def calibration(gap):
        sums, classes = _sums(gap.reshape(size, -1), group), gap.shape[1]
        return lambda w: np.abs(w @ sums).sum(1) / (w @ n) / classes

    fine = np.stack([smooth.gridded(level[group == g], (correct - level)[group == g]) for g in range(n.size)])
    fine *= n[:, None]
    return {
        "ece": calibration(equal),
        "adaptive_ece": calibration(full),
        "classwise_ece": calibration(classwise),
        "smooth_ece": lambda w: smooth.fixed_point((w @ fine) / (w @ n)[:, None]),
    }


def _slopes(prob, label, group) -> dict[str, Callable]:
    line = slopes.event_line(prob[:, 1], label == 1) if prob.shape[1] == 2 else slopes.class_slope(prob, label)
    score, information = _sums(line.score, group), _sums(line.information, group)

    def parameter(index):
        return lambda w: slopes.resampled(line, score, information, w)[:, index]

    out = {"calibration_slope": parameter(-1)}
    return out | ({"calibration_intercept": parameter(0)} if prob.shape[1] == 2 else {})


def _continuous(data: Aligned, group: np.ndarray, n: np.ndarray, unit: float, each: dict) -> dict[str, Callable]:
    x, y = data.mean.mean(0), data.truth
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

    def slope(w):
        _, vx, _, cov = central(w)
        return np.divide(cov, vx, out=np.full(cov.shape, np.nan), where=vx > 1e-24)

    def intercept(w):
        mu, mv = (w @ moments[:, :2] / (w @ n)[:, None]).T
        return unit * (mv + y.mean() - slope(w) * (mu + x.mean()))

    squared, rest = each["squared_error"], {name: f for name, f in each.items() if name != "squared_error"}
    deviation = np.sqrt(data.variance.mean(0) + data.mean.var(0))
    return {
        "nll": rest.pop("nll"),
        "rmse": lambda w: np.sqrt(squared(w)),
        "ccc": ccc,
        "pearson": pearson,
        **rest,
        "aurc": _aurc(deviation, unit * np.abs(x - y), group),
        "calibration_slope": slope,
        "calibration_intercept": intercept,
    }


def _aurc(uncertainty: np.ndarray, loss: np.ndarray, group: np.ndarray) -> Callable:
    """Area under the risk-coverage curve (`epistemic.aurc`); beyond 1,000 trials neighbours in rank count as ties.

    Within a tie of m trials with sum l, after W trials with sum L: sum_{j=1}^m (L + j l/m) / (W + j)
    = l + (L - W l/m) (H(W + m) - H(W)), with the harmonic numbers H.
    """
    _, rank = np.unique(uncertainty, return_inverse=True)
    if rank.max() + 1 > THRESHOLDS:
        rank = rank * THRESHOLDS // (rank.max() + 1)
    cells = int(rank.max()) + 1
    size, total = (
        np.bincount(group * cells + rank, values, minlength=(int(group.max()) + 1) * cells).reshape(-1, cells)
        for values in (np.ones(loss.size), loss)
    )

    def area(w):
        out, block = np.empty(len(w)), max(1, _BLOCK // cells)
        for start in range(0, len(w), block):
            m, here = w[start : start + block] @ size, w[start : start + block] @ total
            weight, lost = m.cumsum(1), here.cumsum(1)
            harmonic = np.append(0, np.cumsum(1 / np.arange(1, round(weight.max()) + 1)))
            after, before = np.rint(weight).astype(int), np.rint(weight - m).astype(int)
            mean = np.divide(here, m, out=np.zeros_like(here), where=m > 0)
            risk = here + (lost - here - before * mean) * (harmonic[after] - harmonic[before])
            out[start : start + block] = risk.sum(1) / weight[:, -1]
        return out

    return area


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
