"""The same recording under two names: opinions of two people that are equal to the last digit."""

from __future__ import annotations

from collections import Counter, defaultdict
from itertools import combinations

import numpy as np

from bayesaffect.types import Opinions

SHARE = 0.5
FEWEST = 3


def duplicates(opinions: Opinions) -> tuple[str, ...]:
    """A sentence per pair of people whose opinions coincide, and per modality that says the same of everybody.

    Two trials coincide where all values a modality gives (means, variances, log-probabilities) agree to ten digits. A
    pair of people is told when half the trials of the one with fewer, and at least three, have a twin in the other.
    A modality that takes few different values (a vote, a class without a probability) cannot tell and is left out: more
    than 5 % of its trials repeat another trial of the same person. When a modality coincides in more than a fifth of
    all pairs of people, it looks at the stimulus rather than at the person, and that is said instead.
    """
    pairs: dict[tuple[str, str], list[str]] = defaultdict(list)
    lines = []
    for k, modality in enumerate(opinions.modalities):
        found, possible = _pairs(opinions, k)
        if len(found) > max(1, 0.2 * possible):
            lines.append(
                f"{modality}: the same opinions for different people ({len(found)} of {possible} pairs of people); "
                "check that it looks at the person and not at the film."
            )
            continue
        for pair in found:
            pairs[pair].append(modality)
    for (a, b), modalities in sorted(pairs.items()):
        lines.append(
            f"{' and '.join(modalities)}: {a} and {b} have identical opinions; check whether one recording was entered "
            "under two names."
        )
    return tuple(lines)


def _pairs(opinions: Opinions, k: int) -> tuple[list[tuple[str, str]], int]:
    rows = np.flatnonzero(opinions.present.values[:, k])
    arrays = [*opinions.mean.values(), *opinions.variance.values(), *opinions.log_prob.values()]
    subject = opinions.subject.values.astype(str)[rows]
    count = Counter(subject.tolist())
    possible = len(count) * (len(count) - 1) // 2
    if not arrays or not possible:
        return [], possible
    table = np.concatenate([a.values[rows, k].reshape(rows.size, -1) for a in arrays], axis=1)
    texts = ["|".join(f"{v:.10g}" for v in row) for row in table]
    if rows.size - len(set(zip(subject.tolist(), texts, strict=True))) > 0.05 * rows.size:
        return [], possible
    holders = defaultdict(set)
    for name, text in zip(subject.tolist(), texts, strict=True):
        holders[text].add(name)
    shared = Counter(pair for names in holders.values() for pair in combinations(sorted(names), 2))
    wanted = {pair: max(FEWEST, SHARE * min(count[pair[0]], count[pair[1]])) for pair in shared}
    return sorted(pair for pair, n in shared.items() if n >= wanted[pair]), possible
