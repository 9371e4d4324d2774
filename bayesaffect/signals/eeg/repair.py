"""What cannot be trusted in EEG: channels that are flat or noisy, samples on the rail, frames with artefacts."""

from __future__ import annotations

import numpy as np

from bayesaffect.errors import InputError
from bayesaffect.signals.eeg.electrodes import spline_weights

FLAT = 0.1  # uV (sd of a second): below the noise of any amplifier that is connected to a head
ARTEFACT = 250.0  # uV peak to peak in a frame: beyond blinks of most people
LOST = 0.1  # share of missing samples that makes a channel bad
CLIPPED = 0.05  # share of samples on the rail that spoils a frame
FINE = 0.8  # share of good channels that must be fine for a frame to count


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
    rest = seconds - _median(data[good, : count * step]).reshape(count, step)
    amplitude = np.log(np.median(rest.std(axis=2), axis=1) + 1e-12)
    middle = np.median(amplitude[good])
    spread = 1.4826 * np.median(np.abs(amplitude[good] - middle))
    return flat | (amplitude > middle + np.maximum(5 * spread, np.log(3)))


def clipped(data: np.ndarray) -> np.ndarray:
    """Samples on the rail: bool (channel, sample) from raw samples.

    A sample is on the rail when it and a neighbour both equal the channel's largest or smallest value, and these make
    up at least one sample in a thousand of the channel (a coarse converter repeats its extreme now and then).
    """
    out = np.zeros(data.shape, bool)
    for extreme in (data.max(axis=1), data.min(axis=1)):
        at = data == extreme[:, None]
        for c in np.flatnonzero(at.sum(axis=1) > max(2, data.shape[1] / 1000)):
            twice = at[c, 1:] & at[c, :-1]
            run = np.zeros(data.shape[1], bool)
            run[1:] |= twice
            run[:-1] |= twice
            out[c] |= run if run.mean() >= 1e-3 else False
    return out


def fine_frames(data: np.ndarray, spoilt: np.ndarray) -> np.ndarray:
    """Frames without a gross artefact: bool (frame,).

    With p_ck the peak to peak amplitude of channel c in frame k, the channel is out of order there when p_ck exceeds
    250 uV, when log p_ck lies above the channel's median over frames by more than max(5 sigma_c, log 3) or below it by
    more than max(5 sigma_c, log 10), sigma_c = 1.4826 MAD, or when its samples are spoilt. A frame is fine when at
    least 80 % of the channels are in order: a blink, which frontal channels show alone, does not cost a frame; a
    movement of the head, which shows in all, does.

    Parameters
    ----------
    data : (channel, frame, sample) in uV, bad channels left out.
    spoilt : bool (channel, frame), samples lost or on the rail.
    """
    if not len(data):
        return np.zeros(data.shape[1], bool)
    height = data.max(axis=2) - data.min(axis=2)
    log = np.log(height + 1e-6)
    off = log - np.median(log, axis=1, keepdims=True)
    spread = 5 * 1.4826 * np.median(np.abs(off), axis=1, keepdims=True)
    usual = (off <= np.maximum(spread, np.log(3))) & (off >= -np.maximum(spread, np.log(10)))
    return ((height <= ARTEFACT) & usual & ~spoilt).mean(axis=0) >= FINE


def clear_frames(fine: np.ndarray, reach: int) -> np.ndarray:
    """Fine frames with no other kind within ``reach`` frames, as the filter rings around a gross artefact."""
    return ~np.convolve(~fine, np.ones(2 * reach + 1), mode="full")[reach : reach + fine.size].astype(bool)


def repair(data: np.ndarray, bad: np.ndarray, names: tuple[str, ...]) -> np.ndarray:
    """Bad channels replaced, then the mean over channels taken off every sample.

    Bad channels are interpolated by spherical splines (Perrin et al. 1989; MNE) from the good ones, as far as their
    places are known by name in the standard montage that knows most of the names; other bad channels become the mean
    of the good ones.

    Parameters
    ----------
    data : (channel, sample). bad : bool (channel,). names : of the channels.

    Raises
    ------
    InputError : fewer than two good channels.
    """
    if (~bad).sum() < 2:
        what = f"{int(bad.sum())} of {bad.size} EEG channels are flat or noisy, and two good ones are needed"
        raise InputError(what, remedy="leave EEG out of this recording")
    if bad.any():
        data = data.copy()
        data[bad] = spline_weights(names, tuple(bad.tolist())) @ data[~bad]
    return data - data.mean(axis=0)


def _median(data: np.ndarray) -> np.ndarray:
    """Median over channels of every sample; sorting short rows beats numpy's own median fourfold."""
    rows = np.ascontiguousarray(data.T)
    rows.sort(axis=1)
    middle = len(data) // 2
    return rows[:, middle] if len(data) % 2 else 0.5 * (rows[:, middle - 1] + rows[:, middle])
