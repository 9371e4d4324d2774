import neurokit2 as nk
import numpy as np
import pytest
import xarray as xr
from scipy.signal import butter, sosfreqz

from bayesaffect.signals.physio import extract_block
from bayesaffect.signals.physio.clock import as_regular
from bayesaffect.signals.physio.defects import agreement, at_rail, clipped, noisy, ramp

WINDOWS = [(0.0, 40.0), (40.0, 80.0), (80.0, 120.0)]
RATES = {"ecg": 128, "bvp": 64, "respiration": 32, "eda": 16, "temperature": 4, "acceleration": 32}
UNITS = {"ecg": "uV", "bvp": "au", "respiration": "uV", "eda": "uS", "temperature": "degC", "acceleration": "g"}


def as_signal(values, name):
    values = np.atleast_2d(values)
    attrs = {"units": UNITS[name], "sampling_rate": float(RATES[name])}
    time = np.arange(values.shape[1]) / RATES[name]
    return xr.DataArray(values, dims=("channel", "time"), coords={"time": time}, attrs=attrs)


@pytest.fixture(scope="module")
def clean():
    rng, seconds = np.random.default_rng(0), 120
    posture = np.array([[0.0], [0.6], [0.8]])
    return {
        "ecg": 1000 * nk.ecg_simulate(duration=seconds, sampling_rate=128, heart_rate=70, random_state=1),
        "bvp": nk.ppg_simulate(seconds, 64, heart_rate=75, random_state=1),
        "respiration": 100 * nk.rsp_simulate(seconds, sampling_rate=32, respiratory_rate=15, random_state=1),
        "eda": 3 + nk.eda_simulate(seconds, 16, scr_number=12, random_state=1),
        "temperature": 33 + 0.002 * np.cumsum(rng.normal(size=4 * seconds)),
        "acceleration": posture + 0.05 * rng.normal(size=(3, 32 * seconds)),
    }


def quality(name, values):
    return extract_block({name: as_signal(values, name)}, WINDOWS, names=(name,), rate=4.0).quality


def in_the_middle(values, name, change):
    """The signal with its samples from 40 to 80 s changed."""
    out = np.atleast_2d(values).copy()
    middle = slice(40 * RATES[name], 80 * RATES[name])
    out[:, middle] = change(out[:, middle])
    return out


@pytest.mark.parametrize("name", RATES)
def test_a_clean_signal_stays_above_four_fifths(clean, name):
    assert (quality(name, clean[name]) > 0.8).all()


def spikes(x):
    out = x.copy()
    out[:, ::40] += 5
    return out


def noise(x):
    return x + 3 * x.std() * np.random.default_rng(1).normal(size=x.shape)


def overdriven(x):
    return (x - x.mean()) * 12 + x.mean()


DEFECTS = {
    "lost": lambda x: x * np.nan,
    "flat": lambda x: 0 * x + x.mean(),
    "noise": noise,
    "slipped": lambda x: x.mean() + 0.01 * (x - x.mean()),
    "negative": lambda x: x - 10,
    "too high": lambda x: x + 500,
    "spikes": spikes,
    "cold": lambda x: x - 28,
    "jumps": lambda x: x + 4 * (np.arange(x.shape[1]) % 2),
}
CASES = [
    *(("ecg", d) for d in ("lost", "flat", "noise")),
    *(("bvp", d) for d in ("lost", "flat", "noise", "slipped")),
    *(("respiration", d) for d in ("lost", "flat", "noise", "slipped")),
    *(("eda", d) for d in ("lost", "flat", "noise", "negative", "too high", "spikes")),
    *(("temperature", d) for d in ("lost", "cold", "jumps")),
    ("acceleration", "lost"),
]


@pytest.mark.parametrize(("name", "defect"), CASES)
def test_a_planted_defect_masks_its_window_and_no_other(clean, name, defect):
    first, middle, last = quality(name, in_the_middle(clean[name], name, DEFECTS[defect]))
    assert middle < 0.1 and min(first, last) > 0.8


@pytest.mark.parametrize("seed", range(4))
def test_beats_found_in_noise_are_not_believed_whatever_the_noise(clean, seed):
    """Some of the peaks of noise look a little like beats: their shape agrees by up to 0.7 at 3 sd."""
    draw = np.random.default_rng(seed).normal
    first, middle, last = quality(
        "ecg", in_the_middle(clean["ecg"], "ecg", lambda x: x + 3 * x.std() * draw(size=x.shape))
    )
    assert middle < 0.1 and min(first, last) > 0.8


@pytest.mark.parametrize("name", ["ecg", "bvp", "respiration", "eda", "acceleration"])
def test_an_overdriven_amplifier_is_seen_at_its_rails(clean, name):
    loud = in_the_middle(clean[name], name, overdriven)
    first, middle, last = quality(name, np.clip(loud, clean[name].min(), clean[name].max()))
    assert middle < 0.1 and min(first, last) > 0.8


@pytest.mark.parametrize("name", RATES)
def test_a_constant_signal_is_worth_nothing(clean, name):
    assert (quality(name, np.full_like(np.atleast_2d(clean[name]), 5.0)) == 0).all()


@pytest.mark.parametrize("name", ["ecg", "bvp", "respiration", "eda"])
def test_white_noise_is_no_physiology(clean, name):
    values = np.atleast_2d(clean[name])
    random = values.mean() + values.std() * np.random.default_rng(2).normal(size=values.shape)
    assert (quality(name, random) < 0.1).all()


@pytest.mark.parametrize("intervals", [np.full(40, 3.0), np.random.default_rng(0).choice([0.45, 1.3], 200)])
def test_implausible_beats_are_not_believed(intervals):
    time, peaks = np.arange(0, 120, 1 / 128), np.cumsum(intervals)
    near = peaks[np.abs(peaks[:, None] - time).argmin(0)]
    assert (quality("ecg", 1000 * np.exp(-((time - near) ** 2) / (2 * 0.01**2))) < 0.1).all()


def test_ramp_is_straight_between_its_ends():
    assert ramp([0.0, 0.3, 0.45, 0.6, 1.0, np.nan], bad=0.6, good=0.3) == pytest.approx([1, 1, 0.5, 0.02, 0.02, 0.02])


def test_a_rail_is_entered_by_a_jump_and_held():
    wave = np.clip(np.sin(np.arange(200) / 8), -0.9, 0.9)
    assert at_rail(wave).mean() == pytest.approx((np.abs(wave) == 0.9).mean()) and at_rail(wave).mean() > 0.2
    coarse = np.round(10 * np.sin(np.arange(400) / 60)) / 10  # rests at its extremes, but comes there in single steps
    assert not at_rail(coarse).any()
    assert not at_rail(np.sin(np.arange(200) / 8)).any() and not at_rail(np.ones(50)).any()


def test_share_at_the_rails_lowers_the_window():
    wave = np.sin(np.arange(4 * 120) / 3)
    wave[160:320] = np.clip(5 * wave[160:320], -1.01, 1.01)
    assert clipped(as_signal(wave, "temperature"), WINDOWS)[0].tolist() == [1, pytest.approx(0.02), 1]


def test_noise_ratio_of_white_noise_is_the_share_of_its_band():
    white = as_regular(np.random.default_rng(0).normal(size=64 * 120), 64)
    _, response = sosfreqz(butter(2, 8.0, "high", fs=64, output="sos"))
    expected = np.sqrt((np.abs(response) ** 4).mean())  # the filter runs forwards and backwards
    # a median of 7680 absolute values is known to about 1.2 %, here 0.05 of the ramp
    found = noisy(white, [(0.0, 120.0)], above=8.0, floor=0.0, bad=expected + 0.1, good=expected - 0.1)
    assert found == pytest.approx(0.5, abs=0.2)


def test_agreement_is_a_correlation_with_the_median_beat():
    wave = np.tile(np.r_[0, 1, 3, 1, 0, 0], 8).astype(float)
    wave[20] = -3.0  # the fourth beat is upside down
    whole, alike = agreement(wave, np.arange(2, 48, 6), before=2, after=2)
    assert whole.tolist() == list(range(8)) and alike[[0, 1, 2, 4]] == pytest.approx(1)
    cut = np.array([0, 1, -3, 1, 0]) + 0.2
    middle = np.array([0, 1, 3, 1, 0]) - 1.0
    assert alike[3] == pytest.approx(cut @ middle / np.linalg.norm(cut) / np.linalg.norm(middle))
