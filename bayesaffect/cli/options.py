"""Arguments and options that several verbs share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

Dataset = Annotated[
    Path, typer.Argument(metavar="DATASET", help="Folder of the recordings (read only), or a dataset description.")
]
Workspace = Annotated[
    Path, typer.Argument(metavar="WORKSPACE", help="Folder for all results; made if it is not there.")
]
Existing = Annotated[Path, typer.Argument(metavar="WORKSPACE", help="Workspace of an earlier command.")]
Format = Annotated[
    str | None,
    typer.Option(
        "--format",
        help="mahnob (session folders), deap (preprocessed files), e4 (Empatica E4 folders) or description (a .toml "
        "file) [default: description for a .toml file, mahnob for a folder].",
    ),
]
Jobs = Annotated[int, typer.Option(min=1, help="Worker processes.")]
TrainingJobs = Annotated[int | None, typer.Option(min=1, help="Worker processes [default: 2, on a GPU 1].")]
Device = Annotated[
    str, typer.Option(help="Where networks are trained: cpu, cuda, mps, or auto for a GPU if there is one.")
]
Scheduler = Annotated[
    str | None,
    typer.Option(
        metavar="ADDRESS",
        help="Train on the workers of this Dask scheduler; they have to see WORKSPACE under the same path.",
    ),
]
Networks = Annotated[
    list[str] | None,
    typer.Option(
        "--network",
        metavar="NAME=MODULE:CALLABLE",
        help="A network of your own for a modality, or for early fusion (early); may be repeated.",
    ),
]
Seed = Annotated[int, typer.Option(min=0, help="Seed of every random number in the study: same seed, same result.")]


def _folds(given: str) -> int | str:
    text = str(given)
    if text == "loso":
        return text
    if not text.isdecimal() or int(text) < 2:
        raise typer.BadParameter(f"{text!r} is neither a number from 2 nor loso")
    return int(text)


Folds = Annotated[
    Any,
    typer.Option(
        parser=_folds, metavar="N|loso", help="Groups of subjects in the cross-validation, or loso: leave one out."
    ),
]
Members = Annotated[int, typer.Option(min=1, help="Networks per ensemble.")]
Passes = Annotated[int, typer.Option(min=1, help="Dropout passes per network; 1 switches dropout off in predictions.")]
Uncertainty = Annotated[
    str,
    typer.Option(
        "--uncertainty",
        help="What the networks' draws are: ensemble, dropout, both (ensemble x dropout), laplace, or distance (both, "
        "less sure of inputs unlike those trained on).",
    ),
]
Epochs = Annotated[int, typer.Option(min=1, help="At most so many epochs per network.")]
Draws = Annotated[int, typer.Option(min=10, help="Posterior draws per chain (and as many to warm up).")]
Chains = Annotated[int, typer.Option(min=1, help="Chains.")]
Engine = Annotated[
    str,
    typer.Option(help="auto (nutpie), nutpie, pyro (Pyro's own NUTS: slow), or svi (a quick look, not a posterior)."),
]
Likelihood = Annotated[
    str,
    typer.Option(
        help="How ratings are modelled: normal errors, student (outlying trials count less), or ordinal (scale steps)."
    ),
]
Pooling = Annotated[
    str,
    typer.Option(
        help="Subject effects on ratings: partial (drawn from a population), complete (no subject effects), or none "
        "(each subject estimated alone)."
    ),
]
Gains = Annotated[
    str,
    typer.Option(
        help="What a subject's reliability scales: only the errors of predicted ratings (shared), or their gain as "
        "well (scaled: recommended for `predict --jointly`)."
    ),
]
Hybrid = Annotated[
    bool,
    typer.Option(
        "--hybrid/--no-hybrid", help="Fit the hybrid model, which reads features too, beside the late one: slower."
    ),
]
Joint = Annotated[
    bool,
    typer.Option(
        "--joint/--no-joint",
        help="Fit all targets as one model, so that what is learned of a subject's reliability on valence informs "
        "arousal and emotion.",
    ),
]
Robustness = Annotated[
    bool,
    typer.Option(
        "--robustness/--no-robustness",
        help="Also test every modality with degraded signals, for the report; takes minutes.",
    ),
]
Protocol = Annotated[
    str,
    typer.Option(
        help="What the cross-validation holds out: across-subject (people), across-elicitor "
        "(stimuli), across-version, across-time, or "
        "within-subject.",
    ),
]
Flat = Annotated[
    bool,
    typer.Option(
        "--flat",
        help="Skip the nested networks: faster, but fusion then learns from predictions whose "
        "networks saw test labels.",
    ),
]
Strict = Annotated[bool, typer.Option("--strict", help="Exit with code 3 if the posterior's diagnostics fail.")]
Align = Annotated[
    str | None,
    typer.Option(help="Session folders: place the video by the audio-clock (default) or centred on the clip."),
]
Window = Annotated[
    float | None,
    typer.Option(help="Seconds analysed per trial [default: the last 30 of a clip; windows of 60 for e4].", min=2),
]
Baseline = Annotated[
    str,
    typer.Option(help="Standardise a subject by all its trials (trials) or by its neutral clips (neutral)."),
]
Backend = Annotated[
    str,
    typer.Option(
        "--face", help="Face tracker: embedded, pyfeat, or tables (OpenFace or py-feat CSV files beside the videos)."
    ),
]
Eeg = Annotated[
    str, typer.Option("--eeg", help="What the EEG network reads: maps (band power), or raw (maps and raw windows).")
]
Quality = Annotated[
    float, typer.Option("--quality", min=0, max=1, help="Mask a modality in trials whose signal quality is below it.")
]
