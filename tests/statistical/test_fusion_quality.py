from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from bayesaffect.fusion import Sampling, fit, predict
from bayesaffect.simulate import OpinionModel, simulate_opinions
from bayesaffect.types import Target

pytestmark = [pytest.mark.slow, pytest.mark.statistical]
KINDS = {"valence": Target("valence", (1, 9)), "emotion": Target("emotion", levels=("a", "b", "c"))}
SAMPLING = Sampling(draws=400, tune=400, chains=2, pilot=150)
TRAINED, TRIALS, STRONG, DRAWN = 20, 20, 0.85, 5


def people(target, seed, discount, new=0):
    """Opinions of trained and of ``new`` subjects whose errors grow as quality falls."""
    model = OpinionModel(discount=discount, missing=0.1)
    opinions, _ = simulate_opinions(
        subjects=TRAINED + new, trials=TRIALS, modalities=["a", "b"], targets=(target,), seed=seed, model=model
    )
    first = np.arange((TRAINED + new) * TRIALS) < TRAINED * TRIALS
    return opinions.select(first), opinions.select(~first)


def shuffled(opinions, seed):
    """The same qualities on other trials: what they say about errors is gone."""
    values = np.random.default_rng(seed).permuted(opinions.quality.fillna(0.5).values, axis=0)
    return replace(opinions, quality=opinions.quality.copy(data=values))


def nll(posterior, opinions, target):
    """Negative log predictive probability of each trial, per subject (subject, trial)."""
    p, y = predict(posterior, opinions, target=target, seed=0), opinions.truth[target].values
    if target == "valence":
        mean, variance = p.mean[target].values, p.variance[target].values
        density = np.exp(-0.5 * (y - mean) ** 2 / variance) / np.sqrt(2 * np.pi * variance)
    else:
        density = np.exp(p.log_prob[target].values[:, np.arange(y.size), y.astype(int)])
    return -np.log(density.mean(0)).reshape(-1, TRIALS)


@pytest.fixture(scope="module", params=list(KINDS))
def runs(request, tmp_path_factory):
    """Fits of data whose discounts are drawn from the prior, and of data with strong discounts in three ways."""
    target, cache = KINDS[request.param], tmp_path_factory.mktemp("density")

    def fitted(opinions):
        return fit(opinions, target.name, sampling=SAMPLING, seed=1, cache=cache)

    drawn = []
    for seed in range(DRAWN):
        truth = np.random.default_rng([7, seed]).beta(1, 3, 2)
        drawn.append((truth, fitted(people(target, seed, tuple(truth))[0])))
    strong = []
    for seed in (11, 12):
        train, new = people(target, seed, STRONG, new=80)
        pairs = {
            "read": (train, new),
            "ignored": (replace(train, quality=None), replace(new, quality=None)),
            "shuffled": (shuffled(train, seed), shuffled(new, seed)),
        }
        fits = {name: fitted(pair[0]) for name, pair in pairs.items()}
        strong.append((fits, {name: nll(fits[name], pair[1], target.name) for name, pair in pairs.items()}))
    return drawn, strong


def interval(posterior):
    return np.quantile(posterior.posterior["quality_discount"], [0.05, 0.95], axis=(0, 1))


def difference(strong, one, two):
    """Mean of NLL one - two over new subjects, and its standard error."""
    per_subject = np.concatenate([(scores[one] - scores[two]).mean(1) for _, scores in strong])
    return per_subject.mean(), per_subject.std(ddof=1) / np.sqrt(per_subject.size)


def test_intervals_of_the_discount_contain_the_truth(runs):
    """Ten intervals at 90 %: fewer than seven would happen once in 80 times."""
    inside = [(low < truth) & (truth < high) for truth, posterior in runs[0] for low, high in [interval(posterior)]]
    assert np.sum(inside) >= 7


def test_a_strong_discount_is_found_and_a_planted_shuffle_hides_it(runs):
    found = [fits["read"].posterior["quality_discount"].mean(("chain", "draw")).values for fits, _ in runs[1]]
    hidden = [fits["shuffled"].posterior["quality_discount"].mean(("chain", "draw")).values for fits, _ in runs[1]]
    assert np.mean(found) > 0.45 and np.mean(hidden) < 0.3
    assert np.mean([interval(fits["shuffled"])[0] for fits, _ in runs[1]]) < 0.08


def test_new_people_are_predicted_better_with_quality(runs):
    gain, error = difference(runs[1], "ignored", "read")
    assert gain > 3 * error > 0


def test_quality_that_says_nothing_does_not_hurt(runs):
    loss, error = difference(runs[1], "shuffled", "ignored")
    learnt_from_noise = 2 / (2 * TRAINED * TRIALS)  # expected loss of two parameters too many
    assert loss < 3 * error + 2 * learnt_from_noise
