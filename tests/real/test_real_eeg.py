import mne
import numpy as np
import pytest
import xarray as xr

from bayesaffect.signals import eeg

pytestmark = pytest.mark.real


@pytest.fixture(params=["eeglab_data.set", "test.bdf"])
def real_eeg(request, real_data):
    path = real_data("eeg") / request.param
    read = mne.io.read_raw_bdf if path.suffix == ".bdf" else mne.io.read_raw_eeglab
    raw = read(path, preload=True, verbose="ERROR")
    raw.drop_channels([name for name in raw.ch_names if name.startswith(("EOG", "Status"))])
    attrs = {"units": "uV", "sampling_rate": raw.info["sfreq"]}
    coords = {"channel": raw.ch_names, "time": raw.times}
    return xr.DataArray(raw.get_data() * 1e6, dims=("channel", "time"), coords=coords, attrs=attrs), raw


def test_filter_and_reference_equal_mne(real_eeg):
    array, raw = real_eeg
    clean = eeg.preprocess_eeg(array)
    raw = raw.copy().filter(1, 45, verbose="ERROR").notch_filter([50], verbose="ERROR")
    if clean.attrs["bad_channels"]:
        good = [name for name in raw.ch_names if name not in clean.attrs["bad_channels"]]
        data = raw.get_data(good) * 1e6
        expected = data - data.mean(axis=0)  # repaired by the mean of the good: the reference does not move
    else:
        good, expected = raw.ch_names, raw.set_eeg_reference("average", verbose="ERROR").get_data() * 1e6
    np.testing.assert_allclose(clean.sel(channel=good), expected, atol=1e-6)


def test_band_power_equals_mne(real_eeg):
    array, raw = real_eeg
    clean = eeg.preprocess_eeg(array)
    power = eeg.extract_spectral_features(clean)
    rate = int(raw.info["sfreq"])
    count = power.sizes["frame"]
    epochs = mne.EpochsArray(
        clean.values[:, : count * rate].reshape(-1, count, rate).swapaxes(0, 1), raw.info, verbose="ERROR"
    )
    spectrum = epochs.compute_psd("multitaper", bandwidth=4, fmax=45, normalization="full", verbose="ERROR")
    psd, freqs = spectrum.get_data(), spectrum.freqs
    for name, (low, high) in eeg.BANDS.items():
        expected = psd[..., (freqs >= low) & (freqs < high)].sum(-1).T
        np.testing.assert_allclose(10 ** power.sel(band=name), expected + eeg.FLOOR, rtol=1e-6)


def test_real_recording_has_alpha_and_good_quality(real_eeg):
    array, _ = real_eeg
    block = eeg.extract_block(array, [(5.0, 35.0), (25.0, 55.0)])
    assert block.present.all() and block.quality.min() > 0.9
    assert np.isfinite(block.data["maps"]).all()
