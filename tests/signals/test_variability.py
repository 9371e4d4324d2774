import pickle

import neurokit2 as nk
import numpy as np
import pytest

from bayesaffect.signals.physio.quantities import Quantities
from bayesaffect.signals.physio.variability import (
    NAMES,
    band_power,
    beats,
    hrv,
    poincare,
    sinus_arrhythmia,
    variability,
)

BANDS = {"lf": (0.04, 0.15), "hf": (0.15, 0.40)}


def rhythm(seconds, *waves, mean=0.8, sd=0.0):
    """Beats whose intervals (s) are ``mean`` + sum of a sin(2 pi f t) at the time of the beat, and noise."""
    rng, time, now = np.random.default_rng(0), [], 0.0
    while now < seconds:
        time.append(now)
        now += mean + sum(a * np.sin(2 * np.pi * f * now) for a, f in waves) + sd * rng.normal()
    return beats(np.array(time[1:]), np.diff(time))


def test_variability_follows_its_formulas():
    interval = np.array([0.8, 0.9, 0.82, 0.85])
    told = variability(beats(np.cumsum(interval), interval))
    assert told["heart_rate"] == pytest.approx(60 / 0.8425)
    assert told["sdnn_ms"] == pytest.approx(1000 * interval.std(ddof=1))
    assert told["rmssd_ms"] == pytest.approx(np.sqrt((100**2 + 80**2 + 30**2) / 3))
    assert told["pnn50"] == pytest.approx(200 / 3)


def test_a_missed_beat_enters_neither_rate_nor_differences():
    interval = np.array([0.8, 0.82, 0.8, 1.62, 0.8, 0.82, 0.8, 0.82])
    found = beats(np.cumsum(interval), interval)
    assert not found.fine[3] and found.fine.sum() == 7
    assert variability(found)["rmssd_ms"] == pytest.approx(20)


def test_differences_do_not_bridge_a_gap_in_time():
    interval = np.array([0.8, 0.8, 0.8, 0.8, 0.9, 0.9, 0.9])
    time = np.cumsum(interval) + np.array([0, 0, 0, 0, 30, 30, 30])
    assert variability(beats(time, interval))["rmssd_ms"] == pytest.approx(0)


@pytest.mark.parametrize(("band", "frequency"), [("lf", 0.1), ("hf", 0.25)])
def test_a_planted_wave_has_half_its_squared_amplitude_in_its_band_alone(band, frequency):
    power = band_power(rhythm(300, (0.03, frequency)), BANDS)
    other = {"lf": "hf", "hf": "lf"}[band]
    assert power[band] == pytest.approx(30**2 / 2, rel=0.1)
    assert power[other] < 0.05 * power[band]


def test_missed_beats_add_no_slow_wave():
    found = rhythm(300, (0.03, 0.25), sd=0.005)
    holes = found._replace(fine=found.fine & (np.random.default_rng(1).random(found.fine.size) > 0.1))
    whole, less = band_power(found, BANDS), band_power(holes, BANDS)
    assert less["hf"] == pytest.approx(whole["hf"], rel=0.15) and less["lf"] < 0.15 * less["hf"]


def test_band_power_agrees_with_neurokit():
    found = rhythm(300, (0.04, 0.1), (0.025, 0.22), sd=0.01)
    peaks = {"RRI": 1000 * found.interval, "RRI_Time": found.time}
    theirs = nk.hrv_frequency(peaks, normalize=False, silent=True)
    ours = band_power(found, BANDS)
    assert ours["lf"] == pytest.approx(theirs["HRV_LF"].item(), rel=0.15)
    assert ours["hf"] == pytest.approx(theirs["HRV_HF"].item(), rel=0.15)


def test_poincare_follows_its_formula_and_neurokit():
    found = rhythm(120, (0.05, 0.1), sd=0.02)
    nn = 1000 * found.interval
    sd1, sd2 = poincare(found)
    assert sd1 == pytest.approx(np.diff(nn).std(ddof=1) / np.sqrt(2))
    theirs = nk.hrv_nonlinear({"RRI": nn, "RRI_Time": found.time})
    assert [sd1, sd2] == pytest.approx([theirs["HRV_SD1"].item(), theirs["HRV_SD2"].item()])
    assert hrv(found, 120)["sample_entropy"] == pytest.approx(theirs["HRV_SampEn"].item())


def test_dfa_tells_white_noise_from_a_random_walk():
    rng = np.random.default_rng(0)
    steps = rng.normal(size=1000)
    for series, alpha in ((steps, 0.5), (np.cumsum(steps) / 40, 1.5)):
        interval = 0.8 + 0.01 * series / max(1, np.abs(series).max() / 5)
        # 0.1: over 4 to 16 beats the slope is biased by a few hundredths (Peng et al. 1995)
        assert hrv(beats(np.cumsum(interval), interval), 800)["dfa_alpha1"] == pytest.approx(alpha, abs=0.12)


@pytest.mark.parametrize(
    ("seconds", "refused"),
    [
        (30, {"hf_power_ms2", "lf_power_ms2", "lf_hf_ratio", "total_power_ms2", "sample_entropy", "dfa_alpha1"}),
        (75, {"lf_power_ms2", "lf_hf_ratio", "total_power_ms2", "sample_entropy", "dfa_alpha1"}),
        (125, {"total_power_ms2", "dfa_alpha1"}),
        (310, set()),
    ],
)
def test_short_windows_are_refused_quantity_by_quantity(seconds, refused):
    told = hrv(rhythm(seconds, (0.03, 0.1), (0.03, 0.25), sd=0.01), seconds)
    assert tuple(told) == NAMES and {name for name, value in told.items() if np.isnan(value)} == refused
    assert set(told.reasons) == refused and all("takes" in reason for reason in told.reasons.values())


def test_a_window_full_of_holes_has_no_spectrum():
    found = rhythm(200, (0.03, 0.1), sd=0.01)
    fine = np.arange(found.fine.size) % 3 > 0
    told = hrv(found._replace(fine=fine), 200)
    assert np.isnan(told["lf_power_ms2"]) and "66 %" in told.reasons["lf_power_ms2"]
    assert np.isfinite(told["sdnn_ms"])


def test_alike_intervals_have_no_entropy_and_no_ratio():
    told = hrv(rhythm(400), 400)
    assert {"lf_hf_ratio", "sample_entropy", "dfa_alpha1"} == set(told.reasons)
    assert told["total_power_ms2"] == pytest.approx(0, abs=1e-9)


def test_sinus_arrhythmia_by_hand():
    # four beats to a breath of 4 s: 1.1 s each in expiration, 0.9 s in inspiration
    interval = np.tile([0.9, 0.9, 1.1, 1.1], 8)
    found = beats(np.cumsum(interval), interval)
    troughs = np.arange(0.0, 29.0, 4.0)
    assert sinus_arrhythmia(found, troughs[:-1] + 1.8, troughs) == (pytest.approx(200), 7)
    value, breaths = sinus_arrhythmia(found, troughs[:2] + 1.8, troughs[:3])
    assert np.isnan(value) and breaths == 2


def test_sinus_arrhythmia_agrees_with_neurokit():
    rate, seconds = 100, 120
    breath = nk.rsp_simulate(seconds, sampling_rate=rate, respiratory_rate=14, random_state=3)
    found = rhythm(seconds, (0.05, 14 / 60), sd=0.005)
    rsp, _ = nk.rsp_process(breath, sampling_rate=rate)
    peaks = np.round(np.r_[0, found.time] * rate).astype(int)
    peaks = peaks[peaks < breath.size]
    ecg = nk.signal_formatpeaks({"ECG_R_Peaks": peaks}, desired_length=breath.size)
    ecg["ECG_Rate"] = nk.signal_rate(peaks, sampling_rate=rate, desired_length=breath.size)
    theirs = nk.hrv_rsa(ecg, rsp, {"ECG_R_Peaks": peaks}, sampling_rate=rate)["RSA_P2T_Mean"]
    top, bottom = np.flatnonzero(rsp["RSP_Peaks"]), np.flatnonzero(rsp["RSP_Troughs"])
    bottom = bottom[: np.searchsorted(bottom, top[-1]) + 1]
    top = top[(top > bottom[0]) & (top < bottom[-1])]
    at = beats(peaks[1:] / rate, np.diff(peaks) / rate)
    ours, _ = sinus_arrhythmia(at, top / rate, bottom / rate)
    assert ours == pytest.approx(theirs, rel=0.1)


def test_quantities_keep_their_reasons_on_the_way_through_a_process():
    told = pickle.loads(pickle.dumps(Quantities({"a": np.float64(1), "b": np.nan}, {"b": "too short"})))
    assert told["a"] == 1 and told.reasons == {"b": "too short"} and type(told["a"]) is float
