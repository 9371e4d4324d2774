"""Models side by side: scores and paired differences."""

from __future__ import annotations

import numpy as np

from bayesaffect.evaluate.summary import difference
from bayesaffect.report.findings import Findings
from bayesaffect.report.style import GRID, INK, PALE, Picture, colours, label, markers, panels, paper

LOWER = {
    "nll",
    "rmse",
    "mae",
    "ece",
    "adaptive_ece",
    "classwise_ece",
    "smooth_ece",
    "brier",
    "crps",
    "rps",
    "aurc",
    "log_score",
}
LOWER |= {"rmse_within", "interval_score90"}
HIGHER = {"accuracy", "balanced_accuracy", "macro_f1", "auroc", "ccc", "pearson", "kappa", "f1"}
_NAMES = {
    "nll": "NLL (nats per trial)",
    "rmse": "RMSE",
    "mae": "MAE",
    "ece": "ECE",
    "brier": "Brier score",
    "crps": "CRPS",
    "rps": "ranked probability score",
    "aurc": "AURC",
    "auroc": "AUROC",
    "ccc": "CCC",
    "pearson": "Pearson's r",
    "macro_f1": "macro F1",
    "kappa": "Cohen's kappa",
    "classwise_ece": "classwise ECE",
    "rmse_within": "RMSE within trials",
    "interval_score90": "interval score (90 %)",
    "coverage95": "coverage of 95 % interval",
    "coverage90": "coverage of 90 % interval",
    "coverage50": "coverage of 50 % interval",
}
ORDER = [
    "nll",
    "auroc",
    "accuracy",
    "balanced_accuracy",
    "macro_f1",
    "rmse",
    "ccc",
    "crps",
    "brier",
    "ece",
    "coverage90",
    "coverage50",
]


def score_name(score: str) -> str:
    """A score as a reader wants it."""
    return _NAMES.get(score, score.replace("_", " "))


def sorted_scores(names) -> list[str]:
    """Known scores in a fixed order, then the others as they came."""
    names = list(dict.fromkeys(names))
    return [s for s in ORDER if s in names] + [s for s in names if s not in ORDER]


def direction(score: str) -> str:
    """Which way is better, in words; empty where neither is."""
    return "lower is better" if score in LOWER else "higher is better" if score in HIGHER else ""


def _stripes(axes, names):
    for k in range(0, len(names), 2):
        axes.axhspan(k - 0.5, k + 0.5, color=PALE, lw=0, zorder=0)
    axes.set_ylim(len(names) - 0.5, -0.5)


def _model_axis(axes, names, headline):
    axes.set_yticks(range(len(names)), [label(m) for m in names])
    axes.tick_params(axis="y", length=0)
    for text, name in zip(axes.get_yticklabels(), names, strict=True):
        text.set_fontweight("bold" if name == headline else "normal")


@paper
def scores(findings: Findings) -> Picture | None:
    """Dots with intervals: a row of panels per target, a column per score (up to three), a line per model."""
    wanted = {}
    for target in findings.targets:
        rows = findings.scores[findings.scores["target"] == target.name].dropna(subset=["value"])
        names = [s for s in sorted_scores(rows["score"]) if s in LOWER | HIGHER and s != "ece"][:3]
        if names:
            wanted[target.name] = names
    if not wanted:
        return None
    ink, shape = colours(findings.modalities, findings.models), markers(findings.modalities, findings.models)
    models, columns = findings.models, max(map(len, wanted.values()))
    height = len(wanted) * (0.62 + 0.155 * len(models))
    figure, grid = panels(len(wanted), columns, height=max(height, 1.7), sharey=True)
    for line, (target, names) in zip(grid, wanted.items(), strict=True):
        for axes in line[len(names) :]:
            axes.set_axis_off()
        for axes, score in zip(line, names, strict=False):
            _stripes(axes, models)
            best = findings.value(findings.headline, target, score)
            if best is not None:
                axes.axvline(best["value"], color=ink[findings.headline], lw=0.6, ls=(0, (4, 3)), zorder=1)
            for k, model in enumerate(models):
                row = findings.value(model, target, score)
                if row is None or not np.isfinite(row["value"]):
                    continue
                strong = model == findings.headline
                axes.plot(
                    [row["low"], row["high"]],
                    [k, k],
                    color=ink[model],
                    lw=2.0 if strong else 1.2,
                    solid_capstyle="butt",
                )
                axes.plot(
                    row["value"], k, shape[model], color=ink[model], ms=5.5 if strong else 4.2, mec="white", mew=0.4
                )
            axes.set_xlabel(f"{score_name(score)}\n{direction(score)}")
            axes.spines["left"].set_visible(False)
            axes.grid(axis="x", color=GRID, lw=0.5)
            axes.margins(x=0.06)
            axes.locator_params(axis="x", nbins=5)
        line[0].set_title(target)
        _model_axis(line[0], models, findings.headline)
        for axes in line[1:]:
            axes.tick_params(axis="y", length=0)
    told = []
    for target in wanted:
        row, single = findings.value(findings.headline, target, "nll"), findings.best_single(target)
        if row is not None and single:
            other = findings.value(single, target, "nll")["value"]
            verb = "below" if row["value"] < other else "not below"
            told.append(
                f"{target}: NLL {row['value']:.3f}, {verb} the {other:.3f} of the best single modality "
                f"({label(single)})"
            )
    caption = (
        "Every model on trials it was not trained on; bars are 90 % intervals over subjects, the dashed line "
        f"marks {label(findings.headline)}."
    )
    return Picture(
        "scores",
        "Each modality alone, combined early, equally, and fused",
        f"{caption} {'; '.join(told)}." if told else caption,
        figure,
    )


@paper
def differences(findings: Findings) -> Picture | None:
    """Paired differences of the first score of each target, with intervals and the line of no difference."""
    table = findings.differences
    if table is None or table.dropna(subset=["value"]).empty:
        return None
    table = table.dropna(subset=["value"])
    chosen = [
        (t.name, s) for t in findings.targets for s in sorted_scores(table.loc[table["target"] == t.name, "score"])[:1]
    ]
    if not chosen:
        return None
    ink, shape = colours(findings.modalities, findings.models), markers(findings.modalities, findings.models)
    pairs = list(dict.fromkeys((str(a), str(b)) for a, b in zip(table["a"], table["b"], strict=True)))
    same = len({a for a, _ in pairs}) == 1
    figure, grid = panels(1, len(chosen), height=0.95 + 0.17 * len(pairs), sharey=True)
    better, worse, total = 0, 0, 0
    for axes, (target, score) in zip(grid[0], chosen, strict=True):
        _stripes(axes, pairs)
        axes.axvline(0, color=INK, lw=0.7)
        for k, (a, b) in enumerate(pairs):
            row = difference(table, a, b, target, score)
            if row is None:
                continue
            total += 1
            above, below = row["low"] > 0, row["high"] < 0
            away = above or below
            better += below if score in LOWER else above
            worse += above if score in LOWER else below
            axes.plot([row["low"], row["high"]], [k, k], color=ink.get(b, INK), lw=1.4, solid_capstyle="butt")
            axes.plot(
                row["value"],
                k,
                shape.get(b, "o"),
                color=ink.get(b, INK),
                ms=4.5,
                mfc=ink.get(b, INK) if away else "white",
                mew=0.9,
            )
        axes.set_title(target)
        good = {
            "lower is better": f"negative: {label(pairs[0][0])} better",
            "higher is better": f"positive: {label(pairs[0][0])} better",
        }
        axes.set_xlabel(f"difference in {score_name(score)}\n{good.get(direction(score), '') if same else ''}")
        axes.spines["left"].set_visible(False)
        axes.grid(axis="x", color=GRID, lw=0.5)
        axes.locator_params(axis="x", nbins=5)
        axes.tick_params(axis="y", length=0)
    grid[0, 0].set_yticks(
        range(len(pairs)), [f"vs {label(b)}" if same else f"{label(a)} vs {label(b)}" for a, b in pairs]
    )
    who = f"{label(pairs[0][0])} minus each other model" if same else "first model minus second"
    caption = (
        f"Paired over the same trials, {who}; filled marks: the 90 % interval over subjects excludes zero. "
        f"{label(pairs[0][0]).capitalize() if same else 'The first model'} is clearly better in {better} of {total} "
        f"comparisons and clearly worse in {worse}."
    )
    return Picture("differences", "Is the difference real?", caption, figure)
