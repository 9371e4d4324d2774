"""Total uncertainty as what the data leaves open (aleatoric) plus what the networks disagree on (epistemic)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import xarray as xr

from bayesaffect.types import Predictive


class Parts(NamedTuple):
    """``total`` = ``aleatoric`` + ``epistemic``, exactly; each (trial,)."""

    total: xr.DataArray
    aleatoric: xr.DataArray
    epistemic: xr.DataArray


def variance(predictive: Predictive, target: str) -> Parts:
    """Law of total variance over draws, in squared units of [-1, 1].

    aleatoric = E[v], epistemic = Var[m] (Kendall & Gal 2017).
    """
    aleatoric = predictive.variance[target].mean("draw")
    epistemic = predictive.mean[target].var("draw")
    return Parts(aleatoric + epistemic, aleatoric, epistemic)


def entropy(predictive: Predictive, target: str) -> Parts:
    """Entropy in nats: aleatoric = E[H(p)]; epistemic = H(E[p]) - E[H(p)], mutual information (Depeweg et al. 2018)."""
    log_prob = predictive.log_prob[target]
    aleatoric = -(np.exp(log_prob) * log_prob).sum("level").mean("draw")
    mean = predictive.probability(target)
    whole = -(mean * np.log(mean.clip(1e-300))).sum("level")
    epistemic = (whole - aleatoric).clip(0)
    return Parts(aleatoric + epistemic, aleatoric, epistemic)
