"""Preparation as a command: baselines, outcomes, exported features, a second run."""

import json

import numpy as np
import pandas as pd
import pytest

from bayesaffect.cli import main
from bayesaffect.simulate import Layout, write_mahnob

pytestmark = pytest.mark.slow


def run(*arguments):
    with pytest.raises(SystemExit) as end:
        main([str(a) for a in arguments])
    return end.value.code or 0


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    """Two subjects, four films with a neutral clip before each, prepared with the neutral clips as baseline."""
    root = tmp_path_factory.mktemp("neutral")
    layout = Layout(clip_seconds=(9.0, 10.0), margin=3.0, video_rate=8.02, traps=False, neutral=True)
    write_mahnob(root / "data", subjects=2, clips=4, seed=1, layout=layout)
    assert run("prepare", root / "data", root / "ws", "--window", 8, "--jobs", 1, "--baseline", "neutral") == 0
    return root / "ws"


def test_neutral_clips_are_the_baseline_and_no_trials(workspace):
    table = pd.read_csv(workspace / "prepared" / "sessions.csv", keep_default_na=False)
    assert (table["outcome"] == "baseline").sum() == 8 == (table["outcome"] == "used").sum()
    assert table["decided"].str.contains("eda: ").all()  # Ohm or nS: the unit was decided, and is on record
    assert run("export", "features", workspace, "--standardised") == 0
    physio = pd.read_csv(workspace / "features" / "physio.csv")
    assert len(physio) == 8 and "S01/N01" not in set(physio["trial"])
    # zero is the person at rest: the mean over film clips is not zero, as it would be by their own scale
    assert np.abs(physio.groupby("subject")["eda_log_level"].mean()).max() > 0.01


@pytest.mark.parametrize(
    ("modality", "column", "low", "high"),
    [
        ("eeg", "power_alpha_Fz_log10_uv2", -3, 4),
        ("eeg", "hjorth_complexity_Oz", 0.5, 20),
        ("face", "eye_opening_mean", 0.01, 3),
        ("physio", "ecg_heart_rate_per_min", 45, 130),
        ("physio", "respiration_rate_per_min", 4, 40),
        ("physio", "temperature_mean_c", 25, 40),
    ],
)
def test_exported_features_are_in_raw_units(workspace, modality, column, low, high):
    path = workspace / "features" / f"{modality}.parquet"
    if not path.is_file():
        assert run("export", "features", workspace, "--as", "parquet") == 0
    frame = pd.read_parquet(path)
    assert frame[column].between(low, high).all()


def test_a_second_run_opens_no_recording(workspace, capsys):
    before = {path: path.stat().st_mtime_ns for path in (workspace / "prepared").rglob("*.nc")}
    assert run("prepare", json.loads((workspace / "study.json").read_text())["dataset"], workspace,
               "--window", 8, "--baseline", "neutral", "--list") == 0  # fmt: skip
    cost = json.loads((workspace / "stages.json").read_text())["prepare"]
    assert cost["prepared"] == 0 and cost["recordings"] == 16
    assert {path: path.stat().st_mtime_ns for path in before} == before
    out = capsys.readouterr().out
    assert out.count("  baseline  ") == 8 and "disk:" in out and "time of the last run: prepare" in out


def test_a_face_backend_that_is_not_there_is_refused_at_once(workspace, tmp_path, capsys):
    data = json.loads((workspace / "study.json").read_text())["dataset"]
    assert run("prepare", data, tmp_path / "ws", "--face", "mirror") == 2
    assert "there is no face backend 'mirror'; use one of embedded, pyfeat, tables" in capsys.readouterr().err
    assert not list((tmp_path / "ws" / "prepared").glob("S*"))
