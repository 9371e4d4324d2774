"""Cross-fits that hold out something else than subjects: stimuli, versions, later parts of sessions, folds inside."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from bayesaffect import splits
from bayesaffect.encoders import build
from bayesaffect.errors import InputError
from bayesaffect.types import Opinions
from bayesaffect.types.unit import forbidden
from bayesaffect.uncertainty import member, recalibrate
from bayesaffect.uncertainty.crossfit import Execution, complete, lay_out, plan
from bayesaffect.uncertainty.ensemble import Ensemble
from bayesaffect.uncertainty.predict import predict
from bayesaffect.uncertainty.training import Training

NETWORKS = {"physio": ("physio",)}
FOLDS = 3


def held_out(trials, protocol):
    version = np.where(np.arange(trials.present.sizes["trial"]) % 2, "odd", "even")
    present = trials.present.assign_coords(version=("trial", version))
    return splits.apart(replace(trials, present=present), protocol, FOLDS, seed=0)


def laid_out(trials, directory, *, nested=True, members=1, recalibrated=True, groups=None):
    return lay_out(
        trials,
        groups or splits.groups(trials, FOLDS, seed=0),
        NETWORKS,
        build=build,
        ensemble=Ensemble(members, 2, recalibrate=recalibrated),
        training=Training(epochs=2, patience=2),
        execution=Execution(directory, nested=nested),
        seed=0,
    )


@pytest.mark.parametrize("protocol", ["elicitor", "version", "time", "within"])
def test_no_task_meets_the_unit_it_predicts(trials, tmp_path, protocol):
    index = held_out(trials, protocol)
    some = laid_out(index, tmp_path, nested=protocol != "version", members=2)
    unit, value = index.unit.values, index.present[index.held_out_by].values
    assert len(some.fits) == {"elicitor": 6, "version": 2, "time": 2, "within": 6}[protocol]
    for task in some.all():
        met = np.concatenate([task.train, task.validation])
        assert task.train.size and task.validation.size and task.test.size
        assert not forbidden(index.held_out_by, unit[task.test], unit[met]).any()
        assert not set(unit[task.train]) & set(unit[task.validation])
        if protocol in ("elicitor", "version"):
            assert not set(value[task.test]) & set(value[met])
        if protocol == "time":
            assert value[met].max() < value[task.test].min()
        assert member.seen_subjects(task, tuple(unit)) == tuple(sorted(set(unit[met])))


@pytest.fixture(scope="module")
def by_stimulus(small, tmp_path_factory):
    some = laid_out(held_out(small, "elicitor"), tmp_path_factory.mktemp("stimuli"))
    return some, complete(some)


def test_opinions_held_out_by_stimulus_pass_the_guard_and_a_planted_leak_does_not(by_stimulus):
    some, result = by_stimulus
    opinions = Opinions.from_predictives(result.out_of_fold, some.trials)
    assert opinions.held_out_by == "stimulus" and opinions.trained_on.values.any()
    leaky = opinions.trained_on.copy(data=np.ones_like(opinions.trained_on.values))
    with pytest.raises(InputError, match="trained on stimulus T"):
        replace(opinions, trained_on=leaky)


def test_nested_networks_saw_neither_group_of_stimuli(by_stimulus):
    some, result = by_stimulus
    for a, members in enumerate(some.groups):
        inner = result.nested[a]["physio"]
        own = some.trials.unit.sel(trial=inner.trial.values).values
        assert set(own) == set(some.trials.unit.values) - set(members)
        seen = inner.trained_on
        assert not seen.sel(trained_stimulus=list(members)).any() and seen.any("trained_stimulus").all()
        assert not (seen.values & (seen["trained_stimulus"].values[None, :] == own[:, None])).any()


def test_recalibration_of_a_group_of_stimuli_is_learnt_from_the_others(by_stimulus):
    some, result = by_stimulus
    raw = complete(laid_out(some.trials, some.execution.directory, recalibrated=False))
    assert raw.trained == 0
    factor = {r["held_out"][0]: r["factor"] for r in result.recalibration if r["target"] == "valence"}
    assert sorted(factor) == list(range(FOLDS)) and len(set(factor.values())) == FOLDS
    for a, members in enumerate(some.groups):
        before, after = raw.out_of_fold["physio"], result.out_of_fold["physio"]
        assert factor[a] == recalibrate.fit(raw.nested[a]["physio"], some.trials.truth)["valence"]
        here = some.trials.unit.sel(trial=before.trial.values).isin(list(members)).values
        ratio = after.variance["valence"].values[:, here] / before.variance["valence"].values[:, here]
        np.testing.assert_allclose(ratio, factor[a])


def test_trials_of_a_held_out_stimulus_are_predicted_by_networks_that_never_saw_it(by_stimulus):
    some, result = by_stimulus
    again = predict(some, some.trials, recalibration=result.recalibration)["physio"]
    np.testing.assert_allclose(again.mean["valence"], result.out_of_fold["physio"].mean["valence"], atol=1e-6)
    np.testing.assert_array_equal(again.trained_on, result.out_of_fold["physio"].trained_on)


def test_new_clips_are_predicted_by_all_networks_and_known_ones_by_those_that_never_saw_them(by_stimulus, small):
    some, _ = by_stimulus
    names = [f"N/{k:02d}" for k in range(small.present.sizes["trial"])]
    stimulus = np.where(np.arange(len(names)) % 2, "new", small.present["stimulus"].values)
    coords = {"trial": names, "subject": ("trial", ["N"] * len(names)), "stimulus": ("trial", stimulus)}
    blocks = {name: block.assign_coords(trial=names) for name, block in small.inputs.items()}
    index = [
        part.assign_coords(trial=names) for part in (small.truth, small.quality.drop_vars(["subject", "stimulus"]))
    ]
    new = replace(small, inputs=blocks, present=small.present.assign_coords(coords), truth=index[0], quality=index[1])
    new = splits.as_new(new, "elicitor")
    said = predict(some, new)["physio"]
    assert Opinions.from_predictives({"physio": said}, new).held_out_by == "stimulus"
    every = said.trained_on.all("trained_stimulus").values
    np.testing.assert_array_equal(every, stimulus[np.isin(names, said.trial.values)] == "new")


def test_across_time_every_part_is_predicted_from_the_parts_before(small, tmp_path):
    index = held_out(small, "time")
    result = complete(laid_out(index, tmp_path))
    assert result.trained == FOLDS - 1
    opinions = Opinions.from_predictives(result.out_of_fold, index)
    part = index.present["part"].values
    np.testing.assert_array_equal(opinions.present.values[:, 0], part > 1)
    assert list(result.nested) == [2]  # nothing is known of the first part, and nothing before the second
    known = np.isin(index.present["trial"].values, result.nested[2]["physio"].trial.values)
    np.testing.assert_array_equal(known, part == 2)
    assert [r["held_out"] for r in result.recalibration] == [[2], [2]]  # learnt from part 2, applied to part 3


def test_one_version_of_two_leaves_other_peoples_to_validate_on(small):
    index = held_out(small, "version")
    groups = splits.groups(index, FOLDS, seed=0)
    for fit in plan(groups, nested=False, seed=0, by="version"):
        assert len(fit.fold.train) == 3 and len(fit.fold.validation) == 1
        assert {name.split("@")[1] for name in fit.seen} != {name.split("@")[1] for name in fit.fold.test}
    with pytest.raises(InputError, match="holding out 8 versions leaves 0 to train"):
        plan(groups, nested=True, seed=0, by="version")


def test_stimuli_in_no_group_are_named(small, tmp_path):
    index = held_out(small, "elicitor")
    groups = [("T00", "T01"), ("T02", "T03"), ("T04",)]
    with pytest.raises(InputError, match=r"stimuli \['T05'\] are in no group; put each stimulus into exactly one"):
        laid_out(index, tmp_path, groups=groups, nested=False)
