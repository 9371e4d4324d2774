from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
import xarray as xr
from scipy.stats import multivariate_normal

from bayesaffect.errors import InputError
from bayesaffect.fusion import Priors, Sampling, attempts, categorical, discount, fit, predict, statistics, weights
from bayesaffect.fusion.engine import capture, sample
from bayesaffect.fusion.idata import az
from bayesaffect.fusion.prediction import fused_log_prob, fused_moments
from bayesaffect.fusion.ratings import continuous
from bayesaffect.simulate import OpinionModel, simulate_opinions
from bayesaffect.types import Target

VALENCE, EMOTION = Target("valence", (1, 9)), Target("emotion", levels=("a", "b", "c"))
KINDS = pytest.mark.parametrize("target", [VALENCE, EMOTION], ids=lambda t: t.name)


def table(target=VALENCE, *, seed=0, m=3, subjects=4, trials=7):
    model = OpinionModel(discount=0.6, missing=0.25, correlation=0.3 if m > 1 else 0.0)
    names = [f"m{k}" for k in range(m)]
    return simulate_opinions(
        subjects=subjects, trials=trials, modalities=names, targets=(target,), seed=seed, model=model
    )[0]


def prepared(opinions, held_out=()):
    target = opinions.targets[0].name
    where = statistics.index(opinions, target, held_out)
    learnt = discount.learnable(opinions, where.used)
    poor = None if learnt is None else learnt[0]
    if opinions.targets[0].kind == "continuous":
        return continuous, continuous.data(statistics.continuous(opinions, target, where, poor), Priors(), True)
    sums = statistics.categorical(opinions, target, where, poor)
    return categorical, categorical.data(sums, Priors(), discounted=poor is not None)


def values_at(module, data, seed=3):
    density = capture.capture(module.model, data)
    z = torch.as_tensor(np.random.default_rng(seed).normal(0, 0.5, density.ndim))
    return density, z, density.constrain(z)[0], density.unpack(density.pack(data))


def left(opinions, share):
    return 1 - share * (1 - opinions.quality.values)


@pytest.mark.parametrize("m", [1, 2, 3, 5])
def test_likelihood_is_the_trial_by_trial_normal_density(m):
    opinions = table(m=m)
    module, data = prepared(opinions, ["S002"])
    _, _, values, tensors = values_at(module, data)
    k, r = torch.exp(continuous.log_k(values, tensors)).numpy(), continuous.correlation(values, m).numpy()
    v = {n: t.numpy() for n, t in values.items()}
    sd = np.sqrt(opinions.variance["valence"].values) / left(opinions, v["quality_discount"])
    expected = 0.0
    for s in (0, 2, 3):
        rows = np.arange(s * 7, s * 7 + 7)
        keep = opinions.present.values[rows].ravel()
        full = np.kron(np.ones((7, 7)), np.diag(v["omega"] ** 2))
        for i, q in enumerate(np.nan_to_num(sd[rows], nan=1.0)):
            full[i * m : i * m + m, i * m : i * m + m] += np.outer(k[s] * q, k[s] * q) * r
        mean = (v["a"] + np.outer(opinions.truth["valence"].values[rows], v["b"])).ravel()[keep]
        x = opinions.mean["valence"].values[rows].ravel()[keep]
        expected += multivariate_normal(mean, full[np.ix_(keep, keep)]).logpdf(x)
    assert float(continuous.opinions_term(values, tensors)) == pytest.approx(expected, rel=1e-9)


def test_subject_offsets_are_the_dense_conditional_mean():
    opinions = table(m=2)
    module, data = prepared(opinions)
    _, _, values, tensors = values_at(module, data)
    quiet = {"u": torch.zeros(4, 2, dtype=torch.float64), "delta": torch.zeros(4, dtype=torch.float64)}
    found = continuous.effects(values, tensors, quiet)
    v = {n: t.numpy() for n, t in (values | found).items()}
    precision, pull = np.diag(v["omega"] ** -2), np.zeros(2)
    for i in np.flatnonzero(opinions.subject.values == "S003"):
        seen = opinions.present.values[i]
        scale = v["reliability"][2] * np.sqrt(opinions.variance["valence"].values[i])
        scale = (scale / left(opinions, v["quality_discount"])[i])[seen]
        inverse = np.linalg.inv(np.outer(scale, scale) * v["correlation"][np.ix_(seen, seen)])
        rest = opinions.mean["valence"].values[i] - v["a"] - v["b"] * opinions.truth["valence"].values[i]
        precision[np.ix_(seen, seen)] += inverse
        pull[seen] += inverse @ rest[seen]
    np.testing.assert_allclose(v["u"][2], np.linalg.solve(precision, pull), rtol=1e-9)


def test_pool_is_the_sum_over_trials_of_the_log_softmax():
    opinions = table(EMOTION)
    module, data = prepared(opinions)
    _, _, values, tensors = values_at(module, data)
    zero = torch.zeros(1, dtype=torch.float64)
    v = {n: t.numpy() for n, t in (values | categorical.effects(values, tensors, {"u": zero})).items()}
    log_p, here = opinions.log_prob["emotion"].values, opinions.present.values
    expected, who = 0.0, np.repeat(np.arange(4), 7)
    for i, s in enumerate(who):
        eta = v["alpha"] + v["delta"][s]
        for m in range(3):
            if not here[i, m]:
                eta = eta + v["alpha_missing"][m]
                continue
            r = 1 - v["quality_discount"][m] * (1 - opinions.quality.values[i, m])
            p = np.exp(log_p[i, m].clip(np.log(1e-6)))
            said = 0.5 * np.log(p) + 0.5 * p.size * p - v["habit_share"][m] * v["habit"][s, m]
            eta = eta + v["w"][m] * np.exp(v["rho"][s, m]) * r * v["matrix"][m] @ said
        expected += eta[opinions.truth["emotion"].values[i]] - np.logaddexp.reduce(eta)
    trace = capture.poutine.trace(capture.poutine.condition(module.model, data=values)).get_trace(tensors)
    trace.compute_log_prob()
    total = trace.nodes["truth"]["log_prob_sum"] + trace.nodes["normalisation"]["log_prob_sum"]
    assert float(total) == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("target", [pytest.param(VALENCE, marks=pytest.mark.slow), EMOTION], ids=lambda t: t.name)
def test_captured_graph_has_the_value_and_gradient_of_the_model(target):
    module, data = prepared(table(target, m=1))
    density, z, _, tensors = values_at(module, data)
    free = z.clone().requires_grad_()
    trace = capture.poutine.trace(capture.poutine.condition(module.model, data=density.constrain(free)[0]))
    log_prob = trace.get_trace(tensors).log_prob_sum() + density.constrain(free)[1]
    (gradient,) = torch.autograd.grad(log_prob, free)
    graph = capture.graph(density, density.pack(data))
    found = graph(z, density.pack(data))[0]
    torch.testing.assert_close(found, torch.cat([log_prob.detach().reshape(1), gradient]))


def test_prior_of_the_discount_is_beta_one_q():
    _, data = prepared(table())
    site = (
        capture.poutine.trace(continuous.model)
        .get_trace({n: torch.as_tensor(v) for n, v in data.items()})
        .nodes["quality_discount"]
    )
    assert site["fn"].log_prob(torch.tensor([0.2, 0.5, 0.7], dtype=torch.float64)).exp() == pytest.approx(
        27 * (0.8 * 0.5 * 0.3) ** 2
    )


@KINDS
@pytest.mark.parametrize("quality", [None, 1.0, 0.4])
def test_quality_that_says_nothing_leaves_the_model_as_it_was(target, quality):
    opinions = table(target)
    plain = prepared(replace(opinions, quality=None))
    module, data = prepared(replace(opinions, quality=None if quality is None else opinions.quality * 0 + quality))
    assert data.keys() == plain[1].keys() and all(np.array_equal(data[n], plain[1][n]) for n in data)
    assert "quality_discount" not in {site.name for site in capture.capture(module.model, data).sites}


@KINDS
def test_one_compiled_density_serves_every_fold_and_another_the_model_without(target):
    opinions = table(target)

    def shape(opinions, held_out=()):
        module, data = prepared(opinions, held_out)
        density = capture.capture(module.model, data)
        return density.ndim, density.layout  # what the cache of compiled densities is keyed by

    assert shape(opinions) == shape(opinions, ["S001"]) == shape(opinions, ["S004"])
    assert shape(replace(opinions, quality=None)) != shape(opinions)


@KINDS
def test_quality_of_held_out_and_missing_trials_changes_nothing(target):
    opinions = table(target)
    changed = opinions.quality.copy(deep=True)
    changed.values[(opinions.subject.values == "S001")] = 0.5
    changed = changed.where(opinions.present, 0.123)
    one, two = (prepared(replace(opinions, quality=q), ["S001"])[1] for q in (opinions.quality, changed))
    rows = ["design"] if target is EMOTION else []  # the held-out subject's own rows, which `used` keeps out
    assert all(np.array_equal(one[n], two[n]) for n in one if n not in rows)


def test_gauss_rule_sums_logarithms_to_its_bound():
    h = np.random.default_rng(0).beta(1, 1.5, 5000)
    nodes, number = discount.gauss(h)
    assert nodes.size == discount.NODES and (number > 0).all() and (nodes >= 0).all() and (nodes <= 1).all()
    assert number @ nodes**7 == pytest.approx((h**7).sum(), rel=1e-12)
    for share, tolerance in ((0.5, 1e-11), (0.9, 1e-11), (0.99, 1e-6)):
        assert number @ np.log1p(-share * nodes) == pytest.approx(np.log1p(-share * h).sum(), rel=tolerance)
    few = discount.gauss(h, 4)
    z = 2 / 0.9 - 1
    rho = z + np.sqrt(z * z - 1)
    error = abs(few[1] @ np.log1p(-0.9 * few[0]) - np.log1p(-0.9 * h).sum())
    assert 0.1 < error < 2 * h.size / 4 * rho**-8 / (1 - 1 / rho)


def test_few_distinct_qualities_are_kept_as_they_are():
    nodes, number = discount.gauss(np.array([0.25, 0.75, 0.25]), 4)
    assert nodes.tolist() == [0.25, 0.75, 0, 0] and number.tolist() == [2, 1, 0, 0]


def test_unknown_quality_is_the_average_and_an_impossible_one_is_refused():
    opinions = table()
    unknown = opinions.quality.copy(deep=True)
    unknown.values[:3] = np.nan
    poor, mean = discount.learnable(replace(opinions, quality=unknown), np.ones(28, dtype=bool))
    here = opinions.present.values
    assert mean[1] == pytest.approx(1 - unknown.values[3:, 1][here[3:, 1]].mean())
    assert np.array_equal(poor[:3], np.where(here[:3], mean, 0.0))
    with pytest.raises(InputError, match="quality of m0 is"):
        discount.learnable(replace(opinions, quality=opinions.quality * 0 + 1.5), np.ones(28, dtype=bool))


def test_quality_is_read_by_name_whatever_its_order():
    opinions = table()
    turned = replace(opinions, quality=opinions.quality.isel(modality=[2, 0, 1]))
    nowhere = np.zeros(3)
    assert np.array_equal(discount.poorness(turned, nowhere), discount.poorness(opinions, nowhere))


def not_sampled(model, data, *, seed, **_):
    """Draws near the origin instead of NUTS: what comes after sampling does not care where they are from."""
    density = capture.capture(model, data)
    rng = np.random.default_rng(seed)
    stats = {"diverging": np.zeros((2, 30), dtype=bool), "energy": rng.normal(size=(2, 30))}
    return sample.Draws(rng.normal(0, 0.5, (2, 30, density.ndim)), density, stats)


@pytest.fixture(scope="module")
def fits():
    patch = pytest.MonkeyPatch()
    patch.setattr(attempts, "sample", not_sampled)
    found = {t.name: fit(table(t), t.name, seed=1, held_out=["S004"]) for t in (VALENCE, EMOTION)}
    patch.undo()
    return found


@KINDS
def test_the_discount_is_labelled_and_survives_netcdf(fits, target, tmp_path):
    share = fits[target.name].posterior["quality_discount"]
    assert share.dims == ("chain", "draw", "modality") and ((share > 0) & (share < 1)).all()
    az.to_netcdf(fits[target.name], tmp_path / "posterior.nc", engine="h5netcdf")
    read = az.from_netcdf(tmp_path / "posterior.nc", engine="h5netcdf")
    new = table(target, seed=5)
    one, two = (predict(p, new, target=target.name, seed=0) for p in (fits[target.name], read))
    field = "mean" if target is VALENCE else "log_prob"
    np.testing.assert_allclose(getattr(one, field)[target.name], getattr(two, field)[target.name])
    xr.testing.assert_allclose(weights(fits[target.name]), weights(read))


def test_fused_moments_are_those_of_the_discounted_variances(fits):
    opinions = table(seed=5)
    draws = fits["valence"].posterior.isel(chain=0, draw=[7])
    values = {n: draws[n].values for n in draws.data_vars}
    poor = discount.of_fit(fits["valence"], opinions)
    who, new = np.full(28, 1), np.ones(28, dtype=bool)
    r = left(opinions, values["quality_discount"][0])
    scaled = replace(opinions, variance={"valence": opinions.variance["valence"] / r**2})
    without = {n: v for n, v in values.items() if n != "quality_discount"}
    np.testing.assert_allclose(
        fused_moments(values, who, new, opinions, "valence", poor), fused_moments(without, who, new, scaled, "valence")
    )


def test_pooled_log_probabilities_are_those_of_discounted_opinions(fits):
    """One draw and one subject at a time, where A_m log p_m r_im is the pool of tempered opinions."""
    opinions = table(EMOTION, seed=5)
    draws = fits["emotion"].posterior.isel(chain=0, draw=[7])
    values = {n: draws[n].transpose("draw", ...).values for n in draws.data_vars}
    poor = discount.of_fit(fits["emotion"], opinions)
    found = fused_log_prob(values, np.full(28, 1), opinions, "emotion", poor)[0]
    v = {n: a[0] for n, a in values.items()}
    i = int(np.flatnonzero(opinions.present.values.all(1))[0])
    eta = v["alpha"] + v["delta"][1]
    for m, r in enumerate(left(opinions, v["quality_discount"])[i]):
        p = np.exp(opinions.log_prob["emotion"].values[i, m].clip(np.log(1e-6)))
        said = 0.5 * np.log(p) + 0.5 * p.size * p - v["habit_share"][m] * v["habit"][1, m]
        eta = eta + v["w"][m] * np.exp(v["rho"][1, m]) * r * v["matrix"][m] @ said
    np.testing.assert_allclose(found[i], eta - np.logaddexp.reduce(eta), rtol=1e-5, atol=1e-6)


@KINDS
def test_new_peoples_quality_is_read_and_an_unknown_one_is_the_average(fits, target):
    new = table(target, seed=5)
    field = "mean" if target is VALENCE else "log_prob"

    def predicted(quality):
        found = predict(fits[target.name], replace(new, quality=quality), target=target.name, seed=0)
        return getattr(found, field)[target.name].values

    average = 1 - xr.DataArray(fits[target.name].constant_data["poorness"].values, dims="modality")
    np.testing.assert_allclose(predicted(None), predicted(new.quality * 0 + average), rtol=1e-6)
    assert np.abs(predicted(new.quality) - predicted(None)).max() > 0.01


@KINDS
def test_a_poor_signal_lowers_its_modalitys_share(fits, target):
    opinions = table(target)
    poor = opinions.quality.copy(deep=True)
    poor.loc[{"modality": "m1"}] = 0.0
    w, lower = weights(fits[target.name], opinions), weights(fits[target.name], replace(opinions, quality=poor))
    for each in (w, lower):
        np.testing.assert_allclose(each["weight"].sum("modality"), 1)
        np.testing.assert_allclose(each["population"].sum("modality"), 1)
    assert (lower["population"] < w["population"]).sel(modality="m1").mean() > 0.8
    assert (lower["weight"] < w["weight"]).sel(modality="m1").mean() > 0.8
    same = weights(fits[target.name])  # the fit's own trials
    xr.testing.assert_allclose(same["weight"].drop_sel(subject="S004"), w["weight"].drop_sel(subject="S004"))


def test_log_likelihood_reads_the_quality_of_its_trials(fits):
    opinions = table()
    used = opinions.select(opinions.subject.values != "S004")
    p = fits["valence"].posterior.isel(chain=1, draw=[4])
    values = {n: p[n].values for n in p.data_vars}
    poor = discount.of_fit(fits["valence"], used)
    who = np.repeat(np.arange(3), 7)
    mean, variance = fused_moments(values, who, np.zeros(21, dtype=bool), used, "valence", poor)
    expected = -0.5 * (np.log(2 * np.pi * variance) + (used.truth["valence"].values - mean) ** 2 / variance)
    np.testing.assert_allclose(fits["valence"].log_likelihood["valence"].isel(chain=1, draw=4), expected[0], rtol=1e-9)


@pytest.mark.slow
def test_a_perfect_signal_throughout_gives_the_draws_of_a_fit_without_quality(monkeypatch):
    monkeypatch.setattr(sample, "compiler", lambda: None)
    opinions = table(EMOTION, m=2)
    short = Sampling(draws=20, tune=30, chains=2, pilot=20)
    clean = replace(opinions, quality=opinions.quality * 0 + 1.0)
    one, two = (fit(o, "emotion", sampling=short, seed=1) for o in (clean, replace(opinions, quality=None)))
    assert set(one.posterior) == set(two.posterior)
    for name in one.posterior:
        np.testing.assert_array_equal(one.posterior[name], two.posterior[name])
