"""Every door through which a subject's labels could reach a network that predicts the subject."""

from __future__ import annotations

import logging
from dataclasses import replace

import numpy as np
import pytest
import xarray as xr

from bayesaffect.encoders import Builder, build
from bayesaffect.errors import InputError
from bayesaffect.splits import leave_one_subject_out
from bayesaffect.types import Opinions
from bayesaffect.uncertainty import data, member, work
from bayesaffect.uncertainty.crossfit import Execution, complete, lay_out, plan
from bayesaffect.uncertainty.ensemble import Ensemble
from bayesaffect.uncertainty.training import Training

NETWORKS = {"physio": ("physio",), "early": ("physio", "wrist")}


def laid_out(trials, groups, directory, *, nested=True, members=1):
    return lay_out(
        trials,
        groups,
        NETWORKS,
        build=build,
        ensemble=Ensemble(members, 2),
        training=Training(epochs=2, patience=2),
        execution=Execution(directory, nested=nested),
        seed=0,
    )


@pytest.fixture(scope="module")
def flat(small, grouped, tmp_path_factory):
    """A finished cross-fit without nested fits, and what it returned."""
    some = laid_out(small, grouped(small, 2), tmp_path_factory.mktemp("leaks"), nested=False)
    return some, complete(some)


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("count", [3, 8])
def test_no_task_meets_whom_it_predicts(trials, grouped, tmp_path, nested, count):
    groups = grouped(trials, count) if count < 8 else leave_one_subject_out(trials.subject.values)
    some = laid_out(trials, groups, tmp_path, nested=nested, members=2)
    subject = trials.subject.values.astype(str)
    assert len(some.fits) == count + nested * count * (count - 1) // 2
    for (k, _), tasks in some.tasks.items():
        away = {s for a in some.fits[k].held_out for s in groups[a]}
        for task in tasks:
            assert set(task.held_out) == away == set(subject[task.test])
            met = set(subject[task.train]) | set(subject[task.validation])
            assert met and not met & away and not set(subject[task.train]) & set(subject[task.validation])
            assert member.seen_subjects(task, tuple(subject)) == tuple(sorted(met))


def test_leave_one_subject_out_of_27_is_27_and_351_fits():
    planned = plan([(f"S{k}",) for k in range(27)], nested=True, seed=0)
    assert [sum(len(fit.held_out) == n for fit in planned) for n in (1, 2)] == [27, 351]


def test_what_a_network_has_seen_is_what_its_file_says(flat, small):
    some, result = flat
    for (k, name), tasks in some.tasks.items():
        _, header = member.read(some.place, tasks[0])
        assert header["seen"] == sorted(some.fits[k].seen)
        found = result.out_of_fold[name].trained_on
        rows = np.isin(found["subject"].values.astype(str), some.fits[k].fold.test)
        seen = found["trained_subject"].values[found.values[rows].all(0)]
        assert list(seen) == header["seen"]


@pytest.mark.parametrize(
    ("planted", "into"), [("test", "train"), ("test", "validation"), ("validation", "train"), ("train", "test")]
)
def test_a_task_with_a_subject_in_two_roles_is_refused(flat, small, tmp_path, planted, into):
    some = flat[0]
    task = some.all()[0]
    rows = np.concatenate([getattr(task, into), getattr(task, planted)[:1]])
    leaky = replace(task, **{into: rows})
    place = replace(some.place, directory=tmp_path, inputs=data.save(some.inputs, tmp_path / "inputs.safetensors"))
    with pytest.raises(InputError, match="in two roles"):
        member.run(place, leaky)
    assert not place.draws(leaky).exists()
    assert member.run(place, task) == member.MADE  # the same without the plant is carried out


def test_a_subject_that_is_held_out_but_has_no_test_trial_is_refused_too(flat, tmp_path):
    task = flat[0].all()[0]
    subject = flat[0].inputs.subject
    other = replace(task, held_out=(*task.held_out, subject[task.train[0]]))
    with pytest.raises(InputError, match="in two roles"):
        member.seen_subjects(other, subject)


def test_groups_that_overlap_are_refused(small, tmp_path):
    with pytest.raises(InputError, match="overlap"):
        laid_out(small, [("S00", "S01"), ("S01", "S02"), ("S03",)], tmp_path)


@pytest.mark.parametrize("kind", ["weights.safetensors", "draws"])
def test_a_file_of_another_task_renamed_into_place_is_not_used(small, grouped, tmp_path, caplog, kind):
    some = laid_out(small, grouped(small, 2), tmp_path, nested=False)
    before = complete(some)
    mine, other = (tasks[0] for (_, name), tasks in some.tasks.items() if name == "physio")
    name = mine.draws if kind == "draws" else kind
    some.place.draws(mine).unlink()
    (some.place.folder(other) / name).replace(some.place.folder(mine) / name)
    with caplog.at_level(logging.WARNING):
        again = complete(some)
    assert "was written for task" in caplog.text and again.trained == (2 if kind == "draws" else 1)
    xr.testing.assert_identical(
        before.out_of_fold["physio"].mean["valence"], again.out_of_fold["physio"].mean["valence"]
    )


def test_draws_of_another_way_of_drawing_are_not_used(small, grouped, tmp_path):
    some = laid_out(small, grouped(small, 2), tmp_path, nested=False)
    complete(some)
    task = some.all()[0]
    more = replace(task, ensemble=replace(task.ensemble, passes=3))
    some.place.draws(task).replace(some.place.draws(more))
    assert member.finished(some.place, more) is None


def test_a_leak_past_all_doors_is_refused_by_the_opinions(small, grouped, tmp_path, monkeypatch):
    """Rows leaked on purpose and the check of the task switched off: the stored file still tells on it."""
    some = laid_out(small, grouped(small, 2), tmp_path, nested=False)
    tasks = {
        place: tuple(replace(task, train=np.union1d(task.train, task.test)) for task in of) if place[0] == 0 else of
        for place, of in some.tasks.items()
    }
    leaky = replace(some, tasks=tasks)

    def unchecked(task, subject):
        return tuple(sorted({subject[i] for rows in (task.train, task.validation) for i in rows}))

    monkeypatch.setattr(member, "seen_subjects", unchecked)
    result = complete(leaky)
    with pytest.raises(InputError, match="network trained on"):
        Opinions.from_predictives(result.out_of_fold, small)


def test_the_identity_of_a_builder_is_what_it_says_its_name_or_its_repr():
    class Made:
        def __repr__(self):
            return "Made(eeg=mine:Net)"

    assert work.identity(build, ("eeg",)) == "bayesaffect.encoders.networks.build"
    assert work.identity(Made(), ("eeg",)) == "Made(eeg=mine:Net)"
    assert work.identity(Builder({}), ("eeg",)) == work.identity(build, ("eeg",))
    mixed = Builder({"eeg": "json:loads"})
    assert work.identity(mixed, ("face",)) == work.identity(build, ("face",)) != work.identity(mixed, ("eeg",))
