"""What a laboratory reads of one trial of EEG, in raw units: a row of features and a table of connectivity."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import xarray as xr

from bayesaffect.signals.eeg.connectivity import MEASURES, band_connectivity, cross_sums
from bayesaffect.signals.eeg.spectral import (
    band_power,
    differential_entropy,
    frontal_asymmetry,
    spectral_slope,
    welch_density,
)
from bayesaffect.signals.eeg.tapers import Spectra, cut_frames

HJORTH = ("activity", "mobility", "complexity")
SEGMENT_S = 2.0  # of the density that the slope is fitted to
LEAST_FRAMES = 5  # clear frames without which connectivity cannot be told


def extract_hjorth_features(eeg: xr.DataArray, *, frame_s: float = 1.0) -> xr.DataArray:
    """Activity, mobility and complexity of every frame.

        activity = var(x)      mobility = M(x) = sqrt(var(x') / var(x))      complexity = M(x') / M(x)

    with x' the difference of neighbouring samples times the sampling rate (Hjorth 1970, Electroencephalography and
    Clinical Neurophysiology 29:306). A sine of f Hz, sampled clearly, has mobility 2 pi f and complexity 1.

    Parameters
    ----------
    eeg : (channel, time) in uV, regular sampling.
    frame_s : length of a frame in s.

    Returns
    -------
    (parameter, channel, frame): activity in uV^2, mobility in 1/s, complexity without unit; the last two are NaN
    where the signal is constant.

    Raises
    ------
    InputError : no whole frame.
    """
    frames, rate = cut_frames(eeg, frame_s)
    coords = {
        "parameter": list(HJORTH),
        "channel": [str(name) for name in eeg["channel"].values],
        "frame": (np.arange(len(frames)) + 0.5) * frame_s,
    }
    values = _hjorth(*(variance.T for variance in _variances(frames, rate)))
    return xr.DataArray(values, dims=("parameter", "channel", "frame"), coords=coords)


def trial_features(
    piece: xr.DataArray,
    density: np.ndarray,
    spectra: Spectra,
    *,
    clear: np.ndarray,
    bad: np.ndarray,
    bands: Mapping[str, tuple[float, float]],
) -> dict[str, float]:
    """Features of one trial over its clear frames.

    ``power_<band>_<channel>_log10_uv2``: log10 of the mean band power; ``entropy_<band>_<channel>_nats``: mean
    differential entropy of the frames; ``asymmetry_<band>_<right>_<left>``: difference of ln band power;
    ``slope_<channel>``: `spectral_slope` of Welch's density (2 s segments); ``hjorth_activity_<channel>_uv2``,
    ``hjorth_mobility_<channel>_per_s``, ``hjorth_complexity_<channel>``: Hjorth's parameters from the mean variances;
    ``frames_used``: how many frames all this rests on. NaN for a bad channel (what is interpolated says nothing of
    its own) and where no frame is clear.

    Parameters
    ----------
    piece : (channel, time) in uV, clean.
    density : (frame, channel, frequency) of ``spectra``.
    clear : bool (frame,).
    bad : bool (channel,).
    """
    names = [str(name) for name in piece["channel"].values]
    step, rate = round(piece.attrs["sampling_rate"] / spectra.step), piece.attrs["sampling_rate"]
    frames = piece.values[:, : clear.size * step].reshape(len(names), -1, step).swapaxes(0, 1)
    told = np.where(bad | ~clear.any(), np.nan, 1.0)
    weight = clear / max(1, clear.sum())
    power = band_power(density, spectra, bands)
    coords = {"band": list(bands), "channel": names}
    level = xr.DataArray(np.log10(weight @ power + 1e-300) * told, dims=("band", "channel"), coords=coords)
    entropy = differential_entropy(level.copy(data=weight @ np.log10(power) * told))
    asymmetry = frontal_asymmetry(level)
    out = {}
    for name, values in zip(bands, level.values, strict=True):
        out |= {f"power_{name}_{c}_log10_uv2": v for c, v in zip(names, values, strict=True)}
    for name, values in zip(bands, entropy.values, strict=True):
        out |= {f"entropy_{name}_{c}_nats": v for c, v in zip(names, values, strict=True)}
    for name, values in zip(bands, asymmetry.values, strict=True):
        out |= {f"asymmetry_{name}_{p}": v for p, v in zip(asymmetry["pair"].values, values, strict=True)}
    out |= {f"slope_{c}": v for c, v in zip(names, _slope(piece, clear, step) * told, strict=True)}
    variances = (weight @ variance * told for variance in _variances(frames, rate))
    for values, parameter, unit in zip(_hjorth(*variances), HJORTH, ("_uv2", "_per_s", ""), strict=True):
        out |= {f"hjorth_{parameter}_{c}{unit}": v for c, v in zip(names, values, strict=True)}
    return out | {"frames_used": float(clear.sum())}


def trial_connectivity(
    spectra: Spectra, *, clear: np.ndarray, bad: np.ndarray, bands: Mapping[str, tuple[float, float]]
) -> np.ndarray:
    """Connectivity (measure, band, pair) of the pairs of `pair_names` over the clear frames.

    NaN for pairs with a bad channel, and for all with fewer than five clear frames.
    """
    first, second = np.tril_indices(bad.size, -1)
    if clear.sum() < LEAST_FRAMES:
        return np.full((len(MEASURES), len(bands), first.size), np.nan)
    table = band_connectivity(cross_sums(spectra, clear), int(clear.sum()), spectra, bands)[..., first, second]
    table[..., bad[first] | bad[second]] = np.nan
    return table


def pair_names(names: Sequence[str]) -> tuple[list[str], list[str]]:
    """Channels a and b of every pair: row and column of the lower triangle, row by row."""
    first, second = np.tril_indices(len(names), -1)
    return [names[k] for k in first], [names[k] for k in second]


def _slope(piece: xr.DataArray, clear: np.ndarray, step: int) -> np.ndarray:
    """Spectral slope of every channel from segments without a rejected frame; NaN for windows that hold none."""
    segment = round(SEGMENT_S * piece.attrs["sampling_rate"])
    if clear.size * step < segment:
        return np.full(piece.sizes["channel"], np.nan)
    inside = piece.isel(time=slice(clear.size * step))
    return spectral_slope(welch_density(inside, segment_s=SEGMENT_S, usable=np.repeat(clear, step))).values


def _variances(frames: np.ndarray, rate: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Variance of every frame (frame, channel), of its first and of its second differences, per s."""
    first = np.diff(frames, axis=2)
    second = np.diff(first, axis=2)
    return _variance(frames), rate**2 * _variance(first), rate**4 * _variance(second)


def _variance(x: np.ndarray) -> np.ndarray:
    x = x - x.mean(axis=2, keepdims=True)
    return np.einsum("kct,kct->kc", x, x) / x.shape[2]


def _hjorth(own: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Activity, mobility, complexity from the three variances."""
    with np.errstate(divide="ignore", invalid="ignore"):
        mobility = np.sqrt(np.where(own > 0, first / own, np.nan))
        return np.stack([own, mobility, np.sqrt(np.where(first > 0, second / first, np.nan)) / mobility])
