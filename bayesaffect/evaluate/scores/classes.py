"""Scores of class probabilities: ``prob`` (n, k), ``label`` (n,) level indices.

All raise `InputError` for what is no probability, no level, or no trial at all (`accepted.check_classes`).
"""

from __future__ import annotations

import numpy as np
from sklearn.metrics import f1_score, recall_score, roc_auc_score

from bayesaffect.evaluate.scores.accepted import check_classes


def nll_each(prob: np.ndarray, label: np.ndarray) -> np.ndarray:
    """Log score of each trial in nats, -log p[i, label_i] (Good 1952); probabilities below 1e-300 count as 1e-300."""
    check_classes(prob, label)
    return -np.log(np.maximum(prob[np.arange(label.size), label], 1e-300))


def nll(prob: np.ndarray, label: np.ndarray) -> float:
    """Mean log score in nats: -(1/n) sum_i log p[i, label_i] (Good 1952)."""
    return float(nll_each(prob, label).mean())


def brier_each(prob: np.ndarray, label: np.ndarray) -> np.ndarray:
    """Brier score of each trial: sum_k (p_ik - [label_i = k])^2, between 0 and 2 (Brier 1950)."""
    check_classes(prob, label)
    return (prob**2).sum(1) - 2 * prob[np.arange(label.size), label] + 1


def brier(prob: np.ndarray, label: np.ndarray) -> float:
    """Mean Brier score: (1/n) sum_i sum_k (p_ik - [label_i = k])^2 over all classes, also for two (Brier 1950)."""
    return float(brier_each(prob, label).mean())


def accuracy(prob: np.ndarray, label: np.ndarray) -> float:
    """Share of trials whose most probable class is the true one: mean of [argmax_k p_ik = label_i]."""
    check_classes(prob, label)
    return float((prob.argmax(1) == label).mean())


def balanced_accuracy(prob: np.ndarray, label: np.ndarray) -> float:
    """Mean recall over the classes that occur in ``label`` (Brodersen et al. 2010)."""
    check_classes(prob, label)
    return float(recall_score(label, prob.argmax(1), labels=np.unique(label), average="macro", zero_division=0))


def macro_f1(prob: np.ndarray, label: np.ndarray) -> float:
    """Mean of F1_k = 2 TP_k / (2 TP_k + FP_k + FN_k) over the classes that occur in truth or prediction.

    Reference: van Rijsbergen (1979).
    """
    check_classes(prob, label)
    return float(f1_score(label, prob.argmax(1), average="macro", zero_division=0))


def auroc(prob: np.ndarray, label: np.ndarray) -> float:
    """Area under the ROC curve: P(score of a positive > score of a negative) + half the ties (Hanley & McNeil 1982).

    Two classes: the second level is the positive one. More: mean over classes of one against the rest;
    a class that never or always occurs is left out. NaN when no class is left.
    """
    check_classes(prob, label)
    classes = [1] if prob.shape[1] == 2 else range(prob.shape[1])
    areas = [roc_auc_score(label == k, prob[:, k]) for k in classes if 0 < (label == k).sum() < label.size]
    return float(np.mean(areas)) if areas else float("nan")


def kappa(prob: np.ndarray, label: np.ndarray) -> float:
    """Agreement of the most probable class with the true one beyond chance (Cohen 1960).

    (p_o - p_e) / (1 - p_e) with p_o the accuracy and p_e = sum_k P(guess = k) P(label = k). NaN when p_e = 1.
    """
    check_classes(prob, label)
    k = prob.shape[1]
    table = np.bincount(k * label + prob.argmax(1), minlength=k * k).reshape(k, k)
    return float(kappa_of(table[None].astype(float))[0])


def kappa_of(confusion: np.ndarray) -> np.ndarray:
    """Cohen's kappa (m,) of confusion matrices (m, k, k); NaN where chance alone agrees always."""
    n = confusion.sum((1, 2))
    chance = (confusion.sum(1) * confusion.sum(2)).sum(1) / n**2
    agree = np.diagonal(confusion, axis1=1, axis2=2).sum(1) / n
    return np.divide(agree - chance, 1 - chance, out=np.full(n.shape, np.nan), where=1 - chance > 1e-12)


def rps_each(prob: np.ndarray, label: np.ndarray) -> np.ndarray:
    """Ranked probability score of each trial, for levels in order (Epstein 1969).

    sum_k (sum_{j <= k} p_ij - [label_i <= k])^2, between 0 and k - 1; a miss by one level costs less than one by two.
    """
    check_classes(prob, label)
    below = label[:, None] <= np.arange(prob.shape[1])
    return ((prob.cumsum(1) - below)[:, :-1] ** 2).sum(1)


def rps(prob: np.ndarray, label: np.ndarray) -> float:
    """Mean ranked probability score: (1/n) sum_i sum_k (P_ik - [label_i <= k])^2, P cumulative (Epstein 1969)."""
    return float(rps_each(prob, label).mean())


def entropy_each(prob: np.ndarray) -> np.ndarray:
    """Sharpness of each forecast: its entropy -sum_k p_k log p_k in nats, 0 when sure, log K when undecided.

    A property of the forecast alone: sharp is good only together with calibrated (Gneiting et al. 2007).
    """
    return -(prob * np.log(np.maximum(prob, 1e-300))).sum(1)


def entropy(prob: np.ndarray) -> float:
    """Mean entropy of the forecasts in nats (`entropy_each`)."""
    return float(entropy_each(prob).mean())
