"""Put every subject on the same scale, without looking at a label."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import replace

import numpy as np
import xarray as xr

from bayesaffect.errors import InputError
from bayesaffect.types import Omission, Trials

COLUMNS = ("feature", "signal", "band", "channel", "unit")
LIMIT = 5.0


def standardise(trials: Trials, *, minimum_trials: int = 4, neutral: np.ndarray | None = None) -> Trials:
    """Z-score every column within each subject, over all of the subject's trials, labels unseen.

    For subject s and column c (a feature; a signal of a series; a band x channel of an EEG map), with the mean m_sc
    and the sd d_sc of x over the subject's reference trials (and over time or frames, where the column has them):

        z_ic = clip((x_ic - m_sc) / d_sc, -5, 5),     z_ic = 0 where d_sc is 0 (a constant column)

    Columns are the dims feature, signal, band, channel, unit of float variables; anything else (face crops, visibility)
    stays as it is.
    A feature ``<signal>_valid`` stays 0 or 1; where it is 0, the columns whose names begin with ``<signal>_``
    are left out of m and d and become 0, the subject's mean. So are, of a variable with frames and units, the frames
    in which ``visible`` (trial, frame) of the same block is 0.

    Reference trials are all of the subject's present trials. Where ``neutral``, bool (trial,), marks resting clips,
    they are the neutral ones alone: zero is then the person at rest, and a new person needs a baseline recording
    instead of all the trials. A subject with fewer than ``minimum_trials`` neutral trials of a modality falls back to
    the others, with an `Omission`. Neutral trials are not among those returned.

    Without neutral trials this uses all trials of a test subject at once (it is transductive), but no labels and no
    other subject; a report must say so. A subject with fewer than ``minimum_trials`` trials of a modality has no scale:
    the modality becomes not present there, with an `Omission`.

    Raises
    ------
    InputError
        ``minimum_trials`` below 2.
    """
    if minimum_trials < 2:
        raise InputError(f"minimum_trials is {minimum_trials}", remedy="a scale needs at least two trials")
    subject = trials.present["subject"].values
    resting = np.zeros(subject.size, bool) if neutral is None else np.asarray(neutral, bool)
    present, omissions, inputs = trials.present.copy(deep=True), list(trials.omissions), {}
    for modality, block in trials.inputs.items():
        here = trials.present.sel(modality=modality).values.copy()
        reference = here & ~resting
        for person in np.unique(subject[~resting]):
            mine = here & (subject == person)
            trial, rest = mine & ~resting, mine & resting
            if rest.sum() >= minimum_trials:
                reference = (reference & ~mine) | rest
                continue
            if resting.any() and trial.any():
                what = f"{rest.sum()} neutral trials of {modality}: too few for a baseline, its own trials are taken"
                omissions.append(Omission(f"subject {person}", what, f"record at least {minimum_trials}", "modality"))
            if 0 < trial.sum() < minimum_trials:
                what = f"{trial.sum()} trials of {modality}: too few to standardise within the subject"
                omissions.append(Omission(f"subject {person}", what, f"record at least {minimum_trials}", "modality"))
                here[mine] = False
        present.loc[{"modality": modality}] = here
        inputs[modality] = _scale(block, here, reference & here, subject)
    quality = trials.quality.where(present, 0.0)
    scaled = replace(trials, inputs=inputs, present=present, quality=quality, omissions=tuple(omissions))
    return scaled if neutral is None else scaled.select(~resting)


def _scale(block: xr.Dataset, here: np.ndarray, reference: np.ndarray, subject: np.ndarray) -> xr.Dataset:
    valid = _validity(block)
    changed = {}
    for name, array in block.data_vars.items():
        if array.dtype.kind not in "fiub" or (array.dtype.kind != "f" and here.all()):
            continue
        shaped = here.reshape(-1, *[1] * (array.ndim - 1))
        columns = [d for d in array.dims if d in COLUMNS]
        if array.dtype.kind == "f" and columns:
            hidden = block["visible"].values == 0 if "visible" in block and "unit" in array.dims else None
            changed[name] = _scale_array(array, columns, (here, reference), subject, valid, hidden=hidden)
        elif not here.all():
            blank = np.nan if array.dtype.kind == "f" else np.zeros((), array.dtype)
            changed[name] = array.copy(data=np.where(shaped, array.values, blank).astype(array.dtype))
    return block.assign(changed)


def _scale_array(
    array: xr.DataArray,
    columns: list[Hashable],
    rows_of: tuple[np.ndarray, np.ndarray],
    subject: np.ndarray,
    valid: dict,
    *,
    hidden: np.ndarray | None = None,
) -> xr.DataArray:
    """The array scaled where it is present, by the reference trials of each subject (``rows_of``: both masks).

    Entries that are ``hidden`` (trial, the dim that is no column) do not count and become 0.
    """
    here, reference = rows_of
    order = ["trial", *columns, *(d for d in array.dims if d != "trial" and d not in columns)]
    moved = array.transpose(*order)
    values = moved.values.reshape(moved.shape[0], int(np.prod(moved.shape[1 : 1 + len(columns)])), -1)
    names = [str(n) for n in array[columns[0]].values] if len(columns) == 1 and columns[0] in array.coords else []
    flag = np.array(
        [n.removesuffix("_valid") in valid and n.endswith("_valid") for n in names] or [False] * values.shape[1]
    )
    use = np.repeat(here[:, None], values.shape[1], axis=1)
    for k, name in enumerate(names):
        owner = max((s for s in valid if name.startswith(f"{s}_")), key=len, default=None)
        if owner is not None and not flag[k]:
            use[:, k] &= valid[owner]
    out = np.full(values.shape, np.nan, array.dtype)  # doubles for one subject at a time: raw windows are large
    for person in np.unique(subject[here]):
        rows = np.flatnonzero(here & (subject == person))
        kept = np.where(use[rows][..., None], values[rows].astype(np.float64), np.nan)
        if hidden is not None:
            kept[np.broadcast_to(hidden[rows][:, None], kept.shape)] = np.nan
        known = kept[reference[rows]]
        count = np.maximum(np.isfinite(known).sum((0, 2)), 1)[:, None]
        mean = np.nansum(known, axis=(0, 2))[:, None] / count
        spread = np.sqrt(np.nansum((known - mean) ** 2, axis=(0, 2))[:, None] / count)
        constant = spread <= 1e-6 * np.maximum(np.abs(mean), 1e-6)
        scaled = (kept - mean) / np.where(constant, 1.0, spread)
        out[rows] = np.where(constant | np.isnan(kept), 0.0, np.clip(scaled, -LIMIT, LIMIT))
    out[:, flag] = np.where(here[:, None, None], values[:, flag], np.nan)
    result = moved.copy(data=out.reshape(moved.shape))
    return result.transpose(*array.dims)


def _validity(block: xr.Dataset) -> dict[str, np.ndarray]:
    """Signal -> (trial,) bool, from the columns ``<signal>_valid`` of ``features``."""
    if "features" not in block or "feature" not in block["features"].coords:
        return {}
    names = [str(n) for n in block["feature"].values]
    table = block["features"].values
    return {n.removesuffix("_valid"): table[:, k] > 0.5 for k, n in enumerate(names) if n.endswith("_valid")}
