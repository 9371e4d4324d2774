from __future__ import annotations

import numpy as np
from scipy.special import log_softmax

from bayesaffect.uncertainty import recalibrate

EACH = np.arange(4000).astype(str)  # as many subjects as trials


def test_scale_by_hand():
    mean, variance = np.array([[0.1, 0.3], [0.3, 0.1]]), np.array([[0.2, 0.1], [0.4, 0.3]])
    truth = np.array([1.2, np.nan])
    expected = (10 + 1.0**2 / (0.3 + 0.01)) / (10 + 1)
    assert np.isclose(recalibrate.scale(mean, variance, truth, EACH[:2]), expected)


def test_scale_finds_overconfidence():
    rng = np.random.default_rng(0)
    truth = rng.normal(0, 1, 4000)
    found = recalibrate.scale(np.zeros((1, 4000)), np.full((1, 4000), 0.25), truth, EACH)
    assert 3.7 < found < 4.3


def test_temperature_finds_overconfidence():
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 1.5, (4000, 3))
    truth = np.array([rng.choice(3, p=np.exp(row)) for row in log_softmax(logits, axis=-1)])
    found = recalibrate.temperature(log_softmax(2 * logits, axis=-1)[None], truth, EACH)
    assert 1.85 < found < 2.15


def test_without_truth_nothing_changes():
    assert recalibrate.scale(np.zeros((2, 3)), np.ones((2, 3)), np.full(3, np.nan), EACH[:3]) == 1
    log_prob = np.log(np.full((2, 3, 2), 0.5))
    assert np.isclose(recalibrate.temperature(log_prob, np.full(3, -1), EACH[:3]), 1, atol=1e-3)


def test_many_windows_of_one_subject_weigh_like_eight():
    weights = recalibrate.weights(np.array(["a"] * 80 + ["b"] * 4))
    assert np.isclose(weights[:80].sum(), 8) and weights[80:].sum() == 4
