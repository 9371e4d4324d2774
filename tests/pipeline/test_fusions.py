"""Early, late and hybrid fusion by name: who is predicted by whom."""

import numpy as np
import pytest
import xarray as xr

from bayesaffect import fusion
from bayesaffect.errors import InputError
from bayesaffect.pipeline import fusions
from bayesaffect.pipeline.fusions import early_fusion, hybrid_fusion, late_fusion
from bayesaffect.simulate import simulate_opinions
from bayesaffect.types import Predictive, Target, Trials

PEOPLE, EACH = 5, 4


@pytest.fixture(scope="module")
def opinions():
    return simulate_opinions(subjects=PEOPLE, trials=EACH, modalities=("a", "b"), seed=3)[0]


@pytest.fixture
def traced(monkeypatch):
    """Fits that only remember whom they left out; predictions whose mean is the number of those."""
    calls = []

    def fit(opinions, target, *, held_out=(), **given):
        calls.append((tuple(held_out), given))
        return tuple(held_out)

    def predict(posterior, opinions, *, target, seed):
        calls[-1] += (sorted(set(opinions.subject.values.astype(str).tolist())),)
        index = opinions.subject
        value = xr.DataArray(np.full((1, index.size), float(len(posterior))), dims=("draw", "trial"))
        return Predictive((opinions.target(target),), index, {target: value}, {target: value + 1})

    for name in ("fit", "fit_hybrid"):
        monkeypatch.setattr(fusion, name, fit, raising=False)
    monkeypatch.setattr(fusion, "predict", predict, raising=False)
    return calls


@pytest.mark.parametrize("fuse", [late_fusion, hybrid_fusion])
def test_everybody_is_predicted_once_by_a_fit_without_them(opinions, traced, fuse):
    people = sorted(set(opinions.subject.values.astype(str).tolist()))
    groups = [tuple(people[:2]), tuple(people[2:])]
    found = fuse(opinions, "valence", groups=groups, seed=1, cache="here")
    assert found.posterior == ()
    assert [call[0] for call in traced] == [(), *groups]
    assert [call[2] for call in traced[1:]] == [sorted(group) for group in groups]
    assert sorted(found.predictive.trial.values) == sorted(opinions.present["trial"].values)
    assert all(call[1] == {"seed": 1, "sampling": None, "cache": "here"} for call in traced)


def test_without_groups_there_are_five(opinions, traced):
    late_fusion(opinions, "arousal", seed=0)
    tested = [name for call in traced[1:] for name in call[0]]
    assert len(traced) == 1 + fusions.FOLDS and sorted(tested) == sorted(set(opinions.subject.values.astype(str)))


def test_a_part_of_the_people_costs_fewer_fits(opinions, traced):
    one = str(opinions.subject.values[0])
    found = late_fusion(opinions, "valence", groups=[(one,)], seed=0)
    assert len(traced) == 2 and set(found.predictive.subject.values.astype(str)) == {one}


def test_a_group_of_nobody_is_refused(opinions, traced):
    with pytest.raises(InputError, match="nobody of the group"):
        late_fusion(opinions, "valence", groups=[("nobody",)], seed=0)
    assert traced == []


def test_early_fusion_of_one_modality_is_refused(tmp_path):
    index = {"trial": ["t1"], "subject": ("trial", ["s1"]), "stimulus": ("trial", ["c"])}
    present = xr.DataArray([[True]], dims=("trial", "modality"), coords=index | {"modality": ["eeg"]})
    trials = Trials(
        (Target("valence", bounds=(1, 9)),),
        {"eeg": xr.Dataset({"features": (("trial", "feature"), [[1.0]])}, coords={"trial": ["t1"]})},
        present,
        xr.Dataset({"valence": ("trial", [0.5])}, coords={"trial": ["t1"]}),
        present.astype(float),
    )
    with pytest.raises(InputError, match="nothing to fuse"):
        early_fusion(trials, tmp_path, seed=0)


@pytest.mark.slow
def test_what_is_fused_has_not_been_seen_and_is_better_than_a_single_opinion(tmp_path):
    opinions, _ = simulate_opinions(subjects=8, trials=20, modalities=("a", "b", "c"), seed=5)
    people = sorted(set(opinions.subject.values.astype(str).tolist()))
    found = late_fusion(
        opinions,
        "valence",
        groups=[people[:4], people[4:]],
        sampling=fusion.Sampling(draws=300, tune=300, chains=2),
        seed=0,
        cache=tmp_path,
    )
    seen = found.predictive.trained_on
    own = seen["trained_subject"].values == found.predictive.subject.values[:, None]
    assert seen.values.any() and not (seen.values & own).any()
    truth = opinions.truth["valence"].sel(trial=found.predictive.trial.values).values
    error = np.mean((found.predictive.mean["valence"].mean("draw").values - truth) ** 2)
    alone = ((opinions.mean["valence"] - opinions.truth["valence"]) ** 2).mean("trial")
    assert error < alone.min()
