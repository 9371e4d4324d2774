"""Labels shuffled within subjects leave nothing to find: networks, nested opinions, fusion and scores together."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from bayesaffect.encoders import build
from bayesaffect.evaluate import scores
from bayesaffect.fusion import Sampling
from bayesaffect.pipeline.fuse import fuse
from bayesaffect.pipeline.settings import Settings
from bayesaffect.pipeline.train import fusion_input
from bayesaffect.types import Opinions
from bayesaffect.uncertainty import member
from bayesaffect.uncertainty.crossfit import Execution, complete, lay_out
from bayesaffect.uncertainty.ensemble import Ensemble
from bayesaffect.uncertainty.training import Training

pytestmark = [pytest.mark.slow, pytest.mark.statistical]
SUBJECTS, CLIPS, GROUPS, SHUFFLES = 12, 20, 4, 2
NETWORKS = {"physio": ("physio",), "wrist": ("wrist",)}
# networks that can learn labels by heart, so that a leak shows
ABLE = Training(epochs=40, dropout=0.0, weight_decay=0.0, learning_rate=5e-3)
SETTINGS = Settings("none", "mahnob", sampling=Sampling(draws=60, tune=80, chains=2, pilot=0, attempts=1))


def make_trials(**given):
    path = Path(__file__).parents[1] / "uncertainty" / "conftest.py"
    spec = importlib.util.spec_from_file_location("makers", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.make_trials(**given)


def shuffled(trials, seed):
    """Every subject keeps its labels, on other trials of its own."""
    rng, subject = np.random.default_rng(seed), trials.subject.values
    order = np.arange(subject.size)
    for name in np.unique(subject):
        rows = np.flatnonzero(subject == name)
        order[rows] = rng.permutation(rows)
    truth = trials.truth.isel(trial=order).assign_coords(trial=trials.truth["trial"].values)
    return replace(trials, truth=truth)


def study(trials, directory, cache, *, leak=None):
    """From trials to what fusion says of every trial, subject-disjoint throughout; ``leak`` may spoil the tasks."""
    names = sorted({str(name) for name in trials.subject.values})
    groups = [tuple(names[k::GROUPS]) for k in range(GROUPS)]
    work = lay_out(
        trials,
        groups,
        NETWORKS,
        build=build,
        ensemble=Ensemble(1, 5),
        training=ABLE,
        execution=Execution(directory / "training"),
        seed=0,
    )
    cross = complete(work if leak is None else leak(work))

    def opinions(group):
        chosen = fusion_input(cross, group, tuple(NETWORKS), groups[group] if group is not None else ())
        return Opinions.from_predictives(chosen, trials)

    (directory / "fusion").mkdir(parents=True)
    (directory / "fusion" / "compiled").symlink_to(cache)
    late, *_ = fuse(directory, SETTINGS, opinions, groups)
    return late, groups


def skill(trials, late, groups):
    """Per subject: nats gained over the class shares of the other groups, AUROC and CCC within the subject."""
    subject, y, z = trials.subject.values.astype(str), trials.truth["valence"].values, trials.truth["mood"].values
    mean, probability = late.moments("valence")[0].values, late.probability("mood").values
    out = SimpleNamespace(gain=[], auroc=[], ccc=[])
    for group in groups:
        share = np.bincount(z[~np.isin(subject, group)], minlength=3)
        share = share / share.sum()
        for name in group:
            rows = np.flatnonzero(subject == name)
            out.gain.append(np.log(probability[rows, z[rows]] / share[z[rows]]).mean())
            out.auroc.append(scores.auroc(probability[rows], z[rows]))
            known = rows[np.isfinite(y[rows])]
            out.ccc.append(scores.ccc(mean[known], y[known]))
    return {name: np.array(values) for name, values in vars(out).items()}


def pooled(found):
    """Score -> mean over subjects and shuffles, and its standard error.

    Two subjects share what their labels have in common by chance: each is learned from where the other is tested. For
    one direction in which labels can agree, with u standard normal, mean / error is |u| - 1 / |u|: above 4 as rarely
    as a normal number, but far below zero all the time. So the error bounds a mean from above only.
    """
    joined = {name: np.concatenate([each[name] for each in found]) for name in found[0]}
    return {name: (v.mean(), v.std(ddof=1) / np.sqrt(v.size)) for name, v in joined.items()}


@pytest.fixture(scope="module")
def trials():
    return make_trials(subjects=SUBJECTS, clips=CLIPS)


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("compiled")


def unsuspicious(task, subject):
    """What a task would have seen if it were honest: the bypass of the check and of its record."""
    away = set(task.held_out)
    return tuple(sorted({subject[i] for rows in (task.train, task.validation) for i in rows} - away))


def leaky(work):
    """Every network learns from the trials it is to predict, and from those it should be stopped by."""

    def spoilt(task):
        everything = np.concatenate([task.train, task.validation, task.test])
        return replace(task, train=np.sort(everything), validation=task.validation[:0])

    return replace(work, tasks={place: tuple(map(spoilt, tasks)) for place, tasks in work.tasks.items()})


def test_shuffled_labels_give_chance_and_no_gain_over_the_prior(trials, cache, tmp_path):
    runs = []
    for seed in range(SHUFFLES):
        some = shuffled(trials, seed)
        runs.append(skill(some, *study(some, tmp_path / str(seed), cache)))
    found = pooled(runs)
    for name, chance in (("gain", 0.0), ("auroc", 0.5), ("ccc", 0.0)):
        value, error = found[name]
        assert error < 0.04 and chance - 0.12 < value < chance + 4 * error, (name, value, error)


def test_the_same_with_a_leak_is_better_than_chance(trials, cache, tmp_path, monkeypatch):
    monkeypatch.setattr(member, "seen_subjects", unsuspicious)
    some = shuffled(trials, 0)
    found = pooled([skill(some, *study(some, tmp_path, cache, leak=leaky))])
    for name, chance in (("gain", 0.0), ("auroc", 0.5), ("ccc", 0.0)):
        value, error = found[name]
        assert value > chance + 4 * error, (name, value, error)
