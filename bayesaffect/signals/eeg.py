"""EEG: filtering, repair of bad channels, average reference, band power and connectivity, quality per trial."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import mne
import numpy as np
import xarray as xr

from bayesaffect.errors import InputError
from bayesaffect.signals.window import Block, sampling_rate, window_slices

BANDS: Mapping[str, tuple[float, float]] = {
    "delta": (1.0, 4.0),
    "theta": (4.0, 8.0),
    "alpha": (8.0, 13.0),
    "beta": (13.0, 30.0),
    "gamma": (30.0, 45.0),
}
MONTAGES = ("biosemi32", "biosemi64")
MICROVOLT = {"uV": 1.0, "µV": 1.0, "μV": 1.0, "mV": 1e3, "V": 1e6}
FLAT = 0.1  # uV (sd of a second): below the noise of any amplifier that is connected to a head
ARTEFACT = 250.0  # uV peak to peak in a frame: beyond blinks of most people
LOST = 0.1  # share of missing samples that makes a channel bad
FLOOR = 1e-6  # uV^2: keeps the logarithm of a dead channel finite


def preprocess_eeg(
    eeg: xr.DataArray, *, line_frequency: float = 50.0, band: tuple[float, float] = (1.0, 45.0)
) -> xr.DataArray:
    """Clean EEG: band-pass, mains notch, repair of bad channels, average reference.

    Zero-phase FIR filters (MNE's defaults: Hamming window, firwin design) pass ``band``; mains and its harmonics are
    notched where the band-pass still lets them through. Flat and noisy channels (`find_bad_channels`) are replaced by
    spherical splines (Perrin et al. 1989) when every other channel is found by name in a standard montage, and by the
    mean of the good channels otherwise. Last, the mean over channels is subtracted from every sample.

    Parameters
    ----------
    eeg : (channel, time), ``attrs["units"]`` uV, mV or V, regular sampling.
    line_frequency : mains in Hz.
    band : pass band in Hz.

    Returns
    -------
    (channel, time) in uV, float64; ``attrs["bad_channels"]`` lists the repaired ones.

    Raises
    ------
    InputError : units that are not a voltage, irregular sampling, a band beyond half the rate, a signal shorter than
        the filter (3.3 s at 1 Hz), or fewer than two usable channels.
    """
    data, lost, rate = _filtered(eeg, line_frequency, band)
    names = [str(name) for name in eeg["channel"].values]
    bad = find_bad_channels(data, rate) | (lost.mean(axis=1) > LOST)
    attrs = {"units": "uV", "sampling_rate": rate, "bad_channels": tuple(np.array(names)[bad].tolist())}
    return eeg.copy(data=_repair(data, bad, names, rate)).assign_attrs(dict(eeg.attrs) | attrs)


def find_bad_channels(data: np.ndarray, rate: float) -> np.ndarray:
    """Flat or noisy channels: bool (channel,) from (channel, time) in uV.

    a_c = median over seconds of the sd of channel c, the median over channels taken off every sample (which removes
    what a missing reference adds to all). Flat: the channel's own sd is below 0.1 uV. Noisy: log a_c lies more than
    5 robust standard deviations (1.4826 MAD) above the median over channels, and a_c exceeds three times the median.
    """
    step = max(1, min(round(rate), data.shape[1]))
    count = data.shape[1] // step
    seconds = data[:, : count * step].reshape(len(data), count, step)
    flat = np.median(seconds.std(axis=2), axis=1) < FLAT
    good = ~flat
    if good.sum() < 3:
        return flat
    common = np.median(seconds[good], axis=0)
    amplitude = np.log(np.median((seconds - common).std(axis=2), axis=1) + 1e-12)
    middle = np.median(amplitude[good])
    spread = 1.4826 * np.median(np.abs(amplitude[good] - middle))
    return flat | (amplitude > middle + np.maximum(5 * spread, np.log(3)))


def extract_spectral_features(
    eeg: xr.DataArray, *, frame_s: float = 1.0, bands: Mapping[str, tuple[float, float]] = BANDS
) -> xr.DataArray:
    """Log band power per frame.

        L[b, c, k] = log10( sum_{f in [low_b, high_b)} S_ck(f) df + 1e-6 uV^2 )

    with S the multitaper density in uV^2/Hz (mne.time_frequency.psd_array_multitaper; Thomson 1982) of frame k, its
    mean removed, with a bandwidth of 4 / frame_s Hz, and df = 1 / frame_s.

    Parameters
    ----------
    eeg : (channel, time) in uV, regular sampling; samples after the last whole frame are not used.
    frame_s : length of a frame in s.
    bands : name -> (low, high) in Hz.

    Returns
    -------
    (band, channel, frame) log10 uV^2; ``frame`` is the frame's centre in s after the first sample.

    Raises
    ------
    InputError : no whole frame, or a band without a frequency.
    """
    frames, rate = _frames(eeg, frame_s)
    fmax = max(high for _, high in bands.values())
    power, freqs = mne.time_frequency.psd_array_multitaper(
        frames, rate, fmax=fmax, bandwidth=4 / frame_s, normalization="full", verbose="ERROR"
    )
    resolution = rate / frames.shape[-1]
    total = np.stack([power[..., _bins(freqs, edges, name)].sum(-1) * resolution for name, edges in bands.items()])
    coords = {
        "band": list(bands),
        "channel": [str(name) for name in eeg["channel"].values],
        "frame": (np.arange(frames.shape[0]) + 0.5) * frame_s,
    }
    log = np.log10(total + FLOOR).transpose(0, 2, 1)
    return xr.DataArray(log, dims=("band", "channel", "frame"), coords=coords, attrs={"units": "log10 uV^2"})


def extract_connectivity_features(
    eeg: xr.DataArray, *, frame_s: float = 1.0, bands: Mapping[str, tuple[float, float]] = BANDS
) -> xr.DataArray:
    """Coherence and phase locking of every pair of channels, averaged over the frequencies of a band.

    With X_ij(f, k) the cross-spectrum of frame k (multitaper, weights of the eigenvalues), E the mean over frames:

        coherence = |E X_ij| / sqrt(E X_ii  E X_jj)        phase locking = |E (X_ij / |X_ij|)|

    (Nunez et al. 1997; Lachaux et al. 1999; the definitions of mne-connectivity). Both are biased upwards by about
    1 / sqrt(frames); compare only values from equally many frames. Bands hold low <= f < high.

    Returns
    -------
    (measure, band, channel, other), measure = coherence, phase_locking; symmetric, 1 on the diagonal.

    Raises
    ------
    InputError : fewer than two whole frames, or a band without a frequency.
    """
    frames, rate = _frames(eeg, frame_s)
    if len(frames) < 2:
        raise InputError(
            f"connectivity needs two frames or more, there is {len(frames)}", remedy="choose shorter frames"
        )
    fmax = max(high for _, high in bands.values())
    spectra, freqs, weights = mne.time_frequency.psd_array_multitaper(
        frames, rate, fmax=fmax, bandwidth=4 / frame_s, output="complex", verbose="ERROR"
    )
    spectra = spectra * weights / np.sqrt((weights**2).sum(axis=-2, keepdims=True))
    channels = [str(name) for name in eeg["channel"].values]
    out = np.empty((2, len(bands), len(channels), len(channels)))
    for b, (name, edges) in enumerate(bands.items()):
        part = spectra[..., _bins(freqs, edges, name)].transpose(0, 3, 1, 2)  # frame, frequency, channel, taper
        cross = part @ part.conj().swapaxes(-1, -2)
        mean = cross.mean(axis=0)
        own = np.sqrt(np.maximum(np.einsum("fii->fi", mean).real, 1e-300))
        out[0, b] = (np.abs(mean) / (own[:, :, None] * own[:, None, :])).mean(axis=0)
        out[1, b] = np.abs((cross / np.maximum(np.abs(cross), 1e-300)).mean(axis=0)).mean(axis=0)
    out[:, :, np.arange(len(channels)), np.arange(len(channels))] = 1
    coords = {"measure": ["coherence", "phase_locking"], "band": list(bands), "channel": channels, "other": channels}
    return xr.DataArray(out, dims=("measure", "band", "channel", "other"), coords=coords)


def extract_block(
    eeg: xr.DataArray,
    windows: Sequence[tuple[float, float]],
    *,
    frame_s: float = 1.0,
    line_frequency: float = 50.0,
    bands: Mapping[str, tuple[float, float]] = BANDS,
) -> Block:
    """Band-power maps (trial, band, channel, frame) float32 of the windows of one recording.

    The whole recording is filtered once, so that a window shows no edge of the filter; a channel is repaired where it
    is bad in the recording or in the window. Quality of a trial = share of channels that needed no repair x share of
    frames where at least 80 % of those channels have all their samples and at most 250 uV peak to peak.
    """
    data, lost, rate = _filtered(eeg, line_frequency, (1.0, 45.0))
    names = [str(name) for name in eeg["channel"].values]
    time, always = eeg["time"].values, find_bad_channels(data, rate) | (lost.mean(axis=1) > LOST)
    length = windows[0][1] - windows[0][0]
    count = math.floor(length / frame_s + 1e-6)
    if count < 1:
        raise InputError(f"a window of {length:.3g} s holds no frame of {frame_s} s", remedy="choose shorter frames")
    maps = np.full((len(windows), len(bands), len(names), count), np.nan, np.float32)
    present, quality, reasons = np.zeros(len(windows), bool), np.zeros(len(windows)), [""] * len(windows)
    for k, part in enumerate(window_slices(time, windows, rate)):
        if part is None:
            reasons[k] = f"EEG was recorded from {time[0]:.2f} s to {time[-1]:.2f} s, which does not cover the window"
            continue
        bad = always | find_bad_channels(data[:, part], rate) | (lost[:, part].mean(axis=1) > 0.5)
        try:
            piece = _repair(data[:, part], bad, names, rate)
        except InputError as error:
            reasons[k] = error.what
            continue
        array = eeg[:, part].copy(data=piece).assign_attrs(sampling_rate=rate, units="uV")
        maps[k] = extract_spectral_features(array, frame_s=frame_s, bands=bands).values[..., :count]
        quality[k] = _quality(piece, lost[:, part], bad, round(frame_s * rate))
        present[k] = True
    coords = {"band": list(bands), "channel": names, "frame": (np.arange(count) + 0.5) * frame_s}
    block = xr.Dataset({"maps": (("trial", "band", "channel", "frame"), maps, {"units": "log10 uV^2"})}, coords)
    return Block(block, present, quality, tuple(reasons))


def _filtered(
    eeg: xr.DataArray, line_frequency: float, band: tuple[float, float]
) -> tuple[np.ndarray, np.ndarray, float]:
    """Samples after the filters in uV, which of them were missing before, and the rate."""
    rate = sampling_rate(eeg, where="EEG")
    if eeg.attrs.get("units") not in MICROVOLT:
        raise InputError(f"EEG has units {eeg.attrs.get('units')!r}", remedy="give uV, mV or V")
    low, high = band
    if not 0 < low < high < rate / 2:
        raise InputError(f"band {low}-{high} Hz does not fit a rate of {rate:g} Hz", remedy="lower the upper edge")
    if eeg.sizes["time"] < 3.3 / low * rate + 1:
        seconds = eeg.sizes["time"] / rate
        raise InputError(
            f"EEG of {seconds:.2g} s is shorter than its filter", remedy="give more data or raise the lower edge"
        )
    data = eeg.values.astype(float) * MICROVOLT[eeg.attrs["units"]]
    lost = ~np.isfinite(data)
    data = _fill(data, lost)
    upper = min(max(0.25 * high, 2.0), rate / 2 - high)  # MNE's transition width, made explicit for the notch below
    data = mne.filter.filter_data(data, rate, low, high, h_trans_bandwidth=upper, verbose="ERROR")
    mains = np.arange(line_frequency, min(high + upper, rate / 2 - 1), line_frequency) if line_frequency > 0 else []
    if len(mains):
        data = mne.filter.notch_filter(data, rate, mains, verbose="ERROR")
    return data, lost, rate


def _quality(data: np.ndarray, lost: np.ndarray, bad: np.ndarray, step: int) -> float:
    count = data.shape[1] // step
    data, lost = (a[~bad, : count * step].reshape(-1, count, step) for a in (data, lost))
    fine = (np.ptp(data, axis=2) <= ARTEFACT) & ~lost.any(axis=2)
    return float((~bad).mean() * (fine.mean(axis=0) >= 0.8).mean()) if len(data) else 0.0


def _repair(data: np.ndarray, bad: np.ndarray, names: list[str], rate: float) -> np.ndarray:
    """Bad channels interpolated, then the average reference."""
    if (~bad).sum() < 2:
        what = f"{int(bad.sum())} of {bad.size} EEG channels are flat or noisy"
        raise InputError(what, remedy="leave EEG out of this recording")
    data = data.copy()
    if bad.any():
        data[bad] = _interpolated(data, bad, names, rate)
    return data - data.mean(axis=0)


def _interpolated(data: np.ndarray, bad: np.ndarray, names: list[str], rate: float) -> np.ndarray:
    for name in MONTAGES:
        montage = mne.channels.make_standard_montage(name)
        known = {label.casefold(): label for label in montage.ch_names}
        if {label.casefold() for label in names} <= set(known) and (~bad).sum() >= 4:
            labels = [known[label.casefold()] for label in names]
            raw = mne.io.RawArray(data * 1e-6, mne.create_info(labels, rate, "eeg"), verbose="ERROR")
            raw.set_montage(montage, verbose="ERROR")
            raw.info["bads"] = [label for label, flag in zip(labels, bad, strict=True) if flag]
            raw.interpolate_bads(verbose="ERROR")
            return raw.get_data()[bad] * 1e6
    return np.broadcast_to(data[~bad].mean(axis=0), (int(bad.sum()), data.shape[1]))


def _fill(data: np.ndarray, lost: np.ndarray) -> np.ndarray:
    """Missing samples on the straight line between their neighbours; a channel without any becomes 0."""
    index = np.arange(data.shape[1])
    for c in np.flatnonzero(lost.any(axis=1)):
        kept = ~lost[c]
        data[c] = np.interp(index, index[kept], data[c, kept]) if kept.any() else 0.0
    return data


def _frames(eeg: xr.DataArray, frame_s: float) -> tuple[np.ndarray, float]:
    rate = sampling_rate(eeg, where="EEG")
    step = round(frame_s * rate)
    count = eeg.sizes["time"] // step if step else 0
    if count < 1:
        raise InputError(
            f"EEG of {eeg.sizes['time'] / rate:.3g} s holds no frame of {frame_s} s", remedy="choose shorter frames"
        )
    return eeg.values[:, : count * step].reshape(-1, count, step).swapaxes(0, 1).astype(float), rate


def _bins(freqs: np.ndarray, edges: tuple[float, float], name: str) -> np.ndarray:
    inside = (freqs >= edges[0] - 1e-9) & (freqs < edges[1] - 1e-9)
    if not inside.any():
        raise InputError(
            f"band {name!r} ({edges[0]}-{edges[1]} Hz) holds no frequency of these frames",
            remedy="choose longer frames",
        )
    return inside
