"""Trials in which one modality was disturbed at the sensor, as extraction would have handed them on.

What extraction makes of a disturbed recording was looked at on simulated recordings and is imitated here on its
results, so that thousands of disturbed trials cost seconds. `tests/pipeline/test_corrupt.py` runs the extraction on
recordings disturbed in earnest and compares.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import xarray as xr

from bayesaffect.errors import InputError
from bayesaffect.pipeline.examination.corrupt_quality import dead_channels, names_of, quality_left
from bayesaffect.signals.eeg.electrodes import spline_weights
from bayesaffect.signals.face.expression import MEASURES, STATISTICS, proxies, summarise
from bayesaffect.types import Trials

STRENGTHS = (0.2, 0.4, 0.6, 0.8, 1.0)
LIMIT = 5.0  # of standardised inputs
USELESS = 0.75  # share of a window from which on a flat signal is refused
BRIDGED = 0.5  # share of flat EEG frames up to which they are bridged
GREY = 128
LAG_S = 2.0  # s by which a modality lags at strength 1
Blocks = Callable[[xr.Dataset, float, np.random.Generator, np.ndarray], xr.Dataset]


def corrupt(trials: Trials, modality: str, kind: str, strength: float, *, seed: int) -> Trials:
    """Copies of the trials with one modality disturbed; truth and all else stay.

    Inputs must be those of `standardise`. Kinds, with strength s in (0, 1]:

    - ``noise``: white noise. Pixels: sd 80 s grey levels. EEG: 3 s times a channel's sd; noise has the same power at
      all frequencies and EEG falls with them, so the log power z becomes log(exp(z) + exp(f_b)), with the floor
      f_b = 1.7 log(3 s) + 6 b / (B - 1) of band b = 0..B-1. Physiology: series + s e, features + 2 s e, e standard
      normal.
    - ``occlusion``: a grey rectangle over the lower share s of all face crops, mouth first.
    - ``flat``: the sensor stops for the last share s of the window. Faces freeze. EEG maps hold their last value as
      long as extraction bridges the gap (s <= 0.5) and lie at -5 beyond; at s > 0.75 the trial is refused, that is, not
      present. Series hold their value; at s > 0.75 signals that must vary are invalid (0, ``<signal>_valid`` 0), while
      a flat temperature is taken for a steady one.
    - ``channels``: the share s of the channels (not the last two) is dead all the time: EEG interpolated from the
      others, signals of physiology invalid.
    - ``missing``: not present, whatever the strength.
    - ``shift``: the modality lags the clip by 2 s seconds: what frames and series hold at time t was there at t - 2 s,
      and before that the first value. A lag is of whole frames or samples, on every trial one of the two nearest, in
      shares that make the mean over trials 2 s. Features of physiology, summaries of a window, stay.

    A face's features and units are measured again on the disturbed pictures and put on the subject's scale. The
    quality follows where the disturbance says what it is (`quality_left`), and stays elsewhere.

    Raises
    ------
    InputError : unknown modality or kind, a kind that the modality cannot have, or a strength outside (0, 1].
    """
    if modality not in trials.modalities:
        raise InputError(f"no modality {modality!r}", remedy=f"there are {list(trials.modalities)}")
    if not 0 < strength <= 1:
        raise InputError(f"the strength is {strength}", remedy="give a number above 0, at most 1")
    block = trials.inputs[modality]
    family = str(block.attrs.get("encoder")).removesuffix("_raw")
    if kind not in KINDS.get(family, {}):
        there = ", ".join(KINDS.get(family, {})) or "none"
        raise InputError(f"{modality} cannot have the corruption {kind!r}", remedy=f"kinds for it: {there}")
    present = trials.present.copy(deep=True)
    column = list(trials.modalities).index(modality)
    here = present.values[:, column]
    rng = np.random.default_rng([seed, list(KINDS[family]).index(kind)])
    changed = KINDS[family][kind](block, strength, rng, trials.subject.values)
    gone = kind == "missing" or (family == "eeg" and strength > (USELESS if kind == "flat" else 1))
    if family == "physio" and "features" in changed:
        valid = [str(n).endswith("_valid") for n in names_of(changed)]
        gone = gone or (any(valid) and not changed["features"].values[here][:, valid].any())
    if gone:
        present.values[:, column] = False
    left = present.values[:, column]
    quality = trials.quality.copy(deep=True)
    quality.values[:, column] *= quality_left(trials, modality, changed, kind=kind, strength=strength)

    def blank(array: xr.DataArray) -> xr.DataArray:
        values = array.values.copy()
        values[~left] = np.nan if values.dtype.kind == "f" else 0
        return array.copy(data=values)

    inputs = {**trials.inputs, modality: changed.map(blank, keep_attrs=True)}
    return replace(trials, inputs=inputs, present=present, quality=quality.where(present, 0.0))


def _clipped(array: xr.DataArray, values: np.ndarray) -> xr.DataArray:
    return array.copy(data=np.clip(values, -LIMIT, LIMIT).astype(array.dtype))


def _same(block, strength, rng, subject):
    return block


def _held(values: np.ndarray, strength: float) -> np.ndarray:
    """(..., time) that stops for its last share ``strength``: from there on its last value."""
    first = max(values.shape[-1] - round(strength * values.shape[-1]), 0)
    held = values.copy()
    held[..., first:] = values[..., [max(first - 1, 0)]]
    return held


def _lagged(
    block: xr.Dataset, names: tuple[str, ...], dim: str, strength: float, rng: np.random.Generator
) -> xr.Dataset:
    """``block`` whose ``names`` come 2 s x ``strength`` later along ``dim``, seconds; the first value is held.

    By whole samples: the mean of two neighbours would be calmer than any that was measured, and networks notice.
    Rounded alike on all trials, frames of one second would know three lags for five strengths, and none below 0.5 s.
    """
    there = [name for name in names if name in block and dim in block[name].dims]
    if not there:
        return block
    at, trials = block[dim].values.astype(float), block.sizes["trial"]
    step = (at[-1] - at[0]) / (at.size - 1) if at.size > 1 else 1.0
    up = (rng.permutation(trials) + 0.5) / trials
    later = np.floor(LAG_S * strength / step + up).astype(int)
    source = np.maximum(np.arange(at.size) - later[:, None], 0)

    def lag(array: xr.DataArray) -> xr.DataArray:
        axes = [source.shape[("trial", dim).index(d)] if d in ("trial", dim) else 1 for d in array.dims]
        return array.copy(data=np.take_along_axis(array.values, source.reshape(axes), array.dims.index(dim)))

    return block.assign({name: lag(block[name]) for name in there})


def _eeg_shift(block, strength, rng, subject):
    return _lagged(_lagged(block, ("maps",), "frame", strength, rng), ("raw",), "time", strength, rng)


def _physio_shift(block, strength, rng, subject):
    return _lagged(block, ("series",), "time", strength, rng)


def _eeg_noise(block, strength, rng, subject):
    maps = block["maps"]
    bands = maps.sizes["band"]
    floor = 1.7 * np.log(3 * strength) + 6 * np.arange(bands) / max(bands - 1, 1)
    changed = {"maps": _clipped(maps, np.logaddexp(maps.values, floor[:, None, None]))}
    if "raw" in block:
        raw = block["raw"].values
        changed["raw"] = _clipped(block["raw"], raw + 3 * strength * rng.standard_normal(raw.shape))
    return block.assign(changed)


def _eeg_flat(block, strength, rng, subject):
    maps = block["maps"].values
    first = maps.shape[-1] - round(strength * maps.shape[-1])
    held = _held(maps, strength)
    if strength > BRIDGED:
        held[..., first:] = -LIMIT
    changed = {"maps": _clipped(block["maps"], held)}
    if "raw" in block:
        raw = block["raw"].values.copy()
        raw[..., raw.shape[-1] - round(strength * raw.shape[-1]) :] = 0
        changed["raw"] = _clipped(block["raw"], raw)
    return block.assign(changed)


def _eeg_channels(block, strength, rng, subject):
    """Dead channels as the mean of the others with the sizes of the splines' weights: power has no sign."""
    names = tuple(str(n) for n in block["channel"].values)
    count = dead_channels(len(names), strength)
    maps = block["maps"].values.copy()
    changed = {}
    for person in np.unique(subject):  # a cap sits once per session
        bad = np.zeros(len(names), bool)
        bad[rng.permutation(len(names))[:count]] = True
        weight = np.abs(spline_weights(names, tuple(bad.tolist())))
        weight = weight / weight.sum(1, keepdims=True)
        rows = np.flatnonzero(subject == person)
        maps[np.ix_(rows, np.arange(maps.shape[1]), np.flatnonzero(bad))] = weight @ maps[rows][:, :, ~bad]
        if "raw" in block:
            raw = changed.get("raw", block["raw"].values.copy())
            raw[np.ix_(rows, np.flatnonzero(bad))] = weight @ raw[rows][:, ~bad]
            changed["raw"] = raw
    return block.assign(
        {"maps": _clipped(block["maps"], maps)} | {k: _clipped(block[k], v) for k, v in changed.items()}
    )


def _physio_noise(block, strength, rng, subject):
    changed = {}
    for name, size in (("series", 1.0), ("features", 2.0)):
        if name in block:
            values = block[name].values + size * strength * rng.standard_normal(block[name].shape)
            if name == "features":
                flags = [n.endswith("_valid") for n in names_of(block)] or [False] * values.shape[1]
                values[:, flags] = block[name].values[:, flags]
            changed[name] = _clipped(block[name], values)
    return block.assign(changed)


def _physio_flat(block, strength, rng, subject):
    if "series" in block:
        block = block.assign(series=block["series"].copy(data=_held(block["series"].values, strength)))
    signals = [n.removesuffix("_valid") for n in names_of(block) if n.endswith("_valid")]
    return _invalid(block, [s for s in signals if s != "temperature"]) if strength > USELESS else block


def _physio_channels(block, strength, rng, subject):
    signals = [n.removesuffix("_valid") for n in names_of(block) if n.endswith("_valid")]
    count = min(max(round(strength * len(signals)), 1), len(signals))
    return _invalid(block, [signals[k] for k in rng.permutation(len(signals))[:count]])


def _invalid(block: xr.Dataset, signals: list[str]) -> xr.Dataset:
    """The block with signals that could not be used: their columns, and their flags, are 0."""
    changed = {}
    for name, dim in (("series", "signal"), ("features", "feature")):
        if name in block and dim in block[name].coords:
            values = block[name].values.copy()
            values[:, [any(str(c).startswith(f"{s}_") for s in signals) for c in block[dim].values]] = 0
            changed[name] = block[name].copy(data=values)
    return block.assign(changed)


def _face_noise(block, strength, rng, subject):
    def noisy(crops):
        return np.clip(crops + 80 * strength * rng.standard_normal(crops.shape), 0, 255)

    return _again(block, noisy, subject)


def _face_occlusion(block, strength, rng, subject):
    def hidden(crops):
        crops = crops.copy()
        crops[:, round((1 - strength) * crops.shape[1]) :] = GREY
        return crops

    return _again(block, hidden, subject)


def _face_flat(block, strength, rng, subject):
    def frozen(crops):
        return np.moveaxis(_held(np.moveaxis(crops, 0, -1), strength), -1, 0)

    return _again(block, frozen, subject)


def _face_shift(block, strength, rng, subject):
    return _measured(block, _lagged(block, ("crops", "visible", "units"), "frame", strength, rng), subject)


def _again(block: xr.Dataset, change: Callable[[np.ndarray], np.ndarray], subject: np.ndarray) -> xr.Dataset:
    """The block with changed crops, its features and units measured on them and scaled as the usual ones were."""
    crops = block["crops"]
    other = np.stack([change(trial.astype(np.float32)) for trial in crops.values]).round().astype(crops.dtype)
    return _measured(block, block.assign(crops=crops.copy(data=other)), subject)


def _measured(block: xr.Dataset, strange: xr.Dataset, subject: np.ndarray) -> xr.Dataset:
    """``strange`` with features and units of its own pictures, on the scale of those of ``block``."""
    ours = [f"{m}_{s}" for m in MEASURES for s in STATISTICS]
    if (
        names_of(block) != ours or "crops" not in block
    ):  # units by another program: it would have to look at the pictures
        return strange
    seen = (block["visible"].values > 0).any(1) & (strange["visible"].values > 0).any(1)
    shape = (len(seen), block.sizes["frame"], len(MEASURES))
    tables = [np.full((len(seen), len(ours)), np.nan) for _ in range(2)]
    courses = [np.full(shape, np.nan) for _ in range(2)]
    for each, table, course in zip((block, strange), tables, courses, strict=True):
        pictures, visible = each["crops"].values, each["visible"].values > 0
        for k in np.flatnonzero(seen):
            track = proxies(pictures[k], visible[k])
            table[k], course[k] = summarise(track).values, track.values
    changed = {"features": _clipped(block["features"], np.nan_to_num(_rescaled(*tables, subject)))}
    if "units" in block:
        changed["units"] = _clipped(block["units"], np.nan_to_num(_rescaled(*courses, subject)))
    return strange.assign(changed)


def _rescaled(usual: np.ndarray, strange: np.ndarray, subject: np.ndarray) -> np.ndarray:
    """``strange`` (trial, ..., column) less the mean of ``usual``, over its sd, within each subject."""
    out = np.full(strange.shape, np.nan)
    over = tuple(range(usual.ndim - 1))
    for person in np.unique(subject):
        rows = subject == person
        if np.isfinite(usual[rows]).any():
            mean, sd = np.nanmean(usual[rows], axis=over), np.nanstd(usual[rows], axis=over)
            out[rows] = np.where(sd > 1e-9, (strange[rows] - mean) / np.maximum(sd, 1e-9), 0.0)
    return out


KINDS: dict[str, dict[str, Blocks]] = {
    "eeg": {"noise": _eeg_noise, "flat": _eeg_flat, "channels": _eeg_channels, "missing": _same, "shift": _eeg_shift},
    "face": {
        "noise": _face_noise,
        "occlusion": _face_occlusion,
        "flat": _face_flat,
        "missing": _same,
        "shift": _face_shift,
    },
    "physio": {
        "noise": _physio_noise,
        "flat": _physio_flat,
        "channels": _physio_channels,
        "missing": _same,
        "shift": _physio_shift,
    },
}
