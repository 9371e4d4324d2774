"""What every person of a simulated study felt, and how much of it each modality can see.

Felt valence and arousal of subject s at clip c (both on [-1, 1])::

    felt_sct = clip(intended_ct + z, -1, 1),              z ~ Normal(0, 0.22^2)
    rating   = round(5 + 4 (felt + bias_st)),             cut to 1..9
    P(emotion = k) proportional to exp(-|felt - place_k|^2 / (2 * 0.22^2))
    evidence_scmt = gain_sm * loading_mt * felt_sct + noise_m * spread_sm * e,     e ~ Normal(0, 1) for each m and t

The noise of one modality is independent of every other's, so that two modalities know more than either.
Every number depends only on the seed and on its own subject and clip, never on how many others were drawn.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from bayesaffect.errors import InputError
from bayesaffect.files import atomic, write_json

TARGETS = ("valence", "arousal")
MODALITIES = ("eeg", "face", "physio")

# name -> (code in session.xml, valence, arousal); clips take the classes in this order
EMOTIONS = {
    "joy": (4, 0.65, 0.60),
    "sadness": (5, -0.65, -0.60),
    "fear": (3, -0.40, 0.85),
    "neutral": (0, 0.05, -0.70),
    "amusement": (11, 0.80, -0.05),
    "disgust": (2, -0.80, 0.00),
    "surprise": (6, 0.25, 0.90),
    "anger": (1, -0.75, 0.50),
    "anxiety": (12, -0.20, 0.25),
}
_LOADING = np.array([[0.60, 0.90], [1.0, 0.5], [0.3, 1.0]])  # modality x target
_NOISE = np.array([0.38, 0.38, 0.48])  # sd on the scale of felt
_ODD_CLASS = 0.22


@dataclass(frozen=True)
class Truth:
    """A drawn truth.

    Parameters
    ----------
    seed : what it was drawn with.
    stimuli : Dataset over ``stimulus``: ``intended`` (stimulus, target), ``emotion`` (stimulus), a class name.
    subjects : Dataset over ``subject`` ("S01"): ``number``; ``rating_bias`` (subject, target); ``gain`` and ``spread``
        (subject, modality); ``noise`` (modality); ``loading`` (modality, target); ``gsr_dead`` (subject).
    trials : Dataset over ``trial`` ("S01/T07"): ``subject``, ``stimulus``, ``number`` (order of presentation from 1),
        ``felt`` and ``rating`` (trial, target), ``emotion`` (trial), ``evidence`` (trial, modality, target).
    """

    seed: int
    stimuli: xr.Dataset
    subjects: xr.Dataset
    trials: xr.Dataset


def generator(seed: int, *keys: int) -> np.random.Generator:
    """A generator that depends on the seed and the keys alone, so that work can be done in any order."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=keys))


def draw_truth(*, subjects: int | Sequence[int], clips: int, seed: int, missing: dict[int, int] | None = None) -> Truth:
    """Draw what is true of a study, by the equations at the top of this module.

    Parameters
    ----------
    subjects : number of subjects (1..n), or their numbers.
    clips : number of film clips; every subject sees them in an order of their own.
    missing : subject number -> how many of the last trials were never recorded.

    About one subject in eight has a face that says nothing (gain 0), and one in eight a dead skin conductance sensor,
    from six subjects on. Log gains have sd 0.15, log spreads 0.35.
    """
    numbers = list(range(1, subjects + 1)) if isinstance(subjects, int) else list(subjects)
    if not numbers or clips < 1:
        raise InputError(f"{len(numbers)} subjects and {clips} clips make no study", remedy="give at least one of each")
    stimuli, people = _draw_stimuli(clips, seed), _draw_subjects(numbers, seed)
    trials = [
        _draw_trials(stimuli, people.isel(subject=k), clips - (missing or {}).get(number, 0), seed)
        for k, number in enumerate(numbers)
    ]
    return Truth(seed, stimuli, people, xr.concat(trials, "trial"))


def _draw_stimuli(clips: int, seed: int) -> xr.Dataset:
    names = [list(EMOTIONS)[k % len(EMOTIONS)] for k in range(clips)]
    jitter = np.array([generator(seed, 0, k).normal(0, 0.08, 2) for k in range(clips)])
    intended = np.clip(np.array([EMOTIONS[n][1:] for n in names]) + jitter, -0.95, 0.95)
    return xr.Dataset(
        {"intended": (("stimulus", "target"), intended), "emotion": ("stimulus", names)},
        coords={"stimulus": [f"clip{k + 1:02d}.avi" for k in range(clips)], "target": list(TARGETS)},
    )


def _draw_subjects(numbers: list[int], seed: int) -> xr.Dataset:
    rngs = [generator(seed, 1, n) for n in numbers]
    bias = np.array([r.normal(0, 0.08, 2) for r in rngs])
    gain = np.exp(np.array([r.normal(0, 0.15, len(MODALITIES)) for r in rngs]))
    spread = np.exp(np.array([r.normal(0, 0.35, len(MODALITIES)) for r in rngs]))
    lot = np.array([r.random() for r in rngs])
    odd = max(len(numbers) // 8, 1) if len(numbers) >= 6 else 0
    order = np.argsort(lot)
    gain[order[:odd], MODALITIES.index("face")] = 0.0
    dead = np.isin(np.arange(len(numbers)), order[len(order) - odd :]) & (odd > 0)
    return xr.Dataset(
        {
            "number": ("subject", numbers),
            "rating_bias": (("subject", "target"), bias),
            "gain": (("subject", "modality"), gain),
            "spread": (("subject", "modality"), spread),
            "noise": ("modality", _NOISE),
            "loading": (("modality", "target"), _LOADING),
            "gsr_dead": ("subject", dead),
        },
        coords={"subject": [f"S{n:02d}" for n in numbers], "modality": list(MODALITIES), "target": list(TARGETS)},
    )


def _draw_trials(stimuli: xr.Dataset, person: xr.Dataset, count: int, seed: int) -> xr.Dataset:
    number, subject = int(person["number"]), str(person["subject"].values)
    order = generator(seed, 2, number).permutation(stimuli.sizes["stimulus"])[:count]
    places = np.array([v[1:] for v in EMOTIONS.values()])
    felt, evidence, emotion = [], [], []
    for clip in order:
        rng = generator(seed, 3, number, int(clip))
        now = np.clip(stimuli["intended"].values[clip] + rng.normal(0, 0.22, 2), -1, 1)
        weight = np.exp(-((now - places) ** 2).sum(1) / (2 * _ODD_CLASS**2))
        emotion.append(list(EMOTIONS)[rng.choice(len(EMOTIONS), p=weight / weight.sum())])
        signal = person["gain"].values[:, None] * _LOADING * now
        evidence.append(signal + (_NOISE * person["spread"].values)[:, None] * rng.normal(size=signal.shape))
        felt.append(now)
    felt = np.array(felt).reshape(count, 2)
    rating = np.clip(np.rint(5 + 4 * (felt + person["rating_bias"].values)), 1, 9).astype(int)
    return xr.Dataset(
        {
            "subject": ("trial", [subject] * count),
            "stimulus": ("trial", stimuli["stimulus"].values[order]),
            "number": ("trial", np.arange(1, count + 1)),
            "felt": (("trial", "target"), felt),
            "rating": (("trial", "target"), rating),
            "emotion": ("trial", np.array(emotion, dtype="U16")),
            "evidence": (("trial", "modality", "target"), np.array(evidence).reshape(count, len(MODALITIES), 2)),
        },
        coords={
            "trial": [f"{subject}/T{k:02d}" for k in range(1, count + 1)],
            "modality": list(MODALITIES),
            "target": list(TARGETS),
        },
    )


def trial_table(truth: Truth) -> pd.DataFrame:
    """One row per trial: subject, stimulus, felt_*, rating_*, emotion, evidence_<modality>_<target>."""
    t = truth.trials
    table = t[["subject", "stimulus", "number", "emotion"]].to_dataframe()
    for k, target in enumerate(TARGETS):
        table[f"felt_{target}"], table[f"rating_{target}"] = t["felt"].values[:, k], t["rating"].values[:, k]
        for j, modality in enumerate(MODALITIES):
            table[f"evidence_{modality}_{target}"] = t["evidence"].values[:, j, k]
    return table


def save_truth(folder: Path, truth: Truth, settings: dict) -> None:
    """Write ``truth.csv`` (`trial_table`) and ``truth.json`` (everything, and the settings of the simulation)."""
    with atomic(folder / "truth.csv") as path:
        trial_table(truth).to_csv(path, float_format="%.10g")
    parts = {name: getattr(truth, name).to_dict() for name in ("stimuli", "subjects", "trials")}
    write_json(folder / "truth.json", {"seed": truth.seed, "settings": settings, **parts})


def read_truth(folder: str | Path) -> Truth:
    """The truth that `write_mahnob` saved beside its recordings."""
    path = Path(folder) / "truth.json"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return Truth(content["seed"], *(xr.Dataset.from_dict(content[k]) for k in ("stimuli", "subjects", "trials")))
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"no truth can be read ({error})", where=path, remedy="simulate the data again") from None
