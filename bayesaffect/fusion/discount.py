"""What a poor signal costs its opinion.

With h_im = 1 - quality of modality m on trial i, in [0, 1], the opinion keeps the share

    r_im = 1 - lambda_m h_im,      lambda_m ~ Beta(1, q),      E[lambda_m] = 1 / (1 + q)

of its strength on a clean signal: the error sd of a rating is divided by r_im, the weight of class probabilities is
multiplied by it. lambda_m = 0 ignores quality, lambda_m = 1 ignores an opinion of quality 0. A share linear in h keeps
both likelihoods cheap and exact: root precisions and design rows are linear in lambda_m, so that sums over trials of
h_im and of products h_im h_in take the place of the trials. Only sum_i log r_im is not a polynomial; `gauss` replaces
the values of h in it by a few nodes.
"""

from __future__ import annotations

import numpy as np
import pyro
import pyro.distributions as dist
import torch
from torch import Tensor

from bayesaffect.errors import InputError
from bayesaffect.types import Opinions

NODES = 32
LEAST_RANGE = 1e-6


def discounts(prior: Tensor, m: int) -> Tensor:
    """The site of lambda (M,) ~ Beta(1, ``prior``) in either model."""
    second = prior.expand((m,))
    return pyro.sample("quality_discount", dist.Beta(torch.ones_like(second), second).to_event(1))


def poorness(opinions: Opinions, unknown: np.ndarray) -> np.ndarray:
    """h = 1 - quality (N, M); ``unknown`` (M,) where the quality of an opinion is not known, 0 where there is none.

    Raises
    ------
    InputError : a quality outside [0, 1].
    """
    here = opinions.present.values
    if opinions.quality is None:
        return np.where(here, unknown, 0.0)
    quality = opinions.quality.transpose("trial", "modality")
    if "modality" in quality.coords:
        quality = quality.reindex(modality=list(opinions.modalities))
    values = quality.values.astype(float)
    if (wrong := here & ((values < 0) | (values > 1))).any():
        trial, modality = (int(k) for k in np.argwhere(wrong)[0])
        raise InputError(
            f"the quality of {opinions.modalities[modality]} is {values[trial, modality]:g}",
            where=f"trial {opinions.present['trial'].values[trial]}",
            remedy="quality lies between 0 (useless) and 1 (clean)",
        )
    return np.where(here, np.where(np.isfinite(values), 1 - values, unknown), 0.0)


def average(poor: np.ndarray, here: np.ndarray) -> np.ndarray:
    """Mean of h (N, M) over the trials that ``here`` (N, M) marks, per modality (M,); NaN where there is none."""
    count = here.sum(0)
    return np.where(count > 0, np.where(here, poor, 0.0).sum(0) / np.maximum(count, 1), np.nan)


def by_subject(poor: np.ndarray, opinions: Opinions, subjects: list[str], overall: np.ndarray) -> np.ndarray:
    """Mean of h over each subject's trials (S, M); ``overall`` (M,) where a subject lacks a modality."""
    who, here = opinions.subject.values.astype(str), opinions.present.values
    rows = np.stack([average(poor, here & (who == s)[:, None]) for s in subjects])
    return np.where(np.isfinite(rows), rows, overall)


def learnable(opinions: Opinions, used: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """h (N, M) and its mean per modality over the ``used`` (N,) trials, or ``None`` where quality has nothing to teach.

    That is where no quality came with the opinions, or where it is the same on all used trials of every modality: such
    a discount would be one with the reliability. Where it varies for some modalities only, the others keep a lambda
    whose posterior is close to its prior: trials of another quality are then discounted by what was believed before.
    """
    if opinions.quality is None:
        return None
    nowhere = np.full(len(opinions.modalities), np.nan)
    found = poorness(opinions, nowhere)
    here = opinions.present.values & np.isfinite(found) & used[:, None]
    varied = [np.ptp(column[seen]) > LEAST_RANGE for column, seen in zip(found.T, here.T, strict=True) if seen.any()]
    if not any(varied):
        return None
    mean = np.nan_to_num(average(found, here))
    return poorness(opinions, mean), mean


def of_fit(posterior, opinions: Opinions) -> np.ndarray | None:
    """h (N, M) of other opinions as a fit reads it: unknown quality is the fit's mean; ``None`` for a fit without."""
    if "quality_discount" not in posterior["posterior"]:
        return None
    return poorness(opinions, posterior["constant_data"]["poorness"].values)


def gauss(values: np.ndarray, count: int = NODES) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights (count,) with sum_i f(values_i) = sum_q w_q f(h_q) for polynomials f of degree < 2 count.

    The Gauss rule of the discrete measure, from the Jacobi matrix that the Lanczos process finds (Golub and Welsch
    1969); exact for every f where there are at most ``count`` distinct values, unused nodes have weight 0. For f(h) =
    log(1 - lambda h) on [0, 1] the error is at most

        2 n / count * rho^(-2 count) / (1 - 1 / rho),    rho = z + sqrt(z^2 - 1),    z = 2 / lambda - 1

    for n values: with 32 nodes less than 1e-18 n at lambda = 0.9 and 1e-6 n at 0.99.
    """
    nodes, weights = np.zeros(count), np.zeros(count)
    distinct, number = np.unique(values, return_counts=True)
    if distinct.size <= count:
        nodes[: distinct.size], weights[: distinct.size] = distinct, number
        return nodes, weights
    basis = np.zeros((count, distinct.size))
    diagonal, beside = np.zeros(count), np.zeros(count - 1)
    vector = np.sqrt(number / values.size)
    for k in range(count):
        basis[k] = vector
        vector = distinct * vector
        diagonal[k] = basis[k] @ vector
        for _ in range(2):  # once more: rounding would otherwise bring found nodes back
            vector = vector - basis[: k + 1].T @ (basis[: k + 1] @ vector)
        if k < count - 1:
            beside[k] = np.linalg.norm(vector)
            vector = vector / beside[k]
    nodes, vectors = np.linalg.eigh(np.diag(diagonal) + np.diag(beside, 1) + np.diag(beside, -1))
    return nodes, values.size * vectors[0] ** 2
