import numpy as np
import pytest
import xarray as xr

from bayesaffect.errors import InputError
from bayesaffect.signals.eeg import connectivity, tapers
from bayesaffect.signals.eeg.connectivity import MEASURES, extract_connectivity_features

RATE = 128
BANDS = {"alpha": (8, 13), "beta": (13, 30)}


def array(data, rate=RATE):
    coords = {"channel": [f"c{k}" for k in range(len(data))], "time": np.arange(data.shape[1]) / rate}
    return xr.DataArray(
        data, dims=("channel", "time"), coords=coords, attrs={"units": "uV", "sampling_rate": float(rate)}
    )


def mixed(channels, seconds, rate=RATE, seed=0):
    """Sources seen by all channels, some of them late, so that no measure is trivial."""
    rng = np.random.default_rng(seed)
    sources = rng.normal(0, 10, (channels, round(seconds * rate)))
    late = np.stack([np.roll(row, k) for k, row in enumerate(sources)])
    return rng.normal(size=(channels, channels)) @ sources + rng.normal(size=(channels, channels)) @ late


@pytest.mark.parametrize(("channels", "rate", "frame_s"), [(5, 128, 1.0), (11, 125, 1.0), (8, 100, 0.7)])
def test_four_measures_equal_mne_connectivity(channels, rate, frame_s):
    peer = pytest.importorskip("mne_connectivity")
    data, step = mixed(channels, 10 * frame_s, rate), round(frame_s * rate)
    ours = extract_connectivity_features(array(data, rate), frame_s=frame_s, bands=BANDS)
    frames = data.reshape(channels, 10, step).swapaxes(0, 1)
    edges = {"fmin": (8, 13), "fmax": (12.99, 29.99), "faverage": True, "mt_bandwidth": 4 / frame_s}
    theirs = peer.spectral_connectivity_epochs(
        frames, method=["coh", "imcoh", "plv", "wpli"], sfreq=rate, mode="multitaper", verbose="ERROR", **edges
    )
    lower = np.tril_indices(channels, -1)
    for name, other in zip(MEASURES, theirs, strict=True):
        mine = ours.sel(measure=name).values[:, *lower]
        np.testing.assert_allclose(mine, other.get_data("dense")[lower].T, rtol=1e-7, atol=1e-12)


def test_locked_channels_have_coherence_and_phase_locking_one():
    data = mixed(2, 30)
    found = extract_connectivity_features(array(np.stack([data[0], -2 * data[0], np.roll(data[1], 999)])))
    locked = found.sel(measure=["coherence", "phase_locking"])
    np.testing.assert_allclose(locked[:, :, 0, 1], 1, atol=1e-9)
    np.testing.assert_allclose(found.sel(measure="imaginary_coherence")[:, 0, 1], 0, atol=1e-9)
    assert float(locked[:, :, 0, 2].max()) < 0.75


def test_measures_are_symmetric_but_imaginary_coherence_changes_sign():
    found = extract_connectivity_features(array(mixed(4, 20)))
    turned = found.transpose("measure", "band", "other", "channel").values.copy()
    turned[MEASURES.index("imaginary_coherence")] *= -1
    np.testing.assert_array_equal(found, turned)
    diagonal = found.values[..., np.arange(4), np.arange(4)]
    np.testing.assert_array_equal(diagonal, np.broadcast_to(np.array([1, 0, 1, 0])[:, None, None], (4, 5, 4)))


def test_imaginary_coherence_is_positive_where_the_first_channel_leads():
    rng = np.random.default_rng(0)
    source = rng.normal(0, 10, 60 * RATE)
    late = np.roll(source, 2) + rng.normal(0, 2, source.size)  # 16 ms: 61 degrees at 10.8 Hz
    found = extract_connectivity_features(array(np.stack([source, late])), bands={"alpha": (9, 13)})
    value = found.sel(measure="imaginary_coherence", channel="c0", other="c1")
    assert float(value[0]) == pytest.approx(np.sin(2 * np.pi * 10.5 * 2 / RATE), abs=0.1)
    assert float(found.sel(measure="weighted_phase_lag", channel="c0", other="c1")[0]) > 0.95


@pytest.mark.statistical
def test_mixing_without_delay_raises_coherence_but_not_the_phase_lag():
    """Volume conduction, the defect that the lag measures are there to ignore, against a true delay."""
    rng = np.random.default_rng(1)
    a, b = rng.normal(0, 10, (2, 200 * RATE))
    found = extract_connectivity_features(array(np.stack([a, 0.8 * a + 0.3 * b, np.roll(a, 3)])))
    beta = found.sel(band="beta")
    mixing, delay = beta.sel(channel="c0", other="c1"), beta.sel(channel="c0", other="c2")
    assert float(mixing.sel(measure="coherence")) > 0.9 and float(delay.sel(measure="coherence")) > 0.9
    # E over 200 frames x 3 tapers of a term of mean 0: error 1 / sqrt(600) = 0.04 of its size, mean of 17 bins
    assert abs(float(mixing.sel(measure="imaginary_coherence"))) < 0.03
    assert float(mixing.sel(measure="weighted_phase_lag")) < 0.15
    assert float(delay.sel(measure="weighted_phase_lag")) > 0.95


def test_frames_that_are_not_kept_do_not_count():
    data, keep = mixed(3, 12), np.arange(12) != 7
    spoilt = data.copy()
    spoilt[:, 7 * RATE : 8 * RATE] *= 1e3
    found = extract_connectivity_features(array(spoilt), keep=keep)
    rest = data.reshape(3, 12, RATE)[:, keep].reshape(3, -1)
    np.testing.assert_allclose(found, extract_connectivity_features(array(rest)), rtol=1e-9, atol=1e-12)
    spectra = tapers.tapered_spectra(spoilt.reshape(3, 12, RATE).swapaxes(0, 1), RATE)
    values = connectivity.band_connectivity(connectivity.cross_sums(spectra, keep), 11, spectra)
    np.testing.assert_allclose(values, found, rtol=1e-12)


def test_long_recordings_are_summed_in_parts(monkeypatch):
    data = array(mixed(10, 12))
    expected = extract_connectivity_features(data)
    monkeypatch.setattr(connectivity, "CHUNK", 5)
    np.testing.assert_allclose(extract_connectivity_features(data), expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("level", [0.0, 7.3])
def test_a_channel_without_signal_says_nothing(level):
    data = mixed(3, 10)
    data[1] = level
    found = extract_connectivity_features(array(data))
    assert np.isnan(found.sel(channel="c1")).all() and np.isnan(found.sel(other="c1")).all()
    assert np.isfinite(found.sel(channel="c0", other="c2")).all()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"frame_s": 6.0}, "two frames"),
        ({"keep": np.arange(10) == 2}, "two frames"),
        ({"keep": np.ones(9, bool)}, "there are 10 frames"),
        ({"bands": {"slow": (0.2, 0.8)}}, "holds no frequency"),
    ],
)
def test_what_cannot_be_told_is_refused(options, says):
    with pytest.raises(InputError, match=says):
        extract_connectivity_features(array(mixed(2, 10)), **options)
