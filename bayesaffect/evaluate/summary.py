"""Tables of scores with intervals from a bootstrap over subjects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import xarray as xr

from bayesaffect.errors import InputError
from bayesaffect.evaluate.aligned import Aligned, align, take
from bayesaffect.evaluate.bootstrap import interval, resample_counts
from bayesaffect.evaluate.records import SCORES, records, table
from bayesaffect.evaluate.statistics import INFLATED, statistics
from bayesaffect.types import Predictive, Target

__all__ = ["Aligned", "align", "difference", "paired_difference", "resample_counts", "score_table", "statistics"]


def score_table(
    predictives: Mapping[str, Predictive],
    truth: xr.Dataset,
    targets: tuple[Target, ...],
    *,
    seed: int,
    resamples: int = 1000,
    level: float = 0.9,
) -> pd.DataFrame:
    """All legal scores of every model on every target it predicts: `records.table` of its `records.records`.

    Categorical: nll (nats), brier, accuracy, entropy, rps (levels that are numbers only), balanced_accuracy, macro_f1,
    kappa, auroc, aurc (loss: 1 when wrong), ece, adaptive_ece and classwise_ece (15 bins), smooth_ece,
    calibration_slope and, for two levels, calibration_intercept (of the second level's log-odds). Continuous, in
    rating units (mean and standard deviation times `Target.half_range`, nll plus its logarithm): nll, rmse, ccc,
    pearson, crps, coverage50, coverage90, coverage95, interval_score90, width90, rmse_within where the truth has
    ``spread_<target>`` (standard deviation inside a trial, [-1, 1] scale), aurc (loss: absolute error),
    calibration_slope and calibration_intercept of the truth on the mean (its value at the middle of the scale).

    ``low`` and ``high`` are the percentiles (1 -+ level)/2 over ``resamples`` draws of subjects with
    replacement (Efron & Tibshirani 1993), the same draws for all models with the same subjects; NaN with
    fewer than two subjects. Predictions are held fixed: what another training set would have taught is not in it, and
    with few subjects it is too narrow (of means of independent subjects, 90 % hold 78 % with 5 and 84 % with 10:
    Hesterberg 2015). Resamples in which a score is undefined are left out. Calibration errors are sums of
    absolute values, which resampling inflates: their interval is moved by minus that bias (mean of the resamples
    minus the value) and cut at 0. With more than 500 draws, crps, interval_score90 and width90 use 500 evenly spaced
    ones; with more than 1,000 trials aurc takes the 1,000 thresholds between equally many. Intervals of slopes are made
    with one Newton step per resample, and the bins of adaptive_ece are those of all trials.

    Returns columns model, target, score, value, low, high, trials, subjects. A pair of model and target
    without a common trial of known truth has no row.
    """
    draws = {"seed": seed, "resamples": resamples, "level": level}
    return table(records(predictives, truth, targets, (), **draws), **draws)


def paired_difference(
    predictives: Mapping[str, Predictive],
    a: str,
    b: str | Sequence[str],
    *,
    truth: xr.Dataset,
    targets: tuple[Target, ...],
    seed: int,
    resamples: int = 1000,
    level: float = 0.9,
) -> pd.DataFrame:
    """Score of ``a`` minus score of ``b`` on the trials that both cover, subjects resampled jointly.

    ``b`` : the other model, or several, each against ``a``; what is known of ``a`` is then worked out once.

    Columns a, b, target, score, value, low, high, trials, subjects; scores and units as in `score_table`.
    Negative is better for ``a`` in nll, brier, ece, rmse, crps and interval_score90. Intervals of calibration errors
    are moved as in `score_table`, not cut; noise raises the smaller error more, so few trials understate a difference.
    Raises `InputError` for an unknown model.
    """
    rivals = [b] if isinstance(b, str) else list(b)
    if missing := [m for m in (a, *rivals) if m not in predictives]:
        raise InputError(f"no model {missing}", remedy=f"there are {list(predictives)}")
    rows: dict[str, list[tuple]] = {rival: [] for rival in rivals}
    for target in targets:
        whole = align(predictives[a], truth, target)
        if whole is None:
            continue
        known = {}
        for rival in rivals:
            other = align(predictives[rival], truth, target)
            common, left, right = np.intersect1d(whole.trial, [] if other is None else other.trial, return_indices=True)
            if not common.size:
                continue
            first, second = take(whole, left), take(other, right)
            names, group = np.unique(first.subject, return_inverse=True)
            counts = resample_counts(names.size, resamples, seed)
            if (trials := left.tobytes()) not in known:
                known[trials] = statistics(first, target, group)
            ours, theirs = known[trials], statistics(second, target, group)
            for score in ours:
                value, low, high = interval(
                    lambda c, f=ours[score], g=theirs[score]: f(c) - g(c), counts, level, debias=score in INFLATED
                )
                rows[rival].append((a, rival, target.name, score, value, low, high, common.size, names.size))
    return pd.DataFrame([row for found in rows.values() for row in found], columns=["a", "b", *SCORES[1:]])


def difference(table: pd.DataFrame, a: str, b: str, target: str, score: str = "nll") -> pd.Series | None:
    """The row of a `paired_difference` table in which a score of ``a`` minus that of ``b`` stands, if there is one."""
    rows = table[(table["a"] == a) & (table["b"] == b) & (table["target"] == target) & (table["score"] == score)]
    return None if rows.empty else rows.iloc[0]
