import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm, pearsonr
from scipy.stats import t as student
from sklearn import metrics

from bayesaffect.errors import InputError
from bayesaffect.evaluate import scores
from bayesaffect.evaluate.scores import mixture as mixture_scores


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
    monkeypatch.setattr(mixture_scores, "_BLOCK", 1)
    assert scores.crps(mean, variance, y) == pytest.approx(whole, abs=1e-7)
    monkeypatch.setattr(mixture_scores, "_spread_grid", mixture_scores._spread_pairs)
    assert scores.crps(mean, variance, y) == pytest.approx(whole, abs=1e-7)


def test_kappa_equals_sklearn(classes):
    prob, label = classes
    sharp = np.where(np.arange(300)[:, None] % 2, prob, np.eye(4)[label])  # right half of the time
    for p in (prob, sharp):
        assert scores.kappa(p, label) == pytest.approx(metrics.cohen_kappa_score(label, p.argmax(1)), abs=1e-12)
    assert np.isnan(scores.kappa(np.array([[0.9, 0.1]] * 3), np.zeros(3, int)))


def test_ranked_probability_score_by_hand_and_as_half_brier_of_two():
    got = scores.rps_each(np.array([[0.2, 0.5, 0.3], [0.2, 0.5, 0.3]]), np.array([0, 2]))
    assert got == pytest.approx([0.8**2 + 0.3**2, 0.2**2 + 0.7**2])
    prob, label = np.array([[0.3, 0.7], [0.9, 0.1]]), np.array([1, 1])
    assert scores.rps(prob, label) == pytest.approx(scores.brier(prob, label) / 2)


def test_a_near_miss_costs_less_than_a_far_one():
    prob = np.array([[0.7, 0.2, 0.1]])
    assert scores.rps(prob, np.array([1])) < scores.rps(prob, np.array([2]))


def test_entropy_by_hand():
    got = scores.entropy_each(np.array([[0.25] * 4, [1, 0, 0, 0], [0.5, 0.5, 0, 0]]))
    assert got == pytest.approx([np.log(4), 0, np.log(2)], abs=1e-12)
    assert scores.entropy(np.array([[0.5, 0.5], [1, 0]])) == pytest.approx(np.log(2) / 2)


def integral(cdf, y):
    left, right = (
        quad(lambda x: cdf(x) ** 2, -400, y, limit=400)[0],
        quad(lambda x: (1 - cdf(x)) ** 2, y, 400, limit=400)[0],
    )
    return left + right


@pytest.mark.parametrize(("df", "centre", "scale", "y"), [(3.5, 0.4, 1.7, -1.2), (9, -1, 0.5, -0.9)])
def test_crps_of_student_is_the_integral_of_its_definition(df, centre, scale, y):
    got = scores.crps_t(df, np.array([centre]), np.array([scale]), np.array([y]))
    assert got == pytest.approx([integral(student(df, centre, scale).cdf, y)], abs=1e-6)


def test_crps_of_student_with_many_degrees_is_the_gaussian(mixture):
    mean, variance, y = (a[0] for a in (mixture[0], mixture[1], mixture[2][None]))
    gaussian = scores.crps_gaussian(mean, np.sqrt(variance), y)
    assert scores.crps_t(1e7, mean, np.sqrt(variance), y) == pytest.approx(gaussian, abs=1e-6)
    assert gaussian == pytest.approx(scores.crps(mean[None], variance[None], y), abs=1e-12)


def test_crps_of_draws_equals_the_double_sum():
    rng = np.random.default_rng(6)
    draws, y = rng.normal(size=(9, 4)), rng.normal(size=4)
    pairs = np.abs(draws[:, None] - draws[None]).sum((0, 1))
    first = np.abs(draws - y).mean(0)
    assert scores.crps_draws(draws, y) == pytest.approx(first - pairs / (2 * 81), abs=1e-12)
    assert scores.crps_draws(draws, y, fair=True) == pytest.approx(first - pairs / (2 * 72), abs=1e-12)


@pytest.mark.statistical
def test_fair_crps_of_draws_is_unbiased():
    rng = np.random.default_rng(7)
    y = np.full(20_000, 0.8)
    got = scores.crps_draws(rng.normal(size=(5, 20_000)), y, fair=True)
    exact = scores.crps_gaussian(np.zeros(1), np.ones(1), y[:1])[0]
    assert got.mean() == pytest.approx(exact, abs=5 * got.std() / np.sqrt(20_000))
    assert scores.crps_draws(rng.normal(size=(5, 20_000)), y).mean() > exact + 0.05


def test_quantiles_take_a_level_per_trial(mixture):
    mean, variance, _ = mixture
    level = np.linspace(0.02, 0.98, 30)
    x = scores.mixture_quantile(mean, variance, level)
    assert scores.mixture_cdf(mean, variance, x) == pytest.approx(level, abs=1e-9)


@pytest.mark.parametrize("name", ["nll", "brier", "accuracy", "balanced_accuracy", "macro_f1", "auroc", "kappa", "rps"])
def test_what_is_no_class_or_no_probability_is_refused(name, classes):
    prob, label = classes
    score = getattr(scores, name)
    unknown = np.where(np.arange(300) == 7, -1, label)
    with pytest.raises(InputError, match="labels reach from -1 to 3, levels from 0 to 3; leave out the trials"):
        score(prob, unknown)
    with pytest.raises(InputError, match="labels reach from 0 to 4"):
        score(prob, label + (label == 3))
    with pytest.raises(InputError, match="labels are float64"):
        score(prob, label.astype(float))
    with pytest.raises(InputError, match=r"shape \(300, 4\) do not fit labels of shape \(299,\)"):
        score(prob, label[1:])
    with pytest.raises(InputError, match="n of at least 1"):
        score(prob[:0], label[:0])
    with pytest.raises(InputError, match="give probabilities, not their logarithms"):
        score(np.log(prob), label)
    with pytest.raises(InputError, match="reach from nan"):
        score(np.where(prob == prob[0, 0], np.nan, prob), label)
    with pytest.raises(InputError, match="sum to 1 only within"):
        score(prob * np.where(np.arange(300) == 5, 0.9, 1)[:, None], label)


@pytest.mark.parametrize("score", [scores.rmse, scores.pearson, scores.ccc])
def test_shapes_that_would_broadcast_and_unknown_ratings_are_refused(score):
    x, y = np.arange(4.0), np.array([1.0, np.nan, 2, 3])
    with pytest.raises(InputError, match="1 of 4 values are not finite; leave out the trials whose truth is unknown"):
        score(x, y)
    for wrong in (x[:, None], x[1:], x[0]):
        with pytest.raises(InputError, match="do not fit truths of shape"):
            score(wrong, x)
    with pytest.raises(InputError, match="n of at least 1"):
        score(x[:0], x[:0])


def test_an_unknown_rating_is_not_one_outside_its_interval(mixture):
    mean, variance, y = mixture
    unknown = np.where(np.arange(30) == 3, np.nan, y)
    with pytest.raises(InputError, match="1 of 30 values are not finite"):
        scores.coverage(mean, variance, unknown, 0.9)
    for each in (scores.crps, scores.mixture_nll, scores.pit):
        got, expected = each(mean, variance, unknown), each(mean, variance, y)
        assert np.isnan(got[3]) and np.delete(got, 3) == pytest.approx(np.delete(expected, 3), abs=1e-12)


def test_scales_levels_and_draws_outside_their_range_are_refused(mixture):
    mean, variance, y = mixture
    flat = np.where(np.arange(30) == 3, 0, variance)
    for each in (scores.crps, scores.mixture_nll, scores.pit):
        with pytest.raises(InputError, match="variance reaches down to 0"):
            each(mean, flat, y)
    for level in (0, 1, 90):
        for function in (scores.covered, scores.interval_score):
            with pytest.raises(InputError, match=f"level {level} is not between 0 and 1; give 0.9 for 90 %"):
                function(*((mean, variance, y) if function is scores.covered else (y, y, y)), level)
        with pytest.raises(InputError, match="not between 0 and 1"):
            scores.interval(mean, variance, level)
    with pytest.raises(InputError, match="df - 1 reaches down to 0"):
        scores.crps_t(np.array([2.0, 1]), 0, 1, y[:2])
    with pytest.raises(InputError, match="sd reaches down to -1"):
        scores.crps_gaussian(y, np.full(30, -1.0), y)
    with pytest.raises(InputError, match="there are 1 draws; give at least 2"):
        scores.crps_draws(mean[:1], y, fair=True)


@pytest.mark.parametrize("unit", [1e-9, 1, 1e9])
def test_correlations_do_not_depend_on_the_unit(unit):
    rng = np.random.default_rng(9)
    x, y = rng.normal(size=(2, 50)) * unit
    assert scores.pearson(x, y) == pytest.approx(pearsonr(x, y).statistic, abs=1e-9)
    assert scores.ccc(x, y) == pytest.approx(scores.ccc(x / unit, y / unit), abs=1e-9)
    assert np.isnan(scores.pearson(np.full(50, 0.1 * unit), y)) and np.isnan(scores.pearson(x, np.full(50, 0.3 * unit)))
