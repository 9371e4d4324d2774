"""What is left of the pool where modalities are missing: the others take over, as far as training trials say.

A logarithmic pool that learned how much two voices count together does not know how much one of them counts alone, and
where nobody lacked a modality in training its correction alpha_m has learned nothing. So every set S of modalities that
may be left gets coefficients of its own, learned from all training trials that have them, with the others hidden:

    eta_i = alpha + delta_s + a_S + sum_{m in S} exp(rho_sm) r_im (w_m A_m + D_Sm) (f_im - gamma_m c_sm)

with everything but a_S and D_S at the posterior mean of the fit. They are the mode under the prior

    a_S ~ N(sum_{m not in S} alpha_m, sd_missing^2),       D_Sm = h o_m A_m + E,     h ~ N(0, takeover^2),
    entries of E ~ N(0, (sd_matrix o_m)^2),     o_m = max(w_m, mean of w):

a voice that is left takes over in its own direction first, even one that counts for nothing beside the others because
they say the same. A prediction adds D_S to every draw. This is a second stage,
like `tilts`: the fit does not learn from hidden voices, which would count every trial several times.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from scipy.optimize import minimize
from scipy.special import log_softmax

from bayesaffect.fusion.settings import Priors
from bayesaffect.fusion.statistics import Index, contrasts, features
from bayesaffect.types import Opinions

EVERY = 4  # up to so many modalities all subsets are learned
WIDEST = 1500


class Absence(NamedTuple):
    """``present`` bool (pattern, M); ``level`` (pattern, K - 1), a_S; ``slope`` (pattern, M, K - 1, K - 1), D_S."""

    present: np.ndarray
    level: np.ndarray
    slope: np.ndarray


def patterns(present: np.ndarray) -> np.ndarray:
    """Sets of modalities that may be left, bool (pattern, M): all of up to four modalities; of more, each alone, all
    but one, and those that occur in ``present`` (N, M). The whole and the empty set are no patterns."""
    m = present.shape[1]
    if m <= EVERY:
        found = {s for s in itertools.product((False, True), repeat=m) if 0 < sum(s) < m}
    else:
        eye = np.eye(m, dtype=bool)
        found = {tuple(row.tolist()) for rows in (eye, ~eye, present) for row in np.unique(rows, axis=0)}
    return np.array(sorted(s for s in found if 0 < sum(s) < m), dtype=bool).reshape(-1, m)


def learned(
    values: Mapping[str, np.ndarray],
    opinions: Opinions,
    target: str,
    where: Index,
    priors: Priors,
    *,
    habit_of: np.ndarray | None = None,
    poor: np.ndarray | None = None,
) -> Absence | None:
    """`Absence` of a fit from its draws ``values`` (chain, draw, ...) and the trials that entered.

    ``habit_of`` (S, M, K - 1) are the subjects' habits, ``poor`` (N, M) as in `discount`. ``None`` where there is one
    modality only, or no trial.
    """
    here, used = opinions.present.values, where.used
    k = len(opinions.target(target).levels)
    m, c, basis = here.shape[1], k - 1, contrasts(k)
    if m < 2 or not used.any():
        return None
    mean = {name: np.asarray(array).mean((0, 1)) for name, array in values.items()}
    direction = np.swapaxes(basis.T @ mean["matrix"] @ basis, 1, 2)
    slope = mean["w"][:, None, None] * direction
    scale = np.maximum(mean["w"], mean["w"].mean())
    who, label = where.subject[used], opinions.truth[target].values[used].astype(int)
    f = features(opinions, target)[used]
    if habit_of is not None:
        f = f - mean["habit_share"][:, None] * habit_of[who]
    if poor is not None and "quality_discount" in mean:
        f = f * (1 - mean["quality_discount"] * np.where(here, poor, 0.0)[used])[:, :, None]
    f = f * np.exp(mean["rho"])[who][:, :, None]
    offset = (mean["alpha"] + mean["delta"][who]) @ basis
    sets, level, change = patterns(here[used]), [], []
    missing = mean["alpha_missing"] @ basis
    for left in sets:
        rows = here[used][:, left].all(1)
        size = c * (1 + left.sum() * c)
        usual = missing[~left].sum(0)
        level.append(usual)
        change.append(np.zeros((m, c, c)))
        if size <= WIDEST and rows.any():
            fixed = offset[rows] + np.einsum("nmc,mck->nk", f[rows][:, left], slope[left])
            found = _mode(f[rows][:, left], fixed, label[rows], direction[left], usual, scale[left], priors)
            level[-1], change[-1][left] = found
    return Absence(sets, np.array(level), np.array(change))


def _mode(f, offset, label, direction, usual, scale, priors: Priors):
    """a_S (K - 1,) and D_S (|S|, K - 1, K - 1) of one pattern: the mode of the module's posterior.

    ``offset`` (n, K - 1): everything else in eta; ``direction`` A_m; ``usual`` the prior mean of a_S; ``scale`` o_m.
    """
    n, s, c = f.shape
    basis = contrasts(c + 1)
    flat = f.reshape(n, s * c)
    hot = np.eye(c + 1)[label]
    along = scale[:, None, None] * direction
    narrow = (priors.sd_matrix * scale)[:, None, None]

    def cost(x):
        level, h, rest = x[:c], x[c : c + s], x[c + s :].reshape(s, c, c)
        change = h[:, None, None] * along + rest
        eta = (offset + usual + level + flat @ change.reshape(s * c, c)) @ basis.T
        log_p = log_softmax(eta, axis=1)
        scaled = level / priors.sd_missing, h / priors.takeover, rest / narrow
        value = -log_p[np.arange(n), label].sum() + 0.5 * sum((part**2).sum() for part in scaled)
        error = (np.exp(log_p) - hot) @ basis
        inner = (flat.T @ error).reshape(s, c, c)
        gradient = (
            error.sum(0) + level / priors.sd_missing**2,
            (inner * along).sum((1, 2)) + h / priors.takeover**2,
            inner + rest / narrow**2,
        )
        return value, np.concatenate([part.ravel() for part in gradient])

    x = minimize(cost, np.zeros(c + s + s * c * c), jac=True, method="L-BFGS-B", options={"maxiter": 200}).x
    rest = x[c + s :].reshape(s, c, c)
    return usual + x[:c], x[c : c + s][:, None, None] * along + rest


def stored(absence: Absence | None) -> dict[str, np.ndarray]:
    """`Absence` as arrays of ``constant_data``; none of none."""
    return {} if absence is None else {f"absence_{name}": value for name, value in absence._asdict().items()}


def of_fit(posterior) -> Absence | None:
    """`Absence` of a fit; ``None`` for a fit without."""
    constant = posterior["constant_data"]
    if "absence_present" not in constant:
        return None
    found = Absence(*(constant[f"absence_{name}"].values for name in Absence._fields))
    return found._replace(present=found.present.astype(bool))


def position(absence: Absence | None, present: np.ndarray) -> np.ndarray:
    """Which pattern each trial (N, M) is, or -1 (N,)."""
    out = np.full(present.shape[0], -1)
    if absence is not None:
        for k, left in enumerate(absence.present):
            out[(present == left).all(1)] = k
    return out
