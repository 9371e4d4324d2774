"""Baselines on features in a workspace: made once, made again when what they were made from has changed."""

import functools
from dataclasses import replace

import numpy as np
import pytest
import xarray as xr

from bayesaffect.pipeline import baselines
from bayesaffect.pipeline.fuse import Fused
from bayesaffect.pipeline.report import Evidence, protocol
from bayesaffect.pipeline.settings import Settings
from bayesaffect.types import Opinions, Target, Trials

SETTINGS = Settings("recordings", "mahnob")
GROUPS = (("S0", "S1"), ("S2", "S3"), ("S4", "S5"))


@pytest.fixture
def trials():
    rng = np.random.default_rng(0)
    trial, subject = [f"T{k:02d}" for k in range(48)], [f"S{k % 6}" for k in range(48)]
    coords = {"trial": trial, "modality": ["wrist"], "subject": ("trial", subject), "stimulus": ("trial", trial)}
    present = xr.DataArray(np.ones((48, 1), bool), dims=("trial", "modality"), coords=coords)
    label = rng.integers(0, 2, 48)
    features = (("trial", "feature"), (rng.normal(size=(48, 3)) + label[:, None]).astype("float32"))
    inputs = {"wrist": xr.Dataset({"features": features}, coords={"trial": trial}, attrs={"encoder": "physio"})}
    truth = xr.Dataset({"stress": ("trial", label)}, coords={"trial": trial})
    return Trials(
        (Target("stress", levels=("rest", "stress")),), inputs, present, truth, xr.ones_like(present, dtype=float)
    )


@pytest.fixture
def calls(monkeypatch):
    """Names of the baselines that were really fitted."""
    found = []

    def counted(name, learn, *args, **options):
        found.append(name)
        return learn(*args, **options)

    fitted = {"linear": baselines.LEARNERS["linear"]}
    monkeypatch.setattr(baselines, "LEARNERS", {n: functools.partial(counted, n, f) for n, f in fitted.items()})
    return found


def test_the_same_study_is_fitted_once(trials, tmp_path, calls):
    first = baselines.on_features(tmp_path, SETTINGS, trials, GROUPS)["linear"]
    again = baselines.on_features(tmp_path, SETTINGS, trials, GROUPS[::-1])["linear"]
    assert calls == ["linear"] and len(list(tmp_path.rglob("*.nc"))) == 1
    assert np.array_equal(first.log_prob["stress"], again.log_prob["stress"])
    own = again.trained_on.sel(trained_subject=xr.DataArray(again.subject.values, dims="trial"))
    assert again.trained_on.dtype == bool and not own.values.any()


@pytest.mark.parametrize("what", ["truth", "feature", "group", "seed"])
def test_whatever_changes_the_result_changes_the_file(trials, tmp_path, calls, what):
    baselines.on_features(tmp_path, SETTINGS, trials, GROUPS)
    settings, groups = SETTINGS, GROUPS
    if what == "truth":
        trials.truth["stress"][5] = 1 - trials.truth["stress"][5]
    elif what == "feature":
        trials.inputs["wrist"]["features"][7, 1] += 0.1
    elif what == "group":
        groups = (("S0", "S2"), ("S1", "S3"), ("S4", "S5"))
    else:
        settings = replace(settings, seed=1)
    baselines.on_features(tmp_path, settings, trials, groups)
    assert len(calls) == 2


def test_without_features_there_are_none(trials, tmp_path):
    block = trials.inputs["wrist"].rename(features="maps")
    bare = replace(trials, inputs={"wrist": block})
    assert baselines.on_features(tmp_path, SETTINGS, bare, GROUPS) == {} and not list(tmp_path.iterdir())


@pytest.mark.parametrize(("nested", "told"), [(True, "on all other subjects"), (False, "recalibrated on those")])
def test_the_protocol_says_whom_recalibration_and_baselines_learned_from(trials, tmp_path, calls, nested, told):
    settings = replace(SETTINGS, nested=nested)
    found = baselines.on_features(tmp_path, settings, trials, GROUPS)
    opinions = Opinions.from_predictives({"wrist": found["linear"]}, trials)
    lines = protocol(settings, Evidence(opinions, GROUPS, {}, Fused(found["linear"], {}, (), ()), on_features=found))
    assert told in lines["Networks"] and "forest" in lines["Baselines"]
