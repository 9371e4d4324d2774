"""Where the heart beats: R peaks of the best ECG lead, pulses of a pulse wave, with how alike the beats look."""

from __future__ import annotations

from itertools import combinations
from typing import NamedTuple

import neurokit2 as nk
import numpy as np

from bayesaffect.signals.physio.clock import Regular, quiet, resample
from bayesaffect.signals.physio.defects import agreement
from bayesaffect.signals.physio.variability import Beats, beats

ECG_HZ, PULSE_HZ = 250.0, 64.0
ECG_REACH_S = 0.2  # either side of the R peak


class Lead(NamedTuple):
    """The lead, or difference of leads, that shows the heart best: the ``rows`` it is made of, its cleaned ``wave``,
    the samples of its R ``peaks``, and ``quality``: the regularity of its beats in shape times in time.
    """

    rows: tuple[int, ...]
    wave: np.ndarray
    peaks: np.ndarray
    quality: float


def ecg_beats(signal: Regular) -> tuple[Beats, float]:
    """Beats of the best lead, its artefacts corrected, and its quality; see `vote`."""
    at = ecg_rate(signal)
    lead = vote(at)
    if lead is None:
        return beats(np.zeros(0), np.zeros(0)), 0.0
    return lead_beats(at, lead), lead.quality


def ecg_rate(signal: Regular) -> Regular:
    """The ECG at a rate that the detector was made for: as it is from 200 to 1000 Hz, else at 250 Hz."""
    return signal if 200 <= signal.rate <= 1000 else resample(signal, ECG_HZ)


def vote(signal: Regular) -> Lead | None:
    """The best of the leads and their differences, ``None`` if none has four beats.

    A lead against a common reference carries its drift, a difference of two does not. Cleaning is linear, so each
    lead is cleaned once and a difference is taken of cleaned leads.
    """
    with quiet():
        waves = {
            (k,): np.asarray(nk.ecg_clean(row, sampling_rate=round(signal.rate)))
            for k, row in enumerate(signal.values)
            if np.ptp(row) > 0
        }
    waves |= {(*a, *b): waves[a] - waves[b] for a, b in combinations(list(waves), 2)}
    best = None
    for rows, wave in waves.items():
        try:
            with quiet():
                peaks = np.asarray(nk.ecg_findpeaks(wave, sampling_rate=signal.rate)["ECG_R_Peaks"], dtype=int)
        except (ValueError, IndexError, ZeroDivisionError):
            continue
        if peaks.size < 4:
            continue
        reach = round(ECG_REACH_S * signal.rate)
        _, alike = agreement(wave, peaks, before=reach, after=reach)
        shape = max(0.0, float(np.median(alike))) if alike.size else 0.0
        quality = shape * float(beats(peaks[1:] / signal.rate, np.diff(peaks) / signal.rate).fine.mean())
        if quality > (best.quality if best else 0.0):
            best = Lead(rows, wave, peaks, quality)
    return best


def lead_beats(signal: Regular, lead: Lead) -> Beats:
    """Beats of a lead after the correction of missed, extra and misplaced peaks."""
    peaks = corrected(lead.peaks, signal.rate)
    return beats(signal.start + peaks[1:] / signal.rate, np.diff(peaks) / signal.rate)


class Pulses(NamedTuple):
    """Beats of a pulse wave, time (s) and height over the trough before of each pulse, and the pulses' agreement with
    the median pulse: time and correlation of those that lie wholly inside the wave.
    """

    beats: Beats
    time: np.ndarray
    height: np.ndarray
    alike_time: np.ndarray
    alike: np.ndarray


def pulses(signal: Regular) -> Pulses:
    """Pulses of a wave's first channel (Elgendi et al. 2013)."""
    signal = signal if 50 <= signal.rate <= 130 else resample(signal, PULSE_HZ)
    empty = np.zeros(0)
    none = Pulses(beats(empty, empty), empty, empty, empty, empty)
    with quiet():
        wave = np.asarray(nk.ppg_clean(signal.values[0], sampling_rate=signal.rate))
        try:
            found = nk.ppg_findpeaks(wave, sampling_rate=signal.rate)
        except (ValueError, IndexError):
            return none
    peaks = np.asarray(found["PPG_Peaks"], dtype=int)
    if peaks.size < 4:
        return none
    time = signal.start + _refined(wave, peaks) / signal.rate
    reach = round(0.5 * signal.rate)
    troughs = np.array([wave[max(0, p - reach) : p + 1].min() for p in peaks])
    whole, alike = agreement(wave, peaks, before=round(0.3 * signal.rate), after=reach)
    return Pulses(beats(time[1:], np.diff(time)), time, np.maximum(wave[peaks] - troughs, 0), time[whole], alike)


def pulse_beats(signal: Regular) -> tuple[Beats, np.ndarray, np.ndarray]:
    """Beats of a pulse wave, time of each pulse, its height over the trough before; see `pulses`."""
    return pulses(signal)[:3]


def corrected(peaks: np.ndarray, rate: float) -> np.ndarray:
    """Peaks (samples) after the correction of Lipponen and Tarvainen 2019, J Med Eng Technol 43:173."""
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
