"""A fitted table of opinions put to use by its verbs: new people, few labels, comparison, criticism."""

import json
import shutil

import arviz as az
import numpy as np
import pandas as pd
import pytest

from bayesaffect.cli import main
from bayesaffect.files import write_json
from bayesaffect.io.opinions_write import to_frame, write_table
from bayesaffect.pipeline import settings as study_settings
from bayesaffect.simulate import simulate_opinions
from bayesaffect.types import Target

pytestmark = pytest.mark.slow
TARGETS = (Target("valence", bounds=(1.0, 9.0)), Target("mood", levels=("calm", "tense", "glad")))


def run(*arguments):
    with pytest.raises(SystemExit) as end:
        main([str(a) for a in arguments])
    return end.value.code or 0


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a fitted workspace ``ws`` of eight people, and tables on three more."""
    root = tmp_path_factory.mktemp("apply")
    opinions, _ = simulate_opinions(subjects=11, trials=16, modalities=("eeg", "face"), targets=TARGETS, seed=4)
    subject = opinions.subject.values.astype(str)
    names = np.unique(subject)
    new = np.isin(subject, names[8:])
    write_table(opinions.select(~new), root / "study.csv")
    write_table(opinions.select(new), root / "new.csv")
    table = pd.read_csv(root / "new.csv", dtype=str)
    few = table[(table["subject"] == names[8]) & table["trial"].isin(table["trial"].unique()[:6])]
    few.to_csv(root / "few.csv", index=False)
    turned = ["p_glad", "p_calm", "p_tense"]  # levels follow their columns: another order, and no name of the target
    blank = table.drop(columns=[c for c in table if c.startswith("truth_")])
    blank = blank[[c for c in blank if c not in turned] + turned]
    blank.to_csv(root / "blank.csv", index=False)
    table.drop(columns=[c for c in table if c.endswith("valence")]).to_csv(root / "half.csv", index=False)
    assert run("fuse", root / "study.csv", root / "ws", "--folds", 2, "--draws", 80, "--chains", 2) == 0
    return root


def test_new_people_are_predicted_with_intervals_weights_and_what_each_modality_said(place, capsys):
    assert run("predict", place / "ws", place / "new.csv", place / "out") == 0
    said = capsys.readouterr().out
    assert "48 trials; subjects: 3 new" in said and "ms for one trial" in said
    table = pd.read_csv(place / "out" / "predictions.csv")
    assert len(table) == 48 and (table["valence_low"] < table["valence_mean"]).all()
    assert (table["valence_mean"] < table["valence_high"]).all()
    p = table[["mood_p_calm", "mood_p_tense", "mood_p_glad"]].to_numpy()
    np.testing.assert_allclose(p.sum(1), 1, atol=1e-6)
    assert (np.array(TARGETS[1].levels)[p.argmax(1)] == table["mood"]).all()
    np.testing.assert_allclose(table.filter(like="mood_weight_").median().sum(), 1, atol=0.1)
    assert set(table["mood_eeg"]) <= set(TARGETS[1].levels) and table["valence_face"].between(-3, 13).all()
    truth = pd.read_csv(place / "new.csv").drop_duplicates("trial").set_index("trial")
    assert np.corrcoef(truth.loc[table["trial"], "truth_valence"], table["valence_mean"])[0, 1] > 0.5


def test_predictions_are_an_arviz_object_with_named_dims(place):
    run("predict", place / "ws", place / "new.csv", place / "draws")
    found = az.from_netcdf(place / "draws" / "mood.nc")
    assert found["posterior"]["probability"].dims == ("chain", "draw", "trial", "level")
    assert list(found["posterior"]["level"].values) == list(TARGETS[1].levels)
    ratings = az.from_netcdf(place / "draws" / "valence.nc")["posterior_predictive"]["valence"]
    table = pd.read_csv(place / "draws" / "predictions.csv")
    error = table["valence_sd"].to_numpy() / np.sqrt(ratings.sizes["draw"])
    assert (np.abs(ratings.mean(("chain", "draw")).values - table["valence_mean"]) < 5 * error + 0.02).all()


def test_truth_is_not_needed_and_not_read(place):
    for name in ("new", "blank"):
        run("predict", place / "ws", place / f"{name}.csv", place / name)
    a, b = (pd.read_csv(place / name / "predictions.csv") for name in ("new", "blank"))
    pd.testing.assert_frame_equal(a, b)


def test_jointly_says_what_it_presumes(place, capsys):
    assert run("predict", place / "ws", place / "new.csv", place / "together", "--jointly") == 0
    assert "presumes" in capsys.readouterr().out
    table = pd.read_csv(place / "together" / "predictions.csv")
    assert len(table) == 48 and table["valence_mean"].notna().all()


def test_a_few_labels_are_learned_and_used(place, capsys):
    run("predict", place / "ws", place / "new.csv", place / "before")
    capsys.readouterr()
    assert run("adapt", place / "ws", place / "few.csv") == 0
    assert "labelled" in capsys.readouterr().out
    assert run("predict", place / "ws", place / "new.csv", place / "after") == 0
    assert "2 new, 1 adapted to" in capsys.readouterr().out
    before, after = (pd.read_csv(place / n / "predictions.csv") for n in ("before", "after"))
    mine = before["subject"] == pd.read_csv(place / "few.csv")["subject"][0]
    change = (before["valence_mean"] - after["valence_mean"]).abs() / before["valence_sd"]
    assert change[~mine].max() < 0.5  # others: other draws of a stranger's effects, 160 of them
    assert change[mine].mean() > 2 * change[~mine].mean()
    assert after["valence_sd"][mine].mean() < before["valence_sd"][mine].mean()


def test_effects_that_were_learned_by_another_fit_are_not_used(place, tmp_path, capsys):
    workspace = shutil.copytree(place / "ws", tmp_path / "ws")
    run("adapt", workspace, place / "few.csv")
    for target in TARGETS:
        stamp = workspace / "fusion" / f"late_{target.name}.json"
        write_json(stamp, json.loads(stamp.read_text()) | {"key": "another"})
    capsys.readouterr()
    assert run("predict", workspace, place / "new.csv", tmp_path / "out") == 0
    assert "3 new" in capsys.readouterr().out


@pytest.mark.parametrize("verb", ["weights", "criticise", "compare"])
def test_a_fit_of_other_settings_is_not_shown_as_these(place, tmp_path, capsys, verb):
    workspace = shutil.copytree(place / "ws", tmp_path / "ws")
    settings = study_settings.load(workspace)
    study_settings.save(study_settings.change(settings, likelihood="student"), workspace)
    assert run(verb, workspace) == 2
    assert "late fusion of 'valence' was fitted to other opinions, with other settings" in capsys.readouterr().err


def test_models_are_compared_by_loo_and_by_scores(place, capsys):
    assert run("compare", place / "ws") == 0
    capsys.readouterr()
    loo = pd.read_csv(place / "ws" / "fusion" / "comparison_valence_loo.csv").set_index("model")
    assert {"late", "eeg", "face"} <= set(loo.index) and loo["elpd"].idxmax() == loo.index[0]
    assert loo.loc["late", "elpd"] > loo.loc[["eeg", "face"], "elpd"].min()
    scores = pd.read_csv(place / "ws" / "fusion" / "comparison_mood_scores.csv")
    assert {"late", "eeg", "face", "equal"} <= set(scores["model"])


def test_fits_are_criticised_in_words_and_pictures(place, capsys):
    assert run("criticise", place / "ws") == 0
    said = capsys.readouterr().out
    assert "valence: " in said and "checks" in said
    for name in ("valence_checks", "valence_prior", "mood_checks", "mood_prior"):
        assert (place / "ws" / "criticism" / f"{name}.png").stat().st_size > 10_000
    assert {"check", "p", "flagged"} <= set(pd.read_csv(place / "ws" / "criticism" / "mood_checks.csv").columns)


def test_weights_come_per_trial_and_as_a_forest_plot(place):
    assert run("weights", place / "ws") == 0
    trials = pd.read_csv(place / "ws" / "fusion" / "weights_mood_trials.csv")
    assert len(trials) == 8 * 16 * 3 and set(trials["modality"]) == {"eeg", "face", "prior"}
    assert (place / "ws" / "fusion" / "weights_mood.png").is_file()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("predict", "{ws}", "{root}/none.csv", "{root}/o"), "none.csv"),
        (("predict", "{ws}", "{root}/new.csv", "{root}/o", "--family", "oracle"), "there is no family 'oracle'"),
        (("predict", "{ws}", "{root}/new.csv", "{root}/o", "--family", "hybrid"), "has no hybrid posterior"),
        (("predict", "{ws}", "{root}/new.csv", "{root}/o", "--model", "late"), "write --family late"),
        (("predict", "{ws}", "{root}/new.csv"), "2 paths were given"),
        (("predict", "{ws}", "{root}/half.csv", "{root}/o"), "has no opinions on 'valence'"),
        (("adapt", "{ws}", "{root}/blank.csv"), "adapting needs a few labelled trials"),
        (("compare", "{ws}", "--by", "country"), "by is 'country'"),
        (("predict", "{root}", "{root}/new.csv", "{root}/o"), "is not a workspace"),
    ],
)
def test_a_mistake_is_one_sentence(place, capsys, arguments, sentence):
    assert run(*(a.format(root=place, ws=place / "ws") for a in arguments)) == 2
    err = capsys.readouterr().err
    assert sentence in err and err.count("\n") == 1


def test_hybrid_stands_beside_late_where_there_are_features(tmp_path, capsys):
    rng = np.random.default_rng(5)
    opinions, _ = simulate_opinions(subjects=6, trials=12, modalities=("eeg", "face"), targets=TARGETS[1:], seed=6)
    table = to_frame(opinions)
    for k in range(2):
        table[f"x_{k}"] = rng.normal(size=len(table)) + (table["truth_mood"] == TARGETS[1].levels[k])
    table.to_csv(tmp_path / "features.csv", index=False)
    options = "--folds 2 --draws 50 --chains 2 --hybrid".split()
    assert run("fuse", tmp_path / "features.csv", tmp_path / "ws", *options) == 0
    scores = pd.read_csv(tmp_path / "ws" / "report" / "scores.csv")
    assert {"late", "hybrid"} <= set(scores["model"])
    posterior = az.from_netcdf(tmp_path / "ws" / "fusion" / "hybrid_mood.nc")["posterior"]
    assert list(posterior["head"].values) == ["eeg", "face"]
    assert run("predict", tmp_path / "ws", tmp_path / "features.csv", tmp_path / "out", "--family", "hybrid") == 0
    assert len(pd.read_csv(tmp_path / "out" / "predictions.csv")) == 72
    assert run("compare", tmp_path / "ws") == 0
    assert "hybrid" in pd.read_csv(tmp_path / "ws" / "fusion" / "comparison_mood_loo.csv")["model"].tolist()
