"""Studies side by side: one page from what several reports left on disk."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from html import escape
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from bayesaffect.errors import InputError
from bayesaffect.evaluate import records
from bayesaffect.files import write_text
from bayesaffect.report.brief import SHOWN
from bayesaffect.report.drawing import draw
from bayesaffect.report.figures import compare as figures_compare
from bayesaffect.report.figures.scores import HIGHER, LOWER, score_name
from bayesaffect.report.latex import latex
from bayesaffect.report.markup import facts, figure, folded, listed, paragraph, table
from bayesaffect.report.page_style import document
from bayesaffect.report.style import label, slug
from bayesaffect.report.tables import ordered_scores

TOLD = "findings.json"


class Study(NamedTuple):
    """What a report left: its name, what it tells about itself, its scores, weights and flat records."""

    name: str
    about: dict
    scores: pd.DataFrame
    weights: pd.DataFrame
    records: pd.DataFrame | None


def write_comparison(folders: Sequence[Path], out: Path, *, command: str = "bayesaffect report --compare") -> Path:
    """Write ``OUT/index.html`` (self-contained), figures and tables that set studies side by side; return its path.

    Parameters
    ----------
    folders : workspaces with a report, or report folders themselves; at least two.
    out : folder of the page, ``figures/`` and ``tables/``.

    Raises `InputError` for a folder without a report, fewer than two, or studies whose targets differ.
    """
    folders = [Path(folder) for folder in folders]
    if len(folders) < 2:
        raise InputError("there is nothing to compare", remedy="give two or more workspaces")
    names = _names(folders)
    studies = [read(folder, name) for folder, name in zip(folders, names, strict=True)]
    targets = _same_targets(studies)
    out = Path(out)
    sheets = {
        "scores": pd.concat([s.scores.assign(study=s.name) for s in studies], ignore_index=True),
        "weights": pd.concat([s.weights.assign(study=s.name) for s in studies], ignore_index=True),
        "protocols": protocols(studies),
        "paired": paired(studies, targets),
    }
    for name, sheet in sheets.items():
        write_text(out / "tables" / f"{name}.csv", sheet.to_csv(index=False))
        caption = f"{name.capitalize()} of {' and '.join(names)}"
        write_text(out / "tables" / f"{name}.tex", latex(sheet, caption=caption, name=slug(f"compare_{name}")))
    catalogue = []
    for target in targets:
        catalogue.append(("scores", partial(figures_compare.scores, sheets["scores"], target, names)))
        catalogue.append(("weights", partial(figures_compare.weights, sheets["weights"], target, names)))
    drawn = draw(catalogue, out / "figures")
    return write_text(out / "index.html", _page(studies, targets, sheets, drawn, command))


def read(folder: Path, name: str) -> Study:
    """The report of a workspace, or of a report folder."""
    report = folder / "report" if (folder / "report").is_dir() else folder
    if not (report / TOLD).is_file() or not (report / "scores.json").is_file():
        raise InputError("there is no report", where=str(folder), remedy=f"run `bayesaffect report {folder}` first")
    try:
        about = json.loads((report / TOLD).read_text(encoding="utf-8"))
        scores = pd.DataFrame(json.loads((report / "scores.json").read_text(encoding="utf-8")))
    except ValueError:
        raise InputError(
            "its report cannot be read", where=str(folder), remedy=f"run `bayesaffect report {folder}` again"
        ) from None
    scores[["value", "low", "high"]] = scores[["value", "low", "high"]].astype(float)
    weights, flat = (report / "tables" / f"{name}.csv" for name in ("weights", "records"))
    if weights.is_file():
        weights = pd.read_csv(weights, dtype={"subject": str})
    else:
        weights = pd.DataFrame(columns=["target", "subject", "modality", "q05", "median", "q95"])
    return Study(name, about, scores, weights, records.read(flat) if flat.is_file() else None)


def _names(folders: Sequence[Path]) -> list[str]:
    """The shortest ends of the paths that tell the studies apart."""
    parts = [folder.resolve().parts for folder in folders]
    if len(set(parts)) < len(parts):
        raise InputError("the same study is given twice", where=str(folders[0]), remedy="name each workspace once")
    for depth in range(1, max(map(len, parts)) + 1):
        names = ["/".join(p[-depth:]) for p in parts]
        if len(set(names)) == len(names):
            return names
    return [str(folder) for folder in folders]


def _same_targets(studies: Sequence[Study]) -> list[str]:
    first = studies[0]
    for other in studies[1:]:
        if other.about["targets"] != first.about["targets"]:
            told = [", ".join(sorted(s.about["targets"])) for s in (first, other)]
            what = (
                f"{first.name} and {other.name} ask different things ({told[0]} against {told[1]})"
                if told[0] != told[1]
                else f"{first.name} and {other.name} rate {told[0]} on different scales or in different classes"
            )
            raise InputError(what, remedy="compare studies of the same targets on the same scales")
    return list(first.about["targets"])


def protocols(studies: Sequence[Study]) -> pd.DataFrame:
    """A row per point of the protocol, a column per study."""
    points = list(dict.fromkeys(k for s in studies for k in s.about["protocol"]))
    columns = {s.name: [s.about["protocol"].get(k, "") for k in points] for s in studies}
    return pd.DataFrame({"point": points, **columns})


def paired(studies: Sequence[Study], targets: Sequence[str], *, resamples: int = 1000) -> pd.DataFrame:
    """NLL of each study's main model minus that of the first study's, where both tested the same people.

    The mean over trials of the people in both, sum_s n_s (x_s - y_s) / sum_s n_s with each subject's mean NLLs x_s,
    y_s and its n_s trials; limits 5 and 95 % of resamples of people (Efron & Tibshirani 1993). Somebody is in both if
    the same was true of trials of the same names: subjects of two data sets may both be called S01. People with another
    number of trials in the other study are left out, and so are studies that share fewer than five people.

    Returns columns study, against, target, value, low, high, subjects.
    """
    rows = []
    first, *others = studies
    for other in others:
        for target in targets:
            left, right = (_subject_nll(s, target) for s in (other, first))
            if left is None or right is None:
                continue
            both = left.join(right, how="inner", lsuffix="_a", rsuffix="_b")
            same = [s for s in both.index if _digest(other, s) and _digest(other, s) == _digest(first, s)]
            both = both.loc[same][lambda rows: rows["trials_a"] == rows["trials_b"]].dropna()
            if len(both) < 5:
                continue
            size, gap = both["trials_a"].to_numpy(float), (both["value_a"] - both["value_b"]).to_numpy()
            draw = np.random.default_rng(0).multinomial(len(both), np.full(len(both), 1 / len(both)), size=resamples)
            low, high = np.quantile((draw @ (gap * size)) / (draw @ size), [0.05, 0.95])
            rows.append((other.name, first.name, target, gap @ size / size.sum(), low, high, len(both)))
    return pd.DataFrame(rows, columns=["study", "against", "target", "value", "low", "high", "subjects"])


def _digest(study: Study, subject: str) -> str | None:
    return study.about.get("people", {}).get(subject)


def _subject_nll(study: Study, target: str) -> pd.DataFrame | None:
    if study.records is None:
        return None
    rows = study.records
    rows = rows[(rows["model"] == study.about["headline"]) & (rows["target"] == target) & (rows["score"] == "nll")]
    return rows.set_index("subject")[["value", "trials"]] if len(rows) else None


def side_by_side(scores: pd.DataFrame, target: str, score: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Models by studies: texts ``value [low, high]``, and whether the value is the best of its row, if they differ."""
    rows = scores[(scores["target"] == target) & (scores["score"] == score)].dropna(subset=["value"])
    text = [
        f"{r.value:.3f} [{r.low:.3f}, {r.high:.3f}]" if np.isfinite([r.low, r.high]).all() else f"{r.value:.3f}"
        for r in rows.itertuples()
    ]
    order = {"index": list(dict.fromkeys(rows["model"])), "columns": list(dict.fromkeys(scores["study"]))}
    told = rows.assign(text=text).pivot(index="model", columns="study", values="text").reindex(**order).fillna("–")
    value = rows.pivot(index="model", columns="study", values="value").reindex(**order)
    told.columns.name = value.columns.name = None
    none = pd.DataFrame(False, index=value.index, columns=value.columns)
    best = value.min(axis=1) if score in LOWER else value.max(axis=1) if score in HIGHER else None
    return told, none if best is None else value.eq(best, axis=0).mul(value.nunique(axis=1) > 1, axis=0)


def _page(studies: Sequence[Study], targets: Sequence[str], sheets: dict, drawn: dict, command: str) -> str:
    pictures = [f for section in ("scores", "weights") for f in drawn.get(section, [])]
    places = {f.picture.name: k + 1 for k, f in enumerate(pictures)}

    def figures(section: str) -> str:
        return "".join(figure(f.picture, f.png, places[f.picture.name]) for f in drawn.get(section, []))

    title = "Studies side by side"
    head = f'<h1 class="name">{title}</h1>{_verdicts(studies)}{_summary(studies, sheets)}'
    points = sheets["protocols"].set_index("point")
    same = points.nunique(axis=1) == 1
    body = ""
    if (~same).any():
        body += paragraph("Where the studies differ:") + table(points[~same])
    if same.any():
        body += paragraph("The same in all:") + facts(points[same].iloc[:, 0].to_dict())
    parts = [
        ("summary", "Summary", head),
        ("protocols", "Protocols", f"<h2>Protocols</h2>{body}"),
        ("scores", "Scores", f"<h2>Scores</h2>{figures('scores')}{_scores(studies, targets, sheets)}"),
    ]
    if len(sheets["weights"]):
        parts.append(("weights", "Weights", f"<h2>Weights</h2>{figures('weights')}"))
    again = {s.name: s.about["command"] for s in studies}
    hashes = {f"{s.name}: {k}": v for s in studies for k, v in s.about.get("hashes", {}).items()}
    made = f'<h2>How to reproduce</h2><pre class="command">{escape(command)}</pre>{facts(again)}{facts(hashes)}'
    parts.append(("reproduce", "How to reproduce", made))
    return document(title, parts, made_by=command)


def _verdicts(studies: Sequence[Study]) -> str:
    out = ""
    for study in studies:
        for kind, key in (("failed", "failures"), ("doubtful", "cautions")):
            if lines := study.about.get(key):
                what = "failed checks" if key == "failures" else "be careful"
                told = listed(lines[:SHOWN]) if key == "failures" else listed(lines)
                if key == "failures" and lines[SHOWN:]:
                    told += folded(f"And {len(lines) - SHOWN} more", listed(lines[SHOWN:]))
                out += f'<div class="banner {kind}"><strong>{escape(study.name)}: {what}.</strong>{told}</div>'
    if not out:
        told = "No failure and no caution was reported by any of the studies."
        out = f'<div class="banner passed"><strong>{told}</strong></div>'
    return out


def _summary(studies: Sequence[Study], sheets: dict) -> str:
    counts = {
        s.name: f"{s.about['subjects']} subjects, {s.about['trials']} trials; {', '.join(s.about['modalities'])}"
        for s in studies
    }
    rows = sheets["paired"]
    if rows.empty:
        told = (
            "The studies do not share enough people to be compared person by person. Intervals that overlap do not "
            "show that two studies are alike, and a difference may come from the people, the sensors or the protocol."
        )
        return facts(counts) + paragraph(told)
    lines = []
    for r in rows.itertuples():
        verdict = "lower" if r.high < 0 else "higher" if r.low > 0 else "not clearly different"
        lines.append(
            f"{r.target}: NLL of {r.study} is {verdict}: {r.value:+.3f} [{r.low:+.3f}, {r.high:+.3f}] against "
            f"{r.against}, on the same {r.subjects} people."
        )
    return facts(counts) + listed(lines)


def _scores(studies: Sequence[Study], targets: Sequence[str], sheets: dict) -> str:
    out = paragraph("Value and, below it, its 90 % interval over subjects; the best study of a row is bold.")
    headline = studies[0].about["headline"]
    for target in targets:
        names = ordered_scores(sheets["scores"], target)
        blocks = []
        for name in names:
            told, best = side_by_side(sheets["scores"], target, name)
            shown = table(told, strong=best, row=headline)
            blocks.append(f"<div><h4>{escape(score_name(name))}</h4>{shown}</div>")
        rest = folded("More scores", _beside(blocks[2:])) if blocks[2:] else ""
        out += f"<h3>{escape(label(target))}</h3>{_beside(blocks[:2])}{rest}"
    return out


def _beside(blocks: Sequence[str]) -> str:
    """Side by side where there is room."""
    return f'<div class="beside">{"".join(blocks)}</div>'
