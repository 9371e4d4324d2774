"""Pieces of the page as HTML: tables, lists of facts, figures. Every text is escaped here."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterable, Mapping
from html import escape

import numpy as np
import pandas as pd

from bayesaffect.report.style import Picture, label


def number(value: object) -> str:
    """A cell's text: whole numbers without decimals, others with three, a dash for what is not known."""
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    if isinstance(value, float | np.floating):
        return "–" if not np.isfinite(value) else f"{value:.0f}" if value == round(value) else f"{value:.3f}"
    return "–" if value is None or value is pd.NA else str(value)


def anchor(title: str) -> str:
    """The id of a section."""
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")


def paragraph(text: str) -> str:
    return f"<p>{escape(text)}</p>"


def listed(lines: Iterable[str]) -> str:
    return "<ul>" + "".join(f"<li>{escape(line)}</li>" for line in lines) + "</ul>"


def scroll(inside: str) -> str:
    """A box that scrolls sideways by itself, so that the page never does."""
    return f'<div class="scroll" tabindex="0">{inside}</div>'


def facts(pairs: Mapping[str, object]) -> str:
    """Label beside sentence, one below the other."""
    rows = "".join(f"<div><dt>{escape(str(k))}</dt><dd>{escape(str(v))}</dd></div>" for k, v in pairs.items())
    return f'<dl class="facts">{rows}</dl>' if rows else ""


def folded(summary: str, body: str) -> str:
    """Closed on the screen, left out on paper unless it was opened."""
    return f"<details><summary>{escape(summary)}</summary>{body}</details>"


def table(
    frame: pd.DataFrame,
    *,
    form: Callable[[object], str] = number,
    strong: pd.DataFrame | None = None,
    row: str = "",
    index: bool = True,
) -> str:
    """A table in its own scrolling box.

    ``strong`` (bool, the frame's shape) marks bold cells and makes all cells numbers whose interval stands below the
    value; ``row`` is the index of an emphasised row.
    """
    numeric = [pd.api.types.is_numeric_dtype(frame[c]) or strong is not None for c in frame.columns]
    head = "".join(
        f"<th{' class=num' if n else ''}>{escape(str(c))}</th>" for c, n in zip(frame.columns, numeric, strict=True)
    )
    lines = []
    for k, (name, values) in enumerate(zip(frame.index, frame.itertuples(index=False), strict=True)):
        cells = []
        for j, value in enumerate(values):
            text = escape(form(value))
            if strong is not None:
                text = re.sub(r"^(\S+) (\[.*\])$", r'\1 <span class="interval">\2</span>', text)
                text = f"<b>{text}</b>" if strong.iat[k, j] else text
            cells.append(f"<td{' class=num' if numeric[j] else ''}>{text}</td>")
        mark = ' class="headline"' if row and name == row else ""
        first = f"<th>{escape(label(str(name)))}</th>" if index else ""
        lines.append(f"<tr{mark}>{first}{''.join(cells)}</tr>")
    kind = "" if strong is None else ' class="scores"'
    corner = f"<th>{escape(str(frame.index.name or ''))}</th>" if index else ""
    return scroll(f"<table{kind}><thead><tr>{corner}{head}</tr></thead><tbody>{''.join(lines)}</tbody></table>")


def figure(picture: Picture, png: bytes, place: int) -> str:
    """A figure with its number and caption; a click shows it in full size, without any script."""
    inches = picture.figure.get_size_inches()
    data, name = base64.b64encode(png).decode(), escape(picture.name)
    width, height = (round(inches[k] * 124) for k in (0, 1))
    image = f'<img alt="{escape(picture.title)}" width="{width}" height="{height}" src="data:image/png;base64,{data}">'
    zoom = (
        f'<input type="checkbox" id="zoom-{name}" class="zoom" aria-label="enlarge figure {place}">'
        f'<label for="zoom-{name}" class="scroll">{image}</label>'
    )
    stop = "" if picture.title.endswith("?") else "."
    caption = f"<b>Figure {place}. {escape(picture.title)}{stop}</b> {escape(picture.caption)}"
    return f'<figure id="figure-{name}">{zoom}<figcaption>{caption}</figcaption></figure>'
