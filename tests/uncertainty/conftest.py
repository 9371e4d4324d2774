"""Small trials with a signal that can be learned, made from a known rule."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from bayesaffect.types import Target, Trials

VALENCE = Target("valence", bounds=(1.0, 9.0))
MOOD = Target("mood", levels=("low", "middle", "high"))


def make_trials(*, subjects=8, clips=12, noise=0.5, seed=0, modalities=("physio", "wrist")) -> Trials:
    """Each modality's features and series carry valence with a gain of 1 and noise; mood is valence in three steps."""
    rng = np.random.default_rng(seed)
    n = subjects * clips
    valence = rng.uniform(-0.9, 0.9, n)
    mood = np.digitize(valence, [-0.3, 0.3])
    trial = [f"S{i // clips:02d}/T{i % clips:02d}" for i in range(n)]
    subject = np.array([name[:3] for name in trial])
    coords = {"trial": trial, "subject": ("trial", subject), "stimulus": ("trial", [name[4:] for name in trial])}
    wave = np.sin(np.linspace(0, 6, 40))
    present = xr.DataArray(
        np.ones((n, len(modalities)), bool), dims=("trial", "modality"), coords=coords | {"modality": list(modalities)}
    )
    inputs = {}
    for k, name in enumerate(modalities):
        features = rng.normal(0, noise, (n, 4)).astype("float32")
        features[:, 0] += valence
        series = valence[:, None, None] * wave + rng.normal(0, noise, (n, 2, 40))
        inputs[name] = xr.Dataset(
            {
                "series": (("trial", "signal", "time"), series.astype("float32")),
                "features": (("trial", "feature"), features),
            },
            coords={"trial": trial},
            attrs={"encoder": "physio"},
        )
        if k == 1:  # the second modality is missing here and there
            gone = rng.random(n) < 0.1
            present[gone, k] = False
            inputs[name] = inputs[name].where(xr.DataArray(~gone, dims="trial"))
    valence[::17] = np.nan
    truth = xr.Dataset({"valence": ("trial", valence), "mood": ("trial", mood)}, coords={"trial": trial})
    return Trials((VALENCE, MOOD), inputs, present, truth, xr.ones_like(present, dtype=float))


@pytest.fixture(scope="session")
def maker():
    """The function that makes trials, for tests that need others than `trials`."""
    return make_trials


@pytest.fixture(scope="session")
def trials():
    return make_trials()


@pytest.fixture(scope="session")
def small():
    return make_trials(subjects=4, clips=6)


@pytest.fixture(scope="session")
def grouped():
    """``grouped(trials, count)``: subjects dealt in turn into groups."""

    def deal(trials, count):
        names = np.unique(trials.subject.values)
        return [tuple(str(s) for s in names[k::count]) for k in range(count)]

    return deal
