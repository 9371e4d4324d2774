"""The trial index that trials and opinions share, and its check."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr

from bayesaffect.errors import InputError
from bayesaffect.types.target import Target


def positions(keep: Sequence | np.ndarray) -> np.ndarray:
    """Integer positions of a boolean mask; positions stay as they are."""
    keep = np.asarray(keep)
    return np.flatnonzero(keep) if keep.dtype == bool else keep


def check_index(present: xr.DataArray, truth: xr.Dataset, targets: tuple[Target, ...]):
    """Raise `InputError` where the index lacks a coordinate, names a trial twice, or the truth does not fit it."""
    if present.dims != ("trial", "modality") or present.dtype != bool:
        raise InputError(f"present has dims {present.dims} and type {present.dtype}, bool (trial, modality) expected")
    for name in ("trial", "modality", "subject", "stimulus"):
        if name not in present.coords:
            raise InputError(f"present lacks the coordinate {name!r}")
    values, counts = np.unique(present["trial"].values, return_counts=True)
    if (counts > 1).any():
        raise InputError(
            f"trial {str(values[counts.argmax()])!r} occurs {counts.max()} times", remedy="trials need unique names"
        )
    if not np.array_equal(truth["trial"].values, present["trial"].values):
        raise InputError("the truth is not on the trials of the index")
    for target in targets:
        if target.name not in truth:
            raise InputError(
                f"the truth lacks target {target.name!r}", remedy="fill it with NaN (or -1) if it is unknown"
            )
        values = truth[target.name].values
        if target.kind == "categorical":
            legal = (values >= -1) & (values < len(target.levels)) & (values == np.round(values))
        else:
            legal = np.isnan(values) | (np.abs(values) <= 1 + 1e-9)
        if not legal.all():
            where = present["trial"].values[np.argmin(legal)]
            raise InputError(
                f"truth {values[np.argmin(legal)]} of {target.name!r} is outside its range", where=f"trial {where}"
            )
