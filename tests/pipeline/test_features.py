import numpy as np
import pandas as pd
import pytest
import xarray as xr

from bayesaffect.errors import InputError
from bayesaffect.pipeline.features import export, table
from bayesaffect.types import Target, Trials

TRIAL = ["a/1", "a/2", "b/1"]


@pytest.fixture
def trials():
    """Heart rate and connectivity of three trials, the second without physiology."""
    coords = {"trial": TRIAL, "modality": ["physio"], "subject": ("trial", ["a", "a", "b"])}
    here = np.array([[True], [False], [True]])
    present = xr.DataArray(here, dims=("trial", "modality"), coords=coords | {"stimulus": ("trial", ["x", "y", "x"])})
    z = np.where(here, [[-1.0], [0.0], [1.0]], np.nan).astype(np.float32)
    block = xr.Dataset({"features": (("trial", "feature"), z)}, {"trial": TRIAL, "feature": ["ecg_heart_rate"]})
    raw = np.array([[61.0, np.nan], [np.nan, np.nan], [75.0, 30.0]], np.float32)
    wide = np.arange(6.0).reshape(3, 2)
    measures = xr.Dataset(
        {"features": (("trial", "feature"), raw), "coupling": (("trial", "pair"), wide)},
        {"trial": TRIAL, "feature": ["heart_rate", "sdnn_ms"], "channel_a": ("pair", ["Fz", "Cz"])},
    )
    targets = (Target("valence", bounds=(1, 9)), Target("emotion", levels=("joy", "fear")))
    truth = xr.Dataset(
        {"valence": ("trial", [0.5, 0.0, np.nan]), "emotion": ("trial", [1, 0, -1])}, coords={"trial": TRIAL}
    )
    return Trials(targets, {"physio": block}, present, truth, present.astype(float), measures={"physio": measures})


def test_a_row_per_present_trial_in_raw_units_with_truth_as_people_read_it(trials):
    frame = table(trials, "physio")
    assert list(frame["trial"]) == ["a/1", "b/1"] and list(frame["heart_rate"]) == [61.0, 75.0]
    assert frame["valence"][0] == 7.0 and list(frame["emotion"]) == ["fear", ""]
    assert np.isnan(frame["sdnn_ms"][0]) and frame["sdnn_ms"][1] == 30.0


def test_standardised_is_what_networks_read(trials):
    assert list(table(trials, "physio", standardised=True)["ecg_heart_rate"]) == [-1.0, 1.0]


@pytest.mark.parametrize(("suffix", "read"), [("csv", pd.read_csv), ("parquet", pd.read_parquet)])
def test_tables_come_back_as_they_were(trials, tmp_path, suffix, read):
    (path,) = export(trials, tmp_path, suffix=suffix)
    found = read(path)
    np.testing.assert_array_equal(found["heart_rate"], [61.0, 75.0])
    assert list(found.columns) == list(table(trials, "physio").columns)


def test_npz_holds_wide_measures_with_their_coordinates_and_no_pickle(trials, tmp_path):
    (path,) = export(trials, tmp_path, suffix="npz")
    found = np.load(path, allow_pickle=False)
    assert list(found["feature"]) == ["heart_rate", "sdnn_ms"] and found["features"].shape == (2, 2)
    np.testing.assert_array_equal(found["coupling"], [[0, 1], [4, 5]])
    assert list(found["coupling_channel_a"]) == ["Fz", "Cz"] and list(found["subject"]) == ["a", "b"]


def test_an_unknown_format_is_refused(trials, tmp_path):
    with pytest.raises(InputError, match="csv, parquet, npz"):
        export(trials, tmp_path, suffix="xlsx")
