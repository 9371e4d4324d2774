"""How action units move in a trial: level, spread, speed, peaks, and which of them move together."""

from __future__ import annotations

import numpy as np
import xarray as xr
from scipy.signal import find_peaks

LEAST = 8  # visible frames below which peaks and co-activation cannot be told
# combinations that emotions are read from (Ekman and Friesen 1978), and their nearest proxies
PAIRS = (
    ("AU06", "AU12"),
    ("AU12", "AU25"),
    ("AU01", "AU02"),
    ("AU01", "AU04"),
    ("AU04", "AU07"),
    ("AU04", "AU15"),
    ("AU09", "AU10"),
    ("AU15", "AU17"),
    ("AU05", "AU26"),
    ("AU25", "AU26"),
    ("cheek_texture", "lip_corner_lift"),
    ("lip_corner_lift", "mouth_opening"),
    ("brow_height", "eye_opening"),
    ("brow_height", "brow_knit"),
    ("brow_knit", "eye_opening"),
)


def describe(units: xr.DataArray, *, rate: float) -> xr.DataArray:
    """Dynamics of every unit and co-activation of pairs, (feature,).

    For a unit x seen at ``rate`` frames per second:

    - ``<unit>_mean``, ``<unit>_sd``: over the visible frames.
    - ``<unit>_velocity_per_s``: rate x mean |x[k + 1] - x[k]| over neighbouring visible frames.
    - ``<unit>_peaks_per_min``: local maxima inside unbroken stretches of visible frames that stand out from the
      higher of their two valleys by at least max(sd, ``attrs["prominence"]``), per minute of visible frames.
    - ``coactivation_<a>_<b>`` for the pairs of ``PAIRS`` that are there: see `coactivate`.

    Parameters
    ----------
    units : (frame, unit); a row with a NaN is a frame without a face.
    rate : frames per second.

    Returns
    -------
    (feature,), in units of the action units (OpenFace intensities 0-5, py-feat probabilities 0-1, proxies without
    unit); NaN where it cannot be told: no visible frame, no neighbours, fewer than 8 visible frames for peaks and
    co-activation.
    """
    names = [str(name) for name in units["unit"].values]
    values = units.values
    seen = np.isfinite(values).all(axis=1)
    count = int(seen.sum())
    columns = np.full((len(names), 4), np.nan)
    if count:
        columns[:, 0], columns[:, 1] = values[seen].mean(axis=0), values[seen].std(axis=0)
        pairs = seen[1:] & seen[:-1]
        if pairs.any():
            columns[:, 2] = rate * np.abs(np.diff(values, axis=0))[pairs].mean(axis=0)
    if count >= LEAST:
        floor = np.maximum(columns[:, 1], float(units.attrs.get("prominence", 0.0)))
        found = np.zeros(len(names))
        for stretch in stretches(seen):
            found += [_peaks(values[stretch, k], floor[k]) for k in range(len(names))]
        columns[:, 3] = 60 * rate * found / count
    statistics = ("mean", "sd", "velocity_per_s", "peaks_per_min")
    features = [f"{name}_{statistic}" for name in names for statistic in statistics]
    together = coactivate(units)
    here = [pair for pair in PAIRS if set(pair) <= set(names)]
    moving = [float(together.sel(unit=a, other_unit=b)) for a, b in here]
    return xr.DataArray(
        np.concatenate([columns.ravel(), moving]),
        dims="feature",
        coords={"feature": features + [f"coactivation_{a}_{b}" for a, b in here]},
    )


def coactivate(units: xr.DataArray) -> xr.DataArray:
    """Pearson correlation over the visible frames of every pair of units, (unit, other_unit).

    NaN with fewer than 8 visible frames, and for a unit that does not move.
    """
    names = units["unit"].values
    values = units.values[np.isfinite(units.values).all(axis=1)]
    matrix = np.full((len(names), len(names)), np.nan)
    moves = values.std(axis=0) > 1e-9 * (1 + np.abs(values).max(axis=0)) if len(values) >= LEAST else np.zeros(1, bool)
    if moves.any():
        matrix[np.ix_(moves, moves)] = np.atleast_2d(np.corrcoef(values[:, moves], rowvar=False))
    dims = ("unit", "other_unit")
    return xr.DataArray(matrix, dims=dims, coords={"unit": names, "other_unit": names})


def stretches(seen: np.ndarray) -> list[slice]:
    """Unbroken runs of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], seen.astype(np.int8), [0]])))
    return [slice(a, b) for a, b in edges.reshape(-1, 2)]


def _peaks(values: np.ndarray, floor: float) -> int:
    return len(find_peaks(values, prominence=max(floor, 1e-12))[0]) if values.size > 2 else 0
