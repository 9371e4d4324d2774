"""Training as a stage: groups, plug-ins, the plan in words, learning curves, bars, and looking on."""

from __future__ import annotations

import importlib.util
import io
import json
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from rich.console import Console

from bayesaffect import encoders, files, progress
from bayesaffect.errors import InputError
from bayesaffect.pipeline import settings as study_settings
from bayesaffect.pipeline import train as stage
from bayesaffect.pipeline import watch
from bayesaffect.pipeline.settings import Settings
from bayesaffect.uncertainty import execute, member, status
from bayesaffect.uncertainty.ensemble import Ensemble
from bayesaffect.uncertainty.training import Training

SETTINGS = Settings(
    "none", "mahnob", ensemble=Ensemble(1, 2), training=Training(epochs=2, patience=2), folds=2, nested=False
)


def make_trials(**given):
    path = Path(__file__).parents[1] / "uncertainty" / "conftest.py"
    spec = importlib.util.spec_from_file_location("makers", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.make_trials(subjects=4, clips=6, **given)


@pytest.fixture(scope="module")
def trials():
    return make_trials()


@pytest.fixture(scope="module")
def single():
    """With one modality, and so one network."""
    return make_trials(modalities=("physio",))


@pytest.fixture(scope="module")
def trained(single, tmp_path_factory):
    """A workspace trained in two ways, the lines of the plan before each, and the result of the second."""
    workspace, said = tmp_path_factory.mktemp("ws"), []

    def run(settings):
        return stage.train(workspace, settings, single, announce=lambda *lines: said.append(lines))

    run(replace(SETTINGS, seed=1))
    return workspace, said, run(SETTINGS)


def test_loso_is_a_group_per_subject_and_survives_the_file(trials, tmp_path):
    settings = replace(SETTINGS, folds="loso", nested=True)
    assert stage.groups(settings, trials) == (("S00",), ("S01",), ("S02",), ("S03",))
    study_settings.save(settings, tmp_path)
    assert study_settings.load(tmp_path) == settings
    some = stage.lay_out(settings, trials, stage.execution(tmp_path, settings, jobs=1))
    assert len(some.fits) == 4 + 6 and len(some.all()) == 30


@pytest.mark.parametrize("folds", ["loto", 1, 0, 2.5, "5"])
def test_other_folds_are_refused(folds):
    with pytest.raises(InputError, match="number of groups from 2, or loso"):
        replace(SETTINGS, folds=folds)


def test_a_plug_in_takes_the_place_of_a_network_that_exists(trials):
    place = "bayesaffect.encoders.networks:build"
    made = stage.builder(replace(SETTINGS, networks={"wrist": place}), trials)
    assert made == encoders.Builder({"wrist": place})
    assert stage.builder(SETTINGS, trials) is encoders.build
    with pytest.raises(InputError, match="no network 'eeg' in this study; choose one of physio, wrist, early"):
        stage.builder(replace(SETTINGS, networks={"eeg": place}), trials)


def test_a_plug_in_makes_another_task(trials, tmp_path):
    def keys(settings):
        work = stage.lay_out(settings, trials, stage.execution(tmp_path, settings, jobs=1))
        return {task.key for task in work.all() if task.name == "wrist"}

    plugged = replace(SETTINGS, networks={"wrist": "bayesaffect.encoders.networks:build"})
    assert not keys(SETTINGS) & keys(plugged) and keys(plugged) == keys(plugged)


def test_a_device_that_is_not_there_is_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(InputError, match="sees no cuda device here; use --device cpu or auto"):
        stage.execution(tmp_path, SETTINGS, device="cuda")
    with pytest.raises(InputError, match="no device 'abacus'; choose one of cpu, cuda, mps, auto"):
        stage.execution(tmp_path, SETTINGS, device="abacus")
    auto = stage.execution(tmp_path, SETTINGS, device="auto")
    assert (auto.device, auto.jobs) == ("cpu", 2)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    auto = stage.execution(tmp_path, SETTINGS, device="auto")
    assert (auto.device, auto.jobs) == ("cuda", 1)
    assert stage.execution(tmp_path, SETTINGS, device="cuda", jobs=3).jobs == 3


def test_the_plan_is_announced_with_what_it_costs(trained, single, trials):
    workspace, said, _ = trained
    assert said[0][0] == "plan: 4 subjects in 2 groups; 2 fits x 1 networks x 1 members = 2 trainings, 0 done"
    assert [line.split(":")[0].strip() for line in said[0][1:]] == ["physio", "time", "disk"]
    assert "judged by two epochs of each network, run now" in said[0][-2]
    done = stage.lay_out(SETTINGS, single, stage.execution(workspace, SETTINGS, jobs=2))
    assert stage.plan_lines(done) == [said[0][0].replace("0 done", "2 done")]
    nested = replace(SETTINGS, folds=4, nested=True)
    work = stage.lay_out(nested, trials, stage.execution(workspace, nested, jobs=2))
    assert len(work.fits) == 10 and len(work.all()) == 30
    assert "; 10 fits (4 without one group, 6 without two) x 3 networks x" in stage.plan_lines(work)[0]


def test_what_has_ended_judges_what_waits(trained, single):
    workspace, _, _ = trained
    done = stage.lay_out(SETTINGS, single, stage.execution(workspace, SETTINGS, jobs=1))
    draws = done.place.draws(done.all()[0])
    draws.rename(workspace / "aside")
    lines = stage.plan_lines(done)
    (workspace / "aside").rename(draws)
    assert "physio: 2 trainings, 1 done" in lines[1]
    assert lines[-2].endswith("with 1 process, judged by the trainings that have ended")


def test_learning_curves_are_those_of_the_last_plan(trained):
    workspace, _, cross = trained
    curves = stage.learning_curves(workspace, SETTINGS)
    assert len(curves.groupby(["network", "fit", "member"])) == 2 == cross.trained
    assert len(list((workspace / "training").glob("*/history.csv"))) == 4  # of two plans
    assert {"epoch", "train_loss", "validation_loss"} <= set(curves.columns)
    assert stage.learning_curves(workspace / "opinions", SETTINGS) is None


def test_looking_on_tells_what_is_done_and_what_stopped(trained, single):
    workspace, _, _ = trained
    lines = watch.lines(workspace)
    assert lines[0] == "training: 2 of 2 done, 0 running, 0 waiting" and lines[1].startswith("  physio: 2 done, ")
    work = stage.lay_out(SETTINGS, single, stage.execution(workspace, SETTINGS, jobs=1))
    task, gone = work.all()[0], {"pid": 2**22 + 1}  # no process can have this number
    folder = work.place.folder(task)
    for path in (folder / "progress.json", folder / "task.json", workspace / "training" / status.PLAN):
        files.write_json(path, json.loads(path.read_text()) | gone)
    work.place.draws(task).unlink()
    (folder / member.WEIGHTS).unlink()
    lines = watch.lines(workspace)
    assert lines[0].startswith("training: 1 of 2 done, 0 running, 0 waiting, about ")
    (stopped,) = (line for line in lines if line.startswith("  stopped: physio without "))
    assert "member 1, epoch 2 of 2, last sign of life" in stopped
    assert lines[-1] == "nothing runs here now: the same train command goes on where it stopped"


def test_nothing_to_look_at_is_one_sentence(tmp_path):
    with pytest.raises(InputError, match="no training to tell of; run `bayesaffect train` first"):
        watch.lines(tmp_path)


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.44, "0.4 s"), (38.2, "38 s"), (89.4, "89 s"), (725, "12 min"), (12600, "3.5 h")]
)
def test_durations_in_words(seconds, words):
    assert watch.duration(seconds) == words


def test_bars_of_epochs_are_shown_for_what_runs_and_nothing_without_a_terminal(single, tmp_path, monkeypatch):
    work = stage.lay_out(SETTINGS, single, stage.execution(tmp_path, SETTINGS, jobs=1))
    monkeypatch.setattr(
        member, "run", lambda place, task, wait: time.sleep(1.3) if task is work.all()[-1] else member.MADE
    )
    running = {"kind": "running", "epoch": 3, "epochs": 40}
    monkeypatch.setattr(status, "state", lambda *_, **__: status.State(**running))
    for terminal, expected in ((True, True), (False, False)):
        out = io.StringIO()
        with progress.shown(Console(file=out, force_terminal=terminal, width=140)):
            execute.carry_out(work)
        shown = out.getvalue()
        assert ("training networks" in shown) is expected and ("member 1" in shown and "3/40" in shown) is expected
        assert expected or shown == ""
