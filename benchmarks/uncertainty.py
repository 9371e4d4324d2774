"""Does epistemic uncertainty notice a disturbed sensor, at no cost where there is none?

A small simulated study (12 persons x 12 clips) is made and trained once in FOLDER; ways of drawing from the same
weights are compared on held-out persons. Corrupted trials are copies of their trials with one modality disturbed.

AUROC: epistemic uncertainty telling corrupted from clean trials, the worst of the targets. NLL: of clean trials, mean
over targets. AURC: area under the risk-coverage curve of the classes' error over clean and corrupted trials together,
trials withheld in order of the predicted class's probability; "single" is one network's softmax without anything.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from pairs import Row, fact

from bayesaffect import encoders, splits
from bayesaffect.evaluate import scores
from bayesaffect.evaluate.epistemic import aurc, detection
from bayesaffect.pipeline import prepare
from bayesaffect.pipeline import settings as study_settings
from bayesaffect.pipeline.examination.corrupt import KINDS, corrupt
from bayesaffect.simulate import Layout, write_mahnob
from bayesaffect.types import Predictive, Trials
from bayesaffect.uncertainty import decompose
from bayesaffect.uncertainty.crossfit import Execution, complete
from bayesaffect.uncertainty.ensemble import Ensemble
from bayesaffect.uncertainty.predict import predict
from bayesaffect.uncertainty.training import Training
from bayesaffect.uncertainty.work import lay_out

LEAST = 0.85
NLL_COST = 0.02  # nats per trial that the default may cost on clean trials
STRENGTH = 0.6
KINDS_OF_BAR = ("noise", "occlusion", "flat")
METHODS = {
    "single": Ensemble(1, 1, method="ensemble"),
    "ensemble": Ensemble(3, 1, method="ensemble"),
    "dropout": Ensemble(1, 30, method="dropout"),
    "both": Ensemble(3, 10, method="both"),
    "laplace": Ensemble(3, 10, method="laplace"),
    "distance": Ensemble(3, 10, method="distance"),
}


def prepared(folder: Path, seed: int) -> Trials:
    """Trials of a simulated study with short clips."""
    layout = Layout(clip_seconds=(12.0, 14.0), margin=5.0, traps=False)
    recordings = write_mahnob(folder / f"recordings-{seed}", subjects=12, clips=12, seed=seed, layout=layout)
    settings = study_settings.from_options(recordings, "mahnob", window=10.0)
    settings = replace(settings, extraction=replace(settings.extraction, connectivity=False))
    workspace = folder / f"workspace-{seed}"
    workspace.mkdir(parents=True, exist_ok=True)
    return prepare.prepare(workspace, settings)


def table(folder: Path, trials: Trials, *, seed: int) -> pd.DataFrame:
    """One row per method and modality: AUROC of every corruption, NLL, AURC of clean trials and of all."""
    groups = splits.grouped(trials.subject.values, 4, seed=seed)
    networks = {m: (m,) for m in trials.modalities}
    execution = Execution(folder / f"training-{seed}", nested=False)
    disturbed = {
        (m, kind): corrupt(trials, m, kind, STRENGTH, seed=seed)
        for m in trials.modalities
        for kind in KINDS[trials.inputs[m].attrs["encoder"]]
        if kind in KINDS_OF_BAR
    }
    rows = []
    for name, ensemble in METHODS.items():
        work = lay_out(
            trials, groups, networks,
            build=encoders.build, ensemble=ensemble, training=Training(), execution=execution, seed=seed,
        )  # fmt: skip
        cross = complete(work)
        for modality in trials.modalities:
            clean = cross.out_of_fold[modality]
            row = {"method": name, "modality": modality}
            everything = [clean]
            for (m, kind), changed in disturbed.items():
                if m == modality:
                    strange = predict(work, changed, names=[m], recalibration=cross.recalibration)[m]
                    row[kind] = auroc(clean, strange) if name != "single" else np.nan
                    everything.append(strange)
            row["NLL"] = nll(clean, trials)
            row["AURC clean"] = selective([clean], trials)
            row["AURC all"] = selective(everything, trials)
            row["NLL all"] = np.mean([nll(p, trials) for p in everything])
            rows.append(row)
    return pd.DataFrame(rows)


def auroc(clean: Predictive, strange: Predictive) -> float:
    """The lowest AUROC over targets of the epistemic part."""
    found = []
    for target in clean.targets:
        part = decompose.variance if target.kind == "continuous" else decompose.entropy
        found.append(detection(*(part(p, target.name).epistemic.values for p in (clean, strange))))
    return min(found)


def nll(predictive: Predictive, trials: Trials) -> float:
    """Mean over targets of the log score, in nats per trial."""
    found = []
    for target in predictive.targets:
        y = trials.truth[target.name].sel(trial=predictive.trial).values
        if target.kind == "continuous":
            known = np.isfinite(y)
            mean, variance = predictive.mean[target.name].values, predictive.variance[target.name].values
            found.append(scores.mixture_nll(mean[:, known], variance[:, known], y[known]).mean())
        else:
            known = y >= 0
            found.append(scores.nll(predictive.probability(target.name).values[known], y[known].astype(int)))
    return float(np.mean(found))


def selective(parts: list[Predictive], trials: Trials) -> float:
    """AURC of the classes' error when trials are withheld in order of their largest probability."""
    name = next(t.name for t in trials.targets if t.kind == "categorical")
    uncertain, wrong = [], []
    for part in parts:
        y, prob = trials.truth[name].sel(trial=part.trial).values, part.probability(name).values
        uncertain.append(1 - prob.max(1)[y >= 0])
        wrong.append((prob.argmax(1) != y)[y >= 0])
    return aurc(np.concatenate(uncertain), np.concatenate(wrong).astype(float))


def verdicts(results: pd.DataFrame, method: str) -> Iterator[Row]:
    """The bars, from the means over seeds."""
    means = results.drop(columns="seed").groupby(["method", "modality"]).mean().round(6)
    for modality, row in means.loc[method].iterrows():
        for kind in KINDS_OF_BAR:
            if np.isfinite(row[kind]):
                name = f"{modality}: {kind} noticed by {method}, AUROC"
                yield fact(name, row[kind], goal=f">= {LEAST}", holds=row[kind] >= LEAST)
        cost = row["NLL"] - means.loc[("both", modality), "NLL"]
        yield fact(f"{modality}: NLL of clean trials against both", cost, goal=f"<= {NLL_COST}", holds=cost <= NLL_COST)
        gain = row["AURC all"] - means.loc[("single", modality), "AURC all"]
        yield fact(f"{modality}: AURC against one network's softmax", gain, goal="reported", holds=True)
    gain = means.loc[method, "AURC all"].mean() - means.loc["single", "AURC all"].mean()
    yield fact("AURC against one network's softmax, mean of modalities", gain, goal="< 0", holds=gain < 0)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="where the small studies are kept")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2], help="studies to make [default: 1 2]")
    parser.add_argument("--method", default="distance", choices=list(METHODS), help="whose bars are told")
    parser.add_argument("--json", type=Path, help="also write the records to this file")
    arguments = parser.parse_args()
    results = []
    for seed in arguments.seeds:
        found = table(arguments.folder, prepared(arguments.folder, seed), seed=seed).assign(seed=seed)
        print(f"seed {seed}\n{found.drop(columns='seed').round(3).to_string(index=False)}", flush=True)
        results.append(found)
    rows = [
        row._replace(ratio=float(row.ratio), holds=bool(row.holds))
        for row in verdicts(pd.concat(results), arguments.method)
    ]
    for row in rows:
        print(f"{row.name:58s} {row.ratio:8.3f}  {row.goal}: {'holds' if row.holds else 'MISSED'}")
    if arguments.json:
        arguments.json.write_text(json.dumps([row._asdict() for row in rows], indent=2) + "\n", encoding="utf-8")
    return int(not all(row.holds for row in rows))


if __name__ == "__main__":
    raise SystemExit(main())
