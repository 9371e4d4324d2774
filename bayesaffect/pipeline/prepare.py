"""From a data set on disk to trials: read, extract and cache every recording, then join and standardise them."""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import ModuleType

import joblib
import pandas as pd

from bayesaffect import __version__, progress
from bayesaffect.errors import InputError
from bayesaffect.files import atomic, claim, key, write_json
from bayesaffect.io import store
from bayesaffect.pipeline import sessions, stages
from bayesaffect.pipeline.settings import Settings
from bayesaffect.signals import face
from bayesaffect.signals.extract import Extraction, extract
from bayesaffect.signals.standardise import standardise
from bayesaffect.types import Listing, Omission, Recording, Source, Target, Trials

CLAIMS = "claims.lock"
FORMATS = ("mahnob", "deap", "e4", "description")


@dataclass(frozen=True)
class Task:
    """All that a worker needs to prepare one recording."""

    source: Source
    path: Path
    format: str
    reading: Mapping
    extraction: Extraction
    targets: tuple[Target, ...]
    modalities: Mapping[str, tuple[str, ...]]


def prepare(workspace: Path, settings: Settings, *, jobs: int = 1) -> Trials:
    """Trials of the whole data set, standardised within subjects; cached per recording.

    A recording whose files, settings and package version are those of an earlier run is not opened again. A
    recording that cannot be read is left out and listed; a killed run loses the recordings in hand only. Several
    processes may prepare one workspace at once: each takes the recordings that no other has in hand. What became of
    every session is left in ``prepared/sessions.csv``, what was left out in ``prepared/omissions.csv``.

    Raises
    ------
    InputError : when the folder is not of the format, or no trial is left.
    """
    with stages.timed(workspace, "prepare") as facts:
        _check_within_reach(workspace, settings)
        listing = scan(settings)
        tasks, missing = _tasks(workspace, settings, listing)
        todo = [task for task in tasks if not (task.path.is_file() or _refusal(task.path).is_file())]
        if todo and settings.extraction.face_backend != Extraction.face_backend:
            face.require(settings.extraction.face_backend)
        peak = _run(todo, jobs)
        facts |= {"recordings": len(tasks), "prepared": len(todo), "peak_bytes": max(peak, stages.peak_memory())}
        folder = workspace / "prepared"
        made_from = key(settings.baseline, [asdict(o) for o in (*listing.omissions, *missing)], _names(tasks))
        path = folder / "joined" / f"{made_from}.nc"
        with claim(folder / CLAIMS, "joined", wait=True):
            if path.is_file() and (folder / "sessions.csv").is_file():
                return store.load_trials(path)
            trials, table = _join(settings, listing, tasks, missing, folder=folder, jobs=jobs)
            for old in path.parent.glob("*.nc"):  # of earlier settings: quickly made again
                old.unlink(missing_ok=True)
            store.save_trials(trials, path)
            store.write_omissions(trials.omissions, folder / "omissions.csv")
            with atomic(folder / "sessions.csv") as temporary:
                table.to_csv(temporary, index=False)
    return trials


def joined(workspace: Path) -> Trials:
    """The trials that `prepare` left in the workspace, without a look at the data set."""
    found = sorted((workspace / "prepared" / "joined").glob("*.nc"))
    if not found:
        raise InputError("has no prepared trials", where=workspace, remedy="run `bayesaffect prepare` first")
    return store.load_trials(found[-1])


def scan(settings: Settings) -> Listing:
    """What the reader of this format finds in the data set's folder."""
    return _reader(settings.format).scan(Path(settings.dataset))


def _check_within_reach(workspace: Path, settings: Settings):
    """A study keeps the path of its recordings as it was typed; from another folder it may lead nowhere."""
    path = Path(settings.dataset)
    own = store.read_settings(workspace).get("dataset") == settings.dataset and (workspace / "prepared").is_dir()
    if own and not path.is_absolute() and not path.exists():
        raise InputError(
            f"was made from the recordings in {settings.dataset!r}, which are not there as seen from this folder",
            where=workspace,
            remedy="give the command from the folder where the study was begun, or put the recordings back",
        )


def read_sessions(workspace: Path) -> pd.DataFrame:
    """The table that `prepare` left: session, subject, role, outcome, trials, modalities, why."""
    return pd.read_csv(workspace / "prepared" / "sessions.csv", keep_default_na=False, dtype={"session": str})


def _reader(format: str) -> ModuleType:
    if format not in FORMATS:
        raise InputError(f"there is no format {format!r}", remedy=f"choose one of {', '.join(FORMATS)}")
    return importlib.import_module(f"bayesaffect.io.{format}")


def _tasks(workspace: Path, settings: Settings, listing: Listing) -> tuple[list[Task], list[Omission]]:
    """The recordings that are wanted, each with the file its trials belong in, and those whose files are gone."""
    folder = workspace / "prepared"
    hashes = store.Hashes(folder / "hashes.json")
    tasks, missing = [], []
    wanted = [s for s in listing.sources if s.role == "stimulus" or settings.baseline == "neutral"]
    for source in progress.track(wanted, "look for changes"):
        try:
            content = [hashes(file) for file in source.files]
        except InputError as error:
            missing.append(Omission.from_error(error, scope="recording"))
            continue
        made_from = key(__version__, settings.format, settings.reading, asdict(settings.extraction), content)
        path = folder / f"{source.name.replace('/', '-')}-{made_from}.nc"
        tasks.append(
            Task(
                source, path, settings.format, settings.reading, settings.extraction, listing.targets,
                listing.modalities,
            )
        )  # fmt: skip
    hashes.save()
    return tasks, missing


def _names(tasks: list[Task]) -> list[tuple[str, bool]]:
    """Which recordings there are, and which of them were refused: what the joined trials were made from."""
    return [(task.path.name, task.path.is_file()) for task in tasks]


def _join(
    settings: Settings, listing: Listing, tasks: list[Task], missing: list[Omission], *, folder: Path, jobs: int
) -> tuple[Trials, pd.DataFrame]:
    """All recordings as one value, standardised; and what became of every session."""
    results, omissions = {}, [*listing.omissions, *missing]
    loaded = joblib.Parallel(n_jobs=max(1, min(jobs, len(tasks))), return_as="generator")(
        joblib.delayed(_load_one)(task.path) for task in tasks
    )
    for task, result in zip(tasks, progress.track(loaded, "join recordings", total=len(tasks)), strict=True):
        results[task.source.name] = result
        if isinstance(result, Omission):
            omissions.append(result)
    table = sessions.outcomes(listing, results)
    parts = {task.source: results[task.source.name] for task in tasks}
    parts = {source: part for source, part in parts.items() if isinstance(part, Trials)}
    if not any(source.role == "stimulus" for source in parts):
        store.write_omissions(omissions, folder / "omissions.csv")
        first = f" (the first reason: {omissions[0].what})" if omissions else ""
        raise InputError(
            f"none of {len(listing.sources)} recordings could be used{first}",
            where=settings.dataset,
            remedy=f"all reasons are in {folder / 'omissions.csv'}",
        )
    trials = Trials.concat(parts.values())
    neutral = [source.role == "neutral" for source, part in parts.items() for _ in range(part.present.sizes["trial"])]
    scaled = standardise(trials, neutral=neutral) if any(neutral) else standardise(trials)
    for name in listing.modalities:
        if name not in trials.modalities or not trials.present.sel(modality=name).any():
            omissions.append(
                Omission(settings.dataset, f"modality {name!r} is in none of the recordings", scope="modality")
            )
    return _usable(scaled, omissions), table


def _usable(trials: Trials, omissions: list[Omission]) -> Trials:
    """Without modalities that no trial has and trials that have no modality."""
    order = [m for m in trials.modalities if trials.present.sel(modality=m).any()]
    kept = trials.present.sel(modality=order)
    trials = replace(
        trials,
        inputs={m: trials.inputs[m] for m in order},
        present=kept,
        quality=trials.quality.sel(modality=order),
        omissions=(*omissions, *trials.omissions),
        measures={m: block for m, block in trials.measures.items() if m in order},
    )
    return trials.select(kept.any("modality").values)


def _run(todo: list[Task], jobs: int) -> int:
    """Prepare the recordings that are not cached, in ``jobs`` processes; the largest memory of any, in bytes.

    What another process has in hand is left to it, and waited for at the end.
    """
    peak, waiting = 0, []
    with progress.bar("prepare recordings", len(todo)) as advance:
        for tasks, wait in ((todo, False), (waiting, True)):
            calls = (joblib.delayed(_prepare_one)(task, wait=wait) for task in tasks)
            workers = joblib.Parallel(n_jobs=max(1, min(jobs, len(tasks))), return_as="generator_unordered")
            for task, memory in workers(calls):
                peak = max(peak, memory)
                if task is None:
                    advance(1)
                else:
                    waiting.append(task)
    return peak


def _prepare_one(task: Task, *, wait: bool) -> tuple[Task | None, int]:
    """Read and extract one recording; leave its trials, or the reason why there are none, in the workspace.

    Returns the task if another process has it in hand, and this process's peak memory in bytes.
    """
    with claim(task.path.parent / CLAIMS, task.path.name, wait=wait) as mine:
        if not mine:
            return task, 0
        for litter in task.path.parent.glob(f".{task.path.stem}.*"):  # of a process that was killed here
            litter.unlink(missing_ok=True)
        if not (task.path.is_file() or _refusal(task.path).is_file()):
            try:
                recording, omissions = _reader(task.format).read(task.source, targets=task.targets, **task.reading)
                trials = extract(recording, _held(recording, task.modalities), task.extraction)
            except InputError as error:
                refused = Omission.from_error(error, scope="recording", where=task.source.name)
                write_json(_refusal(task.path), asdict(refused))
            else:
                trials = replace(trials, omissions=(*omissions, *trials.omissions))
                store.save_trials(_decided(trials, recording, task.modalities), task.path)
    return None, stages.peak_memory()


def _load_one(path: Path) -> Trials | Omission:
    """What `_prepare_one` left: trials, or the reason why there are none."""
    if path.is_file():
        return store.load_trials(path)
    return Omission(**json.loads(_refusal(path).read_text(encoding="utf-8")))


def _held(recording: Recording, modalities: Mapping[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    """The modalities of which the recording holds anything; the reader has said why it lacks the others.

    Of a recording without any, all are kept, so that it is refused as a whole.
    """
    here = {*recording.signals, *recording.videos}
    return {m: names for m, names in modalities.items() if here & set(names)} or dict(modalities)


def _decided(trials: Trials, recording: Recording, modalities: Mapping[str, tuple[str, ...]]) -> Trials:
    """The trials with what the reader decided about a signal (its unit, say) in ``attrs["decision"]`` of its inputs."""
    inputs = {}
    for modality, block in trials.inputs.items():
        signals = {name: recording.signals[name] for name in modalities[modality] if name in recording.signals}
        told = [f"{name}: {a.attrs['decision']}" for name, a in signals.items() if a.attrs.get("decision")]
        inputs[modality] = block.assign_attrs(decision="; ".join(told)) if told else block
    return replace(trials, inputs=inputs)


def _refusal(path: Path) -> Path:
    return path.with_suffix(".refused.json")
