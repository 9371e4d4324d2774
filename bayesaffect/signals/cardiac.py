"""Heart beats from ECG leads, from a pulse wave or from beat intervals; heart rate and its variability."""

from __future__ import annotations

from itertools import combinations
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
    nothing,
    quiet,
    regular,
    resample,
    slope_per_minute,
)

BEAT_SERIES = ("heart_rate",)
BEAT_FEATURES = (
    "heart_rate",
    "heart_rate_slope",
    "heart_rate_sd",
    "log_rmssd",
    "log_sdnn",
    "pnn50",
    "heart_rate_low",
    "heart_rate_high",
    "change",
)
PULSE_SERIES = ("heart_rate", "log_amplitude")
PULSE_FEATURES = (*BEAT_FEATURES, "log_amplitude", "amplitude_variation", "amplitude_change")
PLAUSIBLE_S = (0.3, 2.0)
CONTEXT_S = 120.0
ECG_HZ, PULSE_HZ = 250.0, 64.0


class Beats(NamedTuple):
    """Beat to beat intervals: ``time`` of the later beat (s), ``interval`` (s), ``fine``: an interval to be trusted."""

    time: np.ndarray
    interval: np.ndarray
    fine: np.ndarray

    def within(self, start: float, stop: float) -> Beats:
        here = inside(self.time, start, stop)
        return Beats(self.time[here], self.interval[here], self.fine[here])


def beats(time: np.ndarray, interval: np.ndarray) -> Beats:
    """Mark intervals as fine that last 0.3 to 2 s and lie within 30 % of the median of the nine around them."""
    if not time.size:
        return Beats(time, interval, np.zeros(0, dtype=bool))
    padded = np.pad(interval, 4, mode="reflect" if interval.size > 4 else "edge")
    around = np.median(np.lib.stride_tricks.sliding_window_view(padded, 9), axis=1)
    fine = (interval >= PLAUSIBLE_S[0]) & (interval <= PLAUSIBLE_S[1]) & (np.abs(interval - around) <= 0.3 * around)
    return Beats(time, interval, fine)


def variability(found: Beats) -> dict[str, float]:
    """Time-domain heart rate variability of fine intervals NN (ms), D = differences of adjacent fine ones.

    heart_rate = 60000 / mean NN; sdnn = sd of NN (n - 1); rmssd = sqrt(mean D^2); pnn50 = 100 share(|D| > 50 ms).
    """
    nn = 1000 * found.interval[found.fine]
    pairs = found.fine[1:] & found.fine[:-1] & (np.abs(np.diff(found.time) - found.interval[1:]) < 0.02)
    steps = 1000 * np.diff(found.interval)[pairs]
    return {
        "heart_rate": 60000 / nn.mean() if nn.size else np.nan,
        "sdnn_ms": nn.std(ddof=1) if nn.size > 1 else np.nan,
        "rmssd_ms": np.sqrt((steps**2).mean()) if steps.size else np.nan,
        "pnn50": 100 * (np.abs(steps) > 50).mean() if steps.size else np.nan,
        "mean_nn_ms": nn.mean() if nn.size else np.nan,
        "beats": float(nn.size),
    }


def compute_hrv(ecg: np.ndarray, *, sampling_rate: float) -> dict[str, float]:
    """Heart rate and its variability in one window of ECG, (sample,) or (lead, sample).

    Beats are found by NeuroKit's detector after its cleaning, with artefact correction (Lipponen and Tarvainen
    2019), on the lead or difference of leads whose beats are the most regular in shape and time.

    Returns
    -------
    ``heart_rate`` (1/min) = 60000 / mean NN, ``sdnn_ms`` (n - 1), ``rmssd_ms`` = sqrt(mean of squared successive
    differences), ``pnn50`` (%), ``mean_nn_ms``, ``beats`` (intervals used), ``quality`` in [0, 1].

    Raises
    ------
    InputError
        Less than 8 s of signal, or fewer than five trustworthy intervals.

    References
    ----------
    Task Force 1996, Circulation 93:1043; Makowski et al. 2021, Behavior Research Methods 53:1689.
    """
    signal = as_regular(ecg, sampling_rate)
    seconds = signal.values.shape[1] / signal.rate
    if seconds < 8:
        raise InputError(f"the ECG lasts {seconds:.3g} s", remedy="give at least 8 s, better 60 s")
    found, quality = ecg_beats(signal)
    if found.fine.sum() < 5:
        raise InputError(
            "fewer than five trustworthy beat intervals found", remedy="check the lead or choose another window"
        )
    return {**{name: float(value) for name, value in variability(found).items()}, "quality": quality}


def ecg_beats(signal: Regular) -> tuple[Beats, float]:
    """Beats of the best lead, and its quality: the regularity of its beats in time times in shape.

    Candidates are the leads and their differences (a lead against a common reference carries its drift, a
    difference does not).
    """
    signal = signal if 200 <= signal.rate <= 500 else resample(signal, ECG_HZ)
    rows = [row for row in signal.values if np.ptp(row) > 0]
    rows += [a - b for a, b in combinations(rows, 2)]
    best, quality = beats(np.zeros(0), np.zeros(0)), 0.0
    chosen = None
    for row in rows:
        with quiet():
            wave = np.asarray(nk.ecg_clean(row, sampling_rate=round(signal.rate)))
            try:
                _, found = nk.ecg_peaks(wave, sampling_rate=signal.rate)
            except (ValueError, IndexError, ZeroDivisionError):
                continue
        peaks = np.asarray(found["ECG_R_Peaks"], dtype=int)
        if peaks.size < 4:
            continue
        rated = (
            _agreement(wave, peaks, signal.rate)
            * beats(peaks[1:] / signal.rate, np.diff(peaks) / signal.rate).fine.mean()
        )
        if rated > quality:
            chosen, quality = peaks, float(rated)
    if chosen is not None:
        peaks = _corrected(chosen, signal.rate)
        best = beats(signal.start + peaks[1:] / signal.rate, np.diff(peaks) / signal.rate)
    return best, quality


def pulse_beats(signal: Regular) -> tuple[Beats, np.ndarray, np.ndarray]:
    """Beats of a pulse wave (Elgendi et al. 2013): beats, time of each pulse, its height over the trough before."""
    signal = signal if 50 <= signal.rate <= 130 else resample(signal, PULSE_HZ)
    none = beats(np.zeros(0), np.zeros(0)), np.zeros(0), np.zeros(0)
    with quiet():
        wave = np.asarray(nk.ppg_clean(signal.values[0], sampling_rate=signal.rate))
        try:
            _, found = nk.ppg_peaks(wave, sampling_rate=signal.rate)
        except (ValueError, IndexError):
            return none
    peaks = np.asarray(found["PPG_Peaks"], dtype=int)
    if peaks.size < 4:
        return none
    time = signal.start + _refined(wave, peaks) / signal.rate
    reach = round(0.5 * signal.rate)
    troughs = np.array([wave[max(0, p - reach) : p + 1].min() for p in peaks])
    return beats(time[1:], np.diff(time)), time, np.maximum(wave[peaks] - troughs, 0)


def measure_ecg(signal: xr.DataArray, windows: Windows, *, rate: float) -> Measured:
    """Heart rate and its variability from ECG leads (channel, time) in each window; see `beat_features`."""
    clock = regular(signal, highest_rate=500.0)
    if not clock.good.any():
        return nothing(len(BEAT_SERIES), len(BEAT_FEATURES), windows, rate)
    found, quality = ecg_beats(clock)
    measured = beat_features(found, windows, rate=rate)
    return (
        measured._replace(quality=measured.quality * quality)
        if quality >= 0.3
        else nothing(len(BEAT_SERIES), len(BEAT_FEATURES), windows, rate)
    )


def measure_pulse(signal: xr.DataArray, windows: Windows, *, rate: float) -> Measured:
    """As `measure_ecg`, from a pulse wave (first channel), and the height of the pulses.

    Further series: ``log_amplitude`` = log10 of the pulse's height. Further features: mean and coefficient of
    variation of log height, its change against the 120 s before.
    """
    clock = regular(signal, highest_rate=130.0)
    shape = len(PULSE_SERIES), len(PULSE_FEATURES), windows, rate
    if not clock.good[0].any() or np.ptp(clock.values[0]) == 0:
        return nothing(*shape)
    found, time, height = pulse_beats(clock)
    if found.fine.sum() < 5 or not (height > 0).any():
        return nothing(*shape)
    measured = beat_features(found, windows, rate=rate)
    log_height = np.log10(np.maximum(height, 1e-3 * np.median(height[height > 0])))
    row = np.interp(grid(windows, rate), time, log_height)
    extra = np.full((len(windows), 3), np.nan)
    for k, (start, stop) in enumerate(windows):
        here, before = log_height[inside(time, start, stop)], log_height[inside(time, start - CONTEXT_S, start)]
        if measured.quality[k] > 0 and here.size:
            extra[k] = np.median(here), here.std(), np.median(here) - np.median(before) if before.size else 0.0
    row[measured.quality == 0] = np.nan
    series = np.concatenate([measured.series, row[:, None]], axis=1)
    return Measured(series, np.concatenate([measured.features, extra], axis=1), measured.quality)


def measure_intervals(signal: xr.DataArray, windows: Windows, *, rate: float) -> Measured:
    """Heart rate and its variability from beat to beat intervals in s at irregular times; see `beat_features`."""
    found = beats(signal["time"].values.astype(float), np.asarray(signal.values[0], dtype=float))
    return beat_features(found, windows, rate=rate)


def beat_features(found: Beats, windows: Windows, *, rate: float) -> Measured:
    """Heart rate (series, 1/min) and per window: its mean, slope (1/min per min), sd, 10th and 90th percentile,
    change against the 120 s before; log10 of RMSSD and SDNN (ms), pNN50 (%), as in `compute_hrv`. Quality:
    the share of the window covered by trustworthy intervals; below 0.2, or fewer than five of them, it is useless.
    """
    time, fast = found.time[found.fine], 60 / found.interval[found.fine] if found.fine.any() else np.zeros(0)
    if time.size < 5:
        return nothing(len(BEAT_SERIES), len(BEAT_FEATURES), windows, rate)
    series = np.interp(grid(windows, rate), time, fast)[:, None, :]
    features, quality = np.full((len(windows), len(BEAT_FEATURES)), np.nan), np.zeros(len(windows))
    for k, (start, stop) in enumerate(windows):
        here, part = inside(time, start, stop), found.within(start, stop)
        covered = part.interval[part.fine].sum() / (stop - start)
        values = fast[here]
        if covered < 0.2 or values.size < 5:
            series[k] = np.nan
            continue
        hrv, before = variability(part), fast[inside(time, start - CONTEXT_S, start)]
        low, high = np.percentile(values, (10, 90))
        features[k] = (
            hrv["heart_rate"],
            slope_per_minute(time[here], values),
            values.std(),
            np.log10(hrv["rmssd_ms"] + 1),
            np.log10(hrv["sdnn_ms"] + 1),
            hrv["pnn50"],
            low,
            high,
            values.mean() - before.mean() if before.size >= 5 else 0.0,
        )
        quality[k] = min(1.0, covered)
    return Measured(series, features, quality)


def _agreement(wave: np.ndarray, peaks: np.ndarray, rate: float) -> float:
    """Median correlation of the beats with the median beat, 0.2 s either side of the peak; 0 if there is none."""
    reach = round(0.2 * rate)
    whole = peaks[(peaks >= reach) & (peaks < wave.size - reach)]
    if whole.size < 3:
        return 0.0
    cuts = wave[whole[:, None] + np.arange(-reach, reach + 1)]
    cuts = cuts - cuts.mean(1, keepdims=True)
    middle = np.median(cuts, axis=0)
    scale = np.linalg.norm(cuts, axis=1) * np.linalg.norm(middle)
    return float(max(0.0, np.median((cuts @ middle) / np.maximum(scale, 1e-12))))


def _corrected(peaks: np.ndarray, rate: float) -> np.ndarray:
    try:
        with quiet():
            _, fixed = nk.signal_fixpeaks(peaks, sampling_rate=rate, iterative=True, method="Kubios")
    except (ValueError, IndexError, ZeroDivisionError):
        return peaks
    fixed = np.unique(np.asarray(fixed, dtype=float))
    return fixed if fixed.size >= 4 else peaks


def _refined(wave: np.ndarray, peaks: np.ndarray) -> np.ndarray:
    """Vertex of the parabola through each peak and its neighbours, in samples: 64 Hz is coarse for variability."""
    inner = np.clip(peaks, 1, wave.size - 2)
    left, middle, right = wave[inner - 1], wave[inner], wave[inner + 1]
    bend = left - 2 * middle + right
    shift = np.where(bend < 0, 0.5 * (left - right) / np.where(bend < 0, bend, -1.0), 0.0)
    return np.where(inner == peaks, peaks + np.clip(shift, -0.5, 0.5), peaks)
