"""Figures of studies side by side, from their tables."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from bayesaffect.report.figures.scores import HIGHER, LOWER, direction, score_name
from bayesaffect.report.style import GRID, PALE, Picture, label, panels, paper, slug
from bayesaffect.report.tables import ordered_scores

_TINTS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#7F5539")
_SHAPES = ("o", "s", "^", "D", "v", "P", "X", "d")


def _dodge(count: int) -> np.ndarray:
    """Heights of the studies within a row, top to bottom."""
    return np.linspace(-0.3, 0.3, count) if count > 1 else np.zeros(1)


def _rows(axes, names: Sequence[str]) -> None:
    for k in range(0, len(names), 2):
        axes.axhspan(k - 0.5, k + 0.5, color=PALE, lw=0, zorder=0)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_yticks(range(len(names)), [label(n) for n in names])
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.grid(axis="x", color=GRID, lw=0.5)
    axes.locator_params(axis="x", nbins=5)


def _legend(figure, grid, studies: Sequence[str]) -> None:
    handles = [
        grid[0, 0].plot([], [], _SHAPES[k % 8], color=_TINTS[k % 8], ms=4.5, label=name)[0]
        for k, name in enumerate(studies)
    ]
    figure.legend(handles=handles, loc="outside upper center", ncols=min(4, len(studies)), handletextpad=0.2)


@paper
def scores(table: pd.DataFrame, target: str, studies: Sequence[str]) -> Picture | None:
    """A panel per score (up to three), a row per model, a marker with its interval per study."""
    rows = table[table["target"] == target].dropna(subset=["value"])
    wanted = [s for s in ordered_scores(rows, target) if s in LOWER | HIGHER and s != "ece"][:3]
    if not wanted:
        return None
    models = list(dict.fromkeys(rows["model"]))
    pitch = 0.1 + 0.075 * len(studies)
    figure, grid = panels(1, len(wanted), height=1.0 + pitch * len(models), sharey=True)
    for axes, score in zip(grid[0], wanted, strict=True):
        _rows(axes, models)
        for k, study in enumerate(studies):
            part = rows[(rows["score"] == score) & (rows["study"] == study)]
            y = np.array([models.index(m) for m in part["model"]]) + _dodge(len(studies))[k]
            axes.hlines(y, part["low"], part["high"], color=_TINTS[k % 8], lw=1.2)
            axes.plot(part["value"], y, _SHAPES[k % 8], color=_TINTS[k % 8], ms=4, mec="white", mew=0.4)
        axes.set_xlabel(f"{score_name(score)}\n{direction(score)}")
    _legend(figure, grid, studies)
    caption = (
        "Every model of every study on people it was not trained on; bars are 90 % intervals over each study's own "
        "subjects. Where the studies tested the same people, the paired differences in the summary say more."
    )
    return Picture(slug(f"compare_{target}"), f"Scores of {target}, study by study", caption, figure)


@paper
def weights(table: pd.DataFrame, target: str, studies: Sequence[str]) -> Picture | None:
    """A row per modality: its weight averaged over the subjects, a marker with its 90 % interval per study."""
    rows = table[(table["target"] == target) & (table["subject"] == "(mean)")].dropna(subset=["median"])
    if rows.empty:
        return None
    names = list(dict.fromkeys(rows["modality"]))
    figure, grid = panels(1, 1, height=0.9 + (0.12 + 0.08 * len(studies)) * len(names), width=4.4)
    axes = grid[0, 0]
    _rows(axes, names)
    for k, study in enumerate(studies):
        part = rows[rows["study"] == study]
        y = np.array([names.index(m) for m in part["modality"]]) + _dodge(len(studies))[k]
        axes.hlines(y, part["q05"], part["q95"], color=_TINTS[k % 8], lw=1.2)
        axes.plot(part["median"], y, _SHAPES[k % 8], color=_TINTS[k % 8], ms=4, mec="white", mew=0.4)
    axes.set_xlim(left=1.1 * min(0.0, rows["q05"].min()))
    axes.set_xlabel("weight (share of the posterior)")
    _legend(figure, grid, studies)
    caption = "Weight of each modality, averaged over the subjects of a study: posterior median and 90 % interval."
    return Picture(slug(f"compare_weights_{target}"), f"Which sensor counts for {target}", caption, figure)
