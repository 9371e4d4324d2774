"""Verbs about releases: release, models."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bayesaffect import progress
from bayesaffect.cli import options
from bayesaffect.cli.output import console, folder, print_table, say

Models = Annotated[Path, typer.Option("--models", help="Folder of releases.")]


def release(
    workspace: options.Existing,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the release, and of its folder.")],
    models: Models = Path("models"),
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a release of that name.")] = False,
):
    """Make a finished study into a release that predicts new people: networks, posteriors, card; nobody's data."""
    from bayesaffect.pipeline import settings as study_settings
    from bayesaffect.pipeline.releases import release as stage

    settings = study_settings.load(workspace)
    with progress.shown(console):
        made = stage.release(workspace, settings, name, models=folder(models), overwrite=overwrite)
    say(*stage.told(made))
    where = name if models == Path("models") else made
    say(f"next: read {made / 'card.md'}, then bayesaffect predict --model {where} SOURCE OUT")


def models(models: Models = Path("models")):
    """List the releases: what they predict, from what, and whether their files are as they were released."""
    from bayesaffect.pipeline.releases import released as stage

    found = stage.listing(models)
    if found.empty:
        say(f"no releases in {models}; make one: bayesaffect release WORKSPACE NAME")
        return
    print_table(found, f"releases in {models}")
