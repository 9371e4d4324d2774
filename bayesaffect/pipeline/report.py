"""From what a workspace holds to the page: scores of every model, weights, and what went wrong."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path

import arviz as az
import numpy as np
import pandas as pd
import xarray as xr

from bayesaffect import __version__, fusion, splits
from bayesaffect.evaluate import baselines
from bayesaffect.evaluate.records import table
from bayesaffect.evaluate.summary import paired_difference
from bayesaffect.pipeline import stages
from bayesaffect.pipeline.baselines import on_opinions, single
from bayesaffect.pipeline.examination.examine import examine
from bayesaffect.pipeline.fits import HYBRID, LATE, fingerprint
from bayesaffect.pipeline.fuse import Fused
from bayesaffect.pipeline.settings import Settings
from bayesaffect.pipeline.summary import sentences
from bayesaffect.report.findings import Findings
from bayesaffect.report.page import write_report
from bayesaffect.types import Omission, Opinions, Predictive, Trials
from bayesaffect.types.unit import plural

DRAWS = {
    "ensemble": "pass without dropout",
    "dropout": "dropout passes",
    "both": "dropout passes",
    "laplace": "samples of the last layer",
    "distance": "dropout passes (closer to the prior for inputs unlike those trained on)",
}
FULL = 0.995
FEW_PEOPLE = (
    " With so few people the intervals are somewhat too narrow: drawn from 10, those of a mean that promise 90 % hold "
    "it in about 84 %."
)
UNSEEN = {
    "subject": "people never seen before",
    "elicitor": "known people on films never seen before",
    "version": "known people in a version never seen before",
    "time": "known people later in the session",
    "within": "known people on other trials of the same sessions",
}
PACKAGES = ("torch", "pyro-ppl", "nutpie", "arviz", "numpy", "scipy", "mne", "neurokit2", "scikit-learn")


@dataclass(frozen=True)
class Evidence:
    """What the stages before left: opinions and their groups, predictions per model, posteriors, and the rest.

    ``opinions``: group -> the opinions that fusion may use when it is tested, ``None`` -> everybody's, as `fuse` takes
    them; ``on_features``: predictions of the baselines that read hand-made features, by name; ``trials``: those of
    recordings.
    """

    opinions: Callable[[int | None], Opinions]
    groups: Sequence[Sequence[str]]
    networks: Mapping[str, Predictive]
    fused: Fused
    omissions: tuple[Omission, ...] = ()
    learning_curves: pd.DataFrame | None = None
    on_features: Mapping[str, Predictive] = field(default_factory=dict)
    trials: Trials | None = None


def report(workspace: Path, settings: Settings, evidence: Evidence, *, command: str) -> tuple[Path, Findings]:
    """Score every model and write the page, figures and tables into ``WORKSPACE/report``."""
    opinions = evidence.opinions(None)
    singles = single(opinions, evidence.groups)
    shown = opinions  # across time nothing is said of the first part, so nothing can be learnt from opinions on it
    if settings.protocol == "time":
        shown = opinions.select(opinions.present.values.any(1))
    models = {
        **evidence.networks,
        "prior": baselines.prior_only(opinions, evidence.groups),
        **order(settings, evidence),
        **evidence.on_features,
        "equal": baselines.equal_weights(opinions, evidence.groups),
        **on_opinions(workspace, settings, shown, evidence.groups),
        "stacking": baselines.stacking(shown, evidence.groups, seed=settings.seed),
        LATE: evidence.fused.late,
        **({} if evidence.fused.hybrid is None else {HYBRID: evidence.fused.hybrid}),
    }
    if settings.protocol == "time":  # the first parts are only learnt from
        tested = evidence.fused.late.trial.values
        models, singles = (_of(tested, each) for each in (models, singles))
        opinions = opinions.select(np.isin(opinions.present["trial"].values, tested))
    rivals = [name for name in models if name != LATE]
    known = {"truth": opinions.truth, "targets": opinions.targets, "seed": settings.seed}
    differences = paired_difference(models, LATE, rivals, **known)
    examined = examine(
        workspace, settings, evidence.opinions, evidence.groups, models=models, singles=singles, trials=evidence.trials
    )
    scores = table(examined.sheets["records"], seed=settings.seed)
    weights = {name: shares(posterior, opinions) for name, posterior in evidence.fused.posteriors.items()}
    findings = Findings(
        title=f"bayesaffect: {Path(settings.dataset).name}",
        command="\n".join(stages.commands(workspace)) or command,
        protocol=protocol(settings, evidence),
        summary=sentences(
            scores,
            differences,
            weights,
            targets=opinions.targets,
            modalities=opinions.modalities,
            records=examined.sheets["records"],
            unseen=UNSEEN[settings.protocol],
        ),
        failures=evidence.fused.failures,
        repeated=evidence.fused.repeated,
        targets=opinions.targets,
        data=counts(opinions),
        omissions=evidence.omissions,
        quality=opinions.quality,
        present=opinions.present,
        scores=scores,
        differences=differences,
        predictives=models,
        headline=LATE,
        truth=opinions.truth.assign_coords(subject=("trial", opinions.subject.values)),
        weights=weights,
        posteriors=evidence.fused.posteriors,
        learning_curves=evidence.learning_curves,
        sheets=examined.sheets,
        cautions=(*filter(None, [splits.warning(settings.protocol)]), *examined.cautions),
        notes=examined.notes,
        hashes=hashes(settings, opinions),
        versions={"bayesaffect": __version__, "python": platform.python_version()} | {p: version(p) for p in PACKAGES},
    )
    return write_report(findings, workspace / "report"), findings


def _of(trials: np.ndarray, predictives: Mapping[str, Predictive]) -> dict[str, Predictive]:
    return {name: p.select(np.isin(p.trial.values, trials)) for name, p in predictives.items()}


def hashes(settings: Settings, opinions: Opinions) -> dict[str, str]:
    """What the fusion was made from -> SHA-256, the first 16 digits: settings, and everything in the opinions."""
    given = {name: value for name, value in asdict(settings).items() if name != "dataset"}
    text = json.dumps(given, sort_keys=True, default=str)
    return {
        "settings": hashlib.sha256(text.encode()).hexdigest()[:16],
        "opinions": fingerprint(opinions, embedded=True),
    }


def order(settings: Settings, evidence: Evidence) -> dict[str, Predictive]:
    """The control that knows only when in the session a trial took place; a table has no session."""
    opinions = evidence.opinions(None)
    if opinions.trained_on is None:
        return {}
    return {"order": baselines.order_only(opinions, evidence.groups, seed=settings.seed)}


def shares(posterior: az.InferenceData, opinions: Opinions | None = None) -> xr.DataArray:
    """Posterior share of each modality in the precision, (sample, subject, modality)."""
    return stacked(fusion.weights(posterior, opinions)["weight"])


def stacked(share: xr.DataArray) -> xr.DataArray:
    """(chain, draw, ...) -> (sample, subject, modality)."""
    return share.stack(sample=("chain", "draw"), create_index=False).transpose("sample", "subject", "modality")


def counts(opinions: Opinions) -> pd.DataFrame:
    """Trials per subject, and how many of them each modality is present in."""
    frame = pd.DataFrame(opinions.present.values, columns=list(opinions.modalities)).astype(int)
    table = frame.groupby(opinions.subject.values).sum().rename_axis("subject")
    return table.assign(trials=frame.groupby(opinions.subject.values).size())


def _dependence(posteriors: Mapping) -> dict[str, str]:
    """What trials that follow one another are worth, where they are not independent."""
    known = {name: p for name, p in posteriors.items() if "evidence" in p["posterior"].attrs}  # not in older fits
    shares = {name: fusion.attribute(posterior, "evidence") for name, posterior in known.items()}
    shares = {name: share for name, share in shares.items() if share < FULL}
    if not shares:
        return {}
    told = ", ".join(f"one of {name} for {share:.2f} of an independent one" for name, share in shares.items())
    return {
        "Dependence": "Neighbouring trials of a person share their errors, as windows of one recording do. By the "
        f"autocorrelation of the errors a trial counts in the fit: {told}."
    }


def protocol(settings: Settings, evidence: Evidence) -> dict[str, str]:
    """What a reviewer asks first, in sentences."""
    opinions = evidence.opinions(None)
    table = opinions.trained_on is None
    lines = {
        "Data": f"{Path(settings.dataset).name}, read as {settings.format}: {opinions.present.sizes['trial']} trials "
        f"of {len(np.unique(opinions.subject.values))} subjects, modalities {', '.join(opinions.modalities)}.",
        "Targets": "; ".join(
            f"{t.name}, rated {t.bounds[0]:g} to {t.bounds[1]:g}"
            if t.kind == "continuous"
            else f"{t.name}, one of {', '.join(t.levels)}"
            for t in opinions.targets
        ),
        "Test subjects" if settings.protocol == splits.SUBJECT else "Test trials": splits.sentence(
            settings.protocol, evidence.groups
        ),
    }
    if warned := splits.warning(settings.protocol):
        lines["Warning"] = warned
    lines |= _dependence(evidence.fused.posteriors)
    if table:
        lines["Leakage guard"] = splits.vouched(settings.protocol)
    else:
        lines["Networks"] = (
            f"{settings.ensemble.members} networks x {settings.ensemble.passes} {DRAWS[settings.ensemble.method]} per "
            f"modality, early stopping on other {plural(opinions.held_out_by)} than those trained or tested on"
            + _recalibration(settings)
        )
        lines["Leakage guard"] = splits.guard(settings.protocol, nested=settings.nested)
        lines["Standardisation"] = (
            "Features are standardised within each subject by that subject's neutral clips. A new subject therefore "
            "needs a recording at rest before the first prediction."
            if settings.baseline == "neutral"
            else "Features are standardised within each subject over all of that subject's trials, without labels. A "
            "new subject therefore needs several recorded trials before the first prediction."
        )
    s = settings.sampling
    lines["Fusion"] = (
        f"Late fusion in Pyro: a measurement model per rating, a log-linear pool per set of classes, with random "
        f"effects of subjects; {s.chains} chains x {s.draws} draws after {s.tune} warm-up iterations."
        + ("" if opinions.quality is None else " Opinions from poor signals are discounted by as much as the data say.")
    )
    bare = ", ".join(m for m in opinions.modalities if m not in opinions.embedding)
    views = "the opinions" if not opinions.embedding else "the features behind opinions"
    views += f" (on the opinions of {bare}, without features)" if bare and opinions.embedding else ""
    and_evidential = f" (and evidential fusion, of {bare})" if bare else ""
    clips = settings.format != "e4" and (opinions.present["stimulus"].values.astype(str) != "").any()
    lines["Baselines"] = (
        "prior: class shares, or mean and variance, of the training subjects; equal: equal-weight average of the "
        "modalities' opinions; stacking: logistic or ridge regression on all opinions; product: product of experts, "
        "the prior counted once; evidential: Dempster combination of evidence networks on "
        + views
        + ("; stimulus: how the training people rated the same clip, without any sensor" if clips else "")
        + ("" if table else "; order: a regression on the trial's place in the session, without any sensor")
        + (
            "; linear, forest: logistic or ridge regression, and a random forest, on the hand-made features of all "
            "modalities, z-scored over all trials of a subject without labels."
            if evidence.on_features
            else "."
        )
    )
    if not table and settings.nested and settings.protocol != "time":
        lines["Baselines"] += (
            f" Stacking{and_evidential} learns from opinions whose networks have seen labels of "
            f"{splits.TESTED[settings.protocol]}: nested opinions are made for the fusion alone."
        )
    if opinions.mean and not opinions.variance_known:
        lines["Baselines"] += (
            " The opinions state no uncertainty: alone and averaged they are given one variance per target, learned on "
            "the people (or whatever else is held out) of the other groups."
        )
    lines["Intervals"] = (
        "90 % percentile intervals of a bootstrap over subjects (1000 resamples); people are drawn anew, "
        "models are not fitted anew." + (FEW_PEOPLE if np.unique(opinions.subject.values).size < 20 else "")
    )
    lines["Seed"] = str(settings.seed)
    return lines


def _recalibration(settings: Settings) -> str:
    if not settings.ensemble.recalibrate:
        return "."
    scale = "one temperature or variance scale per network and target"
    if settings.protocol == "time":
        return f"; each part recalibrated ({scale}) on the parts before it."
    if not settings.nested:
        return ", recalibrated on those."
    by = splits.UNIT[settings.protocol]
    return (
        f"; for each test group recalibrated ({scale}) on all other {plural(by)}, each predicted by networks that saw "
        f"neither that {by} nor the test group."
    )
