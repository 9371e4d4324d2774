"""Draws from a Pyro model: nutpie over its captured density, or Pyro's own NUTS as the reference."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import nutpie
import pyro
import torch
from nutpie import _lib
from nutpie.compiled_pyfunc import from_pyfunc
from nutpie.sample import CompiledModel
from pyro.infer import MCMC, NUTS

from bayesaffect import progress
from bayesaffect.fusion.engine.capture import Density, Model, capture, graph
from bayesaffect.fusion.engine.compiled import Pointer, compiled, compiler
from bayesaffect.fusion.settings import Sampling

log = logging.getLogger(__name__)
INIT_SPREAD = 0.5
STATS = {
    "diverging": "diverging",
    "energy": "energy",
    "depth": "tree_depth",
    "n_steps": "n_steps",
    "step_size": "step_size",
    "logp": "lp",
    "mean_tree_accept": "acceptance_rate",
}


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
    """Draw from the posterior of ``model`` given ``data``.

    ``name`` stands for the model in the cache of compiled densities. Same seed, same draws, on one machine.
    Without a C compiler, or where compilation fails, the graph runs through ``torch.jit.trace``: same draws within
    rounding, slower.
    """
    density = capture(model, data)
    flat = density.pack(data)
    if sampling.engine == "pyro":
        return _reference(density, model, data, sampling, seed)
    with progress.bar(f"compiling {name.split(':')[0]}", None):
        target = _target(density, flat, name, cache, compile_code, sampling.chains)
    total = (sampling.draws + sampling.tune) * sampling.chains
    with progress.bar("sampling", total) as advance:
        running = nutpie.sample(
            target(seed, advance),
            draws=sampling.draws,
            tune=sampling.tune,
            chains=sampling.chains,
            cores=min(sampling.chains, os.cpu_count() or 1),
            seed=seed,
            target_accept=sampling.target_accept,
            save_warmup=False,
            progress_bar=False,
            blocking=False,
        )
        try:
            trace = running.wait()
        except BaseException:  # an interrupt included: half a run must not pass for a posterior
            running.cancel()
            raise
    stats = {new: trace.sample_stats[old].values for old, new in STATS.items() if old in trace.sample_stats}
    return Draws(trace.posterior["z"].values, density, stats)


def start(seed: int, ndim: int) -> np.ndarray:
    """A starting point on the real line: uniform within +-0.5 of the origin."""
    return np.random.default_rng(seed).uniform(-INIT_SPREAD, INIT_SPREAD, ndim)


class _Compiled(CompiledModel):
    """nutpie's view of a `Pointer`: the route its compiled models take, without Python in a gradient."""

    def __init__(self, pointer: Pointer, advance):
        object.__setattr__(self, "dims", {})
        object.__setattr__(self, "pointer", pointer)
        object.__setattr__(self, "advance", advance)

    @property
    def n_dim(self):
        return self.pointer.ndim

    @property
    def shapes(self):
        return {"z": (self.n_dim,)}

    @property
    def coords(self):
        return {}

    def _make_model(self, init_mean):
        p = self.pointer
        sizes = {"parameter": p.ndim}
        variables = _lib.PyVariable.new_variables(["z"], ["float64"], [(p.ndim,)], sizes, {"z": ["parameter"]})
        logp = _lib.LogpFunc(p.density, p.user, p)
        expand = _lib.ExpandFunc(p.ndim, p.ndim, p.expand, p.user, p)
        return _lib.PyMcModel(logp, expand, variables, p.ndim, sizes, {}, lambda seed: start(seed, p.ndim), None)

    def _make_sampler(self, settings, init_mean, cores, progress_type, store):
        done = 0

        def report(text):
            nonlocal done
            now = int(text)
            self.advance(now - done)
            done = now

        shown = _lib.ProgressType.template_callback(300, "{{ total_finished_draws }}", cores, report)
        return _lib.PySampler.from_pymc(settings, cores, self._make_model(init_mean), shown, store)


def _target(density: Density, flat: torch.Tensor, name: str, cache: Path | None, compile_code: bool, chains: int):
    """A function of (seed, advance) that makes the model nutpie samples."""
    if compile_code and compiler():
        try:
            pointer = Pointer(compiled(density, flat, name, cache), density.ndim, flat, chains)
            return lambda seed, advance: _Compiled(pointer, advance)
        except Exception as error:  # whatever a tool chain may raise: the slower route gives the same posterior
            log.warning("compilation failed (%s); sampling through the traced graph", str(error).splitlines()[0])
    elif compile_code:
        log.warning("no C compiler found; sampling through the traced graph, which is slower")
    traced = traced_graph(density, flat)

    def make_logp():
        def logp(z, **_):
            with torch.no_grad():
                out = traced(torch.from_numpy(np.array(z)), flat)[0].numpy()
            return float(out[0]), out[1:].copy()

        return logp

    def make_expand(*_):
        return lambda z, **_: {"z": np.array(z)}

    return lambda seed, advance: from_pyfunc(
        density.ndim,
        make_logp,
        make_expand,
        [np.dtype("float64")],
        [(density.ndim,)],
        ["z"],
        make_initial_point_fn=lambda s: start(s, density.ndim),
    )


def traced_graph(density: Density, flat: torch.Tensor):
    """`torch.jit.trace` of the captured graph: (z, data) -> ((value, gradient),)."""
    gm = graph(density, flat)
    example = (torch.zeros(density.ndim, dtype=torch.float64), flat)
    with warnings.catch_warnings():  # deprecated by torch, and without a substitute that needs no compiler
        warnings.simplefilter("ignore", DeprecationWarning)
        return torch.jit.freeze(torch.jit.trace(gm, example, check_trace=False).eval())


def _reference(density: Density, model: Model, data: Mapping[str, np.ndarray], sampling: Sampling, seed: int) -> Draws:
    """Pyro's NUTS on the model itself, chain after chain."""
    tensors = {name: torch.as_tensor(value, dtype=torch.float64) for name, value in data.items()}
    zs, stats = [], {"diverging": [], "lp": []}
    total = (sampling.draws + sampling.tune) * sampling.chains
    with progress.bar("sampling", total) as advance, torch.random.fork_rng(devices=[]), pyro.validation_enabled(False):
        for chain in range(sampling.chains):
            torch.manual_seed(np.random.SeedSequence([seed, chain]).generate_state(1)[0].item())
            lp = []

            def record(kernel, _, stage, __, lp=lp):
                advance(1)
                if stage.lower().startswith("sample"):
                    lp.append(-float(kernel._fetch_from_cache()[1]))

            kernel = NUTS(model, target_accept_prob=sampling.target_accept)
            run = MCMC(
                kernel,
                num_samples=sampling.draws,
                warmup_steps=sampling.tune,
                disable_progbar=True,
                hook_fn=record,
            )
            run.run(tensors)
            values = run.get_samples()
            parts = [site.transform.inv(values[site.name]).reshape(sampling.draws, -1) for site in density.sites]
            zs.append(torch.cat(parts, 1).numpy())
            diverging = np.zeros(sampling.draws, dtype=bool)
            diverging[run.diagnostics()["divergences"]["chain 0"]] = True
            stats["diverging"].append(diverging)
            stats["lp"].append(np.array(lp))
    return Draws(np.stack(zs), density, {name: np.stack(values) for name, values in stats.items()})
