import numpy as np
import pytest
import xarray as xr

from bayesaffect.errors import InputError
from bayesaffect.signals import eeg
from bayesaffect.signals.eeg.raw import clipped, resampled, silenced
from bayesaffect.signals.extract import Extraction, extract
from bayesaffect.signals.standardise import standardise
from bayesaffect.types import Recording, Segment, Target, Trials

NAMES = ["Fz", "Cz", "Pz", "Oz"]


def brain(rate, seconds, *, seed=0):
    """Noise with a 10 Hz wave of 8 uV in Oz, in uV."""
    rng = np.random.default_rng(seed)
    time = np.arange(int(seconds * rate)) / rate
    data = rng.normal(0, 5, (4, time.size))
    data[3] += 8 * np.sin(2 * np.pi * 10 * time)
    coords = {"channel": NAMES, "time": time}
    return xr.DataArray(data, dims=("channel", "time"), coords=coords, attrs={"units": "uV", "sampling_rate": rate})


@pytest.mark.parametrize("rate", [100, 127.6, 128, 250, 256, 512.5])
def test_resampling_keeps_waves_and_their_times(rate):
    def wave(t):
        return np.stack([np.sin(2 * np.pi * 10.3 * t + 0.3), np.cos(2 * np.pi * 30 * t)])

    start = int(5 * rate)
    found = resampled(wave(np.arange(int(20 * rate)) / rate), start, 1280, rate=rate)
    np.testing.assert_allclose(found, wave(start / rate + np.arange(1280) / 128), atol=0.005)


def test_window_at_the_edge_of_the_recording_has_all_its_samples():
    data = brain(256, 10).values
    for start, count in ((0, 256), (10 * 256 - 512, 256)):
        found = resampled(data, start, count, rate=256)
        assert found.shape == (4, count) and np.isfinite(found).all()
        middle = resampled(data, start, count, rate=256)[:, 60:-60]
        np.testing.assert_allclose(middle[3].std(), data[3, start : start + 512].std(), rtol=0.15)


def test_an_artefact_is_silenced_with_soft_edges():
    clear = np.repeat(np.array([1, 1, 0, 1, 1], bool), 128)
    found = silenced(np.full((2, 640), 3.0), clear)
    assert (found[:, 256:384] == 0).all() and (found[:, :240] == 3).all() and (found[:, 400:] == 3).all()
    assert found[0, 384 - 1 + 6] == pytest.approx(3 * (0.5 - 0.5 * np.cos(np.pi * 6 / 12.8)))
    assert np.abs(np.diff(found)).max() < 0.4
    np.testing.assert_array_equal(silenced(found, clear | True), found)


def test_far_samples_are_clipped_by_the_scale_of_the_others():
    data = np.random.default_rng(0).normal(2, 3, (2, 2000))
    data[0, 100:110], data[1], used = 500, 0, np.ones(2000, bool)
    data[0, 1000:] *= 50
    used[1000:] = False
    found = clipped(data, used)
    middle = np.median(data[0, :1000])
    reach = 6 * 1.4826 * np.median(np.abs(data[0, :1000] - middle))
    assert found[0, 105] == middle + reach and found[0].min() == middle - reach
    np.testing.assert_array_equal(found[0, :100], data[0, :100])
    assert (found[1] == 0).all()


@pytest.mark.parametrize("rate", [128, 256])
def test_block_holds_the_cleaned_samples_beside_the_same_maps(rate):
    signal, windows = brain(rate, 30), [(5.0, 15.0), (40.0, 50.0), (15.0, 25.0)]
    block, maps = (eeg.extract_block(signal, windows, connectivity=False, raw=raw) for raw in (True, False))
    xr.testing.assert_identical(block.data["maps"], maps.data["maps"])
    assert list(maps.data.data_vars) == ["maps"] and block.data.attrs["encoder"] == "eeg_raw"
    raw = block.data["raw"]
    assert raw.dims == ("trial", "channel", "time") and raw.shape == (3, 4, 1280) and raw.dtype == np.float32
    assert np.isnan(raw[1]).all() and block.present.tolist() == [True, False, True]
    clean = eeg.preprocess_eeg(signal).values[:, 5 * rate : 15 * rate][:, :: rate // 128]
    np.testing.assert_allclose(raw[0], clean, atol=0.02 if rate == 128 else 1.0)
    np.testing.assert_allclose(raw[0].mean("channel"), 0, atol=1e-5)
    spectrum = np.abs(np.fft.rfft(raw[2].sel(channel="Oz"))) / 640
    assert spectrum.argmax() == 100 and spectrum[100] == pytest.approx(6, rel=0.15)  # 8 uV less the average reference


def test_a_movement_is_silent_in_the_samples():
    signal = brain(128, 30)
    signal.values[:, 10 * 128 : 12 * 128] *= 60
    raw = eeg.extract_block(signal, [(5.0, 25.0)], connectivity=False, raw=True).data["raw"][0].values
    assert (raw[:, 4 * 128 : 8 * 128] == 0).all() and np.abs(raw).max() < 100 and raw[:, :500].std() > 3


def test_extraction_asks_for_raw_windows_and_subjects_are_put_on_one_scale():
    def trials(subject, gain):
        signal = brain(256, 60) * gain
        signal.attrs = {"units": "uV", "sampling_rate": 256}
        parts = tuple(Segment(f"{subject}/T{k}", 5 + 10 * k, 15 + 10 * k, "c", {}) for k in range(5))
        recording = Recording(subject, subject, (Target("valence", bounds=(1, 9)),), {"eeg": signal}, parts, {})
        settings = Extraction(window_s=4.0, eeg_input="raw", connectivity=False)
        return extract(recording, {"eeg": ("eeg",)}, settings)

    joined = Trials.concat([trials("a", 1.0), trials("b", 0.5)])
    assert joined.inputs["eeg"].attrs["encoder"] == "eeg_raw"
    z = standardise(joined).inputs["eeg"]["raw"].values
    assert z.dtype == np.float32 and z.shape == (10, 4, 512)
    for person in (z[:5], z[5:]):
        np.testing.assert_allclose(person.std((0, 2)), 1, atol=1e-3)
    with pytest.raises(InputError, match="maps, raw"):
        Extraction(eeg_input="waves")
