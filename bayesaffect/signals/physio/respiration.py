"""Breathing from a belt: rate, depth and their variability."""

from __future__ import annotations

from typing import NamedTuple

import neurokit2 as nk
import numpy as np
import xarray as xr

from bayesaffect.errors import InputError
from bayesaffect.signals.physio.clock import (
    Measured,
    Regular,
    Windows,
    as_regular,
    at_least,
    grid,
    inside,
    nothing,
    quiet,
    regular,
    resample,
)
from bayesaffect.signals.physio.defects import clipped, noisy, ramp
from bayesaffect.signals.physio.quantities import Quantities

SERIES = ("wave", "rate")
FEATURES = ("rate_mean", "rate_sd", "log_depth", "depth_variation", "inhale_share", "change")
MEASURES = (
    "respiratory_rate",
    "respiratory_rate_sd",
    "depth_mean",
    "depth_sd",
    "depth_variation",
    "inspiration_mean_s",
    "inhale_share",
    "breaths",
)
WORKING_HZ, SLOWEST_HZ = 25.0, 2.0
PLAUSIBLE_S = (1.2, 20.0)
CONTEXT_S = 120.0


class Breaths(NamedTuple):
    """A cleaned wave and its breaths: time of the end of inspiration (s), depth trough to peak, inspiration (s)."""

    time: np.ndarray
    wave: np.ndarray
    peak: np.ndarray
    depth: np.ndarray
    inspiration: np.ndarray

    @property
    def trough(self) -> np.ndarray:
        """Time of the start of each inspiration (s)."""
        return self.peak - self.inspiration

    def cycles(self, start: float, stop: float) -> tuple[np.ndarray, np.ndarray]:
        """Peaks (breath,) and troughs (breath + 1,) in s of the whole breaths between ``start`` and ``stop``, of which
        each lasts at most 20 s.
        """
        trough = self.trough
        here = np.flatnonzero((trough >= start) & (trough < stop))
        # breaths are only counted in a row: a pause without a trough would count as one long breath
        if here.size < 2 or np.diff(trough[here]).max() > PLAUSIBLE_S[1]:
            return np.zeros(0), np.zeros(min(1, here.size))
        return self.peak[here[:-1]], trough[here]


def breaths(signal: Regular) -> Breaths:
    """Band-pass 0.05-3 Hz and breaths by extrema (Khodadad et al. 2018), on 25 Hz."""
    if signal.rate != WORKING_HZ:
        signal = resample(signal, WORKING_HZ)
    raw = signal.values[0]
    # a short clip holds two breaths: continued by reflection, the filter settles and no breath is lost at an end
    pad = raw.size - 1 if raw.size < 60 * WORKING_HZ else 0
    longer = np.pad(raw, pad, mode="reflect", reflect_type="odd") if pad else raw
    with quiet():
        longer = np.asarray(nk.rsp_clean(longer, sampling_rate=signal.rate, method="khodadad2018"))
        try:
            _, found = nk.rsp_peaks(longer, sampling_rate=signal.rate, method="khodadad2018")
        except (ValueError, IndexError):  # no extremum
            found = {"RSP_Peaks": [], "RSP_Troughs": []}
    wave = longer[pad : longer.size - pad]
    peaks, troughs = (_whole(found[name], pad, wave.size) for name in ("RSP_Peaks", "RSP_Troughs"))
    before = np.searchsorted(troughs, peaks) - 1
    peaks, troughs = peaks[before >= 0], troughs[before[before >= 0]]
    depth, inspiration = wave[peaks] - wave[troughs], (peaks - troughs) / signal.rate
    return Breaths(signal.time, wave, signal.start + peaks / signal.rate, depth, inspiration)


def extract_respiration_features(respiration: np.ndarray, *, sampling_rate: float) -> Quantities:
    """Breathing of one window of a belt's signal (sample,), in any units.

    Returns
    -------
    A mapping that always has the same names: ``respiratory_rate`` = 60 / mean breath interval (1/min),
    ``respiratory_rate_sd`` (sd of 60 / interval), ``depth_mean`` and ``depth_sd`` (trough to peak, units of the input),
    ``depth_variation`` = sd / mean, ``inspiration_mean_s``, ``inhale_share`` of the interval that ends with it,
    ``breaths`` (count). The sd of a single interval is NaN with a reason in ``.reasons``.

    Raises
    ------
    InputError
        Less than 6 s of signal or 2 Hz, or fewer than two breaths found.

    References
    ----------
    Khodadad et al. 2018, Physiological Measurement 39:094001.
    """
    signal = as_regular(respiration, at_least(sampling_rate, SLOWEST_HZ, "respiration"))
    seconds = signal.values.shape[1] / signal.rate
    if seconds < 6:
        raise InputError(f"the respiration lasts {seconds:.3g} s", remedy="give at least 6 s, better 30 s")
    found = breaths(signal)
    intervals = np.diff(found.peak)
    fine = (intervals >= PLAUSIBLE_S[0]) & (intervals <= PLAUSIBLE_S[1])
    if not fine.any() or not (found.depth > 0).any():
        raise InputError("fewer than two breaths found", remedy="give a longer window or check the belt's channel")
    return _told(intervals[fine], found.inspiration[1:][fine], found.depth)


def _told(intervals: np.ndarray, inspiration: np.ndarray, depth: np.ndarray) -> Quantities:
    """`MEASURES` of some breath intervals (s), of the inspirations that end them, and of the depths of breaths."""
    rates = 60 / intervals
    values = (
        60 / intervals.mean(),
        rates.std() if rates.size > 1 else np.nan,
        depth.mean(),
        depth.std(),
        depth.std() / max(depth.mean(), 1e-12),
        inspiration.mean(),
        (inspiration / intervals).mean(),
        depth.size,
    )
    reasons = {} if rates.size > 1 else {"respiratory_rate_sd": "there is one breath interval"}
    return Quantities(dict(zip(MEASURES, values, strict=True)), reasons)


def measure_respiration(signal: xr.DataArray, windows: Windows, *, rate: float) -> Measured:
    """Breathing in each window.

    Series: the cleaned ``wave`` divided by the recording's median depth, and the instantaneous ``rate`` (1/min).
    Features: mean and sd of the rate, log10 of the mean depth, coefficient of variation of the depth, share of the
    cycle spent inhaling, ``change`` of the rate against the 120 s before. Measures: those of
    `extract_respiration_features` for the breaths that touch the window. Quality: the share of the window covered by
    breaths of 1.2 to 20 s, less where the signal is noise (sd above 2 Hz over sd), clipped, or its breaths are less
    than a tenth as deep as the recording's median breath (the belt has slipped).
    """
    clock = regular(signal, highest_rate=WORKING_HZ)
    at_least(clock.rate, SLOWEST_HZ, "respiration")
    if not clock.good[0].any() or clock.values[0].std() < 1e-9 * max(1.0, np.abs(clock.values[0]).max()):
        return nothing(len(SERIES), len(FEATURES), windows, rate)
    found = breaths(clock)
    intervals = np.diff(found.peak)
    fine = (intervals >= PLAUSIBLE_S[0]) & (intervals <= PLAUSIBLE_S[1])
    if not fine.any() or not (found.depth > 0).any():
        return nothing(len(SERIES), len(FEATURES), windows, rate)
    per_minute, middle = 60 / intervals[fine], (found.peak[1:] - intervals / 2)[fine]
    at = grid(windows, rate)
    wave = np.interp(at, found.time, found.wave) / np.median(found.depth)
    series = np.stack([np.clip(wave, -5, 5), np.interp(at, middle, per_minute)], axis=1)
    features, quality = np.full((len(windows), len(FEATURES)), np.nan), np.zeros(len(windows))
    measures, slack = np.full((len(windows), len(MEASURES)), np.nan), np.zeros(len(windows))
    usable = np.interp(np.arange(found.time.size), np.arange(clock.good.shape[1]), clock.good[0]) > 0.5
    for k, (start, stop) in enumerate(windows):
        begins, ends = found.peak[:-1][fine], found.peak[1:][fine]
        overlap = np.minimum(ends, stop) - np.maximum(begins, start)
        touching = overlap > 0
        share = usable[inside(found.time, start, stop)].sum() / max(1, round((stop - start) * WORKING_HZ))
        covered = overlap[touching].sum() / (stop - start)
        if covered < 0.3 or share < 0.5:
            series[k] = np.nan
            continue
        rates, depth = per_minute[touching], found.depth[:-1][fine][touching]
        earlier = (ends > start - CONTEXT_S) & (ends <= start)
        features[k] = (
            np.average(rates, weights=overlap[touching]),
            rates.std(),
            np.log10(depth.mean() + 1e-12),
            depth.std() / max(depth.mean(), 1e-12),
            (found.inspiration[1:][fine][touching] / intervals[fine][touching]).mean(),
            rates.mean() - per_minute[earlier].mean() if earlier.any() else 0.0,
        )
        # before the first and after the last end of inspiration, at most one usual breath was under way
        usual = np.median(intervals[fine])
        edges = min(begins[0], stop) - max(begins[0] - usual, start, found.time[0])
        edges = max(0.0, edges) + max(0.0, min(ends[-1] + usual, stop, found.time[-1]) - max(ends[-1], start))
        told = _told(intervals[fine][touching], found.inspiration[1:][fine][touching], depth)
        measures[k] = tuple(told.values())
        quality[k], slack[k] = min(1.0, share, covered + edges / (stop - start)), depth.mean() / np.median(found.depth)
    noise = noisy(clock, windows, above=2.0, floor=0.0, bad=0.8, good=0.4)
    quality *= np.minimum.reduce([noise, clipped(signal, windows)[0], ramp(slack, bad=0.02, good=0.1)])
    return Measured(series, features, quality, measures, found)


def _whole(extrema: np.ndarray, pad: int, size: int) -> np.ndarray:
    """Positions inside the signal before it was padded."""
    extrema = np.asarray(extrema, dtype=float)
    extrema = extrema[np.isfinite(extrema)].astype(int) - pad
    return extrema[(extrema >= 0) & (extrema < size)]
