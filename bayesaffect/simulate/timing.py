"""When things happen in one simulated session, on the clock of its BDF file, and how a body answers a clip."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Timing:
    """Clip from ``start`` to ``stop`` s of a BDF that lasts ``seconds`` s, and a video that begins at ``video_start``.

    ``frames`` frames were taken at ``video_rate`` per second; ``blinks`` are the times of closed lids (s), seen by
    the camera and by the frontal electrodes alike.
    """

    start: float
    stop: float
    seconds: int
    video_start: float
    video_rate: float
    frames: int
    blinks: np.ndarray


def draw_timing(clip_seconds: float, margin: float, video_rate: float, rate: int, rng: np.random.Generator) -> Timing:
    """A session with ``margin`` s before and after the clip; the video covers between 0.35 and 0.65 of each margin."""
    start = round(margin * rate) / rate
    stop = start + round(clip_seconds * rate) / rate
    seconds = int(np.ceil(stop + margin))
    lead, tail = margin * rng.uniform(0.35, 0.65, 2)
    frames = int((stop + tail - (start - lead)) * video_rate)
    blinks = np.cumsum(0.4 + rng.gamma(2.0, 1.8, size=int(seconds) + 4))
    return Timing(start, stop, seconds, start - lead, video_rate, frames, blinks[blinks < seconds - 0.5])


def response(t: np.ndarray, timing: Timing, *, delay: float, rise: float) -> np.ndarray:
    """Share of the full response at times ``t`` (s).

    With u = t - start - delay: 0 for u < 0, then 1 - exp(-u / rise) until the clip stops, from where on it decays as
    exp(-(t - stop) / rise).
    """
    u = np.maximum(t - timing.start - delay, 0)
    after = np.maximum(t - timing.stop, 0)
    during = 1 - np.exp(-np.minimum(u, max(timing.stop - timing.start - delay, 0)) / rise)
    return during * np.exp(-after / rise)
