"""Scores and conformal sets against other people's implementations, to 1e-6 where both define the same."""

import numpy as np
import pytest
import scoringrules
import torchmetrics.functional as torchmetrics

from bayesaffect.evaluate import calibration, conformal, scores


@pytest.fixture(scope="module")
def ratings():
    rng = np.random.default_rng(0)
    return rng.normal(0, 1, 40), np.exp(rng.normal(0, 0.6, 40)), rng.normal(0, 1.5, 40)


@pytest.fixture(scope="module")
def classes():
    rng = np.random.default_rng(1)
    prob = rng.dirichlet([1, 0.5, 2, 1], size=400)
    return prob, (rng.random((400, 1)) > (0.7 * prob + 0.075).cumsum(1)).sum(1).clip(max=3)


def test_crps_equals_scoringrules(ratings):
    mean, sd, y = ratings
    df, draws = np.linspace(1.4, 30, 40), np.random.default_rng(2).normal(size=(25, 40))
    assert scores.crps_gaussian(mean, sd, y) == pytest.approx(scoringrules.crps_normal(y, mean, sd), abs=1e-6)
    assert scores.crps_t(df, mean, sd, y) == pytest.approx(scoringrules.crps_t(y, df, mean, sd), abs=1e-6)
    for fair, estimator in ((False, "nrg"), (True, "fair")):
        expected = scoringrules.crps_ensemble(y, draws.T, estimator=estimator)
        assert scores.crps_draws(draws, y, fair=fair) == pytest.approx(expected, abs=1e-6)


def test_crps_of_a_mixture_equals_scoringrules():
    rng = np.random.default_rng(3)
    mean, sd, y = rng.normal(size=(6, 20)), np.exp(rng.normal(-1, 0.5, (6, 20))), rng.normal(size=20)
    expected = scoringrules.crps_mixnorm(y, mean.T, sd.T)
    assert scores.crps(mean, sd**2, y) == pytest.approx(expected, abs=1e-6)


def test_interval_and_ranked_probability_scores_equal_scoringrules(ratings, classes):
    mean, sd, y = ratings
    got = scores.interval_score(mean - sd, mean + sd, y, 0.8)
    assert got == pytest.approx(scoringrules.interval_score(y, mean - sd, mean + sd, 0.2), abs=1e-6)
    prob, label = classes
    assert scores.rps_each(prob, label) == pytest.approx(scoringrules.rps_score(label + 1, prob), abs=1e-6)


def test_classes_equal_torchmetrics(classes):
    import torch

    prob, label = classes
    p, y = torch.tensor(prob), torch.tensor(label)
    shared = {"task": "multiclass", "num_classes": 4}
    expected = torchmetrics.calibration_error(p, y, n_bins=15, norm="l1", **shared)
    assert calibration.ece(prob, label) == pytest.approx(float(expected), abs=1e-6)
    assert scores.kappa(prob, label) == pytest.approx(float(torchmetrics.cohen_kappa(p, y, **shared)), abs=1e-6)
    assert scores.auroc(prob, label) == pytest.approx(float(torchmetrics.auroc(p, y, **shared)), abs=1e-6)
    macro = float(torchmetrics.f1_score(p, y, average="macro", **shared))
    assert scores.macro_f1(prob, label) == pytest.approx(macro, abs=1e-6)


def test_correlations_equal_torchmetrics(ratings):
    """Theirs has n - 1 in the variances but not beside the squared difference of means: the same where that is 0."""
    import torch

    mean, _, y = ratings
    mean, y = mean - mean.mean() + 0.3, y - y.mean() + 0.3
    x, t = torch.tensor(mean), torch.tensor(y)
    assert scores.pearson(mean, y) == pytest.approx(float(torchmetrics.pearson_corrcoef(x, t)), abs=1e-6)
    assert scores.ccc(mean, y) == pytest.approx(float(torchmetrics.concordance_corrcoef(x, t)), abs=1e-6)


class Given:
    """A fitted classifier, or regressor, whose predictions are its inputs."""

    def fit(self, x, y):
        return self

    def predict_proba(self, x):
        return x

    def predict(self, x):
        return x.argmax(1) if self.classes_ is not None else x[:, 0]

    def __sklearn_is_fitted__(self):
        return True


@pytest.mark.parametrize("level", [0.8, 0.93])
def test_sets_of_classes_equal_mapie(classes, level):
    from mapie.classification import SplitConformalClassifier
    from sklearn.base import BaseEstimator, ClassifierMixin

    class Classifier(Given, ClassifierMixin, BaseEstimator):
        classes_ = np.arange(4)

    prob, label = classes
    seen, new = slice(0, 150), slice(150, 400)
    rival = SplitConformalClassifier(Classifier(), confidence_level=level, conformity_score="lac", prefit=True)
    rival.conformalize(prob[seen], label[seen])
    expected = rival.predict_set(prob[new])[1][:, :, 0]
    score = conformal.class_scores(prob[seen], label[seen], np.zeros(150), kind="lac")
    got = conformal.class_sets(prob[new], conformal.quantile(score, level), kind="lac")
    assert (got == expected).all() and 1 < got.sum(1).mean() < 4


@pytest.mark.parametrize("level", [0.8, 0.93])
def test_intervals_equal_mapie(ratings, level):
    from mapie.regression import SplitConformalRegressor
    from sklearn.base import BaseEstimator, RegressorMixin

    class Regressor(Given, RegressorMixin, BaseEstimator):
        classes_ = None

    rng = np.random.default_rng(4)
    x = rng.uniform(-0.2, 0.2, 120)
    y = x + rng.normal(0, 0.15, 120)
    rival = SplitConformalRegressor(Regressor(), confidence_level=level, prefit=True)
    rival.conformalize(x[:80, None], y[:80])
    expected = rival.predict_interval(x[80:, None])[1][:, :, 0]
    ones = np.ones((1, 120))
    q = conformal.quantile(conformal.rating_scores(x[None, :80], ones[:, :80], y[:80], kind="residual"), level)
    low, high = conformal.rating_intervals(x[None, 80:], ones[:, 80:], q, kind="residual")
    assert np.stack([low, high], 1) == pytest.approx(expected, abs=1e-6)
