"""Draws from a Pyro model: nutpie or SVI over its captured density, or Pyro's own NUTS as the reference."""

from __future__ import annotations

import functools
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from bayesaffect import progress
from bayesaffect.errors import first_line
from bayesaffect.fusion.engine import nuts, reference, svi
from bayesaffect.fusion.engine.capture import Density, Model, capture
from bayesaffect.fusion.engine.compiled import Pointer, compiled, compiler
from bayesaffect.fusion.settings import Sampling

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Draws:
    """``z`` (chain, draw, ndim) on the real line, its ``density``, and ``stats`` name -> (chain, draw)."""

    z: np.ndarray
    density: Density
    stats: Mapping[str, np.ndarray] = field(default_factory=dict)


def sample(
    model: Model,
    data: Mapping[str, np.ndarray],
    *,
    name: str,
    sampling: Sampling,
    seed: int,
    cache: Path | None = None,
    compile_code: bool = True,
) -> Draws:
    """Draw from the posterior of ``model`` given ``data``, or with ``engine="svi"`` from a Gaussian close to it.

    ``name`` stands for the model in the cache of compiled densities. Same seed, same draws, on one machine.
    Without a C compiler, or where compilation fails, the graph runs through ``torch.jit.trace``: same draws within
    rounding, slower.
    """
    density = capture(model, data)
    total = (sampling.draws + sampling.tune) * sampling.chains
    if sampling.engine == "pyro":
        with progress.bar("sampling", total) as advance:
            z, stats = reference.run(density, data, sampling, seed=seed, advance=advance)
        return Draws(z, density, stats)
    flat = density.pack(data)
    with progress.bar(f"compiling {name.split(':')[0]}", None):
        pointer = _pointer(density, flat, name, cache, sampling.chains) if compile_code else None
    if sampling.engine == "svi":
        evaluate = pointer or nuts.traced_function(density, flat)
        with progress.bar("approximating", svi.STEPS * sampling.tune + sampling.draws * sampling.chains) as advance:
            first = nuts.start(seed, density.ndim)
            z, stats = svi.run(evaluate, first, sampling, seed=seed, advance=advance)
        return Draws(z, density, stats)
    target = functools.partial(nuts.compiled_model, pointer) if pointer else nuts.traced_model(density, flat)
    with progress.bar("sampling", total) as advance:
        z, stats = nuts.run(target, sampling, seed=seed, advance=advance)
    return Draws(z, density, stats)


def _pointer(density: Density, flat: torch.Tensor, name: str, cache: Path | None, chains: int) -> Pointer | None:
    """The compiled density, or ``None`` and a warning where there is no way to it."""
    if not compiler():
        log.warning("no C compiler found; sampling through the traced graph, which is slower")
        return None
    try:
        return Pointer(compiled(density, flat, name, cache), density.ndim, flat, chains)
    except Exception as error:  # whatever a tool chain may raise: the slower route gives the same posterior
        log.warning("compilation failed (%s); sampling through the traced graph", first_line(error))
        return None
