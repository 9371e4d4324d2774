"""Tasks carried out: here, in processes of this machine, or by the workers of a Dask cluster."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import joblib
from joblib.externals.loky.process_executor import BrokenProcessPool

from bayesaffect import files, progress
from bayesaffect.errors import InputError
from bayesaffect.files import claim
from bayesaffect.uncertainty import checkpoint, data, member, status
from bayesaffect.uncertainty.member import Place, Task
from bayesaffect.uncertainty.work import Execution, Work

INPUT_CLAIMS = "inputs.lock"
GO_ON = "run the same command again to go on: what is finished is kept"


def carry_out(work: Work) -> int:
    """Run every task of ``work`` that has no result; returns how many were trained or drawn by this call.

    A task that another process has in hand is left to it, and waited for at the end.
    """
    waiting, facts, known = work.waiting(), _facts(work), status.read_plan(work.place.directory)
    if waiting or known is None or known["tasks"] != facts["tasks"]:
        with checkpoint.writing(work.place.directory):
            status.write_plan(work.place.directory, facts)
    if not waiting:
        _sweep(work.place.directory)
        return 0
    tasks = sorted(waiting, key=lambda task: (-len(task.modalities), -task.train.size))  # short ones fill the end
    made = 0
    with _inputs(work) as place, progress.bar("training networks", len(tasks)) as advance, _watched(place, tasks):
        for wait in (False, True):
            busy = []
            for k, outcome in _results(place, tasks, work.execution, wait=wait):
                made += outcome == member.MADE
                if outcome == member.BUSY:
                    busy.append(tasks[k])
                else:
                    advance(1)
            tasks = busy
            if not tasks:
                break
    return made


def _facts(work: Work) -> dict:
    """What `status` has to know about this run."""
    return {
        "pid": os.getpid(),
        "started": time.time(),
        "jobs": work.execution.jobs,
        "scheduler": work.execution.scheduler,
        "groups": [list(group) for group in work.groups],
        "tasks": [
            {"key": t.key, "draws": t.draws, "network": t.name, "held_out": list(t.held_out), "member": t.member}
            for t in work.all()
        ],
    }


@contextlib.contextmanager
def _inputs(work: Work) -> Iterator[Place]:
    """Write the networks' inputs to a file of this run's own, and remove it in the end."""
    path = work.place.inputs.with_stem(f"{work.place.inputs.stem}-{uuid.uuid4().hex[:8]}")
    with checkpoint.writing(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
    _sweep(path.parent)
    with claim(path.parent / INPUT_CLAIMS, path.name, wait=True):
        try:
            data.save(work.inputs, path)
            yield replace(work.place, inputs=path)
        finally:
            path.unlink(missing_ok=True)


def _sweep(directory: Path):
    """Remove the inputs of runs that were killed, even between their last result and their end."""
    for path in directory.glob("inputs-*.safetensors") if files.fcntl is not None else ():
        with claim(directory / INPUT_CLAIMS, path.name, wait=False) as nobody_reads_it:
            if nobody_reads_it:
                path.unlink(missing_ok=True)


def _results(place: Place, tasks: Sequence[Task], execution: Execution, *, wait: bool) -> Iterator[tuple[int, str]]:
    """Positions of tasks as they end, and what `member.run` says about them."""
    if execution.scheduler is not None:
        from bayesaffect.uncertainty import cluster

        yield from cluster.results(execution.scheduler, place, tasks, wait=wait)
    elif execution.jobs == 1 or len(tasks) == 1:
        yield from ((k, member.run(place, task, wait=wait)) for k, task in enumerate(tasks))
    else:
        yield from _pool(place, tasks, jobs=execution.jobs, wait=wait)


def _pool(place: Place, tasks: Sequence[Task], *, jobs: int, wait: bool) -> Iterator[tuple[int, str]]:
    """The same in processes of this machine, which end when this process does."""
    pool = joblib.Parallel(n_jobs=min(jobs, len(tasks)), return_as="generator_unordered", batch_size=1)
    with _interrupts_held():  # a worker inherits this: Ctrl-C in the terminal is for the parent alone
        results = pool(joblib.delayed(_in_worker)(place, task, k, wait) for k, task in enumerate(tasks))
    try:
        yield from results
    except BrokenProcessPool:
        raise InputError(
            "a training process was ended from outside: killed, or out of memory",
            where=place.directory,
            remedy=f"{GO_ON}; use fewer --jobs if memory was short",
        ) from None
    finally:
        results.close()


def _in_worker(place: Place, task: Task, k: int, wait: bool) -> tuple[int, str]:
    _belong_to_parent()
    return k, member.run(place, task, wait=wait)


@contextlib.contextmanager
def _interrupts_held() -> Iterator[None]:
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


_parent: int | None = None


def _belong_to_parent():
    """Once per worker: leave interrupts to the parent, and end soon after it, however it ended."""
    global _parent
    if _parent is not None:
        return
    _parent = os.getppid()
    with contextlib.suppress(ValueError):
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(_parent,), daemon=True).start()


def _end_with(parent: int):
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


@contextlib.contextmanager
def _watched(place: Place, tasks: Sequence[Task]) -> Iterator[None]:
    """While bars are shown, a bar of epochs for every task that some process has in hand."""
    if not progress.visible():
        yield
        return
    ended = threading.Event()
    thread = threading.Thread(target=_follow, args=(place.directory, tasks, ended), daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _follow(directory: Path, tasks: Sequence[Task], ended: threading.Event):
    bars: dict[str, tuple[contextlib.ExitStack, object, int]] = {}
    try:
        while not ended.wait(1.0):
            now = time.time()
            for task in tasks:
                state = status.state(directory / task.key, task.draws, now=now)
                if state.kind == "running" and state.epochs:
                    if task.key not in bars:
                        stack = contextlib.ExitStack()
                        label = f"  {task.name} without {status.shortened(task.held_out)}, member {task.member + 1}"
                        bars[task.key] = stack, stack.enter_context(progress.bar(label, state.epochs)), 0
                    stack, advance, shown = bars[task.key]
                    advance(state.epoch - shown)
                    bars[task.key] = stack, advance, state.epoch
                elif task.key in bars:
                    bars.pop(task.key)[0].close()
    finally:
        for stack, _, _ in bars.values():
            stack.close()
