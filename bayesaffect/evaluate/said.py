"""What modalities say, gathered for checks: one value per modality and target, and the truth of neighbouring trials."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from bayesaffect.types import Opinions, Target

LAGS = (-2, -1, 1, 2)
FEWEST = 10


@dataclass(frozen=True)
class Said:
    """What one modality says about one target where it is present and the truth is known, in the order of the table.

    ``near``: lag -> truth of the person's trial that many places on, NaN where there is none; ``stimulus``: names,
    empty where unknown.
    """

    modality: str
    target: Target
    subject: np.ndarray
    truth: np.ndarray
    near: Mapping[int, np.ndarray]
    stimulus: np.ndarray
    mean: np.ndarray | None = None
    variance: np.ndarray | None = None
    prob: np.ndarray | None = None

    @property
    def people(self) -> list[str]:
        return sorted(set(self.subject.tolist()))


def gathered(opinions: Opinions) -> Iterator[Said]:
    """Every modality and target with at least 10 trials of known truth."""
    subject = opinions.subject.values.astype(str)
    for target in opinions.targets:
        truth = np.asarray(opinions.truth[target.name].values, dtype=float)
        known = opinions.labelled(target.name)
        near = {lag: _neighbours(np.where(known, truth, np.nan), subject, lag) for lag in LAGS}
        for k, modality in enumerate(opinions.modalities):
            rows = opinions.present.values[:, k] & known
            if rows.sum() < FEWEST:
                continue
            index = {"subject": subject[rows], "near": {lag: other[rows] for lag, other in near.items()}}
            index["stimulus"] = opinions.present["stimulus"].values.astype(str)[rows]
            if target.kind == "categorical" and target.name in opinions.log_prob:
                prob = np.exp(opinions.log_prob[target.name].values[rows, k])
                yield Said(modality, target, truth=truth[rows].astype(int), **index, prob=prob)
            elif target.name in opinions.mean:
                mean, variance = (a[target.name].values[rows, k] for a in (opinions.mean, opinions.variance))
                yield Said(modality, target, truth=truth[rows], **index, mean=mean, variance=variance)


def _neighbours(truth: np.ndarray, subject: np.ndarray, lag: int) -> np.ndarray:
    """Truth ``lag`` places on in the sequence of the same subject, NaN beyond its ends."""
    out = np.full(truth.size, np.nan)
    for name in np.unique(subject):
        rows = np.flatnonzero(subject == name)
        here = np.arange(max(0, -lag), min(rows.size, rows.size - lag))
        out[rows[here]] = truth[rows[here + lag]]
    return out
