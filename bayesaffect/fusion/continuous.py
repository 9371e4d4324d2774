"""Late fusion of a continuous target: a measurement model whose subject effects and trials are integrated out.

For trial i of subject s, modalities m = 1..M, truth y and opinions x with predictive variances v:

    y_i ~ N(mu + delta_s, tau^2),                 delta_s ~ N(0, sd_delta^2)
    x_i = a + b y_i + u_s + e_i,                  u_sm ~ N(0, omega_m^2),    e_i ~ N(0, D_i R D_i)
    D_i = diag(kappa_m exp(rho_sm) sqrt(v_im) / r_im),   rho_sm ~ N(0, sd_rho_m^2), R ~ LKJ(eta)

r_im = 1 - lambda_m h_im is what a signal of quality 1 - h_im leaves of an opinion (`discount`); where no quality is
known, or none that varies, r = 1 and there is no lambda.

u, delta and the sums over trials have closed forms, so a gradient costs the same for any number of trials.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyro
import pyro.distributions as dist
import torch
from torch import Tensor

from bayesaffect.fusion import linalg
from bayesaffect.fusion.discount import discounts
from bayesaffect.fusion.settings import Priors
from bayesaffect.fusion.statistics import centring

LOG_2PI = float(np.log(2 * np.pi))


def data(statistics: Mapping[str, np.ndarray], priors: Priors, variance_known: bool) -> dict[str, np.ndarray]:
    """Everything the density reads, as arrays: statistics, prior scales and the centring of rho.

    ``prior_quality`` is there where the statistics are discounted (``poor_nodes``), and with it lambda in the model.

    ``centring`` (S, M) in [0, 1) = J / (J + 1 / 0.15^2), J = 2 n_sm the information of n trials on log k: subjects with
    many trials are sampled around their population (centred), those with few as deviations from it.
    """
    m = statistics["observed"].shape[1]
    information = 2 * statistics["n_opinion"]
    location = priors.log_kappa if variance_known else priors.log_error
    pairs = {"level": priors.level, "bias": priors.bias, "gain": priors.gain, "log_kappa": location}
    scales = {n: getattr(priors, n) for n in ("sd_level", "sd_truth", "sd_offset")}
    discounted = {"prior_quality": np.array([priors.quality])} if "poor_nodes" in statistics else {}
    return {
        **statistics,
        **discounted,
        **{f"prior_{k}": np.array(v, dtype=float) for k, v in pairs.items()},
        **{f"prior_{k}": np.array([v]) for k, v in scales.items()},
        "prior_sd_rho": np.array([np.log(priors.sd_rho[0]), priors.sd_rho[1]]),
        "prior_correlation": np.array(linalg.lkj_concentration(priors.eta, m)),
        "centring": information / (information + 0.15**-2),
    }


def recentred(values: Mapping[str, np.ndarray], data: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The data with the centring of rho learned from draws (`effects`, leading dims chain and draw)."""
    return {**data, "centring": centring(values["rho"], values["sd_rho"][:, :, None])}


def model(data: Mapping[str, Tensor]) -> None:
    """The Pyro model of the module's equations; ``data`` as made by `data`."""
    m = data["n_opinion"].shape[1]

    def normal(name, prior, shape):
        return pyro.sample(name, dist.Normal(prior[0].expand(shape), prior[1].expand(shape)).to_event(len(shape)))

    def half(name, prior, shape):
        return pyro.sample(name, dist.HalfNormal(prior.expand(shape or (1,)).reshape(shape)).to_event(len(shape)))

    values = {
        "mu": normal("mu", data["prior_level"], ()),
        "sd_delta": half("sd_delta", data["prior_sd_level"], ()),
        "tau": half("tau", data["prior_sd_truth"], ()),
        "a": normal("a", data["prior_bias"], (m,)),
        "b": normal("b", data["prior_gain"], (m,)),
        "omega": half("omega", data["prior_sd_offset"], (m,)),
        "log_kappa": normal("log_kappa", data["prior_log_kappa"], (m,)),
    }
    location, scale = (data["prior_sd_rho"][k].expand((m,)) for k in (0, 1))
    values["sd_rho"] = pyro.sample("sd_rho", dist.LogNormal(location, scale).to_event(1))
    if m > 1:
        al = data["prior_correlation"]
        values["partial"] = pyro.sample("partial", dist.Beta(al, al).to_event(1))
    if "prior_quality" in data:
        values["quality_discount"] = discounts(data["prior_quality"], m)
    w = data["centring"]
    log_sd = torch.log(values["sd_rho"])
    values["latent"] = pyro.sample("latent", dist.Normal(w * values["log_kappa"], torch.exp(w * log_sd)).to_event(2))
    pyro.factor("truth", truth_term(values, data).sum())
    pyro.factor("opinions", opinions_term(values, data))


def log_k(values: Mapping[str, Tensor], data: Mapping[str, Tensor]) -> Tensor:
    """log kappa_m + rho_sm (S, M) from the partially centred latent: latent ~ N(w log kappa, sd_rho^(2 w))."""
    w = data["centring"]
    scale = torch.exp((1 - w) * torch.log(values["sd_rho"]))
    return values["log_kappa"] + scale * (values["latent"] - w * values["log_kappa"])


def correlation(values: Mapping[str, Tensor], m: int) -> Tensor:
    """R (M, M)."""
    if m == 1:
        return torch.ones_like(values["mu"]).reshape(1, 1)
    lower = linalg.correlation_cholesky(2 * values["partial"] - 1, m)
    if m <= linalg.WRITTEN_OUT:
        return linalg.stacked(linalg.correlation_entries(lower))
    zero = torch.zeros_like(lower[0][0])
    full = linalg.stacked([[*row, *[zero] * (m - len(row))] for row in lower])
    return full @ full.transpose(-1, -2)


def truth_term(values: Mapping[str, Tensor], data: Mapping[str, Tensor]) -> Tensor:
    """log p(y) per subject (S,) with delta integrated out:

    -1/2 [ 2 n log tau + log(1 + n sd^2 / tau^2) + SS / tau^2 + n (ybar - mu)^2 / (tau^2 + n sd^2) + n log 2 pi ].
    """
    n = data["n_truth"]
    gap = data["mean_truth"] + data["shift_y"] - values["mu"]
    tau2, sd2 = values["tau"] * values["tau"], values["sd_delta"] * values["sd_delta"]
    total = n * torch.log(tau2) + torch.log1p(n * sd2 / tau2) + data["square_truth"] / tau2
    return -0.5 * (total + n * gap * gap / (tau2 + n * sd2) + n * LOG_2PI)


def conditional(values: Mapping[str, Tensor], data: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Quadratic form of the opinions given the truth: Q (S,), h (S, M), A (S, M, M), log det R_pp (P,).

    A is the precision and A^-1 h the mean that the trials alone give u_s; Q the sum of squares at u_s = 0.
    """
    m = data["n_opinion"].shape[1]
    seen = data["observed"]
    eye = torch.eye(m, dtype=seen.dtype)
    blocks = seen[:, :, None] * seen[:, None, :] * correlation(values, m) + (1 - seen)[:, :, None] * eye
    precision, log_det = linalg.precision(blocks)
    if "quality_discount" in values:
        share = values["quality_discount"]
        row = share[:, None].expand(m, m)
        factor = torch.stack([torch.ones_like(row), row, row.transpose(0, 1), row * share])
        precision = (factor[:, None] * precision).reshape(-1, m, m)
    t = (data["sums"] * precision).sum(2)
    a = values["a"] - data["shift_x"] + values["b"] * data["shift_y"]
    b = values["b"]
    c = torch.exp(-log_k(values, data))
    cc = c[:, :, None] * c[:, None, :]
    t0, t1, t2, t3, t4, t5 = t.unbind(0)
    left_a, left_b = a[:, None], b[:, None]
    square = t3 - 2 * left_a * t1 - 2 * left_b * t4 + left_a * a * t0 + 2 * left_a * b * t2 + left_b * b * t5
    residual = t1 - a * t0 - b * t2
    return {
        "q": (cc * square).sum((-1, -2)),
        "h": (cc * residual).sum(-1),
        "a": cc * t0,
        "log_det": log_det,
    }


def opinions_term(values: Mapping[str, Tensor], data: Mapping[str, Tensor]) -> Tensor:
    """log p(x | y) of all subjects with u integrated out (a scalar):

    -1/2 [ Q - g' W^-1 g + log det W + sum_p n_p log det R_pp + 2 sum log (k / r) + sum log v + n_obs log 2 pi ],
    W = I + omega A omega and g = omega h, both finite as omega -> 0.
    """
    terms = conditional(values, data)
    omega = values["omega"]
    w = omega[:, None] * terms["a"] * omega + torch.eye(omega.shape[0], dtype=omega.dtype)
    explained, log_det = linalg.quadratic(w, omega * terms["h"])
    per_subject = terms["q"] - explained + log_det
    n = data["n_opinion"]
    shared = (data["n_pattern"] * terms["log_det"]).sum() + 2 * (n * log_k(values, data)).sum()
    if "quality_discount" in values:
        left = torch.log1p(-values["quality_discount"][:, None] * data["poor_nodes"])
        shared = shared - 2 * (data["poor_weights"] * left).sum()
    return -0.5 * (per_subject.sum() + shared + data["log_variance"].sum() + n.sum() * LOG_2PI)


def effects(values: Mapping[str, Tensor], data: Mapping[str, Tensor], noise: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """One draw's quantities that people read, with u and delta from their conditional posterior.

    u | data ~ N(omega W^-1 g, omega W^-1 omega); delta | data ~ N(c n (ybar - mu) / tau^2, c), 1 / c = n / tau^2 + 1 /
    sd^2.
    ``noise`` holds standard normals ``u`` (S, M) and ``delta`` (S,).
    """
    terms = conditional(values, data)
    omega = values["omega"]
    m = omega.shape[0]
    w = omega[:, None] * terms["a"] * omega + torch.eye(m, dtype=omega.dtype)
    lower = linalg.cholesky(linalg.entries(w))
    z = linalg.forward(lower, list((omega * terms["h"]).unbind(-1)))
    u = linalg.backward(lower, [z[i] + noise["u"][:, i] for i in range(m)])
    tau2, sd2 = values["tau"] * values["tau"], values["sd_delta"] * values["sd_delta"]
    n = data["n_truth"]
    gap = data["mean_truth"] + data["shift_y"] - values["mu"]
    spread = tau2 * sd2 / (tau2 + n * sd2)
    k = log_k(values, data)
    names = ("mu", "sd_delta", "tau", "a", "b", "omega", "log_kappa", "sd_rho", "quality_discount")
    return {
        **{name: values[name] for name in names if name in values},
        "kappa": torch.exp(values["log_kappa"]),
        "rho": k - values["log_kappa"],
        "reliability": torch.exp(k),
        "correlation": correlation(values, m),
        "u": torch.stack(u, -1) * values["omega"],
        "delta": spread * n * gap / tau2 + torch.sqrt(spread) * noise["delta"],
    }


DIMS = {
    **{name: ["modality"] for name in ("a", "b", "omega", "log_kappa", "sd_rho", "kappa", "quality_discount")},
    **{name: ["subject", "modality"] for name in ("rho", "reliability", "u")},
    "correlation": ["modality", "modality_bis"],
    "delta": ["subject"],
}
