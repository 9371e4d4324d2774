"""Each modality disturbed at test time, at five strengths: what fusion loses, and what becomes of the weight."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from bayesaffect import progress
from bayesaffect.evaluate.robustness import ERROR, average
from bayesaffect.pipeline.examination import disturbed
from bayesaffect.pipeline.examination.corrupt import KINDS, STRENGTHS, corrupt
from bayesaffect.pipeline.examination.disturbed import Asked, Groups
from bayesaffect.pipeline.settings import Settings
from bayesaffect.types import Opinions, Target, Trials

COLUMNS = ["target", "modality", "kind", "strength", "score", "value", "low", "high", "trials"]
OF_OPINIONS = ("noise", "swapped", "missing")
Version = tuple[str, str, float]  # modality, kind, strength


def robustness(
    workspace: Path,
    settings: Settings,
    opinions: Asked,
    groups: Groups,
    *,
    trials: Trials | None = None,
    most: int = disturbed.MOST_TRIALS,
) -> pd.DataFrame:
    """Late fusion when one modality is disturbed and the others are not.

    Recordings are disturbed at the sensor (`corrupt`; ``missing`` on a share of the trials), go through the networks
    that have not seen their subject, or what else the protocol holds out, and are fused by the fit that has not either.
    Opinions made elsewhere are disturbed themselves (`disturb`).

    Parameters
    ----------
    opinions, groups : as `fuse` takes them.
    trials : all trials of the study; ``None`` for a table of opinions.
    most : about as many of the predicted trials are used at most, evenly spaced within each subject.

    Returns
    -------
    target, modality, kind, strength (0 is untouched, once for every kind), score, value, low, high (90 %, bootstrap
    over subjects), trials. Scores: of fusion ``nll``, ``accuracy`` or ``rmse`` and ``coverage90``; ``weight``, the
    disturbed modality's mean share of the fused posterior; ``nll_alone``, the modality's own; and the paired
    ``nll_loss`` = nll - nll at strength 0, and ``nll_spared`` = nll_alone - nll on the trials where the modality has an
    opinion. Kept in the workspace.
    """
    made_from = disturbed.made_from(settings, opinions, groups, most, trials is not None)
    return disturbed.remembered(
        workspace,
        "robustness",
        made_from,
        lambda: _measured(workspace, settings, opinions, groups, trials, most),
    )


def _measured(workspace, settings, opinions, groups, trials, most) -> pd.DataFrame:
    whole = opinions(None)
    rows = disturbed.examined(opinions, groups, most)
    whole = whole.select(rows)
    if trials is None:
        plan = [(m, kind, s) for m in whole.modalities for kind in OF_OPINIONS for s in STRENGTHS]
        known, given = None, None
    else:
        plan = [(m, kind, s) for m in whole.modalities for kind in _kinds(trials, m) for s in STRENGTHS]
        known, given = disturbed.networks(workspace, settings, trials), trials.select(rows)
    total = len(plan) + len(whole.targets) * len(groups) * (len(plan) + 1)
    with progress.bar("disturb every modality", total) as advance:
        versions: dict[Version | None, Opinions] = {}
        if known is not None:  # untouched trials count as the others do: with the same few passes
            for modality in whole.modalities:
                whole = disturbed.hear(known, whole, given, modality)
        versions[None] = whole
        for modality, kind, strength in plan:
            if known is None or kind == "missing":
                changed = disturb(whole, modality, kind, strength, seed=settings.seed)
            else:
                other = corrupt(given, modality, kind, strength, seed=settings.seed)
                changed = disturbed.hear(known, whole, other, modality)
            versions[modality, kind, strength] = changed
            advance(1)
        found = disturbed.fused(workspace, settings, opinions, groups, list(versions.values()), advance=advance)
    return _table(versions, found, settings.seed)


def _kinds(trials: Trials, modality: str) -> list[str]:
    """What can be done to a modality's inputs; ``missing`` comes last."""
    block = trials.inputs[modality]
    family = str(block.attrs.get("encoder")).removesuffix("_raw")
    pictures = family != "face" or "crops" in block
    kinds = [kind for kind in KINDS.get(family, {}) if kind != "missing" and (pictures or kind == "shift")]
    return [*kinds, "missing"]


def disturb(opinions: Opinions, modality: str, kind: str, strength: float, *, seed: int) -> Opinions:
    """Copies of the opinions with those of one modality disturbed, where no sensor is there to be disturbed.

    Kinds, with strength s in (0, 1]:

    - ``noise``: ratings + s times the sd of all of the modality's ratings times e, log-probabilities + s times the
      sd of its log-probabilities (centred within trials) times e, normalised again; e standard normal. The variance
      that the opinion claims stays.
    - ``swapped``: a share s of the trials gets another of these trials' opinions.
    - ``missing``: a share s of the trials has no opinion.

    A larger strength hits the trials that a smaller one hits, with the same e.
    """
    column = opinions.modalities.index(modality)
    here = np.flatnonzero(opinions.present.values[:, column])
    rng = np.random.default_rng([seed, column, OF_OPINIONS.index(kind)])
    order = rng.permutation(here)
    hit = order[: round(strength * here.size)]
    present, into = opinions.present.copy(deep=True), hit
    if kind == "missing":
        present.values[hit, column] = False

    def changed(arrays: Mapping, name: str) -> dict:
        out = {}
        for target, array in arrays.items():
            out[target] = array.copy(deep=True)
            values = out[target].values
            if kind == "missing":
                values[hit, column] = np.nan
            elif kind == "swapped" and hit.size > 1:
                values[into, column] = values[np.roll(hit, 1), column]
            elif kind == "noise" and name != "variance":
                values[here, column] = _noisy(values[here, column], strength, rng, classes=name == "log_prob")
        return out

    return replace(
        opinions,
        present=present,
        mean=changed(opinions.mean, "mean"),
        variance=changed(opinions.variance, "variance"),
        log_prob=changed(opinions.log_prob, "log_prob"),
    )


def _noisy(values: np.ndarray, strength: float, rng: np.random.Generator, *, classes: bool) -> np.ndarray:
    if not values.size:
        return values
    if not classes:
        return values + strength * values.std() * rng.standard_normal(values.shape)
    centred = values - values.mean(-1, keepdims=True)
    moved = centred + strength * centred.std() * rng.standard_normal(values.shape)
    return moved - np.log(np.exp(moved).sum(-1, keepdims=True))


def _table(versions: Mapping[Version | None, Opinions], found: Mapping, seed: int) -> pd.DataFrame:
    untouched = versions[None]
    subject = untouched.subject.values.astype(str)
    names = list(untouched.modalities)
    own: dict[Version | None, Mapping] = {v: disturbed.alone(o, v[0]) for v, o in versions.items() if v is not None}
    before = {m: disturbed.alone(untouched, m) for m in names}
    place = {version: k for k, version in enumerate(versions)}
    kinds = dict.fromkeys((m, kind) for m, kind, _ in own)
    rows = []
    for target in untouched.targets:
        first = found[target.name][place[None]]
        if "nll" not in first:
            continue
        for modality, kind in kinds:
            strengths = [0.0, *(s for m, k, s in own if (m, k) == (modality, kind))]
            for strength in strengths:
                version = (modality, kind, strength)
                scored = found[target.name][place[version if strength else None]]
                said = own[version] if strength else before[modality]
                weight = scored["weight"][:, names.index(modality)]
                scores = _scores(scored, first, said[target.name], weight, target=target, subject=subject, seed=seed)
                used = int(np.isfinite(scored["nll"]).sum())
                rows += [(target.name, *version, name, *estimate, used) for name, estimate in scores.items()]
    return pd.DataFrame(rows, columns=COLUMNS)


def _scores(scored, first, said, weight, *, target: Target, subject: np.ndarray, seed: int) -> dict:
    blank = np.full(subject.size, np.nan)
    own = np.where(np.isfinite(first["nll"]), said.get("nll", blank), np.nan)
    values: dict[str, np.ndarray] = {"nll": scored["nll"], "nll_loss": scored["nll"] - first["nll"]}
    values |= {"nll_alone": own, "nll_spared": own - scored["nll"], "weight": weight}
    if target.kind == "categorical":
        values["accuracy"] = scored["accuracy"]
    else:
        values["coverage90"] = scored["coverage90"]
    out = {name: average(v, subject, seed=seed) for name, v in values.items()}
    if target.kind == "continuous":
        out["rmse"] = average(scored[ERROR], subject, seed=seed, root=True)
    return out
