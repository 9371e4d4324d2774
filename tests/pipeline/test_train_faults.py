"""Training that is interrupted, loses a worker, is started twice at once, or is carried out by a Dask cluster."""

import json
import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bayesaffect.uncertainty.cluster import connected

pytestmark = pytest.mark.slow
HERE = Path(__file__).parent
TRAIN = [sys.executable, str(HERE / "train_worker.py"), str(HERE.parent / "uncertainty" / "conftest.py")]
BRIEF = "--folds 3 --members 2 --passes 3 --epochs 6".split()
TASKS = 6 * 3 * 2


def start(workspace, *more):
    command = [*TRAIN, workspace, *BRIEF, *more]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, **pipes, start_new_session=True, env=environment, preexec_fn=heed_interrupts)


def heed_interrupts():
    """A shell that runs the tests in the background has them, and what they start, ignore Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def end(process):
    """Exit code, standard output and standard error."""
    out, err = process.communicate(timeout=300)
    return process.returncode, out, err


def results(workspace):
    """Relative path -> bits and description of every file of weights and draws (safetensors shuffles its header)."""
    folder = workspace / "training"
    kinds = ("*/weights.safetensors", "*/draws-*.safetensors")
    return {path.relative_to(folder): content(path) for kind in kinds for path in folder.glob(kind)}


def content(path):
    raw = path.read_bytes()
    size = int.from_bytes(raw[:8], "little")
    return json.loads(raw[8 : 8 + size]), raw[8 + size :]


def stamps(workspace):
    return {path: (workspace / "training" / path).stat().st_mtime_ns for path in results(workspace)}


def half_written(workspace):
    return [p for p in (workspace / "training").rglob("*") if p.name.startswith((".", "inputs-"))]


def wait_for(condition, process, *, seconds=120):
    limit = time.monotonic() + seconds
    while not condition() and time.monotonic() < limit and process.poll() is None:
        time.sleep(0.02)
    assert process.poll() is None, process.communicate()


def group(process):
    """Numbers of the living processes that belong to the session of ``process``, itself left out."""
    listed = subprocess.run(["ps", "-o", "pid=,stat=", "-s", str(process.pid)], capture_output=True, text=True).stdout
    pairs = [line.split() for line in listed.splitlines()]
    return {int(pid) for pid, stat in pairs if not stat.startswith("Z")} - {process.pid}


def workers(process):
    """Those of `group` that train."""
    found = set()
    for pid in group(process):
        command = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
        if "LokyProcess" in command or "popen_loky" in command:
            found.add(pid)
    return found


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """A workspace that was trained by one process without any incident."""
    workspace = tmp_path_factory.mktemp("alone") / "ws"
    code, out, err = end(start(workspace, "--jobs", "1"))
    assert code == 0, err
    assert f"= {TASKS} trainings, 0 done" in out and err == ""
    assert len(results(workspace)) == 2 * TASKS and not half_written(workspace)
    return workspace


def test_ctrl_c_is_one_sentence_and_leaves_no_process(alone, tmp_path):
    process = start(tmp_path / "ws", "--jobs", "2")
    wait_for(lambda: len(results(tmp_path / "ws")) >= 4, process)
    assert workers(process)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to all of them
    others = group(process)
    code, _, err = end(process)
    assert (code, err) == (130, "bayesaffect: stopped; the same command goes on where it was\n")
    time.sleep(1.5)
    assert not {pid for pid in others if Path(f"/proc/{pid}").exists() and "Z" not in state_of(pid)}
    kept = stamps(tmp_path / "ws")
    assert 4 <= len(kept) < 2 * TASKS
    code, _, err = end(start(tmp_path / "ws", "--jobs", "1"))
    assert code == 0 and err == ""
    assert results(tmp_path / "ws") == results(alone) and not half_written(tmp_path / "ws")
    assert kept.items() <= stamps(tmp_path / "ws").items()


def state_of(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return "Z"


def test_a_worker_that_is_killed_is_one_sentence_and_loses_nothing_finished(alone, tmp_path):
    process = start(tmp_path / "ws", "--jobs", "2")
    wait_for(lambda: len(results(tmp_path / "ws")) >= 4, process)
    os.kill(min(workers(process)), signal.SIGKILL)
    code, _, err = end(process)
    assert code == 2 and err.count("\n") == 1
    assert "ended from outside" in err and "run the same command again" in err and "fewer --jobs" in err
    kept = stamps(tmp_path / "ws")
    code, _, err = end(start(tmp_path / "ws", "--jobs", "2"))
    assert code == 0 and err == ""
    assert results(tmp_path / "ws") == results(alone) and kept.items() <= stamps(tmp_path / "ws").items()


def test_workers_end_with_a_parent_that_is_killed(tmp_path):
    process = start(tmp_path / "ws", "--jobs", "2")
    wait_for(lambda: len(results(tmp_path / "ws")) >= 2, process)
    others = workers(process)
    assert others
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    limit = time.monotonic() + 15
    while (alive := {pid for pid in others if state_of(pid) != "Z"}) and time.monotonic() < limit:
        time.sleep(0.1)
    assert not alive


def test_two_trainings_at_once_share_the_work(alone, tmp_path):
    both = [start(tmp_path / "ws", "--jobs", "1") for _ in range(2)]
    ended = [end(process) for process in both]
    assert [code for code, *_ in ended] == [0, 0], ended
    assert results(tmp_path / "ws") == results(alone) and not half_written(tmp_path / "ws")


@pytest.fixture(scope="module")
def cluster():
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=2, processes=True, dashboard_address=None, silence_logs=50
    ) as found:
        yield found


def test_a_cluster_gives_the_same_bits(alone, cluster, tmp_path):
    code, out, err = end(start(tmp_path / "ws", "--scheduler", cluster.scheduler_address))
    assert code == 0 and err == "" and "with 2 Dask workers" in out
    assert results(tmp_path / "ws") == results(alone) and not half_written(tmp_path / "ws")


def test_a_cluster_that_loses_a_worker_in_the_middle_ends_with_the_same_bits(alone, cluster, tmp_path):
    process = start(tmp_path / "ws", "--scheduler", cluster.scheduler_address)
    wait_for(lambda: len(results(tmp_path / "ws")) >= 4, process)
    kept = stamps(tmp_path / "ws")
    os.kill(next(iter(cluster.workers.values())).process.pid, signal.SIGKILL)
    code, _, err = end(process)
    assert code == 0 and err == ""
    assert results(tmp_path / "ws") == results(alone) and kept.items() <= stamps(tmp_path / "ws").items()


def test_dasks_own_news_is_no_news_for_a_user(cluster):
    log = logging.getLogger("distributed.client")  # has a level of its own: "Couldn't gather 1 keys, rescheduling"
    before = log.level
    assert before == logging.WARNING
    with connected(cluster.scheduler_address):
        assert not log.isEnabledFor(logging.ERROR)
    assert log.level == before


def test_two_clients_of_a_cluster_train_nothing_twice(alone, cluster, tmp_path):
    both = [start(tmp_path / "ws", "--scheduler", cluster.scheduler_address) for _ in range(2)]
    ended = [end(process) for process in both]
    assert [code for code, *_ in ended] == [0, 0], ended
    assert results(tmp_path / "ws") == results(alone) and not half_written(tmp_path / "ws")


@pytest.mark.parametrize(
    "address", ["tcp://127.0.0.1:9", "nonsense", "smoke://127.0.0.1:8786", "tcp://nowhere.invalid:1"]
)
def test_a_scheduler_that_does_not_answer_is_one_sentence(tmp_path, address):
    pytest.importorskip("distributed")
    process, begun = start(tmp_path / "ws", "--scheduler", address), time.monotonic()
    code, out, err = end(process)
    assert code == 2 and err.count("\n") == 1 and out == "" and "no Dask scheduler answers" in err
    assert time.monotonic() - begun < 40  # of which about 6 s are waited for an answer
