"""The one adapter between arrays and ArviZ, for the InferenceData of 0.x and the DataTree of 1.x."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from bayesaffect.errors import InputError
from bayesaffect.fusion.engine import pareto

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import arviz as az

FORMAT = "bayesaffect fusion 1"
ENGINE = "h5netcdf"


def build(
    groups: Mapping[str, Mapping[str, np.ndarray]],
    *,
    coords: Mapping[str, Any],
    dims: Mapping[str, list[str]],
    attrs: Mapping[str, Any],
):
    """Groups of arrays -> the object ArviZ works on. ``attrs`` are stored as JSON, at the root and in ``posterior``.

    Where the draws carry weights (``log_weight`` among the sample_stats), their PSIS ``khat`` is one more attribute.
    """
    text = {name: json.dumps(value) for name, value in attrs.items()} | {"format": FORMAT}
    groups = {name: dict(arrays) for name, arrays in groups.items() if arrays}
    if "log_weight" in groups.get("sample_stats", {}):
        text["khat"] = json.dumps(round(pareto.khat(groups["sample_stats"]["log_weight"]), 3))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if int(az.__version__.split(".")[0]) >= 1:
            result = az.from_dict(groups, coords=dict(coords), dims=dict(dims))
        else:
            result = az.from_dict(**groups, coords=dict(coords), dims=dict(dims))
    result.attrs.update(text)
    for name in ("posterior", "prior"):
        if name in groups:
            result[name].attrs.update(text)
    return result


def groups(result) -> tuple[str, ...]:
    """Names of the groups, without a slash."""
    names = result.groups() if callable(result.groups) else result.groups
    return tuple(str(n).strip("/") for n in names if str(n).strip("/"))


def reduced(result, names: tuple[str, ...] = ("posterior", "constant_data")):
    """A copy with some of the groups only; by default those that predictions are made from."""
    kept = {name: result[name] for name in groups(result) if name in names}
    if isinstance(result, xr.DataTree):
        other = xr.DataTree.from_dict({name: node.to_dataset() for name, node in kept.items()})
    else:
        other = type(result)(**kept)
    other.attrs.update(result.attrs)
    return other


def in_memory(result):
    """The same object with every group read from its file: what is asked often must not be read often."""
    for name in groups(result):
        result[name].load()
    return result


def save(result, path: Path) -> None:
    """Write to NetCDF; either ArviZ reads what the other wrote."""
    result.to_netcdf(str(path), engine=ENGINE)


def load(path: Path):
    """Read what `save` wrote, as the class of the ArviZ that is installed."""
    return az.from_netcdf(str(path), engine=ENGINE)


def attribute(result, name: str):
    """An attribute written by `build`.

    Raises
    ------
    InputError : the object is not a fit of this package.
    """
    held = [result[group].attrs for group in ("posterior", "prior") if group in groups(result)]
    for attrs in (*held, result.attrs):
        if name in attrs:
            return json.loads(attrs[name])
    raise InputError("this posterior was not made by bayesaffect.fusion", remedy="use the file that `fuse` wrote")


def flattened(result, names, *, at_most: int | None = None) -> dict[str, np.ndarray]:
    """Posterior arrays (chain x draw, ...), chains interleaved; evenly thinned to ``at_most`` draws."""
    posterior = result["posterior"]
    total = posterior.sizes["chain"] * posterior.sizes["draw"]
    keep = np.linspace(0, total - 1, min(total, at_most or total)).round().astype(int)
    out = {}
    for name in names:
        values = posterior[name].transpose("draw", "chain", ...).values
        out[name] = values.reshape(total, *values.shape[2:])[keep]
    return out
