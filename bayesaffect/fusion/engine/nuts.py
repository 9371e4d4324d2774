"""nutpie's NUTS over a captured density, compiled or traced, and its draws as plain arrays."""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Callable, Iterator

import arviz
import numpy as np
import pyarrow
import torch
import xarray as xr

from bayesaffect.errors import InputError, first_line
from bayesaffect.fusion.engine.capture import Density, graph
from bayesaffect.fusion.engine.compiled import Pointer
from bayesaffect.fusion.settings import Sampling


@contextlib.contextmanager
def _named_class() -> Iterator[None]:
    """nutpie 0.16 names ``arviz.InferenceData`` in an annotation that is read on import; ArviZ 1 has no such class."""
    missing = "InferenceData" not in vars(arviz)
    if missing:
        arviz.InferenceData = xr.DataTree
    try:
        yield
    finally:
        if missing:
            del arviz.InferenceData


with _named_class():
    import nutpie
    from nutpie import _lib
    from nutpie.compiled_pyfunc import from_pyfunc
    from nutpie.sample import CompiledModel

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


def start(seed: int, ndim: int) -> np.ndarray:
    """A starting point on the real line: uniform within +-0.5 of the origin."""
    return np.random.default_rng(seed).uniform(-INIT_SPREAD, INIT_SPREAD, ndim)


def run(target: Callable, sampling: Sampling, *, seed: int, advance: Callable[[int], None]):
    """Draws z (chain, draw, ndim) and statistics name -> (chain, draw) of NUTS on ``target``.

    ``target``, of `compiled_model` or `traced_model`, makes nutpie's model of (seed, advance).
    """
    running = nutpie.sample(
        target(seed, advance),
        draws=sampling.draws,
        tune=sampling.tune,
        chains=sampling.chains,
        cores=min(sampling.chains, os.cpu_count() or 1),
        seed=seed,
        target_accept=sampling.target_accept,
        progress_bar=False,
        blocking=False,
        return_raw_trace=True,
    )
    try:
        batches, stats = running.wait().get_arrow_trace()
    except RuntimeError as error:
        running.cancel()
        raise InputError(
            f"the sampler found no place to start or broke off ({first_line(error)})",
            remedy="look for opinions or ratings of an extreme size, or priors much too wide",
        ) from error
    except BaseException:  # an interrupt included: half a run must not pass for a posterior
        running.cancel()
        raise
    kept = [~_column(batch, "tuning").astype(bool) for batch in stats]
    z = np.stack([_column(batch, "z")[keep] for batch, keep in zip(batches, kept, strict=True)])
    found = {
        new: np.stack([_column(batch, old)[keep] for batch, keep in zip(stats, kept, strict=True)])
        for old, new in STATS.items()
        if old in stats[0].column_names
    }
    return z, found


def _column(batch, name: str) -> np.ndarray:
    """A column of an Arrow batch (row,), or (row, length) where its entries are lists of one length."""
    column = pyarrow.array(batch.column(name))
    flat = column.flatten() if hasattr(column, "flatten") else column
    values = flat.to_numpy(zero_copy_only=False)
    return values if values.size == len(column) and name != "z" else values.reshape(len(column), -1)


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


def compiled_model(pointer: Pointer, seed: int, advance):
    """nutpie's model of a compiled density."""
    return _Compiled(pointer, advance)


def traced_model(density: Density, flat: torch.Tensor):
    """A function of (seed, advance) that makes nutpie's model of a density that runs through `traced_graph`."""
    evaluate = traced_function(density, flat)

    def make_logp():
        return lambda z, **_: evaluate(np.array(z))

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


def traced_function(density: Density, flat: torch.Tensor) -> Callable[[np.ndarray], tuple[float, np.ndarray]]:
    """z (ndim,) -> value and gradient, through `traced_graph`."""
    traced = traced_graph(density, flat)

    def evaluate(z):
        with torch.no_grad():
            out = traced(torch.from_numpy(z), flat)[0].numpy()
        return float(out[0]), out[1:].copy()

    return evaluate


def traced_graph(density: Density, flat: torch.Tensor):
    """`torch.jit.trace` of the captured graph: (z, data) -> ((value, gradient),)."""
    gm = graph(density, flat)
    example = (torch.zeros(density.ndim, dtype=torch.float64), flat)
    with warnings.catch_warnings():  # deprecated by torch, and without a substitute that needs no compiler
        warnings.simplefilter("ignore", DeprecationWarning)
        return torch.jit.freeze(torch.jit.trace(gm, example, check_trace=False).eval())
