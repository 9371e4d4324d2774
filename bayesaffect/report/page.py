"""One self-contained HTML page with its figures and tables beside it."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from html import escape
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from bayesaffect.files import write_json, write_text
from bayesaffect.report import brief, sections, tables
from bayesaffect.report.compare import TOLD
from bayesaffect.report.drawing import Drawn, draw, fitted
from bayesaffect.report.figures.catalogue import catalogue
from bayesaffect.report.figures.scores import score_name
from bayesaffect.report.findings import Findings
from bayesaffect.report.latex import latex
from bayesaffect.report.markup import anchor, facts, figure
from bayesaffect.report.page_style import document
from bayesaffect.report.people import cards
from bayesaffect.report.style import ENDINGS, label, slug
from bayesaffect.report.words import words


def write_report(findings: Findings, folder: Path) -> Path:
    """Write the report of a study and return the path of its page.

    Files, each whole or absent: ``index.html`` (needs no other file, no script and no network), ``scores.csv`` and
    ``scores.json``, ``findings.json`` (what `bayesaffect.report.compare` reads), ``figures/<name>.png``, ``.pdf`` and
    ``.svg``, ``tables/<name>.csv`` and ``.tex``. Figures and tables of an earlier page that this one does not have are
    removed, so that nothing of other settings lies beside it.
    """
    folder = Path(folder)
    before = _made(folder)
    drawn = fitted(draw(catalogue(findings), folder / "figures"))
    written = sheets(findings)
    table = tables.scores(findings)
    write_text(folder / "scores.csv", table.to_csv(index=False))
    write_json(folder / "scores.json", [{k: _plain(v) for k, v in row.items()} for row in table.to_dict("records")])
    told = write_tables(written | {"scores": table}, findings, folder / "tables")
    made = [f"figures/{f.picture.name}{end}" for group in drawn.values() for f in group for end in ENDINGS]
    made += [f"tables/{name}{end}" for name in told for end in (".csv", ".tex")]
    write_json(folder / TOLD, about(findings) | {"files": sorted(made)})
    text = page(findings, drawn, written["diagnostics"])
    path = write_text(folder / "index.html", text)
    for name in before - set(made):
        (folder / name).unlink(missing_ok=True)
    return path


def _made(folder: Path) -> set[str]:
    """The figures and tables of the page that is there; none where nothing (readable) is."""
    try:
        names = json.loads((folder / TOLD).read_text(encoding="utf-8")).get("files", [])
    except (OSError, ValueError, AttributeError):
        return set()
    return {name for name in names if re.fullmatch(r"(figures|tables)/[\w-][\w.-]*", name)}


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
        "people": people(findings.truth),
    }


def people(truth: xr.Dataset) -> dict[str, str]:
    """Subject -> digest of the subject's trials and what was true of them: the same in two studies of the same person
    and recordings, and of nobody else who happens to have the same name."""
    frame = truth.to_dataframe().reset_index()
    columns = ["trial", *sorted(str(name) for name in truth.data_vars)]
    return {
        str(subject): hashlib.sha256(rows[columns].sort_values("trial").to_csv(index=False).encode()).hexdigest()[:16]
        for subject, rows in frame.groupby(frame["subject"].astype(str))
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


def write_tables(written: Mapping[str, pd.DataFrame], findings: Findings, folder: Path) -> list[str]:
    """Each table as CSV and LaTeX, and per target models by main scores as a paper prints them; their names."""
    names_of = list(written)
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
        names_of.append(name)
    return names_of


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
        "robustness": sections.robustness(findings) + figures("robustness"),
        "subjects": figures("subjects") + cards(findings) + sections.subjects(findings),
        "diagnostics": sections.diagnostics(diagnostics) + figures("diagnostics"),
        "reproduce": sections.reproduce(findings),
        "words": facts(words(findings.targets)),
    }
    parts = []
    for key, title in sections.SECTIONS.items():
        body = brief.notes(findings, key) + bodies.get(key, figures(key)) + sections.sheets(findings, key)
        if body:
            name = f"<h2>{escape(title)}</h2>" if key != "summary" else ""
            parts.append((anchor(title), title, f"{name}{body}"))
    return document(findings.title, parts, made_by=findings.command)
