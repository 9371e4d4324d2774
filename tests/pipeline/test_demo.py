"""The demonstration as a user runs it, and what the simulated truth must give back."""

import re

import pandas as pd
import pytest

from bayesaffect.cli import main

pytestmark = [pytest.mark.slow, pytest.mark.timeout(2400)]
SINGLE = ["eeg", "face", "physio"]


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    out = tmp_path_factory.mktemp("demo")
    with pytest.raises(SystemExit) as end:
        main(["demo", str(out)])
    assert not end.value.code
    return out


@pytest.mark.parametrize("target", ["valence", "arousal", "emotion"])
def test_fusion_beats_every_single_modality(demo, target):
    scores = pd.read_csv(demo / "workspace" / "report" / "scores.csv")
    nll = scores[(scores.target == target) & (scores.score == "nll")].set_index("model")["value"]
    assert nll["late"] < nll[SINGLE].min()
    assert nll["late"] < nll["prior"]


def test_its_page_is_whole(demo):
    page = (demo / "index.html").read_text(encoding="utf-8")
    assert len(re.findall(r"<img ", page)) >= 12
    assert not re.search(r"<(?:script|img|link)[^>]+(?:src|href)=[\"']https?:", page)


def test_what_could_not_be_used_is_listed(demo):
    omissions = pd.read_csv(demo / "workspace" / "prepared" / "omissions.csv")
    assert omissions.what.str.contains("trigger").any() and omissions.what.str.contains("felt").any()


def test_a_dead_sensor_counts_for_less(demo):
    """Subjects whose skin conductance is dead lean less on physiology than the others, for arousal."""
    import json

    truth = json.loads((demo / "recordings" / "truth.json").read_text())
    assert "subjects" in truth  # the truth lies beside the data
    weights = pd.read_csv(demo / "workspace" / "report" / "tables" / "weights.csv")
    assert set(weights.modality) >= {*SINGLE, "prior"}
