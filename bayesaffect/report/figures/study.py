"""What went in and how the fitting went: data and quality, learning curves, chains."""

from __future__ import annotations

import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from scipy import stats

from bayesaffect.report.diagnostics import elements
from bayesaffect.report.figures import quality as figures_quality
from bayesaffect.report.findings import Findings, natural
from bayesaffect.report.style import DOUBLE, FAINT, GRID, INK, Picture, colours, label, panels, paper, slug

_BLUES = LinearSegmentedColormap.from_list("present", ["#EAF3FA", "#7DB7DC", "#0072B2"])


@paper
def data(findings: Findings) -> Picture | None:
    """Quality of every trial and modality where it is known, else the trials present per subject and modality."""
    if not findings.modalities:
        return None
    return figures_quality.trial_by_trial(findings) or _counted(findings)


def _counted(findings: Findings) -> Picture:
    """Subjects by modality: trials present (number and shade); hatched where there is nothing."""
    table = findings.data.loc[sorted(findings.data.index, key=natural)]
    names, people = list(findings.modalities), [str(s) for s in table.index]
    trials = table["trials"].to_numpy(dtype=float)
    count = table[names].to_numpy(dtype=float).T
    share, empty = count / np.maximum(trials, 1), count == 0
    figure, grid = panels(1, 1, height=0.97 + 0.24 * len(names))
    axes = grid[0, 0]
    axes.pcolormesh(np.ma.masked_array(share, empty), cmap=_BLUES, vmin=0, vmax=1, edgecolor="white", linewidth=0.8)
    figures_quality.hatch(axes, empty)
    small = 6.5 if len(people) <= 16 else 5.5 if len(people) <= 26 else 4.6
    for row, column in np.argwhere(~empty):
        ink = "white" if share[row, column] > 0.72 else INK
        text = f"{count[row, column]:.0f}"
        axes.text(column + 0.5, row + 0.5, text, ha="center", va="center", fontsize=small, color=ink)
    axes.set_yticks(np.arange(len(names)) + 0.5, [label(m) for m in names])
    axes.set_ylim(len(names), 0)
    axes.set_title("trials present")
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    turned = len(people) > 14 or max(map(len, people)) > 4
    axes.set_xticks(
        np.arange(len(people)) + 0.5, people, rotation=90 if turned else 0, fontsize=7 if len(people) <= 30 else 6
    )
    gone = [
        f"{label(m)} for {int((count[k] == 0).sum())} of {len(people)} subjects"
        for k, m in enumerate(names)
        if (count[k] == 0).any()
    ]
    total = 100 * count.sum() / max(trials.sum() * len(names), 1)
    missing = f"wholly missing (hatched): {', '.join(gone)}." if gone else "no modality is wholly missing for anyone."
    caption = (
        f"{len(people)} subjects, {trials.sum():.0f} trials; {total:.1f} % of all modality-by-trial cells are present"
    )
    return Picture("data", "What was recorded", f"{caption}; {missing}", figure)


@paper
def learning(findings: Findings) -> Picture | None:
    """Training and validation loss per epoch: median over fits and members, band from 10 to 90 %."""
    table = findings.learning_curves
    if table is None or table.empty:
        return None
    names = list(dict.fromkeys(table["network"].astype(str)))
    columns = min(4, len(names))
    rows = math.ceil(len(names) / columns)
    ink = colours(findings.modalities, findings.models)
    figure, grid = panels(rows, columns, height=0.35 + 1.75 * rows, width=min(DOUBLE, 2.3 * columns + 0.4))
    told = []
    for axes in grid.flat[len(names) :]:
        axes.set_axis_off()
    for axes, name in zip(grid.flat, names, strict=False):
        part = table[table["network"].astype(str) == name]
        for column, colour, style in (("train_loss", "#8A8A8A", "-"), ("validation_loss", ink.get(name, INK), "-")):
            grouped = part.groupby("epoch")[column]
            middle = grouped.median()
            if not np.isfinite(middle).any():
                continue
            axes.fill_between(middle.index, grouped.quantile(0.1), grouped.quantile(0.9), color=colour, alpha=0.2, lw=0)
            axes.plot(middle.index, middle, style, color=colour, lw=1.4)
        fits = part[["fit", "member"]].drop_duplicates().shape[0]
        axes.set_title(label(name))
        axes.set_xlabel("epoch")
        axes.grid(color=GRID, lw=0.5)
        axes.locator_params(axis="both", nbins=5, integer=False)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.text(
            0.97,
            0.95,
            "validation",
            color=ink.get(name, INK),
            fontsize=7,
            ha="right",
            va="top",
            transform=axes.transAxes,
            fontweight="bold",
        )
        axes.text(0.97, 0.85, "training", color="#707070", fontsize=7, ha="right", va="top", transform=axes.transAxes)
        told.append(f"{label(name)} {fits}")
    for line in grid:
        line[0].set_ylabel("loss")
    caption = (
        "Median over all fits and ensemble members with the 10 to 90 % range; a validation curve that "
        f"turns upward means over-fitting. Trained networks: {', '.join(told)}."
    )
    return Picture("learning", "How the networks learned", caption, figure)


@paper
def ranks(findings: Findings, fit: str, *, most: int = 8) -> Picture | None:
    """Rank histograms per chain (Vehtari et al. 2021) of the hyper-parameters that mix worst."""
    table = elements(findings.posteriors[fit])
    if table.empty:
        return None
    table = table.sort_values("r_hat", ascending=False, na_position="last").head(most)
    columns = min(4, len(table))
    rows = math.ceil(len(table) / columns)
    figure, grid = panels(
        rows, columns, height=0.45 + 1.3 * rows, width=min(DOUBLE, 1.75 * columns + 0.3), sharey=True, sharex=True
    )
    tints = ["#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#B8A400", "#000000"]
    for axes in grid.flat[len(table) :]:
        axes.set_axis_off()
    for axes, (name, row) in zip(grid.flat, table.iterrows(), strict=False):
        _rank_panel(axes, row["draws"], tints)
        short = name if len(name) <= 36 else name[:35] + "…"
        axes.set_title(short, fontsize=7 if len(short) <= 24 else 5)
        axes.text(
            0.5,
            0.04,
            f"R-hat {row['r_hat']:.3f}   ESS {row['ess_bulk']:.0f}",
            transform=axes.transAxes,
            ha="center",
            fontsize=6.5,
            color="#555555",
        )
    figure.supxlabel("rank of the draw among all chains (%)", fontsize=8)
    figure.supylabel("density", fontsize=8)
    chains = table["draws"].iloc[0].shape[0]
    judged = table["r_hat"].dropna()
    worst = f"Worst R-hat: {judged.max():.3f} ({judged.idxmax()})." if len(judged) else "One chain has no R-hat."
    caption = (
        f"The {len(table)} hyper-parameters with the largest R-hat in fit “{fit}”, one line per chain "
        f"({chains}); lines that stay flat near the grey band mean that the chains agree. {worst}"
    )
    return Picture(slug(f"ranks_{fit}"), f"Do the chains agree? {label(fit)}", caption, figure)


def _rank_panel(axes: Axes, draws: np.ndarray, tints: list[str], bins: int = 16) -> None:
    chains, length = draws.shape
    rank = (stats.rankdata(draws).reshape(draws.shape) - 0.5) / draws.size
    low, high = (stats.binom.ppf(q, length, 1 / bins) * bins / length for q in (0.05, 0.95))
    axes.axhspan(low, high, color="#E2E2E2", lw=0)
    axes.axhline(1, color=FAINT, lw=0.6, ls=(0, (4, 3)))
    for k in range(chains):
        height, edges = np.histogram(rank[k], bins=np.linspace(0, 1, bins + 1))
        axes.stairs(height * bins / length, 100 * edges, color=tints[k % len(tints)], lw=0.9, baseline=None)
    axes.set_xlim(0, 100)
    axes.set_ylim(0, 2.2)
