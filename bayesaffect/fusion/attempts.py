"""From a model and its data to draws that the gate accepts, or to the best that some attempts gave: one way for all."""

from __future__ import annotations

import functools
import hashlib
import inspect
import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from bayesaffect.fusion.checks.diagnostics import gate
from bayesaffect.fusion.engine.sample import Draws, sample
from bayesaffect.fusion.settings import Sampling

log = logging.getLogger(__name__)
WORTH_REPEATING = 2000


def settled(
    module,
    data: Mapping[str, np.ndarray],
    label: Callable,
    *,
    name: str,
    sampling: Sampling,
    seed: int,
    cache: Path | None,
    judge: Callable | None = None,
):
    """The posterior of ``module.model`` given ``data``: a pilot, then attempts until the `gate` passes.

    The pilot's draws and those of every attempt that is refused say how far each effect is best sampled centred
    (``module.recentred``); Pyro's engine goes without. What counts as worth an attempt is in `Sampling`.

    Parameters
    ----------
    module : has ``model``, ``effects`` and ``recentred``.
    label : (`Draws`, values of `constrained`, failures of each attempt before) -> posterior that `gate` can read.
    name : stands for the model's code among compiled densities (`source`).
    judge : reads what ``label`` returns; ``None`` for `gate`.
    """
    recentres = sampling.engine != "pyro"
    if sampling.pilot and recentres:
        short = replace(sampling, draws=sampling.pilot, tune=sampling.pilot)
        draws = sample(module.model, data, name=name, sampling=short, seed=seed, cache=cache)
        data = module.recentred(constrained(draws, module, data, seed), data)
    refused: list[tuple[str, ...]] = []
    current = sampling
    while True:
        draws = sample(module.model, data, name=name, sampling=current, seed=seed, cache=cache)
        values = constrained(draws, module, data, seed)
        posterior = label(draws, values, refused)
        if len(refused) + 1 >= sampling.attempts or sampling.draws * sampling.chains < WORTH_REPEATING:
            return posterior
        verdict = (judge or gate)(posterior)
        if verdict.passed:
            return posterior
        log.info("%s is drawn again: %s", name.split(":")[0], " ".join(verdict.failures))
        refused.append(verdict.failures)
        current = current.stricter()
        if recentres:
            data = module.recentred(values, data)


@functools.cache
def source(*modules) -> str:
    """Fingerprint of the code that defines a density."""
    return hashlib.sha256("".join(inspect.getsource(m) for m in modules).encode()).hexdigest()[:12]


def constrained(draws: Draws, module, data: Mapping[str, np.ndarray], seed: int) -> dict[str, np.ndarray]:
    """Draws on the real line -> what people read, ``module.effects`` of every draw: name -> (chain, draw, ...)."""
    density = draws.density
    tensors = density.unpack(density.pack(data))
    s = int(draws.z.shape[2])
    chains, number = draws.z.shape[:2]
    flat = torch.from_numpy(np.ascontiguousarray(draws.z)).reshape(-1, s)
    rng = np.random.default_rng(np.random.SeedSequence([seed, 1]))
    counts = [array for key, array in data.items() if key.rpartition("/")[2] == "n_opinion"]
    shape = counts[0].shape if counts else (1, 1)
    noise = {
        "u": torch.from_numpy(rng.standard_normal((flat.shape[0], *shape))),
        "delta": torch.from_numpy(rng.standard_normal((flat.shape[0], shape[0]))),
    }

    def one(z, noise):
        return module.effects(density.constrain(z)[0], tensors, noise)

    with torch.no_grad():
        found = torch.vmap(one, chunk_size=500)(flat, noise)
    return {name: v.reshape(chains, number, *v.shape[1:]).numpy() for name, v in found.items()}
