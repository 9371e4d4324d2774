"""The door for DEAP's preprocessed files: ``s01.dat`` (Python) or ``s01.mat`` (Matlab) per subject.

Each holds ``data`` (40 trials, 40 channels, 8064 samples at 128 Hz: 3 s before the clip, then 60 s) and ``labels`` (40
trials; valence, arousal, dominance, liking of 1..9). Trials are in the order of the video's number (Experiment_id),
not of presentation, so trial k of every subject is the same music video.
Data base: Koelstra, Muehl, Soleymani and others (2012), DEAP: a database for emotion analysis using
physiological signals, IEEE Transactions on Affective Computing 3(1):18-31.
"""

from __future__ import annotations

import functools
import os
import re
from pathlib import Path

import numpy as np
import pandas as pd
import scipy.io
import xarray as xr

from bayesaffect.errors import InputError
from bayesaffect.io.edf import UNREADABLE
from bayesaffect.io.layout import Rating as Answer
from bayesaffect.io.layout import choose
from bayesaffect.io.pickled import load_arrays
from bayesaffect.types import Listing, Omission, Recording, Segment, Source, Target

FORMAT = "deap"
EEG = tuple(
    (
        "Fp1 AF3 F3 F7 FC5 FC1 C3 T7 CP5 CP1 P3 P7 PO3 O1 Oz Pz Fp2 AF4 Fz F4 F8 FC6 FC2 Cz C4 T8 CP6 CP2 P4 P8 PO4 O2"
    ).split()
)
LABELS = ("valence", "arousal", "dominance", "liking")
ALL_TARGETS = tuple(Target(name, bounds=(1, 9)) for name in LABELS)
TARGETS = ALL_TARGETS[:2]
# name -> (channels, their rows in the file, units)
SIGNALS = {
    "eeg": (EEG, range(32), "uV"),
    "eog": (("hEOG", "vEOG"), (32, 33), "uV"),
    "emg": (("zEMG", "tEMG"), (34, 35), "uV"),
    "skin_resistance": (("GSR",), (36,), "Ohm, relative"),
    "respiration": (("respiration",), (37,), "au"),
    "ppg": (("plethysmograph",), (38,), "au"),
    "temperature_change": (("temperature",), (39,), "au"),
}
MODALITIES = {"eeg": ("eeg",), "physio": ("ppg", "skin_resistance", "respiration", "temperature_change")}
TRIALS, CHANNELS, SAMPLES, RATE, BASELINE = 40, 40, 8064, 128, 3.0
NOTES = {
    "skin_resistance": "resistance against an unknown level: the published values are not above zero throughout",
    "temperature_change": "against an unknown level and scale",
    "respiration": "scale unknown",
    "ppg": "scale unknown",
}
_NAMES = re.compile(r"s(\d+)\.(dat|mat)", re.IGNORECASE)
_OBTAIN = (
    "DEAP needs a signed end user licence agreement; unpack data_preprocessed_python (s01.dat, ...) or "
    "data_preprocessed_matlab (s01.mat, ...) so that it, or its files, lie in this folder"
)
_ANSWERS = tuple(Answer(target, target.name) for target in ALL_TARGETS)


def scan(folder: str | os.PathLike, *, targets: tuple[Target, ...] = TARGETS) -> Listing:
    """What a folder of DEAP's preprocessed files holds; only names and sizes are looked at.

    Parameters
    ----------
    folder : holds ``s01.dat`` or ``s01.mat`` and so on, or one of the two folders of the data base with them;
        where a subject has both, the .dat file is taken.
    targets : those of `ALL_TARGETS` that are wanted.

    Sources are trials, named "S01/T01" to "S32/T40" by the number of the video. Files that are empty, or smaller than
    one trial, are omissions. A ``participant_ratings.csv`` in the folder or the one above is used by `read`.

    Raises
    ------
    InputError : the folder is not there or has no such file.
    """
    folder = Path(folder)
    choose(_ANSWERS, targets, "DEAP")
    if not folder.is_dir():
        raise InputError("there is no such folder", where=folder, remedy=_OBTAIN)
    homes = [folder / "data_preprocessed_python", folder / "data_preprocessed_matlab", folder]
    found: dict[int, Path] = {}
    for path in sorted(path for home in homes if home.is_dir() for path in home.iterdir()):
        if (named := _NAMES.fullmatch(path.name)) and (int(named[1]) not in found or named[2].lower() == "dat"):
            found[int(named[1])] = path
    if not found:
        raise InputError("holds no preprocessed file of DEAP", where=folder, remedy=_OBTAIN)
    sources, omissions = [], []
    for number, path in sorted(found.items()):
        if path.stat().st_size < 1000:
            omissions.append(Omission(str(path), "is all but empty", "copy it again", "recording"))
            continue
        table = _table_beside(path)
        files = (str(path), *([str(table)] if table else []))
        subject = f"S{number:02d}"
        sources += [Source(f"{subject}/T{trial:02d}", subject, files) for trial in range(1, TRIALS + 1)]
    if not sources:
        raise InputError("holds only empty files", where=folder, remedy=_OBTAIN)
    return Listing(FORMAT, str(folder), tuple(targets), MODALITIES, tuple(sources), tuple(omissions))


def read(source: Source, *, targets: tuple[Target, ...] = TARGETS) -> tuple[Recording, tuple[Omission, ...]]:
    """One trial; time 0 is the first sample of its 63 s, so that the clip begins at 3 s.

    Signals: ``eeg`` (32 channels, uV, common average reference, 4..45 Hz by the data base's makers), ``eog``, ``emg``
    (uV), ``skin_resistance``, ``respiration``, ``ppg``, ``temperature_change``. The makers have taken the
    level off the slow signals, so resistance cannot be turned into conductance, nor temperature into degC: they are
    handed on as relative levels (``attrs["note"]``).

    The stimulus is ``video07`` for trial 7. With a ``participant_ratings.csv`` that gives this subject's Experiment_id
    other ratings than the file does, an omission says so; ratings are always those of the file, and one outside
    1..9 is missing.

    One subject's file is kept in memory, as float32 (52 MB), until another one is asked for.

    Raises
    ------
    InputError : the file is damaged, not of this layout, or does not hold the trial.
    """
    answers = choose(_ANSWERS, tuple(targets), "DEAP")
    path = Path(source.files[0])
    try:
        data, labels = _load(str(path), os.stat(path).st_mtime_ns)
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror})", where=path, remedy="copy it again") from None
    trial = int(source.name.rsplit("T", 1)[1]) - 1
    if not 0 <= trial < len(data):
        what = f"holds {len(data)} trials, not {TRIALS}: trial {trial + 1} is missing"
        raise InputError(what, where=path, remedy="copy it again")
    truth, omissions = {}, _disagreement(source, labels, trial)
    for answer in answers:
        value = float(labels[trial, LABELS.index(answer.target.name)])
        low, high = answer.target.bounds
        if low <= value <= high:
            truth[answer.target.name] = value
        else:
            what = f"the {answer.target.name} of {source.name} is {value:g}, outside {low:g}..{high:g}"
            omissions.append(Omission(str(path), what, "its truth is taken as missing"))
    time = np.arange(data.shape[2]) / RATE
    signals = {}
    for name, (channels, rows, unit) in SIGNALS.items():
        values = data[trial, list(rows)].astype(float)
        attrs = {"units": unit, "sampling_rate": float(RATE)} | ({"note": NOTES[name]} if name in NOTES else {})
        coords = {"channel": list(channels), "time": time}
        signals[name] = xr.DataArray(values, dims=("channel", "time"), coords=coords, attrs=attrs)
    segment = Segment(source.name, BASELINE, data.shape[2] / RATE, f"video{trial + 1:02d}", truth)
    baseline = (0.0, BASELINE)
    recording = Recording(source.subject, str(path), tuple(targets), signals, (segment,), baseline=baseline)
    return recording, tuple(omissions)


@functools.lru_cache(maxsize=1)
def _load(path: str, changed: int) -> tuple[np.ndarray, np.ndarray]:
    """``data`` (trial, channel, sample) float32 and ``labels`` (trial, 4) of one subject."""
    place = Path(path)
    if place.suffix.lower() == ".dat":
        found = load_arrays(place, remedy=_OBTAIN)
    else:
        try:
            found = scipy.io.loadmat(place, variable_names=["data", "labels"])
        except (*UNREADABLE, NotImplementedError) as error:  # the latter is how SciPy refuses the HDF5 of Matlab 7.3
            reason = " ".join(str(error).split()) or type(error).__name__
            raise InputError(f"is no readable Matlab file ({reason[:200]})", where=place, remedy=_OBTAIN) from None
    for name, shape in (("data", (CHANNELS, SAMPLES)), ("labels", (len(LABELS),))):
        array = found.get(name)
        if not isinstance(array, np.ndarray) or array.dtype.kind not in "fiu" or array.shape[1:] != shape:
            got = "nothing" if array is None else f"shape {np.shape(array)}"
            what = f"holds {got} as {name!r}, not (trials, {', '.join(map(str, shape))})"
            raise InputError(what, where=place, remedy=_OBTAIN)
    data, labels = found["data"], found["labels"]
    if len(data) != len(labels):
        what = f"holds {len(data)} trials and {len(labels)} rows of labels"
        raise InputError(what, where=place, remedy="copy it again")
    with np.errstate(over="ignore", invalid="ignore"):  # what a damaged file holds beyond float32 is not finite
        return data.astype(np.float32), labels.astype(float)


def _table_beside(path: Path) -> Path | None:
    """participant_ratings.csv in the file's folder, the one above, or the data base's metadata folder."""
    for home in (path.parent, path.parent.parent, path.parent.parent / "metadata_csv"):
        if (home / "participant_ratings.csv").is_file():
            return home / "participant_ratings.csv"
    return None


def _disagreement(source: Source, labels: np.ndarray, trial: int) -> list[Omission]:
    """An omission where the table of ratings gives the video of this trial other ratings than the file does."""
    if len(source.files) < 2:
        return []
    path = source.files[1]
    try:
        table = pd.read_csv(path, skipinitialspace=True).rename(columns=lambda name: str(name).strip().lower())
        mine = table[(table["participant_id"] == int(source.subject[1:])) & (table["experiment_id"] == trial + 1)]
        said = mine[["valence", "arousal"]].to_numpy(float)
    except (*UNREADABLE, pd.errors.ParserError) as error:
        reason = " ".join(str(error).split())[:120]
        return [Omission(path, f"is no table of ratings ({reason})", "restore or remove it")]
    if len(said) and np.abs(said[0] - labels[trial, :2]).max() <= 0.02:
        return []
    what = f"has no row for {source.name}" if not len(said) else f"rates {source.name} otherwise than the signals' file"
    return [Omission(path, what, "check that both are of the same release; the file's ratings are used")]
