import numpy as np
import pytest
import xarray as xr

from bayesaffect.errors import InputError
from bayesaffect.signals.physio import extract_block
from bayesaffect.signals.physio.clock import as_regular, grid, regular, slope_per_minute
from bayesaffect.signals.physio.motion import FEATURES, measure_acceleration
from bayesaffect.signals.physio.respiration import extract_respiration_features
from bayesaffect.signals.physio.skin import extract_temperature_features, measure_level

WINDOWS = [(0.0, 60.0), (60.0, 120.0), (120.0, 180.0)]


def signal(values, rate=4.0, units="degC", start=0.0):
    values = np.atleast_2d(np.asarray(values, dtype=float))
    time = start + np.arange(values.shape[1]) / rate
    return xr.DataArray(
        values, dims=("channel", "time"), coords={"time": time}, attrs={"units": units, "sampling_rate": rate}
    )


@pytest.fixture
def signals():
    rng = np.random.default_rng(0)
    time = np.arange(720) / 4
    return {
        "temperature": signal(33 + 0.3 * time / 60 + 0.01 * rng.normal(size=720)),
        "eda": signal(3 + 0.2 * np.sin(time / 5), units="uS"),
    }


def value(block, feature):
    return block.data["features"].sel(feature=feature).values


def test_block_has_the_shapes_of_the_contract(signals):
    block = extract_block(signals, WINDOWS, names=("eda", "temperature"), rate=4.0)
    assert block.data["series"].dims == ("trial", "signal", "time") and block.data["series"].shape == (3, 3, 240)
    assert block.data["features"].dtype == np.float32 and np.isfinite(block.data["features"]).all()
    assert block.present.all() and block.reasons == ("", "", "") and block.data["time"].values[4] == 1.0
    assert value(block, "temperature_slope") == pytest.approx(0.3, abs=0.02)


def test_names_do_not_depend_on_what_the_recording_holds(signals):
    names = ("eda", "temperature")
    whole = extract_block(signals, WINDOWS, names=names, rate=4.0)
    half = extract_block({"eda": signals["eda"]}, WINDOWS, names=names, rate=4.0)
    assert whole.data["feature"].equals(half.data["feature"]) and whole.data["signal"].equals(half.data["signal"])
    assert (value(half, "temperature_valid") == 0).all() and (value(half, "temperature_mean") == 0).all()
    assert half.present.all() and half.quality == pytest.approx(whole.quality / 2)


def test_one_useless_window_takes_the_median_of_the_others(signals):
    eda = signals["eda"].copy(deep=True)
    eda[:, 240:480] = np.nan
    block = extract_block(signals | {"eda": eda}, WINDOWS, names=("eda", "temperature"), rate=4.0)
    assert value(block, "eda_valid").tolist() == [1, 0, 1]
    level = value(block, "eda_log_level")
    assert level[1] == pytest.approx((level[0] + level[2]) / 2)


def test_a_trial_with_nothing_usable_is_not_present_and_says_why(signals):
    eda = signals["eda"].copy(deep=True)
    eda[:, 480:] = 0.0
    block = extract_block({"eda": eda}, WINDOWS, names=("eda",), rate=4.0)
    assert block.present.tolist() == [True, True, False] and "eda is dead" in block.reasons[2]
    assert np.isnan(block.data["series"].values[2]).all() and block.quality[2] == 0


def measure(block, feature):
    return block.measures["features"].sel(feature=feature).values


def test_measures_are_raw_and_named_with_units(signals):
    names = ("eda", "temperature")
    told = extract_block(signals, WINDOWS, names=names, rate=4.0)
    assert measure(told, "temperature_mean_c") == pytest.approx([33.15, 33.45, 33.75], abs=0.01)
    assert measure(told, "temperature_slope_c_per_min") == pytest.approx(0.3, abs=0.02)
    assert measure(told, "eda_scl_mean_us") == pytest.approx(3, abs=0.05)
    assert measure(told, "eda_quality") == pytest.approx(1)
    assert told.measures["features"].dtype == np.float32
    half = extract_block({"eda": signals["eda"]}, WINDOWS, names=names, rate=4.0)
    assert half.measures["feature"].equals(told.measures["feature"])
    assert np.isnan(measure(half, "temperature_mean_c")).all() and (measure(half, "temperature_quality") == 0).all()


def test_measures_are_nan_and_not_filled_in_a_useless_window(signals):
    eda = signals["eda"].copy(deep=True)
    eda[:, 240:480] = np.nan
    block = extract_block(signals | {"eda": eda}, WINDOWS, names=("eda", "temperature"), rate=4.0)
    assert np.isnan(measure(block, "eda_scl_mean_us")).tolist() == [False, True, False]
    assert np.isfinite(measure(block, "temperature_mean_c")).all()


def test_sinus_arrhythmia_needs_a_heart_and_a_breath():
    rate, time = 256.0, np.arange(0, 120, 1 / 256)
    phase = 2 * np.pi * 0.25 * time
    turns = np.cumsum(1.2 + 0.1 * np.sin(phase)) / rate  # faster while the belt rises
    ecg = sum(np.exp(-(((turns % 1) - 0.5) ** 2) / (2 * w**2)) * h for w, h in ((0.01, 1.0), (0.06, 0.1)))
    body = {"ecg": signal(ecg, rate, "uV"), "respiration": signal(-np.cos(phase), rate, "uV")}
    windows = [(20.0, 60.0), (60.0, 100.0)]
    both = extract_block(body, windows, names=("ecg", "respiration"), rate=4.0)
    # the interval swings between 1 / 1.1 and 1 / 1.3 s, seen through intervals of about a fifth of the breath
    assert measure(both, "ecg_rsa_ms") == pytest.approx(1000 * (1 / 1.1 - 1 / 1.3), rel=0.2)
    assert measure(both, "respiration_rate_per_min") == pytest.approx(15, abs=0.1)
    alone = extract_block({"ecg": body["ecg"]}, windows, names=("ecg", "respiration"), rate=4.0)
    assert np.isnan(measure(alone, "ecg_rsa_ms")).all()
    assert "ecg_rsa_ms" not in extract_block(body, windows, names=("ecg",), rate=4.0).measures["feature"]


def test_windows_beyond_the_recording_are_not_present(signals):
    block = extract_block(signals, [(0, 60), (300, 360)], names=("temperature",), rate=1.0)
    assert block.present.tolist() == [True, False]


def test_unknown_signals_are_read_as_slow_levels(signals):
    block = extract_block({"glucose": signals["temperature"]}, WINDOWS, names=("glucose",), rate=1.0)
    assert value(block, "glucose_mean")[0] == pytest.approx(33.15, abs=0.01)


def test_wrong_units_become_a_reason_not_an_error(signals):
    ohm = signals["eda"].assign_attrs(units="Ohm")
    block = extract_block({"eda": ohm}, WINDOWS, names=("eda",), rate=1.0)
    assert not block.present.any() and "units" in block.reasons[0]


def test_windows_of_several_lengths_are_refused(signals):
    with pytest.raises(InputError, match="length"):
        extract_block(signals, [(0, 60), (60, 90)], names=("eda",), rate=4.0)
    assert grid([(2.0, 3.0)], 4.0).tolist() == [[2.0, 2.25, 2.5, 2.75]]


def test_level_change_compares_with_the_minutes_before():
    found = measure_level(signal(np.repeat([30.0, 31.0], 480)), [(60, 120), (120, 180)], rate=1.0)
    assert found.features[:, -1] == pytest.approx([0, 1])


def test_gaps_are_bridged_and_remembered():
    out = as_regular([1.0, np.nan, np.nan, 4.0], 2.0)
    assert out.values[0] == pytest.approx([1, 2, 3, 4]) and out.good[0].tolist() == [True, False, False, True]
    time = np.r_[0:10, 20:30].astype(float)
    irregular = xr.DataArray(time[None], dims=("channel", "time"), coords={"time": time})
    clock = regular(irregular)
    assert clock.values[0] == pytest.approx(np.arange(30)) and clock.good[0].sum() in (20, 21, 22)


def test_slope_is_per_minute():
    assert slope_per_minute(np.array([0.0, 1.0, 4.0]), np.array([1.0, 1.5, 3.0])) == pytest.approx(30)


def test_temperature_features():
    found = extract_temperature_features(32 + np.arange(120) / 120, sampling_rate=2.0)
    assert found["temperature_slope_c_per_min"] == pytest.approx(1)
    assert found["temperature_mean_c"] == pytest.approx(32.4958, abs=1e-4)


def test_respiration_finds_rate_and_depth():
    time = np.arange(0, 60, 1 / 50)
    found = extract_respiration_features(7 + 1.5 * np.sin(2 * np.pi * 0.25 * time), sampling_rate=50)
    assert found["respiratory_rate"] == pytest.approx(15, abs=0.2)
    assert found["depth_mean"] == pytest.approx(3, rel=0.05) and found["depth_variation"] < 0.05
    assert found["inhale_share"] == pytest.approx(0.5, abs=0.03)
    assert found["inspiration_mean_s"] == pytest.approx(2, abs=0.1)
    with pytest.raises(InputError, match="lasts"):
        extract_respiration_features(np.ones(100), sampling_rate=50)
    with pytest.raises(InputError, match="two breaths"):
        extract_respiration_features(np.ones(1000), sampling_rate=50)


def test_motion_tells_rest_from_shaking_and_knows_the_posture():
    rng = np.random.default_rng(0)
    axes = np.tile([[0.0], [0.6], [0.8]], (1, 32 * 120))
    axes[:, 32 * 60 :] += 0.2 * rng.normal(size=(3, 32 * 60))
    found = measure_acceleration(signal(axes, 32.0, "g"), WINDOWS[:2], rate=4.0)
    table = dict(zip(FEATURES, found.features.T, strict=True))
    assert table["still"].tolist() == pytest.approx([1, 0], abs=0.05)
    assert table["log_magnitude_sd"][1] == pytest.approx(np.log10(0.2), abs=0.1)
    assert table["z"] == pytest.approx([0.8, 0.8], abs=0.02) and table["change"][1] > 1
