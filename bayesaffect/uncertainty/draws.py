"""What a draw is: one name per method, one file per method; `fit` once on the training trials, then `sample`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from torch import Tensor, nn

from bayesaffect.uncertainty import distance, dropout, laplace
from bayesaffect.uncertainty.data import Data
from bayesaffect.uncertainty.ensemble import Ensemble


class Method(NamedTuple):
    """Two functions.

    ``fit(network, training_data)`` -> state, named tensors that are all a draw needs beside the weights;
    ``sample(network, state, data, *, passes, seed, device)`` -> draws as `dropout.sample` returns them.
    """

    fit: Callable[[nn.Module, Data], dict[str, Tensor]]
    sample: Callable[..., dict[str, Tensor]]


def _nothing(network: nn.Module, training_data: Data) -> dict[str, Tensor]:
    return {}


def _passes(network, state, data, *, passes, seed, device):
    return dropout.sample(network, data, passes=passes, seed=seed, device=device)


METHODS: Mapping[str, Method] = {
    "ensemble": Method(_nothing, _passes),
    "dropout": Method(_nothing, _passes),
    "both": Method(_nothing, _passes),
    "laplace": Method(laplace.fit, laplace.sample),
    "distance": Method(distance.fit, distance.sample),
}


def fit(network: nn.Module, training_data: Data, *, ensemble: Ensemble) -> dict[str, Tensor]:
    """What the method has to know about the training trials, as named tensors; none for passes alone."""
    return METHODS[ensemble.method].fit(network, training_data)


def sample(
    network: nn.Module, state: Mapping[str, Tensor], data: Data, *, ensemble: Ensemble, seed: int, device: str = "cpu"
) -> dict[str, Tensor]:
    """``ensemble.passes`` draws of one member for the trials of ``data``, as `dropout.sample` returns them.

    Parameters
    ----------
    state : as `fit` returned it for this member.
    """
    return METHODS[ensemble.method].sample(network, state, data, passes=ensemble.passes, seed=seed, device=device)
