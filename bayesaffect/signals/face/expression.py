"""Proxies of facial action units, measured on aligned grey crops.

They follow the appearance changes that the Facial Action Coding System (Ekman and Friesen 1978) describes, but they
are **not** FACS scores: no coder or trained detector has certified them, and they differ between faces at rest. Use
them within a person.
"""

from __future__ import annotations

import numpy as np
import xarray as xr

from bayesaffect.errors import InputError

MEASURES = (
    "brow_height",  # AU1, AU2 up; AU4 down
    "brow_knit",  # AU4
    "eye_opening",  # AU5 up; AU7, AU43 down
    "cheek_texture",  # AU6, AU9
    "lip_corner_lift",  # AU12 up; AU15 down
    "lip_width",  # AU12, AU20 up; AU18 down
    "mouth_opening",  # AU25, AU26
)
STATISTICS = ("mean", "sd", "velocity")
CHUNK = 256  # crops that are measured at once


def extract_action_units(crops: np.ndarray, visible: np.ndarray) -> xr.DataArray:
    """Statistics over time of the proxies of `measure_expression`.

    Per measure: mean and standard deviation over the visible frames, and velocity = mean absolute change between
    neighbouring frames that are both visible (0 where there is no such pair).

    Parameters
    ----------
    crops : uint8 (frame, row, column), as from `track_faces`.
    visible : bool (frame,).

    Returns
    -------
    (feature,) named ``<measure>_<statistic>``; NaN throughout when no frame is visible.

    Raises
    ------
    InputError : crops that are not square pictures of 24 px or more, or another number of flags.
    """
    return summarise(proxies(crops, visible))


def proxies(crops: np.ndarray, visible: np.ndarray) -> xr.DataArray:
    """`measure_expression` of visible frames, (frame, unit), NaN in others; errors as in `extract_action_units`."""
    visible = np.asarray(visible, dtype=bool)
    if crops.ndim != 3 or crops.shape[1] != crops.shape[2] or crops.shape[1] < 24 or len(crops) != visible.size:
        raise InputError(
            f"crops have shape {crops.shape} for {visible.size} flags", remedy="give (frame, n, n), n >= 24"
        )
    values, rows = np.full((visible.size, len(MEASURES)), np.nan), np.flatnonzero(visible)
    for first in range(0, rows.size, CHUNK):
        chunk = rows[first : first + CHUNK]
        values[chunk] = measure_expression(crops[chunk])
    return xr.DataArray(values, dims=("frame", "unit"), coords={"unit": list(MEASURES)}, attrs={"prominence": 0.0})


def summarise(track: xr.DataArray) -> xr.DataArray:
    """Mean, sd and velocity of each column of (frame, name), as (feature,); rows with a NaN are frames not seen.

    Velocity is per frame, as networks read it; `dynamics.describe` gives it per second.
    """
    values, names = track.values, track[track.dims[1]].values
    seen = np.isfinite(values).all(axis=1)
    table = np.full((len(names), len(STATISTICS)), np.nan)
    if seen.any():
        pairs = seen[1:] & seen[:-1]
        velocity = np.abs(np.diff(values, axis=0))[pairs].mean(axis=0) if pairs.any() else np.zeros(len(names))
        table = np.stack([values[seen].mean(axis=0), values[seen].std(axis=0), velocity], axis=1)
    features = [f"{name}_{statistic}" for name in names for statistic in STATISTICS]
    return xr.DataArray(table.ravel(), dims="feature", coords={"feature": features})


def measure_expression(crops: np.ndarray) -> np.ndarray:
    """Proxies per frame, (frame, measure) in the order of ``MEASURES``.

    Crops are brought to mean 0 and sd 1 each; D = how much darker than its region's 75th percentile a pixel is (at
    least 0), squared. Rows and columns count in shares of the side.

    - brow_height: eye line - centre of D over the brows' rows.
    - brow_knit: mean |horizontal gradient| between the brows.
    - eye_opening: mean |horizontal gradient| around the eyes: the iris against the white, which closed lids hide.
    - cheek_texture: mean gradient length beside the nose and the mouth.
    - lip_corner_lift: -p of the parabola q + r u + p u^2 fitted to the centres of D in the mouth's columns, each with
      the weight of its D, u from -1 to 1 over the region (rows count downwards, so corners up is positive).
    - lip_width: horizontal standard deviation of D in the mouth's rows.
    - mouth_opening: equivalent width, sum D / max D, of D's profile over rows in the mouth's middle columns.
    """
    size = crops.shape[1]
    picture = crops.astype(np.float64)
    spread = picture.std(axis=(1, 2), keepdims=True)
    picture = (picture - picture.mean(axis=(1, 2), keepdims=True)) / np.maximum(spread, 1.0)
    rows = (np.arange(size) + 0.5) / size
    slope_y, slope_x = np.gradient(picture, axis=(1, 2))

    def patch(array, top, bottom, left, right):
        r, c = (rows >= top) & (rows < bottom), (rows >= left) & (rows < right)
        return array[:, r][:, :, c], rows[r], rows[c]

    def dark(*box):
        area, r, c = patch(picture, *box)
        level = np.quantile(area, 0.75, axis=(1, 2), keepdims=True)
        return np.maximum(level - area, 0) ** 2 + 1e-6, r, c

    def centre(weight, at, axis):
        return (weight * at).sum(axis) / weight.sum(axis)

    brows, eyes = [], []
    for left in (0.17, 0.57):
        weight, r, _ = dark(0.08, 0.29, left, left + 0.26)
        brows.append(0.35 - centre(weight.sum(2), r, 1))
        eyes.append(np.abs(patch(slope_x, 0.29, 0.43, left, left + 0.26)[0]).mean(axis=(1, 2)))
    knit = np.abs(patch(slope_x, 0.15, 0.32, 0.42, 0.58)[0]).mean(axis=(1, 2))
    length = np.hypot(slope_x, slope_y)
    cheeks = [patch(length, 0.5, 0.7, left, left + 0.18)[0].mean(axis=(1, 2)) for left in (0.17, 0.65)]
    mouth, r, c = dark(0.64, 0.95, 0.25, 0.75)
    line = centre(mouth, r[:, None], 1)  # frame, column: row of the mouth's line
    amount = mouth.sum(axis=1)
    u = (c - 0.5) / 0.25
    bend = _quadratic(line, amount, u)
    middle = centre(amount, c, 1)
    width = np.sqrt((amount * (c - middle[:, None]) ** 2).sum(1) / amount.sum(1))
    inner = dark(0.64, 0.95, 0.4, 0.6)[0].mean(axis=2)
    opening = inner.sum(axis=1) / inner.max(axis=1) / size
    columns = (np.mean(brows, axis=0), knit, np.mean(eyes, axis=0), np.mean(cheeks, axis=0), -bend, width, opening)
    return np.stack(columns, axis=1)


def _quadratic(line: np.ndarray, weight: np.ndarray, u: np.ndarray) -> np.ndarray:
    """Second coefficient of the weighted parabola through ``line`` (frame, column)."""
    basis = np.stack([np.ones_like(u), u, u**2], axis=1)
    normal = np.einsum("fc,ci,cj->fij", weight, basis, basis) + 1e-9 * np.eye(3)
    right = np.einsum("fc,ci,fc->fi", weight, basis, line)
    return np.linalg.solve(normal, right[..., None])[:, 2, 0]
