import warnings

import numpy as np
import pandas as pd
import pytest

from bayesaffect.errors import InputError
from bayesaffect.evaluate import calibration, epistemic, records, scores, slopes, smooth, summary
from bayesaffect.types import Predictive, Target

ONE_STEP = {"calibration_slope", "calibration_intercept", "adaptive_ece"}  # intervals are approximate, and say so


@pytest.fixture(scope="module")
def made(study_of):
    predictive, truth = study_of(subjects=5, trials=8)
    models = {"late": predictive, "face": predictive.select(np.arange(3, 38))}
    groups = [("S01", "S02"), ("S03",), ("S04",)]
    return models, truth, predictive.targets, records.records(models, truth, predictive.targets, groups, seed=3)


def test_a_row_is_the_mean_over_one_subjects_trials(made):
    models, truth, _, frame = made
    assert list(frame.columns) == ["fold", "subject", "model", "target", "score", "value", "trials"]
    row = frame.query("subject == 'S03' and model == 'late' and target == 'mood' and score == 'nll'").iloc[0]
    prob = models["late"].probability("mood").values[16:24]
    assert row.value == pytest.approx(scores.nll(prob, truth["mood"].values[16:24])) and row.trials == 8
    width = frame.query("subject == 'S03' and model == 'late' and score == 'width90'").value.iloc[0]
    sd = np.sqrt(models["late"].variance["valence"].values[0, 16:24])
    assert width == pytest.approx(4 * 2 * 1.6448536 * sd.mean(), rel=1e-6)


def test_folds_and_trials_are_those_of_the_subject(made):
    frame = made[-1]
    assert frame[frame.subject != ""].groupby("subject").fold.unique().str[0].to_dict() == {
        "S01": 0,
        "S02": 0,
        "S03": 1,
        "S04": 2,
        "S05": -1,
    }
    assert frame.query("model == 'face'").groupby("subject").trials.first().to_list() == [35, 5, 8, 8, 8, 6]
    assert set(frame[frame.subject == ""].fold) == {-1}


def plain(data, target, rows):
    """Every score on these trials by the functions of single scores; nothing is summed over subjects beforehand."""
    if target.kind == "categorical":
        prob, label = data.prob[rows], data.truth[rows]
        level, correct = calibration.confidence(prob, label)
        names = ("nll", "brier", "accuracy", "entropy", "balanced_accuracy", "macro_f1", "kappa", "auroc")
        out = {n: getattr(scores, n)(prob, label) for n in names if n != "entropy"} | {"entropy": scores.entropy(prob)}
        out |= {n: getattr(calibration, n)(prob, label) for n in ("ece", "adaptive_ece", "classwise_ece")}
        out |= {"aurc": epistemic.aurc(-level, 1.0 - correct), "smooth_ece": smooth.smooth_ece(prob, label)}
        if len(target.levels) > 2:
            return out | {"calibration_slope": slopes.class_slope(prob, label).slope}
        line = slopes.event_line(prob[:, 1], label)
        return out | {"calibration_slope": line.slope, "calibration_intercept": line.intercept}
    unit = target.half_range
    mean, variance, y = unit * data.mean[:, rows], unit**2 * data.variance[:, rows], unit * data.truth[rows]
    x, (low, high) = mean.mean(0), scores.interval(mean, variance, 0.9)
    line = slopes.rating_line(x, y)
    return {
        "nll": scores.mixture_nll(mean, variance, y).mean(),
        "crps": scores.crps(mean, variance, y).mean(),
        "interval_score90": scores.interval_score(low, high, y, 0.9).mean(),
        "width90": (high - low).mean(),
        "aurc": epistemic.aurc(np.sqrt(variance.mean(0) + mean.var(0)), np.abs(x - y)),
        "calibration_intercept": line[0],
        "calibration_slope": line[1],
        **{name: getattr(scores, name)(x, y) for name in ("rmse", "ccc", "pearson")},
        **{f"coverage{c}": scores.coverage(mean, variance, y, c / 100) for c in (50, 90, 95)},
    }


def two_levels(predictive, truth):
    log_prob = predictive.log_prob["mood"][:, :, :2]
    pair = Target("mood", levels=("no", "yes"))
    mood = {"mood": log_prob - np.log(np.exp(log_prob).sum("level"))}
    return Predictive((pair,), predictive.subject, log_prob=mood), truth.assign(mood=truth["mood"].clip(0, 1))


@pytest.mark.parametrize("kind", ["three levels and ratings", "two levels"])
def test_the_table_made_from_a_file_of_records_is_that_of_the_predictions(study_of, tmp_path, kind):
    """Values and intervals of every score, recomputed trial by trial on each resample of the subjects."""
    predictive, truth = study_of(subjects=5, trials=8)
    predictive = predictive.select(np.r_[3:12, 16:40])  # not equally many trials of each
    if kind == "two levels":
        predictive, truth = two_levels(predictive, truth)
    models = {"late": predictive, "face": predictive.select(np.arange(25))}
    flat = records.records(models, truth, predictive.targets, [], seed=3, resamples=40)
    flat.to_csv(tmp_path / "records.csv", index=False)
    got = records.table(records.read(tmp_path / "records.csv"), seed=3, resamples=40)
    pd.testing.assert_frame_equal(got, summary.score_table(models, truth, predictive.targets, seed=3, resamples=40))

    found = got.set_index(["model", "target", "score"]).sort_index()
    for name, model in models.items():
        for target in predictive.targets:
            data = summary.align(model, truth, target)
            names, who = np.unique(data.subject, return_inverse=True)
            share = np.full(names.size, 1 / names.size)
            drawn = np.random.default_rng(3).multinomial(names.size, share, size=40)
            expected = plain(data, target, np.arange(who.size))
            assert set(found.loc[(name, target.name)].index) == set(expected)
            again = pd.DataFrame([plain(data, target, np.repeat(np.arange(who.size), d[who])) for d in drawn])
            for score, value in expected.items():
                row = found.loc[(name, target.name, score)]
                assert row.value == pytest.approx(value, abs=1e-9), score
                assert (row.trials, row.subjects) == (who.size, names.size)
                if score in ONE_STEP and (target.kind == "categorical"):
                    continue
                low, high = np.nanquantile(again[score], [0.05, 0.95])
                if "ece" in score:
                    bias = again[score].mean() - value
                    low, high = max(low - bias, 0), max(high - bias, 0)
                assert (row.low, row.high) == pytest.approx((low, high), abs=1e-9), score


def test_what_is_no_mean_over_trials_is_stored_once_with_its_interval(made):
    models, truth, targets, frame = made
    row = summary.score_table(models, truth, targets, seed=3).set_index(["model", "target", "score"])
    ccc = frame[(frame.model == "face") & frame.score.str.match("ccc")]
    assert (
        ccc.score.to_list() == ["ccc", "ccc:low", "ccc:high"] and set(ccc.subject) == {""} and set(ccc.trials) == {35}
    )
    expected = row.loc[("face", "valence", "ccc"), ["value", "low", "high"]].to_list()
    assert ccc.value.to_list() == pytest.approx(expected, abs=0)
    assert not frame[frame.subject == ""].score.str.match("nll|brier|accuracy|crps|coverage").any()


@pytest.mark.parametrize("keep", [[0], [0, 1, 2], [0, 3, 6, 9]])  # a trial, a subject, a trial of each subject
@pytest.mark.parametrize("truths", ["as drawn", "all the same", "a class in one subject", "unknown"])
def test_the_table_of_next_to_nothing(study_of, tmp_path, keep, truths):
    predictive, truth = study_of(subjects=4, trials=3, seed=3)
    changed = {"all the same": [1] * 12, "a class in one subject": [2] * 3 + [1] * 9, "unknown": [-1] * 12}
    truth["mood"][:] = changed.get(truths, truth["mood"])
    truth["valence"][:] = {"all the same": 0.3, "unknown": np.nan}.get(truths, truth["valence"])
    models = {"m": predictive.select(keep)}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        flat = records.records(models, truth, predictive.targets, [], seed=0, resamples=50)
        flat.to_csv(tmp_path / "records.csv", index=False)
        got = records.table(records.read(tmp_path / "records.csv"), seed=0, resamples=50)
    assert len(got) == (0 if truths == "unknown" else 27)
    undefined = {s for s in got.score[got.value.isna()]}
    assert undefined <= {"auroc", "kappa", "pearson", "calibration_slope", "calibration_intercept"}
    assert len(keep) < 4 or truths != "as drawn" or not undefined
    assert got.low.isna().all() if keep != [0, 3, 6, 9] else (got.low.isna() == got.value.isna()).all()


def test_names_of_subjects_survive_the_file(made, tmp_path):
    frame = made[-1].assign(subject=made[-1].subject.replace({"S01": "007", "S02": "NA", "S03": "7"}))
    frame.to_csv(tmp_path / "records.csv", index=False)
    pd.testing.assert_frame_equal(records.read(tmp_path / "records.csv"), frame, check_dtype=False)


def test_files_that_are_not_of_records_are_refused(made, tmp_path):
    path = tmp_path / "records.csv"
    with pytest.raises(InputError, match=r"records.csv: the records cannot be read: .*No such file"):
        records.read(path)
    path.write_bytes(b"\xff\xfe\x00,")
    with pytest.raises(InputError, match="cannot be read"):
        records.read(path)
    made[-1].drop(columns="fold").to_csv(path, index=False)
    with pytest.raises(InputError, match=r"records.csv: the records lack the columns \['fold'\]"):
        records.read(path)
    made[-1].assign(trials="many").to_csv(path, index=False)
    with pytest.raises(InputError, match=r"not all numbers: .*'many'"):
        records.read(path)


def test_a_subject_without_a_name_would_be_taken_for_everybody(study_of):
    predictive, truth = study_of(subjects=3, trials=4)
    nameless = predictive.subject.copy(data=np.where(predictive.subject.values == "S02", "", predictive.subject.values))
    with pytest.raises(InputError, match="face: a subject has no name"):
        models = {"face": Predictive(predictive.targets, nameless, log_prob=predictive.log_prob)}
        records.records(models, truth, predictive.targets, [], seed=0)


def test_missing_truth_leaves_no_row_and_counts_no_trial(made):
    models, truth, targets, _ = made
    lacking = truth.copy(deep=True)
    lacking["mood"][:10] = -1
    frame = records.records({"late": models["late"]}, lacking, targets, [], seed=0)
    moods = frame.query("target == 'mood' and score == 'accuracy'")
    assert moods.subject.to_list() == ["S02", "S03", "S04", "S05"] and moods.trials.iloc[0] == 6
    assert records.records({}, truth, targets, [], seed=0).empty


def test_a_frame_that_is_not_of_records_is_refused(made):
    with pytest.raises(InputError, match=r"lack the columns \['trials'\]"):
        records.table(made[-1].drop(columns="trials"), seed=0)
