"""Monte Carlo dropout: several passes with different units switched off (Gal & Ghahramani 2016)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from bayesaffect.uncertainty.data import Data

_DROPOUT = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout)


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


def sample(network: nn.Module, data: Data, *, passes: int, seed: int, batch: int = 512) -> dict[str, Tensor]:
    """Draws of one network: ``passes`` passes with dropout, or one pass without it when ``passes`` is 1.

    Returns
    -------
    ``mean/<target>`` and ``variance/<target>`` (pass, trial), ``log_prob/<target>`` (pass, trial, level),
    and ``embedding`` (trial, feature), averaged over passes; float32. The global generator is left as it was.
    """
    if hasattr(network, "prepare"):
        data = Data(network.prepare(data.inputs), data.present, data.truth, data.subject)
    draws: dict[str, list[Tensor]] = {}
    with torch.random.fork_rng(devices=[]), torch.no_grad(), active(network, on=passes > 1):
        torch.manual_seed(seed)
        for _ in range(passes):
            parts: dict[str, list[Tensor]] = {}
            for index in torch.arange(len(data)).split(batch):
                inputs = {m: {k: v[index] for k, v in block.items()} for m, block in data.inputs.items()}
                output = network(inputs, data.present[index])
                parts.setdefault("embedding", []).append(output.embedding)
                for name, mean in output.mean.items():
                    parts.setdefault(f"mean/{name}", []).append(mean)
                    parts.setdefault(f"variance/{name}", []).append(output.log_variance[name].exp())
                for name, logits in output.logits.items():
                    parts.setdefault(f"log_prob/{name}", []).append(logits.log_softmax(-1))
            for name, values in parts.items():
                draws.setdefault(name, []).append(torch.cat(values))
    stacked = {name: torch.stack(values) for name, values in draws.items()}
    if "embedding" in stacked:
        stacked["embedding"] = stacked["embedding"].mean(0)
    return stacked
