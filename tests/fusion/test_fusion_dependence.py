"""How much evidence a trial is: autocorrelated errors of a person count once."""

from __future__ import annotations

import numpy as np
import pytest

from bayesaffect.fusion import dependence


def chain(rho: float, *, subjects=40, trials=120, seed=0):
    """Two classes whose truth stays with probability (1 + rho) / 2, and opinions that know nothing: residuals are the
    truth's, with autocorrelation rho^l."""
    rng = np.random.default_rng(seed)
    truth = np.empty((subjects, trials), dtype=int)
    truth[:, 0] = rng.integers(0, 2, subjects)
    for i in range(1, trials):
        stays = rng.random(subjects) < (1 + rho) / 2
        truth[:, i] = np.where(stays, truth[:, i - 1], 1 - truth[:, i - 1])
    subject = np.repeat(np.arange(subjects), trials)
    return np.full((subject.size, 2), 0.5), truth.ravel(), subject


@pytest.mark.parametrize("rho", [0.5, 0.8])
def test_a_chain_is_worth_what_the_autocorrelation_says(rho):
    found = np.mean([dependence.share(*chain(rho, seed=s)) for s in range(8)])
    exact = (1 - rho) / (1 + rho)  # 1 / (1 + 2 sum rho^l)
    assert exact < found < 1.25 * exact  # lags that cannot be told from 0 are left out, and sums are cut at n


def test_independent_trials_are_full_evidence():
    found = [dependence.share(*chain(0.0, seed=s)) for s in range(40)]
    assert np.mean(np.array(found) == 1) > 0.95  # three standard errors: 0.13 % each


def test_what_a_person_always_does_is_no_dependence():
    """A bias of a person is an effect of the model, not of neighbouring trials."""
    p, truth, subject = chain(0.0)
    p = np.where((subject % 2 == 0)[:, None], [0.9, 0.1], [0.1, 0.9])
    assert dependence.share(p, truth, subject) == 1


def test_one_trial_each_and_certain_opinions_are_full_evidence():
    one = np.arange(5)
    assert dependence.share(np.full((5, 2), 0.5), one % 2, one) == 1
    sure = np.eye(2)[np.tile([0, 1], 10)]
    assert dependence.share(sure, np.tile([0, 1], 10), np.repeat([0, 1], 10)) == 1


def test_pooled_is_the_geometric_mean_of_those_present():
    p = np.array([[[0.8, 0.2], [0.5, 0.5]], [[0.3, 0.7], [0.9, 0.1]], [[0.6, 0.4], [0.6, 0.4]]])
    here = np.array([[True, True], [False, True], [False, False]])
    found = dependence.pooled(np.log(p), here)
    expected = np.sqrt(p[0, 0] * p[0, 1])
    np.testing.assert_allclose(found[0], expected / expected.sum())
    np.testing.assert_allclose(found[1], p[1, 1])
    np.testing.assert_allclose(found[2], 0.5)
