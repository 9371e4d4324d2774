"""Categorical targets: reliability, confusion, and the receiver operating characteristic."""

from __future__ import annotations

import numpy as np
from matplotlib.colors import LinearSegmentedColormap

from bayesaffect.evaluate.calibration import ece, reliability_curve
from bayesaffect.report import measure
from bayesaffect.report.findings import Findings
from bayesaffect.report.style import FAINT, GRID, INK, Picture, colours, label, panels, paper, place_labels, slug
from bayesaffect.types import Target


def _shown(findings: Findings, target: str) -> list[str]:
    """Headline, best single modality, equal weights: what a reader wants to compare."""
    names = [findings.headline, findings.best_single(target), "equal", "early"]
    return [m for m in dict.fromkeys(names) if m and measure.classes(findings, m, target)][:3]


@paper
def reliability(findings: Findings, target: Target) -> Picture | None:
    """Accuracy against confidence with a calibrated model's band, above a histogram of confidence."""
    names = _shown(findings, target.name)
    if not names:
        return None
    ink = colours(findings.modalities, findings.models)
    figure, grid = panels(
        2,
        len(names),
        height=3.3,
        width=2.4 * len(names) if len(names) > 1 else 3.5,
        sharex=True,
        sharey="row",
        height_ratios=[3, 1],
    )
    told = []
    for column, model in zip(grid.T, names, strict=True):
        top, bottom = column
        c = measure.classes(findings, model, target.name)
        # few trials: fewer, fuller bins are drawn; the printed ECE keeps the 15 bins of the scores table
        curve = reliability_curve(c.prob, c.label, bins=int(np.clip(c.label.size // 20, 5, 15)))
        reported = findings.value(model, target.name, "ece")
        error = ece(c.prob, c.label, bins=15) if reported is None else float(reported["value"])
        x = curve["confidence"].to_numpy()
        top.plot([0, 1], [0, 1], color=FAINT, lw=0.8, ls=(0, (4, 3)), zorder=1)
        top.vlines(x, curve["band_low"], curve["band_high"], color="#D5D5D5", lw=5, zorder=1)
        size = 10 + 60 * curve["trials"] / curve["trials"].max()
        top.plot(x, curve["frequency"], color=ink[model], lw=1.0, zorder=2)
        top.scatter(x, curve["frequency"], s=size, color=ink[model], edgecolor="white", linewidth=0.5, zorder=3)
        top.set_title(label(model))
        corner = {"transform": top.transAxes, "va": "bottom", "ha": "right", "fontsize": 7}
        # below the diagonal: bands of the few trials of low confidence reach to the top
        top.text(0.97, 0.04, f"ECE {error:.3f}\n{c.label.size} trials", **corner)
        low = max(0.0, np.floor(10 / len(target.levels)) / 10)
        top.set_xlim(low, 1.01)
        top.set_ylim(-0.02, 1.04)
        top.grid(color=GRID, lw=0.5)
        bottom.hist(
            c.prob.max(1),
            bins=np.linspace(0, 1, 31),
            weights=np.full(c.label.size, 100 / c.label.size),
            color=ink[model],
            alpha=0.85,
        )
        bottom.set_xlabel("confidence")
        within = int(
            ((curve["frequency"] >= curve["band_low"] - 1e-9) & (curve["frequency"] <= curve["band_high"] + 1e-9)).sum()
        )
        told.append(f"{label(model)}: ECE {error:.3f}, {within} of {len(curve)} bins within")
    grid[0, 0].set_ylabel("share correct")
    grid[1, 0].set_ylabel("trials (%)")
    caption = (
        "A calibrated model lies on the diagonal; grey bars: where chance alone puts a calibrated "
        f"model's bins 90 % of the time. {'; '.join(told)}."
    )
    return Picture(
        slug(f"reliability_{target.name}"), f"Reliability of the {target.name} probabilities", caption, figure
    )


@paper
def confusion(findings: Findings, target: Target) -> Picture | None:
    """Rows: true level; columns: most probable level; shade: share of the row; numbers: percent and count."""
    c = measure.classes(findings, findings.headline, target.name)
    if c is None:
        return None
    size = len(target.levels)
    count = np.zeros((size, size), int)
    np.add.at(count, (c.label, c.prob.argmax(1)), 1)
    share = count / np.maximum(count.sum(1, keepdims=True), 1)
    side = float(np.clip(1.4 + 0.42 * size, 2.6, 6.4))
    figure, grid = panels(1, 1, height=side * 0.92, width=side + (0.3 if size > 3 else 0.75))
    axes = grid[0, 0]
    tint = LinearSegmentedColormap.from_list("tint", ["#FFFFFF", "#9CC7E4", "#0072B2", "#003E63"])
    axes.imshow(share, cmap=tint, vmin=0, vmax=1, aspect="equal")
    for row in range(size):
        for column in range(size):
            ink = "white" if share[row, column] > 0.45 else (INK if count[row, column] else "#B0B0B0")
            text = f"{100 * share[row, column]:.0f} %\n{count[row, column]}" if count[row, column] else "0"
            axes.text(
                column, row, text, ha="center", va="center", fontsize=6 if size > 5 else 8, color=ink, linespacing=1.05
            )
    names = [label(level) for level in target.levels]
    long = max(map(len, names)) > 4 and size > 3
    axes.set_xticks(
        range(size), names, rotation=40 if long else 0, ha="right" if long else "center", rotation_mode="anchor"
    )
    axes.set_yticks(range(size), [f"{n} ({count[k].sum()})" for k, n in enumerate(names)])
    axes.set_xlabel("most probable")
    axes.set_ylabel("true (trials)")
    axes.tick_params(length=0)
    axes.set_xticks(np.arange(size + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(size + 1) - 0.5, minor=True)
    axes.grid(which="minor", color="white", lw=1.2)
    axes.tick_params(which="minor", length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    caption = (
        f"What {label(findings.headline)} calls each level: share of the row and number of trials; the "
        f"diagonal is right ({np.trace(count)} of {count.sum()} trials, "
        f"{100 * np.trace(count) / count.sum():.1f} %)."
    )
    off = np.where(np.eye(size, dtype=bool), -1.0, share)
    if size > 2 and off.max() > 0:
        row, column = np.unravel_index(off.argmax(), off.shape)
        caption += (
            f" Most frequent confusion: {names[row]} called {names[column]} ({count[row, column]} of "
            f"{count[row].sum()})."
        )
    return Picture(slug(f"confusion_{target.name}"), f"Confusion of {target.name}", caption, figure)


@paper
def roc(findings: Findings, target: Target) -> Picture | None:
    """Receiver operating characteristic of every model; two levels only, the second is the positive one."""
    if len(target.levels) != 2:
        return None
    lines = {}
    for model in findings.models:
        c = measure.classes(findings, model, target.name)
        if c is not None and 0 < (c.label == 1).sum() < c.label.size:
            lines[model] = measure.roc(c.prob[:, 1], c.label == 1)
    if not lines:
        return None
    ink = colours(findings.modalities, findings.models)
    figure, grid = panels(1, 1, height=3.1, width=4.4)
    axes = grid[0, 0]
    axes.plot([0, 1], [0, 1], color=FAINT, lw=0.8, ls=(0, (4, 3)))
    for model, (fpr, tpr, _) in lines.items():
        strong = model == findings.headline
        axes.plot(fpr, tpr, color=ink[model], lw=2.2 if strong else 1.0, zorder=3 if strong else 2)
    axes.set_xlim(-0.01, 1.01)
    axes.set_ylim(-0.01, 1.01)
    axes.set_aspect("equal")
    axes.set_xlabel(f"false positive rate ({target.levels[0]} called {target.levels[1]})")
    axes.set_ylabel(f"true positive rate ({target.levels[1]} found)")
    axes.grid(color=GRID, lw=0.5)
    order = sorted(lines, key=lambda m: -lines[m][2])
    heights = {m: 0.98 - 0.075 * k for k, m in enumerate(order)}
    place_labels(axes, 1.02, heights, ink, gap=0.07, bold=findings.headline)
    for text, model in zip(axes.texts, sorted(heights, key=heights.get), strict=True):
        text.set_text(f"{label(model)}  {_auroc(findings, model, target.name, lines[model][2]):.3f}")
    axes.annotate(
        "area under the curve",
        (1.02, 0.98 - 0.075 * len(order)),
        xytext=(3, 0),
        textcoords="offset points",
        fontsize=6.5,
        color=FAINT,
        va="center",
        annotation_clip=False,
    )
    caption = (
        f"How well “{target.levels[1]}” is told from “{target.levels[0]}” at every threshold, all trials "
        f"pooled; the list is ordered by area, {label(order[0])} leads."
    )
    return Picture(slug(f"roc_{target.name}"), f"Receiver operating characteristic of {target.name}", caption, figure)


def _auroc(findings, model, target, area):
    """The area as the scores table has it, so that page and table never disagree; else the curve's own."""
    row = findings.value(model, target, "auroc")
    return area if row is None or not np.isfinite(row["value"]) else float(row["value"])
