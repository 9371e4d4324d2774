"""What the fused posterior must be where the answer is known in closed form."""

from __future__ import annotations

import numpy as np
import pytest

from bayesaffect.fusion import Sampling, fit, idata, predict, prediction, weights
from bayesaffect.simulate import OpinionModel, simulate_opinions
from bayesaffect.types import Target

VALENCE = Target("valence", (1, 9))
NAMES = ["x", "y", "z"]


def table(**change):
    size = {"subjects": 4, "trials": 5} | {k: change.pop(k) for k in ("subjects", "trials") if k in change}
    return simulate_opinions(modalities=NAMES, targets=(VALENCE,), seed=2, model=OpinionModel(**change), **size)[0]


def known_parameters(correlation=0.0, gain=(1.0, 1.0, 1.0)):
    """A posterior that is a point: kappa = (1, 2, 0.5), no effects, a prior of the truth that is N(0.1, 0.5^2)."""
    m = len(NAMES)
    r = correlation * np.ones((m, m)) + (1 - correlation) * np.eye(m)
    zero = np.zeros(m)
    point = {
        "mu": 0.1, "sd_delta": 0.3, "tau": 0.4, "a": zero, "b": np.array(gain), "omega": zero, "sd_rho": zero,
        "log_kappa": np.log([1, 2, 0.5]), "correlation": r, "rho": np.zeros((4, m)), "u": np.zeros((4, m)),
        "delta": np.zeros(4),
    }  # fmt: skip
    values = {name: np.asarray(v, float)[None, None] for name, v in point.items()}
    groups = {"posterior": values, "constant_data": {"n_used": np.full(4, 5)}}
    coords = {"modality": NAMES, "subject": [f"S{k + 1:03d}" for k in range(4)]}
    attrs = {"target": {"name": "valence", "bounds": (1, 9), "levels": None}, "kind": "continuous"}
    dims = {"a": ["modality"], "n_used": ["subject"]}
    return idata.build(groups, coords=coords, dims=dims, attrs=attrs)


def test_homoscedastic_fusion_is_the_precision_weighted_mean():
    opinions = table(variance_spread=0.0)
    p = predict(known_parameters(), opinions, target="valence", seed=0)
    precision = 1 / (opinions.variance["valence"].values * np.array([1, 4, 0.25]))
    total = precision.sum(1) + 1 / 0.25
    expected = ((precision * opinions.mean["valence"].values).sum(1) + 0.1 / 0.25) / total
    np.testing.assert_allclose(p.mean["valence"][0], expected.clip(-1, 1), atol=1e-6)
    np.testing.assert_allclose(p.variance["valence"][0], 1 / total, atol=1e-6)
    assert (np.abs(expected) > 1).any()


def test_expected_ratings_lie_on_the_scale_and_draws_only_gain():
    """Held to be a hundred times surer than they are, opinions would have a draw expect ratings far off the scale."""
    opinions, posterior = table(subjects=8, trials=40), known_parameters(gain=(0.05,) * 3)
    posterior["posterior"]["log_kappa"][:] -= np.log(100)
    truth = opinions.truth["valence"].values
    p = predict(posterior, opinions, target="valence", seed=0)
    values = idata.flattened(posterior, (*prediction.CONTINUOUS,), at_most=1)
    values, where = prediction.with_population(
        values, np.full(truth.size, -1), opinions.subject.values, np.random.default_rng(0)
    )
    free = prediction.fused_moments(values, where, np.ones(truth.size, bool), opinions, "valence")[0][0]
    mean = p.mean["valence"].values[0]
    assert np.abs(free).max() > 3 and np.abs(mean).max() == 1
    inside = np.abs(free) <= 1
    np.testing.assert_allclose(mean[inside], free[inside])
    assert (np.abs(mean - truth) <= np.abs(free - truth) + 1e-12).all()


def test_correlated_errors_and_gains_give_the_generalised_least_squares_mean():
    opinions = table(missing=0.3)
    b = np.array([0.5, 1.5, 0.8])
    p = predict(known_parameters(0.4, b), opinions, target="valence", seed=0)
    r = 0.4 + 0.6 * np.eye(3)
    for i in range(20):
        seen = opinions.present.values[i]
        d = np.sqrt(opinions.variance["valence"].values[i]) * np.array([1, 2, 0.5])
        inverse = np.linalg.inv((np.outer(d, d) * r)[np.ix_(seen, seen)])
        total = b[seen] @ inverse @ b[seen] + 4
        expected = (b[seen] @ inverse @ opinions.mean["valence"].values[i, seen] + 0.4) / total
        assert float(p.mean["valence"][0, i]) == pytest.approx(np.clip(expected, -1, 1), abs=1e-6)


def test_full_correlation_adds_nothing_and_a_known_person_has_no_spread_of_level():
    """Copies with the same variance: one voice, however often it is heard."""
    opinions = table(variance_spread=0.0)
    one = known_parameters()
    one["posterior"]["log_kappa"][:] = 0.0
    shared = known_parameters(1 - 1e-9)
    shared["posterior"]["log_kappa"][:] = 0.0
    for x in opinions.mean["valence"].values:
        x[:] = x[0]
    together = predict(shared, opinions, target="valence", seed=0).variance["valence"][0]
    v = opinions.variance["valence"].values[:, 0]
    np.testing.assert_allclose(together, 1 / (1 / v + 4), rtol=1e-6)
    known = predict(shared, opinions, target="valence", seed=0, subjects="known").variance["valence"][0]
    np.testing.assert_allclose(known, 1 / (1 / v + 1 / 0.16), rtol=1e-6)


@pytest.mark.slow
@pytest.mark.statistical
def test_a_modality_that_is_all_noise_is_switched_off(tmp_path):
    """Its numbers are shuffled over all trials: the 90 % interval of its weight ends below 0.05, others' do not."""
    opinions = table(subjects=20, trials=20, tau=0.3)
    x = opinions.mean["valence"].values
    x[:, 2] = np.random.default_rng(0).permutation(x[:, 2])
    short = Sampling(draws=400, tune=400, chains=2, pilot=100, attempts=1)
    posterior = fit(opinions, "valence", seed=1, sampling=short, cache=tmp_path)
    w = weights(posterior)["population"].quantile(0.95, ("chain", "draw"))
    assert float(w.sel(modality="z")) < 0.05
    assert float(w.sel(modality="x")) > 0.1 and float(w.sel(modality="y")) > 0.1
