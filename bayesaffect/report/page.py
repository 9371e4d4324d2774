"""One self-contained HTML page with its figures and tables beside it."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from html import escape
from pathlib import Path

import mne
import numpy as np
import pandas as pd

from bayesaffect.files import atomic, write_json, write_text
from bayesaffect.progress import track
from bayesaffect.report import tables
from bayesaffect.report.figures import catalogue
from bayesaffect.report.figures_scores import ORDER, score_name, sorted_scores
from bayesaffect.report.findings import Findings
from bayesaffect.report.page_style import CSS
from bayesaffect.report.style import Picture, label, save, scale

_LONG = 12


def write_report(findings: Findings, folder: Path) -> Path:
    """Write the report of a study and return the path of its page.

    Files, each whole or absent: ``index.html`` (needs no other file and no network), ``scores.csv`` and
    ``scores.json``, ``figures/<name>.png`` and ``.pdf``, ``tables/<name>.csv``.
    """
    folder = Path(folder)
    drawn: dict[str, list[tuple[Picture, bytes]]] = {}
    for section, draw in track(catalogue(findings), "figures"):
        picture = draw()
        if picture is not None:
            drawn.setdefault(section, []).append((picture, save(picture, folder / "figures").read_bytes()))
            picture.figure.clear()
    sheets = {
        "data": findings.data.reset_index(),
        "omissions": tables.omissions(findings),
        "weights": tables.weights(findings),
        "subjects": tables.subjects(findings).reset_index(),
        "diagnostics": tables.diagnostics(findings),
    }
    if findings.differences is not None:
        sheets["differences"] = findings.differences
    table = tables.scores(findings)
    write_text(folder / "scores.csv", table.to_csv(index=False))
    write_json(folder / "scores.json", [{k: _plain(v) for k, v in row.items()} for row in table.to_dict("records")])
    for name, sheet in sheets.items():
        write_text(folder / "tables" / f"{name}.csv", sheet.to_csv(index=False))
    _write_page(findings, drawn, sheets, folder / "index.html")
    return folder / "index.html"


def _plain(value):
    """A number or text that JSON can hold; NaN becomes null."""
    value = value.item() if isinstance(value, np.generic) else value
    return None if isinstance(value, float) and not np.isfinite(value) else value


def _write_page(findings: Findings, drawn: dict, sheets: dict[str, pd.DataFrame], path: Path) -> None:
    numbering = {}
    for pictures in drawn.values():
        for picture, _ in pictures:
            numbering[picture.name] = len(numbering) + 1

    def figures(section: str) -> str:
        return "".join(_figure(p, png, numbering[p.name]) for p, png in drawn.get(section, []))

    parts: list[tuple[str, str]] = [
        ("Summary", _summary(findings, sheets["diagnostics"])),
        ("Protocol", _definitions(findings.protocol)),
        ("Data", _data(findings) + figures("data") + _omissions(findings)),
        ("Scores", _scores(findings) + figures("scores")),
        ("Calibration", figures("calibration")),
        ("Predictions", figures("predictions")),
        ("Weights", _weights(sheets["weights"]) + figures("weights") + _discounts(findings)),
        ("Subject by subject", _subjects(sheets["subjects"]) + figures("subjects")),
        ("Diagnostics", _diagnostics(sheets["diagnostics"]) + _repeated(findings) + figures("diagnostics")),
        ("How to reproduce", _reproduce(findings)),
    ]
    report = mne.Report(title=findings.title, verbose=False)
    report.add_custom_css(CSS)
    for title, body in parts:
        if body:
            report.add_html(f'<div class="ba">{body}</div>', title=title, tags=("report",))
    with atomic(path) as temporary:
        report.save(temporary, open_browser=False, overwrite=True, verbose=False)
        made_by = f"<!-- made by: {findings.command.replace('-->', '')} -->\n"
        temporary.write_text(made_by + temporary.read_text(encoding="utf-8"), encoding="utf-8")
        text = temporary.read_text(encoding="utf-8")
        # the base page links to its maker's home; nothing here should point outside
        text = re.sub(r'<a\b[^>]*\bhref="https?://[^"]*"[^>]*>(.*?)</a>', r"\1", text, flags=re.S)
        temporary.write_text(text, encoding="utf-8")


def _summary(findings: Findings, diagnostics: pd.DataFrame) -> str:
    sentences = "".join(f"<p>{escape(s)}</p>" for s in findings.summary)
    title = f'<h1 class="name">{escape(findings.title)}</h1>'
    return f'{title}{_banner(findings, diagnostics)}<div class="lead">{sentences}</div>'


def _banner(findings: Findings, diagnostics: pd.DataFrame) -> str:
    """Red with the gate's failures; else green; amber if none was reported although the chains look bad."""
    if findings.failures:
        lines = "".join(f"<li>{escape(f)}</li>" for f in findings.failures)
        count = len(findings.failures)
        head = f"{count} check{'s' if count > 1 else ''} failed: read the results below with this in mind."
        return f'<div class="banner failed" role="alert"><strong>{head}</strong><ul>{lines}</ul></div>'
    if diagnostics.empty:
        told = "No posterior came with these results."
        return f'<div class="banner passed"><strong>All diagnostics passed.</strong> {told}</div>'
    counted = diagnostics.drop_duplicates("fit")["divergences"].dropna().sum()
    rhat, least = diagnostics["r_hat"].max(), diagnostics[["ess_bulk", "ess_tail"]].min().min()
    told = (
        f"Largest R-hat {rhat:.3f}, smallest effective sample size {least:.0f}, {counted:.0f} divergent "
        "transitions recorded."
    )
    if rhat >= 1.01 or least <= 400 or counted > 0:
        head = "No failure was reported, but the chains are not beyond doubt."
        return f'<div class="banner doubtful"><strong>{head}</strong> {told}</div>'
    return f'<div class="banner passed"><strong>All diagnostics passed.</strong> {told}</div>'


def _definitions(pairs) -> str:
    rows = "".join(f"<tr><th>{escape(str(k))}</th><td>{escape(str(v))}</td></tr>" for k, v in pairs.items())
    return _wrap(f'<table class="facts">{rows}</table>') if rows else ""


def _wrap(table: str) -> str:
    return f'<div class="scroll" tabindex="0">{table}</div>'


def _table(
    frame: pd.DataFrame,
    *,
    form: Callable[[object], str] = lambda v: str(v),
    strong: pd.DataFrame | None = None,
    row: str = "",
) -> str:
    """A table whose cells are escaped; ``strong`` marks bold cells, ``row`` the index of an emphasised row."""
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
        lines.append(f"<tr{mark}><th>{escape(label(str(name)))}</th>{''.join(cells)}</tr>")
    kind = "" if strong is None else ' class="scores"'
    return _wrap(f"<table{kind}><thead><tr><th></th>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table>")


def _number(value: object) -> str:
    if isinstance(value, float):
        return "–" if not np.isfinite(value) else f"{value:.0f}" if value == round(value) else f"{value:.3f}"
    return "–" if value is None or value is pd.NA else str(value)


def _data(findings: Findings) -> str:
    total = findings.data["trials"].sum()
    facts = {"Subjects": len(findings.data), "Trials": f"{total:.0f}"}
    facts |= {
        f"With {label(m)}": f"{findings.data[m].sum():.0f} ({100 * findings.data[m].sum() / max(total, 1):.1f} %)"
        for m in findings.modalities
    }
    for target in findings.targets:
        values = findings.truth[target.name].values
        known = np.isfinite(values) & ((values >= 0) | (target.kind == "continuous"))
        legal = scale(target) if target.bounds else ", ".join(target.levels)
        facts[f"Target {target.name}"] = f"{legal}; known for {int(known.sum())} trials"
    return _definitions(facts)


def _omissions(findings: Findings) -> str:
    if not findings.omissions:
        return "<h3>Left out</h3><p>Nothing was left out.</p>"
    short = tables.grouped(findings.omissions)
    frame = (
        short.drop(columns="count")
        .assign(count=short["count"])[["count", "scope", "where", "remedy"]]
        .set_axis(short["reason"])
    )
    out = f"<h3>Left out</h3><p>{len(findings.omissions)} in all, by reason:</p>" + _table(frame)
    every = tables.omissions(findings).set_index("where")
    if len(every) <= 500 and len(every) > len(short):
        out += f"<details><summary>All {len(every)} one by one</summary>{_table(every)}</details>"
    return out


def _scores(findings: Findings) -> str:
    out = []
    for target in findings.targets:
        rows = findings.scores[findings.scores["target"] == target.name]
        names = sorted_scores(rows.dropna(subset=["value"])["score"])
        for part, wrap in (
            ([n for n in names if n in ORDER][:7], "{}"),
            (names, "<details><summary>Every score</summary>{}</details>"),
        ):
            if not part or (wrap != "{}" and len(names) <= 7):
                continue
            text, best = tables.pivot(findings, target.name, part)
            text.columns = [score_name(c) for c in text.columns]
            out.append(
                ("" if wrap != "{}" else f"<h3>{escape(target.name)}</h3>")
                + wrap.format(_table(text, strong=best, row=findings.headline))
            )
    note = (
        "<p>Value and, in brackets, its interval over subjects; the best value of a column is bold (for "
        "coverage: the closest to its nominal level).</p>"
    )
    return note + "".join(out) if out else ""


def _weights(table: pd.DataFrame) -> str:
    rows = table[table["subject"] == "(mean)"]
    if rows.empty:
        return ""
    text = [f"{r.median:.3f} [{r.q05:.3f}, {r.q95:.3f}]" for r in rows.itertuples()]
    wide = rows.assign(text=text).pivot(index="target", columns="modality", values="text")
    wide = wide.loc[list(dict.fromkeys(rows["target"])), list(dict.fromkeys(rows["modality"]))].fillna("–")
    wide.columns = [label(c) for c in wide.columns]
    wide.columns.name = None
    none = pd.DataFrame(False, index=wide.index, columns=wide.columns)
    return (
        "<p>A modality's weight is its share of the fused posterior. Mean over subjects, median and 90 % interval:</p>"
        + _table(wide, strong=none)
    )


def _discounts(findings: Findings) -> str:
    """Posterior of what poor signals cost, for the fits that learned it."""
    found = findings.discounts
    if not found:
        return ""
    rows = {}
    for fit, share in found.items():
        low, half, high = np.quantile(share.transpose("sample", "modality").values, (0.05, 0.5, 0.95), axis=0)
        names = [label(str(m)) for m in share["modality"].values]
        text = [f"{b:.2f} [{a:.2f}, {c:.2f}]" for a, b, c in zip(low, half, high, strict=True)]
        rows[fit] = dict(zip(names, text, strict=True))
    wide = pd.DataFrame.from_dict(rows, orient="index").fillna("–")
    none = pd.DataFrame(False, index=wide.index, columns=wide.columns)
    return (
        "<h3>What a poor signal costs</h3><p>Share of its strength that an opinion loses when the quality of its "
        "signal falls from 1 to 0: 0 means that quality is no guide to errors, 1 that an opinion on a useless signal "
        "is ignored. What is left divides the error's standard deviation of a rating, and multiplies the weight of "
        "class probabilities. Median and 90 % interval:</p>" + _table(wide, strong=none)
    )


def _subjects(table: pd.DataFrame) -> str:
    body = _table(table.set_index("subject"), form=_number)
    return (
        body
        if len(table) <= _LONG
        else f"<details><summary>Table of all {len(table)} subjects</summary>{body}</details>"
    )


def _diagnostics(table: pd.DataFrame) -> str:
    if table.empty:
        return ""
    out = []
    for fit, rows in table.groupby("fit", sort=False):
        frame = rows.set_index("variable")[["elements", "r_hat", "ess_bulk", "ess_tail"]]
        frame = frame.assign(ess_bulk=frame["ess_bulk"].round(), ess_tail=frame["ess_tail"].round())
        frame.columns = ["elements", "largest R-hat", "smallest bulk ESS", "smallest tail ESS"]
        count = rows["divergences"].iloc[0]
        told = "divergences were not recorded" if pd.isna(count) else f"{int(count)} divergent transitions"
        out.append(
            f"<h3>{escape(label(str(fit)))}</h3><p>{told[0].upper() + told[1:]}.</p>" + _table(frame, form=_number)
        )
    return "".join(out)


def _repeated(findings: Findings) -> str:
    lines = "".join(f"<li>{escape(sentence)}</li>" for sentence in findings.repeated)
    return f"<h3>Fits that were drawn again, more carefully</h3><ul>{lines}</ul>" if lines else ""


def _reproduce(findings: Findings) -> str:
    seeds = {k: v for k, v in findings.protocol.items() if "seed" in k.lower()}
    versions = _definitions({**seeds, **findings.versions})
    command = f'<pre class="command">{escape(findings.command)}</pre>'
    return f"<p>The command that makes this study again:</p>{command}{versions}"


def _figure(picture: Picture, png: bytes, number: int) -> str:
    inches = picture.figure.get_size_inches()[0]
    data, name = base64.b64encode(png).decode(), escape(picture.name)
    image = f'<img alt="{escape(picture.title)}" style="width:{inches * 128:.0f}px" src="data:image/png;base64,{data}">'
    zoom = (
        f'<input type="checkbox" id="zoom-{name}" class="zoom"><label for="zoom-{name}" class="scroll">{image}</label>'
    )
    stop = "" if picture.title.endswith("?") else "."
    caption = f"<b>Figure {number}. {escape(picture.title)}{stop}</b> {escape(picture.caption)}"
    return f'<figure id="figure-{name}">{zoom}<figcaption>{caption}</figcaption></figure>'
