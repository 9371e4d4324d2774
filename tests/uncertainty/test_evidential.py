"""Evidential fusion: its rules by hand and against densities written elsewhere, and what it learns from views."""

import numpy as np
import pytest
import torch
from scipy import stats
from scipy.special import digamma
from torch.distributions import Dirichlet, kl_divergence

from bayesaffect.uncertainty import evidential
from bayesaffect.uncertainty.evidential import NIG, dempster, dirichlet_loss, nig_loss, summation

BOTH = torch.ones(2)


def test_dempsters_rule_on_two_opinions_by_hand():
    """Belief 0.5, 0.2, 0.1 with doubt 0.2, and belief 0.1, 0.6, 0 with doubt 0.3."""
    one, two = np.array([0.5, 0.2, 0.1]), np.array([0.1, 0.6, 0.0])
    conflict = 0.5 * 0.6 + 0.2 * 0.1 + 0.1 * 0.1 + 0.1 * 0.6  # 0.5 * 0 and 0.2 * 0 add nothing
    assert conflict == pytest.approx(0.39)
    belief = np.array([0.5 * 0.1 + 0.5 * 0.3 + 0.1 * 0.2, 0.2 * 0.6 + 0.2 * 0.3 + 0.6 * 0.2, 0.1 * 0.3]) / 0.61
    doubt = 0.2 * 0.3 / 0.61
    evidence = torch.tensor(np.stack([one * 3 / 0.2, two * 3 / 0.3]))  # e = b S, S = K / u
    joint = dempster(evidence, BOTH.double()).numpy()
    total = joint.sum() + 3
    assert 3 / total == pytest.approx(doubt) and joint / total == pytest.approx(belief)
    assert belief.sum() + doubt == pytest.approx(1)


def test_no_evidence_changes_nothing_nor_does_the_order_or_a_missing_view():
    evidence = torch.tensor([[3.0, 0.5, 1.2, 0.0], [0.2, 4.0, 0.1, 2.0], [0.0, 0.0, 0.0, 0.0]]).double()
    joint = dempster(evidence, torch.ones(3).double())
    assert torch.allclose(joint, dempster(evidence[:2], BOTH.double()))
    assert torch.allclose(joint, dempster(evidence[[2, 1, 0]], torch.ones(3).double()))
    assert torch.allclose(dempster(evidence, torch.tensor([1.0, 0.0, 1.0]).double()), evidence[0])


def nig(mean, count, alpha, beta):
    return NIG(*(torch.tensor(each, dtype=torch.float64) for each in (mean, count, alpha, beta)))


def test_summation_by_hand_and_in_pairs():
    parts = nig([0.4, -0.2, 0.1], [3.0, 1.0, 0.5], [2.0, 1.5, 4.0], [0.6, 0.2, 1.1])
    pair = summation(NIG(*(each[:2] for each in parts)), BOTH.double())
    # mean (3 * 0.4 - 0.2) / 4 = 0.25, alpha 2 + 1.5 + 0.5, beta 0.8 + 0.5 * (3 * 0.15^2 + 0.45^2)
    assert [each.item() for each in pair] == pytest.approx([0.25, 4.0, 4.0, 0.8 + 0.5 * (0.0675 + 0.2025)])
    two_steps = summation(NIG(*(torch.stack([a, b[2]]) for a, b in zip(pair, parts, strict=True))), BOTH.double())
    at_once = summation(parts, torch.ones(3).double())
    assert torch.allclose(torch.stack(at_once), torch.stack(two_steps))
    alone = summation(parts, torch.tensor([0.0, 0.0, 1.0]).double())
    assert [each.item() for each in alone] == pytest.approx([0.1, 0.5, 4.0, 1.1])


def test_views_that_contradict_one_another_are_less_sure_than_views_that_agree():
    agree = nig([0.3, 0.3], [2.0, 2.0], [3.0, 3.0], [0.5, 0.5])
    differ = nig([0.9, -0.3], [2.0, 2.0], [3.0, 3.0], [0.5, 0.5])
    assert summation(differ, BOTH.double()).variance() > 1.3 * summation(agree, BOTH.double()).variance()


def test_the_variance_of_a_rating_is_that_of_draws():
    rng = np.random.default_rng(0)
    s2 = stats.invgamma(6.0, scale=2.5).rvs(400_000, random_state=rng)
    y = rng.normal(rng.normal(0.2, np.sqrt(s2 / 1.7)), np.sqrt(s2))
    expected = nig(0.2, 1.7, 6.0, 2.5).variance().item()
    error = np.std((y - 0.2) ** 2) / np.sqrt(y.size)
    assert abs(y.var() - expected) < 5 * error and error < 0.01 * expected


def test_the_loss_of_a_rating_is_a_student_density_and_a_price_on_confident_error():
    found, y = nig(0.3, 1.4, 2.2, 0.7), torch.tensor(-0.5, dtype=torch.float64)
    scale = np.sqrt(0.7 * 2.4 / (2.2 * 1.4))
    assert nig_loss(found, y, risk=0.0).item() == pytest.approx(-stats.t(4.4, 0.3, scale).logpdf(-0.5))
    priced = nig_loss(found, y, risk=0.1) - nig_loss(found, y, risk=0.0)
    assert priced.item() == pytest.approx(0.1 * 0.8 * (2 * 1.4 + 2.2))


def test_the_loss_of_a_class_is_expected_cross_entropy_and_a_divergence():
    evidence, label = torch.tensor([2.3, 0.4, 1.1]).double(), torch.tensor(2)
    fit = digamma(6.8) - digamma(2.1)
    assert dirichlet_loss(evidence, label, annealing=0.0).item() == pytest.approx(fit)
    divergence = kl_divergence(Dirichlet(torch.tensor([3.3, 1.4, 1.0]).double()), Dirichlet(torch.ones(3).double()))
    assert dirichlet_loss(evidence, label, annealing=0.6).item() == pytest.approx(fit + 0.6 * divergence.item())


def bits(seed=0, subjects=9, each=30, noise=0.35):
    """Four classes of two bits; each view shows one, among three columns of noise; 20 % of views are missing."""
    rng = np.random.default_rng(seed)
    n = subjects * each
    label, who = rng.integers(0, 4, n), np.repeat([f"S{k}" for k in range(subjects)], each)
    x = rng.normal(0, 1, (n, 8))
    x[:, 0], x[:, 4] = label % 2 + rng.normal(0, noise, n), label // 2 + rng.normal(0, noise, n)
    gone = rng.random((n, 2)) < 0.2
    gone[gone.all(1)] = False
    x[:, :4][gone[:, 0]], x[:, 4:][gone[:, 1]] = np.nan, np.nan
    return x, label, who, gone


VIEWS = (slice(0, 4), slice(4, 8))


def test_views_that_complement_one_another_are_worth_more_than_either():
    x, label, who, gone = bits()
    train = who < "S6"
    whole = ~gone[~train].any(1)

    def accuracy(*shown):
        kept = np.full_like(x, np.nan)
        for view in shown:
            kept[:, view] = x[:, view]
        usable = train & np.isfinite(kept).any(1)
        found = evidential.classify(kept[usable], label[usable], who[usable], kept[~train], 4, views=VIEWS, seed=0)
        assert np.allclose(found.sum(1), 1) and found.min() > 0
        return (found.argmax(1) == label[~train])[whole].mean()

    both, one, two = accuracy(*VIEWS), accuracy(VIEWS[0]), accuracy(VIEWS[1])
    assert both > 0.75 and max(one, two) < 0.6


def test_a_missing_view_leaves_the_others_word():
    x, label, who, _ = bits()
    train = who < "S6"
    blind = x[~train].copy()
    blind[:, 4:] = np.nan
    seen = np.isfinite(blind).any(1)
    found = evidential.classify(x[train], label[train], who[train], blind[seen], 4, views=VIEWS, seed=0)
    first = found[:, [1, 3]].sum(1)  # the bit that the first view shows
    assert (np.round(first) == label[~train][seen] % 2).mean() > 0.85
    second = found[:, [2, 3]].sum(1)  # the bit that nobody has seen
    assert abs(second - 0.5).mean() < 0.12 and abs(first - 0.5).mean() > 0.25


def test_ratings_are_learned_with_their_uncertainty():
    rng = np.random.default_rng(1)
    n, who = 600, np.repeat([f"S{k:02d}" for k in range(20)], 30)
    y = rng.normal(0.1, 0.3, n)
    x = np.stack([y + rng.normal(0, 0.15, n), rng.normal(0, 1, n), y + rng.normal(0, 0.15, n), rng.normal(0, 1, n)], 1)
    x[rng.random(n) < 0.1, :2] = np.nan
    train = np.arange(n) < 300
    views = (slice(0, 2), slice(2, 4))
    mean, variance = evidential.regress(x[train], y[train], who[train], x[~train], views=views, seed=0)
    error = y[~train] - mean
    assert np.sqrt((error**2).mean()) < 0.16
    assert 0.82 < (np.abs(error) < 1.645 * np.sqrt(variance)).mean() < 0.97
    again = evidential.regress(x[train], y[train], who[train], x[~train], views=views, seed=0)
    assert np.array_equal(again[0], mean)


def test_noise_teaches_nothing():
    """The planted defect of every learner: with views that say nothing it must not do worse than the class shares."""
    x, label, who, _ = bits()
    x = np.random.default_rng(5).normal(size=x.shape)
    train = who < "S6"
    found = evidential.classify(x[train], label[train], who[train], x[~train], 4, views=VIEWS, seed=0)
    loss = -np.log(found[np.arange((~train).sum()), label[~train]]).mean()
    assert abs(loss - np.log(4)) < 0.06


def test_two_subjects_are_enough_to_learn_from():
    x, label, who, _ = bits(subjects=3)
    train = who < "S2"
    found = evidential.classify(x[train], label[train], who[train], x[~train], 4, views=VIEWS, seed=0)
    assert (found.argmax(1) == label[~train]).mean() > 0.4


def test_views_without_a_signal_say_what_the_training_ratings_say():
    rng = np.random.default_rng(2)
    y, who = rng.normal(0.2, 0.3, 300), np.repeat([f"S{k}" for k in range(10)], 30)
    x = rng.normal(size=(300, 9))
    train, views = np.arange(300) < 150, (slice(0, 3), slice(3, 6), slice(6, 9))
    mean, variance = evidential.regress(x[train], y[train], who[train], x[~train], views=views, seed=0)
    assert np.abs(mean - y[train].mean()).max() < 0.15
    assert 0.8 * y[train].var() < variance.mean() < 1.25 * y[train].var()
