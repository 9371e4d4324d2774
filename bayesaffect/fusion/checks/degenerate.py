"""Data on which the density of a continuous model has no upper bound, or no room: refused, in one sentence each."""

from __future__ import annotations

import numpy as np

from bayesaffect.errors import InputError
from bayesaffect.fusion.statistics import Index
from bayesaffect.types import Opinions

MOST_VOICES = 30
MOST_NUMBERS = 200_000_000
LEAST_FREEDOM = 3
EXACT = 1e-12
COPY = 1e-4


def refuse(opinions: Opinions, target: str, where: Index, *, likelihood: str = "normal") -> None:
    """Check what the sampler cannot mend.

    Errors that are exactly zero have an infinite density at kappa = 0, and a truth that never varies has one at tau =
    0. With x~ and y~ the deviations from the subject's means, and f = sum_s (n_s - 1) >= 3 of them free:

        sum y~^2 = 0 (not for ordinal ratings);  sum x~^2 = 0;  sum x~^2 sum y~^2 = (sum x~ y~)^2.

    Two modalities with sum (x~_m - x~_n)^2 < 1e-4 sum x~_m^2 are one: their difference, which is no error of either,
    would tell that errors are small.

    Raises
    ------
    InputError : one of these, copies, more than 30 modalities, or more missingness patterns than fit into memory.
    """
    m = len(opinions.modalities)
    if m > MOST_VOICES:
        raise InputError(
            f"{m} modalities have {m * (m - 1) // 2} error correlations, too many to learn (the most is {MOST_VOICES})",
            remedy="average those that belong together, or keep the best",
        )
    patterns = len(np.unique(opinions.present.values, axis=0))
    if likelihood == "normal" and 6 * len(where.subjects) * patterns * m * m > MOST_NUMBERS:
        raise InputError(
            f"{patterns} combinations of missing modalities in {len(where.subjects)} subjects do not fit into memory",
            remedy="leave out modalities that are rarely there",
        )
    _refuse_copies(opinions, target, where)
    y = opinions.truth[target].values[where.used]
    who = where.subject[where.used]
    inside, free = _inside(y, who)
    if likelihood != "ordinal" and free >= LEAST_FREEDOM and inside @ inside < EXACT * y.size:
        raise InputError(
            f"the truth of {target!r} is the same on all trials of a subject",
            remedy="there is nothing to learn from it",
        )
    for k, name in enumerate(opinions.modalities):
        seen = opinions.present.values[where.used, k]
        x, free = _inside(opinions.mean[target].values[where.used, k][seen], who[seen])
        level, _ = _inside(y[seen], who[seen])
        if free < LEAST_FREEDOM:
            continue
        size = x @ x
        if size < EXACT * x.size:
            raise InputError(
                f"{name} says the same about {target!r} on all trials of a subject", remedy="leave the modality out"
            )
        if (
            likelihood != "ordinal"
            and free > LEAST_FREEDOM
            and size * (level @ level) - (x @ level) ** 2 < EXACT * size
        ):
            raise InputError(
                f"{name} is an exact function of the truth of {target!r}",
                remedy="predictions must be made without the truth of their subject",
            )


def _refuse_copies(opinions: Opinions, target: str, where: Index) -> None:
    names, here = opinions.modalities, opinions.present.values[where.used]
    said, who = opinions.mean[target].values[where.used], where.subject[where.used]
    for m in range(len(names)):
        for n in range(m):
            both = here[:, m] & here[:, n]
            one, free = _inside(said[both, n], who[both])
            other, _ = _inside(said[both, m], who[both])
            if free >= LEAST_FREEDOM and ((one - other) ** 2).sum() < COPY * (one @ one):
                raise InputError(
                    f"{names[n]} and {names[m]} say the same about {target!r} on every trial",
                    remedy="leave one of them out: an opinion counts once",
                )


def _inside(values: np.ndarray, who: np.ndarray) -> tuple[np.ndarray, int]:
    """Deviations from the subject's mean, and how many of them are free."""
    count = np.bincount(who)
    mean = np.bincount(who, values) / np.maximum(count, 1)
    return values - mean[who], int(np.maximum(count - 1, 0).sum())
