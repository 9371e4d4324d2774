"""Evidential fusion, a rival that learns how sure to be: evidence of each view, joined by rule instead of by inference.

Classes: trusted multi-view classification (Han et al. 2021). A view's network gives evidence e_k >= 0 for each of K
classes, the Dirichlet alpha = e + 1, and with S = sum_k alpha_k the opinion b_k = e_k / S, u = K / S; opinions of
views are joined by Dempster's rule. Ratings: mixture of normal-inverse-gammas (Ma et al. 2021), joined by summation.
A view that is missing gives no evidence and changes nothing.

`classify` and `regress` have the form of the learners of `bayesaffect.evaluate.baselines`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from sklearn.model_selection import GroupKFold
from torch import Tensor
from torch.nn import functional

STEPS, PATIENCE, BLIND = 300, 40, 40
RATE, MOMENTUM = 0.2, 0.9
RISK = 0.01
FLOOR = 1e-3
LIMIT = 5.0


class NIG(NamedTuple):
    """A rating's normal-inverse-gamma: y ~ N(mu, s^2), mu ~ N(mean, s^2 / count), s^2 ~ InvGamma(alpha, beta)."""

    mean: Tensor
    count: Tensor
    alpha: Tensor
    beta: Tensor

    def variance(self) -> Tensor:
        """Variance of a rating, E[s^2] + Var[mu] = beta (1 + count) / (count (alpha - 1))."""
        return self.beta * (1 + self.count) / (self.count * (self.alpha - 1))


def dempster(evidence: Tensor, present: Tensor) -> Tensor:
    """Evidence (..., class) of the views of ``evidence`` (view, ..., class) that are ``present`` (view, ...) together.

    Dempster's rule on opinions (b, u) and (b', u') with the conflict C = sum_{i != j} b_i b'_j is

        b''_k = (b_k b'_k + b_k u' + b'_k u) / (1 - C),   u'' = u u' / (1 - C)

    (Han et al. 2021). As e_k / K = b_k / u, this is 1 + e''_k / K = (1 + e_k / K) (1 + e'_k / K) for every class: order
    does not matter, and the vacuous opinion e = 0 is neutral.
    """
    classes = evidence.shape[-1]
    logs = torch.log1p(evidence / classes) * present[..., None]
    return classes * torch.expm1(logs.sum(0))


def summation(parts: NIG, present: Tensor) -> NIG:
    """The NIG sum of the views of ``parts`` (view, ...) that are ``present``, at least one (Ma et al. 2021, eq. 9).

    count = sum_m count_m,   mean = sum_m count_m mean_m / count,   alpha = sum_m alpha_m + (M - 1) / 2,
    beta = sum_m beta_m + sum_m count_m (mean_m - mean)^2 / 2

    over M views: beta grows where views contradict one another.
    """
    weight = parts.count * present
    count = weight.sum(0)
    mean = (weight * parts.mean).sum(0) / count
    alpha = (parts.alpha * present).sum(0) + (present.sum(0) - 1) / 2
    beta = (parts.beta * present).sum(0) + 0.5 * (weight * (parts.mean - mean) ** 2).sum(0)
    return NIG(mean, count, alpha, beta)


def dirichlet_loss(evidence: Tensor, label: Tensor, *, annealing: float) -> Tensor:
    """Loss (...) of ``evidence`` (..., class) where ``label`` (...) is true (Sensoy et al. 2018; Han et al. 2021).

    With psi the digamma function and a' = alpha except for the true class, where it is 1,

        psi(S) - psi(alpha_y) + annealing KL[Dir(a') || Dir(1)]

    the expected cross-entropy, and what keeps evidence for wrong classes away. With S' = sum_k a'_k the divergence is
    log Gamma(S') - log Gamma(K) - sum_k log Gamma(a'_k) + sum_k (a'_k - 1) (psi(a'_k) - psi(S')).
    """
    classes, alpha = evidence.shape[-1], evidence + 1
    at = label[..., None].expand(*evidence.shape[:-1], 1)
    fit = torch.digamma(alpha.sum(-1)) - torch.digamma(alpha.gather(-1, at))[..., 0]
    wrong = alpha.scatter(-1, at, 1.0)
    total = wrong.sum(-1)
    divergence = torch.lgamma(total) - math.lgamma(classes) - torch.lgamma(wrong).sum(-1)
    divergence = divergence + ((wrong - 1) * (torch.digamma(wrong) - torch.digamma(total)[..., None])).sum(-1)
    return fit + annealing * divergence


def nig_loss(found: NIG, rating: Tensor, *, risk: float = RISK) -> Tensor:
    """Student-t negative log-likelihood of ``rating`` plus ``risk`` |y - mean| (2 count + alpha) (Amini et al. 2020).

    With W = 2 beta (1 + count): log(pi / count) / 2 - alpha log W + (alpha + 1/2) log(count (y - mean)^2 + W)
    + log Gamma(alpha) - log Gamma(alpha + 1/2), the density of Student-t with 2 alpha degrees of freedom.
    """
    mean, count, alpha, beta = found
    w, error = 2 * beta * (1 + count), rating - mean
    nll = 0.5 * torch.log(math.pi / count) - alpha * torch.log(w) + (alpha + 0.5) * torch.log(count * error**2 + w)
    return nll + torch.lgamma(alpha) - torch.lgamma(alpha + 0.5) + risk * error.abs() * (2 * count + alpha)


def classify(x, y, who, new, levels: int, *, views: Sequence[slice], seed: int) -> np.ndarray:
    """Expected probabilities alpha_k / S (new trial, level) of trusted multi-view classification.

    Parameters
    ----------
    x, new : features (trial, feature) of training and of new trials; a view without any finite number is missing.
    y, who : label and subject of the training trials.
    views : the columns of each view.
    seed : of the inner groups of subjects.

    One layer per view with softplus evidence, which starts at what the class shares say; the losses of all views and of
    their combination are added, with an annealing that rises to 1 over 300 steps. Plain gradient descent with momentum
    on all trials at once: it moves along what many trials agree on first, so that stopping early is a ridge (Adam,
    which moves every weight alike, learned noise first). The number of steps is where the log loss of three inner
    groups of held-out subjects is smallest; with fewer than three subjects it is 40.
    """
    label = torch.as_tensor(np.concatenate([y, np.zeros(len(new), int)]))
    share = (np.bincount(y, minlength=levels) + 1) / (y.size + levels)
    start = torch.as_tensor(np.log(np.expm1(levels * share)), dtype=torch.float32)

    def step(outputs: Tensor, present: Tensor, annealing: float) -> tuple[Tensor, Tensor, Tensor]:
        evidence = functional.softplus(outputs)
        joint = dempster(evidence, present)
        each = (dirichlet_loss(evidence, label, annealing=annealing) * present).sum(0)
        prob = (joint + 1) / (joint.sum(-1, keepdim=True) + levels)
        score = -torch.log(prob.gather(-1, label[:, None].expand(*prob.shape[:-1], 1)))[..., 0]
        return each + dirichlet_loss(joint, label, annealing=annealing), score, prob

    return _trained(x, who, new, step, views=views, start=start, seed=seed)


def regress(x, y, who, new, *, views: Sequence[slice], seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance (new trial,) of a mixture of normal-inverse-gammas; parameters and training as `classify`.

    Training starts where all views together say the mean and the variance of the training ratings. The Student-t
    density of a rating is passed on by its two moments.
    """
    centre, scale = float(y.mean()), max(float(y.std()), FLOOR)
    rating = torch.as_tensor(np.concatenate([(y - centre) / scale, np.zeros(len(new))]), dtype=torch.float32)

    def step(outputs: Tensor, present: Tensor, annealing: float) -> tuple[Tensor, Tensor, Tensor]:
        mean, *rest = outputs.unbind(-1)
        count, alpha, beta = (functional.softplus(each) + FLOOR for each in rest)
        parts = NIG(mean, count, alpha + 1, beta)
        joint = summation(parts, present)
        variance = joint.variance()
        score = 0.5 * ((rating - joint.mean) ** 2 / variance + torch.log(variance))
        return (
            (nig_loss(parts, rating) * present).sum(0) + nig_loss(joint, rating),
            score,
            torch.stack([joint.mean, variance], -1),
        )

    found = _trained(x, who, new, step, views=views, start=_ignorance(len(views)), seed=seed)
    return centre + scale * found[:, 0], scale**2 * found[:, 1]


def _ignorance(views: int) -> Tensor:
    """Outputs of one of so many views whose sum, on standardised ratings, has mean 0 and variance 1."""
    count = alpha = math.log(2) + FLOOR
    degrees = views * (alpha + 1) + (views - 1) / 2 - 1
    beta = count * degrees / (1 + views * count)
    return torch.tensor([0.0, 0.0, 0.0, math.log(math.expm1(beta - FLOOR))])


def _trained(x, who, new, step: Callable, *, views: Sequence[slice], start: Tensor, seed: int) -> np.ndarray:
    """What ``step`` predicts of the new trials after the best number of steps (new trial, ...).

    The fit to all training trials and those without each of three inner groups run side by side (leading dim ``fit``).
    """
    inputs, present = _inputs(np.concatenate([x, new]), len(x), views)
    inner = _inner(who, seed)
    learned = torch.zeros(1 + len(inner), len(x) + len(new))
    learned[:, : len(x)] = 1
    for k, held_out in enumerate(inner):
        learned[k + 1, held_out] = 0
    weight = learned / learned.sum(1, keepdim=True)
    layers = [_layer(view.shape[1], start, len(learned)) for view in inputs]
    optimiser = torch.optim.SGD([p for layer in layers for p in layer], lr=RATE, momentum=MOMENTUM, nesterov=True)
    best, since, kept = math.inf, 0, None
    for done in range(STEPS if inner else BLIND):
        outputs = torch.stack([view @ slope + offset for view, (slope, offset) in zip(inputs, layers, strict=True)])
        loss, score, predicted = step(outputs, present, done / STEPS)
        with torch.no_grad():
            reached = sum(score[k + 1, rows].sum().item() for k, rows in enumerate(inner)) if inner else -done
            if reached < best:
                best, since, kept = reached, done, predicted[0, len(x) :].clone()
        if done - since > PATIENCE:
            break
        optimiser.zero_grad()
        (loss * weight).sum().backward()
        optimiser.step()
    return kept.numpy().astype(float)


def _inputs(x: np.ndarray, trained: int, views: Sequence[slice]) -> tuple[list[Tensor], Tensor]:
    """Each view standardised by its training trials, gaps at their mean; and which are there (view, 1, trial)."""
    inputs, present = [], []
    for columns in views:
        view = x[:, columns]
        known = np.isfinite(view)
        count = np.maximum(known[:trained].sum(0), 1)
        centre = np.where(known, view, 0)[:trained].sum(0) / count
        spread = np.sqrt((np.where(known, view - centre, 0)[:trained] ** 2).sum(0) / count)
        scaled = np.where(known, view - centre, 0) / np.where(spread > 1e-9, spread, 1)
        inputs.append(torch.as_tensor(np.clip(scaled, -LIMIT, LIMIT), dtype=torch.float32))
        present.append(torch.as_tensor(known.any(1), dtype=torch.float32))
    return inputs, torch.stack(present)[:, None]


def _inner(who: np.ndarray, seed: int) -> list[np.ndarray]:
    """Positions of each of three groups of subjects; none with fewer than three subjects."""
    if np.unique(who).size < 3:
        return []
    return [test for _, test in GroupKFold(3, shuffle=True, random_state=seed).split(who, groups=who)]


def _layer(features: int, start: Tensor, fits: int) -> tuple[Tensor, Tensor]:
    """Slope (fit, feature, output) and offset (fit, 1, output) of one view, which starts at ``start`` for any input."""
    slope = torch.zeros(fits, features, start.numel(), requires_grad=True)
    return slope, start.repeat(fits, 1, 1).requires_grad_()
