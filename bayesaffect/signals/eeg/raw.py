"""Raw windows of EEG for networks: cleaned samples at one rate, whatever the amplifier's."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
from scipy.signal import resample_poly

RATE = 128.0  # Hz: the pass band ends at 45 Hz
CONTEXT_S = 0.5  # s on either side of a window that the resampling filter sees
FAR = 6.0  # robust standard deviations: beyond what brains do, and where blinks are cut
FADE_S = 0.1  # s over which samples fade out before an artefact


def resampled(data: np.ndarray, start: int, count: int, *, rate: float, to: float = RATE) -> np.ndarray:
    """``count`` samples (channel, count) at ``to`` Hz of ``data`` (channel, time) at ``rate`` Hz, from ``start`` on.

    Sample k was taken k / to s after sample ``start`` of ``data``. A polyphase filter (scipy's default: Kaiser window,
    cut at the lower of the two Nyquist frequencies, above which ``data`` should hold nothing) sees half a second around
    the window where it was recorded, and the nearest sample repeated where it was not. A ratio of rates that is no
    fraction with a denominator up to 4096 is taken as the nearest such.
    """
    ratio = Fraction(to / rate).limit_denominator(4096)
    steps = math.ceil(CONTEXT_S * rate / ratio.denominator)  # so that the window begins at a sample of both rates
    reach = steps * ratio.denominator
    stop = start + math.ceil(count / ratio) + reach
    first, last = max(start - reach, 0), min(stop, data.shape[1])
    wide = np.pad(data[:, first:last], ((0, 0), (first - start + reach, stop - last)), mode="edge")
    if ratio != 1:
        wide = resample_poly(wide, ratio.numerator, ratio.denominator, axis=1, padtype="edge")
    return wide[:, steps * ratio.numerator :][:, :count]


def silenced(data: np.ndarray, clear: np.ndarray) -> np.ndarray:
    """``data`` (channel, time) at 128 Hz with 0 where ``clear`` (time,) is not, faded out within 0.1 s before and faded
    in within 0.1 s after by half a cosine.

    An artefact of the whole head says nothing about the brain, and 0 is the mean of filtered EEG.
    """
    if clear.all():
        return data
    index, spoilt = np.arange(clear.size), np.flatnonzero(~clear)
    right = np.searchsorted(spoilt, index)
    after = spoilt[np.minimum(right, spoilt.size - 1)]
    before = spoilt[np.maximum(right - 1, 0)]
    distance = np.minimum(np.abs(after - index), np.abs(index - before)) / (FADE_S * RATE)
    return data * (0.5 - 0.5 * np.cos(np.pi * np.clip(distance, 0, 1)))


def clipped(data: np.ndarray, used: np.ndarray) -> np.ndarray:
    """``data`` (channel, time) within median +- 6 x 1.4826 MAD of each channel over the samples ``used`` (time,).

    Blinks of 500 uV would otherwise set the scale of frontal channels. A channel whose MAD is 0 stays as it is.
    """
    middle = np.median(data[:, used], axis=1, keepdims=True)
    reach = FAR * 1.4826 * np.median(np.abs(data[:, used] - middle), axis=1, keepdims=True)
    reach[reach == 0] = np.inf
    return np.clip(data, middle - reach, middle + reach)
