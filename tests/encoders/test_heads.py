from __future__ import annotations

import torch

from bayesaffect.encoders.heads import Heads, Standardise, leave_one_out
from bayesaffect.types import Target

TARGETS = (Target("valence", bounds=(1, 9)), Target("emotion", levels=tuple("abcd")))


def test_heads_start_at_the_regression_on_the_direct_input():
    generator = torch.Generator().manual_seed(0)
    direct = torch.randn(500, 3, generator=generator)
    valence = 0.3 * direct[:, 0] - 0.2 * direct[:, 1] + 0.1 + 0.05 * torch.randn(500, generator=generator)
    truth = {"valence": valence, "emotion": (direct[:, 2] > 0).long() * 3}
    heads = Heads(4, 3, TARGETS)
    heads.calibrate(truth, direct)
    output = heads(torch.zeros(500, 4), direct)
    centred = direct - direct.mean(0)
    ridge = torch.linalg.solve(centred.T @ centred / 500 + 0.1 * torch.eye(3), centred.T @ valence / 500)
    torch.testing.assert_close(heads.direct.weight[0].detach(), ridge, atol=1e-4, rtol=1e-4)
    assert (output.logits["emotion"].argmax(1) == truth["emotion"]).float().mean() > 0.95
    left = leave_one_out(direct, valence[:, None], [0.1]).square().mean().log()
    torch.testing.assert_close(output.log_variance["valence"], left.expand(500), atol=1e-3, rtol=1e-3)


def test_leave_one_out_equals_refitting():
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(12, 20, generator=generator).double(), torch.randn(12, 2, generator=generator).double()
    found = leave_one_out(x, y, [0.7])[0]
    for i in (0, 7):
        keep = torch.arange(12) != i
        middle, centre = x[keep].mean(0), y[keep].mean(0)
        gram = (x[keep] - middle).T @ (x[keep] - middle) + 12 * 0.7 * torch.eye(20).double()
        weight = torch.linalg.solve(gram, (x[keep] - middle).T @ (y[keep] - centre))
        torch.testing.assert_close(found[i], y[i] - centre - (x[i] - middle) @ weight)


def test_more_features_than_trials_fall_back_to_the_prior():
    generator = torch.Generator().manual_seed(0)
    heads = Heads(4, 80, TARGETS)
    truth = {
        "valence": torch.randn(40, generator=generator),
        "emotion": torch.randint(0, 4, (40,), generator=generator),
    }
    heads.calibrate(truth, torch.randn(40, 80, generator=generator))
    output = heads(torch.zeros(40, 4), torch.randn(40, 80, generator=generator))
    assert output.mean["valence"].std() < 0.35
    assert abs(output.log_variance["valence"].exp().mean() - 1) < 0.5


def test_log_variance_is_bounded():
    heads = Heads(2, 0, TARGETS[:1])
    torch.nn.init.constant_(heads.deep.weight, 100.0)
    far = heads(torch.tensor([[1.0, 1.0], [-1.0, -1.0]])).log_variance["valence"]
    torch.testing.assert_close(far, heads.centre + torch.tensor([3.0, -3.0]))


def test_standardise_uses_the_marked_entries_only():
    x = torch.tensor([[1.0, 5.0], [3.0, 7.0], [999.0, 9.0]])
    layer = Standardise((2,))
    layer.calibrate(x, torch.tensor([[True, True], [True, True], [False, True]]))
    torch.testing.assert_close(layer.location, torch.tensor([2.0, 7.0]))
    torch.testing.assert_close(layer.scale, torch.tensor([1.0, (8 / 3) ** 0.5]))
    assert layer(x)[2, 0] == layer.limit
