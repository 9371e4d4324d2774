"""What the sheets on disturbed sensors, handed-back trials and EEG say, in sentences."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from bayesaffect.report.figures.robustness import WORDS

TOLERATED = 0.85
Sheets = Mapping[str, pd.DataFrame]


def sentences(sheets: Sheets) -> tuple[str, ...]:
    """Which sensor is missed most, what the worst fault costs, what handing back gains; per target.

    Parameters
    ----------
    sheets : those of `robustness` and `selective`; one that is absent or empty says nothing.
    """
    out = []
    for target, sheet in _by_target(sheets, "robustness"):
        out += [_missed(target, sheet), _dearest(target, sheet), _beaten(target, sheet), _hybrid(target, sheet)]
    out += [_handed_back(target, sheet) for target, sheet in _by_target(sheets, "selective")]
    return tuple(line for line in out if line)


def of_eeg(sheets: Sheets) -> tuple[str, ...]:
    """Which electrode and which band of EEG are needed most, per target, from the sheets ``scalp`` and ``bands``."""
    bands = dict(_by_target(sheets, "bands"))
    out = [_needed(target, sheet, bands.get(target)) for target, sheet in _by_target(sheets, "scalp")]
    return tuple(line for line in out if line)


def cautions(sheets: Sheets) -> tuple[str, ...]:
    """What must be known before a sensor is relied on.

    Per target at most one sentence each on: 90 % intervals that hold the truth too rarely (upper limit below 0.85)
    although a sensor is disturbed; a disturbed sensor that costs more than a missing one (the intervals of the two
    losses lie apart); fusion that is worse than the disturbed sensor alone (interval beyond 0).
    """
    out = []
    for target, sheet in _by_target(sheets, "robustness"):
        full = sheet[sheet["strength"] > 0]
        rows = full[(full["score"] == "coverage90") & (full["high"] < TOLERATED)]
        if len(rows):
            row = rows.loc[rows["value"].idxmin()]
            out.append(
                f"{target}: with {_fault(row)} the 90 % intervals of fusion hold only {_share(row)} of the truths: "
                "fusion does not notice this fault enough."
            )
        lost = full[full["score"] == "nll_loss"]
        gone = lost[(lost["kind"] == "missing") & (lost["strength"] == 1)].set_index("modality")
        limit = lost["modality"].map(gone["high"])
        rows = lost[(lost["kind"] != "missing") & (lost["low"] > limit)]
        if len(rows):
            row = rows.loc[rows["value"].idxmax()]
            out.append(
                f"{target}: {_fault(row)} costs fusion {_nats(row)}, more than no {row['modality']} at all "
                f"({_nats(gone.loc[row['modality']])}): such trials should be left out, not predicted."
            )
        rows = full[(full["score"] == "nll_spared") & (full["high"] < 0)]
        if len(rows):
            row = rows.loc[rows["value"].idxmin()]
            harm = pd.Series({"value": -row["value"], "low": -row["high"], "high": -row["low"]})
            out.append(f"{target}: with {_fault(row)} fusion is worse than that sensor alone, by {_nats(harm)}.")
    return tuple(out)


def _by_target(sheets: Sheets, name: str) -> list[tuple[str, pd.DataFrame]]:
    sheet = sheets.get(name)
    return [] if sheet is None or sheet.empty else [(str(t), part) for t, part in sheet.groupby("target", sort=False)]


def _missed(target: str, sheet: pd.DataFrame) -> str:
    rows = sheet[(sheet["kind"] == "missing") & (sheet["strength"] == 1) & (sheet["score"] == "nll_loss")]
    rows = rows.dropna(subset=["value"]).sort_values("value", ascending=False)
    if rows.empty:
        return ""
    listed = "; ".join(f"{row['modality']} {_nats(row, unit='')}" for _, row in rows.iterrows())
    return f"{target}: what fusion loses per trial when a sensor is missing, in nats: {listed}."


def _dearest(target: str, sheet: pd.DataFrame) -> str:
    rows = sheet[(sheet["score"] == "nll_loss") & (sheet["strength"] > 0) & (sheet["kind"] != "missing")]
    rows = rows.dropna(subset=["value"])
    if rows.empty:
        return ""
    row = rows.loc[rows["value"].idxmax()]
    return f"{target}: of all disturbances tried, {_fault(row)} costs fusion most, {_nats(row)} per trial."


def _beaten(target: str, sheet: pd.DataFrame) -> str:
    told, _ = _compared(target, sheet, "nll_spared", "fusion has a lower NLL than that sensor alone")
    return f"{told}." if told else ""


def _hybrid(target: str, sheet: pd.DataFrame) -> str:
    """Late against hybrid fusion; empty where the study has no hybrid one."""
    told, worse = _compared(target, sheet, "hybrid_gain", "hybrid fusion has a lower NLL than late fusion")
    return f"{told}, and clearly a higher one in {worse}." if told else ""


def _compared(target: str, sheet: pd.DataFrame, score: str, claim: str) -> tuple[str, int]:
    """How often a gain is positive and clearly so at full strength, in words; and how often clearly negative."""
    full = sheet[(sheet["score"] == score) & (sheet["strength"] == 1)].dropna(subset=["value"])
    told = (
        f"{target}: with a sensor disturbed at full strength, {claim} in {int((full['value'] > 0).sum())} of "
        f"{len(full)} cases, clearly (90 % interval) in {int((full['low'] > 0).sum())}"
    )
    return (told if len(full) else ""), int((full["high"] < 0).sum())


def _handed_back(target: str, sheet: pd.DataFrame) -> str:
    told = []
    for model, part in sheet.groupby("model", sort=False):
        rows = part.set_index("handed_back")
        if 0.0 not in rows.index or 0.2 not in rows.index:
            continue
        a, b = rows.loc[0.0], rows.loc[0.2]
        what = "RMSE" if a["score"] == "rmse" else a["score"]
        told.append(f"{model}: {what} {a['value']:.3f} to {b['value']:.3f} [{b['low']:.3f}, {b['high']:.3f}]")
    return f"{target}: handing back the least certain 20 % of the trials changes {'; '.join(told)}." if told else ""


def _needed(target: str, channels: pd.DataFrame, bands: pd.DataFrame | None) -> str:
    told = []
    for sheet, what, one in ((channels, "channel", "electrode"), (bands, "band", "band")):
        if sheet is None:
            continue
        mine = sheet[sheet["model"] != "late"].dropna(subset=["value"])
        if mine.empty:
            continue
        clear, row = mine[mine["low"] > 0], mine.loc[mine["value"].idxmax()]
        if clear.empty:
            told.append(f"no single {one} is clearly needed")
        else:
            told.append(f"the {one} needed most is {row[what]} ({_nats(row)} lost without it)")
    return f"{target}, EEG: {'; '.join(told)}." if told else ""


def _fault(row: pd.Series) -> str:
    return f"{row['modality']} disturbed ({WORDS.get(row['kind'], row['kind'])}, strength {row['strength']:g})"


def _nats(row: pd.Series, unit: str = " nats") -> str:
    return f"{row['value']:.3f}{unit} [{row['low']:.3f}, {row['high']:.3f}]"


def _share(row: pd.Series) -> str:
    return f"{100 * row['value']:.0f} % [{100 * row['low']:.0f}, {100 * row['high']:.0f}]"
