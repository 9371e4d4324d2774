"""Opinions as the numbers a likelihood needs: sufficient statistics, or trials padded into subjects.

Both builders keep the shapes of *all* trials and subjects they are given; what a fit may not see (held-out
subjects, trials without truth) enters as zeros. One compiled density therefore serves every fold.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.linalg import helmert

from bayesaffect.errors import InputError
from bayesaffect.fusion import dependence, habits
from bayesaffect.fusion.discount import gauss
from bayesaffect.types import Opinions, Target


@dataclass(frozen=True)
class Index:
    """Where each trial belongs: ``subjects`` (S,), ``subject`` of each trial (N,), ``used`` in the fit (N,)."""

    subjects: tuple[str, ...]
    subject: np.ndarray
    used: np.ndarray

    @property
    def counts(self) -> np.ndarray:
        """Used trials of each subject (S,)."""
        return np.bincount(self.subject[self.used], minlength=len(self.subjects))


def index(opinions: Opinions, target: str, held_out: Sequence[str] = ()) -> Index:
    """The subjects of ``opinions`` and the trials that have truth and are not held out.

    Raises
    ------
    InputError : an unknown held-out subject, or no trial left to learn from.
    """
    subjects, subject = np.unique(opinions.subject.values.astype(str), return_inverse=True)
    if unknown := sorted(set(held_out) - set(subjects)):
        raise InputError(f"held-out subjects {unknown} are not among the opinions")
    used = opinions.labelled(target) & ~np.isin(opinions.subject.values.astype(str), list(held_out))
    if not used.any():
        raise InputError(f"no trial with truth for {target!r} is left to learn from", remedy="hold out fewer subjects")
    return Index(tuple(str(s) for s in subjects), subject, used)


def check_opinions_on(opinions: Opinions, target: str) -> Target:
    """The target called ``target``.

    Raises
    ------
    InputError : it is unknown, or no modality says anything on it.
    """
    spec = opinions.target(target)
    if target not in (opinions.mean if spec.kind == "continuous" else opinions.log_prob):
        raise InputError(f"there is no opinion on target {target!r}", remedy="choose a target that the table predicts")
    return spec


def drawn_classes(probability: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A class (...) drawn from probabilities (..., K): how many cumulated ones lie below a uniform number."""
    below = (rng.random(probability.shape[:-1])[..., None] > probability.cumsum(-1)).sum(-1)
    return np.minimum(below, probability.shape[-1] - 1)  # rounding may leave their sum a little below 1


def masked(values: np.ndarray, present: np.ndarray) -> np.ndarray:
    """``values`` with zeros where a modality is not present."""
    return np.where(present.reshape(present.shape + (1,) * (values.ndim - 2)), values, 0.0)


def continuous(opinions: Opinions, target: str, where: Index, poor: np.ndarray | None = None) -> dict[str, np.ndarray]:
    """Sufficient statistics of the measurement model per subject and missingness pattern.

    With d_im = v_im^-1/2 (0 where missing), shifted opinions x and truth y, and the sums over the used trials of a
    subject with pattern p: ``sums`` (6, S, P, M, M) = sum of d_m d_n times (1, x_n, y, x_m x_n, x_n y, y^2).
    ``observed`` (P, M) are the patterns as 0/1, ``n_pattern`` (P,) their trials, ``n_opinion`` (S, M), ``n_truth``,
    ``mean_truth`` and ``square_truth`` (S,) count, mean and sum of squared deviations of the truth; ``log_variance``
    (1,)
    the sum of log v; ``shift_x`` (M,) and ``shift_y`` (1,) what was subtracted before summing.

    With ``poor`` (N, M), h of `discount`, the pattern axis of ``sums`` is four times as long: the sums above, and those
    times -h_m, times -h_n and times h_m h_n, so that (1, lambda_m, lambda_n, lambda_m lambda_n) combine them into the
    sums of r_m d_m r_n d_n. ``poor_nodes`` and ``poor_weights`` (M, 32) are the rules for sums of log r.
    """
    present = opinions.present.values
    x = masked(opinions.mean[target].values, present)
    v = np.where(present, opinions.variance[target].values, 1.0)
    y = opinions.truth[target].values
    m, s = present.shape[1], len(where.subjects)
    shift_x = x.sum(0) / np.maximum(present.sum(0), 1)
    shift_y = y[where.used].mean()
    patterns, pattern = np.unique(present, axis=0, return_inverse=True)
    pattern = pattern.ravel()
    u = where.used
    d = np.where(present, v**-0.5, 0.0)[u]
    dx = d * (x - shift_x)[u]
    yu = (y - shift_y)[u]
    dy = d * yu[:, None]
    cell = where.subject[u] * len(patterns) + pattern[u]
    pairs = ((d, d), (d, dx), (d, dy), (dx, dx), (dy, dx), (dy, dy))
    h = None if poor is None else -np.where(present, poor, 0.0)[u]
    factors = [(1.0, 1.0)] if h is None else [(1.0, 1.0), (h, 1.0), (1.0, h), (h, h)]
    sums = np.zeros((6, s, len(factors), len(patterns), m, m))
    for k, (left, right) in enumerate(pairs):
        for f, (by_left, by_right) in enumerate(factors):
            block = np.zeros((s * len(patterns), m, m))
            np.add.at(block, cell, (by_left * left)[:, :, None] * (by_right * right)[:, None, :])
            sums[k, :, f] = block.reshape(s, len(patterns), m, m)
    counts = where.counts
    mean = np.bincount(where.subject[u], yu, minlength=s) / np.maximum(counts, 1)
    square = np.bincount(where.subject[u], (yu - mean[where.subject[u]]) ** 2, minlength=s)
    opinions_per = np.zeros((s, m))
    np.add.at(opinions_per, where.subject[u], present[u].astype(float))
    rules = {}
    if h is not None:
        nodes, weights = zip(*(gauss(-h[present[u, k], k]) for k in range(m)), strict=True)
        rules = {"poor_nodes": np.stack(nodes), "poor_weights": np.stack(weights)}
    return {
        **rules,
        "sums": sums.reshape(6, s, len(factors) * len(patterns), m, m),
        "observed": patterns.astype(float),
        "n_pattern": np.bincount(pattern[u], minlength=len(patterns)).astype(float),
        "n_opinion": opinions_per,
        "n_truth": counts.astype(float),
        "mean_truth": mean,
        "square_truth": square,
        "log_variance": np.array([np.log(v[u]).sum(where=present[u])]),
        "shift_x": shift_x,
        "shift_y": np.array([shift_y]),
    }


def contrasts(k: int) -> np.ndarray:
    """Orthonormal columns V (K, K - 1), each summing to zero: V'V = I, V V' = I - 11'/K."""
    return helmert(k).T.copy()


def features(opinions: Opinions, target: str) -> np.ndarray:
    """What the pool reads of an opinion, f = V' (log p + K p) / 2 (N, M, K - 1), 0 where missing; log p >= log 1e-6.

    Half log-linear, half linear: about p = 1 / K both are the same to first order, far from it the logarithm believes
    the absence of a class without bound, the share itself hardly.
    """
    return features_of(opinions.log_prob[target].values, opinions.present.values)


def features_of(log_prob: np.ndarray, present: np.ndarray) -> np.ndarray:
    """`features` of arrays (N, M, K) and (N, M)."""
    k = log_prob.shape[2]
    log_p = masked(log_prob, present).clip(np.log(1e-6))
    return np.where(present[:, :, None], (0.5 * log_p + 0.5 * k * np.exp(log_p)) @ contrasts(k), 0.0)


def design(log_prob: np.ndarray, present: np.ndarray, poor: np.ndarray | None = None) -> np.ndarray:
    """Design rows (N, 1 + M (K - 1) + M) of the pool: 1, `features` per modality (0 where missing), missing flags.

    With ``poor`` (N, M), h of `discount`, another M (K - 1) columns -h_m f_m and M columns -h_m follow.
    """
    n, m, k = log_prob.shape
    f = features_of(log_prob, present)
    parts = [np.ones((n, 1)), f.reshape(n, m * (k - 1)), (~present).astype(float)]
    if poor is not None:
        h = np.where(present, poor, 0.0)
        parts += [(-h[:, :, None] * f).reshape(n, m * (k - 1)), -h]
    return np.concatenate(parts, axis=1)


def habits_of(opinions: Opinions, target: str, where: Index) -> habits.Habits:
    """`habits.moments` of the trials that enter a fit."""
    enters = opinions.present.values & where.used[:, None]
    label, levels = opinions.truth[target].values.astype(int), opinions.target(target).levels
    return habits.moments(features(opinions, target), enters, where.subject, label, len(levels))


def evidence_of(opinions: Opinions, target: str, where: Index) -> float:
    """`dependence.share` of the trials that enter a fit."""
    u = where.used
    p = dependence.pooled(opinions.log_prob[target].values[u], opinions.present.values[u])
    return dependence.share(p, opinions.truth[target].values[u].astype(int), where.subject[u])


def categorical(opinions: Opinions, target: str, where: Index, poor: np.ndarray | None = None) -> dict[str, np.ndarray]:
    """Trials padded into their subjects, and the statistic that is linear in the pool's coefficients.

    ``design`` (S, P, T) are the rows of `design`, trials innermost, ``used`` (S, T) the evidence of a trial
    (`dependence`), 0 if it does not enter the likelihood, and ``linear`` (S, P, K - 1) = evidence x sum over used
    trials of design x (V' e_truth): the sum of the true classes' eta is linear in it, so that only the normalisation
    needs the trials. ``habit`` (S, M, K - 1): `habits.of_subjects`.
    """
    levels = opinions.target(target).levels
    here, label = opinions.present.values, opinions.truth[target].values.astype(int)
    rows = design(opinions.log_prob[target].values, here, poor)
    f, enters = features(opinions, target), here & where.used[:, None]
    found = habits_of(opinions, target, where)
    s = len(where.subjects)
    slot = np.zeros(rows.shape[0], dtype=int)
    order = np.argsort(where.subject, kind="stable")
    sizes = np.bincount(where.subject, minlength=s)
    slot[order] = np.concatenate([np.arange(n) for n in sizes])
    padded = np.zeros((s, sizes.max(), rows.shape[1]))
    padded[where.subject, slot] = rows
    used = np.zeros((s, sizes.max()))
    evidence = evidence_of(opinions, target, where)
    used[where.subject, slot] = where.used * evidence
    truth = contrasts(len(levels))[label]
    habit = habits.of_subjects(f, enters, where.subject, s, found)
    linear = np.zeros((s, rows.shape[1], len(levels) - 1))
    u = where.used
    np.add.at(linear, where.subject[u], rows[u][:, :, None] * truth[u][:, None, :])
    linear *= evidence
    return {"design": padded.transpose(0, 2, 1).copy(), "used": used, "linear": linear, "habit": habit}


def centring(effect: np.ndarray, sd: np.ndarray) -> np.ndarray:
    """How far an effect is best sampled centred, learned from draws: w = J / (J + 1 / s^2), in [0, 1).

    1 where the data decide, 0 where the prior does (Papaspiliopoulos et al. 2007). J = 1 / Var[effect] - 1 / E[sd]^2 is
    the data's information on the effect; s is the 5 % quantile of sd, because a centred effect is hard to sample
    where sd is small.

    Parameters
    ----------
    effect : (chain, draw, ...) draws of the effect and its location, since what the data decide is their sum.
    sd : (chain, draw, ...) of its population, broadcast against it.
    """
    sd = np.broadcast_to(sd, effect.shape)
    information = np.maximum(1 / np.maximum(effect.var((0, 1)), 1e-12) - sd.mean((0, 1)) ** -2, 0.0)
    small = np.quantile(sd, 0.05, axis=(0, 1))
    return information / (information + small**-2)
