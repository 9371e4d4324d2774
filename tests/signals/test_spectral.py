import mne
import numpy as np
import pytest
import xarray as xr
from scipy import signal

from bayesaffect.errors import InputError
from bayesaffect.signals.eeg import spectral, tapers

RATE = 128


def array(data, names=None, rate=RATE):
    names = names or [f"c{k}" for k in range(len(data))]
    coords = {"channel": names, "time": np.arange(data.shape[1]) / rate}
    return xr.DataArray(
        data, dims=("channel", "time"), coords=coords, attrs={"units": "uV", "sampling_rate": float(rate)}
    )


def noise(seconds, channels=4, rate=RATE, seed=0):
    return np.random.default_rng(seed).normal(0, 10, (channels, round(seconds * rate))) + 50


def coloured(exponent, seconds, channels, seed=0):
    """Noise in uV with density proportional to f^-exponent above 0.3 Hz."""
    n = seconds * RATE
    f = np.maximum(np.fft.rfftfreq(n, 1 / RATE), 0.3)
    white = np.random.default_rng(seed).normal(size=(channels, n))
    data = np.fft.irfft(np.fft.rfft(white) * f ** (-exponent / 2), n)
    return 10 * data / data.std()


def test_band_power_of_a_sine_is_half_its_squared_amplitude():
    t = np.arange(4 * RATE) / RATE
    amplitude = np.array([[3.0], [12.0]])
    power = spectral.extract_spectral_features(array(amplitude * np.sin(2 * np.pi * 20 * t)))
    assert power.dims == ("band", "channel", "frame") and power.shape == (5, 2, 4)
    np.testing.assert_allclose(10 ** power.sel(band="beta").mean("frame"), amplitude[:, 0] ** 2 / 2, rtol=0.02)
    assert float(power.sel(band="delta").max()) < np.log10(1e-4 * 72)
    np.testing.assert_allclose(power["frame"], [0.5, 1.5, 2.5, 3.5])


@pytest.mark.parametrize(("rate", "frame_s"), [(128, 0.5), (125, 1.0), (100, 0.75), (250, 1.0)])
@pytest.mark.parametrize("method", ["multitaper", "welch"])
def test_band_power_equals_mne_frame_by_frame(rate, frame_s, method):
    data, step = noise(3, rate=rate), round(frame_s * rate)
    bands = {"low": (4, 14), "all": (0, rate / 2 + 1), "beta": (13.3, 30.0)}
    power = spectral.extract_spectral_features(array(data, rate=rate), frame_s=frame_s, method=method, bands=bands)
    for k in range(power.sizes["frame"]):
        epoch = data[:, k * step : (k + 1) * step]
        if method == "welch":
            psd, freqs = mne.time_frequency.psd_array_welch(
                epoch, rate, n_fft=step, n_per_seg=step, window="hann", verbose="ERROR"
            )
        else:
            width = {"bandwidth": 4 * rate / step, "normalization": "full"}
            psd, freqs = mne.time_frequency.psd_array_multitaper(epoch, rate, verbose="ERROR", **width)
        for name, (low, high) in bands.items():
            expected = psd[:, (freqs >= low) & (freqs < high)].sum(1) * (freqs[1] - freqs[0])
            np.testing.assert_allclose(10 ** power.sel(band=name)[:, k], expected + 1e-6, rtol=1e-9)


def test_long_recordings_are_transformed_in_parts(monkeypatch):
    data = array(noise(12))
    expected = spectral.extract_spectral_features(data), spectral.welch_density(data)
    monkeypatch.setattr(spectral, "CHUNK", 5)
    found = spectral.extract_spectral_features(data), spectral.welch_density(data)
    for mine, other in zip(found, expected, strict=True):
        xr.testing.assert_allclose(mine, other, rtol=1e-12)


def test_spectra_are_the_transforms_of_tapered_frames():
    frames = noise(2).reshape(4, 2, RATE).swapaxes(0, 1)
    found = tapers.tapered_spectra(frames, RATE, span=(3, 40))
    values, freqs, weights = mne.time_frequency.psd_array_multitaper(
        frames, RATE, fmin=3, fmax=40, bandwidth=4, output="complex", verbose="ERROR"
    )
    first, second = found.values[:3], found.values[3:]
    turned = found.turned[:, None, None, None]
    real, imaginary = np.where(turned, second, first), np.where(turned, first, second)
    np.testing.assert_allclose(real + 1j * imaginary, (values * weights).transpose(2, 3, 0, 1), atol=1e-11)
    np.testing.assert_allclose(found.frequencies, freqs)


def test_welch_density_equals_mne_and_leaves_out_what_is_unusable():
    data = noise(11, channels=3)
    found = spectral.welch_density(array(data), segment_s=2, span=(2, 40))
    options = {"fmin": 2, "fmax": 40, "n_fft": 256, "n_overlap": 128, "window": "hann", "verbose": "ERROR"}
    expected, freqs = mne.time_frequency.psd_array_welch(data, RATE, **options)
    np.testing.assert_allclose(found, expected, rtol=1e-10)
    np.testing.assert_allclose(found["frequency"], freqs)
    spoilt = data.copy()
    spoilt[:, 5 * RATE + 3] = 1e5
    usable = np.arange(data.shape[1]) // RATE != 5
    both = [spectral.welch_density(array(d), usable=usable) for d in (data, spoilt)]
    np.testing.assert_allclose(both[0], both[1])
    assert np.isnan(spectral.welch_density(array(data), usable=np.zeros(data.shape[1], bool))).all()


def test_entropy_is_that_of_the_band_passed_signal():
    data = array(noise(120, channels=3))
    entropy = spectral.differential_entropy(
        spectral.extract_spectral_features(data, frame_s=2.0, bands={"beta": (13, 30)})
    )
    filtered = signal.sosfiltfilt(signal.butter(8, (12.75, 29.75), "band", fs=RATE, output="sos"), data.values)
    expected = 0.5 * np.log(2 * np.pi * np.e * filtered.var(axis=1))
    # the mean logarithm of about 34 x 3 squared normals lies 1 / (2 x 100) below, its error over 60 frames is 0.01
    np.testing.assert_allclose(entropy.mean("frame")[0], expected, atol=0.04)
    power = xr.DataArray([[1.0], [-0.3]], dims=("band", "channel"))
    nats = 0.5 * np.log(2 * np.pi * np.e * np.array([10, 10**-0.3]))
    np.testing.assert_allclose(spectral.differential_entropy(power)[:, 0], nats)


def test_asymmetry_is_the_right_over_the_left():
    names = ["F3", "EEG AF4-REF", "f4", "F7", "Cz", "AF3"]
    power = xr.DataArray(
        np.log10([[2.0, 4, 6, 1, 1, 5], [1, 1, 3, 1, 1, 1]]),
        dims=("band", "channel"),
        coords={"band": ["alpha", "beta"], "channel": names},
    )
    found = spectral.frontal_asymmetry(power)
    assert list(found["pair"].values) == ["f4_F3", "EEG AF4-REF_AF3"]
    np.testing.assert_allclose(found, np.log([[3, 0.8], [3, 1]]))
    assert spectral.frontal_asymmetry(power.isel(channel=[0, 4])).sizes["pair"] == 0


@pytest.mark.statistical
@pytest.mark.parametrize("exponent", [0.0, 0.7, 1.5, 2.5])
def test_slope_finds_the_exponent_of_coloured_noise(exponent):
    found = spectral.spectral_slope(spectral.welch_density(array(coloured(exponent, 60, 24))))
    error = float(found.std()) / np.sqrt(24)
    assert float(found.mean()) == pytest.approx(exponent, abs=5 * error + 0.015)  # 0.015: leakage of the Hann window
    assert error < 0.02


def test_slope_is_exact_on_a_line_and_ignores_a_peak_that_tilts_least_squares():
    f = np.arange(1, 46, 0.5)
    line = 10 ** (1.3 - 1.2 * np.log10(f))
    peaked = line * np.where(np.abs(f - 35) < 1.1, 20, 1) * np.where((f >= 8) & (f <= 12), 5, 1)
    coords = {"channel": ["a", "b", "c"], "frequency": f}
    density = xr.DataArray([line, peaked, np.zeros(f.size)], dims=("channel", "frequency"), coords=coords)
    found = spectral.spectral_slope(density).values
    np.testing.assert_allclose(found[:2], 1.2, atol=1e-3)
    assert np.isnan(found[2])
    used = (f >= 2) & (f <= 40) & ~((f >= 7) & (f <= 14))
    plain = -np.polyfit(np.log10(f[used]), np.log10(peaked[used]), 1)[0]
    assert abs(plain - 1.2) > 0.05


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda x: spectral.extract_spectral_features(x, bands={"slow": (0.2, 0.8)}), "holds no frequency"),
        (lambda x: spectral.extract_spectral_features(x, frame_s=9), "no frame"),
        (lambda x: spectral.extract_spectral_features(x, frame_s=0.04), "fewer than 8 samples"),
        (lambda x: spectral.extract_spectral_features(x, frame_s=np.nan), "fewer than 8 samples"),
        (lambda x: spectral.extract_spectral_features(x, bands={}), "no band"),
        (lambda x: spectral.extract_spectral_features(x, method="fft"), "multitaper, welch"),
        (lambda x: spectral.welch_density(x, segment_s=5), "no frame"),
        (lambda x: spectral.spectral_slope(spectral.welch_density(x), span=(5, 6)), "frequencies"),
    ],
)
def test_what_cannot_be_told_is_refused(call, says):
    with pytest.raises(InputError, match=says):
        call(array(noise(2)))
