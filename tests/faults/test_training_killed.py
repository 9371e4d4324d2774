"""Training that is killed at every step of its writing and at random instants, and goes on to the same end."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from bayesaffect.uncertainty import checkpoint

pytestmark = pytest.mark.slow
EPOCHS = 3


@pytest.fixture(scope="module")
def ask():
    """``ask(folder, **fault)``: how a process that trains in ``folder`` ended."""
    worker = Path(__file__).with_name("training_worker.py")
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(worker)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}

    def heed_interrupts():  # a shell that runs the tests in the background has them ignore Ctrl-C
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    process = subprocess.Popen(command, **pipes, env=environment, preexec_fn=heed_interrupts)

    def request(folder, *, epochs=EPOCHS, **fault):
        process.stdin.write(json.dumps({"folder": str(folder), "epochs": epochs, "fault": fault}) + "\n")
        process.stdin.flush()
        return json.loads(process.stdout.readline())

    yield request
    process.stdin.close()
    process.wait(30)


@pytest.fixture(scope="module")
def whole(ask, tmp_path_factory):
    """An uninterrupted run: its folder, its writes, and its seconds."""
    folder = tmp_path_factory.mktemp("whole")
    ended = ask(folder)
    assert ended["code"] == 0, ended["error"]
    return folder, ended["calls"], ended["seconds"]


def results(folder):
    """Weights and draws: relative path -> tensors."""
    paths = [*folder.rglob("weights.safetensors"), *folder.rglob("draws-*.safetensors")]
    return {str(path.relative_to(folder)): checkpoint.read_tensors(path)[0] for path in paths}


def same(one, other):
    one, other = results(one), results(other)
    assert len(one) == 4 and one.keys() == other.keys()
    for path, tensors in one.items():
        assert tensors.keys() == other[path].keys()
        assert all(torch.equal(tensor, other[path][name]) for name, tensor in tensors.items())
    return True


def clean(folder):
    """Nothing half-written in the tasks' folders, and no inputs; the folder above is swept an hour later."""
    return not [*folder.glob("*/.*"), *folder.glob("inputs-*")]


def test_killed_before_every_rename(ask, whole, tmp_path):
    """Every rename of the first task and the first of the second: its new file is whole but not in place."""
    expected, calls, _ = whole
    for call in range(1, calls["replace"] // 2 + 3):
        folder = tmp_path / str(call)
        assert ask(folder, at="replace", call=call, when="before")["signal"] == signal.SIGKILL
        again = ask(folder)
        assert again["code"] == 0, again["error"]
        assert same(expected, folder) and clean(folder)


def test_killed_inside_every_write(ask, whole, tmp_path):
    expected, calls, _ = whole
    for call in range(1, calls["save"] // 2 + 1):
        folder = tmp_path / str(call)
        assert ask(folder, at="save", call=call, when="during")["signal"] == signal.SIGKILL
        again = ask(folder)
        assert again["code"] == 0, again["error"]
        assert same(expected, folder) and clean(folder)


def test_killed_again_and_again_on_the_way(ask, whole, tmp_path):
    """Each process gets as far as its second or third file, whatever that is: progress comes from resuming alone."""
    rng, kills = random.Random(0), 0
    while ask(tmp_path, at="save", call=rng.choice((2, 3)), when=rng.choice(("during", "after")))["signal"]:
        kills += 1
        assert kills < 40
    assert kills >= 4
    assert same(whole[0], tmp_path) and clean(tmp_path)


def test_killed_at_random_instants(ask, tmp_path):
    """Many short lives, ended from outside at uniform moments, in one folder until it is complete, then in the next."""
    expected, rng = tmp_path / "whole", random.Random(0)
    seconds = ask(expected, epochs=12)["seconds"]
    kills, complete = 0, 0
    for _ in range(100):
        folder = tmp_path / str(complete)
        ended = ask(folder, epochs=12, after_s=rng.uniform(0, seconds))
        kills += ended["signal"] == signal.SIGKILL
        if not ended["signal"]:
            assert ended["code"] == 0, ended["error"]
            assert same(expected, folder) and clean(folder)
            complete += 1
        if kills >= 12 and complete >= 2:
            break
    assert kills >= 12 and complete >= 2


def test_an_interrupt_is_clean(ask, whole, tmp_path):
    expected, _, seconds = whole
    codes = [ask(tmp_path, after_s=seconds * share, interrupt=True)["code"] for share in (0.1, 0.3, 0.5)]
    assert 130 in codes and set(codes) <= {0, 130}
    assert clean(tmp_path)
    assert ask(tmp_path)["code"] == 0
    assert same(expected, tmp_path)


def test_a_full_disk_is_one_sentence_and_work_goes_on_once_there_is_room(ask, whole, tmp_path):
    expected, *_ = whole
    sizes = {path.stat().st_size for path in expected.rglob("weights.safetensors")}
    assert ask(tmp_path, at="replace", call=12, when="after")["signal"] == signal.SIGKILL
    kept = [path for path in tmp_path.rglob("*.safetensors") if path.parent != tmp_path]
    full = ask(tmp_path, room=max(sizes) // 2)
    assert full["code"] == 2 and "cannot be written" in full["error"] and "\n" not in full["error"]
    assert kept and all(path.exists() for path in kept)
    assert ask(tmp_path)["code"] == 0
    assert same(expected, tmp_path) and clean(tmp_path)
