"""A Laplace approximation of the last layer: its weights as a Gaussian given the training trials."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from bayesaffect.uncertainty import dropout
from bayesaffect.uncertainty.data import Data

PRIORS = tuple(10.0**k for k in range(-2, 7))


def fit(network: nn.Module, training_data: Data) -> dict[str, Tensor]:
    """Posterior of the read-outs' weights on psi = (embedding, direct input), the network's own being its mean.

    Continuous target: the log-likelihood's curvature is a sum_i psi_i psi_i^T with a = mean of 1 / v_i, exact for a
    linear read-out with that noise. Categorical: Gauss-Newton curvature of the softmax, its factors averaged apart
    (sum_i psi_i psi_i^T) x H, H = mean_i (diag p_i - p_i p_i^T) (Ritter et al. 2018; Daxberger et al. 2021).
    With the eigenvalues s_j of sum psi psi^T (psi centred) and h_k of H, a weight along eigenvectors j, k has the
    variance 1 / (h_k s_j + lambda), and 1 / lambda in directions in which the training trials do not vary:
    the variance of an output grows with the distance from them. The prior precision lambda maximises the evidence of
    the linear model of each target (`evidence`).

    Returns
    -------
    ``location`` (feature,), ``basis`` (feature, rank), ``values`` (rank,), ``count`` (), and per target
    ``curvature/<t>`` (out,), ``rotation/<t>`` (out, out) and ``prior/<t>`` ().
    """
    features, output = _features(network, training_data)
    location = features.mean(0)
    _, singular, basis = torch.linalg.svd(features - location, full_matrices=False)
    keep = singular > 1e-6 * singular.max().clamp(min=1e-12)
    values, basis = singular[keep] ** 2, basis[keep].T
    state = {"location": location, "basis": basis, "values": values, "count": torch.tensor(float(len(features)))}
    scores = (features - location) @ basis
    for name, log_variance in output["log_variance"].items():
        known = torch.isfinite(training_data.truth[name])
        curvature, y = torch.exp(-log_variance.double()).mean()[None], training_data.truth[name].double()[known, None]
        alpha, noise = evidence(scores[known], y)
        state |= {f"curvature/{name}": curvature, f"rotation/{name}": torch.ones(1, 1), f"prior/{name}": alpha / noise}
    for name, logits in output["logits"].items():
        known = training_data.truth[name] >= 0
        p = logits.double().softmax(-1)
        hessian = (torch.diag_embed(p) - p[:, :, None] * p[:, None, :]).mean(0)
        curvature, rotation = torch.linalg.eigh(hessian)
        y = functional.one_hot(training_data.truth[name][known], p.shape[1]).double()
        alpha, _ = evidence(scores[known], y)
        mean = hessian.diagonal().mean()  # the indicators' noise, seen from the logits
        state |= {f"curvature/{name}": curvature.clamp(min=0), f"rotation/{name}": rotation}
        state[f"prior/{name}"] = (alpha * mean).clamp(min=1e-3)
    return {name: tensor.float().contiguous() for name, tensor in state.items()}


def evidence(scores: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """The ratio alpha = noise variance / weight variance with the largest evidence, and that noise variance.

    Linear model y = psi w + e, columns of y alike: log p(y) = -sum_columns [n log s2 + sum_j log(1 + l_j / alpha)] / 2
    up to a constant, l_j eigenvalues of psi^T psi and s2 = y^T (I + psi psi^T / alpha)^-1 y / n (MacKay 1992).
    ``scores`` (trial, rank), ``y`` (trial, out); both are centred here. alpha is one of `PRIORS`.
    """
    n = max(len(y), 1)
    y = y - y.mean(0) if len(y) else y
    left, singular, _ = torch.linalg.svd(scores - scores.mean(0), full_matrices=False) if len(y) else (None,) * 3
    best, chosen = -torch.inf, (torch.tensor(PRIORS[-1]).double(), torch.tensor(1.0).double())
    if not len(y):
        return chosen
    within = (left.T @ y) ** 2
    for alpha in PRIORS:
        shrink = 1 / (1 + singular**2 / alpha)
        noise = ((y**2).sum(0) - ((1 - shrink)[:, None] * within).sum(0)).clamp(min=1e-9) / n
        score = float(-0.5 * (n * noise.log() + torch.log1p(singular**2 / alpha).sum()).sum())
        if score > best:
            best, chosen = score, (torch.tensor(alpha).double(), noise.mean())
    return chosen


def sample(
    network: nn.Module, state: Mapping[str, Tensor], data: Data, *, passes: int, seed: int, device: str = "cpu"
) -> dict[str, Tensor]:
    """Draws as `dropout.sample` returns them: without dropout, each with weights of its own for all trials."""
    draws = dropout.sample(network, data, passes=1, seed=seed, on=False, device=device)
    features = _features(network, data)[0].cpu()
    generator = torch.Generator().manual_seed(seed)
    for name in [n for n in draws if n != "embedding"]:
        draws[name] = draws[name].repeat(passes, *[1] * (draws[name].ndim - 1))
    for name in [key.removeprefix("prior/") for key in state if key.startswith("prior/")]:
        added = torch.stack([_outputs(state, name, features, generator) for _ in range(passes)])
        if f"mean/{name}" in draws:
            draws[f"mean/{name}"] = draws[f"mean/{name}"] + added[..., 0].float()
        else:
            draws[f"log_prob/{name}"] = (draws[f"log_prob/{name}"] + added.float()).log_softmax(-1)
    return draws


def _outputs(state: Mapping[str, Tensor], name: str, features: Tensor, generator: torch.Generator) -> Tensor:
    """Change of a target's outputs (trial, out) under one sample of its weights and biases."""
    state = {key: value.double() for key, value in state.items()}
    basis, prior, curvature = state["basis"], state[f"prior/{name}"], state[f"curvature/{name}"]
    noise = torch.randn(basis.shape[0], curvature.numel(), generator=generator, dtype=torch.double)
    along = basis.T @ noise
    rest = (noise - basis @ along) / prior.sqrt()
    weights = rest + basis @ (along / (state["values"][:, None] * curvature + prior).sqrt())
    shift = torch.randn(curvature.numel(), generator=generator, dtype=torch.double)
    shift = shift / (state["count"] * curvature + prior).sqrt()
    return ((features - state["location"]) @ weights + shift) @ state[f"rotation/{name}"].T


def _features(network: nn.Module, data: Data) -> tuple[Tensor, dict[str, dict[str, Tensor]]]:
    """psi (trial, feature) in double precision and the outputs of the network without dropout.

    psi is what a module ``heads`` of the network is given; a network without one is taken by its embedding.
    """
    seen: list[Tensor] = []

    def note(module, arguments):
        seen.append(torch.cat([a for a in arguments if isinstance(a, Tensor)], dim=1).double().cpu())

    heads = getattr(network, "heads", None)
    hook = heads.register_forward_pre_hook(note) if isinstance(heads, nn.Module) else None
    parts = []
    device = next(network.parameters()).device
    try:
        with torch.no_grad(), dropout.active(network, on=False):
            for index in torch.arange(len(data)).split(512):
                some = data.rows(index)
                inputs = {m: {k: v.to(device) for k, v in block.items()} for m, block in some.inputs.items()}
                parts.append(network(inputs, some.present.to(device)))
    finally:
        if hook is not None:
            hook.remove()
    features = torch.cat(seen) if seen else torch.cat([p.embedding for p in parts]).double().cpu()
    output = {
        field: {name: torch.cat([getattr(p, field)[name] for p in parts]).cpu() for name in getattr(parts[0], field)}
        for field in ("log_variance", "logits")
    }
    return features, output
