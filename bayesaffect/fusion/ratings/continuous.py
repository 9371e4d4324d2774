"""Late fusion of a continuous target: a measurement model whose subject effects and trials are integrated out.

For trial i of subject s, modalities m = 1..M, truth y and opinions x with predictive variances v:

    y_i ~ N(mu + delta_s, tau^2),                 delta_s ~ N(0, sd_delta^2)
    x_i = a + b y_i + u_s + e_i,                  u_sm ~ N(0, omega_m^2),    e_i ~ N(0, D_i R D_i)
    D_i = diag(kappa_m exp(rho_sm) sqrt(v_im) / r_im),   rho_sm ~ N(0, sd_rho_m^2), R ~ LKJ(eta) (`correlation`)

r_im = 1 - lambda_m h_im is what a signal of quality 1 - h_im leaves of an opinion (`discount`); where no quality is
known, or none that varies, r = 1 and there is no lambda.

u, delta and the sums over trials have closed forms, so a gradient costs the same for any number of trials.

With scaled gains (`settings.Model`), x_i = a + b mu + b exp(theta rho_s) (y_i - mu) + u_s + e_i, theta ~ U(0, 1): at
theta = 0 it is the model above, at theta = 1 a subject's answers are larger or smaller and tell the same.

With correlated offsets (`settings.Model`), u_s ~ N(0, F F') with F = diag(omega) L, L L' = R_u of an LKJ prior; else
F = diag(omega).

Pooling (`settings.Model`): "complete" sets sd_delta = omega = sd_rho = 0; "none" sets mu, a and log kappa to the means
of their priors, and sd_delta, omega and sd_rho to their sds. What is set is data of the density, not a site.
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
from bayesaffect.fusion.settings import Model, Priors
from bayesaffect.fusion.statistics import centring

LOG_2PI = float(np.log(2 * np.pi))
SHARED = 0.99


def data(
    statistics: Mapping[str, np.ndarray], priors: Priors, variance_known: bool, model: Model | None = None
) -> dict[str, np.ndarray]:
    """Everything the density reads, as arrays: statistics, prior scales and the centring of rho.

    ``fixed_*`` are there where ``model`` does not pool subjects partially, and take the place of sites.

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
        **_correlated(priors, m, model),
        **({"prior_theta": np.ones(2)} if model is not None and model.gains == "scaled" else {}),
        **_fixed(pairs, m, "partial" if model is None else model.pooling),
    }


def _correlated(priors: Priors, m: int, model: Model | None) -> dict[str, np.ndarray]:
    """The prior of the offsets' correlations, where the model has them."""
    if model is None or model.offsets == "independent" or model.pooling == "complete" or m == 1:
        return {}
    return {"prior_offset_correlation": np.array(linalg.lkj_concentration(priors.eta, m))}


def _fixed(pairs: Mapping[str, tuple[float, float]], m: int, pooling: str) -> dict[str, np.ndarray]:
    """What is not learned under ``pooling``, by name of the site it replaces."""
    if pooling == "partial":
        return {}
    if pooling == "complete":
        return {"fixed_sd_delta": np.zeros(1), "fixed_omega": np.zeros(m), "fixed_sd_rho": np.zeros(m)}
    level, bias, log_kappa = pairs["level"], pairs["bias"], pairs["log_kappa"]
    return {
        "fixed_mu": np.array([level[0]]),
        "fixed_sd_delta": np.array([level[1]]),
        "fixed_a": np.full(m, bias[0]),
        "fixed_omega": np.full(m, bias[1]),
        "fixed_log_kappa": np.full(m, log_kappa[0]),
        "fixed_sd_rho": np.full(m, log_kappa[1]),
    }


def completed(values: Mapping[str, Tensor], data: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The sites' values and what is fixed in their place."""
    fixed = {n.removeprefix("fixed_"): v for n, v in data.items() if n.startswith("fixed_")}
    return {**{n: v.reshape(()) if n in ("mu", "sd_delta") else v for n, v in fixed.items()}, **values}


def alike(data: Mapping[str, Tensor]) -> bool:
    """Whether subjects have no effects: complete pooling."""
    return "fixed_sd_rho" in data and "fixed_mu" not in data


def recentred(values: Mapping[str, np.ndarray], data: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The data with the centring of rho learned from draws (`effects`, leading dims chain and draw)."""
    if alike(data):
        return dict(data)
    return {**data, "centring": centring(np.log(values["reliability"]), values["sd_rho"][:, :, None])}


def model(data: Mapping[str, Tensor]) -> None:
    """The Pyro model of the module's equations; ``data`` as made by `data`."""
    values = population(data)
    pyro.factor("truth", truth_term(values, data).sum())
    pyro.factor("opinions", opinions_term(values, data))


def population(data: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The sites of everything but u and delta, or what is fixed in their place."""
    m = data["n_opinion"].shape[1]

    def normal(name, prior, shape):
        if f"fixed_{name}" in data:
            return data[f"fixed_{name}"].reshape(shape)
        return pyro.sample(name, dist.Normal(prior[0].expand(shape), prior[1].expand(shape)).to_event(len(shape)))

    def half(name, prior, shape):
        if f"fixed_{name}" in data:
            return data[f"fixed_{name}"].reshape(shape)
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
    if "fixed_sd_rho" in data:
        values["sd_rho"] = data["fixed_sd_rho"]
    else:
        location, scale = (data["prior_sd_rho"][k].expand((m,)) for k in (0, 1))
        values["sd_rho"] = pyro.sample("sd_rho", dist.LogNormal(location, scale).to_event(1))
    if m > 1:
        al = data["prior_correlation"]
        values["partial"] = pyro.sample("partial", dist.Beta(al, al).to_event(1))
    if "prior_offset_correlation" in data:
        al = data["prior_offset_correlation"]
        values["partial_offset"] = pyro.sample("partial_offset", dist.Beta(al, al).to_event(1))
    if "prior_theta" in data:
        al, be = (data["prior_theta"][k].expand((1,)) for k in (0, 1))
        values["theta"] = pyro.sample("theta", dist.Beta(al, be).to_event(1))
    if "prior_quality" in data:
        values["quality_discount"] = discounts(data["prior_quality"], m)
    if not alike(data):
        w = data["centring"]
        spread = torch.exp(w * torch.log(values["sd_rho"]))
        values["latent"] = pyro.sample("latent", dist.Normal(w * values["log_kappa"], spread).to_event(2))
    return values


def log_k(values: Mapping[str, Tensor], data: Mapping[str, Tensor]) -> Tensor:
    """log kappa_m + rho_sm (S, M) from the partially centred latent: latent ~ N(w log kappa, sd_rho^(2 w))."""
    w = data["centring"]
    if "latent" not in values:
        return values["log_kappa"].expand(w.shape)
    scale = torch.exp((1 - w) * torch.log(values["sd_rho"]))
    return values["log_kappa"] + scale * (values["latent"] - w * values["log_kappa"])


def correlation(values: Mapping[str, Tensor], m: int, name: str = "partial") -> Tensor:
    """R (M, M) = 0.99 R_0 + 0.01 I with R_0 ~ LKJ(eta), from the partial correlations ``name``.

    No two voices agree better than 0.99: the likelihood of exact copies would have no upper bound otherwise.
    """
    if m == 1:
        return torch.ones_like(values["tau"]).reshape(1, 1)
    lower = linalg.correlation_cholesky(2 * values[name] - 1, m)
    if m <= linalg.WRITTEN_OUT:
        full = linalg.stacked(linalg.correlation_entries(lower))
    else:
        zero = torch.zeros_like(lower[0][0])
        full = linalg.stacked([[*row, *[zero] * (m - len(row))] for row in lower])
        full = full @ full.transpose(-1, -2)
    return SHARED * full + (1 - SHARED) * torch.eye(m, dtype=full.dtype)


def offset_root(values: Mapping[str, Tensor], m: int) -> Tensor:
    """F (M, M), lower triangular, F F' the covariance of a subject's offsets."""
    omega = values["omega"]
    if "partial_offset" not in values:
        return omega[:, None] * torch.eye(m, dtype=omega.dtype)
    lower = linalg.cholesky(linalg.entries(correlation(values, m, "partial_offset")))
    zero = torch.zeros_like(lower[0][0])
    return omega[:, None] * linalg.stacked([[*row, *[zero] * (m - len(row))] for row in lower])


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
    k = log_k(values, data)
    b, c = values["b"], torch.exp(-k)
    a = values["a"] - data["shift_x"] + b * data["shift_y"]
    if "theta" in values:
        b = b * torch.exp(values["theta"] * (k - values["log_kappa"]))
        a = a + (b - values["b"]) * (data["shift_y"] - values["mu"])
    cc = c[:, :, None] * c[:, None, :]
    t0, t1, t2, t3, t4, t5 = t.unbind(0)
    left_a, left_b = a[..., :, None], b[..., :, None]
    a, b = a[..., None, :], b[..., None, :]
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
    W = I + F' A F and g = F' h, both finite as omega -> 0.
    """
    terms = conditional(values, data)
    w, g = _informed(values, terms)
    explained, log_det = linalg.quadratic(w, g)
    per_subject = terms["q"] - explained + log_det
    n = data["n_opinion"]
    shared = (data["n_pattern"] * terms["log_det"]).sum() + 2 * (n * log_k(values, data)).sum()
    if "quality_discount" in values:
        left = torch.log1p(-values["quality_discount"][:, None] * data["poor_nodes"])
        shared = shared - 2 * (data["poor_weights"] * left).sum()
    return -0.5 * (per_subject.sum() + shared + data["log_variance"].sum() + n.sum() * LOG_2PI)


def _informed(values: Mapping[str, Tensor], terms: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    """W (S, M, M) and g (S, M) of `opinions_term`."""
    omega = values["omega"]
    eye = torch.eye(omega.shape[0], dtype=omega.dtype)
    if "partial_offset" not in values:
        return omega[:, None] * terms["a"] * omega + eye, omega * terms["h"]
    root = offset_root(values, omega.shape[0])
    return root.T @ terms["a"] @ root + eye, terms["h"] @ root


def effects(values: Mapping[str, Tensor], data: Mapping[str, Tensor], noise: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """One draw's quantities that people read, with u and delta from their conditional posterior.

    u | data ~ N(F W^-1 g, F W^-1 F'); delta | data ~ N(c n (ybar - mu) / tau^2, c), 1 / c = n / tau^2 + 1 /
    sd^2.
    ``noise`` holds standard normals ``u`` (S, M) and ``delta`` (S,).
    """
    values = completed(values, data)
    terms = conditional(values, data)
    w, g = _informed(values, terms)
    m = g.shape[1]
    lower = linalg.cholesky(linalg.entries(w))
    z = linalg.forward(lower, list(g.unbind(-1)))
    v = torch.stack(linalg.backward(lower, [z[i] + noise["u"][:, i] for i in range(m)]), -1)
    found = {"offset_correlation": correlation(values, m, "partial_offset")} if "partial_offset" in values else {}
    return {
        **readable(values, data),
        **found,
        "u": v @ offset_root(values, m).T,
        "delta": level(values, data, noise["delta"]),
    }


def level(values: Mapping[str, Tensor], data: Mapping[str, Tensor], noise: Tensor) -> Tensor:
    """A draw of delta (S,) given the truths, from standard normals ``noise`` (S,); the equation is in `effects`."""
    tau2, sd2 = values["tau"] * values["tau"], values["sd_delta"] * values["sd_delta"]
    n = data["n_truth"]
    gap = data["mean_truth"] + data["shift_y"] - values["mu"]
    spread = tau2 * sd2 / (tau2 + n * sd2)
    return spread * n * gap / tau2 + torch.sqrt(spread) * noise


def readable(values: Mapping[str, Tensor], data: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """One draw's quantities that people read, besides u and delta."""
    k = log_k(values, data)
    names = ("mu", "sd_delta", "tau", "a", "b", "omega", "log_kappa", "sd_rho", "quality_discount")
    return {
        **{name: values[name] for name in names if name in values},
        "kappa": torch.exp(values["log_kappa"]),
        "rho": k - values["log_kappa"],
        "reliability": torch.exp(k),
        "correlation": correlation(values, k.shape[1]),
        **({"theta": values["theta"][0]} if "theta" in values else {}),
    }


DIMS = {
    **{name: ["modality"] for name in ("a", "b", "omega", "log_kappa", "sd_rho", "kappa", "quality_discount")},
    **{name: ["subject", "modality"] for name in ("rho", "reliability", "u")},
    "correlation": ["modality", "modality_bis"],
    "offset_correlation": ["modality", "modality_bis"],
    "delta": ["subject"],
}
