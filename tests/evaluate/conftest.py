"""Predictions that are calibrated by construction, with a knob for each way of not being so."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from scipy.special import log_softmax

from bayesaffect.types import Predictive, Target

VALENCE, MOOD = Target("valence", bounds=(1, 9)), Target("mood", levels=("low", "mid", "high"))


def calibrated(*, subjects=12, trials=20, seed=0, sharpen=1.0, vary=0.0):
    """Predictive and truth of two targets; truths are drawn from the predictions.

    ``sharpen``: afterwards standard deviations are divided, and log-odds multiplied, by this much. ``vary``: sd of the
    log of the true spread between people, which the predictions do not know of.
    """
    rng = np.random.default_rng(seed)
    n = subjects * trials
    subject = np.array([f"S{k // trials + 1:02d}" for k in range(n)])
    own = np.exp(rng.normal(0, vary, subjects) if vary else np.zeros(subjects)).repeat(trials)
    mean, sd = rng.normal(0, 0.3, n), 0.15 * np.exp(rng.normal(0, 0.3, n))
    truth = mean + sd * own * rng.normal(size=n)
    log_prob = log_softmax(rng.normal(0, 1.5, (n, 3)), axis=1)
    label = (log_softmax(log_prob / own[:, None], axis=1) + rng.gumbel(size=(n, 3))).argmax(1)
    coords = {"trial": [f"{s}/T{k % trials:02d}" for k, s in enumerate(subject)], "subject": ("trial", subject)}
    wrapped = {"dims": ("draw", "trial"), "coords": coords}
    predictive = Predictive(
        (VALENCE, MOOD),
        xr.DataArray(subject, dims="trial", coords=coords),
        {"valence": xr.DataArray(mean[None], **wrapped)},
        {"valence": xr.DataArray((sd / sharpen)[None] ** 2, **wrapped)},
        {"mood": xr.DataArray(log_softmax(sharpen * log_prob, axis=1)[None], dims=("draw", "trial", "level"))},
    )
    return predictive, xr.Dataset({"valence": ("trial", truth), "mood": ("trial", label)}, coords=coords)


@pytest.fixture(scope="session")
def study_of():
    return calibrated
