from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import dirichlet, multivariate_normal, norm

from bayesaffect.errors import InputError
from bayesaffect.fusion import Model, Priors, Sampling, attempts, fit, predict, statistics
from bayesaffect.fusion.engine import capture, sample
from bayesaffect.fusion.ratings import continuous, ordinal, padded
from bayesaffect.simulate import OpinionModel, simulate_opinions
from bayesaffect.types import Target

VALENCE = Target("valence", (1, 9))
ORDINAL = Model("ordinal")


def table(seed=0, *, subjects=4, trials=6, target=VALENCE, missing=0.3):
    """Opinions on a truth that was rounded to the steps of its scale."""
    shape = OpinionModel(missing=missing, correlation=0.3, tau=0.45)
    opinions, _ = simulate_opinions(
        subjects=subjects, trials=trials, modalities=["a", "b"], targets=(target,), seed=seed, model=shape
    )
    low, high = target.bounds
    rating = np.round(target.from_unit(opinions.truth["valence"].values)).clip(low, high)
    return replace(opinions, truth=opinions.truth.assign(valence=("trial", target.to_unit(rating))))


def values_at(opinions, held_out=(), seed=3):
    where = statistics.index(opinions, "valence", held_out)
    data = ordinal.data(opinions, "valence", where, Priors(), ORDINAL)
    density = capture.capture(ordinal.model, data)
    z = torch.as_tensor(np.random.default_rng(seed).normal(0, 0.5, density.ndim))
    return where, density.constrain(z)[0], density.unpack(density.pack(data))


def test_joint_density_of_rating_and_opinions_integrates_the_latent_truth():
    """Against the sum over a fine grid of the latent truth, trial by trial; one subject is held out."""
    opinions = table()
    where, values, tensors = values_at(opinions, ["S003"])
    cut = np.concatenate([[-np.inf], ordinal.cuts(values, tensors).numpy(), [np.inf]])
    level, offset = ordinal.level(values, tensors).numpy(), padded.offsets(values, tensors).numpy()
    cell = ordinal.cells(opinions.truth["valence"].values, VALENCE)
    k = torch.exp(continuous.log_k(values, tensors)).numpy()
    r, b, tau = continuous.correlation(values, 2).numpy(), values["b"].numpy(), float(values["tau"])
    expected = 0.0
    for i in np.flatnonzero(where.used):
        s, seen = where.subject[i], opinions.present.values[i]
        z = np.linspace(max(cut[cell[i]], -8), min(cut[cell[i] + 1], 8), 8001)
        d = k[s] * np.sqrt(np.nan_to_num(opinions.variance["valence"].values[i], nan=1.0))
        sigma = (np.outer(d, d) * r)[np.ix_(seen, seen)]
        gap = (opinions.mean["valence"].values[i] - offset[s] - np.outer(z, b))[:, seen]
        each = norm(level[s], tau).logpdf(z) + multivariate_normal(np.zeros(seen.sum()), sigma).logpdf(gap)
        expected += np.log(np.trapezoid(np.exp(each), z))
    assert float(ordinal.joint_term(values, tensors)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(("low", "high"), [(-0.4, 0.3), (-9.0, -8.5), (8.5, 9.0), (-800.0, -1.0), (2.0, 800.0)])
def test_probability_between_two_points_is_accurate_in_both_tails(low, high):
    expected = np.log(norm.cdf(high) - norm.cdf(low)) if high < 0 else np.log(norm.sf(low) - norm.sf(high))
    pair = torch.tensor([low, high], dtype=torch.float64, requires_grad=True)
    found = ordinal.log_interval(pair[:1], pair[1:])
    assert float(found.detach()) == pytest.approx(expected, rel=1e-9)
    (gradient,) = torch.autograd.grad(found, pair)
    assert torch.isfinite(gradient).all()
    assert float(gradient[1]) == pytest.approx(np.exp(norm.logpdf(high) - expected), rel=1e-6, abs=1e-12)


def test_broken_stick_has_the_dirichlet_density():
    """Against scipy, up to the constant that the change of variables to cut points leaves: the same at two points."""
    opinions = table()
    _, values, tensors = values_at(opinions)
    first, second = tensors["spacing"]
    width = float(tensors["outer"][1] - tensors["outer"][0])

    def widths(stick):
        return torch.diff(ordinal.cuts(values | {"stick": stick}, tensors)) / width

    gaps = []
    for seed in (0, 1):
        stick = torch.as_tensor(np.random.default_rng(seed).uniform(0.05, 0.6, first.shape[0]))
        log_p = torch.distributions.Beta(first, second).log_prob(stick).sum()
        jacobian = torch.autograd.functional.jacobian(lambda s: widths(s)[:-1], stick)
        w = widths(stick).numpy()
        assert w.sum() == pytest.approx(1) and w.size == 7
        expected = dirichlet(np.full(7, Priors().spacing)).logpdf(w / w.sum())
        gaps.append(float(log_p - torch.linalg.slogdet(jacobian)[1]) - expected)
    assert gaps == pytest.approx([0, 0], abs=1e-9)


def test_level_probabilities_and_moments_are_those_of_a_rounded_normal():
    mean, variance = np.array([[0.1, -3.0]]), np.array([[0.04, 0.01]])
    cut = np.linspace(-0.875, 0.875, 8)[None]
    log_p = ordinal.probabilities(mean, variance, cut)
    edges = np.concatenate([[-np.inf], cut[0], [np.inf]])
    np.testing.assert_allclose(np.exp(log_p[0, 0]), np.diff(norm(0.1, 0.2).cdf(edges)), rtol=1e-9)
    assert np.exp(log_p[0, 1, 0]) == pytest.approx(1)
    found, spread = ordinal.moments(log_p, ordinal.levels(VALENCE))
    assert found[0, 0] == pytest.approx(0.1, abs=0.01) and found[0, 1] == -1
    assert spread[0, 0] == pytest.approx(0.04 + 0.25**2 / 12, rel=0.02)


def test_ratings_without_steps_and_scales_without_levels_are_refused():
    halves = table().truth["valence"].values + 0.125
    with pytest.raises(InputError, match="between two steps"):
        ordinal.cells(halves, VALENCE)
    np.testing.assert_array_equal(ordinal.cells(np.array([-1.0, 0.125, np.nan, 1.0]), VALENCE, 0.5), [0, 9, -1, 16])
    with pytest.raises(InputError, match="do not lead"):
        ordinal.levels(Target("x", (1, 2)))
    with pytest.raises(InputError, match="do not lead"):
        ordinal.levels(VALENCE, 0.3)


def not_sampled(model, data, *, seed, **_):
    density = capture.capture(model, data)
    rng = np.random.default_rng(seed)
    stats = {"diverging": np.zeros((2, 20), dtype=bool), "energy": rng.normal(size=(2, 20))}
    return sample.Draws(rng.normal(0, 0.5, (2, 20, density.ndim)), density, stats)


@pytest.mark.parametrize("pooling", ["partial", "none", "complete"])
def test_an_ordinal_fit_predicts_ratings_and_their_probabilities(monkeypatch, pooling):
    monkeypatch.setattr(attempts, "sample", not_sampled)
    target = Target("valence", (1, 3)) if pooling == "complete" else VALENCE
    opinions = table(target=target)
    posterior = fit(opinions, "valence", seed=1, model=Model("ordinal", pooling), held_out=["S001"])
    k = 3 if pooling == "complete" else 9
    assert posterior["posterior"]["cut"].sizes["boundary"] == k - 1
    assert (np.diff(posterior["posterior"]["cut"].values) > 0).all()
    assert (posterior["log_likelihood"]["valence"] <= 1e-9).all()
    assert np.isin(posterior["posterior_predictive"]["valence"], ordinal.levels(target)).all()
    p = predict(posterior, opinions, target="valence", seed=0, draws=10)
    prob = np.exp(p.log_prob["valence"])
    np.testing.assert_allclose(prob.sum("level"), 1)
    assert list(prob["level"].values) == [str(i + 1) for i in range(k)]
    scale = target.to_unit(np.arange(1, k + 1))
    np.testing.assert_allclose((prob * scale).sum("level"), p.mean["valence"])


@pytest.mark.slow
@pytest.mark.statistical
def test_narrow_levels_and_parameters_are_recovered(tmp_path):
    """A scale whose level 5 is half as wide as the others, 2 to 4 and 6 to 8; sd of the latent truth 0.45."""
    opinions, _ = simulate_opinions(
        subjects=16, trials=25, modalities=["a", "b"], targets=(VALENCE,), seed=5, model=OpinionModel(tau=0.3)
    )
    width = np.array([1, 1, 1, 0.5, 1, 1, 1])
    cut = -0.875 + 1.75 * np.concatenate([[0], np.cumsum(width) / width.sum()])
    rating = np.searchsorted(cut, opinions.truth["valence"].values) + 1.0
    seen = replace(opinions, truth=opinions.truth.assign(valence=("trial", VALENCE.to_unit(rating))))
    short = Sampling(draws=300, tune=300, chains=2, pilot=100, attempts=1)
    posterior = fit(seen, "valence", seed=1, sampling=short, model=ORDINAL, cache=tmp_path)["posterior"]
    low, high = np.quantile(posterior["cut"].values, [0.005, 0.995], axis=(0, 1))
    inner = slice(1, -1)
    assert ((low < cut) & (cut < high))[inner].all()
    widths = np.diff(posterior["cut"].values)
    assert np.quantile(widths[..., 3], 0.95) < 0.2 < widths[..., 2].mean() + 0.1
    assert np.quantile(posterior["tau"], 0.005) < 0.3 < np.quantile(posterior["tau"], 0.995)
