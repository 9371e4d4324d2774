"""Simulated peripheral physiology: ECG electrodes, skin conductance, respiration belt and skin temperature."""

from __future__ import annotations

import numpy as np

from bayesaffect.simulate.timing import Timing, response

# one heartbeat: (centre in s from the R peak, width in s, height in mV) of P, Q, R, S, T
_BEAT = ((-0.18, 0.025, 0.12), (-0.035, 0.010, -0.12), (0.0, 0.011, 1.1), (0.035, 0.011, -0.25), (0.26, 0.045, 0.30))


def draw_body(rng: np.random.Generator) -> dict:
    """What is constant for a subject: resting heart rate (1/min), conductance (uS), breaths per minute, temperature."""
    return {
        "heart": rng.uniform(58, 80),
        "conductance": rng.uniform(2.5, 9.0),
        "breath": rng.uniform(13, 17),
        "temperature": rng.uniform(30.0, 34.0),
        "belt": rng.uniform(2500, 6000),
        "electrodes": rng.normal(0, 4000, 3),
    }


def simulate_body(
    evidence: np.ndarray, timing: Timing, person: dict, rate: int, rng: np.random.Generator
) -> dict[str, np.ndarray]:
    """``ecg`` (3, sample) uV, ``eda`` uS, ``respiration`` uV, ``temperature`` degC, each (sample,).

    During the clip, with evidence of valence v and arousal a (full response)::

        heart rate + 6 a per minute           sinus arrhythmia of 2.5 exp(0.4 v) per minute
        respiration rate + 2.5 a per minute   depth x exp(0.5 v)
        SCRs at 10 exp(0.8 a) per minute, of mean height 0.09 exp(0.6 a) x level
        tonic level + 0.03 a x level          temperature slope 0.006 (v - a) K/s
    """
    valence, arousal = evidence
    t = np.arange(timing.seconds * rate) / rate
    slow = response(t, timing, delay=0.5, rise=1.8)

    breath_rate = (person["breath"] + rng.normal(0, 0.3) + 2.5 * arousal * slow) / 60
    phase = 2 * np.pi * (np.cumsum(breath_rate) / rate + rng.random())
    depth = np.exp(0.5 * valence * slow + 0.1 * np.sin(2 * np.pi * t / rng.uniform(15, 30)))
    belt = np.sin(phase + 0.35 * np.sin(phase)) * depth * person["belt"]

    arrhythmia = 2.5 * np.exp(0.4 * valence * slow) * np.sin(phase - 0.6)
    wander = 1.0 * np.sin(2 * np.pi * t / rng.uniform(9, 13) + rng.uniform(0, 6))
    heart = person["heart"] + rng.normal(0, 0.7) + 6 * arousal * slow + arrhythmia + wander

    temperature = person["temperature"] + rng.normal(0, 0.1) + np.cumsum(0.006 * (valence - arousal) * slow) / rate
    return {
        "ecg": _electrodes(_heartbeats(heart, rate, rng), t, person, rng),
        "eda": _conductance(arousal, t, timing, slow, person, rate, rng),
        "respiration": belt + rng.normal(0, 25, t.size),
        "temperature": temperature + rng.normal(0, 0.002, t.size),
    }


def _heartbeats(heart: np.ndarray, rate: int, rng: np.random.Generator) -> np.ndarray:
    """ECG in mV: a PQRST wave at each whole number that the integral of the rate (1/min) passes."""
    turns = rng.random() + np.cumsum(heart) / 60 / rate
    index = np.arange(np.ceil(turns[0]), np.floor(turns[-1]) + 1)
    peaks = np.interp(index, turns, np.arange(heart.size) / rate)
    t = np.arange(heart.size) / rate
    out = np.zeros(heart.size)
    for centre, width, height in _BEAT:
        at = peaks + centre
        right = np.searchsorted(at, t).clip(1, max(at.size - 1, 1))
        distance = np.minimum(np.abs(t - at[right - 1]), np.abs(t - at[np.minimum(right, at.size - 1)]))
        out += height * np.exp(-(distance**2) / (2 * width**2))
    return out


def _electrodes(heartbeats: np.ndarray, t: np.ndarray, person: dict, rng: np.random.Generator) -> np.ndarray:
    """Three chest electrodes (uV): their differences show the heart, all share mains and a drift."""
    share = np.array([-0.35, 0.65, -0.35])[:, None]
    common = 8 * np.sin(2 * np.pi * 50 * t) + 150 * np.sin(2 * np.pi * t / 37 + rng.uniform(0, 6))
    noise = rng.normal(0, 6, (3, t.size))
    return 1000 * share * heartbeats + common + noise + person["electrodes"][:, None]


def _conductance(arousal, t, timing, slow, person, rate, rng) -> np.ndarray:
    """Tonic level with a slow drift plus skin conductance responses (rise 0.7 s, decay 3 s)."""
    level = person["conductance"] * np.exp(rng.normal(0, 0.03))
    per_second = 10 * np.exp(0.8 * np.clip(arousal, -2, 1.5) * slow) / 60
    drive = np.where(rng.random(t.size) < per_second / rate, rng.gamma(4, 0.25, t.size), 0.0)
    drive *= 0.09 * level * np.exp(0.6 * np.clip(arousal, -2, 1.5) * slow)
    u = np.arange(20 * rate) / rate
    wave = np.exp(-u / 3.0) - np.exp(-u / 0.7)
    size = 1 << int(np.ceil(np.log2(t.size + u.size)))
    phasic = np.fft.irfft(np.fft.rfft(drive, size) * np.fft.rfft(wave / wave.max(), size), size)[: t.size]
    tonic = level * (1 + 0.03 * arousal * slow - 0.0004 * (t - timing.start))
    return np.maximum(tonic + phasic, 0.05) + rng.normal(0, 0.003, t.size)
