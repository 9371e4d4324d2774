"""The networks of a study without the study: weights and what draws need in one file per modality, no trial of anybody.

A file holds, for every fit that held out one group of subjects and every member of its ensemble, the tensors
``<fit>/<member>/weights/...`` and ``<fit>/<member>/drawing/...`` (what `uncertainty.draws` learned of the training
inputs as a whole: centres and spreads). Seeds stand in the header instead of the names they were derived from.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import numpy as np
import xarray as xr

from bayesaffect import progress
from bayesaffect.errors import InputError
from bayesaffect.io import store
from bayesaffect.pipeline import train as training
from bayesaffect.pipeline.prepare import joined
from bayesaffect.pipeline.settings import Settings
from bayesaffect.types import Predictive, Trials
from bayesaffect.uncertainty import checkpoint, data, draws, member, recalibrate
from bayesaffect.uncertainty.crossfit import Execution
from bayesaffect.uncertainty.ensemble import gather
from bayesaffect.uncertainty.training import derived_seed
from bayesaffect.uncertainty.work import Work, identity

TEMPLATE = "template.nc"
NOBODY = "(nobody)"


def weights_name(modality: str) -> str:
    """Name of the file with the networks of a modality."""
    return f"{quote(modality, safe='')}.safetensors"


def freeze(workspace: Path, settings: Settings, folder: Path) -> list[Path]:
    """Write the networks that predict new people into ``folder``, and ``template.nc``, the shapes of their inputs.

    Only the fits that hold out one group of subjects are kept: new people are predicted by all of these together
    (`uncertainty.predict`). Early fusion and nested fits serve the evaluation alone.

    Raises
    ------
    InputError : networks that are not trained to their end with these settings.
    """
    done = workspace / training.DONE
    if not done.is_file():
        raise InputError("has no trained networks", where=workspace, remedy="run `bayesaffect train` first")
    trials = joined(workspace)
    work = training.lay_out(settings, trials, Execution(workspace / training.FOLDER, settings.nested, 1))
    record = json.loads(done.read_text(encoding="utf-8"))["recalibration"]
    paths = []
    for name in progress.track(list(trials.modalities), "networks"):
        tensors, fits = {}, []
        for k, fit in enumerate(work.fits):
            if len(fit.held_out) > 1 or (k, name) not in work.tasks:
                continue
            for task in work.tasks[k, name]:
                place = f"{len(fits)}/{task.member}"
                for kind, found in zip(("weights", "drawing"), _trained(work, task), strict=True):
                    tensors |= {f"{place}/{kind}/{key}": tensor for key, tensor in found.items()}
            own = [r for r in record if tuple(r["held_out"]) == tuple(fit.held_out) and r["network"] == name]
            fits.append({
                "seeds": [
                    derived_seed(t.seed, "passes", t.modalities, t.held_out, t.member, "test")
                    for t in work.tasks[k, name]
                ],
                "factors": {r["target"]: r["factor"] for r in own},
            })  # fmt: skip
        header = {"network": name, "built_by": identity(work.place.build, (name,)), "fits": fits}
        paths.append(folder / weights_name(name))
        checkpoint.write_tensors(paths[-1], tensors, header)
    paths.append(folder / TEMPLATE)
    store.save_trials(template(trials), paths[-1])
    return paths


def _trained(work: Work, task: member.Task) -> tuple[Mapping, Mapping]:
    """Weights of a task, and what its way of drawing has learned."""
    folder, method = work.place.folder(task), task.ensemble.method
    learns = draws.METHODS[method].fit is not draws.METHODS["both"].fit
    names = [member.WEIGHTS, *([f"{method}.safetensors"] if learns else [])]
    stored = [checkpoint.read_tensors(folder / name) for name in names]
    if any(found is None or found[1].get("key") != task.key for found in stored):
        raise InputError(
            f"network {task.name!r} is not trained to its end",
            where=folder,
            remedy="run `bayesaffect train` again, it goes on where it stopped",
        )
    return stored[0][0], stored[1][0] if learns else {}


def template(trials: Trials) -> Trials:
    """One trial of nobody, in which every modality is missing: the names and shapes of inputs and targets alone."""
    inputs = {}
    for name, block in trials.inputs.items():
        blank = block.isel(trial=[0]).map(
            lambda a: a.copy(data=np.full(a.shape, np.nan if a.dtype.kind == "f" else 0, a.dtype))
        )
        attrs = {"encoder": block.attrs["encoder"]} if "encoder" in block.attrs else {}
        own = [c for c in blank.coords if c != "trial" and "trial" in blank[c].dims]
        inputs[name] = blank.drop_vars(own).assign_coords(trial=[NOBODY]).assign_attrs(attrs)
        inputs[name].attrs = attrs
    index = {"trial": [NOBODY], "subject": ("trial", [NOBODY]), "stimulus": ("trial", [NOBODY])}
    names = list(trials.modalities)
    coords = index | {"modality": names}
    truth = {t.name: ("trial", [np.nan] if t.kind == "continuous" else [-1]) for t in trials.targets}
    return Trials(
        trials.targets,
        inputs,
        xr.DataArray(np.zeros((1, len(names)), dtype=bool), dims=("trial", "modality"), coords=coords),
        xr.Dataset(truth, coords=index),
        xr.DataArray(np.zeros((1, len(names))), dims=("trial", "modality"), coords=coords),
    )


def predict(folder: Path, settings: Settings, trials: Trials) -> tuple[dict[str, Predictive], Trials]:
    """Predictions of new people by the networks in ``folder``, and their trials with all modalities of the study.

    Draw by draw what `uncertainty.predict` gives for people that the study does not know: every fit has its share of
    the draws, recalibrated by its own factors. Everybody counts as new.

    Raises
    ------
    InputError : inputs or targets that are not the study's, weights that do not fit this version's networks.
    """
    shapes = store.load_trials(folder / TEMPLATE)
    trials = _completed(trials, shapes)
    build, spec, some = training.builder(settings, shapes), data.describe(shapes), data.from_trials(trials)
    said = {}
    for name in progress.track(list(shapes.modalities), "networks"):
        rows = np.flatnonzero(trials.present.sel(modality=name).values)
        if not rows.size:
            continue
        tensors, header = _read(folder / weights_name(name))
        if header["built_by"] != identity(build, (name,)):
            raise InputError(
                f"the network of {name!r} was built by {header['built_by']}",
                where=folder,
                remedy="install the version of it that the release was made with",
            )
        chosen = some.only((name,)).rows(rows)
        subject = trials.subject.values[rows]
        index = xr.DataArray(
            subject,
            dims="trial",
            coords={"trial": trials.present["trial"].values[rows], "subject": ("trial", subject)},
            name="subject",
        )
        parts = []
        for k, fit in enumerate(header["fits"]):
            drawn = []
            for m, seed in enumerate(fit["seeds"]):
                first = derived_seed(settings.seed, "initial weights", (name,), m)
                network = build(spec, (name,), shapes.targets, dropout=settings.training.dropout, seed=first)
                _fill(network, _under(tensors, f"{k}/{m}/weights/"), folder / weights_name(name))
                state = _under(tensors, f"{k}/{m}/drawing/")
                with member.one_thread():
                    drawn.append(draws.sample(network, state, chosen, ensemble=settings.ensemble, seed=seed))
            found = gather(drawn, shapes.targets, index, trained_on=None)
            parts.append(recalibrate.apply(found, fit["factors"]))
        said[name] = _pooled(parts)
    return said, trials


def _completed(trials: Trials, shapes: Trials) -> Trials:
    """The trials with the modalities of the study, in its order."""
    if trials.targets != shapes.targets:
        theirs, ours = (", ".join(t.name for t in x.targets) for x in (trials, shapes))
        raise InputError(
            f"the recordings are rated on {theirs}, not as the study's on {ours}", remedy="give them as the study's"
        )
    if unknown := [m for m in trials.modalities if m not in shapes.modalities]:
        raise InputError(f"has the modality {unknown[0]!r}, and the release only {', '.join(shapes.modalities)}")
    ours, theirs = data.describe(shapes), data.describe(trials)
    for name, block in theirs.items():
        if block != ours[name]:
            raise InputError(
                f"{name} is {block}, and the networks were trained on {ours[name]}",
                remedy="record it as the study did, see the card",
            )
    if trials.modalities != shapes.modalities:
        whole = Trials.concat([replace(shapes, omissions=()), trials])
        trials = whole.select(np.arange(1, whole.present.sizes["trial"]))
    return trials


def _read(path: Path) -> tuple[dict, dict]:
    found = checkpoint.read_tensors(path)
    if found is None:
        raise InputError("holds no weights", where=path, remedy="get the release again")
    return found


def _fill(network, weights: Mapping, path: Path):
    try:
        network.load_state_dict(weights)
    except RuntimeError:
        raise InputError(
            "does not fit the networks of this version", where=path, remedy="use the version that made the release"
        ) from None


def _under(tensors: Mapping, prefix: str) -> dict:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _pooled(parts: Sequence[Predictive]) -> Predictive:
    """Draws of several fits as one of the same number, every fit with its share."""

    def thinned(name: str) -> dict[str, xr.DataArray]:
        arrays = [getattr(part, name) for part in parts]
        joint = {t: xr.concat([a[t] for a in arrays], dim="draw") for t in arrays[0]}
        return {t: array.isel(draw=slice(None, None, len(parts))) for t, array in joint.items()}

    return replace(
        parts[0],
        mean=thinned("mean"),
        variance=thinned("variance"),
        log_prob=thinned("log_prob"),
        embedding=xr.concat([part.embedding for part in parts], dim="fit").mean("fit"),
    )
