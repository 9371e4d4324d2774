"""The one adapter between arrays and ArviZ, for the InferenceData of 0.x and the DataTree of 1.x."""

from __future__ import annotations

import importlib.metadata
import json
import math
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from bayesaffect.errors import InputError
from bayesaffect.fusion.engine import pareto
from bayesaffect.types import Opinions, Target

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import arviz as az

FORMAT = "bayesaffect fusion 1"
ENGINE = "h5netcdf"
MAX_ELEMENTS = 8_000_000
PACKAGES = ("torch", "pyro-ppl", "nutpie", "arviz")


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


def described(target: Target) -> dict[str, Any]:
    """The attributes of `build` that say what a fit is of; `target_of` reads them."""
    return {
        "target": {"name": target.name, "bounds": target.bounds, "levels": target.levels},
        "kind": target.kind,
    }


def target_of(result) -> Target:
    """The target of a fit."""
    spec = attribute(result, "target")
    bounds, levels = (None if spec[name] is None else tuple(spec[name]) for name in ("bounds", "levels"))
    return Target(spec["name"], bounds, levels)


def modalities_of(result) -> tuple[str, ...]:
    """The modalities of a fit, in its order."""
    return tuple(str(m) for m in result["posterior"]["modality"].values)


def check_target(result, target: str) -> Target:
    """The target of a fit; raises `InputError` where it is another one than ``target``."""
    if (fitted := target_of(result)).name != target:
        raise InputError(f"this posterior is of {fitted.name!r}, not of {target!r}")
    return fitted


def check_modalities(result, opinions: Opinions):
    """Raise `InputError` where opinions have other modalities than a fit, or the same in another order."""
    if (fitted := modalities_of(result)) != opinions.modalities:
        raise InputError(f"the opinions have modalities {list(opinions.modalities)}, the fit has {list(fitted)}")


def versions() -> dict[str, str]:
    """The packages that a posterior depends on, and their versions."""
    return {package: importlib.metadata.version(package) for package in PACKAGES}


def thinning(draws: int, per_draw: int) -> int:
    """Every how manieth of ``draws`` is kept in a group that holds ``per_draw`` numbers for each."""
    return max(1, math.ceil(draws * per_draw / MAX_ELEMENTS))


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
