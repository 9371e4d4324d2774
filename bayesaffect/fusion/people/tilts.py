"""How strongly a person's face, voice or body speaks of each class: effects that labels of a new person teach.

For a person s of whom trials are labelled after the fit, the pool of `categorical` reads

    eta_i = alpha + V d_s + sum_m r_im w_m exp(rho_sm) A_m V' diag(1 + t_sm) V (f_im - gamma_m c_sm) + (missing terms),
    v_s = (d_s, rho_s, t_s) = B c_s + e_s,        e_s ~ N(0, diag(sd_delta^2, sd_rho_m^2, tau_m^2)),

t_smk how much more than others' its opinions of modality m say where they speak of class k. Habit and effects depend
on one another, through B: a habit foretells how a person is to be read. B and tau are found by empirical Bayes on the
fit's people, at the mean of the other parameters: the EM algorithm with Laplace's approximation (Laird 1978; Breslow
and Clayton 1993). With habits c_s given the classes of s, mode v_s and covariance C_s of its effects,

    B = (sum_s v_s c_s') (sum_s c_s c_s' + M (K - 1) Omega)^-1,
    tau_m^2 = (4 tau_0^2 + sum_s sum_k [(v_s - B c_s)^2 + C_s]_mk) / (4 + S K).

The ridge says that before the data a habit foretells as much of an effect as it does not: B c has the variance of e.
People of the fit keep the effects of its posterior, and nobody has t without labels: the coefficients of the pool were
fitted without it, so they are already what is right on average over people.
"""

from __future__ import annotations

import numpy as np

from bayesaffect.fusion import habits
from bayesaffect.fusion.people import effects_pool
from bayesaffect.fusion.people.effects_pool import Tilts
from bayesaffect.fusion.statistics import Index
from bayesaffect.types import Opinions

STEPS = 12
NEWTON = 2  # each starts where the last one ended
PEOPLE = 200
TRIALS = 500
WIDEST = 150
USUAL = 0.15
COUNT = 4.0
LEAST = 0.05


def learned(
    values, found: habits.Habits, opinions: Opinions, target: str, where: Index, poor: np.ndarray | None = None
) -> Tilts | None:
    """`Tilts` of a fit from its draws ``values`` (chain, draw, ...), its habits and the trials that entered.

    ``poor`` (N, M) as in `discount`. At most PEOPLE people and TRIALS trials of each are read, evenly chosen; ``None``
    where there were fewer than two people, or where a person had more than WIDEST effects."""
    m, c = found.centre.shape
    k = c + 1
    people = np.flatnonzero(where.counts)
    if people.size < 2 or c + m + m * k > WIDEST:
        return None
    names = ("w", "alpha", "alpha_missing", "matrix", "habit_share", "sd_delta", "sd_rho", "quality_discount")
    mean = {n: np.asarray(values[n]).mean((0, 1))[None] for n in names if n in values}
    pools, labels, usual = [], [], []
    for s in people[:: int(np.ceil(people.size / PEOPLE))]:
        rows = np.flatnonzero(where.used & (where.subject == s))
        rows = rows[:: int(np.ceil(rows.size / TRIALS))]
        mine = opinions.select(rows)
        label = mine.truth[target].values.astype(int)
        usual.append(effects_pool.habit(found, mine, target, label, (1, m, c))[0])
        own = None if poor is None else poor[rows]
        pools.append(effects_pool.pool(mean, usual[-1][None], mine, target, own))
        labels.append(label)
    return estimated(mean, pools, labels, np.array(usual), found.between)


def estimated(values, pools, labels, usual: np.ndarray, between: np.ndarray) -> Tilts:
    """The EM algorithm of the module; ``values`` with one draw, ``usual`` (S, M, K - 1) habits, ``between`` Omega."""
    n, m, c = usual.shape
    k, width = c + 1, m * c
    flat = usual.reshape(n, width)
    ridge = habits.FLOOR * np.eye(width)
    for j in range(m):
        ridge[j * c : (j + 1) * c, j * c : (j + 1) * c] += width * between[j]
    tilts = Tilts(np.zeros((c + m + m * k, m, c)), np.full(m, USUAL))
    v = np.zeros((n, c + m + m * k))
    for _ in range(STEPS):
        rest = np.zeros(v.shape)
        for s, (pool, label) in enumerate(zip(pools, labels, strict=True)):
            prior = effects_pool.prior(values, usual[s][None], tilts)
            mode, lower = effects_pool.posterior(prior, pool, label, start=v[s][None], steps=NEWTON)
            v[s] = mode[0]
            rest[s] = (np.linalg.inv(lower[0]) ** 2).sum(0)
        slope = np.linalg.solve(flat.T @ flat + ridge, flat.T @ v).T
        rest += (v - flat @ slope.T) ** 2
        total = rest[:, c + m :].reshape(n, m, k).sum((0, 2))
        tilts = Tilts(slope.reshape(-1, m, c), np.sqrt((COUNT * USUAL**2 + total) / (COUNT + n * k)))
    return tilts


def centred(rho: np.ndarray, tilt: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """rho (..., M) and t (..., M, K) with the same exp(rho) (1 + t), the mean of t over classes 0: what is common to
    all classes is the reliability of the modality. Where that mean is near -1 or below, both stay."""
    overall = 1 + tilt.mean(-1)
    overall = np.where(overall > LEAST, overall, 1.0)
    return rho + np.log(overall), (1 + tilt) / overall[..., None] - 1


def stored(tilts: Tilts | None) -> dict[str, np.ndarray]:
    """`Tilts` as arrays of ``constant_data``; none of none."""
    return {} if tilts is None else {f"tilt_{name}": value for name, value in tilts._asdict().items()}


def of_fit(posterior) -> Tilts | None:
    """`Tilts` of a fit; ``None`` for a fit without."""
    constant = posterior["constant_data"]
    if "tilt_spread" not in constant:
        return None
    return Tilts(*(constant[f"tilt_{name}"].values for name in Tilts._fields))
