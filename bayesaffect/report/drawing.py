"""Draw the figures of a catalogue and write their files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from bayesaffect.progress import track
from bayesaffect.report.style import Picture, save


class Drawn(NamedTuple):
    """A figure whose files are written, and its PNG."""

    picture: Picture
    png: bytes


def draw(catalogue: Sequence[tuple[str, Callable[[], Picture | None]]], folder: Path) -> dict[str, list[Drawn]]:
    """Section -> its figures, in the order of the catalogue; functions that return ``None`` have nothing to show."""
    out: dict[str, list[Drawn]] = {}
    for section, function in track(catalogue, "figures"):
        picture = function()
        if picture is not None:
            png = save(picture, folder).read_bytes()
            out.setdefault(section, []).append(Drawn(picture, png))
            picture.figure.clear()
    return out
