from __future__ import annotations

from dataclasses import asdict

import numpy as np
import pytest

from bayesaffect.fusion import Model, Priors, prior_predictive
from bayesaffect.fusion.idata import attribute
from bayesaffect.simulate import OpinionModel, simulate_opinions
from bayesaffect.types import Target

VALENCE, EMOTION = Target("valence", (1, 9)), Target("emotion", levels=("a", "b", "c"))
DRAWS = 200


def table(target, missing=0.2):
    return simulate_opinions(
        subjects=5, trials=4, modalities=["a", "b"], targets=(target,), seed=0, model=OpinionModel(missing=missing)
    )[0]


def moments_agree(draws, mean, sd):
    """Within five Monte-Carlo errors of independent draws."""
    error = sd / np.sqrt(DRAWS)
    return abs(draws.mean() - mean) < 5 * error and abs(draws.std() / sd - 1) < 5 / np.sqrt(2 * DRAWS) * 1.5


@pytest.mark.parametrize("likelihood", ["normal", "student", "ordinal"])
def test_parameters_and_truths_have_the_moments_of_their_priors(likelihood):
    p = prior_predictive(table(VALENCE), "valence", model=Model(likelihood), seed=1, draws=DRAWS)
    prior = {name: v[0].values for name, v in p["prior"].data_vars.items()}
    priors = Priors()
    assert moments_agree(prior["mu"], *priors.level)
    assert moments_agree(prior["b"][:, 1], *priors.gain)
    rho = prior["rho"][:, 2, 0] / prior["sd_rho"][:, 0]
    assert moments_agree(rho, 0, 1)
    u = prior["u"][:, 1, 1] / prior["omega"][:, 1]
    assert moments_agree(u, 0, 1)
    delta = prior["delta"][:, 1] / prior["sd_delta"]
    assert moments_agree(delta, 0, 1)
    y, x = p["prior_predictive"]["valence"][0].values, p["prior_predictive"]["opinion"][0].values
    present = table(VALENCE).present.values
    np.testing.assert_array_equal(np.isfinite(x), np.broadcast_to(present, x.shape))
    if likelihood == "ordinal":
        assert np.isin(np.round((y + 1) * 4, 9), np.arange(9)).all()
        return
    level = prior["mu"][:, None] + prior["delta"]
    assert moments_agree((y[:, 7] - level[:, 1]) / prior["tau"], 0, 1)
    i, m = 7, int(np.flatnonzero(present[7])[0])
    error = x[:, i, m] - prior["a"][:, m] - prior["b"][:, m] * y[:, i] - prior["u"][:, 1, m]
    error /= prior["reliability"][:, 1, m] * np.sqrt(table(VALENCE).variance["valence"].values[i, m])
    expected = np.median(np.abs(error))
    assert expected == pytest.approx(0.6745, abs=0.18)


def test_only_what_a_prior_may_know_is_read():
    opinions = table(VALENCE)
    other = table(VALENCE)
    other.truth["valence"].values[:] = np.nan
    other.mean["valence"].values[:] = np.where(other.present.values, 0.3, np.nan)
    one, two = (prior_predictive(o, "valence", seed=1, draws=5) for o in (opinions, other))
    np.testing.assert_array_equal(one["prior_predictive"]["opinion"], two["prior_predictive"]["opinion"])
    np.testing.assert_array_equal(one["prior"]["a"], two["prior"]["a"])
    assert attribute(one, "model") == asdict(Model())


def test_wider_priors_believe_in_wider_opinions():
    narrow = prior_predictive(table(VALENCE), "valence", priors=Priors(bias=(0, 0.05)), seed=1, draws=60)
    wide = prior_predictive(table(VALENCE), "valence", priors=Priors(bias=(0, 5)), seed=1, draws=60)
    spread = [float(np.nanstd(p["prior_predictive"]["opinion"])) for p in (narrow, wide)]
    assert spread[1] > 2 * spread[0]


def test_complete_pooling_believes_in_no_differences():
    p = prior_predictive(table(VALENCE), "valence", model=Model(pooling="complete"), seed=1, draws=5)
    assert all(float(np.abs(p["prior"][n]).max()) == 0 for n in ("u", "rho", "delta"))


def test_classes_follow_the_pool():
    p = prior_predictive(table(EMOTION, missing=0.0), "emotion", seed=1, draws=DRAWS)
    y = p["prior_predictive"]["emotion"].values
    assert set(np.unique(y)) == {0, 1, 2}
    assert p["prior"]["w"].dims == ("chain", "draw", "modality")
    log_p = table(EMOTION, missing=0.0).log_prob["emotion"].mean("modality").values
    sure = log_p.argmax(-1)
    assert (y[0] == sure).mean() > 0.5
