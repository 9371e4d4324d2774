"""Simulation-based calibration of the late fusion models: ``python benchmarks/calibration.py FOLDER``.

Parameters are drawn from the default priors, opinions of 8 people x 8 trials x 2 modalities from the model, and fitted;
the rank of every parameter among 199 draws should be uniform. FOLDER gets, for each model, ``ranks_MODEL.csv``
(replications so far: the command goes on where it was stopped, so empty FOLDER after a change of the model),
``histograms_MODEL.csv``, ``verdict_MODEL.csv`` and ``ranks_MODEL.png``, and ``index.md``, the page about them. Exit
code 1 if a quantity is not uniform at a family-wise false-alarm rate of 1 in 100.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd

from bayesaffect import progress
from bayesaffect.evaluate import sbc
from bayesaffect.files import atomic
from bayesaffect.fusion.checks import generate, selfcheck

MODELS = {"continuous": generate.Shape(), "categorical": generate.Shape(levels=3)}
SIZE, ALPHA, BINS, COLUMNS = 199, 0.01, 20, 5
PAGE = """`python benchmarks/calibration.py {command}`

# Simulation-based calibration of the fusion models

Parameters are drawn from the default priors and opinions of 8 people x 8 trials x 2 modalities (a fifth of them
missing; 3 classes) from the model at those parameters; then the model is fitted. If sampler, density, Jacobians and
priors are right, the rank of each parameter among {size} draws of its posterior is uniform (Talts et al. 2018). The
simulator is a second definition of the model in NumPy, apart from the Pyro one. p-values are exact, of the largest
departure of the ranks' distribution function (Säilynoja et al. 2022); those of a model are adjusted after Holm, and
below {alpha} the model is called not uniform. That wrong priors and dropped Jacobians are found by this is tested in
`tests/statistical/test_sbc_fusion.py`.
"""
SECTION = """
## Late {model}

{sentence}

![Rank histograms of the late {model} model](ranks_{model}.png)

The five least uniform; all of them are in `verdict_{model}.csv`. Mean of the ranks: 0.5 if calibrated, above where the
fit is too low; spread: 1 if calibrated, above where it is too narrow.

| quantity | mean | spread | p | adjusted |
|---|---|---|---|---|
{rows}
"""


def replications(folder: Path, model: str, number: int, seed: int, cache: Path | None) -> sbc.Calibration:
    """Ranks of ``number`` replications, those that FOLDER has and the rest."""
    path = folder / f"ranks_{model}.csv"
    rows = pd.read_csv(path, index_col=0) if path.is_file() else pd.DataFrame()
    sampling = replace(selfcheck.SAMPLING, draws=700)
    simulate, fit = selfcheck.sides(MODELS[model], sampling=sampling, cache=cache)
    with progress.bar(f"{model}: replications", number) as advance:
        advance(min(len(rows), number))
        for k in range(len(rows), number):
            found, ess = sbc.replicate(simulate, fit, number=k, seed=seed, size=SIZE)
            row = pd.DataFrame([{"ess": ess, **found}], index=[k])
            rows = pd.concat([rows, row]) if len(rows) else row
            with atomic(path) as temporary:
                rows.to_csv(temporary, index_label=f"replication of seed {seed}")
            advance(1)
    rows = rows.iloc[:number]
    return sbc.Calibration(rows.drop(columns="ess").astype(int), SIZE, rows["ess"])


def written(folder: Path, model: str, found: sbc.Calibration) -> pd.DataFrame:
    """The verdict, with histograms and figure left in FOLDER."""
    table = sbc.verdict(found)
    bins = {name: sbc.histogram(found.ranks[name].values, SIZE, BINS, band=0.95) for name in found.ranks}
    pd.concat(bins, names=["quantity", "bin"]).to_csv(folder / f"histograms_{model}.csv")
    table.to_csv(folder / f"verdict_{model}.csv", index_label="quantity")
    _figure(folder / f"ranks_{model}.png", model, found, bins, table)
    return table


def _figure(path: Path, model: str, found: sbc.Calibration, bins: dict[str, pd.DataFrame], table: pd.DataFrame):
    matplotlib.use("Agg")
    from matplotlib import pyplot

    lines = int(np.ceil(len(bins) / COLUMNS))
    figure, axes = pyplot.subplots(lines, COLUMNS, figsize=(2.6 * COLUMNS, 1.7 * lines), layout="constrained")
    for axis in axes.ravel()[len(bins) :]:
        axis.axis("off")
    for axis, (name, one) in zip(axes.ravel(), bins.items(), strict=False):
        edges = [*one["low"], SIZE + 1]
        low, high = ([*one[f"band_{end}"], one[f"band_{end}"].iloc[-1]] for end in ("low", "high"))
        axis.fill_between(edges, low, high, step="post", color="0.85", linewidth=0)
        axis.stairs(one["expected"], edges, color="0.6", linewidth=0.8)
        axis.stairs(one["count"], edges, color="#4c72b0", linewidth=1.4)
        axis.set_ylim(0, 1.25 * max(one["count"].max(), one["band_high"].max()))
        axis.set_title(f"{name}: p = {table.loc[name, 'p_value']:.2g}", fontsize=8)
        axis.tick_params(labelsize=6)
    figure.suptitle(
        f"Late {model} model: ranks of the truth among {SIZE} draws, {len(found.ranks)} replications "
        "(grey: 95 % of a bin's counts if calibrated)",
        fontsize=10,
    )
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="where ranks, histograms and figures go")
    parser.add_argument("--models", nargs="+", choices=list(MODELS), default=list(MODELS))
    parser.add_argument("--replications", type=int, default=200, help="of each model [default: 200]")
    parser.add_argument("--seed", type=int, default=1, help="[default: 1]")
    parser.add_argument("--cache", type=Path, help="of compiled densities [default: the user's cache folder]")
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    command = f"{arguments.folder.as_posix()} --replications {arguments.replications} --seed {arguments.seed}"
    page, wrong = [PAGE.format(command=command, size=SIZE, alpha=ALPHA)], 0
    for model in arguments.models:
        found = replications(arguments.folder, model, arguments.replications, arguments.seed, arguments.cache)
        table = written(arguments.folder, model, found)
        holds = table["adjusted"].min() >= ALPHA
        wrong += not holds
        sentence = (
            f"{len(found.ranks)} replications, {len(table)} quantities, {found.short} replications with too small an "
            f"ESS; smallest p {table['p_value'].min():.2g} ({table.index[0]}), after Holm "
            f"{table['adjusted'].min():.2g}: {'uniform' if holds else 'NOT UNIFORM'}."
        )
        print(f"{model}: {sentence}")
        page.append(SECTION.format(model=model, sentence=sentence, rows=_rows(table.head())))
    (arguments.folder / "index.md").write_text("".join(page), encoding="utf-8")
    return int(wrong > 0)


def _rows(table: pd.DataFrame) -> str:
    lines = [
        f"| {name} | {row['mean']:.3f} | {row['spread']:.3f} | {row['p_value']:.3g} | {row['adjusted']:.3g} |"
        for name, row in table.iterrows()
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    raise SystemExit(main())
