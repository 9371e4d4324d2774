"""Spectra of short frames of EEG: band power, differential entropy, asymmetry, slope."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import xarray as xr

from bayesaffect.errors import InputError
from bayesaffect.signals.eeg.electrodes import plain_name
from bayesaffect.signals.eeg.tapers import CHUNK, Spectra, bins, cut_frames, span_of, tapered_spectra
from bayesaffect.signals.window import sampling_rate

BANDS: Mapping[str, tuple[float, float]] = {
    "delta": (1.0, 4.0),
    "theta": (4.0, 8.0),
    "alpha": (8.0, 13.0),
    "beta": (13.0, 30.0),
    "gamma": (30.0, 45.0),
}
ASYMMETRY = (("F4", "F3"), ("F8", "F7"), ("AF4", "AF3"), ("Fp2", "Fp1"))
FLOOR = 1e-6  # uV^2: keeps the logarithm of a dead channel finite


def extract_spectral_features(
    eeg: xr.DataArray,
    *,
    frame_s: float = 1.0,
    method: str = "multitaper",
    bands: Mapping[str, tuple[float, float]] = BANDS,
) -> xr.DataArray:
    """Log band power per frame.

        L[b, c, k] = log10( sum_{f in [low_b, high_b)} S_ck(f) df + 1e-6 uV^2 ),     df = 1 / frame_s

    with S the density in uV^2/Hz of frame k, its mean removed. ``"multitaper"``: Thomson's, with a bandwidth of
    4 / frame_s Hz and the tapers of which at least 90 % lies within it (`mne.time_frequency.psd_array_multitaper`).
    ``"welch"``: the Hann periodogram of the frame (`mne.time_frequency.psd_array_welch`), whose mean over frames is
    Welch's estimate without overlap.

    Parameters
    ----------
    eeg : (channel, time) in uV, regular sampling; samples after the last whole frame are not used.
    frame_s : length of a frame in s.
    method : ``"multitaper"`` or ``"welch"``.
    bands : name -> (low, high) in Hz.

    Returns
    -------
    (band, channel, frame) log10 uV^2; ``frame`` is the frame's centre in s after the first sample.

    Raises
    ------
    InputError : no whole frame, a band without a frequency, or an unknown method.

    References
    ----------
    Thomson 1982, Proc. IEEE 70:1055; Welch 1967, IEEE Trans. Audio Electroacoust. 15:70.
    """
    frames, rate = cut_frames(eeg, frame_s)
    parts = []
    for first in range(0, len(frames), CHUNK):
        spectra = tapered_spectra(frames[first : first + CHUNK], rate, method=method, span=span_of(bands))
        parts.append(log_band_power(spectra.density, spectra, bands))
    coords = {
        "band": list(bands),
        "channel": [str(name) for name in eeg["channel"].values],
        "frame": (np.arange(len(frames)) + 0.5) * frame_s,
    }
    dims = ("band", "channel", "frame")
    return xr.DataArray(np.concatenate(parts, axis=2), dims=dims, coords=coords, attrs={"units": "log10 uV^2"})


def differential_entropy(power: xr.DataArray) -> xr.DataArray:
    """Differential entropy in nats of the signal in a band, from its log band power L (log10 uV^2).

        h = 0.5 log(2 pi e 10^L)

    the entropy of a Gaussian signal in uV whose variance is the power in the band (Duan et al. 2013, NER, 81). A
    band's variance is taken from the spectrum, not from a filtered signal.
    """
    nats = 0.5 * (np.log(2 * np.pi * np.e) + np.log(10) * power.values)
    return power.copy(data=nats).assign_attrs(units="nats")


def frontal_asymmetry(power: xr.DataArray, *, pairs: Sequence[tuple[str, str]] = ASYMMETRY) -> xr.DataArray:
    """Difference of log band power between the hemispheres.

        A[b, p] = ln P_b(right_p) - ln P_b(left_p),     ln P = ln(10) L

    for the pairs of which both channels are there, found by their plain names (Allen et al. 2004, Biological Psychology
    67:183). More alpha on the right gives a positive value.

    Parameters
    ----------
    power : (band, channel, ...) log10 uV^2.
    pairs : (right, left).

    Returns
    -------
    (band, pair, ...), coordinate ``pair`` = "right_left" as the channels are named in ``power``.
    """
    channels = [str(name) for name in power["channel"].values]
    places = {plain_name(name): k for k, name in reversed(list(enumerate(channels)))}
    there = [pair for pair in pairs if all(name.casefold() in places for name in pair)]
    right, left = ([places[pair[side].casefold()] for pair in there] for side in (0, 1))
    axis = power.get_axis_num("channel")
    values = np.log(10) * (power.values.take(right, axis) - power.values.take(left, axis))
    coords = {name: coord for name, coord in power.coords.items() if "channel" not in coord.dims}
    coords["pair"] = [f"{channels[a]}_{channels[b]}" for a, b in zip(right, left, strict=True)]
    dims = ["pair" if name == "channel" else name for name in power.dims]
    return xr.DataArray(values, dims=dims, coords=coords, attrs={"units": "ln uV^2"})


def welch_density(
    eeg: xr.DataArray,
    *,
    segment_s: float = 2.0,
    span: tuple[float, float] = (1.0, 45.0),
    usable: np.ndarray | None = None,
) -> xr.DataArray:
    """Welch's density: the mean Hann periodogram of segments that overlap by half, each with its mean removed.

    Parameters
    ----------
    eeg : (channel, time) in uV, regular sampling.
    segment_s : length of a segment in s.
    span : first and last frequency in Hz.
    usable : bool (time,); a segment that holds an unusable sample is left out.

    Returns
    -------
    (channel, frequency) in uV^2/Hz, NaN when no segment is left; equal to `mne.time_frequency.psd_array_welch`.

    Raises
    ------
    InputError : the signal is shorter than a segment.
    """
    rate = sampling_rate(eeg, where="EEG")
    cut_frames(eeg, segment_s)  # says what is wrong
    step = round(segment_s * rate)
    hop = max(1, step - step // 2)
    segments = np.lib.stride_tricks.sliding_window_view(eeg.values, step, axis=1)[:, ::hop].swapaxes(0, 1)
    if usable is not None:
        kept = np.lib.stride_tricks.sliding_window_view(usable, step)[::hop].all(axis=1)
        segments = segments[kept]
    total, spectra = 0.0, None
    for first in range(0, max(1, len(segments)), CHUNK):
        spectra = tapered_spectra(segments[first : first + CHUNK], rate, method="welch", span=span)
        total = total + spectra.density.sum(axis=1)
    mean = total / len(segments) if len(segments) else np.full(total.shape, np.nan)
    coords = {"channel": eeg["channel"].values, "frequency": spectra.frequencies}
    return xr.DataArray(mean.T, dims=("channel", "frequency"), coords=coords, attrs={"units": "uV^2/Hz"})


def spectral_slope(
    density: xr.DataArray, *, span: tuple[float, float] = (2.0, 40.0), without: tuple[float, float] = (7.0, 14.0)
) -> xr.DataArray:
    """Exponent of the 1/f part of a density: b in log10 S(f) = a - b log10 f.

    Fitted over ``span`` without the alpha band by iteratively reweighted least squares with Tukey's biweight
    (c = 4.685 robust standard deviations of the residuals), so that a remaining peak does not tilt the line
    (cf. Donoghue et al. 2020, Nature Neuroscience 23:1655).

    Parameters
    ----------
    density : (channel, frequency).
    span, without : in Hz, both ends included.

    Returns
    -------
    (channel,) b, NaN where the density is not positive and finite.

    Raises
    ------
    InputError : fewer than five frequencies to fit.
    """
    f = density["frequency"].values
    used = (f >= span[0]) & (f <= span[1]) & ~((f >= without[0]) & (f <= without[1]))
    if used.sum() < 5:
        raise InputError(f"a slope over {span[0]:g}-{span[1]:g} Hz has {used.sum()} frequencies", remedy="widen it")
    values = density.transpose("channel", "frequency").values[:, used]
    told = (np.isfinite(values) & (values > 0)).all(axis=1)
    x, y = np.log10(f[used]), np.log10(np.where(told[:, None], values, 1.0))
    weight = np.ones(y.shape)
    for _ in range(10):
        total = weight.sum(axis=1, keepdims=True)
        centre = (weight * x).sum(axis=1, keepdims=True) / total
        middle = (weight * y).sum(axis=1, keepdims=True) / total
        slope = (weight * (x - centre) * (y - middle)).sum(1) / (weight * (x - centre) ** 2).sum(1)
        rest = y - middle - slope[:, None] * (x - centre)
        scale = 1.4826 * np.median(np.abs(rest), axis=1, keepdims=True) + 1e-12
        weight = np.maximum(1 - (rest / (4.685 * scale)) ** 2, 0) ** 2
    return density.isel(frequency=0, drop=True).copy(data=np.where(told, -slope, np.nan)).assign_attrs(units="1")


def log_band_power(
    density: np.ndarray, spectra: Spectra, bands: Mapping[str, tuple[float, float]] = BANDS
) -> np.ndarray:
    """L (band, channel, frame) of `extract_spectral_features` from the density (frequency, frame, channel)."""
    return np.log10(band_power(density, spectra, bands)).transpose(0, 2, 1)


def band_power(density: np.ndarray, spectra: Spectra, bands: Mapping[str, tuple[float, float]] = BANDS) -> np.ndarray:
    """Power and its floor (band, frame, channel) in uV^2 from the density (frequency, frame, channel)."""
    power = np.stack([density[bins(spectra, edges, name)].sum(axis=0) for name, edges in bands.items()])
    return power * spectra.step + FLOOR
