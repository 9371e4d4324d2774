"""The whole path on small simulated recordings: what it leaves behind, and that it resumes."""

import json

import arviz as az
import numpy as np
import pandas as pd
import pytest

from bayesaffect import fusion
from bayesaffect.cli import main
from bayesaffect.evaluate import records
from bayesaffect.io import store
from bayesaffect.pipeline import settings as study_settings
from bayesaffect.pipeline import train as training
from bayesaffect.pipeline.fits import fold_posterior
from bayesaffect.pipeline.opinions import with_trials
from bayesaffect.pipeline.prepare import prepare
from bayesaffect.pipeline.stages import commands
from bayesaffect.simulate import Layout, write_mahnob
from bayesaffect.types import Opinions

pytestmark = pytest.mark.slow
QUICK = "--window 8 --folds 3 --members 1 --passes 3 --epochs 3 --draws 60 --chains 2 --no-robustness --jobs 1".split()


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A finished study of 6 subjects x 4 clips, and the function that runs it (again)."""
    root = tmp_path_factory.mktemp("study")
    layout = Layout(clip_seconds=(9.0, 11.0), margin=3.0, video_rate=10.02)
    write_mahnob(root / "recordings", subjects=6, clips=4, seed=3, layout=layout)

    def run(*more):
        with pytest.raises(SystemExit) as end:
            main(["study", str(root / "recordings"), str(root / "ws"), *QUICK, *more])
        return end.value.code or 0

    assert run() == 0
    return root / "ws", run


def stamps(workspace):
    kinds = ("prepared/*.nc", "training/*/weights.safetensors", "fusion/*.nc", "fusion/folds/*.nc")
    return {path: path.stat().st_mtime_ns for kind in kinds for path in workspace.glob(kind)}


def test_the_contract_of_names(study):
    workspace, _ = study
    scores = pd.read_csv(workspace / "report" / "scores.csv")
    assert list(scores.columns[:6]) == ["model", "target", "score", "value", "low", "high"]
    assert {"eeg", "face", "physio", "early", "equal", "late"} <= set(scores.model)
    assert {"nll", "accuracy", "ece", "auroc"} <= set(scores[scores.target == "emotion"].score)
    assert {"rmse", "ccc", "coverage90"} <= set(scores[scores.target == "valence"].score)
    assert (workspace / "report" / "index.html").stat().st_size > 100_000


def test_the_scores_are_made_from_the_records_that_are_stored(study):
    report, settings = study[0] / "report", study_settings.load(study[0])
    again = records.table(records.read(report / "tables" / "records.csv"), seed=settings.seed)
    pd.testing.assert_frame_equal(again, pd.read_csv(report / "scores.csv", float_precision="round_trip"))
    assert {"late", "eeg", "prior"} <= set(again.model) and {"ccc", "auroc", "smooth_ece", "nll"} <= set(again.score)


@pytest.mark.parametrize("target", ["valence", "arousal", "emotion"])
def test_the_posterior_is_an_arviz_object_with_named_dims(study, target):
    workspace, _ = study
    posterior = az.from_netcdf(workspace / "fusion" / f"late_{target}.nc")
    groups = {"posterior", "sample_stats", "log_likelihood", "posterior_predictive", "observed_data"}
    assert groups <= set(posterior.groups())
    assert {"chain", "draw", "subject", "modality"} <= set(posterior.posterior.dims)
    assert list(posterior.posterior.modality.values) == ["eeg", "face", "physio"]


def test_the_fit_of_a_fold_predicts_what_the_study_says_of_its_people(study):
    workspace, _ = study
    settings = study_settings.load(workspace)
    trials = prepare(workspace, settings)
    cross = training.load(workspace, settings, trials)
    members = training.groups(settings, trials)[1]
    chosen = training.fusion_input(cross, 1, trials.modalities, members, unit=trials.unit)
    given = with_trials(Opinions.from_predictives(chosen, trials), trials)
    posterior = fold_posterior(workspace, settings, given, "valence", members)
    tested = given.select(given.subject.isin(list(members)).values)
    again = fusion.predict(posterior, tested, target="valence", seed=settings.seed)
    said = store.load_predictive(workspace / "opinions" / "late.nc")
    said = said.select(said.subject.isin(list(members)).values)
    order = [list(said.trial.values).index(t) for t in again.trial.values]
    np.testing.assert_array_equal(again.mean["valence"].values, said.mean["valence"].values[:, order])
    alone = fusion.predict(posterior, tested.only(["eeg"]), target="valence", seed=settings.seed)
    assert np.abs(alone.mean["valence"].values - again.mean["valence"].values).max() > 0


def test_the_commands_that_made_a_workspace_are_remembered(study):
    workspace, _ = study
    assert len(commands(workspace)) == 1
    assert commands(workspace)[0] in (workspace / "report" / "index.html").read_text(encoding="utf-8")


def test_a_second_run_makes_nothing_again(study):
    workspace, run = study
    before = stamps(workspace)
    assert len(before) > 40 and run() == 0
    assert stamps(workspace) == before


def test_a_lost_piece_is_made_again_and_nothing_else(study):
    workspace, run = study
    before = stamps(workspace)
    lost = next(path for path in before if path.parent.name == "folds" and not path.stem.endswith("-posterior"))
    lost.unlink()
    assert run() == 0
    changed = {path for path, stamp in stamps(workspace).items() if before.get(path) != stamp}
    assert changed == {lost}


def test_a_gate_that_fails_is_said_first_and_is_code_3_when_strict(study):
    workspace, run = study
    assert json.loads((workspace / "fusion" / "gate.json").read_text())["failures"]  # 60 draws cannot pass
    assert run("--strict") == 3
    page = (workspace / "report" / "index.html").read_text(encoding="utf-8")
    assert 0 < page.index("effective sample size") < page.index("Leakage guard")


def test_another_data_set_is_refused_and_nothing_is_lost(study, tmp_path, capsys):
    workspace, _ = study
    before = stamps(workspace)
    (tmp_path / "Sessions").mkdir()
    with pytest.raises(SystemExit) as end:
        main(["prepare", str(tmp_path), str(workspace)])
    assert end.value.code == 2 and capsys.readouterr().err.count("\n") == 1
    assert stamps(workspace) == before


def test_weights_and_features_can_be_asked_for(study, capsys):
    workspace, _ = study
    for verbs in (["weights"], ["export", "features"]):
        with pytest.raises(SystemExit) as end:
            main([*verbs, str(workspace)])
        assert not end.value.code
    weights = pd.read_csv(workspace / "fusion" / "weights_valence.csv")
    assert set(weights.modality) == {"eeg", "face", "physio", "prior"} and weights["median"].between(-1, 2).all()
    assert len(pd.read_csv(workspace / "features" / "eeg.csv").columns) > 160
    assert "valence" in capsys.readouterr().out


def new_recordings(folder, clips):
    layout = Layout(clip_seconds=(9.0, 11.0), margin=3.0, video_rate=10.02)
    write_mahnob(folder, subjects=7, clips=clips, seed=3, layout=layout)
    return folder


def test_new_recordings_are_predicted(study, tmp_path, capsys):
    """Six of the seven people are those of the study, and keep their effects."""
    workspace, _ = study
    with pytest.raises(SystemExit) as end:
        main(["predict", str(workspace), str(new_recordings(tmp_path / "more", 4)), str(tmp_path / "out")])
    assert not end.value.code
    assert "subjects: 1 new, 6 of the fit" in capsys.readouterr().out
    table = pd.read_csv(tmp_path / "out" / "predictions.csv", dtype={"subject": str})
    assert len(table) == 28 and table["valence_mean"].between(-4, 14).all()
    assert {"valence_eeg", "emotion_face", "arousal_physio"} <= set(table.columns)
    assert az.from_netcdf(tmp_path / "out" / "emotion.nc")["posterior"].sizes["trial"] == 28


def test_a_modality_that_no_new_recording_has_is_done_without(study, tmp_path):
    workspace, _ = study
    folder = new_recordings(tmp_path / "blind", 4)
    for video in folder.rglob("*.avi"):
        video.unlink()
    with pytest.raises(SystemExit) as end:
        main(["predict", str(workspace), str(folder), str(tmp_path / "out")])
    assert not end.value.code
    table = pd.read_csv(tmp_path / "out" / "predictions.csv")
    assert table["valence_face"].isna().all() and (table["valence_weight_face"] == 0).all()
    assert table["valence_mean"].notna().all()
