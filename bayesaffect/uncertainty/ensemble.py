"""Ensembles of networks: members x passes draws, gathered as a `Predictive`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr
from torch import Tensor

from bayesaffect.errors import InputError
from bayesaffect.types import Predictive, Target

METHODS = ("ensemble", "dropout", "both", "laplace", "distance")


@dataclass(frozen=True)
class Ensemble:
    """How many networks, how many draws of each, and what a draw is.

    Parameters
    ----------
    members : networks that differ in their seeds (Lakshminarayanan et al. 2017).
    passes : draws of each; there are members x passes draws.
    recalibrate : fit a temperature and a variance scale, on the validation subjects of each fit, or across subjects
        where fits are nested.
    method : ``"ensemble"``, one pass without dropout per member (``passes`` becomes 1); ``"dropout"``, passes of one
        member (``members`` becomes 1; Gal & Ghahramani 2016); ``"both"``, their product; ``"laplace"``, samples of each
        member's last layer in place of passes, see `laplace`; ``"distance"``, as ``"both"``, falling back to the prior
        for inputs unlike those trained on, see `distance`: the default, because it is the only one here that notices a
        disturbed input of every modality, and on undisturbed ones it says what ``"both"`` says.
    """

    members: int = 3
    passes: int = 10
    recalibrate: bool = True
    method: str = "distance"

    def __post_init__(self):
        if self.members < 1 or self.passes < 1:
            raise InputError(
                f"{self.members} members and {self.passes} passes", where="Ensemble", remedy="give at least 1"
            )
        if self.method not in METHODS:
            remedy = f"choose one of {', '.join(METHODS)}"
            raise InputError(f"there is no method {self.method!r}", where="Ensemble", remedy=remedy)
        # what a method leaves unused does not make two equal settings differ
        if self.method == "dropout":
            object.__setattr__(self, "members", 1)
        if self.method == "ensemble":
            object.__setattr__(self, "passes", 1)


def gather(
    draws: Sequence[Mapping[str, Tensor]],
    targets: Sequence[Target],
    subject: xr.DataArray,
    *,
    trained_on: xr.DataArray | None,
) -> Predictive:
    """Members' draws, as `dropout.sample` returns them, one after another along ``draw``.

    Parameters
    ----------
    draws : one mapping per member, all with the same number of trials.
    subject : (trial,) with coords trial and subject.
    trained_on : bool (trial, trained_subject), passed on to `Predictive`.

    Returns
    -------
    `Predictive` with members x passes draws, log-probabilities normalised in double precision and the
    embedding averaged over members. Members do not share axes in embedding space by themselves; those
    that start from the same initial weights do so approximately, across fits.
    """

    index = {"trial": subject["trial"].values, "subject": ("trial", subject.values)}

    def joined(name: str, *extra: str, coords=None) -> xr.DataArray:
        values = np.concatenate([member[name].numpy() for member in draws]).astype(float)
        if "level" in extra:
            values -= np.log(np.exp(values).sum(-1, keepdims=True))
        return xr.DataArray(values, dims=("draw", "trial", *extra), coords=index | (coords or {}))

    continuous = [t.name for t in targets if t.kind == "continuous"]
    embedding = np.mean([member["embedding"].numpy() for member in draws], axis=0)
    return Predictive(
        tuple(targets),
        subject,
        {name: joined(f"mean/{name}") for name in continuous},
        {name: joined(f"variance/{name}") for name in continuous},
        {
            t.name: joined(f"log_prob/{t.name}", "level", coords={"level": list(t.levels)})
            for t in targets
            if t.kind == "categorical"
        },
        trained_on,
        xr.DataArray(embedding, dims=("trial", "feature"), coords=index),
    )
