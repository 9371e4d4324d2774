"""How far a training is, in words: for another terminal, so without torch."""

from __future__ import annotations

from pathlib import Path

from bayesaffect.errors import InputError
from bayesaffect.uncertainty import status

LISTED = 12


def lines(workspace: Path) -> list[str]:
    """Done, running and waiting per network, what runs now, where it stopped, and the time left.

    Raises
    ------
    InputError : when nothing was trained in this workspace.
    """
    found = status.read(workspace / "training")
    if found is None:
        raise InputError("has no training to tell of", where=workspace, remedy="run `bayesaffect train` first")
    done, running, number = found.count("done"), found.count("running"), len(found.tasks)
    left = "" if done == number or found.left is None else f", about {duration(found.left)} left"
    out = [f"training: {done} of {number} done, {running} running, {found.count('waiting')} waiting{left}"]
    for network in dict.fromkeys(task["network"] for task, _ in found.tasks):
        counts = ", ".join(
            f"{count} {kind}"
            for kind in ("done", "running", "stopped", "waiting")
            if (count := found.count(kind, network))
        )
        each = f", {duration(found.seconds[network])} each" if network in found.seconds else ""
        out.append(f"  {network}: {counts}{each}")
    out += [f"  {line}" for line in _tasks(found)]
    if done < number and not found.alive and not running:
        out.append("nothing runs here now: the same train command goes on where it stopped")
    return out


def _tasks(found: status.Status) -> list[str]:
    out = []
    for task, state in found.tasks:
        if state.kind in ("running", "stopped"):
            who = f"{task['network']} without {status.shortened(task['held_out'])}, member {task['member'] + 1}"
            epoch = f"epoch {state.epoch} of {state.epochs}" if state.epochs else "before its first epoch"
            verb = f"running in process {state.pid}" if state.kind == "running" else "stopped"
            out.append(f"{verb}: {who}, {epoch}, last sign of life {duration(state.age)} ago")
    return out[:LISTED] + ([f"and {len(out) - LISTED} more"] if len(out) > LISTED else [])


def duration(seconds: float) -> str:
    """Seconds in words: ``0.4 s``, ``38 s``, ``12 min``, ``3.5 h``."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
