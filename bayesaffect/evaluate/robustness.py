"""Scores trial by trial, their averages and paired losses, and what is gained by handing trials back."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import xarray as xr

from bayesaffect.evaluate import scores
from bayesaffect.evaluate.summary import align, resample_counts
from bayesaffect.types import Predictive, Target

LEVEL = 0.9
ERROR = "squared_error"
_NUMBERS = 1 << 22  # held at once by `kept` (32 MiB)


class Estimate(NamedTuple):
    """A score, and percentiles of a bootstrap over subjects; these are NaN with fewer than two subjects."""

    value: float
    low: float
    high: float


def pointwise(predictive: Predictive, truth: xr.Dataset, target: Target) -> dict[str, np.ndarray]:
    """Scores of every trial (trial,), in the order of ``predictive``; NaN where the truth is not known.

    Classes: ``nll`` = -log p[truth] in nats, ``accuracy`` 1 or 0, ``uncertainty`` = 1 - max p. Ratings, in units of the
    rating: ``nll``, ``squared_error`` of the mean, ``coverage90``, 1 where the truth lies in the central 90 % interval
    of the mixture of draws, else 0, and ``uncertainty``, the predictive variance.
    """
    trial = predictive.trial.values.astype(str)
    data = align(predictive, truth, target)
    if data is None:
        return {}
    if target.kind == "categorical":
        found = {
            "nll": scores.nll_each(data.prob, data.truth),
            "accuracy": (data.prob.argmax(1) == data.truth).astype(float),
            "uncertainty": 1 - data.prob.max(1),
        }
    else:
        unit, mean = target.half_range, data.mean.mean(0)
        found = {
            "nll": scores.mixture_nll(data.mean, data.variance, data.truth) + np.log(unit),
            ERROR: unit**2 * (mean - data.truth) ** 2,
            "coverage90": (np.abs(2 * scores.pit(data.mean, data.variance, data.truth) - 1) <= LEVEL).astype(float),
            "uncertainty": unit**2 * (data.variance.mean(0) + data.mean.var(0)),
        }
    place = {name: k for k, name in enumerate(trial)}
    rows = np.array([place[name] for name in data.trial], dtype=int)
    out = {}
    for name, values in found.items():
        out[name] = np.full(trial.size, np.nan)
        out[name][rows] = values
    return out


def average(values: np.ndarray, subject: np.ndarray, *, seed: int, root: bool = False) -> Estimate:
    """Mean of ``values`` (trial,) over trials, with a 90 % interval from 1000 resamples of subjects; NaN do not count.

    With ``root`` the square root of the mean, which makes an RMSE of squared errors. Two sets of values of the same
    trials are compared by the average of their difference: the resamples are then paired (Efron & Tibshirani 1993).
    """
    known = np.isfinite(values)
    if not known.any():
        return Estimate(np.nan, np.nan, np.nan)
    names, group = np.unique(subject[known], return_inverse=True)
    sums, size = np.bincount(group, values[known]), np.bincount(group).astype(float)
    finish = np.sqrt if root else np.asarray
    value = float(finish(sums.sum() / size.sum()))
    if names.size < 2:
        return Estimate(value, np.nan, np.nan)
    counts = resample_counts(names.size, 1000, seed)
    low, high = np.quantile(finish((counts @ sums) / (counts @ size)), [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Estimate(value, float(low), float(high))


def kept(
    uncertainty: np.ndarray,
    good: np.ndarray,
    subject: np.ndarray,
    *,
    handed_back: np.ndarray,
    seed: int,
    root: bool = False,
) -> list[Estimate]:
    """Mean of ``good`` over the trials that are left when the most uncertain share is handed back, for every share.

    Of n trials round((1 - share) n), at least one, are kept; which they are is decided anew in each of 1000 resamples
    of subjects, as it would be in a new study (El-Yaniv & Wiener 2010 call the curve risk against coverage). Equally
    uncertain trials count with their mean where only some of them are kept.

    Parameters
    ----------
    uncertainty, good, subject : (trial,); trials where either number is NaN are left out.
    handed_back : shares (share,) in [0, 1).
    root : the square root of the means.
    """
    known = np.isfinite(uncertainty) & np.isfinite(good)
    if not known.any():
        return [Estimate(np.nan, np.nan, np.nan)] * len(handed_back)
    uncertainty, good, subject = uncertainty[known], good[known], subject[known]
    order = np.argsort(uncertainty, kind="stable")
    first = np.flatnonzero(np.diff(uncertainty[order], prepend=-np.inf))  # of each value of the uncertainty
    names, group = np.unique(subject, return_inverse=True)
    finish = np.sqrt if root else np.asarray

    def curve(weight: np.ndarray) -> np.ndarray:
        """(resample, share) for weights (resample, subject)."""
        many = weight[:, group[order]]
        size, total = (np.add.reduceat(x, first, axis=1) for x in (many, many * good[order]))
        place, sums = np.cumsum(size, axis=1), np.cumsum(total, axis=1)
        out = np.empty((len(many), len(handed_back)))
        for k, share in enumerate(handed_back):
            most = np.maximum(np.round((1 - share) * place[:, -1]), 1)
            last = (place < most[:, None]).sum(1)  # trials of this uncertainty are kept in part
            row = np.arange(len(many))
            over = (place[row, last] - most) * total[row, last] / size[row, last]
            out[:, k] = (sums[row, last] - over) / most
        return finish(np.maximum(out, 0) if root else out)

    value = curve(np.ones((1, names.size)))[0]
    if names.size < 2:
        return [Estimate(float(v), np.nan, np.nan) for v in value]
    counts = resample_counts(names.size, 1000, seed)
    parts = np.array_split(counts, max(1, -(-counts.shape[0] * good.size // _NUMBERS)))
    low, high = np.quantile(np.concatenate([curve(p) for p in parts]), [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    return [Estimate(float(v), float(a), float(b)) for v, a, b in zip(value, low, high, strict=True)]
