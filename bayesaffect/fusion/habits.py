"""What a subject's opinions have in common whatever the subject was shown: habits of a face, a voice or a body.

In the coordinates of `statistics.features`, an opinion of modality m on trial i of subject s is taken as

    f_im = f_m + c_sm + e_im,       c_sm ~ N(0, Omega_m),       Cov(e_im) = T_m,       Cov(e_im | class) = W_m

Subjects who saw much the same should have the same mean opinion; that they have not is their habit c, and a pool that
subtracts it reads deviations within a subject. Estimates are moments of the analysis of variance (Searle et al. 1992)
and use no truth, except W and the class means, which only adaptation and joint prediction read; so the pool stays a
regression on what the opinions say. How much of the difference between subjects is habit, not stimulus, the pool learns
itself (`categorical`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

FLOOR = 1e-6


class Habits(NamedTuple):
    """``centre`` (M, K - 1), ``between`` Omega, ``within`` T and ``residual`` W (M, K - 1, K - 1), ``classes``
    (K, M, K - 1), mean opinion on a class less ``centre``."""

    centre: np.ndarray
    between: np.ndarray
    within: np.ndarray
    residual: np.ndarray
    classes: np.ndarray


def moments(f: np.ndarray, here: np.ndarray, subject: np.ndarray, truth: np.ndarray, classes: int) -> Habits:
    """Moments of opinions ``f`` (N, M, K - 1) where ``here`` (N, M), of ``subject`` (N,) and class ``truth`` (N,).

    Omega = Cov(subject means) - T mean(1 / n), its eigenvalues not below zero; all zero
    where fewer than two subjects have two trials of a modality."""
    m, c = f.shape[1:]
    k, subjects = classes, int(subject.max()) + 1
    centre, between, effects = np.zeros((m, c)), np.zeros((m, c, c)), np.zeros((k, m, c))
    within, residual = np.tile(np.eye(c), (2, m, 1, 1))
    for j in range(m):
        seen = here[:, j]
        who, label, x = subject[seen], truth[seen], f[seen, j]
        n = np.bincount(who, minlength=subjects)
        if not x.size:
            continue
        means = _means(x, who, len(n))
        centre[j] = means[n > 0].mean(0)
        rest = x - means[who]
        free = x.shape[0] - (n > 0).sum()
        if (n > 1).sum() < 2 or free < 2 * c:
            within[j] = residual[j] = np.cov(x.T) + FLOOR * np.eye(c) if x.shape[0] > 2 * c else np.eye(c)
            effects[:, j] = _means(x - centre[j], label, k)
            continue
        within[j] = rest.T @ rest / free + FLOOR * np.eye(c)
        many = n > 1
        noise = within[j] * (1 / n[many]).mean()
        value, vector = np.linalg.eigh(np.cov(means[many].T) - noise)
        between[j] = (vector * np.maximum(value, 0.0)) @ vector.T
        number = np.bincount(label, minlength=k)
        mixed = np.zeros((len(n), k))
        np.add.at(mixed, (who, label), 1.0)
        # class means within subjects: regression of the deviations on the deviations of the class indicators
        indicator = np.eye(k)[label] - (mixed / np.maximum(n, 1)[:, None])[who]
        effect = np.linalg.lstsq(indicator, rest, rcond=None)[0]
        effects[:, j] = np.where(number[:, None] > 0, effect - (number / number.sum()) @ effect, 0.0)
        left = rest - indicator @ effect
        residual[j] = left.T @ left / max(free - k + 1, 1) + FLOOR * np.eye(c)
    return Habits(centre, between, within, residual, effects)


def _means(values: np.ndarray, group: np.ndarray, count: int) -> np.ndarray:
    total = np.zeros((count, values.shape[1]))
    np.add.at(total, group, values)
    return total / np.maximum(np.bincount(group, minlength=count), 1)[:, None]


def of_subjects(f: np.ndarray, here: np.ndarray, subject: np.ndarray, count: int, found: Habits) -> np.ndarray:
    """E[c_sm | opinions] = Omega (Omega + T / n)^-1 (mean_s - centre) of ``count`` subjects (S, M, K - 1)."""
    out = np.zeros((count, *f.shape[1:]))
    for j in range(f.shape[1]):
        seen = here[:, j]
        n = np.bincount(subject[seen], minlength=count)
        means = _means(f[seen, j] - found.centre[j], subject[seen], count)
        for s in np.flatnonzero(n):
            out[s, j] = gain(found.between[j], found.within[j] / n[s]) @ means[s]
    return out


def gain(prior: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """P (P + N)^-1 (..., C, C): what of an observation with noise N is believed of an effect with variance P."""
    return np.swapaxes(np.linalg.solve(prior + noise, prior), -1, -2)


def of_trials(f: np.ndarray, here: np.ndarray, found: Habits, mean: np.ndarray | None = None, spread=None):
    """c of new subjects given one trial: mean (N, M, K - 1) = m + G (f - centre - m), G = P (P + T)^-1, and variance
    (M, K - 1, K - 1) = P - G P; m and P what was known before, ``mean`` (M, K - 1) and ``spread``, or 0 and Omega."""
    prior = found.between if spread is None else spread
    before = np.zeros_like(found.centre) if mean is None else mean
    step = gain(prior, found.within)
    rest = np.where(here[:, :, None], f - found.centre - before, 0.0)
    return before + np.einsum("mab,nmb->nma", step, rest), prior - step @ prior


def given_classes(f: np.ndarray, here: np.ndarray, share: np.ndarray, found: Habits, noise: np.ndarray | None = None):
    """c given trials whose classes have probabilities ``share`` (N, K): mean (M, K - 1), variance (M, K - 1, K - 1).

    Precision Omega^-1 + n W^-1, mean = variance W^-1 sum_i (f_i - centre - sum_k share_ik classes_k), n the trials
    that have the modality; ``noise`` (M, K - 1, K - 1) in place of W where classes are not certain.
    """
    noise = found.residual if noise is None else noise
    rest = np.where(here[:, :, None], f - found.centre - np.einsum("nk,kmc->nmc", share, found.classes), 0.0)
    n = here.sum(0)
    each = noise / np.maximum(n, 1)[:, None, None]
    step = np.where(n[:, None, None] > 0, gain(found.between, each), 0.0)
    mean = np.einsum("mab,mb->ma", step, rest.sum(0) / np.maximum(n, 1)[:, None])
    return mean, found.between - step @ found.between


def stored(found: Habits) -> dict[str, np.ndarray]:
    """`Habits` as arrays of ``constant_data``."""
    return {f"habit_{name}": value for name, value in found._asdict().items()}


def of_fit(posterior) -> Habits | None:
    """`Habits` of a fit; ``None`` for a fit without."""
    constant: Mapping = posterior["constant_data"]
    if "habit_centre" not in constant:
        return None
    return Habits(*(constant[f"habit_{name}"].values for name in Habits._fields))


def noise(spread: np.ndarray, size: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Draws (*size, M, K - 1) of N(0, spread); directions without variance stay 0."""
    value, vector = np.linalg.eigh(spread)
    root = vector * np.sqrt(np.maximum(value, 0.0))[:, None, :]
    return np.einsum("mab,...mb->...ma", root, rng.standard_normal((*size, *spread.shape[:2])))
