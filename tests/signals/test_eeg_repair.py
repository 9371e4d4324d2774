import mne
import numpy as np
import pytest

from bayesaffect.signals.eeg.electrodes import plain_name, spline_weights, standard_labels
from bayesaffect.signals.eeg.repair import clear_frames, clipped, fine_frames, repair

DEAP = (
    "Fp1 AF3 F3 F7 FC5 FC1 C3 T7 CP5 CP1 P3 P7 PO3 O1 Oz Pz Fp2 AF4 Fz F4 F8 FC6 FC2 Cz C4 T8 CP6 CP2 P4 P8 PO4 O2"
).split()
CLINICAL = [f"EEG {n}-REF" for n in "FP1 FP2 F3 F4 C3 C4 P3 P4 O1 O2 F7 F8 T3 T4 T5 T6 FZ CZ PZ".split()]


@pytest.mark.parametrize(
    ("names", "montage", "known"),
    [
        (DEAP, "biosemi32", 32),
        (CLINICAL, "1020", 19),
        (["Fc5.", "C3..", "Cz..", "Po7.", "Iz.."], "biosemi64", 5),
        (["FFC1h", "CCP2h", "Cz", "TPP7h"], "1005", 4),
        (["Fp1-F3", "B7", "ch 3"], "", 0),
        (["Cz", "cz", "Pz"], "biosemi32", 2),
    ],
)
def test_montage_is_the_one_that_knows_most_names(names, montage, known):
    found, labels = standard_labels(tuple(names))
    assert found.endswith(montage) and sum(label is not None for label in labels) == known


@pytest.mark.parametrize(
    ("name", "plain"), [("EEG Fp1-REF", "fp1"), ("Fp1..", "fp1"), (" cZ ", "cz"), ("Fp1-F3", "fp1-f3")]
)
def test_plain_names(name, plain):
    assert plain_name(name) == plain


@pytest.mark.parametrize("names", [DEAP, CLINICAL])
def test_spline_equals_mne_on_the_data(names):
    rng, bad = np.random.default_rng(0), np.zeros(len(names), bool)
    bad[[2, 7]] = True
    data = rng.normal(size=(len(names), len(names))) @ rng.normal(size=(len(names), 300))
    montage, labels = standard_labels(tuple(names))
    raw = mne.io.RawArray(data, mne.create_info(list(labels), 100.0, "eeg"), verbose="ERROR")
    raw.set_montage(mne.channels.make_standard_montage(montage))
    raw.info["bads"] = [labels[2], labels[7]]
    expected = raw.interpolate_bads(verbose="ERROR").get_data()
    np.testing.assert_allclose(repair(data, bad, tuple(names)), expected - expected.mean(axis=0), atol=1e-9)


def test_electrodes_without_a_place_are_replaced_by_the_mean_and_do_not_enter_the_spline():
    names, bad = (*DEAP, "X1", "X2"), np.zeros(34, bool)
    bad[[3, 33]] = True
    weights = spline_weights(names, tuple(bad.tolist()))
    np.testing.assert_allclose(weights[1], 1 / 32)
    assert weights[0, -1] == 0 and np.abs(weights[0]).max() > 0.2
    alone = spline_weights(tuple(DEAP), tuple(bad[:32].tolist()))
    np.testing.assert_allclose(weights[0, :-1], alone[0], atol=1e-12)


def test_rails_are_found_and_a_coarse_converter_is_not_one():
    t = np.arange(5000) / 250
    wave = np.stack([np.clip(np.sin(9 * t), -0.8, 2), np.round(20 * np.sin(9 * t) * (1 + t / 50)), np.sin(9 * t)])
    found = clipped(wave).mean(axis=1)
    assert found[0] == pytest.approx((np.sin(9 * t) <= -0.8).mean(), abs=1e-3) and found[0] > 0.1
    assert found[1] < 0.01 and found[2] == 0


def frames(rng, count=30):
    return rng.normal(0, 10, (10, count, 128)) * rng.uniform(0.7, 1.4, (10, count, 1))


@pytest.mark.parametrize(
    ("spoil", "gone"),
    [
        (lambda x: x.__setitem__((slice(None), 4), 8 * x[:, 4]), [4]),  # five times the usual amplitude, in all
        (lambda x: x.__setitem__((slice(0, 2), 4), 8 * x[:2, 4]), []),  # a blink in two of ten channels
        (lambda x: x.__setitem__((slice(None), 7), 0.01 * x[:, 7]), [7]),  # the amplifier drops out
        (lambda x: x.__setitem__((slice(0, 3), slice(2, 4), 5), 400.0), [2, 3]),  # beyond 250 uV in three of ten
        (lambda x: None, []),
    ],
)
def test_frames_out_of_the_ordinary_are_not_fine(spoil, gone):
    data = frames(np.random.default_rng(0))
    spoil(data)
    assert np.flatnonzero(~fine_frames(data, np.zeros((10, 30), bool))).tolist() == gone


def test_frames_with_spoilt_samples_in_many_channels_are_not_fine():
    spoilt = np.zeros((10, 30), bool)
    spoilt[:2, 3], spoilt[:3, 9] = True, True
    assert np.flatnonzero(~fine_frames(frames(np.random.default_rng(0)), spoilt)).tolist() == [9]


def test_clear_frames_keep_their_distance():
    fine = np.array([0, 1, 1, 1, 1, 0, 1, 1], bool)
    assert clear_frames(fine, 1).tolist() == [False, False, True, True, False, False, False, True]
    assert clear_frames(fine, 2).tolist() == [False] * 8
    assert clear_frames(np.ones(3, bool), 2).all()


@pytest.mark.statistical
def test_stationary_noise_loses_almost_no_frame():
    rng = np.random.default_rng(5)
    kept = [fine_frames(frames(rng), np.zeros((10, 30), bool)).mean() for _ in range(100)]
    assert np.mean(kept) > 0.999
