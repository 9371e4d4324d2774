from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import xarray as xr

from bayesaffect.errors import InputError
from bayesaffect.fusion import fit_hybrid, with_features
from bayesaffect.fusion.hybrid import embedding
from bayesaffect.fusion.hybrid.trial_features import check_axes
from bayesaffect.types import Opinions, Target, Trials

TARGET = Target("valence", (1, 9))
N = 12


def index(names, here):
    trial = [f"T{i}" for i in range(N)]
    who = [f"S{i // 4}" for i in range(N)]
    coords = {"trial": trial, "modality": names, "subject": ("trial", who), "stimulus": ("trial", trial)}
    truth = xr.Dataset({"valence": ("trial", np.linspace(-0.9, 0.9, N))}, coords={"trial": trial})
    return xr.DataArray(here, dims=("trial", "modality"), coords=coords), truth


@pytest.fixture
def recordings():
    """EEG maps, physiology with features, and a face that has crops only; trial 3 has no physiology."""
    here = np.ones((N, 3), dtype=bool)
    here[3, 1] = False
    present, truth = index(["eeg", "physio", "face"], here)
    rng = np.random.default_rng(0)
    trial = present["trial"].values
    maps = rng.normal(size=(N, 2, 3, 5))
    named = {"trial": trial, "band": ["alpha", "beta"], "channel": ["F3", "Cz", "Pz"]}
    features = np.where(here[:, 1:2], rng.normal(size=(N, 2)), np.nan)
    inputs = {
        "eeg": xr.Dataset({"maps": (("trial", "band", "channel", "frame"), maps)}, coords=named),
        "physio": xr.Dataset(
            {"features": (("trial", "feature"), features)}, coords={"trial": trial, "feature": ["rate", "rmssd"]}
        ),
        "face": xr.Dataset({"crops": (("trial", "row"), rng.normal(size=(N, 4)))}, coords={"trial": trial}),
    }
    return Trials((TARGET,), inputs, present, truth, present.astype(float))


def opinions_of(names, *, networks=3):
    """Out-of-fold opinions with embeddings of as many networks as there are subject groups."""
    present, truth = index(names, np.ones((N, len(names)), dtype=bool))
    rng = np.random.default_rng(1)
    x = present.copy(data=rng.normal(0, 0.3, present.shape))
    groups = np.repeat(np.arange(3), 4) % networks
    seen = np.broadcast_to((np.arange(3) != groups[:, None])[:, None], (*present.shape, 3))
    if networks == 1:
        seen = np.zeros(seen.shape, dtype=bool)
    trained_on = xr.DataArray(
        seen, dims=("trial", "modality", "trained_subject"), coords=present.coords | {"trained_subject": [*"SSS"]}
    ).assign_coords(trained_subject=["S0", "S1", "S2"])
    blocks = {
        m: xr.DataArray(rng.normal(size=(N, 4)), dims=("trial", "feature"), coords={"trial": present["trial"].values})
        for m in names
    }
    v = present.copy(data=np.full(present.shape, 0.1))
    return Opinions((TARGET,), present, truth, {"valence": x}, {"valence": v}, trained_on=trained_on, embedding=blocks)


def test_features_of_the_trials_take_the_place_of_embeddings(recordings):
    opinions = opinions_of(["physio", "eeg", "face"]).select(np.arange(N) > 1)
    found = with_features(opinions, recordings.select(np.arange(N)[::-1])).embedding
    assert list(found) == ["physio", "eeg"]
    assert list(found["physio"]["feature"].values) == ["rate", "rmssd"]
    assert list(found["eeg"]["feature"].values[:4]) == ["alpha_F3", "alpha_Cz", "alpha_Pz", "beta_F3"]
    np.testing.assert_array_equal(found["physio"].values, recordings.inputs["physio"]["features"].values[2:])
    power = recordings.inputs["eeg"]["maps"].values.mean(-1)
    np.testing.assert_allclose(found["eeg"].values[:, 4], power[2:, 1, 1])
    assert np.isnan(found["physio"].values[1]).all() and np.isfinite(found["eeg"].values).all()


def test_a_trial_without_features_is_a_missing_head(recordings):
    opinions = with_features(opinions_of(["physio", "eeg"]), recordings)
    reduction = embedding.learn(opinions, "valence", np.ones(N, dtype=bool))
    assert reduction.heads == ("physio", "eeg")
    assert list(np.flatnonzero(~embedding.components(reduction, opinions, "valence").here[:, 0])) == [3]


def test_embeddings_of_several_networks_are_refused(recordings):
    opinions = opinions_of(["physio", "eeg"])
    with pytest.raises(InputError, match="physio come from 3 networks"):
        fit_hybrid(opinions, "valence", seed=0)
    for allowed in (
        opinions_of(["physio", "eeg"], networks=1),
        dataclasses.replace(opinions, trained_on=None),
        with_features(opinions, recordings),
    ):
        check_axes(allowed, "physio")


def test_what_has_no_features_is_refused(recordings):
    with pytest.raises(InputError, match="none of"):
        with_features(opinions_of(["face"]), recordings)
    with pytest.raises(InputError, match="4 trials of the opinions"):
        with_features(opinions_of(["eeg"]), recordings.select(np.arange(N) > 3))
