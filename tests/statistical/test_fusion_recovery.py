from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from bayesaffect.fusion import fit, gate, predict
from bayesaffect.types import Opinions, Target

pytestmark = [pytest.mark.slow, pytest.mark.statistical]
KAPPA, GAIN, LEVEL = np.array([0.8, 1.2, 1.6]), np.array([0.8, 0.6, 0.9]), 0.1


def people(seed, subjects=16, trials=20, first=0):
    """Opinions of the measurement model with known reliabilities (subject, modality)."""
    rng = np.random.default_rng(seed)
    who = np.repeat(np.arange(subjects), trials)
    k = KAPPA * np.exp(rng.normal(0, 0.4, (subjects, 3)))
    factor = np.linalg.cholesky(0.6 * np.eye(3) + 0.4)
    y = (LEVEL + rng.normal(0, 0.1, subjects))[who] + rng.normal(0, 0.25, who.size)
    v = rng.uniform(0.02, 0.08, (who.size, 3))
    error = rng.normal(size=v.shape) @ factor.T * k[who] * np.sqrt(v)
    x = 0.05 + GAIN * y[:, None] + rng.normal(0, 0.1, (subjects, 3))[who] + error
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


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    cache = tmp_path_factory.mktemp("density")
    runs = []
    for seed in (1, 2, 3):
        opinions, k = people(seed)
        runs.append((fit(opinions, "valence", seed=seed, cache=cache), k))
    return runs


def coverage(posterior, opinions, level=1.6449):
    mean, variance = predict(posterior, opinions, target="valence", seed=0).moments("valence")
    return float((abs(opinions.truth["valence"] - mean) < level * np.sqrt(variance)).mean())


def test_intervals_of_the_reliabilities_contain_the_truth(fitted):
    inside = []
    for posterior, k in fitted:
        low, high = np.quantile(posterior.posterior["reliability"], [0.05, 0.95], axis=(0, 1))
        inside.append(((low < k) & (k < high)).mean())
    assert 0.8 <= np.mean(inside) <= 0.98


def test_intervals_of_new_subjects_cover_the_truth(fitted):
    new = people(99, subjects=60, first=500)[0]
    found = np.mean([coverage(posterior, new) for posterior, _ in fitted])
    assert found == pytest.approx(0.9, abs=0.035)


def test_a_planted_wrong_variance_is_caught_by_coverage(fitted):
    new = people(99, subjects=60, first=500)[0]
    wrong = Opinions(**{**vars(new), "variance": {"valence": new.variance["valence"] / 9}})
    assert abs(coverage(fitted[0][0], wrong) - 0.9) > 0.035


def test_the_fits_converged(fitted):
    for posterior, _ in fitted:
        failures = gate(posterior).failures
        assert not [f for f in failures if "diverged" in f or "R-hat" in f or "E-BFMI" in f], failures
