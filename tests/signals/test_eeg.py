import mne
import numpy as np
import pytest
import xarray as xr

from bayesaffect.errors import InputError
from bayesaffect.signals import eeg
from bayesaffect.signals.eeg.block import bridge

RATE = 128
NAMES = ["FP1", "F3", "Fz", "F4", "C3", "Cz", "C4", "P3", "Pz", "P4", "O1", "O2"]


def array(data, rate=RATE, names=NAMES, units="uV", start=0.0):
    coords = {"channel": list(names)[: len(data)], "time": start + np.arange(data.shape[1]) / rate}
    return xr.DataArray(data, dims=("channel", "time"), coords=coords, attrs={"units": units, "sampling_rate": rate})


def noise(seconds=20, sd=10.0, seed=0, rate=RATE):
    """Pink-ish sources seen by neighbouring electrodes, so that a channel can be told from the others."""
    rng = np.random.default_rng(seed)
    places = mne.channels.make_standard_montage("biosemi32").get_positions()["ch_pos"]
    lower = {name.lower(): place for name, place in places.items()}
    at = np.array([lower[name.lower()] for name in NAMES])
    gain = np.exp(-((np.linalg.norm(at[:, None] - at[None], axis=2) / 0.09) ** 2))
    data = gain @ rng.normal(0, sd, (len(NAMES), seconds * rate))
    return data + rng.normal(0, 1, data.shape)


def test_filter_keeps_the_band_and_removes_drift_and_mains():
    t = np.arange(20 * RATE) / RATE
    waves = {10: 8.0, 0.1: 200.0, 50: 40.0}
    sign = np.where(np.arange(12) % 2, 1, -1)[:, None]  # sums to zero over channels: the reference leaves it alone
    dirty = sign * sum(a * np.sin(2 * np.pi * f * t) for f, a in waves.items())
    clean = eeg.preprocess_eeg(array(dirty)).values[:, 5 * RATE : 15 * RATE]
    spectrum = 2 * np.abs(np.fft.rfft(clean[1])) / clean.shape[1]
    assert abs(spectrum[100] - 8) < 0.1 and spectrum[500] < 0.2 and spectrum[1] < 0.02 * 200


def test_average_reference_takes_off_what_all_channels_share():
    shared = 500 * np.sin(2 * np.pi * 10 * np.arange(20 * RATE) / RATE)
    a, b = (eeg.preprocess_eeg(array(noise() + extra)) for extra in (0, shared))
    np.testing.assert_allclose(a, b, atol=1e-8)
    np.testing.assert_allclose(a.mean("channel"), 0, atol=1e-9)


def test_flat_and_noisy_channels_are_found_and_replaced_from_their_neighbours():
    data = noise()
    truth = eeg.preprocess_eeg(array(data)).sel(channel="Cz")
    data[4] = 3.0
    data[5] += np.random.default_rng(1).normal(0, 400, data.shape[1])
    clean = eeg.preprocess_eeg(array(data))
    assert clean.attrs["bad_channels"] == ("C3", "Cz")
    assert np.corrcoef(clean.sel(channel="Cz"), truth)[0, 1] > 0.5
    assert 0.5 < float(clean.sel(channel="Cz").std() / truth.std()) < 2


def test_unknown_channel_names_are_replaced_by_the_mean_of_the_good():
    data = noise()
    data[2] = 0.0
    clean = eeg.preprocess_eeg(array(data, names=[f"A{k}" for k in range(12)]))
    assert clean.attrs["bad_channels"] == ("A2",)
    np.testing.assert_allclose(clean[2], 0, atol=1e-9)  # the mean of the others is the average reference itself


def test_missing_samples_are_bridged_and_a_lost_channel_repaired():
    data = noise()
    data[0, 700:705], data[3] = np.nan, np.nan
    clean = eeg.preprocess_eeg(array(data))
    assert np.isfinite(clean).all() and clean.attrs["bad_channels"] == ("F4",)


@pytest.mark.parametrize(("units", "factor"), [("V", 1e-6), ("mV", 1e-3), ("µV", 1.0)])
def test_units_are_converted(units, factor):
    expected = eeg.preprocess_eeg(array(noise()))
    np.testing.assert_allclose(eeg.preprocess_eeg(array(noise() * factor, units=units)), expected, atol=1e-9)


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        (array(noise(), units="Ohm"), "Ohm"),
        (array(noise(2)), "shorter than its filter"),
        (array(noise(), rate=64), "does not fit a rate"),
        (array(np.zeros((12, 2000))), "flat or noisy"),
        (array(np.full((12, 2000), np.inf)), "flat or noisy"),
        (array(noise()).isel(time=np.r_[0:500, 900:2000]), "gap"),
    ],
)
def test_unusable_eeg_is_refused_in_a_sentence(bad, says):
    with pytest.raises(InputError, match=says):
        eeg.preprocess_eeg(bad)


def test_a_window_shows_no_edge_of_the_filter():
    data = noise(60) + 1e4 * np.random.default_rng(2).normal(size=(12, 1))  # a large offset, as without a reference
    block = eeg.extract_block(array(data, start=7.0), [(27.0, 37.0), (60.0, 70.0)])
    whole = eeg.extract_spectral_features(eeg.preprocess_eeg(array(data)).isel(time=slice(20 * RATE, 30 * RATE)))
    np.testing.assert_allclose(block.data["maps"][0], whole, atol=1e-4)
    assert block.present.tolist() == [True, False] and "does not cover" in block.reasons[1]
    assert block.data["maps"].dtype == np.float32 and np.isnan(block.data["maps"][1]).all()


def test_quality_is_the_share_of_good_channels_times_good_frames():
    data = noise(60)
    data[1] = 0.0
    data[:, 25 * RATE : 27 * RATE] += 400 * np.random.default_rng(3).normal(size=(12, 2 * RATE))
    block = eeg.extract_block(array(data), [(5.0, 15.0), (21.0, 31.0)])
    assert block.quality[0] == pytest.approx(11 / 12)
    assert block.quality[1] == pytest.approx(11 / 12 * 0.8, abs=0.1)  # the filter smears the burst over its length


def test_channel_that_dies_in_one_window_is_repaired_there():
    data = noise(60)
    data[6, 30 * RATE : 45 * RATE] = 0.0
    block = eeg.extract_block(array(data), [(5.0, 15.0), (33.0, 43.0)])
    assert block.quality.tolist() == pytest.approx([1, 11 / 12])
    assert abs(float((block.data["maps"][1, :, 6] - block.data["maps"][0, :, 6]).mean())) < 1


def test_a_channel_on_the_rail_is_bad_and_lowers_the_quality():
    data = noise(40)
    data[8] = np.clip(6 * data[8], -40, 40)
    assert eeg.preprocess_eeg(array(data)).attrs["bad_channels"] == ("Pz",)
    assert eeg.extract_block(array(data), [(5.0, 25.0)]).quality[0] == pytest.approx(11 / 12)


def test_maps_of_clean_windows_are_what_mne_computes():
    data, block = noise(20), eeg.extract_block(array(noise(20)), [(5.0, 15.0)])
    clean = mne.filter.filter_data(data, RATE, 1, 45, verbose="ERROR")
    clean = mne.filter.notch_filter(clean, RATE, [50], verbose="ERROR")
    clean -= clean.mean(axis=0)
    epochs = clean[:, 5 * RATE : 15 * RATE].reshape(12, 10, RATE)
    psd, freqs = mne.time_frequency.psd_array_multitaper(
        epochs, RATE, bandwidth=4, normalization="full", verbose="ERROR"
    )
    bands = ((1, 4), (4, 8), (8, 13), (13, 30), (30, 45))
    expected = [np.log10(psd[..., (freqs >= low) & (freqs < high)].sum(-1) + 1e-6) for low, high in bands]
    np.testing.assert_allclose(block.data["maps"][0], expected, atol=1e-6)
    frozen = [0.507594, 0.698695, 0.853260, 1.403574, 1.362988]
    np.testing.assert_allclose(block.data["maps"][0].mean(("channel", "frame")), frozen, atol=1e-5)


def moved(shake):
    """40 s with a movement of the head from 12.0 to 14.0 s, in all channels but unlike in each."""
    data = noise(40)
    push = np.random.default_rng(4).normal(size=(12, 1)) * np.sin(2 * np.pi * 3 * np.arange(2 * RATE) / RATE)
    data[:, 12 * RATE : 14 * RATE] += shake * push
    return data


def test_a_movement_is_bridged_in_the_maps_and_left_out_of_the_measures():
    block, still = (eeg.extract_block(array(moved(shake)), [(5.0, 35.0)]) for shake in (600, 0.5))
    used = [each.measures["features"].sel(feature="frames_used")[0] for each in (block, still)]
    assert used == [26, 30]  # two frames of movement and two around them
    assert block.quality[0] == pytest.approx(28 / 30) and still.quality[0] == 1
    share = np.arange(1, 5) / 5
    ends = block.data["maps"][0, :, :, [5, 10]].values
    line = (1 - share) * ends[..., :1] + share * ends[..., 1:]
    np.testing.assert_allclose(block.data["maps"][0, :, :, 6:10], line, atol=1e-5)
    names = [f"power_delta_{name}_log10_uv2" for name in NAMES]
    off = block.measures["features"].sel(feature=names) - still.measures["features"].sel(feature=names)
    assert float(abs(off).max()) < 0.15


def test_bridge_is_a_straight_line_between_fine_frames():
    maps, fine = np.array([[1.0, 9, 9, 4, 9, 6, 9]]), np.array([1, 0, 0, 1, 0, 1, 0], bool)
    np.testing.assert_allclose(bridge(maps, fine), [[1, 2, 3, 4, 5, 6, 6]])
    np.testing.assert_array_equal(bridge(maps, np.arange(7) == 3), maps)  # too few to say what was between


def test_measures_of_a_block_have_names_units_and_pairs():
    data = noise(40)
    data[9] = 0.0
    block = eeg.extract_block(array(data), [(5.0, 25.0), (30.0, 50.0)])
    features, table = block.measures["features"], block.measures["connectivity"]
    assert features.dims == ("trial", "feature") and features.dtype == np.float32
    assert table.dims == ("trial", "measure", "band", "pair") and table.dtype == np.float32
    assert table.sizes["pair"] == 12 * 11 // 2 and np.isnan(features[1]).all() and np.isnan(table[1]).all()
    clean = eeg.preprocess_eeg(array(data)).isel(time=slice(5 * RATE, 25 * RATE))
    power = 10.0 ** eeg.extract_spectral_features(clean)
    for name in ("F3", "O1"):
        expected = np.log10(power.sel(band="beta", channel=name).mean("frame"))
        assert float(features.sel(feature=f"power_beta_{name}_log10_uv2")[0]) == pytest.approx(
            float(expected), abs=1e-3
        )
        nats = (0.5 * np.log(2 * np.pi * np.e * power.sel(band="beta", channel=name))).mean("frame")
        assert float(features.sel(feature=f"entropy_beta_{name}_nats")[0]) == pytest.approx(float(nats), abs=1e-3)
    sides = [features.sel(feature=f"power_alpha_{name}_log10_uv2")[0] for name in ("F4", "F3")]
    asymmetry = features.sel(feature="asymmetry_alpha_F4_F3")[0]
    assert float(asymmetry) == pytest.approx(float(np.log(10) * (sides[0] - sides[1])), abs=1e-5)
    dead = [str(name) for name in features["feature"].values if "_P4" in str(name)]
    assert len(dead) == 14 and np.isnan(features.sel(feature=dead)).all()
    assert np.isfinite(features[0].drop_sel(feature=dead)).all()
    gone = (table["channel_a"] == "P4") | (table["channel_b"] == "P4")
    assert np.isnan(table[0, :, :, gone.values]).all() and np.isfinite(table[0, :, :, ~gone.values]).all()
    whole = eeg.extract_connectivity_features(clean)
    pair = table.sel(pair="O1-Cz", measure="imaginary_coherence", band="theta")[0]
    assert str(pair["channel_a"].values) == "O1" and str(pair["channel_b"].values) == "Cz"
    expected = whole.sel(measure="imaginary_coherence", band="theta", channel="O1", other="Cz")
    assert float(pair) == pytest.approx(float(expected), abs=1e-3)


def test_connectivity_is_left_out_when_it_is_not_wanted():
    block = eeg.extract_block(array(noise(20)), [(5.0, 15.0)], connectivity=False)
    assert list(block.measures.data_vars) == ["features"]


@pytest.mark.parametrize("seed", range(40))
def test_whatever_the_samples_are_the_answer_is_a_block_or_a_sentence(seed):
    """Gaps, infinities, rails and dead stretches at random places, few channels, odd rates and short windows."""
    rng = np.random.default_rng(seed)
    rate, channels, seconds = rng.choice([100, 127.6, 256, 512.5]), rng.integers(1, 9), rng.uniform(3, 20)
    data = rng.normal(0, rng.choice([1e-3, 10, 1e4]), (channels, int(seconds * rate)))
    for _ in range(rng.integers(0, 6)):
        first, last = sorted(rng.integers(0, data.shape[1] + 1, 2))
        rows = rng.integers(channels) if rng.random() < 0.7 else slice(None)
        data[rows, first:last] = rng.choice([0, np.nan, np.inf, -np.inf, 1e9, 7.3])
    signal = array(data, rate, rng.permutation([*NAMES[:6], "X", "EEG O1-REF", "fz"]), start=3.0)
    length = rng.uniform(0.2, seconds)
    windows = [(3 + at, 3 + at + length) for at in rng.uniform(-0.5, seconds - length + 0.5, 3)]
    try:
        block = eeg.extract_block(signal, windows, line_frequency=rng.choice([0.0, 50.0]), raw=True)
    except InputError as error:
        assert str(error)
        return
    assert np.isfinite(block.data["maps"].values[block.present]).all()
    assert np.isfinite(block.data["raw"].values[block.present]).all()
    assert all(bool(reason) != bool(here) for reason, here in zip(block.reasons, block.present, strict=True))
    assert ((block.quality >= 0) & (block.quality <= 1)).all()
    table = block.measures["connectivity"].values
    assert not np.isinf(block.measures["features"]).any() and not (np.abs(table) > 1 + 1e-6).any()
