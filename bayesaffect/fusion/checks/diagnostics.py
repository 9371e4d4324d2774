"""The gate: whether a fit may be reported as such."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from bayesaffect.fusion.engine import pareto, svi
from bayesaffect.fusion.idata import attribute, az

MAX_RHAT, MIN_ESS, MIN_BFMI = 1.01, 400, 0.3


@dataclass(frozen=True)
class Gate:
    """The verdict: ``passed``; ``failures``, one sentence each; ``table`` per parameter (mean, sd, r_hat, ess_bulk,
    ess_tail)."""

    passed: bool
    failures: tuple[str, ...]
    table: pd.DataFrame


def gate(posterior) -> Gate:
    """Check split R-hat < 1.01, bulk and tail ESS > 400, no divergences, E-BFMI > 0.3 (Vehtari et al. 2021; Betancourt
    2016).

    Parameters that do not vary (a correlation's diagonal) are not judged; a chain count of 1 fails R-hat. Draws that
    carry weights (``log_weight``: an approximation) fail whatever they look like, with their PSIS k-hat.
    """
    draws = posterior["posterior"]
    constant = [n for n in draws.data_vars if draws[n].std(["chain", "draw"]).max() == 0]
    with np.errstate(invalid="ignore", divide="ignore"):  # entries that do not vary are taken out below
        table = pd.DataFrame(
            {
                "mean": _column(draws.mean(["chain", "draw"])),
                "sd": _column(draws.std(["chain", "draw"])),
                "r_hat": _column(az.rhat(draws)),
                "ess_bulk": _column(az.ess(draws, method="bulk")),
                "ess_tail": _column(az.ess(draws, method="tail")),
            }
        )
    table = table[(table["sd"] > 1e-12) & ~table.index.isin(constant)]
    stats = posterior["sample_stats"]
    failures = []
    if "log_weight" in stats:
        failures.append(svi.sentence(pareto.khat(stats["log_weight"].values)))
    if draws.sizes["chain"] < 2:
        failures.append("There is only one chain, so convergence (R-hat) cannot be judged.")
    elif not (table["r_hat"] < MAX_RHAT).all():
        worst = table["r_hat"].fillna(np.inf).idxmax()
        failures.append(
            f"R-hat of {worst} is {table.loc[worst, 'r_hat']:.3f}, not below {MAX_RHAT}: the chains disagree."
        )
    for column, word in (("ess_bulk", "Bulk"), ("ess_tail", "Tail")):
        if not (table[column] > MIN_ESS).all():
            worst = table[column].fillna(-1).idxmin()
            failures.append(
                f"{word} effective sample size of {worst} is {table.loc[worst, column]:.0f}, not above {MIN_ESS}."
            )
    if number := int(stats["diverging"].sum()) if "diverging" in stats else 0:
        failures.append(f"{number} of {stats['diverging'].size} draws diverged.")
    if "energy" in stats:
        bfmi = np.atleast_1d(np.asarray(_bfmi(stats["energy"].values)))
        if not (bfmi > MIN_BFMI).all():
            failures.append(f"E-BFMI of chain {int(bfmi.argmin())} is {bfmi.min():.2f}, not above {MIN_BFMI}.")
    return Gate(not failures, tuple(failures), table)


def refused(posterior) -> list[list[str]]:
    """What the gate found in each attempt before the one that was kept; empty for a fit that passed at once."""
    return attribute(posterior, "refused")


def _bfmi(energy: np.ndarray) -> np.ndarray:
    """E-BFMI per chain: mean squared step of the energy over its variance."""
    return np.mean(np.diff(energy, axis=1) ** 2, axis=1) / np.var(energy, axis=1)


def _column(dataset) -> pd.Series:
    """Every scalar of a Dataset, named ``name[coordinate, ...]``."""
    out = {}
    for name, array in dataset.data_vars.items():
        if array.ndim == 0:
            out[name] = float(array)
            continue
        labels = [array[d].values if d in array.coords else np.arange(array.sizes[d]) for d in array.dims]
        for position, value in np.ndenumerate(array.values):
            out[f"{name}[{', '.join(str(axis[k]) for axis, k in zip(labels, position, strict=True))}]"] = value
    return pd.Series(out, dtype=float)
