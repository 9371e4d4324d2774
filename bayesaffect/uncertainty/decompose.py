"""Total uncertainty as what the data leaves open (aleatoric) plus what the networks disagree on (epistemic).

The total is the sum of its parts to the last bit: it is computed as that sum, which differs from the variance or the
entropy of the mixture by rounding alone.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import xarray as xr
from scipy.special import xlogy

from bayesaffect.types import Predictive


class Parts(NamedTuple):
    """``total`` == ``aleatoric + epistemic`` as floats; each (trial,), none negative but the entropies' rounding."""

    total: xr.DataArray
    aleatoric: xr.DataArray
    epistemic: xr.DataArray


def variance(predictive: Predictive, target: str) -> Parts:
    """Law of total variance over draws, in squared units of [-1, 1].

    aleatoric = E[v], epistemic = Var[m], total = E[v] + Var[m], that of the mixture of the draws' Gaussians (Kendall &
    Gal 2017).
    """
    aleatoric = predictive.variance[target].mean("draw")
    epistemic = predictive.mean[target].var("draw")
    return Parts(aleatoric + epistemic, aleatoric, epistemic)


def entropy(predictive: Predictive, target: str) -> Parts:
    """Entropy in nats: aleatoric = E[H(p)], epistemic = H(E[p]) - E[H(p)], their mutual information with the draw.

    H(p) = -sum_k p_k log p_k, 0 log 0 = 0; expectations over draws (Depeweg et al. 2018). The mutual information is
    not negative, and what rounding leaves below 0 is kept as it is, so that the sum stays that of these two terms.
    """
    log_prob = predictive.log_prob[target]
    p = np.exp(log_prob)
    aleatoric = -(p * log_prob).sum("level").mean("draw")
    mean = p.mean("draw")
    epistemic = -xr.apply_ufunc(xlogy, mean, mean).sum("level") - aleatoric
    return Parts(aleatoric + epistemic, aleatoric, epistemic)
