"""Preparing sessions of the real set's size: seconds per trial, the whole study's, memory, and a second run."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from pairs import Row, fact

SUBJECTS, CLIPS, TRIALS = 2, 4, 527
JOBS = 2


def rows(repeats: int) -> Iterator[Row]:
    """A sample of sessions with 47 signals at 256 Hz and 780x580 video at 60.97 frames/s; ``repeats`` is not used."""
    home = Path(tempfile.mkdtemp(prefix="bayesaffect-"))
    try:
        yield from _measured(home)
    finally:
        shutil.rmtree(home, ignore_errors=True)


def _measured(home: Path) -> Iterator[Row]:
    from bayesaffect.simulate import Layout, write_mahnob

    layout = Layout(clip_seconds=(50.0, 110.0), margin=30.0, video_rate=60.97, image_size=(780, 580), traps=False)
    write_mahnob(home / "data", subjects=SUBJECTS, clips=CLIPS, seed=0, layout=layout, jobs=JOBS)
    size = sum(path.stat().st_size for path in (home / "data").rglob("*") if path.is_file())
    count = SUBJECTS * CLIPS
    note = f"{count} sessions, {size / count / 2**20:.0f} MB each, {JOBS} processes"
    first = _prepare(home)
    cost = json.loads((home / "ws" / "stages.json").read_text(encoding="utf-8"))["prepare"]
    used = sum(path.stat().st_size for path in (home / "ws").rglob("*") if path.is_file())
    second = _prepare(home)
    again = json.loads((home / "ws" / "stages.json").read_text(encoding="utf-8"))["prepare"]["seconds"]
    per_trial, whole = cost["seconds"] / count, cost["seconds"] / count * TRIALS
    yield fact("prepare: minutes per trial", per_trial / 60, goal="reported", holds=True, note=note)
    yield fact(f"prepare: minutes for {TRIALS} trials, extrapolated", whole / 60, goal="reported", holds=True)
    yield fact(
        "prepare: peak memory of a process, GiB", cost["peak_bytes"] / 2**30, goal="<= 1.5",
        holds=cost["peak_bytes"] <= 1.5 * 2**30,
    )  # fmt: skip
    gigabytes = used / count * TRIALS / 2**30
    yield fact(f"prepare: workspace of {TRIALS} trials, GiB, extrapolated", gigabytes, goal="< 4", holds=gigabytes < 4)
    share = again / cost["seconds"]
    started = f"as whole commands {second:.1f} s / {first:.1f} s, start of Python included"
    yield fact("prepare: second run over first", share, goal="< 0.02", holds=share < 0.02, note=started)


def _prepare(home: Path) -> float:
    """Seconds of the command in a fresh process."""
    command = [sys.executable, "-m", "bayesaffect", "prepare", home / "data", home / "ws", "--jobs", str(JOBS)]
    start = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    return time.perf_counter() - start
