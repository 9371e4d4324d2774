import neurokit2 as nk
import numpy as np
import pytest
import xarray as xr

from bayesaffect.errors import InputError
from bayesaffect.signals.physio.cardiac import compute_hrv, compute_prv, measure_intervals, measure_pulse
from bayesaffect.signals.physio.clock import as_regular
from bayesaffect.signals.physio.heartbeats import corrected, ecg_beats, vote


@pytest.fixture(scope="module")
def ecg():
    return nk.ecg_simulate(duration=40, sampling_rate=250, heart_rate=70, random_state=1)


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


def test_the_mapping_says_what_a_short_window_cannot_tell(ecg):
    hrv = compute_hrv(ecg, sampling_rate=250)
    assert np.isnan(hrv["hf_power_ms2"]) and hrv.reasons["hf_power_ms2"] == "the window lasts 40 s, it takes 60 s"
    assert np.isfinite(hrv["sd1_ms"]) and "sd1_ms" not in hrv.reasons


@pytest.mark.parametrize("rate", [256, 1000])
def test_peaks_are_those_of_ecg_process(rate):
    ecg = nk.ecg_simulate(duration=20, sampling_rate=rate, heart_rate=80, random_state=4)
    signal = as_regular(ecg, rate)
    theirs = nk.ecg_process(ecg, sampling_rate=rate)[1]["ECG_R_Peaks"]
    assert np.array_equal(corrected(vote(signal).peaks, rate), theirs)


def test_a_slow_signal_is_no_ecg():
    with pytest.raises(InputError, match="10 Hz"):
        compute_hrv(np.sin(np.arange(1000)), sampling_rate=10)


def test_pulse_rate_and_height():
    wave = nk.ppg_simulate(70, 64, heart_rate=80, random_state=0)
    prv = compute_prv(3 * wave, sampling_rate=64)
    assert prv["heart_rate"] == pytest.approx(80, abs=1) and prv["quality"] == pytest.approx(1)
    assert prv["amplitude_mean"] == pytest.approx(3 * compute_prv(wave, sampling_rate=64)["amplitude_mean"])
    assert np.isfinite(prv["hf_power_ms2"]) and np.isnan(prv["lf_power_ms2"])


@pytest.mark.parametrize(("function", "wave"), [(compute_hrv, "ecg"), (compute_prv, "ppg")])
def test_a_clipped_window_is_worth_less(function, wave):
    simulate = {"ecg": nk.ecg_simulate, "ppg": nk.ppg_simulate}[wave]
    values = simulate(duration=30, sampling_rate=128, heart_rate=70, random_state=1)
    low, high = np.quantile(values, (0.15, 0.85))
    whole, cut = (function(v, sampling_rate=128)["quality"] for v in (values, np.clip(values, low, high)))
    assert whole > 0.8 and cut < 0.1


def test_noise_is_no_pulse():
    noise = np.random.default_rng(3).normal(size=64 * 60)
    assert compute_prv(noise, sampling_rate=64)["quality"] < 0.1


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
