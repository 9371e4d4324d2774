from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from bayesaffect.errors import InputError
from bayesaffect.fusion import attempts, fit, trial_weights
from bayesaffect.fusion.engine import capture, sample
from bayesaffect.simulate import OpinionModel, simulate_opinions
from bayesaffect.types import Target

VALENCE, EMOTION = Target("valence", (1, 9)), Target("emotion", levels=("a", "b", "c"))
KINDS = pytest.mark.parametrize("target", [VALENCE, EMOTION], ids=lambda t: t.name)


def table(target, seed=0):
    model = OpinionModel(discount=0.6, missing=0.3)
    names = ["m0", "m1", "m2"]
    return simulate_opinions(subjects=3, trials=6, modalities=names, targets=(target,), seed=seed, model=model)[0]


def not_sampled(model, data, *, seed, **_):
    density = capture.capture(model, data)
    rng = np.random.default_rng(seed)
    stats = {"diverging": np.zeros((2, 20), dtype=bool), "energy": rng.normal(size=(2, 20))}
    return sample.Draws(rng.normal(0, 0.5, (2, 20, density.ndim)), density, stats)


@pytest.fixture(scope="module")
def fits():
    patch = pytest.MonkeyPatch()
    patch.setattr(attempts, "sample", not_sampled)
    found = {t.name: fit(table(t), t.name, seed=1) for t in (VALENCE, EMOTION)}
    patch.undo()
    return found


def draw_zero(posterior):
    return {n: a.transpose("draw", "chain", ...).values[0, 0] for n, a in posterior.posterior.data_vars.items()}


def r_of(opinions, v, i):
    return 1 - v["quality_discount"] * (1 - opinions.quality.values[i])


@pytest.mark.parametrize("subjects", ["known", "population"])
def test_precision_shares_are_those_of_the_dense_formula(fits, subjects):
    opinions = table(VALENCE)
    found = trial_weights(fits["valence"], opinions, subjects=subjects)
    v = draw_zero(fits["valence"])
    i = int(np.flatnonzero(opinions.present.values.sum(1) == 2)[0])
    seen, s = opinions.present.values[i], i // 6
    own = subjects == "known"
    d = v["kappa"] * np.exp(v["rho"][s] * own) * np.sqrt(opinions.variance["valence"].values[i]) / r_of(opinions, v, i)
    sigma = np.outer(d, d) * v["correlation"] + (not own) * np.diag(v["omega"] ** 2)
    b = v["b"][seen]
    parts = b * np.linalg.solve(sigma[np.ix_(seen, seen)], b)
    prior = 1 / (v["tau"] ** 2 + (not own) * v["sd_delta"] ** 2)
    expected = np.zeros(4)
    expected[np.flatnonzero(seen)], expected[3] = parts, prior
    np.testing.assert_allclose(found[0, i], expected / expected.sum(), rtol=1e-9)


def test_size_shares_are_those_of_the_dense_formula(fits):
    opinions = table(EMOTION)
    found = trial_weights(fits["emotion"], opinions, subjects="known")
    v, i = draw_zero(fits["emotion"]), int(np.flatnonzero(opinions.present.values.all(1))[0])
    log_p = opinions.log_prob["emotion"].values[i].clip(np.log(1e-6))
    rms = (log_p - log_p.mean(-1, keepdims=True)).std(-1)
    norm = np.sqrt((v["matrix"] ** 2).sum((-1, -2)) / 2)
    parts = v["w"] * np.exp(v["rho"][i // 6]) * r_of(opinions, v, i) * norm * rms
    expected = np.append(parts, np.sqrt(((v["alpha"] + v["delta"][i // 6]) ** 2).mean()))
    np.testing.assert_allclose(found[0, i], expected / expected.sum(), rtol=1e-9)


@KINDS
def test_a_trials_own_quality_and_presence_decide(fits, target):
    opinions = table(target)
    poor = opinions.quality.copy(deep=True)
    i = int(np.flatnonzero(opinions.present.values[:, 1])[0])
    poor[i, 1] = 0.0
    before, after = (trial_weights(fits[target.name], o) for o in (opinions, replace(opinions, quality=poor)))
    np.testing.assert_allclose(before.sum("modality"), 1)
    others = np.arange(18) != i
    np.testing.assert_array_equal(before[:, others], after[:, others])
    assert (after < before)[:, i].sel(modality="m1").mean() > 0.8
    missing = ~opinions.present.values
    assert (before.values[:, :, :3][:, missing] == 0).all()
    alone = trial_weights(fits[target.name], opinions.only([]))
    assert (alone.sel(modality="prior") == 1).all()


def test_bad_requests_are_refused(fits):
    with pytest.raises(InputError, match="choose"):
        trial_weights(fits["valence"], table(VALENCE), subjects="me")
