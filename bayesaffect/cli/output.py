"""What verbs print: tables, counts, where the results are, and what to do next."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from rich import box
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table

from bayesaffect.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

    from bayesaffect.report.findings import Findings
    from bayesaffect.types import Trials

console = Console()
LISTED = 8
UNLIMITED = 10_000


def say(*lines: str):
    """Print lines as they are: no markup, no wrapping of paths."""
    for line in lines:
        console.print(line, markup=False, soft_wrap=True)


def command() -> str:
    """The command as it was typed."""
    return " ".join(["bayesaffect", *sys.argv[1:]])


def folder(path: Path) -> Path:
    """``path``, if it is a folder or may become one; asked before anything long begins.

    Raises
    ------
    InputError : the path, or what should hold it, is a file.
    """
    there = next((place for place in (path, *path.parents) if place.exists()), path)
    if there.is_file():
        raise InputError("is a file", where=there, remedy="name a folder")
    return path


def print_table(frame: pd.DataFrame, title: str):
    """A data frame for the terminal; the first column stands left, numbers right.

    Where the terminal is too narrow, intervals stand below their values, and columns closer, before words are broken.
    """
    beside = [[_cell(value) for value in row] for row in frame.itertuples(index=False)]
    below = [[cell.replace(" [", "\n[") for cell in row] for row in beside]
    unlimited = console.options.update(width=UNLIMITED)
    for rows, gap in ((beside, 2), (below, 2), (below, 1)):
        out = _laid(frame, title, rows, gap)
        if Measurement.get(console, unlimited, out).maximum <= console.width:
            break
    console.print("", out)


def _cell(value: object) -> str:
    return f"{value:.{1 if abs(value) >= 100 else 3}f}" if isinstance(value, float) else str(value)


def _laid(frame: pd.DataFrame, title: str, rows: list[list[str]], gap: int) -> Table:
    style = {"box": box.SIMPLE_HEAD, "show_edge": False, "padding": (0, gap - 1, 0, 0), "pad_edge": False}
    out = Table(title=title, title_justify="left", title_style="bold", **style)
    for k, name in enumerate(frame.columns):
        text = k == 0 or (frame[name].dtype == object and frame[name].astype(str).str.len().max() > 16)
        out.add_column(str(name), justify="left" if text else "right", overflow="fold")
    for row in rows:
        out.add_row(*row)
    return out


def print_trials(trials: Trials, workspace: Path, *, sessions: pd.DataFrame, counts: str, listing: bool):
    """What was prepared; with ``listing`` a row for every session and every omission."""
    number = trials.present.sizes["trial"]
    say(f"{number} trials of {len(set(map(str, trials.subject.values)))} subjects")
    for modality, count in zip(trials.modalities, trials.present.values.sum(0), strict=True):
        say(f"  {modality}: {count} trials, missing in {number - count}")
    say(f"sessions: {counts}, listed in {workspace / 'prepared' / 'sessions.csv'}")
    if listing:
        say(*_lines(sessions))
    say(f"left out or masked: {len(trials.omissions)}, listed in {workspace / 'prepared' / 'omissions.csv'}")
    shown = trials.omissions if listing else trials.omissions[:LISTED]
    say(*(f"  {o.scope} {o.where}: {o.what}" + (f"; {o.remedy}" if o.remedy else "") for o in shown))
    if rest := len(trials.omissions) - len(shown):
        say(f"  ... and {rest} more (--list prints all)")


def _lines(sessions: pd.DataFrame) -> list[str]:
    """A line per session: wide reasons wrap in a terminal's table, and a line can be searched for."""
    widths = {name: sessions[name].astype(str).str.len().max() for name in ("session", "outcome", "modalities")}
    return [
        "  " + "  ".join(str(row[name]).ljust(width) for name, width in widths.items()) + f"  {row['why']}".rstrip()
        for _, row in sessions.iterrows()
    ]


def print_findings(findings: Findings, page: Path):
    """What failed, the summary, and where the page is."""
    heads = {line.partition(":")[0]: line for line in reversed(findings.summary)}  # the first line of each head
    say(*(f"diagnostics: {failure}" for failure in findings.failures[:5]), *reversed(heads.values()), f"page: {page}")


def end(findings: Findings, strict: bool):
    """Exit with code 3 if diagnostics failed and that was asked for."""
    if strict and findings.failures:
        raise typer.Exit(3)
