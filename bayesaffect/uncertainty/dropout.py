"""Monte Carlo dropout: several passes with different units switched off (Gal & Ghahramani 2016)."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

from bayesaffect.uncertainty.data import Data

_DROPOUT = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout)


class Batch(NamedTuple):
    """What a network is given in one step of one pass: inputs, ``present`` and the positions of the trials."""

    inputs: Mapping[str, Mapping[str, Tensor]]
    present: Tensor
    rows: Tensor


@contextlib.contextmanager
def active(network: nn.Module, *, on: bool = True) -> Iterator[nn.Module]:
    """``network`` in evaluation mode, with its dropout layers alone in training mode if ``on``."""
    modes = {module: module.training for module in network.modules()}
    network.eval()
    for module in network.modules():
        if isinstance(module, _DROPOUT):
            module.train(on)
    try:
        yield network
    finally:
        for module, mode in modes.items():
            module.training = mode


def sample(
    network: nn.Module,
    data: Data,
    *,
    passes: int,
    seed: int,
    on: bool | None = None,
    batch: int = 512,
    device: str = "cpu",
    call: Callable | None = None,
) -> dict[str, Tensor]:
    """Draws of one network: ``passes`` passes with dropout, or one pass without it when ``passes`` is 1.

    Parameters
    ----------
    on : whether dropout is on, where that shall not follow from the number of passes.
    device : where the network goes and stays, and where its batches are; draws are on the CPU.
    call : ``call(network, batch, number)`` gives the `Output` of a `Batch` in pass ``number`` in place of the network
        itself; it may draw random numbers.

    Returns
    -------
    ``mean/<target>`` and ``variance/<target>`` (pass, trial), ``log_prob/<target>`` (pass, trial, level),
    and ``embedding`` (trial, feature), averaged over passes; float32. The global generator is left as it was.
    """
    network.to(device)
    if hasattr(network, "prepare"):
        data = Data(network.prepare(data.inputs), data.present, data.truth, data.subject)
    draws: dict[str, list[Tensor]] = {}
    used = [torch.device(device)] if torch.device(device).type == "cuda" else []
    with torch.random.fork_rng(devices=used), torch.no_grad(), active(network, on=passes > 1 if on is None else on):
        torch.manual_seed(seed)
        for number in range(passes):
            parts: dict[str, list[Tensor]] = {}
            for index in torch.arange(len(data)).split(batch):
                some = Batch(
                    {m: {k: v[index].to(device) for k, v in block.items()} for m, block in data.inputs.items()},
                    data.present[index].to(device),
                    index,
                )
                output = network(some.inputs, some.present) if call is None else call(network, some, number)
                parts.setdefault("embedding", []).append(output.embedding)
                for name, mean in output.mean.items():
                    parts.setdefault(f"mean/{name}", []).append(mean)
                    parts.setdefault(f"variance/{name}", []).append(output.log_variance[name].exp())
                for name, logits in output.logits.items():
                    parts.setdefault(f"log_prob/{name}", []).append(logits.log_softmax(-1))
            for name, values in parts.items():
                draws.setdefault(name, []).append(torch.cat(values).cpu())
    stacked = {name: torch.stack(values) for name, values in draws.items()}
    if "embedding" in stacked:
        stacked["embedding"] = stacked["embedding"].mean(0)
    return stacked
