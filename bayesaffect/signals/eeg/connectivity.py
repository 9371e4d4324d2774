"""Connectivity of EEG channels: coherence, imaginary coherence, phase locking, weighted phase lag."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import xarray as xr

from bayesaffect.errors import InputError
from bayesaffect.signals.eeg.spectral import BANDS
from bayesaffect.signals.eeg.tapers import CHUNK, Spectra, bins, cut_frames, span_of, tapered_spectra

MEASURES = ("coherence", "imaginary_coherence", "phase_locking", "weighted_phase_lag")
ROWS = 8  # channels whose pairs are summed at once: half of the square is never computed, the rest stays in the cache
DEAD = 1e-12  # uV^2/Hz: a channel whose mean density stays below carries nothing but rounding


def extract_connectivity_features(
    eeg: xr.DataArray,
    *,
    frame_s: float = 1.0,
    bands: Mapping[str, tuple[float, float]] = BANDS,
    keep: np.ndarray | None = None,
) -> xr.DataArray:
    """Four measures of connectivity of every pair of channels, averaged over the frequencies of a band.

    With X_ij(f, k) = sum_t X_ti conj(X_tj) the multitaper cross-spectrum of frame k and E the mean over frames:

        coherence            |E X_ij| / sqrt(E X_ii  E X_jj)
        imaginary coherence  Im(E X_ij) / sqrt(E X_ii  E X_jj)
        phase locking        |E (X_ij / |X_ij|)|
        weighted phase lag   |E Im X_ij| / E |Im X_ij|

    (Nunez et al. 1997; Nolte et al. 2004; Lachaux et al. 1999; Vinck et al. 2011), the definitions of mne-connectivity
    (``coh``, ``imcoh``, ``plv``, ``wpli``; ``mode="multitaper"``, ``mt_bandwidth=4 / frame_s``). Bands hold
    low <= f < high. Imaginary coherence has a sign: at (channel=i, other=j) it is positive where i leads j, and
    changes sign when they change places; the others are symmetric. Coherence and phase locking are biased upwards by
    about 1 / sqrt(frames): compare only values from equally many frames.

    Parameters
    ----------
    eeg : (channel, time) in uV, regular sampling; samples after the last whole frame are not used.
    frame_s : length of a frame in s.
    bands : name -> (low, high) in Hz.
    keep : bool (frame,), frames to use; all when ``None``.

    Returns
    -------
    (measure, band, channel, other); on the diagonal 1, 0, 1, 0. NaN for a channel without a signal.

    Raises
    ------
    InputError : fewer than two frames to use, or a band without a frequency.
    """
    frames, rate = cut_frames(eeg, frame_s)
    if keep is not None:
        if np.shape(keep) != (len(frames),):
            raise InputError(f"keep has shape {np.shape(keep)}, there are {len(frames)} frames")
        frames = frames[np.asarray(keep, bool)]
    if len(frames) < 2:
        raise InputError(
            f"connectivity needs two frames or more, there is {len(frames)}", remedy="choose shorter frames"
        )
    sums, spectra = 0.0, None
    for first in range(0, len(frames), CHUNK):
        spectra = tapered_spectra(frames[first : first + CHUNK], rate, span=span_of(bands))
        sums = sums + cross_sums(spectra)
    channels = [str(name) for name in eeg["channel"].values]
    coords = {"measure": list(MEASURES), "band": list(bands), "channel": channels, "other": channels}
    values = band_connectivity(sums, len(frames), spectra, bands)
    return xr.DataArray(values, dims=("measure", "band", "channel", "other"), coords=coords)


def cross_sums(spectra: Spectra, keep: np.ndarray | None = None) -> np.ndarray:
    """Sums over frames that all four measures are made of, one pass: (5, frequency, channel, channel).

    Re X, Im X, |Im X|, Re X/|X| and Im X/|X|, valid on and below the diagonal.
    """
    values = spectra.values if keep is None else spectra.values[:, :, keep]
    parts, count, frames, channels = values.shape
    # Re X_i conj(X_j) = (even, odd)_i . (even, odd)_j; Im = (odd, -even)_i . (even, odd)_j, sign changed where turned
    turn, sign = np.roll(np.arange(parts), parts // 2), np.where(np.tile(spectra.turned, 2), -1.0, 1.0)
    sign[parts // 2 :] *= -1
    out, ones = np.zeros((5, count, channels, channels)), np.ones(frames)
    work = np.empty((5, frames * min(ROWS, channels) * channels))  # reused: fresh memory would cost as much as the sums
    for f in range(count):
        plain = values[:, f]
        turned = plain[turn] * sign[:, None, None]
        right = plain.swapaxes(0, 1)
        for first in range(0, channels, ROWS):
            last = min(first + ROWS, channels)
            rows, block = slice(first, last), (last - first, last)
            room = work.ravel()[: 5 * frames * block[0] * block[1]].reshape(5, frames, *block)
            (cross, part), size = room[:4].reshape(2, frames, 2, *block), room[4]
            np.matmul(plain[..., rows].transpose(1, 2, 0), right[..., :last], out=cross[:, 0])
            np.matmul(turned[..., rows].transpose(1, 2, 0), right[..., :last], out=cross[:, 1])
            out[0:2, f, rows, :last] = (ones @ cross.reshape(frames, -1)).reshape(2, *block)
            np.abs(cross[:, 1], out=size)
            out[2, f, rows, :last] = (ones @ size.reshape(frames, -1)).reshape(block)
            np.multiply(cross, cross, out=part)
            np.add(part[:, 0], part[:, 1], out=size)
            size += 1e-300  # two dead channels: 0 / 1e-150, not 0 / 0
            np.sqrt(size, out=size)
            np.divide(cross, size[:, None], out=part)
            out[3:5, f, rows, :last] = (ones @ part.reshape(frames, -1)).reshape(2, *block)
    return out


def band_connectivity(
    sums: np.ndarray, frames: int, spectra: Spectra, bands: Mapping[str, tuple[float, float]] = BANDS
) -> np.ndarray:
    """The four measures (measure, band, channel, channel) from the sums over so many frames (`cross_sums`)."""
    re, im, lag, locked_re, locked_im = sums
    own = np.sqrt(np.maximum(np.einsum("fcc->fc", re), 0.0))
    scale = np.maximum(own[:, :, None] * own[:, None, :], 1e-300)
    per_frequency = np.stack(
        [np.hypot(re, im) / scale, im / scale, np.hypot(locked_re, locked_im) / frames, np.abs(im)]
    )
    np.divide(per_frequency[3], lag, out=per_frequency[3], where=lag > 0)
    out = np.stack([per_frequency[:, bins(spectra, edges, name)].mean(axis=1) for name, edges in bands.items()], axis=1)
    lower = np.tril(out, -1)
    upper = lower.swapaxes(-1, -2).copy()
    upper[1] *= -1
    out = lower + upper
    each = np.arange(out.shape[-1])
    out[::2, :, each, each] = 1.0
    dead = (spectra.scale[:, None] * own**2 / frames).mean(axis=0) < DEAD
    out[:, :, dead] = np.nan
    out[:, :, :, dead] = np.nan
    return out
