import numpy as np
import pytest
import xarray as xr

from bayesaffect.errors import InputError
from bayesaffect.signals.standardise import standardise
from bayesaffect.types import Target, Trials

TRIALS = 16


@pytest.fixture
def trials():
    """Two subjects on different scales; eda is invalid in one trial, body is absent in another."""
    rng = np.random.default_rng(0)
    subject = np.repeat(["a", "b"], TRIALS // 2)
    scale = np.where(subject == "a", 1.0, 50.0)[:, None]
    valid = np.ones(TRIALS)
    valid[3] = 0
    features = np.stack([*(scale * rng.normal(5, 1, (TRIALS, 2))).T, np.full(TRIALS, 7.0), valid], axis=1)
    features[3, 0] = 1e6
    series = scale[..., None] * rng.normal(2, 3, (TRIALS, 1, 20))
    maps = rng.normal(scale[..., None, None], 1, (TRIALS, 2, 3, 5))
    present = np.ones((TRIALS, 3), dtype=bool)
    present[5, 0] = False
    features[5], series[5] = np.nan, np.nan
    name = [f"{s}/{k}" for k, s in enumerate(subject)]
    coords = {"trial": name, "modality": ["body", "eeg", "face"], "subject": ("trial", subject)}
    present = xr.DataArray(present, dims=("trial", "modality"), coords=coords | {"stimulus": ("trial", name)})
    columns = ["eda_level", "eda_slope", "heart_rate", "eda_valid"]
    inputs = {
        "body": xr.Dataset(
            {
                "features": (("trial", "feature"), features.astype(np.float32)),
                "series": (("trial", "signal", "time"), series.astype(np.float32)),
            },
            coords={"trial": name, "feature": columns, "signal": ["heart_rate_level"]},
        ),
        "eeg": xr.Dataset({"maps": (("trial", "band", "channel", "frame"), maps)}, coords={"trial": name}),
        "face": xr.Dataset(
            {
                "crops": (("trial", "frame", "row", "column"), rng.integers(0, 255, (TRIALS, 2, 4, 4), dtype=np.uint8)),
                "visible": (("trial", "frame"), rng.random((TRIALS, 2))),
            },
            coords={"trial": name},
        ),
    }
    truth = xr.Dataset({"valence": ("trial", np.zeros(TRIALS))}, coords={"trial": name})
    quality = present.astype(float)
    return Trials((Target("valence", bounds=(1, 9)),), inputs, present, truth, quality)


def of(trials, subject, block, variable):
    keep = (trials.subject.values == subject) & trials.present.sel(modality=block).values
    return trials.inputs[block][variable].values[keep]


@pytest.mark.parametrize("subject", ["a", "b"])
def test_every_column_has_mean_zero_and_sd_one_within_a_subject(trials, subject):
    done = standardise(trials)
    table = of(done, subject, "body", "features")
    assert table[table[:, 3] == 1, 1].std() == pytest.approx(1, abs=1e-5)
    series, maps = of(done, subject, "body", "series"), of(done, subject, "eeg", "maps")
    assert series.mean() == pytest.approx(0, abs=1e-5) and series.std() == pytest.approx(1, abs=1e-5)
    assert np.allclose(maps.mean((0, 3)), 0) and np.allclose(maps.std((0, 3)), 1)


def test_the_equation_at_one_point(trials):
    x = of(trials, "b", "body", "features")[:, 1].astype(float)
    z = of(standardise(trials), "b", "body", "features")[:, 1]
    assert z[2] == pytest.approx((x[2] - x.mean()) / x.std(), abs=1e-4)


def test_an_invalid_signal_is_left_out_of_the_scale_and_put_to_zero(trials):
    z = standardise(trials).inputs["body"]["features"].values
    assert z[3, :2].tolist() == [0, 0] and z[3, 3] == 0 and z[2, 3] == 1
    assert z[[0, 1, 2, 4, 6, 7], 0].std() == pytest.approx(1, abs=1e-5)


def test_constant_columns_become_zero_and_outliers_are_clipped(trials):
    trials.inputs["eeg"]["maps"].values[0, 0, 0, 0] = 1e9
    done = standardise(trials)
    assert (of(done, "a", "body", "features")[:, 2] == 0).all()
    assert done.inputs["eeg"]["maps"].values.max() == 5


def test_faces_are_left_alone_and_absent_trials_stay_nan(trials):
    done = standardise(trials)
    assert done.inputs["face"].identical(trials.inputs["face"])
    assert np.isnan(done.inputs["body"]["features"].values[5]).all()


def test_units_are_scaled_over_the_frames_with_a_face_and_zero_in_the_others(trials):
    rng = np.random.default_rng(1)
    visible = (rng.random((TRIALS, 6)) < 0.7).astype(np.uint8)
    units = rng.normal([3.0, -20.0], [0.1, 4.0], (TRIALS, 6, 2)) * visible[..., None]
    face = {"visible": (("trial", "frame"), visible), "units": (("trial", "frame", "unit"), units.astype(np.float32))}
    trials.inputs["face"] = xr.Dataset(face, coords={"trial": trials.present["trial"].values, "unit": ["AU06", "AU12"]})
    z, seen = standardise(trials).inputs["face"]["units"].values, visible.astype(bool)
    assert z.dtype == np.float32 and (z[~seen] == 0).all()
    for person in (slice(0, 8), slice(8, 16)):
        np.testing.assert_allclose(z[person][seen[person]].mean(0), 0, atol=1e-5)
        np.testing.assert_allclose(z[person][seen[person]].std(0), 1, atol=1e-5)
    x = units[8:][seen[8:]][:, 1]
    first = np.flatnonzero(seen[8])[0]
    assert z[8, first, 1] == pytest.approx((units[8, first, 1] - x.mean()) / x.std(), abs=1e-4)


def test_labels_do_not_matter_but_a_subject_stays_its_own(trials):
    full, alone = standardise(trials), standardise(trials.select(trials.subject.values == "b"))
    assert np.array_equal(of(full, "b", "body", "features"), of(alone, "b", "body", "features"))


def test_too_few_trials_make_the_modality_absent_with_an_omission(trials):
    done = standardise(trials.select(np.r_[0:3, 8:16]), minimum_trials=4)
    assert not done.present.values[:3].any() and done.present.values[3:].all()
    assert len(done.omissions) == 3 and "too few" in done.omissions[0].what
    assert (done.inputs["face"]["crops"].values[:3] == 0).all() and (done.quality.values[:3] == 0).all()
    with pytest.raises(InputError):
        standardise(trials, minimum_trials=1)


def test_neutral_trials_set_zero_and_one_and_are_not_returned(trials):
    rest = np.zeros(TRIALS, dtype=bool)
    rest[8:13] = True  # five of subject b
    done = standardise(trials, neutral=rest)
    assert done.present.sizes["trial"] == TRIALS - 5
    raw = trials.inputs["body"]["features"].values[:, 0].astype(float)
    mean, spread = raw[rest].mean(), raw[rest].std()
    expected = np.clip((raw[13:] - mean) / spread, -5, 5)
    np.testing.assert_allclose(of(done, "b", "body", "features")[:, 0], expected, atol=1e-5)


def test_too_few_neutral_trials_fall_back_to_the_others_and_say_so(trials):
    rest = np.zeros(TRIALS, dtype=bool)
    rest[[0, 8]] = True
    done = standardise(trials, neutral=rest)
    assert sum("too few for a baseline" in o.what for o in done.omissions) == 2 * len(trials.modalities)
    np.testing.assert_allclose(of(done, "b", "body", "features")[:, 0].mean(), 0, atol=1e-6)
