"""Throughput of two worker processes against one, and the memory of a training process against a bare loop's."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import torch
import training_study as study
from pairs import Row, fact, faster

SUBJECTS, GROUPS, MEMBERS = 24, 4, 3
MIB = 2**20


def rows(repeats: int) -> Iterator[Row]:
    """A cross-fit of the joint network, 4 fits x 3 members, from nothing; the processes have been started before."""
    from bayesaffect.encoders import build
    from bayesaffect.uncertainty.crossfit import Execution, crossfit
    from bayesaffect.uncertainty.ensemble import Ensemble
    from bayesaffect.uncertainty.training import Training

    trials = study.make(SUBJECTS)
    names = sorted(set(trials.subject.values.astype(str)))
    groups = [tuple(names[k::GROUPS]) for k in range(GROUPS)]
    home = Path(tempfile.mkdtemp(prefix="bayesaffect-"))

    def run(jobs: int):
        shutil.rmtree(home / str(jobs), ignore_errors=True)
        crossfit(
            trials,
            groups,
            {"early": tuple(study.SHAPES)},
            build=build,
            ensemble=Ensemble(MEMBERS, 4),
            training=Training(epochs=5, patience=5),
            execution=Execution(home / str(jobs), nested=False, jobs=jobs),
            seed=0,
        )

    load = f"load of the machine {os.getloadavg()[0]:.1f} before, {os.cpu_count()} cores"
    try:
        yield faster(
            "processes: a cross-fit in two against one", lambda: run(2), lambda: run(1), least=1.7, repeats=repeats,
            note=f"{GROUPS * MEMBERS} trainings, {SUBJECTS * study.CLIPS} trials; {load}",
        )  # fmt: skip
    finally:
        shutil.rmtree(home, ignore_errors=True)


def memory(repeats: int) -> Iterator[Row]:
    """Peak of a fresh process that trains the joint network, above the same process with its data alone."""
    alone, bare, ours = (min(_peak(what) for _ in range(min(repeats, 3))) for what in ("nothing", "bare", "ours"))
    note = f"peak of the process {ours / MIB:.0f} MiB, {alone / MIB:.0f} before training"
    extra = (ours - alone) / MIB
    yield fact("memory: what training adds, MiB", extra, goal="<= 256", holds=extra <= 256, note=note)
    more = (ours - bare) / MIB
    yield fact("memory: the loop above a bare one, MiB", more, goal="<= 32", holds=more <= 32)


def _peak(what: str) -> int:
    command = [sys.executable, __file__, what]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return int(subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout)


def _measured(what: str) -> int:
    """Bytes at the peak of this process, after ``what``."""
    import training_loop

    torch.set_num_threads(1)
    trials = study.make(training_loop.SUBJECTS + training_loop.VALIDATION)
    spec, learn, check = study.sets(trials, tuple(study.SHAPES), training_loop.VALIDATION)
    network = training_loop.started(spec, tuple(study.SHAPES), learn)
    learn, check = learn.prepared(network), check.prepared(network)
    if what == "bare":
        training_loop.bare(network, learn, check)
    if what == "ours":
        with tempfile.TemporaryDirectory() as folder:
            training_loop.train(network, learn, check, settings=training_loop.SETTINGS, seed=0, directory=Path(folder))
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


if __name__ == "__main__":
    print(_measured(sys.argv[1]))
