"""Draw the figures of a catalogue and write their files."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from bayesaffect.progress import track
from bayesaffect.report.style import Picture, save

ROOM = 5_000_000  # bytes of pictures that a page holds: base64 makes a third more of them, and tables need some, too


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


def fitted(drawn: Mapping[str, Sequence[Drawn]], room: int = ROOM) -> dict[str, list[Drawn]]:
    """The same figures; if they are larger than ``room`` together, the largest get 256 colours until they fit.

    Only the page's copies change: the files keep all their colours.
    """
    out = {section: list(figures) for section, figures in drawn.items()}
    total = sum(len(f.png) for figures in out.values() for f in figures)
    places = [(section, k) for section, figures in out.items() for k in range(len(figures))]
    for section, k in sorted(places, key=lambda place: -len(out[place[0]][place[1]].png)):
        if total <= room:
            break
        one = out[section][k]
        small = _fewer_colours(one.png)
        if len(small) < len(one.png):
            total -= len(one.png) - len(small)
            out[section][k] = one._replace(png=small)
    return out


def _fewer_colours(png: bytes) -> bytes:
    """256 colours instead of all; as it was where a pixel in a thousand would change by more than 16 of 255 steps."""
    stream = io.BytesIO()
    with Image.open(io.BytesIO(png)) as image:
        full = image.convert("RGB")
        few = full.quantize(256, dither=Image.Dither.NONE)
    step = np.abs(np.asarray(full, dtype=int) - np.asarray(few.convert("RGB"), dtype=int)).max(-1)
    if np.quantile(step, 0.999) > 16:
        return png
    few.save(stream, "PNG", optimize=True)
    return stream.getvalue()
