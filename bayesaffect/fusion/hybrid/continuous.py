"""Hybrid fusion of a continuous target: the measurement model given embeddings, whose heads foresee truth and error.

For trial i of subject s, opinions x and components z_i of all embeddings (`embedding`), C_o the covariance of the
components that are missing, and a of `attention`:

    y_i ~ N(mu + delta_s + sum_j a_ij H_j z_ij, tau^2 + h' C_o h),     h = H on the missing components, else 0
    x_im = a_m + b_m y_i + u_sm + G_m z_im + e_im

u, delta and e as in `continuous`. H says what embeddings know of the truth before any opinion is heard, G what they
know of the error of an opinion: both are needed, because an opinion is mostly made from its own embedding, and without
G what that embedding says would count twice. A missing embedding is integrated out of the truth. H and G share one
scale per component.

Attention is not linear, so a gradient costs what the trials cost; u and delta are summed in closed form.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyro
import torch
from torch import Tensor

from bayesaffect.fusion import linalg
from bayesaffect.fusion.hybrid import attention, embedding
from bayesaffect.fusion.ratings import continuous, padded
from bayesaffect.fusion.settings import Priors
from bayesaffect.fusion.statistics import Index, centring
from bayesaffect.types import Opinions


def data(
    opinions: Opinions, target: str, where: Index, priors: Priors, poor, unsure, reduction: embedding.Reduction
) -> dict[str, np.ndarray]:
    """Everything the density reads: `padded.trials`, ``z`` (S, T, D), ``here`` and ``unsure`` (J, S, T), ``lost``
    (S, T, P) one-hot pattern of missing heads and ``spread`` (P, D, D) their covariance; prior scales and centring."""
    present = opinions.present.values
    m = present.shape[1]
    parts = embedding.components(reduction, opinions, target)
    heads = [opinions.modalities.index(h) for h in reduction.heads]
    arrays = padded.trials(opinions, target, where, poor)
    patterns = np.unique(present, axis=0)

    def slots(values):
        return padded.padded(values, where)

    def first(values):
        return np.moveaxis(slots(values), -1, 0).copy()

    used = where.used
    count = np.zeros((len(where.subjects), m))
    np.add.at(count, where.subject[used], present[used].astype(float))
    location = priors.log_kappa if opinions.variance_known else priors.log_error
    named = {"level": priors.level, "bias": priors.bias, "gain": priors.gain, "log_kappa": location}
    variance = np.where(present, opinions.variance[target].values, 1.0)
    return {
        **arrays,
        "observed": patterns.astype(float),
        "n_pattern": arrays["pattern"].sum((0, 1)),
        "n_opinion": count,
        "log_variance": np.array([np.log(variance[used]).sum()]),
        "z": slots(parts.z),
        "here": first(parts.here.astype(float)),
        "unsure": first(unsure[:, heads]),
        "lost": slots(np.eye(len(parts.patterns))[parts.pattern]),
        "spread": parts.spread,
        "head_of": np.eye(m)[heads],
        **({} if poor is None else {"prior_quality": np.array([priors.quality])}),
        **{f"prior_{k}": np.array(v, dtype=float) for k, v in named.items()},
        **{f"prior_{k}": np.array([getattr(priors, k)]) for k in ("sd_level", "sd_truth", "sd_offset")},
        "prior_sd_rho": np.array([np.log(priors.sd_rho[0]), priors.sd_rho[1]]),
        "prior_correlation": np.array(linalg.lkj_concentration(priors.eta, m)),
        "centring": 2 * count / (2 * count + 0.15**-2),
        **attention.data(priors, reduction.owner, np.full((len(reduction.owner), 2), 0.9)),
    }


def recentred(values: Mapping[str, np.ndarray], data: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The data with the centring of rho, H and G learned from draws."""
    both = np.stack([values["head_weight"], values["head_error"]], -1)
    return {
        **continuous.recentred(values, data),
        "centring_head": centring(both, values["head_sd"][..., None]),
    }


def model(data: Mapping[str, Tensor]) -> None:
    """The Pyro model of the module's equations; ``data`` as made by `data`."""
    values = continuous.population(data)
    values |= attention.sites(data, quality="poor" in data)
    weight, error = foreseen(values, data)
    sums, log_left = statistics(values, data, error)
    level, spread = truth(values, data, weight)
    pyro.factor("truth", truth_term(values, data, level, spread))
    plain = {n: v for n, v in values.items() if n != "quality_discount"}
    pyro.factor("opinions", continuous.opinions_term(plain, sums) + log_left)


def foreseen(values: Mapping[str, Tensor], data: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    """a o H z summed over components (S, T), and G z per modality (S, T, M)."""
    head = attention.coefficients(values, data)
    rho = continuous.log_k(values, data) - values["log_kappa"]
    own = -(data["head_of"] @ rho.transpose(0, 1))[:, :, None]
    wide = {"gamma": values["gamma"][:, None, None], **{n: values[n] for n in ("lambda", "nu") if n in values}}
    poor = None
    if "poor" in data:
        poor = (data["poor"] @ data["head_of"].transpose(0, 1)).permute(2, 0, 1)
    a = attention.weigh(wide, own, data["unsure"], poor, data["here"])
    per_head = data["z"] @ (head[:, :1] * data["owner"])
    error = data["z"] @ (head[:, 1:] * (data["owner"] @ data["head_of"]))
    return (a.permute(1, 2, 0) * per_head).sum(-1), error


def statistics(values: Mapping[str, Tensor], data: Mapping[str, Tensor], error: Tensor) -> tuple[dict, Tensor]:
    """The sums of `statistics.continuous` over opinions less their foreseen error, and sum of log r (a scalar)."""
    root, log_left = data["root"], 0 * values["tau"]
    if "quality_discount" in values:
        left = 1 - values["quality_discount"] * data["poor"]
        root = root * left
        log_left = ((data["root"] > 0) * torch.log(left)).sum()
    dx = root * (data["x"] - error)
    dy = root * data["y"][..., None]
    pairs = ((root, root), (root, dx), (root, dy), (dx, dx), (dy, dx), (dy, dy))
    s, t, m = root.shape
    blocks = torch.stack([(left[..., :, None] * right[..., None, :]).reshape(s, t, m * m) for left, right in pairs])
    sums = (data["pattern"].transpose(1, 2) @ blocks).reshape(6, s, -1, m, m)
    zero = torch.zeros_like(values["a"])
    return {**data, "sums": sums, "shift_x": zero, "shift_y": zero[:1]}, log_left


def truth(values: Mapping[str, Tensor], data: Mapping[str, Tensor], foreseen: Tensor) -> tuple[Tensor, Tensor]:
    """y less what its embeddings foresee, and its variance given mu + delta (S, T)."""
    head = attention.coefficients(values, data)[:, 0]
    lost = ((head @ data["spread"]) * head).sum(-1)
    return data["y"] - foreseen, values["tau"] * values["tau"] + data["lost"] @ lost


def level_sums(data: Mapping[str, Tensor], level: Tensor, spread: Tensor) -> tuple[Tensor, Tensor]:
    """Sum of weights 1 / variance and weighted mean of a subject's trials (S,)."""
    weight = data["used"] / (spread + (1 - data["used"]))
    total = weight.sum(1)
    return total, (weight * level).sum(1) / (total + (total == 0))


def truth_term(values: Mapping[str, Tensor], data: Mapping[str, Tensor], level: Tensor, spread: Tensor) -> Tensor:
    """log p(y) with delta integrated out, a scalar: with w_i = 1 / v_i, W = sum w, ybar = sum w y / W per subject,

    -1/2 [ sum log v + log(1 + W sd^2) + sum w (y - ybar)^2 + W (ybar - mu)^2 / (1 + W sd^2) + n log 2 pi ].
    """
    used = data["used"]
    total, mean = level_sums(data, level, spread)
    sd2 = values["sd_delta"] * values["sd_delta"]
    filled = spread + (1 - used)
    gap, rest = mean - values["mu"], level - mean[:, None]
    each = used * (torch.log(filled) + rest * rest / filled + continuous.LOG_2PI)
    per_subject = torch.log1p(total * sd2) + total * gap * gap / (1 + total * sd2)
    return -0.5 * (each.sum() + per_subject.sum())


def effects(values: Mapping[str, Tensor], data: Mapping[str, Tensor], noise: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """One draw's quantities that people read; delta | data ~ N(c W (ybar - mu), c), 1 / c = W + 1 / sd^2."""
    weight, error = foreseen(values, data)
    sums, _ = statistics(values, data, error)
    level, spread = truth(values, data, weight)
    total, mean = level_sums(data, level, spread)
    sd2 = values["sd_delta"] * values["sd_delta"]
    c = sd2 / (1 + total * sd2)
    plain = {n: v for n, v in values.items() if n != "quality_discount"}
    n = data["used"].sum(1)
    late = continuous.effects(plain, {**sums, "n_truth": n, "mean_truth": mean, "square_truth": 0 * n}, noise)
    head = attention.coefficients(values, data)
    names = ("quality_discount", *attention.NAMES)
    return {
        **late,
        **{name: values[name] for name in names if name in values},
        "delta": c * total * (mean - values["mu"]) + torch.sqrt(c) * noise["delta"],
        "head_weight": head[:, 0],
        "head_error": head[:, 1],
        "head_sd": torch.exp(values["log_tau"] + values["log_local"]),
    }


DIMS = continuous.DIMS | {
    "gamma": ["head"],
    "head_weight": ["component"],
    "head_error": ["component"],
    "head_sd": ["component"],
}
