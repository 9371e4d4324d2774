from itertools import pairwise

import numpy as np
import pytest
from scipy.stats import binom, poisson_binom

from bayesaffect.errors import InputError
from bayesaffect.evaluate import calibration as cal
from bayesaffect.evaluate import slopes, smooth


@pytest.fixture(scope="module")
def forecasts():
    """Labels drawn from the forecast probabilities themselves: calibrated by construction."""
    rng = np.random.default_rng(0)
    prob = rng.dirichlet([0.7, 0.7, 0.7], size=4000)
    return prob, (rng.random((4000, 1)) > prob.cumsum(1)).sum(1).clip(max=2)


def loop_ece(level, correct, bins):
    total, edges = 0.0, np.linspace(0, 1, bins + 1)
    for low, high in pairwise(edges):
        inside = (level > low) & (level <= high)
        if inside.any():
            total += inside.mean() * abs(correct[inside].mean() - level[inside].mean())
    return total


def test_ece_equals_the_definition(forecasts):
    prob, label = forecasts
    sharp = prob**2 / (prob**2).sum(1, keepdims=True)
    level, correct = sharp.max(1), sharp.argmax(1) == label
    assert cal.ece(sharp, label) == pytest.approx(loop_ece(level, correct, 15), abs=1e-9)
    assert cal.ece(sharp, label) > 0.05 > cal.ece(prob, label)


def test_ece_by_hand():
    prob = np.array([[0.9, 0.1], [0.9, 0.1], [0.6, 0.4], [0.3, 0.7]])
    assert cal.ece(prob, np.array([0, 1, 0, 0])) == pytest.approx((2 * 0.4 + 0.4 + 0.7) / 4)


def test_bin_edges_belong_to_the_lower_bin():
    assert cal.bin_index(np.array([0, 0.1, 0.2, 0.21, 1]), 5).tolist() == [0, 0, 0, 1, 4]


def test_classwise_ece_equals_the_definition(forecasts):
    prob, label = forecasts
    expected = np.mean([loop_ece(prob[:, k], label == k, 10) for k in range(3)])
    assert cal.classwise_ece(prob, label, 10) == pytest.approx(expected, abs=1e-9)


def test_adaptive_ece_by_hand():
    top = np.array([0.6, 0.7, 0.8, 0.95])
    prob = np.stack([top, 1 - top], 1)
    got = cal.adaptive_ece(prob, np.array([0, 1, 0, 1]), bins=2)
    assert got == pytest.approx((abs(1 - 1.3) + abs(1 - 1.75)) / 4)


def test_equal_confidences_share_a_bin_of_adaptive_ece():
    """Trials sorted by their truth, all forecast alike: cut at a boundary, they would look badly calibrated."""
    prob, label = np.tile([0.6, 0.4], (300, 1)), (np.arange(300) >= 165).astype(int)
    shuffled = np.random.default_rng(0).permutation(label)
    assert cal.adaptive_ece(prob, label) == pytest.approx(0.05) == cal.adaptive_ece(prob, shuffled)
    assert cal.even_index(np.array([0.1, 0.5, 0.5, 0.5, 0.9, 0.7]), 3).tolist() == [0, 1, 1, 1, 2, 2]


def test_consistency_band_is_poisson_binomial():
    rng = np.random.default_rng(1)
    p = rng.uniform(0.61, 0.79, 40)
    row = cal.event_curve(p, rng.random(40) < p, bins=5).iloc[0]
    assert (row.band_low, row.band_high) == pytest.approx(tuple(poisson_binom(p).ppf([0.05, 0.95]) / 40))
    assert row.confidence == pytest.approx(p.mean()) and row.trials == 40


def test_reliability_curve_of_a_calibrated_forecaster_stays_in_its_band(forecasts):
    curve = cal.reliability_curve(*forecasts, bins=10, band=0.99)
    assert curve.trials.sum() == 4000 and curve.frequency.between(curve.band_low, curve.band_high).all()


def test_reliability_curve_leaves_its_band_when_over_confident(forecasts):
    prob, label = forecasts
    curve = cal.reliability_curve(prob**4 / (prob**4).sum(1, keepdims=True), label, bins=10, band=0.99)
    assert (curve.frequency < curve.band_low).sum() >= 3


def test_coverage_curve_of_known_widths():
    y = np.random.default_rng(2).normal(size=5000)
    right = cal.coverage_curve(np.zeros((1, 5000)), np.ones((1, 5000)), y, levels=[0.5, 0.9], band=0.999)
    assert right.coverage.between(right.band_low, right.band_high).all()
    narrow = cal.coverage_curve(np.zeros((1, 5000)), np.full((1, 5000), 0.25), y, levels=[0.9])
    assert narrow.coverage[0] == pytest.approx(0.589, abs=0.02) and narrow.coverage[0] < narrow.band_low[0]
    assert right.band_low[0] == pytest.approx(binom.ppf(0.0005, 5000, 0.5) / 5000)


def test_pit_histogram_sees_over_confidence():
    y = np.random.default_rng(3).normal(size=2000)
    histogram = cal.pit_histogram(cal.pit(np.zeros((1, 2000)), np.full((1, 2000), 0.25), y), bins=5)
    assert histogram.density.mean() == pytest.approx(1)
    assert histogram.density.iloc[0] > histogram.band_high.iloc[0]
    assert histogram.density.iloc[2] < histogram.band_low.iloc[2]


@pytest.mark.statistical
def test_floor_is_the_mean_error_of_calibrated_forecasters():
    rng = np.random.default_rng(4)
    prob = rng.dirichlet([0.7, 0.7, 0.7], size=150)
    drawn = [
        cal.ece(prob, (rng.random((150, 1)) > prob.cumsum(1)).sum(1).clip(max=2)) for _ in range(400)
    ]  # labels drawn from the forecasts
    floor = cal.ece_floor(prob, seed=0)
    assert floor.mean == pytest.approx(np.mean(drawn), abs=5 * np.std(drawn) / 20)
    assert np.mean((drawn >= np.float64(floor.low)) & (drawn <= np.float64(floor.high))) == pytest.approx(0.9, abs=0.08)
    assert cal.ece_floor(prob, seed=0) == floor


def test_floor_of_one_trial_by_hand():
    # correct with 0.7: error 0.3, else 0.7
    floor = cal.ece_floor(np.array([[0.7, 0.3]]), seed=1, draws=20_000)
    assert floor.mean == pytest.approx(0.7 * 0.3 + 0.3 * 0.7, abs=0.01)
    assert (floor.low, floor.high) == pytest.approx((0.3, 0.7))


def test_floor_falls_with_the_number_of_trials_and_over_confidence_is_above_it(forecasts):
    prob, label = forecasts
    few, many = cal.ece_floor(prob[:100], seed=0), cal.ece_floor(prob, seed=0)
    assert few.mean > 4 * many.mean
    sharp = prob**3 / (prob**3).sum(1, keepdims=True)
    assert cal.ece(prob, label) < many.high and cal.ece(sharp, label) > 3 * cal.ece_floor(sharp, seed=0).high


@pytest.mark.statistical
def test_pit_band_holds_the_whole_curve_of_uniform_values_as_often_as_it_says():
    rng = np.random.default_rng(5)
    band = cal.pit_curve(rng.random(80), seed=0, band=0.8)
    share = np.stack([(rng.random(80)[:, None] <= band["at"].to_numpy()).mean(0) for _ in range(2000)])
    difference = share - band["at"].to_numpy()
    low, high = band.band_low.to_numpy() - 1e-12, band.band_high.to_numpy() + 1e-12
    inside = ((low <= difference) & (difference <= high)).all(1)
    assert inside.mean() == pytest.approx(0.8, abs=0.09)  # 5 errors of 0.009, and of the band's 1,000 draws; discrete
    assert ((low <= difference) & (difference <= high)).mean() > 0.97  # at one point: much more often


def test_pit_curve_of_an_over_confident_model_leaves_its_band():
    y = np.random.default_rng(3).normal(size=300)
    curve = cal.pit_curve(cal.pit(np.zeros((1, 300)), np.full((1, 300), 0.25), y), seed=0)
    assert (curve.difference > curve.band_high).any() and (curve.difference < curve.band_low).any()
    hand = cal.pit_curve(np.array([0.1, 0.5, 0.52, 0.95]), seed=0, points=4)
    assert hand.difference.to_list() == pytest.approx([0.25 - 0.25, 0.5 - 0.5, 0.75 - 0.75])


@pytest.mark.parametrize(
    "measure", [cal.ece, cal.adaptive_ece, cal.classwise_ece, cal.reliability_curve, smooth.smooth_ece]
)
def test_unknown_labels_are_not_counted_as_the_last_level(measure, forecasts):
    prob, label = forecasts
    with pytest.raises(InputError, match="labels reach from -1 to 2"):
        measure(prob, np.where(np.arange(4000) == 7, -1, label))
    with pytest.raises(InputError, match="n of at least 1"):
        measure(prob[:0], label[:0])


@pytest.mark.parametrize("measure", [cal.gap, cal.event_curve, smooth.smooth_gap, slopes.event_line])
def test_what_is_no_event_is_refused(measure):
    p, came = np.array([0.2, 0.7, 0.4]), np.array([0, 1, 1])
    with pytest.raises(InputError, match="outcomes are not all 0 or 1"):
        measure(p, np.array([0, 1, np.nan]))
    with pytest.raises(InputError, match="probabilities reach from nan to nan"):
        measure(np.array([0.2, np.nan, 0.4]), came)
    with pytest.raises(InputError, match=r"reach from 0\.2 to 70"):
        measure(np.array([0.2, 70, 0.4]), came)
    with pytest.raises(InputError, match=r"\(3,\) do not fit outcomes of shape \(2,\)"):
        measure(p, came[1:])


def test_curves_refuse_unknown_values():
    for curve in (cal.pit_histogram, lambda values: cal.pit_curve(values, seed=0)):
        with pytest.raises(InputError, match="1 of 2 values are not finite"):
            curve(np.array([0.1, np.nan]))
        with pytest.raises(InputError, match="there is no trial"):
            curve(np.array([]))
    with pytest.raises(InputError, match="1 of 2 values are not finite"):
        cal.coverage_curve(np.zeros((1, 2)), np.ones((1, 2)), np.array([0.1, np.nan]))
