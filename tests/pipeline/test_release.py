"""Releases: what is in them and what is not; changed files are refused; they predict as the study does."""

import hashlib
import json
import re
import shlex
import shutil
from dataclasses import asdict, replace
from pathlib import Path

import arviz as az
import numpy as np
import pandas as pd
import pytest

from bayesaffect import fusion
from bayesaffect.cli import main
from bayesaffect.errors import InputError
from bayesaffect.files import write_json
from bayesaffect.io import store
from bayesaffect.io.opinions_write import write_table
from bayesaffect.pipeline import apply
from bayesaffect.pipeline import settings as study_settings
from bayesaffect.pipeline.fits import save_posterior
from bayesaffect.pipeline.releases import release, released
from bayesaffect.pipeline.settings import Settings
from bayesaffect.simulate import Layout, simulate_opinions, write_mahnob
from bayesaffect.types import Target

MODELS = Path(__file__).parents[2] / "models"
PEOPLE = ("Anna-71", "Bert-72", "Cleo-73")
VALENCE = Target("valence", bounds=(1.0, 9.0))
SCORES = [("late", "valence", "nll", 1.0, 0.9, 1.1), ("prior", "valence", "nll", 1.5, 1.4, 1.6)]


def run(*arguments):
    with pytest.raises(SystemExit) as end:
        main([str(a) for a in arguments])
    return end.value.code or 0


def posterior():
    """The form of a fit, with numbers that mean nothing."""
    rng = np.random.default_rng(0)
    attrs = {
        "target": json.dumps(asdict(VALENCE)),
        "held_out": json.dumps([PEOPLE[0]]),
        "refused": json.dumps([[f"R-hat of rho[{PEOPLE[1]}, eeg] is 1.2"]]),
    }
    found = az.from_dict(
        posterior={"a": rng.normal(size=(2, 5, 2)), "rho": rng.normal(size=(2, 5, 3, 2))},
        observed_data={"valence": rng.normal(size=6)},
        constant_data={"n_used": np.array([2, 2, 2]), "trial_subject": np.repeat(PEOPLE, 2), "typical": np.ones(2)},
        coords={
            "subject": list(PEOPLE),
            "modality": ["eeg", "face"],
            "trial": [f"{s}/{k}" for s in PEOPLE for k in "ab"],
        },
        dims={
            "a": ["modality"],
            "rho": ["subject", "modality"],
            "valence": ["trial"],
            "n_used": ["subject"],
            "trial_subject": ["trial"],
            "typical": ["modality"],
        },
    )
    for attributes in (found.attrs, found.posterior.attrs):
        attributes.update(attrs)
    return found


@pytest.fixture
def finished(tmp_path):
    """What a finished study of a table leaves, and its settings; nothing was fitted."""
    workspace = tmp_path / "ws"
    settings = Settings(str(tmp_path / "secret" / "table.csv"), "opinions")
    workspace.mkdir()
    study_settings.save(settings, workspace)
    save_posterior(posterior(), workspace / "fusion" / "late_valence.nc")
    gate = {"failures": [f"valence: R-hat of rho[{PEOPLE[2]}, eeg] is 1.05."], "repeated": []}
    write_json(workspace / "fusion" / "gate.json", gate)
    tables = workspace / "report" / "tables"
    tables.mkdir(parents=True)
    columns = ["model", "target", "score", "value", "low", "high"]
    pd.DataFrame(SCORES, columns=columns).to_csv(workspace / "report" / "scores.csv", index=False)
    data = pd.DataFrame({"subject": PEOPLE, "eeg": 2, "face": 1, "trials": 2})
    data.to_csv(tables / "data.csv", index=False)
    return workspace, settings


def make(finished, tmp_path, name="mine", **options):
    return release.release(*finished, name, models=tmp_path / "models", **options)


def test_a_release_holds_its_files_and_their_hashes(finished, tmp_path):
    folder = make(finished, tmp_path)
    manifest = json.loads((folder / "manifest.json").read_text())
    assert {p.name for p in folder.iterdir()} == {*manifest["files"], "manifest.json"}
    assert set(manifest["files"]) == {"card.md", "late_valence.nc", "study.json"}
    assert manifest["files"]["card.md"]["bytes"] == (folder / "card.md").stat().st_size
    assert manifest["modalities"] == ["eeg", "face"] and manifest["targets"][0]["name"] == "valence"
    assert released.load("mine", tmp_path / "models").problems == ()
    assert not list((tmp_path / "models").glob(".*"))


def test_nobody_of_the_study_is_in_it(finished, tmp_path):
    folder = make(finished, tmp_path)
    for path in folder.iterdir():
        content = path.read_bytes()
        for name in (*PEOPLE, str(tmp_path)):
            assert name.encode() not in content and name.encode("utf-16-le") not in content, path.name
    kept = az.from_netcdf(folder / "late_valence.nc")
    assert set(kept.groups()) == {"posterior", "constant_data"} and "trial" not in kept.constant_data.dims
    assert kept.posterior.sizes["subject"] == 1 and (kept.posterior["rho"] == 0).all()
    assert (kept.constant_data["n_used"] == 0).all()
    np.testing.assert_array_equal(kept.posterior["a"], posterior().posterior["a"])  # the population's stay
    assert (
        "3 people and 6 trials" in (folder / "card.md").read_text() and "eeg: in 6" in (folder / "card.md").read_text()
    )


def test_a_name_that_is_taken_is_kept_unless_told(finished, tmp_path):
    folder = make(finished, tmp_path)
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="exists already; choose another name, or give --overwrite"):
        make(finished, tmp_path)
    assert (folder / "notes.txt").is_file()
    make(finished, tmp_path, overwrite=True)
    assert not (folder / "notes.txt").exists() and not released.read(folder).problems


@pytest.mark.parametrize("name", ["a/b", "../up", "", ".hidden", "a b", "x\\y"])
def test_a_name_is_no_path(finished, tmp_path, name):
    with pytest.raises(InputError, match="a release cannot be called"):
        make(finished, tmp_path, name)
    assert not (tmp_path / "models").exists()


@pytest.mark.parametrize(
    ("missing", "remedy"),
    [("fusion/gate.json", "fuse"), ("report/scores.csv", "report"), ("report/tables/data.csv", "report")],
)
def test_an_unfinished_study_is_not_released(finished, tmp_path, missing, remedy):
    (finished[0] / missing).unlink()
    with pytest.raises(InputError, match=rf"is not finished \({missing} is missing\); run `bayesaffect {remedy}`"):
        make(finished, tmp_path)
    assert not (tmp_path / "models").exists()


def test_a_study_that_says_nothing_about_new_people_is_not_released(finished, tmp_path):
    workspace, settings = finished
    with pytest.raises(InputError, match="is a study within-subject, and a release predicts new people"):
        release.release(workspace, replace(settings, protocol="within"), "mine", models=tmp_path / "models")


def test_recordings_without_networks_are_not_released(finished, tmp_path):
    with pytest.raises(InputError, match="has no trained networks"):
        release.release(finished[0], replace(finished[1], format="mahnob"), "mine", models=tmp_path / "models")
    assert not list((tmp_path / "models").iterdir())


def test_one_that_fails_on_the_way_leaves_nothing_and_keeps_the_old(finished, tmp_path, monkeypatch):
    folder = make(finished, tmp_path)
    before = (folder / "manifest.json").read_text()

    def broken(facts):
        raise OSError("disk full")

    monkeypatch.setattr("bayesaffect.report.card.text", broken)
    with pytest.raises(OSError, match="disk full"):
        make(finished, tmp_path, overwrite=True)
    assert [p.name for p in (tmp_path / "models").iterdir()] == ["mine"]
    assert (folder / "manifest.json").read_text() == before


def spoil(folder, how):
    path = folder / "late_valence.nc"
    if how == "changed":  # one bit
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    elif how == "longer":
        path.write_bytes(path.read_bytes() + b" ")
    elif how == "missing":
        path.unlink()
    elif how == "added":  # it would be one more target
        shutil.copy(path, folder / "late_mood.nc")
    else:
        manifest = json.loads((folder / "manifest.json").read_text())
        if how == "outside":
            manifest["files"]["../other.nc"] = manifest["files"]["card.md"]
        elif how == "format":
            manifest["format"] = "bayesaffect release 99"
        elif how == "lacking":
            del manifest["targets"]
        elif how == "of another form":
            manifest["files"]["card.md"] = "no hash"
        (folder / "manifest.json").write_text("{" if how == "garbled" else json.dumps(manifest))


SPOILT = [
    ("changed", "is not the file that was released: its hash differs"),
    ("longer", "is not the file that was released"),
    ("missing", "is missing from the release"),
    ("outside", "outside its folder"),
    ("format", "is not of the format 'bayesaffect release 1'"),
    ("lacking", "lacks 'targets'"),
    ("garbled", "is not a readable manifest"),
    ("added", "late_mood.nc: is not part of the release; remove it"),
    ("of another form", "is not a readable manifest"),
]


@pytest.mark.parametrize(("how", "sentence"), SPOILT)
def test_what_is_not_as_released_does_not_predict(finished, tmp_path, capsys, how, sentence):
    folder = make(finished, tmp_path)
    spoil(folder, how)
    assert run("predict", "--model", folder, tmp_path / "new.csv", tmp_path / "out") == 2
    err = capsys.readouterr().err
    assert sentence in err and err.count("\n") == 1 and not (tmp_path / "out").exists()


def test_releases_are_listed_with_the_state_of_their_files(finished, tmp_path):
    for name in ("good", "bad", "worse"):
        make(finished, tmp_path, name)
    spoil(tmp_path / "models" / "bad", "changed")
    spoil(tmp_path / "models" / "worse", "garbled")
    spoil(make(finished, tmp_path, "more"), "added")
    (tmp_path / "models" / ".half").mkdir()
    (tmp_path / "models" / ".half" / "manifest.json").write_text("{}")  # one in the making
    found = released.listing(tmp_path / "models").set_index("name")
    assert list(found.index) == ["bad", "good", "more", "worse"]
    assert found.loc["more", "files"] == "late_mood.nc is not part of the release"
    assert found.loc["good", "files"] == "as released" and found.loc["good", "modalities"] == "eeg, face"
    assert found.loc["bad", "files"] == "late_valence.nc is changed"
    assert found.loc["worse", "files"] == "is not a readable manifest"
    assert released.listing(tmp_path / "nowhere").empty


def test_another_version_is_told(finished, tmp_path):
    folder = make(finished, tmp_path)
    assert released.read(folder).note == ""
    manifest = json.loads((folder / "manifest.json").read_text()) | {"version": "0.0.1"}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    assert "made with bayesaffect 0.0.1" in released.read(folder).note


def test_a_setting_of_a_newer_version_asks_for_that_version(finished, tmp_path, capsys):
    """The format may be the same, and an option of the study new."""
    folder = make(finished, tmp_path)
    write_json(folder / "study.json", json.loads((folder / "study.json").read_text()) | {"telepathy": True})
    manifest = json.loads((folder / "manifest.json").read_text()) | {"version": "99.0"}
    content = (folder / "study.json").read_bytes()
    manifest["files"]["study.json"] = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    write_json(folder / "manifest.json", manifest)
    assert run("predict", "--model", folder, tmp_path / "new.csv", tmp_path / "out") == 2
    assert "unknown settings ['telepathy']; use bayesaffect 99.0, which made it" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--model", "none"), "there is no release 'none'; choose one of mine"),
        (("--model", "mine", "--jointly"), "needs the labels of the study"),
        (("--model", "mine", "--family", "hybrid"), "has no hybrid posterior; it has late"),
        (("--model", "hybrid"), "write --family hybrid"),
        (("--model", "mine", "third"), "3 paths were given"),
    ],
)
def test_a_mistake_is_one_sentence(finished, tmp_path, capsys, arguments, sentence):
    folder = make(finished, tmp_path).parent
    assert run("predict", "--models", folder, *arguments, tmp_path / "new.csv", tmp_path / "out") == 2
    err = capsys.readouterr().err
    assert sentence in err and err.count("\n") == 1


def test_what_is_committed_is_as_it_was_released():
    """Weights and posteriors may be missing, they are not committed; nothing may have been changed."""
    found = released.read(MODELS / "simulated-tiny")
    assert all("is missing" in problem.what for problem in found.problems)
    absent = {Path(problem.where).name for problem in found.problems}
    assert not absent & {"card.md", "study.json"} and {"card.md", "study.json"} < set(found.manifest["files"])


def recipe() -> list[list[str]]:
    """The commands by which ``models/simulated-tiny`` was made, as its README tells."""
    text = (MODELS / "README.md").read_text(encoding="utf-8")
    block = re.search(r"```sh\n(.*?)```", text, flags=re.DOTALL).group(1).replace("\\\n", " ")
    return [shlex.split(line)[1:] for line in block.splitlines()]


@pytest.fixture(scope="module")
def rebuilt(tmp_path_factory):
    """The committed release, made again: the folder with ``workspace`` and ``models``."""
    root = tmp_path_factory.mktemp("release")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        for command in recipe():
            assert run(*command) == 0
    return root


def predictions(folder):
    return pd.read_csv(folder / "predictions.csv", dtype={"subject": str})


@pytest.mark.slow
@pytest.mark.timeout(2400)
def test_the_committed_release_can_be_made_again(rebuilt):
    ours, theirs = (
        json.loads((root / "simulated-tiny" / "manifest.json").read_text()) for root in (MODELS, rebuilt / "models")
    )
    assert set(ours["files"]) == set(theirs["files"])
    for name in ("format", "made_by", "targets", "modalities", "families", "removed"):
        assert ours[name] == theirs[name], name
    a, b = (study_settings.load(root / "simulated-tiny") for root in (MODELS, rebuilt / "models"))
    assert a == b
    cards = [(root / "simulated-tiny" / "card.md").read_text() for root in (MODELS, rebuilt / "models")]
    told = [re.sub(r"-?\d+\.\d+", "0", card.split("## Calibration")[0]) for card in cards]
    assert told[0] == told[1]  # but for the numbers, which differ from machine to machine
    assert "simulated" in cards[0]


def strangers(folder):
    """Recordings of two people whose names the study does not know."""
    write_mahnob(folder, subjects=6, clips=4, seed=9, layout=Layout(clip_seconds=(6.0, 9.0), margin=4.5), jobs=1)
    for session in (folder / "Sessions").iterdir():
        if int(re.search(r'subject id="(\d+)"', (session / "session.xml").read_text()).group(1)) <= 4:
            shutil.rmtree(session)
    return folder


@pytest.mark.slow
@pytest.mark.timeout(2400)
def test_a_release_predicts_new_people_as_its_workspace_does(rebuilt, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(rebuilt)
    new = strangers(tmp_path / "new")
    assert run("predict", "workspace", new, tmp_path / "a") == 0
    assert run("predict", "--model", "simulated-tiny", new, tmp_path / "b") == 0
    assert capsys.readouterr().out.count("8 trials; subjects: 2 new") == 2
    a, b = (predictions(tmp_path / name) for name in "ab")
    assert len(a) == 8 and {"valence_mean", "emotion_p_joy", "arousal_weight_eeg", "emotion_face"} <= set(a.columns)
    pd.testing.assert_frame_equal(a, b, rtol=1e-12, atol=1e-12)


@pytest.mark.slow
@pytest.mark.timeout(2400)
def test_networks_newer_than_the_fusion_are_not_released_and_do_not_predict(rebuilt, tmp_path, capsys):
    """Retrained networks say something else of the trials; so does one number changed in what they said."""
    workspace = shutil.copytree(rebuilt / "workspace", tmp_path / "ws")
    said = store.load_predictive(workspace / "opinions" / "eeg.nc")
    said.mean["valence"].values[0, 0] += 0.1
    store.save_predictive(said, workspace / "opinions" / "eeg.nc")
    with pytest.raises(InputError, match=r"fitted to other opinions, with other settings.*; run `bayesaffect fuse`"):
        release.release(workspace, study_settings.load(workspace), "mixed", models=tmp_path / "models")
    assert not list((tmp_path / "models").iterdir())
    capsys.readouterr()
    for verb, *out in (("predict", tmp_path / "out"), ("adapt",)):
        assert run(verb, workspace, rebuilt / "simulated", *out) == 2
        assert "run `bayesaffect fuse` again" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
@pytest.mark.timeout(2400)
def test_the_posteriors_of_a_release_predict_strangers_alike(rebuilt):
    """The same opinions of people whom neither knows: the same numbers, to the last bit."""
    kept = apply.load_posteriors(rebuilt / "models" / "simulated-tiny", "late")
    whole = apply.load_posteriors(rebuilt / "workspace" / "fusion", "late")
    assert set(kept) == set(whole) == {"valence", "arousal", "emotion"}
    modalities, targets = apply.fitted_of(whole)
    opinions, _ = simulate_opinions(subjects=3, trials=5, modalities=modalities, targets=targets, seed=2)
    present = opinions.present.copy()
    present[2, 1] = present[7, 0] = False
    strangers = opinions.present.assign_coords(subject=("trial", [f"new {s}" for s in opinions.subject.values]))
    opinions = replace(opinions, present=strangers & present.values, trained_on=None)
    for target in whole:
        a, b = (fusion.predict(p[target], opinions, target=target, seed=3, subjects="known") for p in (whole, kept))
        for group in ("mean", "variance", "log_prob"):
            for name, array in getattr(a, group).items():
                np.testing.assert_array_equal(array.values, getattr(b, group)[name].values)
        a, b = (fusion.trial_weights(p[target], opinions, subjects="known") for p in (whole, kept))
        np.testing.assert_array_equal(a.values, b.values)


@pytest.mark.slow
def test_a_table_is_released_as_its_posteriors(tmp_path, capsys):
    targets = (Target("mood", levels=("calm", "tense", "glad")),)
    opinions, _ = simulate_opinions(subjects=8, trials=10, modalities=("eeg", "face"), targets=targets, seed=4)
    subject = opinions.subject.values.astype(str)
    new = np.isin(subject, np.unique(subject)[6:])
    write_table(opinions.select(~new), tmp_path / "study.csv")
    write_table(opinions.select(new), tmp_path / "new.csv")
    workspace, models = tmp_path / "ws", tmp_path / "models"
    short = ("--draws", 60, "--chains", 2, "--no-robustness")
    assert run("fuse", tmp_path / "study.csv", workspace, "--folds", 2, *short) == 0
    folder = release.release(workspace, study_settings.load(workspace), "table", models=models)
    assert {p.name for p in folder.iterdir()} == {"card.md", "manifest.json", "study.json", "late_mood.nc"}
    assert run("predict", workspace, tmp_path / "new.csv", tmp_path / "a") == 0
    assert run("predict", "--models", models, "--model", "table", tmp_path / "new.csv", tmp_path / "b") == 0
    pd.testing.assert_frame_equal(predictions(tmp_path / "a"), predictions(tmp_path / "b"), rtol=1e-12)
