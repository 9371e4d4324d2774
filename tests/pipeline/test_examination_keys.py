"""What subsets and disturbances are kept under: those of other fits and other trials are not taken for them."""

from dataclasses import replace

import numpy as np
import pytest

from bayesaffect import splits
from bayesaffect.evaluate import baselines
from bayesaffect.pipeline.examination import disturbed, subsets
from bayesaffect.pipeline.fits import fingerprint
from bayesaffect.pipeline.settings import Settings
from bayesaffect.simulate import simulate_opinions
from bayesaffect.types import Target

TARGETS = (Target("valence", bounds=(1, 9)), Target("arousal", bounds=(1, 9)))
GROUPS = (("S001", "S002"), ("S003", "S004"))


@pytest.fixture(scope="module")
def opinions():
    return simulate_opinions(subjects=4, trials=4, modalities=["eeg", "face"], targets=TARGETS, seed=0)[0]


@pytest.mark.parametrize(("made_by", "same"), [(subsets._by_fusion, False), (subsets._by_pools, True)])
def test_subsets_of_targets_fitted_jointly_are_their_own(opinions, tmp_path, monkeypatch, made_by, same):
    asked = []
    monkeypatch.setattr(subsets, "key", lambda *parts: asked.append(repr(parts)) or "key")
    monkeypatch.setattr(subsets, "_load", lambda *_: {})
    (tmp_path / "fusion" / "subsets").mkdir(parents=True)
    (tmp_path / "fusion" / "subsets" / "valence-key.nc").touch()
    prior = baselines.prior_only(opinions, GROUPS)
    for joint in (False, True):
        settings = Settings("table.csv", "opinions", joint=joint)
        subsets._group(tmp_path, settings, opinions, TARGETS[0], GROUPS[0], prior, made_by)
    assert (asked[0] == asked[1]) == same


def test_disturbances_of_versions_that_hold_other_trials_are_their_own(opinions):
    settings, keys = Settings("table.csv", "opinions", protocol="version", folds=2), []
    for names in (["new", "new", "old", "old"], ["old", "old", "new", "new"]):
        present = opinions.present.assign_coords(version=("trial", np.tile(names, 4)))
        index = splits.apart(replace(opinions, present=present), "version", 2, seed=0)
        groups = splits.groups(index, 2, seed=0)
        keys.append(disturbed.made_from(settings, lambda group, of=index: of, groups))
    assert keys[0] != keys[1]


@pytest.mark.parametrize("halfway", [False, True])
def test_last_bits_make_no_other_opinions_and_a_thousandth_does(opinions, halfway):
    """Averages of draws that were read from a file differ from those in memory by the order of the sum; an average of
    two single-precision draws stands half-way between such numbers."""
    mean = opinions.mean["valence"]
    if halfway:
        single = mean.values.astype(np.float32)
        mean = mean.copy(data=single + 0.5 * np.spacing(single).astype(float))
        opinions = replace(opinions, mean=opinions.mean | {"valence": mean})
    said = {factor: replace(opinions, mean=opinions.mean | {"valence": mean * factor}) for factor in (1 + 2e-16, 1.001)}
    assert (said[1 + 2e-16].mean["valence"].values != mean.values).any()
    assert fingerprint(said[1 + 2e-16]) == fingerprint(opinions) != fingerprint(said[1.001])
