"""Which electrodes, and which bands, EEG needs: losses when one is taken away."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
from matplotlib import colors
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable

from bayesaffect.report.findings import Findings
from bayesaffect.report.style import DOUBLE, FAINT, GRID, INK, SINGLE, Picture, colours, label, markers, panels, paper

CHANNELS, BANDS = "scalp", "bands"
LEAST = 6  # electrodes with a known place from which on a map is drawn
MONTAGES = ("standard_1005", "colin27_1005")


@paper
def scalp(findings: Findings) -> Picture | None:
    """A head per target (columns) and listener (rows): loss of NLL without each electrode; rings mark clear losses."""
    sheet = findings.sheets.get(CHANNELS)
    if sheet is None or sheet.empty:
        return None
    place = _places(tuple(dict.fromkeys(str(e) for e in sheet["electrode"].dropna() if str(e))))
    sheet = sheet[sheet["electrode"].astype(str).isin(list(place))].drop_duplicates(["target", "model", "electrode"])
    if len(place) < LEAST or sheet.empty:
        return None
    models, targets = list(dict.fromkeys(sheet["model"])), [t.name for t in findings.targets]
    targets = [t for t in targets if t in set(sheet["target"])]
    width = DOUBLE if len(targets) > 1 else SINGLE
    figure, grid = panels(len(models), len(targets), width=width, height=0.75 + 1.85 * len(models))
    clear = 0
    for row, model in zip(grid, models, strict=True):
        mine = sheet[sheet["model"] == model]
        limit = max(float(np.nanmax(np.abs(mine["value"]))), 1e-4)
        for axes, target in zip(row, targets, strict=True):
            part = mine[mine["target"] == target]
            clear += _head(axes, part, place, limit)
            if model == models[0]:
                axes.set_title(target, loc="center")
        row[0].annotate(
            _whose(model), (-0.08, 0.5), xycoords="axes fraction", rotation=90, va="center", ha="right", fontsize=8
        )
        norm = colors.TwoSlopeNorm(0, -limit, limit)
        bar = figure.colorbar(ScalarMappable(norm, "PuOr_r"), ax=list(row), shrink=0.7, pad=0.02, aspect=14)
        bar.outline.set_visible(False)
        bar.set_label("nats lost per trial", fontsize=7)
    caption = (
        "What is lost when one electrode is taken away at test time: its band power is set to the person's own mean, "
        "nothing is filled in from its neighbours. Orange: needed; purple: better without. Dots are electrodes, rings "
        "those whose 90 % interval (bootstrap over subjects) excludes 0; with this many electrodes about one in ten "
        f"would by chance. {clear} of {len(sheet)} are ringed. What two electrodes tell alike counts for neither. "
        f"{_most(sheet, 'electrode')}"
    )
    return Picture("eeg_scalp", "Where on the scalp EEG tells", caption, figure)


@paper
def bands(findings: Findings) -> Picture | None:
    """Dots with whiskers: loss of NLL without each band, for the EEG network alone and for fusion."""
    sheet = findings.sheets.get(BANDS)
    if sheet is None or sheet.empty:
        return None
    names, models = list(dict.fromkeys(sheet["band"])), list(dict.fromkeys(sheet["model"]))
    targets = [t.name for t in findings.targets if t.name in set(sheet["target"])]
    ink, shape = colours(findings.modalities, findings.models), markers(findings.modalities, findings.models)
    width = DOUBLE if len(targets) > 1 else SINGLE
    figure, grid = panels(1, len(targets), width=width, height=0.8 + 0.3 * len(names), sharey=True)
    handles = {}
    for axes, target in zip(grid[0], targets, strict=True):
        axes.axvline(0, color=FAINT, lw=0.8, zorder=1)
        for k, model in enumerate(models):
            part = sheet[(sheet["target"] == target) & (sheet["model"] == model)].set_index("band")
            part = part.reindex(names)
            y = np.arange(len(names)) + 0.26 * (k - (len(models) - 1) / 2)
            axes.barh(y, part["value"], height=0.24, color=ink.get(model, INK), alpha=0.35, lw=0, zorder=2)
            axes.hlines(y, part["low"], part["high"], color=ink.get(model, INK), lw=1.2, zorder=3)
            (dot,) = axes.plot(part["value"], y, shape.get(model, "o"), color=ink.get(model, INK), ms=3.6, zorder=4)
            handles[_whose(model)] = dot
        axes.set_title(target)
        axes.set_xlabel("nats lost per trial")
        axes.grid(axis="x", color=GRID, lw=0.5)
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
    grid[0, 0].set_yticks(range(len(names)), names)
    grid[0, 0].invert_yaxis()
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=len(handles))
    caption = (
        "What is lost when one frequency band is taken away from all electrodes at test time (set to the person's own "
        "mean): to the right of 0 it is needed. Whiskers: 90 % intervals of a bootstrap over subjects. "
        f"{_most(sheet, 'band')}"
    )
    return Picture("eeg_bands", "Which rhythms of EEG tell", caption, figure)


def _head(axes: Axes, part: pd.DataFrame, place: dict[str, np.ndarray], limit: float) -> int:
    """One head, white where nothing is lost; how many electrodes are ringed."""
    from mne.viz import plot_topomap

    at = np.array([place[str(e)] for e in part["electrode"]])
    ringed = ((part["low"] > 0) | (part["high"] < 0)).to_numpy()
    ring = {"marker": "o", "markerfacecolor": "none", "markeredgecolor": INK, "markersize": 5, "markeredgewidth": 0.8}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        plot_topomap(
            part["value"].to_numpy(float), at, axes=axes, show=False, cmap="PuOr_r", vlim=(-limit, limit),
            sensors="k.", contours=0, mask=ringed, mask_params=ring, res=96, sphere=(0, 0, 0, 1), border=0,
        )  # fmt: skip
    for line in axes.lines:
        if line.get_marker() == ".":
            line.set_markersize(2.5)
    return int(ringed.sum())


def _places(electrodes: tuple[str, ...]) -> dict[str, np.ndarray]:
    """electrode -> place (2,) on a head of radius 1 seen from above, of those that the standard montage knows.

    Heads are stretched to a unit sphere by the ring Fpz, T8, Oz, T7 and the vertex Cz; the distance from the middle is
    the angle from the vertex, and the ring of 90 degrees has radius 0.92.
    """
    if not electrodes:
        return {}
    import mne

    there = set(mne.channels.get_builtin_montages())  # MNE 1.13 renamed it
    montage = mne.channels.make_standard_montage(next(name for name in MONTAGES if name in there))
    point = {name.casefold(): p for name, p in montage.get_positions()["ch_pos"].items()}
    ring = np.array([point[name] for name in ("fpz", "t8", "oz", "t7")])
    middle = (ring.max(0) + ring.min(0)) / 2
    middle[2] = ring[:, 2].mean()
    size = (ring.max(0) - ring.min(0)) / 2
    size[2] = point["cz"][2] - middle[2]
    places: dict[str, np.ndarray] = {}
    for electrode in electrodes:
        if electrode.casefold() in point:
            x, y, z = (point[electrode.casefold()] - middle) / size
            flat = max(np.hypot(x, y), 1e-9)
            places[electrode] = 0.92 * np.arctan2(flat, z) / (np.pi / 2) * np.array([x, y]) / flat
    return places


def _whose(model: str) -> str:
    return "in late fusion" if model == "late" else f"{label(model)} alone"


def _most(sheet: pd.DataFrame, what: str) -> str:
    """The dearest losses in words, one per target and model."""
    told = []
    for (target, model), part in sheet.groupby(["target", "model"], sort=False):
        row = part.loc[part["value"].idxmax()]
        interval = f"{row['value']:.3f} [{row['low']:.3f}, {row['high']:.3f}]"
        told.append(f"{target}, {_whose(model)}: {row[what]} ({interval})")
    return f"Most needed: {'; '.join(told)}."
