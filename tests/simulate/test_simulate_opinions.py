from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import xarray as xr

from bayesaffect.errors import InputError
from bayesaffect.simulate import OpinionModel, simulate_opinions
from bayesaffect.types import Target

EMOTION = Target("emotion", levels=("a", "b", "c", "d"))
VALENCE = Target("valence", bounds=(1, 9))


def draw(targets=(VALENCE,), *, subjects=20, trials=200, seed=0, **changes):
    model = replace(OpinionModel(), **changes)
    return simulate_opinions(
        subjects=subjects, trials=trials, modalities=["eeg", "face", "physio"], targets=targets, seed=seed, model=model
    )


def left(opinions, known):
    """What quality leaves of each opinion."""
    return 1.0 if opinions.quality is None else 1 - known["discount"] * (1 - opinions.quality)


def standardised(opinions, known, target="valence"):
    k, s = known.sel(target=target), opinions.subject
    y = opinions.truth[target]
    centre = k["intercept"] + k["gain"] * y + k["offset"].sel(subject=s)
    scale = k["kappa"] * np.exp(k["rho"].sel(subject=s)) * np.sqrt(opinions.variance[target]) / left(opinions, k)
    return ((opinions.mean[target] - centre) / scale).transpose("trial", "modality").values


@pytest.mark.parametrize("discount", [0.0, (0.2, 0.5, 0.9)])
def test_continuous_opinions_follow_the_measurement_model(discount):
    opinions, known = draw(correlation=0.5, discount=discount)
    z = standardised(opinions, known)
    assert np.abs(z.mean(0)).max() < 5 / np.sqrt(4000) and np.abs(z.std(0) - 1).max() < 5 / np.sqrt(8000)
    assert np.corrcoef(z.T)[np.triu_indices(3, 1)] == pytest.approx(0.5, abs=5 * 0.75 / np.sqrt(4000))
    assert known["correlation"].sel(target="valence", modality="eeg", modality_other="face") == 0.5


def test_truth_follows_its_prior_and_stays_legal():
    opinions, known = draw()
    k = known.sel(target="valence")
    z = (opinions.truth["valence"] - k["mu"] - k["delta"].sel(subject=opinions.subject)) / k["tau"]
    assert abs(float(z.mean())) < 5 / np.sqrt(4000) and abs(float(z.std()) - 1) < 5 / np.sqrt(8000)
    assert np.abs(opinions.truth["valence"]).max() <= 1


@pytest.mark.parametrize("discount", [0.0, 0.8])
def test_the_true_pool_of_categorical_opinions_is_calibrated(discount):
    opinions, known = draw((EMOTION,), subjects=40, trials=250, discount=discount)
    k, s = known.sel(target="emotion"), opinions.subject
    eta = known["alpha_emotion"] + known["delta_emotion"].sel(subject=s)
    weight = k["weight"] * np.exp(k["rho"].sel(subject=s)) * left(opinions, k)
    evidence = opinions.log_prob["emotion"].rename(level="level_emotion")
    eta = (eta + (weight * evidence).sum("modality")).transpose("trial", "level_emotion").values
    p = np.exp(eta - eta.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    right = np.eye(4)[opinions.truth["emotion"].values]
    for low in (0.0, 0.2, 0.4, 0.6, 0.8):
        here = (p >= low) & (p < low + 0.2)
        error = np.sqrt((p[here] * (1 - p[here])).sum()) / here.sum()
        assert abs(p[here].mean() - right[here].mean()) < 5 * error
    assert (p.argmax(1) == right.argmax(1)).mean() > (0.6 if discount == 0 else 0.5)


def test_single_opinions_are_over_confident():
    opinions, _ = draw((EMOTION,), overconfidence=2.0, reliability_sd=0.0)
    p = np.exp(opinions.log_prob["emotion"].values)
    confidence, hit = p.max(-1), p.argmax(-1) == opinions.truth["emotion"].values[:, None]
    assert confidence.mean() > hit.mean() + 0.05


def test_missing_opinions_are_nan_and_every_trial_keeps_one():
    opinions, _ = draw((VALENCE, EMOTION), missing=0.5)
    here = opinions.present.values
    assert here.any(1).all() and 0.5 < here.mean() < 0.6
    assert np.array_equal(np.isnan(opinions.mean["valence"].values), ~here)
    assert np.isnan(opinions.log_prob["emotion"].values[~here]).all()


def test_parameters_are_labelled_and_each_kind_has_its_own():
    _, known = draw((EMOTION, VALENCE), subjects=3, trials=4)
    assert known["target"].values.tolist() == ["emotion", "valence"]
    assert known["rho"].dims == ("target", "subject", "modality") and known["rho"].notnull().all()
    assert known["kappa"].sel(target="emotion").isnull().all() and known["weight"].sel(target="emotion").notnull().all()


def test_same_seed_same_opinions():
    (a, ka), (b, kb), (c, _) = (draw(seed=s, subjects=3, trials=5) for s in (1, 1, 2))
    assert a.mean["valence"].identical(b.mean["valence"]) and ka.identical(kb)
    assert not np.allclose(a.mean["valence"], c.mean["valence"])


@pytest.mark.parametrize("change", [{"correlation": -0.6}, {"correlation": 1.0}, {"missing": 1.0}])
def test_impossible_settings_are_refused(change):
    with pytest.raises(InputError, match="correlat"):
        draw(**change)


def test_nothing_to_draw_is_refused():
    with pytest.raises(InputError, match="leave nothing to draw"):
        draw(subjects=0)


def test_quality_changes_the_errors_and_nothing_else():
    plain, _ = draw(seed=4)
    noisy, known = draw(seed=4, discount=0.6)
    assert plain.quality is None and noisy.quality.notnull().all() and plain.truth.identical(noisy.truth)
    k = known.sel(target="valence")
    centre = k["intercept"] + k["gain"] * plain.truth["valence"] + k["offset"].sel(subject=plain.subject)
    error = (noisy.mean["valence"] - centre) * left(noisy, k)
    xr.testing.assert_allclose(error, plain.mean["valence"] - centre)


@pytest.mark.parametrize("discount", [1.0, -0.1, (0.1, 0.2)])
def test_impossible_discounts_are_refused(discount):
    with pytest.raises(InputError, match="discount"):
        draw(discount=discount)
