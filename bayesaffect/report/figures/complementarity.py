"""Do modalities err together, and for whom and when does fusion help?"""

from __future__ import annotations

import numpy as np
import pandas as pd

from bayesaffect.report.findings import Findings, natural
from bayesaffect.report.style import FAINT, GRID, INK, PALE, Picture, label, panels, paper, slug

HELPED, HURT = "#0072B2", "#D55E00"
_SHOWN = (("correlation", "correlation of errors", "RdBu_r"), ("oracle_gap", "oracle gap", "Blues"))
_BY = {
    "subject": ("people", "helped_subjects", "For whom does fusion help?"),
    "emotion": ("emotions", "helped_emotions", "With which emotions does fusion help?"),
    "stimulus": ("stimuli", "helped_stimuli", "With which stimuli does fusion help?"),
}
_ROWS = 60


@paper
def pairs(findings: Findings) -> Picture | None:
    """Heat maps, a row per target: correlation of errors, and what knowing whom to believe would gain."""
    table = findings.sheets.get("pairs")
    if table is None or table.empty:
        return None
    names = [m for m in findings.modalities if m in {*table["a"], *table["b"]}]
    targets = list(dict.fromkeys(table["target"]))
    wide = len(targets) > 1 and len(names) <= 4
    rows, columns = (2, len(targets)) if wide else (len(targets), 2)
    cell = 0.34 if len(names) > 4 else 0.4
    figure, grid = panels(rows, columns, height=rows * (0.55 + cell * (len(names) - 1)))
    told = []
    for i, target in enumerate(targets):
        part = table[table["target"] == target]
        continuous = findings.target(target).kind == "continuous"
        for j, (measure, title, colour_map) in enumerate(_SHOWN):
            axes = grid[(j, i) if wide else (i, j)]
            here = part[part["measure"] == measure]
            unit = "" if measure == "correlation" else " (RMSE)" if continuous else " (accuracy)"
            reach = (-1, 1) if measure == "correlation" else (0, max(here["value"].max(), 1e-6) * 1.4)
            _triangle(axes, here, names, colour_map, reach)
            axes.set_title(f"{target}: {title}{unit}")
        gap = part[part["measure"] == "oracle_gap"].set_index(["a", "b"])["value"].dropna()
        if not gap.empty:
            a, b = gap.idxmax()
            told.append(f"{target}: most to gain from {label(a)} and {label(b)} ({gap.max():.2f})")
    caption = (
        "Every pair of modalities, on the trials that both predict. Correlation of errors (ratings: of signed errors; "
        "classes: of being right or wrong): 1, the two fail together; 0, independently. Oracle gap: what somebody who "
        "knew each time whom of the two to believe would gain over the better one; chance alone makes it larger than "
        "zero, and nobody knows whom to believe each time. 90 % intervals over subjects are in tables/pairs.csv."
    )
    return Picture("pairs", "Do modalities err together?", f"{caption} {'; '.join(told)}.", figure)


def _triangle(axes, rows: pd.DataFrame, names: list[str], colour_map: str, reach: tuple[float, float]):
    """The lower triangle with its numbers."""
    m = len(names)
    values = np.full((m, m), np.nan)
    for a, b, value in zip(rows["a"], rows["b"], rows["value"], strict=True):
        i, j = sorted((names.index(a), names.index(b)))
        values[j, i] = value
    axes.imshow(values[1:, :-1], cmap=colour_map, vmin=reach[0], vmax=reach[1], aspect="auto")
    for j, i in np.argwhere(np.isfinite(values)):
        strong = abs(values[j, i]) > 0.65 * max(abs(reach[0]), abs(reach[1]))
        axes.text(
            i, j - 1, f"{values[j, i]:.2f}", ha="center", va="center", fontsize=7, color="white" if strong else INK
        )
    axes.set_xticks(range(m - 1), [label(n) for n in names[:-1]], rotation=0 if m <= 4 else 45)
    axes.set_yticks(range(m - 1), [label(n) for n in names[1:]])
    axes.tick_params(length=0)
    for side in axes.spines.values():
        side.set_visible(False)


@paper
def helped(findings: Findings, by: str) -> Picture | None:
    """Forest: NLL of fusion minus NLL of the best single modality, a line per subject, emotion or stimulus."""
    table = findings.sheets.get("helped")
    table = None if table is None else table[table["by"] == by]
    if table is None or table.empty or table["group"].nunique() > _ROWS:
        return None
    what, name, title = _BY[by]
    targets = list(dict.fromkeys(table["target"]))
    groups = sorted(dict.fromkeys(table["group"].astype(str)), key=natural)
    y, many = np.arange(len(groups)), len(groups) > 25
    pitch = float(np.interp(len(groups), [8, 45], [0.18, 0.12]))
    figure, grid = panels(1, len(targets), height=0.85 + pitch * len(groups), sharey=True)
    told = []
    for axes, target in zip(grid[0], targets, strict=True):
        rows = table[table["target"] == target].set_index("group")
        for k in y[::2]:
            axes.axhspan(k - 0.5, k + 0.5, color=PALE, lw=0, zorder=0)
        axes.axvline(0, color=INK, lw=0.7)
        for k, group in enumerate(groups):
            if group not in rows.index:
                continue
            row = rows.loc[group]
            colour = {"hurt": HURT, "helped": HELPED}.get(row["clear"], FAINT)
            axes.plot([row["low"], row["high"]], [k, k], color=colour, lw=1.2, solid_capstyle="butt")
            mark = "s" if row["clear"] == "hurt" else "o"
            fill = colour if row["clear"] else "white"
            axes.plot(row["value"], k, mark, color=fill, mec=colour, ms=3.2 if many else 4.2, mew=0.9, zorder=3)
        axes.set_title(target)
        axes.set_xlabel(f"NLL, fused minus {label(rows['best'].iloc[0])}\nnegative: fusion helps")
        axes.grid(axis="x", color=GRID, lw=0.5)
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        axes.locator_params(axis="x", nbins=4)
        _within(axes, rows)
        counts = rows["clear"].value_counts()
        told.append(
            f"{target}: fusion has the lower NLL for {(rows['value'] < 0).sum()} of {len(rows)} {what}, clearly for "
            f"{counts.get('helped', 0)}, and is clearly worse for {counts.get('hurt', 0)}"
        )
    grid[0, 0].set_yticks(y, [label(g) for g in groups], fontsize=5.5 if many else 7)
    grid[0, 0].set_ylim(len(groups) - 0.5, -0.5)
    spread = (
        "90 % intervals from the person's own trials, allowing for neighbouring trials that resemble each other"
        if by == "subject"
        else "90 % intervals over subjects"
    )
    caption = (
        f"Fusion against the best single modality of each target, on the trials that both predict. Bars: "
        f"{spread}, cut where they leave the frame. "
        f"Filled: clear after correction for the number of {what} (Holm, 10 %); blue dots helped, orange squares hurt. "
        f"{'; '.join(told)}."
    )
    return Picture(slug(name), title, caption, figure)


def _within(axes, rows: pd.DataFrame):
    """Limits that show every value; a long interval of few trials may be cut."""
    values, ends = rows["value"].to_numpy(float), rows[["low", "high"]].to_numpy(float)
    ends = ends[np.isfinite(ends)]
    if not ends.size:
        return
    scale = max(np.abs(values).max(), np.quantile(np.abs(ends), 0.95)) * 1.1
    low, high = max(min(ends.min(), values.min()), -scale), min(max(ends.max(), values.max()), scale)
    room = 0.05 * (high - low) or 0.1
    axes.set_xlim(min(low - room, -room), max(high + room, room))
