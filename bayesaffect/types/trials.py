"""Trials ready for encoders."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import xarray as xr

from bayesaffect.errors import InputError
from bayesaffect.types.index import check_index, positions
from bayesaffect.types.recording import Omission
from bayesaffect.types.target import Target
from bayesaffect.types.unit import SUBJECT, units


@dataclass(frozen=True)
class Trials:
    """Trials ready for encoders: inputs per modality, which are present, and the truth.

    Parameters
    ----------
    inputs : modality -> Dataset; every variable leads with dim ``trial``; ``attrs["encoder"]`` names the
        network family (``"eeg"``: ``maps`` (trial, band, channel, frame); ``"eeg_raw"``: ``raw`` (trial, channel,
        time) beside them; ``"face"``: ``crops`` (trial, frame, row, column), ``visible`` (trial, frame) and ``units``
        (trial, frame, unit), 0 where not visible; ``"physio"``: ``series`` (trial, signal, time) and
        ``features`` (trial, feature)). Blocks that are not present hold NaN (floats) or 0 (integers).
    present : bool (trial, modality), with coords trial, modality, subject (trial), stimulus (trial).
    truth : Dataset over trial: continuous targets on [-1, 1], NaN missing; categorical as level index, -1 missing.
    quality : float in [0, 1] (trial, modality): 1 clean, 0 useless.
    omissions : what was left out on the way and why.
    measures : modality -> Dataset for people and for baselines, in raw units that the names tell and not standardised:
        ``features`` (trial, feature), and wider arrays such as ``connectivity``. NaN where a quantity could not be
        told. Networks do not read them.
    held_out_by : the coordinate of ``present`` that folds hold apart, as in `Opinions`.
    """

    targets: tuple[Target, ...]
    inputs: Mapping[str, xr.Dataset]
    present: xr.DataArray
    truth: xr.Dataset
    quality: xr.DataArray
    omissions: tuple[Omission, ...] = ()
    measures: Mapping[str, xr.Dataset] = field(default_factory=dict)
    held_out_by: str = SUBJECT

    def __post_init__(self):
        check_index(self.present, self.truth, self.targets)
        if list(self.present["modality"].values) != list(self.inputs):
            raise InputError(f"inputs {list(self.inputs)} and present {list(self.present['modality'].values)} differ")
        if unknown := set(self.measures) - set(self.inputs):
            raise InputError(f"measures of {sorted(unknown)}, which no input has")
        for modality, block in [*self.inputs.items(), *self.measures.items()]:
            if not np.array_equal(block["trial"].values, self.present["trial"].values):
                raise InputError(f"trials of {modality!r} are not the trials of the index")
        for modality, block in self.inputs.items():
            here = self.present.sel(modality=modality).values
            for name, array in block.data_vars.items():
                if array.dims[0] != "trial":
                    raise InputError(f"{modality}/{name} has dims {array.dims}, trial must lead")
                if array.dtype.kind == "f" and not np.isfinite(array.values[here]).all():
                    raise InputError(f"{modality}/{name} holds NaN or Inf in a trial marked present")

    @property
    def modalities(self) -> tuple[str, ...]:
        """Names of the modalities, in the order of the inputs."""
        return tuple(self.inputs)

    @property
    def subject(self) -> xr.DataArray:
        """Subject of each trial (trial,)."""
        return self.present["subject"]

    @property
    def unit(self) -> xr.DataArray:
        """What is held apart from each trial (trial,): its subject, or what ``held_out_by`` says."""
        return units(self.present, self.held_out_by)

    def select(self, keep: Sequence | np.ndarray) -> Trials:
        """The trials picked by a boolean mask or integer positions."""
        keep = positions(keep)
        return replace(
            self,
            inputs={name: block.isel(trial=keep) for name, block in self.inputs.items()},
            present=self.present.isel(trial=keep),
            truth=self.truth.isel(trial=keep),
            quality=self.quality.isel(trial=keep),
            measures={name: block.isel(trial=keep) for name, block in self.measures.items()},
        )

    @classmethod
    def concat(cls, parts: Iterable[Trials]) -> Trials:
        """Trials of several recordings, one after another.

        Targets and inner coordinates must agree. A modality that one recording lacks is filled with a
        block that is not present; modalities keep the order in which they first occur.
        """
        parts = list(parts)
        if not parts:
            raise InputError("there is no trial to join", remedy="look at the list of omissions")
        first = parts[0]
        if any(p.targets != first.targets for p in parts):
            raise InputError("recordings differ in their targets and cannot be joined")
        examples = {name: block for p in reversed(parts) for name, block in p.inputs.items()}
        names = list(dict.fromkeys(name for p in parts for name in p.inputs))

        def join(values):
            options = {"join": "exact", "coords": "minimal", "compat": "override", "combine_attrs": "drop_conflicts"}
            return xr.concat(values, dim="trial", **options)

        inputs = {}
        for name in names:
            blocks = [p.inputs[name] if name in p.inputs else _blank(examples[name], p.present["trial"]) for p in parts]
            try:
                inputs[name] = join(blocks)
            except ValueError as error:
                raise InputError(
                    f"blocks of {name!r} differ in shape or coordinates between recordings: {error}"
                ) from None
        return cls(
            first.targets,
            inputs,
            join([p.present.reindex(modality=names, fill_value=False) for p in parts]),
            join([p.truth for p in parts]),
            join([p.quality.reindex(modality=names, fill_value=0.0) for p in parts]),
            tuple(omission for p in parts for omission in p.omissions),
            _join_measures(parts, names),
        )


def _join_measures(parts: list[Trials], names: list[str]) -> dict[str, xr.Dataset]:
    """Measures of all parts; what a part lacks (a feature, or all of a modality) is NaN there."""
    joined = {}
    for name in names:
        blocks = [
            p.measures[name] if name in p.measures else xr.Dataset(coords={"trial": p.present["trial"].values})
            for p in parts
        ]
        if any(block.data_vars for block in blocks):
            options = {"join": "outer", "coords": "minimal", "compat": "override", "combine_attrs": "drop_conflicts"}
            joined[name] = xr.concat(blocks, dim="trial", data_vars="all", **options)
    return joined


def _blank(example: xr.Dataset, trial: xr.DataArray) -> xr.Dataset:
    """A block like ``example`` for other trials: NaN in floats, 0 in integers."""
    blank = example.isel(trial=np.zeros(trial.size, dtype=int)).assign_coords(trial=trial.values)
    return blank.map(lambda a: xr.full_like(a, np.nan if a.dtype.kind == "f" else 0), keep_attrs=True)
