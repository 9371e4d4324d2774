import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm, pearsonr
from sklearn import metrics

from bayesaffect.evaluate import scores


@pytest.fixture(scope="module")
def classes():
    rng = np.random.default_rng(0)
    prob = rng.dirichlet([1, 2, 0.5, 1], size=300).round(2) + 0.01
    return prob / prob.sum(1, keepdims=True), rng.integers(0, 4, 300)


@pytest.fixture(scope="module")
def mixture():
    rng = np.random.default_rng(1)
    return rng.normal(0, 0.6, (7, 30)), np.exp(rng.normal(-2, 0.7, (7, 30))), rng.normal(0, 0.7, 30)


def test_log_score_and_brier_by_hand():
    prob, label = np.array([[0.2, 0.8], [0.5, 0.5]]), np.array([1, 0])
    assert scores.nll(prob, label) == pytest.approx((-np.log(0.8) - np.log(0.5)) / 2)
    assert scores.brier(prob, label) == pytest.approx((0.08 + 0.5) / 2)


def test_categorical_scores_equal_sklearn(classes):
    prob, label = classes
    guess = prob.argmax(1)
    assert scores.nll(prob, label) == pytest.approx(metrics.log_loss(label, prob), abs=1e-6)
    expected = metrics.brier_score_loss(label, prob, labels=range(4), scale_by_half=False)
    assert scores.brier(prob, label) == pytest.approx(expected, abs=1e-6)
    assert scores.accuracy(prob, label) == pytest.approx(metrics.accuracy_score(label, guess))
    assert scores.balanced_accuracy(prob, label) == pytest.approx(metrics.balanced_accuracy_score(label, guess))
    assert scores.macro_f1(prob, label) == pytest.approx(metrics.f1_score(label, guess, average="macro"))
    assert scores.auroc(prob, label) == pytest.approx(metrics.roc_auc_score(label, prob, multi_class="ovr"), abs=1e-6)


def test_binary_auroc_counts_pairs():
    score, label = np.array([0.1, 0.4, 0.4, 0.8]), np.array([0, 0, 1, 1])
    assert scores.auroc(np.stack([1 - score, score], 1), label) == pytest.approx(3.5 / 4)


def test_auroc_leaves_out_absent_classes(classes):
    prob, label = classes
    label = np.where(label == 3, 0, label)
    expected = np.mean([metrics.roc_auc_score(label == k, prob[:, k]) for k in range(3)])
    assert scores.auroc(prob, label) == pytest.approx(expected)
    assert np.isnan(scores.auroc(prob, np.zeros_like(label)))


def test_balanced_accuracy_ignores_classes_without_truth(classes):
    prob, _ = classes
    label = np.zeros(len(prob), dtype=int)
    assert scores.balanced_accuracy(prob, label) == pytest.approx((prob.argmax(1) == 0).mean())


def test_regression_scores_equal_their_oracles():
    rng = np.random.default_rng(2)
    y = rng.normal(0.3, 1.2, 100)
    x = 0.5 * y + rng.normal(0.1, 0.4, 100)
    assert scores.rmse(x, y) == pytest.approx(metrics.root_mean_squared_error(y, x))
    assert scores.pearson(x, y) == pytest.approx(pearsonr(x, y).statistic)
    expected = 2 * np.cov(x, y, ddof=0)[0, 1] / (x.var() + y.var() + (x.mean() - y.mean()) ** 2)
    assert scores.ccc(x, y) == pytest.approx(expected, abs=1e-9)


def test_ccc_punishes_what_pearson_forgives():
    y = np.array([0.0, 1.0, 2.0, 4.0])
    assert scores.pearson(2 * y + 1, y) == pytest.approx(1)
    assert scores.ccc(2 * y + 1, y) < 0.75
    assert np.isnan(scores.pearson(np.ones(4), y))


def test_rmse_within_is_the_rmse_over_samples():
    samples = np.random.default_rng(3).normal(1, 2, (5, 601))
    x = np.linspace(-1, 1, 5)
    expected = np.sqrt(((samples - x[:, None]) ** 2).mean(1))
    assert scores.rmse_within_each(x, samples.mean(1), samples.std(1)) == pytest.approx(expected)


def test_mixture_nll_and_pit_equal_scipy(mixture):
    mean, variance, y = mixture
    law = norm(mean, np.sqrt(variance))
    assert scores.mixture_nll(mean, variance, y) == pytest.approx(-np.log(law.pdf(y).mean(0)), abs=1e-9)
    assert scores.pit(mean, variance, y) == pytest.approx(law.cdf(y).mean(0), abs=1e-12)


@pytest.mark.parametrize("level", [0.001, 0.05, 0.5, 0.9])
def test_quantiles_invert_the_distribution(mixture, level):
    mean, variance, _ = mixture
    x = scores.mixture_quantile(mean, variance, level)
    assert norm(mean, np.sqrt(variance)).cdf(x).mean(0) == pytest.approx(level, abs=1e-9)


def test_quantile_of_distant_components():
    mean, variance = np.array([[-10.0], [10], [10]]), np.array([[1e-4], [1e-4], [0.01]])
    for level in (0.2, 0.34, 0.6):
        x = scores.mixture_quantile(mean, variance, level)
        assert scores.mixture_cdf(mean, variance, x) == pytest.approx(level, abs=1e-9)


def test_quantile_of_one_gaussian_is_exact():
    x = scores.mixture_quantile(np.array([[0.3, -1]]), np.array([[4.0, 0.25]]), 0.95)
    assert x == pytest.approx(norm([0.3, -1], [2, 0.5]).ppf(0.95), abs=1e-9)


def test_coverage_needs_no_quantile(mixture):
    mean, variance, y = mixture
    low, high = scores.interval(mean, variance, 0.5)
    inside = (low <= y) & (y <= high)
    assert (scores.covered(mean, variance, y, 0.5) == inside).all()
    assert 0 < scores.coverage(mean, variance, y, 0.5) == inside.mean() < 1


def test_interval_score_by_hand():
    got = scores.interval_score(np.zeros(3), np.ones(3), np.array([0.5, -0.2, 1.3]), 0.9)
    assert got == pytest.approx([1, 1 + 20 * 0.2, 1 + 20 * 0.3])


def test_crps_of_one_gaussian_is_the_closed_form():
    got = scores.crps(np.array([[0.2]]), np.array([[0.49]]), np.array([1.0]))
    z = 0.8 / 0.7
    assert got == pytest.approx(0.7 * (z * (2 * norm.cdf(z) - 1) + 2 * norm.pdf(z) - 1 / np.sqrt(np.pi)), abs=1e-12)


@pytest.mark.parametrize("draws", [3, 400])  # pairs of draws, and the trapezoidal rule
def test_crps_is_the_integral_of_its_definition(draws):
    rng = np.random.default_rng(draws)
    mean, variance, y = rng.normal(0, 0.5, (draws, 2)), np.exp(rng.normal(-2, 0.5, (draws, 2))), np.array([0.9, -0.3])
    for i in range(2):

        def cdf(x, i=i):
            return norm.cdf((x - mean[:, i]) / np.sqrt(variance[:, i])).mean()

        left = quad(lambda x: cdf(x) ** 2, -8, y[i], limit=200)[0]
        right = quad(lambda x: (1 - cdf(x)) ** 2, y[i], 8, limit=200)[0]
        assert scores.crps(mean, variance, y)[i] == pytest.approx(left + right, abs=1e-6)


def test_crps_does_not_depend_on_blocks_or_method(monkeypatch):
    rng = np.random.default_rng(5)
    mean, variance, y = rng.normal(size=(300, 6)), np.exp(rng.normal(-1, 1, (300, 6))), rng.normal(size=6)
    whole = scores.crps(mean, variance, y)
    monkeypatch.setattr(scores, "_BLOCK", 1)
    assert scores.crps(mean, variance, y) == pytest.approx(whole, abs=1e-7)
    monkeypatch.setattr(scores, "_spread_grid", scores._spread_pairs)
    assert scores.crps(mean, variance, y) == pytest.approx(whole, abs=1e-7)
