"""The bar: fitted to 27 people, fusion covers new people's ratings in 0.88-0.92 of the cases and its ECE is below 0.02.

What 27 people show of the population differs from study to study, so that coverage of a single fit moves by about 0.02;
the bar is on the mean over replications, each judged on 300 new people.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from bayesaffect.evaluate import calibration, scores
from bayesaffect.fusion import Sampling, fit, predict
from bayesaffect.simulate import OpinionModel, simulate_opinions
from bayesaffect.types import Target

pytestmark = [pytest.mark.slow, pytest.mark.statistical]
TARGETS = {"valence": Target("valence", (1, 9)), "emotion": Target("emotion", levels=tuple("abcdefghi"))}
TRAINED, NEW, TRIALS = 27, 300, 20
REPLICATIONS = {"valence": 8, "emotion": 4}
SAMPLING = Sampling(draws=250, tune=250, chains=2, pilot=100)
BINS = 15


def study(target, seed):
    """Opinions of three modalities on 27 people, and on 300 more of the same population; 10 % are missing."""
    opinions, _ = simulate_opinions(
        subjects=TRAINED + NEW,
        trials=TRIALS,
        modalities=["eeg", "face", "physio"],
        targets=(TARGETS[target],),
        seed=seed,
        model=OpinionModel(missing=0.1),
    )
    first = np.arange((TRAINED + NEW) * TRIALS) < TRAINED * TRIALS
    return opinions.select(first), opinions.select(~first)


@pytest.fixture(scope="module")
def fits(tmp_path_factory):
    """Target -> posterior and new people of every replication."""
    cache, found = tmp_path_factory.mktemp("density"), {}

    def made(target):
        if target not in found:
            found[target] = []
            for seed in range(REPLICATIONS[target]):
                train, new = study(target, seed)
                found[target].append((fit(train, target, sampling=SAMPLING, seed=1, cache=cache), new))
        return found[target]

    return made


def coverage(posterior, new):
    p = predict(posterior, new, target="valence", seed=0)
    return scores.coverage(p.mean["valence"].values, p.variance["valence"].values, new.truth["valence"].values, 0.9)


def test_ratings_of_new_people_are_covered(fits):
    inside = np.array([coverage(*pair) for pair in fits("valence")])
    error = inside.std(ddof=1) / np.sqrt(inside.size)
    print(f"coverage of 90 % intervals: {inside.mean():.4f} (se {error:.4f}); each {np.round(inside, 3)}")
    assert 0.88 <= inside.mean() <= 0.92 and error < 0.012


def test_opinions_grown_noisier_after_the_fit_are_not_covered(fits):
    """The planted defect: errors are about twice what they were when fusion learned them; the same bar must fail."""

    def disturbed(new):
        return replace(new, mean={"valence": new.mean["valence"] + noise.normal(0, 0.5, new.present.shape)})

    noise = np.random.default_rng(0)
    inside = np.array([coverage(posterior, disturbed(new)) for posterior, new in fits("valence")[:2]])
    assert inside.mean() < 0.85


def test_classes_of_new_people_are_as_probable_as_told(fits):
    prob, label, alone = [], [], []
    for posterior, new in fits("emotion"):
        prob.append(predict(posterior, new, target="emotion", seed=0).probability("emotion").values)
        label.append(new.truth["emotion"].values.astype(int))
        alone.append(calibration.ece(prob[-1], label[-1], BINS))
    every = np.concatenate(prob), np.concatenate(label)
    floor = np.mean([calibrated(p, seed) for seed, p in enumerate(prob)])
    found = calibration.ece(*every, BINS)
    print(f"ECE of {BINS} bins over all replications: {found:.4f}")
    print(f"of each {np.round(alone, 4)}, of which {floor:.4f} is chance")
    assert found <= 0.02
    assert np.mean(alone) - floor <= 0.02
    sharper = every[0] ** 1.4  # the planted defect: the same order, too sure
    assert calibration.ece(sharper / sharper.sum(1, keepdims=True), every[1], BINS) > 0.04


def calibrated(prob, seed):
    """ECE of a forecaster whose probabilities are true, from the same number of trials."""
    rng = np.random.default_rng(seed)
    return np.mean(
        [calibration.ece(prob, (np.log(prob) + rng.gumbel(size=prob.shape)).argmax(1), BINS) for _ in range(5)]
    )
