"""The findings in sentences that a clinician can read; every number is one of the tables'."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd
import xarray as xr

from bayesaffect.evaluate.summary import difference
from bayesaffect.pipeline.fits import HYBRID, LATE
from bayesaffect.report.findings import CAUTION, HEADS, natural
from bayesaffect.types import Target

SHOWN = {"categorical": ("accuracy", "auroc", "nll"), "continuous": ("rmse", "ccc", "nll")}
NAMES = {"auroc": "AUROC", "nll": "NLL", "ece": "ECE", "rmse": "RMSE", "ccc": "CCC"}
UNSEEN = "people never seen before"
_ASKED, _WELL, _SURE, _SENSOR, _WHOM = HEADS
_LISTED = 6


def sentences(
    scores: pd.DataFrame,
    differences: pd.DataFrame,
    weights: Mapping[str, xr.DataArray],
    *,
    targets: Sequence[Target],
    modalities: Sequence[str],
    records: pd.DataFrame | None = None,
    unseen: str = UNSEEN,
) -> tuple[str, ...]:
    """What was asked, how well, how sure, which sensor to believe, for whom it fails; each sentence after its head.

    Under a head, the first sentence on a target is what has to be known of it; comparisons and cautions follow, each by
    itself.

    Parameters
    ----------
    scores, differences : as `evaluate.summary.score_table` and `paired_difference` of late fusion against every model.
    weights : target -> shares (sample, subject, modality).
    records : flat scores per subject (fold, subject, model, target, score, value, trials); without them nothing is
        said about single people.
    unseen : what is new about the trials that were predicted, in words.
    """
    table = scores.set_index(["model", "target", "score"])
    lines = {head: [] for head in HEADS}
    lines[_ASKED].append(_question(targets, modalities, unseen))
    for target in targets:
        parts = {
            _WELL: (
                " ".join(filter(None, (_guessing(differences, target), _scores(table, target)))),
                _comparison(table, differences, target, modalities),
                _hybrid(differences, target),
                _stimulus(differences, target),
                _order(differences, target),
                _features(differences, target),
            ),
            _SURE: (_coverage(table, target) if target.kind == "continuous" else _calibration(table, target),),
            _SENSOR: (_weights(weights[target.name]) if target.name in weights else "",),
            _WHOM: ("" if records is None else _people(records, target),),
        }
        for head, told in parts.items():
            lines[head] += [f"{_name(target)}: {text}" for text in told if text]
    return tuple(f"{head}: {line}" for head in HEADS for line in lines[head])


def _question(targets: Sequence[Target], modalities: Sequence[str], unseen: str) -> str:
    named = [
        f"{t.name} (rated {t.bounds[0]:g} to {t.bounds[1]:g})"
        if t.kind == "continuous"
        else f"{t.name} ({' or '.join(t.levels) if len(t.levels) == 2 else f'one of {len(t.levels)}'})"
        for t in targets
    ]
    return f"Can {_and(named)} of {unseen} be told from {_and(modalities)}, and how sure can one be?"


def _guessing(differences: pd.DataFrame, target: Target) -> str:
    """The fused model against ``prior``, which knows no signal at all."""
    row = _difference(differences, target, "prior")
    if row is None:
        return ""
    told = f"NLL of fusion minus that of guessing {row.value:+.3f} [{row.low:+.3f}, {row.high:+.3f}] nats per trial"
    # the geometric mean over trials: what a difference of mean log-likelihoods is, in words
    times = f"what people said is given {np.exp(-row.value):.3g} times the probability that guessing gives it"
    if row.high < 0:
        return f"better than guessing without any signal: {times} ({told})."
    if row.low > 0:
        return f"worse than guessing: {times} ({told}); do not use these predictions."
    return (
        f"not better than guessing ({told}); either the signals say nothing about {target.name}, or there are "
        "too few people to tell."
    )


def _scores(table: pd.DataFrame, target: Target) -> str:
    shown = []
    for score in SHOWN[target.kind]:
        if (row := _row(table, LATE, target, score)) is None:
            continue
        guess = _row(table, "prior", target, score) if score in ("accuracy", "rmse") else None
        beside = "" if guess is None or not np.isfinite(guess.value) else f" (guessing: {guess.value:.3f})"
        shown.append(f"{NAMES.get(score, score)} {row.value:.3f} [{row.low:.3f}, {row.high:.3f}]{beside}")
    return f"Fused {', '.join(shown)}." if shown else ""


def _comparison(table: pd.DataFrame, differences: pd.DataFrame, target: Target, modalities: Sequence[str]) -> str:
    """Fused against the modality with the lowest NLL, paired on the trials that both predict.

    A modality whose difference has no interval, as of one person only, is passed over.
    """
    gaps = {m: _difference(differences, target, m) for m in modalities}
    judged = [m for m in modalities if gaps[m] is None or np.isfinite([gaps[m].low, gaps[m].high]).all()]
    single = {m: row.value for m in judged if (row := _row(table, m, target, "nll")) is not None}
    if not single:
        return ""
    best = min(single, key=single.get)
    row = gaps[best]
    if row is None:
        return ""
    verdict = "better than" if row.high < 0 else "worse than" if row.low > 0 else "not clearly different from"
    guess = _difference(differences, target, "prior")
    if guess is not None and guess.high >= 0 and row.high < 0:
        verdict = "less wrong, not more right, than"
    return (
        f"Fusion is {verdict} the best single modality ({best}); "
        f"its NLL differs by {row.value:+.3f} [{row.low:+.3f}, {row.high:+.3f}]."
    )


def _hybrid(differences: pd.DataFrame, target: Target) -> str:
    """Late fusion against the hybrid, which reads features as well."""
    row = _difference(differences, target, HYBRID)
    if row is None:
        return ""
    verdict = "worse than" if row.high < 0 else "better than" if row.low > 0 else "not clearly different from"
    return (
        f"Hybrid fusion, which reads features beside opinions, is {verdict} late fusion; "
        f"NLL of hybrid minus late {-row.value:+.3f} [{-row.high:+.3f}, {-row.low:+.3f}]."
    )


def _order(differences: pd.DataFrame, target: Target) -> str:
    """A warning where the place of a trial in the session predicts as well as the sensors do."""
    row = _difference(differences, target, "order")
    if row is None or row.high < 0:
        return ""
    return (
        f"{CAUTION}the place of a trial in the session alone, without any sensor, "
        f"predicts as well as the fusion or better (NLL of fusion minus order {row.value:+.3f} "
        f"[{row.low:+.3f}, {row.high:+.3f}]); where tasks come in a fixed order, what the sensors add cannot be told "
        "apart from the passing of time."
    )


def _stimulus(differences: pd.DataFrame, target: Target) -> str:
    """A warning where other people's answers to the same stimulus predict as well as the sensors do."""
    row = _difference(differences, target, "stimulus")
    if row is None or row.high < 0:
        return ""
    return (
        f"{CAUTION}other people's answers to the same stimulus predict as well or better without any sensor (NLL of "
        f"fusion minus stimulus {row.value:+.3f} [{row.low:+.3f}, {row.high:+.3f}]), so a model that only recognises "
        "the stimulus would look as good."
    )


def _features(differences: pd.DataFrame, target: Target) -> str:
    """A warning where a classical model on hand-made features predicts as well as the fusion."""
    found = {name: _difference(differences, target, name) for name in ("linear", "forest")}
    rivals = {name: row for name, row in found.items() if row is not None and row.high >= 0}
    if not rivals:
        return ""
    told = ", ".join(f"{name} {row.value:+.3f} [{row.low:+.3f}, {row.high:+.3f}]" for name, row in rivals.items())
    return (
        f"{CAUTION}fusion is not clearly better than {' and '.join(rivals)} on "
        f"hand-made features (NLL of fusion minus {told})."
    )


def _coverage(table: pd.DataFrame, target: Target) -> str:
    """Whether 90 % intervals hold 90 %."""
    row = _row(table, LATE, target, "coverage90")
    if row is None:
        return ""
    share, low, high = (f"{100 * v:.0f} %" for v in (row.value, row.low, row.high))
    told = f"the fused 90 % intervals contain {share} of the ratings [{low}, {high}]"
    verdict = ": too sure of itself" if row.high < 0.9 else ": wider than they need to be" if row.low > 0.9 else ""
    return f"{told}{verdict}."


def _calibration(table: pd.DataFrame, target: Target) -> str:
    """By how much stated probabilities are off on average."""
    row = _row(table, LATE, target, "ece")
    if row is None:
        return ""
    return (
        f"the probability of the most likely answer is off by {row.value:.3f} on average (ECE) "
        f"[{row.low:.3f}, {row.high:.3f}]; some of that is there even with perfect calibration."
    )


def _weights(share: xr.DataArray) -> str:
    """Share of each modality, averaged over subjects: median and 90 % interval over draws."""
    drawn = share.mean("subject").quantile([0.5, 0.05, 0.95], "sample").transpose("modality", "quantile")
    percent = {m: [round(100 * v) for v in drawn.sel(modality=m).values] for m in drawn["modality"].values}  # no -0
    order = drawn["modality"].values[(-drawn.values[:, 0]).argsort(kind="stable")]
    told = ", ".join("{} {} % [{} %, {} %]".format(m, *percent[m]) for m in order)
    return f"weight in the fused posterior: {told}."


def _people(records: pd.DataFrame, target: Target) -> str:
    """Subjects whom the fusion predicts worse than guessing does, by mean NLL."""
    rows = records[(records["target"] == target.name) & (records["score"] == "nll")]
    wide = rows.pivot_table(index="subject", columns="model", values="value")
    if LATE not in wide or "prior" not in wide:
        return ""
    gap = (wide[LATE] - wide["prior"]).dropna().sort_values(ascending=False)
    lost = sorted((str(s) for s in gap.index[gap > 0][:_LISTED]), key=natural)
    count = int((gap > 0).sum())
    if not count:
        return f"for none of {len(gap)} people is the fusion worse than guessing."
    if count == 1:
        loss = f"{gap.iloc[0]:.2f} nats per trial"
        return f"for 1 of {len(gap)} people, {lost[0]}, the fusion is worse than guessing, by {loss}."
    more = f" and {count - len(lost)} more" if count > len(lost) else ""
    return (
        f"for {count} of {len(gap)} people the fusion is worse than guessing ({', '.join(lost)}{more}), "
        f"worst for {gap.index[0]}, by {gap.iloc[0]:.2f} nats per trial."
    )


def _name(target: Target) -> str:
    return target.name[:1].upper() + target.name[1:]


def _and(names: Iterable[str]) -> str:
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last


def _difference(differences: pd.DataFrame, target: Target, rival: str) -> pd.Series | None:
    """NLL of late fusion minus NLL of ``rival``."""
    return difference(differences, LATE, rival, target.name)


def _row(table: pd.DataFrame, model: str, target: Target, score: str) -> pd.Series | None:
    name = (model, target.name, score)
    return table.loc[name] if name in table.index else None
