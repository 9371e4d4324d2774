"""One signal, sampled regularly, and what is measured of it inside windows."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from scipy.signal import butter, resample_poly, sosfiltfilt

from bayesaffect.errors import InputError

Windows = Sequence[tuple[float, float]]
LARGEST = 1e12  # of a sample, in any units: beyond it is a damaged number, not a measurement


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
    ``measures`` (trial, quantity) holds raw units for people, ``None`` for a useless signal; ``events`` are the beats
    or breaths found in the whole recording.
    """

    series: np.ndarray
    features: np.ndarray
    quality: np.ndarray
    measures: np.ndarray | None = None
    events: Any = None


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silence the toolbox's advice about short or flat stretches here only; quality says it instead."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        yield


def check_rate(sampling_rate: float) -> float:
    """The sampling rate in Hz; `InputError` unless it is a positive number."""
    try:
        rate = float(sampling_rate)
    except (TypeError, ValueError):
        rate = float("nan")
    if not (np.isfinite(rate) and rate > 0):
        raise InputError(f"the sampling rate is {sampling_rate} Hz", remedy="give a positive number")
    return rate


def at_least(sampling_rate: float, least: float, what: str) -> float:
    """The sampling rate; `InputError` if it is below ``least`` Hz, too slow for ``what``."""
    if check_rate(sampling_rate) < least:
        raise InputError(f"{what} sampled at {sampling_rate:.3g} Hz", remedy=f"it takes {least:g} Hz or more")
    return float(sampling_rate)


def as_regular(values: np.ndarray, sampling_rate: float) -> Regular:
    """An array (sample,) or (channel, sample) from time 0 on, gaps bridged linearly.

    Raises `InputError` for what is no such array of numbers, or a sampling rate that is not positive.
    """
    try:
        values = np.atleast_2d(np.asarray(values, dtype=float))
    except (TypeError, ValueError):
        raise InputError(
            "the signal is not an array of numbers", remedy="give (sample,) or (channel, sample)"
        ) from None
    if values.ndim != 2 or not values.size:
        raise InputError(f"the signal has shape {values.shape}", remedy="give (sample,) or (channel, sample)")
    good = measurable(values)
    return Regular(_bridge(values, good), good, 0.0, check_rate(sampling_rate))


def measurable(values: np.ndarray) -> np.ndarray:
    """Which samples are numbers that a sensor can have given: finite and below 1e12 in any units."""
    with np.errstate(invalid="ignore"):
        return np.abs(values) < LARGEST


def regular(signal: xr.DataArray, *, highest_rate: float | None = None) -> Regular:
    """A signal (channel, time) on a regular clock, its gaps bridged linearly and remembered.

    The rate is ``attrs["sampling_rate"]``, or else the inverse of the median time step; where steps deviate by more
    than half a sample the signal is interpolated. Above ``highest_rate`` Hz it is resampled to that
    rate with a polyphase anti-alias filter.

    Raises
    ------
    InputError
        Fewer than two samples, times that are not finite or do not increase, a rate that contradicts the times, or
        gaps that would make the regular signal more than twenty times (and a million samples) longer.
    """
    time, values = signal["time"].values.astype(float), np.atleast_2d(signal.values.astype(float))
    step = sample_step(time, signal.attrs.get("sampling_rate"))
    good = measurable(values)
    if np.abs(time - time[0] - step * np.arange(time.size)).max() > step / 2:
        size = (time[-1] - time[0]) / step + 1
        if size > max(1e6, 20 * time.size):
            raise InputError(f"the clock has gaps that leave {time.size} of {size:.3g} samples", remedy="cut the gaps")
        grid = time[0] + step * np.arange(round(size))
        near = np.abs(time[nearest(time, grid)] - grid) <= step
        values = np.stack([np.interp(grid, time, row) for row in _bridge(values, good)])
        good = good[:, nearest(time, grid)] & near
    out = Regular(_bridge(values, good), good, float(time[0]), 1 / step)
    return out if highest_rate is None else resample(out, highest_rate) if out.rate > 1.01 * highest_rate else out


def check_times(time: np.ndarray) -> None:
    """`InputError` unless there are two times or more, all finite, each later than the one before."""
    if time.size < 2:
        raise InputError("the signal has fewer than two samples")
    if not np.isfinite(time).all():
        raise InputError("a time is not a finite number", remedy="repair the clock of the file")
    steps = np.diff(time)
    if (steps <= 0).any():
        k = int(np.argmax(steps <= 0)) + 1
        how = "stands still" if steps[k - 1] == 0 else "runs backwards"
        raise InputError(f"the clock {how} at sample {k} ({time[k]:.6g} s)", remedy="sort or repair the times")


def sample_step(time: np.ndarray, claimed: float | None) -> float:
    """Seconds from sample to sample: 1 / ``claimed`` where that is a positive rate, else the median step.

    Raises `InputError` for times that do not increase, and where claim and median step differ by more than 10 %.
    """
    check_times(time)
    step = float(np.median(np.diff(time)))
    if claimed is None or not (np.isfinite(claimed) and claimed > 0):
        return step
    if abs(step * claimed - 1) > 0.1:
        raise InputError(
            f"the sampling rate is said to be {claimed:.6g} Hz, the times say {1 / step:.6g} Hz", remedy="correct one"
        )
    return 1 / float(claimed)


def resample(signal: Regular, rate: float) -> Regular:
    """The signal at another rate (polyphase filter, ends continued by a straight line)."""
    if not 1e-3 <= rate / signal.rate <= 1e3:
        raise InputError(f"the signal is sampled at {signal.rate:.3g} Hz", remedy=f"bring it nearer to {rate:g} Hz")
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
    check_rate(rate)
    if not np.isfinite(np.array(windows, dtype=float)).all():
        raise InputError("a window has no finite start or stop", remedy="check the segments")
    sizes = {round((stop - start) * rate) for start, stop in windows}
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
