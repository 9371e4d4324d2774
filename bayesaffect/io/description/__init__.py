"""The door for a laboratory's own data: a .toml file says what they are called and how they are stored.

Two layouts: ``"mahnob"``, session folders like those of MAHNOB-HCI with other names, units, rates and scales, and
``"table"``, a table of trials with patterns of file names. `write_example` writes a description to fill in.
"""

from __future__ import annotations

import os
from pathlib import Path

from bayesaffect.errors import InputError
from bayesaffect.files import write_text
from bayesaffect.io.description.document import HOW, Description, load
from bayesaffect.io.description.table import read_table, scan_table
from bayesaffect.io.layout import SessionLayout
from bayesaffect.io.sessions import read_session, scan_sessions
from bayesaffect.types import Listing, Omission, Recording, Source, Target

TEMPLATE = Path(__file__).with_name("example.toml")


def scan(path: str | os.PathLike, *, targets: tuple[Target, ...] | None = None) -> Listing:
    """What a described data set holds; of the recordings nothing large is opened.

    Parameters
    ----------
    path : the description, or a folder that holds exactly one .toml file.
    targets : those of the description that are wanted; all of them by default.

    Every session folder or row of the table becomes a source or an omission that names it. The description is among
    the files of every source, so that a change of it counts as a change of the recording.

    Raises
    ------
    InputError : no description, a mistake in it (one sentence with file and key), or nothing that can be used.
    """
    described = _load(Path(path))
    known = tuple(rating.target for rating in described.layout.ratings)
    targets = known if targets is None else tuple(targets)
    if isinstance(described.layout, SessionLayout):
        extra = (str(described.path),)
        return scan_sessions(described.home, described.layout, targets=targets, extra=extra)
    return scan_table(described, targets=targets)


def read(
    source: Source, *, targets: tuple[Target, ...], align: str | None = None
) -> tuple[Recording, tuple[Omission, ...]]:
    """One session or one trial of the table as a `Recording`.

    ``align`` overrules the description for session folders (see `bayesaffect.io.mahnob.read`).

    Raises
    ------
    InputError : a recording that cannot be read, or ``align`` for a table of trials.
    """
    described = _load(Path(next(file for file in source.files if file.lower().endswith(".toml"))))
    if isinstance(described.layout, SessionLayout):
        return read_session(source, described.layout, targets=tuple(targets), align=align)
    if align is not None:
        remedy = "videos.NAME.start places a video"
        raise InputError("a table of trials knows no alignment", where=described.path, remedy=remedy)
    return read_table(described, source, targets=tuple(targets))


def write_example(path: str | os.PathLike) -> Path:
    """Write a commented description to fill in; a file that is there already is left alone.

    Raises
    ------
    InputError : the file exists, or its name does not end in .toml.
    """
    path = Path(path)
    if path.suffix.lower() != ".toml":
        raise InputError("is no .toml file", where=path, remedy=f"call it {path.with_suffix('.toml').name}")
    if path.exists():
        raise InputError("is there already", where=path, remedy="choose another name")
    return write_text(path, TEMPLATE.read_text(encoding="utf-8"))


def _load(path: Path) -> Description:
    if path.is_dir():
        found = sorted(path.glob("*.toml"))
        if len(found) != 1:
            raise InputError(f"holds {len(found)} descriptions (.toml)", where=path, remedy=HOW)
        path = found[0]
    return load(path)
