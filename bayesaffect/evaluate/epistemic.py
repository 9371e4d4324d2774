"""Does uncertainty do its job: does it tell strange inputs from usual ones, and say which answers to withhold?"""

from __future__ import annotations

import numpy as np
from sklearn.metrics import roc_auc_score


def detection(usual: np.ndarray, strange: np.ndarray) -> float:
    """AUROC of an uncertainty as detector: P(strange > usual) + P(equal) / 2; ``usual`` (n,), ``strange`` (m,)."""
    known = np.concatenate([np.zeros(len(usual)), np.ones(len(strange))])
    return float(roc_auc_score(known, np.concatenate([usual, strange])))


def risk_coverage(uncertainty: np.ndarray, loss: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean loss of the k most certain trials, k = 1..n (El-Yaniv & Wiener 2010); both inputs (n,).

    Among equally uncertain trials the order is left to chance: each counts with their mean loss.

    Returns
    -------
    coverage k / n and risk (1 / k) sum of the k losses, (n,) each.
    """
    _, group = np.unique(uncertainty, return_inverse=True)
    mean = np.bincount(group, loss) / np.bincount(group)
    count = np.arange(1, len(loss) + 1)
    return count / len(loss), np.cumsum(mean[np.sort(group)]) / count


def aurc(uncertainty: np.ndarray, loss: np.ndarray) -> float:
    """Area under the risk-coverage curve: the mean of its risks over all coverages (Geifman et al. 2019)."""
    return float(risk_coverage(uncertainty, loss)[1].mean())
