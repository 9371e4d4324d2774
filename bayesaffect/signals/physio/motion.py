"""Movement and posture of the wrist from a three-axis accelerometer."""

from __future__ import annotations

import numpy as np
import xarray as xr

from bayesaffect.signals.physio.clock import Measured, Windows, grid, inside, lowpass, nothing, regular
from bayesaffect.signals.physio.defects import clipped

SERIES = ("activity", "x", "y", "z")
FEATURES = ("log_magnitude_sd", "log_jerk", "log_energy", "still", "x", "y", "z", "x_sd", "y_sd", "z_sd", "change")
MEASURES = (
    "magnitude_sd_g",
    "jerk_mean_g_per_s",
    "movement_rms_g",
    "still_share",
    "x_mean_g",
    "y_mean_g",
    "z_mean_g",
)
CONTEXT_S = 120.0
STILL_G = 0.01


def measure_acceleration(signal: xr.DataArray, windows: Windows, *, rate: float) -> Measured:
    """Movement in each window, from acceleration a (channel = x, y, z) in g; a missing axis counts as 0.

    With |a| the magnitude and d = a - (a below 0.3 Hz) the moving part, series: ``activity`` = log10 of the root mean
    square of |d| over about 1 s, and the posture ``x``, ``y``, ``z`` (a below 0.3 Hz, g). Features: log10 of the sd
    of |a|, of the mean |da/dt| (g/s) and of the mean square of |d|; ``still``, the share of time with activity below
    0.01 g; mean and sd of the posture's axes; ``change`` of the mean activity against the 120 s before. Measures: the
    same before the logarithm, sqrt(mean |d|^2) for movement. Quality: share of samples present, less where an axis
    is clipped.
    """
    clock = regular(signal, highest_rate=64.0)
    axes = np.zeros((3, clock.values.shape[1]))
    axes[: min(3, clock.values.shape[0])] = clock.values[:3]
    good, time = clock.good.all(0), clock.time
    if not good.any() or axes.std() < 1e-6:
        return nothing(len(SERIES), len(FEATURES), windows, rate)
    posture = lowpass(axes, clock.rate, 0.3)
    power = ((axes - posture) ** 2).sum(0)
    width = max(1, round(clock.rate))
    smooth = np.convolve(power, np.ones(width) / width, mode="same")
    activity = np.log10(np.sqrt(np.maximum(smooth, 0)) + 1e-4)
    magnitude = np.linalg.norm(axes, axis=0)
    jerk = np.r_[np.linalg.norm(np.diff(axes, axis=1), axis=0), 0.0] * clock.rate
    at = grid(windows, rate)
    series = np.stack([np.interp(at, time, row) for row in (activity, *posture)], axis=1)
    features, quality = np.full((len(windows), len(FEATURES)), np.nan), np.zeros(len(windows))
    measures = np.full((len(windows), len(MEASURES)), np.nan)
    for k, (start, stop) in enumerate(windows):
        here, before = inside(time, start, stop), inside(time, start - CONTEXT_S, start)
        share = good[here].sum() / max(1, round((stop - start) * clock.rate))
        if share < 0.5:
            series[k] = np.nan
            continue
        change = activity[here].mean() - activity[before].mean() if time[before].size else 0.0
        features[k] = (
            np.log10(magnitude[here].std() + 1e-4),
            np.log10(jerk[here].mean() + 1e-3),
            np.log10(power[here].mean() + 1e-8),
            (activity[here] < np.log10(STILL_G)).mean(),
            *posture[:, here].mean(1),
            *posture[:, here].std(1),
            change,
        )
        still = (activity[here] < np.log10(STILL_G)).mean()
        measures[k] = (
            magnitude[here].std(),
            jerk[here].mean(),
            np.sqrt(power[here].mean()),
            still,
            *posture[:, here].mean(1),
        )
        quality[k] = min(1.0, share)
    quality *= clipped(signal, windows)[:3].min(0)
    return Measured(series, features, quality, measures)
