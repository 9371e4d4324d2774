"""What people said, and whether the quality of a signal tells how wrong its modality will be."""

from __future__ import annotations

import numpy as np
import xarray as xr

from bayesaffect.report import measure
from bayesaffect.report.findings import Findings, natural
from bayesaffect.report.style import DOUBLE, FAINT, GRID, INK, Picture, colours, label, markers, panels, paper, scale

_SHADE = "#9DB4C6"
_FEW = 5  # trials: a bin with fewer would stretch the axis and tell nothing


@paper
def answers(findings: Findings) -> Picture | None:
    """Per target the distribution of what people said; ratings with a tick per person at their own mean."""
    who = findings.truth["subject"].values.astype(str)
    shown = {}
    for target in findings.targets:
        values = np.asarray(findings.truth[target.name].values, dtype=float)
        known = values >= 0 if target.kind == "categorical" else np.isfinite(values)
        if known.any():
            shown[target.name] = values[known], who[known]
    if not shown:
        return None
    classes = max((len(t.levels) for t in findings.categorical if t.name in shown), default=0)
    widest = DOUBLE if len(shown) > 2 else 2.7 * len(shown) + 0.9
    figure, grid = panels(1, len(shown), height=max(2.0, 0.75 + 0.17 * classes), width=widest)
    told = []
    for axes, (name, (values, people)) in zip(grid[0], shown.items(), strict=True):
        target = findings.target(name)
        axes.set_title(name)
        if target.kind == "categorical":
            count = np.bincount(values.astype(int), minlength=len(target.levels))
            y = np.arange(count.size)
            axes.barh(y, count, color=_SHADE, height=0.75)
            for k, n in enumerate(count):
                axes.text(n, k, f" {n}", va="center", fontsize=6.5)
            axes.set_yticks(y, [label(level) for level in target.levels])
            axes.set_ylim(count.size - 0.4, -0.6)
            axes.set_xlabel("trials")
            axes.margins(x=0.14)
            axes.tick_params(axis="y", length=0)
            share = count.max() / count.sum()
            told.append(
                f"{name}: the most frequent answer, {label(target.levels[count.argmax()])}, is {100 * share:.0f} % of "
                "all"
            )
            continue
        rating = target.from_unit(values)
        steps = np.unique(rating)
        low, high = target.bounds
        discrete = steps.size <= 21 and np.allclose(steps, np.round(steps))
        edges = np.arange(low - 0.5, high + 1) if discrete and high - low <= 20 else np.linspace(low, high, 17)
        axes.hist(rating, bins=edges, color=_SHADE, rwidth=0.9)
        mean = [rating[people == p].mean() for p in sorted(set(people), key=natural)]
        axes.plot(
            mean,
            np.full(len(mean), -0.035),
            "|",
            color=INK,
            ms=6,
            mew=0.8,
            clip_on=False,
            transform=axes.get_xaxis_transform(),
        )
        axes.tick_params(axis="x", pad=8)
        axes.set_xlabel(f"rating ({scale(target)})")
        axes.set_ylabel("trials")
        between = np.std(mean) / np.std(rating) if np.std(rating) > 0 else 0.0
        told.append(
            f"{name}: mean {rating.mean():.2f}, standard deviation {rating.std():.2f}, that of people's own means "
            f"{100 * between:.0f} % of it"
        )
        axes.grid(axis="y", color=GRID, lw=0.5)
    ticks = (
        " Ticks below a rating: each person's own mean." if any(t.name in shown for t in findings.continuous) else ""
    )
    text = f"{'; '.join(told)}.{ticks}"
    return Picture("answers", "What people said", text[0].upper() + text[1:], figure)


@paper
def quality_and_error(findings: Findings, *, bins: int = 5) -> Picture | None:
    """A panel per target, a line per modality: NLL of its own predictions in bins of its signal's quality."""
    quality = findings.quality
    if quality is None:
        return None
    shown = {}
    for target in findings.targets:
        for modality in findings.modalities:
            line = _line(findings, quality, modality, target.name, bins)
            if line is not None:
                shown.setdefault(target.name, {})[modality] = line
    if not shown:
        return None
    ink, shape = colours(findings.modalities, findings.models), markers(findings.modalities, findings.models)
    figure, grid = panels(1, len(shown), height=2.5, width=DOUBLE if len(shown) > 2 else 2.9 * len(shown) + 0.5)
    worse, handles = [], {}
    for axes, (name, by) in zip(grid[0], shown.items(), strict=True):
        axes.axhline(0, color=FAINT, lw=0.8, ls=(0, (4, 3)))
        for modality, b in by.items():
            axes.vlines(b.x, b.low, b.high, color=ink[modality], lw=1.0, alpha=0.7)
            style = {"color": ink[modality], "ls": "-", "lw": 0.9, "ms": 4, "mec": "white", "mew": 0.4}
            handles[label(modality)] = axes.plot(b.x, b.y, shape[modality], **style)[0]
            if b.low[0] > 0:
                worse.append(f"{label(modality)} for {name}")
        axes.set_title(name)
        axes.set_xlabel("quality of the signal")
        axes.grid(color=GRID, lw=0.5)
    grid[0, 0].set_ylabel("NLL minus its mean (nats)")
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=5)
    told = (
        f"Clearly worse on its poorest signals: {', '.join(worse)}" if worse else "None is clearly worse on its poorest"
    )
    caption = (
        "Each modality alone: how much worse (above the dashed line) or better than usual it predicts trials of a "
        "given signal quality (bars: 90 % when subjects are resampled; none where fewer than five people have such "
        f"signals). {told}. A line that falls means that quality is a guide to errors."
    )
    return Picture("quality_and_error", "Does a poor signal make a poor prediction?", caption, figure)


def _line(findings: Findings, quality: xr.DataArray, modality: str, target: str, bins: int) -> measure.Binned | None:
    """NLL minus its mean in bins of quality; ``None`` where quality does not vary."""
    values = measure.found(findings, modality, target)
    if values is None or modality not in quality["modality"].values:
        return None
    table = dict(zip(quality["trial"].values.astype(str), quality.sel(modality=modality).values, strict=True))
    # to the percent: finer steps near 1 mean nothing, and would share out the clean trials over several bins
    grade = np.array([table.get(str(t), np.nan) for t in values.trial], dtype=float).round(2)
    known = np.isfinite(grade)
    if known.sum() < 4 * bins or np.ptp(grade[known]) < 0.02 or np.unique(values.subject[known]).size < 2:
        return None
    error = measure.nll(values)[known]
    line = measure.binned(grade[known], error - error.mean(), values.subject[known], bins=bins)
    line = measure.Binned(*(column[line.trials >= _FEW] for column in line))
    return line if line.x.size > 1 else None
