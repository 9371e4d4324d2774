"""How tasks are carried out: one process at a task, inputs that come and go, what is in the way."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace

import pytest

from bayesaffect.encoders import build
from bayesaffect.errors import InputError
from bayesaffect.uncertainty import data, execute, member
from bayesaffect.uncertainty.crossfit import Execution, complete, lay_out
from bayesaffect.uncertainty.ensemble import Ensemble
from bayesaffect.uncertainty.training import Training

HOLD = """
import sys
from bayesaffect.files import claim
with claim(sys.argv[1], sys.argv[2], wait=True):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder():
    """``holder(path, name)``: another process that has the claim until ``communicate``."""
    started = []

    def hold(path, name):
        command = [sys.executable, "-c", HOLD, str(path), name]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        started.append(process)
        assert process.stdout.readline() == "held\n"
        return process

    yield hold
    for process in started:
        process.kill()
        process.communicate()


def laid_out(trials, groups, directory, **execution):
    return lay_out(
        trials,
        groups,
        {"physio": ("physio",)},
        build=build,
        ensemble=Ensemble(1, 2),
        training=Training(epochs=1, patience=1),
        execution=Execution(directory, nested=False, **execution),
        seed=0,
    )


@pytest.fixture
def work(small, grouped, tmp_path):
    return laid_out(small, grouped(small, 2), tmp_path / "training")


@pytest.fixture
def place(work):
    """Where the tasks of ``work`` can be run one by one."""
    return replace(work.place, inputs=data.save(work.inputs, work.place.directory / "mine.safetensors"))


def test_a_task_in_other_hands_is_left_there(work, place, holder):
    task = work.all()[0]
    other = holder(place.directory / member.CLAIMS, task.key)
    assert member.run(place, task, wait=False) == member.BUSY
    other.communicate()
    assert [member.run(place, task, wait=False) for _ in range(2)] == [member.MADE, member.THERE]


def test_what_was_busy_is_waited_for_at_the_end(work, monkeypatch):
    asked, outcomes = [], iter([member.BUSY, member.MADE, member.THERE])
    monkeypatch.setattr(member, "run", lambda place, task, wait: asked.append((task.key, wait)) or next(outcomes))
    assert execute.carry_out(work) == 1
    first, second = (key for key, _ in asked[:2])
    assert asked == [(first, False), (second, False), (first, True)]


def test_what_killed_processes_left_half_written_is_removed(work, place):
    task = work.all()[0]
    folder = place.folder(task)
    folder.mkdir(parents=True)
    (folder / ".weights.0123abcd.safetensors").write_bytes(b"half")
    (folder / ".tmpQ3PoTy").write_bytes(b"half")
    member.run(place, task)
    assert sorted(p.name for p in folder.iterdir()) == [
        "distance.safetensors", task.draws, "history.csv", "progress.json", "task.json", "weights.safetensors"
    ]  # fmt: skip


def test_inputs_of_killed_runs_are_removed_and_those_in_use_are_kept(work, holder):
    folder = work.place.directory
    folder.mkdir(parents=True)
    left, used = (folder / f"inputs-{name}.safetensors" for name in ("left", "used"))
    for path in (left, used):
        path.write_bytes(b"")
    other = holder(folder / execute.INPUT_CLAIMS, used.name)
    assert complete(work).trained == 2
    assert [path.name for path in folder.glob("inputs-*.safetensors")] == [used.name]
    other.communicate()
    assert complete(work).trained == 0  # killed after its last result: nothing is left to do but to clean up
    assert not list(folder.glob("inputs-*.safetensors"))


def test_inputs_that_are_gone_are_one_sentence(work):
    with pytest.raises(InputError, match="inputs of the networks are not there; start training again"):
        member.run(work.place, work.all()[0])


def test_a_folder_that_cannot_be_written_is_one_sentence(small, grouped, tmp_path):
    (tmp_path / "training").write_text("a file is in the way")
    with pytest.raises(InputError, match="cannot be written"):
        complete(laid_out(small, grouped(small, 2), tmp_path / "training"))


def test_an_unknown_device_of_a_worker_is_one_sentence(small, grouped, tmp_path):
    with pytest.raises(InputError, match="no device 'abacus'"):
        complete(laid_out(small, grouped(small, 2), tmp_path, device="abacus"))


def test_neither_device_nor_tensorboard_nor_processes_make_another_task(small, grouped, tmp_path):
    pytest.importorskip("tensorboard")
    plain = laid_out(small, grouped(small, 2), tmp_path)
    other = laid_out(small, grouped(small, 2), tmp_path, jobs=3, device="auto", tensorboard=True)
    assert [task.key for task in plain.all()] == [task.key for task in other.all()]
    complete(replace(other, execution=replace(other.execution, jobs=1)))
    assert len(list(tmp_path.glob("*/tensorboard/events*"))) == 2
    assert {json.loads(path.read_text())["device"] for path in tmp_path.glob("*/task.json")} <= {"cpu", "cuda", "mps"}
