"""Flat records: one row per subject, model, target and score, the only storage that tables are made from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd
import xarray as xr

from bayesaffect.errors import InputError
from bayesaffect.evaluate.aligned import align
from bayesaffect.evaluate.statistics import pointwise
from bayesaffect.evaluate.summary import resample_counts
from bayesaffect.types import Predictive, Target

COLUMNS = ["fold", "subject", "model", "target", "score", "value", "trials"]


def records(
    predictives: Mapping[str, Predictive],
    truth: xr.Dataset,
    targets: Sequence[Target],
    groups: Sequence[Iterable[str]],
) -> pd.DataFrame:
    """Mean of every score over each subject's trials: columns fold, subject, model, target, score, value, trials.

    value = (1/n_s) sum over the n_s trials of subject s with a known truth, which the column ``trials`` counts; only
    scores that are means over trials (`statistics.pointwise`), in rating units. ``groups``: the held-out groups of
    subjects; ``fold`` is the number of the group that holds the subject, -1 for a subject in none. A model (or
    modality) without a trial of known truth has no row.
    """
    fold = {str(s): k for k, group in enumerate(groups) for s in group}
    parts = []
    for model, predictive in predictives.items():
        for target in targets:
            data = align(predictive, truth, target)
            if data is None:
                continue
            names, who = np.unique(data.subject, return_inverse=True)
            trials = np.bincount(who)
            for score, values in pointwise(data, target).items():
                columns = {"fold": [fold.get(s, -1) for s in names.tolist()], "subject": names, "model": model}
                columns |= {"target": target.name, "score": score, "value": np.bincount(who, values) / trials}
                parts.append(pd.DataFrame(columns | {"trials": trials}))
    return pd.concat(parts, ignore_index=True)[COLUMNS] if parts else pd.DataFrame(columns=COLUMNS)


def table(frame: pd.DataFrame, *, seed: int, resamples: int = 1000, level: float = 0.9) -> pd.DataFrame:
    """Scores over all subjects, made from records alone: as `summary.score_table` has them, where it has them.

    value = sum_s n_s value_s / sum_s n_s; ``low`` and ``high`` from the same resamples of subjects. The mean of
    squared_error is turned into rmse, its root. Columns model, target, score, value, low, high, trials, subjects.
    Raises `InputError` for a frame that lacks a column of records.
    """
    if missing := [c for c in COLUMNS if c not in frame.columns]:
        raise InputError(f"the records lack the columns {missing}", remedy=f"give {COLUMNS}")
    rows = []
    for (model, target, score), part in frame.groupby(["model", "target", "score"], sort=False):
        part = part.sort_values("subject")
        count, total = part["trials"].to_numpy(float), (part["value"] * part["trials"]).to_numpy(float)
        weight = resample_counts(len(part), resamples, seed)
        value, drawn = total.sum() / count.sum(), (weight @ total) / (weight @ count)
        if score == "squared_error":
            score, value, drawn = "rmse", np.sqrt(value), np.sqrt(drawn)
        nothing = (float("nan"), float("nan"))
        low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2]) if len(part) > 1 else nothing
        rows.append((model, target, score, float(value), float(low), float(high), int(count.sum()), len(part)))
    return pd.DataFrame(rows, columns=["model", "target", "score", "value", "low", "high", "trials", "subjects"])
