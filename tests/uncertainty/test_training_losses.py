from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
import torch

from bayesaffect.uncertainty.losses import class_weights, continuous_loss, losses, total


def test_continuous_loss_is_the_gaussian_one_at_beta_zero():
    mean, log_variance, truth = torch.tensor([0.2]), torch.tensor([-1.1]), torch.tensor([0.7])
    expected = -torch.distributions.Normal(mean, torch.exp(log_variance / 2)).log_prob(truth)
    torch.testing.assert_close(continuous_loss(mean, log_variance, truth, beta=0), expected)
    weighted = continuous_loss(mean, log_variance, truth, beta=0.5)
    torch.testing.assert_close(weighted, expected * math.exp(-0.55))


def test_class_weights_by_hand():
    truth = torch.tensor([0] * 4 + [2] * 9 + [-1] * 5)
    weights = class_weights(truth, exponent=0.5)
    expected = 13 / (4 * 0.5 + 9 / 3) * torch.tensor([0.5, 0.0, 1 / 3])
    torch.testing.assert_close(weights, expected)
    assert weights[truth[truth >= 0]].mean().item() == pytest.approx(1)
    assert class_weights(truth, exponent=0.0).tolist() == [1, 0, 1]
    torch.testing.assert_close(
        class_weights(truth, exponent=1.0) * torch.tensor([4, 0, 9.0]), torch.tensor([6.5, 0, 6.5])
    )


def test_weighted_loss_is_smallest_at_weighted_probabilities():
    truth = torch.tensor([0] * 6 + [1] * 3 + [2])
    weights = class_weights(truth, exponent=0.7)
    for shift, flat in ((weights.log(), True), (torch.zeros(3), False)):
        logits = (torch.tensor([6.0, 3.0, 1.0]).log() + shift).requires_grad_()
        output = SimpleNamespace(mean={}, logits={"mood": logits.expand(10, 3)})
        losses(output, {"mood": truth}, beta=0, weights={"mood": weights})["mood"].backward()
        assert (logits.grad.abs().max() < 1e-6) == flat


def test_weights_are_of_the_whole_set_and_not_of_the_batch():
    logits = torch.tensor([[0.3, -0.2], [0.1, 0.9]])
    truth, weights = torch.tensor([1, 1]), torch.tensor([0.4, 2.5])
    output = SimpleNamespace(mean={}, logits={"mood": logits})
    plain = losses(output, {"mood": truth}, beta=0)["mood"]
    torch.testing.assert_close(losses(output, {"mood": truth}, beta=0, weights={"mood": weights})["mood"], 2.5 * plain)


def test_targets_count_the_same_over_their_known_trials():
    output = SimpleNamespace(
        mean={"valence": torch.tensor([0.1, 5.0, -0.4])},
        log_variance={"valence": torch.tensor([0.2, 9.0, -0.3])},
        logits={"mood": torch.tensor([[0.5, -1.0], [0.0, 0.0], [2.0, 1.0]])},
    )
    truth = {"valence": torch.tensor([0.3, math.nan, 0.0]), "mood": torch.tensor([-1, -1, 1])}
    found = losses(output, truth, beta=0)
    normal = torch.distributions.Normal(torch.tensor([0.1, -0.4]), torch.tensor([0.1, -0.15]).exp())
    valence, mood = -normal.log_prob(torch.tensor([0.3, 0.0])).mean(), math.log(1 + math.e)
    torch.testing.assert_close(found["valence"], valence)
    assert found["mood"].item() == pytest.approx(mood)
    assert total(found).item() == pytest.approx((valence.item() + mood) / 2)
    assert (
        total(losses(output, {"valence": truth["valence"] * math.nan, "mood": truth["mood"] * 0 - 1}, beta=0)) is None
    )
