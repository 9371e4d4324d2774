from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from bayesaffect.report import measure
from bayesaffect.report.figures import calibration as figures_calibration
from bayesaffect.report.figures import data as figures_data
from bayesaffect.report.figures.calibration import person_gaps


def people(count: int, trials: int) -> np.ndarray:
    return np.repeat([f"S{k:02d}" for k in range(count)], trials)


def calibrated_classes(rng, count=30, trials=40, sharpen=1.0):
    """Labels drawn from the stated probabilities; ``sharpen`` > 1 then overstates them."""
    prob = rng.dirichlet(np.ones(4), count * trials)
    label = (prob.cumsum(1) > rng.random((len(prob), 1))).argmax(1)
    stated = prob**sharpen / (prob**sharpen).sum(1, keepdims=True)
    names = np.array([f"t{k}" for k in range(len(prob))])
    return measure.Classes(stated, label, people(count, trials), names)


def calibrated_ratings(rng, count=30, trials=40, shrink=1.0):
    """Truths drawn from the stated Gaussians; ``shrink`` < 1 then understates their standard deviations."""
    n = count * trials
    mean, sd = rng.normal(0, 0.4, n), rng.uniform(0.1, 0.5, n)
    truth = rng.normal(mean, sd)
    names = np.array([f"t{k}" for k in range(n)])
    return measure.Ratings(mean[None], (shrink * sd[None]) ** 2, truth, people(count, trials), names)


def test_bins_hold_means_and_equally_many_trials():
    x, y = np.arange(12.0), np.arange(12.0) ** 2
    b = measure.binned(x, y, people(3, 4), bins=3)
    np.testing.assert_allclose(b.x, [1.5, 5.5, 9.5])
    np.testing.assert_allclose(b.y, [np.mean(y[:4]), np.mean(y[4:8]), np.mean(y[8:])])
    assert b.trials.tolist() == [4, 4, 4]


def test_ties_stay_in_one_bin_and_limits_come_from_subjects():
    x = np.repeat([0.0, 1.0], 10)
    subject = np.tile(people(5, 2), 2)
    y = np.tile(np.repeat(np.arange(5.0), 2), 2)
    b = measure.binned(x, y, subject, bins=8)
    assert b.x.tolist() == [0, 1] and b.y.tolist() == [2, 2]
    # the mean of five people drawn with replacement from 0..4: sd sqrt(2 / 5)
    assert b.low[0] == pytest.approx(2 - 1.645 * np.sqrt(2 / 5), abs=0.15) and (b.low < 2).all() and (b.high > 2).all()


def test_announced_error_is_the_entropy_or_the_variance():
    c = measure.Classes(np.array([[0.5, 0.25, 0.25]]), np.array([2]), np.array(["S"]), np.array(["t"]))
    expected, made = measure.expectation(c)
    assert expected[0] == pytest.approx(1.5 * np.log(2)) and made[0] == pytest.approx(np.log(4))
    mixture = np.array([[0.0], [0.4]]), np.array([[0.1], [0.3]])
    r = measure.Ratings(*mixture, np.array([0.5]), np.array(["S"]), np.array(["t"]))
    expected, made = measure.expectation(r)
    assert expected[0] == pytest.approx(0.2 + 0.04) and made[0] == pytest.approx(0.3**2)


@pytest.mark.parametrize("maker", [calibrated_classes, calibrated_ratings])
def test_announcements_of_a_calibrated_model_come_true(maker):
    values = maker(np.random.default_rng(0))
    expected, made = measure.expectation(values)
    b = measure.binned(expected, made, values.subject, bins=6)
    error = np.array([made[np.abs(expected - x).argsort()[:200]].std() / np.sqrt(200) for x in b.x])
    assert (np.abs(b.y - b.x) < 5 * error).all()


@pytest.mark.parametrize(
    ("maker", "defect"), [(calibrated_classes, {"sharpen": 4.0}), (calibrated_ratings, {"shrink": 0.4})]
)
def test_people_lie_outside_by_chance_only_unless_the_model_is_over_confident(maker, defect):
    rng = np.random.default_rng(1)

    def outside(values):
        rows = person_gaps(values)
        return np.mean(rows["value"] < rows["low"]), np.mean(
            (rows["value"] < rows["low"]) | (rows["value"] > rows["high"])
        )

    # 30 people, 10 % outside by chance at most: five standard errors of that share are 0.27
    assert outside(maker(rng))[1] < 0.37
    assert outside(maker(rng, **defect))[0] > 0.8


def test_gaps_and_bands_are_those_of_the_formula():
    prob = np.array([[0.7, 0.3], [0.4, 0.6], [0.9, 0.1]])
    names = np.array(["a", "b", "c"])
    rows = person_gaps(measure.Classes(prob, np.array([0, 0, 0]), np.array(["S1"] * 3), names))
    assert rows["value"][0] == pytest.approx((0.3 - 0.6 + 0.1) / 3)
    assert rows["high"][0] == pytest.approx(1.645 * np.sqrt(0.21 + 0.24 + 0.09) / 3)
    r = measure.Ratings(np.zeros((1, 20)), np.ones((1, 20)), np.r_[np.zeros(15), np.full(5, 9.0)], people(1, 20), names)
    rows = person_gaps(r)
    assert rows["value"][0] == 0.75 and rows["nominal"] == 0.9
    assert (rows["low"][0], rows["high"][0]) == tuple(stats.binom.ppf((0.05, 0.95), 20, 0.9) / 20)


def test_a_signal_whose_errors_grow_as_it_fades_is_named(affect):
    """Quality is made to follow the NLL of the face; nothing is said of the others."""
    values = measure.ratings(affect, "face", "valence")
    error = dict(zip(values.trial, measure.nll(values), strict=True))
    rank = {t: k / len(error) for k, t in enumerate(sorted(error, key=error.get, reverse=True))}
    quality = affect.quality.copy(deep=True)
    quality.loc[{"modality": "face"}] = [rank.get(str(t), np.nan) for t in quality["trial"].values]
    caption = figures_data.quality_and_error(replace(affect, quality=quality)).caption
    assert "face for valence" in caption
    assert figures_data.quality_and_error(replace(affect, quality=None)) is None
    flat = affect.quality.where(affect.quality.isnull(), 1.0)
    assert figures_data.quality_and_error(replace(affect, quality=flat)) is None


def test_captions_count_what_was_said(affect):
    caption = figures_data.answers(affect).caption
    values = affect.target("valence").from_unit(affect.truth["valence"].values)
    assert f"mean {np.nanmean(values):.2f}, standard deviation {np.nanstd(values):.2f}" in caption
    most = np.bincount(affect.truth["emotion"].values).argmax()
    assert affect.target("emotion").levels[most] in caption


def test_a_study_of_one_class_has_no_panel_of_guesses(affect):
    assert figures_calibration.classwise(affect, affect.target("emotion")).figure.axes[0].get_title(loc="left") == (
        f"neutral ({(affect.truth['emotion'].values == 0).sum()})"
    )
    truth = affect.truth.assign(emotion=affect.truth["emotion"] * 0 - 1)
    assert figures_calibration.classwise(replace(affect, truth=truth), affect.target("emotion")) is None
