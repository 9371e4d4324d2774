"""Averages over subjects, paired losses, and what is left when trials are handed back."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from scipy.stats import norm

from bayesaffect.evaluate.robustness import average, kept, pointwise
from bayesaffect.evaluate.summary import score_table
from bayesaffect.types import Predictive, Target

VALENCE = Target("valence", bounds=(1, 9))
MOOD = Target("mood", levels=("low", "middle", "high"))


def predictions(seed=0, draws=3, trials=12):
    rng = np.random.default_rng(seed)
    names = [f"S{k // 4}/T{k % 4}" for k in range(trials)]
    coords = {"trial": names, "subject": ("trial", [n[:2] for n in names])}
    mean = xr.DataArray(rng.normal(0, 0.3, (draws, trials)), dims=("draw", "trial"), coords=coords)
    variance = xr.full_like(mean, 0.04) * rng.uniform(0.5, 2, trials)
    logits = rng.normal(0, 1, (draws, trials, 3))
    logits -= np.log(np.exp(logits).sum(-1, keepdims=True))
    log_prob = xr.DataArray(logits, dims=("draw", "trial", "level"), coords=coords | {"level": list(MOOD.levels)})
    subject = xr.DataArray(coords["subject"][1], dims="trial", coords=coords)
    said = Predictive((VALENCE, MOOD), subject, {"valence": mean}, {"valence": variance}, {"mood": log_prob})
    y = np.clip(rng.normal(0, 0.4, trials), -1, 1)
    y[3] = np.nan
    label = rng.integers(0, 3, trials)
    label[5] = -1
    return said, xr.Dataset({"valence": ("trial", y), "mood": ("trial", label)}, coords={"trial": names})


def test_a_trial_is_scored_as_the_formulas_say():
    said, truth = predictions()
    rated, named = (pointwise(said, truth, t) for t in (VALENCE, MOOD))
    assert np.isnan(rated["nll"][3]) and np.isnan(named["nll"][5]) and np.isfinite(rated["nll"][4])
    m, v, y = said.mean["valence"].values[:, 4], said.variance["valence"].values[:, 4], float(truth["valence"][4])
    density = norm.pdf(y, m, np.sqrt(v)).mean() / 4  # four rating units per unit
    assert rated["nll"][4] == pytest.approx(-np.log(density))
    assert rated["squared_error"][4] == pytest.approx((4 * (m.mean() - y)) ** 2)
    assert rated["uncertainty"][4] == pytest.approx(16 * (v.mean() + m.var()))
    assert rated["coverage90"][4] == (0.05 <= norm.cdf(y, m, np.sqrt(v)).mean() <= 0.95)
    p = np.exp(said.log_prob["mood"].values[:, 7]).mean(0)
    assert named["nll"][7] == pytest.approx(-np.log(p[int(truth["mood"][7])]))
    assert named["uncertainty"][7] == pytest.approx(1 - p.max())
    assert named["accuracy"][7] == (p.argmax() == int(truth["mood"][7]))


def test_averages_are_those_of_the_table_of_scores():
    said, truth = predictions(trials=24)
    table = score_table({"it": said}, truth, (VALENCE, MOOD), seed=5).set_index(["target", "score"])
    subject = said.subject.values
    for target, score, name in ((VALENCE, "nll", "nll"), (VALENCE, "rmse", "squared_error"), (MOOD, "nll", "nll")):
        values = pointwise(said, truth, target)[name]
        found = average(values, subject, seed=5, root=score == "rmse")
        expected = table.loc[(target.name, score)]
        np.testing.assert_allclose(found, expected[["value", "low", "high"]].to_numpy(float), rtol=1e-9)


def test_nothing_and_one_subject_have_no_interval():
    assert np.isnan(average(np.full(4, np.nan), np.array(list("aabb")), seed=0)).all()
    value, low, high = average(np.array([1.0, 2.0, np.nan]), np.array(list("aab")), seed=0)
    assert value == 1.5 and np.isnan([low, high]).all()
    blank = kept(np.full(3, np.nan), np.ones(3), np.array(list("aab")), handed_back=np.array([0.0, 0.1]), seed=0)
    assert len(blank) == 2 and np.isnan(blank).all()


def test_handing_back_keeps_the_surest():
    unsure = np.array([0.3, 0.1, 0.4, 0.2, 0.5])
    good = np.array([1.0, 1.0, 0.0, 1.0, 0.0])
    subject = np.array(list("abaab"))
    found = kept(unsure, good, subject, handed_back=np.array([0.0, 0.2, 0.4]), seed=0)
    assert [e.value for e in found] == pytest.approx([0.6, 0.75, 1.0])
    error = kept(unsure, 4 * (1 - good), subject, handed_back=np.array([0.2]), seed=0, root=True)
    assert error[0].value == pytest.approx(1.0)


def test_equal_uncertainties_are_not_sorted_by_the_order_of_the_table():
    good, subject = np.repeat([1.0, 0.0], [60, 40]), np.tile(list("abcd"), 25)
    unsure = np.where(np.arange(100) % 10 == 0, 0.1, 0.2)
    for rows in (np.arange(100), np.arange(100)[::-1]):
        found = kept(unsure[rows], good[rows], subject[rows], handed_back=np.array([0.0, 0.3, 0.95]), seed=0)
        assert [e.value for e in found] == pytest.approx([0.6, 0.6, 0.6])


def test_the_interval_decides_anew_in_every_resample():
    """Against copies of the trials, laid out one by one."""
    rng = np.random.default_rng(1)
    subject = np.repeat(np.array(list("abcd")), [5, 7, 6, 4])
    unsure, good = rng.random(22), rng.random(22)
    found = kept(unsure, good, subject, handed_back=np.array([0.3]), seed=3)[0]
    counts = np.random.default_rng(3).multinomial(4, np.full(4, 0.25), size=1000)
    slow = []
    for row in counts:
        rows = np.concatenate([np.tile(np.flatnonzero(subject == s), n) for s, n in zip("abcd", row, strict=True)])
        order = rows[np.argsort(unsure[rows], kind="stable")]
        slow.append(good[order[: max(round(0.7 * order.size), 1)]].mean())
    np.testing.assert_allclose([found.low, found.high], np.quantile(slow, [0.05, 0.95]))


@pytest.mark.statistical
def test_uncertainty_that_knows_nothing_gains_nothing():
    """A planted defect: with a useless uncertainty the curve stays flat, with a true one it rises."""
    rng = np.random.default_rng(2)
    risk = rng.random(2000)
    good = (rng.random(2000) > risk).astype(float)
    subject = np.repeat(np.arange(20).astype(str), 100)
    shares = np.array([0.0, 0.3])
    true = kept(risk, good, subject, handed_back=shares, seed=0)
    blind = kept(rng.random(2000), good, subject, handed_back=shares, seed=0)
    assert true[1].low > true[0].high
    assert abs(blind[1].value - blind[0].value) < 5 * np.sqrt(0.25 / 1400 * 0.3)
