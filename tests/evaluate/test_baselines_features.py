"""Forest and linear regression on hand-made features: standardisation, floors, variances, and who is learned from."""

import numpy as np
import pytest
import xarray as xr

from bayesaffect.evaluate import baselines, scores
from bayesaffect.evaluate.baselines import features
from bayesaffect.types import Target, Trials

RATING, CLASS = Target("valence", bounds=(0, 10)), Target("mood", levels=("a", "b", "c"))
GROUPS = (("S0", "S1", "S2"), ("S3", "S4", "S5"), ("S6", "S7", "S8"))


@pytest.fixture(autouse=True)
def few_trees(monkeypatch):
    assert features.TREES == 300
    monkeypatch.setattr(features, "TREES", 40)


def make(*, seed=0, each=30, offset=5.0, gaps=0.1, measured=True, gain=1.0, twins=1) -> Trials:
    """Two modalities; the first feature of each is valence plus noise, on a scale of the subject's own.

    ``twins``: so many trials in a row are nearly the same, as overlapping windows are.
    """
    rng = np.random.default_rng(seed)
    n = 9 * each
    trial, subject = [f"T{k}" for k in range(n)], np.repeat([f"S{k}" for k in range(9)], each)
    coords = {"trial": trial, "modality": ["x", "y"], "subject": ("trial", subject), "stimulus": ("trial", trial)}
    present = xr.DataArray(rng.random((n, 2)) < 0.9, dims=("trial", "modality"), coords=coords)
    valence = np.repeat(rng.uniform(-0.9, 0.9, n // twins), twins)
    truth = xr.Dataset(
        {"valence": ("trial", valence), "mood": ("trial", np.digitize(valence, [-0.3, 0.3]))}, coords={"trial": trial}
    )
    inputs, measures = {}, {}
    for k, name in enumerate("xy"):
        clean = np.repeat(rng.normal(0, 0.3, (n // twins, 5)), twins, 0) + rng.normal(0, 0.03, (n, 5)) * (twins > 1)
        clean[:, 0] += gain * valence
        shift = np.repeat(rng.normal(0, offset, (9, 1)), each, 0)
        raw = np.where(rng.random((n, 5)) < gaps, np.nan, clean + shift)
        clean[~present.values[:, k]] = np.nan
        block = (("trial", "feature"), clean.astype("float32"))
        inputs[name] = xr.Dataset({"features": block}, coords={"trial": trial}, attrs={"encoder": "physio"})
        if measured:
            measures[name] = xr.Dataset(
                {"features": (("trial", "feature"), raw)}, coords={"trial": trial, "feature": list("abcde")}
            )
    quality = xr.ones_like(present, dtype=float)
    return Trials((RATING, CLASS), inputs, present, truth, quality, measures=measures)


def test_the_table_is_standardised_inside_subjects_by_hand():
    trials = make()
    table = baselines.table(trials)
    assert list(table.feature.values[[0, 9]]) == ["x.a", "y.e"]
    mine = (trials.subject == "S4").values & trials.present.values[:, 1]
    raw = trials.measures["y"]["features"].values[:, 2]
    known = raw[mine & np.isfinite(raw)]
    k = int(np.flatnonzero(mine & np.isfinite(raw))[3])
    assert table.sel(feature="y.c").values[k] == pytest.approx((raw[k] - known.mean()) / known.std())
    assert np.isnan(table.sel(feature="y.c").values[~trials.present.values[:, 1]]).all()


def test_constant_and_wild_columns_stay_finite():
    trials = make(gaps=0.0)
    features = trials.measures["x"]["features"]
    features[:, 1], features[7, 2] = 3.7, 1e9
    table = baselines.table(trials)
    here = trials.present.values[:, 0]
    assert (table.sel(feature="x.b").values[here] == 0).all()
    assert np.nanmax(np.abs(table.values)) == 5


def test_without_measures_the_networks_own_features_are_read():
    trials = make(measured=False)
    table = baselines.table(trials)
    assert table.shape == (270, 10) and str(table.feature.values[6]) == "y.1"
    assert scores.accuracy(baselines.linear(trials, GROUPS, seed=0).probability("mood").values, _mood(trials)) > 0.6


def _mood(trials):
    kept = trials.present.values.any(1)
    return trials.truth["mood"].values[kept]


@pytest.mark.parametrize("learn", [baselines.linear, baselines.forest])
def test_they_learn_across_subjects_in_spite_of_offsets_and_gaps(learn):
    trials = make()
    found = learn(trials, GROUPS, seed=0)
    y, kept = trials.truth["valence"].values, trials.present.values.any(1)
    assert found.trial.size == kept.sum() < 270
    assert scores.accuracy(found.probability("mood").values, _mood(trials)) > 0.65
    assert scores.rmse(found.mean["valence"].values[0], y[kept]) < 0.7 * y.std()
    coverage = scores.coverage(found.mean["valence"].values, found.variance["valence"].values, y[kept], 0.9)
    assert 0.85 < coverage < 0.95
    again = learn(trials, GROUPS, seed=0)
    assert (again.probability("mood").values == found.probability("mood").values).all()


@pytest.mark.parametrize("learn", [baselines.linear, baselines.forest])
def test_nobody_is_predicted_from_their_own_truth(learn):
    trials = make(each=8)
    found = learn(trials, GROUPS, seed=0)
    own = found.trained_on.sel(trained_subject=xr.DataArray(found.subject.values, dims="trial"))
    assert not own.values.any() and (found.trained_on.sum("trained_subject") == 6).all()
    mine = np.isin(trials.subject.values, GROUPS[1])
    trials.truth["mood"][mine], trials.truth["valence"][mine] = 0, 0.9
    other = learn(trials, GROUPS, seed=0)
    same = np.isclose(found.probability("mood"), other.probability("mood")).all(1)
    tested = np.isin(found.subject.values, GROUPS[1])
    assert same[tested].all() and not same[~tested].all()
    assert np.allclose(found.mean["valence"][0, tested], other.mean["valence"][0, tested])


def test_a_forest_calls_nothing_impossible(monkeypatch):
    monkeypatch.setattr(features, "LEAF", 1)  # leaves of one trial vote 0 or 1
    trials = make(gain=30.0, each=10)
    prob = baselines.forest(trials, GROUPS, seed=0).probability("mood").values
    assert prob.min() == pytest.approx(1 / 43) and np.allclose(prob.sum(1), 1)
    trials.truth["mood"][trials.truth["mood"] == 1] = -1  # a level that is never shown
    prob = baselines.forest(trials, GROUPS, seed=0).probability("mood").values
    assert np.allclose(prob[:, 1], 1 / 43)


@pytest.mark.parametrize("learn", [baselines.linear, baselines.forest])
def test_overlapping_windows_do_not_make_intervals_too_narrow(learn):
    inside = []
    for seed in range(3):
        trials = make(seed=seed, each=40, twins=8, gain=0.4)
        found = learn(trials, GROUPS, seed=0)
        y = trials.truth["valence"].values[trials.present.values.any(1)]
        inside.append(scores.coverage(found.mean["valence"].values, found.variance["valence"].values, y, 0.9))
    assert 0.85 < np.mean(inside) < 0.96  # 135 independent trials: 90 % +- 2.6 %


def test_noise_is_not_learned():
    trials = make(gain=0.0)
    label, n = _mood(trials), 3
    prior = baselines.prior_only(trials, GROUPS).probability("mood").values[trials.present.values.any(1)]
    for learn in (baselines.linear, baselines.forest):
        prob = learn(trials, GROUPS, seed=0).probability("mood").values
        assert abs(scores.accuracy(prob, label) - 1 / n) < 0.12
        assert scores.nll(prob, label) > scores.nll(prior, label) - 0.02
