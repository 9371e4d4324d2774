"""An ensemble against one of its members, on a workspace that `bayesaffect train` has finished:
``python benchmarks/ensemble.py WORKSPACE``. Nothing is trained; both are recalibrated in the same way, each by its own.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path

import pandas as pd

from bayesaffect.evaluate.summary import paired_difference
from bayesaffect.pipeline import prepare, train
from bayesaffect.pipeline import settings as study_settings
from bayesaffect.uncertainty import status
from bayesaffect.uncertainty.crossfit import complete

SCORES = ("nll", "ece", "coverage90")


def compare(workspace: Path) -> pd.DataFrame:
    """Ensemble minus one member, paired over trials, with 90 % intervals of a bootstrap over subjects."""
    settings = study_settings.load(workspace)
    trials = prepare.prepare(workspace, settings)
    one = replace(settings, ensemble=replace(settings.ensemble, members=1))
    who = train.execution(workspace, settings, jobs=1)
    # the plan of the whole study is left in the workspace: it is completed last
    alone, whole = (complete(train.lay_out(s, trials, who)).out_of_fold for s in (one, settings))
    tables = []
    for name in whole:
        models = {"ensemble": whole[name], "member": alone[name]}
        table = paired_difference(
            models, "ensemble", "member", truth=trials.truth, targets=trials.targets, seed=settings.seed
        )
        tables.append(table[table["score"].isin(SCORES)].assign(network=name))
    return pd.concat(tables)[["network", "target", "score", "value", "low", "high", "subjects"]]


def cost(workspace: Path) -> pd.DataFrame:
    """Seconds per training of each network, of those that were not interrupted."""
    folder = workspace / train.FOLDER
    records = (json.loads((folder / t["key"] / "task.json").read_text()) for t in status.read_plan(folder)["tasks"])
    table = pd.DataFrame([(r["network"], r["seconds"]) for r in records if "seconds" in r], columns=["network", "s"])
    return table.groupby("network")["s"].agg(["count", "median", "max", "sum"])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("workspace", type=Path)
    parser.add_argument("--csv", type=Path, help="also write the differences to this file")
    arguments = parser.parse_args()
    found = compare(arguments.workspace)
    print(cost(arguments.workspace).round(1).to_string(), end="\n\n")
    print(found.round(4).to_string(index=False))
    if arguments.csv:
        found.to_csv(arguments.csv, index=False)
    sys.exit(0)
