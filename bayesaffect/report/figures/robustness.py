"""One sensor disturbed at test time: what fusion loses, what becomes of the sensor's weight, and what fusion spares."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from bayesaffect.report.findings import Findings
from bayesaffect.report.style import (
    DOUBLE,
    FAINT,
    GRID,
    INK,
    SINGLE,
    Picture,
    colours,
    label,
    markers,
    panels,
    paper,
    slug,
)

SHEET = "robustness"
MOST = 4  # modalities that fit beside one another
WORDS = {
    "noise": "noise",
    "occlusion": "covered",
    "flat": "stops",
    "channels": "dead channels",
    "shift": "lags up to 2 s",
    "swapped": "opinions swapped",
    "missing": "missing",
}
# Okabe & Ito (2008), one colour and one marker per kind of disturbance
_INK = {
    **{"noise": "#D55E00", "occlusion": "#CC79A7", "flat": "#0072B2", "channels": "#009E73"},
    **{"shift": "#E69F00", "swapped": "#56B4E9", "missing": "#444444"},
}
_SHAPE = {"noise": "o", "occlusion": "s", "flat": "v", "channels": "^", "shift": "D", "swapped": "P", "missing": "X"}
_TITLES = {
    "nll_loss": "lost by fusion\n(nats per trial)",
    "weight": "weight of the\ndisturbed sensor",
    "coverage90": "share of truths in\nthe 90 % interval",
    "accuracy": "accuracy\nof fusion",
}


@paper
def robustness(findings: Findings, target: str) -> Picture | None:
    """A column per disturbed modality, a line per kind: loss of NLL, weight, and coverage or accuracy by strength."""
    sheet = _sheet(findings, target)
    if sheet is None:
        return None
    names, left = _columns(sheet, findings)
    scores = ["nll_loss", "weight", "coverage90" if findings.target(target).kind == "continuous" else "accuracy"]
    width = DOUBLE if len(names) > 1 else SINGLE
    figure, grid = panels(len(scores), len(names), width=width, height=4.7, sharey="row", sharex=True)
    seen: dict[str, object] = {}
    for column, modality in zip(grid.T, names, strict=True):
        for axes, score in zip(column, scores, strict=True):
            part = sheet[(sheet["modality"] == modality) & (sheet["score"] == score)]
            _lines(axes, part, seen)
            if score in ("coverage90", "nll_loss"):
                axes.axhline(0.9 if score == "coverage90" else 0.0, color=FAINT, lw=0.8, ls=(0, (4, 2)), zorder=1)
            axes.grid(axis="y", color=GRID, lw=0.5)
        column[0].set_title(label(modality))
        column[-1].set_xlabel("strength")
        column[-1].set_xticks([0, 0.2, 0.4, 0.6, 0.8, 1.0], ["0", "", "0.4", "", "", "1"])
    for axes, score in zip(grid[:, 0], scores, strict=True):
        axes.set_ylabel(_TITLES[score])
    grid[1, 0].set_ylim(bottom=0)
    order = [kind for kind in WORDS if kind in seen]
    figure.legend([seen[k] for k in order], [WORDS[k] for k in order], loc="outside lower center", ncols=len(order))
    caption = (
        "One modality at a time is disturbed when it is tested, the others are not, and nothing is learned anew; "
        "strength 0 is untouched. A robust fusion loses little (top: rise of its NLL, paired by trial), takes weight "
        "away from the sensor that is disturbed (middle: its weight for a new person, whose habits are unknown, which "
        "is not that for the people of the study), and stays honest (bottom). Whiskers: 90 % intervals at full "
        f"strength, bootstrap over subjects. {_quality(sheet)}{_worst(sheet, left)}"
    )
    return Picture(slug(f"robustness_{target}"), f"When a sensor fails: {target}", caption, figure)


@paper
def spared(findings: Findings) -> Picture | None:
    """Dumbbells at full strength: NLL of the disturbed modality alone, and of fusion on the same trials."""
    sheets = {t.name: _sheet(findings, t.name) for t in findings.targets}
    sheets = {name: sheet for name, sheet in sheets.items() if sheet is not None}
    found = {name: _dumbbells(sheet, findings) for name, sheet in sheets.items()}
    found = {name: rows for name, rows in found.items() if rows}
    if not found:
        return None
    order = list(dict.fromkeys(key for rows in found.values() for key in rows))
    ink, shape = colours(findings.modalities, findings.models), markers(findings.modalities, findings.models)
    figure, grid = panels(
        1, len(found), width=DOUBLE if len(found) > 1 else SINGLE * 1.3, height=0.9 + 0.17 * len(order), sharey=True
    )
    better = total = 0
    handles: dict[str, object] = {}
    for axes, (target, rows) in zip(grid[0], found.items(), strict=True):
        far = max(fused for _, fused, *_ in rows.values())
        edge = far + 2.5 * max(far - min(min(r[:2]) for r in rows.values()), 0.1)
        for key, (alone, fused, low, high) in rows.items():
            y = order.index(key)
            better, total = better + (fused < alone), total + 1
            axes.plot([min(alone, edge), fused], [y, y], color="#BBBBBB" if fused <= alone else INK, lw=1.3, zorder=1)
            axes.plot(np.minimum([low, high], edge), [y, y], color=ink[findings.headline], lw=2.6, alpha=0.35, zorder=2)
            marker = ">" if alone > edge else shape[key[0]]
            (one,) = axes.plot(min(alone, edge), y, marker, color=ink[key[0]], ms=4, zorder=3, ls="")
            (all_,) = axes.plot(
                fused, y, shape[findings.headline], color=ink[findings.headline], ms=4.2, zorder=4, ls=""
            )
            handles.setdefault(f"disturbed {label(key[0])} alone", one)
            handles.setdefault(label(findings.headline), all_)
        axes.set_title(target)
        axes.set_xlabel("NLL (nats per trial), lower is better")
        axes.grid(axis="x", color=GRID, lw=0.5)
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
    grid[0, 0].set_yticks(range(len(order)), [f"{label(m)}: {WORDS.get(kind, kind)}" for m, kind in order])
    grid[0, 0].set_ylim(len(order) - 0.4, -0.6)
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=4, handletextpad=0.2)
    caption = (
        f"Each sensor disturbed at full strength: {label(findings.headline)} against the disturbed sensor alone, on "
        "the same trials. A grey line is what listening to the other sensors spares, a dark one would be harm; the "
        "pale bar is the 90 % interval of that gap (paired, bootstrap over subjects). "
        f"Fusion is lower in {better} of {total} cases."
    )
    return Picture("robustness_spared", "A failing sensor alone, and in fusion", caption, figure)


def _sheet(findings: Findings, target: str) -> pd.DataFrame | None:
    sheet = findings.sheets.get(SHEET)
    if sheet is None or sheet.empty:
        return None
    sheet = sheet[sheet["target"] == target]
    return None if sheet.empty else sheet


def _columns(sheet: pd.DataFrame, findings: Findings) -> tuple[list[str], int]:
    """The modalities that fit, those first that fusion misses most when they are missing; and how many do not fit."""
    there = set(sheet["modality"])
    names = [m for m in findings.modalities if m in there] + sorted(there - set(findings.modalities))
    if len(names) <= MOST:
        return names, 0
    gone = sheet[(sheet["kind"] == "missing") & (sheet["strength"] == 1) & (sheet["score"] == "nll_loss")]
    cost = dict(zip(gone["modality"], gone["value"], strict=True))
    chosen = sorted(names, key=lambda m: -cost.get(m, -np.inf))[:MOST]
    return [m for m in names if m in chosen], len(names) - MOST


def _lines(axes: Axes, part: pd.DataFrame, seen: dict[str, object]) -> None:
    kinds = [k for k in WORDS if k in set(part["kind"])]
    for place, kind in enumerate(kinds):
        rows = part[part["kind"] == kind].sort_values("strength")
        x, y = rows["strength"].to_numpy(), rows["value"].to_numpy()
        colour = _INK[kind]
        (line,) = axes.plot(x, y, _SHAPE[kind], ls="-", color=colour, ms=3, lw=1.1, mec="white", mew=0.3, zorder=3)
        seen.setdefault(kind, line)
        end = rows.iloc[-1]
        if np.isfinite([end["low"], end["high"]]).all():
            at = 1.05 + 0.035 * place
            axes.plot([at, at], [end["low"], end["high"]], color=colour, lw=1.0, zorder=2, solid_capstyle="butt")
    axes.set_xlim(-0.04, 1.07 + 0.035 * len(kinds))


def _dumbbells(sheet: pd.DataFrame, findings: Findings) -> dict[tuple[str, str], tuple[float, float, float, float]]:
    """(modality, kind) -> NLL alone, NLL fused on the same trials, and alone less the gap's interval; strength 1."""
    full = sheet[sheet["strength"] == 1]
    table = full.pivot_table(index=["modality", "kind"], columns="score", values=["value", "low", "high"])
    rows = {}
    for modality in findings.modalities:
        for kind in WORDS:
            if (modality, kind) not in table.index:
                continue
            row = table.loc[(modality, kind)]
            alone, gain = row.get(("value", "nll_alone"), np.nan), row.get(("value", "nll_spared"), np.nan)
            if np.isfinite([alone, gain]).all():
                gap = [row["high", "nll_spared"], row["low", "nll_spared"]]
                rows[modality, kind] = (alone, alone - gain, alone - gap[0], alone - gap[1])
    return rows


def _quality(sheet: pd.DataFrame) -> str:
    if "swapped" in set(sheet["kind"]):
        return (
            "The opinions themselves are disturbed; variances that ratings claim stay, and noise in log-probabilities "
            "of classes makes opinions surer than they were. "
        )
    return (
        "The quality of the disturbed signal is told to fusion only where it follows from the disturbance (dead "
        "channels, a flat EEG, missing); otherwise fusion has to find out from what the networks say. "
    )


def _worst(sheet: pd.DataFrame, left: int) -> str:
    rows = sheet[(sheet["score"] == "nll_loss") & (sheet["strength"] > 0)]
    out = ""
    if len(rows.dropna(subset=["value"])):
        row = rows.loc[rows["value"].idxmax()]
        out = (
            f"The dearest: {label(row['modality'])}, {WORDS.get(row['kind'], row['kind'])} at strength "
            f"{row['strength']:g}, {row['value']:+.3f} nats [{row['low']:.3f}, {row['high']:.3f}] per trial."
        )
    return out + (f" {left} modalities that matter less when they are missing are in the table alone." if left else "")
