"""One signal, sampled regularly, and what is measured of it inside windows."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import NamedTuple

import numpy as np
import xarray as xr
from scipy.signal import butter, resample_poly, sosfiltfilt

from bayesaffect.errors import InputError

Windows = Sequence[tuple[float, float]]


class Regular(NamedTuple):
    """A signal on a regular clock: sample k of every channel was taken at ``start + k / rate`` seconds.

    ``values`` (channel, sample) are finite; ``good`` (channel, sample) is False where they were bridged.
    """

    values: np.ndarray
    good: np.ndarray
    start: float
    rate: float

    @property
    def time(self) -> np.ndarray:
        return self.start + np.arange(self.values.shape[1]) / self.rate


class Measured(NamedTuple):
    """One signal in its windows: ``series`` (trial, row, time), ``features`` (trial, column), ``quality`` (trial,).

    A trial of quality 0 is useless and holds NaN; a single NaN elsewhere is a feature that could not be told.
    """

    series: np.ndarray
    features: np.ndarray
    quality: np.ndarray


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silence the toolbox's advice about short or flat stretches here only; quality says it instead."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        yield


def check_rate(sampling_rate: float) -> float:
    """The sampling rate in Hz; `InputError` unless it is a positive number."""
    if not (np.isfinite(sampling_rate) and sampling_rate > 0):
        raise InputError(f"the sampling rate is {sampling_rate} Hz", remedy="give a positive number")
    return float(sampling_rate)


def as_regular(values: np.ndarray, sampling_rate: float) -> Regular:
    """An array (sample,) or (channel, sample) from time 0 on, gaps bridged linearly."""
    values = np.atleast_2d(np.asarray(values, dtype=float))
    finite = np.isfinite(values)
    return Regular(_bridge(values, finite), finite, 0.0, check_rate(sampling_rate))


def regular(signal: xr.DataArray, *, highest_rate: float | None = None) -> Regular:
    """A signal (channel, time) on a regular clock, its gaps bridged linearly and remembered.

    The rate is ``attrs["sampling_rate"]``, or else the inverse of the median time step; where steps deviate by more
    than half a sample the signal is interpolated. Above ``highest_rate`` Hz it is resampled to that
    rate with a polyphase anti-alias filter.
    """
    time, values = signal["time"].values.astype(float), np.atleast_2d(signal.values.astype(float))
    if time.size < 2:
        raise InputError("the signal has fewer than two samples")
    step = (
        1 / signal.attrs["sampling_rate"]
        if signal.attrs.get("sampling_rate", 0) > 0
        else float(np.median(np.diff(time)))
    )
    good = np.isfinite(values)
    if np.abs(time - time[0] - step * np.arange(time.size)).max() > step / 2:
        grid = time[0] + step * np.arange(round((time[-1] - time[0]) / step) + 1)
        near = np.abs(time[nearest(time, grid)] - grid) <= step
        good = good[:, nearest(time, grid)] & near
        values = np.stack([np.interp(grid, time, row) for row in _bridge(values, np.isfinite(values))])
    out = Regular(_bridge(values, good), good, float(time[0]), 1 / step)
    return out if highest_rate is None else resample(out, highest_rate) if out.rate > 1.01 * highest_rate else out


def resample(signal: Regular, rate: float) -> Regular:
    """The signal at another rate (polyphase filter, ends continued by a straight line)."""
    ratio = Fraction(rate / signal.rate).limit_denominator(1000)
    values = resample_poly(signal.values, ratio.numerator, ratio.denominator, axis=1, padtype="line")
    rate = signal.rate * ratio.numerator / ratio.denominator
    where = np.minimum(np.round(np.arange(values.shape[1]) * signal.rate / rate).astype(int), signal.good.shape[1] - 1)
    return Regular(values, signal.good[:, where], signal.start, rate)


def nearest(times: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Index of the element of increasing ``times`` that is nearest to each of ``at``."""
    if times.size < 2:
        return np.zeros(np.shape(at), dtype=int)
    right = np.clip(np.searchsorted(times, at), 1, times.size - 1)
    return np.where(at - times[right - 1] <= times[right] - at, right - 1, right)


def grid(windows: Windows, rate: float) -> np.ndarray:
    """Times (trial, time) at ``rate`` Hz in each window, the first at its start.

    All windows must have the same number of samples, or trials could not be stacked.
    """
    sizes = {round((stop - start) * check_rate(rate)) for start, stop in windows}
    if len(sizes) > 1:
        raise InputError(
            f"windows differ in length ({min(sizes)} to {max(sizes)} samples)", remedy="cut them to one length"
        )
    size = sizes.pop() if sizes else 0
    if windows and size < 2:
        raise InputError(f"a window holds {size} samples at {rate} Hz", remedy="take longer windows or a higher rate")
    return np.array([start for start, _ in windows], dtype=float)[:, None] + np.arange(size) / rate


def inside(times: np.ndarray, start: float, stop: float) -> slice:
    """Positions of increasing ``times`` with start <= time < stop."""
    return slice(*np.searchsorted(times, (start, stop)))


def slope_per_minute(times: np.ndarray, values: np.ndarray) -> float:
    """Least-squares slope per minute, 60 sum (t - mean t)(x - mean x) / sum (t - mean t)^2; 0 for one sample."""
    centred = times - times.mean() if times.size else times
    power = float((centred**2).sum())
    return 60 * float(centred @ (values - values.mean())) / power if power > 0 else 0.0


def lowpass(values: np.ndarray, rate: float, cutoff: float) -> np.ndarray:
    """Second-order Butterworth run forwards and backwards; returned as it is if ``cutoff`` is beyond Nyquist."""
    if cutoff >= 0.45 * rate or values.shape[-1] < 16:
        return values
    return sosfiltfilt(butter(2, cutoff, fs=rate, output="sos"), values, axis=-1)


def _bridge(values: np.ndarray, good: np.ndarray) -> np.ndarray:
    out = values.copy()
    positions = np.arange(values.shape[1])
    for row, keep in zip(out, good, strict=True):
        if not keep.any():
            row[:] = 0.0
        elif not keep.all():
            row[~keep] = np.interp(positions[~keep], positions[keep], row[keep])
    return out


def nothing(rows: int, columns: int, windows: Windows, rate: float) -> Measured:
    """What is measured of a useless signal: NaN, quality 0."""
    trials, size = grid(windows, rate).shape
    return Measured(np.full((trials, rows, size), np.nan), np.full((trials, columns), np.nan), np.zeros(trials))
