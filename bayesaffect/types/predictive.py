"""Predictions with a draw axis."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import xarray as xr

from bayesaffect.errors import InputError
from bayesaffect.types.index import positions
from bayesaffect.types.target import Target


@dataclass(frozen=True)
class Predictive:
    """Predictions with a draw axis, from networks (members x dropout passes) or from a posterior.

    Parameters
    ----------
    subject : (trial,) with coords trial and subject.
    mean, variance : continuous target -> (draw, trial), on the [-1, 1] scale and its square.
    log_prob : categorical target -> (draw, trial, level), normalised over level.
    trained_on : bool (trial, trained_subject): whose labels the maker of this trial's prediction has seen;
        ``None`` when that is unknown (predictions made elsewhere). Where something else than subjects is held out,
        the dim is ``trained_stimulus``, ``trained_version``, ``trained_part`` or ``trained_fold``.
    embedding : optional (trial, feature).
    """

    targets: tuple[Target, ...]
    subject: xr.DataArray
    mean: Mapping[str, xr.DataArray] = field(default_factory=dict)
    variance: Mapping[str, xr.DataArray] = field(default_factory=dict)
    log_prob: Mapping[str, xr.DataArray] = field(default_factory=dict)
    trained_on: xr.DataArray | None = None
    embedding: xr.DataArray | None = None

    def __post_init__(self):
        for label, arrays in (("mean", self.mean), ("variance", self.variance), ("log_prob", self.log_prob)):
            for name, array in arrays.items():
                if array.dims[:2] != ("draw", "trial") or array.sizes["draw"] < 1:
                    raise InputError(f"{label} of {name!r} has dims {dict(array.sizes)}, (draw, trial, ...) expected")
                if array.sizes["trial"] != self.subject.sizes["trial"]:
                    raise InputError(
                        f"{label} of {name!r} has {array.sizes['trial']} trials, not {self.subject.sizes['trial']}"
                    )
                if not np.isfinite(array.values).all():
                    raise InputError(f"{label} of {name!r} holds values that are not finite")
        for name, array in self.variance.items():
            if (array.values <= 0).any():
                raise InputError(f"variance of {name!r} is not positive everywhere")

    @property
    def trial(self) -> xr.DataArray:
        """Name of each trial (trial,)."""
        return self.subject["trial"]

    def select(self, keep: Sequence | np.ndarray) -> Predictive:
        """The trials picked by a boolean mask or integer positions."""
        keep = positions(keep)

        def take(arrays):
            return {name: array.isel(trial=keep) for name, array in arrays.items()}

        return replace(
            self,
            subject=self.subject.isel(trial=keep),
            mean=take(self.mean),
            variance=take(self.variance),
            log_prob=take(self.log_prob),
            trained_on=None if self.trained_on is None else self.trained_on.isel(trial=keep),
            embedding=None if self.embedding is None else self.embedding.isel(trial=keep),
        )

    @classmethod
    def concat(cls, parts: Iterable[Predictive]) -> Predictive:
        """Predictions of different trials with equally many draws, one after another."""
        parts = list(parts)
        subject = np.concatenate([p.subject.values for p in parts])

        def join(values):
            # read back from disk, arrays may have gained or lost coordinates beside those of their dims
            bare = [a.drop_vars([name for name in a.coords if name not in a.dims]) for a in values]
            options = {"join": "outer", "coords": "minimal", "compat": "override", "combine_attrs": "override"}
            return xr.concat(bare, dim="trial", **options).assign_coords(subject=("trial", subject))

        def joined(name):
            arrays = [getattr(p, name) for p in parts]
            return {target: join([a[target] for a in arrays]) for target in arrays[0]}

        whole = all(p.trained_on is not None for p in parts)
        return cls(
            parts[0].targets,
            join([p.subject for p in parts]),
            joined("mean"),
            joined("variance"),
            joined("log_prob"),
            join([p.trained_on.astype(float) for p in parts]).fillna(0) > 0 if whole else None,
            join([p.embedding for p in parts]) if all(p.embedding is not None for p in parts) else None,
        )

    def moments(self, target: str) -> tuple[xr.DataArray, xr.DataArray]:
        """Mean and total variance (trial,) of a continuous target: Var = E[variance] + Var[mean] over draws."""
        mean, variance = self.mean[target], self.variance[target]
        return mean.mean("draw"), variance.mean("draw") + mean.var("draw")

    def probability(self, target: str) -> xr.DataArray:
        """Class probabilities (trial, level), averaged over draws."""
        return np.exp(self.log_prob[target]).mean("draw")
