from dataclasses import replace

import numpy as np
import pytest
import xarray as xr

from bayesaffect.errors import InputError
from bayesaffect.io.store import load_trials, save_trials
from bayesaffect.signals import physio
from bayesaffect.signals.extract import Extraction, extract
from bayesaffect.types import Recording, Segment, Target, Trials, Video

RATE = 128
TARGETS = (Target("valence", bounds=(1, 9)), Target("emotion", levels=("joy", "fear", "calm")))
MODALITIES = {"eeg": ("eeg",), "face": ("face",), "heat": ("temperature",)}
SETTINGS = Extraction(window_s=10.0)


def signal(data, rate, units):
    names = [f"C{k}" for k in range(len(data))]
    coords = {"channel": names, "time": np.arange(data.shape[1]) / rate}
    return xr.DataArray(data, dims=("channel", "time"), coords=coords, attrs={"units": units, "sampling_rate": rate})


def recording(*, truths=({"valence": 9, "emotion": "fear"}, {"valence": 3}), seconds=60, dead=(), videos=None):
    rng = np.random.default_rng(0)
    data = rng.normal(0, 10, (4, seconds * RATE))
    for start, stop in dead:
        data[:, start * RATE : stop * RATE] = 0
    warm = 33 + 0.1 * rng.normal(size=(1, seconds * 8)).cumsum(axis=1) / 10
    signals = {"eeg": signal(data, RATE, "uV"), "temperature": signal(warm, 8, "degC")}
    segments = [Segment(f"S1/T{k}", 10.0 + 20 * k, 25.0 + 20 * k, f"clip{k}", t) for k, t in enumerate(truths)]
    return Recording("S1", "folder/S1", TARGETS, signals, tuple(segments), videos or {})


def test_trials_carry_inputs_truth_and_names():
    trials = extract(recording(), MODALITIES, SETTINGS)
    assert trials.modalities == ("eeg", "heat") and trials.present.values.all()
    assert trials.inputs["eeg"]["maps"].dims == ("trial", "band", "channel", "frame")
    assert trials.inputs["eeg"]["maps"].shape == (2, 5, 4, 10)
    assert {m: b.attrs["encoder"] for m, b in trials.inputs.items()} == {"eeg": "eeg", "heat": "physio"}
    assert trials.truth["valence"].values.tolist() == [1.0, -0.5]
    assert trials.truth["emotion"].values.tolist() == [1, -1]
    assert trials.subject.values.tolist() == ["S1", "S1"]
    assert [str(s) for s in trials.present["stimulus"].values] == ["clip0", "clip1"]


def test_window_comes_from_the_end_of_the_segment():
    quiet = extract(recording(dead=[(9, 14)]), {"eeg": ("eeg",)}, SETTINGS)
    assert quiet.quality.values[0, 0] == 1  # 15..25 s is taken
    early = extract(recording(dead=[(9, 21)]), {"eeg": ("eeg",)}, Extraction(window_s=10.0, anchor="start"))
    assert early.present.values[:, 0].tolist() == [False, True]


def test_absent_modality_is_left_out_and_listed():
    trials = extract(recording(), MODALITIES, SETTINGS)
    (omission,) = trials.omissions
    assert omission.scope == "modality" and "face" in omission.what and omission.where == "folder/S1"


def test_one_modality_that_fails_in_one_trial_leaves_the_rest():
    trials = extract(recording(dead=[(14, 26)]), MODALITIES, SETTINGS)
    assert trials.present.sel(modality="eeg").values.tolist() == [False, True]
    assert trials.present.sel(modality="heat").values.all()
    assert np.isnan(trials.inputs["eeg"]["maps"][0]).all() and trials.quality.values[0, 0] == 0
    assert any(o.where == "S1/T0" and o.what.startswith("eeg") and o.remedy for o in trials.omissions)


def test_poor_quality_is_masked_listed_and_remembered(monkeypatch):
    def poor(signals, windows, *, names, rate):
        block = original(signals, windows, names=names, rate=rate)
        return block._replace(quality=np.array([0.05, 1.0]))

    original = physio.extract_block
    monkeypatch.setattr(physio, "extract_block", poor)
    trials = extract(recording(), {"heat": ("temperature",)}, SETTINGS)
    assert trials.present.values[:, 0].tolist() == [False, True]
    assert trials.quality.values[:, 0].tolist() == [0.05, 1.0]
    assert np.isnan(trials.inputs["heat"]["series"][0]).all() and "0.05 is below 0.1" in trials.omissions[0].what


@pytest.mark.parametrize(
    ("truth", "says"),
    [({"valence": 12}, "outside 1..9"), ({"valence": "high"}, "outside 1..9"), ({"emotion": "envy"}, "envy")],
)
def test_truth_off_its_scale_is_missing_and_listed(truth, says):
    trials = extract(recording(truths=(truth,)), {"eeg": ("eeg",)}, SETTINGS)
    assert np.isnan(trials.truth["valence"].values).all() and trials.truth["emotion"].values.tolist() == [-1]
    assert [o.where for o in trials.omissions] == ["S1/T0"] and says in trials.omissions[0].what


def test_segment_beyond_the_recording_is_left_out():
    trials = extract(recording(seconds=40), {"eeg": ("eeg",)}, SETTINGS)
    assert trials.present["trial"].values.tolist() == ["S1/T0"] and trials.omissions[0].where == "S1/T1"


def test_nothing_left_is_an_error():
    with pytest.raises(InputError, match=r"folder/S1: no trial is left.*shorter"):
        extract(recording(), MODALITIES, Extraction(window_s=30.0))
    with pytest.raises(InputError, match="none of the modalities"):
        extract(recording(), {"face": ("face",)}, SETTINGS)


def test_missing_video_costs_the_face_only():
    gone = recording(videos={"face": Video("gone.avi", 0.0, 25.0)})
    trials = extract(gone, MODALITIES, SETTINGS)
    assert trials.modalities == ("eeg", "heat")
    assert [o.where for o in trials.omissions] == ["gone.avi"]


def test_versions_become_a_coordinate_of_the_trials(tmp_path):
    plain = recording()
    assert "version" not in extract(plain, MODALITIES, SETTINGS).present.coords
    told = replace(
        plain, segments=tuple(replace(s, version=v) for s, v in zip(plain.segments, ("old", ""), strict=True))
    )
    save_trials(extract(told, MODALITIES, SETTINGS), tmp_path / "trials.nc")
    assert load_trials(tmp_path / "trials.nc").present["version"].values.tolist() == ["old", ""]


def test_recordings_with_different_modalities_join():
    one = extract(recording(), {"eeg": ("eeg",)}, SETTINGS)
    other = extract(recording(), {"heat": ("temperature",)}, SETTINGS)
    other = Trials(
        other.targets,
        {m: b.assign_coords(trial=["a", "b"]) for m, b in other.inputs.items()},
        other.present.assign_coords(trial=["a", "b"]),
        other.truth.assign_coords(trial=["a", "b"]),
        other.quality.assign_coords(trial=["a", "b"]),
    )
    joined = Trials.concat([one, other])
    assert joined.present.values.tolist() == [[True, False]] * 2 + [[False, True]] * 2


def test_missing_signal_of_a_modality_is_listed():
    trials = extract(recording(), {"body": ("temperature", "eda")}, SETTINGS)
    assert trials.present.values.all() and "no eda" in trials.omissions[0].what
