from __future__ import annotations

import numpy as np
import pytest

from bayesaffect.fusion import habits


def people(seed=0, *, subjects=60, trials=40, sd=0.4, even=True, c=3):
    """Opinions (N, 1, C) with habits of known variance about three classes, even or a subject's own."""
    rng = np.random.default_rng(seed)
    subject = np.repeat(np.arange(subjects), trials)
    share = np.full((subjects, 3), 1 / 3) if even else rng.dirichlet(np.full(3, 0.3), subjects)
    label = np.array([rng.choice(3, p=share[s]) for s in subject])
    label = np.tile(np.arange(trials) % 3, subjects) if even else label
    own = rng.normal(0, sd, (subjects, c)) * np.array([1.0, 0.5, 0.0])[:c]
    centres = np.array([[1.0, 0, 0], [0, 1, 0], [0, 0, 1]])[:, :c]
    f = 0.3 + own[subject] + centres[label] + rng.normal(0, 0.5, (subject.size, c))
    return f[:, None], subject, label, own


def test_moments_find_the_variances_and_the_class_means():
    f, subject, label, own = people()
    here = np.ones((f.shape[0], 1), dtype=bool)
    found = habits.moments(f, here, subject, label, 3)
    empirical = np.cov(own.T)
    error = 4 * empirical[0, 0] * np.sqrt(2 / 60) / 4
    assert np.abs(found.between[0] - empirical).max() < error
    assert np.diag(found.residual[0]) == pytest.approx(0.25, rel=0.1)
    assert found.classes[:, 0] == pytest.approx(np.eye(3) - 1 / 3, abs=0.06)
    assert np.diag(found.within[0]) == pytest.approx(0.25 + 2 / 9, rel=0.1)


def test_people_without_habits_are_found_to_have_none_and_a_planted_one_is_seen():
    still = habits.moments(
        *(people(sd=0.0)[k] if k is not None else np.ones((2400, 1), bool) for k in (0, None, 1, 2)), 3
    )
    moved = habits.moments(
        *(people(sd=0.5)[k] if k is not None else np.ones((2400, 1), bool) for k in (0, None, 1, 2)), 3
    )
    assert np.trace(still.between[0]) < 0.01 < 0.2 < np.trace(moved.between[0])


def test_habit_of_a_subject_is_the_conditional_mean_of_a_normal():
    f, subject, label, _ = people(subjects=6, trials=9)
    here = np.ones((f.shape[0], 1), dtype=bool)
    here[:4] = False
    found = habits.moments(f, here, subject, label, 3)
    got = habits.of_subjects(f, here, subject, 6, found)
    mine = here[:, 0] & (subject == 0)
    n, p, t = mine.sum(), found.between[0], found.within[0]
    full = np.kron(np.ones((n, n)), p) + np.kron(np.eye(n), t)
    expected = np.kron(np.ones((1, n)), p) @ np.linalg.solve(full, (f[mine, 0] - found.centre[0]).ravel())
    assert got[0, 0] == pytest.approx(expected)


def test_habit_given_classes_is_the_conditional_of_a_normal():
    f, subject, label, _ = people(subjects=8, trials=6)
    here = np.ones((f.shape[0], 1), dtype=bool)
    found = habits.moments(f, here, subject, label, 3)
    mean, spread = habits.given_classes(f[:4], here[:4], np.eye(3)[label[:4]], found)
    p, w = found.between[0], found.residual[0]
    full = np.kron(np.ones((4, 4)), p) + np.kron(np.eye(4), w)
    cross = np.kron(np.ones((1, 4)), p)
    rest = (f[:4, 0] - found.centre[0] - found.classes[label[:4], 0]).ravel()
    assert mean[0] == pytest.approx(cross @ np.linalg.solve(full, rest))
    np.testing.assert_allclose(spread[0], p - cross @ np.linalg.solve(full, cross.T), atol=1e-12)


def test_no_trial_leaves_the_population():
    f, subject, label, _ = people(subjects=8, trials=6)
    here = np.ones((f.shape[0], 1), dtype=bool)
    found = habits.moments(f, here, subject, label, 3)
    mean, spread = habits.given_classes(f[:0], here[:0], np.zeros((0, 3)), found)
    assert (mean == 0).all()
    np.testing.assert_array_equal(spread, found.between)


@pytest.mark.parametrize("trials", [1, 2])
def test_hardly_any_trials_give_no_habits_but_finite_numbers(trials):
    f, subject, label, _ = people(subjects=2, trials=trials)
    found = habits.moments(f, np.ones((f.shape[0], 1), dtype=bool), subject, label, 3)
    assert all(np.isfinite(a).all() for a in found)
    assert (found.between == 0).all() or trials == 2


def test_noise_has_the_variance_asked_for():
    spread = np.array([[[0.5, 0.2], [0.2, 0.1]]])
    got = habits.noise(spread, (20000,), np.random.default_rng(1))
    np.testing.assert_allclose(np.cov(got[:, 0].T), spread[0], atol=4 * 0.5 * np.sqrt(2 / 20000))
