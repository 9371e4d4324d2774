"""Synthetic findings for three situations; predictions follow a known truth, weights and posteriors are made up."""

from __future__ import annotations

from dataclasses import replace

import arviz as az
import numpy as np
import pandas as pd
import pytest
import xarray as xr

from bayesaffect.evaluate.summary import paired_difference, score_table
from bayesaffect.report.findings import Findings
from bayesaffect.types import Omission, Predictive, Target

EMOTIONS = ("neutral", "anxiety", "amusement", "sadness", "joy", "disgust", "anger", "surprise", "fear")


def synthetic(targets, modalities, subjects, trials, *, seed, draws=12, omissions=4, failures=()) -> Findings:
    rng = np.random.default_rng(seed)
    people = [f"S{k + 1:02d}" for k in range(subjects)]
    subject = np.repeat(people, trials)
    n = subject.size
    coords = {"trial": [f"{s}/T{k % trials + 1:02d}" for k, s in enumerate(subject)], "subject": ("trial", subject)}
    index = xr.DataArray(subject, dims="trial", coords=coords)
    truth = {t.name: _truth(t, n, rng) for t in targets}
    reliability = np.exp(rng.normal(0, 0.35, (subjects, len(modalities))))
    present = rng.random((n, len(modalities))) > 0.04
    present[subject == people[-1], 0] = False
    combined = {"early": 0.9, "equal": 1.0, "late": 0.75}
    predictives = {}
    for k, name in enumerate([*modalities, *combined]):
        if name in modalities:
            keep, noise = present[:, k], 1.15 + 0.3 * k / reliability[np.repeat(np.arange(subjects), trials), k]
        else:
            keep, noise = np.ones(n, bool), np.full(n, combined[name])
        predictives[name] = _predict(
            targets, truth, index, keep, noise, draws, rng, over=1.6 if name == "equal" else 1.0
        )
    data = pd.DataFrame(
        present.reshape(subjects, trials, -1).sum(1), index=pd.Index(people, name="subject"), columns=modalities
    )
    data["trials"] = trials
    quality = xr.DataArray(
        np.where(present, rng.beta(8, 2, present.shape), np.nan),
        dims=("trial", "modality"),
        coords=coords | {"modality": list(modalities)},
    )
    words = [
        Omission(f"{people[k % subjects]}/T{k + 1:02d}", "the face is hidden in 62 % of frames", "film from the front")
        for k in range(omissions)
    ]
    words.append(Omission(people[-1], f"no {modalities[0]} was recorded", "", "modality"))
    findings = Findings(
        title="Simulated study",
        command="bayesaffect study DATA WS --format mahnob --seed 0",
        protocol={"Folds": "8 folds, leave-one-subject-out.", "Seeds": "0 for everything."},
        summary=(
            "Late fusion knew more than any single sensor.",
            "Its 90 % intervals held the truth about as often as they should.",
        ),
        failures=tuple(failures),
        targets=tuple(targets),
        data=data,
        omissions=tuple(words),
        quality=quality,
        scores=pd.DataFrame({c: [] for c in ("model", "target", "score", "value", "low", "high")}),
        differences=None,
        predictives=predictives,
        headline="late",
        truth=xr.Dataset({k: ("trial", v) for k, v in truth.items()}, coords=coords),
        weights={t.name: _weights(people, modalities, reliability, rng) for t in targets},
        posteriors={"late": _posterior(subjects, modalities, rng)},
        learning_curves=_curves(modalities, rng),
        versions={"bayesaffect": "0.1.0", "pyro-ppl": "1.9.1", "torch": "2.14.0"},
    )
    known = {"truth": findings.truth, "targets": findings.targets, "seed": 0, "resamples": 200}
    scores = score_table(predictives, **known)
    differences = paired_difference(predictives, "late", [b for b in predictives if b != "late"], **known)
    return replace(findings, scores=scores, differences=differences)


def _truth(target, n, rng):
    if target.kind == "categorical":
        return rng.integers(0, len(target.levels), n)
    value = np.clip(rng.normal(0, 0.45, n), -1, 1)
    return np.where(rng.random(n) < 0.02, np.nan, value)


def _predict(targets, truth, index, keep, noise, draws, rng, over):
    mean, variance, log_prob = {}, {}, {}
    noise, who = noise[keep], index[keep]
    for target in targets:
        y = truth[target.name][keep]
        if target.kind == "continuous":
            y, sd = np.nan_to_num(y), 0.4 * noise
            posterior = 1 / (1 / 0.45**2 + 1 / sd**2)
            centre = posterior * (y + rng.normal(0, 1, y.size) * sd) / sd**2
            mean[target.name] = xr.DataArray(centre + rng.normal(0, 0.05, (draws, y.size)), dims=("draw", "trial"))
            variance[target.name] = xr.DataArray(np.tile(posterior / over, (draws, 1)), dims=("draw", "trial"))
        else:
            levels = len(target.levels)
            signal = 1.7 / noise[:, None]
            evidence = signal * (np.eye(levels)[y] * signal + rng.normal(0, 1, (y.size, levels))) * over
            logits = evidence + rng.normal(0, 0.15, (draws, y.size, levels))
            logits -= np.log(np.exp(logits).sum(-1, keepdims=True))
            log_prob[target.name] = xr.DataArray(
                logits, dims=("draw", "trial", "level"), coords={"level": list(target.levels)}
            )
    return Predictive(tuple(targets), who, mean, variance, log_prob)


def _weights(people, modalities, reliability, rng, samples=200):
    raw = np.concatenate([reliability, np.full((len(people), 1), 0.4)], 1) * np.exp(
        rng.normal(0, 0.25, (samples, len(people), len(modalities) + 1))
    )
    share = raw / raw.sum(-1, keepdims=True)
    share[:, -1, 0] = np.nan
    return xr.DataArray(
        share, dims=("sample", "subject", "modality"), coords={"subject": people, "modality": [*modalities, "prior"]}
    )


def _posterior(subjects, modalities, rng):
    shape = (4, 250)
    posterior = {
        "kappa": rng.lognormal(0, 0.2, (*shape, len(modalities))),
        "gain": rng.normal(1, 0.1, (*shape, len(modalities))),
        "tau": rng.lognormal(-1, 0.1, shape),
        "rho": rng.normal(0, 0.4, (*shape, subjects, len(modalities))),
    }
    return az.from_dict(
        posterior=posterior,
        sample_stats={"diverging": np.zeros(shape, bool)},
        dims={"kappa": ["modality"]},
        coords={"modality": list(modalities)},
    )


def _curves(networks, rng):
    rows = []
    for k, network in enumerate(networks[:4]):
        for fit in range(3):
            for member in range(2):
                epoch = np.arange(1, 21 - fit)
                train = 0.6 + 1.2 * np.exp(-epoch / 5) + rng.normal(0, 0.02, epoch.size)
                block = {"epoch": epoch, "train_loss": train, "validation_loss": train + 0.1 + 0.004 * k * epoch}
                rows.append(pd.DataFrame({"network": network, "fit": f"fold{fit}", "member": member, **block}))
    return pd.concat(rows, ignore_index=True)


VALENCE, AROUSAL = "valence", "arousal"


def _affect(subjects=8, trials=10, **options):
    targets = (Target(VALENCE, bounds=(1, 9)), Target(AROUSAL, bounds=(1, 9)), Target("emotion", levels=EMOTIONS))
    return synthetic(targets, ("eeg", "face", "physio"), subjects, trials, seed=1, **options)


def _stress(**options):
    targets = (Target("stress", levels=("rest", "stress")),)
    return synthetic(
        targets, ("cardiac", "electrodermal", "temperature", "motion"), 23, 90, seed=2, omissions=60, **options
    )


def _experts(**options):
    targets = (Target(VALENCE, bounds=(-10, 10)), Target(AROUSAL, bounds=(-10, 10)))
    return synthetic(targets, tuple(f"expert_{k}" for k in range(1, 8)), 30, 40, seed=3, **options)


SITUATIONS = {"affect": _affect, "stress": _stress, "experts": _experts}


# one kind is drawn in every run, the others with the slow tests: a page of figures takes seconds
@pytest.fixture(params=["affect", *(pytest.param(name, marks=pytest.mark.slow) for name in ("stress", "experts"))])
def findings(request) -> Findings:
    return SITUATIONS[request.param]()


@pytest.fixture(scope="session")
def situations():
    return SITUATIONS


@pytest.fixture(scope="session")
def affect() -> Findings:
    return SITUATIONS["affect"]()


@pytest.fixture(scope="session")
def full_size() -> Findings:
    """27 people, 20 trials, three targets, 400 draws, a fit per target."""
    found = _affect(subjects=27, trials=20, draws=400, omissions=60)
    return replace(found, posteriors={t.name: found.posteriors["late"] for t in found.targets})
