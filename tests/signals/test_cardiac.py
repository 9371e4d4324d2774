import neurokit2 as nk
import numpy as np
import pytest
import xarray as xr

from bayesaffect.errors import InputError
from bayesaffect.signals.cardiac import beats, compute_hrv, ecg_beats, measure_intervals, measure_pulse, variability
from bayesaffect.signals.clock import as_regular


@pytest.fixture(scope="module")
def ecg():
    return nk.ecg_simulate(duration=40, sampling_rate=250, heart_rate=70, random_state=1)


def test_variability_follows_its_formulas():
    interval = np.array([0.8, 0.9, 0.82, 0.85])
    hrv = variability(beats(np.cumsum(interval), interval))
    assert hrv["heart_rate"] == pytest.approx(60 / 0.8425)
    assert hrv["sdnn_ms"] == pytest.approx(1000 * interval.std(ddof=1))
    assert hrv["rmssd_ms"] == pytest.approx(np.sqrt((100**2 + 80**2 + 30**2) / 3))
    assert hrv["pnn50"] == pytest.approx(200 / 3)


def test_a_missed_beat_enters_neither_rate_nor_differences():
    interval = np.array([0.8, 0.82, 0.8, 1.62, 0.8, 0.82, 0.8, 0.82])
    found = beats(np.cumsum(interval), interval)
    assert not found.fine[3] and found.fine.sum() == 7
    assert variability(found)["rmssd_ms"] == pytest.approx(20)


def test_differences_do_not_bridge_a_gap_in_time():
    interval = np.array([0.8, 0.8, 0.8, 0.8, 0.9, 0.9, 0.9])
    time = np.cumsum(interval) + np.array([0, 0, 0, 0, 30, 30, 30])
    assert variability(beats(time, interval))["rmssd_ms"] == pytest.approx(0)


def test_compute_hrv_finds_the_simulated_rate(ecg):
    hrv = compute_hrv(ecg, sampling_rate=250)
    assert hrv["heart_rate"] == pytest.approx(70, abs=1)
    assert 0.8 < hrv["quality"] <= 1


def test_lead_vote_prefers_the_lead_or_difference_that_beats(ecg):
    rng = np.random.default_rng(0)
    noise = 3 * rng.normal(size=ecg.size)
    leads = np.stack([noise, noise + ecg, rng.normal(size=ecg.size)])
    assert compute_hrv(leads, sampling_rate=250)["heart_rate"] == pytest.approx(70, abs=1)


def test_noise_has_no_beats_worth_the_name():
    _, quality = ecg_beats(as_regular(np.random.default_rng(2).normal(size=7500), 250))
    assert quality < 0.3


@pytest.mark.parametrize(("seconds", "rate"), [(5, 250), (20, 0), (20, float("nan"))])
def test_compute_hrv_refuses_short_windows_and_impossible_rates(seconds, rate):
    with pytest.raises(InputError, match=r"lasts|sampling rate"):
        compute_hrv(np.sin(np.arange(seconds * 250)), sampling_rate=rate)


def test_compute_hrv_refuses_a_flat_line():
    with pytest.raises(InputError, match="fewer than five"):
        compute_hrv(np.zeros(5000), sampling_rate=250)


def test_pulse_wave_gives_rate_and_relative_height():
    rate, time = 64.0, np.arange(0, 240, 1 / 64)
    wave = np.where(time < 120, 1.0, 10.0) * nk.ppg_simulate(240, 64, heart_rate=80, random_state=0)[: time.size]
    signal = xr.DataArray(wave[None], dims=("channel", "time"), coords={"time": time}, attrs={"sampling_rate": rate})
    found = measure_pulse(signal, [(30, 90), (150, 210)], rate=2.0)
    assert found.features[:, 0] == pytest.approx(80, abs=2)
    assert np.diff(found.features[:, -3])[0] == pytest.approx(1, abs=0.1)  # log10 of ten times the height
    assert found.series.shape == (2, 2, 120)


def test_intervals_with_a_hole_lose_the_window_in_it():
    time = np.r_[np.arange(0, 60, 0.8), np.arange(180, 240, 0.75)]
    interval = np.where(time < 60, 0.8, 0.75)
    signal = xr.DataArray(interval[None], dims=("channel", "time"), coords={"time": time})
    found = measure_intervals(signal, [(0, 60), (90, 150), (180, 240)], rate=1.0)
    assert (found.quality > 0.9).tolist() == [True, False, True] and np.isnan(found.features[1]).all()
    assert found.features[[0, 2], 0] == pytest.approx([75, 80], abs=0.1)
