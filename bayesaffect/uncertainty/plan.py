"""Who is held out by which training: every group of subjects alone, and every pair of groups once."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bayesaffect.errors import InputError
from bayesaffect.types import Fold
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


def plan(groups: Sequence[Sequence[str]], *, nested: bool, seed: int) -> list[Fit]:
    """The fits of a cross-fit over K groups: each group held out alone, and each unordered pair once if ``nested``.

    K fits, or K + K (K - 1) / 2: networks that saw neither a nor b serve both "a is tested, b trains the fusion"
    and the reverse. Leave-one-subject-out is the case of one subject per group. About 18 % of a fit's training
    subjects, at least one, are drawn for validation.

    Raises
    ------
    InputError : if groups are empty, overlap, or leave fewer than two subjects to train on.
    """
    names = [subject for group in groups for subject in group]
    if len(set(names)) != len(names) or any(len(group) == 0 for group in groups):
        raise InputError("groups of subjects overlap or are empty", remedy="put each subject into exactly one group")
    held_out = [(a,) for a in range(len(groups))]
    if nested:
        held_out += list(itertools.combinations(range(len(groups)), 2))
    return [_fit(groups, out, seed) for out in held_out]


def _fit(groups: Sequence[Sequence[str]], held_out: tuple[int, ...], seed: int) -> Fit:
    test = tuple(subject for a in held_out for subject in groups[a])
    rest = sorted(subject for a, group in enumerate(groups) if a not in held_out for subject in group)
    if len(rest) < 2:
        raise InputError(
            f"holding out {len(test)} subjects leaves {len(rest)} to train and validate on",
            remedy="use more subjects or more groups",
        )
    count = max(1, round(VALIDATION_SHARE * len(rest)))
    order = np.random.default_rng(derived_seed(seed, "validation", sorted(test))).permutation(len(rest))
    validation = {rest[k] for k in order[:count]}
    return Fit(held_out, Fold(tuple(s for s in rest if s not in validation), tuple(sorted(validation)), test))
