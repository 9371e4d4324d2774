"""Skin conductance: slow level and phasic responses."""

from __future__ import annotations

from typing import NamedTuple

import neurokit2 as nk
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
    quiet,
    regular,
    resample,
    slope_per_minute,
)

SERIES = ("log_level", "phasic")
FEATURES = (
    "log_level",
    "level_slope",
    "level_sd",
    "scr_count",
    "scr_amplitude",
    "scr_rise_time",
    "phasic_area",
    "phasic_sd",
    "change",
)
PER_MICROSIEMENS = {"uS": 1.0, "µS": 1.0, "μS": 1.0, "microsiemens": 1.0, "nS": 1e-3, "mS": 1e3, "S": 1e6}
WORKING_HZ = 16.0
SMALLEST_SCR_US = 0.01
CONTEXT_S = 120.0


class Responses(NamedTuple):
    """Skin conductance responses: time of the peak (s), amplitude from onset to peak (uS), rise time (s)."""

    time: np.ndarray
    amplitude: np.ndarray
    rise_time: np.ndarray


class Decomposed(NamedTuple):
    """Skin conductance in uS, its phasic part (above 0.05 Hz), and the responses found in it."""

    time: np.ndarray
    level: np.ndarray
    phasic: np.ndarray
    responses: Responses


def decompose(signal: Regular) -> Decomposed:
    """Low-pass at 1 Hz, split at 0.05 Hz, find the responses of at least 0.01 uS (Boucsein et al. 2012)."""
    if signal.rate > 1.01 * WORKING_HZ:
        signal = resample(signal, WORKING_HZ)
    level = lowpass(signal.values[0], signal.rate, 1.0)
    with quiet():
        phasic = np.asarray(
            nk.eda_phasic(level, sampling_rate=signal.rate, method="highpass")["EDA_Phasic"], dtype=float
        )
    return Decomposed(signal.time, level, phasic, _responses(phasic, signal.rate, signal.start))


def _responses(phasic: np.ndarray, rate: float, start: float) -> Responses:
    none = Responses(np.zeros(0), np.zeros(0), np.zeros(0))
    if phasic.size < 4 or np.ptp(phasic) < SMALLEST_SCR_US:
        return none
    try:
        with quiet():
            # relative to the largest response; keeps every one of at least 0.01 uS
            _, found = nk.eda_peaks(
                phasic, sampling_rate=rate, method="neurokit", amplitude_min=SMALLEST_SCR_US / np.ptp(phasic)
            )
    except (ValueError, IndexError, KeyError):  # no local maximum at all
        return none
    peaks, onsets = np.asarray(found["SCR_Peaks"], dtype=float), np.asarray(found["SCR_Onsets"], dtype=float)
    whole = np.isfinite(peaks) & np.isfinite(onsets)
    peaks, onsets = peaks[whole].astype(int), onsets[whole].astype(int)
    amplitude = phasic[peaks] - phasic[onsets]
    keep = amplitude >= SMALLEST_SCR_US
    return Responses(start + peaks[keep] / rate, amplitude[keep], (peaks - onsets)[keep] / rate)


def extract_scr_features(eda: np.ndarray, *, sampling_rate: float) -> dict[str, float]:
    """Tonic level and phasic responses of one window of skin conductance (sample,) in uS.

    Returns
    -------
    ``scl_mean_us``, ``scl_slope_us_per_min`` (least squares over the window), ``scr_count``,
    ``scr_amplitude_mean_us`` (onset to peak; 0 without a response), ``scr_rise_time_mean_s`` (NaN without a response),
    ``phasic_area_us_s`` (integral of the positive phasic part).

    Raises
    ------
    InputError
        Less than 5 s of signal, or more than half of it not finite.

    References
    ----------
    Boucsein et al. 2012, Psychophysiology 49:1017 (a response is at least 0.01 uS here).
    """
    signal = as_regular(eda, sampling_rate)
    seconds = signal.values.shape[1] / signal.rate
    if seconds < 5:
        raise InputError(f"the skin conductance lasts {seconds:.3g} s", remedy="give at least 5 s")
    if signal.good[0].mean() < 0.5:
        raise InputError("more than half of the skin conductance is not finite", remedy="choose another window")
    parts = decompose(signal)
    found = parts.responses
    step = parts.time[1] - parts.time[0]
    return {
        "scl_mean_us": float(parts.level.mean()),
        "scl_slope_us_per_min": slope_per_minute(parts.time, parts.level),
        "scr_count": float(found.time.size),
        "scr_amplitude_mean_us": float(found.amplitude.mean()) if found.time.size else 0.0,
        "scr_rise_time_mean_s": float(found.rise_time.mean()) if found.time.size else float("nan"),
        "phasic_area_us_s": float(np.maximum(parts.phasic, 0).sum() * step),
    }


def measure_eda(signal: xr.DataArray, windows: Windows, *, rate: float) -> Measured:
    """Skin conductance in each window; the units decide the scale (uS, nS, mS, S).

    Series: ``log_level`` = log10(level / uS + 0.01) and ``phasic`` = sign(p) log10(1 + |p| / 0.01 uS). Features: log10
    level, slope (uS/min) and log10 sd of the level, responses per minute, log10(1 + amplitude / 0.01 uS) and
    mean rise time (s; 2 s, the usual value, without a response), log10(1 + area of the positive phasic part /
    0.01 uS s), log10 sd of the phasic part, ``change`` of the log level against the 120 s before. Quality is 0 where
    the electrode is dead: the level is below 0.01 uS or does not move by 0.1 nS.
    """
    scale = PER_MICROSIEMENS.get(str(signal.attrs.get("units", "uS")))
    if scale is None:
        raise InputError(
            f"skin conductance has units {signal.attrs['units']!r}", remedy=f"one of {sorted(PER_MICROSIEMENS)}"
        )
    clock = regular(signal, highest_rate=WORKING_HZ)
    clock = clock._replace(values=clock.values * scale)
    if not clock.good[0].any() or np.ptp(clock.values[0]) < 1e-4:
        return nothing(len(SERIES), len(FEATURES), windows, rate)
    parts = decompose(clock)
    time, found = parts.time, parts.responses
    log_level = np.log10(np.maximum(parts.level, 0) + 0.01)
    phasic = np.sign(parts.phasic) * np.log10(1 + np.abs(parts.phasic) / SMALLEST_SCR_US)
    at = grid(windows, rate)
    series = np.stack([np.interp(at, time, row) for row in (log_level, phasic)], axis=1)
    features, quality = np.full((len(windows), len(FEATURES)), np.nan), np.zeros(len(windows))
    for k, (start, stop) in enumerate(windows):
        here, before = inside(time, start, stop), inside(time, start - CONTEXT_S, start)
        seconds = stop - start
        share = clock.good[0][here].sum() / max(1, round(seconds * clock.rate))
        level = parts.level[here]
        if share < 0.5 or level.mean() < 0.01 or np.ptp(clock.values[0][here]) < 1e-4:
            series[k] = np.nan
            continue
        scr = inside(found.time, start, stop)
        amplitude = found.amplitude[scr].mean() if found.time[scr].size else 0.0
        positive = np.maximum(parts.phasic[here], 0).sum() / clock.rate
        features[k] = (
            np.log10(level.mean() + 0.01),
            slope_per_minute(time[here], level),
            np.log10(level.std() + 1e-3),
            60 * found.time[scr].size / seconds,
            np.log10(1 + amplitude / SMALLEST_SCR_US),
            found.rise_time[scr].mean() if found.time[scr].size else 2.0,
            np.log10(1 + positive / SMALLEST_SCR_US),
            np.log10(parts.phasic[here].std() + 1e-3),
            log_level[here].mean() - log_level[before].mean() if time[before].size else 0.0,
        )
        quality[k] = min(1.0, share)
    return Measured(series, features, quality)
