"""Late fusion of a categorical target: a log-linear pool with class-specific matrices and subject effects.

For trial i of subject s with class probabilities p_im of the modalities m = 1..M and K classes:

    eta_i = alpha + delta_s + sum_{m present} w_m exp(rho_sm) A_m log p_im + sum_{m missing} alpha_m,
    P(class k) = softmax(eta_i)_k,     delta_sk ~ N(0, sd_delta^2),     rho_sm ~ N(0, sd_rho_m^2)

A constant added to eta or to log p changes nothing, so everything lives in V (K, K - 1), orthonormal columns that sum
to
zero: A_m = V (I + sd_A_m (Z_m - tr(Z_m) / (K - 1) I)) V', Z_m standard normal. A_m shrinks to the (centred) identity,
and its trace is fixed at K - 1, so that w_m alone says how much a modality counts. Shares and temperature are read off
the weights: share_m = w_m / sum w, temperature = 1 / sum w; above 1 / M each voice is believed less than it asks for,
which is how the over-confidence of repeated evidence is undone.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyro
import pyro.distributions as dist
import torch
from torch import Tensor

from bayesaffect.fusion.settings import Priors
from bayesaffect.fusion.statistics import centring, contrasts


def data(statistics: Mapping[str, np.ndarray], priors: Priors) -> dict[str, np.ndarray]:
    """Everything the density reads, as arrays; ``centring_*`` in [0, 1) say how far an effect is sampled centred.

    centring = J / (J + 1 / sd^2), J the information of the used trials on the effect and sd its typical scale: about
    0.05 per
    trial on a class effect and on log w (per subject), 0.02 on an entry of A_m (all subjects).
    """
    n = statistics["used"].sum(1, keepdims=True)
    m = (statistics["linear"].shape[1] - 1) // (statistics["linear"].shape[2] + 1)
    flags = statistics["design"][:, -m:] * statistics["used"][:, None]
    informed = float(statistics["linear"].shape[2] > 1)  # of two classes, A_m is the identity whatever Z
    opinions = n.sum() - flags.sum((0, 2))
    scales = ("intercept", "weight", "sd_class", "sd_missing")
    return {
        **statistics,
        **{f"prior_{name}": np.array([getattr(priors, name)]) for name in scales},
        **{
            f"prior_{n}": np.array([np.log(getattr(priors, n)[0]), getattr(priors, n)[1]])
            for n in ("sd_rho", "sd_matrix")
        },
        "basis": contrasts(statistics["linear"].shape[2] + 1),
        "centring_delta": 0.05 * n / (0.05 * n + 0.5**-2),
        "centring_rho": np.repeat(0.05 * n / (0.05 * n + 0.1**-2), m, axis=1),
        "centring_matrix": informed * 0.02 * opinions / (0.02 * opinions + 0.3**-2),
    }


def recentred(values: Mapping[str, np.ndarray], data: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The data with centring learned from draws (`effects`, leading dims chain and draw).

    One number per subject for delta and one per modality for A: the mean over contrasts, or entries.
    """
    basis = data["basis"]
    delta = values["delta"] @ basis
    matrix = np.moveaxis(basis.T @ values["matrix"] @ basis - np.eye(basis.shape[1]), 2, -1)
    learned = {
        "delta": centring(delta, values["sd_delta"][:, :, None, None]).mean(-1, keepdims=True),
        "rho": centring(values["rho"], values["sd_rho"][:, :, None]),
        "matrix": centring(matrix, values["sd_matrix"][:, :, None, None]).mean((0, 1)),
    }
    if basis.shape[1] == 1:
        learned["matrix"] = data["centring_matrix"]
    return {**data, **{f"centring_{name}": weight for name, weight in learned.items()}}


def sizes(data: Mapping[str, Tensor]) -> tuple[int, int, int]:
    """Subjects S, modalities M and contrasts K - 1; P = 1 + M (K - 1) + M."""
    s, p, c = data["linear"].shape
    return s, (p - 1) // (c + 1), c


def model(data: Mapping[str, Tensor]) -> None:
    """The Pyro model of the module's equations; ``data`` as made by `data`."""
    s, m, c = sizes(data)

    def normal(name, scale, shape):
        wide = scale.expand(shape)
        return pyro.sample(name, dist.Normal(torch.zeros_like(wide), wide).to_event(len(shape)))

    def half(name, scale, shape):
        return pyro.sample(name, dist.HalfNormal(scale.expand(shape or (1,)).reshape(shape)).to_event(len(shape)))

    def positive(name):
        location, scale = (data[f"prior_{name}"][k].expand((m,)) for k in (0, 1))
        return pyro.sample(name, dist.LogNormal(location, scale).to_event(1))

    values = {
        "alpha_c": normal("alpha_c", data["prior_intercept"], (c,)),
        "missing_c": normal("missing_c", data["prior_sd_missing"], (m, c)),
        "w": half("w", data["prior_weight"], (m,)),
        "sd_matrix": positive("sd_matrix"),
        "sd_delta": half("sd_delta", data["prior_sd_class"], ()),
        "sd_rho": positive("sd_rho"),
    }
    f, g = data["centring_delta"], data["centring_rho"]
    spread = torch.exp(data["centring_matrix"] * torch.log(values["sd_matrix"]))[:, None, None].expand(m, c, c)
    values["latent_matrix"] = pyro.sample("latent_matrix", dist.Normal(torch.zeros_like(spread), spread).to_event(3))
    spread = torch.exp(f * torch.log(values["sd_delta"])).expand(s, c)
    values["latent_delta"] = pyro.sample("latent_delta", dist.Normal(f * values["alpha_c"], spread).to_event(2))
    spread = torch.exp(g * torch.log(values["sd_rho"]))
    log_w = torch.log(values["w"])
    values["latent_rho"] = pyro.sample("latent_rho", dist.Normal(g * log_w, spread).to_event(2))
    coefficient = coefficients(values, data)
    pyro.factor("truth", (coefficient * data["linear"]).sum())
    eta = (data["basis"] @ coefficient.transpose(-1, -2)) @ data["design"]
    top = eta.detach().amax(1, keepdim=True)
    normalisation = torch.log(torch.exp(eta - top).sum(1)) + top[:, 0]
    pyro.factor("normalisation", -(data["used"] * normalisation).sum())


def subject_level(values: Mapping[str, Tensor], data: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    """alpha + delta (S, K - 1) and log w + rho (S, M) from their partially centred latents."""
    f, g = data["centring_delta"], data["centring_rho"]
    log_w = torch.log(values["w"])
    level = values["alpha_c"] + torch.exp((1 - f) * torch.log(values["sd_delta"])) * (
        values["latent_delta"] - f * values["alpha_c"]
    )
    log_weight = log_w + torch.exp((1 - g) * torch.log(values["sd_rho"])) * (values["latent_rho"] - g * log_w)
    return level, log_weight


def matrices(values: Mapping[str, Tensor], data: Mapping[str, Tensor]) -> Tensor:
    """A_m in the contrasts' coordinates (M, K - 1, K - 1), trace K - 1."""
    scale = torch.exp((1 - data["centring_matrix"]) * torch.log(values["sd_matrix"]))
    z = scale[:, None, None] * values["latent_matrix"]
    c = z.shape[-1]
    eye = torch.eye(c, dtype=z.dtype)
    trace = (z * eye).sum((-1, -2), keepdim=True) / c
    return eye + z - trace * eye


def coefficients(values: Mapping[str, Tensor], data: Mapping[str, Tensor]) -> Tensor:
    """Coefficients of the design rows, per subject (S, P, K - 1)."""
    s, m, c = sizes(data)
    level, log_weight = subject_level(values, data)
    slopes = torch.exp(log_weight)[:, :, None, None] * matrices(values, data).transpose(-1, -2)
    return torch.cat([level[:, None], slopes.reshape(s, m * c, c), values["missing_c"].expand(s, m, c)], 1)


def effects(values: Mapping[str, Tensor], data: Mapping[str, Tensor], noise: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """One draw's quantities that people read, in class coordinates. ``noise`` is not used."""
    basis = data["basis"]
    level, log_weight = subject_level(values, data)
    names = ("w", "sd_matrix", "sd_delta", "sd_rho")
    return {
        **{name: values[name] for name in names},
        "alpha": basis @ values["alpha_c"],
        "alpha_missing": values["missing_c"] @ basis.T,
        "matrix": basis @ matrices(values, data) @ basis.T,
        "delta": (level - values["alpha_c"]) @ basis.T,
        "rho": log_weight - torch.log(values["w"]),
        "reliability": torch.exp(log_weight),
        "share": values["w"] / values["w"].sum(-1, keepdim=True),
        "temperature": 1 / values["w"].sum(-1),
    }


DIMS = {
    **{name: ["modality"] for name in ("w", "sd_matrix", "sd_rho", "share")},
    **{name: ["subject", "modality"] for name in ("rho", "reliability")},
    "alpha": ["level"],
    "alpha_missing": ["modality", "level"],
    "matrix": ["modality", "level", "level_bis"],
    "delta": ["subject", "level"],
}
