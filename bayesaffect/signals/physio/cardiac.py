"""Heart beats from ECG leads, from a pulse wave or from beat intervals; heart rate and its variability."""

from __future__ import annotations

import numpy as np
import xarray as xr

from bayesaffect.errors import InputError
from bayesaffect.signals.physio.clock import (
    Measured,
    Regular,
    Windows,
    as_regular,
    at_least,
    check_times,
    grid,
    inside,
    measurable,
    nothing,
    regular,
    slope_per_minute,
)
from bayesaffect.signals.physio.defects import agreement, at_rail, clipped, misshapen, noisy, unclipped
from bayesaffect.signals.physio.heartbeats import (
    ECG_REACH_S,
    Pulses,
    ecg_rate,
    lead_beats,
    pulses,
    vote,
)
from bayesaffect.signals.physio.quantities import Quantities
from bayesaffect.signals.physio.variability import NAMES, Beats, beats, hrv

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
CONTEXT_S = 120.0
SLOWEST_HZ = 20.0


def compute_hrv(ecg: np.ndarray, *, sampling_rate: float) -> Quantities:
    """Heart rate and its variability in one window of ECG, (sample,) or (lead, sample).

    Beats are found by NeuroKit's detector after its cleaning, with artefact correction (Lipponen and Tarvainen
    2019), on the lead or difference of leads whose beats are the most regular in shape and time. Between 200 and
    1000 Hz the signal is taken as it is, otherwise at 250 Hz.

    Returns
    -------
    A mapping that always has the same names: ``heart_rate`` (1/min) = 60000 / mean NN, ``sdnn_ms`` (n - 1),
    ``rmssd_ms`` = sqrt(mean of squared successive differences), ``pnn50`` (%), ``mean_nn_ms``, ``beats`` (intervals
    used); ``lf_power_ms2``, ``hf_power_ms2``, ``lf_hf_ratio``, ``total_power_ms2``; ``sd1_ms``, ``sd2_ms``,
    ``sample_entropy``, ``dfa_alpha1``; ``quality`` in [0, 1]: regularity of the beats in shape times in time, less
    where the lead is clipped. A quantity for which the window is too short is NaN, and ``.reasons[name]`` says what
    it takes (rules: see `variability.hrv`).

    Raises
    ------
    InputError
        Less than 8 s of signal or 20 Hz, or fewer than five trustworthy intervals.

    References
    ----------
    Task Force 1996, Circulation 93:1043; Makowski et al. 2021, Behavior Research Methods 53:1689.
    """
    signal, seconds = _window(ecg, sampling_rate, "an ECG")
    at = ecg_rate(signal)
    lead = vote(at)
    if lead is None:
        raise InputError("the ECG has fewer than five beats", remedy="check the lead or choose another window")
    rails = min(unclipped(at_rail(signal.values[row]).mean()) for row in lead.rows)
    return _told(lead_beats(at, lead), seconds, lead.quality * rails)


def compute_prv(pulse: np.ndarray, *, sampling_rate: float) -> Quantities:
    """Pulse rate and its variability in one window of a pulse wave (sample,): as `compute_hrv`, from the pulses.

    Further ``amplitude_mean`` and ``amplitude_cv`` of the pulses, trough to peak, in the wave's units. Pulse intervals
    vary a little more than heart beats, in the high band most of all (Schaefer and Vagedes 2013, Int J Cardiol 166:15).

    Raises
    ------
    InputError
        Less than 8 s of signal or 20 Hz, or fewer than five trustworthy intervals.
    """
    signal, seconds = _window(pulse, sampling_rate, "a pulse wave")
    found = pulses(signal)
    rails = unclipped(at_rail(signal.values[0]).mean())
    told = _told(found.beats, seconds, rails * _pulse_quality(found, signal, [(0.0, seconds)])[0])
    spread = float(found.height.std() / max(found.height.mean(), 1e-12))
    return Quantities({**told, "amplitude_mean": found.height.mean(), "amplitude_cv": spread}, told.reasons)


def _window(values: np.ndarray, sampling_rate: float, what: str) -> tuple[Regular, float]:
    signal = as_regular(values, at_least(sampling_rate, SLOWEST_HZ, what))
    seconds = signal.values.shape[1] / signal.rate
    if seconds < 8:
        raise InputError(f"{what} lasts {seconds:.3g} s", remedy="give at least 8 s, better 60 s")
    return signal, seconds


def _told(found: Beats, seconds: float, quality: float) -> Quantities:
    if found.fine.sum() < 5:
        raise InputError(
            "fewer than five trustworthy beat intervals found", remedy="check the lead or choose another window"
        )
    told = hrv(found, seconds)
    return Quantities({**told, "quality": quality}, told.reasons)


def _pulse_quality(found: Pulses, signal: Regular, windows: Windows) -> np.ndarray:
    """Factor (trial,) for pulses that differ in shape from the median pulse, and for noise above 8 Hz."""
    shape = misshapen(found.alike_time, found.alike, windows, bad=0.5, good=0.65)
    return np.minimum(shape, noisy(signal, windows, above=8.0, floor=0.0, bad=0.7, good=0.35))


def measure_ecg(signal: xr.DataArray, windows: Windows, *, rate: float) -> Measured:
    """Heart rate and its variability from ECG leads (channel, time) in each window; see `beat_features`.

    Quality: the share covered by trustworthy intervals times that of the lead over the recording, less where
    the window's beats differ in shape from the lead's median beat or the lead is clipped; below 0.3 over the recording
    the ECG is useless.
    """
    clock = regular(signal, highest_rate=500.0)
    at_least(clock.rate, SLOWEST_HZ, "an ECG")
    none = nothing(len(BEAT_SERIES), len(BEAT_FEATURES), windows, rate)
    if not clock.good.any():
        return none
    at = ecg_rate(clock)
    lead = vote(at)
    if lead is None or lead.quality < 0.3:
        return none
    measured = beat_features(lead_beats(at, lead), windows, rate=rate)
    reach = round(ECG_REACH_S * at.rate)
    whole, alike = agreement(lead.wave, lead.peaks, before=reach, after=reach)
    time = at.start + lead.peaks[whole] / at.rate
    shape = misshapen(time, alike, windows, bad=0.72, good=0.8)
    rails = clipped(signal, windows)[list(lead.rows)].min(0)
    return measured._replace(quality=measured.quality * lead.quality * np.minimum(shape, rails))


def measure_pulse(signal: xr.DataArray, windows: Windows, *, rate: float) -> Measured:
    """As `measure_ecg`, from a pulse wave (first channel), and the height of the pulses.

    Further series: ``log_amplitude`` = log10 of the pulse's height. Further features: mean and coefficient of
    variation of log height, its change against the 120 s before. Quality: the share covered by trustworthy intervals,
    less where the pulses differ in shape from the recording's median pulse, noise above 8 Hz or clipping.
    """
    clock = regular(signal, highest_rate=130.0)
    at_least(clock.rate, SLOWEST_HZ, "a pulse wave")
    shape = len(PULSE_SERIES), len(PULSE_FEATURES), windows, rate
    if not clock.good[0].any() or np.ptp(clock.values[0]) == 0:
        return nothing(*shape)
    found = pulses(clock)
    time, height = found.time, found.height
    if found.beats.fine.sum() < 5 or not (height > 0).any():
        return nothing(*shape)
    measured = beat_features(found.beats, windows, rate=rate)
    log_height = np.log10(np.maximum(height, 1e-3 * np.median(height[height > 0])))
    row = np.interp(grid(windows, rate), time, log_height)
    extra = np.full((len(windows), 3), np.nan)
    raw = np.full((len(windows), 2), np.nan)
    for k, (start, stop) in enumerate(windows):
        inner = inside(time, start, stop)
        here, before = log_height[inner], log_height[inside(time, start - CONTEXT_S, start)]
        if measured.quality[k] > 0 and here.size:
            extra[k] = np.median(here), here.std(), np.median(here) - np.median(before) if before.size else 0.0
            raw[k] = height[inner].mean(), height[inner].std() / max(height[inner].mean(), 1e-12)
    row[measured.quality == 0] = np.nan
    series = np.concatenate([measured.series, row[:, None]], axis=1)
    features = np.concatenate([measured.features, extra], axis=1)
    quality = measured.quality * np.minimum(_pulse_quality(found, clock, windows), clipped(signal, windows)[0])
    measures = None if measured.measures is None else np.concatenate([measured.measures, raw], axis=1)
    return Measured(series, features, quality, measures, measured.events)


def measure_intervals(signal: xr.DataArray, windows: Windows, *, rate: float) -> Measured:
    """Heart rate and its variability from beat to beat intervals in s at irregular times; see `beat_features`."""
    time, interval = signal["time"].values.astype(float), np.asarray(signal.values[0], dtype=float)
    check_times(time)
    told = measurable(interval)
    return beat_features(beats(time[told], interval[told]), windows, rate=rate)


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
    measures = np.full((len(windows), len(NAMES)), np.nan)
    for k, (start, stop) in enumerate(windows):
        here, part = inside(time, start, stop), found.within(start, stop)
        covered = part.interval[part.fine].sum() / (stop - start)
        values = fast[here]
        if covered < 0.2 or values.size < 5:
            series[k] = np.nan
            continue
        told, before = hrv(part, stop - start), fast[inside(time, start - CONTEXT_S, start)]
        low, high = np.percentile(values, (10, 90))
        features[k] = (
            told["heart_rate"],
            slope_per_minute(time[here], values),
            values.std(),
            np.log10(told["rmssd_ms"] + 1),
            np.log10(told["sdnn_ms"] + 1),
            told["pnn50"],
            low,
            high,
            values.mean() - before.mean() if before.size >= 5 else 0.0,
        )
        measures[k] = [told[name] for name in NAMES]
        quality[k] = min(1.0, covered)
    return Measured(series, features, quality, measures, found)
