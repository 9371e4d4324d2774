"""Crowd votes with mean intensities as embeddings, fused by the hybrid: new actors, and one modality lost."""

from __future__ import annotations

import numpy as np
import pytest

from bayesaffect import fusion
from bayesaffect.evaluate import baselines
from bayesaffect.fusion.idata import az
from bayesaffect.io import opinions as door
from bayesaffect.io import published
from bayesaffect.splits import grouped

pytestmark = [pytest.mark.real, pytest.mark.slow, pytest.mark.statistical]
GROUPS = (0, 5)


def nll(p, label):
    return -np.log(p[np.arange(label.size), label]).mean()


@pytest.fixture(scope="module")
def tested(real_data, tmp_path_factory):
    """The votes, groups of actors, and a fit without each of two groups."""
    folder = tmp_path_factory.mktemp("hybrid")
    votes = door.read_table(published.crema_d(real_data("crema_d"), folder / "votes.csv"))
    groups = grouped(votes.subject.values, 10, seed=0)
    sampling = fusion.Sampling(draws=200, tune=250, chains=2, pilot=80, attempts=1, target_accept=0.8)
    fits = {
        k: fusion.fit_hybrid(votes, "emotion", seed=k, held_out=groups[k], sampling=sampling, cache=folder)
        for k in GROUPS
    }
    return votes, groups, fits


def predicted(tested, *only):
    """Probabilities and labels of the clips of the actors left out; those of stacking the same votes beside them."""
    votes, groups, fits = tested
    seen = votes.only(list(only)) if only else votes
    rival = baselines.stacking(seen, groups, seed=0).probability("emotion")
    found, stacked, label = [], [], []
    for k, posterior in fits.items():
        some = seen.select(votes.subject.isin(list(groups[k])).values)
        found.append(fusion.predict(posterior, some, target="emotion", seed=1, draws=400).probability("emotion").values)
        stacked.append(rival.sel(trial=some.present["trial"].values).values)
        label.append(some.truth["emotion"].values.astype(int))
    return np.concatenate(found), np.concatenate(stacked), np.concatenate(label)


def test_new_actors(tested):
    p, stacked, label = predicted(tested)
    assert nll(p, label) < nll(stacked, label)
    assert (p.argmax(1) == label).mean() > (stacked.argmax(1) == label).mean() - 0.01


@pytest.mark.parametrize("name", ["voice", "face"])
def test_one_modality_lost_costs_nothing_beside_a_model_of_the_other(tested, name):
    p, stacked, label = predicted(tested, name)
    assert nll(p, label) < 1.005 * nll(stacked, label)


def test_chains_agree(tested):
    """Two chains of 200: R-hat cannot pass the gate, but a parameterisation that does not mix is far off."""
    for posterior in tested[2].values():
        names = ["w", "alpha", "matrix", "takeover", "head_weight", "head_sd", "delta", "rho", "sd_delta", "lambda"]
        rhat = az.rhat(posterior, var_names=names)
        assert max(float(rhat[n].max()) for n in names) < 1.15
        assert not posterior["sample_stats"]["diverging"].any()
