"""Disturbed modalities through the networks and the fusion; planted signals must be found where they were planted."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from bayesaffect.fusion import Sampling
from bayesaffect.pipeline import train as training
from bayesaffect.pipeline.examination import disturbed
from bayesaffect.pipeline.examination import robustness as robust
from bayesaffect.pipeline.examination.corrupt import STRENGTHS, corrupt
from bayesaffect.pipeline.examination.robustness import OF_OPINIONS, _kinds, disturb, robustness
from bayesaffect.pipeline.examination.scalp import scalp, without
from bayesaffect.pipeline.examination.selective import selective
from bayesaffect.pipeline.opinions import with_trials
from bayesaffect.pipeline.settings import Settings
from bayesaffect.simulate.opinions import OpinionModel, simulate_opinions
from bayesaffect.types import Opinions, Predictive, Target, Trials
from bayesaffect.uncertainty.ensemble import Ensemble
from bayesaffect.uncertainty.training import Training

VALENCE = Target("valence", bounds=(1, 9))
MOOD = Target("mood", levels=("low", "high"))
CHANNELS = ("Fz", "C3", "Cz", "C4", "Pz", "Oz")
SAMPLING = Sampling(draws=150, tune=150, chains=2, engine="svi")


@pytest.fixture(scope="module")
def said():
    model = OpinionModel(missing=0.1)
    return simulate_opinions(
        subjects=6, trials=14, modalities=("eeg", "face", "voice"), targets=(VALENCE, MOOD), seed=4, model=model
    )[0]


@pytest.mark.parametrize("kind", OF_OPINIONS)
@pytest.mark.parametrize("strength", [0.2, 1.0])
def test_disturbed_opinions_are_opinions_and_the_others_stay(said, kind, strength):
    other = disturb(said, "face", kind, strength, seed=1)
    for array, name in ((other.mean["valence"], "mean"), (other.log_prob["mood"], "log_prob")):
        before = getattr(said, name)["valence" if name == "mean" else "mood"]
        np.testing.assert_array_equal(array.values[:, [0, 2]], before.values[:, [0, 2]])
        assert not np.array_equal(array.values[:, 1], before.values[:, 1], equal_nan=True)
    here = other.present.values[:, 1]
    np.testing.assert_allclose(np.exp(other.log_prob["mood"].values[here, 1]).sum(-1), 1)
    lost = said.present.values[:, 1].sum() - here.sum()
    assert lost == (round(strength * said.present.values[:, 1].sum()) if kind == "missing" else 0)
    np.testing.assert_array_equal(
        other.variance["valence"].values[here, 1] == said.variance["valence"].values[here, 1],
        np.ones(here.sum(), bool) if kind != "swapped" else other.mean["valence"].values[here, 1]
        == said.mean["valence"].values[here, 1],
    )  # fmt: skip


def test_noise_is_as_large_as_it_says_and_swapped_trials_are_a_permutation(said):
    here = said.present.values[:, 1]
    before = said.mean["valence"].values[here, 1]
    noisy = disturb(said, "face", "noise", 0.6, seed=1).mean["valence"].values[here, 1]
    assert (noisy - before).std() == pytest.approx(0.6 * before.std(), rel=5 / np.sqrt(2 * here.sum()))
    stronger = disturb(said, "face", "noise", 1.0, seed=1).mean["valence"].values[here, 1]
    np.testing.assert_allclose((stronger - before) * 0.6, noisy - before)
    swapped = disturb(said, "face", "swapped", 0.5, seed=1).mean["valence"].values[here, 1]
    np.testing.assert_allclose(np.sort(swapped), np.sort(before))
    assert (swapped != before).sum() == round(0.5 * here.sum())
    more = disturb(said, "face", "swapped", 0.8, seed=1).mean["valence"].values[here, 1]
    assert (more != before)[swapped != before].all()


def test_a_modality_is_replaced_and_may_be_gone(said):
    gone = disturbed.replaced(said, "voice", None)
    assert not gone.present.values[:, 2].any() and np.isnan(gone.mean["valence"].values[:, 2]).all()
    np.testing.assert_array_equal(gone.present.values[:, :2], said.present.values[:, :2])


def test_trials_are_thinned_within_every_subject():
    subject = np.repeat(["a", "b", "c"], [100, 4, 50])
    rows = disturbed.thinned(subject, 30)
    assert [(subject[rows] == s).sum() for s in "abc"] == [10, 4, 10] and (np.diff(rows) > 0).all()
    np.testing.assert_array_equal(disturbed.thinned(subject, 1000), np.arange(154))


def test_selective_tells_a_model_that_knows_when_it_errs(said):
    rng = np.random.default_rng(0)
    n, subject = 300, np.repeat([f"S{k}" for k in range(10)], 30)
    coords = {"trial": [f"t{k}" for k in range(n)], "subject": ("trial", subject)}
    label, sure = rng.integers(0, 2, n), rng.uniform(0.5, 1, n)
    right = rng.random(n) < sure
    p = np.where((np.arange(2) == label[:, None]) == right[:, None], sure[:, None], 1 - sure[:, None])
    log_prob = xr.DataArray(
        np.log(p)[None], dims=("draw", "trial", "level"), coords=coords | {"level": ["low", "high"]}
    )
    knows = Predictive((MOOD,), xr.DataArray(subject, dims="trial", coords=coords), {}, {}, {"mood": log_prob})
    truth = xr.Dataset({"mood": ("trial", label)}, coords={"trial": coords["trial"]})
    sheet = selective({"late": knows}, truth, (MOOD,), models={"mood": ["late", "nobody"]}, seed=0)
    assert list(sheet["handed_back"]) == [0.0, 0.1, 0.2, 0.3] and set(sheet["model"]) == {"late"}
    assert sheet["value"].is_monotonic_increasing and sheet["value"].iloc[0] == pytest.approx(right.mean())
    assert (sheet["low"] <= sheet["value"]).all() and (sheet["value"] <= sheet["high"]).all()


@pytest.fixture(scope="module")
def table(said, tmp_path_factory):
    workspace = tmp_path_factory.mktemp("table")
    settings = Settings("table.csv", "opinions", sampling=SAMPLING, folds=2)
    people = np.unique(said.subject.values.astype(str))
    groups = (tuple(people[:3]), tuple(people[3:]))
    moods = replace(said, targets=(MOOD,), truth=said.truth[["mood"]], mean={}, variance={})
    return workspace, settings, lambda group: moods, groups


@pytest.mark.slow
def test_fusion_of_a_table_loses_less_than_the_modality_that_is_disturbed(table):
    workspace = table[0]
    sheet = robustness(*table)
    value = sheet.set_index(["target", "modality", "kind", "strength", "score"])["value"]
    assert not value.index.duplicated().any() and set(sheet["strength"]) == {0, 0.2, 0.4, 0.6, 0.8, 1.0}
    for modality in ("eeg", "face", "voice"):
        for kind in ("noise", "swapped"):
            at = ("mood", modality, kind, 1.0)
            assert value[(*at, "nll_spared")] > 0 and value[(*at, "nll_loss")] > 0
            assert value[(*at, "nll_alone")] > value[(*at[:3], 0.0, "nll_alone")]
        weight = value.sort_index()[("mood", modality, "missing")].unstack("score")["weight"]
        assert weight.loc[1.0] == 0 and weight.loc[0.0] > 0.03
        assert weight.is_monotonic_decreasing
        kinds = [value[("mood", modality, kind, 0.0, "nll")] for kind in OF_OPINIONS]
        assert np.ptp(kinds) == 0 and value[("mood", modality, "noise", 0.0, "nll_loss")] == 0
    again = robustness(workspace, *table[1:])
    pd.testing.assert_frame_equal(sheet, again)
    assert len(list((workspace / disturbed.FOLDER).glob("robustness-*.csv"))) == 1


@pytest.fixture(scope="module")
def embedded(said):
    """Moods with a feature of the face that tells the truth itself, which the opinions tell less well."""
    rng = np.random.default_rng(0)
    moods = replace(said, targets=(MOOD,), truth=said.truth[["mood"]], mean={}, variance={})
    values = rng.normal(0, 0.2, (len(said.subject), 2)) + np.array([4.0, 0]) * said.truth["mood"].values[:, None]
    coords = {"trial": said.present["trial"].values, "feature": ["tells", "noise"]}
    return replace(moods, embedding={"face": xr.DataArray(values, dims=("trial", "feature"), coords=coords)})


def test_features_go_where_their_opinion_goes(embedded):
    here, before = embedded.present.values[:, 1], embedded.embedding["face"].values
    gone = disturb(embedded, "face", "missing", 0.5, seed=1)
    lost = here & ~gone.present.values[:, 1]
    assert np.isnan(gone.embedding["face"].values[lost]).all() and lost.any()
    np.testing.assert_array_equal(gone.embedding["face"].values[~lost], before[~lost])
    swapped = disturb(embedded, "face", "swapped", 0.5, seed=1)
    same = (swapped.log_prob["mood"].values[:, 1] == embedded.log_prob["mood"].values[:, 1]).all(-1)
    np.testing.assert_array_equal((swapped.embedding["face"].values == before).all(-1)[here], same[here])
    for kind, modality in (("noise", "face"), ("swapped", "voice")):
        np.testing.assert_array_equal(disturb(embedded, modality, kind, 1, seed=1).embedding["face"], before)


@pytest.mark.slow
def test_hybrid_fusion_is_disturbed_where_there_is_one(table, embedded, tmp_path, monkeypatch):
    _, settings, _, groups = table
    monkeypatch.setattr(robust, "STRENGTHS", (1.0,))
    sheet = robustness(tmp_path, replace(settings, hybrid=True), lambda group: embedded, groups)
    value = sheet.set_index(["modality", "kind", "strength", "score"])["value"]
    assert value[("face", "noise", 0.0, "hybrid_nll_loss")] == 0
    for strength in (0.0, 1.0):
        at = ("face", "missing", strength)
        assert value[(*at, "hybrid_gain")] == pytest.approx(value[(*at, "nll")] - value[(*at, "hybrid_nll")])
    # noise in the opinion leaves the hybrid the feature, which a missing face takes away as well
    missing, noise = (value[("face", kind, 1.0, "hybrid_nll_loss")] for kind in ("missing", "noise"))
    assert missing > noise > 0
    assert value[("face", "noise", 1.0, "hybrid_gain")] > value[("face", "noise", 0.0, "hybrid_gain")]
    late = robustness(tmp_path, settings, lambda group: embedded, groups)
    assert not late["score"].str.startswith("hybrid").any()
    np.testing.assert_array_equal(late["value"], sheet[~sheet["score"].str.startswith("hybrid")]["value"])


def recordings() -> Trials:
    """Beta power at C3 carries valence, the other channels and bands nothing; physiology tells a little."""
    rng = np.random.default_rng(7)
    subjects, clips = 6, 14
    n = subjects * clips
    y = rng.uniform(-0.9, 0.9, n)
    subject = np.repeat([f"S{k}" for k in range(subjects)], clips)
    trial = [f"{s}/T{k % clips:02d}" for k, s in enumerate(subject)]
    coords = {"trial": trial, "subject": ("trial", subject), "stimulus": ("trial", [t[3:] for t in trial])}
    maps = rng.normal(0, 0.5, (n, 3, len(CHANNELS), 6))
    maps[:, 2, 1] += 2.5 * y[:, None]
    features = rng.normal(0, 1, (n, 3))
    features[:, 0] += 1.5 * y
    eeg = xr.Dataset(
        {"maps": (("trial", "band", "channel", "frame"), maps.astype("float32"))},
        {"trial": trial, "band": ["theta", "alpha", "beta"], "channel": list(CHANNELS), "frame": np.arange(6) + 0.5},
        {"encoder": "eeg"},
    )
    physio = xr.Dataset(
        {
            "series": (("trial", "signal", "time"), rng.normal(0, 1, (n, 1, 24)).astype("float32")),
            "features": (("trial", "feature"), features.astype("float32")),
        },
        {"trial": trial, "time": np.arange(24) / 4},
        {"encoder": "physio"},
    )
    names = ["eeg", "physio"]
    present = xr.DataArray(np.ones((n, 2), bool), dims=("trial", "modality"), coords=coords | {"modality": names})
    truth = xr.Dataset({"valence": ("trial", y)}, coords={"trial": trial})
    return Trials((VALENCE,), {"eeg": eeg, "physio": physio}, present, truth, xr.ones_like(present, dtype=float))


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Networks trained on those recordings, in two groups of subjects."""
    workspace, trials = tmp_path_factory.mktemp("study"), recordings()
    settings = Settings(
        "nowhere", "mahnob", folds=2, nested=False, sampling=SAMPLING, ensemble=Ensemble(2, 4),
        training=Training(epochs=40, batch=16, learning_rate=3e-3),
    )  # fmt: skip
    cross = training.train(workspace, settings, trials)
    opinions = with_trials(
        Opinions.from_predictives({m: cross.out_of_fold[m] for m in trials.modalities}, trials), trials
    )
    return workspace, settings, lambda group: opinions, training.groups(settings, trials), trials


@pytest.mark.slow
def test_the_electrode_and_the_band_that_carry_everything_are_found(study):
    channels, bands = scalp(*study)
    for model in ("eeg", "late"):
        for sheet, what, planted in ((channels, "channel", "C3"), (bands, "band", "beta")):
            mine = sheet[sheet["model"] == model].set_index(what)
            assert mine["value"].idxmax() == planted and mine.loc[planted, "low"] > 0
            others = mine.drop(planted)["value"]
            assert np.abs(others).max() < 0.25 * mine.loc[planted, "value"]
    assert list(channels["electrode"][: len(CHANNELS)]) == list(CHANNELS)
    alone, fused = (channels[(channels["model"] == m) & (channels["channel"] == "C3")] for m in ("eeg", "late"))
    assert float(fused["value"].iloc[0]) < float(alone["value"].iloc[0])


@pytest.mark.slow
def test_disturbed_recordings_go_through_networks_that_did_not_see_them(study):
    workspace, settings, opinions, groups, trials = study
    sheet = robustness(workspace, settings, opinions, groups, trials=trials)
    value = sheet.set_index(["modality", "kind", "strength", "score"])["value"]
    assert {"noise", "flat", "channels", "shift", "missing"} == set(sheet[sheet["modality"] == "eeg"]["kind"])
    untouched = value[("eeg", "noise", 0.0, "nll")]
    prior = value[("physio", "missing", 0.0, "nll_alone")]
    assert untouched < prior
    assert value[("eeg", "noise", 1.0, "nll")] > untouched
    assert value[("eeg", "channels", 1.0, "nll_spared")] > 0
    assert value[("eeg", "missing", 1.0, "weight")] == 0 < value[("eeg", "missing", 0.0, "weight")]
    known = disturbed.networks(workspace, settings, trials)
    same = disturbed.hear(known, opinions(None), trials, "eeg")
    np.testing.assert_allclose(same.mean["valence"], opinions(None).mean["valence"], atol=1e-6)
    np.testing.assert_array_equal(same.embedding["eeg"], opinions(None).embedding["eeg"])
    again = disturbed.hear(known, same, trials, "eeg")  # untouched trials are heard alike to the last bit
    np.testing.assert_array_equal(again.mean["valence"], same.mean["valence"])
    dead = disturbed.hear(known, same, corrupt(trials, "eeg", "channels", 0.6, seed=0), "eeg")
    assert (dead.embedding["eeg"].values != same.embedding["eeg"].values).any(1).all()
    for name in ("mean", "variance"):
        before, after = (getattr(o, name)["valence"].sel(modality="physio") for o in (same, dead))
        np.testing.assert_array_equal(before, after)
    np.testing.assert_array_equal(dead.embedding["physio"], same.embedding["physio"])


def test_what_cannot_change_a_modality_is_not_tried():
    trials = recordings()
    assert "channels" in _kinds(trials, "eeg") and "channels" not in _kinds(trials, "physio")  # no flags of validity
    for names in (["C3"], ["C3", "Cz"]):
        few = replace(trials, inputs={**trials.inputs, "eeg": trials.inputs["eeg"].sel(channel=names)})
        assert _kinds(few, "eeg") == ["noise", "flat", "shift", "missing"]
        for strength in STRENGTHS:
            assert (corrupt(few, "eeg", "channels", strength, seed=0).quality <= few.quality).all()
    nobody = trials.present.copy(deep=True)
    nobody.values[:, 0] = False
    blank = trials.inputs["eeg"].map(lambda a: a * np.nan)
    assert _kinds(replace(trials, present=nobody, inputs={**trials.inputs, "eeg": blank}), "eeg") == ["missing"]


def test_nothing_but_the_channel_or_band_is_taken_away():
    trials = recordings()
    maps = trials.inputs["eeg"]["maps"]
    less = without(trials, "eeg", "channel", "Cz").inputs["eeg"]["maps"]
    assert (less.sel(channel="Cz") == 0).all() and less.drop_sel(channel="Cz").equals(maps.drop_sel(channel="Cz"))
    less = without(trials, "eeg", "band", "alpha").inputs["eeg"]["maps"]
    assert (less.sel(band="alpha") == 0).all() and less.drop_sel(band="alpha").equals(maps.drop_sel(band="alpha"))


def test_a_band_is_taken_out_of_raw_samples():
    trials = recordings()
    at = np.arange(512) / 128
    wave = np.sin(2 * np.pi * 10 * at) + np.sin(2 * np.pi * 20 * at + 0.3)
    raw = np.broadcast_to(wave, (len(trials.present), len(CHANNELS), 512)).astype("float32")
    block = trials.inputs["eeg"].assign(raw=(("trial", "channel", "time"), raw)).assign_coords(time=at)
    with_raw = replace(trials, inputs={**trials.inputs, "eeg": block})
    left = without(with_raw, "eeg", "band", "alpha").inputs["eeg"]["raw"].values[3, 2]
    np.testing.assert_allclose(left, np.sin(2 * np.pi * 20 * at + 0.3), atol=1e-5)
    dead = without(with_raw, "eeg", "channel", "Oz").inputs["eeg"]["raw"]
    assert (dead.sel(channel="Oz") == 0).all() and (dead.sel(channel="Fz").values == raw[:, 0]).all()


def test_without_eeg_there_is_no_scalp(study_without_eeg):
    channels, bands = study_without_eeg
    assert channels.empty and bands.empty and "electrode" in channels


@pytest.fixture
def study_without_eeg(said, tmp_path):
    trials = recordings()
    trials = replace(
        trials,
        inputs={"physio": trials.inputs["physio"]},
        present=trials.present.sel(modality=["physio"]),
        quality=trials.quality.sel(modality=["physio"]),
    )
    return scalp(tmp_path, Settings("nowhere", "mahnob"), lambda group: said, (), trials)
