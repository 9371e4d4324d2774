"""Flat records: a row per model, target, score and subject (or everybody), the only storage that tables are made from.

A score that is a mean over trials is stored as the means of the subjects, from which the score of any set of subjects
follows. One that is not (CCC, AUROC, calibration error) does not follow from scores of single subjects; it is stored
once, for everybody, with its interval.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from bayesaffect.errors import InputError
from bayesaffect.evaluate.aligned import align
from bayesaffect.evaluate.bootstrap import interval, resample_counts
from bayesaffect.evaluate.statistics import INFLATED, pointwise, statistics
from bayesaffect.types import Predictive, Target

COLUMNS = ["fold", "subject", "model", "target", "score", "value", "trials"]
SCORES = ["model", "target", "score", "value", "low", "high", "trials", "subjects"]
EVERYBODY, LOW, HIGH = "", ":low", ":high"
_STORED = {"rmse": "squared_error"}


def records(
    predictives: Mapping[str, Predictive],
    truth: xr.Dataset,
    targets: Sequence[Target],
    groups: Sequence[Iterable[str]],
    *,
    seed: int,
    resamples: int = 1000,
    level: float = 0.9,
) -> pd.DataFrame:
    """Every score of every model: columns fold, subject, model, target, score, value, trials.

    A score that is a mean over trials (`statistics.pointwise`, in rating units) has a row per subject: value =
    (1/n_s) sum over the n_s trials of subject s with a known truth, which the column ``trials`` counts; ``fold`` is the
    number of the group of ``groups`` that holds the subject, -1 for a subject in none. Of rmse the squared error is
    stored. Every other score (`statistics.statistics`) has three rows of the subject "" and fold -1, over all trials:
    ``<score>``, and ``<score>:low`` and ``<score>:high``, the percentiles (1 -+ level)/2 over ``resamples`` draws of
    subjects with replacement, NaN with fewer than two subjects (Efron & Tibshirani 1993; calibration errors debiased:
    `summary.score_table`). A model (or modality) without a trial of known truth has no row.
    Raises `InputError` for a subject without a name.
    """
    fold = {str(s): k for k, group in enumerate(groups) for s in group}
    parts = []
    for model, predictive in predictives.items():
        for target in targets:
            data = align(predictive, truth, target)
            if data is None:
                continue
            names, who = np.unique(data.subject, return_inverse=True)
            if EVERYBODY in names:
                raise InputError("a subject has no name", where=model, remedy="name every subject")
            counts, trials = resample_counts(names.size, resamples, seed), np.bincount(who)
            own = {"fold": [fold.get(s, -1) for s in names.tolist()], "subject": names}
            each = pointwise(data, target)
            for score, function in statistics(data, target, who, each=each).items():
                rows = {"model": model, "target": target.name}
                stored = _STORED.get(score, score)
                if stored in each:
                    rows |= own | {"score": stored, "value": np.bincount(who, each[stored]) / trials, "trials": trials}
                else:
                    found = interval(function, counts, level, debias=score in INFLATED)
                    found = (found[0], *np.maximum(found[1:], 0)) if score in INFLATED else found
                    rows |= {"fold": -1, "subject": EVERYBODY, "score": [score, score + LOW, score + HIGH]}
                    rows |= {"value": found, "trials": data.truth.size}
                parts.append(pd.DataFrame(rows)[COLUMNS])
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=COLUMNS)


def table(frame: pd.DataFrame, *, seed: int, resamples: int = 1000, level: float = 0.9) -> pd.DataFrame:
    """Scores over all subjects, made from `records` alone; the table that `summary.score_table` describes.

    Means over trials: value = sum_s n_s value_s / sum_s n_s; ``low`` and ``high`` are percentiles over ``resamples``
    draws of subjects with replacement, the same draws for all scores and models of the same subjects. The mean of
    squared_error is turned into rmse, its root. Other scores have the value and interval that were stored. Columns
    model, target, score, value, low, high, trials, subjects. Raises `InputError` for a frame that lacks a column of
    records.
    """
    if missing := [c for c in COLUMNS if c not in frame.columns]:
        raise InputError(f"the records lack the columns {missing}", remedy=f"give {COLUMNS}")
    shown = {stored: score for score, stored in _STORED.items()}
    frame = frame.assign(subject=frame["subject"].where(frame["subject"].notna(), EVERYBODY).astype(str))
    rows = []
    for (model, target), part in frame.groupby(["model", "target"], sort=False):
        whole = part["subject"] == EVERYBODY
        subjects, ends = part["subject"][~whole].nunique(), part[whole].set_index("score")["value"]
        for score, own in part.groupby("score", sort=False):
            if not (own["subject"] == EVERYBODY).any():
                found = _mean(own, resample_counts(len(own), resamples, seed), level, root=score in shown)
            elif score.endswith((LOW, HIGH)):
                continue
            else:
                found = ends[score], ends.get(score + LOW, np.nan), ends.get(score + HIGH, np.nan)
            rows.append((model, target, shown.get(score, score), *found, int(own["trials"].sum()), subjects))
    return pd.DataFrame(rows, columns=SCORES)


def _mean(rows: pd.DataFrame, counts: np.ndarray, level: float, *, root: bool) -> tuple[float, float, float]:
    rows = rows.sort_values("subject")
    trials, total = rows["trials"].to_numpy(float), (rows["value"] * rows["trials"]).to_numpy(float)

    def mean(weight):
        average = (weight @ total) / (weight @ trials)
        return np.sqrt(average) if root else average

    return interval(mean, counts, level)


def read(path: Path) -> pd.DataFrame:
    """Records from a CSV file; names of subjects as they were written, be they 007 or NA.

    Raises `InputError` for a file that is not there, is no table, or lacks a column of records.
    """
    try:
        frame = pd.read_csv(path, dtype=str, keep_default_na=False)
    except (OSError, ValueError) as error:
        raise InputError(f"the records cannot be read: {error}", where=path) from None
    if missing := [c for c in COLUMNS if c not in frame.columns]:
        raise InputError(f"the records lack the columns {missing}", where=path, remedy=f"give {COLUMNS}")
    try:
        numbers = {"fold": frame["fold"].astype(int), "trials": frame["trials"].astype(int)}
        value = frame["value"].replace("", "nan").astype(float)
    except ValueError as error:
        raise InputError(f"fold, value and trials are not all numbers: {error}", where=path) from None
    return frame.assign(**numbers, value=value)
