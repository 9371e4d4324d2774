"""Corruptions of trials, compared with what extraction makes of recordings that were disturbed in earnest."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from bayesaffect.errors import InputError
from bayesaffect.pipeline import prepare
from bayesaffect.pipeline import settings as study_settings
from bayesaffect.pipeline.examination import corrupt as module
from bayesaffect.pipeline.examination.corrupt import KINDS, STRENGTHS, corrupt
from bayesaffect.signals.extract import extract
from bayesaffect.signals.standardise import standardise
from bayesaffect.simulate import Layout, write_mahnob
from bayesaffect.types import Recording, Trials

WINDOW = 8.0
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Recordings of two persons with four clips each, what a reader makes of them, and their settings."""
    folder = tmp_path_factory.mktemp("simulated")
    layout = Layout(clip_seconds=(9.0, 10.0), margin=4.0, traps=False)
    write_mahnob(folder, subjects=2, clips=4, seed=0, layout=layout)
    settings = study_settings.from_options(folder, "mahnob", window=WINDOW)
    extraction = replace(settings.extraction, connectivity=False)
    listing = prepare.scan(settings)
    reader = prepare._reader("mahnob")
    recordings = [reader.read(source, targets=listing.targets)[0] for source in listing.sources]
    return recordings, listing.modalities, extraction


def extracted(study, change: Callable[[Recording], Recording] = lambda r: r, modalities=("eeg", "physio")) -> Trials:
    recordings, names, extraction = study
    wanted = {m: names[m] for m in modalities}
    return Trials.concat([extract(change(r), wanted, extraction) for r in recordings])


@pytest.fixture(scope="module")
def raw(study):
    return extracted(study, modalities=("eeg", "face", "physio"))


@pytest.fixture(scope="module")
def clean(raw):
    return standardise(raw)


def scaled(strange: Trials, raw: Trials) -> Trials:
    """Disturbed trials on the scale of the clean ones of their subjects."""
    usual = replace(raw, measures={})
    modalities = list(strange.modalities)
    usual = replace(
        usual,
        inputs={m: usual.inputs[m] for m in modalities},
        present=usual.present.sel(modality=modalities),
        quality=usual.quality.sel(modality=modalities),
    )
    names = [f"{name}*" for name in strange.present["trial"].values]
    inputs = {m: block.assign_coords(trial=names) for m, block in strange.inputs.items()}
    given = {k: getattr(strange, k).assign_coords(trial=names) for k in ("present", "truth", "quality")}
    both = Trials.concat([usual, replace(strange, inputs=inputs, measures={}, **given)])
    resting = np.arange(both.present.sizes["trial"]) < usual.present.sizes["trial"]
    return standardise(both, neutral=resting)


def noisy(recording: Recording, amount: float) -> Recording:
    rng = np.random.default_rng(0)

    def change(signal):
        sd = (signal.values - np.median(signal.values, axis=1, keepdims=True)).std(axis=1, keepdims=True)
        return signal.copy(data=signal.values + amount * sd * rng.standard_normal(signal.shape))

    return replace(recording, signals={name: change(signal) for name, signal in recording.signals.items()})


def stopped(recording: Recording, share: float) -> Recording:
    """Every signal holds its value from the last ``share`` of the window on."""
    first = recording.segments[0].stop - share * WINDOW

    def change(signal):
        values, at = signal.values.copy(), np.flatnonzero(signal["time"].values >= first)
        values[:, at] = values[:, [max(at[0] - 1, 0)]]
        return signal.copy(data=values)

    return replace(recording, signals={name: change(signal) for name, signal in recording.signals.items()})


@pytest.mark.parametrize("strength", [0.2, 0.4])
def test_noise_in_eeg_lifts_the_bands_as_it_does_in_recordings(study, raw, clean, strength):
    real = scaled(extracted(study, lambda r: noisy(r, 3 * strength), ("eeg",)), raw).inputs["eeg"]["maps"]
    ours = corrupt(clean, "eeg", "noise", strength, seed=0).inputs["eeg"]["maps"]
    bands = [real.mean(("trial", "channel", "frame")), ours.mean(("trial", "channel", "frame"))]
    others = [0, 1, 3, 4]  # the alpha peak stands out of a spectrum that falls, and so of the noise
    np.testing.assert_allclose(bands[0][others], bands[1][others], atol=1.0)
    assert bands[0][-1] > bands[0][0] + 2 and bands[1][-1] > bands[1][0] + 2


def test_a_flat_stretch_of_eeg_is_bridged_then_strange_then_refused(study, raw, clean):
    for share in (0.4, 0.6, 0.9):
        real = scaled(extracted(study, lambda r, share=share: stopped(r, share), ("eeg",)), raw)
        ours = corrupt(clean, "eeg", "flat", share, seed=0)
        assert real.present.sel(modality="eeg").values.any() == ours.present.sel(modality="eeg").values.any()
        if share < 0.75:
            last = [t.inputs["eeg"]["maps"].isel(frame=-1).mean() for t in (real, ours)]
            assert abs(float(last[0]) - float(last[1])) < 0.5


def test_noise_and_stops_change_physiology_about_as_much(study, raw, clean):
    real = scaled(extracted(study, lambda r: noisy(r, 3.0), ("physio",)), raw).inputs["physio"]["features"]
    ours = corrupt(clean, "physio", "noise", 1.0, seed=0).inputs["physio"]["features"]
    sizes = [float((f**2).mean() ** 0.5) for f in (real, ours)]
    assert 0.6 < sizes[0] / sizes[1] < 1.6
    real = scaled(extracted(study, lambda r: stopped(r, 0.9), ("physio",)), raw).inputs["physio"]
    ours = corrupt(clean, "physio", "flat", 0.9, seed=0).inputs["physio"]
    for block in (real, ours):
        assert (block["features"].sel(feature=["ecg_valid", "respiration_valid"]) == 0).all()
        assert (block["features"].sel(feature="temperature_valid") == 1).all()
        assert float(np.abs(block["series"].diff("time")).mean()) < 0.1


def test_faces_are_measured_again_as_they_were(clean):
    """With pictures that do not change, features and units come out as extraction and standardising left them."""
    block = clean.inputs["face"]
    again = module._again(block, lambda crops: crops, clean.subject.values)
    np.testing.assert_allclose(again["features"], np.clip(block["features"], -5, 5), atol=2e-3)
    if "units" in block:
        np.testing.assert_allclose(again["units"], block["units"], atol=2e-3)


def lagging(recording: Recording, seconds: float) -> Recording:
    """Every signal comes later; what was before the recording is its first sample."""

    def change(signal):
        at = signal["time"].values
        step = round(seconds * (at.size - 1) / (at[-1] - at[0]))
        values = signal.values[:, np.maximum(np.arange(at.size) - step, 0)]
        return signal.copy(data=values)

    return replace(recording, signals={name: change(signal) for name, signal in recording.signals.items()})


def test_a_lag_moves_maps_and_series_as_it_does_in_recordings(study, raw, clean):
    real = scaled(extracted(study, lambda r: lagging(r, 1.0)), raw)
    ours = corrupt(corrupt(clean, "eeg", "shift", 0.5, seed=0), "physio", "shift", 0.5, seed=0)
    for modality, name, dim, first in (("eeg", "maps", "frame", 2), ("physio", "series", "time", 8)):
        found, expected, before = (
            t.inputs[modality][name].isel({dim: slice(first, -2)}).values.ravel() for t in (ours, real, clean)
        )
        assert np.corrcoef(found, expected)[0, 1] > 0.9 > np.corrcoef(before, expected)[0, 1]
    assert ours.inputs["physio"]["features"].equals(clean.inputs["physio"]["features"])


def test_a_lag_is_of_whole_frames_and_the_first_value_is_held(clean):
    maps = clean.inputs["eeg"]["maps"].values
    before = np.zeros(len(maps), dtype=int)
    for strength in STRENGTHS:  # up to 2 s of frames of 1 s
        ours = corrupt(clean, "eeg", "shift", strength, seed=0).inputs["eeg"]["maps"].values
        lags = np.array([_lag(now, then) for now, then in zip(ours, maps, strict=True)])
        assert set(lags) <= {np.floor(2 * strength), np.ceil(2 * strength)}
        assert lags.mean() == pytest.approx(2 * strength, abs=0.5 / len(maps))
        assert (lags >= before).all() and lags.sum() > before.sum()  # every strength lags more than the one before
        before = lags


def _lag(now: np.ndarray, then: np.ndarray) -> int:
    """By how many frames one trial's maps come later, the first held."""
    source = [np.maximum(np.arange(then.shape[-1]) - k, 0) for k in range(4)]
    return next(k for k in range(4) if np.array_equal(now, then[..., source[k]]))


def test_every_stream_of_a_modality_lags_by_the_seconds_asked(clean):
    block = corrupt(clean, "face", "shift", 0.5, seed=0).inputs["face"]
    crops, rate = clean.inputs["face"]["crops"].values, 4
    np.testing.assert_array_equal(block["crops"].values[:, rate:], crops[:, :-rate])
    assert (block["crops"].values[:, :rate] == crops[:, :1]).all()
    assert (block["units"].values[:, -1] != clean.inputs["face"]["units"].values[:, -1]).any()


def dead(recording: Recording, count: int) -> Recording:
    """The first channels of every signal hold one value all the time."""

    def change(signal):
        values = signal.values.copy()
        values[:count] = values[:count, :1]
        return signal.copy(data=values)

    return replace(
        recording, signals={name: change(s) if name == "eeg" else s for name, s in recording.signals.items()}
    )


def test_the_quality_falls_as_extraction_would_say(study, raw, clean):
    def told(trials):
        return trials.quality.sel(modality="eeg").values

    channels = clean.inputs["eeg"].sizes["channel"]
    real = told(extracted(study, lambda r: dead(r, round(0.4 * channels)), ("eeg",))) / told(raw)
    ours = told(corrupt(clean, "eeg", "channels", 0.4, seed=0)) / told(clean)
    np.testing.assert_allclose(ours, real, atol=0.05)
    real = told(extracted(study, lambda r: stopped(r, 0.4), ("eeg",))) / told(raw)
    ours = told(corrupt(clean, "eeg", "flat", 0.4, seed=0)) / told(clean)
    np.testing.assert_allclose(ours, real, atol=0.15)
    for other in ("face", "physio"):
        same = corrupt(clean, "eeg", "channels", 0.4, seed=0).quality.sel(modality=other)
        assert same.equals(clean.quality.sel(modality=other))
    less = corrupt(clean, "physio", "channels", 0.5, seed=0)
    left = less.quality.sel(modality="physio").values / clean.quality.sel(modality="physio").values
    flags = [n for n in clean.inputs["physio"]["feature"].values if str(n).endswith("_valid")]
    each = clean.measures["physio"]["features"].sel(feature=[str(n).replace("_valid", "_quality") for n in flags])
    valid = less.inputs["physio"]["features"].sel(feature=flags).values > 0
    np.testing.assert_allclose(left, (each.values * valid).sum(1) / each.values.sum(1), rtol=1e-5)
    assert (0 < left).all() and (left < 1).all()
    assert corrupt(clean, "face", "noise", 0.4, seed=0).quality.equals(clean.quality)


def test_pictures_are_covered_frozen_and_noisy(clean):
    crops = clean.inputs["face"]["crops"].values
    covered = corrupt(clean, "face", "occlusion", 0.5, seed=0).inputs["face"]
    assert (covered["crops"].values[:, :, 24:] == 128).all() and (
        covered["crops"].values[:, :, :24] == crops[:, :, :24]
    ).all()
    frozen = corrupt(clean, "face", "flat", 0.5, seed=0).inputs["face"]["crops"].values
    half = crops.shape[1] // 2
    assert (frozen[:, half:] == frozen[:, [half - 1]]).all() and (frozen[:, :half] == crops[:, :half]).all()
    change = corrupt(clean, "face", "noise", 0.2, seed=0).inputs["face"]["crops"].values.astype(float) - crops
    assert change.std() == pytest.approx(16, rel=0.2)


def test_every_kind_and_strength_changes_its_modality_alone(clean):
    for family, kinds in KINDS.items():
        for kind in kinds:
            sizes = []
            for strength in STRENGTHS[::4] if family == "face" else STRENGTHS:
                changed = corrupt(clean, family, kind, strength, seed=1)
                assert changed.truth.equals(clean.truth)
                for other in set(KINDS) - {family}:
                    assert changed.inputs[other].equals(clean.inputs[other])
                name = {"eeg": "maps", "face": "features", "physio": "series" if kind == "shift" else "features"}[
                    family
                ]
                difference = changed.inputs[family][name] - clean.inputs[family][name]
                sizes.append(float(np.sqrt((difference.fillna(10) ** 2).mean())))
            assert sizes[-1] > 0.1 and sizes[-1] >= sizes[0]


def test_a_seed_repeats_and_wrong_requests_are_refused(clean):
    one, two, other = (corrupt(clean, "physio", "noise", 0.4, seed=s).inputs["physio"] for s in (1, 1, 2))
    assert one.equals(two) and not one.equals(other)
    with pytest.raises(InputError, match="no modality"):
        corrupt(clean, "voice", "noise", 0.4, seed=0)
    with pytest.raises(InputError, match="cannot have the corruption 'occlusion'"):
        corrupt(clean, "eeg", "occlusion", 0.4, seed=0)
    with pytest.raises(InputError, match="strength is 0"):
        corrupt(clean, "eeg", "noise", 0, seed=0)
