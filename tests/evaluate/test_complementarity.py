import numpy as np
import pandas as pd
import pytest
import xarray as xr
from scipy import stats
from sklearn.metrics import cohen_kappa_score

from bayesaffect.evaluate import complementarity, scores
from bayesaffect.types import Predictive, Target

VALENCE, MOOD = Target("valence", bounds=(1, 9)), Target("mood", levels=("low", "mid", "high"))
SUBJECTS, EACH = 10, 20


def index(n):
    subject = np.array([f"S{k // EACH}" for k in range(n)])
    coords = {"trial": [f"T{k:04d}" for k in range(n)], "subject": ("trial", subject)}
    return xr.DataArray(subject, dims="trial", coords=coords)


def predictive(logit, mean, variance=0.09):
    who = index(len(logit))
    log_prob = logit - np.log(np.exp(logit).sum(1, keepdims=True))
    return Predictive(
        (VALENCE, MOOD),
        who,
        {"valence": xr.DataArray(mean[None], dims=("draw", "trial"), coords=who.coords)},
        {"valence": xr.DataArray(np.full((1, len(mean)), variance), dims=("draw", "trial"), coords=who.coords)},
        {"mood": xr.DataArray(log_prob[None], dims=("draw", "trial", "level"), coords=who.coords)},
    )


def study(seed=0, n=SUBJECTS * EACH):
    rng = np.random.default_rng(seed)
    y, label = rng.normal(0, 0.4, n), rng.integers(0, 3, n)
    truth = xr.Dataset({"valence": ("trial", y), "mood": ("trial", label)}, coords={"trial": index(n)["trial"].values})
    singles = {
        m: predictive(1.2 * np.eye(3)[label] + rng.normal(size=(n, 3)), y + rng.normal(0, 0.3, n))
        for m in ("eeg", "face", "gsr")
    }
    return singles, truth


def measured(singles, truth, **options):
    table = complementarity.pairs(singles, truth, (VALENCE, MOOD), seed=0, **({"resamples": 200} | options))
    return table.set_index(["target", "a", "b", "measure"]).sort_index()


def test_measures_of_classes_are_those_of_the_table_of_right_and_wrong():
    singles, truth = study()
    right = {m: p.probability("mood").values.argmax(1) == truth["mood"].values for m, p in singles.items()}
    a, b = right["eeg"], right["gsr"]
    n11, n10, n01, n00 = (float(x.mean()) for x in (a & b, a & ~b, ~a & b, ~a & ~b))
    got = measured(singles, truth).loc["mood", "eeg", "gsr"]["value"]
    expected = {
        "disagreement": n10 + n01,
        "double_fault": n00,
        "q": (n11 * n00 - n01 * n10) / (n11 * n00 + n01 * n10),
        "kappa": cohen_kappa_score(a, b),
        "correlation": np.corrcoef(a, b)[0, 1],
        "oracle_gap": (a | b).mean() - max(a.mean(), b.mean()),
        "oracle_gap_independent": 1 - (1 - a.mean()) * (1 - b.mean()) - max(a.mean(), b.mean()),
    }
    assert 0 < n00 < n11 and got.to_dict() == pytest.approx(expected)


def test_measures_of_ratings_are_those_of_the_errors():
    singles, truth = study()
    a, b = (4 * (singles[m].mean["valence"].values[0] - truth["valence"].values) for m in ("eeg", "face"))
    got = measured(singles, truth).loc["valence", "eeg", "face"]["value"]
    rmse = [np.sqrt((e**2).mean()) for e in (a, b)]
    picked = np.where(np.abs(a) < np.abs(b), a, b)
    expected = {"correlation": np.corrcoef(a, b)[0, 1], "oracle_gap": min(rmse) - np.sqrt((picked**2).mean())}
    assert got.to_dict() == pytest.approx(expected) and got["oracle_gap"] > 0.1


def test_a_copy_complements_nothing():
    """Planted: the second modality is the first."""
    singles, truth = study()
    got = measured({"eeg": singles["eeg"], "twin": singles["eeg"]}, truth)["value"]
    mood, valence = got["mood", "eeg", "twin"], got["valence", "eeg", "twin"]
    assert mood["disagreement"] == mood["oracle_gap"] == 0 and mood["q"] == pytest.approx(1)
    assert mood["kappa"] == pytest.approx(1) and mood["correlation"] == pytest.approx(1)
    assert valence["correlation"] == pytest.approx(1) and valence["oracle_gap"] == pytest.approx(0, abs=1e-12)


def test_pairs_are_compared_where_both_are_there_whatever_their_order():
    singles, truth = study()
    part = {"eeg": singles["eeg"].select(np.arange(150)), "face": singles["face"].select(np.arange(199, 49, -1))}
    got = measured(part, truth)
    assert (got["trials"] == 100).all()
    both = {m: p.select(np.arange(50, 150)) for m, p in singles.items() if m != "gsr"}
    pd.testing.assert_series_equal(got["value"], measured(both, truth)["value"])
    assert measured({"eeg": part["eeg"].select(np.arange(9)), "face": part["face"].select(np.arange(9))}, truth).empty


def where(fused, singles, truth, clips=5, **options):
    n = truth.sizes["trial"]
    stimulus = xr.DataArray([f"clip{k % clips}" for k in range(n)], dims="trial", coords={"trial": truth["trial"]})
    given = {"stimulus": stimulus, "seed": 0, "resamples": 200} | options
    return complementarity.helped(fused, singles, truth, (VALENCE, MOOD), **given)


def test_the_difference_of_a_group_is_that_of_its_log_scores():
    singles, truth = study()
    fused, mood = singles.pop("gsr"), truth["mood"].values
    table = where(fused, singles, truth)
    each = {m: scores.nll_each(p.probability("mood").values, mood) for m, p in {**singles, "fused": fused}.items()}
    best = min(singles, key=lambda m: each[m].mean())
    d = each["fused"] - each[best]
    rows = table[table["target"] == "mood"].set_index(["by", "group"])
    assert set(rows["best"]) == {best}
    assert rows.loc[("subject", "S3"), "value"] == pytest.approx(d[60:80].mean())
    assert rows.loc[("emotion", "high"), "value"] == pytest.approx(d[mood == 2].mean())
    assert rows.loc[("stimulus", "clip4"), "value"] == pytest.approx(d[4::5].mean())
    assert rows.loc[("stimulus", "clip4"), "trials"] == 40
    by_emotion = table.query("target == 'valence' and by == 'emotion'")
    assert set(by_emotion["group"]) == {"low", "mid", "high"}


def test_a_subject_for_whom_fusion_is_planted_to_be_wrong_is_the_one_that_is_flagged():
    singles, truth = study()
    n = truth.sizes["trial"]
    rng = np.random.default_rng(5)
    logit = 1.2 * np.eye(3)[truth["mood"].values] + rng.normal(size=(n, 3)) * 0.9
    logit[60:80] = 2.5 * np.eye(3)[(truth["mood"].values[60:80] + 1) % 3]
    table = where(predictive(logit, singles["eeg"].mean["valence"].values[0]), singles, truth)
    rows = table.query("target == 'mood' and by == 'subject'")
    assert rows.loc[rows["clear"] == "hurt", "group"].tolist() == ["S3"]
    assert (rows.set_index("group").loc["S3", ["value", "low"]] > 0).all()
    said = complementarity.sentences({"helped": table})
    assert "clearly worse for 1 (S3 +" in next(s for s in said if s.startswith("Mood"))


@pytest.mark.statistical
@pytest.mark.parametrize(("dependence", "at_most"), [(0.0, 0.1), (0.5, 0.2)])
def test_with_no_difference_hardly_any_study_flags_a_subject(dependence, at_most):
    """Independent trials: at most one study in ten may flag anybody; neighbours that share half: one in five.

    200 studies of ten subjects with 40 trials; 5 Monte-Carlo errors above. Unadjusted, six in ten flag somebody.
    """
    flagged, unadjusted = [], []
    for seed in range(200):
        e = np.random.default_rng(seed).normal(size=(SUBJECTS, 40))
        for k in range(1, e.shape[1]):
            e[:, k] = dependence * e[:, k - 1] + np.sqrt(1 - dependence**2) * e[:, k]
        p = np.array([complementarity._alone(x)[-1] for x in e])
        unadjusted.append((p < complementarity.FAMILY).any())
        flagged.append((complementarity.holm(p) < complementarity.FAMILY).any())
    assert np.mean(flagged) < at_most + 5 * np.sqrt(at_most * (1 - at_most) / 200)
    assert np.mean(unadjusted) > 0.4


def test_neighbours_that_resemble_each_other_count_as_fewer_trials():
    x = np.array([1.0, 2.0, 4.0, 3.0, 5.0, 7.0, 6.0, 8.0])
    d = x - x.mean()
    r = (d[1:] * d[:-1]).sum() / (d**2).sum()
    r += (1 + 3 * r) / 8
    assert 0.5 < r < 0.95 and complementarity.effective_trials(x) == pytest.approx(8 * (1 - r) / (1 + r))
    assert complementarity.effective_trials(np.array([1.0, -1.0] * 6)) == 12
    assert complementarity.effective_trials(np.ones(5)) < 5
    value, low, high, n, p = complementarity._alone(x)
    count = complementarity.effective_trials(x)
    reach = stats.t.ppf(0.95, max(count - 1, 1)) * x.std(ddof=1) / np.sqrt(count)
    assert (value, low, high, n) == pytest.approx((4.5, 4.5 - reach, 4.5 + reach, 8)) and 0 < p < 1


def test_holm_is_the_stepwise_rule():
    p = np.array([0.03, 0.01, np.nan, 0.5, 0.04])
    np.testing.assert_allclose(complementarity.holm(p), [0.09, 0.04, np.nan, 0.5, 0.09])
    assert complementarity.holm(np.array([0.7, 0.8])).max() == 1


def test_one_trial_too_few_is_left_out_and_one_subject_has_no_interval_over_subjects():
    singles, truth = study()
    few = np.r_[0:22]
    table = where(singles["gsr"].select(few), {"eeg": singles["eeg"].select(few)}, truth)
    assert set(table.query("by == 'subject'")["group"]) == {"S0"}
    alone = where(singles["gsr"].select(np.r_[0:20]), {"eeg": singles["eeg"]}, truth)
    rows = alone.query("by == 'emotion'")
    assert len(rows) and rows[["low", "high", "p"]].isna().all(axis=None) and (rows["clear"] == "").all()


@pytest.mark.parametrize("size", [0.0, 0.4, 2e-16])
def test_differences_that_never_vary_prove_nothing(size):
    assert np.isnan(complementarity._alone(np.full(3, size))[-1])
    assert np.isnan(complementarity._over(np.full(6, size), np.repeat(["a", "b"], 3), 0, 50)[-1])


def test_a_modality_with_a_few_easy_trials_is_not_the_rival_of_fusion():
    singles, truth = study()
    sure = np.sort(np.argsort(-singles["eeg"].probability("mood").values[np.arange(200), truth["mood"].values])[:30])
    rare = {"eeg": singles["face"], "gsr": singles["eeg"].select(sure)}
    assert set(where(singles["gsr"], rare, truth).query("target == 'mood'")["best"]) == {"eeg"}
    half = singles["eeg"].select(np.argsort(-singles["eeg"].probability("mood").values.max(1))[:100])
    assert set(where(singles["gsr"], {**rare, "gsr": half}, truth).query("target == 'mood'")["best"]) == {"gsr"}
