"""The opinions table, so that anybody's predictions can be fused.

One row per trial and modality, CSV (comma, UTF-8) or Parquet. A modality that says nothing about a trial
has no row. Columns, in any order:

    trial, subject, modality   names; a trial has one subject
    stimulus, version          optional names: of the clip, and of the session, recording or device
    mean_<target>              prediction of a continuous target, in rating units
    var_<target>               its predictive variance, rating units squared; without any var_ column the
                               variances count as unknown (`Opinions.variance_known` is False, 1 stands in)
    low_<target>, high_<target>  ends of the rating scale, the same in every row (or ``bounds=``)
    p_<class>                  probabilities of the one categorical target, in the order of its levels
    p_<target>:<class>         the same when there are several (then every p_ column is written so)
    truth_<target>             the truth, repeated in each row of the trial, empty where unknown: a rating or
                               a class name; with one categorical target this column names the target,
    truth                      and without a name it is called "class"
    spread_<target>            optional standard deviation of the rating inside the trial, rating units
    x_<name>                   optional features; a modality has those in which it has any value
    quality                    optional, 0 to 1

Nothing else is legal, so that a misspelt column is noticed. Predictions may leave the rating scale, truth may not.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from bayesaffect.errors import InputError
from bayesaffect.io.frames import KEYS, read_frame
from bayesaffect.io.opinions_columns import by_role
from bayesaffect.types import Opinions, Target

_MISSING = ("", "nan", "NaN", "NA", "null", "None")


def read_table(path: str | os.PathLike, *, bounds: Mapping[str, tuple[float, float]] | None = None) -> Opinions:
    """Read an opinions table (module docstring).

    Trials and modalities keep the order of their first rows. Probabilities within 1e-3 of sum 1 are
    renormalised and raised to at least 1e-12.

    Parameters
    ----------
    bounds : continuous target -> (low, high) of its rating scale, where the table has no low_/high_ columns.

    Raises
    ------
    InputError : one sentence with file, row (the header is row 1) and remedy.
    """
    return _Table(Path(path), dict(bounds or {})).opinions()


class _Table:
    """A table on its way to `Opinions`: its frame, its columns by role, and where to point when a row is wrong."""

    def __init__(self, path: Path, bounds: dict):
        self.path, self.bounds = path, bounds
        self.frame = read_frame(path)
        self.continuous, self.levels, self.prob_columns = by_role(list(self.frame.columns), path)

    def fail(self, rows: np.ndarray, what, remedy: str):
        """Raise about the first row marked in ``rows``; ``what`` is a sentence or makes one from the position."""
        k = int(np.argmax(rows))
        raise InputError(
            what(k) if callable(what) else what, where=f"{self.path}, row {self.frame.index[k]}", remedy=remedy
        )

    def numbers(self, column: str, *, required: bool = True) -> np.ndarray:
        text = self.frame[column]
        try:
            values = text.mask(text.isin(_MISSING)).to_numpy(dtype=float)
        except (ValueError, TypeError):
            values = pd.to_numeric(text, errors="coerce").to_numpy(dtype=float)
            wrong = np.isnan(values) & ~text.isin(_MISSING).to_numpy()
            self.fail(
                wrong, lambda k: f"{column} is {text.iloc[k]!r}, not a number", "write a number with a decimal point"
            )
        if (wrong := np.isinf(values) | (required & np.isnan(values))).any():
            self.fail(
                wrong,
                lambda k: f"{column} is {'empty' if np.isnan(values[k]) else 'infinite'}",
                "give a number, or leave out the row if the modality is missing",
            )
        return values

    def opinions(self) -> Opinions:
        for column in KEYS:
            if (empty := (self.frame[column] == "").to_numpy()).any():
                self.fail(empty, f"{column} is empty", "each row needs trial, subject and modality")
        self.row_trial, trials = pd.factorize(self.frame["trial"])
        self.row_modality, modalities = pd.factorize(self.frame["modality"])
        if (again := self.frame.duplicated(["trial", "modality"]).to_numpy()).any():
            self.fail(
                again,
                lambda k: "{1!r} of trial {0!r} occurs twice".format(*self.frame[["trial", "modality"]].iloc[k]),
                "keep one row per trial and modality",
            )
        self.shape = len(trials), len(modalities)
        present = np.zeros(self.shape, dtype=bool)
        present[self.row_trial, self.row_modality] = True
        stimulus = self.per_trial("stimulus") if "stimulus" in self.frame else np.full(len(trials), "")
        coords = {"trial": np.asarray(trials, dtype=str), "modality": np.asarray(modalities, dtype=str)}
        coords |= {"subject": ("trial", self.per_trial("subject")), "stimulus": ("trial", stimulus)}
        coords |= {"version": ("trial", self.per_trial("version"))} if "version" in self.frame else {}
        self.present = xr.DataArray(present, dims=("trial", "modality"), coords=coords)
        targets = [Target(t, bounds=self.scale(t)) for t in self.continuous]
        if surplus := sorted(set(self.bounds) - set(self.continuous)):
            raise InputError(
                f"has no column mean_{surplus[0]} although bounds of it were given",
                where=self.path,
                remedy=f"targets are {self.continuous}",
            )
        known = {c for c in self.frame if c.startswith("var_")}
        if known and len(known) < len(targets):
            raise InputError(
                f"has {sorted(known)} but not a variance of each of {self.continuous}",
                where=self.path,
                remedy="give all or none",
            )
        mean = {t.name: self.grid(t.to_unit(self.numbers(f"mean_{t.name}"))) for t in targets}
        variance = {t.name: self.grid(self.variances(t)) for t in targets}
        truth = {}
        for t in targets:
            truth |= self.continuous_truth(t)
        log_prob = {}
        for name, levels in self.levels.items():
            log_prob[name] = self.grid(self.log_probabilities(name), "level").assign_coords(level=levels)
            targets.append(Target(name, levels=tuple(levels)))
            truth[name] = ("trial", self.labels(targets[-1]))
        return Opinions(
            tuple(targets),
            self.present,
            xr.Dataset(truth, coords={"trial": coords["trial"]}),
            mean,
            variance,
            log_prob,
            variance_known=bool(known) or not self.continuous,
            embedding=self.features(),
            quality=self.grid(self.numbers("quality")) if "quality" in self.frame else None,
        )

    def grid(self, values: np.ndarray, *extra: str) -> xr.DataArray:
        out = np.full((*self.shape, *values.shape[1:]), np.nan)
        out[self.row_trial, self.row_modality] = values
        return xr.DataArray(out, dims=("trial", "modality", *extra), coords=self.present.coords)

    def scale(self, name: str) -> tuple[float, float]:
        columns, found = [f"low_{name}", f"high_{name}"], self.bounds.get(name)
        if any(c in self.frame for c in columns):
            if absent := [c for c in columns if c not in self.frame]:
                raise InputError(
                    f"lacks the column {absent[0]}", where=self.path, remedy="give both ends of the rating scale"
                )
            values = np.stack([self.numbers(c) for c in columns], 1)
            first = tuple(values[0].tolist())
            if (other := (values != (found or first)).any(1)).any():
                self.fail(
                    other,
                    lambda k: f"rating scale of {name!r} is {tuple(values[k].tolist())}, not {found or first}",
                    "one scale per target",
                )
            found = first
        if found is None:
            raise InputError(
                f"does not say the rating scale of {name!r}",
                where=self.path,
                remedy=f"add the columns low_{name} and high_{name}, or give bounds",
            )
        return float(found[0]), float(found[1])

    def variances(self, target: Target) -> np.ndarray:
        if (column := f"var_{target.name}") not in self.frame:
            return np.ones(len(self.frame))
        values = self.numbers(column)
        if (wrong := values <= 0).any():
            self.fail(
                wrong,
                lambda k: f"{column} is {values[k]:g}",
                "a variance is positive; leave the column out if it is unknown",
            )
        return values / target.half_range**2

    def log_probabilities(self, name: str) -> np.ndarray:
        columns = self.prob_columns[name]
        prob = np.stack([self.numbers(c) for c in columns], 1)
        if (wrong := (prob < 0).any(1)).any():
            self.fail(
                wrong,
                lambda k: f"{columns[prob[k].argmin()]} is {prob[k].min():g}",
                "a probability lies between 0 and 1",
            )
        total = prob.sum(1)
        if (wrong := np.abs(total - 1) > 1e-3).any():
            self.fail(
                wrong,
                lambda k: f"probabilities of {name!r} sum to {total[k]:.6g}, not 1",
                "divide each by their sum if they are shares",
            )
        return np.log(np.maximum(prob / total[:, None], 1e-12))

    def per_trial(self, column: str, values=None, missing=None) -> np.ndarray:
        """One value per trial from the rows; two different ones are an error, a missing one gives way."""
        text = self.frame[column]
        values = text.to_numpy(dtype=str) if values is None else values
        missing = values == "" if missing is None else missing
        out = np.full(self.shape[0], "" if values.dtype.kind == "U" else np.nan, dtype=values.dtype)
        rows = np.flatnonzero(~missing)[::-1]
        out[self.row_trial[rows]] = values[rows]
        if (wrong := ~missing & (values != out[self.row_trial])).any():
            k = int(np.argmax(wrong))
            what = (
                f"{column} of trial {self.frame['trial'].iloc[k]!r} is {text.iloc[k]!r}, not {out[self.row_trial[k]]!s}"
            )
            self.fail(wrong, f"{what} as before", f"a trial has one {column}")
        return out

    def continuous_truth(self, target: Target) -> dict:
        (low, high), found = target.bounds, {}
        column, spread = f"truth_{target.name}", f"spread_{target.name}"
        found[target.name] = ("trial", np.full(self.shape[0], np.nan))
        if column in self.frame:
            values = self.numbers(column, required=False)
            if (wrong := (values < low) | (values > high)).any():
                self.fail(
                    wrong,
                    lambda k: f"{column} is {values[k]:g}, outside {low:g} to {high:g}",
                    "correct it, or the bounds",
                )
            found[target.name] = ("trial", target.to_unit(self.per_trial(column, values, np.isnan(values))).clip(-1, 1))
        if spread in self.frame:
            values = self.numbers(spread, required=False)
            if (wrong := values < 0).any():
                self.fail(wrong, lambda k: f"{spread} is {values[k]:g}", "a standard deviation is not negative")
            found[spread] = ("trial", self.per_trial(spread, values, np.isnan(values)) / target.half_range)
        return found

    def labels(self, target: Target) -> np.ndarray:
        column = f"truth_{target.name}" if f"truth_{target.name}" in self.frame else "truth"
        if column not in self.frame:
            return np.full(self.shape[0], -1)
        text = self.frame[column]
        code = text.map({level: k for k, level in enumerate(target.levels)}).to_numpy(dtype=float)
        if (wrong := np.isnan(code) & (text != "").to_numpy()).any():
            self.fail(
                wrong,
                lambda k: f"{column} is {text.iloc[k]!r}, which is no class",
                f"classes are {list(target.levels)}",
            )
        names = self.per_trial(column)
        return np.array([-1 if n == "" else target.levels.index(n) for n in names])

    def features(self) -> dict:
        columns = [c for c in self.frame if c.startswith("x_")]
        values = (
            np.stack([self.numbers(c, required=False) for c in columns], 1)
            if columns
            else np.empty((len(self.frame), 0))
        )
        found = {}
        for k, modality in enumerate(self.present["modality"].values.tolist()):
            mine = self.row_modality == k
            used = ~np.isnan(values[mine]).all(0)
            if not used.any():
                continue
            if (gap := mine & np.isnan(values[:, used]).any(1)).any():
                self.fail(
                    gap,
                    f"a feature of {modality!r} is empty that its other rows have",
                    "give all features of a modality or none",
                )
            block = np.full((self.shape[0], int(used.sum())), np.nan)
            block[self.row_trial[mine]] = values[mine][:, used]
            names = [c.removeprefix("x_") for c, u in zip(columns, used, strict=True) if u]
            coords = {"trial": self.present["trial"].values, "feature": names}
            found[modality] = xr.DataArray(block, dims=("trial", "feature"), coords=coords)
        return found
