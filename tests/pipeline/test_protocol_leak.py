"""A planted leak: a modality that only recognises the clip looks good across subjects, and not across elicitors."""

from dataclasses import replace

import numpy as np
import pytest
import xarray as xr

from bayesaffect import splits
from bayesaffect.evaluate import baselines
from bayesaffect.fusion import Sampling
from bayesaffect.pipeline import train as training
from bayesaffect.pipeline.fuse import fuse
from bayesaffect.pipeline.settings import Settings
from bayesaffect.types import Opinions, Target

PEOPLE, CLIPS = 12, 16
EFFECT, REST, NOISE = 0.35, 0.1, 0.3
VALENCE = Target("valence", bounds=(1, 9))


def settings(protocol):
    return Settings("t", "opinions", protocol=protocol, folds=4, sampling=Sampling(draws=200, tune=200, chains=2))


def study(protocol):
    """Opinions of ``eeg``, which feels what the person feels, and of ``clip``, which only knows which clip is on.

    ``clip`` says what other people felt at the same clip, learnt from all groups but the tested one.
    """
    rng = np.random.default_rng(0)
    clip = np.tile(np.arange(CLIPS), PEOPLE)
    felt = (rng.normal(0, EFFECT, CLIPS)[clip] + rng.normal(0, REST, clip.size)).clip(-1, 1)
    coords = {
        "trial": [f"S{k // CLIPS:02d}/T{k % CLIPS:02d}" for k in range(clip.size)],
        "modality": ["eeg", "clip"],
        "subject": ("trial", [f"S{k // CLIPS:02d}" for k in range(clip.size)]),
        "stimulus": ("trial", [f"clip{k:02d}" for k in clip]),
    }
    present = xr.DataArray(np.ones((clip.size, 2), bool), dims=("trial", "modality"), coords=coords)
    truth = xr.Dataset({"valence": ("trial", felt)}, coords={"trial": coords["trial"]})
    mean = xr.zeros_like(present, dtype=float)
    mean[:, 0] = felt + rng.normal(0, NOISE, clip.size)
    blank = Opinions((VALENCE,), present, truth, {"valence": mean}, {"valence": xr.full_like(mean, NOISE**2)})
    index = training.apart(settings(protocol), blank)
    groups = training.groups(settings(protocol), blank)
    said = baselines.stimulus(index, groups)
    mean, variance = index.mean["valence"].copy(), index.variance["valence"].copy()
    mean[:, 1], variance[:, 1] = said.mean["valence"].values[0], said.variance["valence"].values[0]
    seen = said.trained_on.expand_dims(modality=["eeg", "clip"]).transpose("trial", "modality", ...)
    return replace(index, mean={"valence": mean}, variance={"valence": variance}, trained_on=seen), groups


def rmse(said, opinions):
    return float(np.sqrt(np.mean((said - opinions.truth["valence"].values) ** 2)))


@pytest.mark.parametrize(("protocol", "knows"), [("subject", True), ("elicitor", False)])
def test_who_only_recognises_the_clip_knows_nothing_of_a_new_one(protocol, knows):
    opinions, groups = study(protocol)
    assert opinions.held_out_by == {"subject": "subject", "elicitor": "stimulus"}[protocol]
    chance = rmse(baselines.prior_only(opinions, groups).mean["valence"].values[0], opinions)
    alone = rmse(opinions.mean["valence"].values[:, 1], opinions) / chance
    assert (alone < 0.5) if knows else (0.95 < alone < 1.05)
    weighed = rmse(baselines.stacking(opinions, groups, seed=0).mean["valence"].values[0], opinions)
    sensor = rmse(opinions.mean["valence"].values[:, 0], opinions)
    assert (weighed < 0.5 * sensor) if knows else (0.6 * sensor < weighed)


@pytest.mark.slow
def test_fusion_trusts_it_across_subjects_and_not_across_elicitors(tmp_path):
    score = {}
    for protocol in ("subject", "elicitor"):
        opinions, groups = study(protocol)
        late = fuse(tmp_path, settings(protocol), lambda group, of=opinions: of, groups).late
        np.testing.assert_array_equal(late.trial.values, opinions.present["trial"].values)
        score[protocol] = rmse(late.mean["valence"].mean("draw").values, opinions)
    sensor = rmse(opinions.mean["valence"].values[:, 0], opinions)
    assert score["subject"] < 0.5 * sensor
    assert 0.6 * sensor < score["elicitor"] < sensor


def test_a_clip_that_is_recognised_is_refused_when_clips_are_held_out():
    """The opinions made across subjects are no opinions across elicitors, whoever joins them."""
    leaky, _ = study("subject")
    with pytest.raises(ValueError, match="predictions tell trained_subject, and the trials are held out by stimulus"):
        splits.apart(leaky, "elicitor", 4, seed=0)
