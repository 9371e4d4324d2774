"""Skin conductance: slow level and phasic responses."""

from __future__ import annotations

from typing import NamedTuple

import neurokit2 as nk
import numpy as np
import xarray as xr
from scipy.signal import find_peaks, peak_prominences

from bayesaffect.errors import InputError
from bayesaffect.signals.physio.clock import (
    Measured,
    Regular,
    Windows,
    as_regular,
    at_least,
    grid,
    inside,
    lowpass,
    nothing,
    quiet,
    regular,
    resample,
    slope_per_minute,
)
from bayesaffect.signals.physio.defects import clipped, noisy, ramp
from bayesaffect.signals.physio.quantities import Quantities

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
MEASURES = (
    "scl_mean_us",
    "scl_slope_us_per_min",
    "scl_sd_us",
    "scr_count",
    "scr_per_min",
    "scr_amplitude_mean_us",
    "scr_amplitude_max_us",
    "scr_rise_time_mean_s",
    "scr_half_recovery_mean_s",
    "phasic_area_us_s",
)
PER_MICROSIEMENS = {"uS": 1.0, "µS": 1.0, "μS": 1.0, "microsiemens": 1.0, "nS": 1e-3, "mS": 1e3, "S": 1e6}
WORKING_HZ = 16.0
SMALLEST_SCR_US = 0.01
CONTEXT_S = 120.0
SLOWEST_HZ = 1.0
POSSIBLE_US = (0.01, 100.0)
FASTEST_US_PER_S = 10.0


class Responses(NamedTuple):
    """Skin conductance responses: time of the peak (s), amplitude from onset to peak (uS), rise time from onset to peak
    and time from the peak to half of the amplitude (s; NaN where the next response comes first).
    """

    time: np.ndarray
    amplitude: np.ndarray
    rise_time: np.ndarray
    half_recovery: np.ndarray

    def within(self, start: float, stop: float) -> Responses:
        here = inside(self.time, start, stop)
        return Responses(*(column[here] for column in self))


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
    """The responses that `neurokit2.eda_peaks` finds, without its search through a table per peak.

    A response is a local maximum whose prominence, as a share of the largest, is at least 0.01 uS as a share of the
    signal's range. Its onset is the last local minimum before it; it must be 0.01 uS high from there. Its recovery is
    the highest sample at or below half of that height, looked for up to the lowest point before the next response.
    """
    none = Responses(*np.zeros((4, 0)))
    if phasic.size < 4 or np.ptp(phasic) < SMALLEST_SCR_US:
        return none
    (peaks, _), (troughs, _) = find_peaks(phasic), find_peaks(-phasic)
    if not peaks.size or not troughs.size:
        return none
    prominence = peak_prominences(phasic, peaks)[0]
    peaks = peaks[prominence / prominence.max() >= SMALLEST_SCR_US / np.ptp(phasic)]
    before = np.searchsorted(troughs, peaks) - 1
    peaks, onsets = peaks[before >= 0], troughs[before[before >= 0]]
    if not peaks.size:
        return none
    amplitude = phasic[peaks] - phasic[onsets]
    recovery = np.full(peaks.size, np.nan)
    for k, (peak, following) in enumerate(zip(peaks, [*peaks[1:], phasic.size], strict=True)):
        falling = phasic[peak:following]
        falling = falling[: falling.argmin()]
        low = falling[falling <= phasic[onsets[k]] + amplitude[k] / 2]
        if low.size and falling.min() < low.max():
            recovery[k] = np.argmax(falling == low.max())
    keep = amplitude >= SMALLEST_SCR_US
    return Responses(start + peaks[keep] / rate, amplitude[keep], (peaks - onsets)[keep] / rate, recovery[keep] / rate)


def extract_scr_features(eda: np.ndarray, *, sampling_rate: float) -> Quantities:
    """Tonic level and phasic responses of one window of skin conductance (sample,) in uS.

    Returns
    -------
    A mapping that always has the same names: ``scl_mean_us``, ``scl_slope_us_per_min`` (least squares over the window),
    ``scl_sd_us``; ``scr_count``, ``scr_per_min``, ``scr_amplitude_mean_us`` and ``scr_amplitude_max_us`` (onset to
    peak; 0 without a response), ``scr_rise_time_mean_s`` (onset to peak), ``scr_half_recovery_mean_s`` (peak to half
    of the amplitude), both NaN with a reason in ``.reasons`` without a response; ``phasic_area_us_s`` (integral of
    the positive phasic part).

    Raises
    ------
    InputError
        Less than 5 s of signal or 1 Hz, or more than half of it not finite.

    References
    ----------
    Boucsein et al. 2012, Psychophysiology 49:1017 (a response is at least 0.01 uS here).
    """
    signal = as_regular(eda, at_least(sampling_rate, SLOWEST_HZ, "skin conductance"))
    seconds = signal.values.shape[1] / signal.rate
    if seconds < 5:
        raise InputError(f"the skin conductance lasts {seconds:.3g} s", remedy="give at least 5 s")
    if signal.good[0].mean() < 0.5:
        raise InputError("more than half of the skin conductance is not finite", remedy="choose another window")
    parts = decompose(signal)
    return _told(parts, slice(None), parts.responses, seconds)


def _told(parts: Decomposed, here: slice, found: Responses, seconds: float) -> Quantities:
    """`MEASURES` of the samples ``here`` and the responses ``found`` in them."""
    step, count = parts.time[1] - parts.time[0], found.time.size
    recovered = np.isfinite(found.half_recovery)
    level = parts.level[here]
    values = (
        level.mean(),
        slope_per_minute(parts.time[here], level),
        level.std(),
        count,
        60 * count / seconds,
        found.amplitude.mean() if count else 0.0,
        found.amplitude.max() if count else 0.0,
        found.rise_time.mean() if count else np.nan,
        found.half_recovery[recovered].mean() if recovered.any() else np.nan,
        np.maximum(parts.phasic[here], 0).sum() * step,
    )
    reasons = {} if count else {"scr_rise_time_mean_s": "there is no response"}
    if not recovered.any():
        reasons["scr_half_recovery_mean_s"] = (
            "no response falls to half of its amplitude" if count else "there is no response"
        )
    return Quantities(dict(zip(MEASURES, values, strict=True)), reasons)


def measure_eda(signal: xr.DataArray, windows: Windows, *, rate: float) -> Measured:
    """Skin conductance in each window; the units decide the scale (uS, nS, mS, S).

    Series: ``log_level`` = log10(level / uS + 0.01) and ``phasic`` = sign(p) log10(1 + |p| / 0.01 uS). Features: log10
    level, slope (uS/min) and log10 sd of the level, responses per minute, log10(1 + amplitude / 0.01 uS) and
    mean rise time (s; 2 s, the usual value, without a response), log10(1 + area of the positive phasic part /
    0.01 uS s), log10 sd of the phasic part, ``change`` of the log level against the 120 s before. Measures: those of
    `extract_scr_features`. Quality is 0 where the electrode is dead: the level is below 0.01 uS or does not move by
    0.1 nS; see `possible` for what lowers it.
    """
    scale = PER_MICROSIEMENS.get(str(signal.attrs.get("units", "uS")))
    if scale is None:
        raise InputError(
            f"skin conductance has units {signal.attrs['units']!r}", remedy=f"one of {sorted(PER_MICROSIEMENS)}"
        )
    clock = regular(signal, highest_rate=WORKING_HZ)
    at_least(clock.rate, SLOWEST_HZ, "skin conductance")
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
    measures = np.full((len(windows), len(MEASURES)), np.nan)
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
        measures[k] = tuple(_told(parts, here, found.within(start, stop), seconds).values())
        quality[k] = min(1.0, share)
    quality *= np.minimum(possible(clock, windows), clipped(signal, windows)[0])
    return Measured(series, features, quality, measures, found)


def possible(signal: Regular, windows: Windows) -> np.ndarray:
    """Factor (trial,) on the quality of skin conductance in uS: can skin have done this?

    The share of samples that are between 0.01 and 100 uS and not within 2.5 s of a change faster than 10 uS/s (after
    Kleckner et al. 2018, IEEE Trans Biomed Eng 65:1460), from 1 at 97 % to 0.02 at 50 %; less where sd above 1 Hz
    over the sd about the straight line (and 0.02 uS more) exceeds 0.3 (0.02 at 0.6): responses rise within seconds.
    """
    row, time = signal.values[0], signal.time
    wrong = (row < POSSIBLE_US[0]) | (row > POSSIBLE_US[1])
    jump = np.abs(np.diff(row, prepend=row[:1])) * signal.rate > FASTEST_US_PER_S
    reach = max(1, round(2.5 * signal.rate))
    wrong |= np.convolve(jump, np.ones(2 * reach + 1), mode="same")[: row.size] > 0.5 if jump.any() else False
    shares = [1 - wrong[here].mean() if wrong[here].size else 0.0 for here in (inside(time, *w) for w in windows)]
    noise = noisy(signal, windows, above=1.0, floor=0.02, bad=0.6, good=0.3)
    return np.minimum(ramp(np.array(shares), bad=0.5, good=0.97), noise)
