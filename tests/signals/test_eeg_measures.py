import neurokit2 as nk
import numpy as np
import pytest
import xarray as xr

from bayesaffect.signals.eeg.measures import extract_hjorth_features, pair_names

RATE = 256


def array(data):
    coords = {"channel": [f"c{k}" for k in range(len(data))], "time": np.arange(data.shape[1]) / RATE}
    return xr.DataArray(data, dims=("channel", "time"), coords=coords, attrs={"units": "uV", "sampling_rate": RATE})


def test_hjorth_of_a_sine_is_its_power_and_its_frequency():
    t = np.arange(4 * RATE) / RATE
    found = extract_hjorth_features(array(6 * np.sin(2 * np.pi * 5 * t)[None]), frame_s=2.0)
    assert found.dims == ("parameter", "channel", "frame") and found.shape == (3, 1, 2)
    np.testing.assert_allclose(found.sel(parameter="activity"), 18, rtol=1e-9)
    np.testing.assert_allclose(found.sel(parameter="mobility"), 2 * np.pi * 5, rtol=0.01)
    np.testing.assert_allclose(found.sel(parameter="complexity"), 1, rtol=0.02)


def test_hjorth_equals_neurokit():
    data = np.cumsum(np.random.default_rng(0).normal(size=(2, 3 * RATE)), axis=1)
    found = extract_hjorth_features(array(data))
    for c in range(2):
        for k in range(3):
            complexity, info = nk.complexity_hjorth(data[c, k * RATE : (k + 1) * RATE])
            assert float(found[1, c, k]) == pytest.approx(info["Mobility"] * RATE, rel=0.01)
            assert float(found[2, c, k]) == pytest.approx(complexity, rel=0.01)


def test_hjorth_of_a_constant_cannot_be_told():
    found = extract_hjorth_features(array(np.full((1, RATE), 3.0)))
    assert float(found[0, 0, 0]) == 0 and np.isnan(found[1:]).all()


def test_pairs_are_the_lower_triangle_row_by_row():
    assert pair_names(["a", "b", "c"]) == (["b", "c", "c"], ["a", "a", "b"])
