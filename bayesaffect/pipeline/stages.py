"""What each stage of a study cost: seconds, peak memory and disk, kept in ``WORKSPACE/stages.json``."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from bayesaffect.files import write_json

try:
    import resource
except ImportError:  # not on every system
    resource = None

FILE = "stages.json"
COMMANDS = "commands.json"
FOLDERS = ("prepared", "features", "training", "opinions", "fusion", "report")


@contextlib.contextmanager
def timed(workspace: Path, stage: str) -> Iterator[dict]:
    """Time the block and note it as the last run of ``stage``; facts put into the yielded dict are kept beside it."""
    start, facts = time.perf_counter(), {}
    yield facts
    known = read(workspace)
    known[stage] = {"seconds": round(time.perf_counter() - start, 3)} | facts
    write_json(workspace / FILE, known)


def read(workspace: Path) -> dict[str, dict]:
    """Stage -> what its last run cost; empty when nothing (readable) is there."""
    try:
        return json.loads((workspace / FILE).read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError):
        return {}


def note_command(workspace: Path, command: str):
    """Remember a command that changed what the workspace holds; once, however often it is given in a row."""
    known = commands(workspace)
    if known[-1:] != [command]:
        write_json(workspace / COMMANDS, [*known, command])


def commands(workspace: Path) -> list[str]:
    """The commands that made the workspace, in their order; none where nothing (readable) is there."""
    try:
        return [str(line) for line in json.loads((workspace / COMMANDS).read_text(encoding="utf-8"))]
    except (OSError, json.JSONDecodeError):
        return []


def disk(workspace: Path) -> dict[str, int]:
    """Bytes in each folder of the workspace."""
    return {
        name: sum(path.stat().st_size for path in (workspace / name).rglob("*") if path.is_file())
        for name in FOLDERS
        if (workspace / name).is_dir()
    }


def peak_memory() -> int:
    """Largest resident memory of this process so far in bytes; 0 where the system does not tell."""
    if resource is None:
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def sentences(workspace: Path) -> list[str]:
    """Time per stage and disk use in two lines."""
    lines = []
    if known := read(workspace):
        parts = []
        for stage, facts in known.items():
            memory = f", at most {facts['peak_bytes'] / 2**30:.2g} GiB per process" if facts.get("peak_bytes") else ""
            parts.append(f"{stage} {_duration(facts['seconds'])}{memory}")
        lines.append("time of the last run: " + "; ".join(parts))
    if used := disk(workspace):
        each = ", ".join(f"{name} {_size(size)}" for name, size in used.items())
        lines.append(f"disk: {_size(sum(used.values()))} ({each})")
    return lines


def _duration(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 120 else f"{seconds / 60:.1f} min"


def _size(count: int) -> str:
    return f"{count / 2**20:.0f} MB" if count < 2**30 else f"{count / 2**30:.2f} GB"
