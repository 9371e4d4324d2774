import warnings

import mne
import numpy as np
import pytest
import xarray as xr

from bayesaffect.signals import eeg
from bayesaffect.signals.eeg import connectivity
from bayesaffect.signals.eeg.spectral import FLOOR

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
        np.testing.assert_allclose(10 ** power.sel(band=name), expected + FLOOR, rtol=1e-6)


def test_real_recording_has_alpha_and_good_quality(real_eeg):
    array, _ = real_eeg
    block = eeg.extract_block(array, [(5.0, 35.0), (25.0, 55.0)])
    assert block.present.all() and block.quality.min() > 0.9
    assert np.isfinite(block.data["maps"]).all()
    features = block.measures["features"]
    slopes = features.sel(feature=[name for name in features["feature"].values if name.startswith("slope_")])
    assert 0.3 < float(slopes.median()) < 2.5
    assert (features.sel(feature="frames_used") >= 25).all()


def test_welch_equals_mne(real_eeg):
    array, raw = real_eeg
    clean = eeg.preprocess_eeg(array)
    options = {"fmin": 1, "fmax": 45, "window": "hann", "verbose": "ERROR"}
    size = round(2 * raw.info["sfreq"])
    psd, _ = mne.time_frequency.psd_array_welch(
        clean.values, raw.info["sfreq"], n_fft=size, n_overlap=size // 2, **options
    )
    np.testing.assert_allclose(eeg.welch_density(clean), psd, rtol=1e-6)


def test_connectivity_equals_mne_connectivity(real_eeg):
    peer = pytest.importorskip("mne_connectivity")
    array, raw = real_eeg
    clean, rate = eeg.preprocess_eeg(array), int(raw.info["sfreq"])
    clean = clean.isel(time=slice(60 * rate))
    ours = eeg.extract_connectivity_features(clean)
    frames = clean.values.reshape(len(clean), 60, rate).swapaxes(0, 1)
    low, high = zip(*eeg.BANDS.values(), strict=True)
    edges = {"fmin": low, "fmax": tuple(edge - 0.5 for edge in high), "faverage": True}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # delta has fewer than five cycles in a frame
        theirs = peer.spectral_connectivity_epochs(
            frames,
            method=["coh", "imcoh", "plv", "wpli"],
            sfreq=rate,
            mode="multitaper",
            mt_bandwidth=4,
            verbose="ERROR",
            **edges,
        )
    lower = np.tril_indices(len(clean), -1)
    told = ~np.isnan(ours.values[0, 0])[lower]
    assert told.mean() > 0.8  # a channel replaced by the mean of the others is zero and cannot be told
    for name, other in zip(connectivity.MEASURES, theirs, strict=True):
        mine = ours.sel(measure=name).values[:, *lower][:, told]
        # imaginary coherence crosses zero, where only its absolute error (rounding of terms near 1) means anything
        np.testing.assert_allclose(mine, other.get_data("dense")[lower][told].T, rtol=1e-6, atol=1e-12)


def test_clinical_names_are_understood(real_data):
    raw = mne.io.read_raw_edf(real_data("eeg") / "test.edf", preload=True, verbose="ERROR")
    coords, attrs = {"channel": raw.ch_names, "time": raw.times}, {"units": "V", "sampling_rate": raw.info["sfreq"]}
    whole = xr.DataArray(raw.get_data(), dims=("channel", "time"), coords=coords, attrs=attrs)
    dead = whole.where(whole["channel"] != "EEG T4", 0.0)
    truth, clean = (eeg.preprocess_eeg(array) for array in (whole, dead))
    assert truth.attrs["bad_channels"] == () and "EEG T4" in clean.attrs["bad_channels"]
    repaired, truth = clean.sel(channel="EEG T4"), truth.sel(channel="EEG T4")
    assert np.corrcoef(repaired, truth)[0, 1] > 0.4 and 0.5 < float(repaired.std() / truth.std()) < 2
    assert "EEG F4_EEG F3" in eeg.frontal_asymmetry(eeg.extract_spectral_features(clean))["pair"].values


def test_raw_windows_hold_the_power_that_the_maps_tell(real_eeg):
    array, _ = real_eeg
    block = eeg.extract_block(array, [(5.0, 35.0), (25.0, 55.0)], connectivity=False, raw=True).data
    raw = block["raw"].values
    assert np.isfinite(raw).all() and raw.shape[2] == 30 * 128 and np.abs(raw).max() < 200
    seconds = raw.reshape(*raw.shape[:2], 30, 128)
    psd, freqs = mne.time_frequency.psd_array_multitaper(seconds, 128, 0, 50, 4, normalization="full", verbose="ERROR")
    for name, (low, high) in eeg.BANDS.items():
        if low >= 4:  # a faded edge has power of its own below
            power = np.log10(psd[..., (freqs >= low) & (freqs < high)].sum(-1) + FLOOR)
            np.testing.assert_allclose(
                np.median(power, axis=2), block["maps"].sel(band=name).median("frame"), atol=0.05
            )
