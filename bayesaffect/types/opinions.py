"""What each modality says about each trial."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import xarray as xr

from bayesaffect.errors import InputError
from bayesaffect.types.index import check_index, positions
from bayesaffect.types.predictive import Predictive
from bayesaffect.types.target import Target
from bayesaffect.types.trials import Trials
from bayesaffect.types.unit import SUBJECT, forbidden, units


@dataclass(frozen=True)
class Opinions:
    """What each modality says about each trial, in the form that fusion takes.

    Parameters
    ----------
    present : bool (trial, modality), with coords trial, modality, subject (trial), stimulus (trial).
    mean, variance : continuous target -> (trial, modality), [-1, 1] scale; NaN where not present.
    log_prob : categorical target -> (trial, modality, level); NaN where not present.
    truth : Dataset over trial, as in `Trials`; targets without truth are missing throughout.
    trained_on : bool (trial, modality, trained_subject), or ``None`` for predictions made elsewhere, whose
        maker vouches for them; **a prediction made by a network that saw the trial's subject is refused**.
        What is held apart may be something else than subjects: the last dim is ``trained_<held_out_by>``.
    variance_known : False where the source gave no variances and 1 stands in their place.
    embedding : modality -> (trial, feature), NaN where not present, optional; quality : (trial, modality), optional.
    held_out_by : the coordinate of the trials whose `unit` no network may have seen: ``subject``, ``stimulus``,
        ``version``, ``part`` (of a session; later ones are refused, too) or ``fold`` (inside subjects).
    """

    targets: tuple[Target, ...]
    present: xr.DataArray
    truth: xr.Dataset
    mean: Mapping[str, xr.DataArray] = field(default_factory=dict)
    variance: Mapping[str, xr.DataArray] = field(default_factory=dict)
    log_prob: Mapping[str, xr.DataArray] = field(default_factory=dict)
    trained_on: xr.DataArray | None = None
    variance_known: bool = True
    embedding: Mapping[str, xr.DataArray] = field(default_factory=dict)
    quality: xr.DataArray | None = None
    held_out_by: str = SUBJECT

    def __post_init__(self):
        check_index(self.present, self.truth, self.targets)
        here = self.present.values
        for label, arrays in (("mean", self.mean), ("variance", self.variance), ("log-probability", self.log_prob)):
            for name, array in arrays.items():
                if array.dims[:2] != ("trial", "modality") or array.shape[:2] != here.shape:
                    raise InputError(
                        f"{label} of {name!r} has dims {dict(array.sizes)}, not (trial, modality, ...) of the index"
                    )
                if not np.isfinite(array.values[here]).all():
                    raise InputError(f"{label} of {name!r} is not finite where a modality is marked present")
        for name, array in self.variance.items():
            if (array.values[here] <= 0).any():
                raise InputError(
                    f"variance of {name!r} is zero or negative", remedy="leave the column out if it is unknown"
                )
        for name, array in self.log_prob.items():
            total = np.exp(array.values[here]).sum(-1)
            if total.size and np.abs(total - 1).max() > 1e-3:
                raise InputError(f"probabilities of {name!r} sum to {total[np.abs(total - 1).argmax()]:.3g}, not 1")
        if self.trained_on is not None:
            self._refuse_leaks()

    def _refuse_leaks(self):
        seen, by, unit = self.trained_on, self.held_out_by, self.unit.values.astype(str)
        if seen.dims[2:] != (f"trained_{by}",):
            raise InputError(
                f"predictions tell {', '.join(map(str, seen.dims[2:]))}, and the trials are held out by {by}",
                remedy="hold out by the same unit in the training and here",
            )
        names, which = np.unique(unit, return_inverse=True)
        refused = forbidden(by, names, seen[seen.dims[2]].values)
        own = np.zeros(self.present.shape, dtype=bool)
        for k in np.flatnonzero(refused.any(1)):
            rows = which == k
            own[rows] = seen.values[rows][:, :, refused[k]].any(-1)
        own &= self.present.values
        if own.any():
            trial, modality = (int(k) for k in np.argwhere(own)[0])
            later = " or a later part" if by == "part" else ""
            raise InputError(
                f"the {self.modalities[modality]} opinion is from a network trained on "
                f"{'stimulus ' if by == 'stimulus' else ''}{unit[trial]}{later}",
                where=f"trial {self.present['trial'].values[trial]}",
                remedy="use out-of-fold predictions",
            )

    @property
    def modalities(self) -> tuple[str, ...]:
        """Names of the modalities, in the order of their axis."""
        return tuple(str(m) for m in self.present["modality"].values)

    @property
    def subject(self) -> xr.DataArray:
        """Subject of each trial (trial,)."""
        return self.present["subject"]

    @property
    def unit(self) -> xr.DataArray:
        """What is held apart from each trial (trial,): its subject, or what ``held_out_by`` says."""
        return units(self.present, self.held_out_by)

    def target(self, name: str) -> Target:
        """The target called ``name``."""
        for target in self.targets:
            if target.name == name:
                return target
        raise InputError(f"no target {name!r}", remedy=f"there are {[t.name for t in self.targets]}")

    def labelled(self, name: str) -> np.ndarray:
        """Whether the truth of the target called ``name`` is known, bool (trial,)."""
        kind, truth = self.target(name).kind, self.truth[name].values
        return truth >= 0 if kind == "categorical" else np.isfinite(truth)

    def select(self, keep: Sequence | np.ndarray) -> Opinions:
        """The trials picked by a boolean mask or integer positions."""
        keep = positions(keep)

        def take(arrays):
            return {name: array.isel(trial=keep) for name, array in arrays.items()}

        return replace(
            self,
            present=self.present.isel(trial=keep),
            truth=self.truth.isel(trial=keep),
            mean=take(self.mean),
            variance=take(self.variance),
            log_prob=take(self.log_prob),
            trained_on=None if self.trained_on is None else self.trained_on.isel(trial=keep),
            embedding=take(self.embedding),
            quality=None if self.quality is None else self.quality.isel(trial=keep),
        )

    def only(self, modalities: Sequence[str]) -> Opinions:
        """The same trials with every other modality marked missing (the modality axis keeps its length)."""
        if unknown := sorted(set(modalities) - set(self.modalities)):
            raise InputError(f"no modality {unknown}", remedy=f"there are {list(self.modalities)}")
        return replace(self, present=self.present & self.present["modality"].isin(list(modalities)))

    def aligned(self, modalities: Sequence[str]) -> Opinions:
        """The same trials with exactly these modalities in this order; one that nobody has is missing throughout.

        Raises
        ------
        InputError : a modality that would be lost.
        """
        if lost := sorted(set(self.modalities) - set(modalities)):
            raise InputError(f"has the modality {lost[0]!r}, and the fit only {', '.join(modalities)}")

        def take(arrays):
            return {name: array.reindex(modality=list(modalities)) for name, array in arrays.items()}

        return replace(
            self,
            present=self.present.reindex(modality=list(modalities), fill_value=False),
            mean=take(self.mean),
            variance=take(self.variance),
            log_prob=take(self.log_prob),
            trained_on=None
            if self.trained_on is None
            else self.trained_on.reindex(modality=list(modalities), fill_value=False),
            quality=None if self.quality is None else self.quality.reindex(modality=list(modalities), fill_value=0.0),
        )

    @classmethod
    def from_predictives(cls, predictives: Mapping[str, Predictive], index: Trials) -> Opinions:
        """Moments of the draws of each modality's predictions, on the trials of ``index``.

        A modality is present where it has a prediction: mean = E[mean], variance = E[variance] + Var[mean],
        log-probability = log E[probability], expectations over draws.
        """
        modalities = list(predictives)
        trial = index.present["trial"].values
        position = {t: k for k, t in enumerate(trial)}
        rows = {m: np.array([position[t] for t in p.trial.values], dtype=int) for m, p in predictives.items()}
        present = np.zeros((trial.size, len(modalities)), dtype=bool)
        for k, m in enumerate(modalities):
            present[rows[m], k] = True
        of_trials = index.present.drop_vars("trial").coords.items()
        coords = {"trial": trial, "modality": modalities}
        coords |= {name: ("trial", c.values) for name, c in of_trials if c.dims == ("trial",)}

        def gather(values: Mapping[str, xr.DataArray], *extra: str) -> xr.DataArray:
            example = next(iter(values.values()))
            out = np.full((trial.size, len(modalities), *example.shape[1:]), np.nan)
            for k, m in enumerate(modalities):
                out[rows[m], k] = values[m].values
            inner = {d: example[d].values for d in extra if d in example.coords}
            return xr.DataArray(out, dims=("trial", "modality", *extra), coords=coords | inner)

        mean, variance, log_prob = {}, {}, {}
        for target in index.targets:
            if target.kind == "continuous":
                moments = {m: p.moments(target.name) for m, p in predictives.items()}
                mean[target.name] = gather({m: v[0] for m, v in moments.items()})
                variance[target.name] = gather({m: v[1] for m, v in moments.items()})
            else:
                log_prob[target.name] = gather(
                    {m: np.log(p.probability(target.name).clip(1e-12)) for m, p in predictives.items()}, "level"
                )
        trained_on = None
        if all(p.trained_on is not None for p in predictives.values()):
            seen = {m: p.trained_on.astype(float) for m, p in predictives.items()}
            if len(kinds := {a.dims[1] for a in seen.values()}) > 1:
                raise InputError(f"predictions are held out by different units: {', '.join(sorted(kinds))}")
            trained_on = gather(seen, *kinds).fillna(0) > 0
        return cls(
            index.targets,
            xr.DataArray(present, dims=("trial", "modality"), coords=coords),
            index.truth,
            mean,
            variance,
            log_prob,
            trained_on,
            embedding={m: p.embedding.reindex(trial=trial) for m, p in predictives.items() if p.embedding is not None},
            held_out_by=index.held_out_by,
        )
