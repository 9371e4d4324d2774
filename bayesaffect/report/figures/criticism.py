"""What the model believed before the data, and whether it makes data like those it was fitted to."""

from __future__ import annotations

import numpy as np
import pandas as pd

from bayesaffect.report.style import DOUBLE, FAINT, GRID, INK, PALE, Picture, label, panels, paper, scale, slug
from bayesaffect.types import Target

MODEL, FLAG = "#0072B2", "#D55E00"
BINS = 18
MODALITIES = 8


@paper
def checks(table: pd.DataFrame, target: Target) -> Picture:
    """Each discrepancy of the data, in sd of the model's own; a bar holds 90 % of what the model makes."""
    rows = table.iloc[::-1].reset_index(drop=True)
    width = np.maximum((rows["high"] - rows["low"]) / 3.29, 1e-12)  # 90 % of a normal distribution
    place = ((rows["observed"] - rows["replicated"]) / width).clip(-8, 8)
    low, high = ((rows[n] - rows["replicated"]) / width for n in ("low", "high"))
    figure, grid = panels(1, 1, width=5.2, height=0.75 + 0.145 * len(rows))
    axes = grid[0, 0]
    for k in range(0, len(rows), 2):
        axes.axhspan(k - 0.5, k + 0.5, color=PALE, lw=0, zorder=0)
    axes.hlines(range(len(rows)), low, high, color="#9CC3DE", lw=4, zorder=2)
    for k, (x, flagged) in enumerate(zip(place, rows["flagged"], strict=True)):
        axes.plot(x, k, "D" if flagged else "o", color=FLAG if flagged else MODEL, ms=4 if flagged else 3, zorder=3)
    axes.axvline(0, color=FAINT, lw=0.6)
    names = [r.check if r.of == "all" else f"{label(str(r.of))}: {r.check}" for r in rows.itertuples()]
    axes.set_yticks(range(len(rows)), names)
    axes.tick_params(axis="y", length=0, labelsize=6.5)
    axes.set_ylim(-0.6, len(rows) - 0.4)
    axes.set_xlabel("data, in standard deviations of what the model makes")
    axes.grid(axis="x", color=GRID, lw=0.5)
    flagged = int(rows["flagged"].sum())
    told = "None is flagged" if not flagged else f"{flagged} flagged (diamonds)"
    caption = (
        f"Discrepancies of the data (dots) and 90 % of those of data that the fitted model makes (bars), for "
        f"{len(rows)} checks. {told}; a check is flagged where its p-value survives a correction for their number. "
        "Dots further out than 8 are drawn at 8."
    )
    return Picture(
        f"{slug(target.name)}_checks", f"{label(target.name)}: does the model look like the data", caption, figure
    )


@paper
def prior(believed, posterior, target: Target) -> Picture:
    """Truth and reliability before the data (grey) and after (colour)."""
    figure, grid = panels(1, 2, width=DOUBLE, height=2.5)
    left, right = grid[0]
    truth = believed["observed_data"][target.name].values
    drawn = believed["prior_predictive"][target.name].values.reshape(-1, truth.size)
    if target.kind == "continuous":
        known = target.from_unit(truth[np.isfinite(truth)])
        low, high = target.bounds
        reach = (high - low) / 2
        edges = np.linspace(low - reach, high + reach, BINS + 1)
        draws = target.from_unit(drawn)
        counts = np.array([np.histogram(row, edges)[0] / row.size for row in draws])
        middle = (edges[1:] + edges[:-1]) / 2
        left.bar(middle, np.histogram(known, edges)[0] / known.size, np.diff(edges), color=MODEL, alpha=0.75, lw=0)
        left.axvspan(low, high, color=PALE, lw=0, zorder=0)
        left.set_xlabel(f"{label(target.name)} ({scale(target)})" if scale(target) else label(target.name))
        inside = float(((draws >= low) & (draws <= high)).mean())
        told = f"{100 * inside:.0f} % of the ratings that it expects lie on the scale (shaded)"
    else:
        levels = range(len(target.levels))
        counts = np.array([np.bincount(row, minlength=len(target.levels)) / row.size for row in drawn.astype(int)])
        known = truth[truth >= 0].astype(int)
        middle = np.arange(len(target.levels))
        left.bar(levels, np.bincount(known, minlength=len(target.levels)) / known.size, color=MODEL, alpha=0.75, lw=0)
        left.set_xticks(levels, target.levels, rotation=45, ha="right", rotation_mode="anchor")
        told = "what it made of the opinions before it saw any truth"
    band = np.quantile(counts, [0.05, 0.5, 0.95], axis=0)
    left.errorbar(middle, band[1], [band[1] - band[0], band[2] - band[1]], fmt="_", color=INK, lw=0.8, ms=5)
    left.set_ylabel("share of trials")
    left.set_title("Truth")
    name = "kappa" if target.kind == "continuous" else "w"
    before, after = (
        g[name].values.reshape(-1, g.sizes["modality"]) for g in (believed["prior"], posterior["posterior"])
    )
    modalities = [str(m) for m in posterior["posterior"]["modality"].values][:MODALITIES]
    for k in range(len(modalities)):
        for values, shift, ink, size in ((before, 0.17, FAINT, 1.2), (after, -0.17, MODEL, 2.2)):
            a, b, c = np.quantile(values[:, k], [0.05, 0.5, 0.95])
            right.plot([a, c], [k + shift] * 2, color=ink, lw=size)
            right.plot(b, k + shift, "o", color="white", mec=ink, ms=4)
    right.set_yticks(range(len(modalities)), [label(m) for m in modalities])
    right.set_ylim(len(modalities) - 0.5, -0.5)
    right.set_xscale("log" if target.kind == "continuous" else "linear")
    what = "error, in units of the stated sd (smaller is better)" if target.kind == "continuous" else "weight w"
    right.set_xlabel(what)
    right.set_title("Reliability of each modality")
    right.grid(axis="x", color=GRID, lw=0.5)
    caption = (
        "Left: the data (bars) and what the model expected before it saw them (median and 90 % of prior draws); "
        f"{told}. Right: median and 90 % interval of each modality's reliability for a typical person before (grey) "
        "and after the data."
    )
    return Picture(
        f"{slug(target.name)}_prior", f"{label(target.name)}: what the model believed beforehand", caption, figure
    )
