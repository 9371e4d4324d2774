"""A study made into a release: what predicts new people, a card and a manifest, and nothing of its participants."""

from __future__ import annotations

import importlib.metadata
import json
import re
import shutil
import uuid
from dataclasses import asdict, replace
from pathlib import Path

import arviz as az
import pandas as pd
import xarray as xr

from bayesaffect import __version__, fusion, splits
from bayesaffect.errors import InputError
from bayesaffect.files import file_hash, write_json, write_text
from bayesaffect.io import store
from bayesaffect.pipeline.apply import check_fits, fitted_of, load_posteriors
from bayesaffect.pipeline.fits import LATE, asked_for, save_posterior
from bayesaffect.pipeline.releases import frozen
from bayesaffect.pipeline.releases.released import CARD, FORMAT, MANIFEST, MODELS, check_name
from bayesaffect.pipeline.settings import LOSO, Settings
from bayesaffect.report import card

PACKAGES = ("torch", "pyro-ppl", "nutpie", "arviz", "numpy", "mne", "neurokit2")
SCORES, SHEETS = Path("report") / "scores.csv", Path("report") / "tables"
REMOVED = (
    "signals, features, trials and labels of the participants",
    "opinions and predictions about them",
    "their names, and the effects that the fusion learned of each of them (a new person is drawn from the population)",
    "networks that serve the evaluation alone (nested fits, early fusion)",
)


def release(workspace: Path, settings: Settings, name: str, *, models: Path = MODELS, overwrite: bool = False) -> Path:
    """Write the release ``models/<name>`` of a finished study, whole or not at all, and return its folder.

    In it: ``card.md``; ``manifest.json`` with the SHA-256 of every file; ``study.json``, the settings;
    ``<family>_<target>.nc``, the posteriors without subjects; and of a study of recordings the networks of each
    modality (``<modality>.safetensors``) and ``template.nc``, the names and shapes of their inputs.

    Raises
    ------
    InputError : a name that is no folder's name or is taken, a study that is not finished, or one whose scores say
        nothing about new people.
    """
    folder = models / check_name(name)
    if folder.exists() and not overwrite:
        raise InputError("exists already", where=folder, remedy="choose another name, or give --overwrite")
    _check(workspace, settings)
    models.mkdir(parents=True, exist_ok=True)
    fresh = models / f".{name}.{uuid.uuid4().hex[:8]}"
    try:
        fresh.mkdir()
        _fill(workspace, settings, name, fresh)
        _put(fresh, folder)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return folder


def _put(fresh: Path, folder: Path):
    """Rename the folder to its place; what was there goes only after that has worked."""
    aside = fresh.with_name(f"{fresh.name}.old")
    if folder.exists():
        folder.rename(aside)
    try:
        fresh.rename(folder)
    except OSError:
        if aside.exists():
            aside.rename(folder)
        raise
    shutil.rmtree(aside, ignore_errors=True)


def _check(workspace: Path, settings: Settings):
    if settings.protocol != splits.SUBJECT:
        raise InputError(
            f"is a study {splits.OPTION[settings.protocol]}, and a release predicts new people",
            where=workspace,
            remedy=f"release one with --protocol {splits.OPTION[splits.SUBJECT]}",
        )
    wanted = [workspace / "fusion" / "gate.json", workspace / SCORES, workspace / SHEETS / "data.csv"]
    if lacking := [path for path in wanted if not path.is_file()]:
        verb = "fuse" if lacking[0].name == "gate.json" else "report"
        raise InputError(
            f"is not finished ({lacking[0].relative_to(workspace)} is missing)",
            where=workspace,
            remedy=f"run `bayesaffect {verb}` first",
        )


def _fill(workspace: Path, settings: Settings, name: str, folder: Path):
    families = [f for f in asked_for(settings) if list((workspace / "fusion").glob(f"{f}_*.nc"))]
    posteriors = {family: load_posteriors(workspace / "fusion", family) for family in families or (LATE,)}
    modalities, targets = fitted_of(posteriors[LATE])
    for family, found in posteriors.items():
        for target, posterior in found.items():
            save_posterior(anonymous(posterior), folder / f"{family}_{target}.nc")
    if settings.format != "opinions":
        frozen.freeze(workspace, settings, folder)
    check_fits(workspace, settings, posteriors)
    nameless = replace(settings, dataset=Path(settings.dataset).name)
    store.write_settings(folder, asdict(nameless))
    data = pd.read_csv(workspace / SHEETS / "data.csv", dtype={"subject": str})
    gate = json.loads((workspace / "fusion" / "gate.json").read_text(encoding="utf-8"))
    facts = card.Facts(
        name=name,
        version=__version__,
        targets=targets,
        modalities=modalities,
        counts=data.drop(columns="subject").sum().to_dict() | {"subjects": len(data)},
        protocol=protocol(nameless),
        scores=pd.read_csv(workspace / SCORES),
        differences=_sheet(workspace, "differences"),
        weights=_sheet(workspace, "weights"),
        failures=tuple(without_names(line) for line in gate["failures"]),
        removed=REMOVED,
    )
    write_text(folder / CARD, card.text(facts))
    files = {path.name: path for path in sorted(folder.iterdir())}
    for path in files.values():
        path.chmod(0o644)  # some writers make files that nobody else may read
    write_json(
        folder / MANIFEST,
        {
            "format": FORMAT,
            "name": name,
            "version": __version__,
            "made_by": f"bayesaffect release WORKSPACE {name}",
            "targets": [asdict(target) for target in targets],
            "modalities": list(modalities),
            "families": list(posteriors),
            "settings": "study.json",
            "packages": {package: importlib.metadata.version(package) for package in PACKAGES},
            "removed": list(REMOVED),
            "files": {
                each: {"sha256": file_hash(path, length=64), "bytes": path.stat().st_size}
                for each, path in files.items()
            },
        },
    )


def _sheet(workspace: Path, name: str) -> pd.DataFrame | None:
    path = workspace / SHEETS / f"{name}.csv"
    return pd.read_csv(path) if path.is_file() else None


def anonymous(posterior: az.InferenceData) -> az.InferenceData:
    """What predictions of new people are made from: the population's draws and constants.

    Everything that is of a trial is dropped. Where there was an axis of subjects, a single one stands that has had no
    trial, whose effects are 0 and who therefore is nobody's.
    """
    kept = fusion.reduced(posterior)
    for group in ("posterior", "constant_data"):
        kept[group] = _without_people(posterior[group])
    told = {"held_out": json.dumps([]), "refused": json.dumps([])}  # these sentences name subjects
    for attrs in (kept.attrs, kept["posterior"].attrs):
        attrs.update({name: empty for name, empty in told.items() if name in attrs})
    return kept


def _without_people(group) -> xr.Dataset:
    data = group.to_dataset() if isinstance(group, xr.DataTree) else group
    data = data.drop_vars([name for name, array in data.variables.items() if "trial" in array.dims])
    if "subject" not in data.dims:
        return data
    data = data.isel(subject=[0]).assign_coords(subject=[frozen.NOBODY])
    return data.assign({n: a * 0 for n, a in data.data_vars.items() if "subject" in a.dims})


def without_names(sentence: str) -> str:
    """A sentence of the gate without what stands in brackets: elements of variables, which subjects are part of."""
    return re.sub(r"\[[^\]]*\]", "", sentence)


def protocol(settings: Settings) -> dict[str, str]:
    """How the scores were made, for the card."""
    table = settings.format == "opinions"
    folds = "every subject left out in turn" if settings.folds == LOSO else f"{settings.folds} groups of subjects"
    lines = {
        "Data set": f"{settings.dataset}, read as {settings.format}",
        "Scored people": f"cross-validation over {folds}: each person is predicted, as a new one, by "
        + ("a fusion" if table else "networks and a fusion")
        + " that did not see that person. 90 % intervals are of a bootstrap over subjects",
    }
    if table:
        lines["Opinions"] = "made elsewhere; that their makers held the same people out could not be checked"
        return lines
    if not settings.nested:
        lines["Caution"] = "the fusion learned from opinions of networks that had seen labels of the scored people"
    lines["Networks"] = (
        f"{settings.ensemble.members} per modality and fold. The release predicts with those of all folds together, "
        "each with its share of the draws; that combination itself was not scored, there is nobody left to score it on"
    )
    lines["Standardisation"] = _standardisation(settings)
    return lines


def _standardisation(settings: Settings) -> str:
    if settings.baseline == "neutral":
        return "features within each person by neutral clips: a new person needs a recording at rest"
    return "features within each person over all of that person's trials: a new person needs several trials"


def told(folder: Path) -> list[str]:
    """What was written, for the terminal."""
    files = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["files"]
    size = sum(entry["bytes"] for entry in files.values())
    return [f"release: {folder}, {len(files)} files, {size / 1e6:.1f} MB", *(f"  removed: {line}" for line in REMOVED)]
