"""For whom fusion helps, and what is gained by handing back the least certain trials."""

from __future__ import annotations

import numpy as np

from bayesaffect.report import measure
from bayesaffect.report.findings import Findings, natural
from bayesaffect.report.style import DOUBLE, GRID, SINGLE, Picture, colours, label, markers, panels, paper, place_labels


@paper
def subjects(findings: Findings) -> Picture | None:
    """Dumbbells: NLL of the fused model and of the best single modality, a line per subject, most helped first."""
    found = {}
    for target in findings.targets:
        single = findings.best_single(target.name)
        continuous = target.kind == "continuous"
        measured, unit = (measure.ratings, target.half_range) if continuous else (measure.classes, 1.0)
        fused = measured(findings, findings.headline, target.name)
        alone = single and measured(findings, single, target.name)
        if not fused or not alone:
            continue
        # only trials both models answered, so that a subject's two dots mean the same trials
        keep_f, keep_a = np.isin(fused.trial, alone.trial), np.isin(alone.trial, fused.trial)
        a = measure.per_subject(measure.nll(fused, unit)[keep_f], fused.subject[keep_f])
        b = measure.per_subject(measure.nll(alone, unit)[keep_a], alone.subject[keep_a])
        if a:
            found[target.name] = (single, a, b)
    if not found:
        return None
    ink, shape = colours(findings.modalities, findings.models), markers(findings.modalities, findings.models)
    most = max(len(a) for _, a, _ in found.values())
    pitch = float(np.interp(most, [10, 50], [0.16, 0.11]))
    figure, grid = panels(1, len(found), height=1.0 + pitch * most, width=DOUBLE if len(found) > 1 else SINGLE)
    told, handles = [], {}
    for axes, (target, (single, a, b)) in zip(grid[0], found.items(), strict=True):
        order = sorted(sorted(a, key=natural), key=lambda s: a[s] - b[s])
        y, fused, alone = np.arange(len(order)), np.array([a[s] for s in order]), np.array([b[s] for s in order])
        axes.hlines(
            y,
            np.minimum(fused, alone),
            np.maximum(fused, alone),
            color=np.where(fused <= alone, "#BBBBBB", "#333333"),
            lw=1.4,
            zorder=1,
        )
        axes.plot(
            alone,
            y,
            shape[single],
            color=ink[single],
            ms=4,
            mec="white",
            mew=0.3,
            label=f"{label(single)} (best single)",
        )
        axes.plot(
            fused,
            y,
            shape[findings.headline],
            color=ink[findings.headline],
            ms=4.4,
            mec="white",
            mew=0.3,
            label=label(findings.headline),
        )
        axes.set_yticks(y, order, fontsize=7 if most <= 25 else 5.5)
        axes.set_ylim(len(order) - 0.4, -0.6)
        axes.set_title(target)
        axes.set_xlabel("NLL (nats per trial), lower is better")
        axes.grid(axis="x", color=GRID, lw=0.5)
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        handles.update(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
        absent = len(findings.data) - len(order)
        without = f" ({absent} without {label(single)} left out)" if absent else ""
        told.append(f"{target}: lower for {int((fused < alone).sum())} of {len(order)} subjects{without}")
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=4, handletextpad=0.2)
    caption = (
        "Where fusion helps (grey line) and where it hurts (dark line), on trials both models answered. "
        f"{'; '.join(told)}."
    )
    return Picture(
        "subjects", f"Subject by subject: {label(findings.headline)} against the best single modality", caption, figure
    )


@paper
def selective(findings: Findings) -> Picture | None:
    """Accuracy (or RMSE) of what is kept when the least certain share of trials is handed back."""
    handed = np.linspace(0, 0.6, 61)
    ink, told, curves = colours(findings.modalities, findings.models), [], {}
    for target in findings.targets:
        for model in (*findings.plainest(), findings.headline):
            if target.kind == "categorical" and (c := measure.classes(findings, model, target.name)):
                curve = measure.selective(-c.prob.max(1), (c.prob.argmax(1) == c.label).astype(float), handed)
            elif target.kind == "continuous" and (r := measure.ratings(findings, model, target.name)):
                variance = r.mean.var(0) + r.variance.mean(0)
                curve = target.half_range * np.sqrt(
                    measure.selective(variance, (r.mean.mean(0) - r.truth) ** 2, handed)
                )
            else:
                continue
            curves.setdefault(target.name, {})[model] = curve
    if not curves:
        return None
    kinds = {t.name: t.kind for t in findings.targets}
    figure, grid = panels(1, len(curves), height=2.5, width=DOUBLE if len(curves) > 1 else 3.9)
    for axes, (target, lines) in zip(grid[0], curves.items(), strict=True):
        for model, curve in lines.items():
            strong = model == findings.headline
            axes.plot(100 * handed, curve, color=ink[model], lw=2.2 if strong else 1.0, zorder=3 if strong else 2)
        axes.set_title(target)
        axes.set_xlabel("least certain trials handed back (%)")
        axes.set_ylabel("accuracy of the rest" if kinds[target] == "categorical" else "RMSE of the rest (rating units)")
        axes.grid(color=GRID, lw=0.5)
        axes.set_xlim(0, 60)
        low, high = axes.get_ylim()
        need = 0.065 * (high - low)
        place_labels(axes, 60, {m: c[-1] for m, c in lines.items()}, ink, gap=need, bold=findings.headline)
        head = lines.get(findings.headline)
        if head is not None:
            k = int(np.argmin(np.abs(handed - 0.2)))
            what = "accuracy" if kinds[target] == "categorical" else "RMSE"
            told.append(f"{target}: {what} {head[0]:.3f} on all trials, {head[k]:.3f} with 20 % handed back")
    caption = (
        "What is gained if the model may say “I don't know”; a useful uncertainty makes the curve "
        f"{'rise' if 'categorical' in {kinds[t] for t in curves} else 'fall'}"
    ) + (" (for a rating: fall)" if len({kinds[t] for t in curves}) == 2 else "")
    return Picture("selective", "Handing back the least certain trials", f"{caption}. {'; '.join(told)}.", figure)
