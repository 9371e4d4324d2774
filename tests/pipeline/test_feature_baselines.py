"""Baselines on features in a workspace: made once, made again when what they were made from has changed."""

import functools
from dataclasses import replace

import numpy as np
import pytest
import xarray as xr

from bayesaffect import splits
from bayesaffect.evaluate import scores
from bayesaffect.pipeline import baselines
from bayesaffect.pipeline.fuse import Fused
from bayesaffect.pipeline.report import Evidence, protocol
from bayesaffect.pipeline.settings import Settings
from bayesaffect.types import Opinions, Target, Trials
from bayesaffect.uncertainty import evidential

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


def versions(index, which):
    """The same trials, held out by a version; the groups are called alike whatever ``which`` says."""
    names = np.where(which, "new", "old")
    index = replace(index, present=index.present.assign_coords(version=("trial", names)))
    index = splits.apart(index, "version", 2, seed=0)
    return index, splits.groups(index, 2, seed=0)


def test_versions_that_are_called_alike_and_hold_other_trials_are_learned_anew(trials, tmp_path, calls):
    settings, which = replace(SETTINGS, protocol="version"), np.arange(48) // 6 % 2 == 0
    for moved in (which, ~which, which):
        baselines.on_features(tmp_path, settings, *versions(trials, moved))
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
    lines = protocol(
        settings, Evidence(lambda group: opinions, GROUPS, {}, Fused(found["linear"], {}, (), ()), on_features=found)
    )
    assert told in lines["Networks"] and "forest" in lines["Baselines"]
    assert ("networks have seen labels of test subjects: nested" in lines["Baselines"]) == nested


@pytest.fixture
def complement(monkeypatch):
    """Opinions on four classes of two bits and on a rating; one modality's features show a bit, the other's opinion."""
    assert evidential.STEPS == 300
    monkeypatch.setattr(evidential, "STEPS", 60)
    rng = np.random.default_rng(0)
    label, trial, subject = (
        rng.integers(0, 4, 180),
        [f"T{k:03d}" for k in range(180)],
        [f"S{k % 6}" for k in range(180)],
    )
    coords = {"trial": trial, "modality": ["face", "wrist"], "subject": ("trial", subject)}
    coords["stimulus"] = ("trial", [f"clip{k // 6}" for k in range(180)])
    here = rng.random((180, 2)) < 0.9
    here[~here.any(1)] = True
    present = xr.DataArray(here, dims=("trial", "modality"), coords=coords)
    bits = np.stack([label % 2, label // 2], 1) + rng.normal(0, 0.3, (180, 2))
    features = np.where(here[:, :1], np.stack([bits[:, 0], rng.normal(size=180)], 1), np.nan)
    logits = np.zeros((180, 2, 4))
    logits[:, 1, 2:] = 4 * (bits[:, 1, None] - 0.5)
    logs = np.where(here[..., None], logits - np.log(np.exp(logits).sum(-1, keepdims=True)), np.nan)
    rating = np.clip(0.4 * (bits.sum(1) - 1), -1, 1)
    mean = np.where(here, 0.4 * (bits - 0.5), np.nan)
    return Opinions(
        (Target("quadrant", levels=("a", "b", "c", "d")), Target("arousal", bounds=(1, 9))),
        present,
        xr.Dataset({"quadrant": ("trial", label), "arousal": ("trial", rating)}, coords={"trial": trial}),
        {"arousal": xr.DataArray(mean, dims=("trial", "modality"))},
        {"arousal": xr.DataArray(np.where(here, 0.09, np.nan), dims=("trial", "modality"))},
        {"quadrant": xr.DataArray(logs, dims=("trial", "modality", "level"))},
        embedding={"face": xr.DataArray(features, dims=("trial", "feature"), coords={"feature": ["brow", "noise"]})},
    )


def test_views_are_features_where_there_are_any_and_else_the_opinion(complement):
    rating, columns = baselines.views(complement, complement.target("arousal"))
    assert [rating[:, c].shape[1] for c in columns] == [2, 2]
    here = complement.present.values
    assert np.isnan(rating[:, columns[1]][~here[:, 1]]).all() and np.isfinite(rating[:, columns[0]][here[:, 0]]).all()
    assert rating[here[:, 1], 3] == pytest.approx(np.log(0.09))
    classes, columns = baselines.views(complement, complement.target("quadrant"))
    assert classes.shape == (180, 6) and np.allclose(np.nansum(classes[:, columns[1]], 1), 0)


def test_evidence_of_views_that_complement_one_another_beats_each(complement):
    def found(opinions):
        got = baselines.by_evidence(opinions, GROUPS, seed=0)
        label = opinions.truth["quadrant"].sel(trial=got.trial.values).values
        return scores.accuracy(got.probability("quadrant").values, label), got

    both, got = found(complement)
    assert got.trial.size == 180 and set(got.mean) == {"arousal"}
    alone = [found(complement.only([name]))[0] for name in complement.modalities]
    assert both > max(alone) + 0.15 and min(alone) > 0.35
    own = got.trained_on.sel(trained_subject=xr.DataArray(got.subject.values, dims="trial"))
    assert not own.values.any() and (got.trained_on.sum("trained_subject") == 4).all()


def test_evidence_does_not_read_the_truth_of_those_it_predicts(complement):
    mine = np.isin(complement.subject.values, GROUPS[1])
    first = baselines.by_evidence(complement, GROUPS, seed=0)
    truth = complement.truth.copy(deep=True)
    truth["quadrant"][mine], truth["arousal"][mine] = 0, 0.9
    other = baselines.by_evidence(replace(complement, truth=truth), GROUPS, seed=0)
    same = np.isclose(first.log_prob["quadrant"][0], other.log_prob["quadrant"][0]).all(1)
    assert same[mine].all() and not same[~mine].all()


def test_evidence_is_learned_once_and_what_changes_it_changes_the_file(complement, tmp_path, monkeypatch):
    fitted, learn = [], baselines.by_evidence

    def counted(*args, **options):
        fitted.append(1)
        return learn(*args, **options)

    monkeypatch.setattr(baselines, "by_evidence", counted)
    first = baselines.on_opinions(tmp_path, SETTINGS, complement, GROUPS)
    assert list(first) == ["stimulus", "product", "evidential"]
    again = baselines.on_opinions(tmp_path, SETTINGS, complement, GROUPS[::-1])
    assert len(fitted) == 1 and len(list(tmp_path.rglob("*.nc"))) == 1
    assert np.array_equal(first["evidential"].log_prob["quadrant"], again["evidential"].log_prob["quadrant"])
    complement.embedding["face"][7, 1] += 0.5
    baselines.on_opinions(tmp_path, SETTINGS, complement, GROUPS)
    baselines.on_opinions(tmp_path, replace(SETTINGS, seed=1), complement, GROUPS)
    assert len(fitted) == 3


def test_evidence_of_versions_that_hold_other_trials_is_learned_anew(complement, tmp_path, monkeypatch):
    monkeypatch.setattr(evidential, "STEPS", 2)
    settings, which = replace(SETTINGS, protocol="version"), np.arange(complement.subject.size) // 6 % 2 == 0
    for moved in (which, ~which):
        baselines.on_opinions(tmp_path, settings, *versions(complement, moved))
    assert len(list(tmp_path.rglob("evidential-*.nc"))) == 2


def test_tasks_that_are_the_label_are_no_stimulus(complement, tmp_path):
    wristband = replace(SETTINGS, format="e4")
    assert list(baselines.on_opinions(tmp_path, wristband, complement, GROUPS)) == ["product", "evidential"]
