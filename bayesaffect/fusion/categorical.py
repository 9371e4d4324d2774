"""Late fusion of a categorical target: a log-linear pool with class-specific matrices and subject effects.

For trial i of subject s with class probabilities p_im of the modalities m = 1..M and K classes:

    eta_i = alpha + delta_s + sum_{m present} w_m exp(rho_sm) r_im A_m (f_im - gamma_m c_sm) + sum_{m missing} alpha_m,
    P(class k) = softmax(eta_i)_k,     delta_sk ~ N(0, sd_delta^2),     rho_sm ~ N(0, sd_rho_m^2)

f = (log p + K p) / 2 is what is read of class probabilities (`statistics.features`). c_sm is the subject's habit, what
its opinions have in common (`habits`), gamma_m ~ Uniform(0, 1) how much of it the pool subtracts: near 1 where subjects
saw much the same, so that a difference between their mean opinions says nothing about what they felt; near 0 where
it does. For a subject the fit has not seen, c has the distribution that its own trial leaves. Labels of such a subject
teach how strongly its opinions speak of each class as well (`tilts`).

Where modalities are missing, those that are left take over at prediction (`absence`); alpha_m is what the fit itself
says of it.

r_im = 1 - lambda_m h_im is what a signal of quality 1 - h_im leaves of an opinion (`discount`); where no quality is
known, or none that varies, r = 1 and there is no lambda.

A constant added to eta or to f changes nothing, so everything lives in V (K, K - 1), orthonormal columns that sum
to zero: A_m = V (I + Z_m - tr(Z_m) / (K - 1) I) V', entries of Z_m ~ N(0, sd_A^2) with sd_A given by the prior. A_m
shrinks to the (centred) identity, and its trace is fixed at K - 1, so that w_m alone says how much a modality counts.
Shares and temperature are read off the weights: share_m = w_m / sum w, temperature = 1 / sum w; above 1 / M each voice
is believed less than it asks for, which is how the over-confidence of repeated evidence is undone.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyro
import pyro.distributions as dist
import torch
from torch import Tensor

from bayesaffect.fusion.discount import discounts
from bayesaffect.fusion.settings import Priors
from bayesaffect.fusion.statistics import centring, contrasts


def data(statistics: Mapping[str, np.ndarray], priors: Priors, *, discounted: bool = False) -> dict[str, np.ndarray]:
    """Everything the density reads, as arrays; ``centring_*`` in [0, 1) say how far an effect is sampled centred.

    centring = J / (J + 1 / sd^2), J the information of the used trials on the effect, about 0.05 per trial on a class
    effect and on log w, and sd its typical scale: a guess that `recentred` replaces by what a pilot found.
    ``discounted``: the design has the columns of `discount`; ``prior_quality``, and lambda in the model, follow.
    """
    n = statistics["used"].sum(1, keepdims=True)
    width = statistics["linear"].shape[2]
    m = (statistics["linear"].shape[1] - 1) // ((2 if discounted else 1) * (width + 1))
    scales = ("intercept", "weight", "sd_matrix", "sd_class", "sd_missing")
    return {
        **statistics,
        **({"prior_quality": np.array([priors.quality])} if discounted else {}),
        **{f"prior_{name}": np.array([getattr(priors, name)]) for name in scales},
        "prior_sd_rho": np.array([np.log(priors.sd_rho[0]), priors.sd_rho[1]]),
        "basis": contrasts(statistics["linear"].shape[2] + 1),
        "centring_delta": 0.05 * n / (0.05 * n + 0.5**-2),
        "centring_rho": np.repeat(0.05 * n / (0.05 * n + 0.1**-2), m, axis=1),
    }


def recentred(values: Mapping[str, np.ndarray], data: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The data with centring learned from draws (`effects`, leading dims chain and draw); one number per subject for
    delta, the mean over contrasts."""
    level = (values["alpha"][:, :, None] + values["delta"]) @ data["basis"]
    delta = centring(level, values["sd_delta"][:, :, None, None])
    rho = centring(np.log(values["reliability"]), values["sd_rho"][:, :, None])
    return {**data, "centring_delta": delta.mean(-1, keepdims=True), "centring_rho": rho}


def sizes(data: Mapping[str, Tensor]) -> tuple[int, int, int]:
    """Subjects S, modalities M and contrasts K - 1."""
    s, _, c = data["linear"].shape
    return s, data["centring_rho"].shape[1], c


def model(data: Mapping[str, Tensor]) -> None:
    """The Pyro model of the module's equations; ``data`` as made by `data`."""
    s, m, c = sizes(data)

    def normal(name, scale, shape):
        wide = scale.expand(shape)
        return pyro.sample(name, dist.Normal(torch.zeros_like(wide), wide).to_event(len(shape)))

    def half(name, scale, shape):
        return pyro.sample(name, dist.HalfNormal(scale.expand(shape or (1,)).reshape(shape)).to_event(len(shape)))

    values = {
        "alpha_c": normal("alpha_c", data["prior_intercept"], (c,)),
        "missing_c": normal("missing_c", data["prior_sd_missing"], (m, c)),
        "w": half("w", data["prior_weight"], (m,)),
        "deviation": normal("deviation", data["prior_sd_matrix"], (m, c, c)),
        "sd_delta": half("sd_delta", data["prior_sd_class"], ()),
    }
    location, scale = (data["prior_sd_rho"][k].expand((m,)) for k in (0, 1))
    values["sd_rho"] = pyro.sample("sd_rho", dist.LogNormal(location, scale).to_event(1))
    one = data["prior_weight"].expand((m,)) * 0 + 1
    values["habit_share"] = pyro.sample("habit_share", dist.Beta(one, one).to_event(1))
    if "prior_quality" in data:
        values["quality_discount"] = discounts(data["prior_quality"], m)
    f, g = data["centring_delta"], data["centring_rho"]
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


def matrices(values: Mapping[str, Tensor]) -> Tensor:
    """A_m in the contrasts' coordinates (M, K - 1, K - 1), trace K - 1."""
    z = values["deviation"]
    eye = torch.eye(z.shape[-1], dtype=z.dtype)
    trace = (z * eye).sum((-1, -2), keepdim=True) / z.shape[-1]
    return eye + z - trace * eye


def coefficients(values: Mapping[str, Tensor], data: Mapping[str, Tensor]) -> Tensor:
    """Coefficients of the design rows, per subject (S, P, K - 1)."""
    s, m, c = sizes(data)
    level, log_weight = subject_level(values, data)
    slopes = torch.exp(log_weight)[:, :, None, None] * matrices(values).transpose(-1, -2)
    habit = ((values["habit_share"][:, None] * data["habit"])[..., None] * slopes).sum(2)
    parts = [
        (level - habit.sum(1))[:, None],
        slopes.reshape(s, m * c, c),
        values["missing_c"] + habit,  # what is missing has no habit to subtract
    ]
    if "quality_discount" in values:
        share = values["quality_discount"][:, None]
        parts += [(share[..., None] * slopes).reshape(s, m * c, c), -share * habit]
    return torch.cat(parts, 1)


def effects(values: Mapping[str, Tensor], data: Mapping[str, Tensor], noise: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """One draw's quantities that people read, in class coordinates. ``noise`` is not used."""
    basis = data["basis"]
    level, log_weight = subject_level(values, data)
    names = ("w", "sd_delta", "sd_rho", "quality_discount", "habit_share")
    return {
        **{name: values[name] for name in names if name in values},
        "alpha": basis @ values["alpha_c"],
        "alpha_missing": values["missing_c"] @ basis.T,
        "matrix": basis @ matrices(values) @ basis.T,
        "delta": (level - values["alpha_c"]) @ basis.T,
        "rho": log_weight - torch.log(values["w"]),
        "habit": data["habit"] @ basis.T + 0 * values["w"][:, None],
        "reliability": torch.exp(log_weight),
        "share": values["w"] / values["w"].sum(-1, keepdim=True),
        "temperature": 1 / values["w"].sum(-1),
    }


DIMS = {
    **{name: ["modality"] for name in ("w", "sd_rho", "share", "quality_discount", "habit_share")},
    **{name: ["subject", "modality"] for name in ("rho", "reliability")},
    "alpha": ["level"],
    "alpha_missing": ["modality", "level"],
    "matrix": ["modality", "level", "level_bis"],
    "delta": ["subject", "level"],
    **{name: ["subject", "modality", "level"] for name in ("habit", "tilt")},
}
