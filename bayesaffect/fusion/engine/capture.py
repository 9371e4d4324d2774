"""The unconstrained log density of a Pyro model, with its data as an argument.

The model stays the only definition: its sites are found by running it once, and every evaluation replays it
with values put in their place. Constrained sites are moved to the real line by Pyro's transforms; the
log-determinants of their Jacobians are added.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pyro
import torch
from pyro import poutine
from torch import Tensor
from torch.distributions import biject_to
from torch.fx.experimental.proxy_tensor import make_fx

Model = Callable[[Mapping[str, Tensor]], None]


@dataclass(frozen=True)
class Site:
    """A latent site: its name, its transform from the real line, its unconstrained and constrained shapes."""

    name: str
    transform: torch.distributions.transforms.Transform
    shape: tuple[int, ...]
    start: int

    @property
    def size(self) -> int:
        return int(np.prod(self.shape, dtype=int))


@dataclass(frozen=True)
class Density:
    """log p(z, data) of a model over a flat z (ndim,) and flat data (ndata,), both float64."""

    model: Model
    sites: tuple[Site, ...]
    layout: tuple[tuple[str, tuple[int, ...]], ...]

    @property
    def ndim(self) -> int:
        return sum(s.size for s in self.sites)

    def pack(self, data: Mapping[str, np.ndarray]) -> Tensor:
        """Arrays -> flat vector in the order of the layout."""
        return torch.cat([torch.as_tensor(data[name], dtype=torch.float64).reshape(-1) for name, _ in self.layout])

    def unpack(self, flat: Tensor) -> dict[str, Tensor]:
        """Flat vector -> views by name; the inverse of `pack`."""
        sizes = [int(np.prod(shape, dtype=int)) for _, shape in self.layout]
        parts = torch.split(flat, sizes)
        return {name: part.view(shape) for (name, shape), part in zip(self.layout, parts, strict=True)}

    def constrain(self, z: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """Values of every site at z (ndim,) and the summed log-determinant of their Jacobians."""
        values, total = {}, torch.zeros((), dtype=z.dtype)
        for site in self.sites:
            part = z[site.start : site.start + site.size].reshape(site.shape)
            values[site.name] = site.transform(part)
            total = total + site.transform.log_abs_det_jacobian(part, values[site.name]).sum()
        return values, total

    def log_prob(self, z: Tensor, flat: Tensor) -> Tensor:
        """log p(constrained(z), data) + log |det Jacobian|."""
        values, jacobian = self.constrain(z)
        trace = poutine.trace(poutine.condition(self.model, data=values)).get_trace(self.unpack(flat))
        return trace.log_prob_sum() + jacobian

    def value_and_gradient(self, z: Tensor, flat: Tensor) -> Tensor:
        """The log density and its gradient in z, in one vector (1 + ndim,)."""
        gradient, value = torch.func.grad_and_value(self.log_prob)(z, flat)
        return torch.cat([value.reshape(1), gradient])


def capture(model: Model, data: Mapping[str, np.ndarray]) -> Density:
    """Run ``model`` once on ``data`` and record its latent sites.

    Every latent site must have a fixed support and take as many unconstrained as constrained numbers.
    """
    tensors = {name: torch.as_tensor(value, dtype=torch.float64) for name, value in data.items()}
    with torch.random.fork_rng(devices=[]), pyro.validation_enabled(False):
        torch.manual_seed(0)
        trace = poutine.trace(model).get_trace(tensors)
    sites, start = [], 0
    for name, node in trace.nodes.items():
        if node["type"] != "sample" or node["is_observed"]:
            continue
        site = Site(name, biject_to(node["fn"].support), tuple(node["value"].shape), start)
        base = site.transform
        while isinstance(base, torch.distributions.transforms.IndependentTransform):
            base = base.base_transform
        site = Site(name, base, site.shape, start)
        sites.append(site)
        start += site.size
    layout = tuple((name, tuple(value.shape)) for name, value in sorted(tensors.items()))
    return Density(model, tuple(sites), layout)


def graph(density: Density, flat: Tensor) -> torch.fx.GraphModule:
    """The FX graph of `Density.value_and_gradient`, with z and the data as its two inputs and a 1-tuple as output."""
    with pyro.validation_enabled(False):
        gm = make_fx(lambda z, data: (density.value_and_gradient(z, data),))(
            torch.zeros(density.ndim, dtype=torch.float64), flat
        )
    for node in gm.graph.nodes:  # example values of the tracer, which the compiler would take for its own
        node.meta.clear()
    return gm
