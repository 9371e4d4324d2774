"""Crowd votes on acted emotions, fused by the log-linear pool: new actors, few labels, an actor's clips together."""

from __future__ import annotations

import numpy as np
import pytest

from bayesaffect import fusion
from bayesaffect.evaluate.calibration import ece, ece_floor
from bayesaffect.fusion.idata import attribute
from bayesaffect.io import opinions as door
from bayesaffect.io import published
from bayesaffect.splits import grouped

pytestmark = [pytest.mark.real, pytest.mark.slow, pytest.mark.statistical]
FOLDS = 6


@pytest.fixture(scope="module")
def votes(real_data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("votes")
    return door.read_table(published.crema_d(real_data("crema_d"), folder / "votes.csv"))


@pytest.fixture(scope="module")
def folds(votes, tmp_path_factory):
    """(actors held out, fit without them): one compiled density for all folds."""
    cache = tmp_path_factory.mktemp("density")
    sampling = fusion.Sampling(draws=400, tune=300, chains=2, pilot=150, attempts=1, target_accept=0.9)
    groups = grouped(votes.subject.values, FOLDS, seed=0)
    return [(g, fusion.fit(votes, "emotion", seed=0, held_out=g, sampling=sampling, cache=cache)) for g in groups]


def probability(predictive):
    return predictive.probability("emotion").values


def nll(p, label):
    return -np.log(p[np.arange(label.size), label])


def test_new_actors(votes, folds):
    label, p = votes.truth["emotion"].values.astype(int), np.empty((votes.subject.size, 6))
    for members, posterior in folds:
        rows = votes.subject.isin(list(members)).values
        p[rows] = probability(fusion.predict(posterior, votes.select(rows), target="emotion", seed=1, draws=400))
        share = posterior["posterior"]["habit_share"].mean(["chain", "draw"])
        assert (share > 0.8).all()  # actors played the same scripts: how their votes differ is their way
    assert (p.argmax(1) == label).mean() >= 0.765
    assert nll(p, label).mean() <= 0.625
    # with so few trials a perfectly calibrated model has .016 on average: no more than such noise, and what is, is seen
    assert ece(p, label) <= ece_floor(p, seed=0, level=0.998).high
    surer = p**1.2 / (p**1.2).sum(1, keepdims=True)
    assert ece(surer, label) > ece_floor(surer, seed=0, level=0.998).high


@pytest.mark.parametrize(("modality", "single"), [("voice", 1.133), ("face", 0.810)])
def test_one_modality_alone(votes, folds, modality, single):
    """Nobody in training lacked one; ``single`` is the score of a model fitted to the modality alone."""
    label, p = votes.truth["emotion"].values.astype(int), np.empty((votes.subject.size, 6))
    for members, posterior in folds:
        rows = votes.subject.isin(list(members)).values
        alone = votes.select(rows).only([modality])
        p[rows] = probability(fusion.predict(posterior, alone, target="emotion", seed=1, draws=400))
    assert nll(p, label).mean() <= 1.005 * single


def test_a_few_labelled_clips_of_a_new_actor(votes, folds):
    who = votes.subject.values.astype(str)
    rng = np.random.default_rng(5)
    counts = (1, 2, 3, 6, 12, 24, 48)
    found, pooled, khat = {k: [] for k in counts}, [], []
    for members, posterior in folds:
        for actor in members:
            order = rng.permutation(np.flatnonzero(who == actor))
            rest = votes.select(np.sort(order[48:]))
            truth = rest.truth["emotion"].values.astype(int)
            p = fusion.predict(posterior, rest, target="emotion", seed=1, draws=200)
            pooled.append(nll(probability(p), truth).mean())
            for k in counts:
                some = votes.select(np.sort(order[:k]))
                one = fusion.adapt(posterior, some, target="emotion", seed=1, subject=actor, draws=200)
                p = fusion.predict(one, rest, target="emotion", seed=1, subjects="known", draws=200)
                found[k].append(nll(probability(p), truth).mean())
                khat.append(attribute(one, "khat"))
    change = {k: np.mean(v) / np.mean(pooled) - 1 for k, v in found.items()}
    assert max(change.values()) < 0, change  # a label never harms, on average
    assert np.quantile(khat, 0.9) < 0.7
    assert change[12] <= -0.07 and change[48] <= -0.14, change


def test_an_actors_clips_together(votes, folds):
    label, p = votes.truth["emotion"].values.astype(int), np.empty((votes.subject.size, 6))
    for members, posterior in folds:
        rows = votes.subject.isin(list(members)).values
        p[rows] = probability(
            fusion.predict_jointly(posterior, votes.select(rows), target="emotion", seed=1, draws=200)
        )
    assert nll(p, label).mean() <= 0.53


def test_clips_of_two_emotions_together_cost_little(votes, folds):
    label, who = votes.truth["emotion"].values.astype(int), votes.subject.values.astype(str)
    rng = np.random.default_rng(6)
    together, alone = [], []
    for members, posterior in folds[::2]:
        for actor in members:
            rows = np.flatnonzero((who == actor) & np.isin(label, rng.choice(6, 2, replace=False)))
            some = votes.select(rows)
            p = fusion.predict_jointly(posterior, some, target="emotion", seed=1, draws=200)
            together.append(nll(probability(p), label[rows]))
            p = fusion.predict(posterior, some, target="emotion", seed=1, draws=200)
            alone.append(nll(probability(p), label[rows]))
    assert np.concatenate(together).mean() <= 1.05 * np.concatenate(alone).mean()
