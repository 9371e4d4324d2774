"""What captions say is what the tables say, and no more than the data carry."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
import xarray as xr

from bayesaffect.report import measure, people
from bayesaffect.report.diagnostics import elements
from bayesaffect.report.figures import calibration as figures_calibration
from bayesaffect.report.figures import data as figures_data
from bayesaffect.report.figures import ratings as figures_ratings
from bayesaffect.report.figures import scores as figures_scores
from bayesaffect.report.figures import subjects as figures_subjects
from bayesaffect.report.figures import weights as figures_weights
from bayesaffect.report.style import colours


@pytest.fixture(scope="module")
def many_draws(affect):
    """The headline model has more draws than a figure needs, and no two are alike."""
    rng, late = np.random.default_rng(0), affect.predictives["late"]
    mean = late.mean["valence"].isel(draw=0, drop=True).expand_dims(draw=2000)
    wider = replace(late, mean=late.mean | {"valence": mean + rng.normal(0, 0.4, mean.shape)})
    variance = late.variance["valence"].isel(draw=0, drop=True).expand_dims(draw=2000)
    wider = replace(wider, variance=late.variance | {"valence": variance})
    return replace(affect, predictives={**affect.predictives, "late": wider}, targets=affect.targets[:1])


def test_figures_use_every_draw_that_the_scores_used(many_draws):
    r = measure.ratings(many_draws, "late", "valence")
    assert r.mean.shape[0] == 2000
    inside = 100 * np.mean(np.abs(measure.pit(r) - 0.5) <= 0.45)
    assert f"90 % intervals {inside:.1f} %" in figures_ratings.coverage(many_draws).caption
    assert f"{inside:.1f} % of truths inside" in figures_ratings.scatter(many_draws).caption
    half_range = many_draws.targets[0].half_range
    error = half_range * np.sqrt(np.mean((r.mean.mean(0) - r.truth) ** 2))
    assert f"RMSE {error:.3f} on all trials" in figures_subjects.selective(many_draws).caption


def test_one_persons_poor_signal_is_not_called_clearly_worse(affect):
    """Only S01 has a poor face signal, and the face errs there: one person cannot show that quality matters."""
    quality = affect.quality.where(affect.quality.isnull(), 1.0)
    mine = quality["subject"].values == "S01"
    quality[mine, 1] = quality[mine, 1] * 0.3
    face = affect.predictives["face"]
    far = xr.DataArray((face.subject == "S01") * 5.0, dims="trial")
    worse = replace(face, mean=face.mean | {"valence": face.mean["valence"] + far})
    caption = figures_data.quality_and_error(
        replace(affect, quality=quality, predictives={**affect.predictives, "face": worse})
    ).caption
    assert "None is clearly worse" in caption and "fewer than five people" in caption


def test_limits_need_five_people():
    x, y = np.repeat([0.0, 1.0], 20), np.arange(40.0)
    subject = np.r_[np.repeat([f"S{k}" for k in range(4)], 5), np.repeat([f"S{k}" for k in range(5)], 4)]
    b = measure.binned(x, y, subject, bins=2)
    assert np.isnan([b.low[0], b.high[0]]).all() and b.low[1] < b.y[1] < b.high[1]


def test_rank_correlation_is_spearmans_with_an_interval_over_subjects():
    rng = np.random.default_rng(0)
    x, subject = rng.normal(size=600), np.repeat(np.arange(30), 20)
    y = x + rng.normal(size=600)
    value, low, high = measure.rank_correlation(x, np.exp(y), subject)
    rank = [np.argsort(np.argsort(v)) for v in (x, y)]
    assert value == pytest.approx(np.corrcoef(*rank)[0, 1], abs=1e-12)
    # about (1 - r^2) / sqrt(n) on either side, times 1.645
    assert high - low == pytest.approx(2 * 1.645 * (1 - value**2) / np.sqrt(600), rel=0.35) and low < value < high
    assert measure.rank_correlation(x, x, subject)[0] == pytest.approx(1)


def test_announced_errors_are_compared_trial_by_trial(affect):
    caption = figures_calibration.announced(affect).caption
    found = re.search(r"emotion: (-?\d\.\d\d) \[(-?\d\.\d\d), (-?\d\.\d\d)\]", caption)
    expected, made = measure.expectation(measure.classes(affect, "late", "emotion"))
    ranks = [np.argsort(np.argsort(v)) for v in (expected, made)]
    assert float(found[1]) == pytest.approx(np.corrcoef(*ranks)[0, 1], abs=0.011)


def test_differences_count_what_is_worse_as_well(affect):
    table = affect.differences.copy()
    nll = table["score"] == "nll"
    worse = nll & (table["b"] == "eeg")
    table.loc[nll, ["value", "low", "high"]] = [-1.0, -2.0, -0.5]
    table.loc[worse, ["value", "low", "high"]] = [1.0, 0.5, 2.0]
    caption = figures_scores.differences(replace(affect, differences=table)).caption
    better, lost = int((nll & ~worse).sum()), int(worse.sum())
    assert f"Late fusion is clearly better in {better} of {better + lost} comparisons" in caption
    assert f"clearly worse in {lost}." in caption


def negative(affect):
    share = affect.weights["valence"].copy(deep=True)
    share.loc[{"modality": "physio"}] = -np.abs(share.sel(modality="physio")) - 0.05
    return replace(affect, weights={"valence": share})


def test_weights_below_zero_are_in_the_frame_and_explained(affect):
    below = negative(affect)
    for picture in (figures_weights.population(below), figures_weights.by_subject(below, "valence")):
        least = min(np.nanmin(line.get_xdata()) for axes in picture.figure.axes for line in axes.lines[1:])
        assert all(axes.get_xlim()[0] < min(least, -0.05) for axes in picture.figure.axes)
        assert figures_weights.NEGATIVE in picture.caption
    usual = figures_weights.by_subject(affect, "valence")
    assert usual.figure.axes[0].get_xlim()[0] == 0 and figures_weights.NEGATIVE not in usual.caption


def test_bars_of_weights_fill_their_width_and_no_more(affect):
    bar = people._bar("valence", {"eeg": 0.6, "face": -0.1, "prior": 0.4}, colours(("eeg", "face"), ()))
    assert re.findall(r"width:([-\d.]+)%", bar) == ["60.0", "0.0", "40.0"]


def test_quantities_with_the_same_ranks_are_told_once(affect):
    draws = affect.posteriors["late"].copy()
    rng = np.random.default_rng(0)
    half = rng.normal(size=(4, 250))
    draws["posterior"]["correlation"] = xr.DataArray(
        np.stack([np.stack([np.ones_like(half), half], -1), np.stack([half, np.ones_like(half)], -1)], -1),
        dims=("chain", "draw", "one", "other"),
    )
    draws["posterior"]["log_tau"] = np.log(draws["posterior"]["tau"])
    names = list(elements(draws).index)
    assert sum(n.startswith("correlation") for n in names) == 1
    assert ("tau" in names) != ("log_tau" in names)


def test_predictions_beyond_the_scale_are_counted(affect):
    late = affect.predictives["late"]
    lifted = replace(late, mean=late.mean | {"valence": late.mean["valence"] * 0 + 1.5})
    shown = replace(affect, predictives={**affect.predictives, "late": lifted}, targets=affect.targets[:1])
    known = int(np.isfinite(affect.truth["valence"].values).sum())
    assert f"{known} predicted means lie beyond the ends of the scale" in figures_ratings.scatter(shown).caption
