"""Gains that scale with a subject's reliability: x_i = a + b mu + b exp(theta rho_s) (y_i - mu) + u_s + e_i."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal

from bayesaffect.errors import InputError
from bayesaffect.fusion import (
    Model,
    Priors,
    adapt,
    attempts,
    criticise,
    fit,
    idata,
    predict,
    prior_predictive,
    statistics,
    trial_weights,
    weights,
)
from bayesaffect.fusion.engine import capture, sample
from bayesaffect.fusion.people import effects_normal
from bayesaffect.fusion.ratings import continuous
from bayesaffect.fusion.ratings.moments import fused_moments
from bayesaffect.simulate import OpinionModel, simulate_opinions
from bayesaffect.types import Target

VALENCE = Target("valence", (1, 9))
SCALED = Model(gains="scaled")
M, S, N = 3, 3, 5


def table(seed=2):
    shape = OpinionModel(missing=0.2, correlation=0.2)
    return simulate_opinions(
        subjects=S, trials=N, modalities=["x", "y", "z"], targets=(VALENCE,), seed=seed, model=shape
    )[0]


def not_sampled(model, data, *, seed, **_):
    density = capture.capture(model, data)
    stats = {"diverging": np.zeros((1, 30), dtype=bool)}
    return sample.Draws(np.random.default_rng(seed).normal(0, 0.7, (1, 30, density.ndim)), density, stats)


@pytest.fixture(scope="module")
def fitted():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(attempts, "sample", not_sampled)
        return fit(table(), "valence", seed=1, model=SCALED)


def parts(values, d, s, i, opinions):
    """Observed modalities of trial i, their gains, sds of the errors, and correlations, of draw d and subject s."""
    seen = opinions.present.values[i]
    rho = values["rho"][d, s]
    k = np.exp(values["log_kappa"][d] + rho) * np.sqrt(np.nan_to_num(opinions.variance["valence"].values[i], nan=1.0))
    return seen, values["b"][d] * np.exp(values["theta"][d] * rho), np.outer(k, k) * values["correlation"][d]


def test_marginal_likelihood_is_the_dense_normal_density():
    opinions = table()
    data = continuous.data(
        statistics.continuous(opinions, "valence", statistics.index(opinions, "valence")), Priors(), True, SCALED
    )
    density = capture.capture(continuous.model, data)
    z = torch.as_tensor(np.random.default_rng(1).normal(0, 0.7, density.ndim))
    sites, tensors = density.constrain(z)[0], density.unpack(density.pack(data))
    v = {n: t.numpy() for n, t in sites.items()}
    log_k = continuous.log_k(sites, tensors).numpy()
    r, y = continuous.correlation(sites, M).numpy(), opinions.truth["valence"].values
    expected = 0.0
    for s in range(S):
        rows = np.arange(N * s, N * s + N)
        d = np.exp(log_k[s]) * np.sqrt(np.nan_to_num(opinions.variance["valence"].values[rows], nan=1.0))
        gain = v["b"] * np.exp(v["theta"] * (log_k[s] - v["log_kappa"]))
        full = np.kron(np.ones((N, N)), np.diag(v["omega"] ** 2))
        for i in range(N):
            full[i * M : i * M + M, i * M : i * M + M] += np.outer(d[i], d[i]) * r
        keep = opinions.present.values[rows].ravel()
        mean = (v["a"] + v["b"] * v["mu"] + np.outer(y[rows] - v["mu"], gain)).ravel()[keep]
        x = opinions.mean["valence"].values[rows].ravel()[keep]
        expected += multivariate_normal(mean, full[np.ix_(keep, keep)]).logpdf(x)
    assert float(continuous.opinions_term(sites, tensors)) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("new", [False, True])
def test_truth_given_opinions_is_the_dense_conditional(fitted, new):
    opinions, d = table(), 4
    values = idata.flattened(fitted, ("mu", "tau", "sd_delta", "a", "b", "omega", "log_kappa", "rho", "correlation",
                                      "u", "delta", "theta"))  # fmt: skip
    if new:
        values = values | {n: values[n] * 0 for n in ("u", "delta")}
    who = statistics.index(opinions, "valence").subject
    mean, variance = fused_moments(values, who, np.full(who.size, new), opinions, "valence")
    for i in (0, 6, 12):
        seen, b, sigma = parts(values, d, who[i], i, opinions)
        sigma = sigma + new * np.diag(values["omega"][d] ** 2)
        b, sigma = b[seen], sigma[np.ix_(seen, seen)]
        mu, v0 = values["mu"][d], values["tau"][d] ** 2 + new * values["sd_delta"][d] ** 2
        m0 = mu + values["delta"][d, who[i]]
        at = (values["a"] + values["u"][:, who[i]])[d] + values["b"][d] * mu
        rest = (opinions.mean["valence"].values[i] - at)[seen] - b * (m0 - mu)
        gain = v0 * b @ np.linalg.inv(sigma + v0 * np.outer(b, b))
        assert mean[d, i] == pytest.approx(m0 + gain @ rest)
        assert variance[d, i] == pytest.approx(v0 - gain @ b * v0)


def test_effects_of_a_new_subject_have_the_dense_density_of_its_trials(fitted):
    """log p(labelled and unlabelled trials | draw, rho), u and delta integrated out."""
    opinions = table().select(np.arange(N))
    names = ("mu", "tau", "sd_delta", "a", "b", "omega", "log_kappa", "correlation", "theta")
    values = idata.flattened(fitted, names)
    rho = np.random.default_rng(0).normal(0, 0.3, (30, M))
    truth = opinions.truth["valence"].values.copy()
    truth[3:] = np.nan
    _, _, found = effects_normal.conditional(values, rho, opinions, "valence", truth=truth)
    d, known = 2, np.arange(N) < 3
    v = {n: a[d] for n, a in values.items()} | {"rho": rho[d][None, None]}
    gain = v["b"] * np.exp(v["theta"] * rho[d])
    cov_y = v["tau"] ** 2 * np.eye(N) + v["sd_delta"] ** 2
    reads = np.kron(np.eye(N), gain[:, None])
    error = np.kron(np.ones((N, N)), np.diag(v["omega"] ** 2))
    for i in range(N):
        k = np.exp(v["log_kappa"] + rho[d]) * np.sqrt(np.nan_to_num(opinions.variance["valence"].values[i], nan=1.0))
        error[i * M : i * M + M, i * M : i * M + M] += np.outer(k, k) * v["correlation"]
    cov = np.block([[cov_y, cov_y @ reads.T], [reads @ cov_y, reads @ cov_y @ reads.T + error]])
    mean = np.concatenate([np.full(N, v["mu"]), np.tile(v["a"] + v["b"] * v["mu"], N)])
    keep = np.concatenate([known, opinions.present.values.ravel()])
    seen = np.concatenate([truth, opinions.mean["valence"].values.ravel()])[keep]
    assert found[d] == pytest.approx(multivariate_normal(mean[keep], cov[np.ix_(keep, keep)]).logpdf(seen))


def test_everything_that_reads_a_fit_reads_its_gains(fitted, monkeypatch):
    opinions = table()
    assert fitted["posterior"]["theta"].dims == ("chain", "draw")
    w = weights(fitted)["weight"].values[0, 4, 1]
    d = fitted["posterior"].isel(chain=0, draw=4)
    sd = d["reliability"].values[1] * fitted["constant_data"]["typical_subject"].values[1]
    b = d["b"].values * np.exp(float(d["theta"]) * d["rho"].values[1])
    shares = b * np.linalg.solve(np.outer(sd, sd) * d["correlation"].values, b)
    np.testing.assert_allclose(w, np.append(shares, 1 / float(d["tau"]) ** 2) / (shares.sum() + float(d["tau"]) ** -2))
    known = trial_weights(fitted, opinions, draws=30, subjects="known").values
    i = int(np.flatnonzero(opinions.present.values.all(1))[-1])
    s = statistics.index(opinions, "valence").subject[i]
    sd = d["reliability"].values[s] * np.sqrt(opinions.variance["valence"].values[i])
    b = d["b"].values * np.exp(float(d["theta"]) * d["rho"].values[s])
    shares = b * np.linalg.solve(np.outer(sd, sd) * d["correlation"].values, b)
    np.testing.assert_allclose(known[4, i, :M], shares / (shares.sum() + float(d["tau"]) ** -2))
    monkeypatch.setattr(attempts, "sample", not_sampled)
    one = adapt(fitted, opinions.select(np.arange(N)), target="valence", seed=0)
    assert np.isfinite(predict(one, opinions, target="valence", seed=0, subjects="known").mean["valence"]).all()
    assert criticise(fitted, opinions, seed=0, draws=20).table["p"].between(0, 1).all()
    drawn = prior_predictive(opinions, "valence", seed=0, model=SCALED, draws=400)
    theta = drawn["prior"]["theta"].values
    assert theta.mean() == pytest.approx(0.5, abs=5 * np.sqrt(1 / 12 / 400))
    assert np.isfinite(drawn["prior_predictive"]["opinion"].values[0][:, opinions.present.values]).all()


def test_what_is_not_built_is_refused():
    for change in ({"likelihood": "student"}, {"pooling": "complete"}):
        with pytest.raises(InputError, match="scaled gains with"):
            Model(gains="scaled", **change)
