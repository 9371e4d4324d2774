from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
import xarray as xr
from scipy.optimize import minimize
from scipy.stats import multivariate_normal, norm

from bayesaffect.errors import InputError
from bayesaffect.fusion import (
    Priors,
    attempts,
    attention_weights,
    discount,
    fit_hybrid,
    gate,
    predict,
    statistics,
    weights,
)
from bayesaffect.fusion.engine import capture, sample
from bayesaffect.fusion.hybrid import attention, embedding
from bayesaffect.fusion.hybrid import categorical as hybrid_categorical
from bayesaffect.fusion.hybrid import fit as hybrid
from bayesaffect.fusion.hybrid import prediction as hybrid_prediction
from bayesaffect.fusion.idata import az
from bayesaffect.types import Opinions, Target


def people(seed=0, *, subjects=4, trials=7, m=3, k=None, missing=0.3, features=(3, 0, 2), quality=False):
    """Opinions with embeddings that depend on the truth; the second modality has none."""
    rng = np.random.default_rng(seed)
    n = subjects * trials
    who = np.repeat([f"S{s}" for s in range(subjects)], trials)
    trial = [f"{s}/T{i}" for i, s in enumerate(who)]
    names = [f"m{j}" for j in range(m)]
    coords = {"trial": trial, "modality": names, "subject": ("trial", who), "stimulus": ("trial", who)}
    here = rng.random((n, m)) > missing
    present = xr.DataArray(here, dims=("trial", "modality"), coords=coords)

    def blanked(values, *extra):
        seen = here.reshape(n, m, *[1] * len(extra))
        return xr.DataArray(np.where(seen, values, np.nan), dims=("trial", "modality", *extra), coords=coords)

    y = rng.uniform(-0.9, 0.9, n) if k is None else rng.integers(0, k, n)
    signal = y[:, None] if k is None else np.eye(k)[y]
    blocks = {}
    for name, f, seen in zip(names, features[:m], here.T, strict=True):
        if f:
            block = signal @ rng.normal(size=(signal.shape[1], f)) + rng.normal(size=(n, f)) + 3
            block = np.where(seen[:, None], block, np.nan)
            blocks[name] = xr.DataArray(block, dims=("trial", "feature"), coords={"trial": trial})
    shared = {"embedding": blocks, "quality": blanked(rng.uniform(0.2, 1, (n, m))) if quality else None}
    if k is None:
        truth = xr.Dataset({"valence": ("trial", y)}, coords={"trial": trial})
        x, v = 0.7 * y[:, None] + rng.normal(0, 0.3, (n, m)), rng.uniform(0.05, 0.2, (n, m))
        target = Target("valence", (1, 9))
        return Opinions((target,), present, truth, {"valence": blanked(x)}, {"valence": blanked(v)}, **shared)
    logits = rng.normal(size=(n, m, k)) + 1.5 * np.eye(k)[y][:, None]
    log_p = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    truth = xr.Dataset({"emotion": ("trial", y)}, coords={"trial": trial})
    target = Target("emotion", levels=tuple("abcdefgh"[:k]))
    return Opinions((target,), present, truth, log_prob={"emotion": blanked(log_p, "level")}, **shared)


def prepared(opinions, target, held_out=()):
    where = statistics.index(opinions, target, held_out)
    learnt = discount.learnable(opinions, where.used)
    poor = None if learnt is None else learnt[0]
    reduction = embedding.learn(opinions, target, where.used)
    moments, unsure = attention.unsure(opinions, target, where.used)
    module = hybrid.MODULES[opinions.target(target).kind]
    data = module.data(opinions, target, where, Priors(), poor, unsure, reduction)
    given = hybrid_prediction.inputs(opinions, target, reduction, moments, poor)
    return module, data, where, given


def values_at(module, data, seed=3):
    density = capture.capture(module.model, data)
    z = torch.as_tensor(np.random.default_rng(seed).normal(0, 0.5, density.ndim))
    tensors = density.unpack(density.pack(data))
    values = density.constrain(z)[0]
    shape = data["n_opinion"].shape if "n_opinion" in data else (1, 1)
    noise = {"u": torch.zeros(shape, dtype=torch.float64), "delta": torch.zeros(shape[0], dtype=torch.float64)}
    return density, z, values, tensors, {n: v.numpy()[None] for n, v in module.effects(values, tensors, noise).items()}


def term(module, values, tensors, *names):
    trace = capture.poutine.trace(capture.poutine.condition(module.model, data=values)).get_trace(tensors)
    trace.compute_log_prob()
    return float(sum(trace.nodes[name]["log_prob_sum"] for name in names))


def by_hand(opinions, target, seen, effects, reduction, subject):
    """a o H z, (N,) or (N, K), of trials of which the modalities ``seen`` are there, from the equations alone."""
    total = 0.0
    heads = [opinions.modalities.index(h) for h in reduction.heads]
    moments, _ = attention.unsure(opinions, target, np.ones(len(seen), dtype=bool))
    scores = np.full((len(seen), len(heads)), -np.inf)
    parts = embedding.components(reduction, opinions, target, ~seen[:, heads])
    sign = 1.0 if "alpha" in effects else -1.0
    raw = attention.raw_uncertainty(opinions, target)
    for j, m in enumerate(heads):
        u = (raw[:, m] - moments[0, m]) / moments[1, m]
        score = effects["gamma"][0, j] - effects["lambda"][0] * u
        if subject is not None:
            score = score + sign * effects["rho"][0, subject, m]
        if "nu" in effects:
            score = score - effects["nu"][0] * (1 - opinions.quality.values[:, m])
        scores[seen[:, m], j] = score[seen[:, m]]
    for j in range(len(heads)):
        own = reduction.owner == j
        power = np.exp(np.where(np.isfinite(scores), scores, -1e9))
        share = np.where(seen[:, heads[j]], power[:, j] / np.maximum(power.sum(1), 1e-300), 0) * seen[:, heads].sum(1)
        a = np.where(seen[:, heads[j]], share, 1.0)
        total = total + (a[:, None] * (parts.z[:, own] @ effects["head_weight"][0][own].reshape(own.sum(), -1)))
    return total


@pytest.mark.parametrize("quality", [False, True])
def test_categorical_density_is_the_softmax_of_the_equation(quality):
    opinions = people(k=4, quality=quality)
    module, data, where, _ = prepared(opinions, "emotion", ["S1"])
    _, _, values, tensors, e = values_at(module, data)
    reduction = embedding.learn(opinions, "emotion", where.used)
    p = np.where(opinions.present.values[:, :, None], np.exp(opinions.log_prob["emotion"].values), 0.25)
    f = (np.log(p) + 4 * p) / 2
    f = f - f.mean(-1, keepdims=True)
    # `by_hand` standardises with the moments of the trials it is given
    learned = opinions.select(where.used)
    present, truth, who = learned.present.values, learned.truth["emotion"].values, where.subject[where.used]
    read = f[where.used] - e["habit_share"][0][:, None] * e["habit"][0][who]
    keep = 1 - e["quality_discount"][0] * (1 - learned.quality.values) if quality else np.ones(present.shape)
    copies = [present, hybrid_categorical.dropped(opinions.present.values, where)[where.used]]
    expected = 0.0
    for number, seen in enumerate(copies):
        rho = np.zeros(present.shape) if number else e["rho"][0][who]
        eta = e["alpha"][0] + by_hand(learned, "emotion", seen, e, reduction, None if number else who)
        eta = eta + (0 if number else e["delta"][0][who])
        for m in range(3):
            slope = np.repeat(e["w"][0, m] * e["matrix"][0, m][None], len(seen), 0)
            for code, (stays, gone) in enumerate(hybrid_categorical.pairs(3)):
                if stays == m:
                    slope = slope + (~seen[:, gone])[:, None, None] * e["takeover"][0, code]
            said = np.einsum("nkl,nl->nk", slope, read[:, m]) * (np.exp(rho) * keep)[:, m, None]
            eta = eta + np.where(seen[:, m, None], said, e["alpha_missing"][0, m])
        each = (eta - np.log(np.exp(eta).sum(1, keepdims=True)))[np.arange(len(truth)), truth]
        expected += each[seen.any(1) if number else slice(None)].sum()
    assert np.abs(e["habit"]).max() > 0.1
    assert term(module, values, tensors, "truth", "normalisation") == pytest.approx(expected, rel=1e-9)


def test_intercepts_have_their_own_prior_wherever_they_are_sampled():
    module, data, _, _ = prepared(people(k=4), "emotion")
    _, _, values, tensors, e = values_at(module, data)
    basis, priors = data["basis"], Priors()
    for name, site, scale in (("alpha", "alpha_c", priors.intercept), ("alpha_missing", "missing_c", 0.3)):
        expected = norm(0, scale).logpdf(e[name][0] @ basis).sum()
        assert term(module, values, tensors, site) == pytest.approx(expected)
        assert np.abs(values[site].numpy() - e[name][0] @ basis).max() > 0.05


@pytest.mark.parametrize("quality", [False, True])
def test_continuous_density_is_the_dense_normal_density(quality):
    opinions = people(quality=quality)
    module, data, where, _ = prepared(opinions, "valence")
    _, _, values, tensors, e = values_at(module, data)
    reduction = embedding.learn(opinions, "valence", where.used)
    present, y = opinions.present.values, opinions.truth["valence"].values
    parts = embedding.components(reduction, opinions, "valence")
    foreseen = by_hand(opinions, "valence", present, e, reduction, where.subject)[:, 0]
    h = e["head_weight"][0]
    variance = e["tau"][0] ** 2 + np.array([h @ parts.spread[p] @ h for p in parts.pattern])
    assert np.ptp(variance) > 0.01
    error = np.zeros(present.shape)
    for j, name in enumerate(reduction.heads):
        own = reduction.owner == j
        error[:, opinions.modalities.index(name)] = parts.z[:, own] @ e["head_error"][0][own]
    expected_x = expected_y = 0.0
    for s in range(4):
        rows = np.flatnonzero(where.subject == s)
        level = np.diag(variance[rows]) + e["sd_delta"][0] ** 2
        expected_y += multivariate_normal(e["mu"][0] + foreseen[rows], level).logpdf(y[rows])
        keep = present[rows].ravel()
        full = np.kron(np.ones((rows.size, rows.size)), np.diag(e["omega"][0] ** 2))
        for k, i in enumerate(rows):
            d = e["reliability"][0, s] * np.sqrt(np.nan_to_num(opinions.variance["valence"].values[i], nan=1.0))
            if quality:
                d = d / (1 - e["quality_discount"][0] * (1 - np.nan_to_num(opinions.quality.values[i], nan=1.0)))
            full[3 * k : 3 * k + 3, 3 * k : 3 * k + 3] += np.outer(d, d) * e["correlation"][0]
        mean = (e["a"][0] + np.outer(y[rows], e["b"][0]) + error[rows]).ravel()[keep]
        x = opinions.mean["valence"].values[rows].ravel()[keep]
        expected_x += multivariate_normal(mean, full[np.ix_(keep, keep)]).logpdf(x)
    assert term(module, values, tensors, "truth") == pytest.approx(expected_y, rel=1e-9)
    assert term(module, values, tensors, "opinions") == pytest.approx(expected_x, rel=1e-9)


@pytest.mark.parametrize("quality", [False, True])
def test_predicted_probabilities_are_those_of_the_density(quality):
    opinions = people(k=4, quality=quality)
    module, data, where, given = prepared(opinions, "emotion")
    _, _, values, tensors, e = values_at(module, data)
    eta = module.log_odds(values, tensors)
    expected = torch.log_softmax(torch.einsum("kc,rcst->rstk", tensors["basis"], eta), -1)[0].reshape(-1, 4)
    found = hybrid_prediction.log_prob(e, where.subject, opinions, "emotion", given)
    np.testing.assert_allclose(found[0], expected.numpy(), rtol=1e-5, atol=1e-6)


def test_takeover_has_independent_entries_in_the_contrasts():
    module, data, _, _ = prepared(people(k=4), "emotion")
    _, _, values, tensors, e = values_at(module, data)
    basis = data["basis"]
    expected = norm(0, Priors().takeover).logpdf(basis.T @ e["takeover"][0] @ basis).sum()
    assert term(module, values, tensors, "takeover_c") == pytest.approx(expected)
    for k, seen in enumerate(people(k=4).present.values.T):  # the axes are those of the opinions
        rows = statistics.features(people(k=4), "emotion")[seen, k] @ data["axes"][k]
        inside = np.cov(rows.T)
        np.testing.assert_allclose(inside, np.diag(np.diag(inside)), atol=1e-12)


def test_a_strangers_habit_is_drawn_given_the_trial():
    opinions = people(k=4, subjects=6, trials=30)
    module, data, where, given = prepared(opinions, "emotion")
    _, _, _, _, e = values_at(module, data)
    found = statistics.habits_of(opinions, "emotion", where)
    spread = np.array([np.diag([0.3, 0.1, 0.05])] * 3)
    found = found._replace(between=spread, centre=found.centre + 0.2)
    f, here = statistics.features(opinions, "emotion"), opinions.present.values
    many = {n: np.repeat(v, 4000, 0) for n, v in e.items() if n in hybrid_prediction.names(e)}
    i = int(np.flatnonzero(here.all(1))[0])
    one = opinions.select(np.arange(len(here)) == i)
    alone = {n: v[[i]] if n in ("z", "here", "pattern", "unsure") else v for n, v in given.items()}
    stranger = (np.ones(1, dtype=bool), found, np.random.default_rng(0))
    drawn = hybrid_prediction.log_prob(many, where.subject[[i]], one, "emotion", alone, stranger)
    e["habit"] = e["habit"].copy()
    gain = [s @ np.linalg.inv(s + t) for s, t in zip(found.between, found.within, strict=True)]
    c = np.stack([g @ x for g, x in zip(gain, f[i] - found.centre, strict=True)])
    e["habit"][0, where.subject[i]] = c @ data["basis"].T
    plain = {n: v for n, v in e.items() if n in hybrid_prediction.names(e)}
    middle = hybrid_prediction.log_prob(plain, where.subject[[i]], one, "emotion", alone)

    def odds(log_p):  # linear in the habit
        return (log_p.astype(float) - log_p.mean(-1, keepdims=True))[:, 0] @ data["basis"]

    slopes = [e["w"][0, m] * e["matrix"][0, m] * np.exp(e["rho"][0, where.subject[i], m]) for m in range(3)]
    slopes = [e["habit_share"][0, m] * data["basis"].T @ s @ data["basis"] for m, s in enumerate(slopes)]
    spread = sum(s @ (b - g @ b) @ s.T for s, g, b in zip(slopes, gain, found.between, strict=True))
    error = np.sqrt(np.diag(spread) / 4000)
    assert (np.abs(odds(drawn).mean(0) - odds(middle)[0]) < 5 * error).all()
    np.testing.assert_allclose(np.cov(odds(drawn).T), spread, atol=5 * np.diag(spread).max() * np.sqrt(2 / 4000))
    assert np.abs(odds(middle)).min() > 1e-3 and error.min() > 1e-3


def test_predicted_moments_are_the_conditional_normal_of_the_model():
    opinions = people(missing=0.35, quality=True)
    module, data, where, given = prepared(opinions, "valence")
    _, _, values, tensors, e = values_at(module, data)
    rng = np.random.default_rng(0)
    e["u"], e["delta"] = rng.normal(0, 0.2, e["u"].shape), rng.normal(0, 0.2, e["delta"].shape)
    foreseen, error = (a.numpy() for a in module.foreseen(values, tensors))
    spread = module.truth(values, tensors, torch.zeros_like(tensors["y"]))[1].numpy()
    new = np.zeros(28, dtype=bool)
    known = hybrid_prediction.moments(e, where.subject, new, opinions, "valence", given)
    fresh = hybrid_prediction.moments(e, where.subject, ~new, opinions, "valence", given)
    for i in (0, 5, 9, 20):
        s, t = divmod(i, 7)
        seen = opinions.present.values[i]
        d = np.exp(e["log_kappa"][0] + e["rho"][0, s]) * np.sqrt(opinions.variance["valence"].values[i])
        d = d / (1 - e["quality_discount"][0] * (1 - opinions.quality.values[i]))
        sigma = (np.outer(d, d) * e["correlation"][0])[np.ix_(seen, seen)]
        b, m0 = e["b"][0][seen], e["mu"][0] + e["delta"][0, s] + foreseen[s, t]
        x = opinions.mean["valence"].values[i] - e["a"][0] - e["u"][0, s] - error[s, t]
        for (mean, variance), more, offset in ((known, 0, 0), (fresh, e["sd_delta"][0] ** 2, e["omega"][0][seen] ** 2)):
            v0 = spread[s, t] + more
            noise = sigma + np.diag(np.broadcast_to(offset, b.shape))
            gain = v0 * b @ np.linalg.inv(noise + v0 * np.outer(b, b))
            assert mean[0, i] == pytest.approx(m0 + gain @ (x[seen] - b * m0))
            assert variance[0, i] == pytest.approx(v0 - gain @ b * v0)


@pytest.mark.parametrize("kind", ["valence", "emotion"])
def test_captured_graph_has_the_value_and_gradient_of_the_hybrid(kind):
    shape = {"k": 3} if kind == "emotion" else {"m": 2}
    module, data, _, _ = prepared(people(**shape), kind)
    density, z, _, tensors, _ = values_at(module, data)
    free = z.clone().requires_grad_()
    constrained, jacobian = density.constrain(free)
    trace = capture.poutine.trace(capture.poutine.condition(module.model, data=constrained)).get_trace(tensors)
    log_prob = trace.log_prob_sum() + jacobian
    (gradient,) = torch.autograd.grad(log_prob, free)
    other = density.pack(prepared(people(**shape), kind, ["S2"])[1])
    gm = capture.graph(density, other)
    torch.testing.assert_close(gm(z, density.pack(data))[0], torch.cat([log_prob.detach().reshape(1), gradient]))


def test_two_classes_are_enough():
    module, data, _, _ = prepared(people(k=2), "emotion")
    density, z, *_ = values_at(module, data)
    assert np.isfinite(float(density.log_prob(z, density.pack(data))))


@pytest.mark.parametrize("kind", ["valence", "emotion"])
def test_a_held_out_subject_tells_the_hybrid_nothing(kind):
    opinions = people(k=3 if kind == "emotion" else None, missing=0.0)
    rows = opinions.subject.values == "S1"
    truth = opinions.truth.copy(deep=True)
    truth[kind].values[rows] = 0
    blocks = {m: b.copy(data=np.where(rows[:, None], b.values + 5, b.values)) for m, b in opinions.embedding.items()}
    changed = dataclasses.replace(opinions, truth=truth, embedding=blocks)
    one, two = (prepared(o, kind, ["S1"])[1] for o in (opinions, changed))
    for name in one:
        if name not in ("z", "z_0", "z_1", "here", "seen", "used"):
            np.testing.assert_array_equal(one[name], two[name])
    assert not one["used"][..., 1, :].any()
    assert not one["z"][1].any() if kind == "valence" else not one["z_0"][..., 1, :].any()


def not_sampled(model, data, *, seed, **_):
    """Draws near the origin instead of NUTS: what comes after sampling does not care where they are from."""
    density = capture.capture(model, data)
    rng = np.random.default_rng(seed)
    stats = {"diverging": np.zeros((2, 40), dtype=bool), "energy": rng.normal(size=(2, 40))}
    return sample.Draws(rng.normal(0, 0.5, (2, 40, density.ndim)), density, stats)


@pytest.fixture(scope="module")
def hybrids():
    patch = pytest.MonkeyPatch()
    patch.setattr(attempts, "sample", not_sampled)
    tables = {"valence": people(quality=True), "emotion": people(k=3)}
    found = {k: (fit_hybrid(o, k, seed=1, held_out=["S3"]), o) for k, o in tables.items()}
    patch.undo()
    return found


@pytest.mark.parametrize("kind", ["valence", "emotion"])
def test_a_hybrid_fit_is_complete_and_survives_netcdf(hybrids, kind, tmp_path):
    posterior, opinions = hybrids[kind]
    groups = {"posterior", "sample_stats", "log_likelihood", "posterior_predictive", "observed_data", "constant_data"}
    found = posterior.groups() if callable(posterior.groups) else posterior.groups
    assert groups <= {str(g).strip("/") for g in found}
    assert posterior["log_likelihood"][kind].shape == (2, 40, 21)
    gate(posterior)
    posterior.to_netcdf(str(tmp_path / "p.nc"), engine="h5netcdf")
    again = az.from_netcdf(str(tmp_path / "p.nc"), engine="h5netcdf")
    for subjects in ("population", "known"):
        one, two = (predict(p, opinions, target=kind, seed=3, subjects=subjects) for p in (posterior, again))
        if kind == "valence":
            np.testing.assert_allclose(one.mean[kind], two.mean[kind])
            assert one.mean[kind].shape == (80, 28)
        else:
            np.testing.assert_allclose(one.log_prob[kind], two.log_prob[kind])
            np.testing.assert_allclose(np.exp(one.log_prob[kind]).sum("level"), 1, atol=1e-5)
    for p in (posterior, again):
        np.testing.assert_allclose(weights(p)["weight"].sum("modality"), 1)


@pytest.mark.parametrize("kind", ["valence", "emotion"])
def test_attention_means_one_over_the_heads_that_are_there(hybrids, kind):
    posterior, opinions = hybrids[kind]
    for subjects in ("population", "known"):
        found = attention_weights(posterior, opinions, subjects=subjects)
        assert list(found["head"].values) == ["m0", "m2"]
        here = opinions.present.values[:, [0, 2]]
        assert (np.isfinite(found.values) == here).all()
        np.testing.assert_allclose(found.mean("head").values[:, here.any(1)], 1)
    assert found.std() > 0.01


def test_a_surer_opinion_of_a_clean_signal_gets_more_attention():
    values = {n: torch.tensor(v) for n, v in (("gamma", [[0.0], [0.0]]), ("lambda", 0.7), ("nu", 0.4))}
    zero = torch.zeros(2, 1)
    plain = attention.weigh(values, zero, zero, None, zero + 1)
    unsure = attention.weigh(values, zero, torch.tensor([[1.0], [0.0]]), None, zero + 1)
    poor = attention.weigh(values, zero, zero, torch.tensor([[0.5], [0.0]]), zero + 1)
    torch.testing.assert_close(plain, zero + 1)
    torch.testing.assert_close(unsure[:, 0], 2 * torch.softmax(torch.tensor([-0.7, 0.0]), 0))
    torch.testing.assert_close(poor[:, 0], 2 * torch.softmax(torch.tensor([-0.2, 0.0]), 0))


def test_reduced_copies_are_strict_subsets_and_all_kinds_of_them():
    opinions = people(subjects=5, trials=40, m=4, missing=0.2, features=(3, 0, 2, 0))
    where = statistics.index(opinions, "valence", ["S2"])
    left = hybrid_categorical.dropped(opinions.present.values, where)
    here = opinions.present.values
    several = where.used & (here.sum(1) > 1)
    assert (left <= here).all() and not left[~several].any()
    sizes = left[several].sum(-1)
    assert (sizes >= 1).all() and (sizes < here[several].sum(1)).all()
    assert len(np.unique(left[several & here.all(1)], axis=0)) == 8


def mode(data, *, fixed):
    """Mode of the density with some sites ``fixed`` on the real line, and the posterior sd there: site -> (value, sd),
    from the curvature of the logarithm of the density (Laplace)."""
    density = capture.capture(hybrid_categorical.model, data)
    run, flat = capture.graph(density, density.pack(data)), density.pack(data)
    free = np.concatenate([np.full(site.size, site.name not in fixed) for site in density.sites])
    z = np.concatenate([np.full(site.size, fixed.get(site.name, 0.0)) for site in density.sites])

    def both(x):
        z[free] = x
        found = run(torch.as_tensor(z), flat)[0].detach().numpy()
        return -found[0], -found[1:][free]

    best = minimize(both, z[free], jac=True, method="L-BFGS-B", options={"maxiter": 500, "ftol": 1e-13, "gtol": 1e-7}).x
    step = 1e-4
    curvature = np.stack([both(best + step * e)[1] - both(best - step * e)[1] for e in np.eye(best.size)]) / (2 * step)
    where, sd = z.copy(), np.zeros(density.ndim)
    where[free], sd[free] = best, np.sqrt(np.diag(np.linalg.inv((curvature + curvature.T) / 2)))
    return {s.name: (where[s.start : s.start + s.size], sd[s.start : s.start + s.size]) for s in density.sites}


@pytest.mark.slow
def test_reduced_rows_decide_what_is_missing_and_little_else():
    opinions = people(5, k=3, m=2, features=(2, 1), subjects=6, trials=40, missing=0.0)
    _, data, _, _ = prepared(opinions, "emotion")
    fixed = {"log_tau": np.log(0.3), "log_local": 0.0, "sd_delta": np.log(0.4), "sd_rho": np.log(0.15)}
    fixed |= {"habit_share": 3.0, "gamma": 0.0, "lambda": np.log(0.3)}
    with_rows = mode(data, fixed=fixed)
    used = data["used"].copy()
    used[1] = 0
    without = mode({**data, "used": used}, fixed=fixed)
    least = {"w": 0.9, "deviation": 0.9, "latent_delta": 0.95, "latent_rho": 0.95, "alpha_c": 0.6, "latent_head": 0.6}
    for name, ratio in least.items():
        (one, sd), (two, alone) = with_rows[name], without[name]
        assert (np.abs(one - two) < (1.0 if ratio > 0.6 else 3.0) * alone).all()
        assert (sd > ratio * alone).all()
    assert (with_rows["takeover_c"][1] < 0.6 * without["takeover_c"][1]).all()
    assert (with_rows["missing_c"][1] < 0.9 * without["missing_c"][1]).all()


def test_bad_embeddings_are_refused_in_one_sentence(hybrids):
    opinions = people()
    with pytest.raises(InputError, match="no modality has an embedding"):
        fit_hybrid(dataclasses.replace(opinions, embedding={}), "valence", seed=0)
    holes = opinions.embedding["m0"].copy(deep=True)
    holes.values[int(np.argmax(opinions.present.values[:, 0])), 1] = np.nan
    with pytest.raises(InputError, match="gaps"):
        fit_hybrid(dataclasses.replace(opinions, embedding={"m0": holes}), "valence", seed=0)
    with pytest.raises(InputError, match="2 features, the fit's has 3"):
        predict(hybrids["valence"][0], people(features=(2, 0, 2)), target="valence", seed=0)
    with pytest.raises(InputError, match="no target"):
        fit_hybrid(opinions, "arousal", seed=0)
