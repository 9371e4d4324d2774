from __future__ import annotations

import hypothesis.extra.numpy as arrays
import numpy as np
import pytest
import torch
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import log_softmax, xlogy

from bayesaffect.types import Predictive, Target
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


def drawn(mean=None, variance=None, logits=None) -> Predictive:
    """Predictions from plain arrays (draw, trial, ...)."""
    values = logits if mean is None else mean
    trial = [f"t{k}" for k in range(values.shape[1])]
    subject = xr.DataArray(trial, dims="trial", coords={"trial": trial, "subject": ("trial", trial)})
    wrap = lambda a, *extra: xr.DataArray(a, dims=("draw", "trial", *extra), coords={"trial": trial})  # noqa: E731
    if mean is None:
        return Predictive(TARGETS, subject, log_prob={"mood": wrap(log_softmax(logits, axis=-1), "level")})
    return Predictive(TARGETS, subject, {"valence": wrap(mean)}, {"valence": wrap(variance)})


numbers = st.floats(-50, 50, allow_subnormal=False)
sizes = st.tuples(st.integers(1, 6), st.integers(1, 4))


@given(
    sizes.flatmap(
        lambda s: st.tuples(
            arrays.arrays(float, s, elements=numbers), arrays.arrays(float, s, elements=st.floats(1e-6, 1e4))
        )
    )
)
def test_variances_add_up_to_the_last_bit(values):
    parts = decompose.variance(drawn(*values), "valence")
    assert np.array_equal(parts.total.values, (parts.aleatoric + parts.epistemic).values)
    assert (parts.epistemic >= 0).all() and (parts.aleatoric > 0).all()


@given(sizes.flatmap(lambda s: arrays.arrays(float, (*s, 3), elements=numbers)))
def test_entropies_add_up_to_the_last_bit(logits):
    parts = decompose.entropy(drawn(logits=logits), "mood")
    assert np.array_equal(parts.total.values, (parts.aleatoric + parts.epistemic).values)
    mean = np.exp(log_softmax(logits, axis=-1)).mean(0)
    np.testing.assert_allclose(parts.total, -xlogy(mean, mean).sum(-1), atol=1e-12)
    assert (parts.epistemic >= -1e-12).all()
