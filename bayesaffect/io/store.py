"""The workspace: every intermediate result of a study in one folder, keyed by what it was made from.

    WORKSPACE/
      study.json            data set, format and settings of the study
      stages.json           seconds and peak memory of every stage's last run
      prepared/hashes.json  content hashes of the source files, remembered by size and time of change
      prepared/<name>-<key>.nc   trials of one recording
      prepared/joined/<key>.nc   trials of all recordings, standardised within subjects
      prepared/sessions.csv      what became of every session, and why
      prepared/omissions.csv     what was left out and why
      features/             exported tables
      training/             networks (checkpoints, histories)
      opinions/             out-of-fold predictions of every network, nested ones by group
      fusion/               posteriors (ArviZ, NetCDF) and the fused out-of-fold predictions
      report/               the page, figures and tables

Everything opens in xarray: ``xr.open_dataset(file, group="inputs/eeg", engine="h5netcdf")``.
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import h5netcdf  # noqa: F401  (the NetCDF engine of every file here; absent, it should fail now)
import numpy as np
import xarray as xr

from bayesaffect.errors import InputError
from bayesaffect.files import atomic, file_hash, write_json, write_text
from bayesaffect.types import Omission, Predictive, Target, Trials

ENGINE = "h5netcdf"


def open_workspace(folder: str | os.PathLike, *, create: bool = False) -> Path:
    """The workspace folder; ``create`` makes it.

    Raises
    ------
    InputError : when it is not there (and not to be made), or is a file.
    """
    folder = Path(folder)
    if folder.is_file():
        raise InputError("is a file, not a workspace folder", where=folder, remedy="name a folder")
    if create:
        folder.mkdir(parents=True, exist_ok=True)
    elif not (folder / "study.json").is_file():
        raise InputError("is not a workspace", where=folder, remedy="run `bayesaffect prepare DATASET WORKSPACE` first")
    return folder


def read_settings(workspace: Path) -> dict:
    """The settings in ``study.json``, an empty dict in a new workspace."""
    path = workspace / "study.json"
    if not path.is_file():
        return {}
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise InputError(
            f"is not readable JSON ({error})", where=path, remedy="restore it or start a new workspace"
        ) from None


def write_settings(workspace: Path, settings: dict):
    """Write ``study.json``; a workspace that belongs to another data set is refused."""
    before = read_settings(workspace)
    if before and (before.get("dataset"), before.get("format")) != (settings["dataset"], settings["format"]):
        raise InputError(
            f"holds a study of {before.get('dataset')} as {before.get('format')!r}, not of {settings['dataset']}",
            where=workspace,
            remedy="name another workspace",
        )
    write_json(workspace / "study.json", settings)


class Hashes:
    """Content hashes of files, computed once and remembered while size and time of change stay the same."""

    def __init__(self, path: Path):
        self.path = path
        self._known: dict[str, list] = {}
        with contextlib.suppress(OSError, json.JSONDecodeError):
            self._known = json.loads(path.read_text(encoding="utf-8"))

    def __call__(self, file: str) -> str:
        """SHA-256 (shortened) of the content of ``file``; a missing file raises InputError."""
        try:
            stat = os.stat(file)
        except OSError:
            raise InputError("is missing", where=file, remedy="restore the file or prepare again") from None
        stamp = [stat.st_size, stat.st_mtime_ns]
        known = self._known.get(file)
        if known is None or known[:2] != stamp:
            self._known[file] = known = [*stamp, file_hash(file)]
        return known[2]

    def save(self):
        """Write what is known back to disk."""
        write_json(self.path, self._known)


def save_trials(trials: Trials, path: Path):
    """Write `Trials` as one NetCDF file: groups ``index``, ``inputs/<modality>`` and ``measures/<modality>``."""
    index = trials.truth.rename({t.name: f"truth_{t.name}" for t in trials.targets})
    index = index.assign(present=trials.present, quality=trials.quality)
    index.attrs = {
        "targets": _targets_to_json(trials.targets),
        "omissions": json.dumps([asdict(o) for o in trials.omissions]),
        "modalities": json.dumps(list(trials.inputs)),
        "measured": json.dumps(list(trials.measures)),
    }
    with atomic(path) as temporary:
        _plain(index).to_netcdf(temporary, group="index", engine=ENGINE)
        for name, block in trials.inputs.items():
            packed = {v: {"zlib": True, "complevel": 1} for v in block.data_vars if block[v].dtype == np.uint8}
            _plain(block).to_netcdf(temporary, group=f"inputs/{name}", mode="a", engine=ENGINE, encoding=packed)
        for name, block in trials.measures.items():
            _plain(block).to_netcdf(temporary, group=f"measures/{name}", mode="a", engine=ENGINE)


def load_trials(path: Path) -> Trials:
    """Read what `save_trials` wrote."""
    index = _load(path, "index")
    targets = _targets_from_json(index.attrs["targets"])
    names = json.loads(index.attrs["modalities"])
    present = index["present"].astype(bool)
    truth = index[[f"truth_{t.name}" for t in targets]].rename({f"truth_{t.name}": t.name for t in targets})
    truth.attrs = {}
    return Trials(
        targets,
        {name: _load(path, f"inputs/{name}") for name in names},
        present,
        truth.drop_vars("modality", errors="ignore"),
        index["quality"],
        tuple(Omission(**o) for o in json.loads(index.attrs["omissions"])),
        {name: _load(path, f"measures/{name}") for name in json.loads(index.attrs["measured"])},
    )


def save_predictive(predictive: Predictive, path: Path):
    """Write a `Predictive` as one NetCDF file."""
    arrays = {f"mean_{n}": a.rename(None) for n, a in predictive.mean.items()}
    arrays |= {f"variance_{n}": a for n, a in predictive.variance.items()}
    # Targets may have different numbers of levels: one dim per target on disk.
    arrays |= {f"log_prob_{n}": a.rename(level=f"level_{n}") for n, a in predictive.log_prob.items()}
    for name in ("trained_on", "embedding"):
        if getattr(predictive, name) is not None:
            arrays[name] = getattr(predictive, name)
    data = xr.Dataset({name: array.drop_vars("subject", errors="ignore") for name, array in arrays.items()})
    data = data.assign_coords(trial=predictive.trial.values, subject=("trial", predictive.subject.values.astype(str)))
    data.attrs = {"targets": _targets_to_json(predictive.targets)}
    with atomic(path) as temporary:
        _plain(data).to_netcdf(temporary, engine=ENGINE)


def load_predictive(path: Path) -> Predictive:
    """Read what `save_predictive` wrote."""
    data = _load(path, None)
    targets = _targets_from_json(data.attrs["targets"])

    def named(prefix):
        return {t.name: data[f"{prefix}_{t.name}"] for t in targets if f"{prefix}_{t.name}" in data}

    return Predictive(
        targets,
        data["subject"],
        named("mean"),
        named("variance"),
        {name: array.rename({f"level_{name}": "level"}) for name, array in named("log_prob").items()},
        data["trained_on"].astype(bool) if "trained_on" in data else None,
        data.get("embedding"),
    )


def write_omissions(omissions: Sequence[Omission], path: Path):
    """Write the list of what was left out as CSV: scope, where, what, remedy."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("scope", "where", "what", "remedy"))
    writer.writerows((o.scope, o.where, o.what, o.remedy) for o in omissions)
    write_text(path, text.getvalue())


def read_omissions(path: Path) -> tuple[Omission, ...]:
    """Read what `write_omissions` wrote; no file, no omissions."""
    if not path.is_file():
        return ()
    with open(path, newline="", encoding="utf-8") as stream:
        return tuple(Omission(r["where"], r["what"], r["remedy"], r["scope"]) for r in csv.DictReader(stream))


def _targets_to_json(targets: Sequence[Target]) -> str:
    return json.dumps([asdict(t) for t in targets])


def _targets_from_json(text: str) -> tuple[Target, ...]:
    def tupled(value):
        return None if value is None else tuple(value)

    return tuple(Target(t["name"], tupled(t["bounds"]), tupled(t["levels"])) for t in json.loads(text))


def _plain(data: xr.Dataset) -> xr.Dataset:
    """NetCDF knows neither bool nor fixed-width unicode: int8 and object strings in their place."""
    converted = {}
    for name, array in data.variables.items():
        if array.dtype == bool:
            converted[name] = array.astype("int8")
        elif array.dtype.kind == "U":
            converted[name] = array.astype(object)
    return data.assign({n: v for n, v in converted.items() if n in data.data_vars}).assign_coords(
        {n: v for n, v in converted.items() if n in data.coords}
    )


def _load(path: Path, group: str | None) -> xr.Dataset:
    try:
        data = xr.load_dataset(path, group=group, engine=ENGINE)
    except (OSError, ValueError, KeyError) as error:
        raise InputError(
            f"cannot be read ({error})", where=path, remedy="delete the file and run the command again"
        ) from None
    strings = {n: v.astype(str) for n, v in data.variables.items() if v.dtype == object}
    return data.assign_coords({n: v for n, v in strings.items() if n in data.coords}).assign(
        {n: v for n, v in strings.items() if n in data.data_vars}
    )
