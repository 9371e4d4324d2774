"""One self-contained HTML page with its figures and tables beside it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from html import escape
from pathlib import Path

import numpy as np
import pandas as pd

from bayesaffect.files import write_json, write_text
from bayesaffect.report import brief, sections, tables
from bayesaffect.report.compare import TOLD
from bayesaffect.report.drawing import Drawn, draw, fitted
from bayesaffect.report.figures.catalogue import catalogue
from bayesaffect.report.figures.scores import score_name
from bayesaffect.report.findings import Findings
from bayesaffect.report.latex import latex
from bayesaffect.report.markup import anchor, figure
from bayesaffect.report.page_style import document
from bayesaffect.report.people import cards
from bayesaffect.report.style import label, slug


def write_report(findings: Findings, folder: Path) -> Path:
    """Write the report of a study and return the path of its page.

    Files, each whole or absent: ``index.html`` (needs no other file, no script and no network), ``scores.csv`` and
    ``scores.json``, ``findings.json`` (what `bayesaffect.report.compare` reads), ``figures/<name>.png``, ``.pdf`` and
    ``.svg``, ``tables/<name>.csv`` and ``.tex``.
    """
    folder = Path(folder)
    drawn = fitted(draw(catalogue(findings), folder / "figures"))
    written = sheets(findings)
    table = tables.scores(findings)
    write_text(folder / "scores.csv", table.to_csv(index=False))
    write_json(folder / "scores.json", [{k: _plain(v) for k, v in row.items()} for row in table.to_dict("records")])
    write_tables(written | {"scores": table}, findings, folder / "tables")
    write_json(folder / TOLD, about(findings))
    text = page(findings, drawn, written["diagnostics"])
    return write_text(folder / "index.html", text)


def about(findings: Findings) -> dict:
    """What a study tells about itself, for those who set studies side by side (``findings.json``)."""
    return {
        "title": findings.title,
        "command": findings.command,
        "targets": {t.name: list(t.levels) if t.kind == "categorical" else list(t.bounds) for t in findings.targets},
        "headline": findings.headline,
        "modalities": list(findings.modalities),
        "subjects": len(findings.data),
        "trials": int(findings.data["trials"].sum()),
        "summary": list(findings.summary),
        "protocol": {str(k): str(v) for k, v in findings.protocol.items()},
        "failures": list(findings.failures),
        "cautions": list(findings.cautions),
        "versions": dict(findings.versions),
        "hashes": dict(findings.hashes),
    }


def _plain(value):
    """A number or text that JSON can hold; NaN becomes null."""
    value = value.item() if isinstance(value, np.generic) else value
    return None if isinstance(value, float) and not np.isfinite(value) else value


def sheets(findings: Findings) -> dict[str, pd.DataFrame]:
    """Name -> flat table of everything the page tells but the scores; those given by the study win."""
    made = {
        "data": findings.data.reset_index(),
        "omissions": tables.omissions(findings),
        "weights": tables.weights(findings),
        "subjects": tables.subjects(findings).reset_index(),
        "diagnostics": tables.diagnostics(findings),
    }
    if findings.differences is not None:
        made["differences"] = findings.differences
    return made | dict(findings.sheets)


def write_tables(written: Mapping[str, pd.DataFrame], findings: Findings, folder: Path) -> None:
    """Each table as CSV and LaTeX, and per target models by main scores as a paper prints them."""
    for name, sheet in written.items():
        write_text(folder / f"{name}.csv", sheet.to_csv(index=False))
        caption = f"{name.capitalize()}. {findings.title}"
        write_text(folder / f"{name}.tex", latex(sheet, caption=caption, name=slug(name)))
    for target in findings.targets:
        names = tables.main_scores(findings, target.name)
        if not names:
            continue
        text, best = tables.pivot(findings, target.name, names)
        text.columns = [score_name(c) for c in names]
        text.insert(0, "model", [label(m) for m in text.index])
        best.insert(0, "model", False)
        caption = f"Scores of {target.name}: value and 90 % interval over subjects. {findings.title}"
        name = slug(f"scores_{target.name}")
        write_text(folder / f"{name}.tex", latex(text, caption=caption, name=name, strong=best))
        write_text(folder / f"{name}.csv", text.to_csv(index=False))


def page(findings: Findings, drawn: Mapping[str, list[Drawn]], diagnostics: pd.DataFrame) -> str:
    """The whole page as text; ``drawn``: section -> its figures in order."""
    places = {f.picture.name: k + 1 for k, f in enumerate(f for key in sections.SECTIONS for f in drawn.get(key, []))}

    def figures(key: str, only: Callable[[str], bool] = lambda name: True) -> str:
        chosen = (f for f in drawn.get(key, []) if only(f.picture.name))
        return "".join(figure(f.picture, f.png, places[f.picture.name]) for f in chosen)

    head = f'<h1 class="name">{escape(findings.title)}</h1>'
    bodies = {
        "summary": head
        + brief.banner(findings, diagnostics)
        + brief.tiles(findings)
        + brief.summary(findings)
        + figures("summary"),
        "protocol": sections.protocol(findings),
        "failed": sections.failed(findings),
        "data": sections.data(findings) + figures("data") + sections.omissions(findings),
        "scores": sections.scores(findings) + figures("scores"),
        "weights": sections.weights(findings) + figures("weights"),
        "subjects": figures("subjects") + cards(findings) + sections.subjects(findings),
        "diagnostics": sections.diagnostics(diagnostics) + figures("diagnostics"),
        "reproduce": sections.reproduce(findings),
    }
    parts = []
    for key, title in sections.SECTIONS.items():
        body = brief.notes(findings, key) + bodies.get(key, figures(key)) + sections.sheets(findings, key)
        if body:
            name = f"<h2>{escape(title)}</h2>" if key != "summary" else ""
            parts.append((anchor(title), title, f"{name}{body}"))
    return document(findings.title, parts, made_by=findings.command)
