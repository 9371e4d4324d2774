from __future__ import annotations

import numpy as np
import pytest

from bayesaffect.fusion import habits, statistics
from bayesaffect.fusion.people import effects_pool, tilts
from bayesaffect.fusion.statistics import contrasts
from bayesaffect.simulate import OpinionModel, simulate_opinions
from bayesaffect.types import Target

EMOTION = Target("emotion", levels=("a", "b", "c"))
VALUES = {"sd_delta": np.array([0.3]), "sd_rho": np.array([[0.1, 0.1]])}


def people(seed, *, tau, slope, subjects=50, trials=60):
    """Pools of people whose effects of the first modality have sd ``tau``; t_00 leans on a habit by ``slope``."""
    rng = np.random.default_rng(seed)
    between = np.tile(0.25 * np.eye(2), (2, 1, 1))
    usual = rng.normal(0, 0.5, (subjects, 2, 2))
    pools, labels, truth = [], [], []
    for c in usual:
        parts = rng.normal(0, 1, (1, trials, 2, 3, 3))
        pool = effects_pool.Pool(np.zeros((1, trials, 3)), parts.sum(3), parts)
        spread = np.r_[[0.3] * 2, [0.1] * 2, [tau] * 3, [0.1] * 3]
        v = rng.normal(0, spread)
        v[4] += slope * c[0, 1]
        eta = effects_pool.log_odds(v[None], pool)[0]
        labels.append(np.argmax(eta + rng.gumbel(size=eta.shape), 1))
        pools.append(pool)
        truth.append(v)
    return tilts.estimated(VALUES, pools, labels, usual, between), np.array(truth)


@pytest.mark.parametrize("tau", [0.1, 0.6])
def test_spread_of_the_effects_is_found(tau):
    found, truth = people(0, tau=tau, slope=0.0)
    seen = truth[:, 4:7].std()
    assert found.spread[0] == pytest.approx(seen, abs=4 * seen / np.sqrt(2 * 150) + 0.05)


def test_what_a_habit_foretells_is_found_and_nothing_where_it_foretells_nothing():
    found, _ = people(1, tau=0.2, slope=1.0)
    error = 0.35 / (0.5 * np.sqrt(50))  # sd of an effect and of its estimate over people, over that of the habit
    assert found.foretold[4, 0, 1] == pytest.approx(1.0, abs=4 * error)
    rest = found.foretold.copy()
    rest[4, 0, 1] = 0
    assert np.abs(rest).max() < 4 * error
    assert np.sqrt((rest**2).mean()) < error


def test_one_step_of_the_algorithm_is_the_formula(monkeypatch):
    """B and tau from modes and covariances that are known: people without labels have v = B c, C = prior."""
    monkeypatch.setattr(tilts, "STEPS", 1)
    usual = np.random.default_rng(2).normal(size=(5, 2, 2))
    between = np.tile(np.eye(2), (2, 1, 1))
    modes = np.random.default_rng(3).normal(size=(5, 10))
    lower = np.broadcast_to(2.0 * np.eye(10), (1, 10, 10))
    answers = iter(modes)
    monkeypatch.setattr(effects_pool, "posterior", lambda *a, **k: (next(answers)[None], lower))
    found = tilts.estimated(VALUES, [None] * 5, [None] * 5, usual, between)
    c = usual.reshape(5, 4)
    b = modes.T @ c @ np.linalg.inv(c.T @ c + 4 * np.eye(4))
    np.testing.assert_allclose(found.foretold.reshape(10, 4), b, atol=1e-5)
    square = ((modes - c @ b.T) ** 2 + 0.25)[:, 4:].reshape(5, 2, 3).sum((0, 2))
    np.testing.assert_allclose(found.spread, np.sqrt((4 * 0.15**2 + square) / (4 + 15)), rtol=1e-5)


def opinions(**shape):
    return simulate_opinions(
        subjects=6, trials=8, modalities=["x", "y"], targets=(EMOTION,), seed=3, model=OpinionModel(**shape)
    )[0]


def draws(m=2, k=3):
    rng = np.random.default_rng(0)
    matrix = np.broadcast_to(np.eye(k) - 1 / k, (m, k, k)) + rng.normal(0, 0.1, (1, 4, m, k, k))
    return {
        "w": np.ones((1, 4, m)),
        "alpha": np.zeros((1, 4, k)),
        "alpha_missing": np.zeros((1, 4, m, k)),
        "matrix": contrasts(k) @ contrasts(k).T @ matrix,
        "habit_share": np.full((1, 4, m), 0.5),
        "sd_delta": np.full((1, 4), 0.3),
        "sd_rho": np.full((1, 4, m), 0.1),
    }


def test_a_table_is_learned_from_its_used_trials_and_stored():
    table = opinions(missing=0.3)
    where = statistics.index(table, "emotion", [str(table.subject.values[0])])
    found = statistics.habits_of(table, "emotion", where)
    got = tilts.learned(draws(), found, table, "emotion", where)
    assert got.foretold.shape == (10, 2, 2) and got.spread.shape == (2,) and (got.spread > 0).all()
    blank = table.truth.assign(emotion=table.truth["emotion"].where(where.used, 0))
    again = tilts.learned(draws(), found, type(table)(**{**vars(table), "truth": blank}), "emotion", where)
    np.testing.assert_array_equal(again.foretold, got.foretold)
    assert set(tilts.stored(got)) == {"tilt_foretold", "tilt_spread"} and tilts.stored(None) == {}


def test_one_person_or_too_many_effects_have_no_tilts():
    table = opinions()
    names = sorted({str(s) for s in table.subject.values})
    where = statistics.index(table, "emotion", names[1:])
    found = statistics.habits_of(table, "emotion", where)
    assert tilts.learned(draws(), found, table, "emotion", where) is None
    where = statistics.index(table, "emotion")
    many = habits.Habits(*(np.repeat(a, 20, 0) if k < 4 else a for k, a in enumerate(found)))
    assert tilts.learned(draws(40), many, table, "emotion", where) is None


def test_what_tilts_have_in_common_is_reliability():
    rng = np.random.default_rng(4)
    rho, tilt = rng.normal(0, 0.3, (5, 2)), rng.normal(0, 0.3, (5, 2, 3))
    tilt[0, 0] = -1.2
    level, rest = tilts.centred(rho, tilt)
    np.testing.assert_allclose(np.exp(level)[..., None] * (1 + rest), np.exp(rho)[..., None] * (1 + tilt))
    assert rest[0, 0] == pytest.approx(-1.2) and np.abs(rest.reshape(-1, 3).mean(1)[1:]).max() < 1e-12


def test_many_trials_of_many_people_are_thinned_evenly(monkeypatch):
    monkeypatch.setattr(tilts, "PEOPLE", 3)
    monkeypatch.setattr(tilts, "TRIALS", 4)
    seen = []

    def kept(values, pools, labels, usual, between):
        seen.extend(len(label) for label in labels)

    monkeypatch.setattr(tilts, "estimated", kept)
    table = opinions()
    where = statistics.index(table, "emotion")
    tilts.learned(draws(), statistics.habits_of(table, "emotion", where), table, "emotion", where)
    assert seen == [4, 4, 4]
