"""The evidence of a study that is small enough to be committed: a page in Markdown, a few figures, two tables."""

from __future__ import annotations

import io
import itertools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from bayesaffect.evaluate.records import records
from bayesaffect.files import atomic, write_text
from bayesaffect.report import tables
from bayesaffect.report.figures.catalogue import catalogue
from bayesaffect.report.figures.scores import score_name
from bayesaffect.report.findings import HEADS, Findings
from bayesaffect.report.style import Picture, label, paper, slug
from bayesaffect.report.words import words

FIGURES, BYTES, DPI = 8, 1_500_000, 110
# in this order of sections a figure is taken from each, then a second one, until there are enough
_SECTIONS = ("scores", "calibration", "weights", "importance", "robustness", "predictions", "subjects", "data")
_TURNS = 3


def write_markdown(findings: Findings, folder: Path, *, command: str) -> Path:
    """Write a study's evidence into ``folder`` and return the path of its page.

    Files, each whole or absent: ``index.md``, whose first line is a comment with ``command``, the one that makes these
    files again; at most eight ``figures/<name>.png`` of at most 1.5 MB in all; ``scores.csv``; ``records.csv`` (the
    flat records that the table of scores is made from: mean scores of every subject, other scores of everybody). No
    signal and no trial of a participant is in any of them but as a dot or a count in a figure. Figures of an earlier
    page that this one no longer shows are removed.
    """
    folder = Path(folder)
    before = _shown(folder / "index.md")
    pictures = list(_drawn(findings, folder / "figures"))
    flat = findings.sheets.get("records")
    if flat is None:
        flat = records(findings.predictives, findings.truth, findings.targets, (), seed=0)
    write_text(folder / "records.csv", flat.to_csv(index=False, float_format="%.6g"))
    write_text(folder / "scores.csv", tables.scores(findings).to_csv(index=False, float_format="%.6g"))
    path = write_text(folder / "index.md", page(findings, pictures, command))
    for name in before - _shown(path):
        (folder / "figures" / name).unlink(missing_ok=True)
    return path


def page(findings: Findings, pictures: Iterable[tuple[str, Picture]], command: str) -> str:
    """The text of the page; ``pictures``: section and figure, which lies beside the page in ``figures``."""
    drawn: dict[str, list[Picture]] = {}
    for section, picture in pictures:
        drawn.setdefault(section, []).append(picture)
    count = itertools.count(1)

    def notes(key: str) -> list[str]:
        return [_plain(sentence) for sentence in findings.notes.get(key, ())]

    def figures(*keys: str) -> list[str]:
        blocks = []
        for key in keys:
            blocks += notes(key) if key != "scores" else []
            blocks += [_figure(picture, next(count)) for picture in drawn.get(key, [])]
        return blocks

    parts = {
        "Summary": [*_summary(findings), *_checks(findings)],
        "Protocol": [_facts(findings.protocol), *notes("protocol")],
        "Scores": [*notes("scores"), *_scores(findings), *figures("scores")],
        "Calibration": figures("calibration"),
        "Weights, importance, robustness": figures("weights", "importance", "robustness"),
        "Predictions": figures("predictions", "subjects", "data"),
        "Diagnostics": _diagnostics(findings),
        "How to reproduce": _reproduce(findings, command),
        "Words and abbreviations": [_facts(words(findings.targets))],
    }
    text = "\n\n".join(f"## {title}\n\n" + "\n\n".join(blocks) for title, blocks in parts.items() if blocks)
    return f"<!-- {_comment(command)} -->\n\n# {_plain(findings.title)}\n\n{text}\n"


def _figure(picture: Picture, number: int) -> str:
    title, stop = _plain(picture.title), "" if picture.title.endswith(("?", ".")) else "."
    told = f"*Figure {number}. {title}{stop}* {_plain(picture.caption)}"
    return f"![{title}](figures/{slug(picture.name)}.png)\n\n{told}"


def _drawn(findings: Findings, folder: Path) -> Iterator[tuple[str, Picture]]:
    """Draw and write figures, a section after the other, as long as there is room."""
    waiting: dict[str, list] = {section: [] for section in _SECTIONS}
    for section, draw in catalogue(findings):
        if section in waiting:
            waiting[section].append(draw)
    left, count = BYTES, 0
    for _ in range(_TURNS):
        for section, draws in waiting.items():
            if count == FIGURES:
                return
            picture = _next(draws)
            if picture is None:
                continue
            png = _png(picture)
            picture.figure.clear()
            if len(png) > left:
                continue
            left, count = left - len(png), count + 1
            with atomic(folder / f"{slug(picture.name)}.png") as temporary:
                temporary.write_bytes(png)
            yield section, picture


def _next(draws: list[Callable[[], Picture | None]]) -> Picture | None:
    """The first of the figures that has something to show; it and those before it are taken off the list."""
    while draws:
        if (picture := draws.pop(0)()) is not None:
            return picture
    return None


@paper
def _png(picture: Picture) -> bytes:
    stream = io.BytesIO()
    picture.figure.savefig(stream, format="png", dpi=DPI, pil_kwargs={"optimize": True}, metadata={"Software": None})
    return stream.getvalue()


def _shown(path: Path) -> set[str]:
    """The names of the figures that a page written by this module shows."""
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    return set(re.findall(r"\]\(figures/([\w.-]+\.png)\)", text)) if text.startswith("<!-- ") else set()


def _summary(findings: Findings) -> list[str]:
    """Sentences under their heads, as on the page: a line per target, and below it what else is said of it."""
    blocks = [_plain(sentence) for _, said in findings.told("") for sentence in said]
    for head in HEADS:
        under = findings.told(head)
        plain = [_plain(sentence) for target, said in under if not target for sentence in said]
        lines = []
        for target, (first, *others) in (each for each in under if each[0]):
            lines.append(f"- **{_plain(target[:1].upper() + target[1:])}**: {_plain(first)}")
            lines += [f"  - {_plain(sentence)}" for sentence in others]
        if under:
            blocks.append(" ".join([f"**{head}.**", *plain]))
        if lines:
            blocks.append("\n".join(lines))
    return blocks


def _checks(findings: Findings) -> list[str]:
    """What the gate refused and what looks wrong; a sentence where there is nothing."""
    if not findings.failures and not findings.cautions:
        return ["No check failed." if findings.doubts else "No check failed and nothing was flagged."]
    count = len(findings.failures)
    failed = f"{count} check{'s' if count > 1 else ''} failed:" if count else "No check failed."
    blocks = [f"**{failed}**" if count else failed, *([_listed(findings.failures)] if count else [])]
    return blocks + (["To be careful with:", _listed(findings.cautions)] if findings.cautions else [])


def _scores(findings: Findings) -> list[str]:
    blocks = []
    for target in findings.targets:
        names = tables.main_scores(findings, target.name)
        if not names:
            continue
        text, best = tables.pivot(findings, target.name, names)
        cells = [
            [f"**{_plain(label(model))}**" if model == findings.headline else _plain(label(model))]
            + [_cell(text.loc[model, n], bool(best.loc[model, n])) for n in names]
            for model in text.index
        ]
        blocks += [f"### {_plain(label(target.name))}", _table(["model", *map(score_name, names)], cells, numbers=True)]
    if not blocks:
        return []
    told = (
        "Value and 90 % interval over subjects; the best value of a column is bold (of coverage the closest to its "
        "level). All scores are in `scores.csv`, those of every subject in `records.csv`."
    )
    return [told, *blocks]


def _cell(text: str, bold: bool) -> str:
    value, _, interval = text.partition(" ")
    return f"{f'**{value}**' if bold and value else value} {interval}".strip()


def _diagnostics(findings: Findings) -> list[str]:
    frame = tables.diagnostics(findings)
    if frame.empty:
        return ["No posterior came with these results."]
    rows = []
    for fit, part in frame.groupby("fit", sort=False):
        ess, divergent = part[["ess_bulk", "ess_tail"]].min().min(), part["divergences"].iloc[0]
        rows.append(
            [
                _plain(label(str(fit))),
                str(len(part)),
                f"{part['r_hat'].max():.3f}",
                f"{ess:.0f}" if np.isfinite(ess) else "–",
                "–" if pd.isna(divergent) else f"{int(divergent)}",
            ]
        )
    head = ["fit", "variables", "largest R-hat", "smallest effective sample size", "divergences"]
    blocks = [_table(head, rows)]
    if findings.repeated:
        blocks += ["Drawn again, more carefully, because the gate refused the first draws:", _listed(findings.repeated)]
    return blocks


def _reproduce(findings: Findings, command: str) -> list[str]:
    blocks = [f"```sh\n{findings.command}\n```"]
    if command != findings.command:
        blocks = ["The study:", *blocks, "This page:", f"```sh\n{command}\n```"]
    if findings.versions:
        blocks.append("Versions: " + ", ".join(f"{_plain(k)} {_plain(v)}" for k, v in findings.versions.items()) + ".")
    if findings.hashes:
        blocks.append(_facts({k: f"`{v}`" for k, v in findings.hashes.items()}, raw=True))
    return blocks


def _facts(pairs: Mapping[str, str], *, raw: bool = False) -> str:
    return "\n".join(f"- **{_plain(k)}**: {v if raw else _plain(v)}" for k, v in pairs.items())


def _listed(sentences: Iterable[str]) -> str:
    return "\n".join(f"- {_plain(sentence)}" for sentence in sentences)


def _table(head: list[str], rows: list[list[str]], *, numbers: bool = False) -> str:
    rule = ["---", *(["---:" if numbers else "---"] * (len(head) - 1))]
    lines = [head, rule, *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def _plain(text: object) -> str:
    """Text that Markdown shows as it is, on one line."""
    line = " ".join(str(text).split())
    return re.sub(r"([\\`*_\[\]<>])", r"\\\1", line)


def _comment(text: str) -> str:
    return " ".join(text.split()).replace("-->", "-- >")
