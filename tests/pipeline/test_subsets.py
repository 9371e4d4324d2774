"""Predictions by subsets of modalities from the folds' posteriors, and what is kept of them."""

from dataclasses import replace

import numpy as np
import pytest
import xarray as xr

from bayesaffect import fusion
from bayesaffect.evaluate import baselines, scores
from bayesaffect.pipeline.baselines import single
from bayesaffect.pipeline.examination import subsets as module
from bayesaffect.pipeline.fits import fold_posterior
from bayesaffect.pipeline.settings import Settings
from bayesaffect.simulate import OpinionModel, simulate_opinions
from bayesaffect.types import Predictive, Target

VALENCE, MOOD = Target("valence", bounds=(1, 9)), Target("mood", levels=("low", "mid", "high"))
PLAYERS = ("eeg", "face")
SETTINGS = Settings("nowhere", "opinions", sampling=fusion.Sampling(draws=60, tune=60, chains=2, engine="svi"), folds=2)
GROUPS = (("S001", "S003", "S005"), ("S002", "S004", "S006"))


def simulated(missing=0.25):
    model = OpinionModel(missing=missing)
    options = {"modalities": PLAYERS, "targets": (VALENCE, MOOD), "seed": 2, "model": model}
    return simulate_opinions(subjects=6, trials=8, **options)[0]


def test_few_gaussians_say_what_many_said():
    """Draws whose means and variances differ as much as those of a new subject do."""
    rng = np.random.default_rng(0)
    mean = rng.normal(0, 0.2, 30) + rng.normal(0, 0.08, (400, 30))
    variance = 0.05 * np.exp(rng.normal(0, 0.5, (400, 30)))
    m, v = module.merged(mean, variance)
    assert m.shape == (20, 30)
    np.testing.assert_allclose(m.mean(0), mean.mean(0))
    np.testing.assert_allclose(v.mean(0) + m.var(0), variance.mean(0) + mean.var(0))
    for y in (mean.mean(0), mean.mean(0) + 0.3, mean.mean(0) - 0.6):
        np.testing.assert_allclose(scores.mixture_nll(m, v, y), scores.mixture_nll(mean, variance, y), atol=0.05)
        assert np.abs(scores.pit(m, v, y) - scores.pit(mean, variance, y)).max() < 0.005
    few = mean[:7], variance[:7]
    assert module.merged(*few)[0] is few[0]


def said_together(opinions, target, draws=3):
    """In place of the fusion: what the modalities that are there say together, in equal draws."""
    here = opinions.present
    index = {"trial": here["trial"].values, "subject": ("trial", opinions.subject.values)}
    who = xr.DataArray(opinions.subject.values, dims="trial", coords=index)

    def drawn(array, *inner, **coords):
        values = np.repeat(array.values[None], draws, 0)
        return {target: xr.DataArray(values, dims=("draw", "trial", *inner), coords=index | coords)}

    if target == "mood":
        logit = opinions.log_prob[target].where(here, 0).sum("modality")
        log_prob = logit - np.log(np.exp(logit).sum("level"))
        return Predictive((MOOD,), who, log_prob=drawn(log_prob, "level", level=list(MOOD.levels)))
    precision = 1 + (1 / opinions.variance[target]).where(here, 0).sum("modality")
    mean = (opinions.mean[target] / opinions.variance[target]).where(here, 0).sum("modality") / precision
    return Predictive((VALENCE,), who, drawn(mean), drawn(1 / precision))


@pytest.fixture
def made(tmp_path, monkeypatch):
    """What is made of opinions by the stand-in, and how often it was asked."""
    asked = []

    def predict(posterior, opinions, *, target, seed, draws, subjects):
        assert subjects == "population"
        assert posterior == (target, tuple(np.unique(opinions.subject.values)))
        asked.append(target)
        return said_together(opinions, target, draws)

    monkeypatch.setattr(module.fusion, "predict", predict)
    monkeypatch.setattr(
        module, "fold_posterior", lambda workspace, settings, opinions, target, members: (target, members)
    )
    opinions = simulated()
    return tmp_path, opinions, module.subsets(tmp_path, SETTINGS, lambda group: opinions, GROUPS), asked


def test_a_subset_is_what_is_said_without_the_rest_in_the_order_of_the_index(made):
    _, opinions, found, _ = made
    assert set(found) == {"prior", "eeg", "face", "eeg+face"}
    index = opinions.present["trial"].values
    assert all(p.trial.values.tolist() == index.tolist() for p in found.values())
    for name, members in (("face", ["face"]), ("eeg+face", ["eeg", "face"])):
        rows = opinions.only(members).present.values.any(1)
        mood, valence = (said_together(opinions.only(members), target).select(rows) for target in ("mood", "valence"))
        got = found[name].select(rows)
        np.testing.assert_allclose(got.probability("mood").values, mood.probability("mood").values, atol=1e-6)
        for mine, theirs in zip(got.moments("valence"), valence.moments("valence"), strict=True):
            np.testing.assert_allclose(mine.values, theirs.values, atol=1e-6)
        assert rows.sum() > 20 and rows.all() == (name == "eeg+face")


@pytest.mark.slow
def test_the_posterior_of_a_fold_makes_them(tmp_path):
    opinions = simulated()
    mood = replace(opinions, targets=(MOOD,), truth=opinions.truth.drop_vars("valence"), mean={}, variance={})
    rows = module._by_fusion(tmp_path, SETTINGS, mood, MOOD, GROUPS[1])
    tested = mood.select(mood.subject.isin(GROUPS[1]).values)
    posterior = fold_posterior(tmp_path, SETTINGS, mood, "mood", GROUPS[1])
    direct = fusion.predict(posterior, tested.only(["face"]), target="mood", seed=SETTINGS.seed)
    np.testing.assert_allclose(np.exp(rows[2][0][0]), direct.probability("mood").values, atol=1e-6)
    assert rows[2][0].shape == (1, 24, 3) and np.abs(rows[2][0] - rows[1][0]).max() > 0.1


def test_where_a_subset_has_nothing_the_prior_stands_in_on_the_same_trials(made):
    _, opinions, found, _ = made
    prior = baselines.prior_only(opinions, GROUPS)
    blind = ~opinions.present.sel(modality="face").values
    index = opinions.present["trial"].values.tolist()
    assert all(p.trial.values.tolist() == index for p in found.values())
    for name, rows in (("face", blind), ("prior", np.ones(blind.size, bool))):
        np.testing.assert_allclose(
            found[name].probability("mood").values[rows], prior.probability("mood").values[rows], rtol=1e-6
        )
        for got, want in zip(found[name].moments("valence"), prior.moments("valence"), strict=True):
            np.testing.assert_allclose(got.values[rows], want.values[rows], atol=1e-6)
    face = found["face"].moments("valence")[1].values
    assert face[~blind].mean() < 0.9 * face[blind].mean()


def test_what_was_made_is_kept_and_other_truth_is_not_taken_for_it(made):
    workspace, opinions, found, asked = made
    folder, count = workspace / "fusion" / "subsets", len(asked)
    again = module.subsets(workspace, SETTINGS, lambda group: opinions, GROUPS)
    assert len(asked) == count == 16 and len(list(folder.iterdir())) == 4
    for name in found:
        np.testing.assert_array_equal(again[name].mean["valence"].values, found[name].mean["valence"].values)
    pools = module.refits(workspace, SETTINGS, lambda group: opinions, GROUPS)
    made_then = len(list(folder.iterdir()))
    truth = opinions.truth.assign(mood=("trial", (opinions.truth["mood"].values + 1) % 3))
    changed = replace(opinions, truth=truth)
    other = module.refits(workspace, SETTINGS, lambda group: changed, GROUPS)
    assert len(list(folder.iterdir())) == made_then + 2
    assert not np.allclose(pools["eeg"].log_prob["mood"].values, other["eeg"].log_prob["mood"].values)


def test_the_sheets_of_a_study_and_their_sentences(made):
    workspace, opinions, found, _ = made
    fused = found["eeg+face"]
    sheets, said = module.sheets(
        workspace,
        SETTINGS,
        lambda group: opinions,
        GROUPS,
        singles={**single(opinions, GROUPS), "early": fused},
        fused=fused,
    )
    assert set(sheets) == {"subsets", "shapley", "removed", "leaning", "pairs", "helped"}
    assert {"nll", "accuracy", "rmse", "coverage90", "nll_refit"} == set(sheets["subsets"]["score"])
    assert set(sheets["helped"]["best"]) | set(sheets["pairs"]["a"]) <= set(PLAYERS)
    shapley = sheets["shapley"].set_index(["target", "modality"])
    assert np.isfinite(shapley.loc["mood", "refit"]).all() and shapley.loc["valence", "refit"].isna().all()
    assert any(line.startswith("Mood: the modalities together gain") for line in said)


def test_without_classes_there_is_nothing_to_refit(tmp_path):
    opinions = simulated()
    ratings = replace(opinions, targets=(VALENCE,), truth=opinions.truth.drop_vars("mood"), log_prob={})
    assert module.refits(tmp_path, SETTINGS, lambda group: ratings, GROUPS) == {}


def test_refits_need_no_posterior_and_fill_what_nobody_saw(tmp_path):
    opinions = simulated(0.5)
    found = module.refits(tmp_path, SETTINGS, lambda group: opinions, GROUPS)
    prior = baselines.prior_only(opinions, GROUPS)
    blind = ~opinions.present.sel(modality="eeg").values
    np.testing.assert_allclose(
        found["eeg"].log_prob["mood"].values[:, blind], prior.log_prob["mood"].values[:, blind], rtol=1e-5
    )
    assert isinstance(found["eeg"].subject, xr.DataArray) and not (tmp_path / "fusion" / "folds").exists()
