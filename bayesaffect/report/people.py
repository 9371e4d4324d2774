"""One card per subject: what they said against what was predicted, and which sensor counted for them."""

from __future__ import annotations

from collections.abc import Callable
from html import escape

import numpy as np

from bayesaffect.evaluate import scores
from bayesaffect.report import measure
from bayesaffect.report.figures.weights import quantiles
from bayesaffect.report.findings import Findings, natural
from bayesaffect.report.style import colours, label, scale
from bayesaffect.types import Target

_WIDTH, _HEIGHT, _LEFT = 320.0, 62.0, 22.0
_MOST = 120


def cards(findings: Findings) -> str:
    """Cards of all subjects in a grid, with a legend above; empty without any prediction of a known truth.

    Per continuous target: a strip of the trials in order, the truth as a tick, the fused mean as a dot, its 90 %
    interval as a line. Per categorical target: a bar per trial, as high as the probability of the true level, darker
    where the true level was the most probable. Per target a bar divided by the modalities' median weights.
    """
    makers = {t.name: m for t in findings.targets if (m := _maker(findings, t))}
    if not makers:
        return ""
    ink = colours(findings.modalities, findings.models)
    shares = {name: _medians(findings, name) for name in findings.weights}
    people = sorted((str(s) for s in findings.data.index), key=natural)
    body = []
    for person in people:
        strips = "".join(maker(person) for maker in makers.values())
        bars = "".join(_bar(name, share[person], ink) for name, share in shares.items() if person in share)
        if bars:
            bars = f'<div class="shares"><h4>weights</h4>{bars}</div>'
        trials = int(findings.data["trials"].loc[_index(findings, person)])
        body.append(
            f'<article class="card"><h3>{escape(person)} <span>{trials} trial{"s" if trials != 1 else ""}</span></h3>'
            f"{strips}{bars}</article>"
        )
    return _legend(findings, ink) + f'<div class="cards">{"".join(body)}</div>'


def _index(findings: Findings, person: str):
    return next(s for s in findings.data.index if str(s) == person)


def _legend(findings: Findings, ink: dict[str, str]) -> str:
    parts = []
    if findings.continuous:
        parts.append(
            "Ratings: trials in order from left to right; black tick: what the person said; dot and line: the fused "
            "mean and its 90 % interval (dark where the interval misses what was said)."
        )
    if findings.categorical:
        parts.append(
            "Classes: a bar per trial, as high as the probability given to what was true; full colour where that was "
            "the most probable class, pale where another one was; dashed: guessing among equally likely classes."
        )
    names = list(dict.fromkeys(str(m) for share in findings.weights.values() for m in share["modality"].values))
    keys = "".join(f'<span><i style="background:{ink[m]}"></i>{escape(label(m))}</span>' for m in names if m in ink)
    if keys:
        keys = f'<p class="keys"><b>Weights</b> {keys}</p>'
    return f'<p class="how">{escape(" ".join(parts))}</p>{keys}'


def _maker(findings: Findings, target: Target) -> Callable[[str], str] | None:
    """Person -> strip of ``target``; ``None`` without predictions."""
    if target.kind == "categorical":
        found = measure.classes(findings, findings.headline, target.name)
        return None if found is None else lambda person: _class_strip(found, target, person)
    found = measure.ratings(findings, findings.headline, target.name)
    if found is None:
        return None
    bounds = tuple(target.from_unit(q) for q in scores.interval(found.mean, found.variance, 0.9))
    return lambda person: _rating_strip(found, bounds, target, person)


def _head(target: Target, told: str) -> str:
    return f"<h4>{escape(label(target.name))} <span>{escape(told)}</span></h4>"


def _svg(inside: str, title: str) -> str:
    return f'<svg viewBox="0 0 {_WIDTH:.0f} {_HEIGHT:.0f}" role="img" aria-label="{escape(title)}">{inside}</svg>'


def _places(count: int) -> tuple[np.ndarray, float]:
    """Centres of ``count`` trials along the strip, and the room each has."""
    room = (_WIDTH - _LEFT - 2) / max(count, 8)
    return _LEFT + room * (np.arange(count) + 0.5), room


def _thinned(rows: np.ndarray) -> np.ndarray:
    """At most 120 trials, evenly spaced: more would touch one another."""
    return rows if rows.size <= _MOST else rows[np.linspace(0, rows.size - 1, _MOST).round().astype(int)]


def _rating_strip(found: measure.Ratings, bounds: tuple, target: Target, person: str) -> str:
    mine = np.flatnonzero(found.subject == person)
    if not mine.size:
        return _head(target, "no prediction")
    truth = target.from_unit(found.truth[mine])
    inside = (bounds[0][mine] <= truth) & (truth <= bounds[1][mine])
    error = np.sqrt(np.mean((target.from_unit(found.mean[:, mine].mean(0)) - truth) ** 2))
    told = f"{inside.sum()} of {mine.size} inside, RMSE {error:.2f}"
    rows = _thinned(mine)
    truth, mean = target.from_unit(found.truth[rows]), target.from_unit(found.mean[:, rows].mean(0))
    low, high = bounds[0][rows], bounds[1][rows]
    bottom, top = target.bounds

    def y(value):
        return np.round(4 + (_HEIGHT - 8) * (top - np.clip(value, bottom, top)) / (top - bottom), 1)

    x, room = _places(rows.size)
    half = min(3.0, 0.4 * room)
    parts = [
        f'<text x="{_LEFT - 4:.0f}" y="{y(v) + 3:.0f}">{v:g}</text>'
        f'<path class="rule" d="M{_LEFT:.0f} {y(v)}H{_WIDTH:.0f}"/>'
        for v in (bottom, top)
    ]
    for at, t, m, a, b in zip(np.round(x, 1), truth, mean, low, high, strict=True):
        kind = "hit" if a <= t <= b else "miss"
        parts.append(
            f'<g class="{kind}"><path d="M{at} {y(a)}V{y(b)}"/><circle cx="{at}" cy="{y(m)}" r="{min(2.2, half):.1f}"/>'
            f'</g><path class="truth" d="M{at - half:.1f} {y(t)}h{2 * half:.1f}"/>'
        )
    return _head(target, told) + _svg("".join(parts), f"{target.name} of {person}, rated {scale(target)}: {told}")


def _class_strip(found: measure.Classes, target: Target, person: str) -> str:
    mine = np.flatnonzero(found.subject == person)
    if not mine.size:
        return _head(target, "no prediction")
    right = found.prob[mine].argmax(1) == found.label[mine]
    told = f"{right.sum()} of {mine.size} right"
    rows = _thinned(mine)
    chance = found.prob[rows, found.label[rows]]
    right = found.prob[rows].argmax(1) == found.label[rows]
    x, room = _places(rows.size)
    floor, tall = _HEIGHT - 4, _HEIGHT - 8
    level = floor - tall / len(target.levels)
    parts = [f'<text x="{_LEFT - 4:.0f}" y="{v + 3:.0f}">{t}</text>' for v, t in ((4, "1"), (floor, "0"))]
    parts.append(f'<path class="rule" d="M{_LEFT:.0f} {floor}H{_WIDTH:.0f}"/>')
    wide = max(0.72 * room, 0.8)
    for at, p, ok in zip(x, chance, right, strict=True):
        parts.append(
            f'<rect class="{"right" if ok else "wrong"}" x="{at - wide / 2:.1f}" y="{floor - tall * p:.1f}" '
            f'width="{wide:.1f}" height="{max(tall * p, 0.5):.1f}"/>'
        )
    parts.append(f'<path class="chance" d="M{_LEFT:.0f} {level:.1f}H{_WIDTH:.0f}"/>')
    return _head(target, told) + _svg("".join(parts), f"{target.name} of {person}: {told}")


def _medians(findings: Findings, target: str) -> dict[str, dict[str, float]]:
    """Subject -> modality -> median weight; a modality that the subject lacks is left out."""
    share = findings.weights[target].transpose("sample", "subject", "modality")
    middle, names = quantiles(share)[2], [str(m) for m in share["modality"].values]
    return {
        str(person): {m: float(v) for m, v in zip(names, values, strict=True) if np.isfinite(v)}
        for person, values in zip(share["subject"].values, middle, strict=True)
    }


def _bar(target: str, share: dict[str, float], ink: dict[str, str]) -> str:
    """Medians need not sum to 1: the bar shows their proportions, and nothing of a modality below zero."""
    there = {m: max(v, 0.0) for m, v in share.items()}
    total = sum(there.values()) or 1.0
    told = ", ".join(f"{label(m)} {100 * v / total:.0f} %" for m, v in there.items())
    pieces = "".join(
        f'<i style="width:{100 * v / total:.1f}%;background:{ink.get(m, "#999")}"></i>' for m, v in there.items()
    )
    return (
        f'<div class="share" role="img" aria-label="{escape(f"weights for {target}: {told}")}" title="{escape(told)}">'
        f"<span>{escape(label(target))}</span><div>{pieces}</div></div>"
    )
