"""Verbs about a fitted study: weights, predict, adapt, compare, criticise."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bayesaffect import progress
from bayesaffect.cli import options
from bayesaffect.cli.output import console, folder, print_table, say
from bayesaffect.errors import InputError

Source = Annotated[
    Path, typer.Argument(metavar="SOURCE", help="New recordings (as the study's), or a table if the study was one.")
]
FAMILIES = ("late", "hybrid")


def weights(workspace: options.Existing):
    """Print the posterior weight of every modality, for a new person and for each subject, and the weakest sensor."""
    from bayesaffect.pipeline import weights as stage

    for target, frame in stage.tables(workspace).items():
        print_table(frame, f"{target}: share in the fused posterior, median [90 % interval]")
    say(
        f"the same in long form, per trial, and as a forest plot: {workspace / 'fusion' / 'weights_<target>.csv'}, "
        "_trials.csv, .png, .pdf"
    )


def predict(
    places: Annotated[
        list[Path],
        typer.Argument(
            metavar="[WORKSPACE] SOURCE OUT",
            help="Workspace of an earlier command, unless --model names a release; new recordings (as the study's), or "
            "a table if the study was one; folder for predictions.csv and the draws for ArviZ.",
        ),
    ],
    model: Annotated[
        str | None, typer.Option(metavar="NAME|FOLDER", help="Predict with this release instead of a workspace.")
    ] = None,
    models: Annotated[Path, typer.Option(help="Folder of releases.")] = Path("models"),
    family: Annotated[str, typer.Option(help="late, or hybrid.")] = "late",
    jointly: Annotated[
        bool,
        typer.Option(
            "--jointly",
            help="Predict all trials of a new person together; assumes they saw a set of stimuli like the study's.",
        ),
    ] = False,
    jobs: options.Jobs = 1,
):
    """Predict new recordings: fused mean, interval or class probabilities, and each modality's own prediction."""
    from bayesaffect.pipeline import apply as stage
    from bayesaffect.pipeline.releases import released

    if model in FAMILIES:
        raise InputError(f"--model names a release, and {model!r} is a family", remedy=f"write --family {model}")
    if family not in FAMILIES:
        raise InputError(f"there is no family {family!r}", remedy=f"choose one of {', '.join(FAMILIES)}")
    if jointly and family == "hybrid":
        raise InputError("only the late model predicts a person's trials jointly", remedy="leave out --family hybrid")
    if jointly and model is not None:
        raise InputError(
            "predicting jointly needs the labels of the study, which a release does not hold",
            remedy="leave out --jointly, or predict with the workspace",
        )
    if len(places) != (3 if model is None else 2):
        wanted = "WORKSPACE SOURCE OUT, or --model NAME SOURCE OUT" if model is None else "--model NAME SOURCE OUT"
        raise InputError(f"{len(places)} paths were given", remedy=f"write bayesaffect predict {wanted}")
    source, out = places[-2], folder(places[-1])
    if model is None:
        workspace = places[0]
        settings = _settings(workspace)
        with progress.shown(console):
            found = stage.predict(workspace, settings, source, out, family=family, jointly=jointly, jobs=jobs)
    else:
        release = released.load(model, models)
        if release.note:
            say(f"note: {release.note}")
        with progress.shown(console):
            found = released.predict(release, source, out, family=family, jobs=jobs)
    people = ", ".join(f"{count} {what}" for what, count in found.people.items() if count)
    say(f"{len(found.table)} trials; subjects: {people}", *([found.assumes] if found.assumes else []))
    say(f"fusion: {found.milliseconds:.0f} ms for one trial, {found.seconds:.2f} s for all of them and every target")
    say(*(str(path) for path in found.paths))


def adapt(workspace: options.Existing, source: Source, jobs: options.Jobs = 1):
    """Learn a new person's effects from a few labelled trials; `predict` uses them from then on."""
    from bayesaffect.pipeline import apply as stage

    settings = _settings(workspace)
    with progress.shown(console):
        frame = stage.adapt(workspace, settings, source, jobs=jobs)
    print_table(frame, "weight of each modality for a new person -> for this person (medians)")
    if (frame["khat"] > 0.7).any():
        say("k-hat above 0.7: these labels are unlike what the fit expects; fit again with the person in the study")
    say(f"next: bayesaffect predict {workspace} SOURCE OUT")


def compare(
    workspace: options.Existing,
    by: Annotated[str, typer.Option(help="Leave out a trial, or a whole subject.")] = "trial",
):
    """Compare late and hybrid fusion, each modality alone, equal weights: PSIS-LOO, and scores of held-out people."""
    from bayesaffect.pipeline import compare as stage

    settings = _settings(workspace)
    with progress.shown(console):
        found = stage.compare(workspace, settings, by=by)
    for target, compared in found.items():
        print_table(compared.loo, f"{target}: PSIS-LOO of fits to everybody, by {by}")
        print_table(compared.scores, f"{target}: people held out, 90 % intervals over subjects")
        say(*compared.sentences)
    say(f"tables: {workspace / 'fusion' / 'comparison_<target>_<loo|scores>.csv'}")


def criticise(workspace: options.Existing):
    """Check the fits against their data with posterior predictive checks, and plot prior predictive ones."""
    from bayesaffect.pipeline import criticise as stage

    settings = _settings(workspace)
    with progress.shown(console):
        found = stage.criticise(workspace, settings)
    for target, result in found.items():
        say(f"{target}: {len(result.table)} checks, {int(result.table['flagged'].sum())} flagged", *result.sentences)
    say(*(str(path) for result in found.values() for path in result.pictures))


def _settings(workspace: Path):
    from bayesaffect.pipeline import settings as study_settings

    return study_settings.load(workspace)
