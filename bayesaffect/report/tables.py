"""Every table of the page, as a DataFrame of what is written to disk."""

from __future__ import annotations

import os
import re

import numpy as np
import pandas as pd

from bayesaffect.report import measure
from bayesaffect.report.diagnostics import divergences, variables
from bayesaffect.report.figures.scores import HIGHER, LOWER, ORDER, sorted_scores
from bayesaffect.report.figures.weights import leading, quantiles
from bayesaffect.report.findings import SCORE_COLUMNS, Findings, natural
from bayesaffect.types import Omission


def scores(findings: Findings) -> pd.DataFrame:
    """The scores with model, target, score, value, low, high as the first columns."""
    rest = [c for c in findings.scores.columns if c not in SCORE_COLUMNS]
    return findings.scores[[*SCORE_COLUMNS, *rest]].reset_index(drop=True)


def ordered_scores(table: pd.DataFrame, target: str, most: int = 7) -> list[str]:
    """The scores of a target that a reader asks for first, in a fixed order."""
    rows = table[table["target"] == target].dropna(subset=["value"])
    return [n for n in sorted_scores(rows["score"]) if n in ORDER][:most]


def main_scores(findings: Findings, target: str) -> list[str]:
    """`ordered_scores` of a study."""
    return ordered_scores(findings.scores, target)


def grouped(omissions: tuple[Omission, ...]) -> pd.DataFrame:
    """One row per reason: scope, reason with its numbers replaced by …, how often, the first places, remedy."""
    rows: dict[tuple, list[tuple[Omission, str]]] = {}
    for omission, place in zip(omissions, places(omissions), strict=True):
        reason = re.sub(r"\d+(\.\d+)?", "…", omission.what)
        rows.setdefault((omission.scope, reason), []).append((omission, place))
    out = []
    for (scope, reason), group in sorted(rows.items(), key=lambda item: -len(item[1])):
        said = {o.what for o, _ in group}
        where = ", ".join(p for _, p in group[:4]) + (f" and {len(group) - 4} more" if len(group) > 4 else "")
        remedy = next((o.remedy for o, _ in group if o.remedy), "")
        out.append((scope, said.pop() if len(said) == 1 else reason, len(group), where, remedy))
    return pd.DataFrame(out, columns=["scope", "reason", "count", "where", "remedy"])


def places(omissions: tuple[Omission, ...]) -> list[str]:
    """Where each omission is; the folder that all absolute paths share is the reader's own affair and left out."""
    absolute = [o.where for o in omissions if os.path.isabs(o.where)]
    shared = os.path.commonpath([os.path.dirname(p) for p in absolute]) if absolute else ""
    return [os.path.relpath(o.where, shared) if os.path.isabs(o.where) else o.where for o in omissions]


def omissions(findings: Findings) -> pd.DataFrame:
    """Every omission, one row each."""
    where = places(findings.omissions)
    rows = [(o.scope, place, o.what, o.remedy) for o, place in zip(findings.omissions, where, strict=True)]
    return pd.DataFrame(rows, columns=["scope", "where", "what", "remedy"])


def weights(findings: Findings) -> pd.DataFrame:
    """Per target, subject and modality: quantiles of the weight; subject ``(mean)``: mean over subjects."""
    rows = []
    for target, share in findings.weights.items():
        people = sorted(share["subject"].values.tolist(), key=natural)
        for name in share["modality"].values:
            one = share.sel(modality=name)
            each = quantiles(one.transpose("sample", "subject").sel(subject=people))
            for k, subject in enumerate(people):
                rows.append((target, str(subject), str(name), *each[:, k]))
            rows.append((target, "(mean)", str(name), *quantiles(one.mean("subject"))))
    return pd.DataFrame(rows, columns=["target", "subject", "modality", "q05", "q25", "median", "q75", "q95"])


def subjects(findings: Findings) -> pd.DataFrame:
    """Index subject: trials, per target the NLL, fused and of the best single modality, and the leading modality."""
    people = sorted((str(s) for s in findings.data.index), key=natural)
    out = pd.DataFrame(index=pd.Index(people, name="subject"))
    out["trials"] = [int(findings.data["trials"].loc[s]) for s in sorted(findings.data.index, key=natural)]
    for target in findings.targets:
        continuous = target.kind == "continuous"
        measured, unit = (measure.ratings, target.half_range) if continuous else (measure.classes, 1.0)
        for title, model in (("", findings.headline), ("best single ", findings.best_single(target.name))):
            values = model and measured(findings, model, target.name)
            if values:
                each = measure.per_subject(measure.nll(values, unit), values.subject)
                out[f"{target.name}: NLL {title}({model})"] = pd.Series(each).reindex(people)
        if target.name in findings.weights:
            out[f"{target.name}: leading modality"] = pd.Series(leading(findings.weights[target.name])).reindex(people)
    return out


def diagnostics(findings: Findings) -> pd.DataFrame:
    """Per fit and variable: elements, largest R-hat, smallest bulk and tail ESS, divergences of the fit."""
    rows = []
    for fit, posterior in findings.posteriors.items():
        count = divergences(posterior)
        for name, row in variables(posterior).iterrows():
            rows.append((fit, name, int(row["elements"]), row["r_hat"], row["ess_bulk"], row["ess_tail"], count))
    columns = ["fit", "variable", "elements", "r_hat", "ess_bulk", "ess_tail", "divergences"]
    return pd.DataFrame(rows, columns=columns)


def pivot(findings: Findings, target: str, names: list[str]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Models by scores: the texts ``value [low, high]``, and whether the value is the best of its column."""
    models = [
        m for m in findings.models if ((findings.scores["model"] == m) & (findings.scores["target"] == target)).any()
    ]
    text = pd.DataFrame("", index=models, columns=names)
    value = pd.DataFrame(np.nan, index=models, columns=names)
    for model in models:
        for name in names:
            row = findings.value(model, target, name)
            if row is not None and np.isfinite(row["value"]):
                value.loc[model, name] = row["value"]
                reach = (
                    f" [{row['low']:.3f}, {row['high']:.3f}]" if np.isfinite([row["low"], row["high"]]).all() else ""
                )
                text.loc[model, name] = f"{row['value']:.3f}{reach}"
    best = pd.DataFrame(False, index=models, columns=names)
    for name in names:
        column = value[name].dropna()
        if column.empty:
            continue
        if name in LOWER:
            best[name] = value[name] == column.min()
        elif name in HIGHER:
            best[name] = value[name] == column.max()
        elif name.startswith("coverage") and name[8:].isdigit():
            gap = (value[name] - int(name[8:]) / 100).abs()
            best[name] = gap == gap.min()
    return text, best
