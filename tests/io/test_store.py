import numpy as np
import pytest
import xarray as xr

from bayesaffect.errors import InputError
from bayesaffect.io import store
from bayesaffect.types import Omission, Predictive, Target, Trials

VALENCE, MOOD = Target("valence", bounds=(1, 9)), Target("mood", levels=("calm", "tense", "sad"))


def trials():
    names = ["S1/T1", "S1/T2", "S2/T1"]
    coords = {"trial": names, "modality": ["face", "physio"], "subject": ("trial", ["S1", "S1", "S2"])}
    coords["stimulus"] = ("trial", ["a", "b", "a"])
    present = xr.DataArray([[True, True], [False, True], [True, False]], dims=("trial", "modality"), coords=coords)
    crops = np.arange(3 * 2 * 4 * 4, dtype=np.uint8).reshape(3, 2, 4, 4)
    face = xr.Dataset({"crops": (("trial", "frame", "row", "column"), crops)}, {"trial": names}, {"encoder": "face"})
    features = (("trial", "feature"), np.array([[1.5], [2.5], [np.nan]], dtype=np.float32))
    physio = xr.Dataset({"features": features}, {"trial": names, "feature": ["eda_level"]}, {"encoder": "physio"})
    truth = xr.Dataset({"valence": ("trial", [0.5, np.nan, -1.0]), "mood": ("trial", [2, -1, 0])}, {"trial": names})
    raw = (("trial", "feature"), np.array([[61.0, np.nan], [72.0, 31.0], [np.nan, np.nan]], dtype=np.float32))
    measured = xr.Dataset({"features": raw}, {"trial": names, "feature": ["heart_rate", "sdnn_ms"]})
    return Trials(
        (VALENCE, MOOD),
        {"face": face, "physio": physio},
        present,
        truth,
        present.astype(float),
        (Omission("S2.bdf", "has one trigger", "leave it out", "recording"),),
        {"physio": measured},
    )


def predictive():
    index = trials().present
    draws = {"dims": ("draw", "trial"), "coords": {"trial": index["trial"].values}}
    mean = xr.DataArray(np.arange(6.0).reshape(2, 3) / 10, **draws)
    seen = xr.DataArray(
        [[False, True]] * 3, dims=("trial", "trained_subject"), coords={"trained_subject": ["S1", "S3"]}
    )
    logs = xr.DataArray(np.log(np.full((2, 3, 3), 1 / 3)), dims=("draw", "trial", "level"))
    logs = logs.assign_coords(trial=index["trial"].values, level=list(MOOD.levels))
    return Predictive(
        (VALENCE, MOOD),
        index["subject"].drop_vars("stimulus"),
        {"valence": mean},
        {"valence": mean + 1},
        {"mood": logs},
        seen.assign_coords(trial=index["trial"].values),
    )


def test_trials_come_back_as_they_were(tmp_path):
    before = trials()
    store.save_trials(before, tmp_path / "t.nc")
    after = store.load_trials(tmp_path / "t.nc")
    assert after.targets == before.targets and after.omissions == before.omissions
    assert after.present.equals(before.present) and after.quality.equals(before.quality)
    assert after.truth.drop_vars(["subject", "stimulus"]).equals(before.truth)
    for name, block in before.inputs.items():
        assert after.inputs[name].identical(block)
    assert list(after.measures) == ["physio"] and after.measures["physio"].equals(before.measures["physio"])


def test_predictions_come_back_as_they_were(tmp_path):
    before = predictive()
    store.save_predictive(before, tmp_path / "p.nc")
    after = store.load_predictive(tmp_path / "p.nc")
    assert after.targets == before.targets and after.subject.values.tolist() == ["S1", "S1", "S2"]
    np.testing.assert_array_equal(after.mean["valence"], before.mean["valence"])
    np.testing.assert_array_equal(after.log_prob["mood"], before.log_prob["mood"])
    assert after.log_prob["mood"]["level"].values.tolist() == list(MOOD.levels)
    assert after.trained_on.dtype == bool and after.trained_on.values.tolist() == [[False, True]] * 3


def test_half_a_file_is_one_sentence(tmp_path):
    store.save_trials(trials(), tmp_path / "t.nc")
    whole = (tmp_path / "t.nc").read_bytes()
    (tmp_path / "t.nc").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"t\.nc: cannot be read .*delete the file"):
        store.load_trials(tmp_path / "t.nc")


def test_a_hash_is_computed_again_only_when_the_file_changed(tmp_path, monkeypatch):
    (tmp_path / "a").write_text("1")
    first = store.Hashes(tmp_path / "hashes.json")
    before = first(str(tmp_path / "a"))
    first.save()
    monkeypatch.setattr(store, "file_hash", lambda path: "computed again")
    again = store.Hashes(tmp_path / "hashes.json")
    assert again(str(tmp_path / "a")) == before
    (tmp_path / "a").write_text("22")
    assert again(str(tmp_path / "a")) == "computed again"


def test_a_missing_source_file_is_named(tmp_path):
    with pytest.raises(InputError, match="gone: is missing"):
        store.Hashes(tmp_path / "hashes.json")(str(tmp_path / "gone"))


def test_omissions_round_trip(tmp_path):
    listed = (Omission("a, b", 'says "no"', "", "trial"), Omission("c", "d", "e", "modality"))
    store.write_omissions(listed, tmp_path / "o.csv")
    assert store.read_omissions(tmp_path / "o.csv") == listed
