"""Offsets of a subject that are correlated between modalities."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal

from bayesaffect.errors import InputError
from bayesaffect.fusion import Model, Priors, attempts, fit, predict, statistics, trial_weights, weights
from bayesaffect.fusion.engine import capture, sample
from bayesaffect.fusion.ratings import continuous
from bayesaffect.fusion.ratings.moments import fused_moments
from bayesaffect.simulate import OpinionModel, simulate_opinions
from bayesaffect.types import Target

VALENCE = Target("valence", (1, 9))
CORRELATED = Model(offsets="correlated")


def table(m=3):
    shape = OpinionModel(missing=0.2, correlation=0.2)
    return simulate_opinions(
        subjects=3, trials=5, modalities=["x", "y", "z", "w", "v"][:m], targets=(VALENCE,), seed=2, model=shape
    )[0]


def values_at(opinions, seed=1):
    where = statistics.index(opinions, "valence")
    data = continuous.data(statistics.continuous(opinions, "valence", where), Priors(), True, CORRELATED)
    density = capture.capture(continuous.model, data)
    z = torch.as_tensor(np.random.default_rng(seed).normal(0, 0.7, density.ndim))
    return density.constrain(z)[0], density.unpack(density.pack(data))


@pytest.mark.parametrize("m", [2, 5])
def test_marginal_likelihood_is_the_dense_normal_density(m):
    opinions = table(m)
    values, tensors = values_at(opinions)
    k = torch.exp(continuous.log_k(values, tensors)).numpy()
    r = continuous.correlation(values, m).numpy()
    root = continuous.offset_root(values, m).numpy()
    y = opinions.truth["valence"].values
    expected = 0.0
    for s in range(3):
        rows = np.arange(5 * s, 5 * s + 5)
        d = k[s] * np.sqrt(np.nan_to_num(opinions.variance["valence"].values[rows], nan=1.0))
        full = np.kron(np.ones((5, 5)), root @ root.T)
        for i in range(5):
            full[i * m : i * m + m, i * m : i * m + m] += np.outer(d[i], d[i]) * r
        keep = opinions.present.values[rows].ravel()
        mean = (values["a"].numpy() + np.outer(y[rows], values["b"].numpy())).ravel()[keep]
        x = opinions.mean["valence"].values[rows].ravel()[keep]
        expected += multivariate_normal(mean, full[np.ix_(keep, keep)]).logpdf(x)
    assert float(continuous.opinions_term(values, tensors)) == pytest.approx(expected, rel=1e-9)


def test_offsets_given_the_data_have_their_conditional_moments():
    """Against the dense conditional of u_s given the errors of a subject's trials, over draws of the noise."""
    opinions, m = table(3), 3
    values, tensors = values_at(opinions)
    rng = np.random.default_rng(0)
    zero = torch.zeros(3, dtype=torch.float64)
    draws = np.stack(
        [
            continuous.effects(values, tensors, {"u": torch.as_tensor(rng.normal(size=(3, 3))), "delta": zero})["u"]
            for _ in range(2000)
        ]
    )
    root = continuous.offset_root(values, m).numpy()
    k = torch.exp(continuous.log_k(values, tensors)).numpy()
    r = continuous.correlation(values, m).numpy()
    rows = np.arange(5)
    precision, pull = np.linalg.inv(root @ root.T), np.zeros(m)
    for i in rows:
        seen = opinions.present.values[i]
        d = (k[0] * np.sqrt(opinions.variance["valence"].values[i]))[seen]
        inverse = np.zeros((m, m))
        inverse[np.ix_(seen, seen)] = np.linalg.inv(np.outer(d, d) * r[np.ix_(seen, seen)])
        y = opinions.truth["valence"].values[i]
        gap = np.nan_to_num(opinions.mean["valence"].values[i] - values["a"].numpy() - values["b"].numpy() * y)
        precision, pull = precision + inverse, pull + inverse @ gap
    cov = np.linalg.inv(precision)
    error = np.sqrt(np.diag(cov) / 2000)
    assert (np.abs(draws[:, 0].mean(0) - cov @ pull) < 5 * error).all()
    np.testing.assert_allclose(np.cov(draws[:, 0].T), cov, atol=6 * cov.max() * np.sqrt(2 / 2000))


def not_sampled(model, data, *, seed, **_):
    density = capture.capture(model, data)
    stats = {"diverging": np.zeros((1, 30), dtype=bool)}
    return sample.Draws(np.random.default_rng(seed).normal(0, 0.7, (1, 30, density.ndim)), density, stats)


def test_new_people_are_predicted_with_correlated_offsets(monkeypatch):
    monkeypatch.setattr(attempts, "sample", not_sampled)
    opinions = table(3)
    posterior = fit(opinions, "valence", seed=1, model=CORRELATED)
    p = posterior["posterior"].isel(chain=0, draw=[4])
    values = {n: p[n].values for n in p.data_vars}
    mean, variance = fused_moments(values, np.full(15, 1), np.ones(15, bool), opinions, "valence")
    i = int(np.flatnonzero(opinions.present.values.all(1))[0])
    d = np.exp(values["log_kappa"][0] + values["rho"][0, 1]) * np.sqrt(opinions.variance["valence"].values[i])
    omega = values["omega"][0]
    sigma = np.outer(omega, omega) * values["offset_correlation"][0] + np.outer(d, d) * values["correlation"][0]
    b, v0 = values["b"][0], values["tau"][0] ** 2 + values["sd_delta"][0] ** 2
    m0 = values["mu"][0] + values["delta"][0, 1]
    rest = opinions.mean["valence"].values[i] - values["a"][0] - values["u"][0, 1] - b * m0
    gain = v0 * b @ np.linalg.inv(sigma + v0 * np.outer(b, b))
    assert mean[0, i] == pytest.approx(m0 + gain @ rest)
    assert variance[0, i] == pytest.approx(v0 - gain @ b * v0)
    assert np.isfinite(predict(posterior, opinions, target="valence", seed=0).mean["valence"]).all()
    w = trial_weights(posterior, opinions, draws=30).values[:, i]
    v = 1 / v0
    d0 = np.exp(values["log_kappa"][0]) * np.sqrt(opinions.variance["valence"].values[i])
    sigma = np.outer(omega, omega) * values["offset_correlation"][0] + np.outer(d0, d0) * values["correlation"][0]
    parts = np.append(b * np.linalg.solve(sigma, b), v)
    np.testing.assert_allclose(w[4], parts / parts.sum())
    np.testing.assert_allclose(weights(posterior)["population"].sum("modality"), 1)


def test_one_modality_and_complete_pooling_have_nothing_to_correlate(monkeypatch):
    monkeypatch.setattr(attempts, "sample", not_sampled)
    for opinions, model in ((table(1), CORRELATED), (table(2), Model(pooling="complete", offsets="correlated"))):
        posterior = fit(opinions, "valence", seed=1, model=model)
        assert "offset_correlation" not in posterior["posterior"]
        assert np.isfinite(predict(posterior, opinions, target="valence", seed=0).mean["valence"]).all()
    with pytest.raises(InputError, match="not built"):
        Model("student", offsets="correlated")
