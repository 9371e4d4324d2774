"""Continuous targets: coverage and PIT, predicted against true ratings, and the plane of two targets."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.lines import Line2D
from matplotlib.patches import Ellipse, Patch
from scipy import stats

from bayesaffect.evaluate import scores
from bayesaffect.report import measure
from bayesaffect.report.findings import Findings
from bayesaffect.report.style import DOUBLE, FAINT, GRID, INK, Picture, colours, label, panels, paper, scale
from bayesaffect.types import Target


@paper
def coverage(findings: Findings) -> Picture | None:
    """Nominal against empirical coverage of central intervals with a band over subjects, beside the PIT histogram."""
    found = {t.name: r for t in findings.continuous if (r := measure.ratings(findings, findings.headline, t.name))}
    if not found:
        return None
    ink, levels = colours(findings.modalities, findings.models), np.linspace(0.02, 0.98, 49)
    figure, grid = panels(len(found), 2, height=0.25 + 2.1 * len(found), width=5.6)
    told = []
    for (left, right), (target, r) in zip(grid, found.items(), strict=True):
        left.plot([0, 1], [0, 1], color=FAINT, lw=0.8, ls=(0, (4, 3)), zorder=1)
        shown = []
        for model in findings.plainest():
            other = measure.ratings(findings, model, target)
            if other is not None:
                inside = np.abs(measure.pit(other) - 0.5)[:, None] <= levels / 2
                left.plot(levels, inside.mean(0), color=ink[model], lw=0.8, alpha=0.75)
                shown.append(model)
        place = measure.pit(r)
        curve, low, high = measure.coverage_curve(place, r.subject, levels, seed=0)
        left.fill_between(levels, low, high, color=ink[findings.headline], alpha=0.22, lw=0)
        left.plot(levels, curve, color=ink[findings.headline], lw=2.0, zorder=4)
        left.set_xlim(0, 1)
        left.set_ylim(0, 1)
        left.set_aspect("equal")
        left.set_title(target)
        left.set_xlabel("nominal level of the interval")
        left.set_ylabel("share of truths inside")
        left.grid(color=GRID, lw=0.5)
        for k, model in enumerate((findings.headline, *shown)):
            step = 0.075 if len(shown) < 7 else 0.062
            weight, size = ("bold" if model == findings.headline else "normal"), 6.5 if len(shown) < 7 else 6
            left.text(
                1.03,
                0.98 - step * k,
                label(model),
                color=ink[model],
                fontsize=size,
                fontweight=weight,
                va="top",
                transform=left.transAxes,
            )
        left.text(
            1.03, 0.02, "above the line:\ntoo wide", color=FAINT, fontsize=6.5, va="bottom", transform=left.transAxes
        )
        _pit_panel(right, place, ink[findings.headline])
        at = [float(np.mean(np.abs(place - 0.5) <= c / 2)) for c in (0.5, 0.9)]
        told.append(f"{target}: 50 % intervals hold {100 * at[0]:.1f} % of truths, 90 % intervals {100 * at[1]:.1f} %")
    caption = (
        f"Left: on the diagonal, intervals of {label(findings.headline)} hold the truth exactly as often "
        "as they claim (shaded: 90 % range when subjects are resampled). "
        "Right: a flat histogram means calibrated (shaded: 90 % range of flat bars if trials were "
        f"independent). {'; '.join(told)}."
    )
    return Picture("coverage", "Do the intervals hold what they promise?", caption, figure)


def _pit_panel(axes: Axes, values: np.ndarray, ink: str) -> None:
    bins = int(np.clip(values.size // 12, 5, 20))
    low, high = (stats.binom.ppf(q, values.size, 1 / bins) * bins / values.size for q in (0.05, 0.95))
    axes.axhspan(low, high, color="#DDDDDD", lw=0, zorder=0)
    axes.axhline(1, color=FAINT, lw=0.8, ls=(0, (4, 3)), zorder=1)
    height, edges = np.histogram(values, bins=np.linspace(0, 1, bins + 1))
    axes.stairs(height * bins / values.size, edges, color=ink, fill=True, alpha=0.55)
    axes.set_xlim(0, 1)
    axes.set_ylim(0, max(2.0, 1.1 * height.max() * bins / values.size))
    axes.set_xlabel("PIT: probability below the truth")
    axes.set_ylabel("density")


@paper
def scatter(findings: Findings) -> Picture | None:
    """Predicted against true rating with 90 % intervals; truths outside their interval are dark."""
    found = {t: r for t in findings.continuous if (r := measure.ratings(findings, findings.headline, t.name))}
    if not found:
        return None
    colour = colours(findings.modalities, findings.models)[findings.headline]
    figure, grid = panels(1, len(found), height=3.2, width=min(DOUBLE, 3.5 * len(found)))
    told, most, beyond = [], 400, 0
    for axes, (target, r) in zip(grid[0], found.items(), strict=True):
        inside = np.abs(measure.pit(r) - 0.5) <= 0.45
        chosen = np.sort(np.random.default_rng(0).permutation(r.truth.size)[:most])
        mean, variance = r.mean[:, chosen], r.variance[:, chosen]
        low, high = (target.from_unit(q) for q in scores.interval(mean, variance, 0.9))
        truth, centre, ok = target.from_unit(r.truth[chosen]), target.from_unit(mean.mean(0)), inside[chosen]
        beyond += int((np.abs(r.mean.mean(0)) > 1).sum())
        # truths of a rating scale pile up on its steps: spread them a little, at random but always the same way
        step = 0.012 * 2 * target.half_range
        x = truth + np.random.default_rng(1).uniform(-step, step, truth.size)
        for mask, ink, alpha in ((ok, colour, 0.3), (~ok, INK, 0.55)):
            axes.add_collection(
                LineCollection(
                    [[(a, b), (a, c)] for a, b, c in zip(x[mask], low[mask], high[mask], strict=True)],
                    colors=ink,
                    alpha=alpha,
                    lw=0.6,
                )
            )
            axes.plot(x[mask], centre[mask], "o", color=ink, ms=2.6, mec="white", mew=0.2, alpha=0.95)
        bounds = np.array(target.bounds, dtype=float)
        axes.plot(bounds, bounds, color=FAINT, lw=0.8, ls=(0, (4, 3)), zorder=1)
        margin = 0.04 * np.ptp(bounds)
        axes.set_xlim(bounds[0] - margin, bounds[1] + margin)
        reach = np.quantile(np.concatenate([low, high]), [0.01, 0.99])
        axes.set_ylim(min(bounds[0] - margin, reach[0]), max(bounds[1] + margin, reach[1]))
        axes.set_title(target.name)
        axes.set_xlabel(f"true rating ({scale(target)})")
        axes.set_ylabel("predicted rating")
        axes.grid(color=GRID, lw=0.5)
        rows = {s: findings.value(findings.headline, target.name, s) for s in ("rmse", "ccc")}
        words = [
            f"{s.upper()} {row['value']:.3f}"
            for s, row in rows.items()
            if row is not None and np.isfinite(row["value"])
        ]
        axes.text(
            0.03,
            0.97,
            "\n".join(words),
            transform=axes.transAxes,
            va="top",
            fontsize=7,
            bbox={"fc": "white", "ec": "none", "alpha": 0.8, "pad": 1.5},
        )
        part = "" if r.truth.size <= most else f" ({most} of {r.truth.size} trials drawn)"
        told.append(f"{target.name}: {100 * inside.mean():.1f} % of truths inside{part}")
    caption = (
        f"Mean and 90 % interval of {label(findings.headline)} for trials it was not trained on, in "
        "rating units (truths jittered slightly); dark: the truth lies outside its interval. "
        f"{'; '.join(told)}."
    ) + (
        f" {beyond} predicted mean{'s lie' if beyond > 1 else ' lies'} beyond the ends of the scale, which normal "
        "errors do not know; ordinal ones (`--likelihood ordinal`) do."
        if beyond
        else ""
    )
    return Picture("scatter", "Predicted against true ratings", caption, figure)


def plane_targets(findings: Findings) -> tuple[Target, Target] | None:
    """Valence and arousal where they exist, else the first two continuous targets, else ``None``."""
    by_name = {t.name: t for t in findings.continuous}
    if {"valence", "arousal"} <= set(by_name):
        return by_name["valence"], by_name["arousal"]
    return findings.continuous[:2] if len(findings.continuous) > 1 else None


def _joint(
    findings: Findings, model: str, pair: tuple[Target, Target]
) -> dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """trial -> mean (2,), covariance (2, 2) and truth (2,), of trials with both ratings.

    Covariance = Cov over draws of the means + diag of the mean variances (law of total covariance).
    """
    one, two = (measure.ratings(findings, model, t.name) for t in pair)
    if one is None or two is None:
        return {}
    common, i, j = np.intersect1d(one.trial, two.trial, return_indices=True)
    mean = np.stack([one.mean[:, i], two.mean[:, j]])
    centred = mean - mean.mean(1, keepdims=True)
    cov = np.einsum("adn,bdn->nab", centred, centred) / mean.shape[1]
    cov[:, 0, 0] += one.variance[:, i].mean(0)
    cov[:, 1, 1] += two.variance[:, j].mean(0)
    truth = np.stack([one.truth[i], two.truth[j]], -1)
    return {str(t): (mean.mean(1)[:, k], cov[k], truth[k]) for k, t in enumerate(common)}


def _spread(points: np.ndarray, subject: np.ndarray, wanted: int) -> list[int]:
    """Farthest-point choice, each subject at most once while there are unused ones: a handful that shows the range."""
    chosen = [int(np.argmax(((points - points.mean(0)) ** 2).sum(1)))]
    while len(chosen) < min(wanted, len(points)):
        far = ((points[:, None] - points[chosen][None]) ** 2).sum(-1).min(1)
        fresh = ~np.isin(subject, subject[chosen])
        far = np.where(fresh, far, -1) if fresh.any() else np.where(np.isin(np.arange(len(points)), chosen), -1, far)
        chosen.append(int(np.argmax(far)))
    return chosen


def _ellipse(axes: Axes, pair: tuple[Target, Target], moments: tuple, level: float, **style) -> None:
    """Credible ellipse of a Gaussian: squared Mahalanobis distance below the chi-squared(2) quantile."""
    units = np.diag([t.half_range for t in pair])
    value, vector = np.linalg.eigh(units @ moments[1] @ units)
    width, height = 2 * np.sqrt(value * stats.chi2.ppf(level, 2))
    centre = [t.from_unit(m) for t, m in zip(pair, moments[0], strict=True)]
    axes.add_patch(Ellipse(centre, width, height, angle=np.degrees(np.arctan2(vector[1, 0], vector[0, 0])), **style))


@paper
def plane(findings: Findings, *, trials: int = 8) -> Picture | None:
    """One small plane per trial: 50 and 90 % ellipses of the fused posterior, the modalities' means, and the truth."""
    pair = plane_targets(findings)
    fused = _joint(findings, findings.headline, pair) if pair else {}
    if not fused:
        return None
    inside = {c: np.mean([_distance(*m) <= stats.chi2.ppf(c, 2) for m in fused.values()]) for c in (0.5, 0.9)}
    alone = {m: _joint(findings, m, pair) for m in findings.modalities}
    who = dict(
        zip(findings.truth["trial"].values.astype(str), findings.truth["subject"].values.astype(str), strict=True)
    )
    names = list(fused)
    chosen = [
        names[k] for k in _spread(np.stack([fused[n][0] for n in names]), np.array([who[n] for n in names]), trials)
    ]
    ink, head = colours(findings.modalities, findings.models), findings.headline
    rows = -(-len(chosen) // 4)
    figure, grid = panels(rows, min(4, len(chosen)), height=0.55 + 1.75 * rows, sharex=True, sharey=True)
    few = sum(bool(a) for a in alone.values()) <= 4
    for axes in grid.flat[len(chosen) :]:
        axes.set_axis_off()
    for axes, trial in zip(grid.flat, chosen, strict=False):
        for target, line in zip(pair, (axes.axvline, axes.axhline), strict=True):
            line(target.from_unit(0), color=GRID, lw=0.6, zorder=0)
        for modality, joint in alone.items():
            if trial in joint:
                if few:
                    _ellipse(axes, pair, joint[trial], 0.5, fc="none", ec=ink[modality], lw=0.8, alpha=0.8, zorder=2)
                x, y = (t.from_unit(v) for t, v in zip(pair, joint[trial][0], strict=True))
                axes.plot(x, y, "o", color=ink[modality], ms=2.6, zorder=3)
        for level, alpha in ((0.9, 0.18), (0.5, 0.32)):
            _ellipse(axes, pair, fused[trial], level, fc=ink[head], ec="none", alpha=alpha, zorder=1)
        x, y = (t.from_unit(v) for t, v in zip(pair, fused[trial][2], strict=True))
        axes.plot(x, y, "*", color=INK, ms=8, mec="white", mew=0.5, zorder=5, clip_on=False)
        axes.set_title(trial, fontsize=7, fontweight="normal")
        axes.set_xlim(*pair[0].bounds)
        axes.set_ylim(*pair[1].bounds)
        axes.set_box_aspect(1)
        for spine in axes.spines.values():
            spine.set_visible(True)
    figure.supxlabel(f"{pair[0].name} ({scale(pair[0])})", fontsize=8)
    figure.supylabel(f"{pair[1].name} ({scale(pair[1])})", fontsize=8)
    handles = [Line2D([], [], marker="*", color=INK, ls="", ms=8), Patch(fc=ink[head], alpha=0.4)]
    texts = ["truth", f"{label(head)}, 50 and 90 %"]
    for modality in (m for m, joint in alone.items() if joint):
        handles.append(Line2D([], [], marker="o", color=ink[modality], ms=3, lw=0.8 if few else 0))
        texts.append(f"{label(modality)}{', 50 %' if few else ''}")
    figure.legend(
        handles, texts, loc="outside upper center", ncols=min(5, len(texts)), handletextpad=0.4, columnspacing=1.2
    )
    caption = (
        f"{len(chosen)} trials spread over the plane, one per person where possible: shaded ellipses are "
        f"where {label(head)} believes the truth (star) to be, coloured marks what each modality said "
        "alone. "
        f"Over all {len(fused)} trials the 50 % ellipses hold {100 * inside[0.5]:.1f} % of truths, the 90 "
        f"% ellipses {100 * inside[0.9]:.1f} %."
    )
    return Picture("plane", f"The {pair[0].name}-{pair[1].name} plane", caption, figure)


def _distance(mean: np.ndarray, cov: np.ndarray, truth: np.ndarray) -> float:
    gap = truth - mean
    return float(gap @ np.linalg.solve(cov, gap))
