from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from scipy.stats import multivariate_normal

from bayesaffect.errors import InputError
from bayesaffect.fusion import attempts, fit, idata, predict, weights
from bayesaffect.fusion.engine import capture, sample
from bayesaffect.fusion.people import effects_normal, effects_pool, weighting
from bayesaffect.fusion.people import tilts as effects_tilts
from bayesaffect.fusion.people.adaptation import adapt, population
from bayesaffect.fusion.people.jointly import predict_jointly
from bayesaffect.fusion.prediction import fused_log_prob
from bayesaffect.fusion.statistics import contrasts
from bayesaffect.types import Opinions, Target


def table(seed=0, *, subjects=4, trials=6, m=2, k=None, missing=0.3):
    rng = np.random.default_rng(seed)
    n = subjects * trials
    who = np.repeat([f"S{s}" for s in range(subjects)], trials)
    coords = {
        "trial": [f"{s}/T{i}" for i, s in enumerate(who)],
        "modality": [f"m{j}" for j in range(m)],
        "subject": ("trial", who),
        "stimulus": ("trial", who),
    }
    present = xr.DataArray(rng.random((n, m)) > missing, dims=("trial", "modality"), coords=coords)

    def blanked(values, *extra):
        seen = present.values.reshape(n, m, *[1] * len(extra))
        return xr.DataArray(np.where(seen, values, np.nan), dims=("trial", "modality", *extra), coords=coords)

    index = {"trial": coords["trial"]}
    if k is None:
        y = rng.uniform(-0.9, 0.9, n)
        x = 0.7 * y[:, None] + rng.normal(0, 0.3, (n, m))
        truth = xr.Dataset({"valence": ("trial", y)}, coords=index)
        v = rng.uniform(0.05, 0.2, (n, m))
        return Opinions((Target("valence", (1, 9)),), present, truth, {"valence": blanked(x)}, {"valence": blanked(v)})
    y = rng.integers(0, k, n)
    logits = rng.normal(size=(n, m, k)) + 1.5 * np.eye(k)[y][:, None]
    log_p = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    truth = xr.Dataset({"emotion": ("trial", y)}, coords=index)
    target = Target("emotion", levels=tuple("abcdefgh"[:k]))
    return Opinions((target,), present, truth, log_prob={"emotion": blanked(log_p, "level")})


def not_sampled(model, data, *, seed, **_):
    """Draws near the origin instead of NUTS: what comes after sampling does not care where they are from."""
    density = capture.capture(model, data)
    rng = np.random.default_rng(seed)
    stats = {"diverging": np.zeros((2, 40), dtype=bool), "energy": rng.normal(size=(2, 40))}
    return sample.Draws(rng.normal(0, 0.5, (2, 40, density.ndim)), density, stats)


@pytest.fixture(scope="module")
def fits():
    patch = pytest.MonkeyPatch()
    patch.setattr(attempts, "sample", not_sampled)
    found = {k: fit(table(k=3 if k == "emotion" else None), k, seed=1, held_out=["S3"]) for k in ("valence", "emotion")}
    patch.undo()
    return found


def of(opinions, name):
    return opinions.select(opinions.subject.values.astype(str) == name)


@pytest.mark.parametrize("known", [(), (0, 3), tuple(range(6))])
def test_normal_effects_and_their_evidence_are_those_of_the_dense_normal(fits, known):
    """All opinions and truths of a subject are one normal vector; v = (u, delta) is part of it."""
    mine = of(table(seed=5), "S3")
    values = population(fits["valence"], 3)
    rho = np.random.default_rng(0).normal(0, 0.3, values["sd_rho"].shape)
    truth = np.full(6, np.nan)
    truth[list(known)] = mine.truth["valence"].values[list(known)]
    mean, precision, log_weight = effects_normal.conditional(values, rho, mine, "valence", truth=truth)
    v = {n: a[1] for n, a in values.items()}
    here, n, m = mine.present.values, 6, 2
    prior = np.diag(np.r_[v["omega"], v["sd_delta"]] ** 2)
    reads, center, noise, data = [], [], [], []
    for i in range(n):  # rows of x_i, then y_i: linear in v, errors correlated through the truth's own
        d = np.exp(v["log_kappa"] + rho[1]) * np.sqrt(np.nan_to_num(mine.variance["valence"].values[i], nan=1.0))
        block = np.zeros((m + 1, m + 1))
        block[:m, :m] = v["correlation"] * np.outer(d, d) + v["tau"] ** 2 * np.outer(v["b"], v["b"])
        block[:m, m] = block[m, :m] = v["tau"] ** 2 * v["b"]
        block[m, m] = v["tau"] ** 2
        keep = np.flatnonzero(np.r_[here[i], np.isfinite(truth[i])])
        reads.append(np.column_stack([np.eye(m + 1)[:, :m], np.r_[v["b"], 1.0]])[keep])
        center.append(np.r_[v["a"] + v["b"] * v["mu"], v["mu"]][keep])
        noise.append(block[np.ix_(keep, keep)])
        data.append(np.r_[np.nan_to_num(mine.mean["valence"].values[i]), truth[i]][keep])
    h, at, x = np.concatenate(reads), np.concatenate(center), np.concatenate(data)
    full = h @ prior @ h.T
    place = 0
    for block in noise:
        full[place : place + len(block), place : place + len(block)] += block
        place += len(block)
    assert log_weight[1] == pytest.approx(multivariate_normal(at, full).logpdf(x), rel=1e-9)
    gain = prior @ h.T @ np.linalg.inv(full)
    assert mean[1] == pytest.approx(gain @ (x - at), abs=1e-9)
    np.testing.assert_allclose(np.linalg.inv(precision[1]), prior - gain @ h @ prior, atol=1e-9)


def setup_pool(fits, n=6):
    """The pool of a subject's first n trials in 7 draws, and a prior of its effects with a mean."""
    mine = of(table(seed=5, k=3), "S3")
    values = population(fits["emotion"], 7) | {"sd_rho": np.full((7, 2), 0.2), "sd_delta": np.full(7, 0.5)}
    rng = np.random.default_rng(2)
    c = rng.normal(0, 0.3, (7, 2, 2))
    pool = effects_pool.pool(values, c, mine.select(np.arange(n)), "emotion")
    tilts = effects_pool.Tilts(rng.normal(0, 0.3, (10, 2, 2)), np.array([0.3, 0.2]))
    return values, c, mine, pool, effects_pool.prior(values, c, tilts)


def test_log_odds_are_the_pool_of_the_prediction(fits):
    values, c, mine, pool, _ = setup_pool(fits)
    v = np.random.default_rng(3).normal(0, 0.3, (7, 10))
    eta = effects_pool.log_odds(v, pool)
    expected = eta - np.logaddexp.reduce(eta, axis=-1, keepdims=True)
    basis = contrasts(3)
    one = values | {"rho": v[:, None, 2:4], "delta": (v[:, :2] @ basis.T)[:, None], "habit": (c @ basis.T)[:, None]}
    one["tilt"] = v[:, 4:].reshape(7, 1, 2, 3)
    np.testing.assert_allclose(fused_log_prob(one, np.zeros(6, dtype=int), mine, "emotion"), expected, atol=2e-5)
    said, base = effects_pool.offers(values, c, mine, "emotion")
    np.testing.assert_allclose(pool.parts.sum(3), said, atol=1e-12)
    np.testing.assert_allclose(effects_pool.log_odds(np.zeros((7, 4)), pool), base + said.sum(2), atol=1e-12)


def test_prior_of_the_effects_is_what_the_habit_foretells(fits):
    values, c, *_ = setup_pool(fits)
    tilts = effects_pool.Tilts(np.zeros((10, 2, 2)), np.array([0.3, 0.2]))
    tilts.foretold[5, 1, 0] = 2.0
    found = effects_pool.prior(values, c, tilts)
    assert found.mean[:, 5] == pytest.approx(2 * c[:, 1, 0]) and (np.delete(found.mean, 5, 1) == 0).all()
    assert found.precision[0] == pytest.approx(np.r_[[0.5] * 2, [0.2] * 2, [0.3] * 3, [0.2] * 3] ** -2)
    assert effects_pool.prior(values, c, None).mean.shape == (7, 4)


def test_mode_of_the_pools_effects_is_a_maximum_and_weights_make_it_exact(fits):
    """The weights' mean is the evidence, here against brute force from the prior in one draw of the population."""
    label = np.array([0, 1, 1, 2])
    *_, pool, prior = setup_pool(fits, 4)
    mode, lower = effects_pool.posterior(prior, pool, label)
    best = effects_pool.log_density(mode, prior, pool, label)
    rng = np.random.default_rng(4)
    for size in (0.3, 0.01):
        moved = mode + rng.normal(0, size, mode.shape)
        assert (effects_pool.log_density(moved, prior, pool, label) < best).all()
    pool, prior = pool.rows([2]), effects_pool.Prior(*(a[[2]] for a in prior))
    many = 20000
    wide = effects_pool.Prior(*(np.repeat(a, many, 0) for a in prior))
    everywhere = effects_pool.Pool(*(np.repeat(a, many, 0) for a in pool))
    v, log_q = effects_pool.draw(np.repeat(mode[[2]], many, 0), np.repeat(lower[[2]], many, 0), rng)
    weight = np.exp(effects_pool.log_density(v, wide, everywhere, label) - log_q)
    v = wide.mean + rng.standard_normal(v.shape) / np.sqrt(wide.precision)
    eta = effects_pool.log_odds(v, everywhere)
    log_p = eta - np.logaddexp.reduce(eta, axis=-1, keepdims=True)
    likelihood = np.exp(log_p[:, np.arange(4), label].sum(1))
    error = np.hypot(weight.std(), likelihood.std()) / np.sqrt(many)
    assert weight.mean() == pytest.approx(likelihood.mean(), abs=5 * error)
    assert error < 0.1 * weight.mean() and weight.std() < likelihood.std()


def test_labels_teach_tilts_and_no_labels_do_not(fits, monkeypatch, tmp_path):
    """People without labels, and labels of nobody, leave t = 0; with labels it is drawn, saved and read."""
    tilts = effects_pool.Tilts(np.zeros((10, 2, 2)), np.array([1.0, 1.0]))
    monkeypatch.setattr(effects_tilts, "of_fit", lambda posterior: tilts)
    mine = of(table(seed=5, k=3), "S3")
    none = adapt(fits["emotion"], mine.select(np.zeros(6, dtype=bool)), target="emotion", seed=0, subject="S3")
    assert "tilt" not in none["posterior"]
    a = adapt(fits["emotion"], mine, target="emotion", seed=0)
    assert a["posterior"]["tilt"].dims == ("chain", "draw", "subject", "modality", "level")
    idata.save(a, tmp_path / "a.nc")
    both = table(seed=5, k=3)  # others are new: they have no tilt
    one, two = (
        predict(p, both, target="emotion", seed=1, subjects="known").log_prob["emotion"].values
        for p in (a, idata.load(tmp_path / "a.nc"))
    )
    np.testing.assert_allclose(one, two, rtol=1e-4, atol=1e-5)
    plain = a["posterior"].drop_vars("tilt")
    a["posterior"] = plain
    three = predict(a, both, target="emotion", seed=1, subjects="known").log_prob["emotion"].values
    hers = both.subject.values.astype(str) == "S3"
    np.testing.assert_allclose(one[:, ~hers], three[:, ~hers], rtol=1e-4, atol=1e-5)
    assert np.abs(one[:, hers] - three[:, hers]).max() > 0.1


@pytest.mark.parametrize("kind", ["valence", "emotion"])
def test_no_labels_leave_the_population(fits, kind):
    opinions = table(seed=5, k=3 if kind == "emotion" else None)
    mine = of(opinions, "S3")
    a = adapt(fits[kind], mine.select(np.zeros(6, dtype=bool)), target=kind, seed=0, subject="S3")
    assert idata.attribute(a, "labelled") == 0
    one = predict(a, mine, target=kind, seed=1, subjects="known")
    two = predict(fits[kind], mine, target=kind, seed=2)
    if kind == "emotion":
        one, two = (p.log_prob[kind].values for p in (one, two))
        one, two = np.exp(one.astype(float)), np.exp(two.astype(float))
        assert np.abs(one.mean(0) - two.mean(0)).max() < 5 * np.hypot(one.std(0), two.std(0)).max() / np.sqrt(80)
    else:
        (m1, v1), (m2, _) = one.moments(kind), two.moments(kind)
        assert np.abs(m1 - m2).max() < 5 * np.sqrt(float(v1.max()) / 80)


@pytest.mark.parametrize("kind", ["valence", "emotion"])
def test_an_adapted_fit_predicts_weighs_and_says_what_it_is_from(fits, kind, tmp_path):
    mine = of(table(seed=5, k=3 if kind == "emotion" else None), "S3")
    a = adapt(fits[kind], mine.select(np.arange(4)), target=kind, seed=0)
    assert idata.attribute(a, "adapted_to") == "S3" and idata.attribute(a, "labelled") == 4
    assert a["posterior"].sizes["subject"] == 1 and a["posterior"].sizes["draw"] == 80
    idata.save(a, tmp_path / "a.nc")
    read = idata.load(tmp_path / "a.nc")
    field = "mean" if kind == "valence" else "log_prob"
    one, two = (predict(p, mine, target=kind, seed=1, subjects="known") for p in (a, read))
    np.testing.assert_allclose(getattr(one, field)[kind], getattr(two, field)[kind])
    np.testing.assert_allclose(weights(a)["weight"].sum("modality"), 1)
    again = adapt(fits[kind], mine.select(np.arange(4)), target=kind, seed=0)
    np.testing.assert_array_equal(again["posterior"]["rho"], a["posterior"]["rho"])


def test_smoothed_weights_are_proportional_where_the_tail_is_light_and_heavy_ones_are_reported():
    rng = np.random.default_rng(0)
    light = rng.normal(0, 0.3, 2000)
    weight, khat = weighting.smoothed(light)
    assert khat < 0.5 and weight.sum() == pytest.approx(1)
    expected = np.exp(light) / np.exp(light).sum()
    assert np.abs(weight - expected).max() < 0.3 * expected.max()
    assert weighting.smoothed(rng.normal(0, 6, 2000))[1] > 0.7


def test_resampling_keeps_the_weights_in_number():
    weight = np.random.default_rng(0).dirichlet(np.ones(50))
    count = np.bincount(weighting.resampled(weight, np.random.default_rng(1)), minlength=50)
    assert np.abs(count - 50 * weight).max() < 1


@pytest.mark.parametrize("kind", ["valence", "emotion"])
def test_joint_predictions_keep_the_order_and_read_no_truth(fits, kind):
    opinions = table(seed=5, k=3 if kind == "emotion" else None)
    shuffled = opinions.select(np.random.default_rng(0).permutation(24))
    p = predict_jointly(fits[kind], shuffled, target=kind, seed=0, draws=40)
    assert list(p.trial.values) == list(shuffled.present["trial"].values)
    blank = shuffled.truth.assign({kind: shuffled.truth[kind] * 0})
    q = predict_jointly(fits[kind], type(shuffled)(**{**vars(shuffled), "truth": blank}), target=kind, seed=0, draws=40)
    field = "mean" if kind == "valence" else "log_prob"
    np.testing.assert_array_equal(getattr(p, field)[kind], getattr(q, field)[kind])


def test_bad_requests_are_refused_in_one_sentence(fits):
    with pytest.raises(InputError, match="4 subjects"):
        adapt(fits["valence"], table(), target="valence", seed=0)
    with pytest.raises(InputError, match="modalities"):
        adapt(fits["valence"], of(table(m=3), "S1"), target="valence", seed=0)
    with pytest.raises(InputError, match="not of"):
        adapt(fits["valence"], of(table(), "S1"), target="emotion", seed=0)
    with pytest.raises(InputError, match="balanced"):
        predict_jointly(fits["emotion"], table(k=3), target="emotion", seed=0, balanced=1.5)
