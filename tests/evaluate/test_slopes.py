import numpy as np
import pytest
from scipy.optimize import minimize
from sklearn.linear_model import LogisticRegression

from bayesaffect.evaluate import slopes


def events(n=4000, slope=0.6, intercept=-0.4, seed=0):
    rng = np.random.default_rng(seed)
    log_odds = rng.normal(0, 1.5, n)
    truth = rng.random(n) < 1 / (1 + np.exp(-intercept - slope * log_odds))
    return 1 / (1 + np.exp(-log_odds)), truth.astype(int)


def test_event_line_equals_logistic_regression():
    p, y = events(300)
    oracle = LogisticRegression(C=1e12, tol=1e-12).fit(np.log(p / (1 - p))[:, None], y)
    line = slopes.event_line(p, y)
    assert (line.intercept, line.slope) == pytest.approx((oracle.intercept_[0], oracle.coef_[0, 0]), abs=1e-5)


@pytest.mark.statistical
def test_event_line_finds_what_was_planted():
    line = slopes.event_line(*events())
    error = np.sqrt(np.diag(np.linalg.inv(line.information.sum(0))))
    assert (np.abs(np.array([line.intercept, line.slope]) - [-0.4, 0.6]) < 5 * error).all()
    assert abs(line.slope - 1) > 5 * error[1]


def test_class_slope_maximises_the_likelihood_and_undoes_a_temperature():
    rng = np.random.default_rng(1)
    prob = rng.dirichlet([1, 1, 1, 1], size=600)
    label = (rng.random((600, 1)) > prob.cumsum(1)).sum(1).clip(max=3)

    def loss(b, p):
        z = b * np.log(p)
        return -(z[np.arange(600), label] - np.log(np.exp(z).sum(1))).sum()

    found = slopes.class_slope(prob, label).slope
    assert found == pytest.approx(minimize(lambda b: loss(b[0], prob), [1.0], tol=1e-10).x[0], abs=1e-4)
    hot = prob**2.5 / (prob**2.5).sum(1, keepdims=True)
    assert slopes.class_slope(hot, label).slope == pytest.approx(found / 2.5, abs=1e-6)


def test_of_two_classes_without_intercept_both_agree():
    p, y = events(2000, intercept=0.0)
    both = np.stack([1 - p, p], 1)
    assert slopes.class_slope(both, y).slope == pytest.approx(slopes.event_line(p, y).slope, abs=0.01)


def test_no_solution_is_nan():
    assert np.isnan(slopes.event_line(np.array([0.1, 0.2, 0.8, 0.9]), np.array([0, 0, 1, 1])).slope)
    assert np.isnan(slopes.event_line(np.full(9, 0.5), np.arange(9) % 2).slope)
    assert np.isnan(slopes.event_line(np.array([0.3, 0.6, 0.2]), np.ones(3)).slope)
    assert np.isnan(slopes.rating_line(np.ones(5), np.arange(5.0))).all()
    assert np.isnan(slopes.clustered_error(slopes.event_line(*events(50)), np.zeros(50)))


def test_rating_line_is_the_regression_of_truth_on_prediction():
    rng = np.random.default_rng(2)
    x = rng.normal(0.3, 1, 80)
    y = 0.2 + 0.7 * x + rng.normal(0, 0.3, 80)
    slope, intercept = np.polyfit(x, y, 1)
    assert slopes.rating_line(x, y) == pytest.approx((intercept, slope), abs=1e-9)


@pytest.mark.statistical
def test_clustered_error_sees_that_a_subjects_trials_go_together():
    rng = np.random.default_rng(3)
    people, trials = 40, 50
    found, told = [], []
    for _ in range(60):
        subject = np.repeat(np.arange(people), trials)
        x = rng.normal(0, 1.5, subject.size)
        b = rng.normal(1, 0.5, people)[subject]
        y = rng.random(subject.size) < 1 / (1 + np.exp(-b * x))
        line = slopes.event_line(1 / (1 + np.exp(-x)), y)
        found.append(line.slope)
        told.append(slopes.clustered_error(line, subject))
    naive = np.sqrt(np.linalg.inv(line.information.sum(0))[1, 1])
    assert np.mean(told) == pytest.approx(np.std(found), rel=0.35)  # sd of 60 draws: 9 %, and its own bias
    assert naive < 0.8 * np.std(found)
