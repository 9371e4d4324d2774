"""Parameters drawn from `Priors`, and opinions with truth drawn from the model at those parameters.

A second definition of the models' equations, in NumPy and on purpose apart from the Pyro one: simulation-based
calibration compares the two. A change of the model that is not made here too is found as a miscalibration.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr
from scipy.linalg import helmert

from bayesaffect.errors import InputError
from bayesaffect.fusion import habits
from bayesaffect.fusion.settings import Priors
from bayesaffect.types import Opinions, Target


@dataclass(frozen=True)
class Shape:
    """How much is drawn: people, trials of each, voices, and the share of opinions that is missing.

    ``levels`` of a categorical target; 0 for a continuous one. Who lacks what, and the predictive variances or class
    probabilities, are the same for every seed: the model says nothing about them.
    """

    subjects: int = 8
    trials: int = 8
    modalities: int = 2
    levels: int = 0
    missing: float = 0.2

    def __post_init__(self):
        if min(self.subjects, self.trials, self.modalities) < 1 or self.levels == 1 or not 0 <= self.missing < 1:
            raise InputError("there must be a subject, a trial and a modality, and two classes where there are any")


@dataclass(frozen=True)
class Unbounded(Opinions):
    """Opinions whose truth may leave its scale, as a Normal does and a rating does not."""

    def __post_init__(self):
        """Nothing is refused: what is drawn from the model fits the model."""


def opinions(shape: Shape, *, priors: Priors | None = None, seed: int) -> tuple[dict[str, np.ndarray], Opinions]:
    """Draw every parameter, then truth and opinions.

    Continuous (`continuous`), S subjects, M modalities:

        mu ~ N(level), sd_delta, tau, omega_m ~ HalfNormal, a_m ~ N(bias), b_m ~ N(gain), log kappa_m ~ N(log_kappa),
        sd_rho_m ~ LogNormal, R ~ LKJ(eta);    y ~ N(mu + delta_s, tau^2),    x = a + b y + u_s + e

    The truth is not bounded here, as in the model, though ratings are.

    Categorical (`categorical`): class probabilities of the modalities are given; then

        alpha, alpha_m = V N(0, scale^2), w_m ~ HalfNormal, A_m = V (I + Z - tr(Z) / (K - 1) I) V', sd_delta ~
        HalfNormal, gamma_m ~ Uniform(0, 1), y ~ Categorical(softmax(eta))

    Returns
    -------
    Parameters under the names and in the shapes of a fit's posterior (one draw of it), and the opinions.
    """
    priors = priors or Priors()
    fixed, rng = np.random.default_rng(0), np.random.default_rng(seed)
    n = shape.subjects * shape.trials
    here = fixed.random((n, shape.modalities)) >= shape.missing
    here[np.arange(n), fixed.integers(shape.modalities, size=n)] = True
    who = np.repeat(np.arange(shape.subjects), shape.trials)
    draw = _pool if shape.levels else _measurement
    return draw(shape, priors, who, here, fixed, rng)


def _measurement(shape: Shape, priors: Priors, who, here, fixed, rng) -> tuple[dict[str, np.ndarray], Opinions]:
    s, m = shape.subjects, shape.modalities
    v = np.exp(fixed.normal(np.log(0.04), 0.4, here.shape))
    p = {
        "mu": rng.normal(*priors.level),
        "sd_delta": abs(rng.normal(0, priors.sd_level)),
        "tau": abs(rng.normal(0, priors.sd_truth)),
        "a": rng.normal(*priors.bias, m),
        "b": rng.normal(*priors.gain, m),
        "omega": abs(rng.normal(0, priors.sd_offset, m)),
        "log_kappa": rng.normal(*priors.log_kappa, m),
        "sd_rho": rng.lognormal(np.log(priors.sd_rho[0]), priors.sd_rho[1], m),
    }
    p["correlation"] = lkj(m, priors.eta, rng)
    p["delta"] = rng.normal(0, p["sd_delta"], s)
    p["u"] = rng.normal(0, p["omega"], (s, m))
    p["rho"] = rng.normal(0, p["sd_rho"], (s, m))
    p["kappa"] = np.exp(p["log_kappa"])
    p["reliability"] = p["kappa"] * np.exp(p["rho"])
    y = rng.normal((p["mu"] + p["delta"])[who], p["tau"])
    noise = rng.multivariate_normal(np.zeros(m), p["correlation"], who.size)
    x = p["a"] + p["b"] * y[:, None] + p["u"][who] + p["reliability"][who] * np.sqrt(v) * noise
    return p, _labelled(Target("valence", (-1.0, 1.0)), who, here, y, {"mean": x, "variance": v})


def _pool(shape: Shape, priors: Priors, who, here, fixed, rng) -> tuple[dict[str, np.ndarray], Opinions]:
    s, m, k = shape.subjects, shape.modalities, shape.levels
    logits = 1.5 * fixed.normal(size=(who.size, m, k))
    log_p = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    v = helmert(k).T
    z = rng.normal(0, priors.sd_matrix, (m, k - 1, k - 1))
    z = np.eye(k - 1) * (1 - np.trace(z, axis1=1, axis2=2)[:, None, None] / (k - 1)) + z
    p = {
        "alpha": v @ rng.normal(0, priors.intercept, k - 1),
        "alpha_missing": rng.normal(0, priors.sd_missing, (m, k - 1)) @ v.T,
        "w": abs(rng.normal(0, priors.weight, m)),
        "matrix": v @ z @ v.T,
        "sd_delta": abs(rng.normal(0, priors.sd_class)),
        "sd_rho": rng.lognormal(np.log(priors.sd_rho[0]), priors.sd_rho[1], m),
    }
    p["delta"] = rng.normal(0, p["sd_delta"], (s, k - 1)) @ v.T
    p["rho"] = rng.normal(0, p["sd_rho"], (s, m))
    p["reliability"] = p["w"] * np.exp(p["rho"])
    p["share"], p["temperature"] = p["w"] / p["w"].sum(), 1 / p["w"].sum()
    p["habit_share"] = rng.uniform(size=m)
    read = 0.5 * (log_p + k * np.exp(log_p))
    contrast = np.where(here[:, :, None], read @ v, 0.0)
    found = habits.moments(contrast, here, who, np.zeros(who.size, dtype=int), k)  # a function of opinions alone
    p["habit"] = habits.of_subjects(contrast, here, who, s, found) @ v.T
    left = read - p["habit_share"][:, None] * p["habit"][who]
    voices = np.einsum("mkl,nml->nmk", p["matrix"], left) * p["reliability"][who][:, :, None]
    eta = (p["alpha"] + p["delta"])[who] + np.where(here[:, :, None], voices, p["alpha_missing"]).sum(1)
    y = (eta + rng.gumbel(size=eta.shape)).argmax(1)
    target = Target("emotion", levels=tuple(f"class {j + 1}" for j in range(k)))
    return p, _labelled(target, who, here, y, {"log_prob": log_p})


def lkj(m: int, eta: float, rng: np.random.Generator) -> np.ndarray:
    """A correlation matrix (M, M) with density proportional to det(R)^(eta - 1), row by row of an "onion".

    A new row is w = L q, with L the factor of the rows before, q uniform in direction and |q|^2 ~ Beta(j / 2, eta + (m
    - 1 - j) / 2) for row j = 1, 2, ... (Lewandowski, Kurowicka and Joe 2009).
    """
    r = np.eye(m)
    for j in range(1, m):
        direction = rng.normal(size=j)
        q = np.sqrt(rng.beta(j / 2, eta + (m - 1 - j) / 2)) * direction / np.linalg.norm(direction)
        r[j, :j] = r[:j, j] = np.linalg.cholesky(r[:j, :j]) @ q
    return r


def _labelled(target: Target, who, here, y, said) -> Opinions:
    names = np.array([f"S{s + 1:03d}" for s in who])
    index = {
        "trial": [f"{s}/T{i:04d}" for i, s in enumerate(names)],
        "modality": [f"m{j + 1}" for j in range(here.shape[1])],
        "subject": ("trial", names),
        "stimulus": ("trial", [f"clip{i:04d}" for i in range(who.size)]),
    }
    tables = {}
    for field, values in said.items():
        inner = {"level": list(target.levels)} if field == "log_prob" else {}
        seen = here.reshape(here.shape + (1,) * len(inner))
        blanked = np.where(seen, values, np.nan)
        tables[field] = {target.name: xr.DataArray(blanked, dims=("trial", "modality", *inner), coords=index | inner)}
    here = xr.DataArray(here, dims=("trial", "modality"), coords=index)
    truth = xr.Dataset({target.name: ("trial", y)}, coords={"trial": index["trial"]})
    return Unbounded((target,), here, truth, **tables)
