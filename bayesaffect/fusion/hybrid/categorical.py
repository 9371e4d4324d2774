"""Hybrid fusion of a categorical target: the log-linear pool, and heads on embeddings under attention.

For trial i of subject s, f_im what is read of an opinion (`statistics.features`), c_sm the subject's habit (`habits`)
and components z_i of all embeddings (`embedding`; what is missing stands at its conditional mean):

    eta_i = alpha + delta_s + sum_{m present} exp(rho_sm) r_im (w_m A_m + sum_{n missing} B_mn) (f_im - g_m c_sm)
            + sum_{n missing} alpha_n + sum_j a_ij H_j z_ij,        P(class k) = softmax(eta_i)_k

a is `attention`, g_m the ``habit_share``, all else as in `categorical`. B_mn is what modality m takes over when n is
missing, entries of V' B_mn V ~ N(0, takeover^2): without it a voice that was weighed beside a face would be weighed the
same alone.

A table in which nobody is ever missing says nothing about alpha_n and B_mn. So each trial that has two or more
modalities enters once more, with some of them taken away (`dropped`), and without subject effects, which learn from
real rows only. Likelihoods of different subsets are conditional on different opinions; together they are a composite
likelihood (Varin et al. 2011), in which alpha_n and B_mn belong to the reduced rows alone. B's prior is wide, so that
these tell w and A next to nothing, which is tested; alpha and H they do tell, and since they know no subjects, the
posterior of these two is too narrow, by a quarter on a small table, for what is read off them beside predictions.

Sampled are alpha + sum_m w_m A_m fbar_m and alpha_n + w_n A_n fbar_n - sum_{m != n} B_mn fbar_m, fbar the mean of f
over the trials: intercepts where the trials are, which hardly depend on the slopes; the priors are those of alpha. Z_m
and B_mn are sampled as Z_m Q_m and V' B_mn V Q_m, columns of Q_m the principal axes of f_m, along which slopes hardly
depend on one another; their entries are independent in any orthonormal axes.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyro
import pyro.distributions as dist
import torch
from torch import Tensor

from bayesaffect.fusion import habits
from bayesaffect.fusion.discount import discounts
from bayesaffect.fusion.hybrid import attention, embedding
from bayesaffect.fusion.ratings.padded import padded
from bayesaffect.fusion.settings import Priors
from bayesaffect.fusion.statistics import Index, centring, contrasts, evidence_of, features, habits_of
from bayesaffect.types import Opinions


def pairs(m: int) -> list[tuple[int, int]]:
    """(modality that stays, modality that is missing), in the order of the takeover matrices."""
    return [(a, b) for a in range(m) for b in range(m) if a != b]


def dropped(present: np.ndarray, where: Index) -> np.ndarray:
    """What is left of the modalities ``present`` (N, M) in a trial's reduced copy; nothing where there is no copy.

    A trial with q >= 2 modalities is reduced to one of them or, for q > 2, to all but one: these in rotation over the
    trials of a subject.
    """
    out = np.zeros(present.shape, dtype=bool)
    place = np.arange(len(where.subjects))
    for i in np.flatnonzero(where.used):
        here = np.flatnonzero(present[i])
        if here.size < 2:
            continue
        left = [[m] for m in here] + ([[n for n in here if n != m] for m in here] if here.size > 2 else [])
        out[i, left[place[where.subject[i]] % len(left)]] = True
        place[where.subject[i]] += 1
    return out


def data(
    opinions: Opinions, target: str, where: Index, priors: Priors, poor, unsure, reduction: embedding.Reduction
) -> dict[str, np.ndarray]:
    """Everything the density reads. Trials are padded into subjects, S subjects with T slots, R = 2 copies of each
    (1 where no trial has two modalities): ``seen`` (R, M, S, T), ``z_j`` (d_j, R, S, T) of head j, ``here``
    (R, J, S, T), ``used`` (R, S, T) the evidence of a trial (`dependence`), ``said`` (M, K - 1, S, T) = f,
    ``habit`` (M, K - 1, S), ``mean_said`` (M, K - 1),
    ``axes`` (M, K - 1, K - 1) = Q, ``truth`` (K - 1, S, T), ``unsure`` (J, S, T), ``poor`` (M, S, T)."""
    present = opinions.present.values
    n, m = present.shape
    copies = [present, dropped(present, where)]
    copies = copies if copies[1].any() else copies[:1]
    basis = contrasts(len(opinions.target(target).levels))
    f, enters = features(opinions, target), present & where.used[:, None]
    parts = [embedding.components(reduction, opinions, target, _lost(reduction, opinions, c)) for c in copies]
    heads = [opinions.modalities.index(h) for h in reduction.heads]
    truth = np.where(where.used[:, None], basis[np.maximum(opinions.truth[target].values.astype(int), 0)], 0.0)

    def slots(values):
        return np.moveaxis(padded(values, where), (0, 1), (-2, -1)).copy()

    width, depth = basis.shape[1], len(reduction.owner)
    size = len(where.subjects)
    evidence = evidence_of(opinions, target, where)
    usual = habits.of_subjects(f, enters, where.subject, size, habits_of(opinions, target, where))
    z = np.stack([slots(p.z) for p in parts], 1)
    counts = padded(np.ones(n), where).sum(1, keepdims=True)
    scales = ("intercept", "weight", "sd_matrix", "sd_class", "sd_missing", "takeover")
    return {
        "seen": np.stack([slots(c.astype(float)) for c in copies]),
        "used": np.stack([slots(evidence * (c.any(1) if r else np.ones(n))) for r, c in enumerate(copies)]),
        **{f"z_{j}": z[reduction.owner == j] for j in range(len(heads))},
        "here": np.stack([slots(p.here.astype(float)) for p in parts]),
        "said": slots(f),
        "habit": np.moveaxis(usual, 0, -1).copy(),
        "axes": np.stack([_axes(f[seen, k]) for k, seen in enumerate(enters.T)]),
        "mean_said": f.sum(0, where=enters[:, :, None]) / np.maximum(enters.sum(0), 1)[:, None],
        "truth": slots(truth),
        "unsure": slots(unsure[:, heads]),
        **({} if poor is None else {"poor": slots(poor), "prior_quality": np.array([priors.quality])}),
        **{f"prior_{name}": np.array([getattr(priors, name)]) for name in scales},
        "prior_sd_rho": np.array([np.log(priors.sd_rho[0]), priors.sd_rho[1]]),
        "basis": basis,
        "head_of": np.eye(m)[heads],
        "centring_delta": 0.05 * counts / (0.05 * counts + 0.5**-2),
        "centring_rho": np.repeat(0.05 * counts / (0.05 * counts + 0.1**-2), m, axis=1),
        **attention.data(priors, reduction.owner, np.full((depth, width), 0.5)),
    }


def _axes(rows: np.ndarray) -> np.ndarray:
    """Principal axes (C, C), in columns, of the rows (n, C)."""
    return np.linalg.eigh(np.atleast_2d(np.cov(rows.T)))[1] if len(rows) > 1 else np.eye(rows.shape[1])


def _lost(reduction: embedding.Reduction, opinions: Opinions, left: np.ndarray) -> np.ndarray:
    """Which heads (N, J) have lost their modality in a copy."""
    return ~left[:, [opinions.modalities.index(h) for h in reduction.heads]]


def recentred(values: Mapping[str, np.ndarray], data: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The data with centring learned from draws."""
    level = (values["alpha"][:, :, None] + values["delta"]) @ data["basis"]
    delta = centring(level, values["sd_delta"][:, :, None, None])
    head = centring(values["head_weight"] @ data["basis"], values["head_sd"][..., None])
    return {
        **data,
        "centring_delta": delta.mean(-1, keepdims=True),
        "centring_rho": centring(np.log(values["reliability"]), values["sd_rho"][:, :, None]),
        "centring_head": np.broadcast_to(head.mean(-1, keepdims=True), head.shape).copy(),
    }


def model(data: Mapping[str, Tensor]) -> None:
    """The Pyro model of the module's equations; ``data`` as made by `data`."""
    m, c, s, t = data["said"].shape

    def normal(name, scale, shape, location=None):
        wide = scale.expand(shape)
        where = torch.zeros_like(wide) if location is None else location + torch.zeros_like(wide)
        return pyro.sample(name, dist.Normal(where, wide).to_event(len(shape)))

    def half(name, scale, shape):
        return pyro.sample(name, dist.HalfNormal(scale.expand(shape or (1,)).reshape(shape)).to_event(len(shape)))

    values = {
        "w": half("w", data["prior_weight"], (m,)),
        "deviation": normal("deviation", data["prior_sd_matrix"], (m, c, c)),
        "sd_delta": half("sd_delta", data["prior_sd_class"], ()),
    }
    if m > 1:
        values["takeover_c"] = normal("takeover_c", data["prior_takeover"], (m * (m - 1), c, c))
    location, scale = (data["prior_sd_rho"][k].expand((m,)) for k in (0, 1))
    values["sd_rho"] = pyro.sample("sd_rho", dist.LogNormal(location, scale).to_event(1))
    one = data["prior_weight"].expand((m,)) * 0 + 1
    values["habit_share"] = pyro.sample("habit_share", dist.Beta(one, one).to_event(1))
    if "prior_quality" in data:
        values["quality_discount"] = discounts(data["prior_quality"], m)
    shift, missing = shifts(values, data)
    values["alpha_c"] = normal("alpha_c", data["prior_intercept"], (c,), shift)
    values["missing_c"] = normal("missing_c", data["prior_sd_missing"], (m, c), missing)
    f, g = data["centring_delta"], data["centring_rho"]
    spread = torch.exp(f * torch.log(values["sd_delta"])).expand(s, c)
    values["latent_delta"] = pyro.sample("latent_delta", dist.Normal(f * values["alpha_c"], spread).to_event(2))
    spread = torch.exp(g * torch.log(values["sd_rho"]))
    values["latent_rho"] = pyro.sample("latent_rho", dist.Normal(g * torch.log(values["w"]), spread).to_event(2))
    values |= attention.sites(data, quality="poor" in data)
    eta = log_odds(values, data)
    pyro.factor("truth", (data["used"][:, None] * data["truth"] * eta).sum())
    r = eta.shape[0]
    full = data["basis"] @ eta.reshape(r, c, s * t)
    top = full.detach().amax(1, keepdim=True)
    normalisation = torch.log(torch.exp(full - top).sum(1)) + top[:, 0]
    pyro.factor("normalisation", -(data["used"].reshape(r, s * t) * normalisation).sum())


def shifts(values: Mapping[str, Tensor], data: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    """What is added to alpha (K - 1,) and alpha_n (M, K - 1) where they are sampled."""
    mean = data["mean_said"][..., None]
    own = (values["w"][:, None, None] * matrices(values, data) @ mean)[..., 0]
    missing = []
    for n in range(own.shape[0]):
        each = own[n]
        for code, (stays, gone) in enumerate(pairs(own.shape[0])):
            if gone == n:
                each = each - (takeover(values, data, code) @ mean[stays])[:, 0]
        missing.append(each)
    return own.sum(0), torch.stack(missing)


def log_odds(values: Mapping[str, Tensor], data: Mapping[str, Tensor]) -> Tensor:
    """eta on the contrasts (R, K - 1, S, T); copies after the first without subject effects."""
    m, c, s, t = data["said"].shape
    seen = data["seen"]
    copies = seen.shape[0]
    level, rho = subject_level(values, data)
    shift, missing = shifts(values, data)
    missing = values["missing_c"] - missing
    read = (data["said"] - (values["habit_share"][:, None, None] * data["habit"])[..., None]).reshape(m, c, s * t)
    pool = (values["w"][:, None, None] * matrices(values, data) @ read).reshape(m, c, s, t)
    left = 1.0
    if "quality_discount" in values:
        left = 1 - values["quality_discount"][:, None, None] * data["poor"]
    gain = torch.exp(rho).transpose(0, 1).contiguous()[:, :, None] * left  # (M, S, T) or (M, S, 1)
    plain = torch.ones_like(gain) * left
    gain = torch.stack([gain, *[plain] * (copies - 1)])
    levels = (level - shift).transpose(0, 1).contiguous()[:, :, None]  # the compiler cannot flatten what is transposed
    flat = (values["alpha_c"] - shift)[:, None, None] + torch.zeros_like(levels)
    eta = torch.stack([levels, *[flat] * (copies - 1)]) + torch.zeros_like(seen[:, :1])
    strength = gain * seen
    for k in range(m):
        eta = eta + strength[:, k, None] * pool[k] + (1 - seen[:, k, None]) * missing[k][:, None, None]
    if m > 1:
        for code, (stays, gone) in enumerate(pairs(m)):
            taken = (takeover(values, data, code) @ read[stays]).reshape(c, s, t)
            eta = eta + (strength[:, stays] * (1 - seen[:, gone]))[:, None] * taken
    weight = attention_of(values, data, rho)
    head, begin = attention.coefficients(values, data), 0
    for j in range(weight.shape[1]):
        z = data[f"z_{j}"]
        own = head[begin : begin + z.shape[0]]
        begin += z.shape[0]
        foreseen = (own.transpose(0, 1) @ z.reshape(z.shape[0], copies * s * t)).reshape(c, copies, s, t)
        eta = eta + weight[:, j, None] * foreseen.transpose(0, 1)
    return eta


def attention_of(values: Mapping[str, Tensor], data: Mapping[str, Tensor], rho: Tensor) -> Tensor:
    """a (R, J, S, T)."""
    here = data["here"].transpose(0, 1)
    j, copies = here.shape[:2]
    own = (data["head_of"] @ rho.transpose(0, 1))[:, None, :, None]
    own = torch.cat([own, *[torch.zeros_like(own)] * (copies - 1)], 1)
    poor = None
    if "poor" in data:
        poor = (data["head_of"] @ data["poor"].reshape(data["poor"].shape[0], -1)).reshape(j, 1, *here.shape[2:])
    wide = {"gamma": values["gamma"][:, None, None, None], **{n: values[n] for n in ("lambda", "nu") if n in values}}
    return attention.weigh(wide, own, data["unsure"][:, None], poor, here).transpose(0, 1)


def subject_level(values: Mapping[str, Tensor], data: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    """alpha + delta as sampled (S, K - 1) and rho (S, M) from their partially centred latents."""
    f, g = data["centring_delta"], data["centring_rho"]
    level = values["alpha_c"] + torch.exp((1 - f) * torch.log(values["sd_delta"])) * (
        values["latent_delta"] - f * values["alpha_c"]
    )
    rho = torch.exp((1 - g) * torch.log(values["sd_rho"])) * (values["latent_rho"] - g * torch.log(values["w"]))
    return level, rho


def matrices(values: Mapping[str, Tensor], data: Mapping[str, Tensor]) -> Tensor:
    """A_m in the contrasts' coordinates (M, K - 1, K - 1), trace K - 1."""
    z = values["deviation"] @ data["axes"].transpose(-1, -2)
    eye = torch.eye(z.shape[-1], dtype=z.dtype)
    trace = (z * eye).sum((-1, -2), keepdim=True) / z.shape[-1]
    return eye + z - trace * eye


def takeover(values: Mapping[str, Tensor], data: Mapping[str, Tensor], code: int) -> Tensor:
    """V' B V (K - 1, K - 1) of one of `pairs`."""
    stays, _ = pairs(data["axes"].shape[0])[code]
    return values["takeover_c"][code] @ data["axes"][stays].transpose(0, 1)


def effects(values: Mapping[str, Tensor], data: Mapping[str, Tensor], noise: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """One draw's quantities that people read, in class coordinates. ``noise`` is not used."""
    basis = data["basis"]
    level, rho = subject_level(values, data)
    shift, missing = shifts(values, data)
    names = ("w", "sd_delta", "sd_rho", "habit_share", "quality_discount", *attention.NAMES)
    taken = [basis @ takeover(values, data, k) @ basis.T for k in range(len(pairs(data["axes"].shape[0])))]
    return {
        **{name: values[name] for name in names if name in values},
        **({"takeover": torch.stack(taken)} if taken else {}),
        "alpha": basis @ (values["alpha_c"] - shift),
        "alpha_missing": (values["missing_c"] - missing) @ basis.T,
        "matrix": basis @ matrices(values, data) @ basis.T,
        "delta": (level - values["alpha_c"]) @ basis.T,
        "rho": rho,
        "habit": data["habit"].permute(2, 0, 1) @ basis.T + 0 * values["w"][:, None],
        "reliability": values["w"] * torch.exp(rho),
        "share": values["w"] / values["w"].sum(-1, keepdim=True),
        "temperature": 1 / values["w"].sum(-1),
        "head_weight": attention.coefficients(values, data) @ basis.T,
        "head_sd": torch.exp(values["log_tau"] + values["log_local"]),
    }


DIMS = {
    **{name: ["modality"] for name in ("w", "sd_rho", "share", "quality_discount", "habit_share")},
    **{name: ["subject", "modality"] for name in ("rho", "reliability")},
    "alpha": ["level"],
    "alpha_missing": ["modality", "level"],
    "matrix": ["modality", "level", "level_bis"],
    "takeover": ["pair", "level", "level_bis"],
    "delta": ["subject", "level"],
    "habit": ["subject", "modality", "level"],
    "gamma": ["head"],
    "head_weight": ["component", "level"],
    "head_sd": ["component"],
}
