"""How far a training is: read from the files it leaves behind, without torch, while it runs or after it."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bayesaffect.files import write_json

PLAN = "plan.json"
SILENT_S = 900.0  # a process that says nothing for so long has lost its number to another one
SILENT_ELSEWHERE_S = 180.0


@dataclass(frozen=True)
class State:
    """One task: ``done``, ``running``, ``stopped`` (begun, but nobody works on it) or ``waiting``.

    ``epoch`` of ``epochs`` (0 of 0 until the loop has said so), ``age`` in seconds of the last sign of life,
    ``pid`` of the process, ``elapsed`` seconds since it began.
    """

    kind: str
    epoch: int = 0
    epochs: int = 0
    age: float = 0.0
    pid: int = 0
    elapsed: float = 0.0


@dataclass(frozen=True)
class Status:
    """All tasks of the last plan.

    Parameters
    ----------
    tasks : as the plan names them (key, network, held_out, member), each with its `State`.
    seconds : network -> mean seconds of its finished trainings; networks without any are left out.
    alive : whether the command that made the plan still runs.
    left : seconds until the end by the mean times so far; ``None`` when nothing of a network has ended yet.
    """

    tasks: tuple[tuple[Mapping, State], ...]
    seconds: Mapping[str, float]
    alive: bool
    left: float | None

    def count(self, kind: str, network: str | None = None) -> int:
        """Number of tasks of one kind, of one network or of all."""
        return sum(s.kind == kind and network in (None, task["network"]) for task, s in self.tasks)


def write_plan(directory: Path, facts: Mapping):
    """Leave the list of tasks of the plan that is carried out."""
    write_json(directory / PLAN, dict(facts))


def read_plan(directory: Path) -> dict | None:
    """The plan of the last training, ``None`` if there was none."""
    return _json(directory / PLAN)


def read(directory: Path, *, now: float | None = None) -> Status | None:
    """How far the plan in ``directory`` is; ``None`` if nothing was planned there."""
    plan = read_plan(directory)
    if plan is None:
        return None
    now = time.time() if now is None else now
    elsewhere = plan["scheduler"] is not None
    tasks = tuple((t, state(directory / t["key"], t["draws"], now=now, elsewhere=elsewhere)) for t in plan["tasks"])
    seconds = mean_seconds(directory, plan["tasks"])
    running = sum(s.kind == "running" for _, s in tasks)
    left: float | None = 0.0
    for task, s in tasks:
        if s.kind != "done" and left is not None:
            each = seconds.get(task["network"])
            left = None if each is None else left + max(each - s.elapsed, 0.0)
    if left is not None:
        left /= max(1, running if elsewhere else plan["jobs"])
    return Status(tasks, seconds, _alive(plan["pid"]), left)


def state(folder: Path, draws: str, *, now: float, elsewhere: bool = False) -> State:
    """State of the task whose folder this is.

    ``elsewhere`` says that it may run on another machine: then its process cannot be asked for, and the age of its
    last sign of life decides.
    """
    if (folder / draws).is_file():
        return State("done")
    begun, told = _json(folder / "task.json"), _json(folder / "progress.json")
    if begun is None:
        return State("waiting")
    started = begun.get("started", 0.0)
    if told is None or told["updated"] < started:
        told = {"epoch": 0, "epochs": 0, "updated": started, "pid": begun.get("pid", 0)}
    age = max(0.0, now - told["updated"])
    runs = age < SILENT_ELSEWHERE_S if elsewhere else age < SILENT_S and _alive(told["pid"])
    if not runs and (folder / "weights.safetensors").is_file():
        return State("waiting")
    elapsed = max(0.0, now - started) if runs else 0.0
    return State("running" if runs else "stopped", told["epoch"], told["epochs"], age, told["pid"], elapsed)


def mean_seconds(directory: Path, tasks: Sequence[Mapping]) -> dict[str, float]:
    """Network -> mean seconds of those of its ``tasks`` (key, network) that were trained without an interruption."""
    found: dict[str, list[float]] = {}
    for task in tasks:
        record = _json(directory / task["key"] / "task.json")
        if record is not None and "seconds" in record:
            found.setdefault(task["network"], []).append(record["seconds"])
    return {network: sum(values) / len(values) for network, values in found.items()}


def shortened(names: Sequence[str]) -> str:
    """Up to three names, and how many more there are."""
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _alive(pid: int) -> bool:
    """Whether a process of this machine has that number."""
    if pid <= 0:
        return False
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except (OSError, OverflowError):
        return False
    return True


def _json(path: Path) -> dict | None:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
