from __future__ import annotations

import numpy as np
import pytest
import torch
import xarray as xr

from bayesaffect.types import Target
from bayesaffect.uncertainty import decompose, recalibrate
from bayesaffect.uncertainty.ensemble import gather

TARGETS = (Target("valence", bounds=(1, 9)), Target("mood", levels=("low", "middle", "high")))


@pytest.fixture(scope="module")
def predictive():
    """Two members with three passes each, five trials."""
    generator = torch.Generator().manual_seed(0)
    subject = xr.DataArray(
        list("aabbb"), dims="trial", coords={"trial": list("vwxyz"), "subject": ("trial", list("aabbb"))}
    )
    draws = [
        {
            "mean/valence": torch.randn(3, 5, generator=generator),
            "variance/valence": torch.rand(3, 5, generator=generator) + 0.1,
            "log_prob/mood": torch.randn(3, 5, 3, generator=generator).log_softmax(-1),
            "embedding": torch.randn(5, 4, generator=generator),
        }
        for _ in range(2)
    ]
    return gather(draws, TARGETS, subject, trained_on=None)


def test_variance_is_that_of_the_mixture(predictive):
    parts = decompose.variance(predictive, "valence")
    mean, variance = predictive.mean["valence"].values, predictive.variance["valence"].values
    mixture = (variance + mean**2).mean(0) - mean.mean(0) ** 2
    np.testing.assert_allclose(parts.total, mixture)
    np.testing.assert_array_equal(parts.total, parts.aleatoric + parts.epistemic)


def test_entropy_is_that_of_the_mean_and_splits(predictive):
    parts = decompose.entropy(predictive, "mood")
    p = np.exp(predictive.log_prob["mood"].values)
    np.testing.assert_allclose(parts.total, -(p.mean(0) * np.log(p.mean(0))).sum(-1))
    np.testing.assert_allclose(parts.aleatoric, -(p * np.log(p)).sum(-1).mean(0))
    np.testing.assert_array_equal(parts.total, parts.aleatoric + parts.epistemic)
    assert (parts.epistemic > 0).all()


def test_agreeing_draws_have_no_epistemic_part(predictive):
    same = predictive.mean["valence"].isel(draw=[0, 0])
    alike = type(predictive)(TARGETS, predictive.subject, {"valence": same}, {"valence": xr.ones_like(same)})
    assert (decompose.variance(alike, "valence").epistemic == 0).all()


def test_scaling_multiplies_the_total_variance_and_keeps_the_mean(predictive):
    scaled = recalibrate.apply(predictive, {"valence": 2.5, "mood": 1.0})
    mean, total = predictive.moments("valence")
    np.testing.assert_allclose(scaled.moments("valence")[0], mean)
    np.testing.assert_allclose(scaled.moments("valence")[1], 2.5 * total)


def test_tempering_by_hand(predictive):
    tempered = recalibrate.apply(predictive, {"mood": 2.0}).log_prob["mood"].values
    p = np.exp(predictive.log_prob["mood"].values / 2)
    np.testing.assert_allclose(np.exp(tempered), p / p.sum(-1, keepdims=True))
