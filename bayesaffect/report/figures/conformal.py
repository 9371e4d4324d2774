"""Conformal sets beside Bayesian ones: how often they hold the truth of each person, and how large they are."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from scipy.stats import binom

from bayesaffect.evaluate.conformal import ALL, carried
from bayesaffect.report.findings import Findings, natural
from bayesaffect.report.style import DOUBLE, FAINT, GRID, INK, Picture, colours, label, panels, paper

MOST_NAMES = 24
CONFORMAL = "#5B5B5B"


@paper
def conformal(findings: Findings, *, level: float | None = None) -> Picture | None:
    """Per target: coverage (left) and size (right) of both kinds of sets, per person, at one level (`carried`)."""
    sheet = findings.sheets.get("conformal")
    if sheet is None or sheet.empty:
        return None
    level = carried(sheet) if level is None else level
    rows = sheet[((sheet["level"] - level).abs() < 1e-9) & sheet["method"].isin(["bayes", "conformal"])]
    targets = [t for t in findings.targets if (rows["target"] == t.name).any()]
    if not targets:
        return None
    ink = {"bayes": colours(findings.modalities, findings.models)[findings.headline], "conformal": CONFORMAL}
    figure, grid = panels(len(targets), 2, width=DOUBLE, height=0.35 + 1.75 * len(targets))
    told = []
    for (left, right), target in zip(grid, targets, strict=True):
        part = rows[rows["target"] == target.name]
        each = part[part["subject"] != ALL]
        order = sorted(each["subject"].unique(), key=natural)
        trials = each[each["method"] == "bayes"].set_index("subject")["trials"].loc[order].to_numpy()
        low, high = (binom.ppf(q, trials, level) / trials for q in (0.05, 0.95))
        at = np.arange(len(order))
        edge = np.append(at - 0.5, at[-1] + 0.5)
        left.stairs(high, edge, baseline=low, fill=True, color="#E2E2E2", lw=0, zorder=0)
        left.axhline(level, color=FAINT, lw=0.8, ls=(0, (4, 3)), zorder=1)
        for axes, column in ((left, "coverage"), (right, "size")):
            _people(axes, each, order, column, ink)
        whole = part[part["subject"] == ALL].set_index("method")
        left.set_ylim(max(0, np.floor(10 * min(each["coverage"].min(), low.min()) - 0.2) / 10), 1.03)
        left.set_title(target.name)
        left.set_ylabel("share of truths inside")
        right.set_ylim(0, 1.08 * each["size"].max())
        if target.kind == "categorical":
            right.set_ylabel(f"classes in the set (of {len(target.levels)})")
        else:
            right.set_ylabel("width of the interval (rating)")
        covered = " and ".join(f"{100 * whole.loc[m, 'coverage']:.1f} %" for m in ("bayes", "conformal"))
        sizes = " and ".join(f"{whole.loc[m, 'size']:.2f}" for m in ("bayes", "conformal"))
        told.append(f"{target.name}: they hold {covered} of truths with mean sizes {sizes}")
    handles, words = grid[0, 0].get_legend_handles_labels()
    words = [f"Bayesian sets of {label(findings.headline)}" if w == "bayes" else "conformal sets" for w in words]
    figure.legend(handles, words, loc="outside upper center", ncols=2, handletextpad=0.3, columnspacing=1.6)
    caption = (
        f"Every dot is a person. Left: how often sets that promise {100 * level:.0f} % (dashed) hold the truth; in the "
        "grey band a person's share differs from the promise by no more than chance (90 % range if trials were "
        "independent). Right: mean size of the sets; small is good only where the promise is kept. Conformal sets take "
        "from the model only the order in which it lets answers in, and are calibrated on all other people. "
        + (
            "The last class that a set lets in is let in with the chance that makes the promise exact, so that sizes "
            "need not be whole numbers. "
            if any(t.kind == "categorical" for t in targets)
            else ""
        )
        + f"Bayesian, then conformal: {'; '.join(told)}."
    )
    return Picture("conformal", "Do the promises hold for each person, and at what price?", caption, figure)


def _people(axes: Axes, each: pd.DataFrame, order: list[str], column: str, ink: dict[str, str]) -> None:
    """Both methods of every person, joined by a line."""
    table = each.pivot(index="subject", columns="method", values=column).loc[order]
    at = np.arange(len(order))
    axes.vlines(at, table.min(axis=1), table.max(axis=1), color="#C9C9C9", lw=0.8, zorder=2)
    for method, shape in (("bayes", "o"), ("conformal", "s")):
        filled = ink[method] if method == "bayes" else "white"
        big = 4.2 if len(order) <= MOST_NAMES else 3
        style = {"mfc": filled, "mec": ink[method], "mew": 0.8, "ms": big if method == "bayes" else big + 0.8}
        above = 4 if method == "bayes" else 3
        axes.plot(at, table[method], shape, color=ink[method], label=method, zorder=above, clip_on=False, **style)
    axes.set_xlim(-0.7, len(order) - 0.3)
    axes.grid(axis="y", color=GRID, lw=0.5)
    if len(order) <= MOST_NAMES:
        longest = max(len(str(s)) for s in order)
        turned = 90 if longest * len(order) > 36 else 0
        axes.set_xticks(at, order, rotation=turned, fontsize=6.5, color=INK)
    else:
        axes.set_xticks([])
        axes.set_xlabel(f"{len(order)} people, by name")
    axes.tick_params(axis="x", length=0)
