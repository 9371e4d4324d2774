"""The command line: each verb is one function of the pipeline; heavy imports wait until a verb runs."""

from __future__ import annotations

import errno
import os
import re
import sys
import warnings
from collections.abc import Sequence
from typing import Annotated

import typer

from bayesaffect import __version__
from bayesaffect.cli import posterior, published, recordings, release, studies
from bayesaffect.errors import InputError

app = typer.Typer(
    help="Predict what people felt from EEG, face video and physiology, with honest uncertainty. "
    "Start with `bayesaffect demo OUT`, or with `bayesaffect study DATASET WORKSPACE` on recordings of your own.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
VERBS = (
    studies.study,
    recordings.prepare,
    studies.train,
    studies.fuse,
    posterior.weights,
    posterior.predict,
    posterior.adapt,
    posterior.compare,
    posterior.criticise,
    studies.report,
    release.release,
    release.models,
    recordings.simulate,
    recordings.describe,
    studies.demo,
)
# what a machine answers that holds no more, or a file system that does not let one in: not a fault of the program
REFUSALS = {
    errno.ENOSPC: "free some space",
    errno.EDQUOT: "free some space, or have your quota raised",
    errno.EACCES: "get the right to it, or name another place",
    errno.EPERM: "get the right to it, or name another place",
    errno.EROFS: "name a place that can be written to",
    errno.ENAMETOOLONG: "choose shorter names",
    errno.EISDIR: "name a file",
    errno.ENOTDIR: "name a folder",
}
for verb in VERBS:
    app.command()(verb)
app.add_typer(recordings.exports, name="export")
app.add_typer(published.published, name="opinions")


def main(arguments: Sequence[str] | None = None):
    """Entry point: a user's mistake, or a full or closed disk, is a sentence and code 2, an interrupt is code 130."""
    warnings.filterwarnings("ignore", message="A worker stopped while some jobs")  # replaced, and its work done again
    warnings.filterwarnings("ignore", message=r"\s*ArviZ is undergoing")  # its news of the day, on first import
    try:
        app(args=None if arguments is None else list(arguments), prog_name="bayesaffect")
    except InputError as error:
        print(f"bayesaffect: {error}", file=sys.stderr)
        sys.exit(2)
    except Exception as error:
        if (sentence := _refused(error)) is None:
            raise
        print(f"bayesaffect: {sentence}", file=sys.stderr)
        sys.exit(2)
    except (KeyboardInterrupt, SystemExit) as end:
        if isinstance(end, SystemExit) and end.code != 130:  # what typer makes of an interrupt
            raise
        print("bayesaffect: stopped; the same command goes on where it was", file=sys.stderr)
        sys.exit(130)


def _refused(error: Exception) -> str | None:
    """The sentence about an error that the machine made and its user can mend, or ``None``.

    Libraries that write files (HDF5, safetensors, NumPy) tell some of them in words only.
    """
    number = getattr(error, "errno", None)
    if os.strerror(errno.ENOSPC) in str(error) or re.search(r"\d requested and \d+ written", str(error)):
        number = errno.ENOSPC
    if number not in REFUSALS:
        return None
    where = "" if getattr(error, "filename", None) is None else f"{error.filename}: "
    return f"{where}{os.strerror(number).lower()}; {REFUSALS[number]}, then give the same command again"


@app.callback(invoke_without_command=True)
def version(show: Annotated[bool, typer.Option("--version", help="Print the version and stop.")] = False):
    """Called before every verb."""
    if show:
        print(f"bayesaffect {__version__}")
        raise typer.Exit
