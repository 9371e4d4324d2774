from __future__ import annotations

import numpy as np
import pytest
import torch
import xarray as xr
from scipy.stats import multivariate_normal, norm

from bayesaffect.errors import InputError
from bayesaffect.fusion import Priors, Sampling, attempts, categorical, fit, gate, predict, refused, statistics, weights
from bayesaffect.fusion.checks.diagnostics import Gate
from bayesaffect.fusion.engine import capture, sample
from bayesaffect.fusion.idata import az
from bayesaffect.fusion.ratings import continuous
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


def prepared(opinions, target, held_out=()):
    where = statistics.index(opinions, target, held_out)
    if opinions.target(target).kind == "continuous":
        return continuous, continuous.data(statistics.continuous(opinions, target, where), Priors(), True)
    return categorical, categorical.data(statistics.categorical(opinions, target, where), Priors())


def values_at(module, data, seed=3):
    density = capture.capture(module.model, data)
    z = torch.as_tensor(np.random.default_rng(seed).normal(0, 0.5, density.ndim))
    return density, z, density.constrain(z)[0], density.unpack(density.pack(data))


@pytest.mark.parametrize("m", [1, 2, 3, 6])
def test_marginal_likelihood_is_the_dense_normal_density(m):
    opinions = table(m=m)
    module, data = prepared(opinions, "valence")
    _, _, values, tensors = values_at(module, data)
    k = torch.exp(continuous.log_k(values, tensors)).numpy()
    r = continuous.correlation(values, m).numpy()
    v = {n: t.numpy() for n, t in values.items()}
    expected_x = expected_y = 0.0
    for s, name in enumerate(np.unique(opinions.subject)):
        rows = np.flatnonzero(opinions.subject.values == name)
        here = opinions.present.values[rows]
        y = opinions.truth["valence"].values[rows]
        sd = np.sqrt(np.nan_to_num(opinions.variance["valence"].values[rows], nan=1.0))
        blocks = [np.outer(k[s] * q, k[s] * q) * r for q in sd]
        n = rows.size
        full = np.kron(np.ones((n, n)), np.diag(v["omega"] ** 2))
        for i, block in enumerate(blocks):
            full[i * m : i * m + m, i * m : i * m + m] += block
        keep = here.ravel()
        x = opinions.mean["valence"].values[rows].ravel()[keep]
        mean = (v["a"] + np.outer(y, v["b"])).ravel()[keep]
        expected_x += multivariate_normal(mean, full[np.ix_(keep, keep)]).logpdf(x) if keep.any() else 0.0
        level = v["tau"] ** 2 * np.eye(n) + v["sd_delta"] ** 2
        expected_y += multivariate_normal(np.full(n, v["mu"]), level).logpdf(y)
    assert float(continuous.opinions_term(values, tensors)) == pytest.approx(expected_x, rel=1e-9)
    assert float(continuous.truth_term(values, tensors).sum()) == pytest.approx(expected_y, rel=1e-9)


def test_pool_is_the_sum_over_trials_of_the_log_softmax():
    opinions = table(k=3)
    module, data = prepared(opinions, "emotion", held_out=["S1"])
    _, _, values, tensors = values_at(module, data)
    c = categorical.coefficients(values, tensors)
    eta = torch.einsum("spt,spk,lk->stl", tensors["design"], c, tensors["basis"])
    rows = statistics.index(opinions, "emotion", ["S1"])
    truth = torch.as_tensor(opinions.truth["emotion"].values.reshape(4, 6))
    each = torch.log_softmax(eta, -1).gather(-1, truth[..., None])[..., 0]
    trace = capture.poutine.trace(capture.poutine.condition(module.model, data=values)).get_trace(tensors)
    trace.compute_log_prob()
    total = trace.nodes["truth"]["log_prob_sum"] + trace.nodes["normalisation"]["log_prob_sum"]
    assert float(total) == pytest.approx(float(each[torch.as_tensor(rows.used.reshape(4, 6))].sum()), rel=1e-10)


@pytest.mark.parametrize("kind", ["valence", "emotion"])
def test_captured_graph_has_the_value_and_gradient_of_the_model(kind):
    shape = {"k": 3} if kind == "emotion" else {"m": 1}
    module, data = prepared(table(**shape), kind)
    density, z, _, tensors = values_at(module, data)
    free = z.clone().requires_grad_()
    trace = capture.poutine.trace(capture.poutine.condition(module.model, data=density.constrain(free)[0]))
    log_prob = trace.get_trace(tensors).log_prob_sum() + density.constrain(free)[1]
    (gradient,) = torch.autograd.grad(log_prob, free)
    flat = density.pack(data)
    gm = capture.graph(density, density.pack(prepared(table(**shape), kind, ["S2"])[1]))
    torch.testing.assert_close(gm(z, flat)[0], torch.cat([log_prob.detach().reshape(1), gradient]))


@pytest.mark.parametrize("kind", ["valence", "emotion"])
def test_a_held_out_subjects_truth_changes_nothing(kind):
    opinions = table(k=3 if kind == "emotion" else None)
    changed = opinions.truth.copy(deep=True)
    rows = opinions.subject.values == "S1"
    changed[kind].values[rows] = 0
    _, one = prepared(opinions, kind, ["S1"])
    _, two = prepared(Opinions(**{**vars(opinions), "truth": changed}), kind, ["S1"])
    assert all(np.array_equal(one[name], two[name]) for name in one)


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


@pytest.mark.slow
def test_same_seed_gives_the_same_draws_and_another_seed_others(monkeypatch):
    monkeypatch.setattr(sample, "compiler", lambda: None)
    short = Sampling(draws=30, tune=50, chains=2)
    one, two, other = (fit(table(k=3), "emotion", sampling=short, seed=s) for s in (1, 1, 2))
    for name in ("w", "delta", "matrix"):
        np.testing.assert_array_equal(one.posterior[name], two.posterior[name])
        assert not np.array_equal(one.posterior[name], other.posterior[name])


@pytest.mark.parametrize("kind", ["valence", "emotion"])
def test_netcdf_round_trip_keeps_predictions_and_weights(fits, kind, tmp_path):
    opinions = table(seed=5, k=3 if kind == "emotion" else None)
    az.to_netcdf(fits[kind], tmp_path / "posterior.nc", engine="h5netcdf")
    read = az.from_netcdf(tmp_path / "posterior.nc", engine="h5netcdf")
    for subjects in ("known", "population"):
        one = predict(fits[kind], opinions, target=kind, seed=2, subjects=subjects)
        two = predict(read, opinions, target=kind, seed=2, subjects=subjects)
        field = "mean" if kind == "valence" else "log_prob"
        np.testing.assert_allclose(getattr(one, field)[kind], getattr(two, field)[kind])
    xr.testing.assert_allclose(weights(fits[kind], None), weights(read, None))


@pytest.mark.parametrize("kind", ["valence", "emotion"])
def test_weights_are_shares_and_groups_are_complete(fits, kind):
    w = weights(fits[kind], table(k=3 if kind == "emotion" else None))
    assert w["weight"].dims == ("chain", "draw", "subject", "modality")
    np.testing.assert_allclose(w["weight"].sum("modality"), 1)
    np.testing.assert_allclose(w["population"].sum("modality"), 1)
    groups = {"posterior", "sample_stats", "log_likelihood", "posterior_predictive", "observed_data", "constant_data"}
    assert groups <= set(fits[kind].groups())
    assert fits[kind].log_likelihood[kind].sizes["trial"] == 18


def test_fused_moments_are_the_conditional_normal(fits):
    opinions = table(seed=5, missing=0.0)
    p = fits["valence"].posterior.isel(chain=0, draw=[7])
    values = {n: p[n].values for n in continuous_names()}
    from bayesaffect.fusion.prediction import fused_moments

    mean, variance = fused_moments(values, np.full(24, 1), np.ones(24, dtype=bool), opinions, "valence")
    i = 4
    d = np.exp(values["log_kappa"][0] + values["rho"][0, 1]) * np.sqrt(opinions.variance["valence"].values[i])
    sigma = np.diag(values["omega"][0] ** 2) + np.outer(d, d) * values["correlation"][0]
    m0 = values["mu"][0] + values["delta"][0, 1]
    v0 = values["tau"][0] ** 2 + values["sd_delta"][0] ** 2
    b = values["b"][0]
    gain = v0 * b @ np.linalg.inv(sigma + v0 * np.outer(b, b))
    rest = opinions.mean["valence"].values[i] - values["a"][0] - values["u"][0, 1] - b * m0
    assert mean[0, i] == pytest.approx(m0 + gain @ rest)
    assert variance[0, i] == pytest.approx(v0 - gain @ b * v0)


def continuous_names():
    from bayesaffect.fusion.prediction import CONTINUOUS

    return CONTINUOUS


def test_trial_without_any_modality_gets_the_prior(fits):
    nothing = table(missing=1.1)
    p = predict(fits["valence"], nothing, target="valence", seed=0)
    posterior = fits["valence"].posterior
    assert float(p.mean["valence"].mean()) == pytest.approx(float(posterior["mu"].clip(-1, 1).mean()))
    expected = (posterior["tau"] ** 2 + posterior["sd_delta"] ** 2).mean()
    assert float(p.variance["valence"].mean()) == pytest.approx(float(expected))


def test_known_subjects_keep_their_effects_and_held_out_ones_do_not(fits):
    opinions = table()
    known = predict(fits["valence"], opinions, target="valence", seed=0, subjects="known")
    anyone = predict(fits["valence"], opinions, target="valence", seed=0)
    gap = np.abs(known.mean["valence"] - anyone.mean["valence"]).mean("draw").values
    held_out = opinions.subject.values == "S3"
    assert (gap[~held_out] > 0).all()
    same = known.variance["valence"].values[:, held_out] / anyone.variance["valence"].values[:, held_out]
    assert abs(np.log(same).mean()) < 0.2


def test_gate_names_the_worst_parameter_and_its_number():
    rng = np.random.default_rng(0)
    good = rng.normal(size=(4, 1000))
    bad = good + np.arange(4)[:, None]
    stats = {"diverging": np.zeros((4, 1000), dtype=bool), "energy": rng.normal(size=(4, 1000))}
    fine = gate(az.from_dict(posterior={"x": good}, sample_stats=stats))
    assert isinstance(fine, Gate) and fine.passed and not fine.failures
    stats["diverging"] = stats["diverging"] | (rng.random((4, 1000)) < 0.01)
    stats["energy"] = np.cumsum(stats["energy"], axis=1)
    verdict = gate(az.from_dict(posterior={"x": good, "y": bad}, sample_stats=stats))
    assert not verdict.passed
    assert "R-hat of y" in verdict.failures[0] and len(verdict.failures) >= 4


def test_bad_requests_are_refused_in_one_sentence(fits):
    with pytest.raises(InputError, match="held-out subjects"):
        fit(table(), "valence", seed=0, held_out=["nobody"])
    with pytest.raises(InputError, match="no target"):
        fit(table(), "arousal", seed=0)
    with pytest.raises(InputError, match="modalities"):
        predict(fits["valence"], table(m=3), target="valence", seed=0)
    with pytest.raises(InputError, match="not of"):
        predict(fits["valence"], table(), target="emotion", seed=0)


@pytest.mark.slow
def test_compiled_density_equals_the_model_for_other_data_too(tmp_path):
    from bayesaffect.fusion.engine import compiled

    module, data = prepared(table(missing=0.0), "valence")
    _, other = prepared(table(missing=0.0), "valence", ["S2"])
    density, z, _, _ = values_at(module, data)
    library = compiled.compiled(density, density.pack(data), "test", tmp_path)
    for each in (data, other):
        value, gradient = compiled.Pointer(library, density.ndim, density.pack(each), 1)(z.numpy())
        expected = density.value_and_gradient(z, density.pack(each)).numpy()
        np.testing.assert_allclose(np.concatenate([[value], gradient]), expected, rtol=1e-9)


@pytest.mark.slow
@pytest.mark.statistical
def test_nutpie_agrees_with_pyros_own_sampler(monkeypatch):
    monkeypatch.setattr(sample, "compiler", lambda: None)
    opinions = table(m=1, missing=0.0, subjects=3)
    one = fit(opinions, "valence", seed=1, sampling=Sampling(1000, 500, 2))
    two = fit(opinions, "valence", seed=2, sampling=Sampling(300, 300, 1, engine="pyro"))
    for name in ("mu", "tau", "b", "log_kappa"):
        a, b = one.posterior[name], two.posterior[name]
        error = (
            float(a.std())
            * (1 / float(az.ess(one, var_names=name)[name].min()) + 1 / float(az.ess(two, var_names=name)[name].min()))
            ** 0.5
        )
        assert abs(float(a.mean() - b.mean())) < 5 * error


def test_known_parameters_give_the_precision_weighted_mean():
    y, x, v = 0.3, np.array([0.5, 0.1]), np.array([0.04, 0.16])
    one = np.ones((1, 1))
    values = {
        "mu": one[0], "sd_delta": one[0] * 0, "tau": one[0] * 100.0, "a": np.zeros((1, 2)), "b": np.ones((1, 2)),
        "omega": np.zeros((1, 2)), "log_kappa": np.zeros((1, 2)), "rho": np.zeros((1, 1, 2)),
        "correlation": np.eye(2)[None], "u": np.zeros((1, 1, 2)), "delta": np.zeros((1, 1)),
    }  # fmt: skip
    base = table(subjects=1, trials=1, missing=0.0)
    opinions = Opinions(
        base.targets,
        base.present,
        base.truth.map(lambda t: t * 0 + y),
        {"valence": base.mean["valence"] * 0 + x},
        {"valence": base.variance["valence"] * 0 + v},
    )
    from bayesaffect.fusion.prediction import fused_moments

    mean, variance = fused_moments(values, np.zeros(1, dtype=int), np.ones(1, dtype=bool), opinions, "valence")
    precision = 1 / v
    assert mean[0, 0] == pytest.approx((precision @ x + 1e-4) / (precision.sum() + 1e-4), abs=1e-9)
    assert variance[0, 0] == pytest.approx(1 / (precision.sum() + 1e-4), abs=1e-9)
    assert norm(mean[0, 0], variance[0, 0] ** 0.5).cdf(y) < 0.3


@pytest.mark.parametrize(("draws", "allowed", "made"), [(500, 3, 2), (500, 1, 1), (499, 3, 1)])
def test_a_fit_that_the_gate_refuses_is_drawn_again_more_carefully(monkeypatch, draws, allowed, made):
    asked = []

    def drawn(model, data, *, sampling, seed, **_):
        asked.append((sampling.draws, sampling.tune, sampling.target_accept))
        density = capture.capture(model, data)
        z = np.random.default_rng(seed).normal(0, 0.3, (sampling.chains, sampling.draws, density.ndim))
        return sample.Draws(z, density, {"diverging": np.zeros(z.shape[:2], bool)})

    verdicts = iter([Gate(False, ("2 draws diverged.",), None), Gate(True, (), None)])
    monkeypatch.setattr(attempts, "sample", drawn)
    monkeypatch.setattr(attempts, "gate", lambda posterior: next(verdicts))
    sampling = Sampling(draws=draws, tune=draws, chains=4, pilot=0, attempts=allowed)
    posterior = fit(table(), "valence", sampling=sampling, seed=0)
    assert asked == [(draws, draws, 0.9), (2 * draws, 2 * draws, pytest.approx(0.975))][:made]
    assert posterior["posterior"].sizes["draw"] == made * draws
    assert refused(posterior) == [["2 draws diverged."]][: made - 1]


def test_classes_are_drawn_in_proportion_and_rounding_leaves_none_out():
    rng = np.random.default_rng(5)
    p = np.array([0.2, 0.0, 0.5, 0.3])
    drawn = statistics.drawn_classes(np.broadcast_to(p, (20_000, 4)), rng)
    share = np.bincount(drawn, minlength=4) / drawn.size
    assert share[1] == 0
    assert share == pytest.approx(p, abs=5 * np.sqrt(0.25 / drawn.size))
    short = np.full((100_000, 2), 0.5) - 1e-3  # sums to 0.998
    assert set(np.unique(statistics.drawn_classes(short, rng))) == {0, 1}
