"""What a hybrid posterior says of trials: fused log-probabilities or moments."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping

import numpy as np
import torch
from scipy.stats import norm, qmc
from torch import Tensor

from bayesaffect.fusion import discount, habits, idata
from bayesaffect.fusion.hybrid import attention, embedding
from bayesaffect.fusion.hybrid import categorical as hybrid_categorical
from bayesaffect.fusion.statistics import contrasts, features, masked
from bayesaffect.types import Opinions

CATEGORICAL = ("w", "alpha", "alpha_missing", "matrix", "takeover", "delta", "rho", "sd_delta", "sd_rho")
CONTINUOUS = ("mu", "sd_delta", "tau", "a", "b", "omega", "log_kappa", "sd_rho", "rho", "correlation", "u", "delta")
HEADS = (*attention.NAMES, "head_weight", "head_error", "quality_discount", "habit", "habit_share")
CHUNK = 400_000


def is_hybrid(posterior) -> bool:
    """Whether a posterior has heads on embeddings."""
    return "head_weight" in posterior["posterior"]


def names(found) -> tuple[str, ...]:
    """What prediction reads of the draws ``found``."""
    late = CATEGORICAL if "alpha" in found else CONTINUOUS
    return tuple(n for n in (*late, *HEADS) if n in found)


def inputs(
    opinions: Opinions, target: str, reduction: embedding.Reduction, moments: np.ndarray, poor
) -> dict[str, np.ndarray]:
    """What predictions read of a trial besides its opinions: `embedding.components` as ``z`` (N, D), ``here`` (N, J),
    ``spread`` (P, D, D) and ``pattern`` (N,); ``unsure`` (N, J) and ``poor`` (N, M) or nothing; ``heads`` (J,) and
    ``owner`` (D,)."""
    parts = embedding.components(reduction, opinions, target)
    heads = np.array([opinions.modalities.index(h) for h in reduction.heads])
    found = {
        "z": parts.z,
        "here": parts.here,
        "spread": parts.spread,
        "pattern": parts.pattern,
        "unsure": attention.standardised(opinions, target, moments)[:, heads],
        "heads": heads,
        "owner": reduction.owner,
    }
    return found if poor is None else found | {"poor": poor}


def of_fit(posterior, opinions: Opinions) -> dict[str, np.ndarray]:
    """`inputs` as a fit reads other opinions."""
    target = idata.attribute(posterior, "target")["name"]
    moments = posterior["constant_data"]["unsure_moments"].values
    return inputs(opinions, target, embedding.of_fit(posterior), moments, discount.of_fit(posterior, opinions))


def fused(
    posterior, values, where: np.ndarray, opinions: Opinions, *, new: np.ndarray, rng: np.random.Generator | None = None
) -> dict[str, np.ndarray]:
    """``mean`` and ``variance`` (draw, trial), or ``log_prob`` (draw, trial, level), for `predict`; ``rng`` for the
    habits of subjects that are ``new``, by default the same for every call."""
    target, given = idata.attribute(posterior, "target")["name"], of_fit(posterior, opinions)
    if idata.attribute(posterior, "kind") == "categorical":
        stranger = (new, habits.of_fit(posterior), np.random.default_rng(0) if rng is None else rng)
        return {"log_prob": log_prob(values, where, opinions, target, given, stranger)}
    mean, variance = moments(values, where, new, opinions, target, given)
    return {"mean": mean, "variance": variance}


def attended(values: Mapping[str, Tensor], given: Mapping[str, np.ndarray], rho: Tensor, rows: np.ndarray) -> Tensor:
    """a (J, draw, rows) of `attention`; ``rho`` (J, draw, rows) with the sign that makes larger better."""
    wide = {"gamma": values["gamma"].T[:, :, None]}
    wide |= {n: values[n][None, :, None] for n in ("lambda", "nu") if n in values}

    def per_head(array):
        return torch.as_tensor(array[rows]).T[:, None]

    poor = per_head(given["poor"][:, given["heads"]]) if "poor" in given else None
    here = per_head(given["here"].astype(float)).expand(rho.shape)
    return attention.weigh(wide, rho, per_head(given["unsure"]), poor, here)


def pieces(draws: int, *keys: np.ndarray) -> Iterator[np.ndarray]:
    """Row numbers, in pieces of equal keys and at most `CHUNK` draws x rows."""
    _, code = np.unique(np.column_stack(keys), axis=0, return_inverse=True)
    step = max(1, CHUNK // draws)
    for k in range(code.max() + 1):
        rows = np.flatnonzero(code.ravel() == k)
        for begin in range(0, rows.size, step):
            yield rows[begin : begin + step]


def log_prob(
    values, where: np.ndarray, opinions: Opinions, target: str, given: Mapping[str, np.ndarray], stranger=None
) -> np.ndarray:
    """Log-probabilities (draw, trial, level), float32; ``where`` the column of each trial's subject effects.

    ``stranger``: which trials are of subjects without a habit of their own (N,), `habits.Habits` and a generator; such
    a habit is drawn given the trial's own opinions (`habits.of_trials`), trial by trial.
    """
    present, f = opinions.present.values, features(opinions, target)
    t = {name: torch.as_tensor(np.ascontiguousarray(array), dtype=torch.float64) for name, array in values.items()}
    draws, m, k = t["alpha_missing"].shape
    basis, pairs = contrasts(k), hybrid_categorical.pairs(m)
    out = np.empty((draws, len(present), k), dtype=np.float32)
    owner = torch.as_tensor(given["owner"])
    new = np.zeros(len(present), dtype=bool)
    if stranger is not None:
        new, found, rng = stranger
        guess, spread = habits.of_trials(f, present, found)
    for rows in pieces(draws, present, new):
        seen, who = present[rows[0]], torch.as_tensor(where[rows])
        eta = t["alpha"][:, None] + t["delta"][:, who]
        rho = t["rho"][:, who]
        if new[rows[0]]:
            habit = torch.as_tensor((guess[rows] + _even_noise(spread, (draws, rows.size), rng)) @ basis.T)
        else:
            habit = t["habit"][:, who]
        read = torch.as_tensor(f[rows] @ basis.T) - t["habit_share"][:, None, :, None] * habit
        for stays in range(m):
            if not seen[stays]:
                eta = eta + t["alpha_missing"][:, stays, None]
                continue
            slope = t["w"][:, stays, None, None] * t["matrix"][:, stays]
            for code, (a, gone) in enumerate(pairs):
                if a == stays and not seen[gone]:
                    slope = slope + t["takeover"][:, code]
            gain = torch.exp(rho[:, :, stays])
            if "quality_discount" in t and "poor" in given:
                gain = gain * (1 - t["quality_discount"][:, stays, None] * torch.as_tensor(given["poor"][rows, stays]))
            eta = eta + gain[:, :, None] * (read[:, :, stays] @ slope.transpose(-1, -2))
        weight = attended(t, given, rho[:, :, given["heads"]].permute(2, 0, 1), rows)
        z = weight[owner].permute(1, 2, 0) * torch.as_tensor(given["z"][rows])
        out[:, rows] = torch.log_softmax(eta + z @ t["head_weight"], -1).float().numpy()
    return out


def _even_noise(spread: np.ndarray, size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Draws (*size, M, K - 1) of N(0, spread) that lie evenly along the first axis, in another order on every trial.

    Points of a shifted Sobol sequence (Cranley and Patterson 1976) in place of independent ones: a habit shifts the
    log-odds by as much as an opinion, and with a few hundred draws its chance would be the largest error of all.
    """
    draws, rows = size
    m, c = spread.shape[:2]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # any number of points will do, not powers of two only
        points = (qmc.Sobol(m * c, scramble=False).random(draws) + rng.random(m * c)) % 1
    points = norm.ppf(points.clip(1e-9, 1 - 1e-9)).reshape(draws, m, c)
    value, vector = np.linalg.eigh(spread)
    points = np.einsum("mab,dmb->dma", vector * np.sqrt(np.maximum(value, 0.0))[:, None, :], points)
    return points[rng.permuted(np.tile(np.arange(draws)[:, None], (1, rows)), axis=0)]


def moments(
    values, where: np.ndarray, new: np.ndarray, opinions: Opinions, target: str, given: Mapping[str, np.ndarray]
):
    """Mean and variance (draw, trial) of the truth given opinions and embeddings.

    As in `predict`, with m0 + sum_j a_ij H_j z_ij for m0, v0 + h' S_o h for v0 (h = a o H on missing components, S_o
    their covariance) and x - G z for x.
    """
    present = opinions.present.values
    x = torch.as_tensor(masked(opinions.mean[target].values, present))
    sd = torch.as_tensor(np.sqrt(np.where(present, opinions.variance[target].values, 1.0)))
    t = {name: torch.as_tensor(np.ascontiguousarray(array), dtype=torch.float64) for name, array in values.items()}
    draws = t["mu"].shape[0]
    mean, variance = np.empty((2, draws, len(present)))
    owner = torch.as_tensor(given["owner"])
    for rows in pieces(draws, present, given["pattern"], new):
        first = rows[0]
        seen, who = np.flatnonzero(present[first]), torch.as_tensor(where[rows])
        rho = t["rho"][:, who]
        weight = attended(t, given, -rho[:, :, given["heads"]].permute(2, 0, 1), rows)
        z = torch.as_tensor(given["z"][rows])
        m0 = t["mu"][:, None] + t["delta"][:, who]
        m0 = m0 + (weight[owner].permute(1, 2, 0) * z * t["head_weight"][:, None]).sum(-1)
        spread = torch.as_tensor(given["spread"][given["pattern"][first]])
        lost = ((t["head_weight"] @ spread) * t["head_weight"]).sum(-1)
        v0 = (t["tau"] ** 2 + lost + (t["sd_delta"] ** 2 if new[first] else 0.0))[:, None].expand_as(m0)
        if not seen.size:
            mean[:, rows], variance[:, rows] = m0.numpy(), v0.numpy()
            continue
        scale = torch.exp(t["log_kappa"][:, None] + rho)[:, :, seen] * sd[rows][:, seen]
        if "quality_discount" in t and "poor" in given:
            scale = scale / (1 - t["quality_discount"][:, None, seen] * torch.as_tensor(given["poor"][rows][:, seen]))
        sigma = t["correlation"][:, None][:, :, seen][..., seen] * scale[..., :, None] * scale[..., None, :]
        if new[first]:
            sigma = sigma + torch.diag_embed(t["omega"][:, seen] ** 2)[:, None]
        error = torch.stack([_error(t, z, given, m) for m in seen], -1)
        b = t["b"][:, None, seen]
        rest = x[rows][:, seen] - t["a"][:, None, seen] - t["u"][:, who][..., seen] - error - b * m0[..., None]
        lower = torch.linalg.cholesky(sigma)
        solved = torch.linalg.solve_triangular(lower, torch.stack([b.expand_as(rest), rest], -1), upper=False)
        v = v0 / (1 + v0 * (solved[..., 0] ** 2).sum(-1))
        mean[:, rows] = (m0 + v * solved.prod(-1).sum(-1)).numpy()
        variance[:, rows] = v.numpy()
    return mean, variance


def _error(t: Mapping[str, Tensor], z: Tensor, given: Mapping[str, np.ndarray], modality: int) -> Tensor:
    """G z (draw, rows): what a modality's own embedding says of the error of its opinion."""
    own = torch.as_tensor((given["heads"][given["owner"]] == modality).astype(float))
    return (t["head_error"] * own) @ z.T
