"""The late model on the predictions of a competition: seven experts, 30 people, 240 files.

Numbers in docstrings are of ten folds by subject, seed 0, mean of valence and arousal; the folds here are others.
"""

from __future__ import annotations

import numpy as np
import pytest

from bayesaffect.evaluate import baselines, summary
from bayesaffect.fusion import Model, Sampling, criticise, fit, predict, predict_jointly
from bayesaffect.io import opinions as door
from bayesaffect.io import published
from bayesaffect.splits import grouped
from bayesaffect.types import Predictive

pytestmark = [pytest.mark.real, pytest.mark.slow, pytest.mark.timeout(1800)]
SHORT = Sampling(draws=200, tune=250, chains=2, pilot=100, attempts=1)
SCALED = Model(gains="scaled")
TARGETS = ("valence", "arousal")


@pytest.fixture(scope="module")
def epic(real_data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("epic")
    return door.read_table(published.epic(real_data("epic2023") / "across_subject.npz", folder / "epic.csv")), folder


def merged(parts):
    """One prediction of both targets."""
    mean = {n: a for p in parts for n, a in p.mean.items()}
    variance = {n: a for p in parts for n, a in p.variance.items()}
    return Predictive(tuple(t for p in parts for t in p.targets), parts[0].subject, mean, variance)


@pytest.fixture(scope="module")
def scored(epic):
    """Scores file by file, of a person's files together, and of ridge: everybody fused by fits without them."""
    opinions, folder = epic
    groups = grouped(opinions.subject.values, 6, seed=1)
    who = opinions.subject.values
    alone, together = [], []
    for members in groups:
        tested = opinions.select(np.isin(who, list(members)))
        one, all_ = [], []
        for target in TARGETS:
            posterior = fit(
                opinions, target, sampling=SHORT, seed=0, held_out=list(members), cache=folder, model=SCALED
            )
            one.append(predict(posterior, tested, target=target, seed=0, draws=400))
            all_.append(predict_jointly(posterior, tested, target=target, seed=0, draws=400))
        alone.append(merged(one))
        together.append(merged(all_))
    models = {
        "alone": Predictive.concat(alone),
        "together": Predictive.concat(together),
        "ridge": baselines.stacking(opinions, groups, seed=0),
    }
    frame = summary.score_table(models, opinions.truth, opinions.targets, seed=0, resamples=50)
    found = frame.set_index(["model", "score", "target"]).value
    print(found.loc[:, ["rmse_within", "coverage90", "crps"]].to_string())
    return found


def test_files_are_predicted_about_as_well_as_by_ridge(scored):
    """Fused 1.041 (gains shared: 1.034), ridge 1.037, the mean of the seven 1.24, the best expert with hindsight 1.091.

    Ridge is made for this score; the model is allowed one per cent, half the standard error of the difference.
    """
    assert scored["alone", "rmse_within"].mean() <= 1.055
    assert scored["alone", "rmse_within"].mean() <= 1.01 * scored["ridge", "rmse_within"].mean()


def test_a_persons_files_together_are_predicted_better_than_one_by_one(scored):
    """Together 1.024: deviations within a person carry more than levels."""
    assert scored["together", "rmse_within"].mean() <= 1.04
    assert scored["together", "rmse_within"].mean() < scored["alone", "rmse_within"].mean()
    assert scored["together", "rmse_within"].mean() < scored["ridge", "rmse_within"].mean()


def test_intervals_cover_the_files_means_and_the_distribution_is_better_than_a_gaussian(scored):
    """Of 480 files 0.896 alone and 0.877 together; two standard errors of 0.9 of 240 files are 0.04. CRPS 0.689,
    0.679 and, with Gaussian residuals, 0.697."""
    for name in ("alone", "together"):
        assert 0.86 <= scored[name, "coverage90"].mean() <= 0.94
        assert scored[name, "crps"].mean() < scored["ridge", "crps"].mean()


def test_experts_errors_are_strongly_correlated_and_answers_scale_with_people(epic):
    opinions, folder = epic
    posterior = fit(opinions, "arousal", sampling=SHORT, seed=0, cache=folder, model=SCALED)
    r = posterior["posterior"]["correlation"].mean(("chain", "draw"))
    assert r.values[np.triu_indices(7, 1)].max() > 0.3
    assert float(posterior["posterior"]["theta"].quantile(0.05)) > 0.5
    found = criticise(posterior, opinions, seed=0)
    assert len(found.table) == 7 * len(opinions.modalities) + 8
    assert found.table["p"].between(0, 1).all()
    assert len(found.sentences) == int(found.table["flagged"].sum())
