from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from bayesaffect.encoders import Output, build
from bayesaffect.uncertainty import data, laplace
from bayesaffect.uncertainty.data import Data


class Linear(nn.Module):
    """A read-out of two inputs, without a module ``heads``: the embedding is the input itself."""

    def __init__(self, logits: bool):
        super().__init__()
        self.out = nn.Linear(2, 3 if logits else 1)
        self.logits = logits

    def forward(self, inputs, present):
        x = inputs["m"]["features"]
        out = self.out(x)
        if self.logits:
            return Output(x, {}, {}, {"class": out})
        return Output(x, {"y": out[:, 0]}, {"y": torch.full((len(x),), -2.0)}, {})


def sheet(n=200, *, logits=False, seed=0) -> Data:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, 2, generator=generator) * torch.tensor([2.0, 0.5])
    noise = torch.randn(n, generator=generator)
    truth = {"class": torch.randint(0, 3, (n,), generator=generator)} if logits else {"y": x[:, 0] + noise}
    return Data({"m": {"features": x}}, torch.ones(n, 1, dtype=torch.bool), truth, ("a",) * n)


def far(some: Data, factor: float) -> Data:
    return replace(some, inputs={"m": {"features": factor * some.inputs["m"]["features"]}})


def test_the_variance_of_a_linear_readout_is_the_closed_form():
    some, network = sheet(), Linear(logits=False)
    state = laplace.fit(network, some)
    draws = laplace.sample(network, state, some, passes=6000, seed=1)["mean/y"].double()
    x = some.inputs["m"]["features"].double()
    centred = x - x.mean(0)
    a, prior = np.exp(2.0), float(state["prior/y"])
    precision = a * centred.T @ centred + prior * torch.eye(2, dtype=torch.double)
    exact = ((centred @ precision.inverse()) * centred).sum(1) + 1 / (a * len(x) + prior)
    ratio = draws.var(0) / exact
    assert float((ratio - 1).abs().max()) < 5 * np.sqrt(2 / 6000) * 1.5


def test_classes_have_the_factored_curvature():
    some, network = sheet(logits=True), Linear(logits=True)
    state = laplace.fit(network, some)
    x = some.inputs["m"]["features"].double()
    with torch.no_grad():
        p = network.out(x.float()).double().softmax(-1)
    hessian = (torch.diag_embed(p) - p[:, :, None] * p[:, None, :]).mean(0)
    centred = x - x.mean(0)
    precision = torch.kron(centred.T @ centred, hessian) + float(state["prior/class"]) * torch.eye(6)
    where = torch.tensor([[3.0, -2.0]]).double()
    jacobian = torch.kron(where - x.mean(0), torch.eye(3).double())
    bias = (len(x) * hessian + float(state["prior/class"]) * torch.eye(3)).inverse()
    exact = jacobian @ precision.inverse() @ jacobian.T + bias
    generator = torch.Generator().manual_seed(0)
    drawn = torch.stack([laplace._outputs(state, "class", where, generator)[0] for _ in range(8000)])
    contrast = torch.tensor([1.0, -0.5, -0.5]).double()
    got, wanted = (drawn @ contrast).var(), contrast @ exact @ contrast
    assert float(got / wanted) == pytest.approx(1, abs=5 * np.sqrt(2 / 8000))


def test_variance_grows_with_the_distance_from_the_training_trials():
    some, network = sheet(), Linear(logits=False)
    state = laplace.fit(network, some)
    spread = [
        float(laplace.sample(network, state, far(some, f), passes=50, seed=0)["mean/y"].var(0).mean())
        for f in (1, 3, 9)
    ]
    assert spread[0] * 4 < spread[1] and spread[1] * 4 < spread[2]


def test_evidence_knows_signal_from_none():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(300, 10, generator=generator).double()
    noise = torch.randn(300, 1, generator=generator).double()
    signal, s2 = laplace.evidence(x, x @ torch.ones(10, 1).double() + 0.5 * noise)
    none, _ = laplace.evidence(x, noise)
    assert float(s2) == pytest.approx(0.25, rel=0.3)
    assert float(signal) <= 1 and float(none) >= 100


def test_evidence_is_the_marginal_likelihood():
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(40, 3, generator=generator).double()
    y = x[:, :1] + torch.randn(40, 1, generator=generator).double()
    x, y = x - x.mean(0), y - y.mean(0)

    def log_evidence(alpha):  # profiled over the noise variance, by the covariance itself
        k = torch.eye(40).double() + x @ x.T / alpha
        s2 = float((y.T @ torch.linalg.solve(k, y)) / 40)
        return -0.5 * (40 * np.log(s2) + float(torch.logdet(k))), s2

    best = max(laplace.PRIORS, key=lambda alpha: log_evidence(alpha)[0])
    alpha, noise = laplace.evidence(x, y)
    assert float(alpha) == best and float(noise) == pytest.approx(log_evidence(best)[1])


def test_the_direct_path_belongs_to_the_last_layer(small):
    some = data.from_trials(small).only(("physio",))
    network = build(data.describe(small), ("physio",), small.targets, dropout=0.4, seed=0)
    network.calibrate(some.inputs, some.present, some.truth)
    state = laplace.fit(network, some)
    assert state["location"].numel() == network.stem.feature + network.stem.direct
