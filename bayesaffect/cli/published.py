"""Verbs that turn published predictions into opinions tables."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bayesaffect.cli.output import say

Out = Annotated[Path, typer.Argument(metavar="OUT", help="Table to write (CSV or Parquet).")]
published = typer.Typer(
    help="Turn published predictions into opinions tables, for `bayesaffect fuse`.", no_args_is_help=True
)


@published.command("crema-d")
def crema_d(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder that holds tabulatedVotes.csv.")], out: Out
):
    """Votes of CREMA-D's raters on voice and face -> the emotion that the actor was asked to show."""
    from bayesaffect.io import published as tables

    _done(tables.crema_d(folder, out))


@published.command()
def epic(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The .npz of the seven models' predictions.")], out: Out
):
    """EPiC 2023: seven models' mean valence and arousal per file."""
    from bayesaffect.io import published as tables

    _done(tables.epic(file, out))


def _done(out: Path):
    say(f"opinions: {out}", f"next: bayesaffect fuse {out} WORKSPACE --folds 10")
