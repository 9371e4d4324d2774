import neurokit2 as nk
import numpy as np
import pytest
import xarray as xr

from bayesaffect.errors import InputError
from bayesaffect.signals.physio.clock import as_regular
from bayesaffect.signals.physio.electrodermal import decompose, extract_scr_features, measure_eda

ONSETS = (12.0, 30.0, 47.0)


def conductance(rate, *, seconds=60, level=4.0, slope=0.0, height=0.5):
    """A line with responses: rise over 2 s, decay with 6 s."""
    time = np.arange(seconds * rate) / rate
    out = level + slope * time / 60
    for onset in ONSETS:
        after = time - onset
        rise = np.clip(after / 2, 0, 1) * height
        out += np.where(after > 2, height * np.exp(-(after - 2) / 6), rise)
    return time, out


def as_signal(time, values, units="uS"):
    coords = {"time": time}
    return xr.DataArray(values[None], dims=("channel", "time"), coords=coords, attrs={"units": units})


@pytest.mark.parametrize("rate", [4, 100])
def test_planted_responses_are_counted_and_sized(rate):
    _, eda = conductance(rate)
    found = extract_scr_features(eda, sampling_rate=rate)
    assert found["scr_count"] == 3
    assert found["scr_amplitude_mean_us"] == pytest.approx(0.5, rel=0.25)
    assert found["scr_rise_time_mean_s"] == pytest.approx(2, abs=0.8)
    assert found["scr_half_recovery_mean_s"] == pytest.approx(6 * np.log(2), abs=1.5)
    assert found["scr_amplitude_max_us"] >= found["scr_amplitude_mean_us"] and found["scr_per_min"] == 3
    assert found["phasic_area_us_s"] > 1 and not found.reasons


@pytest.mark.parametrize(("rate", "noise"), [(4, 0.0), (16, 0.0), (16, 0.02)])
def test_responses_are_those_of_neurokit(rate, noise):
    _, eda = conductance(rate, seconds=60)
    eda += 0.05 * np.sin(np.arange(eda.size) / rate) + noise * np.random.default_rng(0).normal(size=eda.size)
    parts = decompose(as_regular(eda, rate))
    least = 0.01 / np.ptp(parts.phasic)
    theirs = nk.eda_peaks(parts.phasic, sampling_rate=rate, method="neurokit", amplitude_min=least)[1]
    keep = np.nan_to_num(theirs["SCR_Amplitude"]) >= 0.01
    ours = parts.responses
    assert ours.time.size >= 5
    assert ours.time == pytest.approx(theirs["SCR_Peaks"][keep] / rate)
    assert ours.amplitude == pytest.approx(theirs["SCR_Amplitude"][keep])
    assert ours.rise_time == pytest.approx(theirs["SCR_RiseTime"][keep])
    assert ours.half_recovery == pytest.approx(theirs["SCR_RecoveryTime"][keep], nan_ok=True)


def test_level_and_slope_of_a_line():
    eda = 3 + 0.6 * np.arange(240) / 240
    found = extract_scr_features(eda, sampling_rate=4)
    assert found["scl_mean_us"] == pytest.approx(3.3, abs=0.01)
    assert found["scl_slope_us_per_min"] == pytest.approx(0.6, rel=0.02)
    assert found["scr_amplitude_mean_us"] < 0.05


@pytest.mark.parametrize("eda", [np.ones(8), np.r_[np.ones(10), np.full(90, np.nan)]])
def test_short_or_missing_conductance_is_refused(eda):
    with pytest.raises(InputError):
        extract_scr_features(eda, sampling_rate=4)


def test_without_a_response_there_is_no_rise_time_and_a_reason():
    found = extract_scr_features(2 + 0.01 * np.sin(np.arange(240) / 400), sampling_rate=4)
    assert found["scr_count"] == 0 and found["scr_amplitude_mean_us"] == 0
    assert np.isnan(found["scr_rise_time_mean_s"]) and found.reasons["scr_rise_time_mean_s"] == "there is no response"


def test_measures_of_a_window_are_those_of_the_function():
    time, eda = conductance(8, seconds=60)
    signal = as_signal(time, eda)
    told = measure_eda(signal, [(0, 60)], rate=4.0).measures[0]
    assert told == pytest.approx(list(extract_scr_features(eda, sampling_rate=8).values()), nan_ok=True)


def test_windows_carry_level_count_and_change():
    time, eda = conductance(4, seconds=180, level=2.0, slope=-0.05)
    found = measure_eda(as_signal(time, eda), [(0, 60), (120, 180)], rate=4.0)
    assert found.features[:, 3].tolist() == [3.0, 0.0]
    assert found.features[1, 0] == pytest.approx(np.log10(1.885), abs=0.01)
    assert found.features[0, -1] == 0 and found.features[1, -1] < 0


def test_units_decide_the_scale():
    time, eda = conductance(8)
    micro, nano = (
        measure_eda(as_signal(time, v, u), [(0, 60)], rate=4.0) for v, u in ((eda, "uS"), (1000 * eda, "nS"))
    )
    assert nano.features == pytest.approx(micro.features)
    with pytest.raises(InputError, match="units"):
        measure_eda(as_signal(time, eda, "Ohm"), [(0, 60)], rate=4.0)


def test_a_dead_electrode_has_quality_zero():
    time, eda = conductance(4, seconds=120)
    eda[time >= 60] = 0.0
    found = measure_eda(as_signal(time, eda), [(0, 60), (60, 120)], rate=4.0)
    assert found.quality[0] > 0.9 and found.quality[1] == 0


def test_a_rise_without_any_peak_has_no_response():
    ramp = 2 + 0.05 * np.arange(20 * 16) / 16  # rising throughout, with one dip before which there is no trough
    ramp[40:44] -= 0.02
    found = extract_scr_features(ramp, sampling_rate=16.0)
    assert found["scr_count"] >= 0 and found["scl_mean_us"] > 2
