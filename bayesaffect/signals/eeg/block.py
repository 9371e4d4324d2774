"""EEG of one recording, cut into trials: band-power maps for networks, measures for people, quality."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import xarray as xr

from bayesaffect.errors import InputError
from bayesaffect.signals.eeg.connectivity import MEASURES
from bayesaffect.signals.eeg.measures import pair_names, trial_connectivity, trial_features
from bayesaffect.signals.eeg.preprocess import filtered
from bayesaffect.signals.eeg.raw import RATE, clipped, resampled, silenced
from bayesaffect.signals.eeg.repair import clear_frames, find_bad_channels, fine_frames, repair
from bayesaffect.signals.eeg.spectral import BANDS, log_band_power
from bayesaffect.signals.eeg.tapers import cut_frames, frame_samples, span_of, tapered_spectra
from bayesaffect.signals.window import Block, window_slices

BRIDGED = 0.25  # share of clear frames from which on the others are bridged
RING_S = 1.0  # s over which the filter rings around a gross artefact


def extract_block(
    eeg: xr.DataArray,
    windows: Sequence[tuple[float, float]],
    *,
    frame_s: float = 1.0,
    line_frequency: float = 50.0,
    bands: Mapping[str, tuple[float, float]] = BANDS,
    connectivity: bool = True,
    raw: bool = False,
) -> Block:
    """Band-power maps (trial, band, channel, frame) float32 of the windows of one recording, and measures.

    The whole recording is filtered once, so that a window shows no edge of the filter; a channel is repaired where it
    is bad in the recording or in the window. Maps are `extract_spectral_features` (multitaper) of the window. A frame
    with a gross artefact (not one of `fine_frames`), or within 1 s of one, where the filter rings, is left out of the
    measures; in the maps its log power is bridged by a straight line in time between the nearest clear frames (the
    nearest one at an end), as long as a quarter of the frames are clear; otherwise the maps stay as measured and the
    quality tells.

    With ``raw=True`` the block also holds ``raw`` (trial, channel, time) float32 in uV, the cleaned samples at 128 Hz
    (`resampled`) without far outliers (`clipped`), 0 where the maps are bridged (`silenced`), and ``attrs["encoder"]``
    is ``"eeg_raw"``: 265 MB for 540 trials of 30 s with 32 channels.

    Quality of a trial = share of channels that needed no repair x share of fine frames.

    ``measures``: ``features`` (trial, feature) float32, see `trial_features`, and with ``connectivity=True`` also
    ``connectivity`` (trial, measure, band, pair) float32, see `extract_connectivity_features`, of the pairs below the
    diagonal (``channel_a`` is the row, ``channel_b`` the column).

    Raises
    ------
    InputError : as `preprocess_eeg`, or windows that hold no frame.
    """
    clean = filtered(eeg, line_frequency, (1.0, 45.0))
    time, always = eeg["time"].values, clean.bad()
    length = windows[0][1] - windows[0][0]
    step = frame_samples(frame_s, clean.rate)
    count = min(math.floor(length / frame_s + 1e-6), round(length * clean.rate) // step)
    if count < 1:
        raise InputError(f"a window of {length:.3g} s holds no frame of {frame_s} s", remedy="choose shorter frames")
    names, trials = list(clean.names), len(windows)
    pairs = len(names) * (len(names) - 1) // 2
    maps = np.full((trials, len(bands), len(names), count), np.nan, np.float32)
    table = np.full((trials, len(MEASURES), len(bands), pairs), np.nan, np.float32) if connectivity else None
    features: list[dict[str, float]] = [{} for _ in windows]
    present, quality, reasons = np.zeros(trials, bool), np.zeros(trials), [""] * trials
    samples = np.full((trials, len(names), round(count * frame_s * RATE)), np.nan, np.float32) if raw else None
    for k, part in enumerate(window_slices(time, windows, clean.rate)):
        if part is None:
            reasons[k] = f"EEG was recorded from {time[0]:.2f} s to {time[-1]:.2f} s, which does not cover the window"
            continue
        bad = always | find_bad_channels(clean.data[:, part], clean.rate) | (clean.spoilt(part).mean(axis=1) > 0.5)
        try:
            piece = repair(clean.data[:, part], bad, clean.names)
        except InputError as error:
            reasons[k] = error.what
            continue
        array = eeg[:, part].copy(data=piece).assign_attrs(sampling_rate=clean.rate, units="uV")
        frames, _ = cut_frames(array, frame_s)
        frames = frames[:count]
        fine = fine_frames(frames.swapaxes(0, 1)[~bad], clean.spoilt_frames(part, count, step)[~bad])
        spectra = tapered_spectra(frames, clean.rate, span=span_of(bands))
        density = spectra.density
        clear = clear_frames(fine, math.ceil(RING_S / frame_s))
        maps[k] = bridge(log_band_power(density, spectra, bands), clear)
        if raw:
            wide = repair(resampled(clean.data, part.start, samples.shape[2], rate=clean.rate), bad, clean.names)
            at = np.minimum(np.arange(samples.shape[2]) / RATE / frame_s, count - 1).astype(int)
            kept = clear[at] if clear.mean() >= BRIDGED else np.ones(at.size, bool)
            samples[k] = silenced(clipped(wide, kept), kept)
        features[k] = trial_features(array, density, spectra, clear=clear, bad=bad, bands=bands)
        if connectivity:
            table[k] = trial_connectivity(spectra, clear=clear, bad=bad, bands=bands)
        quality[k] = (~bad).mean() * fine.mean()
        present[k] = True
    coords = {"band": list(bands), "channel": names, "frame": (np.arange(count) + 0.5) * frame_s}
    block = xr.Dataset({"maps": (("trial", "band", "channel", "frame"), maps, {"units": "log10 uV^2"})}, coords)
    if raw:
        block = block.assign(raw=(("trial", "channel", "time"), samples, {"units": "uV", "sampling_rate": RATE}))
        block = block.assign_coords(time=np.arange(samples.shape[2]) / RATE).assign_attrs(encoder="eeg_raw")
    return Block(block, present, quality, tuple(reasons), _measures(features, table, names, bands))


def bridge(maps: np.ndarray, clear: np.ndarray) -> np.ndarray:
    """Maps (..., frame) whose frames that are not clear lie on the line between the nearest clear ones.

    At an end the nearest clear frame is repeated. Fewer than a quarter clear frames: the maps as they are.
    """
    if clear.all() or clear.mean() < BRIDGED:
        return maps
    at, known = np.flatnonzero(~clear), np.flatnonzero(clear)
    after = np.searchsorted(known, at)
    left, right = known[np.maximum(after - 1, 0)], known[np.minimum(after, known.size - 1)]
    share = np.clip((at - left) / np.maximum(right - left, 1), 0, 1)
    maps = maps.copy()
    maps[..., at] = (1 - share) * maps[..., left] + share * maps[..., right]
    return maps


def _measures(
    features: list[dict[str, float]], table: np.ndarray | None, names: list[str], bands: Mapping[str, object]
) -> xr.Dataset:
    """Rows of features and, where wanted, tables of connectivity, with their names; {} for a trial without."""
    columns = list(max(features, key=len))
    rows = np.array([[row.get(name, np.nan) for name in columns] for row in features], np.float32)
    out = xr.Dataset({"features": (("trial", "feature"), rows.reshape(len(features), len(columns)))})
    out = out.assign_coords(feature=np.array(columns, dtype=str))
    if table is None:
        return out
    first, second = pair_names(names)
    labels = np.array([f"{a}-{b}" for a, b in zip(first, second, strict=True)], dtype=str)
    coords = {"measure": list(MEASURES), "band": list(bands), "pair": labels}
    coords |= {"channel_a": ("pair", np.array(first, dtype=str)), "channel_b": ("pair", np.array(second, dtype=str))}
    out["connectivity"] = ("trial", "measure", "band", "pair"), table
    return out.assign_coords(coords)
