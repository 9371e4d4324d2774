"""Verbs about a fitted study: weights, predict, adapt, compare, criticise."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bayesaffect import progress
from bayesaffect.cli import options
from bayesaffect.cli.output import console, say, table
from bayesaffect.errors import InputError

Source = Annotated[
    Path, typer.Argument(metavar="SOURCE", help="New recordings (as the study's), or a table if the study was one.")
]
FAMILIES = ("late", "hybrid")


def weights(workspace: options.Existing):
    """Print the posterior weight of every modality, for a new person and for each subject, and the weakest sensor."""
    from bayesaffect.pipeline import weights as stage

    for target, frame in stage.tables(workspace).items():
        console.print(table(frame, f"{target}: share in the fused posterior, median [90 % interval]"))
    say(
        f"the same in long form, per trial, and as a forest plot: {workspace / 'fusion' / 'weights_<target>.csv'}, "
        "_trials.csv, .png, .pdf"
    )


def predict(
    workspace: options.Existing,
    source: Source,
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder for predictions.csv and the draws for ArviZ.")],
    model: Annotated[str, typer.Option(help="late, or hybrid.")] = "late",
    jointly: Annotated[
        bool,
        typer.Option(
            "--jointly", help="Predict a new person's trials together: presumes that they are a set like the study's."
        ),
    ] = False,
    jobs: options.Jobs = 1,
):
    """Predict new recordings: fused mean, interval or class probabilities, and which modality said what."""
    from bayesaffect.pipeline import apply as stage

    if model not in FAMILIES:
        raise InputError(f"there is no model {model!r}", remedy=f"choose one of {', '.join(FAMILIES)}")
    if jointly and model == "hybrid":
        raise InputError("only the late model predicts a person's trials jointly", remedy="leave out --model hybrid")
    settings = _settings(workspace)
    with progress.shown(console):
        found = stage.predict(workspace, settings, source, out, family=model, jointly=jointly, jobs=jobs)
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
    console.print(table(frame, "weight of each modality for a new person -> for this person (medians)"))
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
        console.print(table(compared.loo, f"{target}: PSIS-LOO of fits to everybody, by {by}"))
        console.print(table(compared.scores, f"{target}: people held out, 90 % intervals over subjects"))
        say(*compared.sentences)
    say(f"tables: {workspace / 'fusion' / 'comparison_<target>_<loo|scores>.csv'}")


def criticise(workspace: options.Existing):
    """Check the fits against their data, and draw what they believed before: posterior and prior predictive checks."""
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
