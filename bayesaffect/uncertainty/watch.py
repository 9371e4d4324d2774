"""Watching a loop from outside: signs of life in a small file, and curves in TensorBoard."""

from __future__ import annotations

import contextlib
import json
import math
import os
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from bayesaffect.errors import InputError
from bayesaffect.files import write_json
from bayesaffect.uncertainty.checkpoint import Checkpoint, writing

PROGRESS = "progress.json"
INTERVAL_S = 1.0


def signs_of_life(path: Path, epochs: int) -> Callable[..., None]:
    """A function ``report(state, last=False)`` that keeps ``path`` up to date, at most once a second and at the end.

    The file holds ``epoch`` and ``epochs`` (done, and at most to come), ``started`` and ``updated`` (seconds since
    1970; this process's start and last report), ``seconds`` (spent training, with those of earlier processes that were
    interrupted), ``pid``, ``best_epoch``, and the last row's ``training`` and ``validation`` loss (null without any).
    """
    started, clock = time.time(), time.monotonic()
    before = _earlier(path)
    written = -math.inf

    def report(state: Checkpoint, *, last: bool = False):
        nonlocal written
        now = time.monotonic()
        if now - written < INTERVAL_S and not last:
            return
        written = now
        row = state.history[-1]
        losses = {name: row[name] if math.isfinite(row[name]) else None for name in ("training", "validation")}
        with writing(path):
            write_json(
                path,
                {"epoch": state.epoch, "epochs": epochs, "started": started, "updated": time.time()}
                | {"seconds": before + now - clock, "pid": os.getpid(), "best_epoch": state.best_epoch}
                | losses,
            )

    return report


def _earlier(path: Path) -> float:
    """Seconds that earlier processes spent, as far as they reported them."""
    try:
        return float(json.loads(path.read_text(encoding="utf-8"))["seconds"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0.0


@contextlib.contextmanager
def tensorboard(directory: Path) -> Iterator[Callable[[int, Mapping[str, float]], None]]:
    """Yield an ``after_epoch`` callback that adds every loss of an epoch to the TensorBoard run in ``directory``.

    A run that goes on after an interrupt repeats epochs whose checkpoint was lost: TensorBoard is told to drop what it
    had from the first epoch that comes again.

    Raises
    ------
    InputError : if TensorBoard is not installed.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        remedy = 'install it with pip install "bayesaffect[watch]"'
        raise InputError("TensorBoard is not installed", remedy=remedy) from error
    writer = None

    def after_epoch(epoch: int, row: Mapping[str, float]):
        nonlocal writer
        if writer is None:
            with writing(directory):
                writer = SummaryWriter(str(directory), purge_step=epoch)
        for name, value in row.items():
            if name != "epoch" and math.isfinite(value):
                writer.add_scalar(f"loss/{name}", value, epoch)
        writer.flush()

    try:
        yield after_epoch
    finally:
        if writer is not None:
            writer.close()
