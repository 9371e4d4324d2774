"""Which model foretells a trial, or a person, best that it has not seen: PSIS-LOO on the posteriors at hand."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
import xarray as xr

from bayesaffect.errors import InputError
from bayesaffect.fusion import idata
from bayesaffect.fusion.idata import az

GOOD_K = 0.7
CLOSE = 4.0
EFFICIENCY_UNITS = 100
UNITS = ("trial", "subject")
METHODS = ("stacking", "BB-pseudo-BMA", "pseudo-BMA")


@dataclass(frozen=True)
class Comparison:
    """What `compare` found.

    Parameters
    ----------
    table : one row per model, best first; its columns are explained in `compare`.
    pointwise : (model, trial) or (model, subject), log predictive density of each unit without itself.
    khat : same shape, how far the importance weights behind it can be trusted; infinite where that is not known.
    sentences : what a reader must know before the table is believed, worst first; empty when there is nothing.
    """

    table: pd.DataFrame
    pointwise: xr.DataArray
    khat: xr.DataArray
    sentences: tuple[str, ...]


def compare(posteriors: Mapping[str, object], *, by: str = "trial", method: str = "stacking") -> Comparison:
    """Compare fits of one target to the same trials by leave-one-out cross-validation (Vehtari et al. 2017).

    With draws theta of the posterior of everything and r_i = 1 / p(y_i | x_i, theta), Pareto-smoothed, for a unit i

        elpd_i = log( sum_theta r_i p(y_i | x_i, theta) / sum_theta r_i ),      elpd = sum_i elpd_i,

    the log density of its truth given its opinions, had its truth not been seen. A unit is a trial, of a person whose
    other trials are known; or a ``"subject"``, all trials of a person at once. To take a whole person out of a
    posterior that has its effects is to ask much of the weights: k-hat says where that failed, and then only a fit
    with ``held_out`` answers.

    Parameters
    ----------
    posteriors : name -> what `fit` or `fit_hybrid` returned, at least two, of the same trials in any order.
    by : ``"trial"`` or ``"subject"``.
    method : of the weights: ``"stacking"``, ``"BB-pseudo-BMA"`` or ``"pseudo-BMA"`` (Yao et al. 2018).

    Returns
    -------
    Comparison. Columns of its table: ``rank``; ``elpd`` and its ``se``; ``p``, the effective number of parameters;
    ``elpd_diff``, how much less than the best, and ``dse``, its standard error over units; ``weight`` of the model in a
    mixture of all; ``max_k`` and ``bad_k``, the largest k-hat and how many exceed 0.7; ``warning`` if any does.

    Raises
    ------
    InputError : fewer than two fits, of different targets or trials, or another word for ``by`` or ``method``.
    """
    if by not in UNITS:
        raise InputError(f"by is {by!r}", remedy=f"choose one of {list(UNITS)}")
    if method not in METHODS:
        raise InputError(f"there is no method {method!r}", remedy=f"choose one of {list(METHODS)}")
    if len(posteriors) < 2:
        raise InputError(f"{len(posteriors)} fits cannot be compared", remedy="give at least two")
    likelihood = _aligned(posteriors)
    found = {name: _loo(values, by) for name, values in likelihood.items()}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # k-hat is reported below, model by model
        exact = {"round_to": "none"} if "round_to" in inspect.signature(az.compare).parameters else {}
        table = az.compare({name: each.raw for name, each in found.items()}, method=method, **exact)
    table = _named(table)
    table["max_k"] = [float(np.max(found[name].khat)) for name in table.index]
    table["bad_k"] = [int((found[name].khat > GOOD_K).sum()) for name in table.index]
    table["warning"] = table["bad_k"] > 0
    first = next(iter(likelihood.values()))
    units = first["trial"].values if by == "trial" else np.unique(first["subject"].values)
    coords = {"model": list(found), by: units}

    def stacked(arrays):
        return xr.DataArray(np.stack(list(arrays)), dims=("model", by), coords=coords)

    return Comparison(
        table,
        stacked(each.elpd for each in found.values()),
        stacked(each.khat for each in found.values()),
        _sentences(table, by, len(units)),
    )


@dataclass(frozen=True)
class _Loo:
    raw: object
    elpd: np.ndarray
    khat: np.ndarray


def _aligned(posteriors: Mapping[str, object]) -> dict[str, xr.DataArray]:
    """log p(y_i | x_i, theta) of every fit (chain, draw, trial), trials in the order of the first."""
    out, first = {}, None
    for name, posterior in posteriors.items():
        target = idata.attribute(posterior, "target")["name"]
        values = posterior["log_likelihood"][target].transpose("chain", "draw", "trial")
        subject = posterior["constant_data"]["trial_subject"].values.astype(str)
        values = values.assign_coords(subject=("trial", subject))
        truth = posterior["observed_data"][target].values
        if first is None:
            first = (name, target, values["trial"].values, pd.Series(truth, index=values["trial"].values))
        if target != first[1]:
            raise InputError(f"{name!r} is of {target!r}, {first[0]!r} of {first[1]!r}", remedy="compare one target")
        mine = pd.Series(truth, index=values["trial"].values)
        if set(mine.index) != set(first[2]) or not np.allclose(mine.loc[first[2]], first[3]):
            raise InputError(
                f"{name!r} was fitted to other trials or other truths than {first[0]!r}",
                remedy="fit all models to the same opinions, with the same held_out",
            )
        out[name] = values.sel(trial=first[2])
    return out


def _loo(values: xr.DataArray, by: str) -> _Loo:
    """PSIS-LOO of one model."""
    if by == "subject":
        values = values.groupby("subject").sum()
    array = np.array(values.transpose("chain", "draw", by).values, dtype=float)
    same = np.ptp(array, (0, 1)) == 0  # a model without parameters: ArviZ 1.x refuses weights that are all one
    array[:, :, same] += 1e-9 * np.random.default_rng(0).standard_normal(array.shape)[:, :, same]
    tree = idata.build(
        {"posterior": {"level": array.mean(-1)}, "log_likelihood": {"y": array}},
        coords={by: values[by].values},
        dims={"y": [by]},
        attrs={},
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        raw = az.loo(tree, pointwise=True, var_name="y", reff=_efficiency(array))
    elpd = getattr(raw, "loo_i", None)
    elpd = raw.elpd_i if elpd is None else elpd
    khat = np.asarray(raw.pareto_k, dtype=float).reshape(-1)
    return _Loo(raw, np.asarray(elpd).reshape(-1), np.where(np.isnan(khat), np.inf, khat))


def _efficiency(array: np.ndarray) -> float:
    """Effective draws per draw of the likelihoods (chain, draw, unit), their mean over evenly spaced units, at most 1.

    Stored likelihoods may be thinned, so the efficiency of the parameters' draws does not serve.
    """
    keep = np.unique(np.linspace(0, array.shape[2] - 1, EFFICIENCY_UNITS).round().astype(int))
    density = np.exp(array[:, :, keep] - array[:, :, keep].max((0, 1)))
    size = az.ess(az.convert_to_dataset({"y": density}), method="mean")["y"].values
    share = np.nanmean(np.where(density.std((0, 1)) > 0, size, np.nan)) / (array.shape[0] * array.shape[1])
    return float(np.clip(share, 1e-3, 1.0)) if np.isfinite(share) else 1.0


def _named(table: pd.DataFrame) -> pd.DataFrame:
    """The columns of either ArviZ under one set of names."""
    table = table.rename(columns={"elpd_loo": "elpd", "p_loo": "p"})
    numbers = table[["rank", "elpd", "se", "p", "elpd_diff", "dse", "weight"]].astype(float)
    numbers["elpd_diff"] = numbers["elpd_diff"].abs()  # ArviZ 1.x writes it below zero
    return numbers.sort_values("rank").astype({"rank": int})


def _sentences(table: pd.DataFrame, by: str, units: int) -> tuple[str, ...]:
    said = []
    for name, row in table[table["warning"]].iterrows():
        said.append(
            f"k-hat of {name} is above {GOOD_K} for {row['bad_k']:.0f} of {units} {by}s (largest {row['max_k']:.2f}): "
            "its elpd is not to be relied on; score fits with held_out instead."
        )
    best = table.index[0]
    for name, row in table.iloc[1:].iterrows():
        gap, error = abs(row["elpd_diff"]), row["dse"]
        if gap < CLOSE or gap < 2 * error:
            said.append(
                f"{best} and {name} cannot be told apart: elpd differs by {gap:.1f} (standard error {error:.1f})."
            )
    return tuple(said)
