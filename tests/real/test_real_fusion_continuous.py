"""The late model on the predictions of a competition: seven experts, 30 people, 240 files."""

from __future__ import annotations

import numpy as np
import pytest

from bayesaffect.evaluate import baselines, summary
from bayesaffect.fusion import Sampling, criticise, fit, predict
from bayesaffect.io import opinions as door
from bayesaffect.io import published
from bayesaffect.splits import grouped
from bayesaffect.types import Predictive

pytestmark = [pytest.mark.real, pytest.mark.slow]
SHORT = Sampling(draws=200, tune=200, chains=2, pilot=100, attempts=1)


@pytest.fixture(scope="module")
def epic(real_data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("epic")
    return door.read_table(published.epic(real_data("epic2023") / "across_subject.npz", folder / "epic.csv")), folder


@pytest.fixture(scope="module")
def scored(epic):
    """Scores of the late model and of ridge, five folds by subject, each target fused by fits without its people."""
    opinions, folder = epic
    groups = grouped(opinions.subject.values, 5, seed=0)
    who = opinions.subject.values
    parts = []
    for members in groups:
        tested = opinions.select(np.isin(who, list(members)))
        found = {}
        for target in ("valence", "arousal"):
            posterior = fit(opinions, target, sampling=SHORT, seed=0, held_out=list(members), cache=folder)
            found[target] = predict(posterior, tested, target=target, seed=0, draws=400)
        one, two = found.values()
        mean, variance = one.mean | two.mean, one.variance | two.variance
        parts.append(Predictive((*one.targets, *two.targets), one.subject, mean, variance))
    models = {"late": Predictive.concat(parts), "ridge": baselines.stacking(opinions, groups, seed=0)}
    frame = summary.score_table(models, opinions.truth, opinions.targets, seed=0, resamples=50)
    return frame.set_index(["model", "score", "target"]).value


def test_files_are_predicted_about_as_well_as_by_ridge(scored):
    """Ridge 1.043, the mean of the seven 1.24, the best single expert with hindsight 1.091."""
    assert scored["late", "rmse_within"].mean() <= 1.06
    assert scored["late", "rmse_within"].mean() <= scored["ridge", "rmse_within"].mean() + 0.012


def test_intervals_cover_the_files_means(scored):
    """0.9 of 240 files of 30 people: within two standard errors of a proportion of 240, which people do not share."""
    assert 0.86 <= scored["late", "coverage90"].mean() <= 0.94
    assert scored["late", "crps"].mean() <= scored["ridge", "crps"].mean() * 1.01


def test_experts_errors_are_strongly_correlated_and_criticism_finds_what_a_normal_misses(epic):
    opinions, folder = epic
    posterior = fit(opinions, "arousal", sampling=SHORT, seed=0, cache=folder)
    r = posterior["posterior"]["correlation"].mean(("chain", "draw"))
    upper = r.values[np.triu_indices(7, 1)]
    assert upper.max() > 0.3
    found = criticise(posterior, opinions, seed=0)
    assert len(found.table) == 7 * len(opinions.modalities) + 8
    assert found.table["p"].between(0, 1).all()
    assert len(found.sentences) == int(found.table["flagged"].sum())
