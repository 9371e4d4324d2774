"""A model's predictions beside their truth, as plain arrays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr

from bayesaffect.errors import InputError
from bayesaffect.types import Predictive, Target


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
        draws = array.transpose("draw", "trial", ...).values
        prob = np.zeros(draws.shape[1:])
        for one in draws:  # draw by draw: all at once needs several times the memory, and the time to fill it
            prob += np.exp(one)
        return Aligned(*index, values[row].astype(int), prob=prob[known] / len(draws))
    spread = truth.get(f"spread_{target.name}")
    return Aligned(
        *index,
        values[row],
        mean=predictive.mean[target.name].values[:, known],
        variance=predictive.variance[target.name].values[:, known],
        spread=None if spread is None else np.asarray(spread.values, dtype=float)[row],
    )


def take(data: Aligned, rows: np.ndarray) -> Aligned:
    """The trials at these positions."""

    def pick(array, axis=0):
        return None if array is None else np.take(array, rows, axis=axis)

    mixture = pick(data.mean, 1), pick(data.variance, 1)
    return Aligned(pick(data.trial), pick(data.subject), pick(data.truth), *mixture, pick(data.prob), pick(data.spread))
