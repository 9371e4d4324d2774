import numpy as np
import pytest

from bayesaffect.errors import InputError
from bayesaffect.evaluate import records, scores, summary

MEANS = {"nll", "brier", "accuracy", "entropy", "crps", "coverage50", "coverage90", "coverage95", "width90"}


@pytest.fixture(scope="module")
def made(study_of):
    predictive, truth = study_of(subjects=5, trials=8)
    models = {"late": predictive, "face": predictive.select(np.arange(3, 38))}
    groups = [("S01", "S02"), ("S03",), ("S04",)]
    return models, truth, predictive.targets, records.records(models, truth, predictive.targets, groups)


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
    assert frame.groupby("subject").fold.unique().str[0].to_dict() == {
        "S01": 0,
        "S02": 0,
        "S03": 1,
        "S04": 2,
        "S05": -1,
    }
    assert frame.query("model == 'face'").groupby("subject").trials.first().to_list() == [5, 8, 8, 8, 6]


def test_the_table_of_scores_can_be_made_from_records_alone(made):
    models, truth, targets, frame = made
    whole = summary.score_table(models, truth, targets, seed=3, resamples=200)
    again = records.table(frame, seed=3, resamples=200)
    keys = ["model", "target", "score"]
    both = whole.merge(again, on=keys, suffixes=("", "_again"))
    assert MEANS | {"rmse", "interval_score90"} == set(both.score)
    for column in ("value", "low", "high", "trials", "subjects"):
        assert both[column].to_numpy() == pytest.approx(both[f"{column}_again"].to_numpy(), abs=1e-9), column


def test_missing_truth_leaves_no_row_and_counts_no_trial(made):
    models, truth, targets, _ = made
    lacking = truth.copy(deep=True)
    lacking["mood"][:10] = -1
    frame = records.records({"late": models["late"]}, lacking, targets, [])
    moods = frame.query("target == 'mood' and score == 'accuracy'")
    assert moods.subject.to_list() == ["S02", "S03", "S04", "S05"] and moods.trials.iloc[0] == 6
    assert records.records({}, truth, targets, []).empty


def test_a_frame_that_is_not_of_records_is_refused(made):
    with pytest.raises(InputError, match=r"lack the columns \['trials'\]"):
        records.table(made[-1].drop(columns="trials"), seed=0)
