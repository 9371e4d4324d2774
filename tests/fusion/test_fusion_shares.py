"""Shares of the classes among a new subject's trials: how even, how likely, and probabilities matched to them."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.stats import dirichlet

from bayesaffect.fusion.people import shares


def test_subjects_who_saw_the_same_are_alike():
    truth = np.tile([0, 0, 1, 2], 5)
    even, alike, usual = shares.alike(truth, np.repeat(np.arange(5), 4), 3)
    np.testing.assert_allclose(even, np.array([11, 6, 6]) / 23)
    assert alike == 1e4 and usual == 4


def test_spread_of_the_shares_is_that_of_a_dirichlet():
    rng = np.random.default_rng(0)
    q = rng.dirichlet(8 * np.array([0.5, 0.3, 0.2]), 3000)
    truth = np.concatenate([rng.permutation(np.repeat(np.arange(3), np.round(200 * row).astype(int))) for row in q])
    subject = np.repeat(np.arange(3000), np.round(200 * q).astype(int).sum(1))
    even, alike, _ = shares.alike(truth, subject, 3)
    assert abs(alike - 8) < 0.4  # sd of the moment's estimate about 0.15
    np.testing.assert_allclose(even, [0.5, 0.3, 0.2], atol=0.02)


def test_all_of_a_subjects_trials_are_as_even_as_the_fits_and_one_says_nothing():
    assert shares.concentration(300.0, 20, 20) == pytest.approx(300)
    assert shares.concentration(1e4, 21, 5) == pytest.approx(5 * 20 / 16 - 1, rel=0.01)
    assert shares.concentration(1e4, 20, 1) < 0.02


def test_log_density_of_the_dirichlet():
    q, a = np.array([[0.2, 0.5, 0.3], [0.7, 0.1, 0.2]]), np.array([2.0, 0.5, 1.5])
    np.testing.assert_allclose(shares.log_dirichlet(q, a), [dirichlet.logpdf(row, a) for row in q])


def exact(p, count):
    """Probability that independent labels with probabilities p (N, K) have these counts, by enumeration."""
    total = 0.0
    for labels in itertools.product(range(p.shape[1]), repeat=p.shape[0]):
        if (np.bincount(labels, minlength=p.shape[1]) == count).all():
            total += np.prod(p[np.arange(p.shape[0]), labels])
    return total


def test_probability_of_counts_is_that_of_the_enumeration():
    rng = np.random.default_rng(1)
    eta = rng.normal(size=(1, 8, 3))
    p = np.exp(eta[0]) / np.exp(eta[0]).sum(1, keepdims=True)
    counts = np.array([[3, 3, 2], [1, 4, 3], [5, 2, 1], [2, 2, 4]])
    found = shares.log_counts(eta, counts.astype(float), 1e-4)
    truth = np.log([exact(p, c) for c in counts])
    np.testing.assert_allclose(found + 0.5 * np.log(3), truth, atol=0.05)  # a point of the lattice has volume sqrt(K)


def test_class_effects_make_odd_counts_less_odd():
    eta, odd = np.zeros((1, 12, 3)), np.array([[10.0, 1.0, 1.0]])
    assert shares.log_counts(eta, odd, 1.0) > shares.log_counts(eta, odd, 1e-3) + 1


def test_a_trial_may_be_repeated():
    eta, count = np.array([[[0.3, -0.2, 0.1]]]), np.array([[3.0, 1.0, 2.0]])
    once = shares.log_counts(np.repeat(eta, 6, axis=1), count, 0.4)
    np.testing.assert_allclose(shares.log_counts(eta, count, 0.4, repeats=6), once, rtol=1e-6)


def test_matched_probabilities_have_the_shares_and_keep_their_odds_between_trials():
    rng = np.random.default_rng(2)
    eta, q = rng.normal(size=(4, 30, 5)) * 2, rng.dirichlet(np.ones(5), 4)
    out = shares.matched(eta, q)
    p = np.exp(out - np.logaddexp.reduce(out, axis=2, keepdims=True))
    np.testing.assert_allclose(p.mean(1), q, atol=1e-4)
    shift = out - eta
    np.testing.assert_allclose(shift, np.broadcast_to(shift[:, :1], shift.shape), atol=1e-12)


def test_a_certain_share_makes_a_lone_trial_certain():
    q = np.array([[0.0, 1.0, 0.0]])
    out = shares.matched(np.array([[[1.0, 0.0, 0.5]]]), q)
    assert out[0, 0].argmax() == 1 and np.ptp(out[0, 0]) > 5
