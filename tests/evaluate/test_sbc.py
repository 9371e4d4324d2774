from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.stats import norm

from bayesaffect.errors import InputError
from bayesaffect.evaluate import sbc

ALPHA = 1e-3


def test_p_value_is_exact_for_every_set_of_ranks():
    size, n = 3, 4
    p = np.array([sbc.uniformity(np.array(r), size) for r in itertools.product(range(size + 1), repeat=n)])
    for value in np.unique(p.round(12)):
        assert (p <= value + 1e-9).mean() == pytest.approx(value, abs=1e-9)


def test_p_value_of_two_ranks_by_hand():
    # one cut at 1/2: both below or both above have gamma 1/2, one on each side has gamma 1
    assert sbc.uniformity(np.array([0, 0]), 1) == pytest.approx(0.5)
    assert sbc.uniformity(np.array([0, 1]), 1) == pytest.approx(1.0)


def test_uniform_ranks_pass_at_the_stated_rate_and_bent_ones_do_not():
    rng = np.random.default_rng(1)
    p = np.array([sbc.uniformity(rng.integers(0, 100, 60), 99) for _ in range(300)])
    assert (p <= 0.05).mean() <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 300)
    assert (p <= 0.05).mean() >= 0.05 - 3 * np.sqrt(0.05 * 0.95 / 300)
    for bent in (rng.beta(0.5, 0.5, 200), rng.beta(2, 2, 200), rng.beta(1.5, 1, 200)):
        assert sbc.uniformity((bent * 100).astype(int), 99) < ALPHA


def test_ranks_count_thinned_draws_below_the_truth():
    draws = {"x": np.arange(20.0).reshape(10, 2).T, "y": np.broadcast_to(np.arange(20.0).reshape(10, 2).T, (3, 2, 10)).T
             .transpose(1, 0, 2).copy()}  # fmt: skip
    truth = {"x": np.array(9.5), "y": np.array([-1.0, 9.5, 30.0])}
    found = sbc.ranks(truth, draws, size=20)
    assert found.to_dict() == {"x": 10, "y[0]": 0, "y[1]": 10, "y[2]": 20}
    assert sbc.ranks({"x": np.array(9.5)}, draws, size=10)["x"] == 5


def test_bad_requests_are_refused():
    draws = {"x": np.random.default_rng(0).normal(size=(2, 30, 2))}
    with pytest.raises(InputError, match="shape"):
        sbc.ranks({"x": np.array(0.0)}, draws, size=20)
    with pytest.raises(InputError, match="draws of"):
        sbc.ranks({"x": np.zeros(2)}, draws, size=100)
    with pytest.raises(InputError, match="does not vary"):
        sbc.ranks({"x": np.zeros(2)}, {"x": np.ones((2, 30, 2))}, size=20)
    with pytest.raises(InputError, match="ranks must lie"):
        sbc.uniformity(np.array([5]), 4)


PRIOR, NOISE, N = 2.0, 1.5, 4


def simulate(seed):
    rng = np.random.default_rng(seed)
    scale = np.abs(rng.normal(0, PRIOR))
    theta = rng.normal(0, PRIOR)
    x = rng.normal(theta, NOISE, N)
    y = rng.normal(0, scale, N)
    return {"theta": theta, "scale": scale, "fit": norm.logpdf(x, theta, NOISE).sum()}, (x, y)


def fit(prior=PRIOR, jacobian=True):
    """Exact draws from the posterior: conjugate for theta, on a fine grid of log scale for the scale."""

    def draw(data, seed, longer):
        (x, y), rng = data, np.random.default_rng([seed, 7])
        shape = (2, 60 * longer)
        precision = prior**-2 + N * NOISE**-2
        theta = rng.normal(x.sum() * NOISE**-2 / precision, precision**-0.5, shape)
        grid = np.linspace(-9, 4, 4000)
        logp = -0.5 * (np.exp(2 * grid) / prior**2 + (y**2).sum() * np.exp(-2 * grid)) - N * grid + jacobian * grid
        p = np.exp(logp - logp.max())
        scale = np.exp(rng.choice(grid, shape, p=p / p.sum()) + rng.uniform(-0.5, 0.5, shape) * (grid[1] - grid[0]))
        return {"theta": theta, "scale": scale, "fit": norm.logpdf(x[:, None, None], theta, NOISE).sum(0)}

    return draw


def calibrated(fit, replications=200):
    return sbc.calibrate(simulate, fit, replications=replications, seed=5, size=99)


def test_an_exact_fit_is_calibrated():
    found = calibrated(fit())
    table = sbc.verdict(found)
    assert table["adjusted"].min() > ALPHA and found.short == 0
    assert table.loc["theta", "spread"] == pytest.approx(1, abs=0.12) and len(found.ranks) == 200


def test_a_planted_bug_is_caught_and_the_verdict_says_which_way_it_goes():
    narrow = sbc.verdict(calibrated(fit(prior=PRIOR / 3)))
    assert (narrow.loc[["theta", "scale"], "adjusted"] < ALPHA).all()
    assert narrow.loc["theta", "spread"] > 1.1
    low = sbc.verdict(calibrated(fit(jacobian=False)))
    assert low.loc["scale", "adjusted"] < ALPHA
    assert low.loc["scale", "mean"] > 0.55


def test_a_posterior_that_ignores_the_data_is_caught_by_the_likelihood_only():
    def ignorant(data, seed, longer):
        rng = np.random.default_rng([seed, 8])
        theta = rng.normal(0, PRIOR, (2, 60 * longer))
        fitted = norm.logpdf(data[0][:, None, None], theta, NOISE).sum(0)
        return {"theta": theta, "scale": np.abs(rng.normal(0, PRIOR, theta.shape)), "fit": fitted}

    table = sbc.verdict(calibrated(ignorant))
    assert table.loc["fit", "adjusted"] < ALPHA
    assert table.loc[["theta", "scale"], "adjusted"].min() > ALPHA


def test_a_fit_with_too_few_independent_draws_is_drawn_longer():
    asked = []

    def sticky(data, seed, longer):
        asked.append(longer)
        return {name: np.repeat(v[:, : v.shape[1] // 4], 4, 1) for name, v in fit()(data, seed, longer).items()}

    found = sbc.calibrate(simulate, sticky, replications=3, seed=1, size=99)
    assert set(asked) == {1, 2, 4, 8} or set(asked) == {1, 2, 4}
    assert found.short == 0
    stuck = sbc.calibrate(simulate, sticky, replications=2, seed=1, size=99, longest=1)
    assert stuck.short == 2


def test_histogram_counts_everything_once():
    rank = np.arange(200) % 100
    table = sbc.histogram(rank, 99, bins=7)
    assert table["count"].sum() == 200 and table["expected"].sum() == pytest.approx(200)
    assert (table["low"].iloc[1:].values == table["high"].iloc[:-1].values + 1).all()
    assert ((table["band_low"] < table["expected"]) & (table["expected"] < table["band_high"])).all()
