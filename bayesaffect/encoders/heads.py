"""Heads: mean and variance per continuous target, logits per categorical one; and what all networks share."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from bayesaffect.types import Target

Block = Mapping[str, Tensor]
RIDGES = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 10000.0)


class Output(NamedTuple):
    """What a network says about a batch.

    ``embedding`` (batch, feature); ``mean`` and ``log_variance`` continuous target -> (batch,), on the
    [-1, 1] scale and the logarithm of its square; ``logits`` categorical target -> (batch, level).
    """

    embedding: Tensor
    mean: dict[str, Tensor]
    log_variance: dict[str, Tensor]
    logits: dict[str, Tensor]


class Standardise(nn.Module):
    """z = clip((x - location) / scale, -limit, limit), with the moments of the training trials.

    ``shape`` is that of one trial with 1 where moments are shared, such as (band, channel, 1). Until
    `calibrate` has seen data, location is 0 and scale 1. ``common`` takes one scale for all entries, the root of
    their mean variance: what varies more between trials keeps its lead under a ridge.
    """

    def __init__(self, shape: Sequence[int], *, limit: float = 5.0, common: bool = False):
        super().__init__()
        self.limit, self.common = limit, common
        self.register_buffer("location", torch.zeros(tuple(shape)))
        self.register_buffer("scale", torch.ones(tuple(shape)))

    @torch.no_grad()
    def calibrate(self, x: Tensor, here: Tensor | None = None):
        """Take the moments of ``x`` (trial, ...), over the entries where ``here`` (broadcastable) is true."""
        if x.shape[0] == 0:
            return
        weight = torch.ones_like(x) if here is None else here.to(x.dtype).expand_as(x)
        over = (0, *(k + 1 for k, size in enumerate(self.location.shape) if size == 1 and x.shape[k + 1] != 1))
        count = weight.sum(over, keepdim=True).clamp(min=1)
        location = (x * weight).sum(over, keepdim=True) / count
        variance = (((x - location) ** 2) * weight).sum(over, keepdim=True) / count
        if self.common:
            variance = variance.mean().expand_as(variance)
        self.location.copy_(location[0])
        self.scale.copy_(torch.where(variance[0] > 1e-12, variance[0].sqrt(), torch.ones_like(variance[0])))

    def forward(self, x: Tensor) -> Tensor:
        return ((x - self.location) / self.scale).clamp(-self.limit, self.limit)


class Heads(nn.Module):
    """Linear read-outs of an embedding h and, beside it, of a direct input d that by-passes the network.

    For target t: o_t = W_t h + V_t d + b_t. Continuous: mean = o_t1 and
    log variance = c_t + 3 tanh(o_t2 / 3), so that a variance stays within exp(+-3) of exp(c_t).
    Categorical: logits = o_t. `calibrate` fits b and V as a ridge or penalised logistic regression on d;
    W starts at 0, so that training starts at that regression and learns what it leaves over.
    """

    def __init__(self, feature: int, direct: int, targets: Sequence[Target]):
        super().__init__()
        self.targets = tuple(targets)
        self.sizes = [2 if t.kind == "continuous" else len(t.levels) for t in self.targets]
        self.deep = nn.Linear(feature, sum(self.sizes))
        self.direct = nn.Linear(direct, sum(self.sizes), bias=False) if direct else None
        self.register_buffer("centre", torch.full((len(self.targets),), math.log(0.25)))
        with torch.no_grad():
            self.deep.weight.zero_()
            self.deep.bias.zero_()
            if self.direct is not None:
                self.direct.weight.zero_()

    def calibrate(self, truth: Mapping[str, Tensor], direct: Tensor | None = None):
        """Fit biases, and weights V of ``direct`` (trial, feature) where given, to the training trials.

        Minimises, per target, mean loss + ridge |V_t|^2 / 2, the loss being (y - m)^2 / 2 or the cross-entropy.
        The ridge is the largest of `RIDGES` whose squared `leave_one_out` residuals are within `one_standard_error` of
        the smallest; for a categorical target those of its indicator variables, times their mean variance, which is the
        curvature that the cross-entropy has there.
        It is per trial, not per data set: windows of one subject repeat one another, so more of them are
        not proportionally more evidence. exp(c_t) is the mean square of the left-out residuals.
        """
        places = torch.arange(sum(self.sizes)).split(self.sizes)
        for k, (target, rows) in enumerate(zip(self.targets, places, strict=True)):
            y = truth[target.name]
            known = torch.isfinite(y) if target.kind == "continuous" else y >= 0
            if known.sum() < 3:
                continue
            x = None if direct is None else direct[known].double()
            weight, bias, left = _regress(x, y[known], target)
            with torch.no_grad():
                rows = rows[:1] if target.kind == "continuous" else rows
                self.deep.bias[rows] = bias.to(self.deep.bias)
                if left is not None:
                    self.centre[k] = left
                if weight is not None:
                    self.direct.weight[rows] = weight.to(self.direct.weight)

    def forward(self, embedding: Tensor, direct: Tensor | None = None) -> Output:
        out = self.deep(embedding)
        if self.direct is not None:
            out = out + self.direct(direct)
        mean, log_variance, logits = {}, {}, {}
        for k, (target, part) in enumerate(zip(self.targets, out.split(self.sizes, dim=1), strict=True)):
            if target.kind == "continuous":
                mean[target.name] = part[:, 0]
                log_variance[target.name] = self.centre[k] + 3 * torch.tanh(part[:, 1] / 3)
            else:
                logits[target.name] = part
        return Output(embedding, mean, log_variance, logits)


def leave_one_out(x: Tensor, y: Tensor, ridges: Sequence[float]) -> Tensor:
    """Residuals (ridge, trial, out) of ridge regressions of ``y`` (trial, out) on ``x``, each trial left out in turn.

    e_i = (y_i - m_i) / (1 - H_ii), H = 1 / n + X (X^T X + n ridge)^-1 X^T with centred X: exact, without
    refitting (Allen 1974), the penalty n ridge |w|^2 and a free intercept being kept as they are.
    """
    n = len(x)
    left, singular, _ = torch.linalg.svd(x - x.mean(0), full_matrices=False)
    centred = y - y.mean(0)
    found = []
    for ridge in ridges:
        shrink = singular**2 / (singular**2 + n * ridge)
        leverage = 1 / n + left.square() @ shrink
        found.append(
            (centred - left @ (shrink[:, None] * (left.T @ centred))) / (1 - leverage).clamp(min=1e-6)[:, None]
        )
    return torch.stack(found)


def one_standard_error(error: Tensor) -> int:
    """Row of ``error`` (ridge, trial), ridges ascending: the last whose mean exceeds the smallest by at most the
    standard error of their paired difference (after Breiman et al. 1984). Trials of one subject resemble one another,
    so that leaving out single trials flatters a small ridge on new subjects.
    """
    excess = error - error[error.mean(1).argmin()]
    allowed = excess.mean(1) <= excess.std(1) / error.shape[1] ** 0.5
    return int(torch.nonzero(allowed).max())


def _regress(x: Tensor | None, y: Tensor, target: Target) -> tuple[Tensor | None, Tensor, Tensor | None]:
    """Weights (out, feature), biases (out,), and log variance of the left-out residuals of a continuous target."""
    continuous = target.kind == "continuous"
    wide = y.double()[:, None] if continuous else functional.one_hot(y, len(target.levels)).double()
    bias = wide.mean(0) if continuous else ((wide.sum(0) + 1) / (len(y) + len(target.levels))).log()
    if x is None:
        return None, bias, wide.var().clamp(min=1e-3).log() if continuous else None
    error = leave_one_out(x, wide, RIDGES).square().sum(2)
    chosen = one_standard_error(error)
    ridge = RIDGES[chosen]
    if continuous:
        centred = x - x.mean(0)
        gram = centred.T @ centred / len(x) + ridge * torch.eye(x.shape[1], dtype=x.dtype)
        weight = torch.linalg.solve(gram, centred.T @ wide / len(x)).T
        return weight, bias - weight @ x.mean(0), error[chosen].mean().clamp(min=1e-3).log()
    return *_logistic(x, y, bias, ridge * wide.var(0).mean().item()), None


def _logistic(x: Tensor, y: Tensor, bias: Tensor, ridge: float) -> tuple[Tensor, Tensor]:
    """Weights (level, feature) and biases (level,) of multinomial logistic regression with a quadratic penalty."""
    with torch.enable_grad():
        bias = bias.clone().requires_grad_()
        weight = torch.zeros(bias.numel(), x.shape[1], dtype=x.dtype, requires_grad=True)
        search = torch.optim.LBFGS([weight, bias], max_iter=100, line_search_fn="strong_wolfe", tolerance_grad=1e-5)

        def cost() -> Tensor:
            search.zero_grad()
            loss = functional.cross_entropy(x @ weight.T + bias, y) + ridge * weight.square().sum() / 2
            loss.backward()
            return loss

        search.step(cost)
    return weight.detach(), bias.detach()


class Single(nn.Module):
    """The network of one modality: a stem (block -> embedding, direct input) and the heads."""

    def __init__(self, stem: nn.Module, modality: str, targets: Sequence[Target]):
        super().__init__()
        self.modality = modality
        self.stem = stem
        self.heads = Heads(stem.feature, stem.direct, targets)

    def prepare(self, inputs: Mapping[str, Block]) -> dict[str, Block]:
        """Fixed reduction of the inputs (pooling), done once before a loop; doing it twice changes nothing."""
        return {self.modality: self.stem.prepare(inputs[self.modality])}

    def calibrate(self, inputs: Mapping[str, Block], present: Tensor, truth: Mapping[str, Tensor]):
        """Take input moments and the prior from the training trials."""
        here = present[:, 0]
        block = {name: value[here] for name, value in self.stem.prepare(inputs[self.modality]).items()}
        self.stem.calibrate(block)
        direct = self.stem.summary(block) if self.stem.direct else None
        self.heads.calibrate({name: value[here] for name, value in truth.items()}, direct)

    def forward(self, inputs: Mapping[str, Block], present: Tensor) -> Output:
        return self.heads(*self.stem(self.stem.prepare(inputs[self.modality])))
