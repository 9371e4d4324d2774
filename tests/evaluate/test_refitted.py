import numpy as np
import pytest
import xarray as xr
from scipy.optimize import approx_fprime
from sklearn.linear_model import LogisticRegression

from bayesaffect.evaluate import refitted
from bayesaffect.simulate import OpinionModel, simulate_opinions
from bayesaffect.types import Target

MOOD = Target("mood", levels=("low", "mid", "high"))


def simulated(missing=0.0, **options):
    model = OpinionModel(missing=missing, **options)
    return simulate_opinions(subjects=20, trials=40, modalities=("eeg", "face"), targets=(MOOD,), seed=4, model=model)


def predicted(opinions, members, coalitions):
    tested = opinions.subject.isin(members).values
    return refitted.predict(opinions, MOOD, coalitions, tested=tested, learnt=~tested)


def test_the_pool_is_where_the_gradient_of_its_objective_vanishes():
    opinions, _ = simulated()
    x, label = refitted.evidence(opinions, MOOD), opinions.truth["mood"].values
    b, w = refitted.pool(x, label)

    def objective(theta):
        eta = theta[:3] + (theta[3:, None] * x).sum(1)
        log_p = eta - np.log(np.exp(eta).sum(1, keepdims=True))
        return -log_p[np.arange(label.size), label].sum() + ((theta - np.r_[0, 0, 0, 1, 1]) ** 2).sum() / 2

    theta = np.r_[b, w]
    assert np.abs(approx_fprime(theta, objective, 1e-6)).max() < 1e-3 * label.size
    assert all(objective(theta) < objective(theta + d) for d in 0.1 * np.eye(5))


def test_its_weights_are_those_that_opinions_were_made_with():
    opinions, known = simulated(reliability_sd=1e-3, subject_level_sd=1e-3)
    b, w = refitted.pool(refitted.evidence(opinions, MOOD), opinions.truth["mood"].values)
    weight = known["weight"].sel(target="mood").values
    assert np.abs(w / weight - 1).max() < 0.25  # 800 trials know a weight to about 6 %
    assert b.sum() == pytest.approx(0, abs=0.05)


def test_one_modality_of_two_classes_is_logistic_regression():
    rng = np.random.default_rng(0)
    z, label = rng.normal(size=500), rng.integers(0, 2, 500)
    z += 1.5 * label
    x = np.stack([-z / 2, z / 2], 1)[:, None]
    b, w = refitted.pool(x, label)
    other = LogisticRegression(C=1e6).fit(z[:, None], label)
    assert w[0] == pytest.approx(other.coef_[0, 0], rel=0.02)
    assert b[1] - b[0] == pytest.approx(other.intercept_[0], rel=0.05)


def test_a_copy_that_a_joint_fit_would_ignore_is_worth_as_much_alone():
    opinions, _ = simulated()
    copy = opinions.log_prob["mood"].copy(deep=True)
    copy.values[:, 1] = copy.values[:, 0]
    opinions = type(opinions)(opinions.targets, opinions.present, opinions.truth, log_prob={"mood": copy})
    members = [f"S{k:03d}" for k in range(1, 6)]
    alone, twin, both = predicted(opinions, members, (("eeg",), ("face",), ("eeg", "face")))
    np.testing.assert_allclose(alone, twin)
    assert np.abs(both - alone).max() < 0.05


def test_nothing_is_learned_from_those_who_are_predicted_and_what_is_missing_is_silent():
    opinions, _ = simulated(missing=0.3)
    members = ["S001", "S002"]
    tested = opinions.subject.isin(members).values
    before = predicted(opinions, members, ((), ("eeg",), ("eeg", "face")))
    changed = np.where(tested, (opinions.truth["mood"].values + 1) % 3, opinions.truth["mood"].values)
    truth = xr.Dataset({"mood": ("trial", changed)}, coords=opinions.truth.coords)
    other = type(opinions)(opinions.targets, opinions.present, truth, log_prob=opinions.log_prob)
    np.testing.assert_array_equal(before, predicted(other, members, ((), ("eeg",), ("eeg", "face"))))
    np.testing.assert_allclose(np.exp(before).sum(-1), 1)
    blind = ~opinions.present.values[tested][:, 0]
    assert blind.sum() > 5 and np.ptp(before[1][blind], axis=0).max() == 0
    share = np.bincount(opinions.truth["mood"].values[~tested], minlength=3) / (~tested).sum()
    np.testing.assert_allclose(np.exp(before[0][0]), share, atol=0.01)
