"""Twelve data sets of the measurement model, fitted as users fit them: does what was put in come out?

All checks are on shares of intervals that contain the truth; their tolerance is the issue's band, widened by what the
number of intervals leaves open (`band`).
"""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from scipy.special import ndtr
from scipy.stats import binom

from bayesaffect.fusion import Sampling, fit, gate, predict, weights
from bayesaffect.types import Opinions, Target

pytestmark = [pytest.mark.slow, pytest.mark.statistical, pytest.mark.timeout(1800)]
KAPPA, GAIN, LEVEL, OFFSET = np.array([0.8, 1.2, 1.6]), np.array([0.8, 0.6, 0.9]), 0.1, 0.1
TAU, SD_LEVEL, SHARED, SD_RHO = 0.25, 0.1, 0.4, 0.4
FITS, SUBJECTS, TRIALS, NEW = 12, 20, 20, 250
LEVELS = (0.5, 0.8, 0.9, 0.95)
SAMPLING = Sampling(draws=500, tune=500, chains=2, pilot=150, attempts=1)


def people(seed, subjects=SUBJECTS, trials=TRIALS, first=0):
    """Opinions of the measurement model with known reliabilities (subject, modality)."""
    rng = np.random.default_rng(seed)
    who = np.repeat(np.arange(subjects), trials)
    k = KAPPA * np.exp(rng.normal(0, SD_RHO, (subjects, 3)))
    factor = np.linalg.cholesky((1 - SHARED) * np.eye(3) + SHARED)
    y = (LEVEL + rng.normal(0, SD_LEVEL, subjects))[who] + rng.normal(0, TAU, who.size)
    v = rng.uniform(0.02, 0.08, (who.size, 3))
    error = rng.normal(size=v.shape) @ factor.T * k[who] * np.sqrt(v)
    x = 0.05 + GAIN * y[:, None] + rng.normal(0, OFFSET, (subjects, 3))[who] + error
    names = np.array([f"S{first + s:03d}" for s in who])
    present = rng.random(v.shape) > 0.15
    trial = [f"{s}/T{i}" for i, s in enumerate(names)]
    coords = {"trial": trial, "modality": ["a", "b", "c"], "subject": ("trial", names), "stimulus": ("trial", names)}

    def array(values):
        return xr.DataArray(np.where(present, values, np.nan), dims=("trial", "modality"), coords=coords)

    truth = xr.Dataset({"valence": ("trial", np.clip(y, -1, 1))}, coords={"trial": trial})
    here = xr.DataArray(present, dims=("trial", "modality"), coords=coords)
    target = Target("valence", (1, 9))
    return Opinions((target,), here, truth, {"valence": array(x)}, {"valence": array(v)}), k


def shares(sd, offset, variance):
    """The weights of the three modalities at known parameters, a share of the precision of the truth."""
    r = (1 - SHARED) * np.eye(3) + SHARED
    sigma = np.outer(sd, sd) * r + offset**2 * np.eye(3)
    parts = GAIN * np.linalg.solve(sigma, GAIN)
    return parts / (parts.sum() + 1 / variance)


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    cache = tmp_path_factory.mktemp("density")
    runs = []
    for seed in range(1, FITS + 1):
        opinions, k = people(seed)
        runs.append((fit(opinions, "valence", seed=seed, sampling=SAMPLING, cache=cache), k))
    return runs


@pytest.fixture(scope="module")
def new_people():
    return people(99, subjects=NEW, first=500)[0]


def covered(posterior, opinions):
    """Shares of new truths inside central intervals, one per level of `LEVELS`."""
    p = predict(posterior, opinions, target="valence", seed=0, draws=250)
    z = (opinions.truth["valence"].values - p.mean["valence"].values) / np.sqrt(p.variance["valence"].values)
    below = ndtr(z).mean(0)
    return np.array([(np.abs(below - 0.5) < level / 2).mean() for level in LEVELS])


def inside(draws, truth):
    low, high = np.quantile(draws, [0.05, 0.95], axis=(0, 1))
    return ((low < truth) & (truth < high)).ravel()


def band(intervals):
    """0.85 to 0.95, widened to the 1 % and 99 % quantiles of a share of so many independent intervals."""
    return binom.ppf(0.01, intervals, 0.85) / intervals, binom.ppf(0.99, intervals, 0.95) / intervals


def test_intervals_of_the_reliabilities_contain_the_truth(fitted):
    found = np.concatenate([inside(p.posterior["reliability"].values, k) for p, k in fitted])
    low, high = band(found.size)
    assert low <= found.mean() <= high


def test_intervals_of_the_correlations_contain_the_truth(fitted):
    i, j = np.triu_indices(3, 1)
    found = np.concatenate([inside(p.posterior["correlation"].values[..., i, j], SHARED) for p, _ in fitted])
    low, high = band(found.size)
    assert low <= found.mean() <= high


def test_intervals_of_the_weights_contain_the_truth(fitted):
    """Of a person whose offset and level are known, and of a new one."""
    subjects, population = [], []
    for posterior, k in fitted:
        w, kept = weights(posterior), posterior["constant_data"]
        sd = k * kept["typical_subject"].values
        truth = np.array([shares(row, 0.0, TAU**2) for row in sd])
        subjects.append(inside(w["weight"].values[..., :3], truth))
        truth = shares(KAPPA * kept["typical"].values, OFFSET, TAU**2 + SD_LEVEL**2)
        population.append(inside(w["population"].values[..., :3], truth))
    for found in (np.concatenate(subjects), np.concatenate(population)):
        low, high = band(found.size)
        assert low <= found.mean() <= high


def test_intervals_of_new_subjects_cover_the_truth(fitted, new_people):
    """50, 80, 90 and 95 % within two points: 5,000 truths of 250 people, twelve fits."""
    found = np.mean([covered(posterior, new_people) for posterior, _ in fitted], axis=0)
    np.testing.assert_allclose(found, LEVELS, atol=0.02)


def test_a_planted_wrong_variance_is_caught_by_coverage(fitted, new_people):
    wrong = Opinions(**{**vars(new_people), "variance": {"valence": new_people.variance["valence"] / 4}})
    assert np.abs(covered(fitted[0][0], wrong) - LEVELS).max() > 0.04


def test_a_planted_shift_of_the_reliabilities_is_caught(fitted):
    found = np.concatenate([inside(p.posterior["reliability"].values, 1.25 * k) for p, k in fitted])
    assert found.mean() < band(found.size)[0]


def test_the_fits_converged(fitted):
    for posterior, _ in fitted:
        failures = gate(posterior).failures
        assert not [f for f in failures if "diverged" in f or "E-BFMI" in f], failures
        assert gate(posterior).table["r_hat"].quantile(0.99) < 1.02
