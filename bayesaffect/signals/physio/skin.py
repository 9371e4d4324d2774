"""Slow quantities that are read as they are: skin temperature, a wristband's own heart rate, a rate from a table."""

from __future__ import annotations

import numpy as np
import xarray as xr

from bayesaffect.errors import InputError
from bayesaffect.signals.physio.clock import (
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
from bayesaffect.signals.physio.defects import ramp
from bayesaffect.signals.physio.quantities import Quantities

LEVEL_SERIES = ("level",)
LEVEL_FEATURES = ("mean", "slope", "sd", "low", "high", "change")
LEVEL_MEASURES = ("mean", "slope", "sd")
CONTEXT_S = 120.0


def measure_level(
    signal: xr.DataArray, windows: Windows, *, rate: float, plausible: tuple[float, float] | None = None
) -> Measured:
    """Level of a slow signal (first channel) in each window.

    Series ``level``: the signal low-passed at half the output rate. Features: mean, slope per minute, sd, 10th and
    90th percentile, and ``change`` = mean - mean of the ``CONTEXT_S`` seconds before the window (0 where the recording
    has nothing before it). Measures: mean, slope per minute and sd, in the signal's units. Quality: share of samples
    present and inside ``plausible``, less where more than 5 % of them jump by more than a tenth of the plausible
    range within a second; a signal with a plausible range that never changes in 30 s or more is dead.
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
    if plausible is not None and time.size >= 30 * signal.rate and np.ptp(raw[good]) == 0:
        return nothing(len(LEVEL_SERIES), len(LEVEL_FEATURES), windows, rate)
    steps = np.abs(np.diff(raw, prepend=raw[:1])) * min(1.0, signal.rate)
    raw = np.interp(time, time[good], raw[good])
    smooth = lowpass(raw, signal.rate, rate / 2)
    at = grid(windows, rate)
    series = np.interp(at, time, smooth)[:, None, :]
    features, quality = np.full((len(windows), len(LEVEL_FEATURES)), np.nan), np.zeros(len(windows))
    measures = np.full((len(windows), len(LEVEL_MEASURES)), np.nan)
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
        measures[k] = values.mean(), slope_per_minute(time[here], values), values.std()
        features[k] = *measures[k], low, high, change
        quality[k] = min(1.0, share)
        if plausible is not None:
            wild = (steps[here] > 0.1 * (plausible[1] - plausible[0])).mean()
            quality[k] *= ramp(wild, bad=0.3, good=0.05)
    return Measured(series, features, quality, measures)


def extract_temperature_features(temperature: np.ndarray, *, sampling_rate: float) -> Quantities:
    """Skin temperature of one window (sample,) in degrees Celsius.

    Returns ``temperature_mean_c``, ``temperature_slope_c_per_min`` (least squares), ``temperature_sd_c``.
    Raises `InputError` if fewer than two samples are finite.
    """
    signal = as_regular(temperature, sampling_rate)
    if signal.good[0].sum() < 2:
        raise InputError("the temperature has fewer than two finite samples", remedy="give a longer window")
    time, values = signal.time[signal.good[0]], signal.values[0][signal.good[0]]
    return Quantities(
        {
            "temperature_mean_c": values.mean(),
            "temperature_slope_c_per_min": slope_per_minute(time, values),
            "temperature_sd_c": values.std(),
        }
    )
