import numpy as np
import pandas as pd
import pytest
import xarray as xr

from bayesaffect.errors import InputError
from bayesaffect.evaluate import calibration, epistemic, scores, slopes, smooth, statistics, summary
from bayesaffect.types import Predictive, Target

VALENCE, MOOD = Target("valence", bounds=(1, 9)), Target("mood", levels=("low", "mid", "high"))
SUBJECTS = 6


def study(n=90, draws=5, seed=0, shrink=0.8):
    rng = np.random.default_rng(seed)
    trial = np.array([f"T{k:03d}" for k in range(n)])
    subject = np.array([f"S{k % SUBJECTS}" for k in range(n)])
    y, label = rng.uniform(-1, 1, n), rng.integers(0, 3, n)
    logits = rng.normal(size=(draws, n, 3)) * 0.3 + 1.5 * np.eye(3)[label] + rng.normal(size=(n, 3))
    log_prob = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    mean = shrink * y + rng.normal(0, 0.3, n) + rng.normal(0, 0.1, (draws, n))
    coords = {"trial": trial}
    predictive = Predictive(
        (VALENCE, MOOD),
        xr.DataArray(subject, dims="trial", coords=coords | {"subject": ("trial", subject)}),
        {"valence": xr.DataArray(mean, dims=("draw", "trial"), coords=coords)},
        {"valence": xr.DataArray(np.full((draws, n), 0.09), dims=("draw", "trial"), coords=coords)},
        {"mood": xr.DataArray(log_prob, dims=("draw", "trial", "level"), coords=coords)},
    )
    truth = {"valence": ("trial", y), "mood": ("trial", label), "spread_valence": ("trial", np.full(n, 0.2))}
    return predictive, xr.Dataset(truth, coords=coords)


def table(predictive, truth, **options):
    frame = summary.score_table({"m": predictive}, truth, (VALENCE, MOOD), **({"seed": 0, "resamples": 50} | options))
    return frame.set_index(["target", "score"])


def test_values_equal_the_plain_functions():
    predictive, truth = study()
    got = table(predictive, truth).value
    prob, label = predictive.probability("mood").values, truth["mood"].values
    for name in ("nll", "brier", "accuracy", "balanced_accuracy", "macro_f1", "auroc", "kappa"):
        assert got["mood", name] == pytest.approx(getattr(scores, name)(prob, label), abs=1e-9), name
    assert got["mood", "ece"] == pytest.approx(calibration.ece(prob, label))
    assert got["mood", "classwise_ece"] == pytest.approx(calibration.classwise_ece(prob, label))
    assert got["mood", "adaptive_ece"] == pytest.approx(calibration.adaptive_ece(prob, label))
    assert got["mood", "smooth_ece"] == pytest.approx(smooth.smooth_ece(prob, label), abs=1e-9)
    assert got["mood", "entropy"] == pytest.approx(scores.entropy(prob))
    wrong = (prob.argmax(1) != label).astype(float)
    assert got["mood", "aurc"] == pytest.approx(epistemic.aurc(-prob.max(1), wrong), abs=1e-9)
    assert got["mood", "calibration_slope"] == pytest.approx(slopes.class_slope(prob, label).slope, abs=1e-6)
    assert "rps" not in got["mood"] and "calibration_intercept" not in got["mood"]


def test_continuous_scores_are_in_rating_units():
    predictive, truth = study()
    got = table(predictive, truth).value["valence"]
    mean, variance = 4 * predictive.mean["valence"].values, 16 * predictive.variance["valence"].values
    y, x = 4 * truth["valence"].values, 4 * predictive.mean["valence"].values.mean(0)
    low, high = scores.interval(mean, variance, 0.9)
    expected = {
        "nll": scores.mixture_nll(mean, variance, y).mean(),
        "rmse": scores.rmse(x, y),
        "ccc": scores.ccc(x, y),
        "pearson": scores.pearson(x, y),
        "crps": scores.crps(mean, variance, y).mean(),
        "coverage50": scores.coverage(mean, variance, y, 0.5),
        "coverage95": scores.coverage(mean, variance, y, 0.95),
        "interval_score90": scores.interval_score(low, high, y, 0.9).mean(),
        "rmse_within": scores.rmse_within_each(x, y, np.full(y.size, 0.8)).mean(),
        "width90": (high - low).mean(),
        "aurc": epistemic.aurc(np.sqrt(variance.mean(0) + mean.var(0)), np.abs(x - y)),
        "calibration_intercept": slopes.rating_line(x, y)[0],
        "calibration_slope": slopes.rating_line(x, y)[1],
    }
    for name, value in expected.items():
        assert got[name] == pytest.approx(value, abs=1e-9), name
    assert 0.7 < got["coverage90"] < 1


def test_columns_and_counts():
    frame = summary.score_table({"m": study()[0]}, study()[1], (VALENCE, MOOD), seed=0, resamples=20)
    assert list(frame.columns) == ["model", "target", "score", "value", "low", "high", "trials", "subjects"]
    assert (frame.trials == 90).all() and (frame.subjects == SUBJECTS).all()


@pytest.mark.parametrize("score", ["nll", "auroc", "macro_f1", "balanced_accuracy", "classwise_ece"])
def test_weighted_sums_equal_recomputing_on_the_resample(score):
    predictive, truth = study()
    data = summary.align(predictive, truth, MOOD)
    _, group = np.unique(data.subject, return_inverse=True)
    counts = np.array([[2, 0, 1, 1, 0, 2.0]])
    rows = np.concatenate([np.flatnonzero(group == s) for s in (0, 0, 2, 3, 5, 5)])
    function = getattr(scores, score, None) or getattr(calibration, score)
    got = summary.statistics(data, MOOD, group)[score](counts)[0]
    assert got == pytest.approx(function(data.prob[rows], data.truth[rows]), abs=1e-9)


@pytest.mark.parametrize("score", ["rmse", "ccc", "pearson"])
def test_moments_equal_recomputing_on_the_resample(score):
    predictive, truth = study()
    data = summary.align(predictive, truth, VALENCE)
    _, group = np.unique(data.subject, return_inverse=True)
    rows = np.concatenate([np.flatnonzero(group == s) for s in (0, 0, 2, 3, 5, 5)])
    got = summary.statistics(data, VALENCE, group)[score](np.array([[2, 0, 1, 1, 0, 2.0]]))[0]
    expected = getattr(scores, score)(data.mean.mean(0)[rows], data.truth[rows])
    assert got == pytest.approx(expected * (4 if score == "rmse" else 1), abs=1e-9)


def test_trials_are_matched_by_name_and_missing_truth_is_dropped():
    predictive, truth = study()
    part = predictive.select(np.arange(89, 29, -1))
    lacking = truth.copy(deep=True)
    lacking["mood"][40:50] = -1
    lacking["valence"][80:] = np.nan
    got = table(part, lacking)
    rows = np.r_[30:40, 50:90]
    expected = scores.nll(predictive.probability("mood").values[rows], truth["mood"].values[rows])
    assert got.value["mood", "nll"] == pytest.approx(expected)
    assert got.trials["mood", "nll"] == 50 and got.trials["valence", "rmse"] == 50


def test_intervals_hold_the_value_and_narrow_with_level():
    wide, narrow = table(*study(), level=0.9, resamples=400), table(*study(), level=0.5, resamples=400)
    assert ((wide.low <= wide.value) & (wide.value <= wide.high)).all()
    assert (wide.high - wide.low >= narrow.high - narrow.low).all()


def test_interval_of_a_mean_matches_the_standard_error_between_subjects():
    predictive, truth = study(n=1200)
    data = summary.align(predictive, truth, MOOD)
    each = pd.Series(scores.nll_each(data.prob, data.truth)).groupby(data.subject).mean()
    row = table(predictive, truth, resamples=1500).loc[("mood", "nll")]
    assert (row.high - row.low) / 2 == pytest.approx(1.645 * each.std(ddof=0) / np.sqrt(SUBJECTS), rel=0.1)


def test_one_subject_has_no_interval():
    predictive, truth = study()
    got = table(predictive.select(np.arange(0, 90, SUBJECTS)), truth)
    assert got.value.notna().all() and got.low.isna().all()


def test_same_seed_same_intervals():
    first, again, other = (table(*study(), seed=s) for s in (1, 1, 2))
    assert first.equals(again) and not first.equals(other)


def test_nothing_in_common_gives_no_row():
    predictive, truth = study()
    assert table(predictive, truth.assign_coords(trial=[f"other{k}" for k in range(90)])).empty


def test_level_order_follows_the_names():
    predictive, truth = study()
    turned = predictive.log_prob["mood"].assign_coords(level=list(MOOD.levels)).isel(level=[2, 0, 1])
    same = Predictive(predictive.targets, predictive.subject, log_prob={"mood": turned})
    assert table(same, truth).value["mood", "nll"] == pytest.approx(table(predictive, truth).value["mood", "nll"])


def test_paired_difference_is_narrower_than_unpaired():
    good, truth = study()
    worse = Predictive(
        good.targets, good.subject, log_prob={"mood": np.log(0.9 * np.exp(good.log_prob["mood"]) + 0.1 / 3)}
    )
    models = {"good": good, "worse": worse}
    options = {"truth": truth, "targets": (MOOD,), "seed": 0, "resamples": 300}
    got = summary.paired_difference(models, "good", "worse", **options).set_index("score").loc["nll"]
    single = summary.score_table(models, truth, (MOOD,), seed=0, resamples=300).query("score == 'nll'")
    assert got.value == pytest.approx(single.value.iloc[0] - single.value.iloc[1])
    assert got.high - got.low < (single.high - single.low).min()


def test_paired_difference_uses_common_trials():
    predictive, truth = study()
    models = {"a": predictive.select(np.arange(60)), "b": predictive.select(np.arange(30, 90)[::-1])}
    got = summary.paired_difference(models, "a", "b", truth=truth, targets=(VALENCE,), seed=0, resamples=20)
    assert (got.trials == 30).all() and got.value.abs().max() < 1e-9
    with pytest.raises(InputError, match=r"no model \['c'\]"):
        summary.paired_difference(models, "a", "c", truth=truth, targets=(VALENCE,), seed=0)


def test_several_rivals_at_once_are_as_each_alone():
    """Rivals that cover the same trials, others, in another order, and one that says nothing of a target."""
    whole, truth = study()
    rows = np.arange(whole.trial.size)
    silent = Predictive((VALENCE,), whole.subject, whole.mean, whole.variance)
    models = {"a": whole, "b": whole.select(rows[::-1]), "c": whole.select(rows[10:70]), "d": silent}
    options = {"truth": truth, "targets": whole.targets, "seed": 0, "resamples": 30}
    got = summary.paired_difference(models, "a", ["b", "c", "d"], **options)
    alone = pd.concat([summary.paired_difference(models, "a", b, **options) for b in "bcd"], ignore_index=True)
    pd.testing.assert_frame_equal(got, alone)
    assert got.groupby("b").trials.max().to_dict() == {"b": rows.size, "c": 60, "d": rows.size}


def test_interval_of_a_difference_of_calibration_errors_surrounds_it(study_of):
    """Resampling inflates the smaller error more: not moved back, the interval leans towards no difference."""
    good, truth = study_of(subjects=12, trials=20, seed=1)
    sure, _ = study_of(subjects=12, trials=20, seed=1, sharpen=2.0)
    options = {"truth": truth, "targets": (MOOD,), "seed": 0, "resamples": 400}
    got = summary.paired_difference({"good": good, "sure": sure}, "good", "sure", **options).set_index("score")
    for row in (got.loc[score] for score in ("ece", "adaptive_ece", "classwise_ece", "smooth_ece")):
        assert abs((row.low + row.high) / 2 - row.value) < 0.2 * (row.high - row.low) and row.low < 0


def test_levels_that_are_numbers_have_a_ranked_score_and_two_an_intercept():
    predictive, truth = study()
    stars = Target("mood", levels=("1", "2", "3"))
    renamed = Predictive(
        (stars,), predictive.subject, log_prob={"mood": predictive.log_prob["mood"].assign_coords(level=list("123"))}
    )
    got = summary.score_table({"m": renamed}, truth, (stars,), seed=0, resamples=20).set_index("score").value
    assert got["rps"] == pytest.approx(scores.rps(predictive.probability("mood").values, truth["mood"].values))
    assert [statistics.ordered(t) for t in (stars, MOOD, Target("x", levels=("3", "1", "2")))] == [True, False, False]

    two = Target("mood", levels=("no", "yes"))
    half = predictive.log_prob["mood"][:, :, :2].drop_vars("level", errors="ignore")
    half = half - np.log(np.exp(half).sum("level"))
    pair = Predictive((two,), predictive.subject, log_prob={"mood": half})
    known = truth.assign(mood=truth["mood"].where(truth["mood"] < 2, -1))
    row = summary.score_table({"m": pair}, known, (two,), seed=0, resamples=20).set_index("score").value
    data = summary.align(pair, known, two)
    line = slopes.event_line(data.prob[:, 1], data.truth)
    assert (row["calibration_slope"], row["calibration_intercept"]) == pytest.approx((line.slope, line.intercept))


@pytest.mark.parametrize("thresholds", [1000, 40])
def test_area_under_risk_coverage_of_a_resample(monkeypatch, thresholds):
    monkeypatch.setattr(statistics, "THRESHOLDS", thresholds)
    rng = np.random.default_rng(8)
    uncertainty, loss, group = rng.random(300), rng.random(300), np.arange(300) % 4
    counts = np.array([2, 0, 1, 3])
    rows = np.repeat(np.arange(300), counts[group])
    got = statistics._aurc(uncertainty, loss, group)(counts[None].astype(float))[0]
    assert got == pytest.approx(epistemic.aurc(uncertainty[rows], loss[rows]), abs=1e-9 if thresholds > 300 else 0.02)


def test_one_step_slope_of_a_resample_is_near_the_full_fit():
    predictive, truth = study(n=1200)
    data = summary.align(predictive, truth, MOOD)
    _, group = np.unique(data.subject, return_inverse=True)
    rows = np.concatenate([np.flatnonzero(group == s) for s in (0, 0, 2, 3, 5, 5)])
    functions = summary.statistics(data, MOOD, group)
    got = functions["calibration_slope"](np.array([[2, 0, 1, 1, 0, 2.0]]))[0]
    whole = functions["calibration_slope"](np.ones((1, 6)))[0]
    full = slopes.class_slope(data.prob[rows], data.truth[rows]).slope
    assert abs(got - full) < 0.1 * abs(whole - full)
