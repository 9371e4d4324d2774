"""Which network for which modalities, and the signature that every network has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import nn

from bayesaffect.encoders.early import STEMS, Early
from bayesaffect.encoders.heads import Single
from bayesaffect.errors import InputError
from bayesaffect.types import Target


def build(
    spec: Mapping[str, Mapping], modalities: Sequence[str], targets: Sequence[Target], *, dropout: float, seed: int
) -> nn.Module:
    """The network for some modalities, freshly initialised.

    Parameters
    ----------
    spec : modality -> {"encoder": "eeg" | "eeg_raw" | "face" | "physio", "shapes": {variable: shape of one trial}}, as
        `bayesaffect.uncertainty.data.describe` takes it from Trials.
    modalities : one (its own encoder) or several (early fusion).
    dropout : probability in every dropout layer, in training and in Monte Carlo passes.
    seed : of the initial weights; the global generator is left as it was.

    Returns
    -------
    A module with ``forward(inputs, present) -> Output``: ``inputs`` modality -> variable -> (batch, ...),
    zeros where missing; ``present`` bool (batch, modality) in the order of ``modalities``. Two methods
    are optional: ``prepare(inputs) -> inputs``, a fixed reduction that may be applied once beforehand,
    and ``calibrate(inputs, present, truth)``, called once with the training trials before the first step.

    Raises
    ------
    InputError : for a modality that is not in ``spec`` or an encoder that does not exist.
    """
    check_spec(spec, modalities)
    for modality in modalities:
        if spec[modality]["encoder"] not in STEMS:
            raise InputError(
                f"modality {modality!r} asks for the encoder {spec[modality]['encoder']!r}",
                remedy=f"there are {sorted(STEMS)}",
            )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if len(modalities) > 1:
            return Early(spec, modalities, targets, dropout=dropout)
        modality = modalities[0]
        stem = STEMS[spec[modality]["encoder"]](spec[modality]["shapes"], dropout=dropout)
        return Single(stem, modality, targets)


def check_spec(spec: Mapping[str, Mapping], modalities: Sequence[str]):
    """Refuse no modality at all, and one that is not in ``spec``, with an `InputError`."""
    if not modalities:
        raise InputError("a network needs at least one modality")
    for modality in modalities:
        if modality not in spec:
            raise InputError(f"no modality {modality!r}", remedy=f"there are {list(spec)}")
