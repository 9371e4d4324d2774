"""Windows of trials on a recording's clock, and the block of inputs that a modality makes of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import xarray as xr

from bayesaffect.errors import InputError
from bayesaffect.types import Omission, Recording, Segment

TOLERANCE = 0.05  # s by which a window may miss the recorded time: a few samples of any signal


class Block(NamedTuple):
    """One modality's inputs for the windows of a recording.

    Parameters
    ----------
    data : Dataset whose variables lead with dim ``trial`` (without coordinate).
    present : bool (trial,).
    quality : float in [0, 1] (trial,).
    reasons : one per trial, why it is not present; "" where it is.
    measures : Dataset for `Trials.measures`, variables leading with dim ``trial`` (without coordinate), or ``None``.
    """

    data: xr.Dataset
    present: np.ndarray
    quality: np.ndarray
    reasons: tuple[str, ...]
    measures: xr.Dataset | None = None


def cut_windows(
    recording: Recording, window_s: float | None, *, anchor: str = "end"
) -> tuple[tuple[Segment, ...], tuple[tuple[float, float], ...], tuple[Omission, ...]]:
    """Segments that can be used, their windows of equal length, and what was left out.

    A window is [stop - window_s, stop] for anchor ``"end"`` and [start, start + window_s] for ``"start"``;
    ``window_s=None`` takes each segment whole. Segments shorter than the window, or whose window leaves the
    span of everything recorded by more than 0.05 s, become omissions.

    Raises
    ------
    InputError : unknown anchor, ``window_s`` not positive, or whole segments that differ in length.
    """
    if anchor not in ("start", "end"):
        raise InputError(f"anchor is {anchor!r}", remedy='use "start" or "end"')
    if window_s is not None and not window_s > 0:
        raise InputError(
            f"the window is {window_s} s long", remedy="give a positive length, or None for whole segments"
        )
    lengths = [segment.stop - segment.start for segment in recording.segments]
    if window_s is None and lengths and max(lengths) - min(lengths) > TOLERANCE:
        raise InputError(
            f"segments last from {min(lengths):.3g} s to {max(lengths):.3g} s, so they cannot be used whole",
            where=recording.source,
            remedy=f"give a window of at most {min(lengths):.3g} s",
        )
    length = window_s if window_s is not None else min(lengths, default=0.0)
    span = recorded_span(recording)
    kept, windows, omissions = [], [], []
    for segment in recording.segments:
        start = segment.stop - length if anchor == "end" else segment.start
        stop = start + length
        if segment.stop - segment.start < length - TOLERANCE:
            what = f"the segment lasts {segment.stop - segment.start:.3g} s, shorter than the window of {length:.3g} s"
            omissions.append(Omission(segment.trial, what, "choose a shorter window"))
        elif span is not None and (start < span[0] - TOLERANCE or stop > span[1] + TOLERANCE):
            what = f"the window {start:.2f}-{stop:.2f} s is outside the recorded time {span[0]:.2f}-{span[1]:.2f} s"
            omissions.append(Omission(segment.trial, what, "check the triggers, or whether the file was cut short"))
        else:
            kept.append(segment)
            windows.append((start, stop))
    return tuple(kept), tuple(windows), tuple(omissions)


def recorded_span(recording: Recording) -> tuple[float, float] | None:
    """First and last second covered by any signal; ``None`` when there are only videos."""
    arrays = [array for array in recording.signals.values() if array.sizes["time"]]
    if not arrays:
        return None
    ends = [
        float(a["time"][-1]) + (1 / a.attrs["sampling_rate"] if a.attrs.get("sampling_rate") else 0) for a in arrays
    ]
    return min(float(a["time"][0]) for a in arrays), max(ends)


def sampling_rate(signal: xr.DataArray, *, where: str | None = None) -> float:
    """Samples per second of a regular signal: its ``sampling_rate`` attribute, or 1 / median interval.

    Raises
    ------
    InputError : fewer than two samples, or sampling that is not regular (an interval off by half a sample or more).
    """
    time = signal["time"].values
    if time.size < 2:
        raise InputError(f"the signal has {time.size} samples", where=where)
    rate = float(signal.attrs.get("sampling_rate") or 1 / np.median(np.diff(time)))
    if np.abs(np.diff(time) * rate - 1).max() > 0.5:
        gap = float(np.diff(time).max())
        raise InputError(
            f"sampling is not regular: there is a gap of {gap:.3g} s", where=where, remedy="resample it first"
        )
    return rate


def window_slices(time: np.ndarray, windows: Sequence[tuple[float, float]], rate: float) -> list[slice | None]:
    """Equally long slices of samples for equally long windows; ``None`` where the signal does not cover one.

    A window [a, b] holds round((b - a) rate) samples from the one nearest to a on.
    """
    slices = []
    for start, stop in windows:
        count = round((stop - start) * rate)
        first = round((start - float(time[0])) * rate)
        slack = int(np.ceil(TOLERANCE * rate))
        if -slack <= first < 0:
            first = 0
        elif time.size < first + count <= time.size + slack:
            first = time.size - count
        inside = first >= 0 and first + count <= time.size
        slices.append(slice(first, first + count) if inside else None)
    return slices


def frame_times(windows: Sequence[tuple[float, float]], rate: float) -> np.ndarray:
    """Centres of round(length * rate) equal frames in every window: (trial, frame) s on the recording's clock."""
    counts = {round((stop - start) * rate) for start, stop in windows}
    if len(counts) != 1 or 0 in counts:
        raise InputError(f"windows hold {sorted(counts)} frames", remedy="give equally long windows of a frame or more")
    centres = (np.arange(counts.pop()) + 0.5) / rate
    return np.array([start for start, _ in windows])[:, None] + centres
