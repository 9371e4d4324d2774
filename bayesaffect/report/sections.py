"""What stands in each section of the page, apart from its figures."""

from __future__ import annotations

from html import escape

import numpy as np
import pandas as pd

from bayesaffect.report import tables
from bayesaffect.report.figures.robustness import SHEET
from bayesaffect.report.figures.robustness import WORDS as WORDS_OF_KINDS
from bayesaffect.report.figures.scores import score_name, sorted_scores
from bayesaffect.report.findings import Findings
from bayesaffect.report.markup import anchor, facts, folded, listed, number, paragraph, table
from bayesaffect.report.style import label, scale

# key of a section (that of its figures in the catalogue) -> its title, in the order of the page
SECTIONS = {
    "summary": "Summary",
    "protocol": "Protocol",
    "failed": "What failed, and what to be careful with",
    "data": "Data and quality",
    "scores": "Single modality against fusion",
    "calibration": "Calibration",
    "predictions": "Predictions",
    "weights": "Weights",
    "importance": "Importance and complementarity",
    "robustness": "Robustness",
    "subjects": "Subjects one by one",
    "diagnostics": "Diagnostics",
    "reproduce": "How to reproduce",
    "words": "Words and abbreviations",
}
WORDS = f'The abbreviations are explained <a href="#{anchor(SECTIONS["words"])}">at the end</a>.'
_STRENGTHS = {
    "noise": "white noise of a size that drowns most of the signal; of opinions in a table, of their own spread",
    "occlusion": "all of the face is grey; less: its lower part",
    "flat": "the sensor stands still during the whole trial; less: at its end",
    "channels": "all channels but two are dead; of physiology, all signals",
    "shift": "the sensor's clock lags by 2 s; less: on each trial by the whole frames (of EEG maps, a second or so) "
    "next to it, exact in the mean over trials",
    "swapped": "every trial has the opinion of another trial",
    "missing": "no trial has this modality; less: only some lack it",
}
_LISTED = 400
_SHEETS = {
    "calibration": {"conformal": "Conformal beside Bayesian sets and intervals"},
    "scores": {"selective": "What is gained by handing back the least certain trials"},
    "importance": {
        "shapley": "What each modality adds, in nats",
        "subsets": "Every subset of the modalities",
        "pairs": "Pairs of modalities",
        "bands": "Frequency bands of the EEG",
    },
    "robustness": {"robustness": "Scores of disturbed modalities"},
}


def protocol(findings: Findings) -> str:
    """What a reviewer asks first."""
    return facts(findings.protocol)


def failed(findings: Findings) -> str:
    """What the gate refused, what looks wrong, and the fits that were drawn again."""
    out = "<h3>The gate on the chains</h3>"
    out += listed(findings.failures) if findings.failures else paragraph("Nothing was refused.")
    out += "<h3>Cautions</h3>"
    cautions = (*findings.cautions, *findings.doubts)
    out += listed(cautions) if cautions else paragraph("Nothing was flagged.")
    return out + repeated(findings)


def repeated(findings: Findings) -> str:
    """Fits that the gate refused at first."""
    if not findings.repeated:
        return ""
    return "<h3>Fits that were drawn again, more carefully</h3>" + listed(findings.repeated)


def data(findings: Findings) -> str:
    """Counts, in a list of facts."""
    total = findings.data["trials"].sum()
    told = {"Subjects": len(findings.data), "Trials": f"{total:.0f}"}
    told |= {
        f"With {label(m)}": f"{findings.data[m].sum():.0f} ({100 * findings.data[m].sum() / max(total, 1):.1f} %)"
        for m in findings.modalities
    }
    for target in findings.targets:
        values = findings.truth[target.name].values
        known = np.isfinite(values) & ((values >= 0) | (target.kind == "continuous"))
        legal = scale(target) if target.bounds else ", ".join(target.levels)
        told[f"Target {target.name}"] = f"{legal}; known for {int(known.sum())} trials"
    return facts(told)


def omissions(findings: Findings) -> str:
    """What was left out, by reason; all of them one by one behind a fold."""
    if not findings.omissions:
        return "<h3>Left out</h3><p>Nothing was left out.</p>"
    short = tables.grouped(findings.omissions)
    frame = (
        short.drop(columns="count")
        .assign(count=short["count"])[["count", "scope", "where", "remedy"]]
        .set_axis(short["reason"])
        .rename_axis("reason")
    )
    out = f"<h3>Left out</h3><p>{len(findings.omissions)} in all, by reason:</p>" + table(frame)
    every = tables.omissions(findings).set_index("where")
    if len(every) <= 500 and len(every) > len(short):
        out += folded(f"All {len(every)} one by one", table(every))
    return out


def scores(findings: Findings) -> str:
    """Per target the main scores of every model, and all of them behind a fold."""
    out = []
    for target in findings.targets:
        rows = findings.scores[findings.scores["target"] == target.name]
        names = sorted_scores(rows.dropna(subset=["value"])["score"])
        main = tables.main_scores(findings, target.name)
        if main:
            out.append(f"<h3>{escape(label(target.name))}</h3>" + _score_table(findings, target.name, main))
        if len(names) > 7:
            out.append(folded("Every score", _score_table(findings, target.name, names)))
    note = (
        "<p>Value and, below it, its 90 % interval over subjects; the best value of a column is bold (for "
        f"coverage: the closest to its nominal level). {WORDS}</p>"
    )
    return note + "".join(out) if out else ""


def _score_table(findings: Findings, target: str, names: list[str]) -> str:
    text, best = tables.pivot(findings, target, names)
    text.columns = [score_name(c) for c in text.columns]
    return table(text.rename_axis("model"), strong=best, row=findings.headline)


def weights(findings: Findings) -> str:
    """Mean weights of the modalities, and what poor signals cost where that was learned."""
    rows = tables.weights(findings)
    rows = rows[rows["subject"] == "(mean)"]
    if rows.empty:
        return discounts(findings)
    text = [f"{r.median:.3f} [{r.q05:.3f}, {r.q95:.3f}]" for r in rows.itertuples()]
    wide = rows.assign(text=text).pivot(index="target", columns="modality", values="text")
    wide = wide.loc[list(dict.fromkeys(rows["target"])), list(dict.fromkeys(rows["modality"]))].fillna("–")
    wide.columns = [label(c) for c in wide.columns]
    wide.columns.name = None
    none = pd.DataFrame(False, index=wide.index, columns=wide.columns)
    told = "A modality's weight is its share of the fused posterior. Mean over subjects, median and 90 % interval:"
    return paragraph(told) + table(wide, strong=none) + discounts(findings)


def discounts(findings: Findings) -> str:
    """Posterior of what poor signals cost, for the fits that learned it."""
    found = findings.discounts
    if not found:
        return ""
    rows = {}
    for fit, share in found.items():
        low, half, high = np.quantile(share.transpose("sample", "modality").values, (0.05, 0.5, 0.95), axis=0)
        names = [label(str(m)) for m in share["modality"].values]
        text = [f"{b:.2f} [{a:.2f}, {c:.2f}]" for a, b, c in zip(low, half, high, strict=True)]
        rows[fit] = dict(zip(names, text, strict=True))
    wide = pd.DataFrame.from_dict(rows, orient="index").fillna("–")
    none = pd.DataFrame(False, index=wide.index, columns=wide.columns)
    return (
        "<h3>What a poor signal costs</h3><p>Share of its strength that an opinion loses when the quality of its "
        "signal falls from 1 to 0: 0 means that quality is no guide to errors, 1 that an opinion on a useless signal "
        "is ignored. What is left divides the error's standard deviation of a rating, and multiplies the weight of "
        "class probabilities. Median and 90 % interval:</p>" + table(wide, strong=none)
    )


def robustness(findings: Findings) -> str:
    """What the strength of each kind of disturbance is."""
    sheet = findings.sheets.get(SHEET)
    if sheet is None or sheet.empty:
        return ""
    kinds = [kind for kind in WORDS_OF_KINDS if kind in set(sheet["kind"])]
    told = {WORDS_OF_KINDS[kind].capitalize(): _STRENGTHS[kind] for kind in kinds}
    note = (
        "At strength 0 nothing is disturbed; those predictions are made with as few draws as the disturbed ones, and "
        "may differ a little from the scores above. What strength 1 is, and less of it in proportion:"
    )
    return paragraph(note) + facts(told)


def subjects(findings: Findings) -> str:
    """A row per subject, folded: the cards tell the same at a glance."""
    frame = tables.subjects(findings)
    return folded(f"Table of all {len(frame)} subjects", table(frame))


def diagnostics(frame: pd.DataFrame) -> str:
    """Per fit: a row per variable, folded, below what matters of it."""
    out = []
    for fit, rows in frame.groupby("fit", sort=False):
        shown = rows.set_index("variable")[["elements", "r_hat", "ess_bulk", "ess_tail"]]
        shown = shown.assign(ess_bulk=shown["ess_bulk"].round(), ess_tail=shown["ess_tail"].round())
        shown.columns = ["elements", "largest R-hat", "smallest bulk ESS", "smallest tail ESS"]
        count = rows["divergences"].iloc[0]
        told = "divergences were not recorded" if pd.isna(count) else f"{int(count)} divergent transitions"
        worst = (
            f"Largest R-hat {rows['r_hat'].max():.3f}, smallest effective sample size "
            f"{rows[['ess_bulk', 'ess_tail']].min().min():.0f}, {told}."
        )
        head = f"<h3>{escape(label(str(fit)))}</h3>" + paragraph(worst)
        out.append(head + folded(f"All {len(shown)} variables", table(shown)))
    return "".join(out)


def reproduce(findings: Findings) -> str:
    """The command, seeds, versions and hashes."""
    seeds = {k: v for k, v in findings.protocol.items() if "seed" in k.lower()}
    command = f'<pre class="command">{escape(findings.command)}</pre>'
    out = f"<p>The command that makes this study again:</p>{command}{facts(seeds)}"
    out += f"<h3>Versions</h3>{facts(findings.versions)}"
    if findings.hashes:
        told = "The same settings and the same opinions have the same digests; a changed byte changes them."
        out += f"<h3>Hashes</h3>{paragraph(told)}{facts(findings.hashes)}"
    files = (
        "Beside this page lie every figure as PNG, PDF and SVG (folder figures) and every table as CSV and LaTeX "
        "(folder tables; they need the packages booktabs, longtable and graphicx)."
    )
    return out + paragraph(files)


def sheets(findings: Findings, section: str) -> str:
    """The flat tables that belong to a section, each behind a fold; long ones only as files."""
    out = ""
    for name, title in _SHEETS.get(section, {}).items():
        frame = findings.sheets.get(name)
        if frame is not None and 0 < len(frame) <= _LISTED:
            out += folded(title, table(intervals(frame), index=False, form=number))
    return out


def intervals(frame: pd.DataFrame) -> pd.DataFrame:
    """The columns value, low and high as one: ``value [low, high]``."""
    if not {"value", "low", "high"} <= set(frame.columns):
        return frame
    text = [
        f"{v:.3f} [{a:.3f}, {b:.3f}]" if np.isfinite([a, b]).all() else number(float(v))
        for v, a, b in zip(frame["value"], frame["low"], frame["high"], strict=True)
    ]
    return frame.drop(columns=["low", "high"]).assign(value=text)
