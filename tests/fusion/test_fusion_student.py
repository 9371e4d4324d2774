from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import gamma, multivariate_t, norm

from bayesaffect.errors import InputError
from bayesaffect.fusion import Model, Priors, attempts, fit, idata, predict, statistics
from bayesaffect.fusion.engine import capture, sample
from bayesaffect.fusion.ratings import continuous, padded, student
from bayesaffect.fusion.ratings.moments import fused_moments
from bayesaffect.simulate import OpinionModel, simulate_opinions
from bayesaffect.types import Target

VALENCE = Target("valence", (1, 9))
POOR = np.random.default_rng(8).uniform(0, 1, (24, 3))


def table(seed=0, *, discount=0.0, m=3):
    names = ["a", "b", "c"][:m]
    return simulate_opinions(
        subjects=4,
        trials=6,
        modalities=names,
        targets=(VALENCE,),
        seed=seed,
        model=OpinionModel(missing=0.3, correlation=0.3, discount=discount),
    )[0]


def prepared(opinions, model=None, *, poor=None, held_out=(), module=student):
    where = statistics.index(opinions, "valence", held_out)
    return module.data(opinions, "valence", where, Priors(), model or Model("student"), poor)


def values_at(data, seed=3, module=student):
    density = capture.capture(module.model, data)
    z = torch.as_tensor(np.random.default_rng(seed).normal(0, 0.5, density.ndim))
    tensors = density.unpack(density.pack(data))
    return density, z, continuous.completed(density.constrain(z)[0], tensors), tensors


def covariances(values, tensors, opinions, poor=None):
    """D_i R D_i of every trial, all modalities."""
    m = len(opinions.modalities)
    who = statistics.index(opinions, "valence").subject
    left = 1.0 if poor is None else 1 - values["quality_discount"].numpy() * poor
    v = np.nan_to_num(opinions.variance["valence"].values, nan=1.0)
    d = torch.exp(continuous.log_k(values, tensors)).numpy()[who] * np.sqrt(v) / left
    return d[:, :, None] * d[:, None, :] * continuous.correlation(values, m).numpy()


@pytest.mark.parametrize("poor", [None, POOR])
def test_opinions_have_the_multivariate_t_density(poor):
    opinions = table()
    data = prepared(opinions, poor=poor, held_out=["S002"])
    _, _, values, tensors = values_at(data)
    where = statistics.index(opinions, "valence", ["S002"])
    sigma = covariances(values, tensors, opinions, poor)
    level, b, nu = padded.offsets(values, tensors).numpy(), values["b"].numpy(), float(values["nu"])
    expected = 0.0
    for i in np.flatnonzero(where.used):
        seen = opinions.present.values[i]
        loc = level[where.subject[i]] + b * opinions.truth["valence"].values[i]
        x = opinions.mean["valence"].values[i, seen]
        expected += multivariate_t(loc[seen], sigma[i][np.ix_(seen, seen)], nu).logpdf(x)
    assert float(student.opinions_term(values, tensors)) == pytest.approx(expected, rel=1e-9)


def draws_of(opinions, n=3, seed=5):
    """Posterior-like values (draw, ...) that are far from any symmetry."""
    data = prepared(opinions)
    density = capture.capture(student.model, data)
    tensors = density.unpack(density.pack(data))
    rng = np.random.default_rng(seed)
    noise = {"delta": torch.as_tensor(rng.normal(size=4))}
    each = []
    for _ in range(n):
        z = torch.as_tensor(rng.normal(0, 0.5, density.ndim))
        values = density.constrain(z)[0] | {"nu": torch.tensor(rng.uniform(1.5, 6), dtype=torch.float64)}
        each.append(student.effects(values, tensors, noise))
    return {name: np.stack([e[name].numpy() for e in each]) for name in each[0]}, tensors


def test_truth_given_opinions_integrates_the_weight_out():
    """Against Bayes' rule on a fine grid of the truth, for a known subject."""
    opinions = table()
    values, _ = draws_of(opinions)
    who = statistics.index(opinions, "valence").subject
    truth = opinions.truth["valence"].values
    found = student.log_density(values, who, np.zeros(24, bool), opinions, "valence", None, truth)
    y = np.linspace(-6, 6, 4001)
    for d in range(3):
        for i in (2, 7, 11):
            seen, s = opinions.present.values[i], who[i]
            k = np.exp(values["log_kappa"][d] + values["rho"][d, s]) * np.sqrt(opinions.variance["valence"].values[i])
            sigma = (np.outer(k, k) * values["correlation"][d])[np.ix_(seen, seen)]
            x = (opinions.mean["valence"].values[i] - values["a"][d] - values["u"][d, s])[seen]
            centre = np.outer(y, values["b"][d][seen])
            log_p = multivariate_t(np.zeros(seen.sum()), sigma, values["nu"][d]).logpdf(x - centre)
            log_p = log_p + norm(values["mu"][d] + values["delta"][d, s], values["tau"][d]).logpdf(y)
            total = np.log(np.trapezoid(np.exp(log_p - log_p.max()), y)) + log_p.max()
            assert found[d, i] == pytest.approx(np.interp(truth[i], y, log_p) - total, abs=2e-3)


def test_known_subjects_need_no_loop_over_weights():
    opinions = table()
    values, _ = draws_of(opinions)
    who, known = statistics.index(opinions, "valence").subject, np.zeros(24, bool)
    node = np.array([[0.2, 3.0, 1.0]])
    short = student._scaled(values, node[:, :, None], who, known, opinions, "valence", None)
    long = student._given(values, node[0], who, known, opinions, "valence", None)
    for one, two in zip(short, long, strict=True):
        np.testing.assert_allclose(one[0], two, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("nu", [1.5, 4.0, 30.0, 200.0])
def test_grid_of_weights_carries_the_gamma_prior(nu):
    weight, log_prior = student.grid(np.array([nu]), 3)
    mass = np.exp(log_prior[0])
    assert mass.sum() == pytest.approx(1, abs=2e-2 if nu < 4 else 1e-3)
    assert mass @ weight[0] == pytest.approx(1, abs=1e-3)
    for m, q in ((1, 0.3), (3, 5.0), (1, 400.0)):
        found = np.log((mass * weight[0] ** (m / 2) * np.exp(-weight[0] * q / 2)).sum())
        density = multivariate_t(np.zeros(m), np.eye(m), nu)
        exact = density.logpdf(np.full(m, np.sqrt(q / m))) + m / 2 * np.log(2 * np.pi)
        assert found == pytest.approx(exact, abs=4e-3 if nu < 4 else 1e-3)
    assert (mass * weight[0] ** 2).sum() == pytest.approx(gamma(nu / 2, scale=2 / nu).moment(2), rel=2e-3)


def test_weights_are_drawn_as_their_mixture_says():
    opinions = table()
    values, _ = draws_of(opinions, n=1)
    many = {name: np.repeat(v, 2000, 0) for name, v in values.items()}
    who, new = statistics.index(opinions, "valence").subject, np.ones(24, bool)
    mean, variance = student.draw(many, who, new, opinions, "valence", None, np.random.default_rng(0))
    weight, *moments = student.mixture(values, who, new, opinions, "valence")
    for drawn, expected in zip((mean, variance), moments, strict=True):
        error = np.maximum(drawn.std(0) / np.sqrt(2000), 1e-9)
        assert (np.abs(drawn.mean(0) - (np.exp(weight) * expected).sum(0)[0]) < 5 * error).all()


def test_an_outlying_opinion_moves_the_truth_less_than_under_normal_errors():
    opinions = table(m=1)
    values, _ = draws_of(table(m=1), n=1)
    values |= {"nu": np.array([3.0]), "b": np.array([[0.8]]), "u": values["u"] * 0}
    x = opinions.mean["valence"].values
    x[opinions.present.values] = 40.0
    who = statistics.index(opinions, "valence").subject
    weight, mean, _ = student.mixture(values, who, np.zeros(24, bool), opinions, "valence")
    normal, _ = fused_moments(values, who, np.zeros(24, bool), opinions, "valence")
    rows = opinions.present.values[:, 0]
    robust = (np.exp(weight) * mean).sum(0)
    assert (robust[0, rows] < 0.7 * normal[0, rows]).all()


def not_sampled(model, data, *, seed, **_):
    density = capture.capture(model, data)
    rng = np.random.default_rng(seed)
    stats = {"diverging": np.zeros((2, 20), dtype=bool), "energy": rng.normal(size=(2, 20))}
    return sample.Draws(rng.normal(0, 0.5, (2, 20, density.ndim)), density, stats)


@pytest.mark.parametrize("pooling", ["partial", "none", "complete"])
@pytest.mark.parametrize("likelihood", ["normal", "student"])
def test_every_option_fits_predicts_and_says_what_it_is(monkeypatch, likelihood, pooling):
    monkeypatch.setattr(attempts, "sample", not_sampled)
    opinions = table()
    posterior = fit(opinions, "valence", seed=1, model=Model(likelihood, pooling), held_out=["S001"])
    draws = posterior["posterior"]
    assert idata.attribute(posterior, "model")["pooling"] == pooling
    assert np.isfinite(posterior["log_likelihood"]["valence"]).all()
    effects = [float(np.abs(draws[name]).max()) for name in ("u", "rho", "delta")]
    assert all(e == 0 for e in effects) if pooling == "complete" else all(e > 0 for e in effects)
    if pooling == "none":
        assert float(draws["mu"].std()) == 0 and float(draws["omega"].mean()) == Priors().bias[1]
    for subjects in ("known", "population"):
        p = predict(posterior, opinions, target="valence", seed=0, subjects=subjects, draws=10)
        assert p.mean["valence"].shape == (10, 24)


def test_without_pooling_a_subjects_offset_has_the_prior_of_a_bias(monkeypatch):
    """The opinions' density is the one of partial pooling with the population's parameters at what they are set to."""
    opinions = table()
    where = statistics.index(opinions, "valence")
    sums = statistics.continuous(opinions, "valence", where)
    none = continuous.data(sums, Priors(), True, Model(pooling="none"))
    partial = continuous.data(sums, Priors(), True)
    _, _, values, tensors = values_at(none, module=continuous)
    wide = {n: v for n, v in values.items()} | {"mu": torch.tensor(0.0)}
    other = {name: torch.as_tensor(v) for name, v in partial.items()}
    torch.testing.assert_close(
        continuous.opinions_term(values, tensors), continuous.opinions_term(wide, other), check_dtype=False
    )
    np.testing.assert_allclose(values["omega"], Priors().bias[1])
    np.testing.assert_allclose(values["sd_rho"], Priors().log_kappa[1])


def test_bad_options_are_refused_in_one_sentence():
    with pytest.raises(InputError, match="no likelihood"):
        Model("cauchy")
    with pytest.raises(InputError, match="no pooling"):
        Model(pooling="some")
    target = Target("emotion", levels=("a", "b"))
    opinions = simulate_opinions(subjects=2, trials=3, modalities=["a"], targets=(target,), seed=0)[0]
    with pytest.raises(InputError, match="categorical"):
        fit(opinions, "emotion", seed=0, model=Model("student"))


@pytest.mark.slow
@pytest.mark.statistical
def test_heavy_tails_are_found_and_normal_errors_are_not_called_heavy(tmp_path):
    from bayesaffect.fusion import Sampling

    found = {}
    for tails in (2.5, np.inf):
        opinions, _ = simulate_opinions(
            subjects=12, trials=20, modalities=["a", "b"], targets=(VALENCE,), seed=4, model=OpinionModel()
        )
        if np.isfinite(tails):
            rng = np.random.default_rng(1)
            y = opinions.truth["valence"].values
            heavy = rng.normal(size=(y.size, 2)) / np.sqrt(rng.gamma(tails / 2, 2 / tails, (y.size, 1)))
            x = y[:, None] + 0.2 * heavy
            opinions.mean["valence"].values[:] = x
        short = Sampling(draws=300, tune=300, chains=2, pilot=100, attempts=1)
        posterior = fit(opinions, "valence", seed=1, sampling=short, model=Model("student"), cache=tmp_path)
        found[tails] = posterior["posterior"]["nu"].values
    assert np.quantile(found[2.5], 0.05) < 2.5 < np.quantile(found[2.5], 0.95)
    assert np.quantile(found[np.inf], 0.05) > 8
