import neurokit2 as nk
import numpy as np
import pandas as pd
import pytest

from bayesaffect.signals.physio.cardiac import compute_hrv, compute_prv
from bayesaffect.signals.physio.clock import as_regular
from bayesaffect.signals.physio.electrodermal import extract_scr_features
from bayesaffect.signals.physio.heartbeats import corrected, ecg_beats, pulse_beats, vote
from bayesaffect.signals.physio.respiration import extract_respiration_features
from bayesaffect.signals.physio.variability import beats, hrv

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def clip(real_data):
    """11.8 s at 30 Hz with a monitor's running heart and respiratory rate."""
    return pd.read_csv(real_data("biosignals") / "vitallens_sample_1.csv")


@pytest.fixture(scope="module")
def bench(real_data):
    """One of the recordings at 1000 Hz by name, as counts of 12 bits."""
    return lambda name: np.loadtxt(real_data("biosignals") / f"{name}.txt")


def test_heart_rate_agrees_with_the_monitor_over_the_same_seconds(clip):
    # The monitor's rate is that of about the last 8 s: it starts at 87, from beats before the clip, and only from 8 s
    # on does it speak of the clip alone. There it is 75.5 on average; its mean over the whole clip, 78.1, also counts
    # the beats before, which the clip does not hold, so that 78.1 cannot be found in it: all its beats make 76.2.
    found, _ = ecg_beats(as_regular(clip["ecg"].to_numpy(), 30))
    peaks = np.r_[found.time[0] - found.interval[0], found.time]
    time, monitor = np.arange(len(clip)) / 30, clip["hr_ecg"].to_numpy()
    inside = time >= 8
    ours = []
    for now in time[inside]:
        last = peaks[(peaks > now - 8) & (peaks <= now)]
        ours.append(60 * (last.size - 1) / (last[-1] - last[0]))
    assert monitor.mean() == pytest.approx(78.1, abs=0.05) and monitor[inside].mean() == pytest.approx(75.5, abs=0.05)
    assert np.mean(ours) == pytest.approx(monitor[inside].mean(), abs=0.3)
    assert np.abs(ours - monitor[inside]).max() < 1


def test_heart_rate_of_the_whole_clip_lies_at_the_monitors_median(clip):
    found = compute_hrv(clip["ecg"].to_numpy(), sampling_rate=30)
    assert found["heart_rate"] == pytest.approx(clip["hr_ecg"].median(), abs=1)
    pulse = compute_prv(clip["ppg"].to_numpy(), sampling_rate=30)
    assert pulse["heart_rate"] == pytest.approx(found["heart_rate"], abs=1)


def test_respiratory_rate_agrees_with_the_monitor(clip):
    found = extract_respiration_features(clip["resp"].to_numpy(), sampling_rate=30)
    assert clip["rr"].mean() == pytest.approx(8.3, abs=0.05)
    assert found["respiratory_rate"] == pytest.approx(8.3, abs=1)


def test_bench_ecg_has_the_peaks_of_ecg_process_and_a_healthy_variability(bench):
    ecg = bench("ecg")
    theirs = nk.ecg_process(ecg, sampling_rate=1000)[1]["ECG_R_Peaks"]
    lead = vote(as_regular(ecg, 1000))
    assert np.array_equal(corrected(lead.peaks, 1000), theirs) and lead.quality > 0.9
    found = compute_hrv(ecg, sampling_rate=1000)
    time = nk.hrv_time(theirs, sampling_rate=1000)
    assert found["rmssd_ms"] == pytest.approx(time["HRV_RMSSD"].item())
    assert found["sdnn_ms"] == pytest.approx(time["HRV_SDNN"].item())
    assert 55 < found["heart_rate"] < 65 and set(found.reasons) >= {"lf_power_ms2", "hf_power_ms2", "dfa_alpha1"}


def test_bench_pulse_has_the_rate_of_neurokits_peaks(bench):
    ppg = bench("ppg")
    found = compute_prv(ppg, sampling_rate=1000)
    peaks = nk.ppg_process(ppg, sampling_rate=1000)[1]["PPG_Peaks"]
    assert found["heart_rate"] == pytest.approx(60000 / np.diff(peaks).mean(), abs=1) and found["quality"] > 0.8
    assert pulse_beats(as_regular(ppg, 1000))[1].size == pytest.approx(peaks.size, abs=1)


def test_bench_conductance_and_breathing_are_plausible(bench):
    eda = extract_scr_features(bench("eda") / 4096 * 3.3 / 0.12, sampling_rate=1000)
    assert 3 <= eda["scr_count"] <= 12
    assert 0.5 < eda["scr_rise_time_mean_s"] < 5 and 0.5 < eda["scr_half_recovery_mean_s"] < 10
    breathing = extract_respiration_features(bench("resp"), sampling_rate=1000)
    peaks = nk.rsp_process(bench("resp"), sampling_rate=1000)[1]["RSP_Peaks"]
    assert breathing["respiratory_rate"] == pytest.approx(60000 / np.diff(peaks).mean(), abs=1)
    assert 0 < breathing["depth_variation"] < 1 and 0.2 < breathing["inhale_share"] < 0.7


def test_relations_between_our_quantities_hold_in_the_published_table(real_data):
    # CASE has no raw signal here, so only what must hold between the quantities of one window can be compared
    folder = real_data("case_hrv")
    table = pd.concat([pd.read_csv(folder / f"sub{n}_ecg.csv") for n in range(1, 21)])
    interval = table["ibi"].iloc[:13].to_numpy() / 1000  # of plausible size and spread
    ours = hrv(beats(np.cumsum(interval), interval), interval.sum())
    assert ours["heart_rate"] * ours["mean_nn_ms"] == pytest.approx(60000)
    assert np.abs(table["bpm"] * table["ibi"] - 60000).max() < 0.1
    assert ours["sd1_ms"] * np.sqrt(2) / ours["rmssd_ms"] == pytest.approx(1, abs=0.05)
    assert (table["sd1"] * np.sqrt(2) / table["rmssd"]).median() == pytest.approx(1, abs=0.05)
