"""Physiological signals of one recording, cut into trials: series at a few Hz and features per window."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import xarray as xr

from bayesaffect.errors import InputError
from bayesaffect.signals.physio import cardiac, electrodermal, motion, respiration, skin, variability
from bayesaffect.signals.physio.clock import Measured, Windows, grid, nothing
from bayesaffect.signals.window import Block


class Kind(NamedTuple):
    """What a signal yields: names of its series and features, the function that measures them, and the names of its
    measures in raw units.
    """

    series: tuple[str, ...]
    features: tuple[str, ...]
    measure: Callable[..., Measured]
    measures: tuple[str, ...]


def _level(low: float, high: float, units: str) -> Kind:
    names = (f"mean_{units}", f"slope_{units}_per_min", f"sd_{units}")
    return Kind(skin.LEVEL_SERIES, skin.LEVEL_FEATURES, partial(skin.measure_level, plausible=(low, high)), names)


# in a table, what the functions call by the field's name gets a unit
_TABLE = {
    "heart_rate": "heart_rate_per_min",
    "pnn50": "pnn50_percent",
    "respiratory_rate": "rate_per_min",
    "respiratory_rate_sd": "rate_sd_per_min",
}
_BEATS = tuple(_TABLE.get(name, name) for name in variability.NAMES)
_BREATHS = tuple(_TABLE.get(name, name) for name in respiration.MEASURES)
_ECG = Kind(cardiac.BEAT_SERIES, cardiac.BEAT_FEATURES, cardiac.measure_ecg, _BEATS)
_PULSE = Kind(
    cardiac.PULSE_SERIES, cardiac.PULSE_FEATURES, cardiac.measure_pulse, (*_BEATS, "amplitude_mean", "amplitude_cv")
)
_EDA = Kind(electrodermal.SERIES, electrodermal.FEATURES, electrodermal.measure_eda, electrodermal.MEASURES)
_BREATHING = Kind(respiration.SERIES, respiration.FEATURES, respiration.measure_respiration, _BREATHS)
_OTHER = Kind(skin.LEVEL_SERIES, skin.LEVEL_FEATURES, skin.measure_level, ("mean", "slope_per_min", "sd"))
KINDS: Mapping[str, Kind] = {
    "ecg": _ECG,
    "bvp": _PULSE,
    "ppg": _PULSE,
    "ibi": Kind(cardiac.BEAT_SERIES, cardiac.BEAT_FEATURES, cardiac.measure_intervals, _BEATS),
    "heart_rate": _level(25, 240, "per_min"),
    "eda": _EDA,
    "gsr": _EDA,
    "respiration": _BREATHING,
    "respiratory_rate": _level(2, 70, "per_min"),
    "temperature": _level(10, 45, "c"),
    "acceleration": Kind(motion.SERIES, motion.FEATURES, motion.measure_acceleration, motion.MEASURES),
}
HEARTS = ("ecg", "bvp", "ppg", "ibi")


def extract_block(signals: Mapping[str, xr.DataArray], windows: Windows, *, names: Sequence[str], rate: float) -> Block:
    """Measure the signals ``names`` of one modality over the whole recording and cut them into trials.

    Each signal gives series and features named ``<signal>_<what>`` according to its kind (`KINDS`; a name that is not
    in it is read as a slow level), and a feature ``<signal>_valid``, 1 or 0. These names depend on ``names`` only.
    A signal that is missing or useless in a trial is filled with its median over the recording's other trials (0 if
    there are none) and marked by ``<signal>_valid`` = 0, so that `standardise` can put it to the subject's mean; a
    single feature that could not be told is filled likewise. A trial is present if any of its signals is usable.

    Measures are for people: ``features`` (trial, feature) float32, named ``<signal>_<what>_<unit>``, in raw units and
    NaN where a quantity could not be told; units of the signal itself where the name has none (depth of a belt, height
    of a pulse). ``<signal>_quality`` in [0, 1] is each signal's own. With a heart signal and a respiration wave,
    ``<signal>_rsa_ms`` of the first heart signal is the respiratory sinus arrhythmia.

    Parameters
    ----------
    signals : name -> (channel, time), as in `Recording`.
    windows : (start, stop) in s per trial, all of one length.
    names : the signals of this modality.
    rate : of the series, Hz.

    Returns
    -------
    `Block`; quality = mean over the signals of their quality, 0 where a signal is useless; what lowers it is said
    where each signal is measured.
    """
    if not names:
        raise InputError("a modality without signals", remedy="name at least one signal")
    at = grid(windows, rate)
    series, features, series_names, feature_names, qualities = [], [], [], [], []
    measures, measure_names, events = [], [], {}
    complaints = [[] for _ in windows]
    for name in names:
        kind = KINDS.get(name, _OTHER)
        found, complaint = _measure(kind, signals.get(name), windows, rate)
        valid = found.quality > 0
        for k in np.flatnonzero(~valid):
            complaints[k].append(f"{name} {complaint}")
        series.append(_filled(found.series, valid))
        features += [_filled(found.features, valid), valid[:, None].astype(float)]
        series_names += [f"{name}_{what}" for what in kind.series]
        feature_names += [*(f"{name}_{what}" for what in kind.features), f"{name}_valid"]
        qualities.append(np.where(valid, np.clip(found.quality, 0, 1), 0.0))
        raw = np.full((len(windows), len(kind.measures)), np.nan) if found.measures is None else found.measures
        measures += [np.where(valid[:, None], raw, np.nan), qualities[-1][:, None]]
        measure_names += [*(f"{name}_{what}" for what in kind.measures), f"{name}_quality"]
        events[name] = found.events
    heart = next((name for name in names if name in HEARTS), None)
    if heart and "respiration" in names:
        usable = [qualities[names.index(name)] > 0 for name in (heart, "respiration")]
        arrhythmia = _sinus_arrhythmia(events[heart], events["respiration"], windows)
        measures.append(np.where(np.all(usable, axis=0), arrhythmia, np.nan)[:, None])
        measure_names.append(f"{heart}_rsa_ms")
    quality = np.mean(qualities, axis=0)
    present = quality > 0
    wave, table = np.concatenate(series, axis=1), np.concatenate(features, axis=1)
    wave[~present], table[~present] = np.nan, np.nan
    data = xr.Dataset(
        {
            "series": (("trial", "signal", "time"), wave.astype(np.float32)),
            "features": (("trial", "feature"), table.astype(np.float32)),
        },
        coords={"signal": series_names, "feature": feature_names, "time": np.arange(at.shape[1]) / rate},
        attrs={"encoder": "physio"},
    )
    reasons = tuple("" if here else "; ".join(why) for here, why in zip(present, complaints, strict=True))
    raw = np.concatenate(measures, axis=1)
    raw[~present] = np.nan
    told = xr.Dataset({"features": (("trial", "feature"), raw.astype(np.float32))}, coords={"feature": measure_names})
    return Block(data, present, quality, reasons, told)


def _sinus_arrhythmia(
    beats: variability.Beats | None, breaths: respiration.Breaths | None, windows: Windows
) -> np.ndarray:
    """Respiratory sinus arrhythmia (trial,) in ms; NaN where the beats or three whole breaths are not there."""
    if beats is None or breaths is None:
        return np.full(len(windows), np.nan)
    return np.array([variability.sinus_arrhythmia(beats, *breaths.cycles(*window))[0] for window in windows])


def _measure(kind: Kind, signal: xr.DataArray | None, windows: Windows, rate: float) -> tuple[Measured, str]:
    """The measurement and what to say of windows in which it is useless."""
    blank = nothing(len(kind.series), len(kind.features), windows, rate)
    if signal is None:
        return blank, "is missing"
    try:
        found = kind.measure(signal, windows, rate=rate)
    except InputError as error:
        return blank, f"cannot be used ({error.what})"
    # beyond the recording's ends there is nothing to measure, whatever interpolation says
    ends = signal["time"].values[[0, -1]]
    outside = np.array([stop <= ends[0] or start >= ends[1] for start, stop in windows], dtype=bool)
    finite = np.isfinite(found.series).all((1, 2)) & ~outside
    return found._replace(quality=np.where(finite, found.quality, 0.0)), "is dead or too disturbed"


def _filled(values: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """NaN and useless trials replaced by the median over the recording's usable trials, per column; 0 without any."""
    values = np.where(np.isfinite(values), values, np.nan)
    values[~valid] = np.nan
    axes = (0,) if values.ndim == 2 else (0, 2)
    known = np.isfinite(values).any(axes)
    centre = np.zeros(values.shape[1])
    if known.any():
        centre[known] = np.nanmedian(values[:, known], axis=axes)
    return np.where(np.isnan(values), centre[:, None] if values.ndim == 3 else centre, values)
