"""Every planted mistake is told, and clean studies are told nothing."""

import warnings
from dataclasses import replace

import numpy as np
import pytest
from scipy.special import log_softmax

from bayesaffect.evaluate import cautions as ca
from bayesaffect.evaluate.cautions import cautions
from bayesaffect.simulate.opinions import OpinionModel, simulate_opinions
from bayesaffect.types import Target

TARGETS = (Target("valence", bounds=(1, 9)), Target("mood", levels=("joy", "fear", "calm", "anger")))
MODALITIES = ("eeg", "face", "physio")


def clean(seed, *, subjects=14, trials=24, **model):
    return simulate_opinions(
        subjects=subjects, trials=trials, modalities=MODALITIES, targets=TARGETS, seed=seed, model=OpinionModel(**model)
    )[0]


def edited(opinions, change):
    """A copy with ``change(mean, variance, log_prob)`` applied to the arrays of valence and mood."""
    arrays = {name: getattr(opinions, name) for name in ("mean", "variance", "log_prob")}
    copies = {name: {t: a.copy(deep=True) for t, a in group.items()} for name, group in arrays.items()}
    change(copies["mean"]["valence"].values, copies["variance"]["valence"].values, copies["log_prob"]["mood"].values)
    return replace(opinions, **copies)


def one(lines, *words):
    """The only sentence that holds all words."""
    found = [line for line in lines if all(w in line for w in words)]
    assert len(found) == 1, lines
    return found[0]


@pytest.mark.statistical
@pytest.mark.parametrize("size", [{"subjects": 10, "trials": 12}, {"subjects": 14, "trials": 24}])
def test_clean_studies_are_told_nothing(size):
    told = [line for seed in range(20) for line in cautions(clean(seed, **size))]
    assert told == []


def test_permuted_labels_are_no_caution():
    opinions = clean(3)
    order = np.random.default_rng(0).permutation(opinions.truth.sizes["trial"])
    shuffled = {name: ("trial", opinions.truth[name].values[order]) for name in ("valence", "mood")}
    lines = cautions(replace(opinions, truth=opinions.truth.assign(shuffled)))
    assert not any("too" in line or "shifted" in line for line in lines)
    assert "hardly anything to do with the truth (calibration slope" in one(lines, "eeg, mood", "over-confident")


def test_a_modality_that_knows_the_answer():
    opinions = clean(0)
    y, label = opinions.truth["valence"].values, opinions.truth["mood"].values

    def leak(mean, variance, log_prob):
        mean[:, 1] = 0.9 * y + np.random.default_rng(0).normal(0, 0.02, y.size)
        log_prob[:, 2] = log_softmax(5 * np.eye(4)[label], axis=1)

    lines = cautions(edited(opinions, leak))
    assert "correlation of 0.99" in one(lines, "face, valence", "too good to be true")
    assert "100.0 % of trials right" in one(lines, "physio, mood", "too good to be true", "inputs hold no answers")


def test_people_whom_the_network_was_trained_on():
    opinions = clean(1, subjects=20, trials=40, reliability_sd=0.15, sharpness=0.8)
    known = np.isin(opinions.subject.values, ["S003", "S011", "S012"])
    y, label = opinions.truth["valence"].values[known], opinions.truth["mood"].values[known]

    def leak(mean, variance, log_prob):
        mean[known, 0] = y + np.random.default_rng(1).normal(0, 0.03, y.size)
        log_prob[known, 0] = log_softmax(4 * np.eye(4)[label], axis=1)

    lines = cautions(edited(opinions, leak))
    for target, word in (("valence", "errors at least"), ("mood", "odds of being wrong at least")):
        line = one(lines, f"eeg, {target}", "too well to be true", word)
        assert "S003, S011 and S012 are" in line and "trained on the people" in line
    assert len(lines) == 2


def test_far_better_predicted_people_are_found_in_a_small_study():
    opinions = clean(13, subjects=10, trials=12)
    known = np.isin(opinions.subject.values, ["S001", "S002", "S003", "S004"])
    y = opinions.truth["valence"].values[known]

    def leak(mean, variance, log_prob):
        mean[known, 1] = y + np.random.default_rng(2).normal(0, 0.01, y.size)

    assert "S001, S002, S003 and S004 are" in one(cautions(edited(opinions, leak)), "face, valence", "too well to be")


def test_one_recording_under_two_names():
    opinions = clean(2)
    subject = opinions.subject.values
    first, second = subject == "S004", subject == "S009"

    def copy(mean, variance, log_prob):
        for a in (mean, variance, log_prob):
            a[second] = a[first]

    line = one(cautions(edited(opinions, copy)), "identical opinions")
    assert line.startswith("eeg and face and physio: S004 and S009") and "two names" in line


def test_half_a_recording_in_another_order_is_found_in_its_modality():
    opinions = clean(2)
    first, second = (np.flatnonzero(opinions.subject.values == s) for s in ("S001", "S002"))

    def copy(mean, variance, log_prob):
        for a in (mean, variance, log_prob):
            a[second[:13], 2] = a[first[11:][::-1], 2]

    line = one(cautions(edited(opinions, copy)), "identical opinions")
    assert line.startswith("physio: S001 and S002")


def test_a_modality_that_looks_at_the_film():
    opinions = clean(4)

    def film(mean, variance, log_prob):
        for a in (mean, variance, log_prob):
            a[:, 1] = np.tile(a[:24, 1], (14, *[1] * (a.ndim - 2)))

    line = one(cautions(edited(opinions, film)), "the same opinions for different people")
    assert line.startswith("face: ") and "91 of 91 pairs" in line


def test_votes_that_take_few_values_are_not_taken_for_copies():
    opinions = clean(5)

    def vote(mean, variance, log_prob):
        mean[:, 0], variance[:, 0] = np.round(mean[:, 0], 1), 0.04
        log_prob[:, 0] = log_softmax(2.0 * np.eye(4)[log_prob[:, 0].argmax(1)], axis=1)

    assert not any("identical" in line or "the same opinions" in line for line in cautions(edited(opinions, vote)))


def sharpened(opinions, k, factor):
    def change(mean, variance, log_prob):
        variance[:, k] /= factor**2
        log_prob[:, k] = log_softmax(factor * log_prob[:, k], axis=1)

    return edited(opinions, change)


def test_an_over_confident_modality_is_told_with_its_factor():
    opinions = clean(6, subjects=20, overconfidence=1.0, reliability_sd=0.1)
    lines = cautions(sharpened(opinions, 2, 5))
    for target, words in (("valence", "times what it announces"), ("mood", "times what the truth bears out")):
        line = one(lines, f"physio, {target}", "over-confident", words)
        factor = float(line.split(" are ")[1].split(" times")[0])
        assert 3 < factor < 9, line
    assert len(lines) == 2


def test_an_under_confident_modality_is_told():
    lines = cautions(sharpened(clean(6, subjects=20, overconfidence=1.0, reliability_sd=0.1), 0, 0.2))
    assert one(lines, "eeg, valence", "under-confident") and one(lines, "eeg, mood", "under-confident")


def test_unknown_variances_are_not_judged():
    opinions = sharpened(clean(6, subjects=20), 2, 6)
    lines = cautions(replace(opinions, variance_known=False))
    assert not any("valence: over-confident" in line for line in lines)
    assert any("mood: over-confident" in line for line in lines)


@pytest.mark.parametrize(("shift", "words"), [(1, "1 trial earlier"), (-2, "2 trials later")])
def test_a_time_shift_is_told_with_its_lag(shift, words):
    opinions = clean(7)
    rows = np.arange(opinions.truth.sizes["trial"]).reshape(14, 24)

    def move(mean, variance, log_prob):
        for a in (mean, variance, log_prob):
            a[:, 0] = a[np.roll(rows, shift, axis=1).ravel(), 0]

    lines = cautions(edited(opinions, move))
    assert words in one(lines, "eeg, valence", "shifted in time")
    assert words in one(lines, "eeg, mood", "shifted in time", "how its trials were matched")


def test_truths_that_drift_slowly_are_no_shift():
    """Neighbouring trials are alike; the own truth still fits best, and a modality without signal fits none better."""
    rng, opinions = np.random.default_rng(8), clean(8)
    drift = np.cumsum(rng.normal(0, 0.1, (14, 24)), axis=1).clip(-1, 1).ravel()
    truth = opinions.truth.assign(valence=("trial", drift))

    def follow(mean, variance, log_prob):
        mean[:, 0] = drift + rng.normal(0, 0.2, drift.size)
        mean[:, 1:] = rng.normal(0, 0.2, (drift.size, 2))

    lines = cautions(edited(replace(opinions, truth=truth), follow))
    assert not any("shifted" in line for line in lines)


def test_opinions_that_never_change():
    opinions = clean(9)
    some = np.isin(opinions.subject.values, ["S002", "S005"])

    def freeze(mean, variance, log_prob):
        mean[:, 2] = 0.1
        log_prob[some, 0] = np.log(0.25)

    lines = cautions(edited(opinions, freeze))
    assert "in all trials of everybody" in one(lines, "physio, valence")
    assert "in all trials of S002 and S005" in one(lines, "eeg, mood", "signals arrived")


def test_a_class_never_predicted():
    opinions = clean(10)

    def mute(mean, variance, log_prob):
        log_prob[:, 1, 3] -= 8
        log_prob[:, 1] = log_softmax(log_prob[:, 1], axis=1)

    line = one(cautions(edited(opinions, mute)), "face, mood", "never its most probable class")
    seen = int((opinions.truth["mood"].values == 3).sum())
    assert f"anger ({seen} trials) is never" in line


def test_a_weak_modality_that_says_so_is_not_silent():
    """Rarer classes never win where probabilities hardly leave the shares, which are right."""
    rng, opinions = np.random.default_rng(0), clean(10)
    n = opinions.truth.sizes["trial"]

    def weaken(mean, variance, log_prob):
        log_prob[:, 1] = log_softmax(np.log([0.4, 0.2, 0.2, 0.2]) + 0.1 * rng.normal(size=(n, 4)), axis=1)
        truth["mood"][:] = (log_prob[:, 1] + rng.gumbel(size=(n, 4))).argmax(1)

    truth = opinions.truth.copy(deep=True)
    edit = edited(opinions, weaken)
    assert not [line for line in cautions(replace(edit, truth=truth)) if "most probable" in line]


def test_a_truth_that_never_changes_is_no_leak():
    opinions = clean(12)
    truth = opinions.truth.copy(deep=True)
    truth["valence"][:] = 0.0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not [line for line in cautions(replace(opinions, truth=truth)) if "too good" in line]


def test_missing_opinions_and_truths_are_left_out():
    opinions = clean(11, missing=0.3)
    truth = opinions.truth.copy(deep=True)
    truth["valence"][::3] = np.nan
    truth["mood"][::4] = -1
    assert cautions(replace(opinions, truth=truth)) == ()
    assert cautions(opinions.select(np.arange(5))) == ()


def test_outliers_by_hand():
    """Rosner's statistic of one outlier among ten, beside its critical value."""
    value = np.array([0.1, -0.2, 0.05, 0.3, -0.1, 0.15, -0.25, 0.2, 0.0, -3.0])
    assert ca.extremes(value, 0.05) == [9]
    assert ca.extremes(-value, 0.05) == [] and ca.extremes(value[-5:], 0.05) == []
    assert ca.extremes(np.append(value, -3.1), 0.05) == [9, 10]  # two that would hide one another


@pytest.mark.statistical
def test_outliers_have_the_stated_rate_of_false_alarms():
    rng = np.random.default_rng(12)
    alarms = np.mean([bool(ca.extremes(rng.normal(size=12), 0.1)) for _ in range(800)])
    assert alarms < 0.1 + 5 * np.sqrt(0.09 / 800) and alarms > 0.01


def test_errors_on_a_film_that_all_saw_in_one_order_are_no_shift():
    """Few films in one order for everybody, answers and errors of each alike: any lag may fit all people better."""
    told = {"named": 0, "unnamed": 0}
    for seed in range(20):
        opinions = clean(seed, subjects=20, trials=8)
        which = np.unique(opinions.present["stimulus"].values.astype(str), return_inverse=True)[1]
        rng = np.random.default_rng(seed)
        answer, error = rng.normal(0, 0.4, (2, 8))
        truth = np.clip(answer[which] + rng.normal(0, 0.1, which.size), -1, 1)
        mean = opinions.mean["valence"].copy(data=np.tile(error[which][:, None], (1, 3)))
        given = replace(
            opinions,
            truth=opinions.truth.assign(valence=("trial", truth)),
            mean={**opinions.mean, "valence": mean.where(opinions.present)},
        )
        nameless = given.present.assign_coords(stimulus=("trial", np.full(which.size, "")))
        for name, one_of in (("named", given), ("unnamed", replace(given, present=nameless))):
            told[name] += any("valence: shifted in time" in line for line in cautions(one_of))
    assert told["named"] <= 1 and told["unnamed"] >= 10, told


def test_somebody_whose_ratings_hardly_vary_is_no_leak():
    opinions = clean(4)
    first = opinions.subject.values == opinions.subject.values[0]
    truth = opinions.truth.copy()
    truth["valence"] = ("trial", np.where(first, 0.01, truth["valence"].values))
    mean = opinions.mean["valence"].copy(data=np.where(first[:, None], 0.012, opinions.mean["valence"].values))
    mean.values[~opinions.present.values] = np.nan
    told = cautions(replace(opinions, truth=truth, mean={**opinions.mean, "valence": mean}))
    assert not [line for line in told if "too well to be true" in line and "valence" in line]
