import numpy as np
import pandas as pd
import pytest

from bayesaffect.evaluate import conformal, scores


def whole(sheet, **where):
    rows = sheet[sheet.subject == conformal.ALL]
    for name, value in where.items():
        rows = rows[rows[name] == value]
    return rows.iloc[0]


def test_quantile_of_exchangeable_trials_by_hand():
    score = np.arange(1.0, 10)  # 9 scores: ceil(10 * 0.8) = 8th, ceil(10 * 0.9) = 9th
    assert conformal.quantile(score[::-1], 0.8) == 8 and conformal.quantile(score, 0.9) == 9
    assert np.isinf(conformal.quantile(score, 0.95))


def test_quantile_of_exchangeable_people_by_hand():
    # 3 people, mass 1/4 each: A has four trials of 1/16, B and C one of 1/4
    score, subject = np.array([1, 2, 3, 4, 2.5, 9.0]), np.array(list("AAAABC"))
    assert conformal.quantile(score, 2 / 16, subject) == 2
    assert conformal.quantile(score, 3 / 16, subject) == 2.5
    assert conformal.quantile(score, 0.5, subject) == 4
    assert conformal.quantile(score, 0.75, subject) == 9
    assert np.isinf(conformal.quantile(score, 0.76, subject))


def test_one_trial_per_person_is_the_usual_quantile():
    score = np.random.default_rng(0).random(19)
    for level in (0.5, 0.8, 0.9, 0.95):
        assert conformal.quantile(score, level, np.arange(19)) == conformal.quantile(score, level)


def test_scores_and_sets_of_classes_by_hand():
    prob = np.array([[0.2, 0.5, 0.3]])
    before = conformal.class_scores(np.repeat(prob, 3, 0), np.arange(3), np.full(3, 0.5))
    assert before == pytest.approx([0.8 + 0.1, 0.25, 0.5 + 0.15])
    assert conformal.class_scores(prob, np.array([2]), np.zeros(1), kind="lac") == pytest.approx([0.7])
    assert conformal.class_sets(prob, 0.6)[0] == pytest.approx([0, 1, 1 / 3])
    assert conformal.class_sets(prob, np.inf)[0].tolist() == [1, 1, 1]
    assert conformal.class_sets(prob, 0.7, kind="lac")[0].tolist() == [0, 1, 1]


def test_a_class_is_in_the_set_exactly_as_often_as_its_score_is_below():
    rng = np.random.default_rng(1)
    prob, u = rng.dirichlet([1, 1, 1, 1], size=5), (np.arange(2000) + 0.5) / 2000
    for label in range(4):
        each = np.stack([conformal.class_scores(prob, np.full(5, label), np.full(5, row)) for row in u]) <= 0.7
        assert each.mean(0) == pytest.approx(conformal.class_sets(prob, 0.7)[:, label], abs=1e-3)


def test_mass_of_a_set_is_what_it_was_filled_to():
    prob = np.random.default_rng(2).dirichlet([1, 1, 1], size=50)
    q = np.linspace(0.05, 0.95, 50)
    assert (conformal.class_sets(prob, q) * prob).sum(1) == pytest.approx(q)


@pytest.mark.parametrize("kind", ["pit", "residual"])
def test_a_rating_is_in_its_interval_when_its_score_is_below(kind):
    rng = np.random.default_rng(3)
    mean, variance, y = rng.normal(0, 0.3, (7, 200)), rng.uniform(0.01, 0.1, (7, 200)), rng.uniform(-0.9, 0.9, 200)
    score, q = conformal.rating_scores(mean, variance, y, kind=kind), rng.uniform(0.1, 0.95, 200)
    low, high = conformal.rating_intervals(mean, variance, q, kind=kind)
    assert ((low <= y) & (y <= high) == (score <= q)).all() and 20 < (score <= q).sum() < 180


def test_intervals_end_where_the_scale_does():
    low, high = conformal.rating_intervals(np.zeros((1, 2)), np.ones((1, 2)), np.array([np.inf, 0.5]))
    assert (low[0], high[0]) == (-1, 1) and high[1] == pytest.approx(0.6744898)


def test_thresholds_come_from_others_or_from_the_own_other_trials():
    rng = np.random.default_rng(4)
    score, subject = rng.random(60), np.repeat(["A", "B", "C"], [25, 25, 10])
    found = conformal.thresholds(score, subject, 0.6, enough=20)
    changed = np.where(subject == "A", 5, score)
    again = conformal.thresholds(changed, subject, 0.6, enough=20)
    assert (found["conformal"][:25] == again["conformal"][:25]).all()  # nothing of A is in A's threshold
    for k in (0, 7, 24):
        assert found["own"][k] == conformal.quantile(np.delete(score[:25], k), 0.6)
    assert np.isnan(found["own"][50:]).all()


def test_table_of_a_calibrated_model(study_of):
    predictive, truth = study_of(subjects=40, trials=30)
    sheet = conformal.conformal_table(predictive, truth, predictive.targets, seed=0)
    assert list(sheet.columns) == conformal.COLUMNS
    assert set(sheet.method) == {"bayes", "conformal", "own"} and set(sheet.level) == {0.5, 0.8, 0.9}
    for target in ("valence", "mood"):
        for method in ("bayes", "conformal", "own"):
            row = whole(sheet, target=target, method=method, level=0.9)
            # 5 standard errors of 1,200 trials and the finite-sample excess of 40 people
            assert row.coverage == pytest.approx(0.9, abs=0.065), (target, method)
            assert row.low <= row.coverage <= row.high and row.trials == 1200
    part = sheet.query("target == 'valence' and method == 'bayes' and level == 0.9 and subject != '(all)'")
    data_sd = np.sqrt(predictive.variance["valence"].values[0])
    assert part["size"].mean() == pytest.approx(4 * 2 * 1.6448536 * data_sd.mean(), rel=0.01)
    assert conformal.disagreements(sheet)[0].startswith("Valence: conformal and Bayesian sets agree")


@pytest.mark.statistical
def test_over_confidence_is_repaired_and_said(study_of):
    predictive, truth = study_of(subjects=40, trials=30, sharpen=2.0)
    sheet = conformal.conformal_table(predictive, truth, predictive.targets, seed=0)
    for target in ("valence", "mood"):
        bayes, other = (whole(sheet, target=target, method=m, level=0.9) for m in ("bayes", "conformal"))
        assert bayes.high < 0.87 < 0.88 < other.coverage and other["size"] > 1.2 * bayes["size"]
    for line in conformal.disagreements(sheet):
        assert "disagree" in line and "too sure of itself for new people: trust the conformal sets" in line
    for line in conformal.disagreements(sheet, unseen="known people on held-out trials"):
        assert "too sure of itself for known people on held-out trials:" in line


def test_under_confidence_is_said(study_of):
    predictive, truth = study_of(subjects=40, trials=30, sharpen=0.5)
    for line in conformal.disagreements(conformal.conformal_table(predictive, truth, predictive.targets, seed=0)):
        assert "disagree" in line and "smaller; the model is less sure than it could be" in line


def test_few_people_cannot_be_judged(study_of):
    predictive, truth = study_of(subjects=8, trials=6)
    sheet = conformal.conformal_table(predictive, truth, predictive.targets, seed=0)
    assert "own" not in set(sheet.method)
    assert whole(sheet, target="mood", method="conformal", level=0.9)["size"] == 3  # 7 others cannot carry 90 %
    for line in conformal.disagreements(sheet, level=0.9):
        assert "cannot be compared" in line and "8 people are too few" in line
    assert conformal.carried(sheet) == 0.5  # 8 x 0.2 < 2 <= 8 x 0.5
    assert all("asked for 50 %" in line for line in conformal.disagreements(sheet))


def test_one_person_has_no_rows(study_of):
    predictive, truth = study_of(subjects=1)
    assert conformal.conformal_table(predictive, truth, predictive.targets, seed=0).empty
    assert conformal.disagreements(pd.DataFrame(columns=conformal.COLUMNS)) == ()


@pytest.mark.statistical
def test_promise_to_a_new_person_holds_although_people_differ(study_of):
    """Marginal coverage over new people and their trials, with scores that cluster within people."""
    hits = []
    for seed in range(150):
        predictive, truth = study_of(subjects=15, trials=8, seed=seed, vary=0.7)
        mean, variance = predictive.mean["valence"].values, predictive.variance["valence"].values
        score = conformal.rating_scores(mean, variance, truth["valence"].values)
        q = conformal.quantile(score[8:], 0.8, truth["subject"].values[8:])
        hits.append((score[:8] <= q).mean())
    error = np.std(hits) / np.sqrt(150)
    assert np.mean(hits) > 0.8 - 4 * error
    assert np.mean(hits) < 0.8 + 1 / 15 + 4 * error  # and no more than one person's mass above
    assert np.std(hits) > np.sqrt(0.8 * 0.2 / 8)  # they do differ


def test_scores_of_calibrated_predictions_are_uniform(study_of):
    predictive, truth = study_of(subjects=40, trials=50)
    mean, variance = predictive.mean["valence"].values, predictive.variance["valence"].values
    rating = conformal.rating_scores(mean, variance, truth["valence"].values)
    u = np.random.default_rng(5).random(2000)
    mood = conformal.class_scores(predictive.probability("mood").values, truth["mood"].values, u)
    for score in (rating, mood):
        assert np.abs(np.sort(score) - (np.arange(2000) + 0.5) / 2000).max() < 1.95 / np.sqrt(2000)
    assert rating == pytest.approx(np.abs(2 * scores.pit(mean, variance, truth["valence"].values) - 1))
