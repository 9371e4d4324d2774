from __future__ import annotations

import cv2
import numpy as np
import pytest
from scipy.signal import find_peaks, welch

from bayesaffect.simulate import brain, face, physiology
from bayesaffect.simulate.timing import Timing, draw_timing, response
from bayesaffect.simulate.truth import generator

RATE = 256
TIMING = Timing(5.0, 35.0, 40, 2.0, 15.0, 540, np.array([7.0, 12.5, 20.0]))
CLIP = slice(8 * RATE, 34 * RATE)


def test_response_at_a_point_during_and_after():
    t = np.array([5.2, 9.0, 37.0])
    during = 1 - np.exp(-29.5 / 2)
    expected = [0, 1 - np.exp(-3.5 / 2), during * np.exp(-2.0 / 2)]
    assert response(t, TIMING, delay=0.5, rise=2.0) == pytest.approx(expected)


def test_timing_puts_the_video_around_the_clip_and_inside_the_bdf():
    timing = draw_timing(16.3, 7, 15.02, RATE, np.random.default_rng(0))
    end = timing.video_start + timing.frames / timing.video_rate
    assert 0 < timing.video_start < timing.start == 7.0 and timing.stop < end < timing.seconds
    assert (timing.start * RATE).is_integer() and (timing.stop * RATE).is_integer()


def eeg_power(evidence, low, high, seed=0):
    rng = generator(seed)
    eeg = brain.simulate_eeg(np.array(evidence), TIMING, brain.draw_brain(rng), RATE, rng)[:, CLIP]
    f, p = welch(eeg - eeg.mean(0), RATE, nperseg=512)
    return np.log(p[:, (f >= low) & (f < high)].mean(1))


def test_frontal_alpha_asymmetry_moves_with_valence():
    left, right = brain.CHANNELS.index("F3"), brain.CHANNELS.index("F4")
    asymmetry = [np.subtract(*eeg_power((v, 0.0), 8, 13)[[right, left]]) for v in (-1, 1)]
    assert asymmetry[1] - asymmetry[0] > 1.0


def test_beta_over_alpha_moves_with_arousal():
    ratio = [(eeg_power((0.0, a), 15, 25) - eeg_power((0.0, a), 8, 13)).mean() for a in (-1, 1)]
    assert ratio[1] - ratio[0] > 0.8


def test_eeg_has_mains_offsets_and_blinks():
    rng = generator(1)
    eeg = brain.simulate_eeg(np.zeros(2), TIMING, brain.draw_brain(rng), RATE, rng)
    f, p = welch(eeg[0], RATE, nperseg=1024)
    assert p[np.argmin(abs(f - 50))] > 20 * np.median(p[(f > 40) & (f < 48)])
    assert np.abs(eeg.mean(1)).max() > 1000
    contrast = eeg[0] - eeg[brain.CHANNELS.index("Pz")]
    assert contrast[7 * RATE] - np.median(contrast[6 * RATE : 8 * RATE]) > 60


def body(evidence, seed=0):
    rng = generator(seed)
    return physiology.simulate_body(np.array(evidence), TIMING, physiology.draw_body(rng), RATE, rng)


def heart_rate(signals):
    ecg = np.subtract(*signals["ecg"][1:, CLIP])
    peaks, _ = find_peaks(ecg - np.median(ecg), height=500, distance=90)
    return 60 / np.diff(peaks / RATE).mean()


def test_heart_rate_rises_with_arousal_by_the_stated_amount():
    low, high = (heart_rate(body((0.0, a))) for a in (-1, 1))
    assert high - low == pytest.approx(12, abs=2.5)


def test_skin_conductance_responds_to_arousal():
    size = [np.mean([np.diff(body((0.0, a), s)["eda"]).clip(0.01).mean() for s in range(4)]) for a in (-1, 1)]
    assert size[1] > size[0]
    rise = [np.mean([np.ptp(body((0.0, a), s)["eda"][CLIP]) for s in range(4)]) for a in (-1, 1)]
    assert rise[1] > 1.5 * rise[0]


def test_temperature_slope_is_valence_minus_arousal():
    t = np.arange(CLIP.start, CLIP.stop) / RATE
    slope = np.polyfit(t, body((0.5, -0.5))["temperature"][CLIP], 1)[0]
    assert slope == pytest.approx(0.006, rel=0.15)


def test_breathing_deepens_with_valence():
    depth = [body((v, 0.0))["respiration"][CLIP].std() for v in (-1, 1)]
    assert np.log(depth[1] / depth[0]) == pytest.approx(1.0, abs=0.15)


@pytest.mark.parametrize("cascade", ["alt2", "default"])
def test_cascade_finds_every_kind_of_face(cascade):
    finder = cv2.CascadeClassifier(cv2.data.haarcascades + f"haarcascade_frontalface_{cascade}.xml")
    images = [
        face.draw_face(smile, arousal, lids, face.draw_looks(generator(s)), (160, 120))
        for s in range(4)
        for smile, arousal, lids in ((-1, -1, 0.5), (0, 0, 0), (0, 1, 1), (1, 0, 0.75), (1, 1, 1))
    ]
    found = [len(finder.detectMultiScale(cv2.cvtColor(i, cv2.COLOR_BGR2GRAY), 1.15, 3)) == 1 for i in images]
    assert np.mean(found) >= 0.95


def test_expression_changes_the_mouth_the_brows_and_the_lids():
    looks = face.draw_looks(generator(0))
    base = face.draw_face(0, 0, 0.75, looks, (160, 120)).astype(int)
    rows = {"mouth": slice(85, 105), "brows": slice(38, 52), "eyes": slice(53, 64)}
    for part, change in (("mouth", (1, 0, 0.75)), ("brows", (0, 1, 0.75)), ("eyes", (0, 0, 0))):
        difference = np.abs(face.draw_face(*change, looks, (160, 120)).astype(int) - base)
        assert difference[rows[part], 50:110].max() > 40, part


def test_expressions_follow_the_evidence_and_close_at_blinks():
    smile, arousal, lids = face.expressions(np.array([0.8, -0.5]), TIMING, generator(0)).T
    t = TIMING.video_start + np.arange(TIMING.frames) / TIMING.video_rate
    clip = (t > 8) & (t < 35)
    assert smile[clip].mean() == pytest.approx(np.tanh(0.8), abs=0.08)
    assert arousal[clip].mean() == pytest.approx(np.tanh(-0.5), abs=0.08)
    assert np.abs(smile[t < 5]).max() < 0.3 and lids[np.argmin(abs(t - 12.5))] == 0
