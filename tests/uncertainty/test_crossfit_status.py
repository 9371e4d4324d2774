"""What a plan costs and how far it is, from files alone."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bayesaffect.encoders import build
from bayesaffect.uncertainty import estimate, status
from bayesaffect.uncertainty.crossfit import Execution, complete, lay_out
from bayesaffect.uncertainty.ensemble import Ensemble
from bayesaffect.uncertainty.estimate import Cost
from bayesaffect.uncertainty.training import Training

NOW, DRAWS = 1_000_000.0, "draws-2.safetensors"
GONE = 2**22 + 1  # no process can have this number


def leave(folder, *, begun=None, told=None, files=()):
    """Make a task's folder as a training leaves it."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, value in (("task.json", begun), ("progress.json", told)):
        if value is not None:
            (folder / name).write_text(json.dumps(value))
    for name in files:
        (folder / name).write_bytes(b"")


def at(epoch, *, updated, pid):
    return {"epoch": epoch, "epochs": 40, "updated": updated, "pid": pid}


BEGUN = {"started": NOW - 50, "pid": os.getpid()}


@pytest.mark.parametrize(
    ("given", "elsewhere", "expected"),
    [
        ({}, False, ("waiting", 0, 0)),
        ({"begun": BEGUN}, False, ("running", 0, 50)),
        ({"begun": BEGUN | {"pid": GONE}}, False, ("stopped", 0, 50)),
        ({"begun": BEGUN, "told": at(7, updated=NOW - 2, pid=os.getpid())}, False, ("running", 7, 2)),
        ({"begun": BEGUN, "told": at(7, updated=NOW - 2, pid=GONE)}, False, ("stopped", 7, 2)),
        ({"begun": BEGUN, "told": at(7, updated=NOW - 2, pid=GONE)}, True, ("running", 7, 2)),
        ({"begun": BEGUN | {"started": NOW - 900}, "told": at(7, updated=NOW - 800, pid=1)}, True, ("stopped", 7, 800)),
        ({"begun": BEGUN, "told": at(39, updated=NOW - 99, pid=GONE)}, False, ("running", 0, 50)),  # it goes on
        ({"begun": BEGUN | {"pid": GONE}, "files": ["weights.safetensors"]}, False, ("waiting", 0, 0)),
        ({"begun": BEGUN, "files": [DRAWS]}, False, ("done", 0, 0)),
    ],
)
def test_the_state_of_a_task(tmp_path, given, elsewhere, expected):
    leave(tmp_path, **given)
    found = status.state(tmp_path, DRAWS, now=NOW, elsewhere=elsewhere)
    assert (found.kind, found.epoch, found.age) == expected


def test_half_a_file_counts_as_none(tmp_path):
    leave(tmp_path, begun=BEGUN)
    (tmp_path / "progress.json").write_text('{"epoch": 3')
    assert status.state(tmp_path, DRAWS, now=NOW).epoch == 0


def plan_of(directory, *, jobs=2, count=6):
    """Tasks 0 and 1 done in 10 and 20 s, 2 running for 5 s, 3 stopped, the others waiting."""
    tasks = [{"key": f"t{k}", "draws": DRAWS, "network": "eeg", "held_out": ["S1"], "member": k} for k in range(count)]
    for k, seconds in enumerate((10.0, 20.0)):
        leave(directory / f"t{k}", begun=BEGUN | {"seconds": seconds}, files=[DRAWS])
    leave(directory / "t2", begun=BEGUN | {"started": NOW - 5}, told=at(3, updated=NOW - 1, pid=os.getpid()))
    leave(directory / "t3", begun=BEGUN, told=at(8, updated=NOW - 40, pid=GONE))
    status.write_plan(directory, {"pid": GONE, "jobs": jobs, "scheduler": None, "tasks": tasks})


def test_time_left_is_the_mean_time_of_what_is_not_done_over_the_processes(tmp_path):
    plan_of(tmp_path)
    found = status.read(tmp_path, now=NOW)
    counts = [found.count(kind, "eeg") for kind in ("done", "running", "stopped", "waiting")]
    assert counts == [2, 1, 1, 2] and found.count("done", "face") == 0 and not found.alive
    assert found.seconds == {"eeg": 15.0}
    assert found.left == pytest.approx((10 + 15 + 15 + 15) / 2)
    plan_of(tmp_path / "one", jobs=1)
    assert status.read(tmp_path / "one", now=NOW).left == pytest.approx(55)


def test_without_a_finished_training_the_time_left_is_not_known(tmp_path):
    assert status.read(tmp_path) is None
    tasks = [{"key": "t0", "draws": DRAWS, "network": "eeg", "held_out": [], "member": 0}]
    status.write_plan(tmp_path, {"pid": os.getpid(), "jobs": 1, "scheduler": None, "tasks": tasks})
    found = status.read(tmp_path)
    assert found.left is None and found.alive


def test_total_time_is_shared_by_processes_but_no_training_is():
    each = {"eeg": Cost((2.0, 4.0), 10, True), "early": Cost((30.0, 60.0), 10, True)}
    assert estimate.total({"eeg": 90, "early": 6}, each, processes=2) == (180.0, 360.0)
    assert estimate.total({"eeg": 1, "early": 1}, each, processes=8) == (30.0, 60.0)
    assert estimate.total({"eeg": 0}, each, processes=2) == (0.0, 0.0)


@pytest.mark.parametrize("method", ["both", "laplace"])  # laplace keeps a state beside the weights
def test_costs_are_timed_before_the_first_training_and_known_after_it(small, grouped, tmp_path, method):
    work = lay_out(
        small,
        grouped(small, 2),
        {"physio": ("physio",)},
        build=build,
        ensemble=Ensemble(1, 2, method=method),
        training=Training(epochs=9, patience=3),
        execution=Execution(tmp_path, nested=False),
        seed=0,
    )
    before = estimate.costs(work)["physio"]
    assert before.timed and 0 < before.seconds[0] < before.seconds[1] and before.bytes > 1000
    assert list(tmp_path.iterdir()) == []
    complete(work)
    after = estimate.costs(work)["physio"]
    assert not after.timed and after.seconds[0] == after.seconds[1] == status.mean_seconds(
        tmp_path, [{"key": task.key, "network": "physio"} for task in work.all()]
    ).get("physio")
    assert 0.2 < before.bytes / after.bytes < 1.5
    assert status.read(tmp_path).count("done") == 2


@pytest.mark.parametrize("module", ["bayesaffect.uncertainty.status", "bayesaffect.pipeline.watch"])
def test_looking_on_needs_no_torch(module):
    code = f"import sys, {module}; print(sorted({{'torch', 'xarray', 'pandas'}} & set(sys.modules)))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert ast.literal_eval(out) == []


def test_dask_is_imported_by_its_adapter_alone():
    package = Path(status.__file__).parents[1]
    found = {p.name for p in package.rglob("*.py") if "distributed" in p.read_text(encoding="utf-8")}
    assert found == {"cluster.py"}
