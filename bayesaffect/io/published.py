"""Published predictions as opinions tables: crowd votes (CREMA-D) and competition entries (EPiC 2023)."""

from __future__ import annotations

import os
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import pandas as pd

from bayesaffect.errors import InputError, first_line
from bayesaffect.io.frames import write_frame

EMOTIONS = {"A": "anger", "D": "disgust", "F": "fear", "H": "happiness", "N": "neutral", "S": "sadness"}
ACTED = {"ANG": "anger", "DIS": "disgust", "FEA": "fear", "HAP": "happiness", "NEU": "neutral", "SAD": "sadness"}
INTENSITY = {
    "Anger": "anger",
    "Disgust": "disgust",
    "Fear": "fear",
    "Happy": "happiness",
    "Neutral": "neutral",
    "Sad": "sadness",
}
PRESENTATIONS = {1: "voice", 2: "face"}
EPIC_SCALE = (0.5, 9.5)


def read_crema_d(folder: str | os.PathLike, *, alpha: float = 1.0) -> pd.DataFrame:
    """Crowd votes on acted emotions (Cao et al. 2014) as an opinions table of the modalities voice and face.

    Probabilities are smoothed vote shares p_k = (votes_k + alpha) / (n + 6 alpha); alpha = 1 is the
    posterior mean under a uniform prior on the shares. With ten raters a smaller alpha makes the step from no
    vote to one vote dominate the log-probabilities (held-out NLL of a logistic stacking: 0.674, 0.652, 0.637,
    0.627 at alpha 0.1, 0.25, 0.5, 1). The truth is the emotion the actor was
    asked to show (third field of the clip's name), the subject the actor (first field), the stimulus the
    sentence (second field), the trial the clip. Features, in [0, 1]: ``x_intensity_k`` = votes_k i_k / (100 n), i_k the
    mean intensity, 0 to 100, that those who chose emotion k gave it: the mean over all n raters of the presentation,
    0 from each who chose another emotion. ``x_intensity``, of whatever was chosen, is their sum. Clips shown with both
    voice and face are left out, because their raters saw what fusion is asked to join.

    Raises
    ------
    InputError : when ``tabulatedVotes.csv`` is not in ``folder`` or lacks a column.
    """
    path = Path(folder) / "tabulatedVotes.csv"
    if not path.is_file():
        raise InputError("there is no tabulatedVotes.csv", where=folder, remedy="name the CREMA-D folder that holds it")
    try:
        votes = pd.read_csv(path, index_col=0)
    except (UnicodeDecodeError, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise InputError(f"is not a CSV table ({first_line(error)})", where=path, remedy="download it again") from None
    needed = ["fileName", *EMOTIONS, "meanEmoResp", *(f"mean{name}Resp" for name in INTENSITY)]
    if absent := [c for c in needed if c not in votes]:
        raise InputError(f"lacks the columns {absent}", where=path, remedy="use the processed results of CREMA-D")
    votes = votes[(votes.index // 100_000).isin(PRESENTATIONS)]
    fields = votes["fileName"].str.split("_", expand=True)
    if unknown := sorted(set(fields[2]) - set(ACTED)):
        raise InputError(
            f"has clips of unknown emotion {unknown}", where=path, remedy=f"the third field is one of {list(ACTED)}"
        )
    counts = votes[list(EMOTIONS)].to_numpy(dtype=float)
    share = (counts + alpha) / (counts.sum(1, keepdims=True) + alpha * len(EMOTIONS))
    table = {"trial": votes["fileName"], "subject": fields[0], "stimulus": fields[1]}
    table["modality"] = (votes.index // 100_000).map(PRESENTATIONS)
    table |= {f"p_{name}": share[:, k] for k, name in enumerate(EMOTIONS.values())}
    table["truth_emotion"] = fields[2].map(ACTED)
    table["x_intensity"] = votes["meanEmoResp"].clip(lower=0) / 100
    chosen = counts / counts.sum(1, keepdims=True).clip(min=1)
    for k, (column, name) in enumerate(INTENSITY.items()):
        table[f"x_intensity_{name}"] = chosen[:, k] * votes[f"mean{column}Resp"].clip(lower=0) / 100
    return pd.DataFrame(table).reset_index(drop=True)


def crema_d(folder: str | os.PathLike, out: str | os.PathLike) -> Path:
    """Write `read_crema_d` of ``folder`` to ``out`` (.csv or .parquet)."""
    return write_frame(read_crema_d(folder), out)


def read_epic(path: str | os.PathLike) -> pd.DataFrame:
    """Seven models' predictions of valence and arousal (EPiC 2023, across-subject scenario) as an opinions table.

    One modality per expert, one trial per file of 30 s: the prediction is the expert's mean over the file, the
    truth the mean annotation, its ``spread_`` the annotation's population standard deviation inside the file.
    The scale is 0.5 to 9.5. Experts gave no variances, so the table has none; the stimulus is the video.
    The competition's folds are of no use here: experts were trained on other subjects in each.

    Raises
    ------
    InputError : when the file is not an .npz archive with pred, truth, subject, video, experts and targets.
    """
    remedy = "name the across_subject.npz of the EPiC data"
    try:
        with np.load(path, allow_pickle=False) as archive:
            data = {name: archive[name] for name in ("pred", "truth", "subject", "video", "experts", "targets")}
    except (OSError, ValueError, BadZipFile, EOFError, IndexError, TypeError, AttributeError) as error:
        raise InputError(f"is not an .npz archive ({first_line(error)})", where=path, remedy=remedy) from None
    except KeyError as error:
        raise InputError(f"lacks an array ({error.args[0]})", where=path, remedy=remedy) from None
    prediction = data["pred"].astype(float).mean(2)
    truth = data["truth"].astype(float)
    files, experts, _ = prediction.shape
    row, expert = np.repeat(np.arange(files), experts), np.tile(np.arange(experts), files)
    subject, video = data["subject"].astype(int), data["video"].astype(int)
    table = {
        "trial": [f"S{s:02d}/V{v}" for s, v in zip(subject[row], video[row], strict=True)],
        "subject": [f"S{s:02d}" for s in subject[row]],
        "stimulus": [f"V{v}" for v in video[row]],
        "modality": data["experts"][expert],
    }
    for k, target in enumerate(data["targets"].astype(str)):
        table[f"mean_{target}"] = prediction[row, expert, k]
        table[f"truth_{target}"] = truth[:, :, k].mean(1).clip(*EPIC_SCALE)[row]
        table[f"spread_{target}"] = truth[:, :, k].std(1)[row]
        table[f"low_{target}"], table[f"high_{target}"] = EPIC_SCALE
    return pd.DataFrame(table)


def epic(path: str | os.PathLike, out: str | os.PathLike) -> Path:
    """Write `read_epic` of ``path`` to ``out`` (.csv or .parquet)."""
    return write_frame(read_epic(path), out)
