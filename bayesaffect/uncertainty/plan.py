"""Who is held out by which training: every group of subjects alone, and every pair of groups once.

Subjects stand for whatever unit the folds hold apart (`types.unit`): stimuli, versions, parts of sessions.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bayesaffect.errors import InputError
from bayesaffect.types import Fold
from bayesaffect.types.unit import plural
from bayesaffect.uncertainty.training import derived_seed

VALIDATION_SHARE = 0.18


@dataclass(frozen=True)
class Fit:
    """One training of all networks: positions of the groups that are held out, and the subjects' roles."""

    held_out: tuple[int, ...]
    fold: Fold

    @property
    def seen(self) -> tuple[str, ...]:
        """Subjects whose labels the networks of this fit have met, to learn from or to stop by."""
        return (*self.fold.train, *self.fold.validation)


def plan(groups: Sequence[Sequence[str]], *, nested: bool, seed: int, by: str = "subject") -> list[Fit]:
    """The fits of a cross-fit over K groups: each group held out alone, and each unordered pair once if ``nested``.

    K fits, or K + K (K - 1) / 2: networks that saw neither a nor b serve both "a is tested, b trains the fusion"
    and the reverse. Leave-one-subject-out is the case of one subject per group. About 18 % of a fit's training
    subjects, at least one, are drawn for validation.

    With ``by="part"`` groups are parts of sessions in their order: part a is predicted by networks that saw only the
    parts before it, which gives K - 1 fits. They saw nothing of later parts either, so the opinions that fusion learns
    from before it is tested on part a need no fits of their own.

    Raises
    ------
    InputError : if groups are empty, overlap, or leave fewer than two subjects to train on.
    """
    names = [subject for group in groups for subject in group]
    if len(set(names)) != len(names) or any(len(group) == 0 for group in groups):
        raise InputError(f"groups of {plural(by)} overlap or are empty", remedy=f"put each {by} into exactly one group")
    held_out = [(a,) for a in range(by == "part", len(groups))]
    if nested and by != "part":
        held_out += list(itertools.combinations(range(len(groups)), 2))
    return [_fit(groups, out, seed, by) for out in held_out]


def _fit(groups: Sequence[Sequence[str]], held_out: tuple[int, ...], seed: int, by: str) -> Fit:
    test = tuple(subject for a in held_out for subject in groups[a])
    others = [a for a in range(len(groups) if by != "part" else held_out[0]) if a not in held_out]
    rest = sorted(subject for a in others for subject in groups[a])
    if len(rest) < 2:
        raise InputError(
            f"holding out {len(test)} {plural(by)} leaves {len(rest)} to train and validate on",
            remedy=f"use more {plural(by)} or more groups",
        )
    count = max(1, round(VALIDATION_SHARE * len(rest)))
    order = np.random.default_rng(derived_seed(seed, "validation", sorted(test))).permutation(len(rest))
    validation = {rest[k] for k in order[:count]}
    train = tuple(s for s in rest if s not in validation)
    return Fit(held_out, Fold(train, tuple(sorted(validation)), test, by))
