import numpy as np
import pandas as pd
import pytest
import xarray as xr

from bayesaffect.errors import InputError
from bayesaffect.evaluate import calibration, scores, summary
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
    for name in ("nll", "brier", "accuracy", "balanced_accuracy", "macro_f1", "auroc"):
        assert got["mood", name] == pytest.approx(getattr(scores, name)(prob, label), abs=1e-9), name
    assert got["mood", "ece"] == pytest.approx(calibration.ece(prob, label))
    assert got["mood", "classwise_ece"] == pytest.approx(calibration.classwise_ece(prob, label))


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
    row = table(predictive, truth, resamples=4000).loc[("mood", "nll")]
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
