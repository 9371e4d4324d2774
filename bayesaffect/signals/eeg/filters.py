"""Band-pass and mains notch of EEG as one zero-phase filter."""

from __future__ import annotations

from functools import lru_cache, reduce

import mne
import numpy as np
from scipy import fft

from bayesaffect.errors import InputError

GROUP = 4  # channels per transform: their spectra stay in the processor's cache


def filter_eeg(
    data: np.ndarray, rate: float, *, band: tuple[float, float] = (1.0, 45.0), line_frequency: float = 50.0
) -> np.ndarray:
    """Band-pass and notch a signal without shifting its phase.

        y = h * x,     h = h_band * h_notch

    with the linear-phase FIRs h_band and h_notch that MNE designs (Hamming window; Widmann et al. 2015), joined into
    one by convolution and applied by one real FFT per channel. The signal is continued by odd reflection,
    x(-t) = 2 x(0) - x(t): a symmetric filter turns an odd reflection into an odd reflection, so the result is that of
    filtering twice (`mne.filter.filter_data`, then `mne.filter.notch_filter`), edges included. A signal that is
    shorter than half the joined filter is filtered twice indeed.

    Mains and its harmonics are notched only where the band-pass still lets them through; ``line_frequency=0`` notches
    nothing.

    Parameters
    ----------
    data : (channel, sample), finite, any unit.
    rate : samples per s.
    band : pass band in Hz; transitions are min(max(low / 4, 2), low) below and max(high / 4, 2) Hz above.
    line_frequency : mains in Hz.

    Returns
    -------
    (channel, sample) float64.

    Raises
    ------
    InputError : a band that does not lie between 0 and half the rate.
    """
    low, high = band
    if not 0 < low < high < rate / 2:
        raise InputError(f"band {low}-{high} Hz does not fit a rate of {rate:g} Hz", remedy="lower the upper edge")
    joined, passes = _design(float(rate), float(low), float(high), float(line_frequency))
    for kernel in (joined,) if data.shape[1] > joined.size // 2 else passes:
        data = _convolved(data, kernel)
    return data


@lru_cache(maxsize=16)
def _design(rate: float, low: float, high: float, line_frequency: float) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
    """The joined kernel, and the kernels it consists of."""
    upper = min(max(0.25 * high, 2.0), rate / 2 - high)  # MNE's transition width, made explicit for the notch below
    kernels = [mne.filter.create_filter(None, rate, low, high, h_trans_bandwidth=upper, verbose="ERROR")]
    mains = np.arange(line_frequency, min(high + upper, rate / 2 - 1), line_frequency) if line_frequency > 0 else []
    if len(mains):
        reach = mains / 400 + 0.5  # half of MNE's notch width (f / 200) and of its transition band (1 Hz)
        edges = {"l_trans_bandwidth": 0.5, "h_trans_bandwidth": 0.5}
        kernels.append(mne.filter.create_filter(None, rate, mains + reach, mains - reach, verbose="ERROR", **edges))
    return reduce(np.convolve, kernels), tuple(kernels)


def _convolved(data: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """A symmetric kernel centred on every sample of the oddly reflected signal; zeros beyond a whole reflection."""
    half, count = len(kernel) // 2, data.shape[1]
    reach = min(half, count - 1)
    size = fft.next_fast_len(count + 2 * reach + (half - reach), real=True)
    around = np.zeros(size)
    around[: half + 1], around[size - half :] = kernel[half:], kernel[:half]
    gain = fft.rfft(around).real  # symmetric about 0: no phase
    out = np.empty(data.shape)
    for first in range(0, len(data), GROUP):
        part = data[first : first + GROUP]
        edges = 2 * part[:, :1] - part[:, reach:0:-1], 2 * part[:, -1:] - part[:, -2 : -reach - 2 : -1]
        spectrum = fft.rfft(np.concatenate([edges[0], part, edges[1]], axis=1), size)
        spectrum *= gain
        out[first : first + GROUP] = fft.irfft(spectrum, size)[:, reach : reach + count]
    return out
