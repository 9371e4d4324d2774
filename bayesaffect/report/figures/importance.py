"""What each modality is worth: predictions by every subset, and Shapley values."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from bayesaffect.evaluate.coalitions import plan as plan_of
from bayesaffect.report.findings import Findings, natural
from bayesaffect.report.style import (
    DOUBLE,
    FAINT,
    GRID,
    INK,
    PALE,
    PRIOR,
    Picture,
    colours,
    label,
    markers,
    panels,
    paper,
)

_TOTAL = "#D55E00"


def _sheet(findings: Findings, name: str) -> pd.DataFrame | None:
    table = findings.sheets.get(name)
    return None if table is None or table.empty else table


def _interval(row) -> str:
    return f"{row.value:.2f} [{row.low:.2f}, {row.high:.2f}]"


@paper
def subsets(findings: Findings) -> Picture | None:
    """A line per subset of modalities: which are there (filled dots), and the NLL of predictions made with them."""
    table = _sheet(findings, "subsets")
    if table is None or (table["size"] > 0).sum() == 0:
        return None
    again = table[table["score"] == "nll_refit"].set_index(["target", "subset"])["value"]
    table = table[table["score"] == "nll"]
    players = [m for m in findings.modalities if m in set(table.loc[table["size"] == 1, "subset"])]
    targets = list(dict.fromkeys(table["target"]))
    plan = plan_of(players)
    known = dict(zip(plan.names, plan.coalitions, strict=True))
    members = {name: known[name] for name in dict.fromkeys(table["subset"])}
    order = sorted(members, key=lambda name: (len(members[name]), [players.index(m) for m in members[name]]))
    size = [len(members[name]) for name in order]
    # a gap between sizes
    y = np.array([k + 0.6 * size[k] for k in range(len(order))])
    ink, shape = colours(findings.modalities, findings.models), markers(findings.modalities, findings.models)
    small = len(order) > 20
    figure, grid = panels(
        1,
        1 + len(targets),
        height=0.75 + (0.115 if small else 0.16) * (y[-1] + 1),
        sharey=True,
        width_ratios=[max(0.55, 0.16 * len(players)), *[1.0] * len(targets)],
    )
    left = grid[0, 0]
    for k, name in enumerate(order):
        there = [players.index(m) for m in members[name]]
        left.plot(range(len(players)), [y[k]] * len(players), "o", color=GRID, ms=3.6 if small else 4.4, mew=0)
        if len(there) > 1:
            left.plot([there[0], there[-1]], [y[k]] * 2, color=FAINT, lw=0.8)
        for p in there:
            left.plot(p, y[k], shape[players[p]], color=ink[players[p]], ms=3.8 if small else 4.8, mew=0, zorder=3)
    left.set_xticks(range(len(players)), [label(m) for m in players], rotation=90 if len(players) > 3 else 45)
    left.set_xlim(-0.6, len(players) - 0.4)
    left.set_yticks([])
    left.set_title("given")
    left.tick_params(axis="x", length=0)
    for side in ("left", "bottom"):
        left.spines[side].set_visible(False)
    told = []
    for axes, target in zip(grid[0, 1:], targets, strict=True):
        rows = table[table["target"] == target].set_index("subset")
        whole = rows.loc[order[-1]]
        axes.axvline(whole["value"], color=_TOTAL, lw=0.6, ls=(0, (4, 3)), zorder=1)
        for k, name in enumerate(order):
            row = rows.loc[name]
            colour = _ink(members[name], players, ink)
            axes.plot([row["low"], row["high"]], [y[k]] * 2, color=colour, lw=1.2, solid_capstyle="butt")
            mark = shape[name] if size[k] == 1 else "o"
            axes.plot(row["value"], y[k], mark, color=colour, ms=4.4, mec="white", mew=0.4, zorder=3)
            if (target, name) in again.index and size[k]:
                axes.plot(again[target, name], y[k], "|", color=INK, ms=6, mew=1.0, zorder=4)
        axes.set_title(target)
        axes.set_xlabel("NLL (nats per trial)\nlower is better")
        axes.grid(axis="x", color=GRID, lw=0.5)
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        axes.locator_params(axis="x", nbins=4)
        best = rows.loc[[n for n in order if 0 < len(members[n]) < len(players)] or order, "value"].idxmin()
        told.append(
            f"{target}: all {whole['value']:.2f}, best without at least one ({_words(members[best])}) "
            f"{rows.loc[best, 'value']:.2f}"
        )
    for line, k in enumerate(size):
        if line and k != size[line - 1]:
            for axes in grid[0]:
                axes.axhline((y[line] + y[line - 1]) / 2, color=GRID, lw=0.6)
    left.set_ylim(y[-1] + 0.8, -0.8)
    caption = (
        "Late fusion given only some modalities (marks on the left; none: how often, or how high, those trained on "
        "answered), all on the same trials, held out from the fit. Bars: 90 % intervals over subjects; dashed: all. "
        "The fit is the one that saw all modalities, asked with the others missing, which is exact for ratings."
        + (
            " For classes, the upright stroke is a simple pool of probabilities fitted to this subset alone; where it "
            "lies well to the left, late fusion makes less of the subset than can be made of it."
            if len(again)
            else ""
        )
        + (
            f" Only {len(order)} of the {2 ** len(players)} sets were asked for."
            if len(order) < 2 ** len(players)
            else ""
        )
        + f" {'; '.join(told)}."
    )
    return Picture("subsets", "What if a sensor is missing?", caption, figure)


def _ink(members: Sequence[str], players: Sequence[str], ink: dict[str, str]) -> str:
    if not members:
        return PRIOR
    return ink[members[0]] if len(members) == 1 else _TOTAL if len(members) == len(players) else INK


def _words(members: Sequence[str]) -> str:
    return " + ".join(map(label, members)) or "none"


@paper
def shapley(findings: Findings) -> Picture | None:
    """Bars that start where the last one ended and add up to what all modalities gain; above, alone and last."""
    table, removed = _sheet(findings, "shapley"), _sheet(findings, "removed")
    if table is None:
        return None
    targets = list(dict.fromkeys(table["target"]))
    names = [m for m in findings.modalities if m in set(table["modality"])]
    ink = colours(findings.modalities, findings.models)
    lines = [*names, "total"]
    figure, grid = panels(1, len(targets), height=0.85 + 0.3 * len(lines), width=DOUBLE, sharey=True)
    told = []
    for axes, target in zip(grid[0], targets, strict=True):
        rows = table[table["target"] == target].set_index("modality")
        start = 0.0
        for k, name in enumerate(lines):
            row, colour = rows.loc[name], ink.get(name, _TOTAL)
            base = 0.0 if name == "total" else start
            axes.barh(k, row["value"], 0.5, left=base, color=colour, alpha=0.85, lw=0, zorder=2)
            axes.plot([base + row["low"], base + row["high"]], [k, k], color=INK, lw=0.9, zorder=4)
            if name != "total":
                start = base + row["value"]
                axes.plot([start, start], [k - 0.25, k + 1.25], color=FAINT, lw=0.6, zorder=3)
                if removed is not None:
                    _alone_and_last(axes, removed[removed["target"] == target], name, base, k, colour)
        axes.axvline(0, color=INK, lw=0.7)
        axes.set_title(target)
        axes.set_xlabel("nats per trial gained over the prior")
        axes.grid(axis="x", color=GRID, lw=0.5)
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        axes.locator_params(axis="x", nbins=5)
        total = rows.loc["total"]
        first = rows.drop("total")["value"].idxmax()
        most = (
            f"most is gained by {label(first)}" if rows.loc[first, "value"] > 0 else f"least is lost by {label(first)}"
        )
        told.append(f"{target}: {_interval(total)} in all, {most} {_interval(rows.loc[first])}")
    grid[0, 0].set_yticks(range(len(lines)), [label(m) for m in lines])
    grid[0, 0].set_ylim(len(lines) - 0.5, -0.7)
    sampled = "monte_carlo" in table and (table["monte_carlo"] > 0).any()
    caption = (
        "Shapley values: what a modality adds to the mean log score, averaged over all orders in which modalities can "
        "be added; each bar starts where the one above it ended, so that they end at the total. Lines: 90 % intervals "
        "over subjects of a bar's own length, drawn from its start. Open triangles, from the same start: what the "
        "modality gains alone (up) and what it adds when all others are there (down); far apart where modalities "
        "tell the same."
        + (f" Orders were sampled; standard error of that at most {table['monte_carlo'].max():.3f}." if sampled else "")
        + f" {'; '.join(told)}."
    )
    return Picture("shapley", "What each modality is worth", caption, figure)


def _alone_and_last(axes, rows: pd.DataFrame, name: str, base: float, k: int, colour: str):
    value = rows[rows["modality"] == name].set_index("measure")["value"]
    for measure, mark, shift in (("alone", "^", -0.36), ("last", "v", 0.36)):
        if measure in value:
            axes.plot(base + value[measure], k + shift, mark, color="white", mec=colour, ms=3.6, mew=0.9, zorder=5)


@paper
def leaning(findings: Findings) -> Picture | None:
    """Who leans on what: Shapley values of every subject's own score, a dot each, over the mean with its interval."""
    table, whole = _sheet(findings, "leaning"), _sheet(findings, "shapley")
    if table is None or whole is None or table["subject"].nunique() < 2:
        return None
    targets = list(dict.fromkeys(table["target"]))
    names = [m for m in findings.modalities if m in set(table["modality"])]
    people = sorted(dict.fromkeys(table["subject"].astype(str)), key=natural)
    ink, shape = colours(findings.modalities, findings.models), markers(findings.modalities, findings.models)
    figure, grid = panels(1, len(targets), height=0.8 + 0.36 * len(names), sharey=True)
    told = []
    for axes, target in zip(grid[0], targets, strict=True):
        wide = table[table["target"] == target].pivot(index="subject", columns="modality", values="value")
        wide = wide.reindex(people)[names]
        mean = whole[whole["target"] == target].set_index("modality")
        for k, name in enumerate(names):
            if k % 2 == 0:
                axes.axhspan(k - 0.5, k + 0.5, color=PALE, lw=0, zorder=0)
            jitter = np.random.default_rng(0).uniform(-0.13, 0.13, len(people))
            axes.plot(wide[name], k + 0.18 + jitter, "o", color=ink[name], ms=2.6, alpha=0.5, mew=0)
            axes.plot(mean.loc[name, ["low", "high"]].astype(float), [k - 0.22] * 2, color=ink[name], lw=1.4)
            axes.plot(mean.loc[name, "value"], k - 0.22, shape[name], color="white", mec=ink[name], ms=4.4, mew=1.1)
        axes.axvline(0, color=INK, lw=0.7)
        axes.set_ylim(len(names) - 0.5, -0.5)
        axes.set_title(target)
        axes.set_xlabel("nats per trial (Shapley value)")
        axes.grid(axis="x", color=GRID, lw=0.5)
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        axes.locator_params(axis="x", nbins=5)
        lead = wide.dropna(how="all").idxmax(axis=1).value_counts()
        told.append(f"{target}: worth most is {', '.join(f'{label(m)} for {n}' for m, n in lead.items())}")
    grid[0, 0].set_yticks(range(len(names)), [label(m) for m in names])
    caption = (
        "Dots: Shapley values of each person's own mean log score, from that person's trials alone (noisy with few "
        "trials); left of zero a modality made predictions for this person worse. Above the dots, all people with "
        f"their 90 % interval. {'; '.join(told)} of {len(people)} subjects."
    )
    return Picture("leaning", "Whom does which sensor help?", caption, figure)
