import pytest
import xarray as xr

from bayesaffect.pipeline.weights import long, wide

SHARE = xr.DataArray(
    [[[0.6, 0.1, 0.3]], [[0.5, 0.2, 0.3]]],
    dims=("sample", "subject", "modality"),
    coords={"subject": ["S1"], "modality": ["eeg", "face", "prior"]},
)


def test_the_least_weighty_sensor_of_a_subject_is_named():
    row = long(SHARE).set_index("modality").loc["face"]
    assert row["lowest"] == 1 and row["median"] == pytest.approx(0.15)
    assert wide(long(SHARE)).loc[0, "least"] == "face (100 %)"


def test_the_prior_is_no_sensor():
    share = SHARE.copy(data=[[[0.6, 0.3, 0.1]], [[0.6, 0.3, 0.1]]])
    assert wide(long(share)).loc[0, "least"] == "face (100 %)"
    assert wide(long(share)).loc[0, "prior"] == "0.10 [0.10, 0.10]"
