"""Targets that share who is reliable: the density is the product of the separate ones and a known term."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal

from bayesaffect import fusion
from bayesaffect.errors import InputError
from bayesaffect.fusion import joint, late
from bayesaffect.fusion.engine.capture import capture
from bayesaffect.fusion.settings import Priors
from bayesaffect.simulate import simulate_opinions
from bayesaffect.types import Target

TARGETS = (Target("valence", (1.0, 9.0)), Target("arousal", (1.0, 9.0)), Target("emotion", levels=("a", "b", "c")))


@pytest.fixture(scope="module")
def opinions():
    return simulate_opinions(targets=TARGETS, subjects=6, trials=8, modalities=("eeg", "face"), seed=0)[0]


def test_the_term_that_couples_is_a_ratio_of_normals():
    rng = np.random.default_rng(0)
    z, c = rng.normal(size=(4, 2, 3)), np.array([0.3, 0.8])
    found = joint.coupling_term(torch.as_tensor(z), torch.as_tensor(c)).numpy()
    for m in range(2):
        spread = (1 - c[m]) * np.eye(3) + c[m]
        ratio = multivariate_normal(cov=spread).logpdf(z[:, m]) - multivariate_normal(cov=np.eye(3)).logpdf(z[:, m])
        np.testing.assert_allclose(found[:, m], ratio, rtol=1e-10)


def test_the_joint_density_is_the_separate_ones_and_the_coupling(opinions):
    names, priors = ("valence", "arousal", "emotion"), Priors()
    parts = {name: late.prepared(opinions, name, priors=priors) for name in names}
    data = {"prior_coupling": np.ones(2)}
    data |= {f"{name}/{key}": v for name, part in parts.items() for key, v in part.data.items()}
    whole = joint.Joint(tuple((name, parts[name].module) for name in names))
    density = capture(whole.model, data)
    z = torch.as_tensor(np.random.default_rng(1).normal(0, 0.3, density.ndim))
    values, _ = density.constrain(z)
    together = density.log_prob(z, density.pack(data))
    apart, scores = torch.zeros(()), []
    for name in names:
        one = capture(parts[name].module.model, parts[name].data)
        own = {site.name: site for site in density.sites}
        at = torch.cat([z[own[f"{name}/{s.name}"].start :][: s.size] for s in one.sites])
        apart = apart + one.log_prob(at, one.pack(parts[name].data))
        tensors = one.unpack(one.pack(parts[name].data))
        scores.append(joint.reliability(parts[name].module, joint.of_target(values, name), tensors))
    c = values["coupling"]
    jacobian = (torch.log(c) + torch.log1p(-c)).sum()  # of the logistic transform; the prior is uniform
    expected = apart + joint.coupling_term(torch.stack(scores, -1), c).sum() + jacobian
    assert float(together) == pytest.approx(float(expected), rel=1e-9)


def test_a_modality_that_is_reliable_scores_high_on_every_kind_of_target(opinions):
    ratings = late.prepared(opinions, "valence", priors=Priors())
    density = capture(ratings.module.model, ratings.data)
    values, _ = density.constrain(torch.zeros(density.ndim, dtype=torch.float64))
    tensors = density.unpack(density.pack(ratings.data))
    worse = {**values, "latent": values["latent"] + 1.0}  # larger errors
    usual = joint.reliability(ratings.module, values, tensors)
    assert (joint.reliability(ratings.module, worse, tensors) < usual).all()
    classes = late.prepared(opinions, "emotion", priors=Priors())
    density = capture(classes.module.model, classes.data)
    values, _ = density.constrain(torch.zeros(density.ndim, dtype=torch.float64))
    tensors = density.unpack(density.pack(classes.data))
    better = {**values, "latent_rho": values["latent_rho"] + 1.0}  # more weight
    assert (
        joint.reliability(classes.module, better, tensors) > joint.reliability(classes.module, values, tensors)
    ).all()


@pytest.mark.parametrize(
    ("options", "said"),
    [({"targets": ["valence"]}, "at least two"), ({"model": fusion.Model(likelihood="student")}, "student")],
)
def test_what_cannot_be_joined_is_one_sentence(opinions, options, said):
    with pytest.raises(InputError, match=said):
        fusion.fit_joint(opinions, seed=0, **options)


@pytest.mark.slow
def test_shared_reliability_is_found_and_each_target_predicts_as_usual(tmp_path):
    """Whoever's face errs more does so on both ratings, or independently: the coupling tells the two apart."""
    found = {}
    short = fusion.Sampling(draws=250, tune=250, chains=2, pilot=100, attempts=1)
    for shared in (True, False):
        given = differing(shared)
        fits = fusion.fit_joint(given, sampling=short, seed=0, cache=tmp_path)
        assert set(fits) == {"valence", "arousal"}
        found[shared] = fits["valence"]["posterior"]["coupling"].values.mean((0, 1))
        predicted = fusion.predict(fits["arousal"], given, target="arousal", seed=1)
        assert np.isfinite(predicted.mean["arousal"].values).all()
    assert (found[True] > found[False] + 0.2).all(), found


def differing(shared: bool):
    """24 people, whose two modalities err by factors exp(N(0, 0.8^2)), the same for both targets or not."""
    given = simulate_opinions(targets=TARGETS[:2], subjects=24, trials=20, modalities=("eeg", "face"), seed=3)[0]
    rng = np.random.default_rng(4)
    who = np.unique(given.subject.values, return_inverse=True)[1]
    size = {name: np.exp(rng.normal(0, 0.8, (24, 2))) for name in ("valence", "arousal")}
    size = size if not shared else {name: size["valence"] for name in size}
    mean, variance = {}, {}
    for name, scale in size.items():
        truth = given.truth[name].values[:, None]
        error = 0.2 * scale[who] * rng.normal(size=(who.size, 2))
        mean[name] = given.mean[name].copy(data=0.6 * truth + error)
        variance[name] = given.variance[name].copy(data=np.full((who.size, 2), 0.04))
    full = given.present.copy(data=np.ones_like(given.present.values))
    return replace(given, mean=mean, variance=variance, present=full, quality=None)
