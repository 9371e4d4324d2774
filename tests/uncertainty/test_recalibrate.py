from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import xarray as xr
from scipy.special import log_softmax

from bayesaffect.errors import InputError
from bayesaffect.types import Predictive, Target
from bayesaffect.uncertainty import recalibrate

EACH = np.arange(4000).astype(str)  # as many subjects as trials


def test_scale_by_hand():
    mean, variance = np.array([[0.1, 0.3], [0.3, 0.1]]), np.array([[0.2, 0.1], [0.4, 0.3]])
    truth = np.array([1.2, np.nan])
    expected = (10 + 1.0**2 / (0.3 + 0.01)) / (10 + 1)
    assert np.isclose(recalibrate.scale(mean, variance, truth, EACH[:2]), expected)


def test_scale_finds_overconfidence():
    rng = np.random.default_rng(0)
    truth = rng.normal(0, 1, 4000)
    found = recalibrate.scale(np.zeros((1, 4000)), np.full((1, 4000), 0.25), truth, EACH)
    assert 3.7 < found < 4.3


def test_temperature_finds_overconfidence():
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 1.5, (4000, 3))
    truth = np.array([rng.choice(3, p=np.exp(row)) for row in log_softmax(logits, axis=-1)])
    found = recalibrate.temperature(log_softmax(2 * logits, axis=-1)[None], truth, EACH)
    assert 1.85 < found < 2.15


def test_without_truth_nothing_changes():
    assert recalibrate.scale(np.zeros((2, 3)), np.ones((2, 3)), np.full(3, np.nan), EACH[:3]) == 1
    log_prob = np.log(np.full((2, 3, 2), 0.5))
    assert np.isclose(recalibrate.temperature(log_prob, np.full(3, -1), EACH[:3]), 1, atol=1e-3)


def test_many_windows_of_one_subject_weigh_like_eight():
    weights = recalibrate.weights(np.array(["a"] * 80 + ["b"] * 4))
    assert np.isclose(weights[:80].sum(), 8) and weights[80:].sum() == 4


RATING, MOOD = Target("valence", bounds=(1.0, 9.0)), Target("mood", levels=("low", "middle", "high"))
GROUPS = tuple(tuple(f"S{k:02d}" for k in range(a, 20, 5)) for a in range(5))


def study(seed, *, clips=15, over=2.0, spread=0.3):
    """Truth of 20 subjects, and predictions that are ``over`` times too sure, by a factor of their own per subject.

    Returns out-of-fold and nested predictions (which differ by the networks' noise) and the truth.
    """
    rng = np.random.default_rng(seed)
    subject = np.repeat([f"S{k:02d}" for k in range(20)], clips)
    trial = [f"{s}/T{k:03d}" for k, s in enumerate(subject)]
    excess = np.repeat(over * np.exp(rng.normal(0, spread, 20)), clips)
    centre, logits = rng.normal(0, 0.3, subject.size), rng.normal(0, 1.2, (subject.size, 3))
    valence = centre + rng.normal(0, 0.2 * np.sqrt(excess))
    mood = np.array([rng.choice(3, p=np.exp(row)) for row in log_softmax(logits, axis=-1)])
    truth = xr.Dataset({"valence": ("trial", valence), "mood": ("trial", mood)}, coords={"trial": trial})
    index = xr.DataArray(subject, dims="trial", coords={"trial": trial, "subject": ("trial", subject)})

    def predicted(keep, seen):
        mean = centre + rng.normal(0, 0.02, (4, subject.size))
        log_prob = log_softmax(excess[:, None] * logits + rng.normal(0, 0.1, (4, *logits.shape)), axis=-1)
        whole = Predictive(
            (RATING, MOOD),
            index,
            {"valence": xr.DataArray(mean, dims=("draw", "trial"))},
            {"valence": xr.DataArray(np.full((4, subject.size), 0.04 - 0.0004), dims=("draw", "trial"))},
            {"mood": xr.DataArray(log_prob, dims=("draw", "trial", "level"))},
            xr.DataArray(
                np.tile(np.isin(np.unique(subject), seen), (subject.size, 1)),
                dims=("trial", "trained_subject"),
                coords={"trial": trial, "trained_subject": np.unique(subject)},
            ),
        )
        return whole.select(np.isin(subject, keep))

    everybody = np.unique(subject)
    nested = {}
    for a, group in enumerate(GROUPS):
        rest = [s for s in everybody if s not in group]
        nested[a] = predicted(rest, rest)
    return predicted(everybody, []), nested, truth


def scored(predictive, truth):
    """(share of valences in the central 90 %, negative log-likelihood of the moods)."""
    mean, variance = predictive.moments("valence")
    inside = np.abs(truth["valence"].values - mean.values) < 1.6449 * np.sqrt(variance.values)
    prob = predictive.probability("mood").values
    return inside.mean(), -np.log(prob[np.arange(len(prob)), truth["mood"].values]).mean()


def test_across_learns_a_groups_factors_from_the_others_alone():
    whole, nested, truth = study(0)
    _, _, factors = recalibrate.across(whole, nested, GROUPS, truth)
    assert factors[2] == recalibrate.fit(nested[2], truth)
    other = truth.copy(deep=True)
    mine = np.isin(whole.subject.values, GROUPS[2])
    other["valence"][mine], other["mood"][mine] = 0.9, 1
    _, _, again = recalibrate.across(whole, nested, GROUPS, other)
    assert again[2] == factors[2] and all(again[a] != factors[a] for a in (0, 1, 3, 4))


def test_across_puts_tested_and_nested_predictions_on_one_scale():
    whole, nested, truth = study(1)
    changed, inner, factors = recalibrate.across(whole, nested, GROUPS, truth)
    for a, group in enumerate(GROUPS):
        mine = np.isin(whole.subject.values, group)
        expected = recalibrate.apply(whole.select(mine), factors[a])
        assert np.allclose(changed.select(mine).moments("valence")[1], expected.moments("valence")[1])
        assert np.allclose(changed.log_prob["mood"].values[:, mine], expected.log_prob["mood"])
        ratio = inner[a].moments("valence")[1] / nested[a].moments("valence")[1]
        assert np.allclose(ratio, factors[a]["valence"])
    assert np.allclose(changed.mean["valence"].mean("draw"), whole.mean["valence"].mean("draw"))
    assert changed.log_prob["mood"].dims == ("draw", "trial", "level")


def test_a_group_without_nested_predictions_stays_as_it_is():
    whole, nested, truth = study(2)
    changed, inner, factors = recalibrate.across(whole, {k: nested[k] for k in (0, 1)}, GROUPS, truth)
    mine = np.isin(whole.subject.values, GROUPS[4])
    assert set(factors) == set(inner) == {0, 1}
    assert np.allclose(changed.log_prob["mood"].values[:, mine], whole.log_prob["mood"].values[:, mine])
    assert not np.allclose(changed.log_prob["mood"].values[:, ~mine], whole.log_prob["mood"].values[:, ~mine])


@pytest.mark.parametrize("leak", ["subject", "network"])
def test_nested_predictions_that_know_the_test_group_are_refused(leak):
    whole, nested, truth = study(3)
    if leak == "subject":
        nested[1] = nested[0]
    else:
        seen = nested[1].trained_on.copy()
        seen[0, [str(s) for s in seen.trained_subject.values].index(GROUPS[1][0])] = True
        nested[1] = replace(nested[1], trained_on=seen)
    with pytest.raises(InputError, match="know the test subjects"):
        recalibrate.across(whole, nested, GROUPS, truth)


@pytest.mark.statistical
def test_overconfidence_towards_strangers_is_undone():
    """20 studies: 90 % intervals of ratings hold 90 %, within 5 Monte-Carlo errors; uncorrected ones do not."""
    before, after = [], []
    for seed in range(20):
        whole, nested, truth = study(100 + seed)
        before.append(scored(whole, truth))
        after.append(scored(recalibrate.across(whole, nested, GROUPS, truth)[0], truth))
    before, after = np.array(before), np.array(after)
    error = after[:, 0].std(ddof=1) / np.sqrt(len(after))
    # one scale for subjects who differ: (2 Phi(1.645 sqrt(mean c / c)) - 1), averaged over c, is 0.901
    assert abs(after[:, 0].mean() - 0.901) < 5 * error + 0.005  # the prior's ten trials pull the scale towards 1
    assert before[:, 0].mean() < 0.8
    assert (after[:, 1] < before[:, 1]).mean() > 0.95
