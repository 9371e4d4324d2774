"""The head of the page: what went wrong, the scores in cards, and the summary under its five heads."""

from __future__ import annotations

from html import escape

import numpy as np
import pandas as pd

from bayesaffect.report.findings import HEADS, Findings
from bayesaffect.report.markup import anchor, listed, paragraph
from bayesaffect.report.sections import SECTIONS, WORDS
from bayesaffect.report.style import label, scale

SHOWN = 3  # failures in the banner: more of them would push the findings off the first screen
MEANT = (
    "The computation behind probabilities and intervals may not have settled: they may change if it is run for longer."
)


def banner(findings: Findings, diagnostics: pd.DataFrame) -> str:
    """Red with the gate's failures; else green; amber if none was reported although the chains look bad.

    Cautions follow in amber.
    """
    return _verdict(findings, diagnostics) + _cautions(findings)


def _verdict(findings: Findings, diagnostics: pd.DataFrame) -> str:
    if findings.failures:
        count = len(findings.failures)
        head = f"{count} check{'s' if count > 1 else ''} failed: read the results below with this in mind."
        return _box("failed", head, paragraph(MEANT) + listed(findings.failures[:SHOWN]) + _rest(count), role="alert")
    if diagnostics.empty:
        return _box("passed", "All diagnostics passed.", " No posterior came with these results.")
    counted = diagnostics.drop_duplicates("fit")["divergences"].dropna().sum()
    rhat, least = diagnostics["r_hat"].max(), diagnostics[["ess_bulk", "ess_tail"]].min().min()
    told = (
        f" Largest R-hat {rhat:.3f}, smallest effective sample size {least:.0f}, {counted:.0f} divergent "
        "transitions recorded."
    )
    if rhat >= 1.01 or least <= 400 or counted > 0:
        return _box("doubtful", "No failure was reported, but the chains are not beyond doubt.", told)
    return _box("passed", "All diagnostics passed.", told)


def _rest(count: int) -> str:
    """Where the failures stand that the banner has no room for."""
    if count <= SHOWN:
        return ""
    return f'<p>And {count - SHOWN} more: <a href="#{anchor(SECTIONS["failed"])}">{escape(SECTIONS["failed"])}</a>.</p>'


def _cautions(findings: Findings) -> str:
    if not findings.cautions:
        return ""
    one = len(findings.cautions) == 1
    head = f"{'One thing' if one else f'{len(findings.cautions)} things'} to be careful with."
    return _box("doubtful", head, listed(findings.cautions))


def _box(kind: str, head: str, body: str, *, role: str = "note") -> str:
    return f'<div class="banner {kind}" role="{role}"><strong>{escape(head)}</strong>{body}</div>'


def summary(findings: Findings) -> str:
    """Sentences under their heads; those without one first."""
    lead = "".join(_told(*each) for each in findings.told(""))
    rows = ""
    for head in HEADS:
        if body := "".join(_told(*each) for each in findings.told(head)):
            rows += f"<div><dt>{escape(head)}</dt><dd>{body}</dd></div>"
    return (f'<div class="lead">{lead}</div>' if lead else "") + (f'<dl class="brief">{rows}</dl>' if rows else "")


def _told(target: str, sentences: list[str]) -> str:
    """What is said of a target: the first sentence beside its name, each of the others on a line of its own."""
    first, *others = sentences
    name = f"<b>{escape(target[:1].upper() + target[1:])}</b>: " if target else ""
    return f"<p>{name}{escape(first)}</p>" + (listed(others) if others else "")


def _about(findings: Findings, sentence: str) -> int:
    """Which target a sentence begins with; as many as there are targets if with none."""
    names = [t.name.lower() for t in findings.targets]
    name, colon, _ = sentence.partition(": ")
    return names.index(name.lower()) if colon and name.lower() in names else len(names)


def _led(findings: Findings, sentence: str) -> str:
    """The target that a sentence is about stands out."""
    if _about(findings, sentence) == len(findings.targets):
        return escape(sentence)
    name, _, rest = sentence.partition(": ")
    return f"<b>{escape(name[:1].upper() + name[1:])}</b>: {escape(rest)}"


def notes(findings: Findings, section: str) -> str:
    """What is said at the head of a section: a paragraph, or a list with the sentences on a target together."""
    told = findings.notes.get(section, ())
    if len(told) < 2:
        return "".join(map(paragraph, told))
    lines = sorted(told, key=lambda sentence: _about(findings, sentence))
    return f"<ul>{''.join(f'<li>{_led(findings, s)}</li>' for s in lines)}</ul>"


def tiles(findings: Findings) -> str:
    """One card per target: the score a reader asks for first, beside guessing, and how honest the model is."""
    cards = []
    for target in findings.targets:
        chosen = "accuracy" if target.kind == "categorical" else "rmse"
        row = findings.value(findings.headline, target.name, chosen)
        if row is None or not np.isfinite(row["value"]):
            continue
        share = chosen == "accuracy"
        lines = []
        if (guess := findings.value("prior", target.name, chosen)) is not None and np.isfinite(guess["value"]):
            lines.append(f"guessing: {_shown(guess['value'], share)}")
        if share and (error := findings.value(findings.headline, target.name, "ece")) is not None:
            lines.append(f"calibration error (ECE): {error['value']:.3f} [{error['low']:.3f}, {error['high']:.3f}]")
        if not share and (held := findings.value(findings.headline, target.name, "coverage90")) is not None:
            reach = f"[{100 * held['low']:.0f} %, {100 * held['high']:.0f} %]"
            lines.append(f"90 % intervals hold {100 * held['value']:.0f} % {reach}")
        what = "accuracy" if share else f"RMSE, rated {scale(target)}"
        bounds = f"{_shown(row['low'], share)} to {_shown(row['high'], share)}"
        bounds = f"90 % interval {bounds}"
        cards.append(
            f'<div class="tile"><h2>{escape(label(target.name))}</h2>'
            f'<p class="big">{_shown(row["value"], share)}</p><p>{what}<br>{bounds}</p>'
            f"<p class=soft>{'<br>'.join(lines)}</p></div>"
        )
    return f'<div class="tiles">{"".join(cards)}</div><p class="how">{WORDS}</p>' if cards else ""


def _shown(value: float, share: bool) -> str:
    return f"{100 * value:.0f} %" if share else f"{value:.2f}"
