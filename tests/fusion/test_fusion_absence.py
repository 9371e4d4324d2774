"""A voice that is left alone counts as much as training trials say it does alone."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from scipy.special import log_softmax
from sklearn.linear_model import LogisticRegression

from bayesaffect import fusion
from bayesaffect.fusion import absence
from bayesaffect.fusion.settings import Priors
from bayesaffect.fusion.statistics import contrasts, features
from bayesaffect.types import Opinions, Target

LEVELS = ("calm", "tense", "sad")


def repeated_evidence(seed, people=12, trials=40):
    """Two voices that mostly repeat one another: together each is to be believed half as much as alone."""
    rng = np.random.default_rng(seed)
    n = people * trials
    label = rng.integers(0, 3, n)
    common = 1.2 * np.eye(3)[label] + rng.normal(0, 1, (n, 3))
    logits = common[:, None] + rng.normal(0, 0.3, (n, 2, 3))
    trial = [f"t{k}" for k in range(n)]
    who = np.repeat(np.arange(people), trials).astype(str)
    coords = {"trial": trial, "modality": ["voice", "face"], "subject": ("trial", who)}
    coords["stimulus"] = ("trial", ["x"] * n)
    present = xr.DataArray(np.ones((n, 2), bool), dims=("trial", "modality"), coords=coords)
    log_p = xr.DataArray(
        log_softmax(logits, -1), dims=("trial", "modality", "level"), coords={**coords, "level": list(LEVELS)}
    )
    truth = xr.Dataset({"state": ("trial", label)}, coords={"trial": trial})
    return Opinions((Target("state", None, LEVELS),), present, truth, log_prob={"state": log_p})


def test_patterns_are_all_subsets_of_few_and_those_that_matter_of_many():
    assert absence.patterns(np.ones((5, 3), bool)).sum(1).tolist() == [1, 1, 2, 1, 2, 2]
    seen = np.ones((4, 6), bool)
    seen[0, :3] = False
    found = absence.patterns(seen)
    assert len(found) == 6 + 6 + 1
    assert (found == seen[0]).all(1).any()


def test_the_mode_is_where_the_posterior_of_the_docstring_is_flat():
    rng = np.random.default_rng(1)
    n, c, priors = 60, 2, Priors()
    f, offset, label = rng.normal(size=(n, 1, c)), rng.normal(size=(n, c)), rng.integers(0, 3, n)
    direction, usual, scale = rng.normal(size=(1, c, c)), np.array([0.1, -0.2]), np.array([0.8])
    level, change = absence._mode(f, offset, label, direction, usual, scale, priors)

    def log_posterior(level, change):
        eta = (offset + level + f[:, 0] @ change[0]) @ contrasts(3).T
        fit = log_softmax(eta, 1)[np.arange(n), label].sum()
        # D = h o A + E: Gaussian with this covariance, h summed out
        flat = scale[0] * direction.reshape(-1, 1)
        spread = priors.takeover**2 * flat @ flat.T + (priors.sd_matrix * scale[0]) ** 2 * np.eye(flat.size)
        d = change.ravel()
        return fit - 0.5 * d @ np.linalg.solve(spread, d) - 0.5 * (((level - usual) / priors.sd_missing) ** 2).sum()

    best = log_posterior(level, change)
    for _ in range(20):
        step = 0.05 * rng.normal(size=change.shape)
        assert log_posterior(level, change + step) < best
        assert log_posterior(level + 0.05 * rng.normal(size=c), change) < best


@pytest.mark.slow
def test_one_voice_alone_predicts_as_a_model_of_that_voice(tmp_path, monkeypatch):
    train, test = repeated_evidence(0), repeated_evidence(1)
    short = fusion.Sampling(draws=200, tune=200, chains=2, pilot=0, attempts=1)
    posterior = fusion.fit(train, "state", seed=0, sampling=short, cache=tmp_path)
    label = test.truth["state"].values
    alone = test.only(["voice"])

    def nll(fit):
        p = fusion.predict(fit, alone, target="state", seed=1).probability("state").values
        return -np.log(p[np.arange(label.size), label]).mean()

    rival = LogisticRegression().fit(features(train, "state")[:, 0], train.truth["state"].values)
    single = -np.log(rival.predict_proba(features(alone, "state")[:, 0])[np.arange(label.size), label]).mean()
    assert nll(posterior) <= 1.01 * single
    monkeypatch.setattr(absence, "of_fit", lambda posterior: None)
    assert nll(posterior) > 1.02 * single  # the planted defect: what was learned for two voices, read for one
