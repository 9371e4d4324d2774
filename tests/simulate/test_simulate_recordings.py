from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from edfio import read_bdf

from bayesaffect.errors import InputError
from bayesaffect.simulate import Layout, draw_truth, read_truth, sheet, traps, write_mahnob, write_tutorial
from bayesaffect.simulate import bdf as written
from bayesaffect.simulate import recordings as module

TINY = Layout(clip_seconds=(3.0, 4.0), margin=2.0, video_rate=7.51)


def digest(folder):
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return write_mahnob(tmp_path_factory.mktemp("tiny") / "a", subjects=2, clips=2, seed=1, layout=TINY)


def test_files_lie_as_in_the_data_base(tiny):
    assert sorted(p.name for p in (tiny / "Sessions").iterdir()) == ["132", "134", "2", "4"]
    names = sorted(p.name for p in (tiny / "Sessions" / "134").iterdir())
    video = "P2-Rec1-2010.01.02.10.00.00_C1 trigger _C_Section_4.avi"
    assert names == [video, "Part_2_S_Trial2_emotion.bdf", "session.xml"]


def test_truth_is_saved_beside_the_data(tiny):
    drawn = draw_truth(subjects=2, clips=2, seed=1)
    saved = read_truth(tiny)
    assert saved.trials.equals(drawn.trials) and saved.subjects.equals(drawn.subjects)
    assert (tiny / "truth.csv").read_text().count("\n") == 5


def test_same_seed_same_bytes(tiny, tmp_path):
    again = write_mahnob(tmp_path / "b", subjects=2, clips=2, seed=1, layout=TINY)
    assert digest(again) == digest(tiny)


def test_an_interrupted_run_goes_on_and_ends_the_same(tiny, tmp_path, monkeypatch):
    folder, write, calls = tmp_path / "c", module.write_bdf, []

    def failing(path, *args, **options):
        calls.append(path)
        if len(calls) == 2:
            raise KeyboardInterrupt
        write(path, *args, **options)

    monkeypatch.setattr(module, "write_bdf", failing)
    with pytest.raises(KeyboardInterrupt):
        write_mahnob(folder, subjects=2, clips=2, seed=1, layout=TINY)
    write_mahnob(folder, subjects=2, clips=2, seed=1, layout=TINY)
    assert len(calls) == 2 + 3 and digest(folder) == digest(tiny)


def test_another_data_set_in_the_folder_is_refused(tiny):
    with pytest.raises(InputError, match="simulated otherwise"):
        write_mahnob(tiny, subjects=2, clips=2, seed=2, layout=TINY)


def test_recordings_of_others_are_left_alone(tmp_path):
    (tmp_path / "Sessions").mkdir()
    with pytest.raises(InputError, match="not simulated here"):
        write_mahnob(tmp_path, subjects=2, clips=2, seed=2, layout=TINY)


def test_neutral_sessions_on_request(tmp_path):
    layout = Layout(clip_seconds=(2.0, 2.0), margin=1.0, neutral=True, video_rate=5.3)
    home = write_mahnob(tmp_path / "n", subjects=1, clips=1, seed=0, layout=layout) / "Sessions"
    text = (home / "1" / "session.xml").read_text()
    assert 'isStim="0"' in text and "felt" not in text and (home / "1" / "Part_1_N_Trial1_emotion.bdf").exists()


def test_traps_are_named_in_the_truth_file(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_write_subject", lambda *a: None)
    folder = write_mahnob(tmp_path / "t", subjects=6, clips=6, seed=0)
    traps = json.loads((folder / "truth.json").read_text())["settings"]["traps"]
    assert set(traps) == {"constant_channel", "one_trigger", "no_video", "no_felt"}
    assert read_truth(folder).trials.sizes["trial"] == 35


def test_a_number_of_neutral_sessions(tmp_path, monkeypatch):
    written = []
    monkeypatch.setattr(
        module, "_write_session", lambda folder, seed, number, section, *a, **k: written.append(section)
    )
    write_mahnob(tmp_path / "n", subjects=2, clips=3, seed=0, layout=replace(TINY, neutral=2))
    assert written == [1, 2, 3, 4, 6] * 2


def test_every_trap_lies_on_a_trial_of_its_own(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_write_subject", lambda *a: None)
    folder = write_mahnob(tmp_path / "t", subjects=6, clips=4, seed=0, layout=replace(TINY, traps="all"))
    settings = json.loads((folder / "truth.json").read_text())["settings"]
    assert set(settings["traps"]) == set(traps.KINDS) and len(set(settings["traps"].values())) == len(traps.KINDS)
    truth = read_truth(folder)
    assert set(settings["traps"].values()) <= set(truth.trials["trial"].values) and truth.subjects["gsr_dead"].any()
    assert settings["layout"]["neutral"] == 1 and settings["layout"]["gaze"]


@pytest.mark.parametrize("size", [(5, 8), (6, 3)])
def test_too_small_a_set_for_every_trap_is_refused(tmp_path, size):
    with pytest.raises(InputError, match="cannot carry all"):
        write_mahnob(tmp_path / "t", subjects=size[0], clips=size[1], seed=0, layout=replace(TINY, traps="all"))


def test_traps_change_only_the_files_they_are_about(tiny, tmp_path, monkeypatch):
    """Without the trap, every byte is that of the set without traps."""
    monkeypatch.setattr(traps, "place_usual", lambda *a: {"no_trigger": "S02/T02", "rating_zero": "S02/T01"})
    home = write_mahnob(tmp_path / "t", subjects=2, clips=2, seed=1, layout=replace(TINY, traps=True)) / "Sessions"
    plain, trapped = digest(tiny / "Sessions"), digest(home)
    changed = sorted(name for name in trapped if trapped[name] != plain[name])
    assert changed == ["132/session.xml", "134/Part_2_S_Trial2_emotion.bdf"]


def test_options_that_are_not_used_leave_the_settings_as_they_were(tiny):
    layout = json.loads((tiny / "truth.json").read_text())["settings"]["layout"]
    assert set(layout) == {"clip_seconds", "margin", "video_rate", "image_size", "rate", "traps", "neutral"}


@pytest.fixture(scope="module")
def tutorial_set(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tutorial") / "set"
    return write_tutorial(folder, subjects=2, clips=1, seed=1, layout=replace(TINY, gaze=True))


def test_tutorial_has_its_own_rates_names_and_scales(tutorial_set):
    home = tutorial_set.parent / "Sessions" / "2"
    bdf = read_bdf(next(home.glob("*.bdf")))
    rates = {s.label: s.sampling_frequency for s in bdf.signals}
    assert [rates[n] for n in ("Fp1", "ECG1", "GSR", "RESP", "TEMP", "Status")] == [256, 256, 32, 32, 32, 256]
    gsr, truth = bdf.get_signal("GSR"), read_truth(tutorial_set.parent)
    assert gsr.physical_dimension == "uS" and 1 < np.median(gsr.data) < 20
    text = (home / "session.xml").read_text()
    valence = int(truth.trials["rating"].sel(trial="S01/T01", target="valence"))
    assert f'valence="{sheet.stored_rating(valence)}"' in text and "feltVlnc" not in text
    assert 'vidRate="24.000000"' in text and "_Section_2.tsv" in text


def test_slow_signals_are_means_of_the_fast_ones():
    body = {"ecg": np.zeros((3, 512)), "respiration": np.arange(512.0), "temperature": np.full(512, 33.0)}
    columns = {c[0]: c for c in written.tutorial_columns(np.zeros((32, 512)), body, np.zeros(512), 256)}
    assert columns["RESP"][1][:2].tolist() == [3.5, 11.5] and columns["RESP"][4] == 32


@pytest.mark.parametrize(("rating", "stored"), [(1, -10), (2, -8), (3, -5), (5, 0), (8, 8), (9, 10)])
def test_ratings_of_the_tutorial(rating, stored):
    assert sheet.stored_rating(rating) == stored


def test_full_scale_has_the_trials_of_the_real_set(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_write_subject", lambda *a: None)
    truth = read_truth(write_mahnob(tmp_path / "f", seed=0, scale="full"))
    counts = truth.trials["subject"].to_series().value_counts()
    assert truth.trials.sizes["trial"] == 527 and len(counts) == 27 and "S12" not in counts
    assert counts[["S03", "S09", "S16"]].tolist() == [17, 14, 16]


@pytest.mark.parametrize(
    "wrong", [{"clip_seconds": (5, 3)}, {"margin": 0}, {"video_rate": 0}, {"traps": "many"}, {"variant": "other"}]
)
def test_impossible_layouts_are_refused(wrong):
    with pytest.raises(InputError, match="cannot be simulated"):
        Layout(**wrong)


def test_unknown_scale_is_refused(tmp_path):
    with pytest.raises(InputError, match="unknown"):
        write_mahnob(tmp_path / "x", seed=0, scale="huge")


def test_the_package_stays_light():
    code = "import sys, bayesaffect.simulate; print([m for m in ('cv2', 'edfio', 'xarray', 'mne') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
