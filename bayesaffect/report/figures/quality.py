"""How clean the signals were: subjects by trials, a panel per modality."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, ListedColormap
from matplotlib.patches import Rectangle

from bayesaffect.report.findings import Findings, natural
from bayesaffect.report.style import DOUBLE, FAINT, INK, SINGLE, Picture, label, panels

# lightness falls all the way from clean to useless, so that trouble is what the eye finds, in grey print too
_SIGNAL = LinearSegmentedColormap.from_list("signal", ["#5A1A06", "#B8450F", "#EFA24C", "#F8E0B9", "#D0ECE0"])
_NOTHING = {"facecolor": "#F7F7F7", "edgecolor": "#9A9A9A", "hatch": "//////", "linewidth": 0}


class Blocks(NamedTuple):
    """Quality (modality, subject, trial), NaN where nothing is known; ``unknown`` says where a signal is there all the
    same, ``exists`` (subject, trial) which trials a subject has."""

    names: list[str]
    people: list[str]
    quality: np.ndarray
    unknown: np.ndarray
    exists: np.ndarray


def blocks_of(findings: Findings) -> Blocks | None:
    """Trials of each subject in the order of the recording; ``None`` without any quality."""
    quality = findings.quality
    if quality is None or "subject" not in quality.coords or quality.sizes.get("trial", 0) == 0:
        return None
    rated = quality["modality"].values[np.isfinite(quality.transpose("trial", "modality").values).any(0)]
    names = [m for m in findings.modalities if m in rated]
    if not names:
        return None
    table = quality.transpose("trial", "modality").reindex(modality=names)
    values, subject = table.values.astype(float), table["subject"].values.astype(str)
    if findings.present is None:
        here = values > 0
    else:
        here = findings.present.transpose("trial", "modality").reindex(modality=names, fill_value=False).values
    people = sorted((str(s) for s in findings.data.index), key=natural)
    rows = [np.flatnonzero(subject == person) for person in people]
    longest = max(map(len, rows))
    if not longest or not np.isfinite(values[here]).any():
        return None
    out = np.full((len(names), len(people), longest), np.nan)
    unknown, exists = np.zeros(out.shape, dtype=bool), np.zeros(out.shape[1:], dtype=bool)
    for k, mine in enumerate(rows):
        out[:, k, : mine.size] = np.where(here[mine], values[mine], np.nan).T
        unknown[:, k, : mine.size] = (here & np.isnan(values))[mine].T
        exists[k, : mine.size] = True
    return Blocks(names, people, out, unknown, exists)


def trial_by_trial(findings: Findings) -> Picture | None:
    """A panel per modality, a row per subject, a cell per trial; right of it each subject's mean.

    Missing and masked opinions are hatched, so that they do not look like poor ones; trials that a subject does not
    have stay white. ``None`` where no quality is known.
    """
    blocks = blocks_of(findings)
    if blocks is None:
        return None
    names, people, quality, unknown, exists = blocks
    count, longest = exists.shape
    most = 4 if longest <= (60 if len(names) > 4 else 16) else 3 if longest <= 30 else 2
    columns = min(len(names), most)
    rows = -(-len(names) // columns)
    cell = min((6.6 / columns - 0.5) / longest, 0.35)
    pitch = float(np.clip(cell, np.interp(count, [10, 20, 45], [0.14, 0.1, 0.08]), 0.2))
    width = float(np.clip(0.6 + columns * (cell * longest + 0.5), SINGLE, DOUBLE))
    figure, grid = panels(
        rows, columns, width=width, height=0.75 + rows * (0.55 + pitch * count), sharey=True, sharex=True
    )
    small = float(np.clip(pitch * 72 - 1.2, 4.8, 7))
    wide = 0.3 / cell
    for axes in grid.flat[len(names) :]:
        axes.set_axis_off()
    for axes, name, shade, unrated in zip(grid.flat, names, quality, unknown, strict=False):
        image = axes.pcolormesh(shade, cmap=_SIGNAL, vmin=0, vmax=1, edgecolor="white", linewidth=_gap(cell, pitch))
        hatch(axes, exists & ~np.isfinite(shade) & ~unrated)
        axes.pcolormesh(np.ma.masked_array(np.zeros(shade.shape), ~unrated), cmap=ListedColormap(["#DADADA"]))
        has = np.isfinite(shade).any(1)
        mean = np.where(has, np.nansum(shade, 1) / np.maximum(np.isfinite(shade).sum(1), 1), np.nan)
        edges = [longest + 0.25 * wide, longest + 1.25 * wide]
        axes.pcolormesh(edges, np.arange(count + 1), mean[:, None], cmap=_SIGNAL, vmin=0, vmax=1)
        for row in range(count):
            text = f"{mean[row]:.2f}".replace("0.", ".") if has[row] else "none"
            ink = "white" if has[row] and mean[row] < 0.4 else INK if has[row] else FAINT
            axes.text(np.mean(edges), row + 0.53, text, ha="center", va="center", fontsize=small - 0.3, color=ink)
        axes.text(np.mean(edges), -0.25, "mean", ha="center", va="bottom", fontsize=6.5, color="#666666")
        axes.set_xlim(0, edges[1])
        axes.set_ylim(count, 0)
        axes.set_title(label(name))
        step = 1 if longest <= 6 else 5 if longest <= 30 else 20 if longest <= 120 else 100
        ticks = sorted({1, *range(step, longest + 1, step)})
        axes.set_xticks([t - 0.5 for t in ticks], ticks)
        axes.tick_params(length=0)
        for spine in axes.spines.values():
            spine.set_visible(False)
    for line in grid:
        line[0].set_yticks(np.arange(count) + 0.5, people, fontsize=small)
    for axes in grid.flat[max(0, len(names) - columns) : len(names)]:
        axes.tick_params(labelbottom=True)
        axes.set_xlabel("trial, in order")
    bar = figure.colorbar(image, ax=grid, location="bottom", aspect=45, shrink=0.5, pad=0.02, fraction=0.05)
    bar.set_label("quality of the signal: 0 useless, 1 clean")
    bar.outline.set_visible(False)
    bar.ax.add_patch(Rectangle((1.08, 0), 0.05, 1, transform=bar.ax.transAxes, clip_on=False, **_NOTHING))
    bar.ax.text(1.145, 0.5, "missing or masked", transform=bar.ax.transAxes, va="center", fontsize=7)
    return Picture("data", "What was recorded, and how clean it is", _caption(blocks), figure)


def hatch(axes: Axes, empty: np.ndarray) -> None:
    """Grey hatching in the cells (row, column) of a mesh that are ``empty``."""
    if empty.any():
        cells = np.ma.masked_array(np.zeros(empty.shape), ~empty)
        drawn = axes.pcolor(cells, cmap=ListedColormap([_NOTHING["facecolor"]]), edgecolor=_NOTHING["edgecolor"])
        drawn.set(hatch=_NOTHING["hatch"], linewidth=0)


def _gap(cell: float, pitch: float) -> float:
    """White line between cells, in points: none where it would eat small cells up."""
    return float(np.clip(72 * min(cell, pitch) / 12, 0, 0.8)) if min(cell, pitch) > 0.05 else 0.0


def _caption(blocks: Blocks) -> str:
    """Share of missing opinions, mean quality per modality, and where the poorest signals are."""
    names, people, quality, unknown, exists = blocks
    seen = np.isfinite(quality)
    total = exists.sum()
    gone = 100 * (1 - (seen | unknown).sum() / max(total * len(names), 1))
    means = [f"{label(m)} {q[s].mean():.2f}" for m, q, s in zip(names, quality, seen, strict=True) if s.any()]
    per = np.where(seen.any(2), np.nansum(np.where(seen, quality, 0), 2) / np.maximum(seen.sum(2), 1), np.inf)
    modality, person = np.unravel_index(per.argmin(), per.shape)
    grey = "; grey: quality unknown" if unknown.any() else ""
    return (
        f"One cell per trial: {len(people)} subjects, {total} trials. {gone:.1f} % of the signals are missing, or "
        f"masked because they were unusable (hatched; white: no such trial{grey}). Mean quality: {', '.join(means)}; "
        f"poorest on average: {label(names[modality])} of {people[person]} ({per[modality, person]:.2f})."
    )
