import mne
import numpy as np
import pytest

from bayesaffect.errors import InputError
from bayesaffect.signals.eeg.filters import filter_eeg


def cascade(data, rate, band, mains):
    upper = min(max(0.25 * band[1], 2), rate / 2 - band[1])
    data = mne.filter.filter_data(data, rate, *band, h_trans_bandwidth=upper, verbose="ERROR")
    return mne.filter.notch_filter(data, rate, mains, verbose="ERROR") if mains else data


@pytest.mark.parametrize(
    ("rate", "seconds", "band", "line", "mains"),
    [
        (256.0, 20, (1, 45), 50.0, [50]),
        (256.0, 20, (1, 45), 60.0, []),
        (256.0, 20, (0.5, 100), 50.0, [50, 100]),
        (512.0, 9, (4, 120), 60.0, [60, 120]),
        (250.0, 21, (1, 45), 0.0, []),
        (128.0, 12, (1, 45), 50.0, [50]),
    ],
)
def test_one_filter_equals_mne_s_cascade_edges_included(rate, seconds, band, line, mains):
    rng = np.random.default_rng(0)
    data = rng.normal(0, 10, (6, int(seconds * rate) + 1)) + rng.normal(0, 1e3, (6, 1))
    ours = filter_eeg(data, rate, band=band, line_frequency=line)
    np.testing.assert_allclose(ours, cascade(data, rate, band, mains), rtol=0, atol=1e-10 * 1e3 / 10)


@pytest.mark.filterwarnings("ignore:filter_length")
def test_signals_shorter_than_the_joined_filter_equal_mne_too():
    data = np.random.default_rng(1).normal(0, 10, (2, 4 * 256))
    np.testing.assert_allclose(filter_eeg(data, 256.0), cascade(data, 256.0, (1, 45), [50]), atol=1e-10)


def test_a_sine_in_the_band_keeps_its_phase():
    t = np.arange(30 * 200) / 200
    wave = np.sin(2 * np.pi * 10 * t + 0.4)[None]
    np.testing.assert_allclose(filter_eeg(wave, 200.0)[0, 1000:-1000], wave[0, 1000:-1000], atol=5e-3)


@pytest.mark.parametrize("band", [(0, 45), (30, 20), (1, 64)])
def test_bands_that_do_not_fit_are_refused(band):
    with pytest.raises(InputError, match="does not fit"):
        filter_eeg(np.zeros((1, 1000)), 128.0, band=band)
