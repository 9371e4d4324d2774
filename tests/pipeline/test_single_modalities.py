"""Each modality by itself, where opinions say how sure they are and where they do not."""

from dataclasses import replace

import numpy as np
import pytest

from bayesaffect.pipeline.baselines import single
from bayesaffect.simulate import OpinionModel, simulate_opinions
from bayesaffect.types import Target

GROUPS = (("S001", "S002"), ("S003", "S004"))


@pytest.fixture(scope="module")
def opinions():
    made, _ = simulate_opinions(
        subjects=4,
        trials=8,
        modalities=["eeg", "face"],
        targets=[Target("valence", bounds=(1, 9))],
        seed=3,
        model=OpinionModel(missing=0.2),
    )
    return made


def test_opinions_that_say_how_sure_they_are_are_taken_at_their_word(opinions):
    alone = single(opinions, GROUPS)
    here = opinions.present.sel(modality="eeg").values
    assert np.array_equal(alone["eeg"].trial.values, opinions.present["trial"].values[here])
    assert np.allclose(alone["eeg"].variance["valence"].values[0], opinions.variance["valence"].values[here, 0])


def test_others_get_the_error_of_other_people_as_variance(opinions):
    alone = single(replace(opinions, variance_known=False), GROUPS)["face"]
    subject, truth = alone.subject.values, opinions.truth["valence"].sel(trial=alone.trial.values).values
    squared = (alone.mean["valence"].values[0] - truth) ** 2
    for mine, theirs in (GROUPS, GROUPS[::-1]):
        taught = alone.variance["valence"].values[0, np.isin(subject, mine)]
        assert np.allclose(taught, squared[np.isin(subject, theirs)].mean())


def test_a_modality_of_one_group_teaches_nobody(opinions):
    there = opinions.present.copy()
    there.loc[{"modality": "face", "trial": np.isin(opinions.subject.values, GROUPS[0])}] = False
    nobody = replace(opinions, present=there, variance_known=False)
    assert set(single(nobody, GROUPS)) == {"eeg"}
    assert set(single(replace(nobody, variance_known=True), GROUPS)) == {"eeg", "face"}
