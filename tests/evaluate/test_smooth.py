import numpy as np
import pytest
from scipy.stats import norm

from bayesaffect.evaluate import smooth


def brute(p, outcome, width):
    """The definition, with the kernel's mirror images written out."""
    t = (np.arange(1500) + 0.5) / 1500
    images = [sign * p + 2 * k for k in range(-3, 4) for sign in (1, -1)]
    kernel = sum(norm.pdf((t[:, None] - centre) / width) / width for centre in images)
    return np.abs((kernel * (outcome - p)).mean(1)).mean()


@pytest.mark.parametrize("power", [0.5, 1.0, 2.0])
def test_it_solves_its_defining_equation(power):
    rng = np.random.default_rng(0)
    p = rng.random(400)
    outcome = (rng.random(400) < p**power).astype(float)
    found = smooth.smooth_gap(p, outcome)
    assert brute(p, outcome, found) == pytest.approx(found, rel=2e-3)
    assert 0 < found < 0.4


def test_one_forecast_that_is_always_too_high_by_a_quarter():
    # all residuals in one place: the integral is 0.25 whatever the width
    assert smooth.smooth_gap(np.full(200, 0.75), np.arange(200) % 2) == pytest.approx(0.25, abs=1e-6)


def test_it_moves_little_when_probabilities_do():
    rng = np.random.default_rng(1)
    p = np.repeat([0.2, 0.4, 0.6, 0.8], 50)  # on edges of bins
    outcome = rng.random(200) < p
    assert smooth.smooth_gap(p, outcome) == pytest.approx(smooth.smooth_gap(p + 1e-6, outcome), abs=1e-5)


def test_rows_do_not_depend_on_one_another(monkeypatch):
    rng = np.random.default_rng(2)
    rows = np.stack([smooth.gridded(p := rng.random(50), (rng.random(50) < 0.4) - p) for _ in range(5)])
    whole = smooth.fixed_point(rows)
    monkeypatch.setattr(smooth, "_ROWS", 2)
    assert smooth.fixed_point(rows) == pytest.approx(whole, abs=1e-12)


@pytest.mark.statistical
def test_calibrated_forecasts_approach_zero_and_over_confident_ones_do_not():
    rng = np.random.default_rng(3)
    prob = rng.dirichlet([1, 1, 1], size=20_000)
    label = (rng.random((20_000, 1)) > prob.cumsum(1)).sum(1).clip(max=2)
    sharp = prob**3 / (prob**3).sum(1, keepdims=True)
    assert smooth.smooth_ece(prob, label) < 0.02 < 0.15 < smooth.smooth_ece(sharp, label)
