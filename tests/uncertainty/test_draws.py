from __future__ import annotations

import numpy as np
import pytest
import torch

from bayesaffect.encoders import build
from bayesaffect.errors import InputError
from bayesaffect.uncertainty import data, dropout
from bayesaffect.uncertainty.draws import METHODS, fit, sample
from bayesaffect.uncertainty.ensemble import METHODS as NAMES
from bayesaffect.uncertainty.ensemble import Ensemble


@pytest.fixture(scope="module")
def trained(trials):
    """A calibrated network of one modality and its data."""
    some = data.from_trials(trials).only(("physio",))
    network = build(data.describe(trials), ("physio",), trials.targets, dropout=0.4, seed=0)
    network.calibrate(some.inputs, some.present, some.truth)
    return network.eval(), some


def test_every_method_has_its_functions():
    assert set(METHODS) == set(NAMES)


@pytest.mark.parametrize("method", NAMES)
def test_draws_have_one_form_and_a_seed_repeats_them(trained, method):
    network, some = trained
    ensemble = Ensemble(2, 5, method=method)
    state = fit(network, some, ensemble=ensemble)
    one, two = (sample(network, state, some, ensemble=ensemble, seed=3) for _ in range(2))
    assert one["mean/valence"].shape == one["variance/valence"].shape == (ensemble.passes, len(some))
    assert one["log_prob/mood"].shape == (ensemble.passes, len(some), 3)
    torch.testing.assert_close(one["log_prob/mood"].exp().sum(-1), torch.ones(ensemble.passes, len(some)))
    assert all(torch.equal(one[name], two[name]) for name in one)
    if method == "both":
        assert torch.equal(one["mean/valence"], dropout.sample(network, some, passes=5, seed=3)["mean/valence"])


def test_what_a_method_leaves_unused_is_one():
    assert Ensemble(4, 10, method="ensemble") == Ensemble(4, 1, method="ensemble")
    assert Ensemble(4, 10, method="dropout").members == 1
    with pytest.raises(InputError, match="no method 'swag'"):
        Ensemble(method="swag")


def test_dropout_can_be_left_off_for_several_passes(trained):
    network, some = trained
    drawn = dropout.sample(network, some, passes=2, seed=0, on=False)["mean/valence"]
    np.testing.assert_array_equal(drawn[0], drawn[1])
