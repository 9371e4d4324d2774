"""From a backend's track to the block of a recording's trials."""

from __future__ import annotations

import importlib
from collections.abc import Sequence

import numpy as np
import xarray as xr

from bayesaffect.errors import InputError
from bayesaffect.signals.face.dynamics import coactivate, describe
from bayesaffect.signals.face.expression import summarise
from bayesaffect.signals.face.quality import judge
from bayesaffect.signals.face.track import Backend, FaceTrack
from bayesaffect.signals.window import Block, frame_times
from bayesaffect.types import Video

BACKENDS = ("embedded", "pyfeat", "tables")


def extract_block(
    video: Video,
    windows: Sequence[tuple[float, float]],
    *,
    rate: float = 4.0,
    size: int = 48,
    backend: str = "embedded",
) -> Block:
    """What networks, people and baselines get of the face in the windows of one recording.

    ``data``: ``crops`` uint8 (trial, frame, row, column), ``visible`` uint8 (trial, frame), ``units`` float32 (trial,
    frame, unit), 0 where not visible, and ``features`` float32 (trial, feature): mean, sd and velocity per frame of
    the units; with real units, emotions, valence and arousal that the backend gives are among them. ``measures``:
    ``features`` (trial, feature), see `dynamics.describe`, and means of emotions, valence and arousal;
    ``coactivation`` (trial, unit, other_unit). Quality: see `quality.judge`; a trial without any face is not present.

    A table whose video is not there or cannot be decoded has no crops, and a block that showed black pictures would
    say what nobody saw. Such a block holds ``series`` (trial, signal, time), the units over time with straight lines
    through the frames without a face, in place of ``crops``, and ``attrs["encoder"]`` is ``"physio"``: the network
    for series reads it.

    Parameters
    ----------
    video : file, clock, and the table of an external analysis (for ``"tables"``).
    windows : (start, stop) in s per trial, all of one length.
    rate : analysed frames per second.
    size : side of a crop in px.
    backend : ``"embedded"``, ``"pyfeat"`` or ``"tables"``.

    Raises
    ------
    InputError : unknown backend; the file, package, weights or table it needs are missing or cannot be used.
    """
    times = frame_times(windows, rate)
    track = find_backend(backend)(video, times.ravel(), size=size)
    shape = times.shape
    visible = track.visible.reshape(shape)
    columns = _columns(track) if backend != "embedded" else track.units
    parts = [columns.isel(frame=slice(k * shape[1], (k + 1) * shape[1])) for k in range(shape[0])]
    features = [summarise(part) for part in parts]
    data = xr.Dataset(
        {
            "visible": (("trial", "frame"), visible.astype(np.uint8)),
            "features": (("trial", "feature"), np.stack([f.values for f in features]).astype(np.float32)),
        },
        coords={"frame": (np.arange(shape[1]) + 0.5) / rate, "feature": features[0]["feature"].values},
        attrs={"encoder": "face" if track.crops is not None else "physio"},
    )
    crops = [None] * shape[0]
    if track.crops is not None:
        crops = track.crops.reshape(*shape, size, size)
        series = np.nan_to_num(columns.values).reshape(*shape, -1).astype(np.float32)
        data = data.assign(
            crops=(("trial", "frame", "row", "column"), crops), units=(("trial", "frame", "unit"), series)
        ).assign_coords(unit=columns["unit"].values)
    else:
        series = np.stack([_bridged(part.values.T) for part in parts]).astype(np.float32)
        data = data.drop_vars(("visible", "frame")).assign(series=(("trial", "signal", "time"), series))
        data = data.assign_coords(signal=columns["unit"].values, time=np.arange(shape[1]) / rate)
    confidence = track.confidence.reshape(shape)
    quality = np.array([judge(*trial) for trial in zip(visible, confidence, crops, strict=True)])
    present = visible.any(axis=1)
    where = video.table if backend == "tables" else video.path
    reasons = tuple("" if here else f"no face was found in {shape[1]} frames of {where}" for here in present)
    return Block(data, present, quality, reasons, _measures(track, shape, rate))


def find_backend(name: str) -> Backend:
    """The function of that name; its module, and what it needs, is imported only now."""
    if name not in BACKENDS:
        raise InputError(f"there is no face backend {name!r}", remedy=f"use one of {', '.join(BACKENDS)}")
    return importlib.import_module(f"bayesaffect.signals.face.{name}").analyse


def require(backend: str):
    """Refuse a backend that is unknown, or whose package or weights are not here, before any recording is opened.

    Raises
    ------
    InputError : as `extract_block` would for every recording.
    """
    find_backend(backend)
    if backend == "pyfeat":
        importlib.import_module("bayesaffect.signals.face.pyfeat").load_detector("cpu")


def _columns(track: FaceTrack) -> xr.DataArray:
    """Units, emotions and affect side by side (frame, unit); a frame without a face is NaN in all of them."""
    parts = [track.units]
    for prefix, more in (("emotion", track.emotions), ("face", track.affect)):
        if more is not None:
            names = [f"{prefix}_{name}" for name in more[more.dims[1]].values]
            parts.append(xr.DataArray(more.values, dims=("frame", "unit"), coords={"unit": names}))
    return xr.concat(parts, dim="unit").transpose("frame", "unit")


def _measures(track: FaceTrack, shape: tuple[int, int], rate: float) -> xr.Dataset:
    rows, together = [], []
    for k in range(shape[0]):
        here = slice(k * shape[1], (k + 1) * shape[1])
        units = track.units.isel(frame=here)
        row = describe(units, rate=rate)
        for prefix, more in (("emotion", track.emotions), ("face", track.affect)):
            if more is not None:
                row = xr.concat([row, _means(more.isel(frame=here), prefix)], dim="feature")
        rows.append(row)
        together.append(coactivate(units).values)
    units = track.units["unit"].values
    return xr.Dataset(
        {
            "features": (("trial", "feature"), np.stack([row.values for row in rows]).astype(np.float32)),
            "coactivation": (("trial", "unit", "other_unit"), np.stack(together).astype(np.float32)),
        },
        coords={"feature": rows[0]["feature"].values, "unit": units, "other_unit": units},
    )


def _means(values: xr.DataArray, prefix: str) -> xr.DataArray:
    """``<prefix>_<name>_mean`` over the frames with a face."""
    table = values.values
    seen = np.isfinite(table).all(axis=1)
    means = table[seen].mean(axis=0) if seen.any() else np.full(table.shape[1], np.nan)
    names = [f"{prefix}_{name}_mean" for name in values[values.dims[1]].values]
    return xr.DataArray(means, dims="feature", coords={"feature": names})


def _bridged(series: np.ndarray) -> np.ndarray:
    """(signal, time) with straight lines through the frames with a NaN, held at the ends; all NaN stays."""
    seen = np.isfinite(series).all(axis=0)
    if not seen.any() or seen.all():
        return series
    at = np.arange(series.shape[1])
    return np.stack([np.interp(at, at[seen], row[seen]) for row in series])
