"""Pyro's own NUTS on the model itself: slow, and what the other engines are compared with."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pyro
import torch
from pyro.infer import MCMC, NUTS

from bayesaffect.fusion.engine.capture import Density
from bayesaffect.fusion.settings import Sampling


def run(
    density: Density, data: Mapping[str, np.ndarray], sampling: Sampling, *, seed: int, advance: Callable[[int], None]
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Draws z (chain, draw, ndim) on the real line and ``diverging``, ``lp`` (chain, draw), chain after chain."""
    tensors = {name: torch.as_tensor(value, dtype=torch.float64) for name, value in data.items()}
    zs, stats = [], {"diverging": [], "lp": []}
    with torch.random.fork_rng(devices=[]), pyro.validation_enabled(False):
        for chain in range(sampling.chains):
            torch.manual_seed(np.random.SeedSequence([seed, chain]).generate_state(1)[0].item())
            lp = []

            def record(kernel, _, stage, __, lp=lp):
                advance(1)
                if stage.lower().startswith("sample"):
                    lp.append(-float(kernel._fetch_from_cache()[1]))

            kernel = NUTS(density.model, target_accept_prob=sampling.target_accept)
            sampler = MCMC(
                kernel, num_samples=sampling.draws, warmup_steps=sampling.tune, disable_progbar=True, hook_fn=record
            )
            sampler.run(tensors)
            values = sampler.get_samples()
            parts = [site.transform.inv(values[site.name]).reshape(sampling.draws, -1) for site in density.sites]
            zs.append(torch.cat(parts, 1).numpy())
            diverging = np.zeros(sampling.draws, dtype=bool)
            diverging[sampler.diagnostics()["divergences"]["chain 0"]] = True
            stats["diverging"].append(diverging)
            stats["lp"].append(np.array(lp))
    return np.stack(zs), {name: np.stack(values) for name, values in stats.items()}
