"""How much of a calibration error is noise: the error beside what perfect calibration would leave."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd
import xarray as xr

from bayesaffect.evaluate.aligned import align
from bayesaffect.evaluate.calibration import ece, ece_floor
from bayesaffect.types import Predictive, Target

COLUMNS = ["model", "target", "ece", "floor", "low", "high", "excess", "trials"]


def ece_table(
    predictives: Mapping[str, Predictive], truth: xr.Dataset, targets: Sequence[Target], *, seed: int
) -> pd.DataFrame:
    """Expected calibration error (15 bins) of every model and set of classes, beside `calibration.ece_floor`.

    ``floor``: mean over 1,000 draws of outcomes from the model's own probabilities; ``low``, ``high``: their central
    90 %; ``excess`` = max(ece - floor, 0). Independent trials are presumed, which makes the floor a lower bound.
    """
    rows = []
    for model, predictive in predictives.items():
        for target in targets:
            data = align(predictive, truth, target) if target.kind == "categorical" else None
            if data is not None:
                value, floor = ece(data.prob, data.truth), ece_floor(data.prob, seed=seed)
                rows.append((model, target.name, value, *floor, max(value - floor.mean, 0.0), data.truth.size))
    return pd.DataFrame(rows, columns=COLUMNS)


def sentences(table: pd.DataFrame, model: str) -> tuple[str, ...]:
    """Per target: the calibration error of ``model``, and whether it is more than perfect calibration would show."""
    rows = table[table["model"] == model]
    return tuple(
        f"{str(row.target).capitalize()}: calibration error (ECE) {row.ece:.3f}, of which "
        f"{min(row.floor, row.ece):.3f} would be there with perfect calibration and {row.trials} trials; "
        + ("no more than noise." if row.ece <= row.high else f"more than noise explains (up to {row.high:.3f}).")
        for row in rows.itertuples()
    )
