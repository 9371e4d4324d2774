import numpy as np
import pandas as pd
import pytest

from bayesaffect.signals.cardiac import compute_hrv, pulse_beats, variability
from bayesaffect.signals.clock import as_regular
from bayesaffect.signals.electrodermal import extract_scr_features
from bayesaffect.signals.respiration import extract_respiration_features

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def clip(real_data):
    """11.8 s at 30 Hz with a monitor's running heart and respiratory rate."""
    return pd.read_csv(real_data("biosignals") / "vitallens_sample_1.csv")


def test_heart_rate_agrees_with_the_monitor(clip):
    # the monitor's running rate starts at 87 and settles; its median is the comparable number
    found = compute_hrv(clip["ecg"].to_numpy(), sampling_rate=30)
    assert found["heart_rate"] == pytest.approx(clip["hr_ecg"].median(), abs=1)
    pulse, _, _ = pulse_beats(as_regular(clip["ppg"].to_numpy(), 30))
    assert variability(pulse)["heart_rate"] == pytest.approx(found["heart_rate"], abs=1)


def test_respiratory_rate_agrees_with_the_monitor(clip):
    found = extract_respiration_features(clip["resp"].to_numpy(), sampling_rate=30)
    assert found["respiratory_rate"] == pytest.approx(clip["rr"].mean(), abs=1)


def test_bench_recordings_give_plausible_numbers(real_data):
    folder = real_data("biosignals")
    ecg = compute_hrv(np.loadtxt(folder / "ecg.txt"), sampling_rate=1000)
    assert 55 < ecg["heart_rate"] < 65 and 10 < ecg["rmssd_ms"] < 120 and ecg["quality"] > 0.9
    eda = extract_scr_features(np.loadtxt(folder / "eda.txt") / 4096 * 3.3 / 0.12, sampling_rate=1000)
    assert 3 <= eda["scr_count"] <= 12 and 0.5 < eda["scr_rise_time_mean_s"] < 5
    breathing = extract_respiration_features(np.loadtxt(folder / "resp.txt"), sampling_rate=1000)
    assert 8 < breathing["respiratory_rate"] < 25
