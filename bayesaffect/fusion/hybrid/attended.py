"""Which embedding counts how much on each trial of a hybrid fit."""

from __future__ import annotations

import numpy as np
import torch
import xarray as xr

from bayesaffect.errors import InputError
from bayesaffect.fusion import idata
from bayesaffect.fusion.hybrid import attention
from bayesaffect.fusion.hybrid import prediction as hybrid_prediction
from bayesaffect.fusion.prediction import positions
from bayesaffect.types import Opinions


def attention_weights(posterior, opinions: Opinions, *, subjects: str = "population", draws: int = 200) -> xr.DataArray:
    """Attention a of every head on every trial, with its posterior; 1 = counts as on an average trial.

    Parameters
    ----------
    posterior : what `fit_hybrid` returned.
    opinions : trials with the fit's modalities.
    subjects : ``"population"``: everybody has rho = 0; ``"known"``: subjects with data in the fit keep their own.
    draws : posterior draws used at most, evenly thinned.

    Returns
    -------
    DataArray (sample, trial, head), NaN where a head saw no embedding; the mean over those that did is 1.

    Raises
    ------
    InputError : a late fit, features that are not the fit's, or another word for ``subjects``.
    """
    found = [n for n in (*attention.NAMES, "rho") if n in posterior["posterior"]]
    if not hybrid_prediction.is_hybrid(posterior):
        raise InputError("a late fit has no attention", remedy="use trial_weights, or fit_hybrid")
    if subjects not in ("population", "known"):
        raise InputError(f"subjects is {subjects!r}", remedy="choose 'population' or 'known'")
    values = idata.flattened(posterior, found, at_most=draws)
    t = {name: torch.as_tensor(np.ascontiguousarray(array)) for name, array in values.items()}
    given = hybrid_prediction.of_fit(posterior, opinions)
    who, known = positions(posterior, opinions, use_known=subjects == "known")
    sign = -1.0 if idata.attribute(posterior, "kind") == "continuous" else 1.0
    rho = sign * torch.as_tensor(known)[None, :, None] * t["rho"][:, who]
    found = hybrid_prediction.attended(
        t, given, rho[:, :, given["heads"]].permute(2, 0, 1), np.arange(who.size)
    ).permute(1, 2, 0)
    return xr.DataArray(
        np.where(given["here"], found.numpy(), np.nan),
        dims=("sample", "trial", "head"),
        coords={
            "trial": opinions.present["trial"].values,
            "subject": ("trial", opinions.subject.values),
            "head": [opinions.modalities[k] for k in given["heads"]],
        },
    )
