"""Convergence of a posterior as tables: one row per scalar parameter, one row per variable."""

from __future__ import annotations

import arviz as az
import numpy as np
import pandas as pd
import xarray as xr

_MOST = 64


def elements(posterior: az.InferenceData) -> pd.DataFrame:
    """Index: name of a scalar hyper-parameter (variables of at most 64 elements); columns r_hat, ess_bulk, draws.

    Of quantities whose draws come in the same order (the two halves of a correlation matrix, a scale and its
    logarithm) only the first is told: their ranks, R-hat and sample size are the same.
    """
    rows, seen = {}, set()
    for name, array in posterior["posterior"].data_vars.items():
        values = array.transpose("chain", "draw", ...).values
        if values.dtype.kind != "f" or values[0, 0].size > _MOST or "subject" in array.dims:
            continue
        labels = [
            array[d].values if d in array.coords else np.arange(array.sizes[d])
            for d in array.dims
            if d not in ("chain", "draw")
        ]
        for place in np.ndindex(values.shape[2:]):
            draws = values[(slice(None), slice(None), *place)]
            order = draws.argsort(axis=None, kind="stable").tobytes()
            if not np.isfinite(draws).all() or np.ptp(draws) == 0 or order in seen:
                continue
            seen.add(order)
            inner = ", ".join(str(labels[k][p]) for k, p in enumerate(place))
            rows[f"{name}[{inner}]" if inner else str(name)] = {
                "r_hat": float(az.rhat(draws)),
                "ess_bulk": float(az.ess(draws)),
                "draws": draws,
            }
    return pd.DataFrame.from_dict(rows, orient="index", columns=["r_hat", "ess_bulk", "draws"])


def variables(posterior: az.InferenceData) -> pd.DataFrame:
    """Index: variable; columns elements, r_hat (largest), ess_bulk and ess_tail (smallest); constants are left out."""
    chains = xr.Dataset({v: a for v, a in posterior["posterior"].data_vars.items() if a.dtype.kind == "f"})
    with np.errstate(invalid="ignore", divide="ignore"):  # constants, taken out below
        rhat, bulk, tail = az.rhat(chains), az.ess(chains, method="bulk"), az.ess(chains, method="tail")
    rows = {}
    for name, array in chains.data_vars.items():
        # a constant (the diagonal of a correlation matrix) has neither R-hat nor sample size
        values = array.transpose("chain", "draw", ...).values
        moving = np.ptp(values, (0, 1)) > 1e-9 * np.abs(values).max((0, 1), initial=0.0)
        if moving.any():
            pick = [np.asarray(s[name].values)[moving] for s in (rhat, bulk, tail)]
            rows[str(name)] = (int(moving.sum()), np.fmax.reduce(pick[0]), *map(np.fmin.reduce, pick[1:]))
    return pd.DataFrame.from_dict(rows, orient="index", columns=["elements", "r_hat", "ess_bulk", "ess_tail"])


def divergences(posterior: az.InferenceData) -> int | None:
    """Number of divergent transitions after warm-up, ``None`` if they were not recorded."""
    stats = getattr(posterior, "sample_stats", None)
    return None if stats is None or "diverging" not in stats else int(stats["diverging"].sum())
