import mne
import numpy as np
import pytest
import xarray as xr

from bayesaffect.errors import InputError
from bayesaffect.signals import eeg

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
        (array(noise()).isel(time=np.r_[0:500, 900:2000]), "gap"),
    ],
)
def test_unusable_eeg_is_refused_in_a_sentence(bad, says):
    with pytest.raises(InputError, match=says):
        eeg.preprocess_eeg(bad)


def test_band_power_of_a_sine_is_half_its_squared_amplitude():
    t = np.arange(4 * RATE) / RATE
    amplitude = np.array([[3.0], [12.0]])
    power = eeg.extract_spectral_features(array(amplitude * np.sin(2 * np.pi * 20 * t), names=["a", "b"]))
    assert power.dims == ("band", "channel", "frame") and power.shape == (5, 2, 4)
    np.testing.assert_allclose(10 ** power.sel(band="beta").mean("frame"), amplitude[:, 0] ** 2 / 2, rtol=0.02)
    assert float(power.sel(band="delta").max()) < np.log10(1e-4 * 72)
    np.testing.assert_allclose(power["frame"], [0.5, 1.5, 2.5, 3.5])


def test_band_power_equals_mne_frame_by_frame():
    data = noise(3)
    power = eeg.extract_spectral_features(array(data), frame_s=0.5, bands={"low": (4, 14)})
    for k in (0, 5):
        epoch = data[:, k * 64 : (k + 1) * 64]
        psd, freqs = mne.time_frequency.psd_array_multitaper(
            epoch, RATE, bandwidth=8, normalization="full", verbose="ERROR"
        )
        expected = psd[:, (freqs >= 4) & (freqs < 14)].sum(1) * (freqs[1] - freqs[0])
        np.testing.assert_allclose(10 ** power[0, :, k], expected + 1e-6, rtol=1e-10)


def test_bands_too_narrow_for_a_frame_are_refused():
    with pytest.raises(InputError, match="holds no frequency"):
        eeg.extract_spectral_features(array(noise(2)), bands={"slow": (0.2, 0.8)})


def test_connectivity_equals_mne_connectivity():
    peer = pytest.importorskip("mne_connectivity")
    data, bands = noise(10)[:5], {"alpha": (8, 13), "beta": (13, 30)}
    ours = eeg.extract_connectivity_features(array(data), bands=bands)
    frames = data.reshape(5, 10, RATE).swapaxes(0, 1)
    edges = {"fmin": (8, 13), "fmax": (12.5, 29.5), "faverage": True, "mt_bandwidth": 4, "mode": "multitaper"}
    theirs = peer.spectral_connectivity_epochs(frames, method=["coh", "plv"], sfreq=RATE, verbose="ERROR", **edges)
    lower = np.tril_indices(5, -1)
    for mine, other in zip(ours.values, theirs, strict=True):
        np.testing.assert_allclose(mine[:, *lower], other.get_data("dense")[lower].T, rtol=1e-9)


def test_connectivity_is_one_for_locked_channels_and_symmetric():
    data = noise(30)[:2]
    found = eeg.extract_connectivity_features(array(np.stack([data[0], -2 * data[0], np.roll(data[1], 999)])))
    np.testing.assert_allclose(found[:, :, 0, 1], 1, atol=1e-9)
    assert float(found[:, :, 0, 2].max()) < 0.75
    np.testing.assert_allclose(found, found.transpose("measure", "band", "other", "channel"))


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
