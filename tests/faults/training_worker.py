"""A process that trains on request in children of its own, which kill themselves where they are told to.

Reads JSON objects, one per line, ``{"folder", "epochs", "fault"}`` (see `plant`, or {"after_s", "interrupt"}: a signal
from outside after so many seconds), and answers with how the child ended:
``{"signal", "code", "error", "calls", "seconds"}``.
Children are forked from a process that has trained once, because importing takes longer than training.
"""

from __future__ import annotations

import json
import os
import random
import resource
import select
import signal
import sys
import tempfile
import time
import traceback
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "uncertainty"))
from conftest import make_trials

from bayesaffect.encoders import build
from bayesaffect.errors import InputError
from bayesaffect.uncertainty import checkpoint
from bayesaffect.uncertainty.crossfit import Execution, crossfit
from bayesaffect.uncertainty.ensemble import Ensemble
from bayesaffect.uncertainty.training import Training

TRIALS = make_trials(subjects=4, clips=6)
GROUPS = [("S00", "S01"), ("S02", "S03")]
CALLS = {"save": 0, "replace": 0}


def train(folder: str, epochs: int):
    crossfit(
        TRIALS,
        GROUPS,
        {"early": ("physio", "wrist")},
        build=build,
        ensemble=Ensemble(1, 2),
        training=Training(epochs=epochs, patience=epochs, batch=8),
        execution=Execution(Path(folder), nested=False),
        seed=0,
    )


def plant(fault: dict):
    """Make the process end by itself at a write, {"at": "replace" | "save", "call", "when"}, or run out of "room"."""
    if "room" in fault:
        resource.setrlimit(resource.RLIMIT_FSIZE, (fault["room"], fault["room"]))

    def dying(name, work, broken):
        def call(*arguments, **named):
            CALLS[name] += 1
            here = fault.get("at") == name and fault["call"] == CALLS[name]
            if here and fault["when"] != "after":
                broken(fault["when"], *arguments, **named)
                die()
            result = work(*arguments, **named)
            if here:
                die()
            return result

        return call

    def half(when, tensors, path, metadata):
        if when == "during":
            save(tensors, path, metadata=metadata)
            content = Path(path).read_bytes()
            Path(path).write_bytes(content[: random.Random(len(content)).randrange(1, len(content))])

    save = checkpoint.save_file
    checkpoint.save_file = dying("save", save, half)
    os.replace = dying("replace", os.replace, lambda *_: None)


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def child(request: dict, answer: int):
    error, code = None, 0
    try:
        plant(request["fault"])
        train(request["folder"], request["epochs"])
    except InputError as found:
        error, code = str(found), 2
    except KeyboardInterrupt:
        code = 130
    except BaseException:
        error, code = traceback.format_exc(), 1
    os.write(answer, json.dumps({"error": error, "calls": CALLS}).encode())
    os._exit(code)


def main():
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        train(folder, 1)
    for line in sys.stdin:
        request, start = json.loads(line), time.perf_counter()
        fault = request["fault"]
        listen, answer = os.pipe()
        pid = os.fork()
        if pid == 0:
            child(request, answer)
        os.close(answer)
        if "after_s" in fault and not select.select([listen], [], [], fault["after_s"])[0]:
            os.kill(pid, signal.SIGINT if fault.get("interrupt") else signal.SIGKILL)
        with os.fdopen(listen, "rb") as stream:
            told = json.loads(stream.read() or b'{"error": null, "calls": null}')
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        ended = {"signal": max(-status, 0), "code": max(status, 0), "seconds": time.perf_counter() - start}
        print(json.dumps(ended | told), flush=True)


if __name__ == "__main__":
    main()
