"""Which sensor to believe, for whom: posterior weights of the modalities."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr

from bayesaffect.report.findings import Findings, natural
from bayesaffect.report.style import (
    DOUBLE,
    FAINT,
    GRID,
    INK,
    PALE,
    Picture,
    colours,
    label,
    markers,
    panels,
    paper,
    slug,
)

_LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)
NEGATIVE = (
    "A weight below zero: this opinion is partly subtracted, because its errors are those of a better one, which it "
    "helps to correct."
)


def quantiles(share: xr.DataArray) -> np.ndarray:
    """5, 25, 50, 75 and 95 % quantiles over samples, first axis."""
    values = share.transpose("sample", ...).values
    # a person without this modality has no weight at all: NaN in, NaN out, no warning
    gone = ~np.isfinite(values).any(0)
    out = np.nanquantile(np.where(gone, 0.0, values), _LEVELS, axis=0)
    return np.where(gone, np.nan, out)


def leading(share: xr.DataArray) -> dict[str, str]:
    """subject -> the modality (the prior left out) with the largest median weight."""
    share = share.sel(modality=[m for m in share["modality"].values if m != "prior"])
    middle = quantiles(share.transpose("sample", "subject", "modality"))[2]
    best = np.where(np.isfinite(middle), middle, -1).argmax(1)
    return {str(s): str(share["modality"].values[k]) for s, k in zip(share["subject"].values, best, strict=True)}


@paper
def population(findings: Findings) -> Picture | None:
    """Weights averaged over subjects with their posterior, above the subjects' own medians as faint dots."""
    found = {t.name: findings.weights[t.name] for t in findings.targets if t.name in findings.weights}
    if not found:
        return None
    ink, shape = colours(findings.modalities, findings.models), markers(findings.modalities, findings.models)
    names = list(dict.fromkeys(str(m) for share in found.values() for m in share["modality"].values))
    figure, grid = panels(
        1, len(found), height=0.8 + 0.34 * len(names), width=DOUBLE if len(found) > 1 else 4.4, sharey=True, sharex=True
    )
    told, least = [], 0.0
    for axes, (target, share) in zip(grid[0], found.items(), strict=True):
        mean = share.mean("subject")
        medians = {}
        for k, name in enumerate(names):
            if k % 2 == 0:
                axes.axhspan(k - 0.5, k + 0.5, color=PALE, lw=0, zorder=0)
            if name not in share["modality"].values:
                continue
            low, q1, half, q3, high = quantiles(mean.sel(modality=name))
            medians[name] = half
            dots = quantiles(share.sel(modality=name))[2]
            least = min(least, low, np.nanmin(dots, initial=0.0))
            jitter = np.random.default_rng(0).uniform(-0.1, 0.1, dots.size)
            axes.plot(dots, k + 0.24 + jitter, "o", color=ink[name], ms=2.4, alpha=0.4, mew=0, zorder=2)
            axes.plot([low, high], [k - 0.14] * 2, color=ink[name], lw=1.1, zorder=3)
            axes.plot([q1, q3], [k - 0.14] * 2, color=ink[name], lw=3.2, solid_capstyle="butt", zorder=3)
            axes.plot(half, k - 0.14, shape.get(name, "o"), color="white", mec=ink[name], ms=4.6, mew=1.1, zorder=4)
        axes.set_ylim(len(names) - 0.5, -0.5)
        axes.set_title(target)
        axes.set_xlabel("weight (share of the posterior)")
        axes.grid(axis="x", color=GRID, lw=0.5)
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        best = max((m for m in medians if m != "prior"), key=medians.get)
        told.append(f"{target}: {label(best)} counts most ({100 * medians[best]:.0f} %)")
    _from_zero(grid, least)
    grid[0, 0].set_yticks(range(len(names)), [label(m) for m in names])
    caption = (
        "Weights averaged over subjects (median, 50 and 90 % intervals) and, below each, every subject's "
        f"own median as a dot: their spread is how much people differ. {'; '.join(told)}."
    ) + (f" {NEGATIVE}" if round(least, 2) < 0 else "")
    return Picture("weights_population", "Which sensor to believe, on the whole", caption, figure)


@paper
def by_subject(findings: Findings, target: str) -> Picture | None:
    """Forest: a panel per modality, a line per subject with median, 50 and 90 % intervals; below, their mean."""
    share = findings.weights.get(target)
    return None if share is None else forest(share, findings.modalities, findings.models, target)


@paper
def forest(share: xr.DataArray, modalities: Sequence[str], models: Sequence[str], target: str) -> Picture:
    """`by_subject` of shares (sample, subject, modality) alone."""
    ink = colours(modalities, models)
    people = sorted(share["subject"].values.astype(str), key=natural)
    names = [str(m) for m in share["modality"].values]
    share = share.assign_coords(subject=share["subject"].values.astype(str))
    columns = len(names) if len(names) <= 5 else -(-len(names) // 2)
    rows = -(-len(names) // columns)
    pitch = float(np.interp(len(people), [8, 45], [0.17, 0.092 if rows > 1 else 0.125]))
    figure, grid = panels(rows, columns, height=rows * (0.62 + pitch * (len(people) + 1)), sharex=True, sharey=True)
    y = np.arange(len(people))
    for axes in grid.flat[len(names) :]:
        axes.set_axis_off()
    for axes, name in zip(grid.flat, names, strict=False):
        low, q1, half, q3, high = quantiles(share.sel(modality=name, subject=people))
        mean = quantiles(share.sel(modality=name).mean("subject"))
        for k in range(0, len(people), 2):
            axes.axhspan(k - 0.5, k + 0.5, color=PALE, lw=0, zorder=0)
        axes.axvline(mean[2], color=ink[name], lw=0.7, ls=(0, (4, 3)), zorder=1)
        axes.hlines(y, low, high, color=ink[name], lw=0.8, zorder=2)
        axes.hlines(y, q1, q3, color=ink[name], lw=2.2, zorder=2)
        axes.plot(half, y, "o", color="white", mec=ink[name], ms=2.6 if len(people) > 25 else 3.4, mew=0.8, zorder=3)
        for row in np.flatnonzero(~np.isfinite(half)):
            axes.text(
                0.03,
                row,
                "missing",
                transform=axes.get_yaxis_transform(),
                va="center",
                fontsize=5.5,
                color=FAINT,
                style="italic",
            )
        bottom = len(people) + 0.3
        axes.plot(mean[[0, 4]], [bottom] * 2, color=INK, lw=0.9)
        axes.plot(mean[[1, 3]], [bottom] * 2, color=INK, lw=2.4, solid_capstyle="butt")
        axes.plot(mean[2], bottom, "D", color="white", mec=INK, ms=3.4, mew=0.9)
        axes.axhline(len(people) - 0.4, color="#BBBBBB", lw=0.6)
        axes.set_title(label(name), color=ink[name] if name != "prior" else "#6E6E6E")
        axes.set_ylim(len(people) + 0.9, -0.6)
        axes.grid(axis="x", color=GRID, lw=0.5)
        axes.locator_params(axis="x", nbins=4)
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
    least = float(np.nanmin(quantiles(share), initial=0.0))
    _from_zero(grid, least)
    for line in grid:
        line[0].set_yticks([*y, len(people) + 0.3], [*people, "all (mean)"], fontsize=7 if len(people) <= 25 else 5.5)
    figure.supxlabel("weight (share of the posterior)", fontsize=8)
    count = {}
    for name in leading(share).values():
        count[name] = count.get(name, 0) + 1
    order = sorted(count, key=lambda m: -count[m])
    words = ", ".join(f"{label(m)} for {count[m]}" for m in order)
    caption = (
        "Posterior weight of each modality for each person: dot median, thick bar 50 %, thin bar 90 % "
        f"interval; dashed line and diamond: mean over subjects. Largest median weight: {words} of "
        f"{len(people)} subjects."
    ) + (f" {NEGATIVE}" if round(least, 2) < 0 else "")
    return Picture(slug(f"weights_{target}"), f"Which sensor to believe, for whom: {target}", caption, figure)


def _from_zero(grid: np.ndarray, least: float) -> None:
    """Weights start at zero, unless some are below it: those are shown whole, and zero gets a line."""
    grid[0, 0].set_xlim(left=1.1 * least)
    if least < 0:
        for axes in grid.flat:
            axes.axvline(0, color=FAINT, lw=0.6, zorder=1)
