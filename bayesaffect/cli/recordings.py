"""Verbs about recordings: simulate, describe, prepare, export."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from bayesaffect import progress
from bayesaffect.cli import options
from bayesaffect.cli.output import command, console, folder, print_trials, say
from bayesaffect.errors import InputError

exports = typer.Typer(help="Write what a workspace holds as tables for analyses of your own.", no_args_is_help=True)


def simulate(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder for the recordings.")],
    subjects: Annotated[int, typer.Option(min=2, help="Number of subjects.")] = 8,
    clips: Annotated[int, typer.Option(min=2, help="Number of film clips.")] = 8,
    seed: options.Seed = 0,
    scale: Annotated[
        str | None, typer.Option(help="full: 27 subjects x 20 clips with the missing trials of the real set.")
    ] = None,
    seconds: Annotated[
        float | None, typer.Option(min=6, help="Length of the longest clip; the shortest has two thirds [default: 30].")
    ] = None,
    neutral: Annotated[bool, typer.Option("--neutral", help="Also write the neutral clip before each film.")] = False,
    traps: Annotated[bool, typer.Option("--traps", help="Put in one of every defect that real sets have.")] = False,
    tutorial: Annotated[
        bool,
        typer.Option(
            "--tutorial", help="Use other sampling rates, names and scales, with a dataset description to match."
        ),
    ] = False,
    jobs: options.Jobs = 2,
):
    """Write MAHNOB-HCI session folders (BDF, AVI, XML) with a known truth beside them."""
    from bayesaffect.simulate import Layout, write_mahnob, write_tutorial

    folder(out)
    layout = Layout(neutral=neutral, traps="all" if traps else None)
    if seconds is not None:
        layout = replace(layout, clip_seconds=(seconds * 2 / 3, seconds), margin=min(layout.margin, seconds / 2))
    if tutorial and scale is not None:
        raise InputError("--tutorial does not go with --scale", remedy="give --subjects and --clips")
    with progress.shown(console):
        if tutorial:
            dataset = write_tutorial(out, subjects=subjects, clips=clips, seed=seed, layout=layout, jobs=jobs)
        else:
            dataset = out
            write_mahnob(out, subjects=subjects, clips=clips, seed=seed, scale=scale, layout=layout, jobs=jobs)
    say(f"recordings: {out}", f"next: bayesaffect study {dataset} WORKSPACE")


def describe(
    out: Annotated[Path, typer.Argument(metavar="OUT.toml", help="File to write.")],
):
    """Write a commented dataset description to fill in, for recordings of your own laboratory."""
    from bayesaffect.io.description import write_example

    if out.exists():
        raise InputError("exists already", where=out, remedy="name another file")
    write_example(out)
    say(f"description: {out}", f"next: edit it, then bayesaffect prepare {out} WORKSPACE --list")


def prepare(
    dataset: options.Dataset,
    workspace: options.Workspace,
    format: options.Format = None,
    window: options.Window = None,
    align: options.Align = None,
    baseline: options.Baseline = "trials",
    face: options.Backend = "embedded",
    eeg: options.Eeg = "maps",
    quality: options.Quality = 0.1,
    listing: Annotated[bool, typer.Option("--list", help="Print what became of every session, and why.")] = False,
    jobs: options.Jobs = 2,
):
    """Read, synchronise and cache recordings; say what was found, what is missing and why."""
    from bayesaffect.io import store
    from bayesaffect.pipeline import prepare as stage
    from bayesaffect.pipeline import sessions, stages
    from bayesaffect.pipeline import settings as study_settings

    settings = study_settings.from_options(
        dataset, format, window=window, align=align, baseline=baseline, face_backend=face, eeg_input=eeg,
        minimum_quality=quality,
    )  # fmt: skip
    stage.scan(settings)  # a wrong folder is refused before a workspace is made
    store.open_workspace(workspace, create=True)
    study_settings.save(settings, workspace)
    with progress.shown(console):
        trials = stage.prepare(workspace, settings, jobs=jobs)
        stages.note_command(workspace, command())
    table = stage.read_sessions(workspace)
    print_trials(trials, workspace, sessions=table, counts=sessions.counts(table), listing=listing)
    say(*stages.sentences(workspace), f"next: bayesaffect train {workspace}")


@exports.callback(invoke_without_command=False)
def export():
    """Keeps ``features`` a verb of its own."""


@exports.command()
def features(
    workspace: options.Existing,
    suffix: Annotated[str, typer.Option("--as", help="csv, parquet or npz.")] = "csv",
    standardised: Annotated[
        bool,
        typer.Option(
            "--standardised", help="Export what the networks read, z-scored within subjects, instead of raw units."
        ),
    ] = False,
    jobs: options.Jobs = 2,
):
    """Write the features of every modality, one row per trial."""
    from bayesaffect.pipeline import features as stage
    from bayesaffect.pipeline import prepare as preparing
    from bayesaffect.pipeline import settings as study_settings

    settings = study_settings.load(workspace)
    with progress.shown(console):
        trials = preparing.prepare(workspace, settings, jobs=jobs)
    paths = stage.export(trials, workspace / "features", suffix=suffix, standardised=standardised)
    say(*(f"features: {path}" for path in paths))
