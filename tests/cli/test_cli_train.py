"""Mistakes in the options of ``train``: one sentence, code 2, and nothing is made."""

import pytest

from bayesaffect.cli import main
from bayesaffect.pipeline import settings as study_settings
from bayesaffect.pipeline.settings import Settings


@pytest.fixture
def workspace(tmp_path):
    (tmp_path / "ws").mkdir()
    study_settings.save(Settings(str(tmp_path / "data"), "mahnob"), tmp_path / "ws")
    return tmp_path / "ws"


def run(capsys, *arguments):
    with pytest.raises(SystemExit) as end:
        main([str(a) for a in arguments])
    printed = capsys.readouterr()
    return end.value.code or 0, printed.err


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ("--status", "has no training to tell of; run `bayesaffect train` first"),
        ("--device abacus", "there is no device 'abacus'; choose one of cpu, cuda, mps, auto"),
        ("--network eeg", "--network 'eeg' is not understood; write it as eeg=package.module:callable"),
        ("--network eeg=mine", "--network 'eeg=mine' is not understood"),
        ("--network eeg=no.such:net", "no.such: cannot be imported (ModuleNotFoundError: No module named 'no')"),
        ("--folds 2", "use --folds 3 or more, or --flat"),
        ("--scheduler nonsense --flat", "nonsense: no Dask scheduler answers (missing port number"),
    ],
)
def test_a_mistake_is_one_sentence(capsys, workspace, options, sentence):
    code, err = run(capsys, "train", workspace, *options.split())
    assert code == 2 and sentence in err and err.count("\n") == 1
    assert [path.name for path in workspace.iterdir()] == ["study.json"]


def test_recordings_that_were_named_from_another_folder_are_asked_for_there(capsys, tmp_path, monkeypatch):
    """A study keeps the path as it was typed."""
    (tmp_path / "ws" / "prepared").mkdir(parents=True)
    study_settings.save(Settings("data", "mahnob"), tmp_path / "ws")
    monkeypatch.chdir(tmp_path)
    code, err = run(capsys, "train", tmp_path / "ws")
    assert code == 2 and err.count("\n") == 1
    assert "ws: was made from the recordings in 'data', which are not there as seen from this folder; give the" in err


@pytest.mark.parametrize("folds", ["1", "loto", "-3", "2.5"])
@pytest.mark.parametrize("verb", ["train", "study"])
def test_folds_are_a_number_or_loso(capsys, workspace, folds, verb):
    arguments = [workspace] if verb == "train" else [workspace, workspace / "other"]
    code, err = run(capsys, verb, *arguments, "--folds", folds)
    assert code == 2 and "neither a number from 2 nor loso" in err


def test_an_interrupt_is_one_sentence_and_code_130(capsys, workspace, monkeypatch):
    def interrupted(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(study_settings, "load", interrupted)
    assert run(capsys, "train", workspace) == (130, "bayesaffect: stopped; the same command goes on where it was\n")
