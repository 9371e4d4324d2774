"""Defects of a physiological signal: each gives a factor in [0.02, 1] on the quality of a window."""

from __future__ import annotations

import numpy as np
import xarray as xr
from scipy.signal import butter, sosfiltfilt

from bayesaffect.signals.physio.clock import Regular, Windows, inside, measurable

WORST = 0.02  # poor enough to be masked, but not 0: a signal of quality 0 is taken out of what networks read


def ramp(value: np.ndarray | float, *, bad: float, good: float) -> np.ndarray:
    """0.02 at ``bad`` and beyond, 1 at ``good`` and beyond, straight between; NaN is bad."""
    share = (np.nan_to_num(np.asarray(value, dtype=float), nan=bad) - bad) / (good - bad)
    return np.clip(share, WORST, 1.0)


def at_rail(values: np.ndarray) -> np.ndarray:
    """Samples (sample,) that stand at the signal's largest or smallest value: bool.

    A rail is an extreme value held for three samples or more that is entered or left by a jump; a slow signal read
    with coarse steps also rests at its extremes, but comes there by single steps, and is not at a rail.
    """
    out = np.zeros(values.size, dtype=bool)
    finite = measurable(values)
    values = np.where(finite, values, np.nan)
    if finite.sum() < 4:
        return out
    steps = np.abs(np.diff(values[finite]))
    if not steps.any():
        return out
    quantum = steps[steps > 0].min()
    for extreme in (values[finite].min(), values[finite].max()):
        here = np.r_[False, values == extreme, False].astype(np.int8)
        first, after = np.flatnonzero(np.diff(here) == 1), np.flatnonzero(np.diff(here) == -1)
        jump_in = np.where(first > 0, np.abs(values[np.maximum(first - 1, 0)] - extreme), 0.0)
        jump_out = np.where(after < values.size, np.abs(values[np.minimum(after, values.size - 1)] - extreme), 0.0)
        jump = np.fmax(jump_in, jump_out)
        for begin, end in zip(first[(jump > 2 * quantum)], after[(jump > 2 * quantum)], strict=True):
            out[begin:end] = end - begin >= 3
    return out


def unclipped(share: np.ndarray | float) -> np.ndarray:
    """Factor by the share of samples at a rail: 1 up to 3 %, 0.02 from 20 % on."""
    return ramp(share, bad=0.2, good=0.03)


def clipped(signal: xr.DataArray, windows: Windows) -> np.ndarray:
    """`unclipped` for each channel and window: (channel, trial)."""
    time = signal["time"].values
    places = [inside(time, start, stop) for start, stop in windows]
    rails = [at_rail(row) for row in np.atleast_2d(signal.values).astype(float)]
    share = [[rail[here].mean() if rail[here].size else 0.0 for here in places] for rail in rails]
    return unclipped(np.array(share).reshape(len(rails), len(places)))


def noisy(signal: Regular, windows: Windows, *, above: float, floor: float, bad: float, good: float) -> np.ndarray:
    """Factor (trial,) by r = 1.48 median |x above ``above`` Hz| / (sd(x) + ``floor``), first channel, each window.

    The upper part is an sd that a single jump does not move; the lower is about the window's straight line, so that
    drift is not counted as signal. 1 where the signal was sampled too slowly to hold anything above.
    """
    if above >= 0.45 * signal.rate or signal.values.shape[1] < 16:
        return np.ones(len(windows))
    row, time = signal.values[0], signal.time
    fast = sosfiltfilt(butter(2, above, "high", fs=signal.rate, output="sos"), row)
    ratio = np.full(len(windows), np.nan)
    for k, (start, stop) in enumerate(windows):
        here = inside(time, start, stop)
        if time[here].size >= 4:
            seconds, x = time[here] - time[here].mean(), row[here] - row[here].mean()
            spread = (x - seconds * (seconds @ x) / (seconds @ seconds)).std()
            ratio[k] = 1.4826 * np.median(np.abs(fast[here])) / (spread + floor + 1e-12)
    return ramp(ratio, bad=bad, good=good)


def agreement(wave: np.ndarray, peaks: np.ndarray, *, before: int, after: int) -> tuple[np.ndarray, np.ndarray]:
    """Correlation of each beat with the median beat, from ``before`` samples ahead of the peak to ``after`` behind it.

    Returns the positions in ``peaks`` of the beats that lie wholly inside the wave, and their correlations; none if
    there are fewer than three.
    """
    whole = np.flatnonzero((peaks >= before) & (peaks < wave.size - after))
    if whole.size < 3:
        return np.zeros(0, dtype=int), np.zeros(0)
    cuts = wave[peaks[whole][:, None] + np.arange(-before, after + 1)]
    cuts = cuts - cuts.mean(1, keepdims=True)
    middle = np.median(cuts, axis=0)
    scale = np.linalg.norm(cuts, axis=1) * np.linalg.norm(middle)
    return whole, (cuts @ middle) / np.maximum(scale, 1e-12)


def misshapen(time: np.ndarray, alike: np.ndarray, windows: Windows, *, bad: float, good: float) -> np.ndarray:
    """Factor (trial,) by the median agreement ``alike`` of beats at ``time`` (s) with the recording's median beat."""
    places = [inside(time, start, stop) for start, stop in windows]
    median = [np.median(alike[here]) if alike[here].size else np.nan for here in places]
    return ramp(np.array(median, dtype=float), bad=bad, good=good)
