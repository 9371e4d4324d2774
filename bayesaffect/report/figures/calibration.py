"""Calibration beyond one curve: class by class, person by person, and whether announced errors come true."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from scipy import stats

from bayesaffect.evaluate.calibration import event_curve
from bayesaffect.report import measure
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
from bayesaffect.types import Target


@paper
def classwise(findings: Findings, target: Target) -> Picture | None:
    """A panel per level: predicted probability against how often the level came true (binary: the second level)."""
    c = measure.classes(findings, findings.headline, target.name)
    if c is None:
        return None
    chosen = range(len(target.levels)) if len(target.levels) > 2 else [1]
    rows = -(-len(chosen) // 5)
    columns = -(-len(chosen) // rows)
    ink = colours(findings.modalities, findings.models)[findings.headline]
    width = 3.5 if columns == 1 else 1.44 * columns
    figure, grid = panels(rows, columns, height=0.5 + (2.6 if columns == 1 else 1.5) * rows, width=width, **_SHARED)
    for axes in grid.flat[len(chosen) :]:
        axes.set_axis_off()
    told = []
    for axes, k in zip(grid.flat, chosen, strict=False):
        prob, came = c.prob[:, k], c.label == k
        curve = event_curve(prob, came, bins=_bins(came.size))
        _diagonal(axes)
        axes.vlines(curve["confidence"], curve["band_low"], curve["band_high"], color="#D5D5D5", lw=4, zorder=1)
        axes.plot(curve["confidence"], curve["frequency"], "-", color=ink, lw=1.0, zorder=2)
        size = 6 + 34 * curve["trials"] / curve["trials"].max()
        axes.scatter(curve["confidence"], curve["frequency"], s=size, color=ink, ec="white", lw=0.4, zorder=3)
        axes.set_title(f"{label(target.levels[k])} ({int(came.sum())})", fontsize=7.5)
        axes.set_aspect("equal")
        axes.tick_params(labelbottom=k + columns >= len(target.levels) or len(chosen) == 1)
        gap = prob.mean() - came.mean()
        told.append(
            (abs(gap), f"{label(target.levels[k])} ({100 * prob.mean():.0f} % against {100 * came.mean():.0f} %)")
        )
    grid[0, 0].set_xlim(-0.02, 1.02)
    grid[0, 0].set_ylim(-0.02, 1.02)
    figure.supxlabel("predicted probability", fontsize=8)
    figure.supylabel("share that came true", fontsize=8)
    caption = (
        "Each level by itself (number of trials in brackets): on the diagonal, an event called 30 % likely happens "
        "30 % of the time; grey bars: where chance alone puts a calibrated model's bins 90 % of the time. Mean "
        f"probability and share lie farthest apart for {max(told)[1]}."
    )
    return Picture(slug(f"classwise_{target.name}"), f"Calibration of {target.name}, level by level", caption, figure)


_SHARED = {"sharex": True, "sharey": True}


def _bins(trials: int) -> int:
    """Few trials: fewer, fuller bins."""
    return int(np.clip(trials // 20, 5, 12))


def _diagonal(axes: Axes) -> None:
    axes.plot([0, 1], [0, 1], color=FAINT, lw=0.8, ls=(0, (4, 3)), zorder=1)
    axes.grid(color=GRID, lw=0.5)


@paper
def announced(findings: Findings) -> Picture | None:
    """Announced against actual error in bins of trials: the fused model and the best single modality."""
    shown, told = {}, []
    for target in findings.targets:
        for model in dict.fromkeys((findings.best_single(target.name), findings.headline)):
            values = model and measure.found(findings, model, target.name)
            if values and values.trial.size >= 20 and np.unique(values.subject).size > 1:
                expected, made = measure.expectation(values)
                bins = int(np.clip(values.trial.size // 25, 4, 8))
                shown.setdefault(target.name, {})[model] = measure.binned(expected, made, values.subject, bins=bins)
                if model == findings.headline:
                    told.append(f"{target.name}: {_told(expected, made, values.subject)}")
    if not shown:
        return None
    ink, shape = colours(findings.modalities, findings.models), markers(findings.modalities, findings.models)
    figure, grid = panels(1, len(shown), height=2.9, width=DOUBLE if len(shown) > 2 else 2.9 * len(shown) + 0.5)
    handles = {}
    for axes, (name, lines) in zip(grid[0], shown.items(), strict=True):
        target = findings.target(name)
        continuous = target.kind == "continuous"

        def unit(value, target=target, continuous=continuous):
            return target.half_range * np.sqrt(value) if continuous else value

        ends = np.array([unit(v) for b in lines.values() for v in (b.x.min(), b.x.max(), b.y.min(), b.y.max())])
        low, high = ends.min() - 0.06 * np.ptp(ends), ends.max() + 0.06 * np.ptp(ends)
        axes.plot([low, high], [low, high], color=FAINT, lw=0.8, ls=(0, (4, 3)), zorder=1)
        for k, (model, b) in enumerate(lines.items()):
            style = {"color": ink[model], "zorder": 2 + k}
            axes.vlines(unit(b.x), unit(b.low), unit(b.high), lw=1.1, alpha=0.75, **style)
            line = {"ls": "-", "lw": 0.9, "ms": 4.2, "mec": "white", "mew": 0.4}
            handles[label(model)] = axes.plot(unit(b.x), unit(b.y), shape[model], **line, **style)[0]
        axes.set_title(name)
        axes.set_xlabel("announced RMSE (rating units)" if continuous else "announced: entropy (nats)")
        axes.set_ylabel("RMSE made" if continuous else "NLL made (nats)")
        axes.grid(color=GRID, lw=0.5)
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=4)
    caption = (
        "Trials sorted into bins by the error that the model itself announces, against the error it made there (bars: "
        "90 % when subjects are resampled). On the dashed line announcements come true; a line that rises means that "
        "the model knows which trials are hard; points above the line are over-confident. Rank correlation of the two "
        "errors, trial by trial (1: every harder trial was announced as harder; 0: no guide), for "
        f"{label(findings.headline)}: "
    )
    return Picture("announced", "Does it know when it does not know?", f"{caption}{'; '.join(told)}.", figure)


def _told(expected: np.ndarray, made: np.ndarray, subject: np.ndarray) -> str:
    """Rank correlation of announced and actual error, unless all trials announce much the same."""
    low, high = np.quantile(expected, [0.05, 0.95])
    if high < 1.05 * low:
        return "all trials announce much the same error"
    value, low, high = measure.rank_correlation(expected, made, subject)
    return f"{value:.2f} [{low:.2f}, {high:.2f}]"


@paper
def by_person(findings: Findings) -> Picture | None:
    """A dot per subject: coverage of 90 % intervals (ratings), or accuracy minus mean confidence (classes)."""
    shown = {}
    for target in findings.targets:
        values = measure.found(findings, findings.headline, target.name)
        if values:
            shown[target.name] = person_gaps(values)
    if not shown:
        return None
    ink = colours(findings.modalities, findings.models)[findings.headline]
    most = max(len(rows["people"]) for rows in shown.values())
    pitch = float(np.interp(most, [10, 50], [0.15, 0.1]))
    figure, grid = panels(1, len(shown), height=0.95 + pitch * most, width=DOUBLE if len(shown) > 1 else 4.0)
    told = []
    for axes, (name, rows) in zip(grid[0], shown.items(), strict=True):
        order = np.array(sorted(range(len(rows["people"])), key=lambda k: natural(rows["people"][k])))
        y = np.arange(len(order))
        for k in range(0, len(order), 2):
            axes.axhspan(k - 0.5, k + 0.5, color=PALE, lw=0, zorder=0)
        low, high, value = (rows[c][order] for c in ("low", "high", "value"))
        axes.hlines(y, low, high, color="#BDBDBD", lw=3.2, zorder=1)
        out = (value < low) | (value > high)
        axes.plot(value[~out], y[~out], "o", color=ink, ms=3.8, mec="white", mew=0.4, zorder=3)
        axes.plot(value[out], y[out], "D", color=INK, ms=4.2, mec="white", mew=0.4, zorder=3)
        axes.axvline(rows["nominal"], color=FAINT, lw=0.8, ls=(0, (4, 3)), zorder=2)
        axes.set_yticks(y, [rows["people"][k] for k in order], fontsize=7 if most <= 25 else 5.5)
        axes.set_ylim(len(order) - 0.4, -0.6)
        axes.set_title(name)
        axes.set_xlabel(
            "share of truths inside\n90 % intervals" if rows["nominal"] else "accuracy minus\nmean confidence"
        )
        axes.grid(axis="x", color=GRID, lw=0.5)
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        told.append(f"{name}: {int(out.sum())} of {len(order)}")
    caption = (
        f"{label(findings.headline).capitalize()}, a dot per person; the grey bar holds 90 % of what chance alone "
        "gives a person with that many trials if the model is calibrated for everyone. Left of the bar (diamond): too "
        "sure of itself for this person; right of it: too careful. About one person in ten lies outside by chance; "
        f"found outside: {'; '.join(told)}."
    )
    return Picture("calibration_subjects", "Is it calibrated for everyone?", caption, figure)


def person_gaps(values: measure.Classes | measure.Ratings, level: float = 0.9) -> dict:
    """Per subject: value and the 90 % range of what a calibrated model would show.

    Ratings: share of truths inside central intervals of ``level``; of n trials Binomial(n, level) / n lie inside.
    Classes: accuracy minus mean confidence, sum_i (c_i - q_i) / n with confidence q_i = max_k p_ik; a calibrated
    model's has mean 0 and variance sum_i q_i (1 - q_i) / n^2 (normal approximation).
    """
    names, group = np.unique(values.subject, return_inverse=True)
    n = np.bincount(group)
    out = {"people": [str(s) for s in names], "trials": n}
    if isinstance(values, measure.Classes):
        sure = values.prob.max(1)
        gap = (values.prob.argmax(1) == values.label) - sure
        sd = np.sqrt(np.bincount(group, weights=sure * (1 - sure))) / n
        return out | {
            "value": np.bincount(group, weights=gap) / n,
            "low": -1.645 * sd,
            "high": 1.645 * sd,
            "nominal": 0.0,
        }
    inside = np.abs(measure.pit(values) - 0.5) <= level / 2
    low, high = (stats.binom.ppf(q, n, level) / n for q in (0.05, 0.95))
    return out | {"value": np.bincount(group, weights=inside) / n, "low": low, "high": high, "nominal": level}
