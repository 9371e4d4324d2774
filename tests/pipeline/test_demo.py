"""The demonstration as a user runs it, and what the simulated truth must give back."""

import re

import arviz as az
import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr

from bayesaffect.cli import main
from bayesaffect.pipeline import apply
from bayesaffect.pipeline import settings as study_settings
from bayesaffect.simulate.truth import read_truth

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


def test_what_lies_in_its_workspace_is_what_its_fits_were_made_from(demo):
    """Opinions read from its files give the keys that the fits got from opinions in memory: nothing is refused."""
    workspace = demo / "workspace"
    posteriors = apply.load_posteriors(workspace / "fusion", "late")
    assert set(posteriors) == {"valence", "arousal", "emotion"}
    apply.check_fits(workspace, study_settings.load(workspace), {"late": posteriors})


def test_the_posterior_knows_whose_sensors_are_noisy(demo):
    """Rank correlation over subjects of the true noise-to-gain ratio with the posterior's error scale, per modality.

    With 12 trials per subject each of the six is a weak witness (its null sd is 1/3); their mean must be positive.
    """
    subjects = read_truth(demo / "recordings").subjects
    noise = subjects["spread"] / subjects["gain"].where(subjects["gain"] > 0, 1e-3)
    found = []
    for target in ("valence", "arousal"):
        posterior = az.from_netcdf(demo / "workspace" / "fusion" / f"late_{target}.nc").posterior
        error = np.log(posterior["reliability"]).mean(["chain", "draw"])
        found += [spearmanr(noise.sel(modality=m), error.sel(modality=m)).statistic for m in SINGLE]
    assert np.mean(found) > 0.1
