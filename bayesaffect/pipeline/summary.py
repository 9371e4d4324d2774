"""The findings in sentences that a clinician can read; every number is one of the tables'."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd
import xarray as xr

from bayesaffect.pipeline.fuse import HYBRID, LATE
from bayesaffect.types import Target

SHOWN = {"categorical": ("accuracy", "auroc", "nll", "ece"), "continuous": ("rmse", "ccc", "nll")}
NAMES = {"auroc": "AUROC", "nll": "NLL", "ece": "ECE", "rmse": "RMSE", "ccc": "CCC"}


def sentences(
    scores: pd.DataFrame,
    differences: pd.DataFrame,
    weights: Mapping[str, xr.DataArray],
    *,
    targets: Sequence[Target],
    modalities: Sequence[str],
) -> tuple[str, ...]:
    """One sentence per target on the fused scores, then comparison, coverage and weights."""
    table = scores.set_index(["model", "target", "score"])
    lines = [_scores(table, target) for target in targets]
    lines += [_comparison(table, differences, target, modalities) for target in targets]
    lines += [_hybrid(differences, target) for target in targets]
    lines += [_order(differences, target) for target in targets]
    lines += [_features(differences, target) for target in targets]
    lines += [_coverage(table, target) for target in targets if target.kind == "continuous"]
    lines += [_weights(weights[target.name], target) for target in targets if target.name in weights]
    return tuple(line for line in lines if line)


def _scores(table: pd.DataFrame, target: Target) -> str:
    shown = [
        f"{NAMES.get(score, score)} {row.value:.3f} [{row.low:.3f}, {row.high:.3f}]"
        for score in SHOWN[target.kind]
        if (row := _row(table, LATE, target, score)) is not None
    ]
    return f"{target.name.capitalize()} of people never seen before: fused {', '.join(shown)}."


def _comparison(table: pd.DataFrame, differences: pd.DataFrame, target: Target, modalities: Sequence[str]) -> str:
    """Fused against the modality with the lowest NLL, paired on the trials that both predict."""
    single = {m: row.value for m in modalities if (row := _row(table, m, target, "nll")) is not None}
    if not single:
        return ""
    best = min(single, key=single.get)
    rows = differences[(differences.b == best) & (differences.target == target.name) & (differences.score == "nll")]
    if rows.empty:
        return ""
    row = rows.iloc[0]
    verdict = "better than" if row.high < 0 else "worse than" if row.low > 0 else "not clearly different from"
    return (
        f"{target.name.capitalize()}: fusion is {verdict} the best single modality ({best}); "
        f"its NLL differs by {row.value:+.3f} [{row.low:+.3f}, {row.high:+.3f}]."
    )


def _hybrid(differences: pd.DataFrame, target: Target) -> str:
    """Late fusion against the hybrid, which reads features as well."""
    rows = differences[(differences.b == HYBRID) & (differences.target == target.name) & (differences.score == "nll")]
    if rows.empty:
        return ""
    row = rows.iloc[0]
    verdict = "worse than" if row.high < 0 else "better than" if row.low > 0 else "not clearly different from"
    return (
        f"{target.name.capitalize()}: hybrid fusion, which reads features beside opinions, is {verdict} late fusion; "
        f"NLL of hybrid minus late {-row.value:+.3f} [{-row.high:+.3f}, {-row.low:+.3f}]."
    )


def _order(differences: pd.DataFrame, target: Target) -> str:
    """A warning where the place of a trial in the session predicts as well as the sensors do."""
    rows = differences[(differences.b == "order") & (differences.target == target.name) & (differences.score == "nll")]
    if rows.empty or rows.iloc[0].high < 0:
        return ""
    row = rows.iloc[0]
    return (
        f"{target.name.capitalize()}, a caution: the place of a trial in the session alone, without any sensor, "
        f"predicts as well as the fusion or better (NLL of fusion minus order {row.value:+.3f} "
        f"[{row.low:+.3f}, {row.high:+.3f}]); where tasks come in a fixed order, what the sensors add cannot be told "
        "apart from the passing of time."
    )


def _features(differences: pd.DataFrame, target: Target) -> str:
    """A warning where a classical model on hand-made features predicts as well as the fusion."""
    rows = differences[(differences.target == target.name) & (differences.score == "nll")].set_index("b")
    rivals = [name for name in ("linear", "forest") if name in rows.index and rows.loc[name].high >= 0]
    if not rivals:
        return ""
    told = ", ".join(
        f"{name} {rows.loc[name].value:+.3f} [{rows.loc[name].low:+.3f}, {rows.loc[name].high:+.3f}]" for name in rivals
    )
    return (
        f"{target.name.capitalize()}, a caution: fusion is not clearly better than {' and '.join(rivals)} on "
        f"hand-made features (NLL of fusion minus {told})."
    )


def _coverage(table: pd.DataFrame, target: Target) -> str:
    row = _row(table, LATE, target, "coverage90")
    if row is None:
        return ""
    return (
        f"{target.name.capitalize()}: the fused 90 % intervals contain {row.value:.0%} of the ratings "
        f"[{row.low:.0%}, {row.high:.0%}]."
    )


def _weights(share: xr.DataArray, target: Target) -> str:
    """Share of each modality, averaged over subjects, median over draws."""
    median = share.mean("subject").median("sample")
    order = median["modality"].values[(-median.values).argsort()]
    listed = ", ".join(f"{m} {float(median.sel(modality=m)):.0%}" for m in order)
    return f"{target.name.capitalize()}: weight in the fused posterior: {listed}."


def _row(table: pd.DataFrame, model: str, target: Target, score: str) -> pd.Series | None:
    name = (model, target.name, score)
    return table.loc[name] if name in table.index else None
