"""A Gaussian approximation of the posterior by Pyro's stochastic variational inference: to explore, not to report."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable

import numpy as np
import pyro
import pyro.distributions as dist
import torch
from pyro.infer import SVI, Trace_ELBO
from pyro.infer.autoguide import AutoLowRankMultivariateNormal, AutoMultivariateNormal, init_to_value
from pyro.optim import ClippedAdam
from torch import Tensor
from torch.distributions import constraints

from bayesaffect.fusion.engine import pareto
from bayesaffect.fusion.settings import Sampling

log = logging.getLogger(__name__)
PARTICLES = 16
STEPS = 5
FULL_RANK = 400
RATE, LAST = 0.03, 0.01
NOWHERE = -1e12

Evaluate = Callable[[np.ndarray], tuple[float, np.ndarray]]


class _Density(torch.autograd.Function):
    """The log density of rows of z as torch sees it: the gradient comes from the function that made the value."""

    @staticmethod
    def forward(ctx, z: Tensor, evaluate: Evaluate) -> Tensor:
        values, gradients = _rows(evaluate, z.detach().reshape(-1, z.shape[-1]).numpy())
        ctx.save_for_backward(torch.from_numpy(gradients).reshape(z.shape))
        return torch.from_numpy(values).reshape(z.shape[:-1])

    @staticmethod
    def backward(ctx, upstream: Tensor):
        (gradient,) = ctx.saved_tensors
        return upstream[..., None] * gradient, None


def _rows(evaluate: Evaluate, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Values (n,) and gradients (n, ndim); where the density overflows, very little and no slope."""
    values, gradients = np.full(len(z), NOWHERE), np.zeros_like(z)
    for i, row in enumerate(z):
        try:
            value, gradient = evaluate(row)
        except FloatingPointError:
            continue
        if np.isfinite(value) and np.isfinite(gradient).all():
            values[i], gradients[i] = value, gradient
    return values, gradients


def run(
    evaluate: Evaluate, first: np.ndarray, sampling: Sampling, *, seed: int, advance: Callable[[int], None]
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Draws z (chain, draw, ndim) from q = argmin KL(q || p) over Gaussians on the real line, and their weights.

    q is Pyro's ``AutoMultivariateNormal``, or ``AutoLowRankMultivariateNormal`` above 400 dimensions, fitted by 5 x
    ``tune`` steps of ClippedAdam on an ELBO of 16 particles, its rate falling from 0.03 to 0.0003. ``first`` (ndim,) is
    where its mean starts.

    Returns
    -------
    The draws, all from the one q, and ``lp`` = log p(z) and ``log_weight`` = log p(z) - log q(z), (chain, draw) each.
    The weights' `pareto.khat` says whether q can be told from p (Yao et al. 2018); it is logged as a warning.
    """
    ndim, steps = first.size, STEPS * sampling.tune
    start = torch.from_numpy(first)

    def model():
        z = pyro.sample("z", dist.ImproperUniform(constraints.real_vector, (), (ndim,)))
        pyro.factor("density", _Density.apply(z, evaluate))

    family = AutoMultivariateNormal if ndim <= FULL_RANK else AutoLowRankMultivariateNormal
    share = sampling.draws * sampling.chains / steps
    with torch.random.fork_rng(devices=[]), pyro.validation_enabled(False), pyro.get_param_store().scope():
        torch.manual_seed(np.random.SeedSequence([seed, 3]).generate_state(1)[0].item())
        guide = family(model, init_loc_fn=init_to_value(values={"z": start}), init_scale=0.1)
        optimiser = ClippedAdam({"lr": RATE, "lrd": LAST ** (1 / steps), "betas": (0.9, 0.99)})
        elbo = Trace_ELBO(num_particles=PARTICLES, vectorize_particles=True, max_plate_nesting=0)
        fitting = SVI(model, guide, optimiser, elbo)
        for step in range(steps):
            if not math.isfinite(fitting.step()):
                raise FloatingPointError("the variational fit met a bound that is not finite")
            advance(math.floor((step + 1) * (1 + share)) - math.floor(step * (1 + share)))
        with torch.no_grad():
            posterior = guide.get_posterior()
            z = posterior.sample((sampling.chains * sampling.draws,))
            log_q = posterior.log_prob(z).numpy()
    z = z.numpy()
    values, _ = _rows(evaluate, z)
    shape = (sampling.chains, sampling.draws)
    weight = values - log_q
    log.warning("%s", sentence(pareto.khat(weight)))
    return z.reshape(*shape, ndim), {"lp": values.reshape(shape), "log_weight": weight.reshape(shape)}


def sentence(khat: float) -> str:
    """What there is to say about a Gaussian approximation whose weights have this k-hat."""
    verdict = (
        f"below {pareto.GOOD}: good enough to look around in, not to report"
        if khat < pareto.GOOD
        else f"not below {pareto.GOOD}: it misses the posterior, most of all how wide it is"
    )
    return (
        "The draws are from a Gaussian approximation (svi), not from the posterior; "
        f"PSIS k-hat is {khat:.2f}, {verdict}."
    )
