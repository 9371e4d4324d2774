from __future__ import annotations

import re
import warnings
from dataclasses import replace
from types import SimpleNamespace

import arviz as az
import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
import xarray as xr

from bayesaffect.errors import InputError
from bayesaffect.report import diagnostics, measure, tables
from bayesaffect.report.figures import catalogue as figures
from bayesaffect.report.figures import quality as figures_quality
from bayesaffect.report.figures import scores as figures_scores
from bayesaffect.report.figures import study as figures_study
from bayesaffect.report.figures import weights as figures_weights
from bayesaffect.report.findings import natural
from bayesaffect.report.style import DOUBLE, SINGLE, colours, slug
from bayesaffect.types import Omission

KINDS = {
    "affect": {
        "reliability_emotion",
        "classwise_emotion",
        "confusion_emotion",
        "coverage",
        "plane",
        "scatter",
        "weights_valence",
        "weights_arousal",
        "weights_emotion",
    },
    "stress": {"reliability_stress", "classwise_stress", "confusion_stress", "roc_stress", "weights_stress"},
    "experts": {"coverage", "plane", "scatter", "weights_valence", "weights_arousal"},
}
ALWAYS = {"data", "scores", "differences", "selective", "weights_population", "subjects", "ranks_late", "learning"}
ALWAYS |= {"answers", "quality_and_error", "announced", "calibration_subjects"}


def test_each_situation_has_its_figures_and_no_other(findings, request):
    before = dict(mpl.rcParams)
    drawn = {p.name: p for _, p in figures.draw_all(findings)}
    kind = request.node.callspec.params["findings"]
    assert set(drawn) == KINDS[kind] | ALWAYS
    assert all(p.caption.endswith(".") for p in drawn.values())
    assert {p.figure.get_figwidth() for p in drawn.values()} <= {SINGLE, DOUBLE}
    assert dict(mpl.rcParams) == before


def test_a_study_with_nothing_but_predictions_is_drawn(affect):
    affect = replace(affect, targets=affect.targets[:1])
    bare = replace(
        affect, quality=None, differences=None, weights={}, posteriors={}, learning_curves=None, omissions=()
    )
    names = {p.name for _, p in figures.draw_all(bare)}
    assert {"scores", "data"} <= names and not names & {"differences", "weights_population", "learning", "ranks_late"}


def test_targets_without_any_truth_are_left_out(affect):
    truth = affect.truth.assign(valence=affect.truth["valence"] * np.nan, emotion=affect.truth["emotion"] * 0 - 1)
    names = {p.name for _, p in figures.draw_all(replace(affect, truth=truth, weights={}, posteriors={}))}
    assert "coverage" in names and not names & {"plane", "confusion_emotion", "reliability_emotion"}


def test_colours_do_not_depend_on_which_models_are_shown():
    some = colours(["eeg", "face"], ["eeg", "late"])
    more = colours(["eeg", "face"], ["face", "eeg", "stacking", "equal", "early", "late"])
    assert all(more[m] == c for m, c in some.items())
    assert len({more[m] for m in ("eeg", "face", "stacking", "equal", "early", "late", "prior")}) == 7


def meshes(picture):
    """Coloured cells (subject, trial) of each modality, and how many cells are hatched."""
    shown = {a.get_title(loc="left"): a for a in picture.figure.axes if a.get_title(loc="left")}
    cells = {m: a.collections[0].get_array() for m, a in shown.items()}
    hatched = {m: sum(len(c.get_paths()) for c in a.collections if c.get_hatch()) for m, a in shown.items()}
    return cells, hatched


def test_quality_is_drawn_trial_by_trial_and_missing_is_not_poor(affect):
    picture = figures_study.data(affect)
    cells, hatched = meshes(picture)
    quality = affect.quality.transpose("modality", "trial").values.reshape(3, 8, 10)
    assert list(cells) == ["eeg", "face", "physio"]
    for (name, shade), expected in zip(cells.items(), quality, strict=True):
        np.testing.assert_allclose(np.ma.filled(shade, np.nan), expected)
        assert hatched[name] == np.isnan(expected).sum() > 0
    gone = 100 * np.isnan(quality).mean()
    assert f"{gone:.1f} %" in picture.caption and f"face {np.nanmean(quality[1]):.2f}" in picture.caption


def test_masked_trials_are_hatched_whatever_their_quality(affect):
    present = affect.quality.notnull()
    present.loc[{"modality": "physio"}] = False
    _, hatched = meshes(figures_study.data(replace(affect, present=present)))
    assert hatched["physio"] == 80
    zero = affect.quality.fillna(0.0)  # how a masked trial looks where nothing says what is present
    assert meshes(figures_study.data(replace(affect, quality=zero)))[1]["eeg"] == np.isnan(affect.quality[:, 0]).sum()


def test_signals_without_a_rating_are_not_called_missing(affect):
    quality = affect.quality.where(affect.quality["modality"] != "physio")
    quality[:5, 1] = np.nan
    present = affect.quality.notnull()
    present[:5, 1] = True
    changed = replace(affect, quality=quality, present=present)
    blocks = figures_quality.blocks_of(changed)
    assert blocks.names == ["eeg", "face"] and blocks.unknown.sum() == blocks.unknown[1, 0, :5].sum() == 5
    _, hatched = meshes(figures_study.data(changed))
    assert hatched["face"] == (~present[:, 1]).sum()


def test_a_subject_with_fewer_trials_has_no_cell_for_the_others(affect):
    keep = np.ones(80, bool)
    keep[3:10] = False
    blocks = figures_quality.blocks_of(replace(affect, quality=affect.quality[keep]))
    assert blocks.exists.sum(1).tolist() == [3] + [10] * 7 and np.isnan(blocks.quality[:, 0, 3:]).all()


@pytest.mark.parametrize("people, trials", [(10, 12), (27, 20)])
def test_quality_fits_a_page_at_the_size_of_real_studies(people, trials):
    rng = np.random.default_rng(0)
    who = np.repeat([f"S{k:02d}" for k in range(people)], trials)
    quality = xr.DataArray(
        rng.beta(8, 2, (who.size, 3)),
        dims=("trial", "modality"),
        coords={"subject": ("trial", who), "modality": ["eeg", "face", "physio"]},
    )
    data = pd.DataFrame({"eeg": trials, "face": trials, "physio": trials, "trials": trials}, index=np.unique(who))
    picture = figures_quality.trial_by_trial(
        SimpleNamespace(modalities=("eeg", "face", "physio"), quality=quality, present=None, data=data)
    )
    width, height = picture.figure.get_size_inches()
    assert width in (SINGLE, DOUBLE) and height <= 4.5
    lightness = figures_quality._SIGNAL(np.linspace(0, 1, 50))[:, :3] @ [0.2126, 0.7152, 0.0722]
    assert (np.diff(lightness) > 0).all()  # poorer is darker, in grey print too


def test_caption_of_scores_tells_the_numbers_of_the_table(affect):
    caption = figures_scores.scores(affect).caption
    assert f"{affect.value('late', 'valence', 'nll')['value']:.3f}" in caption


def test_leading_modality_ignores_the_prior_and_missing_ones(affect):
    share = affect.weights["valence"].copy(deep=True)
    share.loc[{"subject": "S01"}] = [0.1, 0.3, 0.2, 0.4]
    lead = figures_weights.leading(share)
    assert lead["S01"] == "face" and lead["S08"] != "eeg"


def test_coverage_curve_of_a_planted_over_confident_model_is_below_the_diagonal(affect):
    r = measure.ratings(affect, "late", "valence")
    place = measure.pit(r._replace(variance=r.variance / 25))
    curve, low, high = measure.coverage_curve(place, r.subject, np.array([0.5, 0.9]), seed=0)
    assert (curve < [0.3, 0.6]).all() and (low <= curve).all() and (curve <= high).all()


def test_selective_keeps_the_certain_ones():
    kept = measure.selective(np.array([3.0, 1, 2, 0]), np.array([0.0, 1, 1, 1]), np.array([0, 0.25]))
    assert kept == pytest.approx([0.75, 1.0])


def test_roc_area_counts_ties_half():
    assert measure.roc(np.array([0.1, 0.5, 0.5, 0.9]), np.array([False, True, False, True]))[2] == pytest.approx(0.875)


def test_omissions_are_grouped_by_reason():
    short = tables.grouped(
        (
            Omission("a", "hidden in 61 % of frames"),
            Omission("b", "hidden in 7.5 % of frames"),
            Omission("c", "no file"),
        )
    )
    assert short["count"].tolist() == [2, 1] and "…" in short["reason"][0] and short["reason"][1] == "no file"


def test_names_sort_as_people_count_and_make_safe_files():
    assert sorted(["S10", "S2", "S1"], key=natural) == ["S1", "S2", "S10"]
    assert slug("weights_late/valence (a)") == "weights_late-valence-a-"


def test_findings_without_the_headline_model_are_refused(affect):
    with pytest.raises(InputError, match="headline"):
        replace(affect, headline="hybrid")


def test_curves_of_many_models_are_thinned_to_the_plainest(affect):
    more = {f"model_{k}": affect.predictives["equal"] for k in range(6)}
    many = replace(affect, predictives={**affect.predictives, **more, "prior": affect.predictives["equal"]})
    assert many.plainest() == ("eeg", "face", "physio", "early", "equal", "prior")
    assert affect.plainest() == ("eeg", "face", "physio", "early", "equal")


def test_a_single_chain_has_no_r_hat_and_the_page_says_so():
    """Where every R-hat is NaN, nothing may warn (pandas is going to make that an error) nor print "nan"."""
    rng = np.random.default_rng(0)
    fit = az.from_dict(posterior={"a": rng.normal(size=(1, 50)), "b": rng.normal(size=(1, 50, 2))})
    with warnings.catch_warnings():
        warnings.simplefilter("error", FutureWarning)
        warnings.filterwarnings("error", message="All-NaN", category=RuntimeWarning)
        picture = figures_study.ranks(SimpleNamespace(posteriors={"late": fit}), "late")
        table = diagnostics.variables(fit)
    assert picture.caption.endswith("One chain has no R-hat.") and "nan" not in picture.caption
    assert list(table["elements"]) == [1, 2] and table["r_hat"].isna().all() and (table["ess_bulk"] > 0).all()
    several = SimpleNamespace(posteriors={"late": az.from_dict(posterior={"a": rng.normal(size=(2, 50))})})
    assert re.search(r"Worst R-hat: \d\.\d{3} \(a\)\.$", figures_study.ranks(several, "late").caption)
