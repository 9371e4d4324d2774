"""Who is learned from and who is tested on: groups of subjects that never share a person."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bayesaffect.errors import InputError


def leave_one_subject_out(subject: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    """One group per subject, in sorted order."""
    return tuple((name,) for name in sorted({str(s) for s in subject}))


def grouped(subject: Sequence[str], groups: int, *, seed: int) -> tuple[tuple[str, ...], ...]:
    """Deal the subjects into ``groups`` disjoint groups with about equally many trials.

    Subjects are shuffled by ``seed``, sorted by their number of trials (largest first, stable) and each
    goes to the group that has the fewest trials so far; among equals, to the one with the fewest subjects.

    Parameters
    ----------
    subject : subject of every trial (repetitions count as trials).
    groups : number of groups K, 2 <= K <= number of subjects.

    Returns
    -------
    tuple of K tuples of subject names, each sorted.

    Raises
    ------
    InputError : when there are fewer subjects than groups, or fewer than two groups are asked for.
    """
    names, trials = np.unique(np.asarray(subject, dtype=str), return_counts=True)
    if groups < 2:
        raise InputError(f"{groups} groups of subjects were asked for", remedy="cross-validation needs at least 2")
    if names.size < groups:
        raise InputError(
            f"{names.size} subjects cannot fill {groups} groups", remedy=f"ask for at most {names.size} folds"
        )
    order = np.random.default_rng(seed).permutation(names.size)
    order = order[np.argsort(-trials[order], kind="stable")]
    dealt: list[list[str]] = [[] for _ in range(groups)]
    load = np.zeros(groups, dtype=int)
    for k in order:
        least = min(range(groups), key=lambda g: (load[g], len(dealt[g])))
        dealt[least].append(str(names[k]))
        load[least] += trials[k]
    return tuple(tuple(sorted(group)) for group in dealt)
