"""Fourier transforms of tapered frames of EEG, at the few frequencies that are wanted."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple

import mne
import numpy as np
import xarray as xr
from scipy import signal

from bayesaffect.errors import InputError
from bayesaffect.signals.window import sampling_rate

METHODS = ("multitaper", "welch")
LEAST = 8  # samples of a frame
CHUNK = 256  # frames transformed at once: bounds the memory of a long recording


class Spectra(NamedTuple):
    """Tapered Fourier transforms X_t of frames of EEG, in real numbers.

    With w_t the tapers (multitaper: weighted by the square roots of their eigenvalues), the density of channel c in
    frame k is S_ck(f) = scale(f) sum_t |X_tck(f)|^2, and the cross-spectrum of two channels is
    sum_t X_ti(f) conj(X_tj(f)).

    Parameters
    ----------
    values : (part, frequency, frame, channel). Parts 0..T-1 hold the real part of the transform by each of the T
        tapers, or the imaginary part where ``turned``; parts T..2T-1 hold the other one.
    turned : bool (taper,).
    frequencies : (frequency,) in Hz.
    scale : (frequency,) in 1/Hz; ``step`` : distance of the frequencies in Hz.
    """

    values: np.ndarray
    turned: np.ndarray
    frequencies: np.ndarray
    scale: np.ndarray
    step: float

    @property
    def density(self) -> np.ndarray:
        """S (frequency, frame, channel) in uV^2/Hz."""
        return self.scale[:, None, None] * np.einsum("pfkc,pfkc->fkc", self.values, self.values)


def tapered_spectra(
    frames: np.ndarray, rate: float, *, method: str = "multitaper", span: tuple[float, float] = (1.0, 45.0)
) -> Spectra:
    """Tapered transforms of frames (frame, channel, sample) at the frequencies span[0] <= f <= span[1] (Hz).

    One product with a matrix of taper x cosine and sine replaces the FFT of every taper: few of its frequencies are
    wanted. Tapers are symmetric or antisymmetric about the frame's middle, so x(t) + x(-t) and x(t) - x(-t) each need
    half of the matrix.

    Raises
    ------
    InputError : unknown method.
    """
    if method not in METHODS:
        raise InputError(f"the method is {method!r}", remedy=f"use one of {', '.join(METHODS)}")
    size = frames.shape[2]
    basis = _basis(size, float(rate), method, *map(float, span))
    pairs = (size + 1) // 2
    total = np.empty((*frames.shape[:2], size // 2 + 1))
    total[..., 0] = frames[..., 0]
    np.add(frames[..., 1:pairs], frames[..., : size - pairs : -1], out=total[..., 1:pairs])
    if size % 2 == 0:
        total[..., -1] = frames[..., pairs]
    difference = np.empty((*frames.shape[:2], pairs))
    difference[..., 0] = frames[..., 0] - frames.mean(axis=2)  # has no partner: the last sample's is beyond the frame
    np.subtract(frames[..., 1:pairs], frames[..., : size - pairs : -1], out=difference[..., 1:])
    half = basis.turned.size * basis.frequencies.size
    values = np.empty((2 * half, frames.shape[0] * frames.shape[1]))
    np.matmul(basis.even.T, total.reshape(-1, total.shape[2]).T, out=values[:half])
    np.matmul(basis.odd.T, difference.reshape(-1, difference.shape[2]).T, out=values[half:])
    values = values.reshape(2 * basis.turned.size, basis.frequencies.size, *frames.shape[:2])
    return Spectra(values, basis.turned, basis.frequencies, basis.scale, rate / size)


def bins(spectra: Spectra, edges: tuple[float, float], name: str) -> slice:
    """The frequencies low <= f < high of a band."""
    first, last = np.searchsorted(spectra.frequencies, (edges[0] - 1e-9, edges[1] - 1e-9))
    if first == last:
        raise InputError(
            f"band {name!r} ({edges[0]}-{edges[1]} Hz) holds no frequency of these frames",
            remedy="choose longer frames",
        )
    return slice(int(first), int(last))


def span_of(bands: Mapping[str, tuple[float, float]]) -> tuple[float, float]:
    """Lowest and highest edge of the bands in Hz."""
    if not bands:
        raise InputError("there is no band", remedy='give bands such as {"alpha": (8, 13)}')
    return min(low for low, _ in bands.values()), max(high for _, high in bands.values())


def frame_samples(frame_s: float, rate: float) -> int:
    """Samples of a frame; `InputError` below eight, of which no spectrum can be told."""
    if not np.isfinite(frame_s) or round(frame_s * rate) < LEAST:
        raise InputError(
            f"a frame of {frame_s:g} s at {rate:g} Hz holds fewer than {LEAST} samples", remedy="choose longer frames"
        )
    return round(frame_s * rate)


def cut_frames(eeg: xr.DataArray, frame_s: float) -> tuple[np.ndarray, float]:
    """Whole frames (frame, channel, sample), a view, and the sampling rate."""
    rate = sampling_rate(eeg, where="EEG")
    step = frame_samples(frame_s, rate)
    count = eeg.sizes["time"] // step
    if count < 1:
        raise InputError(
            f"EEG of {eeg.sizes['time'] / rate:.3g} s holds no frame of {frame_s} s", remedy="choose shorter frames"
        )
    values = eeg.transpose("channel", "time").values.astype(float, copy=False)
    return values[:, : count * step].reshape(-1, count, step).swapaxes(0, 1), rate


class _Basis(NamedTuple):
    even: np.ndarray
    odd: np.ndarray
    turned: np.ndarray
    frequencies: np.ndarray
    scale: np.ndarray


@lru_cache(maxsize=16)
def _basis(size: int, rate: float, method: str, low: float, high: float) -> _Basis:
    frequencies = np.fft.rfftfreq(size, 1 / rate)
    kept = np.flatnonzero((frequencies >= low - 1e-9) & (frequencies <= high + 1e-9))
    if method == "welch":
        tapers, weights = signal.get_window("hann", size)[None], np.ones(1)
        energy = (tapers**2).sum()
    else:  # a bandwidth of four frequency steps: normalised half-bandwidth 2
        tapers, ratio = mne.time_frequency.dpss_windows(size, 2.0, 4, sym=False, low_bias=True)
        weights, energy = np.sqrt(ratio), ratio.sum()
    turned = np.arange(len(tapers)) % 2 == 1  # tapers of odd order are antisymmetric
    angle = 2 * np.pi * (np.outer(np.arange(size), kept) % size) / size
    waves = np.stack([np.cos(angle), -np.sin(angle)])  # real and imaginary part of exp(-i angle)
    waves = waves[:, :, None] * (weights[:, None] * tapers).T[:, :, None]  # part, sample, taper, frequency
    even, odd = (np.where(turned[:, None], *pair) for pair in (waves[::-1], waves))
    even = (even - even.mean(axis=0))[: size // 2 + 1]  # the frame's mean drops out of even columns here
    odd = odd[: (size + 1) // 2]  # and out of odd ones by the difference, but for the first sample
    scale = np.where((kept == 0) | (2 * kept == size), 1.0, 2.0) / (energy * rate)
    arrays = even.reshape(len(even), -1), odd.reshape(len(odd), -1), turned, frequencies[kept], scale
    for array in arrays:
        array.flags.writeable = False
    return _Basis(*arrays)
