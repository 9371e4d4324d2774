"""Simulated EEG: what 32 electrodes record while someone watches a clip, in uV, without a reference."""

from __future__ import annotations

import re

import numpy as np

from bayesaffect.simulate.timing import Timing, response

CHANNELS = tuple(
    (
        "Fp1 AF3 F3 F7 FC5 FC1 C3 T7 CP5 CP1 P3 P7 PO3 O1 Oz Pz Fp2 AF4 Fz F4 F8 FC6 FC2 Cz C4 T8 CP6 CP2 P4 P8 PO4 O2"
    ).split()
)
_ROW = {"Fp": 4, "AF": 3, "F": 2, "FC": 1, "C": 0, "T": 0, "CP": -1, "P": -2, "PO": -3, "O": -4}
_COLUMN = {"z": 0, "1": -1, "2": 1, "3": -2, "4": 2, "5": -3, "6": 3, "7": -4, "8": 4}


def places() -> np.ndarray:
    """Rough electrode positions (channel, 2): right is +x, front is +y, in steps of the 10-20 grid."""
    split = [re.fullmatch(r"([A-Za-z]+?)(z|\d)", name).groups() for name in CHANNELS]
    return np.array([(_COLUMN[column] / 2, _ROW[row]) for row, column in split], dtype=float)


def draw_brain(rng: np.random.Generator) -> dict:
    """What is constant for a subject: alpha frequency (Hz), channel gains, electrode offsets (uV)."""
    return {
        "alpha_hz": rng.uniform(9.2, 10.8),
        "gain": np.exp(rng.normal(0, 0.15, len(CHANNELS))),
        "offset": rng.normal(0, 8000, len(CHANNELS)),
        "mains": rng.uniform(2, 6),
    }


def simulate_eeg(evidence: np.ndarray, timing: Timing, person: dict, rate: int, rng: np.random.Generator) -> np.ndarray:
    """EEG (channel, sample) in uV.

    1/f background, theta, alpha and beta rhythms whose log amplitudes move with the evidence (valence v, arousal a)::

        alpha: + 0.45 v side - 0.25 a back      side: -1 left .. +1 right, at the front only
        beta:  + 0.40 a                          theta: + 0.15 a at the front

    plus 50 Hz mains, electrode offsets with a drift common to all electrodes, and blinks on the frontal ones.
    """
    valence, arousal = evidence
    n = timing.seconds * rate
    t = np.arange(n) / rate
    xy = places()
    x, y = xy.T
    front, back = np.clip(y / 2, 0, 1), np.clip(0.5 - y / 4, 0, 1)
    near = np.exp(-((xy[:, None] - xy) ** 2).sum(-1) / (2 * 1.1**2))
    mixing = near / np.sqrt((near**2).sum(1, keepdims=True))
    f = np.fft.rfftfreq(n, 1 / rate)
    answer = response(t, timing, delay=0.3, rise=1.0)

    def rhythm(shape: np.ndarray, rms: np.ndarray) -> np.ndarray:
        band = np.flatnonzero(shape > 1e-3 * shape.max())
        spectrum = np.zeros((len(CHANNELS), f.size), dtype=np.complex64)
        noise = rng.normal(size=(2, len(CHANNELS), band.size)).astype(np.float32)
        spectrum[:, band] = (mixing.astype(np.float32) @ (noise[0] + 1j * noise[1])) * shape[band].astype(np.float32)
        power = 4 * (shape[band] ** 2).sum() / n**2  # of irfft of unit complex noise times shape
        return np.fft.irfft(spectrum, n) * (rms / np.sqrt(power))[:, None]

    def bump(centre: float, width: float) -> np.ndarray:
        return np.exp(-((f - centre) ** 2) / (2 * width**2))

    level = np.exp(rng.normal(0, 0.06, 3))
    alpha_effect = 0.45 * valence * np.tanh(x) * front - 0.25 * arousal * back
    eeg = rhythm(np.where(f < 0.3, 0, np.maximum(f, 0.5) ** -0.75), 7 * np.ones(len(CHANNELS)))
    eeg += rhythm(bump(5.5, 0.8), level[0] * (2 + 1.5 * front)) * np.exp(np.outer(0.15 * arousal * front, answer))
    eeg += rhythm(bump(person["alpha_hz"], 0.9), level[1] * (4 + 4 * back)) * np.exp(np.outer(alpha_effect, answer))
    eeg += rhythm(bump(20, 3.0), level[2] * np.full(len(CHANNELS), 2.5)) * np.exp(0.40 * arousal * answer)
    eeg *= person["gain"][:, None]
    eeg += 120 * np.clip((y - 1) / 3, 0, 1)[:, None] ** 2 * _blink_wave(t, timing.blinks)
    mains = person["mains"] * np.sin(2 * np.pi * 50 * t + rng.uniform(0, 2 * np.pi))
    drift = 60 * np.sin(2 * np.pi * t / rng.uniform(40, 90) + rng.uniform(0, 6)) + rng.uniform(-4, 4) * t
    return eeg + (mains + drift) + (person["offset"] + 3000 * rng.normal())[:, None]


def _blink_wave(t: np.ndarray, blinks: np.ndarray) -> np.ndarray:
    """Sum of Gaussians of sd 0.07 s at the blinks, height 1."""
    if not blinks.size:
        return np.zeros_like(t)
    nearest = blinks[np.abs(blinks[:, None] - t).argmin(0)]
    return np.exp(-((t - nearest) ** 2) / (2 * 0.07**2))
