"""Slow quantities that are read as they are: skin temperature, a wristband's own heart rate, a rate from a table."""

from __future__ import annotations

import numpy as np
import xarray as xr

from bayesaffect.errors import InputError
from bayesaffect.signals.clock import (
    Measured,
    Regular,
    Windows,
    as_regular,
    grid,
    inside,
    lowpass,
    nothing,
    regular,
    slope_per_minute,
)

LEVEL_SERIES = ("level",)
LEVEL_FEATURES = ("mean", "slope", "sd", "low", "high", "change")
CONTEXT_S = 120.0


def measure_level(
    signal: xr.DataArray, windows: Windows, *, rate: float, plausible: tuple[float, float] | None = None
) -> Measured:
    """Level of a slow signal (first channel) in each window.

    Series ``level``: the signal low-passed at half the output rate. Features: mean, slope per minute, sd, 10th and
    90th percentile, and ``change`` = mean - mean of the ``CONTEXT_S`` seconds before the window (0 where the recording
    has nothing before it). Quality: share of samples present and inside ``plausible``.
    """
    return level_of(regular(signal), windows, rate=rate, plausible=plausible)


def level_of(
    signal: Regular, windows: Windows, *, rate: float, plausible: tuple[float, float] | None = None
) -> Measured:
    """`measure_level` for a signal on a regular clock."""
    time, raw, good = signal.time, signal.values[0], signal.good[0]
    if plausible is not None:
        good = good & (raw >= plausible[0]) & (raw <= plausible[1])
    if not good.any():
        return nothing(len(LEVEL_SERIES), len(LEVEL_FEATURES), windows, rate)
    raw = np.interp(time, time[good], raw[good])
    smooth = lowpass(raw, signal.rate, rate / 2)
    at = grid(windows, rate)
    series = np.interp(at, time, smooth)[:, None, :]
    features, quality = np.full((len(windows), len(LEVEL_FEATURES)), np.nan), np.zeros(len(windows))
    for k, (start, stop) in enumerate(windows):
        here = inside(time, start, stop)
        share = good[here].sum() / max(1, round((stop - start) * signal.rate))
        if share < 0.5:
            series[k] = np.nan
            continue
        values = raw[here]
        before = inside(time, start - CONTEXT_S, start)
        change = values.mean() - raw[before].mean() if good[before].sum() > 1 else 0.0
        low, high = np.percentile(values, (10, 90))
        features[k] = values.mean(), slope_per_minute(time[here], values), values.std(), low, high, change
        quality[k] = min(1.0, share)
    return Measured(series, features, quality)


def extract_temperature_features(temperature: np.ndarray, *, sampling_rate: float) -> dict[str, float]:
    """Skin temperature of one window (sample,) in degrees Celsius.

    Returns ``temperature_mean_c``, ``temperature_slope_c_per_min`` (least squares), ``temperature_sd_c``.
    Raises `InputError` if fewer than two samples are finite.
    """
    signal = as_regular(temperature, sampling_rate)
    if signal.good[0].sum() < 2:
        raise InputError("the temperature has fewer than two finite samples", remedy="give a longer window")
    time, values = signal.time[signal.good[0]], signal.values[0][signal.good[0]]
    return {
        "temperature_mean_c": float(values.mean()),
        "temperature_slope_c_per_min": slope_per_minute(time, values),
        "temperature_sd_c": float(values.std()),
    }
