"""What determines the result of a study: written into the workspace, read back by every later command."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
from pathlib import Path

from bayesaffect import splits
from bayesaffect.errors import InputError
from bayesaffect.fusion import Model, Sampling
from bayesaffect.io import store
from bayesaffect.signals.extract import Extraction
from bayesaffect.uncertainty.ensemble import Ensemble
from bayesaffect.uncertainty.training import Training

BASELINES = ("trials", "neutral")
LOSO = splits.LOSO


@dataclass(frozen=True)
class Settings:
    """One study.

    Parameters
    ----------
    dataset, format : folder (or table) and how it is read: ``mahnob``, ``e4`` or ``opinions``.
    reading : options of the reader, by name.
    baseline : what a subject's features are standardised by: ``trials``, all of the subject's trials, or ``neutral``,
        the neutral clips of the data set (a new person then needs a resting recording instead of many trials).
    extraction, ensemble, training, sampling : settings of the stages.
    model : likelihood and pooling of continuous targets.
    joint : fit the late models of all targets as one, in which a subject's reliabilities are shared (`fusion.joint`).
    hybrid : fit the hybrid model beside the late one, where modalities have features.
    networks : plug-ins, modality (or ``early``) -> ``package.module:callable``, in place of the networks built in.
    protocol : what folds hold apart (`splits.UNIT`): ``subject``, ``elicitor``, ``version``, ``time`` or ``within``.
    folds : number of subject groups K of the cross-validation, or ``"loso"``: leave one subject out; of groups of
        stimuli, parts of sessions or folds inside subjects, as the protocol says.
    robustness : disturb every modality at test time for the page; it takes minutes.
    nested : train fusion on opinions of networks that saw neither the test group nor the subject in question.
    seed : from which every random number of the study follows.
    """

    dataset: str
    format: str
    reading: Mapping = field(default_factory=dict)
    baseline: str = "trials"
    extraction: Extraction = field(default_factory=Extraction)
    ensemble: Ensemble = field(default_factory=Ensemble)
    training: Training = field(default_factory=Training)
    sampling: Sampling = field(default_factory=Sampling)
    model: Model = field(default_factory=Model)
    joint: bool = False
    hybrid: bool = False
    networks: Mapping[str, str] = field(default_factory=dict)
    protocol: str = splits.SUBJECT
    folds: int | str = 5
    robustness: bool = True
    nested: bool = True
    seed: int = 0

    def __post_init__(self):
        if self.folds != LOSO and not (isinstance(self.folds, int) and self.folds >= 2):
            raise InputError(f"folds is {self.folds!r}", remedy=f"give a number of groups from 2, or {LOSO}")
        if self.protocol not in splits.UNIT:
            names = ", ".join(splits.UNIT)
            raise InputError(f"there is no protocol {self.protocol!r}", remedy=f"choose one of {names}")
        if self.protocol in ("time", "within") and self.folds == LOSO:
            raise InputError(
                f"{splits.OPTION[self.protocol]} has no subjects to leave out", remedy="give a number of folds"
            )
        if self.baseline not in BASELINES:
            raise InputError(f"there is no baseline {self.baseline!r}", remedy=f"choose one of {', '.join(BASELINES)}")
        if self.protocol == "time" and self.folds == 2 and self.format != "opinions":
            raise InputError(
                "across-time learns networks from the first part of a session, fusion from the second, and tests on "
                "what follows",
                remedy="use --folds 3 or more",
            )
        if self.nested and self.folds == 2 and self.format != "opinions" and self.protocol != "version":
            raise InputError(
                "nested fits hold out two groups of subjects at a time, and 2 folds leave none to learn from",
                remedy="use --folds 3 or more, or --flat",
            )


def from_options(
    dataset: Path,
    format: str | None,
    *,
    window: float | None = None,
    align: str | None = None,
    reading: Mapping | None = None,
    **given,
) -> Settings:
    """Settings from the options of a command.

    Parameters
    ----------
    format : ``None`` for ``description`` where the data set is a .toml file, and ``mahnob`` otherwise.
    window : seconds of each trial that are analysed; for ``e4`` the length of the windows (step: half of it).
    align : session folders only, how the video is placed: ``audio-clock`` or ``centred``.
    given : ``baseline``, ``networks``, ``protocol`` (a short name, or as commands spell it), ``folds``, ``nested``,
        ``seed``, ``face_backend``, ``eeg_input``, ``minimum_quality``, ``members``, ``passes``, ``epochs``, ``draws``
        (and as many warm-up iterations), ``chains``, ``engine``, ``likelihood``, ``pooling``, ``gains``, ``hybrid``;
        those left out keep their defaults.
    """
    format = format or ("description" if dataset.suffix.lower() == ".toml" else "mahnob")
    reading = dict(reading or {})
    if align is not None:
        if format not in ("mahnob", "description") or align not in ("audio-clock", "centred"):
            remedy = "mahnob and descriptions take audio-clock or centred"
            raise InputError(f"--align {align} does not fit format {format}", remedy=remedy)
        reading["align"] = align
    extraction = Extraction()
    if format == "e4":
        extraction = replace(extraction, window_s=None)
        reading |= {"window_s": window, "step_s": window / 2} if window else {}
    elif window:
        extraction = replace(extraction, window_s=window)
    settings = Settings(str(dataset), format, reading, extraction=extraction)
    return change(settings, **given)


def change(settings: Settings, **given) -> Settings:
    """The settings with some options of a command changed, wherever they belong."""
    places = {
        "extraction": ("face_backend", "eeg_input", "minimum_quality"),
        "ensemble": ("members", "passes", "method"),
        "training": ("epochs",),
        "sampling": ("draws", "chains", "engine"),
        "model": ("likelihood", "pooling", "gains"),
    }
    for place, names in places.items():
        chosen = {name: given.pop(name) for name in names if name in given}
        if "draws" in chosen:
            chosen["tune"] = chosen["draws"]
        settings = replace(settings, **{place: replace(getattr(settings, place), **chosen)})
    if "protocol" in given:
        given["protocol"] = splits.parse(given["protocol"])
    return replace(settings, **given)


def save(settings: Settings, workspace: Path):
    """Write the settings into the workspace; a workspace of another data set is refused."""
    store.write_settings(workspace, asdict(settings))


def load(workspace: Path) -> Settings:
    """The settings a workspace was made with.

    Raises
    ------
    InputError : when there are none, or they name an option this version does not know.
    """
    raw = store.read_settings(store.open_workspace(workspace))
    return _build(Settings, raw, workspace / "study.json")


def _build(cls: type, raw: Mapping, where: Path):
    known = {f.name: f for f in fields(cls)}
    if unknown := sorted(set(raw) - set(known)):
        raise InputError(f"unknown settings {unknown}", where=where, remedy="remove them or start a new workspace")
    values = {}
    for name, value in raw.items():
        factory = known[name].default_factory
        nested = isinstance(value, Mapping) and isinstance(factory, type) and is_dataclass(factory)
        values[name] = _build(factory, value, where) if nested else tuple(value) if isinstance(value, list) else value
    try:
        return cls(**values)
    except TypeError as error:
        raise InputError(f"incomplete settings ({error})", where=where, remedy="start a new workspace") from None
