"""Preparation that is killed, or that two processes do at once."""

import os
import signal
import subprocess
import sys
import time

import pytest

from bayesaffect.io import store
from bayesaffect.simulate import Layout, write_mahnob

pytestmark = pytest.mark.slow
RECORDINGS = 12


@pytest.fixture
def data(tmp_path):
    layout = Layout(clip_seconds=(6.0, 7.0), margin=2.0, video_rate=8.02, traps=False)
    write_mahnob(tmp_path / "data", subjects=3, clips=4, seed=1, layout=layout)
    return tmp_path / "data"


def start(data, workspace):
    command = [sys.executable, "-m", "bayesaffect", "prepare", data, workspace, "--window", "5", "--jobs", "1"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True)


def made(workspace):
    return {path: path.stat().st_mtime_ns for path in (workspace / "prepared").glob("S*.nc")}


def test_a_killed_preparation_keeps_what_it_had_finished(data, tmp_path):
    workspace = tmp_path / "ws"
    running = start(data, workspace)
    while len(made(workspace)) < 4 and running.poll() is None:
        time.sleep(0.02)
    os.killpg(running.pid, signal.SIGKILL)
    running.wait()
    before = made(workspace)
    assert 4 <= len(before) < RECORDINGS
    for path in before:
        assert store.load_trials(path).present.sizes["trial"] == 1
    again = start(data, workspace)
    assert again.communicate()[0] and again.returncode == 0
    after = made(workspace)
    assert len(after) == RECORDINGS and before.items() <= after.items()
    assert not [path for path in workspace.rglob(".*") if path.is_file()]  # no half-written file


def test_two_processes_share_the_work_and_leave_one_whole_result(data, tmp_path):
    workspace = tmp_path / "ws"
    both = [start(data, workspace) for _ in range(2)]
    printed = [process.communicate()[0].decode() for process in both]
    assert [process.returncode for process in both] == [0, 0], printed
    assert len(made(workspace)) == RECORDINGS
    (joined,) = (workspace / "prepared" / "joined").glob("*.nc")
    assert store.load_trials(joined).present.sizes["trial"] == RECORDINGS
    assert not [path for path in workspace.rglob(".*") if path.is_file()]  # no half-written file
